//! One record: 256 slots in 1 to 64 cache lines.
//!
//! ```text
//! byte 0            16                                                   64
//!      ┌── … ──────┬─────────┬─────────┬── … ── free ── … ──┬───────────┐
//!      │ 16 bounds │ entry 0 │ entry 1 │                    │ branch of │
//!      │ of 1 byte │ 2 bytes │         │                    │ a child   │
//!      └── … ──────┴─────────┴─────────┴── … ───────────────┴───────────┘
//! ```
//!
//! Neighboring slots with the same content form a *run*, and each run has one entry. A record whose runs do not
//! fit one line is cut into 2, 4, … 64 lines, each for an equal share of the slots, so that a look-up reads one
//! line and knows which before it has read anything: the number of a record tells how many lines it has.
//!
//! The bounds of a line are the last slots of its runs, but for that of the last one; unused bounds are 255.
//! The entry of a slot is that with the number of bounds below the slot. This takes a few instructions of
//! SSE2, which every x86-64 has, and the compiler finds them by itself. (A bit vector as in Poptrie takes as
//! little space, but `count_ones` is 13 instructions where there is no `popcnt`; whether there is one is not
//! known before the program runs, and to choose it then needs a call that is `unsafe`.)
//!
//! An entry is 0 (no route of this level: what was found above holds), a [`Value`], or, with its upper bit set,
//! the place in the same line of the [`Branch`] to the slot's child.

use super::Value;
use std::hint::select_unpredictable;

/// Slots of a record.
pub(super) const SLOTS: usize = 256;
/// Bounds of a line; there is one entry more.
pub(super) const BOUNDS: usize = 16;
/// 16-bit words of a line for entries and branches.
pub(super) const WORDS: usize = 24;
/// Words of a [`Branch`].
const BRANCH_WORDS: usize = 3;
/// Marks an entry that leads to a child.
pub(super) const CHILD: u16 = 0x8000;
/// Most lines of a record. The four slots of each then fit their line even if they all have children.
pub(super) const LINES_MAX: usize = 64;

/// One cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Line {
    pub(super) bounds: [u8; BOUNDS],
    /// Little-endian.
    pub(super) words: [[u8; 2]; WORDS],
}

const _: () = assert!(size_of::<Line>() == 64);

/// The number of a record or of a list; [`arena`](super::arena) says what its bits mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Node(pub(super) u32);

impl Node {
    /// Neither, and at the same time the number of a record whose only line is empty.
    pub(super) const NONE: Self = Self(8);
}

/// What a slot leads to: a value and, where longer prefixes exist, a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Branch {
    /// The record of the next eight bits, or a list, or [`Node::NONE`].
    pub(super) node: Node,
    /// The route of this level, if there is one.
    pub(super) value: Option<Value>,
}

impl Branch {
    pub(super) const NOWHERE: Self = Self { node: Node::NONE, value: None };
}

impl Line {
    pub(super) const EMPTY: Self = Self { bounds: [u8::MAX; BOUNDS], words: [[0; 2]; WORDS] };

    /// What `slot`, which is one of this line, leads to.
    ///
    /// Whether there is a child is as good as random, so nothing here depends on a jump: without a child the
    /// words of a branch are read from anywhere in the line and not used.
    #[inline(always)]
    pub(super) fn branch(&self, slot: u8) -> Branch {
        let entry = self.word(self.rank(slot));
        let is_child = entry & CHILD != 0;
        let at = usize::from(entry % 32).min(WORDS - BRANCH_WORDS);
        let node = u32::from(self.word(at)) | u32::from(self.word(at + 1)) << 16;
        let value = select_unpredictable(is_child, self.word(at + 2), entry);
        let node = select_unpredictable(is_child, node, Node::NONE.0);
        Branch { node: Node(node), value: Value::from_entry(value) }
    }

    #[inline(always)]
    pub(super) fn word(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.words[at])
    }

    /// The number of bounds below `slot`.
    ///
    /// It reads oddly so that it is compiled well: a saturating subtraction, a saturating addition that leaves
    /// an odd byte where the difference was not 0, and a sum, each of which SSE2 does for 16 bytes at once.
    /// Written as a comparison it is compiled to three times as many instructions, which count the ones of a
    /// mask bit by bit (Rust 1.95).
    #[inline(always)]
    fn rank(&self, slot: u8) -> usize {
        let below = self.bounds.iter().map(|bound| slot.saturating_sub(*bound).saturating_add(254) & 1);
        usize::from(below.fold(0, u8::wrapping_add))
    }

    /// The line for some neighboring slots, or `None` if it has no room for them.
    fn encode(slots: &Slots, first: u8, count: usize) -> Option<Self> {
        let mut line = Self::EMPTY;
        let (mut entries, mut end) = (0, WORDS);
        let mut before = None;
        for slot in (first..=u8::MAX).take(count) {
            let value = Value::to_entry(slots.values[usize::from(slot)]);
            let child = slots.child(usize::from(slot));
            if before == Some((value, child)) {
                continue;
            }
            if let Some(bound) = usize::checked_sub(entries, 1) {
                *line.bounds.get_mut(bound)? = slot - 1;
            }
            entries += 1;
            if child != Node::NONE {
                end = end.checked_sub(BRANCH_WORDS)?;
                let [a, b, c, d] = child.0.to_le_bytes();
                let branch = [[a, b], [c, d], value.to_le_bytes()];
                line.words[end..end + BRANCH_WORDS].copy_from_slice(&branch);
            }
            if entries > end {
                return None;
            }
            let place = CHILD | u16::try_from(end).unwrap_or_default();
            line.words[entries - 1] = if child == Node::NONE { value } else { place }.to_le_bytes();
            before = Some((value, child));
        }
        Some(line)
    }
}

