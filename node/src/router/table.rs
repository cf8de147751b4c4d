//! The routes of this node, from all sources, and the same compiled.

mod kernel_routes;
mod news;
mod own;
mod problem;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use packet::{MacAddress, PortId};
use router::fib::{Fib, FibCompiler, FibError};
use router::lpm::ROUTES_MAX;
use router::rib::{Gateway, Resolution, Rib, Route, RouteKind, RouteSource};
use router::validate::AddressRules;

use super::{Mirror, RouterSettings};
use crate::config::RouteConfig;
use crate::kernel::KernelChange;
use kernel_routes::KernelRoutes;
use news::Defaults;
use own::{LOCAL_METRIC, NETWORK_METRIC, OwnOffers};
pub use problem::RouteProblem;

/// Most offers of all sources: some for each route that the compiled table has room for.
const OFFERS_MAX: usize = 2 * ROUTES_MAX;
/// From so many changed prefixes on it may be quicker to compile everything.
const RECOMPILED_MIN: usize = 4096;

/// What tells one offer from the others.
pub type OfferKey = (IpNet, RouteSource, u32);

/// The uplink's device as the kernel has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UplinkDevice {
    /// Its index.
    pub index: u32,
    /// Its MAC.
    pub mac: MacAddress,
    /// Longest IP packet.
    pub mtu_bytes: u32,
    /// Set up, with carrier.
    pub is_running: bool,
    /// Its addresses with the lengths of their networks' prefixes.
    pub addresses: Vec<IpNet>,
}

/// The routes of all sources with what they are made from. A plain value: what the operator and the kernel want comes
/// in, a [`Fib`] goes out.
///
/// Sources, in the order in which they win: what the node *is* (its addresses, its pods' networks, the uplink's, and
/// what `[host] cidrs` leaves to the host), `[[route]]`, the API, the kernel's tables. Each has offers of its own in
/// the [`Rib`], so that one that goes away takes no other along.
#[derive(Debug)]
pub struct RouteTable {
    settings: RouterSettings,
    rib: Rib,
    compiler: FibCompiler,
    mirror: Mirror,
    kernel: KernelRoutes,
    host_cidrs: Vec<IpNet>,
    own: OwnOffers,
    statics: BTreeSet<IpNet>,
    /// Offers that were not taken.
    refused: BTreeMap<OfferKey, RouteProblem>,
    /// Best offers that found no room in the compiled table.
    unfit: BTreeMap<IpNet, FibError>,
    /// Prefixes to be compiled anew.
    changed: BTreeSet<IpNet>,
    defaults: Defaults,
    generation: u64,
}

impl RouteTable {
    /// A table that knows only what the node is.
    #[must_use]
    pub fn new(settings: RouterSettings) -> Self {
        let mut table = Self {
            settings,
            rib: Rib::new(OFFERS_MAX),
            compiler: FibCompiler::new(),
            mirror: Mirror::default(),
            kernel: KernelRoutes::default(),
            host_cidrs: Vec::new(),
            own: BTreeMap::new(),
            statics: BTreeSet::new(),
            refused: BTreeMap::new(),
            unfit: BTreeMap::new(),
            changed: BTreeSet::new(),
            defaults: Defaults::default(),
            generation: 0,
        };
        table.renew_own();
        table.compile();
        table
    }

    /// Grows with every change of what workers are to see.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The compiled table.
    #[must_use]
    pub fn fib(&self) -> Fib {
        self.compiler.fib()
    }

    /// All offers, those of a prefix by precedence.
    #[must_use]
    pub fn rib(&self) -> &Rib {
        &self.rib
    }

    /// What the kernel told.
    #[must_use]
    pub fn mirror(&self) -> &Mirror {
        &self.mirror
    }

    /// What it was made for.
    #[must_use]
    pub fn settings(&self) -> &RouterSettings {
        &self.settings
    }

    /// The offer that packets to `address` follow.
    #[must_use]
    pub fn lookup(&self, address: IpAddr) -> Option<(&Route, Resolution)> {
        self.rib.lookup(address)
    }

    /// The uplink's device; `None` while it is away, or has no MAC.
    #[must_use]
    pub fn uplink(&self) -> Option<UplinkDevice> {
        let link = self.mirror.link(&self.settings.uplink_device)?;
        Some(UplinkDevice {
            index: link.index,
            mac: link.mac?,
            mtu_bytes: link.mtu_bytes,
            is_running: link.is_running,
            addresses: self.mirror.addresses_of(link.index).collect(),
        })
    }

