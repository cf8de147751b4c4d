//! The encoding of one record: 256 slots in a few dozen 16-bit words.
//!
//! ```text
//! word 0      1          31   32                    32+n        offset of child k
//!      ┌──────┬── … ──┬──────┬───────────┬── … ──┬──────────┬── … ──┬───────────────────┬─ …
//!      │group0│       │grp 31│ entry 0   │       │entry n-1 │       │record lo, hi,value│
//!      └──────┴── … ──┴──────┴───────────┴── … ──┴──────────┴── … ──┴───────────────────┴─ …
//! ```
//!
//! Neighboring slots with the same content form a *run*, and each run has one entry. A group word describes
//! eight slots: its low byte has a bit for each slot that begins a run (slot 0 of the record has none), its
//! high byte counts the runs begun in the groups before. The entry of a slot is therefore
//! `high byte + ones(low byte up to the slot)`; the ones of a byte come from a table of 256 bytes.
//!
//! An entry is 0 (no route of this level; what was found above holds), a [`Value`], or, with its upper bit
//! set, the offset within this record at which the [`Branch`] to the slot's child stands.

use super::Value;

/// Slots of a record.
pub(super) const SLOTS: usize = 256;
/// Slots of a group.
const GROUP_SLOTS: usize = 8;
/// Where the entries begin, in words.
pub(super) const ENTRIES: usize = SLOTS / GROUP_SLOTS;
/// Words of a [`Branch`].
const BRANCH_WORDS: usize = 3;
/// Marks an entry that leads to a child.
pub(super) const CHILD: u16 = 0x8000;
/// Most words of a record: every slot has a child.
pub(super) const WORDS_MAX: usize = ENTRIES + SLOTS * (1 + BRANCH_WORDS);

/// The number of ones in a byte.
///
/// Without `-C target-cpu` there is no `popcnt` on x86-64: `u64::count_ones` is 13 instructions of shifts,
/// masks and a multiplication, and to choose the instruction at run time needs a call that is `unsafe`. A load
/// from this table, which stays in the nearest cache, is one.
pub(super) static ONES: [u8; 256] = {
    let mut ones = [0; 256];
    let mut byte = 1;
    while byte < 256 {
        ones[byte] = ones[byte >> 1] + (byte & 1) as u8;
        byte += 1;
    }
    ones
};

/// What a slot leads to: a value and, where longer prefixes exist, a record.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Branch {
    /// The record of the next eight bits, as [`super::arena::Arena`] numbers it; 0: none.
    pub(super) record: u32,
    /// The longest match so far.
    pub(super) value: Option<Value>,
}

/// A record that can be changed.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    pub(super) values: [Option<Value>; SLOTS],
    /// The slots with children and the records of these, by slot.
    pub(super) children: Vec<(u8, u32)>,
}

impl Slots {
    pub(super) const fn new() -> Self {
        Self { values: [None; SLOTS], children: Vec::new() }
    }

    /// True if no address would find anything here.
    pub(super) fn is_empty(&self) -> bool {
        self.children.is_empty() && self.values.iter().all(Option::is_none)
    }

    /// The record below `slot`; 0: none.
    pub(super) fn child(&self, slot: u8) -> u32 {
        let position = self.children.binary_search_by_key(&slot, |(slot, _)| *slot);
        position.ok().and_then(|position| self.children.get(position)).map_or(0, |(_, record)| *record)
    }

    /// Sets or, with 0, removes the record below `slot`.
    pub(super) fn set_child(&mut self, slot: u8, record: u32) {
        match self.children.binary_search_by_key(&slot, |(slot, _)| *slot) {
            Ok(position) if record == 0 => drop(self.children.remove(position)),
            Ok(position) => self.children[position].1 = record,
            Err(_) if record == 0 => {}
            Err(position) => self.children.insert(position, (slot, record)),
        }
    }

