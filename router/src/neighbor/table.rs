//! The state machine of a link's neighbors (RFC 4861 §7.2, §7.3; for ARP, too). It has no clock, sends nothing and
//! waits for nothing: time and randomness come in, [`Action`]s go out.

use std::net::IpAddr;

use packet::{MacAddress, PortId};

use super::store::{Class, Entry, Store};
use super::{Neighbor, Settings, State};

mod heard;

pub use heard::{Heard, Ignored};

/// What the control side is to do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Action {
    /// Ask for `address`: all hosts of the link, or where `probed` is given the one that was there.
    Solicit {
        /// Who is looked for.
        address: IpAddr,
        /// To whom alone.
        probed: Option<(MacAddress, PortId)>,
    },
    /// `address` has a MAC now: publish, then send what waits for it.
    Resolved {
        /// Who was found.
        address: IpAddr,
    },
    /// `address` was not found, or not looked for any longer: what waits for it is answered with host unreachable.
    Unreachable {
        /// Who was looked for.
        address: IpAddr,
    },
}

/// What is known of a next hop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resolution {
    /// Frames for it go there.
    Resolved {
        /// Its MAC.
        mac: MacAddress,
        /// The port that it is behind.
        port: PortId,
    },
    /// It is being asked for; frames wait.
    Queue,
    /// It did not answer a short time ago, or can be no neighbor.
    Unreachable,
    /// The table is full of neighbors that are in use, or the asker looks for too many at once. What waits is to be
    /// dropped as [`NeighborQueueFull`](packet::DropReason::NeighborQueueFull).
    NoRoom,
}

/// The neighbors of one link. See the [module](super) for how it is used.
#[derive(Debug)]
pub struct Neighbors {
    settings: Settings,
    store: Store,
}

