//! RFC 4861 §7 as one would write it down: a list of entries, each looked at whenever time passes, and everything
//! that is counted is counted anew.

use std::collections::BTreeMap;
use std::net::IpAddr;

use packet::{MacAddress, PortId};
use router::neighbor::{Action, Heard, Ignored, Message, Neighbor, Resolution, Settings, State};

#[derive(Clone, Copy, Debug)]
struct Entry {
    state: State,
    mac: MacAddress,
    port: PortId,
    tries: u8,
    /// How long the state lasts from now on.
    rest_ms: Option<u64>,
    /// When it came to where it stands, for who is older.
    turn: u64,
}

/// Which quota an entry counts for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    Unanswered,
    Stale,
    InUse,
    Permanent,
}

fn standing(state: State) -> Standing {
    match state {
        State::Incomplete | State::Failed => Standing::Unanswered,
        State::Stale => Standing::Stale,
        State::Reachable | State::Delay | State::Probe => Standing::InUse,
        State::Permanent => Standing::Permanent,
    }
}

pub(crate) struct Model {
    settings: Settings,
    entries: BTreeMap<IpAddr, Entry>,
    turn: u64,
    pub(crate) actions: Vec<Action>,
}

impl Model {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings, entries: BTreeMap::new(), turn: 0, actions: Vec::new() }
    }

    pub(crate) fn entries(&self) -> Vec<Neighbor> {
        let shown = |(address, entry): (&IpAddr, &Entry)| Neighbor {
            address: *address,
            state: entry.state,
            mac: (standing(entry.state) != Standing::Unanswered).then_some(entry.mac),
            port: entry.port,
        };
        self.entries.iter().map(shown).collect()
    }

    fn set(&mut self, address: IpAddr, state: State, mac: MacAddress, port: PortId, rest_ms: Option<u64>) {
        self.turn += 1;
        let old = self.entries.get(&address);
        let stays = old.filter(|old| standing(old.state) == standing(state) && old.port == port);
        let tries = old.filter(|old| old.state == state).map_or(0, |old| old.tries) + 1;
        let turn = stays.map_or(self.turn, |old| old.turn);
        self.entries.insert(address, Entry { state, mac, port, tries, rest_ms, turn });
    }

    fn oldest(&self, of: Standing, port: Option<PortId>) -> Option<IpAddr> {
        let candidates = self
            .entries
            .iter()
            .filter(|(_, entry)| standing(entry.state) == of && port.is_none_or(|port| port == entry.port));
        candidates.min_by_key(|(_, entry)| entry.turn).map(|(address, _)| *address)
    }

    /// Asked for once, and not long ago.
    fn is_fresh(&self, address: IpAddr) -> bool {
        let entry = self.entries[&address];
        entry.state == State::Incomplete && entry.tries == 1
    }

    fn count(&self, of: &[Standing], port: PortId) -> usize {
        let counted = |entry: &&Entry| of.contains(&standing(entry.state)) && entry.port == port;
        self.entries.values().filter(counted).count()
    }

    fn drop_entry(&mut self, address: IpAddr) {
        if self.entries.remove(&address).is_some_and(|entry| entry.state == State::Incomplete) {
            self.actions.push(Action::Unreachable { address });
        }
    }

    pub(crate) fn resolve(&mut self, address: IpAddr, asker: PortId) -> Resolution {
        if let Some(entry) = self.entries.get(&address).copied() {
            if entry.state == State::Stale {
                self.set(address, State::Delay, entry.mac, entry.port, Some(self.settings.delay_ms));
            }
            return match entry.state {
                State::Incomplete => Resolution::Queue,
                State::Failed => Resolution::Unreachable,
                _ => Resolution::Resolved { mac: entry.mac, port: entry.port },
            };
        }
        if self.count(&[Standing::Unanswered], asker) >= self.settings.unanswered_per_port_max {
            let Some(own) = self.oldest(Standing::Unanswered, Some(asker)).filter(|it| !self.is_fresh(*it))
            else {
                return Resolution::NoRoom;
            };
            self.drop_entry(own);
        }
        if self.entries.len() >= self.settings.entries_max {
            let unanswered = self.oldest(Standing::Unanswered, None).filter(|it| !self.is_fresh(*it));
            let victim = unanswered.or(self.oldest(Standing::Stale, None));
            let Some(victim) = victim else { return Resolution::NoRoom };
            self.drop_entry(victim);
        }
        let rest = Some(self.settings.retransmit_ms);
        self.set(address, State::Incomplete, MacAddress::ZERO, asker, rest);
        self.actions.push(Action::Solicit { address, probed: None });
        Resolution::Queue
    }

    pub(crate) fn heard(&mut self, message: &Message, port: PortId, reachable_ms: u64) -> Heard {
        match *message {
            Message::Solicitation { asker, mac, .. } => match mac.filter(|_| !asker.is_unspecified()) {
                None => Heard::Ignored(Ignored::NothingTold),
                Some(mac) => self.heard_asker(asker, mac, port),
            },
            Message::Advertisement { target, mac, solicited, overrides } => {
                let Some(entry) = self.entries.get(&target).copied() else {
                    return Heard::Ignored(Ignored::Unknown);
                };
                match entry.state {
                    State::Permanent => return Heard::Ignored(Ignored::Permanent),
                    State::Failed => {
                        self.entries.remove(&target);
                        return Heard::Ignored(Ignored::Unknown);
                    }
                    State::Incomplete if mac.is_none() => return Heard::Ignored(Ignored::NothingTold),
                    State::Incomplete => {
                        if !self.make_room(port, false) {
                            return Heard::Ignored(Ignored::NoRoom);
                        }
                        self.accept(target, mac.unwrap(), port, solicited.then_some(reachable_ms));
                        self.actions.push(Action::Resolved { address: target });
                        return Heard::Updated;
                    }
                    _ if entry.port != port => return Heard::Ignored(Ignored::OtherPort),
                    _ => {}
                }
                let solicited = solicited && (target.is_ipv6() || entry.state == State::Probe);
                let told = mac.unwrap_or(entry.mac);
                if told != entry.mac && !overrides {
                    if entry.state == State::Reachable {
                        self.accept(target, entry.mac, port, None);
                    }
                    return Heard::Ignored(Ignored::NotOverriding);
                }
                if solicited || told != entry.mac {
                    self.accept(target, told, port, solicited.then_some(reachable_ms));
                }
                if told == entry.mac { Heard::Confirmed } else { Heard::Updated }
            }
        }
    }

    fn heard_asker(&mut self, asker: IpAddr, mac: MacAddress, port: PortId) -> Heard {
        let old = self.entries.get(&asker).copied();
        let answered = old.filter(|old| standing(old.state) != Standing::Unanswered);
        match answered {
            Some(old) if old.state == State::Permanent => return Heard::Ignored(Ignored::Permanent),
            Some(old) if old.port != port => return Heard::Ignored(Ignored::OtherPort),
            Some(old) if old.mac == mac => return Heard::Confirmed,
            Some(_) => {}
            None if !self.make_room(port, old.is_none()) => return Heard::Ignored(Ignored::NoRoom),
            None => {}
        }
        self.accept(asker, mac, port, None);
        if old.is_some_and(|old| old.state == State::Incomplete) {
            self.actions.push(Action::Resolved { address: asker });
        }
        if old.is_none() { Heard::New } else { Heard::Updated }
    }

    /// Reachable for a time, or stale.
    fn accept(&mut self, address: IpAddr, mac: MacAddress, port: PortId, reachable_ms: Option<u64>) {
        match reachable_ms {
            Some(rest) => self.set(address, State::Reachable, mac, port, Some(rest)),
            None => self.set(address, State::Stale, mac, port, Some(self.settings.stale_ms)),
        }
    }

    fn make_room(&mut self, port: PortId, is_new: bool) -> bool {
        if self.count(&[Standing::Stale, Standing::InUse], port) >= self.settings.answered_per_port_max {
            let Some(own) = self.oldest(Standing::Stale, Some(port)) else { return false };
            self.drop_entry(own);
        }
        if is_new && self.entries.len() >= self.settings.entries_max {
            let victim = self.oldest(Standing::Unanswered, None).or(self.oldest(Standing::Stale, Some(port)));
            let Some(victim) = victim else { return false };
            self.drop_entry(victim);
        }
        true
    }

    pub(crate) fn confirm(&mut self, address: IpAddr, reachable_ms: u64) {
        if let Some(entry) = self.entries.get(&address).copied()
            && matches!(standing(entry.state), Standing::Stale | Standing::InUse)
        {
            self.accept(address, entry.mac, entry.port, Some(reachable_ms));
        }
    }

    pub(crate) fn add_permanent(&mut self, address: IpAddr, mac: MacAddress, port: PortId) -> bool {
        let old = self.entries.get(&address).map(|entry| entry.state);
        if old.is_none() && self.entries.len() >= self.settings.entries_max {
            let victim = self.oldest(Standing::Unanswered, None).or(self.oldest(Standing::Stale, None));
            let Some(victim) = victim else { return false };
            self.drop_entry(victim);
        }
        self.set(address, State::Permanent, mac, port, None);
        if old == Some(State::Incomplete) {
            self.actions.push(Action::Resolved { address });
        }
        true
    }

    pub(crate) fn remove(&mut self, address: IpAddr) -> bool {
        let is_known = self.entries.contains_key(&address);
        self.drop_entry(address);
        is_known
    }

    pub(crate) fn remove_port(&mut self, port: PortId) {
        for (address, entry) in self.entries.clone() {
            if entry.port == port {
                self.drop_entry(address);
            }
        }
    }

    pub(crate) fn flush(&mut self) {
        for (address, entry) in self.entries.clone() {
            if entry.state != State::Permanent {
                self.drop_entry(address);
            }
        }
    }

    /// Lets `ms` pass, of which every time in the settings is a multiple.
    pub(crate) fn pass(&mut self, ms: u64) {
        for (address, mut entry) in self.entries.clone() {
            let Some(rest) = entry.rest_ms else { continue };
            entry.rest_ms = Some(rest - ms);
            self.entries.insert(address, entry);
            if rest == ms {
                self.state_ends(address, entry);
            }
        }
    }

    fn state_ends(&mut self, address: IpAddr, entry: Entry) {
        let Settings { retransmit_ms, solicits_max, probes_max, failed_ms, .. } = self.settings;
        let Entry { mac, port, tries, .. } = entry;
        match entry.state {
            State::Incomplete if tries < solicits_max => {
                self.set(address, State::Incomplete, mac, port, Some(retransmit_ms));
                self.actions.push(Action::Solicit { address, probed: None });
            }
            State::Incomplete => {
                self.set(address, State::Failed, mac, port, Some(failed_ms));
                self.actions.push(Action::Unreachable { address });
            }
            State::Reachable => self.accept(address, mac, port, None),
            State::Delay | State::Probe if entry.state == State::Delay || tries < probes_max => {
                self.set(address, State::Probe, mac, port, Some(retransmit_ms));
                self.actions.push(Action::Solicit { address, probed: Some((mac, port)) });
            }
            _ => {
                self.entries.remove(&address);
            }
        }
    }
}
