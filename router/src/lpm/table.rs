//! The compiled table: what a worker reads.

use super::address::{Address, ROOT_BITS};
use super::arena::Pages;
use super::record::{Branch, CHILD, entry_of, group_of, read_branch};
use super::{LongestPrefixMatch, Value};
use std::marker::PhantomData;
use std::sync::Arc;

/// Branches of the root in one shared piece: 8 KiB.
pub(super) const CHUNK_BRANCHES: usize = 1 << 10;
/// Pieces of the root.
pub(super) const CHUNKS: usize = (1 << ROOT_BITS) / CHUNK_BRANCHES;

/// Addresses looked up together. Their states fit the nearest cache, and there are enough of them to keep
/// every miss under way that the processor can.
const LANES: usize = 64;

/// A piece of the root.
pub(super) type Chunk = [Branch; CHUNK_BRANCHES];

/// A longest-prefix-match table that never changes; see [`lpm`](super) for how it works. A clone is cheap: it
/// shares all storage.
#[derive(Clone, Debug)]
pub struct Table<A> {
    pub(super) root: [Arc<Chunk>; CHUNKS],
    pub(super) pages: Pages,
    pub(super) family: PhantomData<A>,
}

/// A look-up under way.
#[derive(Clone, Copy, Default)]
struct Pending {
    record: u32,
    lane: u32,
}

impl<A: Address> Table<A> {
    /// Memory that look-ups use, in bytes. Some of it may be shared with older and newer tables.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let mut chunks: Vec<_> = self.root.iter().map(Arc::as_ptr).collect();
        chunks.sort_unstable();
        chunks.dedup();
        size_of::<Self>() + chunks.len() * size_of::<Chunk>() + self.pages.memory_bytes()
    }

    #[inline(always)]
    fn branch(&self, address: A) -> Branch {
        let root = usize::from(address.root());
        self.root[root / CHUNK_BRANCHES][root % CHUNK_BRANCHES]
    }

    /// What the slot `slot` of a record leads to. Without a branch of the processor, for which of both it is
    /// cannot be predicted.
    #[inline(always)]
    fn descend(&self, record: u32, slot: u8) -> Branch {
        let words = self.pages.record(record);
        let group = words.at(group_of(slot));
        let entry = words.at(entry_of(group, slot));
        if entry & CHILD == 0 {
            return Branch { record: 0, value: Value::from_entry(entry) };
        }
        let offset = usize::from(entry ^ CHILD);
        read_branch([words.at(offset), words.at(offset + 1), words.at(offset + 2)])
    }

    /// At most [`LANES`] look-ups, level by level.
    #[inline(always)]
    fn lookup_lanes(&self, addresses: &[A], values: &mut [Option<Value>]) {
        let mut pending = [Pending::default(); LANES];
        let mut count = 0;
        for ((lane, address), value) in (0..).zip(addresses).zip(values.iter_mut()) {
            let branch = self.branch(*address);
            *value = branch.value;
            pending[count % LANES] = Pending { record: branch.record, lane };
            count += usize::from(branch.record != 0);
        }
        let mut level = 0;
        while count > 0 {
            let mut still = 0;
            for at in 0..count {
                let Pending { record, lane } = pending[at % LANES];
                let lane_index = lane as usize % LANES;
                let branch = self.descend(record, addresses[lane_index].slot(level));
                values[lane_index] = branch.value.or(values[lane_index]);
                pending[still % LANES] = Pending { record: branch.record, lane };
                still += usize::from(branch.record != 0);
            }
            count = still;
            level += 1;
        }
    }
}

impl<A: Address> LongestPrefixMatch for Table<A> {
    type Address = A;

    fn lookup(&self, address: A) -> Option<Value> {
        let mut branch = self.branch(address);
        let mut value = branch.value;
        let mut level = 0;
        while branch.record != 0 {
            branch = self.descend(branch.record, address.slot(level));
            value = branch.value.or(value);
            level += 1;
        }
        value
    }

    fn lookup_burst(&self, addresses: &[A], values: &mut [Option<Value>]) {
        for (addresses, values) in addresses.chunks(LANES).zip(values.chunks_mut(LANES)) {
            let together = addresses.len().min(values.len());
            self.lookup_lanes(&addresses[..together], &mut values[..together]);
        }
    }
}
