//! Devices that come, go and are full; several workers.

use std::collections::BTreeMap;

use e2e::frames::{EXPERIMENTAL, IPV4, ethernet, ipv4, udp};
use e2e::{Namespace, RawSocket};
use packet::{Burst, DropReason, MacAddress};
use port::packet_socket::{self, PacketConfig, PacketError};
use port::tap::{self, Status};
use port::{EngineKind, PortFault, PortSet, Queue};

use crate::rig::{Rig, SILENCE, config, device, port, wire};

const BROADCAST: MacAddress = MacAddress::BROADCAST;
const A: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);

fn numbered(number: usize) -> Vec<u8> {
    ethernet(BROADCAST, A, EXPERIMENTAL, &[&number.to_be_bytes()[..], &[0; 40]].concat())
}

pub(crate) fn link_down(kind: EngineKind) {
    let mut rig = Rig::new(kind);
    for round in 1..=2 {
        rig.switch.ip("link set v0 down");
        rig.run_until(|seen| seen.faults.len() == 2 * round - 1);
        let near = rig.raw(1);
        let dropped = rig.seen.dropped.len();
        near.send(&numbered(1));
        rig.run_until(|seen| seen.dropped.len() == dropped + 1);
        assert_eq!(rig.seen.dropped.last(), Some(&DropReason::EgressDown));
        rig.switch.ip("link set v0 up");
        rig.set.revive(port(0));
        for from in [0, 1] {
            assert_eq!(rig.pass(from, &[numbered(2)]), [numbered(2)]);
        }
        assert_eq!(rig.seen.faults.last(), Some(&(port(0), PortFault::LinkDown)));
        rig.seen.faults.push((port(0), PortFault::LinkDown));
    }
}

/// A link that is set down is noticed when something is sent, too.
pub(crate) fn removed(kind: EngineKind) {
    let mut rig = Rig::new(kind);
    let path = rig.switch.path();
    let before = tap::status(Some(&path), &device(0)).unwrap();
    rig.switch.ip("link del v0");
    rig.run_until(|seen| !seen.faults.is_empty());
    assert_eq!(rig.seen.faults, [(port(0), PortFault::LinkDown)]);
    assert_eq!(tap::status(Some(&path), &device(0)).unwrap(), Status::Missing);
    assert!(rig.set.detach(port(0)));

    wire(&rig.switch, &rig.far[0], 0);
    let opened = packet_socket::open(&config(&rig.switch, 0, 1)).unwrap();
    let Status::Present { identity, .. } = before else { panic!("{before:?}") };
    assert_ne!(opened.identity, identity);
    rig.set.attach(port(0), Queue::Device(opened.queues.into_iter().next().unwrap())).unwrap();
    for from in [0, 1] {
        assert_eq!(rig.pass(from, &[numbered(3)]), [numbered(3)]);
    }
}

/// What does not fit into the socket is dropped by the kernel, and every such frame is counted.
pub(crate) fn full(kind: EngineKind) {
    const FRAMES: usize = 40_000;
    let mut rig = Rig::new(kind);
    let near = rig.raw(0);
    (0..FRAMES).for_each(|number| near.send(&numbered(number)));
    let deadline = std::time::Instant::now() + crate::rig::DEADLINE;
    let mut dropped = 0;
    while rig.seen.frames + dropped < FRAMES {
        assert!(std::time::Instant::now() < deadline, "{} and {dropped}", rig.seen.frames);
        if rig.step(|_| {}) == 0 {
            rig.set.wait(Some(SILENCE)).unwrap();
            dropped = usize::try_from(rig.drops[0].total()).unwrap();
        }
    }
    assert!(dropped > 0 && rig.seen.frames + dropped == FRAMES, "{} and {dropped}", rig.seen.frames);
    assert_eq!(rig.drops[1].total(), 0);
}

