//! Ports that fail, and snapshots that change: nobody else notices.

use dataplane::Event;
use packet::DropReason;
use port::PortFault;
use port::memory::Link;

use crate::frames::{broadcast, udp};
use crate::rig::{Plan, Rig, port};

#[test]
fn a_device_that_goes_away_is_an_event_and_a_counted_drop_for_that_port_alone() {
    for (link, fault) in [(Link::Down, PortFault::LinkDown), (Link::Gone, PortFault::Gone)] {
        let mut rig = Rig::new(1, &vec![Plan::default(); 3]);
        rig.introduce();
        rig.ends[1].set_link(link);
        rig.run();
        let event = Event::PortFault { worker: 0, port: port(1), fault };
        assert_eq!(rig.simulation.events().next(), Some(event));
        rig.send(0, &udp(0, 1, b"lost"));
        rig.send(0, &udp(0, 2, b"arrives"));
        rig.run();
        assert_eq!(rig.frames(2), [udp(0, 2, b"arrives")]);
        rig.assert_only_drops(DropReason::EgressDown, 1);
        assert_eq!(rig.simulation.events().next(), None, "a fault is reported once");
        rig.assert_balanced();
    }
}

#[test]
fn every_worker_reports_the_fault_of_its_own_queue() {
    let mut rig = Rig::new(2, &vec![Plan::default(); 2]);
    rig.ends[0].set_link(Link::Gone);
    rig.run();
    let mut reporters: Vec<_> = std::iter::from_fn(|| rig.simulation.events().next())
        .map(|event| match event {
            Event::PortFault { worker, port: faulty, fault: PortFault::Gone } if faulty == port(0) => worker,
            other => panic!("{other:?}"),
        })
        .collect();
    reporters.sort_unstable();
    assert_eq!(reporters, [0, 1]);
}

#[test]
fn a_flood_passes_by_a_port_that_is_gone() {
    let mut rig = Rig::new(1, &vec![Plan::default(); 3]);
    rig.ends[1].set_link(Link::Gone);
    rig.run();
    rig.send(0, &broadcast(0, b""));
    rig.run();
    assert_eq!(rig.frames(2), [broadcast(0, b"")]);
    assert_eq!(rig.simulation.counters(0).copies_dropped.get(), 1);
    rig.assert_balanced();
}

#[test]
fn a_published_snapshot_is_used_from_the_next_step_on_and_reported() {
    let mut rig = Rig::new(2, &vec![Plan::default(); 2]);
    rig.publish();
    assert_eq!(rig.simulation.generation_seen(0), 0);
    rig.simulation.step(0, 0);
    assert_eq!((rig.simulation.generation_seen(0), rig.simulation.generation_seen(1)), (1, 0));
    rig.publish();
    rig.run();
    assert_eq!((rig.simulation.generation_seen(0), rig.simulation.generation_seen(1)), (2, 2));
}

#[test]
fn frames_from_a_port_that_the_snapshot_does_not_name_are_counted_drops() {
    let mut rig = Rig::new(1, &vec![Plan::default(); 2]);
    let gone = rig.entries.remove(0);
    rig.publish();
    rig.send(0, &udp(0, 1, b""));
    rig.run();
    rig.assert_only_drops(DropReason::IngressDown, 1);
    assert_eq!(gone.counters.totals().rx_packets, 0);
}
