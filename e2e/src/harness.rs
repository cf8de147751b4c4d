//! The harness of tests that need root: what cannot run is reported as ignored, with the reason, never as passed.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

/// One test: a claim and the code that checks it by panicking.
pub struct Test {
    claim: String,
    programs: Vec<&'static str>,
    obstacle: Option<String>,
    body: Box<dyn FnOnce() + Send>,
}

impl Test {
    /// A test of `claim`.
    pub fn new(claim: impl Into<String>, body: impl FnOnce() + Send + 'static) -> Self {
        Self { claim: claim.into(), programs: Vec::new(), obstacle: None, body: Box::new(body) }
    }

    /// The same test, which is ignored where `program` is not installed.
    #[must_use]
    pub fn needing(mut self, program: &'static str) -> Self {
        self.programs.push(program);
        self
    }

    /// The same test, which is ignored for the reason `obstacle`, if there is one.
    #[must_use]
    pub fn unless(mut self, obstacle: Option<String>) -> Self {
        self.obstacle = obstacle;
        self
    }

    /// The same test with one worker and with two, which is given to `body`.
    #[must_use]
    pub fn with_one_and_two_workers(claim: &str, body: fn(usize)) -> [Self; 2] {
        [1, 2].map(|workers| {
            let plural = if workers == 1 { "" } else { "s" };
            Self::new(format!("{claim}__{workers}_worker{plural}"), move || body(workers))
        })
    }
}

/// Runs the tests on at most `threads` threads, or reports all of them as ignored if this process lacks what
/// they need. The usual arguments of `cargo test` apply.
pub fn run_root_tests(threads: usize, tests: Vec<Test>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(threads));
    let missing = missing_rights();
    if let Some(reason) = missing {
        eprintln!("skipped: {reason}");
    }
    let trials = tests
        .into_iter()
        .map(|test| {
            let program = test.programs.iter().find(|program| !is_installed(program));
            let missing = missing.map(str::to_owned).or(test.obstacle);
            let missing = missing.or_else(|| Some(format!("needs {}", program?)));
            let trial = Trial::test(test.claim, move || {
                (test.body)();
                Ok(())
            });
            match missing {
                Some(reason) => trial.with_kind(reason).with_ignored_flag(true),
                None => trial,
            }
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// What this process lacks to make network namespaces with TAP devices in them; `None` if nothing.
#[must_use]
pub fn missing_rights() -> Option<&'static str> {
    const CAP_NET_ADMIN: u64 = 1 << 12;
    const CAP_NET_RAW: u64 = 1 << 13;
    const CAP_SYS_ADMIN: u64 = 1 << 21;
    if !rustix::process::geteuid().is_root() {
        return Some("needs root");
    }
    let effective = effective_capabilities().unwrap_or(0);
    if effective & CAP_SYS_ADMIN == 0 {
        return Some("needs CAP_SYS_ADMIN");
    }
    if effective & CAP_NET_ADMIN == 0 || effective & CAP_NET_RAW == 0 {
        return Some("needs CAP_NET_ADMIN and CAP_NET_RAW");
    }
    if std::fs::File::options().read(true).write(true).open("/dev/net/tun").is_err() {
        return Some("needs /dev/net/tun");
    }
    None
}

fn effective_capabilities() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}
