//! The program as a person runs it, and what it leaves behind.

use std::fs;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
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

/// Names of network namespaces that begin so.
pub(crate) fn namespaces(prefix: &str) -> Vec<String> {
    let entries = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with(prefix))
        .collect()
}
