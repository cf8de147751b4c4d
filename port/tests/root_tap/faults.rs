//! Devices that go down or away.

use std::time::{Duration, Instant};

use e2e::Namespace;
use packet::DropReason;
use port::tap::{self, NamespaceIdentity, Status};
use port::{EngineKind, PortFault};

use crate::rig::{Rig, address, config, port};

/// Sends one datagram from pod 0 to pod 1 and forwards until it was seen.
fn send_one(rig: &mut Rig) {
    let unicast = rig.seen.unicast;
    rig.udp(0).send_to(b"x", (address(1), 7000)).unwrap();
    rig.run_until(|seen| seen.unicast > unicast);
}

pub(crate) fn link_down(kind: EngineKind) {
    let mut rig = Rig::new(kind, 2);
    let receiver = rig.udp(1);
    receiver.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    send_one(&mut rig);
    assert_eq!(receiver.recv(&mut [0; 8]).unwrap(), 1);

    rig.pods[1].ip("link set eth0 down");
    for _ in 0..3 {
        send_one(&mut rig);
    }
    assert_eq!(rig.seen.faults, [(port(1), PortFault::LinkDown)], "reported once");
    assert_eq!(rig.seen.dropped, [(port(1), DropReason::EgressDown); 3]);
    assert_idle(&mut rig);
    assert!(matches!(
        tap::status(Some(&rig.pods[1].path()), "eth0").unwrap(),
        Status::Present { up: false, .. }
    ));

    rig.pods[1].ip("link set eth0 up");
    rig.pods[1].ip(&format!("neigh replace {} lladdr 02:00:00:00:00:00 dev eth0 nud permanent", address(0)));
    rig.set.revive(port(1));
    send_one(&mut rig);
    assert_eq!(receiver.recv(&mut [0; 8]).unwrap(), 1);
    assert_eq!(rig.seen.faults.len(), 1);
    receiver.send_to(b"back", (address(0), 7000)).unwrap();
    let unicast = rig.seen.unicast;
    rig.run_until(|seen| seen.unicast > unicast);
}

pub(crate) fn device_removed(kind: EngineKind) {
    let mut rig = Rig::new(kind, 3);
    let receiver = rig.udp(1);
    receiver.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    rig.run_until(|_| true);
    assert!(tap::remove(Some(&rig.pods[2].path()), "eth0").unwrap());
    rig.run_until(|seen| seen.faults == [(port(2), PortFault::Gone)]);
    assert_idle(&mut rig);
    let sender = rig.udp(0);
    rig.pods[0].ip(&format!("neigh replace {} lladdr 02:00:00:00:00:02 dev eth0 nud permanent", address(2)));
    sender.send_to(b"to the one that is gone", (address(2), 7000)).unwrap();
    sender.send_to(b"x", (address(1), 7000)).unwrap();
    rig.run_until(|seen| seen.unicast >= 2);
    assert_eq!(receiver.recv(&mut [0; 8]).unwrap(), 1, "others do not notice");
    assert_eq!(rig.seen.dropped, [(port(2), DropReason::EgressDown)]);
    rig.set.revive(port(2));
    rig.run_until(|seen| seen.faults == [(port(2), PortFault::Gone); 2]);
    assert!(rig.set.detach(port(2)));
}

pub(crate) fn namespace_deleted() {
    let pod = Namespace::new("pod");
    let path = pod.path();
    let opened = tap::open(&config(&pod, 1)).unwrap();
    assert_eq!(NamespaceIdentity::of(Some(&path)).unwrap(), opened.identity.netns);
    pod.delete();
    assert_eq!(tap::status(Some(&path), "eth0").unwrap(), Status::Missing);
    assert_eq!(tap::counters(Some(&path), "eth0").unwrap(), None);
    assert!(!tap::remove(Some(&path), "eth0").unwrap());
    assert!(NamespaceIdentity::of(Some(&path)).is_err());
}

/// A worker with nothing to do sleeps: it does not spin on a faulty port.
fn assert_idle(rig: &mut Rig) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        while rig.step(|_| {}) > 0 {}
        let before = Instant::now();
        rig.set.wait(Some(Duration::from_millis(100))).unwrap();
        if before.elapsed() >= Duration::from_millis(90) {
            return;
        }
        assert!(Instant::now() < deadline, "the worker does not come to rest");
    }
}
