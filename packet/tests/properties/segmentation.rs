//! Segmentation against a slow, obvious model, and its output against other parsers.

use std::net::IpAddr;

use packet::segment::Segmenter;
use packet::{
    DropReason, FiveTuple, Layout, MacAddress, Offload, Segmentation, SegmentationKind, build, checksum,
    parse,
};
use proptest::prelude::*;

const LINK: build::Link =
    build::Link { source: MacAddress([2, 0, 0, 0, 0, 1]), destination: MacAddress([2, 0, 0, 0, 0, 2]) };

/// A super-frame of any kind.
#[derive(Clone, Debug)]
struct Super {
    frame: Vec<u8>,
    layout: Layout,
    offload: Offload,
}

fn super_frame() -> impl Strategy<Value = Super> {
    let ends = (any::<bool>(), any::<[u8; 32]>(), any::<[u16; 2]>());
    let tcp = (any::<u32>(), any::<u8>(), any::<bool>(), any::<u16>());
    let sizes = prop_oneof![(0..4000_usize, 8..1500_u16), (0..65_000_usize, 536..9000_u16)];
    (ends, any::<bool>(), tcp, sizes, any::<u8>()).prop_map(
        |((is_v6, octets, ports), is_tcp, (sequence, flags, ecn, identification), (bytes, size), fill)| {
            let [source, destination] = [&octets[..16], &octets[16..]].map(|half| {
                let octets: [u8; 16] = half.try_into().unwrap();
                let [a, b, c, d, ..] = octets;
                if is_v6 { IpAddr::from(octets) } else { IpAddr::from([a, b, c, d]) }
            });
            let protocol = if is_tcp { 6 } else { 17 };
            let tuple = FiveTuple {
                source,
                destination,
                protocol,
                source_port: ports[0],
                destination_port: ports[1],
            };
            let bytes = if is_tcp { bytes } else { bytes.min(usize::from(size) * 128) };
            let payload: Vec<u8> =
                (0..bytes).map(|at| (at * 7 + at / 251).to_le_bytes()[0].wrapping_add(fill)).collect();
            let (mut frame, mut offload) = build::super_frame(LINK, &tuple, &payload, size).unwrap();
            let layout = parse(&frame).unwrap();
            let transport = usize::from(layout.transport_offset);
            if is_tcp {
                frame[transport + 4..transport + 8].copy_from_slice(&sequence.to_be_bytes());
                frame[transport + 13] = flags;
                offload.segmentation.as_mut().unwrap().ecn = ecn;
            }
            if !is_v6 {
                frame[18..20].copy_from_slice(&identification.to_be_bytes());
            }
            Super { frame, layout, offload }
        },
    )
}

