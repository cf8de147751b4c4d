//! ARP and neighbor discovery, right and wrong.

use std::net::Ipv6Addr;

use packet::MacAddress;

use super::{Step, macs_of, v4, v6};
use crate::frames::{ARP, arp, ethernet};
use crate::router::packets::icmp6;
use crate::router::{GATEWAY_MAC, NEXT_HOP_MAC, POD_A, POD_A_MAC, POD_B_MAC, STRANGE_MAC, UPLINK};

const POD: &str = "10.244.1.10";
const GATEWAY: &str = "10.244.1.1";

pub(super) fn all() -> Vec<Step> {
    let mut steps = Vec::new();
    requests(&mut steps);
    every_field_of_arp(&mut steps);
    replies(&mut steps);
    solicitations(&mut steps);
    every_bit_of_a_solicitation(&mut steps);
    options_of_solicitations(&mut steps);
    advertisements(&mut steps);
    steps
}

fn question(sender: (MacAddress, &str), target: &str) -> Vec<u8> {
    arp(1, (sender.0, v4(sender.1)), (MacAddress::ZERO, v4(target)))
}

/// Who asks for whom, in a frame for whom.
fn requests(steps: &mut Vec<Step>) {
    let everybody = MacAddress::BROADCAST;
    for target in [
        GATEWAY,
        "10.244.1.10",
        "10.244.1.11",
        "10.244.1.0",
        "10.244.1.255",
        "192.168.0.11",
        "192.168.0.1",
        "10.9.0.7",
        "10.23.0.1",
        "127.0.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
    ] {
        for (what, to) in [("everybody", everybody), ("the gateway", GATEWAY_MAC)] {
            let frame = ethernet(to, POD_A_MAC, ARP, &question((POD_A_MAC, POD), target));
            steps.push(Step::new(format!("ARP request for {target} to {what}"), POD_A, frame));
        }
    }
    for sender in [
        "0.0.0.0",
        GATEWAY,
        "192.168.0.11",
        "10.244.1.11",
        "10.244.1.0",
        "10.244.1.255",
        "10.9.0.7",
        "10.23.0.9",
        "127.0.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "169.254.1.1",
    ] {
        let frame = ethernet(everybody, POD_A_MAC, ARP, &question((POD_A_MAC, sender), GATEWAY));
        steps.push(Step::new(format!("ARP request from {sender} for the gateway"), POD_A, frame));
    }
    for (what, mac) in [
        ("a strange MAC", STRANGE_MAC),
        ("no MAC", MacAddress::ZERO),
        ("everybody's MAC", everybody),
        ("a group's MAC", MacAddress([1, 0, 0x5e, 0, 0, 1])),
        ("the gateway's MAC", GATEWAY_MAC),
    ] {
        let frame = ethernet(everybody, POD_A_MAC, ARP, &question((mac, POD), GATEWAY));
        steps.push(Step::new(format!("ARP request with {what} as sender"), POD_A, frame));
    }
    for (what, to) in [
        ("a stranger", STRANGE_MAC),
        ("the other pod", POD_B_MAC),
        ("a group", MacAddress([1, 0, 0x5e, 0, 0, 1])),
    ] {
        let frame = ethernet(to, POD_A_MAC, ARP, &question((POD_A_MAC, POD), GATEWAY));
        steps.push(Step::new(format!("ARP request in a frame for {what}"), POD_A, frame));
    }
    let full = arp(1, (POD_A_MAC, v4(POD)), (GATEWAY_MAC, v4(GATEWAY)));
    let frame = ethernet(GATEWAY_MAC, POD_A_MAC, ARP, &full);
    steps.push(Step::new("ARP request that knows the answer", POD_A, frame));
    let mut announcement = arp(1, (POD_A_MAC, v4(POD)), (MacAddress::ZERO, v4(POD)));
    steps.push(Step::new("announcement", POD_A, ethernet(everybody, POD_A_MAC, ARP, &announcement)));
    announcement[7] = 2;
    steps.push(Step::new(
        "announcement as a reply",
        POD_A,
        ethernet(everybody, POD_A_MAC, ARP, &announcement),
    ));
    let on_uplink = question((NEXT_HOP_MAC, "192.168.0.1"), "192.168.0.11");
    let frame = ethernet(everybody, NEXT_HOP_MAC, ARP, &on_uplink);
    steps.push(Step::new("ARP request on the uplink", UPLINK, frame));
}

