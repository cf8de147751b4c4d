//! Any frame with any vnet header: parser, views, offload metadata, segmentation and edits neither panic nor
//! break what callers rely on.

use std::net::IpAddr;

use packet::edit::Editor;
use packet::icmpv6::NdOption;
use packet::segment::Segmenter;
use packet::{
    ChecksumOffload, DropReason, FRAME_BYTES_MAX, FiveTuple, Fragment, Layout, Network, Offload, Transport,
    VNET_HEADER_BYTES, arp, checksum, dhcp, ethernet, icmp, icmpv6, ipv4, ipv6, parse, sctp, tcp, udp,
    validate_offload,
};

/// Runs the target. `data` is a vnet header (12 bytes) with a frame behind it.
///
/// # Panics
/// If a claim does not hold.
pub fn run(data: &[u8]) {
    let Some((header, bytes)) = data.split_first_chunk::<VNET_HEADER_BYTES>() else {
        return;
    };
    let layout = match parse(bytes) {
        Ok(layout) => layout,
        Err(DropReason::Truncated) => return assert!(bytes.len() < ethernet::HEADER_BYTES),
        Err(DropReason::Oversized) => return assert!(bytes.len() > FRAME_BYTES_MAX),
        Err(other) => panic!("{other:?} is no verdict of the parser"),
    };
    layout_is_consistent(bytes, &layout);
    look_at_everything(bytes, &layout);
    if let Ok(offload) = Offload::from_vnet_header(*header, bytes.len()) {
        finish(bytes, &layout, offload);
    }
    edit(bytes, &layout);
}

fn layout_is_consistent(bytes: &[u8], layout: &Layout) {
    let end = layout.packet_end as usize;
    assert!(layout.vlan_tags <= 2 && layout.network_offset == 14 + 4 * layout.vlan_tags);
    assert_eq!(FiveTuple::read(bytes, layout).is_some(), layout.is_ip());
    if !layout.is_ip() {
        assert_eq!((layout.transport, layout.fragment), (Transport::Absent, Fragment::Whole));
        assert_eq!((layout.transport_offset, layout.payload_offset, end), (0, 0, 0));
        return;
    }
    assert!(u16::from(layout.network_offset) < layout.transport_offset);
    assert!(usize::from(layout.transport_offset) <= end && end <= bytes.len());
    assert_eq!(layout.fragment == Fragment::Later, layout.transport == Transport::Absent);
    if matches!(layout.transport, Transport::Absent | Transport::Malformed) {
        assert_eq!(layout.payload_offset, 0);
    } else {
        assert!(layout.transport_offset <= layout.payload_offset);
        assert!(usize::from(layout.payload_offset) <= end);
    }
}

/// Every view of what the layout says is there exists, and its parts can be asked for.
fn look_at_everything(bytes: &[u8], layout: &Layout) {
    assert!(ethernet::Header::new(bytes).is_some());
    assert_eq!(ethernet::vlan_id(bytes).is_some(), layout.vlan_tags > 0);
    let _ = dhcp::sender(bytes, layout);
    let _ = checksum::transport_is_valid(bytes, layout);
    let network = bytes.get(usize::from(layout.network_offset)..).unwrap_or_default();
    match layout.network {
        Network::Arp => {
            let packet = arp::Packet::new(network);
            let is_request = |packet: arp::Packet<'_>| packet.operation() == arp::Operation::Request;
            assert!(packet.is_some_and(|packet| !packet.is_probe() || is_request(packet)));
        }
        Network::Ipv4 => assert!(ipv4::Header::new(network).is_some()),
        Network::Ipv6 => assert!(ipv6::Header::new(network).is_some()),
        Network::Opaque | Network::Malformed => return,
    }
    let transport = bytes.get(usize::from(layout.transport_offset)..).unwrap_or_default();
    match layout.transport {
        Transport::Tcp => assert!(tcp::Header::new(transport).is_some()),
        Transport::Udp => assert!(udp::Header::new(transport).is_some()),
        Transport::Sctp => assert!(sctp::Header::new(transport).is_some()),
        Transport::Icmp => assert!(icmp::Message::new(transport).is_some()),
        Transport::Icmpv6 => look_at_discovery(transport),
        Transport::Absent | Transport::Opaque | Transport::Malformed => {}
    }
}

