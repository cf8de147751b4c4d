//! The neighbors as workers see them: immutable, compact, part of the snapshot.

use std::net::IpAddr;

use packet::{MacAddress, PortId};

use super::{Neighbor, State};
use crate::keyed_hash::{KeyedHash, to_bits};

/// What a worker knows of a next hop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lookup {
    /// Frames for it go there.
    Usable {
        /// Its MAC.
        mac: MacAddress,
        /// The port that it is behind.
        port: PortId,
        /// Its first use is to be told to control, which knows it as stale; see [`UseReports`].
        tell: Option<u32>,
    },
    /// It was just given up: what is for it is answered with host unreachable.
    Unreachable,
    /// Control has to be asked; frames wait.
    Unknown,
}

/// One place of the table: 32 bytes, two in a cache line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Slot {
    key: u128,
    /// MAC, port and kind; 0 in a free place.
    value: u64,
}

const PORT_SHIFT: u32 = 2;
const MAC_SHIFT: u32 = 16;
const KIND_STEADY: u64 = 1;
const KIND_STALE: u64 = 2;
const KIND_UNREACHABLE: u64 = 3;

impl Slot {
    const FREE: Self = Self { key: 0, value: 0 };

    /// `None` for a neighbor that is still being asked for.
    fn new(neighbor: &Neighbor) -> Option<Self> {
        let kind = match neighbor.state {
            State::Incomplete => return None,
            State::Failed => KIND_UNREACHABLE,
            State::Stale => KIND_STALE,
            State::Reachable | State::Delay | State::Probe | State::Permanent => KIND_STEADY,
        };
        let mac = neighbor.mac.unwrap_or_default().to_u64() << MAC_SHIFT;
        let value = mac | u64::from(neighbor.port.get()) << PORT_SHIFT | kind;
        Some(Self { key: to_bits(neighbor.address), value })
    }

    fn read(self, index: usize) -> Option<Lookup> {
        let kind = self.value & ((1 << PORT_SHIFT) - 1);
        if kind == KIND_UNREACHABLE {
            return Some(Lookup::Unreachable);
        }
        let port = u16::try_from(self.value >> PORT_SHIFT & 0x3fff).ok().and_then(PortId::new)?;
        let tell = if kind == KIND_STALE { u32::try_from(index).ok() } else { None };
        Some(Lookup::Usable { mac: MacAddress::from_u64(self.value >> MAC_SHIFT), port, tell })
    }
}

/// Address → MAC and port, open addressing with at most half of the places taken.
#[derive(Clone, Debug)]
pub struct NeighborMap {
    slots: Box<[Slot]>,
    hash: KeyedHash,
    /// Most places that a lookup looks at: the longest way of any neighbor that is in the table.
    probes_max: usize,
}

impl NeighborMap {
    /// A map of `neighbors`, each with an address of its own. `seed` is to be random and kept secret, for hosts
    /// choose their addresses.
    #[must_use]
    pub fn new(neighbors: impl IntoIterator<Item = Neighbor>, seed: u64) -> Self {
        let taken: Vec<Slot> = neighbors.into_iter().filter_map(|neighbor| Slot::new(&neighbor)).collect();
        let places = slots_for(taken.len());
        let hash = KeyedHash::new(seed);
        let mut map = Self { slots: vec![Slot::FREE; places].into_boxed_slice(), hash, probes_max: 0 };
        for slot in taken {
            map.insert(slot);
        }
        map
    }

    fn insert(&mut self, slot: Slot) {
        let address = std::net::Ipv6Addr::from_bits(slot.key).to_canonical();
        let home = self.home(address);
        for probes in 0..self.slots.len() {
            let index = (home + probes) & (self.slots.len() - 1);
            if let Some(place) = self.slots.get_mut(index).filter(|place| place.value == 0) {
                *place = slot;
                self.probes_max = self.probes_max.max(probes + 1);
                return;
            }
        }
    }

    /// Where the search for `address` begins.
    #[inline]
    fn home(&self, address: IpAddr) -> usize {
        // Below 2^32 places, and a power of two.
        usize::try_from(self.hash.of(address) >> 32).unwrap_or(0) & (self.slots.len() - 1)
    }

    /// What is known of `address`.
    #[must_use]
    #[inline]
    pub fn lookup(&self, address: IpAddr) -> Lookup {
        self.search(address, self.home(address))
    }

    /// What is known of each of `addresses`, in their order, in place of what `found` held. All hashes are taken
    /// first, so that the cache misses of a burst overlap.
    pub fn lookup_burst(&self, addresses: &[IpAddr], found: &mut Vec<Lookup>) {
        found.clear();
        for chunk in addresses.chunks(packet::BURST_FRAMES) {
            let mut homes = [0; packet::BURST_FRAMES];
            for (home, address) in homes.iter_mut().zip(chunk) {
                *home = self.home(*address);
            }
            found.extend(chunk.iter().zip(homes).map(|(address, home)| self.search(*address, home)));
        }
    }

    #[inline]
    fn search(&self, address: IpAddr, home: usize) -> Lookup {
        let key = to_bits(address);
        for probes in 0..self.probes_max {
            let index = (home + probes) & (self.slots.len() - 1);
            let Some(slot) = self.slots.get(index).filter(|slot| slot.value != 0) else {
                break;
            };
            if slot.key == key {
                return slot.read(index).unwrap_or(Lookup::Unknown);
            }
        }
        Lookup::Unknown
    }
}

/// Places for `neighbors` neighbors.
fn slots_for(neighbors: usize) -> usize {
    (neighbors * 2).next_power_of_two().max(8)
}

/// Which stale neighbors a worker has told of since it saw the snapshot: one bit each, so that a flow tells once.
#[derive(Debug)]
pub struct UseReports {
    told: Box<[u64]>,
}

impl UseReports {
    /// Room for any map of at most `neighbors_max` neighbors.
    #[must_use]
    pub fn new(neighbors_max: usize) -> Self {
        Self { told: vec![0; slots_for(neighbors_max).div_ceil(64)].into_boxed_slice() }
    }

    /// To be called when another map was published.
    pub fn reset(&mut self) {
        self.told.fill(0);
    }

    /// True the first time for what [`Lookup::Usable`] gave as `tell`.
    pub fn first_use(&mut self, tell: u32) -> bool {
        let (index, bit) = place(tell);
        let Some(word) = self.told.get_mut(index) else { return false };
        let is_first = *word & bit == 0;
        *word |= bit;
        is_first
    }

    /// Takes a report back that could not be sent, so that the next use tells again.
    pub fn not_told(&mut self, tell: u32) {
        let (index, bit) = place(tell);
        if let Some(word) = self.told.get_mut(index) {
            *word &= !bit;
        }
    }
}

fn place(tell: u32) -> (usize, u64) {
    (usize::try_from(tell / 64).unwrap_or(usize::MAX), 1 << (tell % 64))
}

#[cfg(test)]
mod tests;
