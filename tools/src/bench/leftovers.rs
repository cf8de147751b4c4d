//! Names and files of a bench run carry its process id, so that what a crashed run left behind is known
//! from what a running one uses.

use crate::host;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Namespaces are `fly-bench-PID-…`, the directory is `/run/fly-bench-PID`.
const PREFIX: &str = "fly-bench-";
const RUN_DIRECTORY: &str = "/run";

/// The files of this run. Dropping it removes them.
#[derive(Debug)]
pub(super) struct Workspace {
    prefix: String,
    directory: PathBuf,
}

impl Workspace {
    /// Makes the directory.
    pub(super) fn create() -> Result<Self> {
        let id = std::process::id();
        let directory = Path::new(RUN_DIRECTORY).join(format!("{PREFIX}{id}"));
        fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        Ok(Self { prefix: format!("{PREFIX}{id}-"), directory })
    }

    /// What the names of its namespaces begin with.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Where its files lie.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            eprintln!("flyover: cannot remove {}: {error}", self.directory.display());
        }
    }
}

/// Removes the namespaces and files of bench runs that are no more; how many namespaces those were.
pub(crate) fn remove_leftovers() -> Result<usize> {
    let mut removed = 0;
    for name in host::existing(PREFIX) {
        if owner(&name).is_some_and(|id| !is_running(id)) {
            host::remove(&name)?;
            removed += 1;
        }
    }
    let entries = fs::read_dir(RUN_DIRECTORY).into_iter().flatten().filter_map(Result::ok);
    for entry in entries {
        let dead = entry.file_name().to_str().and_then(owner).is_some_and(|id| !is_running(id));
        if dead {
            fs::remove_dir_all(entry.path())
                .with_context(|| format!("cannot remove {}", entry.path().display()))?;
        }
    }
    Ok(removed)
}

fn owner(name: &str) -> Option<u32> {
    let rest = name.strip_prefix(PREFIX)?;
    let (id, _) = rest.split_once('-').unwrap_or((rest, ""));
    id.parse().ok()
}

/// Whether process `id` is a bench run, not something else that got the number meanwhile.
fn is_running(id: u32) -> bool {
    let command_line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    command_line.split(|byte| *byte == 0).any(|word| word == b"bench")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_is_read_from_the_name() {
        assert_eq!(owner("fly-bench-123-flyover-pod1"), Some(123));
        assert_eq!(owner("fly-bench-123"), Some(123));
        assert_eq!(owner("fly-bench-x-pod1"), None);
        assert_eq!(owner("fly-lab-node1"), None);
    }

    #[test]
    fn a_process_that_is_no_bench_is_not_a_running_one() {
        assert!(!is_running(std::process::id()));
        assert!(!is_running(u32::MAX));
    }
}
