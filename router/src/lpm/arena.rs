//! Where records live: pages of lines that snapshots share.

use super::record::{LINES_MAX, Line, Node, SLOTS};
use std::sync::Arc;

/// Bits of a node's number that say for how many slots one of its lines stands: by how many bits a slot is to be
/// shifted to give its line.
const SHIFT_BITS: u32 = 4;
/// The shift of a node with one line.
const ONE_LINE: u32 = 8;
/// Set in the number of a list.
const LIST: u32 = 1 << 31;
/// Bits of a node's number, above those, that say which line of a page is its first.
const LINE_BITS: u32 = 9;
/// Lines of a page: 32 KiB. Smaller pages are copied faster when they change, but each snapshot counts a
/// reference to every page.
const LINES: u16 = 1 << LINE_BITS;
/// Pages at which an arena is full: 1 GiB.
const PAGES_MAX: usize = 1 << 15;

const _: () = assert!(LINES_MAX <= LINES as usize);
const _: () = assert!(2 * PAGES_MAX <= 1 << (u32::BITS - 1 - LINE_BITS - SHIFT_BITS));

/// One page.
type Page = [Line; LINES as usize];

/// The pages of one table. To clone it is to share all of them: a clone never changes, for whoever changes a
/// page that is shared copies it first.
#[derive(Clone, Debug, Default)]
pub(super) struct Pages(Vec<Arc<Page>>);

impl Pages {
    /// The line of `slot` in a record.
    #[inline(always)]
    pub(super) fn line(&self, record: Node, slot: u8) -> &Line {
        let (page, first, shift) = place(record);
        let line = first.wrapping_add(usize::from(slot) >> shift);
        // A record never crosses the end of its page; the remainder tells the compiler.
        &self.0[page][line % usize::from(LINES)]
    }

    /// The line of a list.
    #[inline(always)]
    pub(super) fn list(&self, Node(list): Node) -> &Line {
        let (page, line, _) = place(Node(list % LIST));
        &self.0[page][line]
    }

    /// Bytes of all pages.
    pub(super) fn memory_bytes(&self) -> usize {
        self.0.len() * size_of::<Page>()
    }
}

impl Node {
    /// True for a list, false for a record and for [`Node::NONE`].
    #[inline(always)]
    pub(super) fn is_list(self) -> bool {
        self.0 >= LIST
    }

    /// The number of its lines.
    fn lines(self) -> usize {
        let (_, _, shift) = place(self);
        SLOTS >> shift
    }
}

/// The page of a record, its first line there, and its shift.
#[inline(always)]
fn place(Node(node): Node) -> (usize, usize, u32) {
    let shift = node % (1 << SHIFT_BITS);
    let first = (node >> SHIFT_BITS) as usize % usize::from(LINES);
    ((node >> (SHIFT_BITS + LINE_BITS)) as usize, first, shift)
}

/// Pages with what is needed to change them: which lines are free.
#[derive(Clone, Debug)]
pub(super) struct Arena {
    pages: Pages,
    free: Vec<FreeRuns>,
    /// Every page before this one is full.
    first_free: usize,
}

impl Arena {
    /// An arena with but the empty record, [`Node::NONE`].
    pub(super) fn new() -> Self {
        let mut arena = Self { pages: Pages::default(), free: Vec::new(), first_free: 0 };
        let none = arena.insert(&[Line::EMPTY]);
        debug_assert_eq!(none, Node::NONE, "the first line of the first page");
        arena
    }

    pub(super) fn pages(&self) -> &Pages {
        &self.pages
    }

    /// True if no route should be added. What a change of one route needs is there nevertheless.
    pub(super) fn is_full(&self) -> bool {
        self.free.len() >= PAGES_MAX
    }

    /// The lines of a node.
    pub(super) fn lines(&self, node: Node) -> &[Line] {
        let (page, first, _) = place(Node(node.0 % LIST));
        &self.pages.0[page][first..first + node.lines()]
    }

    /// Stores a record of a power of two of lines, at most [`LINES_MAX`].
    pub(super) fn insert(&mut self, lines: &[Line]) -> Node {
        let shift = (SLOTS / lines.len()).trailing_zeros();
        let node = Node(self.find_room(lines.len()) | shift);
        self.write(node, lines);
        node
    }

    /// Stores a list.
    pub(super) fn insert_list(&mut self, line: Line) -> Node {
        let place = self.find_room(1) | ONE_LINE;
        self.write(Node(place), &[line]);
        Node(place | LIST)
    }

    /// Takes so many lines, and gives the upper bits of their number.
    fn find_room(&mut self, lines: usize) -> u32 {
        debug_assert!(lines.is_power_of_two() && lines <= LINES_MAX, "{lines}");
        let wanted = u16::try_from(lines).unwrap_or(LINES);
        let page = self.page_with(wanted);
        let first = self.free[page].take(wanted);
        while self.free.get(self.first_free).is_some_and(|free| free.longest == 0) {
            self.first_free += 1;
        }
        let place = u32::try_from(page << LINE_BITS).unwrap_or_default() | u32::from(first);
        place << SHIFT_BITS
    }

    /// Stores another record in place of this one. It keeps its number if it has as many lines.
    pub(super) fn replace(&mut self, record: Node, lines: &[Line]) -> Node {
        if record.lines() == lines.len() {
            self.write(record, lines);
            return record;
        }
        self.remove(record);
        self.insert(lines)
    }