/// Hardware, protocol, lengths and operation, and a packet that is cut or padded.
fn every_field_of_arp(steps: &mut Vec<Step>) {
    let request = question((POD_A_MAC, POD), GATEWAY);
    for bit in 0..64 {
        let mut request = request.clone();
        request[bit / 8] ^= 0x80 >> (bit % 8);
        let frame = ethernet(MacAddress::BROADCAST, POD_A_MAC, ARP, &request);
        steps.push(Step::new(format!("ARP request, bit {bit} flipped"), POD_A, frame));
    }
    let mut token_ring = request.clone();
    token_ring[1] = 6;
    let frame = ethernet(MacAddress::BROADCAST, POD_A_MAC, ARP, &token_ring);
    steps.push(Step::new("ARP request with the hardware of IEEE 802", POD_A, frame));
    for length in 0..28 {
        let frame = ethernet(MacAddress::BROADCAST, POD_A_MAC, ARP, &request[..length]);
        steps.push(Step::new(format!("ARP request of {length} bytes"), POD_A, frame));
    }
    let padded = [request, vec![0xee; 18]].concat();
    let frame = ethernet(MacAddress::BROADCAST, POD_A_MAC, ARP, &padded);
    steps.push(Step::new("ARP request with padding", POD_A, frame));
}

/// Nobody asked, and nobody answers.
fn replies(steps: &mut Vec<Step>) {
    for sender in [POD, "10.244.1.11", "10.244.1.77", GATEWAY, "0.0.0.0", "224.0.0.1"] {
        for to in [GATEWAY_MAC, MacAddress::BROADCAST] {
            let reply = arp(2, (POD_A_MAC, v4(sender)), (GATEWAY_MAC, v4(GATEWAY)));
            let frame = ethernet(to, POD_A_MAC, ARP, &reply);
            steps.push(Step::new(format!("ARP reply from {sender} to {to}"), POD_A, frame));
        }
    }
}

/// The group that is solicited for `target`, and its MAC.
fn group(target: Ipv6Addr) -> (Ipv6Addr, MacAddress) {
    let [.., a, b, c] = target.octets();
    let [b, c] = [u16::from(b), u16::from(c)];
    let address = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), b << 8 | c);
    let [.., a, b, c] = target.octets();
    (address, MacAddress([0x33, 0x33, 0xff, a, b, c]))
}

/// A solicitation for `target` with these options.
fn solicitation(source: Ipv6Addr, destination: Ipv6Addr, target: Ipv6Addr, options: &[u8]) -> Vec<u8> {
    let rest = [&[0; 4], &target.octets()[..], options].concat();
    let packet = icmp6(source, destination, 135, 0, &rest);
    let packet = super::Ipv6 { hop_limit: 255, ..packet };
    packet.bytes()
}

const MINE: &[u8] = &[1, 1, 2, 0xf4, 0, 0, 0, 1];