    /// Which addresses can be a host's: not the broadcast addresses of the networks that the node is on.
    #[must_use]
    pub fn rules(&self) -> AddressRules {
        let connected = self.own.iter().filter_map(|((prefix, _), kind)| match (prefix, kind) {
            (IpNet::V4(network), RouteKind::Connected { .. }) => Some(*network),
            _ => None,
        });
        AddressRules::new(true, connected)
    }

    /// True for an address of the node's own.
    #[must_use]
    pub fn is_own(&self, address: IpAddr) -> bool {
        matches!(self.own.get(&(IpNet::from(address), LOCAL_METRIC)), Some(RouteKind::Local))
    }

    /// Follows the kernel.
    pub fn apply(&mut self, changes: Vec<KernelChange>) {
        let mut is_node_changed = false;
        for change in changes {
            match change {
                KernelChange::Route(route) => self.kernel.insert(route, &self.settings),
                KernelChange::RouteGone(key) => self.kernel.remove(&key),
                other => is_node_changed |= self.mirror.apply(&other),
            }
        }
        if is_node_changed {
            self.kernel.find_devices(&self.mirror, &self.settings);
            self.renew_own();
            self.generation += 1;
        }
        self.renew_kernel_offers();
        self.compile();
    }

    /// Puts `[[route]]` and `[host] cidrs` in force.
    pub fn set_configuration(&mut self, routes: &[RouteConfig], host_cidrs: &[IpNet]) {
        self.host_cidrs = host_cidrs.to_vec();
        self.renew_own();
        self.renew_kernel_offers();
        let mut wanted: BTreeMap<IpNet, Vec<Gateway>> = BTreeMap::new();
        for route in routes {
            let gateway = Gateway { address: route.via, port: None, weight: 1 };
            wanted.entry(route.dst).or_default().push(gateway);
        }
        for prefix in std::mem::take(&mut self.statics) {
            if !wanted.contains_key(&prefix) {
                self.withdraw((prefix, RouteSource::Static, 0));
            }
        }
        for (prefix, gateways) in wanted {
            self.statics.insert(prefix);
            let kind = RouteKind::Via(gateways);
            self.try_offer(Route { prefix, source: RouteSource::Static, metric: 0, kind });
        }
        self.compile();
    }

    /// Adds a route of the API.
    ///
    /// # Errors
    /// What is wrong with it; a next hop has to be on a known network now. Nothing has changed then.
    pub fn add_api(&mut self, prefix: IpNet, metric: u32, kind: RouteKind) -> Result<(), RouteProblem> {
        let route = Route { prefix, source: RouteSource::Api, metric, kind };
        self.rib.resolve(&route)?;
        if let Some(address) = self.own_gateway(&route) {
            return Err(RouteProblem::OwnAddress(address));
        }
        let mut present = self.rib.routes_to(prefix).iter();
        if present.any(|other| (other.source, other.metric) == (RouteSource::Api, metric)) {
            return Err(RouteProblem::Exists { prefix, metric });
        }
        self.offer(route)?;
        self.compile();
        Ok(())
    }

    /// Takes a route back that the API had added before a restart. Its next hop's network may come later.
    ///
    /// # Errors
    /// What is wrong with it whatever else is known.
    pub fn restore_api(&mut self, prefix: IpNet, metric: u32, kind: RouteKind) -> Result<(), RouteProblem> {
        self.offer(Route { prefix, source: RouteSource::Api, metric, kind })?;
        self.compile();
        Ok(())
    }

    /// Removes a route of the API: with this metric, or the best one. False if there is none.
    pub fn remove_api(&mut self, prefix: IpNet, metric: Option<u32>) -> bool {
        let is_meant = |route: &&Route| {
            route.source == RouteSource::Api && metric.is_none_or(|metric| metric == route.metric)
        };
        let Some(metric) = self.rib.routes_to(prefix).iter().find(is_meant).map(|route| route.metric) else {
            return false;
        };
        self.withdraw((prefix, RouteSource::Api, metric));
        self.compile();
        true
    }

    /// What the node is: its addresses and networks, and what it leaves to its host.
    fn renew_own(&mut self) {
        let uplink = self.kernel.devices.uplink;
        let wanted = own::offers(&self.settings, &self.mirror, uplink, &self.host_cidrs);
        let gone: Vec<(IpNet, u32)> =
            self.own.keys().filter(|key| !wanted.contains_key(key)).copied().collect();
        for (prefix, metric) in gone {
            self.withdraw((prefix, RouteSource::Connected, metric));
            self.kernel.mark_prefix(prefix);
        }
        for ((prefix, metric), kind) in &wanted {
            if self.own.get(&(*prefix, *metric)) != Some(kind) {
                let (prefix, metric, kind) = (*prefix, *metric, kind.clone());
                self.kernel.mark_prefix(prefix);
                self.try_offer(Route { prefix, source: RouteSource::Connected, metric, kind });
            }
        }
        self.own = wanted;
    }

