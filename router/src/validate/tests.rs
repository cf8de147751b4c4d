use super::*;
use crate::test_frames::sum;
use packet::{FiveTuple, MacAddress, build, parse};

const US: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);

fn frame(source: &str, destination: &str) -> Vec<u8> {
    let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
    let tuple = FiveTuple { source, destination, protocol: 17, source_port: 1, destination_port: 2 };
    let link = build::Link { source: MacAddress([2, 0, 0, 0, 0, 9]), destination: US };
    build::frame(link, &tuple, b"payload").unwrap()
}

fn rules() -> AddressRules {
    AddressRules::new(true, ["10.244.1.0/24", "192.0.2.4/31"].map(|network| network.parse().unwrap()))
}

fn judge(frame: &[u8]) -> Validity {
    rules().validate(frame, &parse(frame).unwrap())
}

/// The same packet with other options.
fn with_options(options: &[u8]) -> Vec<u8> {
    let mut frame = frame("10.244.1.2", "198.51.100.1");
    frame.splice(34..34, options.iter().copied());
    frame[14] = 0x45 + u8::try_from(options.len() / 4).unwrap();
    let total = u16::try_from(frame.len() - 14).unwrap();
    frame[16..18].copy_from_slice(&total.to_be_bytes());
    sum(&mut frame);
    frame
}

#[test]
fn an_ordinary_packet_may_be_forwarded() {
    assert_eq!(judge(&frame("10.244.1.2", "198.51.100.1")), Validity::Forwardable);
    assert_eq!(judge(&frame("fd00::1", "2001:db8::1")), Validity::Forwardable);
    assert_eq!(judge(&with_options(&[7, 7, 4, 0, 0, 0, 0, 0])), Validity::Forwardable, "record route");
}

#[test]
fn a_header_checksum_that_is_wrong_in_any_bit_is_refused() {
    let sound = frame("10.244.1.2", "198.51.100.1");
    for bit in 0..16 {
        let mut frame = sound.clone();
        frame[24 + bit / 8] ^= 1 << (bit % 8);
        assert_eq!(judge(&frame), Validity::Discard(DropReason::BadIpChecksum), "bit {bit}");
    }
}

#[test]
fn a_reserved_bit_is_no_reason_to_drop_and_stays() {
    let mut frame = frame("10.244.1.2", "198.51.100.1");
    frame[20] = 0x80;
    sum(&mut frame);
    assert_eq!(judge(&frame), Validity::Forwardable);
    let layout = parse(&frame).unwrap();
    let mut fragmenter =
        crate::fragment::Fragmenter::new(&frame, &layout, packet::Offload::NONE, 68).unwrap();
    let mut out = [0; 82];
    assert!(fragmenter.next_into(&mut out).is_some());
    assert_eq!(out[20] & 0x80, 0x80);
}

#[test]
fn version_and_lengths_that_contradict_are_refused() {
    for (at, value) in [(14, 0x55), (14, 0x44), (14, 0x4f), (16, 1), (17, 19)] {
        let mut frame = frame("10.244.1.2", "198.51.100.1");
        frame[at] = value;
        assert_eq!(judge(&frame), Validity::Discard(DropReason::BadIpHeader), "{at}: {value}");
    }
    let mut frame = frame("fd00::1", "2001:db8::1");
    frame[18] = 1;
    assert_eq!(judge(&frame), Validity::Discard(DropReason::BadIpHeader));
}

