//! The mirror against a model of a kernel that says less than it does, and whose messages may be lost.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use proptest::prelude::*;

use super::super::{KernelHop, KernelRouteKey, KernelRouteKind};
use super::*;
use crate::kernel::heard::Hop;

/// Who applies all changes, each of which has to be one.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
struct Known {
    links: BTreeMap<u32, KernelLink>,
    addresses: BTreeSet<(u32, IpNet)>,
    routes: BTreeMap<KernelRouteKey, KernelRouteKind>,
    neighbors: BTreeMap<(u32, IpAddr), MacAddress>,
}

impl Known {
    fn apply(&mut self, change: KernelChange) {
        let text = format!("{change:?}");
        let is_change = match change {
            KernelChange::Link(link) => self.links.insert(link.index, link.clone()) != Some(link),
            KernelChange::LinkGone { index } => {
                assert!(self.addresses.iter().all(|(of, _)| *of != index), "addresses of {text}");
                assert!(self.neighbors.keys().all(|(of, _)| *of != index), "neighbors of {text}");
                let is_by = |hop: &KernelHop| hop.index == index;
                let is_led = |kind: &KernelRouteKind| matches!(kind, KernelRouteKind::Hops(hops) if hops.iter().any(is_by));
                assert!(!self.routes.values().any(is_led), "routes by {text}");
                self.links.remove(&index).is_some()
            }
            KernelChange::Address { index, address } => self.addresses.insert((index, address)),
            KernelChange::AddressGone { index, address } => self.addresses.remove(&(index, address)),
            KernelChange::Route(route) => {
                self.routes.insert(route.key, route.kind.clone()) != Some(route.kind)
            }
            KernelChange::RouteGone(key) => self.routes.remove(&key).is_some(),
            KernelChange::Neighbor { index, address, mac } => {
                self.neighbors.insert((index, address), mac) != Some(mac)
            }
            KernelChange::NeighborGone { index, address } => {
                self.neighbors.remove(&(index, address)).is_some()
            }
        };
        assert!(is_change, "nothing changes by {text}");
    }
}

/// What happens to the kernel, and between it and the mirror.
#[derive(Clone, Debug)]
enum Step {
    Add {
        slot: usize,
        way: usize,
        entry: usize,
    },
    Delete {
        slot: usize,
        way: usize,
    },
    Link {
        index: u32,
        is_up: bool,
    },
    Gone {
        index: u32,
    },
    Address {
        index: u32,
        last: u8,
        peer: u8,
        is_usable: bool,
        is_there: bool,
    },
    Neighbor {
        index: u32,
        last: u8,
        mac: Option<u8>,
    },
    /// All that was said so far is heard.
    Hear,
    /// The next messages are lost.
    Lose,
}

fn any_step() -> impl Strategy<Value = Step> {
    let (index, last) = (1..4_u32, 1..3_u8);
    prop_oneof![
        8 => (0..4_usize, 0..7_usize, 0..4_usize).prop_map(|(slot, way, entry)| Step::Add { slot, way, entry }),
        4 => (0..4_usize, 0..7_usize).prop_map(|(slot, way)| Step::Delete { slot, way }),
        3 => (index.clone(), any::<bool>()).prop_map(|(index, is_up)| Step::Link { index, is_up }),
        1 => index.clone().prop_map(|index| Step::Gone { index }),
        2 => (index.clone(), last.clone(), 0..3_u8, any::<bool>(), any::<bool>()).prop_map(
            |(index, last, peer, is_usable, is_there)| Step::Address { index, last, peer, is_usable, is_there }
        ),
        2 => (index, last, proptest::option::of(1..3_u8))
            .prop_map(|(index, last, mac)| Step::Neighbor { index, last, mac }),
        6 => Just(Step::Hear),
        1 => Just(Step::Lose),
    ]
}

fn slot(number: usize) -> Slot {
    let prefix = ["192.0.2.0/24", "0.0.0.0/0", "2001:db8::/32", "::/0"][number];
    Slot { table: 254, prefix: prefix.parse().unwrap(), metric: 1 }
}

/// By a gateway, by two, on the link, or dropping; of several protocols.
fn way(slot: &Slot, number: usize) -> Way {
    let is_ipv6 = slot.prefix.addr().is_ipv6();
    let hop = |index: u32| {
        let gateway = if is_ipv6 { format!("fe80::{index}") } else { format!("10.0.0.{index}") };
        Hop { index, gateway: Some(gateway.parse().unwrap()), weight: 1, detour: 0, is_dead: false }
    };
    let (kind, hops) = match number {
        0 => (libc::RTN_BLACKHOLE, vec![]),
        1 => (libc::RTN_UNICAST, vec![Hop { gateway: None, ..hop(1) }]),
        2 | 3 => (libc::RTN_UNICAST, vec![hop(1), hop(2)]),
        4 => (libc::RTN_UNICAST, vec![hop(1)]),
        5 => (libc::RTN_UNICAST, vec![hop(2)]),
        _ => (libc::RTN_UNICAST, vec![hop(3)]),
    };
    // Siblings of IPv6 are of one protocol here.
    let protocol = if number == 3 && !is_ipv6 { 12 } else { 4 };
    Way { protocol, kind, nexthop: 0, hops, rest: 0 }
}