    /// The words of the record, at most [`WORDS_MAX`].
    pub(super) fn encode(&self, words: &mut Vec<u16>) {
        words.clear();
        words.resize(ENTRIES, 0);
        let mut children = self.children.iter().map(|(slot, _)| usize::from(*slot)).peekable();
        let mut child_positions = [0_usize; SLOTS];
        let mut before = None;
        for (slot, value) in self.values.iter().enumerate() {
            let is_child = children.next_if_eq(&slot).is_some();
            let content = if is_child { CHILD } else { Value::to_entry(*value) };
            let begins = is_child || before != Some(content);
            if begins {
                child_positions[slot] = words.len();
                words.push(content);
            }
            if slot > 0 && begins {
                words[slot / GROUP_SLOTS] |= 1 << (slot % GROUP_SLOTS);
            }
            if slot % GROUP_SLOTS == GROUP_SLOTS - 1 && slot + 1 < SLOTS {
                // At most 248 runs begin before the last group, so the count fits its byte.
                let runs = u16::try_from(words.len() - ENTRIES - 1).unwrap_or_default();
                words[slot / GROUP_SLOTS + 1] = runs << 8;
            }
            before = (!is_child).then_some(content);
        }
        for (slot, record) in &self.children {
            let offset = u16::try_from(words.len()).unwrap_or_default();
            words[child_positions[usize::from(*slot)]] = CHILD | offset;
            let [a, b, c, d] = record.to_le_bytes();
            let value = Value::to_entry(self.values[usize::from(*slot)]);
            words.extend([u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]), value]);
        }
        debug_assert!(words.len() <= WORDS_MAX, "as many entries and branches as slots");
    }

    /// The slots of an encoded record (with anything behind it), and its length in words.
    pub(super) fn decode(words: &[u16]) -> (Self, usize) {
        let mut slots = Self::new();
        let mut length = ENTRIES;
        for slot in 0..=u8::MAX {
            let index = entry_of(words[group_of(slot)], slot);
            let entry = words[index];
            length = length.max(index + 1);
            slots.values[usize::from(slot)] = if entry & CHILD == 0 {
                Value::from_entry(entry)
            } else {
                let offset = usize::from(entry ^ CHILD);
                let branch = read_branch([words[offset], words[offset + 1], words[offset + 2]]);
                length = length.max(offset + BRANCH_WORDS);
                slots.children.push((slot, branch.record));
                branch.value
            };
        }
        (slots, length)
    }
}

/// The index of the group word of a slot.
#[inline(always)]
pub(super) fn group_of(slot: u8) -> usize {
    usize::from(slot) / GROUP_SLOTS
}

/// The index of the entry of a slot whose group word is `group`.
#[inline(always)]
pub(super) fn entry_of(group: u16, slot: u8) -> usize {
    let [begins, before] = group.to_le_bytes();
    let up_to_slot = begins & (0xff_u8 >> (7 - slot % 8));
    ENTRIES + usize::from(before) + usize::from(ONES[usize::from(up_to_slot)])
}

/// The branch in three words.
#[inline(always)]
pub(super) fn read_branch([low, high, value]: [u16; BRANCH_WORDS]) -> Branch {
    Branch { record: u32::from(low) | u32::from(high) << 16, value: Value::from_entry(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(index: usize) -> Option<Value> {
        Some(Value::new(index).unwrap())
    }

    fn round_trip(slots: &Slots) -> usize {
        let mut words = Vec::new();
        slots.encode(&mut words);
        let (decoded, length) = Slots::decode(&words);
        assert_eq!(decoded.values, slots.values);
        assert_eq!(decoded.children, slots.children);
        assert_eq!(length, words.len());
        length
    }

    #[test]
    fn an_empty_record_has_one_entry() {
        assert_eq!(round_trip(&Slots::new()), ENTRIES + 1);
    }

    #[test]
    fn a_full_record_of_children_is_the_longest() {
        let mut slots = Slots::new();
        for slot in 0..=u8::MAX {
            slots.set_child(slot, u32::MAX - u32::from(slot));
            slots.values[usize::from(slot)] = value(usize::from(slot) % 3 * 16_000);
        }
        assert_eq!(round_trip(&slots), WORDS_MAX);
        (0..=u8::MAX).for_each(|slot| slots.set_child(slot, 0));
        assert_eq!(round_trip(&slots), ENTRIES + SLOTS);
    }

    #[test]
    fn neighbors_with_one_value_share_an_entry_and_a_child_between_them_parts_them() {
        let mut slots = Slots::new();
        slots.values[7..250].fill(value(0));
        assert_eq!(round_trip(&slots), ENTRIES + 3);
        slots.set_child(100, 77);
        assert_eq!(round_trip(&slots), ENTRIES + 5 + BRANCH_WORDS);
        slots.set_child(101, 78);
        assert_eq!(round_trip(&slots), ENTRIES + 6 + 2 * BRANCH_WORDS);
        assert_eq!((slots.child(100), slots.child(101), slots.child(99)), (77, 78, 0));
    }
}
