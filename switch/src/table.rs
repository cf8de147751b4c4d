//! The storage of the forwarding database: cache-line buckets and the keyed hash that picks two of them.

use crate::clock::Now;
use crate::sync::{AtomicU8, AtomicU64, Ordering, fence};
use crate::word::{Key, Word};

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

    /// The first entry of `key`, which is not zero.
    ///
    /// No early way out: seven compares without a branch cost less than one mispredicted one, and in which
    /// slot an entry lies is random.
    #[inline]
    pub(crate) fn find(&self, key: Key) -> Option<Slot<'_>> {
        let slot = self.first_where(|word| word.is_of(key))?;
        // An entry that went away since it was found was not there.
        slot.word.is_of(key).then_some(slot)
    }

    /// The stamp of an entry that is exactly this.
    #[inline]
    pub(crate) fn stamp_of(&self, entry: Word) -> Option<&AtomicU8> {
        self.first_where(|word| word == entry).map(|slot| slot.stamp)
    }

    /// The first slot whose word fulfilled `is_wanted`; its word is read a second time.
    #[inline]
    fn first_where(&self, is_wanted: impl Fn(Word) -> bool) -> Option<Slot<'_>> {
        let mut wanted = 0_u32;
        for (index, cell) in self.words.iter().enumerate() {
            // Relaxed: the word is whole in itself; the fence below orders the stamp behind it.
            wanted |= u32::from(is_wanted(Word(cell.load(Ordering::Relaxed)))) << index;
        }
        if wanted == 0 {
            return None;
        }
        let index = wanted.trailing_zeros() as usize;
        let (cell, stamp) = (self.words.get(index)?, self.stamps.get(index)?);
        let word = Word(cell.load(Ordering::Relaxed));
        // Acquire, partner of the Release in `Fdb::replace`: whoever sees an entry sees its first stamp.
        fence(Ordering::Acquire);
        Some(Slot { cell, stamp, word })
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
        self.words.iter().zip(&self.stamps).map(|(cell, stamp)| {
            // Acquire, partner of the Release in `Fdb::replace`, for the stamp as in `find`.
            Slot { cell, stamp, word: Word(cell.load(Ordering::Acquire)) }
        })
    }
}

/// A MAC and the two buckets in which its entry may lie.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Place {
    pub(crate) key: Key,
    first: u32,
    /// What picks the second bucket, which is seldom needed.
    rest: u32,
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
pub(crate) struct Table {
    buckets: Box<[Bucket]>,
    count: u32,
    keys: [u64; 3],
}

impl Table {
    /// A table with at least `slots_min` slots, and at least two buckets.
    pub(crate) fn new(slots_min: usize, seed: u64) -> Self {
        let count = u32::try_from(slots_min.div_ceil(SLOTS)).unwrap_or(u32::MAX).max(2);
        // Steps of SplitMix64 (Steele et al., "Fast splittable pseudorandom number generators", 2014):
        // the keys of two similar seeds have nothing in common.
        let keys = [1, 2, 3].map(|step: u64| {
            let mut key = seed.wrapping_add(step.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            key = (key ^ key >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            key = (key ^ key >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            key ^ key >> 31
        });
        Self { buckets: (0..count).map(|_| Bucket::new()).collect(), count, keys: keys.map(|key| key | 1) }
    }

    pub(crate) fn slots_count(&self) -> usize {
        self.buckets.len() * SLOTS
    }

    #[inline]
    pub(crate) fn locate(&self, key: Key) -> Place {
        let product = u128::from(key.0 ^ self.keys[0]) * u128::from(self.keys[1]);
        let [low, high] = halves(product);
        // The second multiplication is for numbered MACs, as one vendor or one plugin gives them out: without
        // it one in a hundred of such finds both its buckets full at the highest load.
        let hash = (low ^ high).wrapping_mul(self.keys[2]);
        let [rest, upper] = words(hash ^ (hash >> 29));
        Place { key, first: self.reduce(upper), rest }
    }

    /// Maps 32 bits evenly onto the buckets by a multiplication instead of a division (Lemire, "Fast random
    /// integer generation in an interval", 2019).
    #[inline]
    fn reduce(&self, bits: u32) -> u32 {
        words(u64::from(bits) * u64::from(self.count))[1]
    }

    fn next(&self, index: u32) -> u32 {
        if index + 1 < self.count { index + 1 } else { 0 }
    }

    #[inline]
    pub(crate) fn first(&self, place: Place) -> Option<&Bucket> {
        self.buckets.get(place.first as usize)
    }

    #[inline]
    pub(crate) fn second(&self, place: Place) -> Option<&Bucket> {
        let second = self.reduce(place.rest);
        let second = if second == place.first { self.next(second) } else { second };
        self.buckets.get(second as usize)
    }

    /// Loads the line of the first bucket, so that it is near when it is needed. Relaxed: the value is not
    /// used.
    #[inline]
    pub(crate) fn touch(&self, place: Place) -> u64 {
        let word = self.first(place).and_then(|bucket| bucket.words.first());
        word.map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// The entry of a MAC that is not zero.
    #[inline]
    pub(crate) fn find(&self, place: Place) -> Option<Slot<'_>> {
        self.first(place)?.find(place.key).or_else(|| self.find_second(place))
    }

    #[inline(never)]
    fn find_second(&self, place: Place) -> Option<Slot<'_>> {
        self.second(place)?.find(place.key)
    }

    /// The empty slot for a new entry: in the first bucket unless only its last one is free, else in the
    /// emptier one. `None` if both are full.
    pub(crate) fn slot_for_new(&self, place: Place) -> Option<Slot<'_>> {
        let (first, second) = (self.first(place)?, self.second(place)?);
        let load = first.load();
        let chosen = if load + 1 < SLOTS || load <= second.load() { first } else { second };
        chosen.empty_slot()
    }

    /// Both buckets of a place, in the order in which they are searched and filled.
    pub(crate) fn candidates(&self, place: Place) -> impl Iterator<Item = &Bucket> {
        self.first(place).into_iter().chain(self.second(place))
    }

    /// The `count` buckets behind the first one of a place.
    pub(crate) fn neighbors(&self, place: Place, count: usize) -> impl Iterator<Item = &Bucket> {
        let mut index = place.first;
        (0..count).filter_map(move |_| {
            index = self.next(index);
            self.buckets.get(index as usize)
        })
    }

    pub(crate) fn buckets(&self) -> impl Iterator<Item = &Bucket> {
        self.buckets.iter()
    }
}

/// Lower half first.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the two halves are what is wanted")]
const fn words(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}

/// Lower half first.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the two halves are what is wanted")]
const fn halves(product: u128) -> [u64; 2] {
    [product as u64, (product >> 64) as u64]
}
