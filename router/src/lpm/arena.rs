//! Where records live: pages that snapshots share.

use super::record::WORDS_MAX;
use std::sync::Arc;

/// Words of the unit in which room is given out: 16 bytes.
const GRANULE_WORDS: usize = 8;
/// Bits of a record's number that say where in its page it begins.
const GRANULE_BITS: u32 = 11;
/// Granules of a page.
const GRANULES: u16 = 1 << GRANULE_BITS;
/// Words of a page: 32 KiB. Smaller pages are copied faster when they change, but each snapshot counts a
/// reference to every page.
const PAGE_WORDS: usize = GRANULES as usize * GRANULE_WORDS;
/// Most pages: 1 GiB, a bound that no table of the number of routes allowed reaches.
const PAGES_MAX: usize = 1 << 15;

const _: () = assert!(WORDS_MAX <= PAGE_WORDS);

/// One page of words.
#[derive(Clone, Debug)]
#[repr(align(64))]
struct Page([u16; PAGE_WORDS]);

/// The pages of one table. To clone it is to share all of them: a clone never changes, for whoever changes a
/// page that is shared copies it first.
#[derive(Clone, Debug, Default)]
pub(super) struct Pages(Vec<Arc<Page>>);

/// The words of a record, as a view into its page.
#[derive(Clone, Copy)]
pub(super) struct Words<'a> {
    page: &'a [u16; PAGE_WORDS],
    start: usize,
}

impl Words<'_> {
    /// The word at `offset`, which lies within the record.
    #[inline(always)]
    pub(super) fn at(self, offset: usize) -> u16 {
        // A record never crosses the end of its page; the mask tells the compiler.
        self.page[(self.start + offset) % PAGE_WORDS]
    }
}

impl Pages {
    /// The record of this number.
    #[inline(always)]
    pub(super) fn record(&self, record: u32) -> Words<'_> {
        let (page, start) = place(record);
        Words { page: &self.0[page].0, start }
    }

    /// Bytes of all pages.
    pub(super) fn memory_bytes(&self) -> usize {
        self.0.len() * size_of::<Page>()
    }

    /// The words from the beginning of a record to the end of its page.
    fn from_record(&self, record: u32) -> &[u16] {
        let (page, start) = place(record);
        self.0[page].0.get(start..).unwrap_or_default()
    }
}

/// The page of a record and the word in it at which it begins.
#[inline(always)]
fn place(record: u32) -> (usize, usize) {
    let granule = record as usize % usize::from(GRANULES);
    (record as usize >> GRANULE_BITS, granule * GRANULE_WORDS)
}

/// Pages with what is needed to change them: which granules are free.
#[derive(Clone, Debug)]
pub(super) struct Arena {
    pages: Pages,
    free: Vec<FreeRuns>,
    /// No page before this one has room for the shortest record.
    first_free: usize,
}

impl Arena {
    /// An arena whose record 0 consists of `words`.
    pub(super) fn new(words: &[u16]) -> Self {
        let mut arena = Self { pages: Pages::default(), free: Vec::new(), first_free: 0 };
        let zero = arena.insert(words);
        debug_assert_eq!(zero, Some(0), "the first place of the first page");
        arena
    }

    pub(super) fn pages(&self) -> &Pages {
        &self.pages
    }

    /// The words of a record, and others behind it.
    pub(super) fn words(&self, record: u32) -> &[u16] {
        self.pages.from_record(record)
    }

    /// Stores a record; `None` if no page can be added.
    pub(super) fn insert(&mut self, words: &[u16]) -> Option<u32> {
        let granules = granules(words.len());
        let candidates = self.free.iter().enumerate().skip(self.first_free);
        let page = candidates.map(|(page, _)| page).find(|page| self.free[*page].longest >= granules);
        let page = match page {
            Some(page) => page,
            None => self.add_page()?,
        };
        let start = self.free[page].take(granules)?;
        while self.free.get(self.first_free).is_some_and(|free| free.longest < granules_min()) {
            self.first_free += 1;
        }
        let record = u32::try_from(page << GRANULE_BITS).ok()? | u32::from(start);
        self.write(record, words);
        Some(record)
    }

    /// Stores another record in place of one of `old_words` words. It keeps its number if it needs as much
    /// room. `None`, and nothing has changed, if no page can be added.
    pub(super) fn replace(&mut self, record: u32, old_words: usize, words: &[u16]) -> Option<u32> {
        if granules(old_words) == granules(words.len()) {
            self.write(record, words);
            return Some(record);
        }
        let replacement = self.insert(words)?;
        self.remove(record, old_words);
        Some(replacement)
    }

