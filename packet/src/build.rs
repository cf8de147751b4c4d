//! Whole frames, for what we originate and for tests.

use std::net::IpAddr;

use crate::protocol::{ethertype, ip_protocol};
use crate::{
    ChecksumOffload, FiveTuple, MacAddress, Offload, Segmentation, SegmentationKind, checksum, ethernet, tcp,
    udp,
};

/// The link layer's addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Link {
    /// Who sends.
    pub source: MacAddress,
    /// Who is to receive.
    pub destination: MacAddress,
}

/// A frame with all checksums right: TCP (a data segment: ACK, PSH), UDP, or an ICMP or ICMPv6 echo request
/// (its identifier is the source port), by the tuple's protocol; of any other protocol, the bare payload in
/// an IP packet. It is as long as it needs to be, without padding.
///
/// `None` if the addresses are not of one family or the packet would exceed 65 535 bytes.
#[must_use]
pub fn frame(link: Link, tuple: &FiveTuple, payload: &[u8]) -> Option<Vec<u8>> {
    let (mut frame, start) = unfinished(link, tuple, payload)?;
    if let Some(offset) = checksum_offset(tuple) {
        let checksum = ChecksumOffload::Partial { start, offset };
        checksum::complete(&mut frame, Offload { checksum, segmentation: None });
    }
    Some(frame)
}

/// A TCP or UDP super-frame with its checksum left to complete, as a TAP or VM sends it.
///
/// `None` as for [`frame`], or if the protocol is neither TCP nor UDP, or `segment_bytes` is 0.
#[must_use]
pub fn super_frame(
    link: Link,
    tuple: &FiveTuple,
    payload: &[u8],
    segment_bytes: u16,
) -> Option<(Vec<u8>, Offload)> {
    let kind = match (tuple.protocol, tuple.source) {
        (ip_protocol::TCP, IpAddr::V4(_)) => SegmentationKind::TcpV4,
        (ip_protocol::TCP, IpAddr::V6(_)) => SegmentationKind::TcpV6,
        (ip_protocol::UDP, _) => SegmentationKind::Udp,
        _ => return None,
    };
    let (frame, start) = unfinished(link, tuple, payload)?;
    let checksum = ChecksumOffload::Partial { start, offset: checksum_offset(tuple)? };
    let segmentation = Segmentation { kind, size_bytes: segment_bytes, ecn: false };
    (segment_bytes > 0).then_some((frame, Offload { checksum, segmentation: Some(segmentation) }))
}

/// From the transport header to its checksum, if there is one.
fn checksum_offset(tuple: &FiveTuple) -> Option<u16> {
    match tuple.protocol {
        ip_protocol::TCP => Some(tcp::CHECKSUM_OFFSET),
        ip_protocol::UDP => Some(udp::CHECKSUM_OFFSET),
        ip_protocol::ICMP | ip_protocol::ICMPV6 => Some(2),
        _ => None,
    }
}

/// The frame with the pseudo-header's sum in the transport's checksum field, and where the transport begins.
fn unfinished(link: Link, tuple: &FiveTuple, payload: &[u8]) -> Option<(Vec<u8>, u16)> {
    let mut transport = transport_header(tuple, payload.len())?;
    transport.extend(payload);
    let transport_bytes = u16::try_from(transport.len()).ok()?;
    if let Some(offset) = checksum_offset(tuple).filter(|_| tuple.protocol != ip_protocol::ICMP) {
        let bytes = u32::from(transport_bytes);
        let sum = checksum::pseudo_header(tuple.source, tuple.destination, tuple.protocol, bytes).folded();
        transport[usize::from(offset)..usize::from(offset) + 2].copy_from_slice(&sum.to_be_bytes());
    }
    let mut frame = Vec::with_capacity(54 + transport.len());
    match (tuple.source, tuple.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            frame.extend(ethernet::header(link.destination, link.source, ethertype::IPV4));
            let mut header = [0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, tuple.protocol, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            header[2..4].copy_from_slice(&transport_bytes.checked_add(20)?.to_be_bytes());
            header[12..16].copy_from_slice(&source.octets());
            header[16..].copy_from_slice(&destination.octets());
            let checksum = checksum::of(&header);
            header[10..12].copy_from_slice(&checksum.to_be_bytes());
            frame.extend(header);
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            frame.extend(ethernet::header(link.destination, link.source, ethertype::IPV6));
            frame.extend([0x60, 0, 0, 0]);
            frame.extend(transport_bytes.to_be_bytes());
            frame.extend([tuple.protocol, 64]);
            frame.extend(source.octets());
            frame.extend(destination.octets());
        }
        _ => return None,
    }
    let start = u16::try_from(frame.len()).ok()?;
    frame.extend(transport);
    Some((frame, start))
}

fn transport_header(tuple: &FiveTuple, payload_bytes: usize) -> Option<Vec<u8>> {
    let mut header = Vec::new();
    let ports = [tuple.source_port.to_be_bytes(), tuple.destination_port.to_be_bytes()];
    match tuple.protocol {
        ip_protocol::TCP => {
            header.extend(ports.as_flattened());
            header.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, tcp::flag::ACK | tcp::flag::PSH]);
            header.extend([0xff, 0xff, 0, 0, 0, 0]);
        }
        ip_protocol::UDP => {
            header.extend(ports.as_flattened());
            header.extend(u16::try_from(udp::HEADER_BYTES + payload_bytes).ok()?.to_be_bytes());
            header.extend([0, 0]);
        }
        ip_protocol::ICMP | ip_protocol::ICMPV6 => {
            header.extend([if tuple.protocol == ip_protocol::ICMP { 8 } else { 128 }, 0, 0, 0]);
            header.extend(ports[0]);
            header.extend([0, 1]);
        }
        _ => {}
    }
    Some(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{parse, validate_offload};

    fn tuple(source: &str, destination: &str, protocol: u8) -> FiveTuple {
        let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
        FiveTuple { source, destination, protocol, source_port: 4000, destination_port: 4000 }
    }

    #[test]
    fn what_is_built_is_sound_and_reads_back() {
        for (source, destination, protocols) in
            [("10.0.0.1", "10.0.0.2", [6, 17, 1]), ("fd00::1", "fd00::2", [6, 17, 58])]
        {
            for protocol in protocols {
                let tuple = tuple(source, destination, protocol);
                let frame = frame(Link::default(), &tuple, b"hello").unwrap();
                let layout = parse(&frame).unwrap();
                assert_eq!(FiveTuple::read(&frame, &layout), Some(tuple));
                assert_eq!(checksum::transport_is_valid(&frame, &layout), Some(true), "{tuple:?}");
                assert!(frame.ends_with(b"hello"));
            }
        }
    }

    #[test]
    fn super_frames_pass_validation() {
        for (source, destination) in [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")] {
            for protocol in [6, 17] {
                let tuple = tuple(source, destination, protocol);
                let (frame, offload) = super_frame(Link::default(), &tuple, &[7; 5000], 1000).unwrap();
                assert_eq!(validate_offload(&frame, &parse(&frame).unwrap(), offload), Ok(()));
            }
        }
    }

    #[test]
    fn mixed_families_and_giants_are_not_built() {
        assert_eq!(frame(Link::default(), &tuple("10.0.0.1", "fd00::1", 17), b""), None);
        assert_eq!(frame(Link::default(), &tuple("10.0.0.1", "10.0.0.2", 17), &[0; 65_508]), None);
        assert!(frame(Link::default(), &tuple("10.0.0.1", "10.0.0.2", 17), &[0; 65_507]).is_some());
    }
}