impl Neighbors {
    /// An empty table.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, store: Store::default() }
    }

    /// Grows with every change that a [`NeighborMap`](super::NeighborMap) would show.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.store.generation
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.store.len()
    }

    /// True without any entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All entries, by address.
    pub fn iter(&self) -> impl Iterator<Item = Neighbor> {
        self.store.iter().map(|(address, entry)| shown(address, entry))
    }

    /// The entry of `address`.
    #[must_use]
    pub fn get(&self, address: IpAddr) -> Option<Neighbor> {
        self.store.get(address).map(|entry| shown(address, entry))
    }

    /// A packet that came in by `asker` is to go to `address`, or a worker told that it used the stale entry of
    /// `address` (RFC 4861 §7.2.2, §7.3.3).
    pub fn resolve(
        &mut self,
        address: IpAddr,
        asker: PortId,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) -> Resolution {
        if !can_be_neighbor(address) {
            return Resolution::Unreachable;
        }
        let Some(entry) = self.store.get(address) else {
            return self.begin(address, asker, now_ms, actions);
        };
        match entry.state {
            State::Incomplete => return Resolution::Queue,
            State::Failed => return Resolution::Unreachable,
            State::Stale => {
                let deadline_ms = Some(now_ms.saturating_add(self.settings.delay_ms));
                self.store.put(address, Entry { state: State::Delay, deadline_ms, ..entry });
            }
            State::Reachable | State::Delay | State::Probe | State::Permanent => {}
        }
        Resolution::Resolved { mac: entry.mac, port: entry.port }
    }

    fn begin(
        &mut self,
        address: IpAddr,
        asker: PortId,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) -> Resolution {
        if self.store.count(Class::Unanswered, asker) >= self.settings.unanswered_per_port_max {
            let Some(oldest) = self.oldest_that_had_its_time(Some(asker)) else {
                return Resolution::NoRoom;
            };
            self.evict(oldest, actions);
        }
        if self.store.len() >= self.settings.entries_max {
            let oldest = self.oldest_that_had_its_time(None).or_else(|| self.store.oldest(Class::Idle, None));
            let Some(oldest) = oldest else {
                return Resolution::NoRoom;
            };
            self.evict(oldest, actions);
        }
        let entry = Entry {
            state: State::Incomplete,
            mac: MacAddress::ZERO,
            port: asker,
            tries: 1,
            deadline_ms: Some(now_ms.saturating_add(self.settings.retransmit_ms)),
        };
        self.store.put(address, entry);
        actions.push(Action::Solicit { address, probed: None });
        Resolution::Queue
    }

    /// The oldest unanswered entry, of `port` or of all, unless even that was asked for within the last
    /// [`retransmit_ms`](Settings::retransmit_ms): so a scan is no faster than its quota in that time, and an answer
    /// finds who asked.
    fn oldest_that_had_its_time(&self, port: Option<PortId>) -> Option<IpAddr> {
        let oldest = self.store.oldest(Class::Unanswered, port)?;
        let entry = self.store.get(oldest)?;
        (entry.state == State::Failed || entry.tries > 1).then_some(oldest)
    }

    fn evict(&mut self, address: IpAddr, actions: &mut Vec<Action>) {
        if self.store.remove(address).is_some_and(|entry| entry.state == State::Incomplete) {
            actions.push(Action::Unreachable { address });
        }
    }

    /// An upper layer made progress by way of `address` (RFC 4861 §7.3.1): a hint that is optional.
    pub fn confirm(&mut self, address: IpAddr, now_ms: u64, random: u32) {
        if let Some(entry) = self.store.get(address)
            && matches!(entry.class(), Class::Idle | Class::Active)
        {
            self.store.put(address, self.reachable(entry.mac, entry.port, now_ms, random));
        }
    }

    /// Lets time pass: carries out what is due, at most `budget` timers. True if more is due.
    pub fn tick(&mut self, now_ms: u64, budget: usize, actions: &mut Vec<Action>) -> bool {
        for _ in 0..budget {
            let Some(address) = self.store.due(now_ms) else {
                return false;
            };
            self.expire(address, now_ms, actions);
        }
        self.store.due(now_ms).is_some()
    }

    /// When [`tick`](Self::tick) is to be called next, if nothing else happens.
    #[must_use]
    pub fn next_deadline_ms(&self) -> Option<u64> {
        self.store.next_deadline()
    }

    /// The time of a state has passed (RFC 4861 §7.2.2, §7.3.3).
    fn expire(&mut self, address: IpAddr, now_ms: u64, actions: &mut Vec<Action>) {
        let Some(entry) = self.store.get(address) else { return };
        let Settings { solicits_max, probes_max, retransmit_ms, failed_ms, .. } = self.settings;
        let retry = Some(now_ms.saturating_add(retransmit_ms));
        let again = |tries| Entry { tries, deadline_ms: retry, ..entry };
        match entry.state {
            State::Incomplete if entry.tries < solicits_max => {
                self.store.put(address, again(entry.tries + 1));
                actions.push(Action::Solicit { address, probed: None });
            }
            State::Incomplete => {
                let deadline_ms = Some(now_ms.saturating_add(failed_ms));
                self.store.put(address, Entry { state: State::Failed, deadline_ms, ..entry });
                actions.push(Action::Unreachable { address });
            }
            State::Reachable => self.store.put(address, self.stale(entry.mac, entry.port, now_ms)),
            State::Delay => {
                self.store.put(address, Entry { state: State::Probe, ..again(1) });
                actions.push(Action::Solicit { address, probed: Some((entry.mac, entry.port)) });
            }
            State::Probe if entry.tries < probes_max => {
                self.store.put(address, again(entry.tries + 1));
                actions.push(Action::Solicit { address, probed: Some((entry.mac, entry.port)) });
            }
            State::Probe | State::Stale | State::Failed => {
                self.store.remove(address);
            }
            State::Permanent => self.store.put(address, Entry { deadline_ms: None, ..entry }),
        }
    }

    /// Sets `address` to be at `mac` behind `port` for good. False if it can be no neighbor's, or the table is full
    /// of entries in use.
    pub fn add_permanent(
        &mut self,
        address: IpAddr,
        mac: MacAddress,
        port: PortId,
        actions: &mut Vec<Action>,
    ) -> bool {
        if !can_be_neighbor(address) {
            return false;
        }
        let old = self.store.get(address);
        if old.is_none() && self.store.len() >= self.settings.entries_max {
            let oldest = [Class::Unanswered, Class::Idle].map(|class| self.store.oldest(class, None));
            let Some(oldest) = oldest.into_iter().flatten().next() else {
                return false;
            };
            self.evict(oldest, actions);
        }
        self.store.put(address, Entry { state: State::Permanent, mac, port, tries: 0, deadline_ms: None });
        if old.is_some_and(|old| old.state == State::Incomplete) {
            actions.push(Action::Resolved { address });
        }
        true
    }

    /// Forgets `address`, permanent or not. False if it was not known.
    pub fn remove(&mut self, address: IpAddr, actions: &mut Vec<Action>) -> bool {
        let is_known = self.store.get(address).is_some();
        self.evict(address, actions);
        is_known
    }

    /// Forgets all that is behind `port`, which is gone, permanent entries included, and all that it asked for.
    pub fn remove_port(&mut self, port: PortId, actions: &mut Vec<Action>) {
        let behind = self.store.iter().filter(|(_, entry)| entry.port == port);
        let addresses: Vec<IpAddr> = behind.map(|(address, _)| address).collect();
        for address in addresses {
            self.evict(address, actions);
        }
    }

    /// Forgets all but the permanent entries.
    pub fn flush(&mut self, actions: &mut Vec<Action>) {
        let others = self.store.iter().filter(|(_, entry)| entry.state != State::Permanent);
        let addresses: Vec<IpAddr> = others.map(|(address, _)| address).collect();
        for address in addresses {
            self.evict(address, actions);
        }
    }

    fn stale(&self, mac: MacAddress, port: PortId, now_ms: u64) -> Entry {
        let deadline_ms = Some(now_ms.saturating_add(self.settings.stale_ms));
        Entry { state: State::Stale, mac, port, tries: 0, deadline_ms }
    }

    /// RFC 4861 §6.3.2: the reachable time is drawn anew, from 0.5 to 1.5 of its base.
    fn reachable(&self, mac: MacAddress, port: PortId, now_ms: u64, random: u32) -> Entry {
        let base = self.settings.reachable_ms.min(u64::from(u32::MAX));
        let reachable_ms = base / 2 + ((base * u64::from(random)) >> 32);
        let deadline_ms = Some(now_ms.saturating_add(reachable_ms));
        Entry { state: State::Reachable, mac, port, tries: 0, deadline_ms }
    }
}

fn shown(address: IpAddr, entry: Entry) -> Neighbor {
    let mac = entry.state.is_usable().then_some(entry.mac);
    Neighbor { address, state: entry.state, mac, port: entry.port }
}

/// True for an address that one neighbor can have.
fn can_be_neighbor(address: IpAddr) -> bool {
    let is_none = match address {
        IpAddr::V4(v4) => v4.is_broadcast(),
        IpAddr::V6(v6) => v6.to_ipv4_mapped().is_some(),
    };
    !(is_none || address.is_unspecified() || address.is_loopback() || address.is_multicast())
}

#[cfg(test)]
mod tests;
