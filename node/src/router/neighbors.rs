//! The neighbors of both links: what workers ask and tell comes in, frames and maps go out.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use dataplane::{LinkId, Punt};
use ipnet::IpNet;
use packet::{MacAddress, PortId, arp, icmpv6, ipv6};
use router::gateway::DEFEND_INTERVAL_MS;
use router::neighbor::{Action, Neighbor, NeighborMap, Neighbors, Settings};

/// Timers that one call of [`NeighborControl::tick`] carries out for each link.
const TIMERS_MAX: usize = 256;

/// By which ports a frame is to leave.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Outlet {
    /// All of the bridge.
    Bridge,
    /// Those of the bridge behind which an address may be that was not configured: a port that is bound to its
    /// addresses has no others.
    Unbound,
    /// This one.
    Port(PortId),
}

/// A frame to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outgoing {
    /// Where.
    pub to: Outlet,
    /// All of it.
    pub frame: Vec<u8>,
}

/// Somebody else claims an address of the gateway's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Conflict {
    /// Behind which port.
    pub port: PortId,
    /// Which address.
    pub address: IpAddr,
}

/// The frame that tells everybody that `address` is at `mac`: gratuitous ARP (RFC 5227 §2.3) or an unsolicited neighbor
/// advertisement (RFC 4861 §7.2.6).
#[must_use]
pub fn announcement(mac: MacAddress, address: IpAddr, is_router: bool) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => arp::gratuitous(mac, address).to_vec(),
        IpAddr::V6(address) => icmpv6::unsolicited_neighbor_advertisement(mac, address, is_router).to_vec(),
    }
}

/// How the router is on a link.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Station {
    /// Its MAC.
    pub mac: MacAddress,
    /// Its addresses with the lengths of their networks' prefixes.
    pub addresses: Vec<IpNet>,
}

impl Station {
    /// The address that asks for `target`: one of the same network, else the link-local one of IPv6, else any.
    fn asker(&self, target: IpAddr) -> Option<IpAddr> {
        let near = self.addresses.iter().find(|own| own.contains(&target)).map(IpNet::addr);
        near.or_else(|| match target {
            IpAddr::V6(_) => Some(self.link_local().into()),
            IpAddr::V4(_) => self.addresses.iter().map(IpNet::addr).find(IpAddr::is_ipv4),
        })
    }

    fn link_local(&self) -> Ipv6Addr {
        let own = self.addresses.iter().find_map(|own| match own.addr() {
            IpAddr::V6(address) if address.is_unicast_link_local() => Some(address),
            _ => None,
        });
        own.unwrap_or_else(|| ipv6::link_local(self.mac))
    }

    /// The frame that asks for `target`, all or the one that is `probed`.
    fn solicitation(&self, target: IpAddr, probed: Option<MacAddress>) -> Option<Vec<u8>> {
        match (self.asker(target)?, target) {
            (IpAddr::V4(address), IpAddr::V4(target)) => {
                let mut frame = arp::request(arp::End { mac: self.mac, address }, target).to_vec();
                if let Some(MacAddress(to)) = probed {
                    // RFC 1122 §2.3.2.1 (2): a unicast poll.
                    frame[..6].copy_from_slice(&to);
                }
                Some(frame)
            }
            (IpAddr::V6(source), IpAddr::V6(target)) => {
                Some(icmpv6::neighbor_solicitation(self.mac, source, target, probed).to_vec())
            }
            _ => None,
        }
    }
}

/// One link.
#[derive(Debug)]
struct Table {
    neighbors: Neighbors,
    station: Station,
    /// Those that are set, for us to take back what is not set any more.
    permanent: BTreeMap<IpAddr, (MacAddress, PortId)>,
    map: Arc<NeighborMap>,
    /// That the map is of.
    generation: u64,
}

impl Table {
    fn new(seed: u64) -> Self {
        Self {
            neighbors: Neighbors::new(Settings::default()),
            station: Station::default(),
            permanent: BTreeMap::new(),
            map: Arc::new(NeighborMap::new([], seed)),
            generation: 0,
        }
    }
}

/// The neighbor tables of the control side, without a clock or a socket. See
/// [`router::neighbor`] for the states.
#[derive(Debug)]
pub struct NeighborControl {
    tables: [Table; 2],
    uplink: PortId,
    seed: u64,
    outgoing: Vec<Outgoing>,
    conflicts: Vec<Conflict>,
    /// When an address was last defended.
    defended: BTreeMap<IpAddr, u64>,
    actions: Vec<Action>,
}

impl NeighborControl {
    /// Empty tables. `seed` keys the hash of the maps; it is to be random and secret.
    #[must_use]
    pub fn new(uplink: PortId, seed: u64) -> Self {
        Self {
            tables: [Table::new(seed), Table::new(seed)],
            uplink,
            seed,
            outgoing: Vec::new(),
            conflicts: Vec::new(),
            defended: BTreeMap::new(),
            actions: Vec::new(),
        }
    }

    /// Says how the router is on a link. On another one (another MAC) nothing is known yet.
    pub fn set_station(&mut self, link: LinkId, station: Station) {
        let table = &mut self.tables[link.index()];
        if table.station.mac != station.mac && table.station != Station::default() {
            table.neighbors.flush(&mut self.actions);
            self.actions.clear();
        }
        self.tables[link.index()].station = station;
    }

