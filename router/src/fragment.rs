//! Does the packet fit, and if not: IPv4 fragmentation on the way out (RFC 791 §3.2, RFC 1812 §5.2.6).
//!
//! IPv6 packets and IPv4 packets with DF are never fragmented by a router; their senders are told the MTU. A
//! super-frame fits if its segments do. One that does not is cut first ([`packet::segment::Segmenter`]), and each
//! of its segments is fragmented.

use packet::{ChecksumOffload, DropReason, Layout, Network, Offload, checksum, ipv4};

use crate::icmp_error::Problem;

/// Every network carries packets of this many bytes whole (RFC 791 §3.2).
pub const MTU_BYTES_MIN: usize = 68;

/// How a packet relates to the MTU of its way on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fit {
    /// It, or each segment of it, fits.
    Whole,
    /// It may be fragmented.
    Fragment,
    /// To be discarded as [`DropReason::PacketTooBig`]; the sender is owed this error.
    Refuse(Problem),
}

/// Compares the packet in the frame `bytes`, whose layout is `layout`, with the MTU in bytes of a packet. A frame
/// without IP is not the router's and passes for fitting.
#[must_use]
#[inline]
pub fn fit(bytes: &[u8], layout: &Layout, offload: Offload, mtu_bytes: u32) -> Fit {
    if packet_bytes(layout, offload) <= mtu_bytes || !layout.is_ip() {
        return Fit::Whole;
    }
    let may_fragment = layout.network == Network::Ipv4
        && bytes
            .get(usize::from(layout.network_offset)..)
            .and_then(ipv4::Header::new)
            .is_some_and(|header| !header.dont_fragment());
    if may_fragment { Fit::Fragment } else { Fit::Refuse(Problem::TooBig { mtu_bytes }) }
}

/// Bytes of the packet, or of the longest segment of a super-frame.
#[must_use]
#[inline]
pub fn packet_bytes(layout: &Layout, offload: Offload) -> u32 {
    let whole = layout.packet_end.saturating_sub(u32::from(layout.network_offset));
    match offload.segmentation {
        None => whole,
        Some(segmentation) => {
            let headers = layout.payload_offset.saturating_sub(u16::from(layout.network_offset));
            whole.min(u32::from(headers) + u32::from(segmentation.size_bytes))
        }
    }
}

/// Why a packet cannot be fragmented.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FragmentError {
    /// It is not IPv4, says DF, or is a fragment that reaches beyond 65 535 bytes.
    #[error("only sound IPv4 packets without DF are fragmented")]
    NotAllowed,
    /// Its checksum or its segmentation is still to be done; both concern the whole packet.
    #[error("the packet is not finished")]
    Unfinished,
    /// The MTU is below [`MTU_BYTES_MIN`].
    #[error("the MTU is below 68 bytes")]
    MtuTooSmall,
}

impl FragmentError {
    /// Why the frame is dropped then.
    #[must_use]
    pub const fn drop_reason(self) -> DropReason {
        DropReason::PacketTooBig
    }
}

/// The longest header, in bytes.
const HEADER_BYTES_MAX: usize = 60;

/// The fragments of one packet, in order.
#[derive(Debug)]
pub struct Fragmenter<'a> {
    /// The link header, which every fragment gets.
    link: &'a [u8],
    /// The header of the packet.
    header: &'a [u8],
    payload: &'a [u8],
    /// The header of later fragments: only the options that are copied (RFC 791 §3.1).
    later: [u8; HEADER_BYTES_MAX],
    later_bytes: usize,
    mtu_bytes: usize,
    /// Flags and offset word of the packet, which may be a fragment itself.
    fragment_word: u16,
    /// Payload bytes cut so far.
    position: usize,
}

impl<'a> Fragmenter<'a> {
    /// Prepares to fragment the packet in `frame`, whose layout is `layout`, for an MTU in bytes of a packet. A
    /// packet that fits comes out as it is.
    ///
    /// # Errors
    /// See [`FragmentError`].
    pub fn new(
        frame: &'a [u8],
        layout: &Layout,
        offload: Offload,
        mtu_bytes: usize,
    ) -> Result<Self, FragmentError> {
        if layout.network != Network::Ipv4 {
            return Err(FragmentError::NotAllowed);
        }
        if matches!(offload.checksum, ChecksumOffload::Partial { .. }) || offload.segmentation.is_some() {
            return Err(FragmentError::Unfinished);
        }
        if mtu_bytes < MTU_BYTES_MIN {
            return Err(FragmentError::MtuTooSmall);
        }
        Self::prepare(frame, layout, mtu_bytes).ok_or(FragmentError::NotAllowed)
    }

