//! How the packet of a frame with offloads would have looked on a wire.

use super::{Change, ChecksumOffload, Network, Offending, SegmentationKind, Sum, checksum, tcp, udp};

/// Most words in which the first segment differs from its super-frame: total length, header checksum,
/// length or flags of the transport, transport checksum.
const CORRECTIONS_MAX: usize = 4;

/// The packet on a wire: the frame up to `end`, with some words replaced.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wire {
    /// From the start of the frame to the end of the packet, or of the first segment of a super-frame.
    pub(super) end: usize,
    corrections: [Option<(usize, u16)>; CORRECTIONS_MAX],
}

impl Wire {
    pub(super) fn of(packet: &Offending<'_>) -> Self {
        let packet_end = usize::try_from(packet.layout.packet_end).unwrap_or(packet.bytes.len());
        let mut wire = Self { end: packet_end, corrections: [None; CORRECTIONS_MAX] };
        // Without a partial checksum there is no super-frame, either.
        if let ChecksumOffload::Partial { start, offset } = packet.offload.checksum {
            let change = wire.cut(packet).unwrap_or(Sum::ZERO);
            wire.complete(packet, change, start, offset);
        }
        wire
    }

    /// Ends the packet with the first segment. Returns what is to be added to the transport's sum.
    fn cut(&mut self, packet: &Offending<'_>) -> Option<Sum> {
        let segmentation = packet.offload.segmentation?;
        let layout = packet.layout;
        let (whole, headers) = (self.end, usize::from(layout.payload_offset));
        self.end = whole.min(headers + usize::from(segmentation.size_bytes));
        let start = usize::from(layout.network_offset);
        let transport = usize::from(layout.transport_offset);
        match layout.network {
            Network::Ipv4 => {
                let length = u16::try_from(self.end.checked_sub(start)?).ok()?;
                let change = Change::NONE.word(word(packet, start + 2)?, length);
                self.correct_to(start + 2, length);
                self.correct_to(start + 10, change.applied_to(word(packet, start + 10)?));
            }
            _ => self.correct_to(start + 4, u16::try_from(self.end.checked_sub(start + 40)?).ok()?),
        }
        let [old, new] = [whole, self.end].map(|end| u32::try_from(end.saturating_sub(transport)));
        let change = Sum::ZERO.with(&(!old.ok()?).to_be_bytes()).with(&new.ok()?.to_be_bytes());
        let (at, old, new) = if segmentation.kind == SegmentationKind::Udp {
            let at = transport + 4;
            (at, word(packet, at)?, u16::try_from(self.end.checked_sub(transport)?).ok()?)
        } else {
            let at = transport + 12;
            let flags = word(packet, at)?;
            let not_last = if self.end < whole { tcp::flag::FIN | tcp::flag::PSH } else { 0 };
            (at, flags, flags & !u16::from(not_last))
        };
        self.correct_to(at, new);
        Some(change.with_word(!old).with_word(new))
    }

    /// Completes the checksum at `start + offset`, the bytes summed plus `change`.
    fn complete(&mut self, packet: &Offending<'_>, change: Sum, start: u16, offset: u16) {
        let Some(summed) = packet.bytes.get(usize::from(start)..self.end) else {
            return;
        };
        let sum = Sum::of(summed).with_word(change.folded()).checksum();
        let checksum = if offset == udp::CHECKSUM_OFFSET { checksum::never_zero(sum) } else { sum };
        self.correct_to(usize::from(start) + usize::from(offset), checksum);
    }

    fn correct_to(&mut self, at: usize, word: u16) {
        if let Some(free) = self.corrections.iter_mut().find(|correction| correction.is_none()) {
            *free = Some((at, word));
        }
    }

    /// Replaces the words in `quoted`, which begins `start` bytes behind the start of the frame; those beyond
    /// its end count for nothing, of one that is cut the first half stays.
    pub(super) fn correct(&self, start: usize, quoted: &mut [u8]) {
        for (at, word) in self.corrections.iter().flatten() {
            for (at, octet) in (at.saturating_sub(start)..).zip(word.to_be_bytes()) {
                if let Some(place) = quoted.get_mut(at) {
                    *place = octet;
                }
            }
        }
    }
}

fn word(packet: &Offending<'_>, at: usize) -> Option<u16> {
    packet.bytes.get(at..)?.first_chunk().map(|word| u16::from_be_bytes(*word))
}
