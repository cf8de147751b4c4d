//! Floods: bounded answers, bounded memory, and the others go on.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dataplane::{LinkId, Punt};
use packet::{DropReason, arp};

use crate::frames::{FAMILIES, Family, address, mac};
use crate::rig::{Plan, port};
use crate::routed::{
    GATEWAY, HOST, NODE, Routed, UPLINK, datagram, outbound, remote, routed, text, with_hop_limit,
};

/// Sends `count` frames to port 0, a burst at a time, and takes what comes out; returns how many came out of port 0.
fn flood(routed: &mut Routed, count: usize, mut frame: impl FnMut(usize) -> Vec<u8>) -> usize {
    let mut answers = 0;
    for n in 0..count {
        routed.rig.send(0, &frame(n));
        if n % 64 == 63 || n + 1 == count {
            routed.rig.run();
            answers += routed.rig.received(0).len();
            routed.rig.received(HOST);
        }
    }
    answers
}

#[test]
fn a_flood_whose_time_ends_here_is_answered_at_a_bounded_rate_and_others_are_still_told() {
    for family in FAMILIES {
        let mut routed = Routed::new();
        let expired = with_hop_limit(&outbound(family, b"trace"), 1);
        // One sender: six at once, then one a second (`icmp_ratelimit`).
        assert_eq!(flood(&mut routed, 1000, |_| expired.clone()), 6);
        routed.rig.now_ms = 1_000;
        assert_eq!(flood(&mut routed, 1000, |_| expired.clone()), 1);
        let other = with_hop_limit(&datagram((1, GATEWAY), (address(1, family), remote(family)), b""), 1);
        routed.rig.send(1, &other);
        routed.rig.run();
        routed.rig.assert_only_drops(DropReason::TtlExpired, 2001);
        assert_eq!(routed.rig.frames(1).len(), 1, "another pod is told");
        routed.rig.assert_balanced();
    }
}

#[test]
fn a_flood_under_many_names_takes_a_ports_share_and_no_more() {
    let mut routed = Routed::new();
    let mut spoofed = |n: usize| {
        let source = Ipv6Addr::from_bits((0xfd00 << 112) + 0x1_0000 + n as u128).into();
        with_hop_limit(&datagram((0, GATEWAY), (source, remote(Family::V6)), b""), 1)
    };
    // 25 at once, each of which takes between nothing and two.
    let told = flood(&mut routed, 2000, &mut spoofed);
    assert!((13..=45).contains(&told), "{told} answers");
    let other = with_hop_limit(&datagram((1, GATEWAY), (address(1, Family::V6), remote(Family::V6)), b""), 1);
    routed.rig.send(1, &other);
    routed.rig.run();
    assert_eq!(routed.rig.frames(1).len(), 1, "another pod is told");
}

#[test]
fn a_scan_of_addresses_where_nobody_is_takes_bounded_room_and_the_others_packets_still_wait() {
    for family in FAMILIES {
        let mut routed = Routed::new();
        let target = |n: usize| -> IpAddr {
            let number = u8::try_from(n % 240).unwrap();
            match family {
                Family::V4 => Ipv4Addr::new(192, 168, 0, 12 + number).into(),
                Family::V6 => Ipv6Addr::from_bits((0xfd01 << 112) + 0x100 + n as u128).into(),
            }
        };
        let scan = |n: usize| datagram((0, GATEWAY), (address(0, family), target(n)), b"scan");
        assert_eq!(flood(&mut routed, 5000, scan), 0);
        let waiting = 5000 - routed.rig.dropped(DropReason::NeighborQueueFull);
        assert_eq!(waiting, 128, "a port's share");
        let asked = routed.punts();
        assert_eq!(asked.len(), 128, "each address is asked for once");
        // Another pod's packet to somebody who is not known yet waits and leaves.
        let wanted = text(if family == Family::V4 { "192.168.0.9" } else { "fd01::9" });
        let other = datagram((1, GATEWAY), (address(1, family), wanted), b"other");
        routed.rig.send(1, &other);
        routed.rig.run();
        let punt = Punt::Wanted { link: LinkId::Uplink, address: wanted, asker: port(1) };
        assert_eq!(routed.punts(), [punt]);
        routed.find(LinkId::Uplink, wanted, 9, UPLINK);
        routed.rig.run();
        assert_eq!(routed.rig.frames(UPLINK), [crate::routed::routed(&other, NODE, 9)]);
        // What is known is reached all the while.
        let known = outbound(family, b"known");
        routed.rig.send(0, &known);
        routed.rig.run();
        assert_eq!(routed.rig.frames(UPLINK).len(), 1);
        // In the end everything is settled, and the sender is told six times.
        routed.rig.now_ms = 4_000;
        routed.rig.run();
        assert_eq!(routed.rig.frames(0).len(), 6);
        assert_eq!(routed.rig.dropped(DropReason::NeighborUnresolved), 128);
        routed.rig.assert_balanced();
    }
}

