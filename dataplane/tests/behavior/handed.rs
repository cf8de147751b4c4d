//! Two workers: what one has routed and another has to send, and what each knows of the other's pins.

use dataplane::{LinkId, QueueOwners};
use packet::{DropReason, Offload, Offloads};

use crate::frames::{FAMILIES, Family, address, checked_payload, mac, pattern};
use crate::rig::Plan;
use crate::routed::{
    GATEWAY, HOST, NEXT_HOP, NODE, Routed, UPLINK, datagram, inbound, may_fragment, outbound, remote, routed,
    text,
};

/// An uplink whose only queue is the second worker's.
fn single() -> Routed {
    Routed::with(2, Plan::owned_by(1))
}

#[test]
fn routed_frames_are_handed_to_the_worker_that_has_the_uplink() {
    for family in FAMILIES {
        let mut routed_rig = single();
        let frames: Vec<_> = (0..100).map(|n| outbound(family, &[n])).collect();
        for frame in &frames {
            routed_rig.rig.ends[0].send_on(0, frame, Offload::NONE).unwrap();
        }
        routed_rig.rig.run();
        let expected: Vec<_> = frames.iter().map(|frame| routed(frame, NODE, NEXT_HOP)).collect();
        assert_eq!(routed_rig.rig.frames(UPLINK), expected);
        assert_eq!(routed_rig.rig.simulation.counters(0).handed_off.get(), 100);
        routed_rig.rig.assert_balanced();
    }
}

#[test]
fn what_comes_by_the_uplink_is_handed_to_the_worker_that_has_the_pod() {
    let mut routed_rig = Routed::with_pods(2, Plan::owned_by(0), Plan::owned_by(1));
    let frame = inbound(Family::V4, b"in");
    routed_rig.rig.send(UPLINK, &frame);
    routed_rig.rig.run();
    assert_eq!(routed_rig.rig.frames(1), [routed(&frame, GATEWAY, 1)]);
    assert_eq!(routed_rig.rig.simulation.counters(1).handed_off.get(), 1);
    routed_rig.rig.assert_balanced();
}

/// The fragments, joined again; each of them is no longer than the MTU.
#[track_caller]
fn joined(fragments: &[Vec<u8>], mtu_bytes: usize) -> Vec<u8> {
    let mut packet = fragments[0][..34].to_vec();
    for (nth, fragment) in fragments.iter().enumerate() {
        assert!(fragment.len() <= 14 + mtu_bytes);
        let word = u16::from_be_bytes([fragment[20], fragment[21]]);
        assert_eq!(usize::from(word & 0x1fff) * 8, packet.len() - 34, "they follow one another");
        assert_eq!(word & 0x2000 != 0, nth + 1 < fragments.len());
        assert_eq!(packet::checksum::of(&fragment[14..34]), 0);
        packet.extend(&fragment[34..]);
    }
    packet
}

#[test]
fn the_worker_that_has_the_uplink_cuts_what_it_is_handed() {
    for offloads in [Offloads::ALL, Offloads::NONE] {
        let narrow = Plan { mtu_bytes: 600, queues: QueueOwners::One(1), ..Plan::with(offloads) };
        let mut routed_rig = Routed::with(2, narrow);
        let (before, frame) =
            (outbound(Family::V4, b"before"), may_fragment(&outbound(Family::V4, &pattern(1400))));
        let after = outbound(Family::V4, b"after");
        for frame in [&before, &frame, &after] {
            routed_rig.rig.ends[0].send_on(0, frame, Offload::NONE).unwrap();
        }
        routed_rig.rig.run();
        let sent = routed_rig.rig.frames(UPLINK);
        assert_eq!(sent.len(), 2 + 3);
        assert_eq!(sent[0], routed(&before, NODE, NEXT_HOP));
        assert_eq!(sent[4], routed(&after, NODE, NEXT_HOP));
        let whole = joined(&sent[1..4], 600);
        assert_eq!(whole[34..], frame[34..]);
        assert!(sent[1..4].iter().all(|fragment| fragment[22] == 63 && fragment[..6] == mac(NEXT_HOP).0));
        routed_rig.rig.assert_balanced();
    }
}

