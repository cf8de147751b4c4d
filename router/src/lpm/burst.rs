//! Look-ups of which nobody knows how many nodes they pass, a burst at a time: those of IPv6.
//!
//! All look-ups that are at a record take a step, then those that are at one again, and so on; then all that are
//! at a list. So the loads of one do not wait for those of another. No jump depends on the address at a record: the
//! step puts the look-up where it belongs, or nowhere, without asking. After a list few look-ups go on, or in a
//! table of one network nearly all: there a jump is predicted.

use super::Value;
use super::address::Address;
use super::arena::Pages;
use super::record::{Branch, Node};
use super::table::LANES;
use std::hint::select_unpredictable;

/// Bytes of the longest address.
const BYTES: usize = 16;

/// A look-up under way, in one word: below the place of its next byte, counted over all addresses of the burst,
/// above the node to read next.
#[derive(Clone, Copy, Default)]
struct Pending(u64);

impl Pending {
    #[inline(always)]
    fn new(Node(node): Node, place: u32) -> Self {
        Self(u64::from(node) << 32 | u64::from(place))
    }

    #[inline(always)]
    fn node(self) -> Node {
        Node((self.0 >> 32) as u32)
    }

    #[inline(always)]
    fn place(self) -> u32 {
        (self.0 & 0xffff_ffff) as u32
    }

    #[inline(always)]
    fn at(self) -> usize {
        self.place() as usize % (LANES * BYTES)
    }

    #[inline(always)]
    fn lane(self) -> usize {
        self.at() / BYTES
    }
}

/// The look-ups that are at nodes of one kind.
type Queue = [Pending; LANES];

/// How many look-ups the queues hold. Apart from them, so that these numbers stay in registers.
#[derive(Clone, Copy)]
struct Lengths {
    records: usize,
    lists: usize,
}

/// The look-ups of a burst.
struct Burst<'a> {
    pages: &'a Pages,
    values: &'a mut [Option<Value>; LANES],
    /// The addresses one after the other, and what is read past the last one.
    bytes: [u8; LANES * BYTES + 8],
    records: Queue,
    lists: Queue,
}

/// The first `count` look-ups. `root` gives the branch of an address.
#[inline(always)]
pub(super) fn lookup<A: Address>(
    pages: &Pages,
    root: impl Fn(A) -> Branch,
    addresses: &[A; LANES],
    count: usize,
    values: &mut [Option<Value>; LANES],
) {
    let (bytes, queue) = ([0; LANES * BYTES + 8], [Pending(0); LANES]);
    let mut burst = Burst { pages, values, bytes, records: queue, lists: queue };
    let mut lengths = Lengths { records: 0, lists: 0 };
    // The root decides the first two bytes.
    let places = (2_u32..).step_by(BYTES);
    for ((lane, address), place) in addresses.iter().enumerate().take(count).zip(places) {
        let first = root(*address);
        // The root leads to a record or to none, which stands for an empty one: so this step is for everyone.
        let slot = address.byte(2);
        let branch = pages.line(first.node, slot).branch(slot);
        burst.values[lane] = select_unpredictable(branch.value.is_some(), branch.value, first.value);
        let start = lane * BYTES;
        burst.bytes[start..start + BYTES].copy_from_slice(&address.upper_bits().to_be_bytes());
        burst.go_on(&mut lengths, branch.node, place_after(place, branch.node));
    }
    loop {
        while lengths.records > 0 {
            burst.pass_records(&mut lengths);
        }
        if lengths.lists == 0 {
            return;
        }
        burst.pass_lists(&mut lengths);
    }
}

/// Where a look-up goes on that was at a record at `place`. The record decides a byte; a list that is below it
/// begins with that byte once more.
#[inline(always)]
fn place_after(place: u32, node: Node) -> u32 {
    place.wrapping_add(u32::from(!node.is_list()))
}

impl Burst<'_> {
    /// Puts a look-up in the queue where it belongs, if it goes on at all. While a queue is gone through, that may
    /// be to the part of it which was read already.
    #[inline(always)]
    fn go_on(&mut self, lengths: &mut Lengths, node: Node, place: u32) {
        let pending = Pending::new(node, place);
        let is_list = node.is_list();
        self.records[lengths.records % LANES] = pending;
        self.lists[lengths.lists % LANES] = pending;
        lengths.records = lengths.records.wrapping_add(usize::from((node != Node::NONE) ^ is_list));
        lengths.lists = lengths.lists.wrapping_add(usize::from(is_list));
    }

    #[inline(always)]
    fn pass_records(&mut self, lengths: &mut Lengths) {
        let count = std::mem::take(&mut lengths.records).min(LANES);
        for index in 0..count {
            let pending = self.records[index];
            let slot = self.bytes[pending.at()];
            let branch = self.pages.line(pending.node(), slot).branch(slot);
            let value = &mut self.values[pending.lane()];
            *value = select_unpredictable(branch.value.is_some(), branch.value, *value);
            self.go_on(lengths, branch.node, place_after(pending.place(), branch.node));
        }
    }

    #[inline(always)]
    fn pass_lists(&mut self, lengths: &mut Lengths) {
        let count = std::mem::take(&mut lengths.lists).min(LANES);
        for index in 0..count {
            let pending = self.lists[index];
            let [a, b, c, d, e, f, g, h, ..] = self.bytes[pending.at()..] else { return };
            let window = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
            let hit = self.pages.list(pending.node()).find(window);
            let value = &mut self.values[pending.lane()];
            *value = select_unpredictable(hit.value.is_some(), hit.value, *value);
            if hit.node != Node::NONE {
                self.go_on(lengths, hit.node, pending.place().wrapping_add(u32::from(hit.skip)));
            }
        }
    }
}
