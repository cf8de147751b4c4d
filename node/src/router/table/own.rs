//! What the node is: its addresses and networks, and what it leaves to its host.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use router::rib::RouteKind;
use router::validate::is_link_local;

use super::{Mirror, RouterSettings};

/// Of offers for one prefix the order in which they win.
pub(super) const LOCAL_METRIC: u32 = 0;
const LEFT_TO_HOST_METRIC: u32 = 1;
pub(super) const NETWORK_METRIC: u32 = 2;

/// By prefix and metric.
pub(super) type OwnOffers = BTreeMap<(IpNet, u32), RouteKind>;

/// All that the node itself offers, given the index of the uplink's device.
pub(super) fn offers(
    settings: &RouterSettings,
    mirror: &Mirror,
    uplink: Option<u32>,
    host_cidrs: &[IpNet],
) -> OwnOffers {
    let mut own = OwnOffers::new();
    let addresses = mirror.addresses().map(|(_, address)| address).chain(settings.gateways.iter().copied());
    for address in addresses.map(|address| address.addr()) {
        if !(address.is_loopback() || address.is_unspecified() || is_link_local(address)) {
            own.insert((IpNet::from(address), LOCAL_METRIC), RouteKind::Local);
        }
    }
    let link_local = [
        IpNet::from(Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16)),
        IpNet::from(Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10)),
    ];
    let has_host = settings.host_device.is_some();
    for prefix in link_local.iter().filter(|_| has_host).chain(host_cidrs) {
        own.insert((*prefix, LEFT_TO_HOST_METRIC), RouteKind::Local);
    }
    let on_uplink = uplink.into_iter().flat_map(|index| mirror.addresses_of(index));
    for network in on_uplink.map(|address| address.trunc()) {
        let is_network = network.prefix_len() < network.max_prefix_len();
        if is_network && !network.addr().is_loopback() && !is_link_local(network.addr()) {
            own.insert((network, NETWORK_METRIC), RouteKind::Connected { port: settings.uplink });
        }
    }
    for network in &settings.pod_cidrs {
        own.insert((*network, NETWORK_METRIC), RouteKind::Connected { port: settings.bridge });
    }
    own
}
