//! A list: a few prefixes in one cache line, in place of many records.
//!
//! ```text
//! byte 0          8               16                  28                                              64
//!      ┌─────────┬───────┬───────┬────┬── … ──┬────┬───────┬─────────────────── … ──────────────┬───────┐
//!      │ 6 shifts│ child │ child │word│       │word│ key 0 │ key 1                              │ key 5 │
//!      │ (2 free)│ of 4  │ of 5  │ 0  │       │ 5  │ 6 B   │ 6 B                                │ 6 B   │
//!      └─────────┴───────┴───────┴────┴── … ──┴────┴───────┴─────────────────── … ──────────────┴───────┘
//! ```
//!
//! Below the first few levels, IPv6 routes are alone: hardly any record would have more than one slot in use.
//! Where a part of the trie holds at most [`ITEMS`] routes, they stand in a list; and where more routes share
//! further bytes of their address, a list with an item for these bytes leads to their record, so that a chain of
//! records with one child each becomes one line.
//!
//! A list stands at a *position*, the number of bytes of the address that are known. Its *window* is the 64 bits
//! from there on, of which a key has the first [`KEY_BITS`]. An item says how far to shift the difference of
//! window and key so that 0 is left if the address lies in its prefix; of the items for which this is so the last
//! counts. Items are in the order of their lengths, and those that lead on come last: they are longer than
//! whatever contains them. All of them are looked at, whatever the address: no jump depends on which it is.

use super::Value;
use super::record::{BOUNDS, CHILD, Line, Node, WORDS};
use std::hint::select_unpredictable;

/// Items of a list.
pub(super) const ITEMS: usize = 6;
/// Items that may lead on: the last ones.
pub(super) const CHILDREN: usize = 2;
/// Bits of a key.
pub(super) const KEY_BITS: u8 = 48;

/// Where the keys begin, in words. A key is loaded with the word before it, which its shift throws away.
const KEYS: usize = ITEMS;
const KEY_WORDS: usize = 3;
/// Where the children begin, in bytes.
const CHILDREN_AT: usize = 8;

const _: () = assert!(KEYS + ITEMS * KEY_WORDS == WORDS);
const _: () = assert!(CHILDREN_AT + CHILDREN * size_of::<Node>() == BOUNDS);
const _: () = assert!(CHILDREN_AT >= ITEMS);

/// What an address finds in a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Hit {
    /// The value of the longest prefix of the list, if one contains the address.
    pub(super) value: Option<Value>,
    /// Where to go on, or [`Node::NONE`].
    pub(super) node: Node,
    /// How many bytes farther that is.
    pub(super) skip: u8,
}

/// A prefix of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Item {
    /// The first bits, at the upper end.
    pub(super) key: u64,
    /// How many of them count: 1 to [`KEY_BITS`].
    pub(super) bits: u8,
}

impl Line {
    /// What the address with this window finds.
    #[inline(always)]
    pub(super) fn find(&self, window: u64) -> Hit {
        let mut entry = 0;
        for item in 0..ITEMS - CHILDREN {
            entry = select_unpredictable(self.is_within(item, window), self.word(item), entry);
        }
        let mut word = entry;
        for item in ITEMS - CHILDREN..ITEMS {
            word = select_unpredictable(self.is_within(item, window), self.word(item), word);
        }
        if word & CHILD == 0 {
            return Hit { value: Value::from_entry(word), node: Node::NONE, skip: 0 };
        }
        self.lead_on(window, entry)
    }

    /// The same if one of the items that contain the window leads on, and `entry` is what the first ones say.
    #[inline(always)]
    fn lead_on(&self, window: u64, mut entry: u16) -> Hit {
        let (mut node, mut skip) = (Node::NONE.0, 0);
        for child in 0..CHILDREN {
            let item = ITEMS - CHILDREN + child;
            let is_within = self.is_within(item, window);
            let word = self.word(item);
            let leads_on = word & CHILD != 0;
            let [bytes, _] = word.to_le_bytes();
            entry = select_unpredictable(is_within && !leads_on, word, entry);
            node = select_unpredictable(is_within && leads_on, self.child(child).0, node);
            skip = select_unpredictable(is_within && leads_on, bytes, skip);
        }
        Hit { value: Value::from_entry(entry), node: Node(node), skip }
    }

    #[inline(always)]
    fn is_within(&self, item: usize, window: u64) -> bool {
        (window ^ self.key(item)).wrapping_shr(u32::from(self.bounds[item])) == 0
    }

    /// The key of an item, below which there are 16 bits of something else.
    #[inline(always)]
    fn key(&self, item: usize) -> u64 {
        let key = &self.words[KEYS + item * KEY_WORDS - 1..][..KEY_WORDS + 1];
        key.as_flattened().first_chunk().map_or(0, |key| u64::from_le_bytes(*key))
    }

