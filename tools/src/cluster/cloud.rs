//! The cloud: a router that every node hangs on by a link of its own, and a host outside.
//!
//! As in a VPC, nodes share a network but never see one another's frames: the router answers ARP and neighbor
//! solicitations for all of them, and its table says which pod network lies behind which node. As long as
//! flyover does not translate addresses, the host outside has its route back to the pods by the router too.

use super::Cluster;
use super::places::{self, Location, alone, with_prefix_length};
use crate::host::Namespace;
use anyhow::Result;

/// The name of the link inside nodes and the host outside.
pub(super) const UPLINK: &str = "eth0";

/// Links `nodes` nodes and the host outside with the router, with all addresses and routes.
pub(super) fn wire(cluster: &Cluster, nodes: u8) -> Result<()> {
    let router = cluster.at(Location::Router)?;
    forward(router, true)?;
    for node in 1..=nodes {
        attach(router, cluster.at(Location::Node(node))?, node)?;
        for other in (1..=nodes).filter(|other| *other != node) {
            let [_, v6] = places::uplink(other).map(|address| address.to_string());
            router.ip(&["-6", "neigh", "add", "proxy", &v6, "dev", &device(node)])?;
        }
    }
    attach_outside(router, cluster.at(Location::Outside)?)
}

/// Whether the kernel of `namespace` forwards packets. A new namespace has the machine's own setting for IPv4.
pub(super) fn forward(namespace: &Namespace, forwards: bool) -> Result<()> {
    let value = if forwards { "1" } else { "0" };
    namespace.set("ipv4/ip_forward", value)?;
    namespace.set("ipv6/conf/all/forwarding", value)
}

/// The router's end of a node's link.
fn device(node: u8) -> String {
    Location::Node(node).to_string()
}

fn attach(router: &Namespace, node: &Namespace, number: u8) -> Result<()> {
    let device = device(number);
    link(router, &device, node)?;
    let gateways = Location::Router.addresses();
    let addresses = places::uplink(number);
    for ((gateway, address), network) in gateways.into_iter().zip(addresses).zip(places::pod_networks(number))
    {
        add_address(router, &alone(gateway), &device)?;
        router.ip(&["route", "add", &alone(address), "dev", &device])?;
        router.ip(&["route", "add", &network, "via", &address.to_string(), "dev", &device])?;
        add_address(node, &with_prefix_length(address), UPLINK)?;
        add_default_route(node, &gateway.to_string())?;
    }
    router.set(&format!("ipv4/conf/{device}/proxy_arp"), "1")?;
    router.set(&format!("ipv6/conf/{device}/proxy_ndp"), "1")?;
    // Otherwise it answers for others after up to 0.8 s only.
    router.set(&format!("ipv4/neigh/{device}/proxy_delay"), "0")?;
    router.set(&format!("ipv6/neigh/{device}/proxy_delay"), "0")
}

fn attach_outside(router: &Namespace, outside: &Namespace) -> Result<()> {
    let device = Location::Outside.to_string();
    link(router, &device, outside)?;
    for (gateway, address) in places::router_outside().into_iter().zip(Location::Outside.addresses()) {
        add_address(router, &with_prefix_length(gateway), &device)?;
        add_address(outside, &with_prefix_length(address), UPLINK)?;
        add_default_route(outside, &gateway.to_string())?;
    }
    Ok(())
}

/// A veth pair, both ends up: `device` in the router, [`UPLINK`] in `other`.
fn link(router: &Namespace, device: &str, other: &Namespace) -> Result<()> {
    router.ip(&["link", "add", device, "type", "veth", "peer", "name", UPLINK, "netns", other.name()])?;
    router.ip(&["link", "set", device, "up"])?;
    other.ip(&["link", "set", UPLINK, "up"])
}

/// Without duplicate address detection: the addresses are ours alone, and all but one of the router's would
/// meet themselves.
fn add_address(namespace: &Namespace, address: &str, device: &str) -> Result<()> {
    let mut arguments = vec!["address", "add", address, "dev", device];
    if address.contains(':') {
        arguments.push("nodad");
    }
    namespace.ip(&arguments)
}

fn add_default_route(namespace: &Namespace, gateway: &str) -> Result<()> {
    namespace.ip(&["route", "add", "default", "via", gateway, "dev", UPLINK])
}
