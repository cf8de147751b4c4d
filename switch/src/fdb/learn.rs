//! What the workers write: learning, moves, and the eviction that makes room.

use super::Fdb;
use crate::clock::Now;
use crate::sync::{AtomicU8, Ordering, fence};
use crate::table::{Bucket, Place, Slot, Table};
use crate::word::{Key, Word};
use packet::{MacAddress, PortId};

/// Attempts of one learn before it gives up: each failure means that another writer succeeded.
const ATTEMPTS: usize = 8;

/// Buckets beyond the two of a MAC's own that are searched for a place to give up when the table (not the
/// bucket) is full.
const REACH: usize = 8;

/// What became of a source address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Learned {
    /// It is known on this port.
    Known,
    /// It was not known, and is now.
    New,
    /// It was on another port, and is now on this one.
    Moved {
        /// The former port.
        from: PortId,
    },
    /// It belongs to another port by a static entry, which stays.
    Protected,
    /// It is not entered: the port's or the table's limit is reached, or it is not the address of a station.
    /// Its frames are forwarded all the same. A move to a port at its limit is refused as well.
    Refused,
}

impl Fdb {
    /// Notes that a frame from `mac` came in by `port`.
    pub fn learn(&self, mac: MacAddress, port: PortId, now_ms: u64) -> Learned {
        let now = self.now(now_ms);
        let key = Key::new(mac);
        if !key.is_station() {
            return Learned::Refused;
        }
        let table = self.table();
        self.learn_at(table, table.locate(key), port, now)
    }

    /// Notes that a frame came from a station.
    pub(crate) fn learn_at(&self, table: Table<'_>, place: Place, port: PortId, now: Now) -> Learned {
        self.learn_known(table, place, port, now).unwrap_or_else(|| self.learn_slowly(place, port, now))
    }

    /// The quick way for a MAC that has a learned entry on this port; `None` for any other.
    #[inline]
    pub(crate) fn learn_known(
        &self,
        table: Table<'_>,
        place: Place,
        port: PortId,
        now: Now,
    ) -> Option<Learned> {
        let bucket = table.first(place)?;
        let word = bucket.find(place.key).filter(|word| word.is_learned_on(port))?;
        Some(Self::refresh(bucket.stamp(word), now))
    }

    /// The way for all others.
    #[inline(never)]
    pub(crate) fn learn_slowly(&self, place: Place, port: PortId, now: Now) -> Learned {
        for _ in 0..ATTEMPTS {
            let outcome = match self.table().find(place) {
                Some(slot) if slot.word.is_static() && slot.word.is_on(port) => Some(Learned::Known),
                Some(slot) if slot.word.is_static() => Some(Learned::Protected),
                Some(slot) if slot.word.is_on(port) => Some(Self::refresh(slot.stamp, now)),
                Some(slot) => self.move_entry(slot, place, port, now),
                None => self.insert(place, port, now),
            };
            match outcome {
                Some(Learned::Refused) => break,
                Some(learned) => return learned,
                None => {}
            }
        }
        self.events.refused.fetch_add(1, Ordering::Relaxed);
        Learned::Refused
    }

    /// Restarts the idle time. Relaxed: a stamp that is late or lost by a moment is harmless.
    #[inline]
    fn refresh(stamp: &AtomicU8, now: Now) -> Learned {
        let before = stamp.load(Ordering::Relaxed);
        if before == now.stamp {
            return Learned::Known;
        }
        stamp.store(now.stamp, Ordering::Relaxed);
        if now.is_expired(before) { Learned::New } else { Learned::Known }
    }

    /// Turns the entry to `port`. `None`: another writer was quicker, look again.
    fn move_entry(&self, slot: Slot<'_>, place: Place, port: PortId, now: Now) -> Option<Learned> {
        if !now.learns() || !self.counts.take_on_port(port, self.macs_per_port_max.load(Ordering::Relaxed)) {
            return Some(Learned::Refused);
        }
        let expired = !slot.is_live(now);
        // Before the word, which releases it: whoever sees the new port sees a fresh stamp.
        slot.stamp.store(now.stamp, Ordering::Relaxed);
        if !Self::replace(slot.cell, slot.word, Word::learned(place.key, slot.index, port)) {
            self.counts.give_back_on_port(Some(port));
            return None;
        }
        let from = slot.word.port();
        self.counts.give_back_on_port(from);
        match from {
            Some(from) if !expired => {
                self.events.moved.fetch_add(1, Ordering::Relaxed);
                Some(Learned::Moved { from })
            }
            _ => Some(Learned::New),
        }
    }

