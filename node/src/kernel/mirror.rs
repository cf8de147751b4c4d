//! The mirror: the kernel's state as far as it was told, and the differences by which it changes.
//!
//! It takes single messages, and whole states made of the messages of a dump. Both ways, what is told is the difference
//! between what the mirror showed before and what it shows now.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use packet::MacAddress;

use super::heard::{Address, Entry, Heard, Hop, Slot, Way};
use super::slots::{self, Certainty};
use super::{KernelChange, KernelLink, KernelRoute};

/// `RT_TABLE_LOCAL`: what the kernel says about itself.
const TABLE_LOCAL: u32 = 255;

/// Which routes are looked at.
#[derive(Clone, Default, Debug)]
pub(super) struct Filter {
    /// Empty: all but `local`.
    pub(super) tables: Vec<u32>,
    /// Empty: all. Routes of the others are known all the same, since they may be replaced by these.
    pub(super) protocols: Vec<u8>,
}

impl Filter {
    fn has_table(&self, table: u32) -> bool {
        if self.tables.is_empty() { table != TABLE_LOCAL } else { self.tables.contains(&table) }
    }
}

/// What the kernel has.
#[derive(Default, Debug)]
pub(super) struct Mirror {
    filter: Filter,
    /// With those of the flags by whose change routes come to life or die.
    links: BTreeMap<u32, (KernelLink, u32)>,
    addresses: BTreeSet<Address>,
    slots: BTreeMap<Slot, Vec<Way>>,
    neighbors: BTreeMap<(u32, IpAddr), MacAddress>,
    /// Nexthop objects. How they are resolved, the routes tell.
    nexthops: BTreeSet<u32>,
}

impl Mirror {
    pub(super) fn new(filter: Filter) -> Self {
        Self { filter, ..Self::default() }
    }

    /// Takes a message of a dump into a state that has not been told of yet.
    pub(super) fn collect(&mut self, heard: Heard) {
        match heard {
            Heard::Link { link, life } => {
                self.links.insert(link.index, (link, life));
            }
            Heard::Address(address) if address.is_usable => {
                self.addresses.insert(address);
            }
            Heard::Route(slot, way, _) if self.filter.has_table(slot.table) => {
                // A dump has the routes of a slot in their order. It knows all nexthop objects resolved.
                let _ = slots::enter(self.slots.entry(slot).or_default(), &slot, way, Entry::Last);
            }
            Heard::Neighbor { index, address, mac: Some(mac) } => {
                self.neighbors.insert((index, address), mac);
            }
            Heard::Nexthop { id } => {
                self.nexthops.insert(id);
            }
            _ => {}
        }
    }

    /// Becomes what the kernel was found to be.
    pub(super) fn become_state(&mut self, state: Self, tell: &mut impl FnMut(KernelChange)) {
        let old = std::mem::replace(self, state);
        for (link, _) in self.links.values() {
            if old.links.get(&link.index).map(|(link, _)| link) != Some(link) {
                tell(KernelChange::Link(link.clone()));
            }
        }
        for (slot, ways) in &old.slots {
            if !self.slots.contains_key(slot) {
                tell_route(old.show(slot, ways), None, tell);
            }
        }
        for (slot, ways) in &self.slots {
            let before = old.slots.get(slot);
            if before != Some(ways) {
                tell_route(before.and_then(|ways| old.show(slot, ways)), self.show(slot, ways), tell);
            }
        }
        for &(index, address) in old.neighbors.keys().filter(|key| !self.neighbors.contains_key(key)) {
            tell(KernelChange::NeighborGone { index, address });
        }
        for (&(index, address), &mac) in &self.neighbors {
            if old.neighbors.get(&(index, address)) != Some(&mac) {
                tell(KernelChange::Neighbor { index, address, mac });
            }
        }
        let (before, now) = (shown_addresses(&old.addresses), shown_addresses(&self.addresses));
        for &(index, address) in before.difference(&now) {
            tell(KernelChange::AddressGone { index, address });
        }
        for &(index, address) in now.difference(&before) {
            tell(KernelChange::Address { index, address });
        }
        for &index in old.links.keys().filter(|index| !self.links.contains_key(index)) {
            tell(KernelChange::LinkGone { index });
        }
    }

