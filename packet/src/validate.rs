//! Whether a sender's offload metadata fits its frame.
//!
//! Metadata comes from pods and VMs, and acting on it writes into the frame: a "checksum" that points at an
//! address would change it after every check. So it is believed only where it can mean nothing else.

use crate::{
    ChecksumOffload, DropReason, Fragment, Layout, Network, Offload, Segmentation, SegmentationKind,
};
use crate::{Transport, checksum};

/// Least payload of a TCP segment, as Linux (`TCP_MIN_GSO_SIZE`): a 48-byte segment less 40 bytes of
/// options. It bounds the work that one frame can cause.
pub const TCP_SEGMENT_BYTES_MIN: u16 = 8;

/// Most datagrams in a UDP super-frame, as Linux (`UDP_MAX_SEGMENTS`).
pub const UDP_SEGMENTS_MAX: usize = 128;

/// Checks the metadata of the frame `bytes`, whose layout is `layout`.
///
/// A super-frame must be a whole TCP or UDP packet of the kind that it claims, that ends where the frame
/// ends, with the checksum of that header left to complete. Without segmentation, a partial checksum must
/// be that of the TCP, UDP, ICMP or ICMPv6 header; it may also lie within the payload of UDP or of a
/// protocol that is not looked into (a tunnel, whose inner packet is meant), or anywhere behind the link
/// header of a frame that is neither IP nor ARP.
///
/// # Errors
/// [`DropReason::BadOffload`].
#[inline]
pub fn validate_offload(bytes: &[u8], layout: &Layout, offload: Offload) -> Result<(), DropReason> {
    let fits = match (offload.segmentation, offload.checksum) {
        (None, ChecksumOffload::None | ChecksumOffload::Valid) => return Ok(()),
        (None, ChecksumOffload::Partial { start, offset }) => partial_fits(bytes, layout, start, offset),
        (Some(segmentation), ChecksumOffload::Partial { start, offset }) => {
            super_frame_fits(bytes, layout, segmentation)
                && checksum::place(layout) == Some((start, offset))
                && partial_fits(bytes, layout, start, offset)
        }
        (Some(_), _) => false,
    };
    if fits { Ok(()) } else { Err(DropReason::BadOffload) }
}

fn partial_fits(bytes: &[u8], layout: &Layout, start: u16, offset: u16) -> bool {
    let end = usize::from(start) + usize::from(offset) + 2;
    if end > bytes.len() {
        return false;
    }
    match layout.network {
        Network::Opaque => start >= u16::from(layout.network_offset),
        Network::Arp | Network::Malformed => false,
        Network::Ipv4 | Network::Ipv6 => {
            let is_own = checksum::place(layout) == Some((start, offset));
            let is_inner = matches!(layout.transport, Transport::Udp | Transport::Opaque)
                && start >= layout.payload_offset;
            let in_packet = u32::try_from(end).is_ok_and(|end| end <= layout.packet_end);
            layout.fragment == Fragment::Whole && in_packet && (is_own || is_inner)
        }
    }
}

