//! A daemon in namespaces of its own, and the program as a person runs it.

use std::fs::{self, File};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The program under test.
pub(crate) const FLYOVER: &str = env!("CARGO_BIN_EXE_flyover");
const DEADLINE: Duration = Duration::from_secs(30);

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    /// Standard output as JSON; it has to be an array.
    pub(crate) fn array(&self) -> Vec<serde_json::Value> {
        assert_eq!(self.code, 0, "{self:?}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Checks for failure as INTERFACE promises it: status 1, nothing but one line on standard error.
    pub(crate) fn assert_failure_naming(&self, word: &str) {
        assert_eq!(self.code, 1, "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
        assert!(self.stderr.starts_with("flyover: ") && self.stderr.contains(word), "{self:?}");
    }
}

/// Runs the program to its end, without any daemon's socket in the environment.
pub(crate) fn flyover(arguments: &[&str]) -> Said {
    let output = Command::new(FLYOVER)
        .args(arguments)
        .env_remove("FLYOVER_SOCKET")
        .stdin(Stdio::null())
        .output()
        .expect("flyover starts");
    output.into()
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).expect("output is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("errors are UTF-8"),
        }
    }
}

/// Polls until `probe` gives something.
pub(crate) fn await_some<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(result) = probe() {
            return result;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Waits for the end of a child.
pub(crate) fn await_end(child: &mut Child) -> ExitStatus {
    await_some("the end of a child", || child.try_wait().expect("a child can be waited for"))
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().expect("ip runs");
    assert!(output.status.success(), "ip {arguments:?}: {output:?}");
}

/// Names of network namespaces that begin so.
pub(crate) fn namespaces(prefix: &str) -> Vec<String> {
    let entries = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with(prefix))
        .collect()
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