#[test]
fn a_super_frame_of_datagrams_that_are_too_long_is_cut_and_its_datagrams_are_fragmented() {
    let narrow = Plan { mtu_bytes: 600, ..Plan::owned_by(1) };
    let mut routed_rig = Routed::with(2, narrow);
    let payload = pattern(3000);
    let plain = outbound(Family::V4, b"");
    let flow = packet::FiveTuple::read(&plain, &packet::parse(&plain).unwrap()).unwrap();
    let (frame, offload) =
        packet::build::super_frame(crate::frames::link(0, GATEWAY), &flow, &payload, 1000).unwrap();
    routed_rig.rig.ends[0].send_on(0, &may_fragment(&frame), offload).unwrap();
    routed_rig.rig.run();
    let fragments = routed_rig.rig.frames(UPLINK);
    assert_eq!(fragments.len(), 6, "three datagrams, two fragments each");
    let mut arrived = Vec::new();
    for pair in fragments.chunks(2) {
        let mut whole = joined(pair, 600);
        let total = u16::try_from(whole.len() - 14).unwrap();
        whole[16..18].copy_from_slice(&total.to_be_bytes());
        whole[20..22].fill(0);
        arrived.extend(checked_payload(&crate::routed::resummed(&whole)));
    }
    assert_eq!(arrived, payload);
    routed_rig.rig.assert_balanced();
}

#[test]
fn packets_that_waited_are_handed_over_when_they_leave() {
    let mut routed_rig = single();
    let wanted = text("192.168.0.77");
    let frames: Vec<_> =
        (0..80).map(|n| datagram((0, GATEWAY), (address(0, Family::V4), wanted), &[n])).collect();
    for frame in &frames {
        routed_rig.rig.ends[0].send_on(0, frame, Offload::NONE).unwrap();
    }
    routed_rig.rig.run();
    routed_rig.find(LinkId::Uplink, wanted, 77, UPLINK);
    routed_rig.rig.run();
    let expected: Vec<_> = frames.iter().map(|frame| routed(frame, NODE, 77)).collect();
    assert_eq!(routed_rig.rig.frames(UPLINK), expected);
    routed_rig.rig.assert_balanced();
}

#[test]
fn a_ring_that_is_full_drops_by_name_and_nothing_is_lost_without_one() {
    let mut routed_rig = single();
    for _ in 0..10 {
        for n in 0..64 {
            routed_rig.rig.ends[0].send_on(0, &outbound(Family::V4, &[n]), Offload::NONE).unwrap();
        }
        // The worker that has the uplink does not run.
        routed_rig.rig.simulation.step(0, 0);
    }
    let full = routed_rig.rig.dropped(DropReason::HandoffFull);
    assert!(full > 0);
    routed_rig.rig.run();
    assert_eq!(routed_rig.rig.frames(UPLINK).len() as u64 + full, 640);
    routed_rig.rig.assert_balanced();
}

/// The reply to [`datagram`]: ports turned.
fn reply(stations: (usize, usize), ends: (std::net::IpAddr, std::net::IpAddr), payload: &[u8]) -> Vec<u8> {
    let frame = datagram(stations, ends, payload);
    let flow = packet::FiveTuple::read(&frame, &packet::parse(&frame).unwrap()).unwrap();
    let flow = packet::FiveTuple { source_port: 5000, destination_port: 4000, ..flow };
    packet::build::frame(crate::frames::link(stations.0, stations.1), &flow, payload).unwrap()
}