    /// Takes what the kernel says of its own accord.
    pub(super) fn hear(&mut self, heard: Heard, tell: &mut impl FnMut(KernelChange)) -> Certainty {
        match heard {
            Heard::Link { link, life } => self.hear_link(link, life, tell),
            Heard::LinkGone { index } => self.hear_link_gone(index, tell),
            Heard::Address(address) => {
                self.change_address(address, address.is_usable, tell);
                // The kernel brings hops of IPv4 back to life, and does not say so.
                let is_ipv4 = address.address.addr().is_ipv4();
                if is_ipv4 && self.has_hop(|hop| hop.index == address.index && hop.is_dead) {
                    Certainty::Doubtful
                } else {
                    Certainty::Sure
                }
            }
            Heard::AddressGone(address) => {
                self.change_address(address, false, tell);
                // Routes that need an IPv4 address go silently with it.
                if address.address.addr().is_ipv4() { Certainty::Doubtful } else { Certainty::Sure }
            }
            Heard::Route(slot, way, entry) => self.hear_route(slot, way, entry, tell),
            Heard::RouteGone(slot, way) => self.hear_route_gone(slot, &way, tell),
            Heard::Neighbor { index, address, mac } => {
                self.change_neighbor(index, address, mac, tell);
                Certainty::Sure
            }
            // A new one has no route yet; what happens to one that is there happens to its routes, and to those of
            // the groups that it is in.
            Heard::Nexthop { id } => {
                if self.nexthops.insert(id) {
                    Certainty::Sure
                } else {
                    self.doubt_objects()
                }
            }
            Heard::NexthopGone { id } => {
                self.nexthops.remove(&id);
                self.doubt_objects()
            }
        }
    }

    fn hear_link(&mut self, link: KernelLink, life: u32, tell: &mut impl FnMut(KernelChange)) -> Certainty {
        let index = link.index;
        let before = self.links.insert(index, (link.clone(), life));
        if before.as_ref().map(|(link, _)| link) != Some(&link) {
            tell(KernelChange::Link(link));
        }
        // With the link go its routes, and the kernel does not say which; hops come back as silently.
        let is_other = before.is_none_or(|(_, before)| before != life);
        if is_other && self.has_hop(|hop| hop.index == index) { Certainty::Doubtful } else { Certainty::Sure }
    }

    /// A device that is gone takes all with it that the mirror knows.
    fn hear_link_gone(&mut self, index: u32, tell: &mut impl FnMut(KernelChange)) -> Certainty {
        let mut certainty = Certainty::Sure;
        let filter = &self.filter;
        for (slot, ways) in &mut self.slots {
            if !ways.iter().any(|way| way.hops.iter().any(|hop| hop.index == index)) {
                continue;
            }
            certainty = Certainty::Doubtful;
            let before = slots::shown(slot, ways, &filter.protocols);
            for hop in ways.iter_mut().flat_map(|way| &mut way.hops).filter(|hop| hop.index == index) {
                hop.is_dead = true;
            }
            tell_route(before, slots::shown(slot, ways, &filter.protocols), tell);
        }
        let of_link: Vec<_> = self.neighbors.keys().filter(|(of, _)| *of == index).copied().collect();
        for (index, address) in of_link {
            self.change_neighbor(index, address, None, tell);
        }
        let of_link: Vec<_> = self.addresses.iter().filter(|of| of.index == index).copied().collect();
        for address in of_link {
            self.change_address(address, false, tell);
        }
        if self.links.remove(&index).is_some() {
            tell(KernelChange::LinkGone { index });
        }
        certainty
    }

    fn change_address(&mut self, address: Address, is_there: bool, tell: &mut impl FnMut(KernelChange)) {
        let known = Address { is_usable: true, ..address };
        let Address { index, address, .. } = known;
        let before = self.shows_address(index, known);
        if is_there {
            self.addresses.insert(known);
        } else {
            self.addresses.remove(&known);
        }
        match (before, self.shows_address(index, known)) {
            (false, true) => tell(KernelChange::Address { index, address }),
            (true, false) => tell(KernelChange::AddressGone { index, address }),
            _ => {}
        }
    }

    /// The same address may be there several times, with different peers.
    fn shows_address(&self, index: u32, like: Address) -> bool {
        let from = Address { peer: None, is_usable: false, ..like };
        self.addresses
            .range(from..)
            .next()
            .is_some_and(|found| (found.index, found.address) == (index, like.address))
    }

