use super::*;
use packet::segment::Segmenter;
use packet::{FiveTuple, arp, build, parse};

const US: Origin = Origin {
    mac: MacAddress([2, 0, 0, 0, 0, 1]),
    address: IpAddr::V4(std::net::Ipv4Addr::new(10, 244, 1, 1)),
};
const POD: MacAddress = MacAddress([2, 0, 0, 0, 0, 9]);

fn us(is_v6: bool) -> Origin {
    if is_v6 { Origin { address: "fd00:1::1".parse().unwrap(), ..US } } else { US }
}

fn tuple(is_v6: bool, protocol: u8) -> FiveTuple {
    let text = if is_v6 { ["fd00::9", "2001:db8::1"] } else { ["10.244.1.9", "198.51.100.1"] };
    let [source, destination] = text.map(|text| text.parse().unwrap());
    FiveTuple { source, destination, protocol, source_port: 4000, destination_port: 53 }
}

const LINK: build::Link = build::Link { source: POD, destination: US.mac };

fn frame(is_v6: bool, protocol: u8, payload_bytes: usize) -> Vec<u8> {
    let payload: Vec<u8> = (0..payload_bytes).map(|at| at.to_le_bytes()[0] ^ 0x5a).collect();
    build::frame(LINK, &tuple(is_v6, protocol), &payload).unwrap()
}

fn report_of(bytes: &[u8], offload: Offload, problem: Problem, origin: Origin) -> Result<Vec<u8>, Silence> {
    let layout = parse(bytes).unwrap();
    let rules = AddressRules::new(true, ["10.244.1.0/24".parse().unwrap()]);
    let mut out = [0xee; ERROR_FRAME_BYTES_MAX];
    let written = Offending { bytes, layout: &layout, offload }.report(problem, origin, &rules, &mut out);
    assert!(written.is_ok() || out == [0xee; ERROR_FRAME_BYTES_MAX]);
    written.map(|bytes| out[..bytes].to_vec())
}

fn report(bytes: &[u8], problem: Problem) -> Result<Vec<u8>, Silence> {
    report_of(bytes, Offload::NONE, problem, us(bytes[12] == 0x86))
}

fn silence(bytes: &[u8]) -> Silence {
    report(bytes, Problem::HopLimitExceeded).unwrap_err()
}

#[test]
fn each_problem_has_the_type_and_code_of_its_rfc() {
    let big = Problem::TooBig { mtu_bytes: 1400 };
    for (problem, v4, v6) in [
        (Problem::HopLimitExceeded, [11, 0, 0, 0, 0, 0], [3, 0, 0, 0, 0, 0]),
        (Problem::NetUnreachable, [3, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0]),
        (Problem::HostUnreachable, [3, 1, 0, 0, 0, 0], [1, 3, 0, 0, 0, 0]),
        (Problem::Prohibited, [3, 13, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0]),
        (big, [3, 4, 0, 0, 0x05, 0x78], [2, 0, 0, 0, 0x05, 0x78]),
        (Problem::TooBig { mtu_bytes: 70_000 }, [3, 4, 0, 0, 0xff, 0xff], [2, 0, 0, 1, 0x11, 0x70]),
        (Problem::Parameter { pointer: 22 }, [12, 0, 22, 0, 0, 0], [4, 0, 0, 0, 0, 22]),
        (Problem::BeyondScope, [3, 1, 0, 0, 0, 0], [1, 2, 0, 0, 0, 0]),
    ] {
        for (is_v6, at, expected) in [(false, 34, v4), (true, 54, v6)] {
            let error = report(&frame(is_v6, 17, 20), problem).unwrap();
            let [kind, code, _, _, a, b, c, d] = *error[at..].first_chunk().unwrap();
            assert_eq!([kind, code, a, b, c, d], expected, "{problem:?}");
        }
    }
}

#[test]
fn an_error_goes_back_where_the_packet_came_from_by_the_ports_gateway() {
    for is_v6 in [false, true] {
        let error = report(&frame(is_v6, 17, 20), Problem::NetUnreachable).unwrap();
        assert_eq!((&error[..6], &error[6..12]), (&POD.0[..], &US.mac.0[..]));
        let layout = parse(&error).unwrap();
        let tuple = FiveTuple::read(&error, &layout).unwrap();
        assert_eq!(tuple.source, us(is_v6).address);
        assert_eq!(tuple.destination, self::tuple(is_v6, 17).source);
        assert_eq!(checksum::transport_is_valid(&error, &layout), Some(true));
    }
}

