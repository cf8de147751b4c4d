//! In whose name a packet may speak, and who is told of it.

use packet::DropReason;
use router::rib::RouteKind;
use std::net::IpAddr;

use crate::frames::{FAMILIES, Family, address, pattern};
use crate::routed::{
    GATEWAY, HOST, NEXT_HOP, NODE, Routed, UPLINK, datagram, inbound, outbound, remote, routed, text,
};

/// The frame with one hop left.
fn at_its_end(mut frame: Vec<u8>) -> Vec<u8> {
    if frame[12..14] == [8, 0] {
        frame[22] = 1;
        frame[24..26].fill(0);
        let sum = packet::checksum::of(&frame[14..34]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
    } else {
        frame[21] = 1;
    }
    frame
}

#[test]
fn nobody_is_told_of_a_packet_that_was_sent_in_his_name() {
    for family in FAMILIES {
        let frames = [
            // A pod in the name of somebody outside, or of the other pod; somebody outside in the name of a pod.
            (0, datagram((0, GATEWAY), (remote(family), address(1, family)), b"")),
            (0, datagram((0, GATEWAY), (address(1, family), remote(family)), b"")),
            (UPLINK, datagram((NEXT_HOP, NODE), (address(0, family), address(1, family)), b"")),
        ];
        for (ingress, frame) in frames {
            let mut routed_rig = Routed::new();
            let rig = &mut routed_rig.rig;
            rig.send(ingress, &at_its_end(frame));
            rig.run();
            assert!((0..=UPLINK).all(|port| rig.frames(port).is_empty()), "{family:?}");
            rig.assert_only_drops(DropReason::ReversePath, 1);
            rig.assert_balanced();
        }
    }
}

#[test]
fn a_source_that_a_route_forbids_is_not_let_in() {
    for kind in [RouteKind::Blackhole, RouteKind::Prohibit, RouteKind::Unreachable] {
        for (family, prefix) in [(Family::V4, "10.9.0.0/16"), (Family::V6, "fd09::/64")] {
            let mut routed_rig = Routed::new();
            routed_rig.route(prefix, kind.clone());
            routed_rig.publish();
            routed_rig.rig.send(UPLINK, &inbound(family, b""));
            routed_rig.rig.run();
            assert!(routed_rig.rig.frames(1).is_empty());
            routed_rig.rig.assert_only_drops(DropReason::ReversePath, 1);
        }
    }
}

#[test]
fn a_link_local_sender_hears_that_its_address_does_not_reach_so_far() {
    let mut routed_rig = Routed::new();
    let rig = &mut routed_rig.rig;
    rig.send(0, &datagram((0, GATEWAY), (text("fe80::1"), remote(Family::V6)), b""));
    rig.run();
    let errors = rig.frames(0);
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0][54..56], [1, 2]);
    rig.assert_only_drops(DropReason::MartianSource, 1);
}

#[test]
fn padding_of_one_link_does_not_go_on_to_the_next() {
    for family in FAMILIES {
        for padding in [1, 18, 1400] {
            let mut routed_rig = Routed::new();
            let frame = outbound(family, b"short");
            routed_rig.rig.send(0, &[frame.clone(), pattern(padding)].concat());
            routed_rig.rig.run();
            assert_eq!(routed_rig.rig.frames(UPLINK), [routed(&frame, NODE, NEXT_HOP)]);
            routed_rig.rig.assert_balanced();
        }
    }
}

/// An echo request over IPv4 with these options.
fn echo_request(source: IpAddr, options: &[u8]) -> Vec<u8> {
    let mut frame = datagram((0, GATEWAY), (source, address(GATEWAY, Family::V4)), &[]);
    let header_bytes = 20 + options.len();
    frame.truncate(34);
    frame[14] = 0x40 | u8::try_from(header_bytes / 4).unwrap();
    let total = u16::try_from(header_bytes + 8).unwrap();
    frame[16..18].copy_from_slice(&total.to_be_bytes());
    frame[23] = 1;
    frame.extend(options);
    frame[24..26].fill(0);
    let sum = packet::checksum::of(&frame[14..]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame.extend([8, 0, 0xf7, 0xfe, 0, 0, 0, 1]);
    frame
}

#[test]
fn without_a_host_port_the_gateway_answers_only_what_may_be_answered() {
    let pod = address(0, Family::V4);
    let cases: [(IpAddr, &[u8], Option<DropReason>); 5] = [
        (pod, &[], None),
        (pod, &[148, 4, 0, 0], None),
        (remote(Family::V4), &[], Some(DropReason::ReversePath)),
        (pod, &[131, 7, 4, 10, 9, 0, 9, 0], Some(DropReason::SourceRoute)),
        (pod, &[30, 9, 0, 0], Some(DropReason::BadIpOptions)),
    ];
    for (source, options, refused) in cases {
        let mut routed_rig = Routed::new();
        routed_rig.has_host = false;
        routed_rig.publish();
        let rig = &mut routed_rig.rig;
        rig.send(0, &echo_request(source, options));
        rig.run();
        let kinds: Vec<_> = rig.frames(0).iter().map(|frame| frame[34]).collect();
        match refused {
            None => assert_eq!(kinds, [0]),
            Some(DropReason::BadIpOptions) => assert_eq!(kinds, [12], "a parameter problem"),
            Some(_) => assert!(kinds.is_empty()),
        }
        if let Some(reason) = refused {
            rig.assert_only_drops(reason, 1);
        }
        assert!(rig.frames(HOST).is_empty());
        rig.assert_balanced();
    }
}