#[test]
fn a_flow_that_one_worker_has_pinned_is_pinned_for_all() {
    for family in FAMILIES {
        let mut routed_rig = Routed::with(2, Plan::default());
        let (client, server) = (address(0, family), address(1, family));
        let question = datagram((GATEWAY, 1), (client, server), b"question");
        routed_rig.rig.ends[HOST].send_on(0, &question, Offload::NONE).unwrap();
        routed_rig.rig.run();
        for worker in [0, 1] {
            let mut answer = reply((1, 0), (server, client), &[u8::try_from(worker).unwrap()]);
            routed_rig.rig.ends[1].send_on(worker, &answer, Offload::NONE).unwrap();
            routed_rig.rig.run();
            answer[..6].copy_from_slice(&mac(GATEWAY).0);
            assert_eq!((routed_rig.rig.frames(0), routed_rig.rig.frames(HOST)), (vec![], vec![answer]));
        }
        routed_rig.rig.assert_balanced();
    }
}

#[test]
fn the_fragments_of_a_pinned_answer_follow_the_first_one_by_whichever_worker_they_come() {
    let mut routed_rig = Routed::with(2, Plan::default());
    let (client, server) = (address(0, Family::V4), address(1, Family::V4));
    routed_rig.rig.send(HOST, &datagram((GATEWAY, 1), (client, server), b"question"));
    routed_rig.rig.run();
    let answer = may_fragment(&reply((1, 0), (server, client), &pattern(1200)));
    let layout = packet::parse(&answer).unwrap();
    let mut fragmenter = router::fragment::Fragmenter::new(&answer, &layout, Offload::NONE, 600).unwrap();
    let mut out = vec![0; 2000];
    let mut count = 0;
    while let Some(length) = fragmenter.next_into(&mut out) {
        routed_rig.rig.ends[1].send_on(count % 2, &out[..length], Offload::NONE).unwrap();
        routed_rig.rig.run();
        count += 1;
    }
    assert!(count >= 3);
    assert_eq!((routed_rig.rig.frames(0).len(), routed_rig.rig.frames(HOST).len()), (0, count));
}

#[test]
fn an_error_about_a_pinned_flow_goes_to_its_end_by_the_host_port_and_no_quotation_sends_another_there() {
    let mut routed_rig = Routed::new();
    let rig = &mut routed_rig.rig;
    let (client, server) = (remote(Family::V4), address(1, Family::V4));
    let question = datagram((GATEWAY, 1), (client, server), b"question");
    rig.send(HOST, &question);
    rig.run();
    let error = |to| {
        let flow = packet::FiveTuple {
            source: server,
            destination: to,
            protocol: 1,
            source_port: 0,
            destination_port: 0,
        };
        let mut frame =
            packet::build::frame(crate::frames::link(1, GATEWAY), &flow, &question[14..42]).unwrap();
        frame[34..36].copy_from_slice(&[3, 3]);
        frame[36..38].fill(0);
        let sum = packet::checksum::of(&frame[34..]);
        frame[36..38].copy_from_slice(&sum.to_be_bytes());
        frame
    };
    rig.send(1, &error(client));
    rig.run();
    assert_eq!((rig.frames(HOST), rig.frames(UPLINK).len()), (vec![error(client)], 0));
    rig.send(1, &error(text("10.9.0.8")));
    rig.run();
    assert_eq!((rig.frames(HOST).len(), rig.frames(UPLINK).len()), (0, 1), "routed as any other");
}

#[test]
fn what_the_host_says_from_a_link_local_address_pins_nothing() {
    let mut routed_rig = Routed::new();
    let rig = &mut routed_rig.rig;
    let (host, pod) = (text("fe80::1"), text("fe80::2"));
    rig.send(HOST, &datagram((GATEWAY, 1), (host, pod), b"hello"));
    rig.run();
    assert_eq!(rig.frames(1).len(), 1);
    // The reverse flow, from pod to pod this time.
    let frame = reply((1, 0), (pod, host), b"hello");
    rig.send(1, &frame);
    rig.run();
    assert_eq!(rig.frames(0), [frame]);
}