fn solicitations(steps: &mut Vec<Step>) {
    let own = v6("fd00:244:1::10");
    let gateways = ["fd00:244:1::1", "fe80::f4:ff:fe00:fe"];
    let others = [
        "fd00:244:1::10",
        "fd00:244:1::11",
        "fd00:244:1::",
        "fd01::11",
        "fd09::7",
        "::",
        "::1",
        "ff02::1",
        "fe80::f4:ff:fe00:fd",
    ];
    for target in gateways.into_iter().chain(others).map(v6) {
        let (to, to_mac) = group(target);
        for source in [own, v6("fe80::10")] {
            for options in [MINE, &[]] {
                let what =
                    format!("solicitation from {source} for {target}, {} bytes of options", options.len());
                let frame = ethernet(to_mac, POD_A_MAC, 0x86dd, &solicitation(source, to, target, options));
                steps.push(Step::new(what.clone(), POD_A, frame));
                let frame =
                    ethernet(GATEWAY_MAC, POD_A_MAC, 0x86dd, &solicitation(source, target, target, options));
                steps.push(Step::new(format!("{what}, to it alone"), POD_A, frame));
            }
        }
        // Duplicate address detection.
        for (what, options) in [("", &[][..]), (", with a MAC", MINE)] {
            let frame = ethernet(
                to_mac,
                POD_A_MAC,
                0x86dd,
                &solicitation(Ipv6Addr::UNSPECIFIED, to, target, options),
            );
            steps.push(Step::new(format!("detection of {target}{what}"), POD_A, frame));
            let probe = solicitation(Ipv6Addr::UNSPECIFIED, target, target, options);
            let frame = ethernet(GATEWAY_MAC, POD_A_MAC, 0x86dd, &probe);
            steps.push(Step::new(format!("detection of {target} to it alone{what}"), POD_A, frame));
        }
    }
    let target = v6("fd00:244:1::1");
    let (to, to_mac) = group(target);
    for source in [
        "fd00:244:1::1",
        "fd00:244:1::11",
        "fd09::7",
        "fd23::9",
        "::1",
        "ff02::1",
        "::ffff:10.9.0.7",
        "fe80::f4:ff:fe00:fe",
    ] {
        let frame = ethernet(to_mac, POD_A_MAC, 0x86dd, &solicitation(v6(source), to, target, MINE));
        steps.push(Step::new(format!("solicitation from {source}"), POD_A, frame));
    }
    for (what, to, mac) in [
        ("all nodes", v6("ff02::1"), MacAddress([0x33, 0x33, 0, 0, 0, 1])),
        ("everybody's frame", to, MacAddress::BROADCAST),
        ("a stranger's frame", to, STRANGE_MAC),
        ("the gateway's frame", to, GATEWAY_MAC),
    ] {
        let frame = ethernet(mac, POD_A_MAC, 0x86dd, &solicitation(own, to, target, MINE));
        steps.push(Step::new(format!("solicitation to {what}"), POD_A, frame));
    }
    let elsewhere = solicitation(own, v6("fd09::7"), target, MINE);
    let frame = ethernet(GATEWAY_MAC, POD_A_MAC, 0x86dd, &elsewhere);
    steps.push(Step::new("solicitation sent to another address", POD_A, frame));
    for code in [1, 255] {
        let rest = [&[0; 4], &target.octets()[..], MINE].concat();
        let packet = super::Ipv6 { hop_limit: 255, ..icmp6(own, to, 135, code, &rest) };
        steps.push(Step::new(format!("solicitation of code {code}"), POD_A, packet.frame(to_mac, POD_A_MAC)));
    }
    for hop_limit in [0, 1, 64, 254] {
        let rest = [&[0; 4], &target.octets()[..], MINE].concat();
        let packet = super::Ipv6 { hop_limit, ..icmp6(own, to, 135, 0, &rest) };
        let what = format!("solicitation of hop limit {hop_limit}");
        steps.push(Step::new(what.clone(), POD_A, packet.frame(to_mac, POD_A_MAC)));
        let alone = super::Ipv6 { hop_limit, ..icmp6(own, target, 135, 0, &rest) };
        steps.push(Step::new(format!("{what}, to it alone"), POD_A, alone.frame(GATEWAY_MAC, POD_A_MAC)));
        for (kind, header) in
            [(60, &[0, 1, 4, 0, 0, 0, 0]), (60, &[0, 0x5e, 4, 0, 0, 0, 0]), (44, &[0, 0, 0, 0, 0, 0, 7])]
        {
            let packet = super::Ipv6 { hop_limit: 255, ..alone.clone() }.extended(kind, header);
            let what = format!("solicitation behind a header of type {kind}");
            steps.push(Step::new(what, POD_A, packet.frame(GATEWAY_MAC, POD_A_MAC)));
        }
    }
}