    /// Enters a MAC that was not found. `None`: look again.
    fn insert(&self, place: Place, port: PortId, now: Now) -> Option<Learned> {
        // Relaxed: limits publish nothing else.
        if !now.learns() || !self.counts.take_on_port(port, self.macs_per_port_max.load(Ordering::Relaxed)) {
            return Some(Learned::Refused);
        }
        let outcome = self.insert_counted(place, port, now);
        if outcome != Some(Learned::New) {
            self.counts.give_back_on_port(Some(port));
        }
        outcome.map(|learned| if learned == Learned::New { self.settle(place, port) } else { learned })
    }

    /// The part of [`insert`](Self::insert) for which the port's place is taken.
    fn insert_counted(&self, place: Place, port: PortId, now: Now) -> Option<Learned> {
        if !self.counts.take_in_table(self.macs_max.load(Ordering::Relaxed)) {
            return if self.evict(place, port, REACH, now) { None } else { Some(Learned::Refused) };
        }
        let empty = self.table().slot_for_new(place);
        let Some(slot) = empty else {
            self.counts.give_back_in_table();
            return if self.evict(place, port, 0, now) { None } else { Some(Learned::Refused) };
        };
        // Before the word, which releases it.
        slot.stamp.store(now.stamp, Ordering::Relaxed);
        if Self::replace(slot.cell, Word::EMPTY, Word::learned(place.key, slot.index, port)) {
            Some(Learned::New)
        } else {
            self.counts.give_back_in_table();
            None
        }
    }

    /// After an insertion: leaves one entry of `mac`, and says what that means for a learner on `port`.
    fn settle(&self, place: Place, port: PortId) -> Learned {
        match self.remove_copies(place) {
            Some(word) if word.is_static() && !word.is_on(port) => Learned::Protected,
            _ => Learned::New,
        }
    }

    /// Removes all entries of `mac` but one: the static one, or else the first. Returns the one that stays.
    pub(super) fn remove_copies(&self, place: Place) -> Option<Word> {
        // SeqCst, partner of this same fence in every other inserter of the MAC: each has written its entry
        // before the fence and looks for others after it, so of two at least one sees both.
        fence(Ordering::SeqCst);
        for _ in 0..ATTEMPTS {
            let mut keep: Option<Slot<'_>> = None;
            let mut again = false;
            for slot in self.table().candidates(place).flat_map(Bucket::slots) {
                if slot.word.is_empty() || !slot.word.is_of(place.key) {
                    continue;
                }
                let loser = match keep {
                    Some(kept) if kept.word.is_static() || !slot.word.is_static() => slot,
                    Some(kept) => {
                        keep = Some(slot);
                        kept
                    }
                    None => {
                        keep = Some(slot);
                        continue;
                    }
                };
                // A copy that changed meanwhile (moved, made static) is judged again.
                again |= !self.clear(loser.cell, loser.word);
            }
            if !again {
                return keep.map(|slot| slot.word);
            }
        }
        None
    }

    /// Gives up one learned entry for a newcomer on `newcomer`, whose place on the port is taken already.
    /// False if no entry may be given up.
    fn evict(&self, place: Place, newcomer: PortId, reach: usize, now: Now) -> bool {
        let would_have = self.counts.learned_by(newcomer);
        let mut victim: Option<(Slot<'_>, (u32, u8))> = None;
        let buckets = self.table().candidates(place).chain(self.table().neighbors(place, reach));
        for slot in buckets.flat_map(Bucket::slots).filter(|slot| slot.word.is_learned()) {
            let Some(port) = slot.word.port() else { continue };
            let stamp = slot.stamp.load(Ordering::Relaxed);
            let held = self.counts.learned_by(port);
            let weight = if now.is_expired(stamp) { u32::MAX } else { held };
            if weight <= would_have && port != newcomer {
                continue;
            }
            let rank = (weight, now.idle_units(stamp));
            if victim.is_none_or(|(_, best)| best < rank) {
                victim = Some((slot, rank));
            }
        }
        let Some((slot, _)) = victim else { return false };
        if self.clear(slot.cell, slot.word) {
            self.events.evicted.fetch_add(1, Ordering::Relaxed);
        }
        // Even if another writer was quicker, things have changed: look again.
        true
    }
}
