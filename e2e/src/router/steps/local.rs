//! What is for the router itself: echo requests, and what it does not listen to.

use packet::MacAddress;

use super::{Ipv4, Ipv6, Step, macs_of, station, v4, v6};
use crate::router::packets::{echo4, echo6, icmp4, icmp6};
use crate::router::{POD_A, POD_B};

pub(super) fn all() -> Vec<Step> {
    let mut steps = Vec::new();
    for ingress in [POD_A, POD_B] {
        echo_over_ipv4(ingress, &mut steps);
        echo_over_ipv6(ingress, &mut steps);
    }
    others(&mut steps);
    steps
}

fn echo_over_ipv4(ingress: usize, steps: &mut Vec<Step>) {
    let ((to, from), (own, _)) = (macs_of(ingress), station(ingress));
    let request = |data: &[u8]| echo4(own, v4("10.244.1.1"), data);
    let mut push = |what: &str, packet: &Ipv4| {
        steps.push(Step::new(format!("echo request, {what}"), ingress, packet.frame(to, from)));
    };
    for length in [0, 1, 2, 55, 56, 1000, 1471, 1472] {
        push(&format!("{length} bytes"), &request(&vec![7; length]));
    }
    for ttl in [0, 1, 255] {
        push(&format!("TTL {ttl}"), &Ipv4 { ttl, ..request(b"data") });
    }
    for tos in [0x10, 0x1c, 0x03, 0xe0] {
        push(&format!("type of service {tos:#x}"), &Ipv4 { tos, ..request(b"data") });
    }
    for fragment in [0, 0x8000, 0x2000, 0x0001] {
        push(&format!("fragment word {fragment:#x}"), &Ipv4 { fragment, ..request(b"data") });
    }
    for code in [1, 255] {
        push(&format!("code {code}"), &Ipv4 { payload: icmp4(8, code, &[0, 1, 0, 2, 3]), ..request(b"") });
    }
    let mut wrong = request(b"data");
    wrong.payload[2] ^= 1;
    push("a wrong checksum", &wrong);
    push("a wrong header checksum", &Ipv4 { checksum: Some(0x1234), ..request(b"data") });
    push("all zeros", &Ipv4 { payload: icmp4(8, 0, &[0; 8]), ..request(b"") });
    push("padding", &Ipv4 { padding: vec![0xee; 20], ..request(b"data") });
    for (what, options) in [
        ("no-operation", vec![1, 1, 1, 1]),
        ("router alert", vec![148, 4, 0, 0]),
        ("record route", vec![7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("timestamp", vec![68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("loose source route", vec![131, 7, 4, 10, 9, 0, 9, 0]),
        ("a malformed one", vec![30, 9, 0, 0]),
    ] {
        push(&format!("with option {what}"), &Ipv4 { options, ..request(b"data") });
    }
    for destination in ["10.244.1.255", "255.255.255.255", "224.0.0.1", "192.168.0.11", "127.0.0.1"] {
        push(&format!("to {destination}"), &echo4(own, v4(destination), b"data"));
    }
    for source in [
        "10.244.1.1",
        "192.168.0.11",
        "127.0.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "10.9.0.7",
        "10.244.1.255",
        "10.23.0.9",
    ] {
        push(&format!("from {source}"), &echo4(v4(source), v4("10.244.1.1"), b"data"));
    }
    for kind in (0..=255).filter(|kind| *kind != 8) {
        push(&format!("but of type {kind}"), &Ipv4 { payload: icmp4(kind, 0, &[0; 36]), ..request(b"") });
    }
    for (what, to) in [("everybody", MacAddress::BROADCAST), ("a group", MacAddress([1, 0, 0x5e, 0, 0, 1]))] {
        let frame = request(b"data").frame(to, from);
        steps.push(Step::new(format!("echo request in a frame for {what}"), ingress, frame));
        let frame = echo4(own, v4("224.0.0.1"), b"data").frame(to, from);
        steps.push(Step::new(format!("echo request to all hosts in a frame for {what}"), ingress, frame));
    }
}

fn echo_over_ipv6(ingress: usize, steps: &mut Vec<Step>) {
    let ((to, from), (_, own)) = (macs_of(ingress), station(ingress));
    let request = |data: &[u8]| echo6(own, v6("fd00:244:1::1"), data);
    let mut push = |what: &str, packet: &Ipv6| {
        steps.push(Step::new(format!("echo request, {what}"), ingress, packet.frame(to, from)));
    };
    for length in [0, 1, 2, 56, 1000, 1451, 1452] {
        push(&format!("{length} bytes"), &request(&vec![7; length]));
    }
    for hop_limit in [0, 1, 255] {
        push(&format!("hop limit {hop_limit}"), &Ipv6 { hop_limit, ..request(b"data") });
    }
    for first in [0x6010_0000, 0x6ff0_0000, 0x6001_2345] {
        push(&format!("first word {first:#x}"), &Ipv6 { first, ..request(b"data") });
    }
    for code in [1, 255] {
        push(&format!("code {code}"), &icmp6(own, v6("fd00:244:1::1"), 128, code, &[0, 1, 0, 2, 3]));
    }
    let mut wrong = request(b"data");
    wrong.payload[2] ^= 1;
    push("a wrong checksum", &wrong);
    push("padding", &Ipv6 { padding: vec![0xee; 20], ..request(b"data") });
    push("behind options", &request(b"data").extended(60, &[0, 1, 4, 0, 0, 0, 0]));
    push("as an atomic fragment", &request(b"data").extended(44, &[0, 0, 0, 0, 0, 0, 7]));
    for destination in
        ["fe80::f4:ff:fe00:fe", "fd00:244:1::", "fd01::11", "fd01::", "::1", "ff02::1", "ff02::2"]
    {
        push(&format!("to {destination}"), &echo6(own, v6(destination), b"data"));
    }
    let local = if ingress == POD_A { "fe80::10" } else { "fe80::11" };
    push("from one link-local address to the other", &echo6(v6(local), v6("fe80::f4:ff:fe00:fe"), b"data"));
    push("from a link-local address", &echo6(v6(local), v6("fd00:244:1::1"), b"data"));
    for source in
        ["fd00:244:1::1", "fd01::11", "::1", "::", "ff02::1", "fd09::7", "fd23::9", "::ffff:10.9.0.7"]
    {
        push(&format!("from {source}"), &echo6(v6(source), v6("fd00:244:1::1"), b"data"));
    }
    // Neighbor discovery has steps of its own, multicast listener discovery has no answer.
    for kind in (0..=255).filter(|kind| !matches!(kind, 128 | 135 | 136)) {
        push(&format!("but of type {kind}"), &icmp6(own, v6("fd00:244:1::1"), kind, 0, &[0; 44]));
    }
    for (what, to) in
        [("everybody", MacAddress::BROADCAST), ("a group", MacAddress([0x33, 0x33, 0, 0, 0, 1]))]
    {
        let frame = request(b"data").frame(to, from);
        steps.push(Step::new(format!("echo request in a frame for {what}"), ingress, frame));
        let frame = echo6(own, v6("ff02::1"), b"data").frame(to, from);
        steps.push(Step::new(format!("echo request to all nodes in a frame for {what}"), ingress, frame));
    }
}

/// Transports that nobody listens to.
fn others(steps: &mut Vec<Step>) {
    let ((to, from), (own4, own6)) = (macs_of(POD_A), station(POD_A));
    for protocol in [2, 6, 17, 47, 132, 253] {
        let packet = Ipv4 { protocol, ..Ipv4::udp(own4, v4("10.244.1.1"), &[0; 24]) };
        steps.push(Step::new(format!("protocol {protocol} to the gateway"), POD_A, packet.frame(to, from)));
        let packet = Ipv6 { next_header: protocol, ..Ipv6::udp(own6, v6("fd00:244:1::1"), &[0; 24]) };
        steps.push(Step::new(format!("protocol {protocol} to the gateway"), POD_A, packet.frame(to, from)));
    }
}
