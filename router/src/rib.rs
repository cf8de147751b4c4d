//! The routes that are known, from all sources (the routing information base).
//!
//! # Theory of operation
//! **Offers.** Each source offers routes; several may offer one prefix, and one source may offer it with several
//! metrics, as the kernel's tables can. What is offered is kept as it came: an offer is identified by prefix,
//! source and metric, and a source that goes takes its own offers along and no others.
//!
//! **The best** of a prefix is the first usable offer by precedence of the source ([`RouteSource`]), then by
//! metric, the lower one first. Usable is an offer that leads somewhere: of its gateways at least one lies in a
//! network that is known, which is a usable offer of [`RouteKind::Connected`], the longest that contains the
//! gateway. So a network that disappears makes the routes through it sleep; they are back when it is.
//!
//! **Changes.** Every change returns the prefixes whose best may be another one now, which is what
//! [`FibCompiler::update`](crate::fib::FibCompiler::update) wants to know. For a connected network that includes
//! all routes with a gateway in it; these are found by looking at all routes, in some milliseconds a million.
//!
//! **Bounds.** Offers in all, as given to [`Rib::new`]; [`OFFERS_OF_PREFIX_MAX`] a prefix; [`NEXT_HOPS_MAX`]
//! gateways an offer.

use crate::next_hop::{NEXT_HOPS_MAX, NextHop};
use ipnet::IpNet;
use packet::PortId;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Most offers for one prefix.
pub const OFFERS_OF_PREFIX_MAX: usize = 64;

/// Who says that there is a route. What stands first here wins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RouteSource {
    /// The addresses of a port.
    Connected,
    /// The configuration.
    Static,
    /// The control API, and with it `flyover route add`.
    Api,
    /// The cluster: the pod networks of other nodes.
    Cluster,
    /// The kernel's tables. Each routing protocol is a source of its own.
    Kernel {
        /// `rtm_protocol`: who gave the route to the kernel (rtnetlink(7)).
        protocol: u8,
    },
}

/// Where packets are to be handed to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Gateway {
    /// Its address, of the family of the route.
    pub address: IpAddr,
    /// The port behind which it is; `None`: that of the connected network that contains it. With a port the
    /// gateway need not be in any network (`onlink`).
    pub port: Option<PortId>,
    /// Its share of the flows, relative to the others of the route. 0 counts as 1.
    pub weight: u8,
}

/// What becomes of packets.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum RouteKind {
    /// They are handed to one of these, by flow.
    Via(Vec<Gateway>),
    /// The destination itself is a neighbor.
    Connected {
        /// The port behind which it is.
        port: PortId,
    },
    /// They are the node's own.
    Local,
    /// Dropped without a word.
    Blackhole,
    /// Dropped, and the sender is told that it is prohibited.
    Prohibit,
    /// Dropped, and the sender is told that the host is unreachable.
    Unreachable,
}

/// What one source offers for one prefix.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// The destinations, without host bits.
    pub prefix: IpNet,
    /// Who offers it.
    pub source: RouteSource,
    /// The lower one wins among the offers of one source.
    pub metric: u32,
    /// What becomes of packets.
    pub kind: RouteKind,
}

/// A route's kind with its gateways found.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Resolution {
    /// The gateways in known networks, sorted, none twice, with their weights.
    Via(Vec<(NextHop, u8)>),
    /// See [`RouteKind::Connected`].
    Connected {
        /// The port behind which the destination is.
        port: PortId,
    },
    /// See [`RouteKind::Local`].
    Local,
    /// See [`RouteKind::Blackhole`].
    Blackhole,
    /// See [`RouteKind::Prohibit`].
    Prohibit,
    /// See [`RouteKind::Unreachable`].
    Unreachable,
}

/// Why a route is refused, or not usable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RouteError {
    /// The prefix has bits behind its length.
    #[error("{0} has host bits: did you mean {network}?", network = .0.trunc())]
    HostBits(IpNet),
    /// Multicast is not routed.
    #[error("{0} is multicast, which is not routed")]
    Multicast(IpNet),
    /// A route by way of nobody.
    #[error("the route to {0} names no gateway")]
    NoGateway(IpNet),
    /// More than [`NEXT_HOPS_MAX`].
    #[error("the route to {0} names more than {NEXT_HOPS_MAX} gateways")]
    TooManyGateways(IpNet),
    /// Gateway and prefix are of different families.
    #[error("the gateway {gateway} is of another family than {prefix}")]
    WrongFamily {
        /// The destinations.
        prefix: IpNet,
        /// The gateway.
        gateway: IpAddr,
    },
    /// The gateway's address is not one that a neighbor can have.
    #[error("{0} is not the address of a gateway")]
    UnusableGateway(IpAddr),
    /// No connected network contains any of the gateways; this is one of them.
    #[error("the gateway {0} is on no known network")]
    GatewayOnNoKnownNetwork(IpAddr),
    /// As many offers as the RIB may have.
    #[error("there is no room for another route: the limit is {0}")]
    Full(usize),
    /// [`OFFERS_OF_PREFIX_MAX`] offers for this prefix.
    #[error("there are {OFFERS_OF_PREFIX_MAX} routes to {0} already")]
    TooManyOffers(IpNet),
}

