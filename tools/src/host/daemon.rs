//! A daemon of our own in a network namespace: configuration, socket, state and log in one directory.

use super::process::{Lifetime, Process};
use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

/// How long a daemon may take until it says that it is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a kept daemon may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A running daemon. Dropping it stops it; the directory stays.
#[derive(Debug)]
pub(crate) struct Daemon {
    process: Process,
    directory: PathBuf,
}

impl Daemon {
    /// Starts a daemon in `namespace` and waits until it is ready. `settings` is its configuration without
    /// `socket` and `state_dir`, which are placed in `directory`.
    ///
    /// # Errors
    /// When it does not become ready; the error carries the last lines of its log.
    pub(crate) fn start(
        namespace: &str,
        directory: &Path,
        settings: &str,
        lifetime: Lifetime,
    ) -> Result<Self> {
        let state = directory.join("state");
        fs::create_dir_all(&state).with_context(|| format!("cannot make {}", state.display()))?;
        let config = config_in(directory);
        let text = format!(
            "socket = {:?}\nstate_dir = {:?}\n\n{settings}",
            socket_in(directory).display().to_string(),
            state.display().to_string(),
        );
        fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;

        let notify = directory.join("notify.sock");
        let _ = fs::remove_file(&notify);
        let ready = UnixDatagram::bind(&notify)
            .with_context(|| format!("cannot make the socket {}", notify.display()))?;
        ready.set_read_timeout(Some(POLL_INTERVAL))?;

        let log = File::create(directory.join("daemon.log")).context("cannot make the daemon's log")?;
        let arguments = ["run", "--config", &config.display().to_string()];
        let child = Process::command(namespace, lifetime, &arguments)
            .env("NOTIFY_SOCKET", &notify)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start a daemon")?;
        let mut daemon = Self { process: Process::guard(child), directory: directory.to_owned() };
        daemon.wait_until_ready(&ready)?;
        Ok(daemon)
    }

    fn wait_until_ready(&mut self, ready: &UnixDatagram) -> Result<()> {
        let deadline = Instant::now() + READY_TIMEOUT;
        let mut message = [0; 4096];
        loop {
            super::check_interrupt()?;
            match ready.recv(&mut message) {
                Ok(length) if says_ready(&message[..length]) => return Ok(()),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(error) => return Err(error).context("cannot wait for the daemon"),
            }
            if self.process.has_ended() {
                bail!("the daemon ended before it was ready: {}", self.last_words());
            }
            if Instant::now() > deadline {
                bail!("the daemon was not ready after {READY_TIMEOUT:?}: {}", self.last_words());
            }
        }
    }

    /// The last lines of the log, as one.
    pub(crate) fn last_words(&self) -> String {
        let text = fs::read_to_string(self.directory.join("daemon.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        match lines.len() {
            0 => "its log is empty".to_owned(),
            count => lines[count.saturating_sub(3)..].join(" | "),
        }
    }

    /// Its control socket.
    pub(crate) fn socket(&self) -> PathBuf {
        socket_in(&self.directory)
    }

    /// True if it has ended, which it should not have.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.has_ended()
    }

    /// Leaves the daemon running when the guard goes.
    pub(crate) fn keep(&mut self) {
        self.process.keep();
    }
}

fn config_in(directory: &Path) -> PathBuf {
    directory.join("flyover.toml")
}

fn socket_in(directory: &Path) -> PathBuf {
    directory.join("flyover.sock")
}

fn says_ready(message: &[u8]) -> bool {
    message.split(|byte| *byte == b'\n').any(|line| line == b"READY=1")
}

/// Stops the daemon whose files lie in `directory`, if one runs; true if it did.
///
/// It is known by its command line, so that one whose starter was killed at any moment is found, and a process
/// that only has to do with the files there (an editor, say) is left alone.
pub(crate) fn stop_kept(directory: &Path) -> Result<bool> {
    let Some(id) = running_in(directory) else { return Ok(false) };
    // It may have ended just now.
    let send = |signal| match kill(id, signal) {
        Err(Errno::ESRCH) => Ok(()),
        sent => sent.context("cannot stop the daemon"),
    };
    send(Signal::SIGTERM)?;
    let deadline = Instant::now() + STOP_TIMEOUT;
    while running_in(directory) == Some(id) {
        if Instant::now() > deadline {
            send(Signal::SIGKILL)?;
            break;
        }
        thread::sleep(POLL_INTERVAL);
    }
    Ok(true)
}

fn running_in(directory: &Path) -> Option<Pid> {
    let config = config_in(directory).display().to_string();
    let processes = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let mut ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    ids.find(|id| {
        let command_line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        runs_on(&command_line, &config)
    })
    .map(Pid::from_raw)
}

/// Whether a command line, as `/proc` shows it, is that of a daemon on the configuration `config`.
fn runs_on(command_line: &[u8], config: &str) -> bool {
    let words: Vec<&[u8]> = command_line.split(|byte| *byte == 0).collect();
    words.windows(3).any(|three| three == [b"run", b"--config".as_slice(), config.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_is_a_line_of_the_message() {
        assert!(says_ready(b"READY=1"));
        assert!(says_ready(b"STATUS=up\nREADY=1\nMAINPID=7"));
        assert!(!says_ready(b"READY=10"));
        assert!(!says_ready(b"STOPPING=1"));
    }

    #[test]
    fn a_daemon_is_known_by_its_configuration_and_an_editor_of_it_is_none() {
        let config = "/run/x/flyover.toml";
        assert!(runs_on(b"flyover\0run\0--config\0/run/x/flyover.toml\0", config));
        let starting = b"flyover\0netns-exec\0n\0--\0run\0--config\0/run/x/flyover.toml\0";
        assert!(runs_on(starting, config));
        assert!(!runs_on(b"vi\0/run/x/flyover.toml\0", config));
        assert!(!runs_on(b"flyover\0run\0--config\0/run/y/flyover.toml\0", config));
        assert!(!stop_kept(tempfile::tempdir().unwrap().path()).unwrap());
    }
}