fn look_at_discovery(transport: &[u8]) {
    let message = icmpv6::Message::new(transport);
    assert!(message.is_some());
    let Some(message) = message else { return };
    if let Some(neighbor) = message.neighbor() {
        assert_eq!(neighbor.is_advertisement(), message.kind() == icmpv6::NEIGHBOR_ADVERTISEMENT);
    }
    let options: Vec<NdOption<'_>> = message.options().into_iter().flatten().collect();
    assert!(options.len() <= transport.len() / 8 + 1);
    let malformed = options.iter().position(|option| *option == NdOption::Malformed);
    assert!(malformed.is_none_or(|position| position == options.len() - 1), "nothing follows it");
}

/// What a port without offloads does to the frame.
fn finish(bytes: &[u8], layout: &Layout, offload: Offload) {
    if validate_offload(bytes, layout, offload).is_err() {
        assert!(Segmenter::new(bytes, layout, offload).is_err());
        return;
    }
    let mut frame = bytes.to_vec();
    if let ChecksumOffload::Partial { start, offset } = offload.checksum {
        let at = usize::from(start) + usize::from(offset);
        checksum::complete(&mut frame, offload);
        assert_eq!(frame[..at], bytes[..at]);
        assert_eq!(frame[at + 2..], bytes[at + 2..]);
        assert_eq!(parse(&frame), Ok(*layout), "a checksum is no part of what is decided on");
        frame.copy_from_slice(bytes);
        put_pseudo_header_sum(&mut frame, layout, at);
    }
    if offload.segmentation.is_some() {
        cut(&frame, layout, offload);
    }
}

/// What an honest sender puts into the field.
fn put_pseudo_header_sum(frame: &mut [u8], layout: &Layout, at: usize) {
    if let Some(tuple) = FiveTuple::read(frame, layout) {
        let bytes = layout.packet_end - u32::from(layout.transport_offset);
        let sum = checksum::pseudo_header(tuple.source, tuple.destination, tuple.protocol, bytes).folded();
        frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
}

fn cut(frame: &[u8], layout: &Layout, offload: Offload) {
    let mut segmenter = match Segmenter::new(frame, layout, offload) {
        Ok(segmenter) => segmenter,
        Err(reason) => return assert_eq!(reason, DropReason::Unsegmentable),
    };
    let mut out = vec![0; segmenter.segment_bytes_max()];
    let mut payload = Vec::new();
    for _ in 0..segmenter.remaining() {
        let bytes = segmenter.next_into(&mut out);
        assert!(bytes.is_some(), "as many segments as announced");
        let segment = &out[..bytes.unwrap_or_default()];
        let cut = parse(segment);
        let expected = Layout { packet_end: u32::try_from(segment.len()).unwrap_or_default(), ..*layout };
        assert_eq!(cut, Ok(expected));
        assert_eq!(checksum::transport_is_valid(segment, &expected), Some(true));
        payload.extend_from_slice(&segment[usize::from(layout.payload_offset)..]);
    }
    assert_eq!(segmenter.next_into(&mut out), None);
    assert_eq!(payload, frame[usize::from(layout.payload_offset)..]);
}

/// A right checksum stays right and a wrong one wrong. The one exception are messages of zeros only: their
/// wrong checksum 0 and the right one, all ones, are the same number in one's complement.
fn edit(bytes: &[u8], layout: &Layout) {
    let before = checksum::transport_is_valid(bytes, layout);
    let mut frame = bytes.to_vec();
    let Some(mut editor) = Editor::new(&mut frame, layout, ChecksumOffload::None) else {
        return;
    };
    let address = match layout.network {
        Network::Ipv4 => IpAddr::from([192, 0, 2, 1]),
        _ => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]),
    };
    assert_eq!(editor.set_source_and_checksums(address), Some(()));
    assert_eq!(editor.set_destination_and_checksums(address), Some(()));
    let ports = editor.set_source_port_and_checksum(0x1234).is_some();
    assert_eq!(editor.set_destination_port_and_checksum(0x5678).is_some(), ports);
    let identifier = editor.set_identifier_and_checksum(0x9abc).is_some();
    assert!(!(ports && identifier));
    let _ = editor.decrement_hop_limit_and_checksum();
    assert_eq!(parse(&frame), Ok(*layout), "edits move nothing");
    let summed = &bytes[usize::from(layout.transport_offset)..layout.packet_end as usize];
    if summed.iter().any(|byte| *byte != 0) {
        assert_eq!(checksum::transport_is_valid(&frame, layout), before);
    }
    let tuple = FiveTuple::read(&frame, layout);
    assert!(tuple.is_some_and(|tuple| tuple.source == address && tuple.destination == address));
}
