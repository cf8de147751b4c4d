//! The compiled table: what a worker reads.

use super::address::{Address, ROOT_BITS};
use super::arena::Pages;
use super::record::{Branch, Record};
use super::{LongestPrefixMatch, Value};
use std::hint::select_unpredictable;
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

/// A look-up under way, in one word: its lane below, the record to read next above.
#[derive(Clone, Copy, Default)]
struct Pending(u64);

impl Pending {
    #[inline(always)]
    fn new(Record(record): Record, lane: usize) -> Self {
        Self(u64::from(record) << 32 | (lane % LANES) as u64)
    }

    #[inline(always)]
    fn record(self) -> Record {
        Record((self.0 >> 32) as u32)
    }

    #[inline(always)]
    fn lane(self) -> usize {
        usize::from(self.0.to_le_bytes()[0]) % LANES
    }
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

    /// The first `count` look-ups: the root for all of them, then the records for those that have any, so that
    /// the loads of one do not wait for those of another. These are kept together: whether a look-up goes on
    /// cannot be predicted, so no jump depends on it.
    #[inline(never)]
    fn lookup_lanes(&self, addresses: &[A; LANES], count: usize, values: &mut [Option<Value>; LANES]) {
        let mut pending = [Pending::default(); LANES];
        let mut waiting = 0_usize;
        for lane in 0..count.min(LANES) {
            let branch = self.branch(addresses[lane]);
            values[lane] = branch.value;
            pending[waiting % LANES] = Pending::new(branch.record, lane);
            waiting = waiting.wrapping_add(usize::from(branch.record != Record::NONE));
        }
        if A::BITS == 32 {
            self.finish(addresses, &pending[..waiting.min(LANES)], values);
        } else {
            self.finish_by_levels(addresses, pending, waiting, values);
        }
    }

    /// The rest of look-ups of which few pass more than one record, so that jumps are predicted: those of IPv4.
    #[inline(always)]
    fn finish(&self, addresses: &[A; LANES], pending: &[Pending], values: &mut [Option<Value>; LANES]) {
        for pending in pending {
            let (mut record, lane) = (pending.record(), pending.lane());
            let (mut value, mut level) = (values[lane], 0_u32);
            while record != Record::NONE {
                let slot = addresses[lane].slot(level);
                let branch = self.pages.line(record, slot).branch(slot);
                value = select_unpredictable(branch.value.is_some(), branch.value, value);
                record = branch.record;
                level = level.wrapping_add(1);
            }
            values[lane] = value;
        }
    }

    /// The rest of look-ups of which nobody knows how many records they pass, level by level: those of IPv6.
    #[inline(always)]
    fn finish_by_levels(
        &self,
        addresses: &[A; LANES],
        mut pending: [Pending; LANES],
        mut waiting: usize,
        values: &mut [Option<Value>; LANES],
    ) {
        let mut level = 0_u32;
        while waiting > 0 {
            let mut still = 0_usize;
            for at in 0..waiting.min(LANES) {
                let (record, lane) = (pending[at].record(), pending[at].lane());
                let slot = addresses[lane].slot(level);
                let branch = self.pages.line(record, slot).branch(slot);
                let is_better = branch.value.is_some();
                values[lane] = select_unpredictable(is_better, branch.value, values[lane]);
                pending[still % LANES] = Pending::new(branch.record, lane);
                still = still.wrapping_add(usize::from(branch.record != Record::NONE));
            }
            waiting = still;
            level = level.wrapping_add(1);
        }
    }
}

impl<A: Address> LongestPrefixMatch for Table<A> {
    type Address = A;

    fn lookup(&self, address: A) -> Option<Value> {
        let mut branch = self.branch(address);
        let mut value = branch.value;
        let mut level = 0_u32;
        while branch.record != Record::NONE {
            let slot = address.slot(level);
            branch = self.pages.line(branch.record, slot).branch(slot);
            value = branch.value.or(value);
            level = level.wrapping_add(1);
        }
        value
    }

    fn lookup_burst(&self, addresses: &[A], values: &mut [Option<Value>]) {
        let count = addresses.len().min(values.len());
        let (whole, rest) = addresses[..count].as_chunks::<LANES>();
        let (whole_values, rest_values) = values[..count].as_chunks_mut::<LANES>();
        for (addresses, values) in whole.iter().zip(whole_values) {
            self.lookup_lanes(addresses, LANES, values);
        }
        if !rest.is_empty() {
            let mut addresses = [A::from_upper_bits(0); LANES];
            addresses[..rest.len()].copy_from_slice(rest);
            let mut values = [None; LANES];
            self.lookup_lanes(&addresses, rest.len(), &mut values);
            rest_values.copy_from_slice(&values[..rest.len()]);
        }
    }
}
