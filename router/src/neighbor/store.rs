//! The entries of a neighbor table with the orders that timers and evictions need. Every change goes through
//! [`Store::put`] and [`Store::remove`], so the orders cannot disagree with the entries.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use packet::{MacAddress, PortId};

use super::State;

/// One neighbor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    pub(super) state: State,
    /// Zero while there is none.
    pub(super) mac: MacAddress,
    /// Behind which it is; while it has not answered, who asked.
    pub(super) port: PortId,
    /// Solicitations sent in this state.
    pub(super) tries: u8,
    /// When the state ends by itself.
    pub(super) deadline_ms: Option<u64>,
}

/// What entries are counted and ordered by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Class {
    /// Incomplete and failed.
    Unanswered,
    /// Stale.
    Idle,
    /// Reachable, or being confirmed.
    Active,
    /// Permanent: never evicted, not counted.
    Fixed,
}

impl Entry {
    pub(super) const fn class(&self) -> Class {
        match self.state {
            State::Incomplete | State::Failed => Class::Unanswered,
            State::Stale => Class::Idle,
            State::Reachable | State::Delay | State::Probe => Class::Active,
            State::Permanent => Class::Fixed,
        }
    }

    /// What workers see of it.
    fn published(&self) -> Option<(Class, MacAddress, PortId)> {
        (self.state != State::Incomplete).then_some((self.class(), self.mac, self.port))
    }
}

#[derive(Clone, Copy, Debug)]
struct Stored {
    entry: Entry,
    /// Grows with every entry that enters a class: its age there.
    sequence: u64,
}

#[derive(Debug, Default)]
pub(super) struct Store {
    entries: BTreeMap<IpAddr, Stored>,
    timers: BTreeSet<(u64, IpAddr)>,
    by_age: BTreeSet<(Class, u64, IpAddr)>,
    by_port: BTreeSet<(Class, PortId, u64, IpAddr)>,
    counts: BTreeMap<(Class, PortId), usize>,
    next_sequence: u64,
    /// Grows with every change that workers are to see.
    pub(super) generation: u64,
}

impl Store {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, address: IpAddr) -> Option<Entry> {
        self.entries.get(&address).map(|stored| stored.entry)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (IpAddr, Entry)> {
        self.entries.iter().map(|(address, stored)| (*address, stored.entry))
    }

    /// Makes or replaces the entry of `address`.
    pub(super) fn put(&mut self, address: IpAddr, entry: Entry) {
        let old = self.unlink(address);
        let seen = old.and_then(|old| old.entry.published());
        if seen != entry.published() {
            self.generation += 1;
        }
        let sequence = match old {
            Some(old) if old.entry.class() == entry.class() => old.sequence,
            _ => {
                self.next_sequence += 1;
                self.next_sequence
            }
        };
        let class = entry.class();
        if let Some(deadline) = entry.deadline_ms {
            self.timers.insert((deadline, address));
        }
        self.by_age.insert((class, sequence, address));
        self.by_port.insert((class, entry.port, sequence, address));
        *self.counts.entry((class, entry.port)).or_default() += 1;
        self.entries.insert(address, Stored { entry, sequence });
    }

    pub(super) fn remove(&mut self, address: IpAddr) -> Option<Entry> {
        let old = self.unlink(address)?.entry;
        if old.published().is_some() {
            self.generation += 1;
        }
        Some(old)
    }

    fn unlink(&mut self, address: IpAddr) -> Option<Stored> {
        let stored = self.entries.remove(&address)?;
        let Stored { entry, sequence } = stored;
        let class = entry.class();
        if let Some(deadline) = entry.deadline_ms {
            self.timers.remove(&(deadline, address));
        }
        self.by_age.remove(&(class, sequence, address));
        self.by_port.remove(&(class, entry.port, sequence, address));
        if let Some(count) = self.counts.get_mut(&(class, entry.port)) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&(class, entry.port));
            }
        }
        Some(stored)
    }

    pub(super) fn count(&self, class: Class, port: PortId) -> usize {
        self.counts.get(&(class, port)).copied().unwrap_or(0)
    }

    /// The entry that has been in `class` longest, of `port` or of all.
    pub(super) fn oldest(&self, class: Class, port: Option<PortId>) -> Option<IpAddr> {
        match port {
            None => {
                let (found, _, address) = self.by_age.range((class, 0, LEAST)..).next()?;
                (*found == class).then_some(*address)
            }
            Some(port) => {
                let (found, of, _, address) = self.by_port.range((class, port, 0, LEAST)..).next()?;
                (*found == class && *of == port).then_some(*address)
            }
        }
    }

    /// The first entry whose state ends by `now_ms`.
    pub(super) fn due(&self, now_ms: u64) -> Option<IpAddr> {
        self.timers.first().filter(|(deadline, _)| *deadline <= now_ms).map(|(_, address)| *address)
    }

    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.timers.first().map(|(deadline, _)| *deadline)
    }
}

/// No address comes before it.
const LEAST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