/// The segments as one would write them down: headers rebuilt field by field, checksums over everything.
fn model(input: &Super) -> Vec<Vec<u8>> {
    let Super { frame, layout, offload } = input;
    let Segmentation { kind, size_bytes, ecn } = offload.segmentation.unwrap();
    let (headers, payload) = frame.split_at(usize::from(layout.payload_offset));
    let transport = usize::from(layout.transport_offset);
    let mut pieces: Vec<&[u8]> = payload.chunks(usize::from(size_bytes)).collect();
    if pieces.is_empty() {
        pieces.push(&[]);
    }
    let last = pieces.len() - 1;
    let mut sequence = u32::from_be_bytes(frame[transport + 4..transport + 8].try_into().unwrap());
    let mut segments = Vec::new();
    for (index, piece) in pieces.into_iter().enumerate() {
        let mut segment = [headers, piece].concat();
        let transport_bytes = u16::try_from(segment.len() - transport).unwrap();
        if frame[12..14] == [8, 0] {
            let total = u16::try_from(segment.len() - 14).unwrap();
            let identification =
                u16::from_be_bytes([frame[18], frame[19]]).wrapping_add(u16::try_from(index).unwrap());
            segment[16..18].copy_from_slice(&total.to_be_bytes());
            segment[18..20].copy_from_slice(&identification.to_be_bytes());
            segment[24..26].fill(0);
            let sum = checksum::of(&segment[14..transport]);
            segment[24..26].copy_from_slice(&sum.to_be_bytes());
        } else {
            let payload_bytes = u16::try_from(segment.len() - 54).unwrap();
            segment[18..20].copy_from_slice(&payload_bytes.to_be_bytes());
        }
        let field = if kind == SegmentationKind::Udp {
            segment[transport + 4..transport + 6].copy_from_slice(&transport_bytes.to_be_bytes());
            transport + 6
        } else {
            segment[transport + 4..transport + 8].copy_from_slice(&sequence.to_be_bytes());
            let flags = &mut segment[transport + 13];
            *flags &= if index == last { 0xff } else { 0xf6 };
            *flags &= if index > 0 && ecn { 0x7f } else { 0xff };
            sequence = sequence.wrapping_add(u32::try_from(piece.len()).unwrap());
            transport + 16
        };
        segment[field..field + 2].fill(0);
        let tuple = FiveTuple::read(&segment, &parse(&segment).unwrap()).unwrap();
        let pseudo = checksum::pseudo_header(
            tuple.source,
            tuple.destination,
            tuple.protocol,
            u32::from(transport_bytes),
        );
        let sum = pseudo.with(&segment[transport..]).checksum();
        let sum = if kind == SegmentationKind::Udp && sum == 0 { 0xffff } else { sum };
        segment[field..field + 2].copy_from_slice(&sum.to_be_bytes());
        segments.push(segment);
    }
    segments
}

fn cut(input: &Super) -> Vec<Vec<u8>> {
    let mut segmenter = Segmenter::new(&input.frame, &input.layout, input.offload).unwrap();
    let mut segments = Vec::new();
    let mut out = vec![0xee; segmenter.segment_bytes_max()];
    let announced = segmenter.remaining();
    while let Some(bytes) = segmenter.next_into(&mut out) {
        segments.push(out[..bytes].to_vec());
    }
    assert_eq!((segments.len(), segmenter.remaining()), (announced, 0));
    segments
}

proptest! {
    #[test]
    fn segments_equal_the_slow_model(input in super_frame()) {
        prop_assert_eq!(cut(&input), model(&input));
    }

    #[test]
    fn other_parsers_find_the_segments_sound_and_the_payload_whole(input in super_frame()) {
        let mut payload = Vec::new();
        for segment in cut(&input) {
            let layout = parse(&segment).unwrap();
            prop_assert_eq!(checksum::transport_is_valid(&segment, &layout), Some(true));
            let sliced = etherparse::SlicedPacket::from_ethernet(&segment).unwrap();
            payload.extend(etherparse_payload(&sliced));
            smoltcp_verify(&segment);
        }
        prop_assert_eq!(&payload[..], &input.frame[usize::from(input.layout.payload_offset)..]);
    }

    #[test]
    fn a_buffer_too_short_loses_nothing(input in super_frame()) {
        let mut segmenter = Segmenter::new(&input.frame, &input.layout, input.offload).unwrap();
        let before = segmenter.remaining();
        let mut short = vec![0; segmenter.segment_bytes_max() - 1];
        if before > 1 {
            prop_assert_eq!(segmenter.next_into(&mut short), None);
            prop_assert_eq!(segmenter.remaining(), before);
        }
    }
}

