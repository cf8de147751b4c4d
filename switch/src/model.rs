//! The bridge, slow and obvious.

use crate::clock::AgingClock;
use crate::fdb::{EntryKind, FdbEntry, FdbError, FdbLimits, Learned};
use crate::forward::{self, Addresses, Forwarding};
use crate::word::Key;
use packet::{DropReason, MacAddress, PortId};
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug)]
struct Entry {
    port: PortId,
    kind: EntryKind,
    seen_ms: u64,
}

/// A forwarding database as one would explain it: an ordered map and whole numbers.
///
/// It differs from [`Fdb`](crate::Fdb) where places run out: it looks for the place to give up in the whole
/// table, the fast one in the buckets at hand.
#[derive(Clone, Debug)]
pub struct ModelBridge {
    limits: FdbLimits,
    clock: AgingClock,
    swept_ms: u64,
    entries: BTreeMap<MacAddress, Entry>,
}

impl ModelBridge {
    /// An empty table.
    #[must_use]
    pub fn new(limits: FdbLimits) -> Self {
        Self { limits, clock: AgingClock::new(limits.aging_ms), swept_ms: 0, entries: BTreeMap::new() }
    }

    /// As [`Fdb::lookup`](crate::Fdb::lookup).
    pub fn lookup(&mut self, mac: MacAddress, now_ms: u64) -> Option<PortId> {
        self.sweep_if_due(now_ms);
        self.entries.get(&mac).filter(|entry| !self.is_expired(entry, now_ms)).map(|entry| entry.port)
    }

    /// As [`Fdb::learn`](crate::Fdb::learn).
    pub fn learn(&mut self, mac: MacAddress, port: PortId, now_ms: u64) -> Learned {
        self.sweep_if_due(now_ms);
        if mac.is_group() || mac.is_zero() {
            return Learned::Refused;
        }
        let learned = Entry { port, kind: EntryKind::Learned, seen_ms: now_ms };
        let before = self.entries.get(&mac).copied();
        match before {
            Some(Entry { kind: EntryKind::Static, port: owner, .. }) => {
                return if owner == port { Learned::Known } else { Learned::Protected };
            }
            Some(entry) if entry.port == port => {
                let gone = self.is_expired(&entry, now_ms);
                self.entries.insert(mac, learned);
                return if gone { Learned::New } else { Learned::Known };
            }
            _ => {}
        }
        let port_max = self.limits.macs_per_port_max;
        if self.limits.aging_ms == 0 || port_max != 0 && self.learned_by(port) >= port_max {
            return Learned::Refused;
        }
        if before.is_none() && self.learned() >= self.limits.macs_max && !self.evict(port, now_ms) {
            return Learned::Refused;
        }
        self.entries.insert(mac, learned);
        match before {
            Some(entry) if !self.is_expired(&entry, now_ms) => Learned::Moved { from: entry.port },
            _ => Learned::New,
        }
    }

    /// As [`Fdb::add_static`](crate::Fdb::add_static).
    ///
    /// # Errors
    /// The same, but for a lack of room.
    pub fn add_static(&mut self, mac: MacAddress, port: PortId) -> Result<(), FdbError> {
        if mac.is_group() || mac.is_zero() {
            return Err(FdbError::NotAStation(mac));
        }
        match self.entries.get(&mac) {
            Some(Entry { kind: EntryKind::Static, port: owner, .. }) if *owner != port => {
                Err(FdbError::Exists { mac, port: *owner })
            }
            _ => {
                self.entries.insert(mac, Entry { port, kind: EntryKind::Static, seen_ms: 0 });
                Ok(())
            }
        }
    }

    /// As [`Fdb::remove`](crate::Fdb::remove).
    pub fn remove(&mut self, mac: MacAddress) -> bool {
        self.entries.remove(&mac).is_some()
    }

    /// As [`Fdb::flush`](crate::Fdb::flush).
    pub fn flush(&mut self, port: Option<PortId>) -> usize {
        self.forget(|entry| entry.kind == EntryKind::Learned && port.is_none_or(|port| entry.port == port))
    }

