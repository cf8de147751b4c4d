//! What the bridge decides for a frame.

use crate::clock::Now;
use crate::fdb::{Fdb, Learned};
use crate::table::{Place, Table};
use crate::word::Key;
use packet::{BURST_FRAMES, DropReason, MacAddress, PortId};
use std::hint::black_box;

/// Frames of a large table whose buckets are asked for before the first of them is decided on: a burst.
const FAR_AHEAD: usize = BURST_FRAMES;

/// Frames located together in a small table: few enough that a burst of one does not pay for the space.
const NEAR_AHEAD: usize = 16;

/// 01-80-C2-00-00-01, IEEE 802.3 annex 31B: a pause frame speaks to the device at the other end of the cable.
const PAUSE: Key = Key::new(MacAddress([0x01, 0x80, 0xc2, 0x00, 0x00, 0x01]));

/// Where a frame goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Forwarding {
    /// Out of this one port, which is not the ingress.
    Unicast(PortId),
    /// Out of all ports but the ingress.
    Flood,
    /// Nowhere.
    Drop(DropReason),
}

/// What the bridge needs to know of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Addresses {
    /// Destination MAC.
    pub destination: MacAddress,
    /// Source MAC.
    pub source: MacAddress,
    /// The port that the frame came in by.
    pub ingress: PortId,
}

impl Addresses {
    /// Of a frame that is not to be forwarded: nothing is learned from it, and it is dropped as
    /// [`InvalidSource`](DropReason::InvalidSource).
    pub const NONE: Self =
        Self { destination: MacAddress::ZERO, source: MacAddress::ZERO, ingress: PortId::FIRST };

    /// The addresses of the Ethernet frame in `bytes`, or `None` if it is shorter than 12 bytes.
    #[must_use]
    #[inline]
    pub fn read(bytes: &[u8], ingress: PortId) -> Option<Self> {
        let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5] = *bytes.first_chunk()?;
        let (destination, source) = ([d0, d1, d2, d3, d4, d5], [s0, s1, s2, s3, s4, s5]);
        Some(Self { destination: MacAddress(destination), source: MacAddress(source), ingress })
    }
}

/// The reason for which a frame is dropped before its source is looked at or learned.
///
/// As the kernel's bridge (`br_handle_frame`): an invalid source is dropped first; a pause frame teaches
/// nothing, while the other reserved groups do teach their source before they are dropped.
#[inline]
pub(crate) fn invalid(source: Key, destination: Key) -> Option<DropReason> {
    if !source.is_station() {
        Some(DropReason::InvalidSource)
    } else if destination == PAUSE {
        Some(DropReason::ReservedGroup)
    } else {
        None
    }
}

/// The decision for a destination that needs no look-up: a group. (The zero address is nobody's: it is
/// flooded as any unknown one, as the kernel does.)
#[inline]
pub(crate) fn without_lookup(destination: Key) -> Option<Forwarding> {
    if destination.is_reserved_group() {
        Some(Forwarding::Drop(DropReason::ReservedGroup))
    } else if !destination.is_station() {
        Some(Forwarding::Flood)
    } else {
        None
    }
}

/// The decision for a looked-up destination.
#[inline]
pub(crate) fn toward(port: Option<PortId>, ingress: PortId) -> Forwarding {
    match port {
        Some(port) if port == ingress => Forwarding::Drop(DropReason::SamePort),
        Some(port) => Forwarding::Unicast(port),
        None => Forwarding::Flood,
    }
}

impl Fdb {
    /// Learns the source of one frame and decides where it goes.
    pub fn forward(&self, addresses: &Addresses, now_ms: u64) -> Forwarding {
        let (table, now) = (self.table(), self.now(now_ms));
        let source = table.locate(Key::new(addresses.source));
        let destination = table.locate(Key::new(addresses.destination));
        self.decide(table, source, destination, addresses.ingress, now)
    }

    /// Does the same for a burst, frame by frame in order: `verdicts` is cleared and gets one for each.
    ///
    /// In a table too large for the nearer caches, the buckets of a whole burst are asked for before the
    /// first frame is decided on, so that their cache misses overlap.
    pub fn forward_burst(&self, addresses: &[Addresses], now_ms: u64, verdicts: &mut Vec<Forwarding>) {
        verdicts.clear();
        let (table, now) = (self.table(), self.now(now_ms));
        if table.is_far() {
            self.forward_groups::<FAR_AHEAD>(table, addresses, now, verdicts);
        } else {
            self.forward_groups::<NEAR_AHEAD>(table, addresses, now, verdicts);
        }
    }

    #[inline(never)]
    fn forward_groups<const AHEAD: usize>(
        &self,
        table: Table<'_>,
        addresses: &[Addresses],
        now: Now,
        verdicts: &mut Vec<Forwarding>,
    ) {
        for group in addresses.chunks(AHEAD) {
            let mut places = [(Place::default(), Place::default()); AHEAD];
            for (place, of) in places.iter_mut().zip(group) {
                place.0 = table.locate(Key::new(of.source));
                place.1 = table.locate(Key::new(of.destination));
            }
            if table.is_far() {
                // A loop of its own: the fewer instructions between two loads, the more are under way.
                let touched = places.iter().zip(group);
                let touched = touched.map(|(place, _)| table.touch(place.0) | table.touch(place.1));
                black_box(touched.fold(0, |all, one| all | one));
            }
            let mut decided = [Forwarding::Flood; AHEAD];
            for ((verdict, place), of) in decided.iter_mut().zip(&places).zip(group) {
                *verdict = self.decide(table, place.0, place.1, of.ingress, now);
            }
            verdicts.extend(decided.iter().take(group.len()));
        }
    }

    /// Always inlined: as a call, with its arguments through memory, it costs 2 ns more.
    #[inline(always)]
    fn decide(
        &self,
        table: Table<'_>,
        source: Place,
        destination: Place,
        ingress: PortId,
        now: Now,
    ) -> Forwarding {
        if !destination.key.is_station() {
            return self.decide_for_group(table, source, destination.key, ingress, now);
        }
        // No entry is of an invalid source, so it is looked for only where there is no entry.
        if let Some(known) = self.learn_known(table, source, ingress, now) {
            debug_assert!(known == Learned::Known || known == Learned::New, "it has an entry on this port");
        } else if let Some(reason) = self.learn_unknown(source, ingress, now) {
            return Forwarding::Drop(reason);
        }
        toward(self.find_port(table, destination, now), ingress)
    }

    /// Learns what has no entry on its port; the reason if the frame is to be dropped.
    #[inline(never)]
    fn learn_unknown(&self, source: Place, ingress: PortId, now: Now) -> Option<DropReason> {
        if !source.key.is_station() {
            return Some(DropReason::InvalidSource);
        }
        (self.learn_slowly(source, ingress, now) == Learned::Protected).then_some(DropReason::ProtectedMac)
    }

    #[inline(never)]
    fn decide_for_group(
        &self,
        table: Table<'_>,
        source: Place,
        destination: Key,
        ingress: PortId,
        now: Now,
    ) -> Forwarding {
        if let Some(reason) = invalid(source.key, destination) {
            return Forwarding::Drop(reason);
        }
        if self.learn_at(table, source, ingress, now) == Learned::Protected {
            return Forwarding::Drop(DropReason::ProtectedMac);
        }
        without_lookup(destination).unwrap_or(Forwarding::Flood)
    }
}
