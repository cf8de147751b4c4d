//! Edits of checksums against full sums, and of frames against checksums computed anew.

use std::net::IpAddr;

use packet::checksum::{self, Change, Sum};
use packet::edit::Editor;
use packet::{ChecksumOffload, FiveTuple, Layout, MacAddress, Offload, build, ipv4, parse};
use proptest::prelude::*;

const LINK: build::Link =
    build::Link { source: MacAddress([2, 0, 0, 0, 0, 1]), destination: MacAddress([2, 0, 0, 0, 0, 2]) };

/// What an edit may change.
#[derive(Clone, Copy, Debug)]
enum Edit {
    Source(u128),
    Destination(u128),
    SourcePort(u16),
    DestinationPort(u16),
    HopLimit,
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        any::<u128>().prop_map(Edit::Source),
        any::<u128>().prop_map(Edit::Destination),
        any::<u16>().prop_map(Edit::SourcePort),
        any::<u16>().prop_map(Edit::DestinationPort),
        Just(Edit::HopLimit),
    ]
}

fn address(is_v6: bool, bits: u128) -> IpAddr {
    let [.., a, b, c, d] = bits.to_be_bytes();
    if is_v6 { IpAddr::from(bits.to_be_bytes()) } else { IpAddr::from([a, b, c, d]) }
}

fn tuple() -> impl Strategy<Value = FiveTuple> {
    let protocol = prop::sample::select(vec![6_u8, 17, 1]);
    (any::<bool>(), any::<[u128; 2]>(), protocol, any::<[u16; 2]>()).prop_map(
        |(is_v6, [source, destination], protocol, ports)| FiveTuple {
            source: address(is_v6, source),
            destination: address(is_v6, destination),
            protocol: if is_v6 && protocol == 1 { 58 } else { protocol },
            source_port: ports[0],
            destination_port: if matches!(protocol, 6 | 17) { ports[1] } else { ports[0] },
        },
    )
}

/// Applies `edit` to the frame, and to the tuple that it should then have.
fn apply(editor: &mut Editor<'_>, edit: Edit, tuple: &mut FiveTuple) {
    let is_v6 = tuple.source.is_ipv6();
    let has_ports = matches!(tuple.protocol, 6 | 17);
    match edit {
        Edit::Source(bits) => {
            tuple.source = address(is_v6, bits);
            assert_eq!(editor.set_source_and_checksums(tuple.source), Some(()));
            assert_eq!(editor.set_source_and_checksums(address(!is_v6, bits)), None);
        }
        Edit::Destination(bits) => {
            tuple.destination = address(is_v6, bits);
            assert_eq!(editor.set_destination_and_checksums(tuple.destination), Some(()));
        }
        Edit::SourcePort(port) if has_ports => {
            tuple.source_port = port;
            assert_eq!(editor.set_source_port_and_checksum(port), Some(()));
            assert_eq!(editor.set_identifier_and_checksum(port), None);
        }
        Edit::DestinationPort(port) if has_ports => {
            tuple.destination_port = port;
            assert_eq!(editor.set_destination_port_and_checksum(port), Some(()));
        }
        Edit::SourcePort(identifier) | Edit::DestinationPort(identifier) => {
            (tuple.source_port, tuple.destination_port) = (identifier, identifier);
            assert_eq!(editor.set_source_port_and_checksum(identifier), None);
            assert_eq!(editor.set_identifier_and_checksum(identifier), Some(()));
        }
        Edit::HopLimit => assert!(editor.decrement_hop_limit_and_checksum().is_some()),
    }
}

fn header_is_valid(frame: &[u8]) -> bool {
    ipv4::Header::new(&frame[14..]).is_none_or(|header| header.checksum_is_valid())
}

