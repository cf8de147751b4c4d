//! The neighbors as workers see them: immutable, compact, part of the snapshot.

use std::net::IpAddr;

use packet::{MacAddress, PortId};

use super::{Neighbor, State};
use packet::keyed_hash::KeyedHash;

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

/// One place of a table: 16 bytes for IPv4, 32 for IPv6.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Slot<K> {
    key: K,
    /// MAC, port and kind; 0 in a free place.
    value: u64,
}

const PORT_SHIFT: u32 = 2;
const MAC_SHIFT: u32 = 16;
const KIND_STEADY: u64 = 1;
const KIND_STALE: u64 = 2;
const KIND_UNREACHABLE: u64 = 3;

/// What is kept of a neighbor; `None` for one that is still being asked for.
fn value_of(neighbor: &Neighbor) -> Option<u64> {
    let kind = match neighbor.state {
        State::Incomplete => return None,
        State::Failed => KIND_UNREACHABLE,
        State::Stale => KIND_STALE,
        State::Reachable | State::Delay | State::Probe | State::Permanent => KIND_STEADY,
    };
    let mac = neighbor.mac.unwrap_or_default().to_u64() << MAC_SHIFT;
    Some(mac | u64::from(neighbor.port.get()) << PORT_SHIFT | kind)
}

/// What is told of the neighbor whose value is `value`, in the place `index`; 0 is that of nobody.
#[inline]
fn read(value: u64, index: usize) -> Lookup {
    let kind = value & ((1 << PORT_SHIFT) - 1);
    let port = u16::try_from((value >> PORT_SHIFT) & 0x3fff).ok().and_then(PortId::new);
    match (kind, port) {
        (KIND_STEADY | KIND_STALE, Some(port)) => {
            let tell = if kind == KIND_STALE { u32::try_from(index).ok() } else { None };
            Lookup::Usable { mac: MacAddress::from_u64(value >> MAC_SHIFT), port, tell }
        }
        (KIND_UNREACHABLE, _) => Lookup::Unreachable,
        _ => Lookup::Unknown,
    }
}

/// The neighbors of one family: open addressing with at most half of the places taken.
#[derive(Clone, Debug)]
struct Table<K> {
    slots: Box<[Slot<K>]>,
    /// Most places that a lookup looks at: the longest way of any neighbor that is in the table.
    probes_max: usize,
}

impl<K: Copy + PartialEq + Default> Table<K> {
    /// A table of neighbors, each with its hash, its key and its value.
    fn new(neighbors: &[(u64, K, u64)]) -> Self {
        let free = Slot { key: K::default(), value: 0 };
        let mut table =
            Self { slots: vec![free; slots_for(neighbors.len())].into_boxed_slice(), probes_max: 0 };
        for (hash, key, value) in neighbors {
            let home = table.home(*hash);
            for probes in 0..table.slots.len() {
                let index = (home + probes) & (table.slots.len() - 1);
                if let Some(place) = table.slots.get_mut(index).filter(|place| place.value == 0) {
                    *place = Slot { key: *key, value: *value };
                    table.probes_max = table.probes_max.max(probes + 1);
                    break;
                }
            }
        }
        table
    }

    /// Where the search for a hash begins: by its upper half, for a table has less than 2^32 places.
    #[inline]
    fn home(&self, hash: u64) -> usize {
        usize::try_from(hash >> 32).unwrap_or(0) & (self.slots.len() - 1)
    }

    /// Value and place of a key; value 0 if it is not there.
    #[inline]
    fn search(&self, key: K, home: usize) -> (u64, usize) {
        for probes in 0..self.probes_max {
            let index = (home + probes) & (self.slots.len() - 1);
            match self.slots.get(index) {
                Some(slot) if slot.value != 0 && slot.key != key => {}
                Some(slot) => return (slot.value, index),
                None => break,
            }
        }
        (0, 0)
    }
}

/// Address → MAC and port.
#[derive(Clone, Debug)]
pub struct NeighborMap {
    v4: Table<u32>,
    v6: Table<u128>,
    hash: KeyedHash,
}

impl NeighborMap {
    /// A map of `neighbors`, each with an address of its own. `seed` is to be random and kept secret, for hosts
    /// choose their addresses.
    #[must_use]
    pub fn new(neighbors: impl IntoIterator<Item = Neighbor>, seed: u64) -> Self {
        let hash = KeyedHash::new(seed);
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for neighbor in neighbors {
            let Some(value) = value_of(&neighbor) else { continue };
            match neighbor.address {
                IpAddr::V4(address) => v4.push((hash.of_v4(address.to_bits()), address.to_bits(), value)),
                IpAddr::V6(address) => v6.push((hash.of_v6(address.to_bits()), address.to_bits(), value)),
            }
        }
        Self { v4: Table::new(&v4), v6: Table::new(&v6), hash }
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
    fn home(&self, address: IpAddr) -> usize {
        match address {
            IpAddr::V4(address) => self.v4.home(self.hash.of_v4(address.to_bits())),
            IpAddr::V6(address) => self.v6.home(self.hash.of_v6(address.to_bits())),
        }
    }

    #[inline]
    fn search(&self, address: IpAddr, home: usize) -> Lookup {
        match address {
            IpAddr::V4(address) => {
                let (value, index) = self.v4.search(address.to_bits(), home);
                read(value, index)
            }
            IpAddr::V6(address) => {
                let (value, index) = self.v6.search(address.to_bits(), home);
                read(value, self.v4.slots.len() + index)
            }
        }
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
        // However they are divided between the families.
        let places = 2 * slots_for(neighbors_max) + slots_for(0);
        Self { told: vec![0; places.div_ceil(64)].into_boxed_slice() }
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