/// The payload, after etherparse's own computation of every checksum.
fn etherparse_payload(sliced: &etherparse::SlicedPacket<'_>) -> Vec<u8> {
    use etherparse::{NetSlice, TransportSlice};
    if let Some(NetSlice::Ipv4(ip)) = &sliced.net {
        assert_eq!(ip.header().to_header().calc_header_checksum(), ip.header().header_checksum());
    }
    match (&sliced.transport, &sliced.net) {
        (Some(TransportSlice::Tcp(tcp)), Some(NetSlice::Ipv4(ip))) => {
            let (source, destination) = (ip.header().source(), ip.header().destination());
            assert_eq!(tcp.calc_checksum_ipv4(source, destination), Ok(tcp.checksum()));
            tcp.payload().to_vec()
        }
        (Some(TransportSlice::Tcp(tcp)), Some(NetSlice::Ipv6(ip))) => {
            let (source, destination) = (ip.header().source(), ip.header().destination());
            assert_eq!(tcp.calc_checksum_ipv6(source, destination), Ok(tcp.checksum()));
            tcp.payload().to_vec()
        }
        (Some(TransportSlice::Udp(udp)), _) => {
            assert_ne!(udp.checksum(), 0);
            udp.payload().to_vec()
        }
        other => panic!("{other:?}"),
    }
}

fn smoltcp_verify(segment: &[u8]) {
    use smoltcp::wire::{EthernetFrame, EthernetProtocol, Ipv4Packet, Ipv6Packet, TcpPacket, UdpPacket};
    let frame = EthernetFrame::new_checked(segment).unwrap();
    let (source, destination, protocol, payload) = match frame.ethertype() {
        EthernetProtocol::Ipv4 => {
            let ip = Ipv4Packet::new_checked(frame.payload()).unwrap();
            assert!(ip.verify_checksum());
            (ip.src_addr().into(), ip.dst_addr().into(), u8::from(ip.next_header()), ip.payload())
        }
        EthernetProtocol::Ipv6 => {
            let ip = Ipv6Packet::new_checked(frame.payload()).unwrap();
            (ip.src_addr().into(), ip.dst_addr().into(), u8::from(ip.next_header()), ip.payload())
        }
        other => panic!("{other}"),
    };
    if protocol == 6 {
        assert!(TcpPacket::new_checked(payload).unwrap().verify_checksum(&source, &destination));
    } else {
        assert!(UdpPacket::new_checked(payload).unwrap().verify_checksum(&source, &destination));
    }
}

#[test]
fn a_udp_checksum_of_zero_is_sent_as_all_ones() {
    let tuple = FiveTuple {
        source: IpAddr::from([10, 0, 0, 1]),
        destination: IpAddr::from([10, 0, 0, 2]),
        protocol: 17,
        source_port: 1,
        destination_port: 2,
    };
    // The first two payload bytes are the complement of all else, so that the sum comes to all ones.
    let (mut frame, offload) = build::super_frame(LINK, &tuple, &[0; 20], 10).unwrap();
    let layout = parse(&frame).unwrap();
    let without = cut(&Super { frame: frame.clone(), layout, offload });
    frame[42..44].copy_from_slice(&without[0][40..42]);
    let with = cut(&Super { frame, layout, offload });
    assert_eq!(with[0][40..42], [0xff, 0xff]);
    assert_eq!(checksum::transport_is_valid(&with[0], &parse(&with[0]).unwrap()), Some(true));
}

#[test]
fn a_frame_that_is_no_super_frame_is_not_cut() {
    let tuple = FiveTuple {
        source: IpAddr::from([10, 0, 0, 1]),
        destination: IpAddr::from([10, 0, 0, 2]),
        protocol: 6,
        source_port: 1,
        destination_port: 2,
    };
    let (frame, offload) = build::super_frame(LINK, &tuple, &[0; 3000], 1000).unwrap();
    let layout = parse(&frame).unwrap();
    let refused = |offload| Segmenter::new(&frame, &layout, offload).map(|_| ());
    assert_eq!(refused(offload), Ok(()));
    assert_eq!(refused(Offload::NONE), Err(DropReason::Unsegmentable));
    assert_eq!(refused(Offload { segmentation: None, ..offload }), Err(DropReason::Unsegmentable));
    let mut wrong_kind = offload;
    wrong_kind.segmentation =
        Some(Segmentation { kind: SegmentationKind::Udp, size_bytes: 1000, ecn: false });
    assert_eq!(refused(wrong_kind), Err(DropReason::Unsegmentable));
}
