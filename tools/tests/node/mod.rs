//! A daemon in namespaces of its own.

use crate::common::{FLYOVER, Said, await_some, flyover};
use std::fs::{self, File};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().expect("ip runs");
    assert!(output.status.success(), "ip {arguments:?}: {output:?}");
}

/// A network namespace, removed with this.
pub(crate) struct Namespace(pub(crate) String);

impl Namespace {
    fn new(role: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("fly-cli-{}-{number}-{role}", std::process::id());
        ip(&["netns", "add", &name]);
        Self(name)
    }

    pub(crate) fn path(&self) -> String {
        format!("/run/netns/{}", self.0)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Some tests remove it themselves.
        let _ = Command::new("ip").args(["netns", "delete", &self.0]).output();
    }
}

/// A daemon with one configured port, `pod1`, and the namespace for a second.
pub(crate) struct Node {
    child: Child,
    directory: tempfile::TempDir,
    pub(crate) pods: [Namespace; 2],
    _host: Namespace,
}

impl Node {
    /// Starts the daemon and waits until it is ready.
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let host = Namespace::new("node");
        let pods = ["pod1", "pod2"].map(Namespace::new);
        let at = |name: &str| directory.path().join(name);
        let config = format!(
            "socket = {:?}\nstate_dir = {:?}\n[node]\nname = \"test\"\npod_cidrs = [\"10.244.1.0/24\"]\n\
             [[port]]\nname = \"pod1\"\nnetns = {:?}\ndevice = \"eth0\"\nmac = \"02:00:00:00:00:11\"\n\
             addresses = [\"10.244.1.11/24\"]\n",
            at("sock"),
            at("state"),
            pods[0].path(),
        );
        fs::create_dir(at("state")).expect("a state directory");
        fs::write(at("flyover.toml"), config).expect("a configuration");
        let ready = UnixDatagram::bind(at("notify")).expect("a notify socket");
        ready.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
        let mut child = Command::new(FLYOVER)
            .args(["netns-exec", &host.0, "--", "run", "--config"])
            .arg(at("flyover.toml"))
            .env("NOTIFY_SOCKET", at("notify"))
            .stdin(Stdio::null())
            .stderr(File::create(at("log")).expect("a log"))
            .spawn()
            .expect("a daemon starts");
        let mut message = [0; 1024];
        await_some("READY=1", || {
            let log = || fs::read_to_string(at("log")).unwrap_or_default();
            assert!(child.try_wait().expect("a child").is_none(), "the daemon ended: {}", log());
            let length = ready.recv(&mut message).ok()?;
            String::from_utf8_lossy(&message[..length]).lines().any(|line| line == "READY=1").then_some(())
        });
        Self { child, directory, pods, _host: host }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("sock")
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Runs the program with this daemon's socket.
    pub(crate) fn flyover(&self, arguments: &[&str]) -> Said {
        let socket = self.socket().display().to_string();
        let mut all = vec!["--socket", socket.as_str()];
        all.extend_from_slice(arguments);
        flyover(&all)
    }

    /// A command with this daemon's socket, to be run by the caller.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(FLYOVER);
        command.arg("--socket").arg(self.socket()).args(arguments).stdin(Stdio::null());
        command
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
