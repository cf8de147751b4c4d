//! Cutting a super-frame into frames, for ports that cannot do it themselves.
//!
//! Every segment gets the super-frame's headers with the fields changed that differ: lengths, IPv4
//! identification and header checksum, TCP sequence number and flags, transport checksum. The checksum is
//! derived from the pseudo-header's sum that the sender left in the field (VIRTIO 1.2 §5.1.6.2.1), as Linux
//! does, so that it is right with an IPv6 Routing header, too.

use crate::tcp::flag;
use crate::{
    DropReason, Layout, Network, Offload, Segmentation, SegmentationKind, checksum, tcp, validate_offload,
};

/// The segments of one super-frame, in order.
#[derive(Debug)]
pub struct Segmenter<'a> {
    headers: &'a [u8],
    payload: &'a [u8],
    layout: Layout,
    segmentation: Segmentation,
    /// From the start of the frame to the transport checksum.
    checksum_at: usize,
    /// The pseudo-header's sum without the length.
    pseudo: checksum::Sum,
    /// Payload bytes cut so far.
    position: usize,
    /// Segments cut so far.
    segments: u16,
}

impl<'a> Segmenter<'a> {
    /// Prepares to cut `frame`, whose layout is `layout`.
    ///
    /// # Errors
    /// [`DropReason::Unsegmentable`] if `offload` asks for no segmentation, contradicts the frame (see
    /// [`validate_offload`]), or a segment's lengths would not fit their fields.
    pub fn new(frame: &'a [u8], layout: &Layout, offload: Offload) -> Result<Self, DropReason> {
        validate_offload(frame, layout, offload).map_err(|_| DropReason::Unsegmentable)?;
        Self::prepare(frame, layout, offload).ok_or(DropReason::Unsegmentable)
    }

    fn prepare(frame: &'a [u8], layout: &Layout, offload: Offload) -> Option<Self> {
        let segmentation = offload.segmentation?;
        let (headers, payload) = frame.split_at_checked(usize::from(layout.payload_offset))?;
        let segment_bytes = headers.len() + payload.len().min(usize::from(segmentation.size_bytes));
        if segment_bytes > usize::from(u16::MAX) {
            return None;
        }
        let (start, offset) = checksum::place(layout)?;
        let checksum_at = usize::from(start) + usize::from(offset);
        let field = headers.get(checksum_at..)?.first_chunk()?;
        let transport_bytes = u32::try_from(frame.len()).ok()? - u32::from(start);
        let pseudo =
            checksum::Sum::ZERO.with_word(u16::from_be_bytes(*field)).with(&(!transport_bytes).to_be_bytes());
        let layout = *layout;
        Some(Self { headers, payload, layout, segmentation, checksum_at, pseudo, position: 0, segments: 0 })
    }

    /// Length of the longest segment, in bytes: what the buffer given to [`next_into`](Self::next_into) must
    /// hold.
    #[must_use]
    pub fn segment_bytes_max(&self) -> usize {
        self.headers.len() + self.payload.len().min(usize::from(self.segmentation.size_bytes))
    }

    /// How many segments are still to come.
    #[must_use]
    pub fn remaining(&self) -> usize {
        let size_bytes = usize::from(self.segmentation.size_bytes);
        let total = self.payload.len().div_ceil(size_bytes).max(1);
        total.saturating_sub(usize::from(self.segments))
    }

    /// Writes the next segment, a finished frame that needs no offload, to the start of `out` and returns
    /// its length. `None` once all are cut, or if `out` is too short (then nothing is lost: see
    /// [`remaining`](Self::remaining)).
    pub fn next_into(&mut self, out: &mut [u8]) -> Option<usize> {
        if self.remaining() == 0 {
            return None;
        }
        let rest = self.payload.get(self.position..)?;
        let payload = &rest[..rest.len().min(usize::from(self.segmentation.size_bytes))];
        let out = out.get_mut(..self.headers.len() + payload.len())?;
        let (headers, out_payload) = out.split_at_mut(self.headers.len());
        headers.copy_from_slice(self.headers);
        out_payload.copy_from_slice(payload);
        self.edit_network(out)?;
        self.edit_transport(out)?;
        self.finish_checksum(out)?;
        self.position += payload.len();
        self.segments += 1;
        Some(out.len())
    }

    /// Total length, identification and header checksum of IPv4 (RFC 791), payload length of IPv6.
    fn edit_network(&self, out: &mut [u8]) -> Option<()> {
        let start = usize::from(self.layout.network_offset);
        let packet_bytes = u16::try_from(out.len() - start).ok()?;
        match self.layout.network {
            Network::Ipv4 => {
                let header = out.get_mut(start..usize::from(self.layout.transport_offset))?;
                let fixed: &mut [u8; 20] = header.first_chunk_mut()?;
                let identification = u16::from_be_bytes([fixed[4], fixed[5]]).wrapping_add(self.segments);
                fixed[2..4].copy_from_slice(&packet_bytes.to_be_bytes());
                fixed[4..6].copy_from_slice(&identification.to_be_bytes());
                fixed[10..12].fill(0);
                let checksum = checksum::of(header);
                header.get_mut(10..12)?.copy_from_slice(&checksum.to_be_bytes());
            }
            Network::Ipv6 => {
                let payload_bytes = packet_bytes.checked_sub(40)?;
                out.get_mut(start + 4..start + 6)?.copy_from_slice(&payload_bytes.to_be_bytes());
            }
            Network::Opaque | Network::Arp | Network::Malformed => return None,
        }
        Some(())
    }

    /// Sequence number and flags of TCP; length of UDP.
    fn edit_transport(&self, out: &mut [u8]) -> Option<()> {
        let is_first = self.segments == 0;
        let is_last = self.remaining() == 1;
        let transport = out.get_mut(usize::from(self.layout.transport_offset)..)?;
        if self.segmentation.kind == SegmentationKind::Udp {
            let length = u16::try_from(transport.len()).ok()?;
            transport.get_mut(4..6)?.copy_from_slice(&length.to_be_bytes());
            return Some(());
        }
        let fixed: &mut [u8; tcp::HEADER_BYTES] = transport.first_chunk_mut()?;
        let first = u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
        let sequence = first.wrapping_add(u32::try_from(self.position).ok()?);
        fixed[4..8].copy_from_slice(&sequence.to_be_bytes());
        if !is_last {
            fixed[13] &= !(flag::FIN | flag::PSH);
        }
        if !is_first && self.segmentation.ecn {
            // RFC 3168 §6.1.2: CWR is said once.
            fixed[13] &= !flag::CWR;
        }
        Some(())
    }

    fn finish_checksum(&self, out: &mut [u8]) -> Option<()> {
        out.get_mut(self.checksum_at..self.checksum_at + 2)?.fill(0);
        let transport = out.get(usize::from(self.layout.transport_offset)..)?;
        let transport_bytes = u32::try_from(transport.len()).ok()?;
        let sum = self.pseudo.with(&transport_bytes.to_be_bytes()).with(transport).checksum();
        let checksum = match self.segmentation.kind {
            SegmentationKind::Udp => checksum::never_zero(sum),
            SegmentationKind::TcpV4 | SegmentationKind::TcpV6 => sum,
        };
        out.get_mut(self.checksum_at..self.checksum_at + 2)?.copy_from_slice(&checksum.to_be_bytes());
        Some(())
    }
}
