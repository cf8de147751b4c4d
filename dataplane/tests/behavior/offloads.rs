//! Super-frames and partial checksums, for ports that take them and ports that do not.

use dataplane::QueueOwners;
use packet::protocol::ip_protocol::{TCP, UDP};
use packet::{Offload, Offloads};
use smoltcp::wire::{EthernetFrame, Ipv4Packet, Ipv6Packet, TcpPacket};

use crate::frames::{
    FAMILIES, Family, STRANGER, checked_payload, finished, pattern, super_frame, tcp, unfinished,
};
use crate::rig::{Plan, Rig};

/// Checksums only: what a port offers whose kernel lacks USO, or a VM without TSO.
const CHECKSUM_ONLY: Offloads = Offloads { checksum: true, ..Offloads::NONE };

#[test]
fn a_super_frame_crosses_whole_to_a_port_that_takes_it() {
    for family in FAMILIES {
        for protocol in [TCP, UDP] {
            let mut rig = Rig::new(1, &vec![Plan::default(); 2]);
            rig.introduce();
            let (frame, offload) = super_frame(0, 1, family, protocol, &pattern(30_000), 1000);
            rig.send_unfinished(0, &frame, offload);
            rig.run();
            assert_eq!(rig.received(1), [(frame, offload)]);
            rig.assert_balanced();
        }
    }
}

#[test]
fn a_super_frame_is_cut_for_a_port_that_does_not_take_it() {
    for offloads in [Offloads::NONE, CHECKSUM_ONLY] {
        for family in FAMILIES {
            for protocol in [TCP, UDP] {
                let mut rig = Rig::new(1, &[Plan::default(), Plan::with(offloads)]);
                rig.introduce();
                let (frame, offload) = super_frame(0, 1, family, protocol, &pattern(60_000), 1000);
                rig.send_unfinished(0, &frame, offload);
                rig.run();
                let segments = rig.frames(1);
                assert_eq!(segments.len(), 60);
                let payload: Vec<u8> = segments.iter().flat_map(|segment| checked_payload(segment)).collect();
                assert_eq!(payload, pattern(60_000), "{family:?} {protocol}");
                assert_eq!(rig.totals(1).tx_packets, 60);
                assert_eq!(rig.sum(|counters| counters.forwarded.get()), 1);
                rig.assert_balanced();
            }
        }
    }
}

#[test]
fn segments_read_by_another_stack_are_in_sequence_and_only_the_last_pushes() {
    for family in FAMILIES {
        let mut rig = Rig::new(1, &[Plan::default(), Plan::with(Offloads::NONE)]);
        rig.introduce();
        let (frame, offload) = super_frame(0, 1, family, TCP, &pattern(2500), 1000);
        rig.send_unfinished(0, &frame, offload);
        rig.run();
        let read = |segment: &Vec<u8>| {
            let ethernet = EthernetFrame::new_checked(&segment[..]).unwrap();
            let (source, destination, transport) = match family {
                Family::V4 => {
                    let ip = Ipv4Packet::new_checked(ethernet.payload()).unwrap();
                    assert!(ip.verify_checksum());
                    (ip.src_addr().into(), ip.dst_addr().into(), ip.payload().to_vec())
                }
                Family::V6 => {
                    let ip = Ipv6Packet::new_checked(ethernet.payload()).unwrap();
                    (ip.src_addr().into(), ip.dst_addr().into(), ip.payload().to_vec())
                }
            };
            let tcp = TcpPacket::new_checked(&transport[..]).unwrap();
            assert!(tcp.verify_checksum(&source, &destination));
            (tcp.seq_number().0, tcp.psh())
        };
        let seen: Vec<_> = rig.frames(1).iter().map(read).collect();
        assert_eq!(seen, [(1, false), (1001, false), (2001, true)]);
    }
}

#[test]
fn a_partial_checksum_stays_so_for_a_port_that_completes_it() {
    let mut rig = Rig::new(1, &[Plan::default(), Plan::with(CHECKSUM_ONLY)]);
    rig.introduce();
    let (frame, offload) = unfinished(0, 1, Family::V4, TCP, b"unfinished");
    rig.send_unfinished(0, &frame, offload);
    rig.run();
    assert_eq!(rig.received(1), [(frame, offload)]);
}

