//! The router of this node, as plain values: which routes there are and who the neighbors are, and what workers are to
//! know of that. No I/O, no clock: [`Control`](crate::control::Control) brings what happens and takes what is to be
//! done.

mod mirror;
mod neighbors;
mod protocol;
mod table;

pub use mirror::Mirror;
pub use neighbors::{Conflict, NeighborControl, Outgoing, Outlet, Station, announcement};
pub use protocol::{MAIN_TABLE, Protocol};
pub use table::{OfferKey, RouteProblem, RouteTable, UplinkDevice};

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use dataplane::{Link, LinkId, Punt, Routing};
use ipnet::IpNet;
use packet::{MacAddress, PortId, Random, ipv6};
use router::gateway::Gateway;

use crate::config::{Config, RouteConfig};
use crate::identity;
use crate::kernel::KernelChange;

/// What does not change while the router runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RouterSettings {
    /// Networks of this node's pods.
    pub pod_cidrs: Vec<IpNet>,
    /// The gateway's addresses in them.
    pub gateways: Vec<IpNet>,
    /// The gateway's MAC.
    pub gateway_mac: MacAddress,
    /// The host port's device, if there is one.
    pub host_device: Option<String>,
    /// The name of the bridge as a device.
    pub bridge_name: String,
    /// The number that stands for the bridge.
    pub bridge: PortId,
    /// The uplink's port.
    pub uplink: PortId,
    /// Its device.
    pub uplink_device: String,
    /// The kernel's tables that are followed, the first one winning.
    pub tables: Vec<u32>,
    /// Whose routes are followed; empty: everybody's.
    pub protocols: Vec<Protocol>,
}

impl RouterSettings {
    /// Those of a configuration; `None` without `[uplink]`. The ports are numbered by the caller.
    #[must_use]
    pub fn new(config: &Config, bridge: PortId, uplink: PortId) -> Option<Self> {
        let section = config.uplink.as_ref()?;
        let gateways = config.gateways();
        Some(Self {
            pod_cidrs: config.node.pod_cidrs.clone(),
            gateway_mac: identity::gateway_mac(&gateways),
            gateways,
            host_device: config.host.enabled.then(|| config.host.name.clone()),
            bridge_name: config.host.name.clone(),
            bridge,
            uplink,
            uplink_device: section.device.clone(),
            tables: section.tables.clone(),
            protocols: section.protocols.clone(),
        })
    }
}

/// The generations that a [`Routing`] was made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct MadeOf {
    routes: u64,
    neighbors: u64,
}

/// Routes and neighbors. See the [module](self).
#[derive(Debug)]
pub struct Router {
    routes: RouteTable,
    neighbors: NeighborControl,
    random: Random,
    made: Option<(MadeOf, Arc<Routing>)>,
}

impl Router {
    /// A router that knows only what the node is. `seed` is to be random and secret.
    #[must_use]
    pub fn new(settings: RouterSettings, seed: u64) -> Self {
        let mut neighbors = NeighborControl::new(settings.uplink, seed);
        let station = Station { mac: settings.gateway_mac, addresses: settings.gateways.clone() };
        neighbors.set_station(LinkId::Bridge, station);
        let routes = RouteTable::new(settings);
        Self { routes, neighbors, random: Random::new(seed), made: None }
    }

    /// The routes.
    #[must_use]
    pub fn routes(&self) -> &RouteTable {
        &self.routes
    }

    /// The routes, for the API's.
    pub fn routes_mut(&mut self) -> &mut RouteTable {
        &mut self.routes
    }

    /// The neighbors.
    #[must_use]
    pub fn neighbors(&self) -> &NeighborControl {
        &self.neighbors
    }

    /// The neighbors, for what is to be flushed and sent.
    pub fn neighbors_mut(&mut self) -> &mut NeighborControl {
        &mut self.neighbors
    }

    /// Puts `[[route]]` and `[host] cidrs` in force.
    pub fn set_configuration(&mut self, routes: &[RouteConfig], host_cidrs: &[IpNet]) {
        self.routes.set_configuration(routes, host_cidrs);
    }

    /// Follows the kernel.
    pub fn kernel_changed(&mut self, changes: Vec<KernelChange>) {
        let before = self.routes.uplink();
        self.routes.apply(changes);
        let uplink = self.routes.uplink();
        let port = self.routes.settings().uplink;
        let is_another = |device: &UplinkDevice| {
            uplink
                .as_ref()
                .is_none_or(|now| now.index != device.index || !now.is_running && device.is_running)
        };
        if before.as_ref().is_some_and(is_another) {
            // Who was there need not be there when it is back.
            self.neighbors.remove_port(port);
        }
        let mut permanent = BTreeMap::new();
        if let Some(UplinkDevice { index, mac, addresses, .. }) = uplink {
            self.neighbors.set_station(LinkId::Uplink, Station { mac, addresses });
            let told = self.routes.mirror().neighbors_of(index);
            permanent.extend(told.map(|(address, mac)| (address, (mac, port))));
        }
        self.neighbors.set_permanent(LinkId::Uplink, permanent);
    }

    /// Says which addresses the ports of the bridge have.
    pub fn set_pods(&mut self, pods: impl IntoIterator<Item = (IpAddr, MacAddress, PortId)>) {
        let pods = pods.into_iter().map(|(address, mac, port)| (address, (mac, port)));
        self.neighbors.set_permanent(LinkId::Bridge, pods.collect());
    }

    /// Does what a worker asks for.
    pub fn punt(&mut self, punt: Punt, now_ms: u64) {
        let random = u32::try_from(self.random.draw() >> 32).unwrap_or_default();
        self.neighbors.punt(punt, now_ms, random);
    }

    /// What workers are to work by. The same value as before if nothing has changed.
    pub fn routing(&mut self) -> Arc<Routing> {
        let made_of = self.generations();
        if let Some((of, routing)) = &self.made
            && *of == made_of
        {
            return Arc::clone(routing);
        }
        let routing = Arc::new(self.make_routing());
        self.made = Some((made_of, Arc::clone(&routing)));
        routing
    }

    /// True if [`routing`](Self::routing) has something new.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.made.as_ref().is_none_or(|(of, _)| *of != self.generations())
    }

    fn generations(&self) -> MadeOf {
        MadeOf { routes: self.routes.generation(), neighbors: self.neighbors.generation() }
    }

    fn make_routing(&mut self) -> Routing {
        let settings = self.routes.settings();
        let mac = settings.gateway_mac;
        let mut addresses: Vec<IpAddr> = settings.gateways.iter().map(IpNet::addr).collect();
        if settings.host_device.is_none() && addresses.iter().any(IpAddr::is_ipv6) {
            // Else it is the host's.
            addresses.push(ipv6::link_local(mac).into());
        }
        let (bridge, uplink) = (settings.bridge, settings.uplink);
        Routing {
            fib: self.routes.fib(),
            rules: self.routes.rules(),
            bridge: Link {
                port: bridge,
                gateway: Gateway { mac, addresses },
                neighbors: self.neighbors.map(LinkId::Bridge),
            },
            uplink: self.routes.uplink().map(|device| Link {
                port: uplink,
                gateway: Gateway {
                    mac: device.mac,
                    addresses: device.addresses.iter().map(IpNet::addr).collect(),
                },
                neighbors: self.neighbors.map(LinkId::Uplink),
            }),
        }
    }
}

#[cfg(test)]
mod tests;