/// A record that can be changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Slots {
    pub(super) values: [Option<Value>; SLOTS],
    /// The node below each slot. Neighbors may have the same list.
    children: [Node; SLOTS],
}

impl Slots {
    pub(super) const fn new() -> Self {
        Self { values: [None; SLOTS], children: [Node::NONE; SLOTS] }
    }

    /// True if no address would find anything here.
    pub(super) fn is_empty(&self) -> bool {
        self.children.iter().all(|node| *node == Node::NONE) && self.values.iter().all(Option::is_none)
    }

    /// The node below `slot`.
    pub(super) fn child(&self, slot: usize) -> Node {
        self.children[slot]
    }

    /// Sets or, with [`Node::NONE`], removes the node below `slot`.
    pub(super) fn set_child(&mut self, slot: usize, node: Node) {
        self.children[slot] = node;
    }

    /// The lines of the record, as few as possible.
    pub(super) fn encode(&self, lines: &mut Vec<Line>) {
        let mut slots_per_line = SLOTS;
        while !self.encode_lines(slots_per_line, lines) {
            slots_per_line /= 2;
        }
    }

    fn encode_lines(&self, slots_per_line: usize, lines: &mut Vec<Line>) -> bool {
        lines.clear();
        for first in (0..=u8::MAX).step_by(slots_per_line) {
            match Line::encode(self, first, slots_per_line) {
                Some(line) => lines.push(line),
                None => return false,
            }
        }
        true
    }

    /// The slots of a record.
    pub(super) fn decode(lines: &[Line]) -> Self {
        let mut slots = Self::new();
        let slots_per_line = SLOTS / lines.len().max(1);
        for slot in 0..=u8::MAX {
            let branch = lines[usize::from(slot) / slots_per_line].branch(slot);
            slots.values[usize::from(slot)] = branch.value;
            slots.children[usize::from(slot)] = branch.node;
        }
        slots
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(index: usize) -> Option<Value> {
        Some(Value::new(index).unwrap())
    }

    fn lines_of(slots: &Slots) -> usize {
        let mut lines = Vec::new();
        slots.encode(&mut lines);
        let decoded = Slots::decode(&lines);
        assert_eq!(decoded.values, slots.values);
        assert_eq!(decoded.children, slots.children);
        lines.len()
    }

    #[test]
    fn seventeen_runs_fit_a_line_and_eighteen_do_not() {
        let mut slots = Slots::new();
        assert_eq!(lines_of(&slots), 1);
        for run in 0..8 {
            slots.values[10 + 30 * run] = value(run);
        }
        assert_eq!(lines_of(&slots), 1, "8 routes between 9 gaps");
        slots.values[255] = value(0x7ffe);
        assert_eq!(lines_of(&slots), 2);
    }

    #[test]
    fn a_record_whose_slots_all_differ_takes_sixteen_lines() {
        let mut slots = Slots::new();
        for (index, slot) in slots.values.iter_mut().enumerate() {
            *slot = value(index);
        }
        assert_eq!(lines_of(&slots), 16);
    }

    #[test]
    fn a_record_whose_slots_all_have_children_is_the_longest() {
        let mut slots = Slots::new();
        for (slot, number) in (0..SLOTS).zip(0..) {
            slots.set_child(slot, Node(u32::MAX - number));
            slots.values[slot] = value(slot % 3 * 16_000);
        }
        assert_eq!(lines_of(&slots), LINES_MAX);
        (0..SLOTS).for_each(|slot| slots.set_child(slot, Node::NONE));
        assert_eq!(lines_of(&slots), 16);
    }

    #[test]
    fn neighbors_with_the_same_list_share_its_branch() {
        let mut slots = Slots::new();
        (64..128).for_each(|slot| slots.set_child(slot, Node(79)));
        slots.values[100..].fill(value(3));
        assert_eq!(lines_of(&slots), 1);
        let line = Line::encode(&slots, 0, SLOTS).unwrap();
        assert_eq!((line.branch(64), line.branch(99)), (line.branch(98), line.branch(64)));
        assert_eq!(line.branch(127), Branch { node: Node(79), value: value(3) });
        assert_eq!(line.branch(128), Branch { node: Node::NONE, value: value(3) });
    }

    #[test]
    fn a_child_parts_its_neighbors_with_the_same_value() {
        let mut slots = Slots::new();
        slots.values[7..250].fill(value(0));
        slots.set_child(100, Node(77));
        slots.set_child(101, Node(1 << 31 | 78));
        assert_eq!(lines_of(&slots), 1);
        let line = Line::encode(&slots, 0, SLOTS).unwrap();
        assert_eq!(line.branch(99), Branch { node: Node::NONE, value: value(0) });
        assert_eq!(line.branch(101), Branch { node: Node(1 << 31 | 78), value: value(0) });
        assert_eq!(line.branch(250), Branch::NOWHERE);
    }
}