    fn prepare(frame: &'a [u8], layout: &Layout, mtu_bytes: usize) -> Option<Self> {
        let frame = frame.get(..usize::try_from(layout.packet_end).ok()?)?;
        let (link, packet) = frame.split_at_checked(usize::from(layout.network_offset))?;
        let view = ipv4::Header::new(packet)?;
        let (header, payload) = packet.split_at_checked(view.header_bytes())?;
        let reaches = usize::from(view.fragment_offset_bytes()) + payload.len();
        if view.dont_fragment() || reaches > usize::from(u16::MAX) {
            return None;
        }
        let mut later = [0; HEADER_BYTES_MAX];
        later[..ipv4::HEADER_BYTES].copy_from_slice(header.first_chunk::<{ ipv4::HEADER_BYTES }>()?);
        let mut later_bytes = ipv4::HEADER_BYTES;
        // Malformed options have been refused before; what stands behind such a one is not copied.
        for option in ipv4::Options::new(view.options()).map_while(Result::ok) {
            if option.is_copied() {
                let end = later_bytes + option.bytes.len();
                later.get_mut(later_bytes..end)?.copy_from_slice(option.bytes);
                later_bytes = end;
            }
        }
        // The rest of the last word is end-of-list options, which are zeros.
        later_bytes = later_bytes.next_multiple_of(4);
        later[0] = 0x40 | u8::try_from(later_bytes / 4).ok()?;
        let fragment_word = u16::from_be_bytes([header[6], header[7]]);
        Some(Self { link, header, payload, later, later_bytes, mtu_bytes, fragment_word, position: 0 })
    }

    /// Length of the longest fragment's frame, in bytes: what the buffer given to [`next_into`](Self::next_into)
    /// must hold.
    #[must_use]
    pub fn fragment_bytes_max(&self) -> usize {
        self.link.len() + self.mtu_bytes.min(self.header.len() + self.payload.len())
    }

    /// True once all fragments are written.
    #[must_use]
    pub fn is_done(&self) -> bool {
        // A packet without payload is one fragment.
        self.position >= self.payload.len().max(1)
    }

    /// Writes the next fragment, a whole frame, to the start of `out` and returns its length. `None` once all are
    /// written, or if `out` is too short (then nothing is lost: see [`is_done`](Self::is_done)).
    pub fn next_into(&mut self, out: &mut [u8]) -> Option<usize> {
        if self.is_done() {
            return None;
        }
        let header = if self.position == 0 { self.header } else { self.later.get(..self.later_bytes)? };
        let rest = self.payload.get(self.position..)?;
        let room = self.mtu_bytes.checked_sub(header.len())?;
        let payload = if rest.len() <= room { rest } else { rest.get(..room / 8 * 8)? };
        let is_last = payload.len() == rest.len();
        let total = header.len() + payload.len();
        let out = out.get_mut(..self.link.len() + total)?;
        let (out_link, packet) = out.split_at_mut(self.link.len());
        out_link.copy_from_slice(self.link);
        let (out_header, out_payload) = packet.split_at_mut(header.len());
        out_header.copy_from_slice(header);
        out_payload.copy_from_slice(payload);
        let offset = u16::try_from(self.position / 8).ok()?;
        let more = if is_last { 0 } else { MORE_FRAGMENTS };
        // A fragment of a fragment goes on where that began, and is the last only if that was.
        let word = (self.fragment_word | more).checked_add(offset)?;
        out_header[2..4].copy_from_slice(&u16::try_from(total).ok()?.to_be_bytes());
        out_header[6..8].copy_from_slice(&word.to_be_bytes());
        out_header[10..12].fill(0);
        let checksum = checksum::of(out_header);
        out_header[10..12].copy_from_slice(&checksum.to_be_bytes());
        self.position += payload.len().max(1);
        Some(out.len())
    }
}

/// The MF bit in the word of flags and offset; the offset is its lower 13 bits, in units of eight bytes.
const MORE_FRAGMENTS: u16 = 0x2000;

#[cfg(test)]
mod tests;
