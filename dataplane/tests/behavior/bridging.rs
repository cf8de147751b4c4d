//! The bridge, end to end: flooding, learning, order, handoff.

use packet::Offloads;
use packet::protocol::ip_protocol::TCP;

use crate::frames::{Family, STRANGER, broadcast, mac, super_frame, tcp, udp};
use crate::rig::{Plan, Rig};

#[test]
fn an_unknown_destination_is_flooded_to_all_but_the_ingress() {
    let mut rig = Rig::new(1, &vec![Plan::default(); 4]);
    let frame = udp(0, STRANGER, b"who are you");
    rig.send(0, &frame);
    rig.run();
    assert!(rig.received(0).is_empty());
    for other in 1..4 {
        assert_eq!(rig.frames(other), std::slice::from_ref(&frame));
    }
    let worker = rig.simulation.counters(0);
    assert_eq!((worker.forwarded.get(), worker.copies.get()), (1, 2));
    rig.assert_balanced();
}

#[test]
fn a_known_destination_is_sent_to_its_port_alone() {
    let mut rig = Rig::new(1, &vec![Plan::default(); 4]);
    rig.send(3, &broadcast(3, b"here I am"));
    rig.run();
    (0..3).for_each(|other| drop(rig.frames(other)));
    rig.send(1, &udp(1, 3, b"hello"));
    rig.run();
    assert_eq!(rig.frames(3), [udp(1, 3, b"hello")]);
    assert!(rig.received(0).is_empty() && rig.received(2).is_empty());
    rig.assert_balanced();
}

#[test]
fn what_one_frame_of_a_burst_teaches_serves_the_next() {
    let mut rig = Rig::new(1, &vec![Plan::default(); 3]);
    rig.send(0, &broadcast(0, b""));
    rig.send(1, &udp(1, 0, b""));
    rig.run();
    assert_eq!(rig.frames(0), [udp(1, 0, b"")]);
    assert_eq!(rig.frames(2), [broadcast(0, b"")]);
}

#[test]
fn a_station_that_moves_is_followed_at_once() {
    let mut rig = Rig::new(1, &vec![Plan::default(); 3]);
    rig.introduce();
    rig.send(2, &udp(1, 0, b"I am here now"));
    rig.run();
    rig.send(0, &udp(0, 1, b"found you"));
    rig.run();
    assert_eq!(rig.frames(2), [udp(0, 1, b"found you")]);
    assert!(rig.received(1).is_empty());
}

#[test]
fn an_address_is_forgotten_after_the_aging_time() {
    let mut rig = Rig::new(1, &vec![Plan::default(); 3]);
    rig.introduce();
    rig.now_ms = 299_000;
    rig.send(0, &udp(0, 1, b"still known"));
    rig.run();
    assert!(rig.received(2).is_empty());
    rig.now_ms = 310_000;
    rig.send(0, &udp(0, 1, b"forgotten"));
    rig.run();
    assert_eq!(rig.frames(2), [udp(0, 1, b"forgotten")]);
}

#[test]
fn a_frame_and_its_vlan_tags_pass_untouched() {
    let mut rig = Rig::new(1, &vec![Plan::default(); 2]);
    let mut tagged = udp(0, STRANGER, b"tagged");
    tagged.splice(12..12, [0x88, 0xa8, 0, 5, 0x81, 0, 0xe0, 7]);
    rig.send(0, &tagged);
    rig.run();
    assert_eq!(rig.frames(1), [tagged]);
}

#[test]
fn a_port_that_is_set_down_is_neither_heard_nor_flooded_to() {
    let mut rig = Rig::new(1, &vec![Plan::default(); 3]);
    rig.change(2, |entry| entry.up = false);
    rig.send(0, &broadcast(0, b""));
    rig.send(2, &broadcast(2, b""));
    rig.run();
    assert_eq!((rig.frames(1), rig.frames(2)), (vec![broadcast(0, b"")], vec![]));
    assert_eq!(rig.fdb.lookup(mac(2), 0), None);
    rig.assert_balanced();
}