#[derive(Default)]
struct Kernel {
    links: BTreeMap<u32, bool>,
    addresses: BTreeMap<Address, bool>,
    slots: BTreeMap<Slot, Vec<Way>>,
    neighbors: BTreeMap<(u32, IpAddr), MacAddress>,
    said: Vec<Heard>,
}

fn link(index: u32, is_up: bool) -> Heard {
    let link =
        KernelLink { index, name: format!("eth{index}"), mac: None, mtu_bytes: 1500, is_running: is_up };
    Heard::Link { link, life: u32::from(is_up) }
}

fn address(index: u32, last: u8, peer: u8) -> Address {
    let own: IpAddr = [10, 0, 0, last].into();
    let peer = (peer > 0).then(|| IpAddr::from([10, 1, 0, peer]));
    let address = if peer.is_some() { IpNet::from(own) } else { IpNet::new(own, 24).unwrap() };
    Address { index, address, peer, is_usable: false }
}

impl Kernel {
    fn perform(&mut self, step: &Step) {
        match *step {
            Step::Add { slot: number, way: route, entry } => {
                let (slot, entry) =
                    (slot(number), [Entry::Only, Entry::First, Entry::Last, Entry::Replace][entry]);
                let way = way(&slot, route);
                // No route by a device that is down.
                if way.hops.iter().all(|hop| self.links.get(&hop.index) == Some(&true)) {
                    self.add(slot, way, entry);
                }
            }
            Step::Delete { slot: number, way: route } => {
                let slot = slot(number);
                self.delete(slot, &way(&slot, route));
            }
            Step::Link { index, is_up } => {
                if self.links.insert(index, is_up) != Some(is_up) {
                    self.said.push(link(index, is_up));
                    self.change_hops(index, is_up);
                }
            }
            Step::Gone { index } => {
                if self.links.remove(&index).is_some() {
                    self.change_hops(index, false);
                    self.addresses.retain(|address, _| address.index != index);
                    self.neighbors.retain(|(of, _), _| *of != index);
                    self.said.push(Heard::LinkGone { index });
                }
            }
            Step::Address { index, last, peer, is_usable, is_there } => {
                let address = address(index, last, peer);
                if is_there && self.links.contains_key(&index) {
                    self.addresses.insert(address, is_usable);
                    self.said.push(Heard::Address(Address { is_usable, ..address }));
                } else if self.addresses.remove(&address).is_some() {
                    self.said.push(Heard::AddressGone(address));
                }
            }
            Step::Neighbor { index, last, mac } => {
                let address = IpAddr::from([10, 0, 0, last]);
                let mac = mac.map(|mac| MacAddress([2, 0, 0, 0, 0, mac]));
                match mac.filter(|_| self.links.contains_key(&index)) {
                    Some(mac) => drop(self.neighbors.insert((index, address), mac)),
                    None => drop(self.neighbors.remove(&(index, address))),
                }
                let mac = self.neighbors.get(&(index, address)).copied();
                self.said.push(Heard::Neighbor { index, address, mac });
            }
            Step::Hear | Step::Lose => {}
        }
    }

    fn add(&mut self, slot: Slot, way: Way, asked: Entry) {
        let is_ipv6 = slot.prefix.addr().is_ipv6();
        let ways = self.slots.entry(slot).or_default();
        if ways.is_empty() {
            ways.push(way.clone());
            let entry = if asked == Entry::Replace { Entry::Replace } else { Entry::Only };
            self.said.push(Heard::Route(slot, way, entry));
            return;
        }
        let is_known = ways.iter().any(|other| other.is_same(&way));
        let entry = match asked {
            Entry::Only => return,
            _ if is_known => return,
            entry => entry,
        };
        let group = ways.iter().position(|other| is_ipv6 && other.is_group() && way.is_group());
        let mut told = way.clone();
        match (entry, group) {
            (Entry::Replace, None) => {
                let like = ways.iter().position(|other| !is_ipv6 || other.is_group() == way.is_group());
                ways[like.unwrap_or(0)] = way;
            }
            (Entry::Replace, Some(group)) => ways[group] = way,
            (_, Some(group)) => {
                let fresh = way.hops.iter().filter(|hop| !ways[group].hops.iter().any(|of| of.is_same(hop)));
                let fresh: Vec<_> = fresh.copied().collect();
                ways[group].hops.extend(fresh);
                ways[group].hops.sort_unstable();
                told = ways[group].clone();
            }
            (Entry::First, None) if !is_ipv6 => ways.insert(0, way),
            (_, None) => ways.push(way),
        }
        self.said.push(Heard::Route(slot, told, entry));
    }

