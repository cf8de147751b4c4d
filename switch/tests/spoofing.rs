//! What a bound port may say and what not: one row a frame, each sent untagged and behind VLAN tags.
#![cfg(not(loom))]

mod frames;

use frames::*;
use packet::DropReason::{
    self, DhcpServer, RouterAdvertisement, SpoofedAddress, SpoofedArp, SpoofedNd, SpoofedSource, Unverifiable,
};
use packet::MacAddress;
use std::net::{Ipv4Addr, Ipv6Addr};
use switch::Binding;

const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 9]);
const OTHER_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
const OWN4: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 9);
const OTHER4: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 1);
const NONE4: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const OWN6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 1, 0, 0, 0, 9);
const OTHER6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 1, 0, 0, 0, 1);
const NONE6: Ipv6Addr = Ipv6Addr::UNSPECIFIED;
/// From [`MAC`] by EUI-64.
const LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, 9);
const OTHER_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, 1);

const PASS: Result<(), DropReason> = Ok(());
const MORE: u16 = 0x2000;

type Row = (&'static str, Vec<u8>, Result<(), DropReason>);

fn binding() -> Binding {
    Binding { mac: MAC, addresses: vec![OWN4.into(), OWN6.into()] }
}

fn check(binding: &Binding, frame: &[u8]) -> Result<(), DropReason> {
    packet::parse(frame).and_then(|layout| binding.check(frame, &layout))
}

fn frame_arp(payload: &[u8]) -> Vec<u8> {
    ethernet(MAC, 0x0806, payload)
}

fn frame4(source: Ipv4Addr, protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    ethernet(MAC, 0x0800, &ipv4(source, protocol, fragment, payload))
}

fn frame6(source: Ipv6Addr, next_header: u8, payload: &[u8]) -> Vec<u8> {
    ethernet(MAC, 0x86dd, &ipv6(source, next_header, payload))
}

fn of_addresses() -> Vec<Row> {
    let data = udp(4000, 53, b"query");
    vec![
        ("own addresses, v4", frame4(OWN4, UDP, 0, &data), PASS),
        ("own addresses, v6", frame6(OWN6, UDP, &data), PASS),
        ("own link-local address", frame6(LOCAL, UDP, &data), PASS),
        ("own MAC, nothing known inside", ethernet(MAC, 0x88b5, b"experiment"), PASS),
        ("another's MAC, v4", ethernet(OTHER_MAC, 0x0800, &ipv4(OWN4, UDP, 0, &data)), Err(SpoofedSource)),
        ("another's MAC, opaque", ethernet(OTHER_MAC, 0x88b5, b"experiment"), Err(SpoofedSource)),
        ("another's address, v4", frame4(OTHER4, UDP, 0, &data), Err(SpoofedAddress)),
        ("another's address, v4 TCP", frame4(OTHER4, TCP, 0, &tcp()), Err(SpoofedAddress)),
        ("another's address, v6", frame6(OTHER6, UDP, &data), Err(SpoofedAddress)),
        ("no address, v4", frame4(NONE4, UDP, 0, &data), Err(SpoofedAddress)),
        ("no address, v6", frame6(NONE6, UDP, &data), Err(SpoofedAddress)),
        ("group as source, v4", frame4(Ipv4Addr::BROADCAST, UDP, 0, &data), Err(SpoofedAddress)),
        ("IGMP report", frame4(OWN4, IGMP, 0, &[0x22; 16]), PASS),
        ("IGMP report without address", frame4(NONE4, IGMP, 0, &[0x22; 16]), PASS),
        ("MLD report", frame6(LOCAL, HOP_BY_HOP, &extension(ICMPV6, &icmpv6(143, &[]))), PASS),
        (
            "MLD report without address",
            frame6(NONE6, HOP_BY_HOP, &extension(ICMPV6, &icmpv6(143, &[]))),
            PASS,
        ),
        ("echo without address", frame6(NONE6, ICMPV6, &icmpv6(128, &[])), Err(SpoofedAddress)),
    ]
}

fn of_arp() -> Vec<Row> {
    let (me, other) = ((MAC, OWN4), OTHER4);
    vec![
        ("ARP request", frame_arp(&arp(1, me, other)), PASS),
        ("ARP reply", frame_arp(&arp(2, me, other)), PASS),
        ("ARP announcement", frame_arp(&arp(1, me, OWN4)), PASS),
        ("ARP probe for the own address", frame_arp(&arp(1, (MAC, NONE4), OWN4)), PASS),
        ("ARP probe for another's address", frame_arp(&arp(1, (MAC, NONE4), other)), Err(SpoofedArp)),
        ("ARP reply without address", frame_arp(&arp(2, (MAC, NONE4), OWN4)), Err(SpoofedArp)),
        ("ARP reply for another's address", frame_arp(&arp(2, (MAC, other), OWN4)), Err(SpoofedArp)),
        ("ARP request as another's address", frame_arp(&arp(1, (MAC, other), OWN4)), Err(SpoofedArp)),
        ("ARP reply with another's MAC", frame_arp(&arp(2, (OTHER_MAC, OWN4), other)), Err(SpoofedArp)),
        ("ARP from another's MAC", ethernet(OTHER_MAC, 0x0806, &arp(2, me, other)), Err(SpoofedSource)),
        ("ARP cut short", frame_arp(&arp(2, (MAC, other), OWN4)[..20]), Err(Unverifiable)),
    ]
}

fn of_neighbor_discovery() -> Vec<Row> {
    let claim = |target, options: &[u8]| neighbor(136, target, options);
    let ask = |target, options: &[u8]| neighbor(135, target, options);
    let (mine, others) = (link_layer(2, MAC), link_layer(2, OTHER_MAC));
    let nd = |source, message: &[u8]| frame6(source, ICMPV6, message);
    vec![
        ("solicitation", nd(OWN6, &ask(OTHER6, &link_layer(1, MAC))), PASS),
        ("advertisement of the own address", nd(OWN6, &claim(OWN6, &mine)), PASS),
        ("advertisement of the own link-local address", nd(LOCAL, &claim(LOCAL, &mine)), PASS),
        ("duplicate address detection", nd(NONE6, &ask(OWN6, &[])), PASS),
        ("duplicate address detection, link-local", nd(NONE6, &ask(LOCAL, &[])), PASS),
        ("router solicitation", nd(LOCAL, &icmpv6(133, &link_layer(1, MAC))), PASS),
        ("router solicitation without address", nd(NONE6, &icmpv6(133, &[])), PASS),
        ("advertisement of another's address", nd(OWN6, &claim(OTHER6, &mine)), Err(SpoofedNd)),
        ("the same as that other", nd(OTHER6, &claim(OTHER6, &mine)), Err(SpoofedNd)),
        ("advertisement with another's MAC", nd(OWN6, &claim(OWN6, &others)), Err(SpoofedNd)),
        ("the second of two MACs false", nd(OWN6, &claim(OWN6, &[mine, others].concat())), Err(SpoofedNd)),
        (
            "solicitation with another's MAC",
            nd(OWN6, &ask(OTHER6, &link_layer(1, OTHER_MAC))),
            Err(SpoofedNd),
        ),
        (
            "router solicitation with another's MAC",
            nd(LOCAL, &icmpv6(133, &link_layer(1, OTHER_MAC))),
            Err(SpoofedNd),
        ),
        ("detection that claims another's address", nd(NONE6, &ask(OTHER6, &[])), Err(SpoofedNd)),
        ("solicitation as another", nd(OTHER6, &ask(OWN6, &link_layer(1, MAC))), Err(SpoofedAddress)),
        ("advertisement without address", nd(NONE6, &claim(OWN6, &[])), Err(SpoofedAddress)),
        ("option of length zero", nd(OWN6, &claim(OWN6, &[2, 0, 0, 0, 0, 0, 0, 0])), Err(Unverifiable)),
        ("option cut short", nd(OWN6, &claim(OWN6, &[2, 1, 2, 0])), Err(Unverifiable)),
        ("target cut short", nd(OWN6, &icmpv6(136, &[0xfd, 0])), Err(Unverifiable)),
        ("router advertisement", nd(LOCAL, &icmpv6(134, &[0; 8])), Err(RouterAdvertisement)),
        (
            "router advertisement as the router",
            nd(OTHER_LOCAL, &icmpv6(134, &[0; 8])),
            Err(RouterAdvertisement),
        ),
        ("redirect", nd(LOCAL, &icmpv6(137, &[0; 32])), Err(RouterAdvertisement)),
    ]
}

fn of_dhcp() -> Vec<Row> {
    let (request, reply) = ([&[1], [0; 240].as_slice()].concat(), [&[2], [0; 240].as_slice()].concat());
    vec![
        ("DHCP discover", frame4(NONE4, UDP, 0, &udp(68, 67, &request)), PASS),
        ("DHCP renewal", frame4(OWN4, UDP, 0, &udp(68, 67, &request)), PASS),
        ("DHCP request as another", frame4(OTHER4, UDP, 0, &udp(68, 67, &request)), Err(SpoofedAddress)),
        ("DHCP offer", frame4(OWN4, UDP, 0, &udp(67, 68, &reply)), Err(DhcpServer)),
        ("DHCP offer as the server", frame4(OTHER4, UDP, 0, &udp(67, 68, &reply)), Err(DhcpServer)),
        ("DHCP offer from any port", frame4(OWN4, UDP, 0, &udp(4000, 68, &reply)), Err(DhcpServer)),
        ("DHCP offer by a relay", frame4(OWN4, UDP, 0, &udp(67, 67, &reply)), Err(DhcpServer)),
        ("DHCPv6 solicit", frame6(LOCAL, UDP, &udp(546, 547, &[1, 0, 0, 1])), PASS),
        ("DHCPv6 advertise", frame6(LOCAL, UDP, &udp(547, 546, &[2, 0, 0, 1])), Err(DhcpServer)),
        ("DHCPv6 reply from any port", frame6(OWN6, UDP, &udp(4000, 546, &[7, 0, 0, 1])), Err(DhcpServer)),
    ]
}

fn of_fragments() -> Vec<Row> {
    let reply = udp(67, 68, &[2; 240]);
    let na = neighbor(136, OTHER6, &link_layer(2, MAC));
    let ra = icmpv6(134, &[0; 8]);
    let part = |next, word, payload: &[u8]| frame6(LOCAL, FRAGMENT, &fragment(next, word, payload));
    vec![
        ("DHCP offer, first fragment", frame4(OWN4, UDP, MORE, &reply[..64]), Err(DhcpServer)),
        ("later fragment, v4", frame4(OWN4, UDP, 8, &reply[64..]), PASS),
        ("later fragment as another, v4", frame4(OTHER4, UDP, 8, &reply[64..]), Err(SpoofedAddress)),
        ("first fragment too short for UDP", frame4(OWN4, UDP, MORE, &reply[..4]), Err(Unverifiable)),
        ("first fragment too short for TCP", frame4(OWN4, TCP, MORE, &tcp()[..8]), Err(Unverifiable)),
        ("DHCPv6 reply, first fragment", part(UDP, 1, &udp(547, 546, &[7; 24])), Err(DhcpServer)),
        ("advertisement, first fragment", part(ICMPV6, 1, &na[..24]), Err(Unverifiable)),
        ("router advertisement, first fragment", part(ICMPV6, 1, &ra), Err(Unverifiable)),
        ("router advertisement, atomic fragment", part(ICMPV6, 0, &ra), Err(RouterAdvertisement)),
        ("own solicitation, first fragment", part(ICMPV6, 1, &neighbor(135, OTHER6, &[])), Err(Unverifiable)),
        ("echo, first fragment", part(ICMPV6, 1, &icmpv6(128, &[7; 16])), PASS),
        ("later fragment, v6", part(ICMPV6, 24 << 3 | 1, &[0; 16]), PASS),
        (
            "later fragment as another, v6",
            frame6(OTHER6, FRAGMENT, &fragment(ICMPV6, 24 << 3, &[0; 16])),
            Err(SpoofedAddress),
        ),
        (
            "first fragment that ends in its extension headers",
            part(DESTINATION_OPTIONS, 1, &extension(ICMPV6, &[])),
            Err(Unverifiable),
        ),
        (
            "first fragment that ends within an extension header",
            part(DESTINATION_OPTIONS, 1, &[ICMPV6, 3, 1, 4, 0, 0, 0, 0]),
            Err(Unverifiable),
        ),
    ]
}

fn of_hidden_headers() -> Vec<Row> {
    let ra = icmpv6(134, &[0; 8]);
    let na = neighbor(136, OTHER6, &link_layer(2, MAC));
    let snap = [&[0xaa, 0xaa, 3, 0, 0, 0, 0x86, 0xdd], ipv6(LOCAL, ICMPV6, &ra).as_slice()].concat();
    let options = |payload: &[u8]| extension(DESTINATION_OPTIONS, &extension(ICMPV6, payload));
    let endless = (0..20).fold(ra.clone(), |inner, _| extension(DESTINATION_OPTIONS, &inner));
    let lying = frame4(OWN4, UDP, 0, &[0, 67, 0, 68, 0, 200, 0, 0, 2]);
    vec![
        (
            "router advertisement behind options",
            frame6(LOCAL, HOP_BY_HOP, &options(&ra)),
            Err(RouterAdvertisement),
        ),
        ("advertisement behind options", frame6(OWN6, HOP_BY_HOP, &options(&na)), Err(SpoofedNd)),
        ("data behind options", frame6(OWN6, DESTINATION_OPTIONS, &extension(UDP, &udp(1, 2, &[]))), PASS),
        ("endless options", frame6(LOCAL, DESTINATION_OPTIONS, &endless), Err(Unverifiable)),
        ("router advertisement in LLC/SNAP", ethernet(MAC, 70, &snap), Err(Unverifiable)),
        ("spanning tree in LLC", ethernet(MAC, 38, &[0x42, 0x42, 3, 0, 0, 0, 0, 0]), PASS),
        ("UDP longer than its packet", lying, Err(Unverifiable)),
        ("v4 header cut short", ethernet(MAC, 0x0800, &ipv4(OWN4, UDP, 0, &[])[..16]), Err(Unverifiable)),
        ("v6 under the EtherType of v4", ethernet(MAC, 0x0800, &ipv6(LOCAL, ICMPV6, &ra)), Err(Unverifiable)),
    ]
}

fn matrix() -> Vec<Row> {
    [of_addresses(), of_arp(), of_neighbor_discovery(), of_dhcp(), of_fragments(), of_hidden_headers()]
        .concat()
}

#[test]
fn a_bound_port_says_only_what_is_its_own() {
    let matrix = matrix();
    assert!(matrix.len() > 80);
    for (claim, frame, expected) in matrix {
        assert_eq!(check(&binding(), &frame), expected, "{claim}");
    }
}

#[test]
fn vlan_tags_make_no_difference() {
    for (claim, frame, expected) in matrix() {
        for tags in [&[0x8100][..], &[0x88a8], &[0x88a8, 0x8100], &[0x8100, 0x8100]] {
            assert_eq!(check(&binding(), &tagged(&frame, tags)), expected, "{claim} behind {tags:x?}");
        }
    }
}

#[test]
fn nothing_is_let_through_behind_a_third_tag() {
    for (claim, frame, expected) in matrix() {
        let expected = if expected == Err(SpoofedSource) { expected } else { Err(Unverifiable) };
        assert_eq!(check(&binding(), &tagged(&frame, &[0x88a8, 0x8100, 0x8100])), expected, "{claim}");
    }
}

#[test]
fn no_frame_cut_short_is_let_through_if_the_whole_is_not() {
    for (claim, frame, expected) in matrix().into_iter().filter(|(_, _, expected)| expected.is_err()) {
        for length in 0..frame.len() {
            let short = check(&binding(), &frame[..length]);
            // Fewer bytes than tell LLC/SNAP hold nothing that a receiver would look at.
            assert!(
                short.is_err() || length < 20,
                "{claim}: {length} of {} bytes, {expected:?}",
                frame.len()
            );
        }
    }
}

#[test]
fn any_link_local_address_may_be_used_until_one_is_listed() {
    let own = frame6(OTHER_LOCAL, ICMPV6, &neighbor(136, OTHER_LOCAL, &link_layer(2, MAC)));
    assert_eq!(check(&binding(), &own), PASS);
    let mut strict = binding();
    strict.addresses.push(LOCAL.into());
    assert_eq!(check(&strict, &own), Err(SpoofedNd));
    assert_eq!(check(&strict, &frame6(LOCAL, UDP, &udp(1, 2, &[]))), PASS);
    assert_eq!(check(&strict, &frame6(OTHER_LOCAL, UDP, &udp(1, 2, &[]))), Err(SpoofedAddress));
    strict.addresses.push(OTHER_LOCAL.into());
    assert_eq!(check(&strict, &own), PASS);
}

#[test]
fn a_port_without_addresses_is_bound_to_its_mac() {
    let free = Binding { mac: MAC, addresses: Vec::new() };
    for (claim, frame, _) in matrix() {
        let expected = match check(&binding(), &frame) {
            Err(SpoofedAddress) => PASS,
            bound => bound,
        };
        let verdict = check(&free, &frame);
        let is_claim = matches!(expected, Err(SpoofedArp | SpoofedNd));
        assert!(verdict == expected || is_claim && verdict == PASS, "{claim}: {verdict:?}");
    }
    assert_eq!(check(&free, &frame_arp(&arp(2, (OTHER_MAC, OTHER4), OWN4))), Err(SpoofedArp));
    assert_eq!(check(&free, &frame_arp(&arp(2, (MAC, OTHER4), OWN4))), PASS);
}

/// [`eui64`](LOCAL) of MACs with the local bit set and not set.
#[test]
fn the_link_local_address_of_the_mac_is_own_even_if_others_are_listed() {
    let listed = vec![OTHER_LOCAL.into()];
    let global = Binding { mac: MacAddress([0, 0x11, 0x22, 0x33, 0x44, 0x55]), addresses: listed };
    let source = "fe80::211:22ff:fe33:4455".parse().unwrap();
    let frame = ethernet(global.mac, 0x86dd, &ipv6(source, UDP, &udp(1, 2, &[])));
    assert_eq!(check(&global, &frame), PASS);
}