#[test]
fn a_frame_for_another_workers_port_is_handed_to_that_worker_and_counted_there() {
    let mut rig = Rig::new(2, &[Plan::owned_by(0), Plan::owned_by(1)]);
    rig.introduce();
    rig.send(0, &udp(0, 1, b"over to you"));
    rig.run();
    assert_eq!(rig.frames(1), [udp(0, 1, b"over to you")]);
    let [first, second] = [0, 1].map(|worker| rig.simulation.counters(worker));
    assert_eq!((first.received.get(), first.handed_off.get()), (0, 1));
    assert_eq!((second.received.get(), second.forwarded.get()), (1, 1));
    rig.assert_balanced();
}

#[test]
fn a_flooded_frame_reaches_the_ports_of_every_worker() {
    let mut rig = Rig::new(3, &[Plan::owned_by(0), Plan::owned_by(1), Plan::owned_by(2), Plan::default()]);
    rig.send(1, &broadcast(1, b"all of you"));
    rig.run();
    for other in [0, 2, 3] {
        assert_eq!(rig.frames(other), [broadcast(1, b"all of you")]);
    }
    assert_eq!(rig.sum(|counters| counters.received.get()), 1);
    rig.assert_balanced();
}

#[test]
fn handing_over_uses_no_buffer_up() {
    let mut rig = Rig::with_buffers(2, &[Plan::owned_by(0), Plan::owned_by(1)], 64);
    rig.introduce();
    for round in 0..100 {
        for n in 0..64 {
            rig.send(0, &udp(0, 1, &[round, n]));
            rig.send(1, &broadcast(1, &[round, n]));
        }
        rig.run();
        assert_eq!((rig.frames(1).len(), rig.frames(0).len()), (64, 64));
    }
    rig.assert_balanced();
}

/// Marks that tell sequence numbers from one another in whatever arrives.
fn marks(rig: &Rig, port: usize) -> Vec<u8> {
    rig.frames(port).iter().map(|frame| *frame.last().unwrap()).collect()
}

#[test]
fn order_within_a_flow_is_kept_from_worker_to_worker() {
    let mut rig = Rig::new(2, &[Plan::default(), Plan::owned_by(1)]);
    rig.introduce();
    for n in 0..200 {
        rig.ends[0].send_on(0, &tcp(0, 1, &[n]), packet::Offload::NONE).unwrap();
        // The receiving worker now and then runs first.
        if n % 7 == 0 {
            rig.simulation.step(usize::from(n % 2), 0);
        }
    }
    rig.run();
    assert_eq!(marks(&rig, 1), (0..200).collect::<Vec<u8>>());
}

#[test]
fn order_within_a_flow_is_kept_between_whole_and_cut_frames() {
    for plans in [
        [Plan::default(), Plan::with(Offloads::NONE)],
        [Plan::owned_by(0), Plan { queues: dataplane::QueueOwners::One(1), ..Plan::with(Offloads::NONE) }],
    ] {
        let mut rig = Rig::new(2, &plans);
        rig.introduce();
        let mut expected = Vec::new();
        for n in 0..60 {
            if n % 3 == 1 {
                let (frame, offload) = super_frame(0, 1, Family::V4, TCP, &[n; 2000], 1000);
                rig.send_unfinished(0, &frame, offload);
                expected.extend([n, n]);
            } else {
                rig.send(0, &tcp(0, 1, &[n]));
                expected.push(n);
            }
        }
        rig.run();
        assert_eq!(marks(&rig, 1), expected);
        rig.assert_balanced();
    }
}

#[test]
fn a_frame_that_was_handed_over_is_not_handed_on() {
    // The queue moves from worker 1 to worker 0 while a frame is under way.
    let mut rig = Rig::new(2, &[Plan::owned_by(0), Plan::owned_by(1)]);
    rig.introduce();
    rig.send(0, &udp(0, 1, b""));
    rig.simulation.step(0, 0);
    rig.change(1, |entry| entry.queues = dataplane::QueueOwners::One(0));
    rig.run();
    rig.assert_only_drops(packet::DropReason::EgressDown, 1);
    rig.assert_balanced();
}