proptest! {
    #[test]
    fn an_update_of_many_words_equals_a_new_sum(
        before in prop::collection::vec(any::<u8>(), 64),
        after in prop::collection::vec(any::<u8>(), 32),
        at in 0..16_usize,
    ) {
        let mut edited = before.clone();
        edited[at * 2..at * 2 + 32].copy_from_slice(&after);
        let change = Change::NONE.words(&before[at * 2..at * 2 + 32], &after);
        prop_assume!(Sum::of(&edited) != Sum::ZERO);
        prop_assert_eq!(change.applied_to(checksum::of(&before)), checksum::of(&edited));
        prop_assert_eq!(change.applied_to_partial(Sum::of(&before).folded()), Sum::of(&edited).folded());
    }

    #[test]
    fn edits_keep_every_checksum_right(
        tuple in tuple(),
        payload in prop::collection::vec(any::<u8>(), 0..100),
        edits in prop::collection::vec(edit(), 1..6),
    ) {
        let mut frame = build::frame(LINK, &tuple, &payload).unwrap();
        let layout = parse(&frame).unwrap();
        let mut expected = tuple;
        let mut editor = Editor::new(&mut frame, &layout, ChecksumOffload::None).unwrap();
        for edit in edits {
            apply(&mut editor, edit, &mut expected);
        }
        prop_assert_eq!(FiveTuple::read(&frame, &layout), Some(expected));
        prop_assert!(header_is_valid(&frame));
        prop_assert_eq!(checksum::transport_is_valid(&frame, &layout), Some(true));
    }

    #[test]
    fn edits_of_a_partial_checksum_are_right_once_it_is_completed(
        tuple in tuple().prop_filter("TCP or UDP", |tuple| matches!(tuple.protocol, 6 | 17)),
        payload in prop::collection::vec(any::<u8>(), 0..100),
        edits in prop::collection::vec(edit(), 1..6),
    ) {
        let (mut frame, offload) = build::super_frame(LINK, &tuple, &payload, 2000).unwrap();
        let layout = parse(&frame).unwrap();
        let mut expected = tuple;
        let mut editor = Editor::new(&mut frame, &layout, offload.checksum).unwrap();
        for edit in edits {
            apply(&mut editor, edit, &mut expected);
        }
        checksum::complete(&mut frame, Offload { segmentation: None, ..offload });
        prop_assert_eq!(FiveTuple::read(&frame, &layout), Some(expected));
        prop_assert!(header_is_valid(&frame));
        prop_assert_eq!(checksum::transport_is_valid(&frame, &layout), Some(true));
    }
}

fn udp_frame() -> (Vec<u8>, Layout) {
    let tuple = FiveTuple {
        source: IpAddr::from([10, 0, 0, 1]),
        destination: IpAddr::from([10, 0, 0, 2]),
        protocol: 17,
        source_port: 1,
        destination_port: 2,
    };
    let frame = build::frame(LINK, &tuple, b"payload").unwrap();
    let layout = parse(&frame).unwrap();
    (frame, layout)
}

#[test]
fn every_source_port_leaves_the_udp_checksum_right_and_never_zero() {
    let (mut frame, layout) = udp_frame();
    for port in 0..=u16::MAX {
        let mut editor = Editor::new(&mut frame, &layout, ChecksumOffload::None).unwrap();
        assert_eq!(editor.set_source_port_and_checksum(port), Some(()));
        assert_eq!(checksum::transport_is_valid(&frame, &layout), Some(true), "{port}");
    }
}

#[test]
fn udp_without_checksum_stays_without() {
    let (mut frame, layout) = udp_frame();
    frame[40..42].fill(0);
    let mut editor = Editor::new(&mut frame, &layout, ChecksumOffload::None).unwrap();
    assert_eq!(editor.set_source_and_checksums(IpAddr::from([1, 2, 3, 4])), Some(()));
    assert_eq!(frame[40..42], [0, 0]);
}

#[test]
fn a_hop_limit_of_one_is_not_lowered() {
    let (mut frame, layout) = udp_frame();
    for ttl in [0, 1] {
        frame[22] = ttl;
        let before = frame.clone();
        let mut editor = Editor::new(&mut frame, &layout, ChecksumOffload::None).unwrap();
        assert_eq!(editor.decrement_hop_limit_and_checksum(), None);
        assert_eq!(frame, before);
    }
}

#[test]
fn a_source_routed_packet_is_not_edited() {
    let mut frame = vec![0; 12];
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 16, 43, 64]);
    frame.extend([0; 32]);
    frame.extend([17, 0, 4, 1, 0, 0, 0, 0, 0, 1, 0, 2, 0, 8, 0xab, 0xcd]);
    let layout = parse(&frame).unwrap();
    assert!(Editor::new(&mut frame, &layout, ChecksumOffload::None).is_none());
    frame[14 + 40 + 3] = 0;
    assert!(Editor::new(&mut frame, &layout, ChecksumOffload::None).is_some());
}