    fn delete(&mut self, slot: Slot, way: &Way) {
        let Some(ways) = self.slots.get_mut(&slot) else { return };
        let is_group = slot.prefix.addr().is_ipv6() && way.is_group();
        if is_group {
            let Some(place) = ways.iter().position(Way::is_group) else { return };
            for hop in &way.hops {
                if let Some(at) = ways[place].hops.iter().position(|of| of.is_same(hop)) {
                    let gone = ways[place].hops.remove(at);
                    self.said.push(Heard::RouteGone(slot, Way { hops: vec![gone], ..way.clone() }));
                }
            }
            ways.retain(|way| way.kind != libc::RTN_UNICAST || !way.hops.is_empty());
        } else if let Some(place) = ways.iter().position(|of| of.is_same(way)) {
            let gone = ways.remove(place);
            self.said.push(Heard::RouteGone(slot, gone));
        }
        if ways.is_empty() {
            self.slots.remove(&slot);
        }
    }

    /// Silently.
    fn change_hops(&mut self, index: u32, is_up: bool) {
        for ways in self.slots.values_mut() {
            for hop in ways.iter_mut().flat_map(|way| &mut way.hops).filter(|hop| hop.index == index) {
                hop.is_dead = !is_up;
            }
            ways.retain(|way| {
                let is_by = way.hops.iter().any(|hop| hop.index == index);
                !is_by || way.hops.iter().any(|hop| !hop.is_dead)
            });
        }
        self.slots.retain(|_, ways| !ways.is_empty());
    }

    fn dump(&self) -> Vec<Heard> {
        let mut dump: Vec<_> = self.links.iter().map(|(index, is_up)| link(*index, *is_up)).collect();
        let usable = |(address, is_usable): (&Address, &bool)| Address { is_usable: *is_usable, ..*address };
        dump.extend(self.addresses.iter().map(|address| Heard::Address(usable(address))));
        for (slot, ways) in &self.slots {
            dump.extend(ways.iter().map(|way| Heard::Route(*slot, way.clone(), Entry::First)));
        }
        let neighbors = self.neighbors.iter();
        dump.extend(neighbors.map(|(&(index, address), &mac)| Heard::Neighbor {
            index,
            address,
            mac: Some(mac),
        }));
        dump
    }

    fn known(&self) -> Known {
        let mut known = Known { neighbors: self.neighbors.clone(), ..Known::default() };
        for (&index, &is_up) in &self.links {
            let Heard::Link { link, .. } = link(index, is_up) else { unreachable!() };
            known.links.insert(index, link);
        }
        let usable = self.addresses.iter().filter(|(_, is_usable)| **is_usable);
        known.addresses.extend(usable.map(|(address, _)| (address.index, address.address)));
        for (slot, ways) in &self.slots {
            let is_alive =
                |way: &&Way| way.kind != libc::RTN_UNICAST || way.hops.iter().any(|hop| !hop.is_dead);
            let Some(way) = ways.iter().find(is_alive) else { continue };
            let alive = way.hops.iter().filter(|hop| !hop.is_dead);
            let hops =
                alive.map(|hop| KernelHop { index: hop.index, gateway: hop.gateway, weight: hop.weight });
            let kind = match way.kind {
                libc::RTN_BLACKHOLE => KernelRouteKind::Blackhole,
                _ => KernelRouteKind::Hops(hops.collect()),
            };
            let (table, prefix, metric) = (slot.table, slot.prefix, slot.metric);
            known.routes.insert(KernelRouteKey { table, protocol: way.protocol, prefix, metric }, kind);
        }
        known
    }
}

/// The mirror, and the one who asks the kernel when it is in doubt.
struct Follower {
    mirror: Mirror,
    known: Known,
}

impl Follower {
    fn hear(&mut self, said: Vec<Heard>, but: Certainty) -> bool {
        let mut is_doubtful = false;
        for heard in said {
            is_doubtful |= self.mirror.hear(heard, &mut |change| self.known.apply(change)) > but;
        }
        is_doubtful
    }

    /// What was said before the dump and is still heard after it does no harm.
    fn ask(&mut self, kernel: &mut Kernel) {
        loop {
            let mut state = Mirror::new(Filter::default());
            kernel.dump().into_iter().for_each(|heard| state.collect(heard));
            let said = std::mem::take(&mut kernel.said);
            if is_disturbance(&said) {
                continue;
            }
            self.mirror.become_state(state, &mut |change| self.known.apply(change));
            if !self.hear(said, Certainty::Surprised) {
                return;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn all_changes_together_are_the_state(steps in proptest::collection::vec(any_step(), 1..60)) {
        let mut kernel = Kernel::default();
        let mut follower = Follower { mirror: Mirror::new(Filter::default()), known: Known::default() };
        let mut is_lost = false;
        for index in 1..4 {
            kernel.perform(&Step::Link { index, is_up: true });
        }
        for step in steps.iter().chain([&Step::Hear]) {
            kernel.perform(step);
            match step {
                Step::Lose => {
                    kernel.said.clear();
                    is_lost = true;
                }
                Step::Hear => {
                    // What is lost makes the rest worthless, until the kernel has been asked.
                    if std::mem::take(&mut is_lost)
                        || follower.hear(std::mem::take(&mut kernel.said), Certainty::Sure)
                    {
                        follower.ask(&mut kernel);
                    }
                    prop_assert_eq!(&follower.known, &kernel.known());
                }
                _ => {}
            }
        }
    }
}
