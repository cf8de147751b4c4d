//! The kernel's routes, and what they mean here.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use router::rib::{Gateway, RouteKind, RouteSource};
use router::validate::is_link_local;

use super::{Mirror, OfferKey, RouterSettings};
use crate::kernel::{KernelHop, KernelRoute, KernelRouteKey, KernelRouteKind};
use crate::router::Protocol;

/// The devices that make a difference, by their indices.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Devices {
    pub(super) uplink: Option<u32>,
    pub(super) host: Option<u32>,
}

/// Routes of the tables and protocols that are followed.
#[derive(Debug, Default)]
pub(super) struct KernelRoutes {
    /// By prefix, source and metric; several tables may have one.
    routes: BTreeMap<OfferKey, BTreeMap<u32, KernelRouteKind>>,
    pub(super) devices: Devices,
    /// What is to be offered anew.
    marked: BTreeSet<OfferKey>,
}

fn offer_key(key: &KernelRouteKey) -> OfferKey {
    (key.prefix, RouteSource::Kernel { protocol: key.protocol }, key.metric)
}

impl KernelRoutes {
    /// Takes a route, if it is one to follow.
    pub(super) fn insert(&mut self, route: KernelRoute, settings: &RouterSettings) {
        let KernelRouteKey { table, protocol, prefix, .. } = route.key;
        let is_followed = settings.tables.contains(&table)
            && (settings.protocols.is_empty() || settings.protocols.contains(&Protocol(protocol)));
        // Every link has link-local and multicast routes of its own, and they lead nowhere else.
        let is_routed = !is_link_local(prefix.addr()) && !prefix.addr().is_multicast();
        if !is_followed || !is_routed {
            return;
        }
        let key = offer_key(&route.key);
        self.routes.entry(key).or_default().insert(table, route.kind);
        self.marked.insert(key);
    }

    pub(super) fn remove(&mut self, route: &KernelRouteKey) {
        let key = offer_key(route);
        let Some(tables) = self.routes.get_mut(&key) else { return };
        if tables.remove(&route.table).is_some() {
            self.marked.insert(key);
        }
        if tables.is_empty() {
            self.routes.remove(&key);
        }
    }

    /// Sees which devices are the uplink's and the host port's.
    pub(super) fn find_devices(&mut self, mirror: &Mirror, settings: &RouterSettings) {
        let index = |name: &str| mirror.link(name).map(|link| link.index);
        let devices = Devices {
            uplink: index(&settings.uplink_device),
            host: settings.host_device.as_deref().and_then(index),
        };
        if std::mem::replace(&mut self.devices, devices) != devices {
            self.marked.extend(self.routes.keys());
        }
    }

    pub(super) fn mark_prefix(&mut self, prefix: IpNet) {
        let first = (prefix, RouteSource::Connected, 0);
        let same = self.routes.range(first..).take_while(|((other, ..), _)| *other == prefix);
        self.marked.extend(same.map(|(key, _)| *key));
    }

    pub(super) fn take_marked(&mut self) -> BTreeSet<OfferKey> {
        std::mem::take(&mut self.marked)
    }

    /// What is to be offered, `None` for nothing: the route is not there (any more), or says what is known anyway.
    pub(super) fn offer(
        &self,
        key: &OfferKey,
        settings: &RouterSettings,
        is_network_of_uplink: impl Fn(IpNet) -> bool,
    ) -> Option<RouteKind> {
        let tables = self.routes.get(key)?;
        let kind = settings.tables.iter().find_map(|table| tables.get(table))?;
        let hops = match kind {
            KernelRouteKind::Hops(hops) => hops,
            KernelRouteKind::Blackhole => return Some(RouteKind::Blackhole),
            KernelRouteKind::Prohibit => return Some(RouteKind::Prohibit),
            KernelRouteKind::Unreachable => return Some(RouteKind::Unreachable),
        };
        let is_by = |index: Option<u32>| hops.iter().all(|hop| Some(hop.index) == index);
        if !hops.is_empty() && is_by(self.devices.host) {
            return None;
        }
        if !is_by(self.devices.uplink) {
            // By another device: the kernel forwards it.
            return Some(RouteKind::Local);
        }
        if let [KernelHop { gateway: None, .. }] = hops[..] {
            let is_known =
                key.1 == RouteSource::Kernel { protocol: Protocol::KERNEL.0 } && is_network_of_uplink(key.0);
            return (!is_known).then_some(RouteKind::Connected { port: settings.uplink });
        }
        let gateways: Option<Vec<Gateway>> = hops.iter().map(|hop| gateway(hop, key.0, settings)).collect();
        // What cannot be said in our words is left to the kernel, which can do it.
        Some(gateways.map_or(RouteKind::Local, RouteKind::Via))
    }
}

/// The gateway of a hop by the uplink, if it is of the route's family (RFC 8950 has others).
fn gateway(hop: &KernelHop, prefix: IpNet, settings: &RouterSettings) -> Option<Gateway> {
    let address = hop.gateway.filter(|address| address.is_ipv4() == prefix.addr().is_ipv4())?;
    // The kernel has said by which device: the gateway need not be in any network (`onlink`).
    Some(Gateway { address, port: Some(settings.uplink), weight: hop.weight })
}