#[test]
fn vlan_tags_are_kept() {
    let mut tagged = frame(false, 17, 20);
    tagged.splice(12..12, [0x81, 0, 0, 7]);
    let error = report_of(&tagged, Offload::NONE, Problem::NetUnreachable, US).unwrap();
    assert_eq!(error[12..18], [0x81, 0, 0, 7, 8, 0]);
    assert_eq!(error[46..], tagged[18..]);
}

#[test]
fn as_much_is_quoted_as_the_rfcs_allow_and_no_padding() {
    for (is_v6, headers, bytes_max) in [(false, 28, 576), (true, 48, 1280)] {
        for payload in [0, 1, 100, 511, 512, 513, 1180, 1184, 1185, 4000] {
            let mut frame = frame(is_v6, 17, payload);
            let whole = frame.len();
            frame.extend([0xee; 25]);
            let error = report(&frame, Problem::HopLimitExceeded).unwrap();
            assert_eq!(error.len() - 14, (headers + whole - 14).min(bytes_max), "{payload}");
            assert_eq!(error[14 + headers..], frame[14..error.len() - headers]);
        }
    }
}

#[test]
fn an_ipv4_error_has_precedence_six_and_is_atomic() {
    let error = report(&frame(false, 17, 20), Problem::HopLimitExceeded).unwrap();
    assert_eq!(error[15], 0xc0);
    assert_eq!(error[18..22], [0, 0, 0x40, 0]);
    assert!(ipv4::Header::new(&error[14..]).unwrap().checksum_is_valid());
}

#[test]
fn an_ipv4_error_has_the_type_of_service_of_its_packet_but_neither_precedence_nor_congestion() {
    for (tos, expected) in [(0x10, 0xd0), (0x1c, 0xdc), (0xb8, 0xd8), (0x03, 0xc0), (0xff, 0xdc)] {
        let mut frame = frame(false, 17, 20);
        frame[15] = tos;
        let error = report(&frame, Problem::HopLimitExceeded).unwrap();
        assert_eq!(error[15], expected, "{tos:#x}");
        assert!(ipv4::Header::new(&error[14..]).unwrap().checksum_is_valid());
    }
}

#[test]
fn there_is_no_error_about_an_error_or_a_redirect() {
    for (is_v6, protocol, at) in [(false, 1, 34), (true, 58, 54)] {
        for kind in 0..=u8::MAX {
            let mut frame = frame(is_v6, protocol, 40);
            frame[at] = kind;
            let may =
                if is_v6 { kind >= 128 && kind != 137 } else { matches!(kind, 0 | 8 | 9 | 10 | 13..=18) };
            assert_eq!(report(&frame, Problem::NetUnreachable).is_ok(), may, "{kind}");
            assert!(may || silence(&frame) == Silence::AboutError);
        }
        let mut cut = frame(is_v6, protocol, 0);
        cut.truncate(at + 4);
        let length = if is_v6 { 4 } else { 24 };
        cut[if is_v6 { 18 } else { 16 }..][..2].copy_from_slice(&[0, length]);
        assert_eq!(silence(&cut), Silence::AboutError, "a type that cannot be trusted");
    }
}

#[test]
fn there_is_no_error_about_a_later_fragment_but_about_the_first() {
    let mut fragment = frame(false, 17, 40);
    fragment[20..22].copy_from_slice(&[0x20, 5]);
    assert_eq!(silence(&fragment), Silence::LaterFragment);
    fragment[20..22].copy_from_slice(&[0x20, 0]);
    assert!(report(&fragment, Problem::NetUnreachable).is_ok());
    for (offset, is_reported) in [(0, true), (8, false)] {
        let mut fragment = frame(true, 17, 40);
        fragment.splice(54..54, [17, 0, 0, offset | 1, 0, 0, 0, 1]);
        fragment[20] = 44;
        fragment[19] += 8;
        assert_eq!(report(&fragment, Problem::NetUnreachable).is_ok(), is_reported);
    }
}