    /// As [`Fdb::remove_port`](crate::Fdb::remove_port).
    pub fn remove_port(&mut self, port: PortId) -> usize {
        self.forget(|entry| entry.port == port)
    }

    /// As [`Fdb::age`](crate::Fdb::age).
    pub fn age(&mut self, now_ms: u64) -> usize {
        self.swept_ms = self.swept_ms.max(now_ms);
        let clock = self.clock;
        self.forget(|entry| entry.kind == EntryKind::Learned && clock.is_expired(entry.seen_ms, now_ms))
    }

    /// As [`Fdb::forward`](crate::Fdb::forward).
    pub fn forward(&mut self, addresses: &Addresses, now_ms: u64) -> Forwarding {
        self.sweep_if_due(now_ms);
        let Addresses { destination, source, ingress } = *addresses;
        if let Some(reason) = forward::invalid(Key::new(source), Key::new(destination)) {
            return Forwarding::Drop(reason);
        }
        if self.learn(source, ingress, now_ms) == Learned::Protected {
            return Forwarding::Drop(DropReason::ProtectedMac);
        }
        match forward::without_lookup(Key::new(destination)) {
            Some(decided) => decided,
            None => forward::toward(self.lookup(destination, now_ms), ingress),
        }
    }

    /// As [`Fdb::entries`](crate::Fdb::entries), but with idle times to the millisecond.
    pub fn entries(&mut self, now_ms: u64) -> Vec<FdbEntry> {
        self.sweep_if_due(now_ms);
        let live = self.entries.iter().filter(|(_, entry)| !self.is_expired(entry, now_ms));
        live.map(|(mac, entry)| {
            let idle_ms = match entry.kind {
                EntryKind::Static => 0,
                EntryKind::Learned => now_ms.saturating_sub(entry.seen_ms),
            };
            FdbEntry { mac: *mac, port: entry.port, kind: entry.kind, idle_ms }
        })
        .collect()
    }

    /// As [`Fdb::len`](crate::Fdb::len).
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// As [`Fdb::learned_by`](crate::Fdb::learned_by).
    #[must_use]
    pub fn learned_by(&self, port: PortId) -> usize {
        let entries = self.entries.values();
        entries.filter(|entry| entry.kind == EntryKind::Learned && entry.port == port).count()
    }

    fn learned(&self) -> usize {
        self.entries.values().filter(|entry| entry.kind == EntryKind::Learned).count()
    }

    fn is_expired(&self, entry: &Entry, now_ms: u64) -> bool {
        entry.kind == EntryKind::Learned && self.clock.is_expired(entry.seen_ms, now_ms)
    }

    fn sweep_if_due(&mut self, now_ms: u64) {
        if self.clock.is_sweep_due(self.swept_ms, now_ms) {
            self.age(now_ms);
        }
    }

    fn forget(&mut self, is_due: impl Fn(&Entry) -> bool) -> usize {
        let before = self.entries.len();
        self.entries.retain(|_, entry| !is_due(entry));
        before - self.entries.len()
    }

    /// Gives up an expired entry, or else one of the port that has most, the longest idle; none of a port
    /// that has no more than `newcomer` would have, but for its own.
    fn evict(&mut self, newcomer: PortId, now_ms: u64) -> bool {
        let would_have = self.learned_by(newcomer) + 1;
        let learned = self.entries.iter().filter(|(_, entry)| entry.kind == EntryKind::Learned);
        let ranked = learned.filter_map(|(mac, entry)| {
            let expired = self.is_expired(entry, now_ms);
            let held = self.learned_by(entry.port);
            (expired || entry.port == newcomer || held > would_have).then_some((
                expired,
                held,
                now_ms.saturating_sub(entry.seen_ms),
                *mac,
            ))
        });
        let victim = ranked.max().map(|(_, _, _, mac)| mac);
        victim.is_some_and(|mac| self.remove(mac))
    }
}