#[test]
fn two_pods_that_scan_do_not_take_all_room_from_what_comes_from_outside() {
    let mut routed = Routed::new();
    for n in 0..400_u16 {
        let [_, low] = n.to_be_bytes();
        for pod in [0, 1] {
            let target = Ipv4Addr::new(10, 0, 0, low.clamp(2, 200)).into();
            routed.rig.send(pod, &datagram((pod, GATEWAY), (address(pod, Family::V4), target), b"scan"));
        }
        routed.rig.run();
    }
    routed.punts();
    let wanted = text("10.0.0.222");
    let frame = datagram((crate::routed::NEXT_HOP, NODE), (remote(Family::V4), wanted), b"from outside");
    routed.rig.send(UPLINK, &frame);
    routed.rig.run();
    let punt = Punt::Wanted { link: LinkId::Bridge, address: wanted, asker: port(UPLINK) };
    assert_eq!(routed.punts(), [punt]);
    routed.find(LinkId::Bridge, wanted, 222, 1);
    routed.rig.run();
    assert_eq!(routed.rig.frames(1), [routed_frame(&frame)]);
}

fn routed_frame(frame: &[u8]) -> Vec<u8> {
    routed(frame, GATEWAY, 222)
}

#[test]
fn a_flood_of_arp_requests_is_answered_within_bounds_and_another_pod_is_answered_too() {
    let mut routed = Routed::with_pods(1, Plan { frames_max: 4096, ..Plan::default() }, Plan::default());
    let ends = [0, 1, GATEWAY].map(|station| {
        let IpAddr::V4(address) = address(station, Family::V4) else { unreachable!("asked for IPv4") };
        arp::End { mac: mac(station), address }
    });
    let request = arp::request(ends[0], ends[2].address);
    let answers = flood(&mut routed, 5000, |_| request.to_vec());
    assert!((900..=1100).contains(&answers), "{answers} answers: a burst of a thousand");
    let heard = routed.punts().len();
    assert!(heard <= 1024, "{heard} messages are told of, no more than wait");
    routed.rig.received(1);
    routed.rig.send(1, &arp::request(ends[1], ends[2].address));
    routed.rig.run();
    assert_eq!(routed.rig.frames(1), [arp::reply(ends[2], ends[1]).to_vec()]);
    // A second later there is as much again, not more.
    routed.rig.now_ms = 1_000;
    let answers = flood(&mut routed, 5000, |_| request.to_vec());
    assert!((900..=1100).contains(&answers), "{answers} answers");
    routed.rig.assert_balanced();
}

#[test]
fn claims_to_many_addresses_are_told_of_within_bounds() {
    let mut routed = Routed::new();
    let mut told = BTreeSet::new();
    for n in 0..5000_u16 {
        let [high, low] = n.to_be_bytes();
        routed.rig.send(0, &arp::gratuitous(mac(0), Ipv4Addr::new(10, 1, high, low)));
        routed.rig.run();
        for port in [1, HOST] {
            routed.rig.received(port);
        }
        for punt in routed.punts() {
            told.insert(format!("{punt:?}"));
        }
    }
    assert!((500..=2000).contains(&told.len()), "{} claims", told.len());
    routed.rig.assert_balanced();
}
