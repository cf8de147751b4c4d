//! What the bridge decides for a frame.

use crate::clock::Now;
use crate::fdb::{Fdb, Learned};
use crate::table::Place;
use crate::word::Key;
use packet::{DropReason, MacAddress, PortId};
use std::hint::black_box;

/// Frames whose buckets are asked for before the first of them is decided on. Enough to keep all of a core's
/// outstanding misses busy, few enough that a burst of one frame does not pay for the space.
const LOOKAHEAD: usize = 16;

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
    /// The addresses of the Ethernet frame in `bytes`, or `None` if it is shorter than 12 bytes.
    #[must_use]
    pub fn read(bytes: &[u8], ingress: PortId) -> Option<Self> {
        let (destination, source) = (MacAddress::read(bytes, 0)?, MacAddress::read(bytes, 6)?);
        Some(Self { destination, source, ingress })
    }
}

/// The reason for which a frame is dropped before its source is looked at or learned.
///
/// As the kernel's bridge (`br_handle_frame`): an invalid source is dropped first; a pause frame teaches
/// nothing, while the other reserved groups do teach their source before they are dropped.
#[inline]
pub(crate) fn invalid(source: Key, destination: Key) -> Option<DropReason> {
    if source.is_group() || source.is_zero() {
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
    } else if destination.is_group() || destination.is_zero() {
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
        let source = self.table.locate(Key::new(addresses.source));
        let destination = self.table.locate(Key::new(addresses.destination));
        self.decide(source, destination, addresses.ingress, self.now(now_ms))
    }

    /// Does the same for a burst, frame by frame in order: `verdicts` is cleared and gets one for each.
    ///
    /// The buckets of several frames are asked for before the first is decided on, so that their cache misses
    /// overlap: a table of a million MACs does not fit into the caches.
    pub fn forward_burst(&self, addresses: &[Addresses], now_ms: u64, verdicts: &mut Vec<Forwarding>) {
        verdicts.clear();
        let now = self.now(now_ms);
        for group in addresses.chunks(LOOKAHEAD) {
            let mut places = [(Place::default(), Place::default()); LOOKAHEAD];
            for (place, of) in places.iter_mut().zip(group) {
                place.0 = self.table.locate(Key::new(of.source));
                place.1 = self.table.locate(Key::new(of.destination));
            }
            // A loop of its own: the fewer instructions between two loads, the more of them are under way.
            let mut touched = 0;
            for (place, _) in places.iter().zip(group) {
                touched |= self.table.touch(place.0) | self.table.touch(place.1);
            }
            black_box(touched);
            let decided = places.iter().zip(group);
            verdicts.extend(decided.map(|(place, of)| self.decide(place.0, place.1, of.ingress, now)));
        }
    }

    #[inline]
    fn decide(&self, source: Place, destination: Place, ingress: PortId, now: Now) -> Forwarding {
        if let Some(reason) = invalid(source.key, destination.key) {
            return Forwarding::Drop(reason);
        }
        if self.learn_at(source, ingress, now) == Learned::Protected {
            return Forwarding::Drop(DropReason::ProtectedMac);
        }
        if let Some(decided) = without_lookup(destination.key) {
            return decided;
        }
        let found = self.table.find(destination).filter(|slot| slot.is_live(now));
        toward(found.and_then(|slot| slot.word.port()), ingress)
    }
}
