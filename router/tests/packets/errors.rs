//! ICMP errors about random packets, read by other parsers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use packet::segment::Segmenter;
use packet::{FiveTuple, MacAddress, Offload, build, parse};
use proptest::prelude::*;
use router::icmp_error::{ERROR_FRAME_BYTES_MAX, Offending, Origin, Problem};
use router::validate::AddressRules;

pub(crate) const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
pub(crate) const POD: MacAddress = MacAddress([2, 0, 0, 0, 0, 9]);
const LINK: build::Link = build::Link { source: POD, destination: MAC };

pub(crate) fn problem() -> impl Strategy<Value = Problem> {
    prop_oneof![
        Just(Problem::HopLimitExceeded),
        Just(Problem::NetUnreachable),
        Just(Problem::HostUnreachable),
        Just(Problem::Prohibited),
        Just(Problem::BeyondScope),
        any::<u32>().prop_map(|mtu_bytes| Problem::TooBig { mtu_bytes }),
        any::<u8>().prop_map(|pointer| Problem::Parameter { pointer }),
    ]
}

fn tuple() -> impl Strategy<Value = FiveTuple> {
    let v4 = (1..=223_u8, any::<[u8; 3]>())
        .prop_filter("a host", |(first, _)| *first != 127)
        .prop_map(|(first, [b, c, d])| IpAddr::from([first, b, c, d]));
    let v4 = v4.prop_filter("routable", |address| !matches!(address, IpAddr::V4(v4) if v4.is_link_local()));
    let v6 = any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits >> 3 | 1 << 125)));
    let ends = prop_oneof![
        (v4.clone(), v4).prop_map(|(source, destination)| (source, destination)),
        (v6.clone(), v6).prop_map(|(source, destination)| (source, destination)),
    ];
    (ends, prop::sample::select(vec![6_u8, 17, 0, 253]), any::<[u16; 2]>()).prop_map(
        |((source, destination), protocol, [source_port, destination_port])| {
            let echo = if source.is_ipv4() { 1 } else { 58 };
            let protocol = if protocol == 0 { echo } else { protocol };
            FiveTuple { source, destination, protocol, source_port, destination_port }
        },
    )
}

fn origin(is_v4: bool) -> Origin {
    let v6: Ipv6Addr = "fd00:1::1".parse().unwrap();
    Origin { mac: MAC, address: if is_v4 { Ipv4Addr::new(240, 1, 2, 3).into() } else { v6.into() } }
}

fn report(bytes: &[u8], offload: Offload, problem: Problem, is_v4: bool) -> Vec<u8> {
    let layout = parse(bytes).unwrap();
    let mut out = vec![0xee; ERROR_FRAME_BYTES_MAX];
    let offending = Offending { bytes, layout: &layout, offload };
    let written = offending.report(problem, origin(is_v4), &AddressRules::default(), &mut out);
    out.truncate(written.unwrap());
    out
}

/// What stands behind the header of the error in `frame`, which smoltcp, pnet and etherparse find sound.
fn quotation(frame: &[u8], tuple: &FiveTuple) -> Vec<u8> {
    let frame = smoltcp::wire::EthernetFrame::new_checked(frame).unwrap();
    assert_eq!((frame.dst_addr().0, frame.src_addr().0), (POD.0, MAC.0));
    match tuple.source {
        IpAddr::V4(source) => {
            let ip = smoltcp::wire::Ipv4Packet::new_checked(frame.payload()).unwrap();
            assert!(ip.verify_checksum());
            assert_eq!((ip.dst_addr(), ip.total_len() as usize), (source, frame.payload().len()));
            assert!(ip.total_len() <= 576);
            let icmp = smoltcp::wire::Icmpv4Packet::new_checked(ip.payload()).unwrap();
            assert!(icmp.verify_checksum());
            let other = pnet_packet::icmp::IcmpPacket::new(ip.payload()).unwrap();
            assert_eq!(pnet_packet::icmp::checksum(&other), other.get_checksum());
            let parsed = etherparse::Icmpv4Slice::from_slice(ip.payload()).unwrap();
            assert!(!matches!(parsed.icmp_type(), etherparse::Icmpv4Type::Unknown { .. }));
            icmp.data().to_vec()
        }
        IpAddr::V6(source) => {
            let ip = smoltcp::wire::Ipv6Packet::new_checked(frame.payload()).unwrap();
            assert_eq!(ip.dst_addr(), source);
            assert!(frame.payload().len() <= 1280);
            let icmp = smoltcp::wire::Icmpv6Packet::new_checked(ip.payload()).unwrap();
            assert!(icmp.verify_checksum(&ip.src_addr(), &ip.dst_addr()));
            let other = pnet_packet::icmpv6::Icmpv6Packet::new(ip.payload()).unwrap();
            let sum = pnet_packet::icmpv6::checksum(&other, &ip.src_addr(), &ip.dst_addr());
            assert_eq!(sum, other.get_checksum());
            let parsed = etherparse::Icmpv6Slice::from_slice(ip.payload()).unwrap();
            assert!(!matches!(parsed.icmp_type(), etherparse::Icmpv6Type::Unknown { .. }));
            icmp.payload().to_vec()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_error_is_sound_and_quotes_the_packet(
        tuple in tuple(), payload in 0..2000_usize, problem in problem(), padding in 0..30_usize,
    ) {
        let payload: Vec<u8> = (0..payload).map(|at| at.to_le_bytes()[0]).collect();
        let mut frame = build::frame(LINK, &tuple, &payload).unwrap();
        let end = frame.len();
        frame.resize(end + padding, 0xa5);
        let error = report(&frame, Offload::NONE, problem, tuple.source.is_ipv4());
        let quoted = quotation(&error, &tuple);
        let most = if tuple.source.is_ipv4() { 548 } else { 1232 };
        prop_assert_eq!(&quoted[..], &frame[14..end.min(14 + most)]);
    }

    #[test]
    fn an_error_about_a_super_frame_quotes_its_first_segment(
        tuple in tuple().prop_filter("has segments", |tuple| matches!(tuple.protocol, 6 | 17)),
        payload in 1..10_000_usize, size in 100..9000_u16, flags in any::<u8>(), problem in problem(),
    ) {
        let payload: Vec<u8> = (0..payload).map(|at| at.to_le_bytes()[0] ^ flags).collect();
        let (mut frame, mut offload) = build::super_frame(LINK, &tuple, &payload, size).unwrap();
        let layout = parse(&frame).unwrap();
        if tuple.protocol == 6 {
            frame[usize::from(layout.transport_offset) + 13] = flags;
            offload.segmentation.as_mut().unwrap().ecn = flags & 1 != 0;
        }
        let error = report(&frame, offload, problem, tuple.source.is_ipv4());
        let quoted = quotation(&error, &tuple);
        let mut segmenter = Segmenter::new(&frame, &layout, offload).unwrap();
        let mut first = vec![0; segmenter.segment_bytes_max()];
        let end = segmenter.next_into(&mut first).unwrap();
        let most = if tuple.source.is_ipv4() { 548 } else { 1232 };
        prop_assert_eq!(&quoted[..], &first[14..end.min(14 + most)]);
    }
}
