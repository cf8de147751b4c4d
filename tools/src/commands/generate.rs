//! Shell completions and man pages, made from the definition of the command line itself.

use crate::cli::Cli;
use crate::output;
use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::Shell;
use std::fs;
use std::path::Path;

/// `flyover completions SHELL`.
pub(super) fn completions(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "flyover", &mut script);
    output::write_bytes(&script)
}

/// `flyover man DIRECTORY`: `flyover.1` and a page for each subcommand that is not hidden.
pub(super) fn man_pages(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    clap_mangen::generate_to(Cli::command(), directory)
        .with_context(|| format!("cannot write man pages into {}", directory.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_has_completions() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish, Shell::PowerShell] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "flyover", &mut script);
            let script = String::from_utf8(script).unwrap();
            assert!(script.contains("check-config"), "{shell}");
        }
    }

    #[test]
    fn every_visible_command_has_a_man_page() {
        let directory = tempfile::tempdir().unwrap();
        man_pages(directory.path()).unwrap();
        for page in ["flyover.1", "flyover-port-add.1", "flyover-bench-pods.1", "flyover-capture.1"] {
            let text = fs::read_to_string(directory.path().join(page)).expect(page);
            assert!(text.contains(".SH NAME"), "{page}");
        }
        assert!(!directory.path().join("flyover-bench-agent.1").exists());
    }
}
