//! Every error that the router sends: its kind, from whom, to whom, what it quotes; and about what it says nothing.

use std::net::IpAddr;

use packet::protocol::ip_protocol::{ICMP, ICMPV6};
use packet::{DropReason, FiveTuple, Transport, build, checksum};
use router::rib::{RouteKind, RouteSource};

use crate::frames::{FAMILIES, Family, address, broadcast, link, mac, pattern, super_frame};
use crate::rig::Plan;
use crate::routed::{
    GATEWAY, NEXT_HOP, NODE, Routed, UPLINK, datagram, inbound, ipv4_options, macs, may_fragment, net,
    next_hop, node, outbound, remote, resummed, text, with_hop_limit,
};

/// Type and code of an error, and the word behind the checksum.
type Kind = (u8, u8, u32);

/// Where things stand in a frame of a family: IP source, IP destination, ICMP message.
fn places(family: Family) -> (usize, usize, usize) {
    match family {
        Family::V4 => (26, 30, 34),
        Family::V6 => (22, 38, 54),
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// The one frame that has come out of a port: an error of this kind, from `from` to `to` (station and address), that
/// quotes `packet` as far as the family allows.
#[track_caller]
fn assert_error(
    routed: &Routed,
    port: usize,
    family: Family,
    kind: Kind,
    from: (usize, IpAddr),
    to: (usize, IpAddr),
    packet: &[u8],
) {
    let errors = routed.rig.frames(port);
    let [error] = &errors[..] else { panic!("{} errors", errors.len()) };
    let (source, destination, message) = places(family);
    assert_eq!(macs(error), (mac(to.0), mac(from.0)));
    let own = octets(from.1);
    assert_eq!(error[source..source + own.len()], own, "from");
    let sender = octets(to.1);
    assert_eq!(error[destination..destination + sender.len()], sender, "to");
    let word = u32::from_be_bytes(error[message + 4..message + 8].try_into().unwrap());
    assert_eq!((error[message], error[message + 1], word), kind);
    let longest = if family == Family::V4 { 576 } else { 1280 };
    let quoted = (packet.len() - 14).min(longest - (message - 14) - 8);
    assert_eq!(error[message + 8..], packet[14..14 + quoted], "quotes the packet as it came");
    let layout = packet::parse(error).unwrap();
    assert_eq!(checksum::transport_is_valid(error, &layout), Some(true));
    assert_eq!(resummed(error), *error);
    assert_eq!(routed.rig.sum(|counters| counters.originated.get()), 1);
    routed.rig.assert_balanced();
}

/// Pod 0 sends `frame`; the gateway tells it what is wrong.
#[track_caller]
fn assert_told(routed: &mut Routed, family: Family, frame: &[u8], kind: Kind, reason: DropReason) {
    routed.publish();
    routed.rig.send(0, frame);
    routed.rig.run();
    let (gateway, pod) = (address(GATEWAY, family), address(0, family));
    assert_error(routed, 0, family, kind, (GATEWAY, gateway), (0, pod), frame);
    routed.rig.assert_only_drops(reason, 1);
    for other in 1..4 {
        assert!(routed.rig.received(other).is_empty());
    }
}

#[track_caller]
fn assert_silent(routed: &mut Routed, from: usize, frame: &[u8], reason: DropReason) {
    routed.publish();
    routed.rig.send(from, frame);
    routed.rig.run();
    routed.rig.assert_only_drops(reason, 1);
    assert_eq!(routed.rig.sum(|counters| counters.originated.get()), 0);
    assert!((0..4).all(|port| routed.rig.received(port).is_empty()));
    routed.rig.assert_balanced();
}

fn of(family: Family, v4: Kind, v6: Kind) -> Kind {
    if family == Family::V4 { v4 } else { v6 }
}

#[test]
fn routes_that_lead_nowhere_are_told_of_each_in_its_own_way() {
    let unreachable = ((3, 1, 0), (1, 3, 0));
    for family in FAMILIES {
        for (kind, (v4, v6), reason) in [
            (RouteKind::Unreachable, unreachable, DropReason::RouteUnreachable),
            (RouteKind::Prohibit, ((3, 13, 0), (1, 1, 0)), DropReason::RouteProhibited),
        ] {
            let mut routed = Routed::new();
            routed.route("10.9.0.0/16", kind.clone());
            routed.route("fd09::/16", kind);
            assert_told(&mut routed, family, &outbound(family, b"x"), of(family, v4, v6), reason);
        }
        let mut routed = Routed::new();
        for default in ["0.0.0.0/0", "::/0"] {
            routed.rib.withdraw(net(default), RouteSource::Static, 0);
        }
        let kind = of(family, (3, 0, 0), (1, 0, 0));
        assert_told(&mut routed, family, &outbound(family, &pattern(1400)), kind, DropReason::NoRoute);
        // A route by an uplink that is away.
        let mut routed = Routed::new();
        routed.has_uplink = false;
        let kind = of(family, unreachable.0, unreachable.1);
        assert_told(&mut routed, family, &outbound(family, b""), kind, DropReason::RouteUnreachable);
        // A blackhole says nothing.
        let mut routed = Routed::new();
        routed.route("10.9.0.0/16", RouteKind::Blackhole);
        routed.route("fd09::/16", RouteKind::Blackhole);
        assert_silent(&mut routed, 0, &outbound(family, b""), DropReason::RouteBlackhole);
    }
}

#[test]
fn a_next_hop_that_was_given_up_is_told_of_at_once_and_from_the_uplink_too() {
    for family in FAMILIES {
        let mut routed = Routed::new();
        routed.uplink_neighbors.clear();
        routed.give_up(dataplane::LinkId::Uplink, next_hop(family));
        let kind = of(family, (3, 1, 0), (1, 3, 0));
        assert_told(&mut routed, family, &outbound(family, b""), kind, DropReason::NeighborUnresolved);

        let mut routed = Routed::new();
        let gone = text(if family == Family::V4 { "10.0.0.77" } else { "fd00::77" });
        routed.give_up(dataplane::LinkId::Bridge, gone);
        let frame = datagram((NEXT_HOP, NODE), (remote(family), gone), b"hello");
        routed.rig.send(UPLINK, &frame);
        routed.rig.run();
        let (from, to) = ((NODE, node(family)), (NEXT_HOP, remote(family)));
        assert_error(&routed, UPLINK, family, kind, from, to, &frame);
    }
}

#[test]
fn the_last_hop_is_told_of_to_senders_on_both_sides() {
    for family in FAMILIES {
        let kind = of(family, (11, 0, 0), (3, 0, 0));
        for hop_limit in [0, 1] {
            let frame = with_hop_limit(&outbound(family, &pattern(1400)), hop_limit);
            assert_told(&mut Routed::new(), family, &frame, kind, DropReason::TtlExpired);
        }
        let frame = with_hop_limit(&inbound(family, b"in"), 1);
        let mut routed = Routed::new();
        routed.rig.send(UPLINK, &frame);
        routed.rig.run();
        let (from, to) = ((NODE, node(family)), (NEXT_HOP, remote(family)));
        assert_error(&routed, UPLINK, family, kind, from, to, &frame);
        routed.rig.assert_only_drops(DropReason::TtlExpired, 1);
    }
}

#[test]
fn a_packet_that_does_not_fit_is_told_the_mtu() {
    for family in FAMILIES {
        let narrow = Plan { mtu_bytes: 1280, ..Plan::default() };
        let kind = of(family, (3, 4, 1280), (2, 0, 1280));
        let frame = outbound(family, &pattern(1400));
        assert_told(&mut Routed::with(1, narrow.clone()), family, &frame, kind, DropReason::PacketTooBig);
        // Toward a pod, too.
        let mut routed = Routed::with_pods(1, narrow, Plan::default());
        let frame = inbound(family, &pattern(1400));
        routed.rig.send(UPLINK, &frame);
        routed.rig.run();
        let (from, to) = ((NODE, node(family)), (NEXT_HOP, remote(family)));
        assert_error(&routed, UPLINK, family, kind, from, to, &frame);
    }
}

#[test]
fn of_a_super_frame_whose_segments_do_not_fit_the_first_segment_is_quoted() {
    for family in FAMILIES {
        let mut routed = Routed::with(1, Plan { mtu_bytes: 1280, ..Plan::default() });
        let (frame, offload) = super_frame(0, GATEWAY, family, 6, &pattern(20_000), 1400);
        let flow = FiveTuple {
            destination: remote(family),
            ..FiveTuple::read(&frame, &packet::parse(&frame).unwrap()).unwrap()
        };
        let (frame, _) = build::super_frame(link(0, GATEWAY), &flow, &pattern(20_000), 1400).unwrap();
        routed.rig.send_unfinished(0, &frame, offload);
        routed.rig.run();
        let layout = packet::parse(&frame).unwrap();
        let mut segment = vec![0; 2000];
        let mut segmenter = packet::segment::Segmenter::new(&frame, &layout, offload).unwrap();
        let length = segmenter.next_into(&mut segment).unwrap();
        let (from, to) = ((GATEWAY, address(GATEWAY, family)), (0, address(0, family)));
        let kind = of(family, (3, 4, 1280), (2, 0, 1280));
        assert_error(&routed, 0, family, kind, from, to, &segment[..length]);
        routed.rig.assert_only_drops(DropReason::PacketTooBig, 1);
    }
}

#[test]
fn malformed_options_and_a_source_that_does_not_reach_are_told_of() {
    let frame = ipv4_options(&outbound(Family::V4, b""), &[1, 7, 1, 0]);
    let kind = (12, 0, 21 << 24);
    assert_told(&mut Routed::new(), Family::V4, &frame, kind, DropReason::BadIpOptions);

    let link_local = text("fe80::7");
    let frame = datagram((0, GATEWAY), (link_local, remote(Family::V6)), b"");
    let mut routed = Routed::new();
    routed.rig.send(0, &frame);
    routed.rig.run();
    let from = (GATEWAY, address(GATEWAY, Family::V6));
    assert_error(&routed, 0, Family::V6, (1, 2, 0), from, (0, link_local), &frame);
    routed.rig.assert_only_drops(DropReason::MartianSource, 1);
}

#[test]
fn an_error_is_never_about_an_error() {
    for family in FAMILIES {
        let protocol = if family == Family::V4 { ICMP } else { ICMPV6 };
        let (source, destination) = (address(0, family), remote(family));
        let flow = FiveTuple { source, destination, protocol, source_port: 0, destination_port: 0 };
        let quoted = outbound(family, b"");
        let kinds: &[u8] =
            if family == Family::V4 { &[3, 4, 5, 11, 12, 99] } else { &[1, 2, 3, 4, 100 - 1, 137] };
        for kind in kinds {
            let mut frame = build::frame(link(0, GATEWAY), &flow, &quoted[14..]).unwrap();
            frame[places(family).2] = *kind;
            let expired = with_hop_limit(&frame, 1);
            assert_silent(&mut Routed::new(), 0, &expired, DropReason::TtlExpired);
        }
        // About a question there is one.
        let ping = with_hop_limit(&build::frame(link(0, GATEWAY), &flow, b"ping").unwrap(), 1);
        let kind = of(family, (11, 0, 0), (3, 0, 0));
        assert_told(&mut Routed::new(), family, &ping, kind, DropReason::TtlExpired);
    }
}

#[test]
fn of_a_packet_in_fragments_the_first_one_is_told_of_and_no_other() {
    let whole = may_fragment(&outbound(Family::V4, &pattern(1200)));
    let layout = packet::parse(&whole).unwrap();
    let mut fragmenter =
        router::fragment::Fragmenter::new(&whole, &layout, packet::Offload::NONE, 600).unwrap();
    let mut out = vec![0; 2000];
    let mut fragments = Vec::new();
    while let Some(length) = fragmenter.next_into(&mut out) {
        fragments.push(with_hop_limit(&out[..length], 1));
    }
    assert!(fragments.len() >= 3);
    assert_told(&mut Routed::new(), Family::V4, &fragments[0], (11, 0, 0), DropReason::TtlExpired);
    for later in &fragments[1..] {
        assert_silent(&mut Routed::new(), 0, later, DropReason::TtlExpired);
    }
    // IPv6: a fragment header in front of the payload.
    for (offset, is_told) in [(0, true), (1 << 3, false)] {
        let mut frame = with_hop_limit(&outbound(Family::V6, &[0; 64]), 1);
        let [high, low] = u16::to_be_bytes(offset | 1);
        frame.splice(54..54, [17, 0, high, low, 0, 0, 0, 7]);
        frame[20] = 44;
        frame[19] += 8;
        let layout = packet::parse(&frame).unwrap();
        assert!(layout.fragment != packet::Fragment::Whole && layout.transport != Transport::Malformed);
        if is_told {
            assert_told(&mut Routed::new(), Family::V6, &frame, (3, 0, 0), DropReason::TtlExpired);
        } else {
            assert_silent(&mut Routed::new(), 0, &frame, DropReason::TtlExpired);
        }
    }
}

#[test]
fn nobody_is_told_of_what_was_for_many_or_from_no_host() {
    // In a frame for all it is flooded, whatever its TTL.
    let mut routed = Routed::new();
    routed.rig.send(0, &with_hop_limit(&broadcast(0, b""), 1));
    routed.rig.run();
    assert_eq!(routed.rig.sum(|counters| counters.originated.get()), 0);
    // In one for the gateway it is refused in silence, as from a source that is no host.
    let expired = |source: &str, destination: &str| {
        with_hop_limit(&datagram((0, GATEWAY), (text(source), text(destination)), b""), 1)
    };
    for (frame, reason) in [
        (expired("10.0.0.0", "239.1.2.3"), DropReason::MulticastNotRouted),
        (expired("10.0.0.0", "192.168.0.255"), DropReason::DirectedBroadcast),
        (expired("fd00::", "ff0e::1"), DropReason::MulticastNotRouted),
        (expired("0.0.0.0", "10.9.0.7"), DropReason::MartianSource),
        (expired("10.0.0.255", "10.9.0.7"), DropReason::MartianSource),
        (expired("224.0.0.1", "10.9.0.7"), DropReason::MartianSource),
        (expired("127.0.0.1", "10.9.0.7"), DropReason::MartianSource),
        (expired("::", "fd09::7"), DropReason::MartianSource),
        (expired("ff02::1", "fd09::7"), DropReason::MartianSource),
    ] {
        assert_silent(&mut Routed::new(), 0, &frame, reason);
    }
}

#[test]
fn a_station_that_sends_from_a_group_address_is_not_answered() {
    for family in FAMILIES {
        let mut frame = with_hop_limit(&inbound(family, b""), 1);
        frame[6] |= 1;
        assert_silent(&mut Routed::new(), UPLINK, &frame, DropReason::TtlExpired);
    }
}

#[test]
fn a_packet_of_somebody_else_is_dropped_without_a_word() {
    // Where its source is not, nobody has to hear of it. A port that is bound to a MAC alone may be anybody on the
    // bridge, but nobody beyond it.
    let of_mac =
        Plan { binding: Some(switch::Binding { mac: mac(0), addresses: Vec::new() }), ..Plan::default() };
    let spoofed = datagram((0, GATEWAY), (text("10.77.0.1"), text("10.9.0.7")), b"");
    assert_silent(&mut Routed::with_pods(1, of_mac, Plan::default()), 0, &spoofed, DropReason::ReversePath);
    for (source, destination) in [("10.77.0.1", "10.9.0.7"), ("10.0.0.1", "10.9.0.7"), ("fd77::1", "fd09::7")]
    {
        let frame = datagram((0, GATEWAY), (text(source), text(destination)), b"");
        assert_silent(&mut Routed::new(), 0, &frame, DropReason::ReversePath);
    }
    let inside = datagram((NEXT_HOP, NODE), (text("10.0.0.9"), address(1, Family::V4)), b"");
    assert_silent(&mut Routed::new(), UPLINK, &inside, DropReason::ReversePath);
    for own in [node(Family::V4), address(GATEWAY, Family::V4)] {
        let frame = datagram((NEXT_HOP, NODE), (own, address(1, Family::V4)), b"");
        assert_silent(&mut Routed::new(), UPLINK, &frame, DropReason::MartianSource);
    }
}
