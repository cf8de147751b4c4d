//! A foreign source of routes.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};

use e2e::Namespace;
use node::kernel::{FollowOptions, KernelRouteKey, KernelRouteKind};

use crate::rig::Rig;

/// BIRD, as an operator would run it, until the value is dropped.
struct Bird {
    child: Child,
    _place: tempfile::TempDir,
}

impl Bird {
    fn start(namespace: &Namespace) -> Self {
        let place = tempfile::tempdir().expect("a directory can be made");
        let configuration = place.path().join("bird.conf");
        let text = "router id 10.0.0.1;\n\
            protocol device { }\n\
            protocol kernel { ipv4 { export all; }; }\n\
            protocol kernel { ipv6 { export all; }; }\n\
            protocol static { ipv4; route 192.168.0.0/24 via 10.0.0.2;\n\
              route 192.168.1.0/24 via 10.0.0.2 via 10.0.1.2; route 192.168.2.0/24 blackhole; }\n\
            protocol static { ipv6; route fd99::/64 via fd00::2; }\n";
        std::fs::write(&configuration, text).expect("it can be written");
        let (configuration, control) = (configuration.to_string_lossy(), place.path().join("bird.ctl"));
        let control = control.to_string_lossy().into_owned();
        let child = namespace.run(|| {
            let arguments = ["-f", "-c", &configuration, "-s", &control];
            Command::new("bird").args(arguments).stderr(Stdio::null()).spawn().expect("it can be run")
        });
        Self { child, _place: place }
    }

    /// As its supervisor does.
    fn stop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        let signal = rustix::process::Signal::TERM;
        rustix::process::kill_process(pid.expect("it has a number"), signal).expect("it can be told to end");
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

pub(crate) fn the_routes_of_bird_come_and_go_with_it() {
    let options = FollowOptions { tables: vec![254], protocols: vec![12], ..FollowOptions::default() };
    let rig = Rig::start(options);
    assert!(rig.told().known.routes.is_empty());
    let mut bird = Bird::start(&rig.namespace);
    rig.await_routes("the routes of BIRD are told", |routes| routes.len() == 4);
    rig.compare("BIRD runs");
    let key = KernelRouteKey {
        table: 254,
        protocol: 12,
        prefix: "192.168.1.0/24".parse().expect("a network"),
        metric: 32,
    };
    let Some(KernelRouteKind::Hops(hops)) = rig.told().known.routes.get(&key).cloned() else {
        panic!("no such route: {:?}", rig.told().known.routes)
    };
    assert_eq!(
        hops.iter().filter_map(|hop| hop.gateway).map(|gateway| gateway.to_string()).collect::<Vec<_>>(),
        ["10.0.0.2", "10.0.1.2"]
    );
    bird.stop();
    rig.await_routes("they are gone", BTreeMap::is_empty);
    rig.compare("BIRD has ended");
}