/// Every bit of it is covered by the checksum, or by the header.
fn every_bit_of_a_solicitation(steps: &mut Vec<Step>) {
    let (own, target) = (v6("fd00:244:1::10"), v6("fd00:244:1::1"));
    let packet = solicitation(own, target, target, MINE);
    for bit in 320..packet.len() * 8 {
        let mut packet = packet.clone();
        packet[bit / 8] ^= 0x80 >> (bit % 8);
        let frame = ethernet(GATEWAY_MAC, POD_A_MAC, 0x86dd, &packet);
        steps.push(Step::new(format!("solicitation, bit {bit} flipped"), POD_A, frame));
    }
    for length in 1..32 {
        let (to, mac) = group(target);
        let rest = [&[0; 4], &target.octets()[..], MINE].concat();
        let packet = icmp6(own, to, 135, 0, &rest[..length.min(rest.len())]);
        let packet = super::Ipv6 { hop_limit: 255, ..packet };
        steps.push(Step::new(format!("solicitation of {length} bytes"), POD_A, packet.frame(mac, POD_A_MAC)));
    }
}

fn options_of_solicitations(steps: &mut Vec<Step>) {
    let (own, target) = (v6("fd00:244:1::10"), v6("fd00:244:1::1"));
    let lists: &[(&str, &[u8])] = &[
        ("of length 0", &[1, 0, 2, 0xf4, 0, 0, 0, 1]),
        ("beyond the packet", &[1, 2, 2, 0xf4, 0, 0, 0, 1]),
        ("unknown", &[200, 1, 0, 0, 0, 0, 0, 0]),
        ("unknown of length 0", &[200, 0, 0, 0, 0, 0, 0, 0]),
        ("nonce", &[14, 1, 1, 2, 3, 4, 5, 6]),
        ("of another's MAC", &[1, 1, 2, 0xf4, 0, 0, 9, 9]),
        ("of a group's MAC", &[1, 1, 0x33, 0x33, 0, 0, 0, 1]),
        ("of no MAC", &[1, 1, 0, 0, 0, 0, 0, 0]),
        ("of the gateway's MAC", &[1, 1, 2, 0xf4, 0, 0, 0, 0xfe]),
        ("for the target", &[2, 1, 2, 0xf4, 0, 0, 0, 1]),
        ("cut", &[1, 1, 2, 0xf4]),
        ("of 16 bytes", &[1, 2, 2, 0xf4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("twice", &[1, 1, 2, 0xf4, 0, 0, 0, 1, 1, 1, 2, 0xf4, 0, 0, 9, 9]),
    ];
    let (to, mac) = group(target);
    for (what, options) in lists {
        for options in [options.to_vec(), [MINE, options].concat()] {
            let frame = ethernet(mac, POD_A_MAC, 0x86dd, &solicitation(own, to, target, &options));
            steps.push(Step::new(
                format!("solicitation with an option {what}, {}", options.len()),
                POD_A,
                frame,
            ));
        }
    }
}

/// Nobody asked, and nobody answers.
fn advertisements(steps: &mut Vec<Step>) {
    let (to, from) = macs_of(POD_A);
    let theirs: &[u8] = &[2, 1, 2, 0xf4, 0, 0, 0, 1];
    for target in
        ["fd00:244:1::10", "fd00:244:1::11", "fd00:244:1::77", "fd00:244:1::1", "ff02::1", "::"].map(v6)
    {
        for flags in [0, 0x20, 0x40, 0x60, 0xe0] {
            let rest = [&[flags, 0, 0, 0], &target.octets()[..], theirs].concat();
            for (destination, mac) in
                [(v6("fd00:244:1::1"), to), (v6("ff02::1"), MacAddress([0x33, 0x33, 0, 0, 0, 1]))]
            {
                let packet = icmp6(v6("fd00:244:1::10"), destination, 136, 0, &rest);
                let packet = super::Ipv6 { hop_limit: 255, ..packet };
                let what = format!("advertisement of {target} with flags {flags:#x} to {destination}");
                steps.push(Step::new(what, POD_A, packet.frame(mac, from)));
            }
        }
    }
}
