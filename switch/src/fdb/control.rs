//! What the control side does: static entries, aging, flushing, listing.

use super::{Fdb, FdbLimits};
use crate::clock::AgingClock;
use crate::sync::Ordering;
use crate::table::{Bucket, Place, Slot};
use crate::word::{Key, Word};
use packet::{MacAddress, PortId};

/// Attempts to enter a static address against learners that change its bucket meanwhile.
const ATTEMPTS: usize = 64;

/// Who made an entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum EntryKind {
    /// The operator; it neither ages nor moves.
    Static,
    /// A frame.
    Learned,
}

/// One entry, as listings show it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct FdbEntry {
    /// The address.
    pub mac: MacAddress,
    /// The port behind which it is.
    pub port: PortId,
    /// Who made the entry.
    pub kind: EntryKind,
    /// Time since the last frame from the address, in steps of 0.5 % of the aging time; 0 for static ones.
    pub idle_ms: u64,
}

/// Why an entry or a limit was not accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FdbError {
    /// Zero or a group address.
    #[error("{0} is not the address of a station")]
    NotAStation(MacAddress),
    /// The address is static on another port.
    #[error("{mac} is a static entry of another port already")]
    Exists {
        /// The address.
        mac: MacAddress,
        /// The port that has it.
        port: PortId,
    },
    /// Both buckets of the address are full of static entries.
    #[error("no room for {0} among the static entries")]
    Full(MacAddress),
    /// The table was made for fewer MACs.
    #[error("the table was made for at most {macs_max} MACs; more need a restart")]
    SizeFixed {
        /// The most that fit.
        macs_max: usize,
    },
}

/// Counts of a table.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct FdbStatistics {
    /// Learned entries, expired ones that the next sweep will take included.
    pub learned: usize,
    /// Static entries.
    pub statics: usize,
    /// Moves from one port to another since the start.
    pub moved: u64,
    /// Entries given up for a newcomer since the start.
    pub evicted: u64,
    /// Times that a source address was not entered since the start (a frame each).
    pub refused: u64,
}

impl Fdb {
    /// Enters `mac` as a static entry of `port`; a learned entry of it is replaced, and learning never
    /// overrides it. Static entries do not count toward the limits.
    ///
    /// # Errors
    /// [`FdbError::NotAStation`], [`FdbError::Exists`] on another port (on the same port it is done
    /// already), [`FdbError::Full`].
    pub fn add_static(&self, mac: MacAddress, port: PortId) -> Result<(), FdbError> {
        if mac.is_group() || mac.is_zero() {
            return Err(FdbError::NotAStation(mac));
        }
        let place = self.table().locate(Key::new(mac));
        for _ in 0..ATTEMPTS {
            let slot = match self.table().find(place) {
                Some(slot) if slot.word.is_static() && slot.word.is_on(port) => return Ok(()),
                Some(Slot { word, .. }) if word.is_static() => {
                    return word
                        .port()
                        .map_or(Err(FdbError::Full(mac)), |port| Err(FdbError::Exists { mac, port }));
                }
                Some(slot) => slot,
                None => self.slot_for_static(place).ok_or(FdbError::Full(mac))?,
            };
            if !Self::replace(slot.cell, slot.word, Word::fixed(place.key, slot.index, port)) {
                continue;
            }
            self.counts.add_static();
            if slot.word.is_learned() {
                self.counts.give_back_on_port(slot.word.port());
                self.counts.give_back_in_table();
            }
            self.remove_copies(place);
            return Ok(());
        }
        Err(FdbError::Full(mac))
    }

