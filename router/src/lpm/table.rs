//! The compiled table: what a worker reads.

use super::address::{Address, ROOT_BITS};
use super::arena::Pages;
use super::builder::window;
use super::record::{Branch, Node};
use super::{LongestPrefixMatch, Value, burst};
use std::hint::select_unpredictable;
use std::marker::PhantomData;
use std::sync::Arc;

/// Branches of the root in one shared piece: 8 KiB.
pub(super) const CHUNK_BRANCHES: usize = 1 << 10;
/// Pieces of the root.
pub(super) const CHUNKS: usize = (1 << ROOT_BITS) / CHUNK_BRANCHES;

/// Addresses looked up together. Their states fit the nearest cache, and there are enough of them to keep
/// every miss under way that the processor can.
pub(super) const LANES: usize = 64;

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
    fn new(Node(record): Node, lane: usize) -> Self {
        Self(u64::from(record) << 32 | (lane % LANES) as u64)
    }

    #[inline(always)]
    fn record(self) -> Node {
        Node((self.0 >> 32) as u32)
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

    /// The first `count` look-ups: the root for all of them, then the nodes for those that have any, so that
    /// the loads of one do not wait for those of another.
    #[inline(never)]
    fn lookup_lanes(&self, addresses: &[A; LANES], count: usize, values: &mut [Option<Value>; LANES]) {
        if A::BITS == 32 {
            self.lookup_short(addresses, count, values);
        } else {
            burst::lookup(&self.pages, |address| self.branch(address), addresses, count, values);
        }
    }

    /// Look-ups of which few pass more than one record: those of IPv4. The ones that pass any are kept together:
    /// whether one does cannot be predicted, so no jump depends on it.
    #[inline(always)]
    fn lookup_short(&self, addresses: &[A; LANES], count: usize, values: &mut [Option<Value>; LANES]) {
        let mut pending = [Pending::default(); LANES];
        let mut waiting = 0_usize;
        for lane in 0..count.min(LANES) {
            let branch = self.branch(addresses[lane]);
            values[lane] = branch.value;
            pending[waiting % LANES] = Pending::new(branch.node, lane);
            waiting = waiting.wrapping_add(usize::from(branch.node != Node::NONE));
        }
        self.finish(addresses, &pending[..waiting.min(LANES)], values);
    }

    /// The rest of look-ups of which few pass more than one record, so that jumps are predicted: those of IPv4.
    #[inline(always)]
    fn finish(&self, addresses: &[A; LANES], pending: &[Pending], values: &mut [Option<Value>; LANES]) {
        for pending in pending {
            let (mut record, lane) = (pending.record(), pending.lane());
            let (mut value, mut position) = (values[lane], 2_u32);
            while record != Node::NONE {
                let slot = addresses[lane].byte(position);
                let branch = self.pages.line(record, slot).branch(slot);
                value = select_unpredictable(branch.value.is_some(), branch.value, value);
                record = branch.node;
                position = position.wrapping_add(1);
            }
            values[lane] = value;
        }
    }
}

impl<A: Address> LongestPrefixMatch for Table<A> {
    type Address = A;

    fn lookup(&self, address: A) -> Option<Value> {
        let Branch { mut node, mut value } = self.branch(address);
        let mut position = 2_u8;
        while node != Node::NONE {
            let found = if A::BITS > 32 && node.is_list() {
                let hit = self.pages.list(node).find(window(address, position));
                position = position.wrapping_add(hit.skip);
                node = hit.node;
                hit.value
            } else {
                let slot = address.byte(u32::from(position));
                let branch = self.pages.line(node, slot).branch(slot);
                position = position.wrapping_add(u8::from(!branch.node.is_list()));
                node = branch.node;
                branch.value
            };
            value = found.or(value);
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
