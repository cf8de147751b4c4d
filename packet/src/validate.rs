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
