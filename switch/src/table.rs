//! The storage of the forwarding database: cache-line buckets and the keyed hash that picks two of them.

use crate::clock::Now;
use crate::sync::{AtomicU8, AtomicU64, Ordering, fence};
use crate::word::{Key, MAC_SHIFT, Word};
use packet::{PortId, Random};
use std::hint::select_unpredictable;

/// Entries of a bucket: seven words and their stamps fill one cache line.
pub(crate) const SLOTS: usize = if cfg!(loom) { 2 } else { 7 };

/// One cache line. The eighth stamp is padding.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Bucket {
    words: [AtomicU64; SLOTS],
    stamps: [AtomicU8; SLOTS + 1],
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Bucket>() == 64);

/// Where an entry lives, and its word when it was looked at.
#[derive(Clone, Copy)]
pub(crate) struct Slot<'a> {
    pub(crate) cell: &'a AtomicU64,
    pub(crate) stamp: &'a AtomicU8,
    /// Position in the bucket.
    pub(crate) index: u8,
    pub(crate) word: Word,
}

impl Slot<'_> {
    /// True for a static entry and for a learned one that has not expired.
    #[inline]
    pub(crate) fn is_live(&self, now: Now) -> bool {
        // Relaxed: ordered behind the word by the fence or load that gave it.
        self.word.is_static() || !now.is_expired(self.stamp.load(Ordering::Relaxed))
    }
}

impl Bucket {
    fn new() -> Self {
        Self {
            words: std::array::from_fn(|_| AtomicU64::new(Word::EMPTY.0)),
            stamps: std::array::from_fn(|_| AtomicU8::new(0)),
        }
    }

    /// The entry of `key`, which is not zero.
    ///
    /// No early way out: seven compares without a branch cost less than one mispredicted one, and in which
    /// slot an entry lies is random.
    #[inline]
    pub(crate) fn find(&self, key: Key) -> Option<Word> {
        let mut found = u64::MAX;
        for cell in &self.words {
            // Relaxed: the word is whole in itself; the fence below orders the stamp behind it.
            let differs = cell.load(Ordering::Relaxed) ^ key.0;
            found = select_unpredictable(differs < 1 << MAC_SHIFT, differs, found);
        }
        let word = Word(found ^ key.0);
        if !word.is_of(key) {
            return None;
        }
        // Acquire, partner of the Release in `Fdb::replace`: whoever sees an entry sees its first stamp.
        fence(Ordering::Acquire);
        Some(word)
    }

    /// The stamp of an entry that was found here.
    #[inline]
    pub(crate) fn stamp(&self, word: Word) -> &AtomicU8 {
        // Never out of bounds: a slot is below 8, and there are 8 stamps.
        self.stamps.get(word.slot()).unwrap_or(&self.stamps[0])
    }

    /// The port of an entry that was found here, if it is live.
    #[inline]
    pub(crate) fn live_port(&self, word: Word, now: Now) -> Option<PortId> {
        if self.is_live(word, now) { word.port() } else { None }
    }

    /// True for a static entry that was found here and for a learned one that has not expired.
    #[inline]
    fn is_live(&self, word: Word, now: Now) -> bool {
        // Relaxed: ordered behind the word by the fence that followed it.
        !now.is_expired(self.stamp(word).load(Ordering::Relaxed)) || word.is_static()
    }

    /// The slot of an entry that was found here.
    fn slot(&self, word: Word) -> Option<Slot<'_>> {
        let index = word.slot();
        Some(Slot {
            cell: self.words.get(index)?,
            stamp: self.stamps.get(index)?,
            index: index.to_le_bytes()[0],
            word,
        })
    }

    /// Entries.
    fn load(&self) -> usize {
        self.slots().filter(|slot| !slot.word.is_empty()).count()
    }

    fn empty_slot(&self) -> Option<Slot<'_>> {
        self.slots().find(|slot| slot.word.is_empty())
    }

    /// Every slot, the empty ones too.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Slot<'_>> {
        (0..).zip(self.words.iter().zip(&self.stamps)).map(|(index, (cell, stamp))| {
            // Acquire, partner of the Release in `Fdb::replace`, for the stamp as in `find`.
            Slot { cell, stamp, index, word: Word(cell.load(Ordering::Acquire)) }
        })
    }
}

/// A MAC and the two buckets in which its entry may lie.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Place {
    pub(crate) key: Key,
    first: u32,
}

/// A fixed array of buckets.
///
/// A MAC may lie in two buckets. It is put into the first unless only the last slot of that one is free, else
/// into the emptier one. So at the highest load, one half, 97 of 100 look-ups of known MACs end at one cache
/// line, and of a million MACs but six find no place (with the first bucket filled up it would be 300).
///
/// **Collision attacks.** The hash is a folded multiplication keyed by a random 64-bit seed: fast, and not
/// cryptographic. It need not be. Whoever finds colliding MACs gains nothing in time, for a look-up reads at
/// most two buckets whatever they hold; and nothing in space, for fourteen colliding entries of one port are
/// evicted by the first newcomer of a port that has fewer (`Fdb::evict`).
#[derive(Debug)]
pub(crate) struct Storage {
    buckets: Box<[Bucket]>,
    keys: [u64; 3],
}

