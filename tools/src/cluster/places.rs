//! Who is where: names and addresses, the same for every cluster.
//!
//! | what | IPv4 | IPv6 |
//! |---|---|---|
//! | pods of node *N*; the gateway has 1, the first pod 11 | 10.244.*N*.0/24 | fd00:10:244:*N*::/64 |
//! | node *N* on the cloud's network | 192.168.0.1*N*/24 | fd00:192:168::1*N*/64 |
//! | cloud router, toward the nodes | 192.168.0.1 | fd00:192:168::1 |
//! | host outside; the router has 1 there | 203.0.113.10/24 | 2001:db8::10/64 |

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The host part of the first pod's addresses less one.
const PODS_FROM: u8 = 10;

/// An IPv4 and an IPv6 address.
pub(crate) type Addresses = [IpAddr; 2];

/// A place of a cluster. Nodes and pods are numbered from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Location {
    /// A node's own namespace.
    Node(u8),
    /// A pod: the number of its node, and its own.
    Pod(u8, u8),
    /// The cloud's router.
    Router,
    /// A host outside.
    Outside,
}

/// How many there are of what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Shape {
    /// Nodes: at most 9, so that numbers fit the addresses.
    pub nodes: u8,
    /// Pods of each.
    pub pods: u8,
    /// Whether nodes have an uplink to a cloud router, and the router a host outside.
    pub cloud: bool,
}

impl Shape {
    /// Everything that it has.
    pub(super) fn locations(self) -> Vec<Location> {
        let mut all = Vec::new();
        for node in self.node_numbers() {
            all.push(Location::Node(node));
            all.extend(self.pods_of(node));
        }
        if self.cloud {
            all.extend([Location::Router, Location::Outside]);
        }
        all
    }

    /// From 1 on.
    pub(crate) fn node_numbers(self) -> impl Iterator<Item = u8> {
        1..=self.nodes
    }

    /// The pods of a node.
    pub(crate) fn pods_of(self, node: u8) -> impl Iterator<Item = Location> {
        (1..=self.pods).map(move |pod| Location::Pod(node, pod))
    }
}

impl Location {
    /// Its own addresses; a node's are the gateway addresses of its pods.
    pub(crate) fn addresses(self) -> Addresses {
        match self {
            Self::Node(node) => in_pod_network(node, 1),
            Self::Pod(node, pod) => in_pod_network(node, PODS_FROM + pod),
            Self::Router => in_cloud(0, 1),
            Self::Outside => outside(0x10, 10),
        }
    }
}

impl fmt::Display for Location {
    /// The name, which is the end of its namespace's name too.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => write!(formatter, "node{node}"),
            Self::Pod(node, pod) => write!(formatter, "node{node}-pod{pod}"),
            Self::Router => formatter.write_str("router"),
            Self::Outside => formatter.write_str("outside"),
        }
    }
}

fn in_pod_network(node: u8, last: u8) -> Addresses {
    [
        Ipv4Addr::new(10, 244, node, last).into(),
        Ipv6Addr::new(0xfd00, 0x10, 0x244, node.into(), 0, 0, 0, last.into()).into(),
    ]
}

/// In the cloud's network; `last_v6` is read in hexadecimal, so that both look alike.
fn in_cloud(tens: u8, ones: u8) -> Addresses {
    [
        Ipv4Addr::new(192, 168, 0, 10 * tens + ones).into(),
        Ipv6Addr::new(0xfd00, 0x192, 0x168, 0, 0, 0, 0, u16::from(tens) << 4 | u16::from(ones)).into(),
    ]
}

fn outside(last_v6: u16, last_v4: u8) -> Addresses {
    [Ipv4Addr::new(203, 0, 113, last_v4).into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last_v6).into()]
}

/// A node's own addresses on its uplink.
pub(crate) fn uplink(node: u8) -> Addresses {
    in_cloud(1, node)
}

/// The router's addresses on the network of the host outside.
pub(super) fn router_outside() -> Addresses {
    outside(1, 1)
}

/// The networks of a node's pods, as text.
pub(super) fn pod_networks(node: u8) -> [String; 2] {
    in_pod_network(node, 0).map(with_prefix_length)
}

/// An address with the prefix length of its network, as text: all networks are /24 and /64.
pub(super) fn with_prefix_length(address: IpAddr) -> String {
    format!("{address}/{}", if address.is_ipv4() { 24 } else { 64 })
}

/// An address as a network of its own, as text.
pub(super) fn alone(address: IpAddr) -> String {
    format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_have_networks_of_their_own() {
        assert_eq!(Location::Node(2).addresses().map(|a| a.to_string()), ["10.244.2.1", "fd00:10:244:2::1"]);
        assert_eq!(
            Location::Pod(2, 1).addresses().map(|a| a.to_string()),
            ["10.244.2.11", "fd00:10:244:2::b"]
        );
        assert_eq!(uplink(2).map(|a| a.to_string()), ["192.168.0.12", "fd00:192:168::12"]);
        assert_eq!(pod_networks(2), ["10.244.2.0/24", "fd00:10:244:2::/64"]);
    }

    #[test]
    fn every_place_has_a_name_and_addresses_of_its_own() {
        let shape = Shape { nodes: 3, pods: 4, cloud: true };
        let locations = shape.locations();
        assert_eq!(locations.len(), 2 + 3 * 5);
        let names: std::collections::BTreeSet<_> = locations.iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), locations.len());
        let own = locations.iter().map(|location| location.addresses());
        let uplinks = shape.node_numbers().map(uplink);
        let addresses: std::collections::BTreeSet<_> =
            own.chain(uplinks).chain([router_outside()]).flatten().collect();
        assert_eq!(addresses.len(), 2 * (locations.len() + 3 + 1));
    }

    #[test]
    fn without_a_cloud_there_are_nodes_and_pods_only() {
        let locations = Shape { nodes: 1, pods: 2, cloud: false }.locations();
        assert_eq!(locations, [Location::Node(1), Location::Pod(1, 1), Location::Pod(1, 2)]);
    }
}