    /// Gives the room of a record of this length back.
    pub(super) fn remove(&mut self, record: u32, words: usize) {
        let page = record as usize >> GRANULE_BITS;
        let start = u16::try_from(record % u32::from(GRANULES)).unwrap_or_default();
        self.free[page].give_back(start, granules(words));
        self.first_free = self.first_free.min(page);
        while self.free.len() > 1 && self.free.last().is_some_and(|free| free.longest == GRANULES) {
            self.free.pop();
            self.pages.0.pop();
        }
    }

    fn write(&mut self, record: u32, words: &[u16]) {
        let (page, start) = place(record);
        let page = Arc::make_mut(&mut self.pages.0[page]);
        page.0[start..start + words.len()].copy_from_slice(words);
    }

    fn add_page(&mut self) -> Option<usize> {
        if self.free.len() == PAGES_MAX {
            return None;
        }
        self.pages.0.push(Arc::new(Page([0; PAGE_WORDS])));
        self.free.push(FreeRuns::all());
        Some(self.free.len() - 1)
    }
}

/// Granules that so many words need.
fn granules(words: usize) -> u16 {
    u16::try_from(words.div_ceil(GRANULE_WORDS)).unwrap_or(u16::MAX)
}

/// Granules of the shortest record.
fn granules_min() -> u16 {
    granules(super::record::ENTRIES + 1)
}

/// The free granules of a page: runs, in order, that do not touch.
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
        Self { runs: vec![Run { start: 0, length: GRANULES }], longest: GRANULES }
    }

    /// Takes the beginning of the first run that is long enough.
    fn take(&mut self, granules: u16) -> Option<u16> {
        let position = self.runs.iter().position(|run| run.length >= granules)?;
        let run = &mut self.runs[position];
        let start = run.start;
        *run = Run { start: start + granules, length: run.length - granules };
        if run.length == 0 {
            self.runs.remove(position);
        }
        self.find_longest();
        Some(start)
    }

    /// Makes granules free that were taken, and joins them with their neighbors.
    fn give_back(&mut self, start: u16, granules: u16) {
        let next = self.runs.partition_point(|run| run.start < start);
        debug_assert!(self.runs.get(next).is_none_or(|run| start + granules <= run.start), "it was taken");
        let mut freed = Run { start, length: granules };
        if let Some(run) = self.runs.get(next).filter(|run| run.start == start + granules) {
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
    use super::*;

    #[test]
    fn room_given_back_is_joined_and_used_again() {
        let mut free = FreeRuns::all();
        let starts: Vec<u16> = (0..4).map(|_| free.take(100).unwrap()).collect();
        assert_eq!(starts, [0, 100, 200, 300]);
        free.give_back(100, 100);
        free.give_back(300, 100);
        assert_eq!(free.runs, [Run { start: 100, length: 100 }, Run { start: 300, length: GRANULES - 300 }]);
        free.give_back(200, 100);
        assert_eq!(free.runs, [Run { start: 100, length: GRANULES - 100 }]);
        assert_eq!((free.take(GRANULES), free.take(GRANULES - 100), free.take(1)), (None, Some(100), None));
        free.give_back(0, 100);
        assert_eq!((free.take(101), free.take(100), free.longest), (None, Some(0), 0));
    }

    #[test]
    fn a_clone_of_the_pages_does_not_see_what_is_written_later() {
        let mut arena = Arena::new(&[7; 40]);
        let record = arena.insert(&[1; 50]).unwrap();
        let before = arena.pages().clone();
        assert_eq!(arena.replace(record, 50, &[2; 50]), Some(record));
        let longer = arena.replace(record, 50, &[3; 500]).unwrap();
        assert_ne!(longer, record);
        let reused = arena.insert(&[4; 50]).unwrap();
        assert_eq!(reused, record, "the room of the record that moved");
        assert_eq!((before.record(record).at(0), before.record(record).at(49)), (1, 1));
        assert_eq!((arena.pages().record(record).at(49), arena.pages().record(longer).at(499)), (4, 3));
    }

    #[test]
    fn pages_that_empty_at_the_end_are_given_up() {
        let mut arena = Arena::new(&[0; 40]);
        let records: Vec<u32> = (0..100).map(|_| arena.insert(&[1; WORDS_MAX]).unwrap()).collect();
        let full = arena.pages().memory_bytes();
        assert!(full > 100 * 2 * WORDS_MAX && full < 120 * 2 * WORDS_MAX, "{full}");
        records.iter().for_each(|record| arena.remove(*record, WORDS_MAX));
        assert_eq!(arena.pages().memory_bytes(), size_of::<Page>());
    }
}