    fn hear_route(
        &mut self,
        slot: Slot,
        way: Way,
        entry: Entry,
        tell: &mut impl FnMut(KernelChange),
    ) -> Certainty {
        if !self.filter.has_table(slot.table) {
            return Certainty::Sure;
        }
        let ways = self.slots.entry(slot).or_default();
        let before = slots::shown(&slot, ways, &self.filter.protocols);
        let certainty = slots::enter(ways, &slot, way, entry);
        tell_route(before, slots::shown(&slot, ways, &self.filter.protocols), tell);
        certainty
    }

    fn hear_route_gone(&mut self, slot: Slot, gone: &Way, tell: &mut impl FnMut(KernelChange)) -> Certainty {
        let Some(ways) = self.slots.get_mut(&slot) else { return Certainty::Sure };
        let before = slots::shown(&slot, ways, &self.filter.protocols);
        let certainty = slots::leave(ways, &slot, gone);
        tell_route(before, slots::shown(&slot, ways, &self.filter.protocols), tell);
        if ways.is_empty() {
            self.slots.remove(&slot);
        }
        certainty
    }

    fn change_neighbor(
        &mut self,
        index: u32,
        address: IpAddr,
        mac: Option<MacAddress>,
        tell: &mut impl FnMut(KernelChange),
    ) {
        match mac {
            Some(mac) => {
                if self.neighbors.insert((index, address), mac) != Some(mac) {
                    tell(KernelChange::Neighbor { index, address, mac });
                }
            }
            None => {
                if self.neighbors.remove(&(index, address)).is_some() {
                    tell(KernelChange::NeighborGone { index, address });
                }
            }
        }
    }

    fn has_hop(&self, is_it: impl Fn(&Hop) -> bool) -> bool {
        self.ways().any(|way| way.hops.iter().any(&is_it))
    }

    fn doubt_objects(&self) -> Certainty {
        if self.ways().any(|way| way.nexthop != 0) { Certainty::Doubtful } else { Certainty::Sure }
    }

    fn ways(&self) -> impl Iterator<Item = &Way> {
        self.slots.values().flatten()
    }

    fn show(&self, slot: &Slot, ways: &[Way]) -> Option<KernelRoute> {
        slots::shown(slot, ways, &self.filter.protocols)
    }
}

/// Whether a dump is worth nothing because of what was said while it was made. What is said of IPv4 routes can be taken
/// after it, in its order, since it tells of all that happened to them. But not if something else happened that
/// changes routes silently, or if what took another's place has gone, which then seems to have taken the place of the
/// next one; and a dump of IPv6 routes may pass over some if others change.
pub(super) fn is_disturbance(said: &[Heard]) -> bool {
    let (mut is_route, mut is_silent, mut replaced) = (false, false, BTreeSet::new());
    for heard in said {
        match heard {
            Heard::Route(slot, ..) | Heard::RouteGone(slot, _) if slot.prefix.addr().is_ipv6() => {
                return true;
            }
            Heard::RouteGone(slot, _) if replaced.contains(slot) => return true,
            Heard::Route(slot, _, Entry::Replace) => {
                is_route = true;
                replaced.insert(*slot);
            }
            Heard::Route(..) | Heard::RouteGone(..) => is_route = true,
            Heard::Address(address) | Heard::AddressGone(address) => {
                is_silent |= address.address.addr().is_ipv4();
            }
            Heard::Link { .. } | Heard::LinkGone { .. } => is_silent = true,
            Heard::Nexthop { .. } | Heard::NexthopGone { .. } => is_silent = true,
            Heard::Neighbor { .. } => {}
        }
    }
    is_route && is_silent
}

fn shown_addresses(addresses: &BTreeSet<Address>) -> BTreeSet<(u32, ipnet::IpNet)> {
    addresses.iter().map(|address| (address.index, address.address)).collect()
}

fn tell_route(before: Option<KernelRoute>, now: Option<KernelRoute>, tell: &mut impl FnMut(KernelChange)) {
    if before == now {
        return;
    }
    if let Some(before) = before
        && now.as_ref().map(|route| route.key) != Some(before.key)
    {
        tell(KernelChange::RouteGone(before.key));
    }
    if let Some(now) = now {
        tell(KernelChange::Route(now));
    }
}

#[cfg(test)]
mod tests;