    /// Sets the permanent neighbors of a link: those that are not among them any more are forgotten.
    pub fn set_permanent(&mut self, link: LinkId, wanted: BTreeMap<IpAddr, (MacAddress, PortId)>) {
        let table = &mut self.tables[link.index()];
        for address in table.permanent.keys().filter(|address| !wanted.contains_key(address)) {
            table.neighbors.remove(*address, &mut self.actions);
        }
        for (address, (mac, port)) in &wanted {
            if table.permanent.get(address) != Some(&(*mac, *port)) {
                table.neighbors.add_permanent(*address, *mac, *port, &mut self.actions);
            }
        }
        table.permanent = wanted;
        self.carry_out(link);
    }

    /// Does what a worker asks for. `random` is a random number.
    pub fn punt(&mut self, punt: Punt, now_ms: u64, random: u32) {
        let link = match punt {
            Punt::Wanted { link, address, asker } | Punt::Used { link, address, asker } => {
                self.tables[link.index()].neighbors.resolve(address, asker, now_ms, &mut self.actions);
                link
            }
            Punt::Heard { link, port, message } => {
                let neighbors = &mut self.tables[link.index()].neighbors;
                neighbors.heard(&message, port, now_ms, random, &mut self.actions);
                link
            }
            Punt::Conflict { link, port, address } => {
                if link == LinkId::Bridge {
                    self.defend(Conflict { port, address }, now_ms);
                }
                link
            }
        };
        self.carry_out(link);
    }

    /// RFC 5227 §2.4 (c): the address is announced, but not again and again. Those of the uplink are the kernel's
    /// to defend.
    fn defend(&mut self, conflict: Conflict, now_ms: u64) {
        let station = &self.tables[LinkId::Bridge.index()].station;
        if !station.addresses.iter().any(|own| own.addr() == conflict.address) {
            return;
        }
        let last_ms = self.defended.get(&conflict.address);
        if last_ms.is_some_and(|last_ms| now_ms.saturating_sub(*last_ms) < DEFEND_INTERVAL_MS) {
            return;
        }
        let frame = announcement(station.mac, conflict.address, true);
        self.outgoing.push(Outgoing { to: Outlet::Bridge, frame });
        self.conflicts.push(conflict);
        // No more entries than the gateway has addresses.
        self.defended.insert(conflict.address, now_ms);
    }

    /// Lets time pass. True if more is due at once.
    pub fn tick(&mut self, now_ms: u64) -> bool {
        let mut is_more_due = false;
        for link in LinkId::ALL {
            let neighbors = &mut self.tables[link.index()].neighbors;
            is_more_due |= neighbors.tick(now_ms, TIMERS_MAX, &mut self.actions);
            self.carry_out(link);
        }
        is_more_due
    }

    /// When [`tick`](Self::tick) is to be called next, if nothing else happens.
    #[must_use]
    pub fn next_deadline_ms(&self) -> Option<u64> {
        self.tables.iter().filter_map(|table| table.neighbors.next_deadline_ms()).min()
    }

    /// What workers do with frames that wait they see from the next map; what is left are solicitations.
    fn carry_out(&mut self, link: LinkId) {
        let station = &self.tables[link.index()].station;
        for action in self.actions.drain(..) {
            let Action::Solicit { address, probed } = action else { continue };
            let to = match (link, probed) {
                (LinkId::Uplink, _) => Outlet::Port(self.uplink),
                (LinkId::Bridge, Some((_, port))) => Outlet::Port(port),
                (LinkId::Bridge, None) => Outlet::Unbound,
            };
            if let Some(frame) = station.solicitation(address, probed.map(|(mac, _)| mac)) {
                self.outgoing.push(Outgoing { to, frame });
            }
        }
    }

    /// Frames to send since the last call.
    pub fn take_outgoing(&mut self) -> Vec<Outgoing> {
        std::mem::take(&mut self.outgoing)
    }

    /// Addresses of the gateway's that were defended since the last call.
    pub fn take_conflicts(&mut self) -> Vec<Conflict> {
        std::mem::take(&mut self.conflicts)
    }

    /// Forgets all that is behind a port, permanent neighbors too, and all that it asked for.
    pub fn remove_port(&mut self, port: PortId) {
        for table in &mut self.tables {
            table.neighbors.remove_port(port, &mut self.actions);
            table.permanent.retain(|_, (_, behind)| *behind != port);
        }
        self.actions.clear();
    }

    /// Forgets what was learned, on one link or both. Returns the number of entries.
    pub fn flush(&mut self, link: Option<LinkId>) -> usize {
        let mut flushed = 0;
        for link in LinkId::ALL.into_iter().filter(|other| link.is_none_or(|link| link == *other)) {
            let neighbors = &mut self.tables[link.index()].neighbors;
            let before = neighbors.len();
            neighbors.flush(&mut self.actions);
            flushed += before - neighbors.len();
        }
        self.actions.clear();
        flushed
    }

    /// Grows with every change that workers are to see.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.tables.iter().map(|table| table.neighbors.generation()).sum()
    }

    /// All neighbors on a link, by address.
    pub fn on(&self, link: LinkId) -> impl Iterator<Item = Neighbor> {
        self.tables[link.index()].neighbors.iter()
    }

    /// Number of neighbors on both links.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tables.iter().map(|table| table.neighbors.len()).sum()
    }

    /// True without any neighbor.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The neighbors on a link as workers see them. The same value as before if nothing has changed.
    pub fn map(&mut self, link: LinkId) -> Arc<NeighborMap> {
        let table = &mut self.tables[link.index()];
        let generation = table.neighbors.generation();
        if table.generation != generation {
            table.map = Arc::new(NeighborMap::new(table.neighbors.iter(), self.seed));
            table.generation = generation;
        }
        Arc::clone(&table.map)
    }
}

#[cfg(test)]
mod tests;
