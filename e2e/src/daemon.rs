//! `flyover run` as a child process.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::{Namespace, wait_until};

/// The `flyover` program of this workspace, built once a test process if it is not up to date; or the one that
/// `FLYOVER_BINARY` names in the environment.
///
/// # Panics
/// If it cannot be built.
pub fn flyover_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("FLYOVER_BINARY") {
            return path.into();
        }
        // This test lies in <target>/<profile>/deps, the program in <target>/<profile>.
        let test = std::env::current_exe().expect("a running program has a path");
        let profile = test.ancestors().nth(2).expect("tests lie two folders below the target directory");
        let target = profile.parent().expect("the profile's folder lies in the target directory");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let mut command = Command::new(cargo);
        command
            .args(["build", "--quiet", "--package", "tools", "--bin", "flyover", "--target-dir"])
            .arg(target);
        command.current_dir(env!("CARGO_MANIFEST_DIR"));
        if profile.ends_with("release") {
            command.arg("--release");
        }
        let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        assert!(status.success(), "the program under test could not be built");
        profile.join("flyover")
    })
}

/// What a finished command left behind.
#[derive(Debug, Clone)]
pub struct CommandOutput {
    /// The exit status; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl From<Output> for CommandOutput {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A running daemon; killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    notify: UnixDatagram,
    log: PathBuf,
}

impl Daemon {
    /// Starts `flyover run --config <directory>/flyover.toml` inside `namespace`, its standard error appended to
    /// `<directory>/daemon.log`.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn spawn(namespace: &Namespace, directory: &Path) -> Self {
        let log = directory.join("daemon.log");
        let errors = File::options().create(true).append(true).open(&log).expect("the log can be written");
        let notify_path = directory.join("notify");
        let _ = std::fs::remove_file(&notify_path);
        let notify = UnixDatagram::bind(&notify_path).expect("the notify socket can be bound");
        notify.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout can be set");
        let mut command = Command::new(flyover_binary());
        command
            .arg("run")
            .arg("--config")
            .arg(directory.join("flyover.toml"))
            .env("NOTIFY_SOCKET", &notify_path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors);
        let child = namespace.run(|| command.spawn()).unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, notify, log }
    }

    /// Waits until the daemon says `READY=1`.
    ///
    /// # Panics
    /// If it exits instead, or says nothing in time.
    pub fn await_ready(&mut self) {
        wait_until("READY=1 from the daemon", || {
            let mut message = [0; 4096];
            if let Ok(length) = self.notify.recv(&mut message)
                && message[..length].split(|byte| *byte == b'\n').any(|line| line == b"READY=1")
            {
                return Some(());
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("the daemon ended with {status} before it was ready:\n{}", self.log_tail());
            }
            None
        });
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// If the daemon is gone.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap_or_else(|error| panic!("signal {signal:?}: {error}"));
    }

    /// Waits for the end of the process.
    ///
    /// # Panics
    /// If it does not end in time.
    pub fn await_exit(&mut self) -> ExitStatus {
        wait_until("the daemon's end", || self.child.try_wait().expect("a child can be waited for"))
    }

    /// `kill -9`, and waits for the end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The last lines of what it wrote to standard error.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// All that it and its predecessors wrote to standard error.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Resident memory in bytes.
    ///
    /// # Panics
    /// If the daemon is gone.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the daemon runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS is shown");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("VmRSS is a number");
        kib * 1024
    }

    /// Processor time that its threads have used so far.
    ///
    /// # Panics
    /// If the daemon is gone.
    #[must_use]
    pub fn cpu_time(&self) -> Duration {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).expect("the daemon runs");
        let used_ns = tasks.flatten().map(|task| {
            // Nanoseconds, where the ticks of /proc/<pid>/stat are too coarse for an idle process.
            let schedule = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            schedule.split(' ').next().and_then(|field| field.parse::<u64>().ok()).unwrap_or(0)
        });
        Duration::from_nanos(used_ns.sum())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- the daemon's last words\n{}\n---", self.log_tail());
        }
    }
}