impl Storage {
    /// A table with at least `slots_min` slots, and at least two buckets.
    pub(crate) fn new(slots_min: usize, seed: u64) -> Self {
        let count = u32::try_from(slots_min.div_ceil(SLOTS)).unwrap_or(u32::MAX).max(2);
        let mut random = Random::new(seed);
        let keys = std::array::from_fn(|_| random.draw() | 1);
        Self { buckets: (0..count).map(|_| Bucket::new()).collect(), keys }
    }

    #[inline]
    pub(crate) fn table(&self) -> Table<'_> {
        Table { buckets: &self.buckets, keys: self.keys }
    }
}

/// The fields of a [`Storage`] as values, which stay in registers: behind a reference the compiler would read
/// them anew after each access to an atomic.
#[derive(Clone, Copy)]
pub(crate) struct Table<'a> {
    buckets: &'a [Bucket],
    keys: [u64; 3],
}

impl<'a> Table<'a> {
    pub(crate) fn slots_count(self) -> usize {
        self.buckets.len() * SLOTS
    }

    /// True if the table exceeds the nearer caches (of 1 MiB on the reference machine), so that it pays to
    /// ask for buckets ahead.
    #[inline]
    pub(crate) fn is_far(self) -> bool {
        size_of_val(self.buckets) > 512 * 1024
    }

    #[inline]
    fn hash(self, key: Key) -> u64 {
        let product = u128::from(key.0 ^ self.keys[0]) * u128::from(self.keys[1]);
        let [low, high] = halves(product);
        // The second multiplication is for numbered MACs, as one vendor or one plugin gives them out: without
        // it one in a hundred of such finds both its buckets full at the highest load.
        (low ^ high).wrapping_mul(self.keys[2])
    }

    #[inline]
    pub(crate) fn locate(self, key: Key) -> Place {
        Place { key, first: self.reduce(self.hash(key) >> 32) }
    }

    /// Maps 32 bits evenly onto the buckets by a multiplication instead of a division (Lemire, "Fast random
    /// integer generation in an interval", 2019).
    #[inline]
    fn reduce(self, bits: u64) -> u32 {
        upper(bits.wrapping_mul(self.buckets.len() as u64))
    }

    fn next(self, index: u32) -> u32 {
        if (index as usize) + 1 < self.buckets.len() { index + 1 } else { 0 }
    }

    #[inline]
    pub(crate) fn first(self, place: Place) -> Option<&'a Bucket> {
        self.buckets.get(place.first as usize)
    }

    /// The other bucket; which one it is, is seldom asked and computed only then.
    pub(crate) fn second(self, place: Place) -> Option<&'a Bucket> {
        let hash = self.hash(place.key);
        let second = self.reduce((hash ^ hash >> 29) & 0xffff_ffff);
        let second = if second == place.first { self.next(second) } else { second };
        self.buckets.get(second as usize)
    }

    /// Loads the line of the first bucket, so that it is near when it is needed. Relaxed: the value is not
    /// used.
    #[inline]
    pub(crate) fn touch(self, place: Place) -> u64 {
        let word = self.first(place).and_then(|bucket| bucket.words.first());
        word.map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// The slot of a MAC that is not zero.
    pub(crate) fn find(self, place: Place) -> Option<Slot<'a>> {
        self.candidates(place).find_map(|bucket| bucket.find(place.key).and_then(|word| bucket.slot(word)))
    }

    /// The empty slot for a new entry: in the first bucket unless only its last one is free, else in the
    /// emptier one. `None` if both are full.
    pub(crate) fn slot_for_new(self, place: Place) -> Option<Slot<'a>> {
        let (first, second) = (self.first(place)?, self.second(place)?);
        let load = first.load();
        let chosen = if load + 1 < SLOTS || load <= second.load() { first } else { second };
        chosen.empty_slot()
    }

    /// Both buckets of a place, in the order in which they are searched and filled.
    pub(crate) fn candidates(self, place: Place) -> impl Iterator<Item = &'a Bucket> {
        self.first(place).into_iter().chain(self.second(place))
    }

    /// The `count` buckets behind the first one of a place.
    pub(crate) fn neighbors(self, place: Place, count: usize) -> impl Iterator<Item = &'a Bucket> {
        let mut index = place.first;
        (0..count).filter_map(move |_| {
            index = self.next(index);
            self.buckets.get(index as usize)
        })
    }

    pub(crate) fn buckets(self) -> impl Iterator<Item = &'a Bucket> {
        self.buckets.iter()
    }
}

#[inline]
const fn upper(value: u64) -> u32 {
    (value >> 32) as u32
}

/// Lower half first.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the two halves are what is wanted")]
const fn halves(product: u128) -> [u64; 2] {
    [product as u64, (product >> 64) as u64]
}