    /// True if the uplink is on exactly this network.
    fn is_network_of_uplink(&self, prefix: IpNet) -> bool {
        let uplink = RouteKind::Connected { port: self.settings.uplink };
        self.own.get(&(prefix, NETWORK_METRIC)) == Some(&uplink)
    }

    /// Offers anew what may mean something else now.
    fn renew_kernel_offers(&mut self) {
        for key in self.kernel.take_marked() {
            match self.kernel.offer(&key, &self.settings, |prefix| self.is_network_of_uplink(prefix)) {
                Some(kind) => {
                    let (prefix, source, metric) = key;
                    self.try_offer(Route { prefix, source, metric, kind });
                }
                None => self.withdraw(key),
            }
        }
    }

    /// Offers a route; what is refused is remembered as that, and its former version is gone.
    fn try_offer(&mut self, route: Route) {
        let key = (route.prefix, route.source, route.metric);
        if let Err(problem) = self.offer(route) {
            self.withdraw(key);
            self.refused.insert(key, problem);
        }
    }

    fn offer(&mut self, route: Route) -> Result<(), RouteProblem> {
        let key = (route.prefix, route.source, route.metric);
        self.check(&route)?;
        self.changed.extend(self.rib.offer(route)?);
        self.refused.remove(&key);
        Ok(())
    }

    fn check(&self, route: &Route) -> Result<(), RouteProblem> {
        if route.source == RouteSource::Connected {
            return Ok(());
        }
        let prefix = route.prefix;
        if let Some(pods) = self.settings.pod_cidrs.iter().find(|pods| pods.contains(&prefix)) {
            return Err(RouteProblem::OwnNetwork { prefix, pods: *pods });
        }
        Ok(())
    }

    /// The gateway of a route that is this node itself, as things are now.
    fn own_gateway(&self, route: &Route) -> Option<IpAddr> {
        let RouteKind::Via(gateways) = &route.kind else { return None };
        gateways.iter().map(|gateway| gateway.address).find(|address| self.is_own(*address))
    }

    fn withdraw(&mut self, (prefix, source, metric): OfferKey) {
        self.refused.remove(&(prefix, source, metric));
        self.changed.extend(self.rib.withdraw(prefix, source, metric));
    }

    /// Brings the compiled table up to date.
    fn compile(&mut self) {
        let changed = std::mem::take(&mut self.changed);
        if changed.is_empty() {
            return;
        }
        self.generation += 1;
        if changed.len() >= RECOMPILED_MIN.max(self.compiler.len() / 2) {
            let (compiler, unfit) = FibCompiler::from_rib(&self.rib);
            self.compiler = compiler;
            self.unfit = unfit.into_iter().collect();
        } else {
            for prefix in changed {
                match self.compiler.update(&self.rib, prefix) {
                    Ok(()) => drop(self.unfit.remove(&prefix)),
                    Err(error) => drop(self.unfit.insert(prefix, error)),
                }
            }
        }
        self.defaults.look(&self.rib);
    }
}

/// What listings and checks need: one port for each link.
impl RouteTable {
    /// The name of the link that `port` stands for, as a device.
    #[must_use]
    pub fn device_of(&self, port: PortId) -> Option<&str> {
        let RouterSettings { bridge, uplink, bridge_name, uplink_device, .. } = &self.settings;
        if port == *uplink { Some(uplink_device) } else { (port == *bridge).then_some(bridge_name) }
    }

    /// The node's own address in the network `prefix`.
    #[must_use]
    pub fn address_in(&self, prefix: IpNet) -> Option<IpAddr> {
        let mut addresses =
            self.mirror.addresses().map(|(_, address)| address).chain(self.settings.gateways.clone());
        addresses.find(|address| address.trunc() == prefix).map(|address| address.addr())
    }

    /// The port that stands for the link with this name.
    #[must_use]
    pub fn port_of(&self, device: &str) -> Option<PortId> {
        let RouterSettings { bridge, uplink, .. } = self.settings;
        [bridge, uplink].into_iter().find(|port| self.device_of(*port) == Some(device))
    }
}