    /// Gives the room of a node back.
    pub(super) fn remove(&mut self, node: Node) {
        let (page, first, _) = place(Node(node.0 % LIST));
        let lines = u16::try_from(node.lines()).unwrap_or(LINES);
        self.free[page].give_back(u16::try_from(first).unwrap_or_default(), lines);
        self.first_free = self.first_free.min(page);
        while self.free.last().is_some_and(|free| free.longest == LINES) {
            self.free.pop();
            self.pages.0.pop();
        }
    }

    fn write(&mut self, record: Node, lines: &[Line]) {
        let (page, first, _) = place(record);
        let page = Arc::make_mut(&mut self.pages.0[page]);
        page[first..first + lines.len()].copy_from_slice(lines);
    }

    /// The first page with so many free lines in a row.
    fn page_with(&mut self, lines: u16) -> usize {
        let from = self.first_free;
        let page = self.free.iter().skip(from).position(|free| free.longest >= lines);
        page.map_or_else(|| self.add_page(), |page| page + from)
    }

    fn add_page(&mut self) -> usize {
        self.pages.0.push(Arc::new([Line::EMPTY; LINES as usize]));
        self.free.push(FreeRuns::all());
        self.free.len() - 1
    }
}

/// The free lines of a page: runs, in order, that do not touch.
#[derive(Clone, Debug)]
struct FreeRuns {
    runs: Vec<Run>,
    /// Length of the longest run.
    longest: u16,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Run {
    start: u16,
    length: u16,
}

impl FreeRuns {
    fn all() -> Self {
        Self { runs: vec![Run { start: 0, length: LINES }], longest: LINES }
    }

    /// Takes the beginning of the first run that is long enough, of which there is one.
    fn take(&mut self, lines: u16) -> u16 {
        let position = self.runs.iter().position(|run| run.length >= lines);
        debug_assert!(position.is_some(), "{lines} of {}", self.longest);
        let Some(position) = position else { return 0 };
        let run = &mut self.runs[position];
        let start = run.start;
        *run = Run { start: start + lines, length: run.length - lines };
        if run.length == 0 {
            self.runs.remove(position);
        }
        self.find_longest();
        start
    }

    /// Makes lines free that were taken, and joins them with their neighbors.
    fn give_back(&mut self, start: u16, lines: u16) {
        let next = self.runs.partition_point(|run| run.start < start);
        debug_assert!(self.runs.get(next).is_none_or(|run| start + lines <= run.start), "it was taken");
        let mut freed = Run { start, length: lines };
        if let Some(run) = self.runs.get(next).filter(|run| run.start == start + lines) {
            freed.length += run.length;
            self.runs.remove(next);
        }
        match next.checked_sub(1).and_then(|before| self.runs.get_mut(before)) {
            Some(before) if before.start + before.length == freed.start => before.length += freed.length,
            _ => self.runs.insert(next, freed),
        }
        self.find_longest();
    }

    fn find_longest(&mut self) {
        self.longest = self.runs.iter().map(|run| run.length).max().unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Value;
    use super::super::record::{Branch, Slots};
    use super::*;

    /// A record of `count` lines in whose slots the value `index` stands.
    fn lines(count: usize, index: usize) -> Vec<Line> {
        let (mut slots, mut lines) = (Slots::new(), Vec::new());
        slots.values.fill(Value::new(index));
        slots.encode(&mut lines);
        vec![lines[0]; count]
    }

    fn at(pages: &Pages, record: Node, slot: u8) -> usize {
        let Branch { value, .. } = pages.line(record, slot).branch(slot);
        value.unwrap().index()
    }

    #[test]
    fn room_given_back_is_joined_and_used_again() {
        let mut free = FreeRuns::all();
        let starts: Vec<u16> = (0..4).map(|_| free.take(64)).collect();
        assert_eq!(starts, [0, 64, 128, 192]);
        free.give_back(64, 64);
        free.give_back(192, 64);
        assert_eq!(free.runs, [Run { start: 64, length: 64 }, Run { start: 192, length: LINES - 192 }]);
        free.give_back(128, 64);
        assert_eq!(free.runs, [Run { start: 64, length: LINES - 64 }]);
        assert_eq!((free.take(LINES - 64), free.longest), (64, 0));
        free.give_back(0, 64);
        assert_eq!((free.longest, free.take(32), free.take(32), free.longest), (64, 0, 32, 0));
    }

    #[test]
    fn a_clone_of_the_pages_does_not_see_what_is_written_later() {
        let mut arena = Arena::new();
        let record = arena.insert(&lines(2, 1));
        let before = arena.pages().clone();
        assert_eq!(arena.replace(record, &lines(2, 2)), record);
        let longer = arena.replace(record, &lines(8, 3));
        assert_ne!(longer, record);
        let reused = arena.insert(&lines(2, 4));
        assert_eq!((at(&before, record, 0), at(&before, record, 255)), (1, 1));
        assert_eq!((at(arena.pages(), reused, 255), at(arena.pages(), longer, 255)), (4, 3));
    }

    #[test]
    fn pages_that_empty_at_the_end_are_given_up() {
        let mut arena = Arena::new();
        let records: Vec<Node> = (0..100).map(|_| arena.insert(&lines(LINES_MAX, 7))).collect();
        assert_eq!(
            arena.pages().memory_bytes(),
            13 * size_of::<Page>(),
            "seven in the first, eight in others"
        );
        records.iter().for_each(|record| arena.remove(*record));
        assert_eq!(arena.pages().memory_bytes(), size_of::<Page>());
    }
}
