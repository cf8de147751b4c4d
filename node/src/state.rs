//! The state directory: what survives a restart of the daemon.
//!
//! - `lock`: held (`flock`) by the one daemon that uses the directory, with its process id as text. The
//!   kernel lets go of it whatever way the daemon ends.
//! - `ports.json`: what the API added, on top of the configuration file: ports, which ports were set down,
//!   static entries of the forwarding database, routes. Written whole to a second file that then takes the name, so
//!   that a reader (and a crash) sees either the old or the new one.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use packet::MacAddress;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::api::types::NewRoute;
use crate::config::PortConfig;

/// The version of `ports.json` that this version writes, and the only one it reads.
const VERSION: u32 = 1;
const LOCK: &str = "lock";
const PORTS: &str = "ports.json";
const PORTS_NEW: &str = "ports.json.new";
const PORTS_DAMAGED: &str = "ports.json.damaged";
/// Longer files are damaged: 4096 ports with every key take less.
const PORTS_BYTES_MAX: u64 = 16 << 20;

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another daemon has it.
    #[error(
        "another flyover{} uses the state directory {} already; stop it, or give this one another state_dir and socket",
        .pid.as_ref().map(|pid| format!(" (process {pid})")).unwrap_or_default(), .directory.display()
    )]
    Taken {
        /// The directory.
        directory: PathBuf,
        /// The other daemon's process id, if it has written it already.
        pid: Option<u32>,
    },
    /// A system call failed.
    #[error("{}: cannot {action}: {source}", .path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateError + use<> {
    let path = path.to_owned();
    move |source| StateError::Io { action, path, source }
}

/// What the API added. Unknown keys are damage: a later version writes another `VERSION`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    /// Ports that were added by the API.
    #[serde(default)]
    pub ports: Vec<PortConfig>,
    /// Names of the ports, configured ones too, that were set down.
    #[serde(default)]
    pub down: Vec<String>,
    /// Static entries of the forwarding database.
    #[serde(default)]
    pub fdb: Vec<SavedEntry>,
    /// Routes that were added by the API.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<NewRoute>,
}

/// A static entry of the forwarding database.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedEntry {
    /// The address.
    #[serde(with = "crate::config::mac")]
    pub mac: MacAddress,
    /// Name of the port.
    pub port: String,
}

/// The file: a version before everything else.
#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    #[serde(flatten)]
    saved: &'a Saved,
}

/// An open, locked state directory. Dropping it lets go of the lock.
#[derive(Debug)]
pub struct StateDirectory {
    path: PathBuf,
    _lock: File,
}

