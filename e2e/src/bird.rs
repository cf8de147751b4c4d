//! The BIRD routing daemon, as an operator would run it.

use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::Namespace;

/// BIRD in a namespace, with static routes that it gives to the kernel; ended when dropped.
#[derive(Debug)]
pub struct Bird {
    child: Child,
    // Its configuration and control socket.
    _place: TempDir,
}

impl Bird {
    /// Starts it with these static routes of IPv4 and of IPv6, each a `route …;` of its configuration.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start(namespace: &Namespace, v4_routes: &str, v6_routes: &str) -> Self {
        let place = tempfile::Builder::new().prefix("fly-").tempdir().expect("a directory can be made");
        let configuration = place.path().join("bird.conf");
        let text = format!(
            "router id 192.0.2.1;\n\
             protocol device {{ }}\n\
             protocol kernel {{ ipv4 {{ export all; }}; }}\n\
             protocol kernel {{ ipv6 {{ export all; }}; }}\n\
             protocol static {{ ipv4; {v4_routes} }}\n\
             protocol static {{ ipv6; {v6_routes} }}\n"
        );
        std::fs::write(&configuration, text).expect("the configuration can be written");
        let mut command = Command::new("bird");
        command.arg("-f").arg("-c").arg(&configuration).arg("-s").arg(place.path().join("bird.ctl"));
        command.stderr(Stdio::null());
        let child = namespace.run(|| command.spawn()).unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, _place: place }
    }

    /// Ends it as its supervisor does; it takes its routes back.
    ///
    /// # Panics
    /// If it does not end in good order.
    pub fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it runs");
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "{status}");
    }
}

impl Drop for Bird {
    fn drop(&mut self) {
        // After an end in good order it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