#[test]
fn a_partial_checksum_is_completed_for_a_port_that_does_not() {
    for family in FAMILIES {
        for protocol in [TCP, UDP] {
            let mut rig = Rig::new(1, &[Plan::default(), Plan::with(Offloads::NONE)]);
            rig.introduce();
            let (frame, offload) = unfinished(0, 1, family, protocol, &pattern(777));
            rig.send_unfinished(0, &frame, offload);
            rig.run();
            let frames = rig.frames(1);
            assert_eq!(frames, [finished(&frame, offload)]);
            assert_eq!(checked_payload(&frames[0]), pattern(777));
        }
    }
}

#[test]
fn a_flooded_frame_is_finished_for_those_ports_that_need_it() {
    let plans = [Plan::default(), Plan::default(), Plan::with(Offloads::NONE), Plan::default()];
    for owner in [0, 1] {
        let mut plans = plans.clone();
        plans[3].queues = QueueOwners::One(owner);
        let mut rig = Rig::new(2, &plans);
        let (frame, offload) = unfinished(0, STRANGER, Family::V6, UDP, b"anybody");
        rig.send_unfinished(0, &frame, offload);
        rig.run();
        for port in 1..4 {
            let [(got, left)] = &rig.received(port)[..] else { panic!("one frame for port {port}") };
            assert_eq!(finished(got, *left), finished(&frame, offload));
        }
        rig.assert_balanced();
    }
}

#[test]
fn a_flooded_super_frame_is_cut_for_some_and_whole_for_others() {
    let plans = [Plan::default(), Plan::with(Offloads::NONE), Plan::default(), Plan::owned_by(1)];
    let mut rig = Rig::new(2, &plans);
    let (frame, offload) = super_frame(0, STRANGER, Family::V4, TCP, &pattern(5000), 1000);
    rig.send_unfinished(0, &frame, offload);
    rig.run();
    assert_eq!(rig.frames(1).len(), 5);
    assert_eq!(rig.received(2), [(frame.clone(), offload)]);
    assert_eq!(rig.received(3), [(frame, offload)]);
    rig.assert_balanced();
}

#[test]
fn a_super_frame_for_another_workers_port_is_cut_there() {
    let owned = Plan { queues: QueueOwners::One(1), ..Plan::with(Offloads::NONE) };
    let mut rig = Rig::new(2, &[Plan::owned_by(0), owned]);
    rig.introduce();
    let (frame, offload) = super_frame(0, 1, Family::V6, TCP, &pattern(50_000), 1400);
    rig.send_unfinished(0, &frame, offload);
    rig.run();
    let payload: Vec<u8> = rig.frames(1).iter().flat_map(|segment| checked_payload(segment)).collect();
    assert_eq!(payload, pattern(50_000));
    rig.assert_balanced();
}

#[test]
fn more_segments_than_a_burst_holds_are_all_sent() {
    let mut rig = Rig::new(1, &[Plan::default(), Plan::with(Offloads::NONE)]);
    rig.introduce();
    let (frame, offload) = super_frame(0, 1, Family::V4, TCP, &pattern(8 * 1000), 8);
    rig.send_unfinished(0, &frame, offload);
    rig.run();
    let segments = rig.frames(1);
    assert_eq!(segments.len(), 1000);
    let payload: Vec<u8> = segments.iter().flat_map(|segment| checked_payload(segment)).collect();
    assert_eq!(payload, pattern(8 * 1000));
}

#[test]
fn a_finished_frame_passes_byte_for_byte_even_if_its_checksum_is_wrong() {
    // A bridge carries what it is given; the receiver judges.
    let mut rig = Rig::new(1, &[Plan::default(), Plan::with(Offloads::NONE)]);
    rig.introduce();
    let mut frame = tcp(0, 1, b"spoiled");
    *frame.last_mut().unwrap() ^= 0xff;
    rig.send_unfinished(0, &frame, Offload::NONE);
    rig.run();
    assert_eq!(rig.frames(1), [frame]);
}