impl StateDirectory {
    /// Makes the directory (mode 0755) if it is not there, and locks it for this process.
    ///
    /// # Errors
    /// [`StateError::Taken`] if another process has it; else what the system says.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(path)
            .map_err(failed("make the state directory", path))?;
        let lock_path = path.join(LOCK);
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(failed("open the lock file", &lock_path))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut text = String::new();
                // The pid is only for the message: without it the sentence is shorter.
                let _ = lock.take(32).read_to_string(&mut text);
                return Err(StateError::Taken { directory: path.to_owned(), pid: text.trim().parse().ok() });
            }
            Err(errno) => return Err(failed("lock", &lock_path)(errno.into())),
        }
        let write_pid = |lock: &mut File| {
            lock.set_len(0)?;
            lock.rewind()?;
            writeln!(lock, "{}", std::process::id())
        };
        write_pid(&mut lock).map_err(failed("write the process id", &lock_path))?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the API had added when the last daemon ended; nothing if there is no file. A file that cannot
    /// be understood is moved aside, and a sentence says so: a switch without its last ports is better than
    /// none.
    pub fn load(&self) -> (Saved, Option<String>) {
        let path = self.path.join(PORTS);
        let why = match read(&path) {
            Ok(saved) => return (saved, None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return (Saved::default(), None),
            Err(error) => error,
        };
        let aside = self.path.join(PORTS_DAMAGED);
        let fate = match std::fs::rename(&path, &aside) {
            Ok(()) => format!("it was moved to {}", aside.display()),
            Err(error) => format!("it could not be moved to {} either: {error}", aside.display()),
        };
        let warning =
            format!("{} cannot be used, and ports added by the API are lost: {why}; {fate}", path.display());
        (Saved::default(), Some(warning))
    }

    /// Replaces what is saved. When this returns, it is on the disk.
    ///
    /// # Errors
    /// What the system says; the former content is then still there.
    pub fn save(&self, saved: &Saved) -> Result<(), StateError> {
        let (path, new) = (self.path.join(PORTS), self.path.join(PORTS_NEW));
        let write = || {
            // First the whole text: a write for each word of it made this the slowest part of adding a port.
            let mut text = serde_json::to_vec_pretty(&Written { version: VERSION, saved })?;
            text.push(b'\n');
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(&text)?;
            file.sync_all()?;
            std::fs::rename(&new, &path)?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(failed("save the ports", &path))
    }
}

fn read(path: &Path) -> io::Result<Saved> {
    let mut text = String::new();
    File::open(path)?.take(PORTS_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > PORTS_BYTES_MAX {
        return Err(io::Error::other("it is too long"));
    }
    let mut value: serde_json::Value = serde_json::from_str(&text)?;
    let version = value.as_object_mut().and_then(|object| object.remove("version"));
    if version != Some(VERSION.into()) {
        let found = version.map_or("none".to_owned(), |version| version.to_string());
        return Err(io::Error::other(format!("its version is {found}, and {VERSION} is expected")));
    }
    Ok(serde_json::from_value(value)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn saved() -> Saved {
        Saved {
            ports: vec![PortConfig {
                name: "vm1".into(),
                netns: Some("/run/netns/vm1".into()),
                mac: Some("02:00:00:00:00:11".parse().unwrap()),
                addresses: vec!["10.244.1.9/24".parse().unwrap()],
                ..PortConfig::default()
            }],
            down: vec!["vm1".into()],
            fdb: vec![SavedEntry { mac: "02:00:00:00:00:12".parse().unwrap(), port: "vm1".into() }],
            routes: vec![
                serde_json::from_str("{\"dst\":\"10.9.0.0/16\",\"gateway\":\"192.168.0.1\",\"metric\":5}")
                    .unwrap(),
            ],
        }
    }

    #[test]
    fn what_is_saved_is_found_again() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a/b");
        let state = StateDirectory::open(&path).unwrap();
        assert_eq!(state.load(), (Saved::default(), None));
        state.save(&saved()).unwrap();
        assert_eq!(state.load(), (saved(), None));
        let mode = |name: &str| path.join(name).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(""), mode(PORTS), mode(LOCK)), (0o755, 0o600, 0o600));
        assert!(!path.join(PORTS_NEW).exists());
    }

    #[test]
    fn a_second_daemon_is_told_who_has_the_directory() {
        let place = tempfile::tempdir().unwrap();
        let first = StateDirectory::open(place.path()).unwrap();
        let refusal = StateDirectory::open(place.path()).unwrap_err().to_string();
        let expected = format!("another flyover (process {}) uses the state directory", std::process::id());
        assert!(refusal.starts_with(&expected), "{refusal}");
        drop(first);
        StateDirectory::open(place.path()).unwrap();
    }

    #[test]
    fn a_damaged_file_is_moved_aside_and_named() {
        let good = serde_json::to_string(&Written { version: VERSION, saved: &saved() }).unwrap();
        let damaged = [
            String::new(),
            "null".into(),
            good[..good.len() / 2].into(),
            good.replace("\"version\":1", "\"version\":2"),
            good.replace("\"down\"", "\"dwon\""),
            good.replace("10.244.1.9/24", "10.244.1.9/33"),
            "\u{0}".repeat(4096),
        ];
        for text in damaged {
            let place = tempfile::tempdir().unwrap();
            let state = StateDirectory::open(place.path()).unwrap();
            std::fs::write(place.path().join(PORTS), &text).unwrap();
            let (found, warning) = state.load();
            assert_eq!(found, Saved::default());
            let warning = warning.unwrap_or_else(|| panic!("no warning for {text}"));
            assert!(warning.contains("ports added by the API are lost"), "{warning}");
            assert_eq!(std::fs::read_to_string(place.path().join(PORTS_DAMAGED)).unwrap(), text);
            assert_eq!(state.load(), (Saved::default(), None));
            state.save(&saved()).unwrap();
            assert_eq!(state.load(), (saved(), None));
        }
    }

    #[test]
    fn what_a_crash_left_half_written_is_not_looked_at() {
        let place = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(place.path()).unwrap();
        state.save(&saved()).unwrap();
        std::fs::write(place.path().join(PORTS_NEW), "{").unwrap();
        assert_eq!(state.load(), (saved(), None));
        state.save(&Saved::default()).unwrap();
        assert_eq!(state.load(), (Saved::default(), None));
    }
}