fn super_frame_fits(bytes: &[u8], layout: &Layout, segmentation: Segmentation) -> bool {
    let ends_with_frame = usize::try_from(layout.packet_end).is_ok_and(|end| end == bytes.len());
    let payload_bytes = bytes.len().saturating_sub(usize::from(layout.payload_offset));
    let size_bytes = segmentation.size_bytes;
    let kind_fits = match segmentation.kind {
        SegmentationKind::TcpV4 => layout.network == Network::Ipv4 && layout.transport == Transport::Tcp,
        SegmentationKind::TcpV6 => layout.network == Network::Ipv6 && layout.transport == Transport::Tcp,
        SegmentationKind::Udp => layout.transport == Transport::Udp && !segmentation.ecn,
    };
    let size_fits = match segmentation.kind {
        SegmentationKind::TcpV4 | SegmentationKind::TcpV6 => size_bytes >= TCP_SEGMENT_BYTES_MIN,
        SegmentationKind::Udp => {
            size_bytes > 0 && payload_bytes.div_ceil(usize::from(size_bytes)) <= UDP_SEGMENTS_MAX
        }
    };
    layout.fragment == Fragment::Whole && ends_with_frame && kind_fits && size_fits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FiveTuple, build, parse};

    fn tuple(is_v6: bool, protocol: u8) -> FiveTuple {
        let address = if is_v6 { "fd00::1" } else { "10.0.0.1" }.parse().unwrap();
        FiveTuple { source: address, destination: address, protocol, source_port: 1, destination_port: 2 }
    }

    fn super_frame(is_v6: bool, protocol: u8) -> (Vec<u8>, Offload) {
        build::super_frame(build::Link::default(), &tuple(is_v6, protocol), &[0; 4000], 1000).unwrap()
    }

    fn check(frame: &[u8], offload: Offload) -> Result<(), DropReason> {
        validate_offload(frame, &parse(frame).unwrap(), offload)
    }

    fn partial(start: u16, offset: u16) -> Offload {
        Offload { checksum: ChecksumOffload::Partial { start, offset }, segmentation: None }
    }

    const BAD: Result<(), DropReason> = Err(DropReason::BadOffload);

    #[test]
    fn a_super_frame_must_be_what_it_claims() {
        use SegmentationKind::{TcpV4, TcpV6, Udp};
        for (is_v6, protocol, right) in
            [(false, 6, TcpV4), (true, 6, TcpV6), (false, 17, Udp), (true, 17, Udp)]
        {
            let (frame, offload) = super_frame(is_v6, protocol);
            for kind in [TcpV4, TcpV6, Udp] {
                let segmentation = Some(Segmentation { kind, size_bytes: 1000, ecn: false });
                let expected = if kind == right { Ok(()) } else { BAD };
                assert_eq!(check(&frame, Offload { segmentation, ..offload }), expected, "{kind:?}");
            }
            assert_eq!(check(&frame, Offload { checksum: ChecksumOffload::None, ..offload }), BAD);
            assert_eq!(check(&frame, Offload { segmentation: None, ..offload }), Ok(()));
        }
    }

    #[test]
    fn a_super_frame_ends_with_its_packet_and_is_no_fragment() {
        let (mut frame, offload) = super_frame(false, 6);
        frame.push(0);
        assert_eq!(check(&frame, offload), BAD);
        frame.pop();
        frame[20] = 0x20;
        assert_eq!(check(&frame, offload), BAD);
    }

    #[test]
    fn the_number_of_segments_is_bounded() {
        let sized = |offload: Offload, size_bytes| Offload {
            segmentation: offload.segmentation.map(|kind| Segmentation { size_bytes, ..kind }),
            ..offload
        };
        let (frame, offload) = super_frame(false, 6);
        assert_eq!(check(&frame, sized(offload, TCP_SEGMENT_BYTES_MIN)), Ok(()));
        assert_eq!(check(&frame, sized(offload, TCP_SEGMENT_BYTES_MIN - 1)), BAD);
        let (frame, offload) = super_frame(false, 17);
        assert_eq!(check(&frame, sized(offload, 32)), Ok(()));
        assert_eq!(check(&frame, sized(offload, 31)), BAD);
        assert_eq!(check(&frame, sized(offload, 0)), BAD);
    }

    #[test]
    fn a_partial_checksum_is_that_of_the_transport() {
        let tcp = build::frame(build::Link::default(), &tuple(false, 6), &[0; 40]).unwrap();
        assert_eq!(check(&tcp, partial(34, 16)), Ok(()));
        assert_eq!(check(&tcp, partial(34, 6)), BAD);
        assert_eq!(check(&tcp, partial(14, 12)), BAD, "an address is no checksum");
        assert_eq!(check(&tcp, partial(54, 16)), BAD, "TCP carries no tunnel");
        assert_eq!(check(&tcp[..60], partial(34, 16)), BAD, "the packet is cut short");
    }

    #[test]
    fn a_tunnels_inner_checksum_may_be_partial_within_the_payload() {
        let udp = build::frame(build::Link::default(), &tuple(false, 17), &[0; 40]).unwrap();
        assert_eq!(check(&udp, partial(42, 16)), Ok(()));
        assert_eq!(check(&udp, partial(41, 16)), BAD);
        assert_eq!(check(&udp, partial(42, 39)), BAD);
        let gre = build::frame(build::Link::default(), &tuple(true, 47), &[0; 40]).unwrap();
        assert_eq!(check(&gre, partial(58, 16)), Ok(()));
        assert_eq!(check(&gre, partial(53, 0)), BAD);
    }

    #[test]
    fn a_partial_checksum_never_reaches_into_arp_or_the_link_header() {
        let arp = crate::arp::gratuitous(crate::MacAddress::ZERO, [10, 0, 0, 1].into());
        assert_eq!(check(&arp, partial(14, 14)), BAD);
        let mut opaque = [0; 60];
        opaque[12..14].copy_from_slice(&[0x88, 0xcc]);
        assert_eq!(check(&opaque, partial(0, 6)), BAD);
        assert_eq!(check(&opaque, partial(14, 44)), Ok(()));
        assert_eq!(check(&opaque, partial(14, 45)), BAD);
    }
}