#[test]
fn there_is_no_error_about_what_is_for_many() {
    for is_v6 in [false, true] {
        let mut broadcast = frame(is_v6, 17, 40);
        broadcast[..6].fill(0xff);
        assert_eq!(silence(&broadcast), Silence::ForMany);
        let mut multicast = frame(is_v6, 17, 40);
        multicast[0] |= 1;
        assert_eq!(silence(&multicast), Silence::ForMany);
    }
    for destination in [[224, 0, 0, 1], [239, 255, 0, 1], [255; 4], [10, 244, 1, 255]] {
        let mut group = frame(false, 17, 40);
        group[30..34].copy_from_slice(&destination);
        assert_eq!(silence(&group), Silence::ForMany);
    }
    let mut group = frame(true, 17, 40);
    group[38..40].copy_from_slice(&[0xff, 0x0e]);
    assert_eq!(silence(&group), Silence::ForMany);
}

#[test]
fn there_is_no_error_to_what_is_not_one_host() {
    for source in [
        [0; 4],
        [0, 1, 2, 3],
        [127, 0, 0, 1],
        [224, 0, 0, 5],
        [255; 4],
        [10, 244, 1, 255],
        [169, 254, 1, 1],
        [10, 244, 1, 1],
    ] {
        let mut frame = frame(false, 17, 40);
        frame[26..30].copy_from_slice(&source);
        assert_eq!(silence(&frame), Silence::NoSender, "{source:?}");
    }
    for source in ["::", "::1", "ff02::1", "::ffff:10.0.0.1", "fd00:1::1"] {
        let mut frame = frame(true, 17, 40);
        frame[22..38].copy_from_slice(&source.parse::<std::net::Ipv6Addr>().unwrap().octets());
        assert_eq!(silence(&frame), Silence::NoSender, "{source}");
    }
}

#[test]
fn there_is_no_error_without_a_packet_an_address_or_room() {
    assert_eq!(silence(&arp::gratuitous(POD, [10, 0, 0, 1].into())), Silence::NotIp);
    let packet = frame(true, 17, 40);
    assert_eq!(report_of(&packet, Offload::NONE, Problem::Prohibited, US), Err(Silence::NoAddress));
    let layout = parse(&packet).unwrap();
    let offending = Offending { bytes: &packet, layout: &layout, offload: Offload::NONE };
    let rules = AddressRules::default();
    let needed = offending.report(Problem::Prohibited, us(true), &rules, &mut [0; 2000]).unwrap();
    let short = offending.report(Problem::Prohibited, us(true), &rules, &mut vec![0; needed - 1]);
    assert_eq!(short, Err(Silence::NoRoom));
}

/// The quotation of a super-frame is the beginning of the first frame that a segmenter makes of it.
#[test]
fn of_a_super_frame_the_first_segment_is_quoted_as_a_wire_would_have_shown_it() {
    for is_v6 in [false, true] {
        for (protocol, payload, size) in
            [(6, 9000, 1400), (6, 9000, 300), (6, 900, 1400), (6, 100, 9), (17, 9000, 1001), (17, 700, 200)]
        {
            let payload: Vec<u8> = (0..payload).map(|at: u32| at.to_le_bytes()[0]).collect();
            let (mut frame, offload) =
                build::super_frame(LINK, &tuple(is_v6, protocol), &payload, size).unwrap();
            let layout = parse(&frame).unwrap();
            if protocol == 6 {
                frame[usize::from(layout.transport_offset) + 13] |= tcp::flag::FIN | tcp::flag::CWR;
            }
            let mut segmenter = Segmenter::new(&frame, &layout, offload).unwrap();
            let mut first = vec![0; segmenter.segment_bytes_max()];
            let bytes = segmenter.next_into(&mut first).unwrap();
            let error = report_of(&frame, offload, Problem::HopLimitExceeded, us(is_v6)).unwrap();
            let on_wire = report_of(&first[..bytes], Offload::NONE, Problem::HopLimitExceeded, us(is_v6));
            assert_eq!(error, on_wire.unwrap(), "{protocol} {size}");
        }
    }
}

#[test]
fn a_checksum_that_was_left_to_complete_is_complete_in_the_quotation() {
    for is_v6 in [false, true] {
        for protocol in [6, 17] {
            for payload_bytes in [0, 1, 33, 800] {
                let finished = frame(is_v6, protocol, payload_bytes);
                let payload = &finished[finished.len() - payload_bytes..];
                let (mut frame, offload) =
                    build::super_frame(LINK, &tuple(is_v6, protocol), payload, 9000).unwrap();
                let offload = Offload { segmentation: None, ..offload };
                frame.extend([0x77; 9]);
                let error = report_of(&frame, offload, Problem::HopLimitExceeded, us(is_v6)).unwrap();
                assert_eq!(error, report(&finished, Problem::HopLimitExceeded).unwrap());
            }
        }
    }
}