#[test]
fn martian_sources_are_refused() {
    for source in
        ["0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "239.1.2.3", "255.255.255.255", "169.254.0.1"]
    {
        let verdict = judge(&frame(source, "198.51.100.1"));
        assert_eq!(verdict, Validity::Discard(DropReason::MartianSource), "{source}");
    }
    assert_eq!(judge(&frame("10.244.1.255", "198.51.100.1")), Validity::Discard(DropReason::MartianSource));
    for source in ["::", "::1", "ff02::1", "::ffff:10.0.0.1"] {
        let verdict = judge(&frame(source, "2001:db8::1"));
        assert_eq!(verdict, Validity::Discard(DropReason::MartianSource), "{source}");
    }
}

#[test]
fn martian_destinations_are_refused() {
    for destination in ["0.0.0.0", "0.1.2.3", "127.0.0.1", "255.255.255.255", "169.254.0.1"] {
        let verdict = judge(&frame("10.244.1.2", destination));
        assert_eq!(verdict, Validity::Discard(DropReason::MartianDestination), "{destination}");
    }
    for destination in ["::", "::1", "fe80::1", "::ffff:10.0.0.1"] {
        let verdict = judge(&frame("fd00::1", destination));
        assert_eq!(verdict, Validity::Discard(DropReason::MartianDestination), "{destination}");
    }
}

#[test]
fn the_reserved_class_is_forwarded_as_linux_does_unless_configured_otherwise() {
    for (source, destination) in [("240.0.0.1", "198.51.100.1"), ("10.244.1.2", "250.1.2.3")] {
        let frame = frame(source, destination);
        let layout = parse(&frame).unwrap();
        assert_eq!(AddressRules::default().validate(&frame, &layout), Validity::Forwardable);
        assert!(matches!(AddressRules::new(false, []).validate(&frame, &layout), Validity::Discard(_)));
    }
}

#[test]
fn multicast_is_not_routed() {
    for (source, destination) in [("10.244.1.2", "239.1.2.3"), ("fd00::1", "ff0e::1")] {
        let mut frame = frame(source, destination);
        frame[0] |= 1;
        assert_eq!(judge(&frame), Validity::Discard(DropReason::MulticastNotRouted));
    }
}

#[test]
fn a_packet_for_one_in_a_frame_for_many_is_not_forwarded() {
    for (source, destination) in [("10.244.1.2", "198.51.100.1"), ("fd00::1", "2001:db8::1")] {
        for mac in [[0xff; 6], [1, 0, 0x5e, 0, 0, 1]] {
            let mut frame = frame(source, destination);
            frame[..6].copy_from_slice(&mac);
            assert_eq!(judge(&frame), Validity::Discard(DropReason::LinkBroadcast));
        }
    }
}

#[test]
fn the_broadcast_address_of_a_connected_network_is_refused() {
    assert_eq!(judge(&frame("10.9.9.9", "10.244.1.255")), Validity::Discard(DropReason::DirectedBroadcast));
    assert_eq!(judge(&frame("10.9.9.9", "10.244.2.255")), Validity::Forwardable, "not connected here");
    assert_eq!(
        judge(&frame("10.9.9.9", "192.0.2.5")),
        Validity::Forwardable,
        "a /31 has no broadcast address"
    );
}

#[test]
fn source_routes_are_refused() {
    for options in [[131, 7, 4, 10, 0, 0, 1, 0], [137, 7, 4, 10, 0, 0, 1, 0], [1, 131, 7, 8, 10, 0, 0, 1]] {
        assert_eq!(judge(&with_options(&options)), Validity::Discard(DropReason::SourceRoute));
    }
    assert_eq!(judge(&with_options(&[0, 131, 7, 4])), Validity::Forwardable, "behind the end of the list");
    for (kind, segments_left, verdict) in [
        (0, 1, Validity::Discard(DropReason::SourceRoute)),
        (0, 0, Validity::Discard(DropReason::SourceRoute)),
        (4, 1, Validity::Forwardable),
    ] {
        let mut frame = frame("fd00::1", "2001:db8::1");
        frame.splice(54..54, [17, 0, kind, segments_left, 0, 0, 0, 0]);
        frame[19] += 8;
        frame[20] = 43;
        assert_eq!(judge(&frame), verdict, "type {kind}");
    }
}

#[test]
fn malformed_options_are_a_parameter_problem_that_points_at_them() {
    for (options, pointer) in
        [([7, 1, 0, 0], 20), ([1, 1, 7, 0], 22), ([1, 1, 1, 7], 23), ([68, 5, 5, 0], 20)]
    {
        let refused = Validity::Refuse(DropReason::BadIpOptions, Problem::Parameter { pointer });
        assert_eq!(judge(&with_options(&options)), refused);
    }
}

#[test]
fn a_packet_that_no_host_sent_or_awaits_is_owed_no_word_of_its_options() {
    let malformed = [30, 9, 0, 0];
    for (at, address, reason) in [
        (26, [127, 0, 0, 1], DropReason::MartianSource),
        (30, [127, 0, 0, 1], DropReason::MartianDestination),
        (30, [224, 0, 0, 9], DropReason::MulticastNotRouted),
    ] {
        let mut frame = with_options(&malformed);
        frame[at..at + 4].copy_from_slice(&address);
        sum(&mut frame);
        assert_eq!(judge(&frame), Validity::Discard(reason));
    }
}

#[test]
fn for_the_gateway_checksum_options_and_source_route_are_judged_and_nothing_else() {
    let judge = |frame: &[u8]| validate_for_gateway(frame, &parse(frame).unwrap());
    let mut last = frame("127.0.0.1", "224.0.0.1");
    last[22] = 0;
    sum(&mut last);
    assert_eq!(judge(&last), Validity::Forwardable, "neither addresses nor hops");
    last[24] ^= 1;
    assert_eq!(judge(&last), Validity::Discard(DropReason::BadIpChecksum));
    let source_route = with_options(&[131, 7, 4, 10, 9, 0, 9, 0]);
    assert_eq!(judge(&source_route), Validity::Discard(DropReason::SourceRoute));
    let problem = Problem::Parameter { pointer: 20 };
    let malformed = with_options(&[30, 9, 0, 0]);
    assert_eq!(judge(&malformed), Validity::Refuse(DropReason::BadIpOptions, problem));
}

#[test]
fn the_last_hop_is_refused_and_the_sender_is_owed_word() {
    for (source, destination, at) in [("10.244.1.2", "198.51.100.1", 22), ("fd00::1", "2001:db8::1", 21)] {
        for hop_limit in 0..=3 {
            let mut frame = frame(source, destination);
            frame[at] = hop_limit;
            if at == 22 {
                sum(&mut frame);
            }
            let expired = Validity::Refuse(DropReason::TtlExpired, Problem::HopLimitExceeded);
            assert_eq!(judge(&frame), if hop_limit > 1 { Validity::Forwardable } else { expired });
        }
    }
}

#[test]
fn a_link_local_sender_is_told_that_its_address_does_not_reach_so_far() {
    let refused = Validity::Refuse(DropReason::MartianSource, Problem::BeyondScope);
    assert_eq!(judge(&frame("fe80::1", "2001:db8::1")), refused);
}

#[test]
fn what_is_no_ip_is_not_for_a_router() {
    let arp = packet::arp::gratuitous(US, [10, 0, 0, 1].into());
    assert_eq!(judge(&arp), Validity::Discard(DropReason::NotForGateway));
    assert_eq!(judge(&[0; 60]), Validity::Discard(DropReason::NotForGateway));
}

#[test]
fn every_prefix_of_a_packet_is_judged() {
    for frame in [with_options(&[131, 7, 4, 10, 0, 0, 1, 0]), frame("fd00::1", "2001:db8::1")] {
        for end in 14..frame.len() {
            assert_eq!(judge(&frame[..end]), Validity::Discard(DropReason::BadIpHeader), "{end}");
        }
    }
}

/// The quick look and the close one agree about every first octet, and about what is next to the borders of the
/// special blocks.
#[test]
fn a_quick_look_lets_nothing_pass_that_a_close_one_would_not() {
    for rules in [rules(), AddressRules::new(false, [])] {
        for first in 0..=u8::MAX {
            for rest in
                [[0, 0, 1], [253, 255, 255], [254, 0, 1], [254, 255, 255], [255, 0, 0], [255, 255, 255]]
            {
                let address = Ipv4Addr::new(first, rest[0], rest[1], rest[2]).to_string();
                for (source, destination) in [(&address[..], "10.0.0.1"), ("10.0.0.1", &address)] {
                    let frame = frame(source, destination);
                    let header = ipv4::Header::new(&frame[14..]).unwrap();
                    let closely = rules.look_closely_at_ipv4(&frame, &header).err();
                    let verdict = rules.validate(&frame, &parse(&frame).unwrap());
                    assert_eq!(verdict, closely.unwrap_or(Validity::Forwardable), "{source} {destination}");
                }
            }
            for second in [0_u8, 0x7f, 0x80, 0xbf, 0xc0, 0xff] {
                let address = Ipv6Addr::from_bits(u128::from(first) << 120 | u128::from(second) << 112 | 9);
                for (source, destination) in
                    [(address.to_string(), "fd00::1".into()), ("fd00::1".into(), address.to_string())]
                {
                    let frame = frame(&source, &destination);
                    let layout = parse(&frame).unwrap();
                    let header = ipv6::Header::new(&frame[14..]).unwrap();
                    let closely = look_closely_at_ipv6(&frame, &layout, &header).err();
                    let verdict = rules.validate(&frame, &layout);
                    assert_eq!(verdict, closely.unwrap_or(Validity::Forwardable), "{source} {destination}");
                }
            }
        }
    }
}