/// All offers of all sources; how it works stands at the top of its source file.
#[derive(Clone, Debug)]
pub struct Rib {
    /// By prefix; the offers of a prefix by source and metric, which are different in each.
    offers: BTreeMap<IpNet, Vec<Route>>,
    /// The networks that gateways are looked for in.
    networks: BTreeMap<IpNet, PortId>,
    count: usize,
    routes_max: usize,
}

impl Rib {
    /// An empty RIB for at most `routes_max` offers.
    #[must_use]
    pub fn new(routes_max: usize) -> Self {
        Self { offers: BTreeMap::new(), networks: BTreeMap::new(), count: 0, routes_max }
    }

    /// Takes an offer, in place of the one of the same prefix, source and metric if there is one. An offer that
    /// is not usable now is taken too: its gateway's network may come later; [`Rib::resolve`] says so.
    ///
    /// Returns the prefixes whose best offer may have changed.
    ///
    /// # Errors
    /// What is wrong with the route whatever else is known; nothing has changed then.
    pub fn offer(&mut self, route: Route) -> Result<Vec<IpNet>, RouteError> {
        validate(&route)?;
        let prefix = route.prefix;
        let offers = self.offers.get(&prefix).map_or(&[][..], Vec::as_slice);
        match offers.binary_search_by_key(&key(&route), key) {
            Ok(position) => {
                if let Some(known) = self.offers.get_mut(&prefix).and_then(|offers| offers.get_mut(position))
                {
                    *known = route;
                }
            }
            Err(_) if self.count >= self.routes_max => return Err(RouteError::Full(self.routes_max)),
            Err(_) if offers.len() >= OFFERS_OF_PREFIX_MAX => return Err(RouteError::TooManyOffers(prefix)),
            Err(position) => {
                self.offers.entry(prefix).or_default().insert(position, route);
                self.count += 1;
            }
        }
        Ok(self.changed([prefix]))
    }

    /// Takes an offer back. Returns the prefixes whose best offer may have changed: none if it is not known.
    pub fn withdraw(&mut self, prefix: IpNet, source: RouteSource, metric: u32) -> Vec<IpNet> {
        let Some(offers) = self.offers.get_mut(&prefix) else { return Vec::new() };
        let Ok(position) = offers.binary_search_by_key(&(source, metric), key) else { return Vec::new() };
        offers.remove(position);
        if offers.is_empty() {
            self.offers.remove(&prefix);
        }
        self.count -= 1;
        self.changed([prefix])
    }

    /// Takes all offers of a source back. Returns the prefixes whose best offer may have changed.
    pub fn withdraw_source(&mut self, source: RouteSource) -> Vec<IpNet> {
        let mut changed = Vec::new();
        let mut count = 0;
        self.offers.retain(|prefix, offers| {
            let before = offers.len();
            offers.retain(|route| route.source != source);
            if offers.len() != before {
                changed.push(*prefix);
            }
            count += offers.len();
            !offers.is_empty()
        });
        self.count = count;
        self.changed(changed)
    }

