//! The forwarding database: which port a MAC was last seen on.
//!
//! # Theory of operation
//! **Storage.** A fixed array of cache-line buckets, at least twice as many slots as MACs allowed, nothing
//! allocated after [`Fdb::new`]. An entry is one atomic word (MAC, static flag, port) and one byte that says
//! when it was last seen. Entries never change their slot, so a reader needs no version and no retry.
//!
//! **Readers** are wait-free: at most two buckets. What they report is one whole word, so they never name a
//! port on which the MAC was not learned or set. If the slot is reused between a reader's word and its stamp
//! (ABA), the reader judges the age of a younger entry: the port it names was still right when it read it.
//!
//! **Writers** replace a word by compare-and-swap with bounded retries, and lock nothing; a stalled writer
//! delays nobody. Only what changes is written: a known MAC costs a write a two-hundredth of the aging time.
//! Two writers may insert one MAC into different slots; each looks again after its insertion and removes all
//! copies but the static one, or else the first in order of search, so both keep the same one.
//!
//! **Aging** is coarse, see [`crate::clock`]. An entry that comes alive in the very moment in which the
//! sweep takes it away is lost: the next frame teaches it anew.
//!
//! **Fairness.** Learned MACs are bounded a port and in all. Where a place is missing, the entry given up is
//! of the port with the most learned MACs among those at hand, the longest idle of these; never a static
//! one, never one of a port that has no more than the newcomer's port would have; if there is none, the
//! newcomer is refused. So a pod that invents a million MACs evicts its own.

mod control;
mod learn;
#[cfg(all(test, not(loom)))]
mod tests;

use crate::clock::{AgingClock, Now};
use crate::counts::Counts;
use crate::sync::{AtomicU64, AtomicUsize, Ordering};
use crate::table::{Place, Storage, Table};
use crate::word::{Key, Word};
pub use control::{EntryKind, FdbEntry, FdbError, FdbStatistics};
pub use learn::Learned;
use packet::{MacAddress, PortId};

/// Bounds of a forwarding database.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FdbLimits {
    /// Most learned MACs in all. Static entries are not counted.
    pub macs_max: usize,
    /// Most learned MACs of one port; 0: no limit.
    pub macs_per_port_max: usize,
    /// Time without a frame after which a learned MAC is forgotten; kept to within 1 %. 0: nothing is
    /// learned, as on the kernel's bridge.
    pub aging_ms: u64,
}

/// The forwarding database, shared by all workers and the control side; how it works
/// stands at the top of its source file.
#[derive(Debug)]
pub struct Fdb {
    storage: Storage,
    counts: Counts,
    events: Events,
    macs_max: AtomicUsize,
    macs_per_port_max: AtomicUsize,
    /// An [`AgingClock`].
    clock: AtomicU64,
    /// When the last sweep began, in ms.
    swept_ms: AtomicU64,
}

/// What happened since the start. Relaxed: each count publishes nothing but itself.
#[derive(Debug)]
struct Events {
    moved: AtomicU64,
    evicted: AtomicU64,
    refused: AtomicU64,
}

impl Fdb {
    /// An empty table of fixed size: `2 * limits.macs_max` slots, a few hundred at least. `seed` is to be
    /// random and secret: it keys the hash.
    #[must_use]
    pub fn new(limits: FdbLimits, seed: u64) -> Self {
        let slots_min = if cfg!(loom) { 0 } else { limits.macs_max.saturating_mul(2).max(512) };
        Self {
            storage: Storage::new(slots_min, seed),
            counts: Counts::new(),
            events: Events {
                moved: AtomicU64::new(0),
                evicted: AtomicU64::new(0),
                refused: AtomicU64::new(0),
            },
            macs_max: AtomicUsize::new(limits.macs_max),
            macs_per_port_max: AtomicUsize::new(limits.macs_per_port_max),
            clock: AtomicU64::new(AgingClock::new(limits.aging_ms).to_bits()),
            swept_ms: AtomicU64::new(0),
        }
    }

    /// The port behind which `mac` is, or `None` if it is not known or was not seen for the aging time.
    pub fn lookup(&self, mac: MacAddress, now_ms: u64) -> Option<PortId> {
        let now = self.now(now_ms);
        let key = Key::new(mac);
        if key.is_zero() {
            return None;
        }
        let table = self.table();
        self.find_port(table, table.locate(key), now)
    }

    /// The port of a MAC that is not zero, if its entry is live.
    #[inline]
    pub(crate) fn find_port(&self, table: Table<'_>, place: Place, now: Now) -> Option<PortId> {
        let first = table.first(place)?;
        match first.find(place.key) {
            Some(word) => first.live_port(word, now),
            None => self.find_port_in_second(place, now),
        }
    }

    #[inline(never)]
    fn find_port_in_second(&self, place: Place, now: Now) -> Option<PortId> {
        let second = self.table().second(place)?;
        second.live_port(second.find(place.key)?, now)
    }

    /// Relaxed: the clock's parameters are one word, and publish nothing else.
    #[inline]
    fn clock(&self) -> AgingClock {
        AgingClock::from_bits(self.clock.load(Ordering::Relaxed))
    }

    #[inline]
    pub(crate) fn table(&self) -> Table<'_> {
        self.storage.table()
    }

    /// Reads the clock, and sweeps first where stamps could no longer be trusted.
    #[inline]
    pub(crate) fn now(&self, now_ms: u64) -> Now {
        let clock = self.clock();
        // Acquire, partner of the Release in `age`: whoever sees that a sweep ended sees what it removed.
        if clock.is_sweep_due(self.swept_ms.load(Ordering::Acquire), now_ms) {
            self.sweep_late(now_ms);
        }
        clock.at(now_ms)
    }

    #[cold]
    #[inline(never)]
    fn sweep_late(&self, now_ms: u64) {
        self.age(now_ms);
    }

    /// Replaces one word; false if it is not `old` any more.
    ///
    /// Release, partner of the Acquire in `Bucket::find` and `Bucket::slots`: the stamp is there before the
    /// entry. Acquire, partner of the same Release of the writer of `old`: it took its place in the counts
    /// before it wrote, so whoever gives the place back after this does not let a count fall below zero.
    fn replace(cell: &AtomicU64, old: Word, new: Word) -> bool {
        cell.compare_exchange(old.0, new.0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Empties one slot; false if it no longer holds `old`.
    fn clear(&self, cell: &AtomicU64, old: Word) -> bool {
        if old.is_empty() || !Self::replace(cell, old, Word::EMPTY) {
            return false;
        }
        if old.is_static() {
            self.counts.remove_static();
        } else {
            self.counts.give_back_on_port(old.port());
            self.counts.give_back_in_table();
        }
        true
    }
}
