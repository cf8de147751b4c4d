//! Network namespaces that go away with their values.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A name that no other test of this or another process uses: `fly-<process>-<serial>-<role>`.
#[must_use]
pub fn unique_name(role: &str) -> String {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    format!("fly-{}-{}-{role}", std::process::id(), SERIAL.fetch_add(1, Ordering::Relaxed))
}

/// A named network namespace with its loopback up, removed when dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes the namespace `fly-…-<role>`.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn new(role: &str) -> Self {
        let namespace = Self { name: unique_name(role) };
        checked(Command::new("ip").args(["netns", "add", &namespace.name]));
        namespace.ip("link set lo up");
        namespace
    }

    /// A namespace in which the kernel says nothing of its own accord: no IPv6, hence no neighbor discovery
    /// and no multicast reports.
    #[must_use]
    pub fn new_quiet(role: &str) -> Self {
        let namespace = Self::new(role);
        namespace.sysctl("net/ipv6/conf/all/disable_ipv6", "1");
        namespace.sysctl("net/ipv6/conf/default/disable_ipv6", "1");
        namespace
    }

    /// The name that `ip netns` shows.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for the namespace.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from("/var/run/netns").join(&self.name)
    }

    /// Runs `work` on a thread that has entered the namespace; sockets and processes made there stay in it.
    ///
    /// # Panics
    /// If the namespace cannot be entered, or with the panic of `work`.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let path = self.path();
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                    .unwrap_or_else(|error| panic!("setns {}: {error}", path.display()));
                work()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs `ip <arguments>` inside; the arguments are separated by spaces.
    ///
    /// # Panics
    /// If it fails.
    pub fn ip(&self, arguments: &str) -> String {
        checked(Command::new("ip").args(["-n", &self.name]).args(arguments.split_whitespace()))
    }

    /// Runs a command inside and returns what came of it.
    ///
    /// # Panics
    /// If the program cannot be started.
    #[must_use]
    pub fn output(&self, program: &str, arguments: &[&str]) -> Output {
        self.run(|| {
            Command::new(program)
                .args(arguments)
                .output()
                .unwrap_or_else(|error| panic!("cannot run {program}: {error}"))
        })
    }

    /// Sets a value below `/proc/sys`, such as `net/ipv6/conf/all/disable_ipv6`.
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn sysctl(&self, key: &str, value: &str) {
        self.run(|| {
            std::fs::write(format!("/proc/sys/{key}"), value)
                .unwrap_or_else(|error| panic!("sysctl {key}={value}: {error}"));
        });
    }

    /// Removes the name now; the namespace lives on as long as something uses it.
    pub fn delete(&self) {
        // Already gone is what a test may have wanted.
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.delete();
    }
}

/// Runs a command that must succeed and returns its standard output.
fn checked(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} failed ({}): {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
