//! The parser against the layout by construction, and against three other parsers.

use packet::{
    EXTENSION_HEADERS_MAX, FiveTuple, Fragment, Layout, Network, Offload, Transport, parse, validate_offload,
};
use pnet_packet::Packet as _;
use proptest::prelude::*;

use crate::frames::{Built, damaged_frame, frame};
use crate::oracles::{self, Protocol, Seen};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn a_valid_frame_has_the_layout_it_was_built_with(Built { bytes, layout } in frame()) {
        prop_assert_eq!(parse(&bytes), Ok(layout));
    }

    #[test]
    fn the_five_tuple_of_a_valid_frame_is_what_pnet_reads(Built { bytes, layout } in frame()) {
        let tuple = FiveTuple::read(&bytes, &layout);
        prop_assert_eq!(tuple.is_some(), layout.is_ip());
        prop_assert_eq!(pnet_addresses(&bytes), tuple.map(|tuple| (tuple.source, tuple.destination)));
        if let Some(tuple) = tuple {
            let transport = &bytes[usize::from(layout.transport_offset)..];
            prop_assert_eq!(pnet_ports(transport, &layout), (tuple.source_port, tuple.destination_port));
        }
    }

    #[test]
    fn a_damaged_frame_is_malformed_to_others_where_it_is_malformed_to_us(bytes in damaged_frame()) {
        let layout = parse(&bytes).unwrap();
        check_invariants(&bytes, &layout);
        match layout.ethertype {
            0x0800 if layout.network != Network::Malformed || starts_in(&bytes, &layout) => {
                check_ipv4(&bytes, &layout);
            }
            0x86dd if starts_in(&bytes, &layout) => check_ipv6(&bytes, &layout),
            0x0806 if starts_in(&bytes, &layout) => {
                let packet = smoltcp::wire::ArpPacket::new_checked(&bytes[usize::from(layout.network_offset)..]);
                let accepts = packet.is_ok_and(|packet| {
                    smoltcp::wire::ArpRepr::parse(&packet).is_ok() || !matches!(u16::from(packet.operation()), 1 | 2)
                        && packet.hardware_type() == smoltcp::wire::ArpHardware::Ethernet
                        && packet.protocol_type() == smoltcp::wire::EthernetProtocol::Ipv4
                        && (packet.hardware_len(), packet.protocol_len()) == (6, 4)
                });
                prop_assert_eq!(layout.network == Network::Arp, accepts);
            }
            _ => prop_assert!(!layout.is_ip()),
        }
        check_transport(&bytes, &layout);
    }

    #[test]
    fn random_bytes_are_never_taken_for_more_than_they_are(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(layout) = parse(&bytes) {
            check_invariants(&bytes, &layout);
        } else {
            prop_assert!(bytes.len() < 14);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_truncation_of_a_frame_is_parsed_without_panic(Built { bytes, layout } in frame()) {
        for end in 0..=bytes.len() {
            let Ok(cut) = parse(&bytes[..end]) else {
                prop_assert!(end < 14);
                continue;
            };
            check_invariants(&bytes[..end], &cut);
            let whole = layout.is_ip() && end >= usize::try_from(layout.packet_end).unwrap();
            prop_assert!(!whole || cut == layout, "{} of {}", end, bytes.len());
            prop_assert!(whole || !cut.is_ip(), "{} of {}", end, bytes.len());
        }
    }
}

/// What callers rely on when they slice by a layout.
fn check_invariants(bytes: &[u8], layout: &Layout) {
    let end = usize::try_from(layout.packet_end).unwrap();
    assert!(layout.vlan_tags <= 2 && layout.network_offset <= 14 + 4 * layout.vlan_tags);
    assert_eq!(FiveTuple::read(bytes, layout).is_some(), layout.is_ip());
    assert_eq!(validate_offload(bytes, layout, Offload::NONE), Ok(()));
    if !layout.is_ip() {
        assert_eq!((layout.transport, layout.fragment), (Transport::Absent, Fragment::Whole));
        assert_eq!((layout.transport_offset, layout.payload_offset, end), (0, 0, 0));
        return;
    }
    assert!(usize::from(layout.transport_offset) <= end && end <= bytes.len());
    assert!(layout.transport_offset > u16::from(layout.network_offset));
    match layout.transport {
        Transport::Absent | Transport::Malformed => assert_eq!(layout.payload_offset, 0),
        _ => assert!((layout.transport_offset..).contains(&layout.payload_offset)),
    }
    assert!(usize::from(layout.payload_offset) <= end);
    assert_eq!(layout.fragment == Fragment::Later, layout.transport == Transport::Absent);
}

fn starts_in(bytes: &[u8], layout: &Layout) -> bool {
    usize::from(layout.network_offset) <= bytes.len()
}

fn check_ipv4(bytes: &[u8], layout: &Layout) {
    let start = usize::from(layout.network_offset);
    let ours = Seen::ours(layout);
    assert_eq!(ours, oracles::etherparse_ipv4(bytes, start), "etherparse");
    assert_eq!(ours, oracles::smoltcp_ipv4(bytes, start), "smoltcp");
}

fn check_ipv6(bytes: &[u8], layout: &Layout) {
    let start = usize::from(layout.network_offset);
    let ours = Seen::ours(layout);
    if ours.is_some() {
        assert!(oracles::smoltcp_accepts_ipv6(bytes, start), "smoltcp");
    }
    // etherparse takes a payload length of 0 for a jumbogram, and reads on behind the header of a later
    // fragment, where there is but payload.
    if layout.fragment == Fragment::Later || bytes.get(start + 4..start + 6) == Some(&[0, 0]) {
        return;
    }
    match (ours, oracles::etherparse_ipv6(bytes, start)) {
        (None, Some((_, extensions, fragments))) => {
            assert!(extensions > EXTENSION_HEADERS_MAX || fragments > 1, "only etherparse accepts");
        }
        (ours, theirs) => assert_eq!(ours, theirs.map(|(seen, ..)| seen), "etherparse"),
    }
}

fn check_transport(bytes: &[u8], layout: &Layout) {
    let Some(protocol) = Protocol::of(layout).filter(|_| layout.fragment == Fragment::Whole) else {
        return;
    };
    let start = usize::from(layout.transport_offset);
    let payload = &bytes[start..usize::try_from(layout.packet_end).unwrap()];
    let ours = (layout.transport == protocol.transport()).then(|| usize::from(layout.payload_offset) - start);
    assert!(ours.is_some() || layout.transport == Transport::Malformed);
    if let Some(theirs) = oracles::etherparse_transport(payload, protocol) {
        assert_eq!(ours, theirs, "etherparse");
    }
    if let Some(theirs) = oracles::smoltcp_transport(payload, protocol) {
        assert_eq!(ours, theirs, "smoltcp");
    }
}

fn pnet_addresses(bytes: &[u8]) -> Option<(std::net::IpAddr, std::net::IpAddr)> {
    use pnet_packet::ethernet::{EtherTypes, EthernetPacket};
    use pnet_packet::vlan::VlanPacket;
    let ethernet = EthernetPacket::new(bytes)?;
    let (mut ethertype, mut payload) = (ethernet.get_ethertype(), ethernet.payload().to_vec());
    for _ in 0..2 {
        if matches!(ethertype, EtherTypes::Vlan | EtherTypes::PBridge) {
            let tag = VlanPacket::new(&payload)?;
            ethertype = tag.get_ethertype();
            payload = tag.payload().to_vec();
        }
    }
    match ethertype {
        EtherTypes::Ipv4 => {
            let packet = pnet_packet::ipv4::Ipv4Packet::new(&payload)?;
            Some((packet.get_source().into(), packet.get_destination().into()))
        }
        EtherTypes::Ipv6 => {
            let packet = pnet_packet::ipv6::Ipv6Packet::new(&payload)?;
            Some((packet.get_source().into(), packet.get_destination().into()))
        }
        _ => None,
    }
}

fn pnet_ports(transport: &[u8], layout: &Layout) -> (u16, u16) {
    use pnet_packet::{icmp, icmpv6, tcp, udp};
    let ports = match layout.transport {
        Transport::Tcp => tcp::TcpPacket::new(transport).map(|tcp| (tcp.get_source(), tcp.get_destination())),
        Transport::Udp => udp::UdpPacket::new(transport).map(|udp| (udp.get_source(), udp.get_destination())),
        // pnet knows no SCTP; its ports are where UDP's are.
        Transport::Sctp => {
            udp::UdpPacket::new(transport).map(|sctp| (sctp.get_source(), sctp.get_destination()))
        }
        Transport::Icmp => icmp::IcmpPacket::new(transport).and_then(|message| {
            let is_query = matches!(message.get_icmp_type().0, 0 | 8 | 13 | 14);
            icmp::echo_request::EchoRequestPacket::new(transport)
                .filter(|_| is_query)
                .map(|echo| (echo.get_identifier(), echo.get_identifier()))
        }),
        Transport::Icmpv6 => icmpv6::Icmpv6Packet::new(transport).and_then(|message| {
            let is_query = matches!(message.get_icmpv6_type().0, 128 | 129);
            icmpv6::echo_request::EchoRequestPacket::new(transport)
                .filter(|_| is_query)
                .map(|echo| (echo.get_identifier(), echo.get_identifier()))
        }),
        Transport::Absent | Transport::Opaque | Transport::Malformed => None,
    };
    ports.unwrap_or((0, 0))
}