    #[inline(always)]
    fn child(&self, child: usize) -> Node {
        let at = CHILDREN_AT + child * size_of::<Node>();
        let [a, b, c, d] = [at, at + 1, at + 2, at + 3].map(|at| self.bounds[at]);
        Node(u32::from_le_bytes([a, b, c, d]))
    }

    /// A list of these prefixes, in the order of their lengths, and of these that lead on, which are whole bytes
    /// long. There is room for all of them.
    pub(super) fn list(values: &[(Item, Value)], children: &[(Item, Node)]) -> Self {
        debug_assert!(values.len() + children.len() <= ITEMS && children.len() <= CHILDREN);
        // An item that is not in use has a word of 0, and stands where it is looked at before all others.
        let mut line = Self { bounds: [0; BOUNDS], words: [[0; 2]; WORDS] };
        let first = ITEMS - children.len() - values.len();
        for (at, (item, value)) in (first..).zip(values) {
            line.set(at, *item, Value::to_entry(Some(*value)));
        }
        for (at, (item, node)) in (ITEMS - children.len()..).zip(children) {
            line.set(at, *item, CHILD | u16::from(item.bits / 8));
            let bytes = CHILDREN_AT + (at + CHILDREN - ITEMS) * size_of::<Node>();
            line.bounds[bytes..bytes + size_of::<Node>()].copy_from_slice(&node.0.to_le_bytes());
        }
        line
    }

    fn set(&mut self, at: usize, item: Item, word: u16) {
        debug_assert!((1..=KEY_BITS).contains(&item.bits), "{} bits", item.bits);
        self.bounds[at] = 64 - item.bits;
        self.words[at] = word.to_le_bytes();
        let [_, _, a, b, c, d, e, f] = item.key.to_le_bytes();
        self.words[KEYS + at * KEY_WORDS..][..KEY_WORDS].copy_from_slice(&[[a, b], [c, d], [e, f]]);
    }

    /// The items of a list that lead on, and where.
    pub(super) fn list_children(&self) -> impl Iterator<Item = (Item, Node)> {
        let at = |child| ITEMS - CHILDREN + child;
        let leading = (0..CHILDREN).filter(move |child| self.word(at(*child)) & CHILD != 0);
        leading.map(move |child| {
            let item = Item { key: self.key(at(child)), bits: 64 - self.bounds[at(child)] };
            (item, self.child(child))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(index: usize) -> Value {
        Value::new(index).unwrap()
    }

    fn item(key: u64, bits: u8) -> Item {
        Item { key, bits }
    }

    #[test]
    fn the_longest_item_that_contains_the_window_counts() {
        let key = 0x1234_5678_9abc_0000;
        let values: Vec<_> =
            [1, 8, 17, 32, 47, 48].iter().map(|bits| (item(key, *bits), value(usize::from(*bits)))).collect();
        for count in 0..=ITEMS {
            let line = Line::list(&values[..count], &[]);
            for same in 0..64_u32 {
                // The first `same` bits are those of the key.
                let hit = line.find(key ^ 1 << (63 - same));
                let expected = values[..count].iter().rfind(|(item, _)| u32::from(item.bits) <= same);
                assert_eq!(hit.value, expected.map(|(_, value)| *value), "{count} {same}");
                assert_eq!((hit.node, hit.skip), (Node::NONE, 0));
            }
        }
    }

    #[test]
    fn items_that_lead_on_keep_the_value_found_and_say_how_far_they_lead() {
        let [near, far] = [item(0x1200 << 48, 8), item(0x3456_789a_bcde_0000, 48)];
        let line = Line::list(
            &[(item(0, 2), value(5)), (item(0x3456 << 48, 16), value(6))],
            &[(near, Node(0x8000_0001)), (far, Node(77))],
        );
        let hit = |value, node, skip| Hit { value, node: Node(node), skip };
        assert_eq!(line.find(0x12ff << 48), hit(Some(value(5)), 0x8000_0001, 1));
        assert_eq!(line.find(0x3456_789a_bcde_ffff), hit(Some(value(6)), 77, 6));
        assert_eq!(line.find(0x3456_789a_bcdf_0000), hit(Some(value(6)), Node::NONE.0, 0));
        assert_eq!(line.find(u64::MAX), hit(None, Node::NONE.0, 0));
        let children: Vec<_> = line.list_children().map(|(item, node)| (item.bits, node)).collect();
        assert_eq!(children, [(8, Node(0x8000_0001)), (48, Node(77))]);
    }

    #[test]
    fn an_empty_list_matches_nothing_not_even_zeros() {
        let line = Line::list(&[], &[]);
        assert_eq!(line.find(0), Hit { value: None, node: Node::NONE, skip: 0 });
        assert_eq!(line.list_children().count(), 0);
    }
}