    /// An empty slot, or else the learned entry of the port that has most.
    fn slot_for_static(&self, place: Place) -> Option<Slot<'_>> {
        let slots = self.table().candidates(place).flat_map(Bucket::slots);
        slots.filter(|slot| !slot.word.is_static()).max_by_key(|slot| {
            let held = slot.word.port().map_or(0, |port| self.counts.learned_by(port));
            (slot.word.is_empty(), held)
        })
    }

    /// Removes the entry of `mac`, learned or static; false if there was none.
    pub fn remove(&self, mac: MacAddress) -> bool {
        if mac.is_zero() {
            return false;
        }
        let place = self.table().locate(Key::new(mac));
        let mut removed = false;
        for slot in self.table().candidates(place).flat_map(Bucket::slots) {
            if slot.word.is_of(place.key) {
                removed |= self.clear(slot.cell, slot.word);
            }
        }
        removed
    }

    /// Forgets the learned entries of one port, or of all. Returns their number.
    pub fn flush(&self, port: Option<PortId>) -> usize {
        self.clear_where(|slot| slot.word.is_learned() && port.is_none_or(|port| slot.word.is_on(port)))
    }

    /// Forgets everything of `port`, static entries too. The workers no longer receive from it by then, or
    /// they would learn it anew. Returns the number of entries.
    pub fn remove_port(&self, port: PortId) -> usize {
        self.clear_where(|slot| slot.word.is_on(port))
    }

    /// Forgets what was not seen for the aging time, and returns how many those were. To be called more often
    /// than every eighth of the aging time: if it is not, a worker sweeps when it must.
    pub fn age(&self, now_ms: u64) -> usize {
        // Acquire, partner of the Release below in another sweep: its removals are seen if its time is.
        let sweep = self.clock().sweep(self.swept_ms.load(Ordering::Acquire), now_ms);
        let swept = self.clear_where(|slot| {
            // Relaxed: ordered behind the word by the load that gave it.
            slot.word.is_learned() && sweep.takes(slot.stamp.load(Ordering::Relaxed))
        });
        // Release, partner of the Acquire in `Fdb::now`.
        self.swept_ms.fetch_max(now_ms, Ordering::Release);
        swept
    }

    fn clear_where(&self, is_due: impl Fn(&Slot<'_>) -> bool) -> usize {
        let due = self
            .table()
            .buckets()
            .flat_map(Bucket::slots)
            .filter(|slot| !slot.word.is_empty() && is_due(slot));
        due.filter(|slot| self.clear(slot.cell, slot.word)).count()
    }

    /// Entries, learned and static; exact while nobody writes.
    pub fn len(&self) -> usize {
        self.counts.learned() + self.counts.statics()
    }

    /// True if there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Learned entries of one port.
    pub fn learned_by(&self, port: PortId) -> usize {
        self.counts.learned_by(port) as usize
    }

    /// Counts of entries and of what happened to them.
    pub fn statistics(&self) -> FdbStatistics {
        FdbStatistics {
            learned: self.counts.learned(),
            statics: self.counts.statics(),
            moved: self.events.moved.load(Ordering::Relaxed),
            evicted: self.events.evicted.load(Ordering::Relaxed),
            refused: self.events.refused.load(Ordering::Relaxed),
        }
    }

    /// All live entries, sorted by address.
    pub fn entries(&self, now_ms: u64) -> Vec<FdbEntry> {
        let now = self.now(now_ms);
        let unit_ms = self.clock().unit_ms();
        let slots = self.table().buckets().flat_map(Bucket::slots);
        let live = slots.filter(|slot| !slot.word.is_empty() && slot.is_live(now));
        let mut entries: Vec<FdbEntry> = live
            .filter_map(|slot| {
                let (kind, idle_ms) = if slot.word.is_static() {
                    (EntryKind::Static, 0)
                } else {
                    (
                        EntryKind::Learned,
                        u64::from(now.idle_units(slot.stamp.load(Ordering::Relaxed))) * unit_ms,
                    )
                };
                Some(FdbEntry { mac: slot.word.mac(), port: slot.word.port()?, kind, idle_ms })
            })
            .collect();
        entries.sort_unstable();
        entries
    }

    /// Changes the limits of the running table. Entries beyond a smaller limit stay until they age. A new
    /// aging time starts the idle time of every entry anew.
    ///
    /// # Errors
    /// [`FdbError::SizeFixed`] if the table is too small for `limits.macs_max`; nothing is changed then.
    pub fn set_limits(&self, limits: FdbLimits, now_ms: u64) -> Result<(), FdbError> {
        let macs_max = self.table().slots_count() / 2;
        if limits.macs_max > macs_max {
            return Err(FdbError::SizeFixed { macs_max });
        }
        // Relaxed: each limit stands for itself.
        self.macs_max.store(limits.macs_max, Ordering::Relaxed);
        self.macs_per_port_max.store(limits.macs_per_port_max, Ordering::Relaxed);
        let clock = AgingClock::new(limits.aging_ms);
        if self.clock.load(Ordering::Relaxed) == clock.to_bits() {
            return Ok(());
        }
        // No sweep is due for a while, so none reads stamps of one clock by the other. (A look-up may, and
        // miss, until the stamps are rewritten.) Release, partner of the Acquire in `Fdb::now`.
        self.swept_ms.fetch_max(now_ms, Ordering::Release);
        self.clock.store(clock.to_bits(), Ordering::Relaxed);
        let now = clock.at(now_ms);
        for slot in self.table().buckets().flat_map(Bucket::slots) {
            slot.stamp.store(now.stamp, Ordering::Relaxed);
        }
        Ok(())
    }
}