    /// Number of offers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// True without any offer.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All offers by prefix, and the better ones of a prefix first; usable or not.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.offers.values().flatten()
    }

    /// The offers for exactly this prefix, the better ones first; usable or not.
    #[must_use]
    pub fn routes_to(&self, prefix: IpNet) -> &[Route] {
        self.offers.get(&prefix).map_or(&[], Vec::as_slice)
    }

    /// All prefixes.
    pub fn prefixes(&self) -> impl Iterator<Item = IpNet> {
        self.offers.keys().copied()
    }

    /// The best usable offer for exactly this prefix.
    #[must_use]
    pub fn best(&self, prefix: IpNet) -> Option<(&Route, Resolution)> {
        let usable = |route| self.resolve(route).ok().map(|resolution| (route, resolution));
        self.offers.get(&prefix)?.iter().find_map(usable)
    }

    /// The best usable offer of the longest prefix that contains `address`: what the compiled table says, found
    /// slowly, and with its source.
    #[must_use]
    pub fn lookup(&self, address: IpAddr) -> Option<(&Route, Resolution)> {
        let longest = IpNet::from(address).prefix_len();
        let prefixes = (0..=longest).rev().filter_map(|length| IpNet::new(address, length).ok());
        prefixes.map(|prefix| prefix.trunc()).find_map(|prefix| self.best(prefix))
    }

    /// Where a route leads, as the networks are now. The route need not be one of the RIB's: who wants to refuse
    /// a route that leads nowhere asks first.
    ///
    /// # Errors
    /// What is wrong with the route, or that none of its gateways is on a known network.
    pub fn resolve(&self, route: &Route) -> Result<Resolution, RouteError> {
        validate(route)?;
        Ok(match &route.kind {
            RouteKind::Via(gateways) => Resolution::Via(self.next_hops(route.prefix, gateways)?),
            RouteKind::Connected { port } => Resolution::Connected { port: *port },
            RouteKind::Local => Resolution::Local,
            RouteKind::Blackhole => Resolution::Blackhole,
            RouteKind::Prohibit => Resolution::Prohibit,
            RouteKind::Unreachable => Resolution::Unreachable,
        })
    }

    fn next_hops(&self, prefix: IpNet, gateways: &[Gateway]) -> Result<Vec<(NextHop, u8)>, RouteError> {
        let found = gateways.iter().filter_map(|gateway| {
            let port = gateway.port.or_else(|| self.port_toward(gateway.address))?;
            Some((NextHop { gateway: gateway.address, port }, gateway.weight.max(1)))
        });
        let mut hops: Vec<(NextHop, u8)> = found.collect();
        hops.sort_unstable();
        hops.dedup_by_key(|(hop, _)| *hop);
        match gateways.first() {
            Some(gateway) if hops.is_empty() => Err(RouteError::GatewayOnNoKnownNetwork(gateway.address)),
            None => Err(RouteError::NoGateway(prefix)),
            Some(_) => Ok(hops),
        }
    }

    /// The port of the longest connected network that contains `address`.
    #[must_use]
    pub fn port_toward(&self, address: IpAddr) -> Option<PortId> {
        let containing = self.networks.iter().filter(|(network, _)| network.contains(&address));
        containing.max_by_key(|(network, _)| network.prefix_len()).map(|(_, port)| *port)
    }

    /// What may have changed where these prefixes' offers have: they, and what has its gateways there if a
    /// connected network came or went.
    fn changed(&mut self, prefixes: impl IntoIterator<Item = IpNet>) -> Vec<IpNet> {
        let mut changed: Vec<IpNet> = prefixes.into_iter().collect();
        let mut networks = changed.clone();
        networks.retain(|prefix| self.renew_network(*prefix));
        if !networks.is_empty() {
            let leads_there = |route: &Route| match &route.kind {
                RouteKind::Via(gateways) => gateways.iter().any(|gateway| {
                    gateway.port.is_none()
                        && networks.iter().any(|network| network.contains(&gateway.address))
                }),
                _ => false,
            };
            let affected = self.offers.iter().filter(|(_, offers)| offers.iter().any(leads_there));
            changed.extend(affected.map(|(prefix, _)| *prefix));
            changed.sort_unstable();
            changed.dedup();
        }
        changed
    }

    /// Sees whether a prefix is a connected network; true if that has changed.
    fn renew_network(&mut self, prefix: IpNet) -> bool {
        let offers = self.offers.get(&prefix).into_iter().flatten();
        let port = offers.filter_map(|route| match route.kind {
            RouteKind::Connected { port } => Some(port),
            _ => None,
        });
        let port = port.into_iter().next();
        let before = match port {
            Some(port) => self.networks.insert(prefix, port),
            None => self.networks.remove(&prefix),
        };
        before != port
    }
}

fn key(route: &Route) -> (RouteSource, u32) {
    (route.source, route.metric)
}

/// What can be said against a route without knowing any other.
fn validate(route: &Route) -> Result<(), RouteError> {
    let prefix = route.prefix;
    if prefix.trunc() != prefix {
        return Err(RouteError::HostBits(prefix));
    }
    if prefix.network().is_multicast() {
        return Err(RouteError::Multicast(prefix));
    }
    let RouteKind::Via(gateways) = &route.kind else { return Ok(()) };
    if gateways.is_empty() {
        return Err(RouteError::NoGateway(prefix));
    }
    if gateways.len() > NEXT_HOPS_MAX {
        return Err(RouteError::TooManyGateways(prefix));
    }
    for &Gateway { address, .. } in gateways {
        if address.is_ipv4() != prefix.addr().is_ipv4() {
            return Err(RouteError::WrongFamily { prefix, gateway: address });
        }
        let is_broadcast = address == IpAddr::V4(std::net::Ipv4Addr::BROADCAST);
        if address.is_unspecified() || address.is_multicast() || address.is_loopback() || is_broadcast {
            return Err(RouteError::UnusableGateway(address));
        }
    }
    Ok(())
}
