use super::*;

/// UDP over untagged IPv4: 14 + 20 + 8 bytes and `payload`.
fn udp(payload: &[u8]) -> Vec<u8> {
    let udp_bytes = u8::try_from(8 + payload.len()).unwrap();
    let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    bytes.extend([0x45, 0, 0, 20 + udp_bytes, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    bytes.extend([0x12, 0x34, 0, 53, 0, udp_bytes, 0, 0]);
    bytes.extend(payload);
    bytes
}

/// IPv6 whose first header is `next_header`, with `rest` behind the fixed header.
fn ipv6(next_header: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd, 0x60, 0, 0, 0];
    bytes.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
    bytes.extend([next_header, 64]);
    bytes.extend([0; 32]);
    bytes.extend(rest);
    bytes
}

#[test]
fn a_udp_frame_and_its_padding_are_told_apart() {
    let mut bytes = udp(b"hi");
    bytes.resize(60, 0xee);
    let layout = parse(&bytes).unwrap();
    assert_eq!((layout.network, layout.transport), (Network::Ipv4, Transport::Udp));
    assert_eq!((layout.transport_offset, layout.payload_offset, layout.packet_end), (34, 42, 44));
}

#[test]
fn the_plain_way_finds_what_the_general_way_finds() {
    let mut frames = vec![udp(b""), udp(b"payload")];
    let mut tcp = udp(&[0; 30]);
    tcp[23] = 6;
    for data_offset in 0..16 {
        tcp[46] = data_offset << 4;
        frames.push(tcp.clone());
    }
    for frame in &frames {
        for position in 12..frame.len() {
            for value in [0, 1, 0x20, 0x40, 0x44, 0x46, 0x50, 0x80, 0xff] {
                let mut bytes = frame.clone();
                bytes[position] = value;
                let general = general(&bytes, u16::from_be_bytes([bytes[12], bytes[13]]));
                assert_eq!(plain(&bytes).unwrap_or(general), general, "{position} {value}");
            }
        }
    }
}

/// Bare acknowledgments end with their header: the bound is not one too strict, which no layout would show.
#[test]
fn segments_and_datagrams_without_payload_take_the_plain_way() {
    assert!(plain(&udp(b"")).is_some());
    for options_bytes in [0, 12, 40] {
        let mut tcp = udp(&vec![0; 12 + options_bytes]);
        tcp[23] = 6;
        tcp[46] = u8::try_from((20 + options_bytes) / 4 * 16).unwrap();
        let layout = plain(&tcp).expect("nothing is missing");
        assert_eq!((usize::from(layout.payload_offset), layout.packet_end as usize), (tcp.len(), tcp.len()));
        tcp[46] += 0x10 * u8::from(options_bytes < 40);
        tcp[17] -= u8::from(options_bytes == 40);
        assert!(plain(&tcp).is_none(), "a byte is missing");
    }
}

#[test]
fn two_tags_are_skipped_and_a_third_makes_the_frame_opaque() {
    let mut bytes = udp(b"");
    for (tags, kind) in [(1, [0x81, 0]), (2, [0x88, 0xa8]), (3, [0x81, 0])] {
        bytes.splice(12..12, [kind[0], kind[1], 0, 5]);
        let layout = parse(&bytes).unwrap();
        if tags < 3 {
            assert_eq!((layout.vlan_tags, layout.network_offset), (tags, 14 + 4 * tags));
            assert_eq!((layout.network, layout.transport), (Network::Ipv4, Transport::Udp));
        } else {
            assert_eq!((layout.ethertype, layout.network), (0x8100, Network::Opaque), "{layout:?}");
        }
    }
    assert_eq!(parse(&bytes[..17]).unwrap().network, Network::Malformed);
}

#[test]
fn only_runts_and_giants_are_errors() {
    assert_eq!(parse(&[0; 13]), Err(DropReason::Truncated));
    assert_eq!(parse(&[0; 14]).map(|layout| layout.network), Ok(Network::Opaque));
    assert!(parse(&vec![0; FRAME_BYTES_MAX]).is_ok());
    assert_eq!(parse(&vec![0; FRAME_BYTES_MAX + 1]), Err(DropReason::Oversized));
}

#[test]
fn a_total_length_of_zero_is_right_only_where_the_field_is_too_short() {
    let mut bytes = udp(&[0; 20]);
    bytes[16..18].fill(0);
    assert_eq!(parse(&bytes).unwrap().network, Network::Malformed);
    bytes[23] = 6;
    bytes[46] = 0x50;
    bytes.resize(FRAME_BYTES_MAX, 0);
    let layout = parse(&bytes).unwrap();
    assert_eq!((layout.transport, layout.packet_end), (Transport::Tcp, 65_557));
    bytes.truncate(14 + 65_535);
    assert_eq!(parse(&bytes).unwrap().network, Network::Malformed);
}

#[test]
fn an_arp_packet_must_be_whole_and_for_ethernet_and_ipv4() {
    let mut bytes = vec![0; 12];
    bytes.extend([8, 6, 0, 1, 8, 0, 6, 4]);
    bytes.resize(42, 0);
    assert_eq!(parse(&bytes).unwrap().network, Network::Arp);
    assert_eq!(parse(&bytes[..41]).unwrap().network, Network::Malformed);
    bytes[18] = 8;
    assert_eq!(parse(&bytes).unwrap().network, Network::Malformed);
}

#[test]
fn extension_headers_are_followed_to_the_transport() {
    let udp = [0, 1, 0, 2, 0, 8, 0, 0];
    let mut rest = vec![43, 0, 1, 4, 0, 0, 0, 0]; // Hop-by-Hop, then Routing.
    rest.extend([51, 0, 0, 0, 0, 0, 0, 0]); // Routing, then AH.
    rest.extend([60, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]); // AH of 16 bytes, then options.
    rest.extend([17, 0, 1, 4, 0, 0, 0, 0]);
    rest.extend(udp);
    let layout = parse(&ipv6(0, &rest)).unwrap();
    assert_eq!((layout.transport, layout.protocol), (Transport::Udp, 17));
    assert_eq!((layout.transport_offset, layout.payload_offset), (54 + 40, 54 + 48));
}

#[test]
fn a_chain_beyond_the_bounds_is_malformed() {
    let chain = |headers: usize| {
        let mut rest = [60, 0, 1, 4, 0, 0, 0, 0].repeat(headers);
        rest[(headers - 1) * 8] = 59;
        parse(&ipv6(60, &rest)).unwrap().network
    };
    assert_eq!(chain(EXTENSION_HEADERS_MAX), Network::Ipv6);
    assert_eq!(chain(EXTENSION_HEADERS_MAX + 1), Network::Malformed);
    let mut long = vec![60, 255];
    long.resize(2048, 0);
    long[0] = 59;
    assert_eq!(parse(&ipv6(60, &long)).unwrap().network, Network::Ipv6);
    long[0] = 60;
    long.extend([59, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(parse(&ipv6(60, &long)).unwrap().network, Network::Malformed);
}

#[test]
fn a_hop_by_hop_header_stands_first_or_the_packet_is_malformed() {
    let rest = [0, 0, 1, 4, 0, 0, 0, 0, 59, 0, 1, 4, 0, 0, 0, 0];
    assert_eq!(parse(&ipv6(60, &rest)).unwrap().network, Network::Malformed);
    assert_eq!(parse(&ipv6(0, &rest[8..])).unwrap().network, Network::Ipv6);
}

#[test]
fn an_atomic_fragment_is_whole_and_a_later_one_has_no_transport() {
    let fragment = |word: u16| {
        let [high, low] = word.to_be_bytes();
        parse(&ipv6(44, &[17, 0, high, low, 0, 0, 0, 1, 0, 1, 0, 2, 0, 8, 0, 0])).unwrap()
    };
    assert_eq!((fragment(0).fragment, fragment(0).transport), (Fragment::Whole, Transport::Udp));
    assert_eq!((fragment(1).fragment, fragment(1).transport), (Fragment::First, Transport::Udp));
    let later = fragment(8);
    assert_eq!((later.fragment, later.transport), (Fragment::Later, Transport::Absent));
    assert_eq!((later.protocol, later.transport_offset, later.payload_offset), (17, 62, 0));
    let twice = [44, 0, 0, 0, 0, 0, 0, 1, 17, 0, 0, 8, 0, 0, 0, 2];
    assert_eq!(parse(&ipv6(44, &twice)).unwrap().network, Network::Malformed);
}

#[test]
fn the_control_protocol_of_the_other_family_is_opaque() {
    let echo = [128, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(parse(&ipv6(58, &echo)).unwrap().transport, Transport::Icmpv6);
    assert_eq!(parse(&ipv6(1, &echo)).unwrap().transport, Transport::Opaque);
    assert_eq!(parse(&ipv6(58, &echo[..7])).unwrap().transport, Transport::Malformed);
}
