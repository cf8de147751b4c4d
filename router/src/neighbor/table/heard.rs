//! What is learned from messages: RFC 826, RFC 4861 §7.2.3 and §7.2.5.

use std::net::IpAddr;

use packet::{MacAddress, PortId};

use super::{Action, Neighbors, can_be_neighbor};
use crate::neighbor::store::{Class, Entry};
use crate::neighbor::{Message, State};

/// What a message did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heard {
    /// It made an entry.
    New,
    /// It gave an entry its MAC, or another one.
    Updated,
    /// It told what was known, or confirmed it.
    Confirmed,
    /// It changed nothing.
    Ignored(Ignored),
}

/// Why a message changed nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ignored {
    /// Nobody asked for that neighbor (RFC 4861 §7.2.5).
    Unknown,
    /// The sender has no address, or did not tell its MAC.
    NothingTold,
    /// The entry is permanent.
    Permanent,
    /// The entry is behind another port.
    OtherPort,
    /// The MAC differs, and the message is not to override it.
    NotOverriding,
    /// There is no room for another entry of this port.
    NoRoom,
}

/// What an advertisement tells.
#[derive(Clone, Copy)]
struct Told {
    mac: Option<MacAddress>,
    solicited: bool,
    overrides: bool,
}

impl Neighbors {
    /// A message came in by `port`: any advertisement, and solicitations that were for the gateway. `random` is a
    /// random number, for the reachable time.
    pub fn heard(
        &mut self,
        message: &Message,
        port: PortId,
        now_ms: u64,
        random: u32,
        actions: &mut Vec<Action>,
    ) -> Heard {
        match *message {
            Message::Solicitation { asker, mac, .. } => match mac {
                Some(mac) if can_be_neighbor(asker) => self.heard_asker(asker, mac, port, now_ms, actions),
                _ => Heard::Ignored(Ignored::NothingTold),
            },
            Message::Advertisement { target, mac, solicited, overrides } => {
                let Some(entry) = self.store.get(target) else {
                    return Heard::Ignored(Ignored::Unknown);
                };
                // ARP does not say whether a reply was asked for; we know.
                let awaited = matches!(entry.state, State::Incomplete | State::Probe);
                let told = Told { mac, solicited: solicited && (target.is_ipv6() || awaited), overrides };
                self.heard_advertisement(target, entry, told, (port, now_ms, random), actions)
            }
        }
    }

    /// RFC 4861 §7.2.3; RFC 826, "Packet Reception".
    fn heard_asker(
        &mut self,
        asker: IpAddr,
        mac: MacAddress,
        port: PortId,
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) -> Heard {
        let entry = self.store.get(asker);
        match entry {
            Some(Entry { state: State::Permanent, .. }) => return Heard::Ignored(Ignored::Permanent),
            Some(entry) if entry.state.is_usable() && entry.port != port => {
                return Heard::Ignored(Ignored::OtherPort);
            }
            Some(entry) if entry.state.is_usable() && entry.mac == mac => return Heard::Confirmed,
            Some(_) | None => {}
        }
        let is_new_here = !entry.is_some_and(|entry| entry.state.is_usable());
        if is_new_here && !self.has_room(port, entry.is_none(), actions) {
            return Heard::Ignored(Ignored::NoRoom);
        }
        self.store.put(asker, self.stale(mac, port, now_ms));
        match entry {
            None => Heard::New,
            Some(entry) => {
                if entry.state == State::Incomplete {
                    actions.push(Action::Resolved { address: asker });
                }
                Heard::Updated
            }
        }
    }

    /// RFC 4861 §7.2.5.
    fn heard_advertisement(
        &mut self,
        target: IpAddr,
        entry: Entry,
        told: Told,
        (port, now_ms, random): (PortId, u64, u32),
        actions: &mut Vec<Action>,
    ) -> Heard {
        match (entry.state, told.mac) {
            (State::Permanent, _) => return Heard::Ignored(Ignored::Permanent),
            (State::Failed, _) => {
                // It is there after all: the next packet asks again at once.
                self.store.remove(target);
                return Heard::Ignored(Ignored::Unknown);
            }
            (State::Incomplete, None) => return Heard::Ignored(Ignored::NothingTold),
            (State::Incomplete, Some(mac)) => {
                if !self.has_room(port, false, actions) {
                    return Heard::Ignored(Ignored::NoRoom);
                }
                let entry = if told.solicited {
                    self.reachable(mac, port, now_ms, random)
                } else {
                    self.stale(mac, port, now_ms)
                };
                self.store.put(target, entry);
                actions.push(Action::Resolved { address: target });
                return Heard::Updated;
            }
            _ if entry.port != port => return Heard::Ignored(Ignored::OtherPort),
            _ => {}
        }
        let mac = told.mac.unwrap_or(entry.mac);
        let differs = mac != entry.mac;
        if differs && !told.overrides {
            if entry.state == State::Reachable {
                self.store.put(target, self.stale(entry.mac, port, now_ms));
            }
            return Heard::Ignored(Ignored::NotOverriding);
        }
        if told.solicited {
            self.store.put(target, self.reachable(mac, port, now_ms, random));
        } else if differs {
            self.store.put(target, self.stale(mac, port, now_ms));
        }
        if differs { Heard::Updated } else { Heard::Confirmed }
    }

    /// Makes room for one more answered entry of `port`: at the cost of its own stale ones, and where the table is
    /// full of unanswered ones of all. `is_new` unless the entry is there already.
    fn has_room(&mut self, port: PortId, is_new: bool, actions: &mut Vec<Action>) -> bool {
        let answered = self.store.count(Class::Idle, port) + self.store.count(Class::Active, port);
        if answered >= self.settings.answered_per_port_max {
            let Some(oldest) = self.store.oldest(Class::Idle, Some(port)) else {
                return false;
            };
            self.evict(oldest, actions);
        }
        if is_new && self.store.len() >= self.settings.entries_max {
            let unanswered = self.store.oldest(Class::Unanswered, None);
            let Some(oldest) = unanswered.or_else(|| self.store.oldest(Class::Idle, Some(port))) else {
                return false;
            };
            self.evict(oldest, actions);
        }
        true
    }
}
