//! The storage of the forwarding database: cache-line buckets and the keyed hash that picks two of them.

use crate::clock::Now;
use crate::sync::{AtomicU8, AtomicU64, Ordering, fence};
use crate::word::Word;
use packet::MacAddress;

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

    /// The first entry of `mac`, which is not zero.
    ///
    /// No early way out: seven compares without a branch cost less than one mispredicted one, and in which
    /// slot an entry lies is random.
    #[inline]
    pub(crate) fn find(&self, mac: MacAddress) -> Option<Slot<'_>> {
        let mut found = (0, Word::EMPTY);
        for (index, cell) in self.words.iter().enumerate().rev() {
            // Relaxed: the word is whole in itself; the fence below orders the stamp behind it.
            let word = Word(cell.load(Ordering::Relaxed));
            if word.is_of(mac) {
                found = (index, word);
            }
        }
        let (index, word) = found;
        if word.is_empty() {
            return None;
        }
        // Acquire, partner of the Release in `Fdb::replace`: whoever sees an entry sees its first stamp.
        fence(Ordering::Acquire);
        Some(Slot { cell: self.words.get(index)?, stamp: self.stamps.get(index)?, word })
    }

    /// Every slot, the empty ones too.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Slot<'_>> {
        self.words.iter().zip(&self.stamps).map(|(cell, stamp)| {
            // Acquire, partner of the Release in `Fdb::replace`, for the stamp as in `find`.
            Slot { cell, stamp, word: Word(cell.load(Ordering::Acquire)) }
        })
    }

    /// Loads the bucket's line, so that it is near when it is needed. Relaxed: the value is not used.
    #[inline]
    pub(crate) fn touch(&self) -> u64 {
        self.words.first().map_or(0, |word| word.load(Ordering::Relaxed))
    }
}

/// The two buckets in which the entry of a MAC may lie.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Place {
    first: u32,
    second: u32,
}

/// A fixed array of buckets.
///
/// A MAC may lie in two buckets; it is put into the first unless that one is full, so that at the load of at
/// most one half 97 of 100 look-ups end at one cache line.
///
/// **Collision attacks.** The hash is a folded multiplication keyed by a random 64-bit seed: fast, and not
/// cryptographic. It need not be. Whoever finds colliding MACs gains nothing in time, for a look-up reads at
/// most two buckets whatever they hold; and nothing in space, for fourteen colliding entries of one port are
/// evicted by the first newcomer of a port that has fewer (`Fdb::evict`).
#[derive(Debug)]
pub(crate) struct Table {
    buckets: Box<[Bucket]>,
    count: u32,
    keys: [u64; 2],
}

impl Table {
    /// A table with at least `slots_min` slots, and at least two buckets.
    pub(crate) fn new(slots_min: usize, seed: u64) -> Self {
        let count = u32::try_from(slots_min.div_ceil(SLOTS)).unwrap_or(u32::MAX).max(2);
        // Two steps of SplitMix64 (Steele et al., "Fast splittable pseudorandom number generators", 2014):
        // the keys of two similar seeds have nothing in common.
        let keys = [1, 2].map(|step: u64| {
            let mut key = seed.wrapping_add(step.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            key = (key ^ key >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            key = (key ^ key >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            key ^ key >> 31
        });
        Self { buckets: (0..count).map(|_| Bucket::new()).collect(), count, keys: [keys[0], keys[1] | 1] }
    }

    pub(crate) fn slots_count(&self) -> usize {
        self.buckets.len() * SLOTS
    }

    #[inline]
    pub(crate) fn locate(&self, mac: MacAddress) -> Place {
        let product = u128::from(mac.to_u64() ^ self.keys[0]) * u128::from(self.keys[1]);
        let [low, high] = halves(product);
        let hash = low ^ high;
        let (first, second) = (self.reduce(hash >> 32), self.reduce(hash & 0xffff_ffff));
        Place { first, second: if second == first { self.next(first) } else { second } }
    }

    /// Maps 32 bits evenly onto the buckets by a multiplication instead of a division (Lemire, "Fast random
    /// integer generation in an interval", 2019).
    #[inline]
    fn reduce(&self, bits: u64) -> u32 {
        let scaled = bits * u64::from(self.count) >> 32;
        scaled.try_into().unwrap_or(0)
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
        self.buckets.get(place.second as usize)
    }

    /// The entry of `mac`, which is not zero, at its place.
    #[inline]
    pub(crate) fn find(&self, mac: MacAddress, place: Place) -> Option<Slot<'_>> {
        self.first(place)?.find(mac).or_else(|| self.second(place)?.find(mac))
    }

    /// Both buckets of a place, in the order in which they are searched and filled.
    pub(crate) fn candidates(&self, place: Place) -> impl Iterator<Item = &Bucket> {
        self.first(place).into_iter().chain(self.second(place))
    }

    /// The `count` buckets behind the first one of a place.
    pub(crate) fn neighbors(&self, place: Place, count: usize) -> impl Iterator<Item = &Bucket> {
        self.buckets.iter().cycle().skip(place.first as usize + 1).take(count)
    }

    pub(crate) fn buckets(&self) -> impl Iterator<Item = &Bucket> {
        self.buckets.iter()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the two halves are what is wanted")]
const fn halves(product: u128) -> [u64; 2] {
    [product as u64, (product >> 64) as u64]
}