/// Each flow is one worker's, each worker has some, no frame comes twice.
pub(crate) fn shared(kind: EngineKind) {
    const FLOWS: u16 = 64;
    let (switch, far) = (Namespace::new_quiet("switch"), Namespace::new_quiet("far"));
    wire(&switch, &far, 0);
    let opened = packet_socket::open(&config(&switch, 0, 2)).unwrap();
    assert_eq!((opened.queues.len(), opened.warnings), (2, vec![]));
    let mut workers: Vec<_> = opened
        .queues
        .into_iter()
        .map(|queue| {
            let mut set = PortSet::new(kind, 256).unwrap();
            set.attach(port(0), Queue::Device(queue)).unwrap();
            set
        })
        .collect();
    let near = RawSocket::open(&far, "eth0");
    for round in 0..4_u8 {
        for flow in 0..FLOWS {
            let addresses = [[10, 9, 0, 1], [10, 9, 0, 2]];
            let (there, ports) = (round % 2 == 0, [flow + 1000, 53]);
            let [source, destination] = if there { addresses } else { [addresses[1], addresses[0]] };
            let [from, to] = if there { ports } else { [ports[1], ports[0]] };
            let packet = ipv4(source.into(), destination.into(), 17, &udp(from, to, &[round; 20]));
            near.send(&ethernet(BROADCAST, A, IPV4, &packet));
        }
    }
    // Flow → worker → frames.
    let mut heard: BTreeMap<u16, [usize; 2]> = BTreeMap::new();
    let mut burst = Burst::new();
    let total = |heard: &BTreeMap<u16, [usize; 2]>| heard.values().flatten().sum::<usize>();
    let deadline = std::time::Instant::now() + crate::rig::DEADLINE;
    while total(&heard) < 4 * usize::from(FLOWS) {
        assert!(std::time::Instant::now() < deadline, "{heard:?}");
        for (worker, set) in workers.iter_mut().enumerate() {
            set.receive(&mut burst);
            for frame in burst.frames() {
                let bytes = frame.bytes();
                let ports = [[bytes[34], bytes[35]], [bytes[36], bytes[37]]].map(u16::from_be_bytes);
                heard.entry(ports[0].max(ports[1])).or_default()[worker] += 1;
            }
            burst.recycle(set.pool());
        }
    }
    assert_eq!(total(&heard), 4 * usize::from(FLOWS), "none comes twice");
    assert!(heard.values().all(|workers| *workers == [4, 0] || *workers == [0, 4]), "{heard:?}");
    for worker in [0, 1] {
        assert!(heard.values().any(|workers| workers[worker] == 4), "{heard:?}");
    }
}

/// A device may be opened while it is down, by several workers too.
pub(crate) fn opened_while_down(kind: EngineKind) {
    let (switch, far) = (Namespace::new_quiet("switch"), Namespace::new_quiet("far"));
    wire(&switch, &far, 0);
    switch.ip("link set v0 down");
    let opened = packet_socket::open(&config(&switch, 0, 2)).unwrap();
    let expected = if opened.warnings.is_empty() { 2 } else { 1 };
    assert_eq!(opened.queues.len(), expected, "{:?}", opened.warnings);
    let mut sets: Vec<_> = opened
        .queues
        .into_iter()
        .map(|queue| {
            let mut set = PortSet::new(kind, 64).unwrap();
            set.attach(port(0), Queue::Device(queue)).unwrap();
            set
        })
        .collect();
    let mut faults = Vec::new();
    let mut burst = Burst::new();
    e2e::wait_until("the fault", || {
        for set in &mut sets {
            set.receive(&mut burst);
            set.take_faults(&mut faults);
        }
        (faults.len() == expected).then_some(())
    });
    assert_eq!(faults[0], (port(0), PortFault::LinkDown));
    switch.ip("link set v0 up");
    sets.iter_mut().for_each(|set| set.revive(port(0)));
    e2e::wait_until("a frame", || {
        RawSocket::open(&far, "eth0").send(&numbered(1));
        for set in &mut sets {
            set.receive(&mut burst);
        }
        let frames = burst.len();
        burst.recycle(sets[0].pool());
        (frames > 0).then_some(())
    });
}

pub(crate) fn named_errors() {
    let switch = Namespace::new_quiet("switch");
    let error = packet_socket::open(&config(&switch, 0, 1)).unwrap_err();
    assert!(matches!(error, PacketError::NoDevice { .. }), "{error:?}");
    assert!(error.to_string().starts_with("there is no device v0 in "), "{error}");
    let elsewhere =
        PacketConfig { netns: Some("/var/run/netns/fly-no-such".into()), ..config(&switch, 0, 1) };
    assert!(packet_socket::open(&elsewhere).unwrap_err().to_string().contains("fly-no-such"));
}

pub(crate) fn device_is_left_alone() {
    let (switch, far) = (Namespace::new_quiet("switch"), Namespace::new_quiet("far"));
    wire(&switch, &far, 0);
    let look = || {
        let text = switch.ip("-d -j link show dev v0");
        let links: Vec<&str> = text.split(',').filter(|part| !part.contains("promiscuity")).collect();
        links.join(",")
    };
    let before = look();
    let opened = packet_socket::open(&config(&switch, 0, 2)).unwrap();
    assert!(switch.ip("-d link show dev v0").contains("promiscuity 2"));
    assert_eq!((opened.mtu_bytes, opened.mac.is_some()), (1500, true));
    assert_eq!(look(), before);
    drop(opened);
    // A child that another test starts may hold the sockets a little longer.
    e2e::wait_until("it is not promiscuous", || {
        switch.ip("-d link show dev v0").contains("promiscuity 0").then_some(())
    });
    assert_eq!(look(), before);
}
