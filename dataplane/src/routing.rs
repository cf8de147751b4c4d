//! What the routing stage works by: the part of a [`Snapshot`](crate::Snapshot) that the router's tables make.
//!
//! The router is on one or two links: the *bridge*, with all pods and the host's own port, and the *uplink*, which
//! is a port of its own and no member of the bridge. Without a `Routing` a snapshot is that of a switch alone.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use packet::{MacAddress, PortId};
use router::fib::Fib;
use router::gateway::Gateway;
use router::neighbor::NeighborMap;
use router::validate::AddressRules;

/// A network that the router is on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LinkId {
    /// The bridge.
    Bridge,
    /// The node's network card.
    Uplink,
}

impl LinkId {
    /// Both, in the order of [`index`](Self::index).
    pub const ALL: [Self; 2] = [Self::Bridge, Self::Uplink];

    /// For arrays with a place for each link.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// One link, as the router knows it.
#[derive(Clone, Debug)]
pub struct Link {
    /// The port that stands for the link in the FIB: the uplink's own; for the bridge the port that the gateway's MAC
    /// is behind in the forwarding database, which is the host's, or a number without a port where there is none.
    pub port: PortId,
    /// The router on this link: its MAC, and the addresses that its errors come from. On the bridge it answers for
    /// them; those of the uplink are the kernel's, which answers itself.
    pub gateway: Gateway,
    /// Who is where. Shared with former snapshots while nothing changes.
    pub neighbors: Arc<NeighborMap>,
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Routing {
    /// The routes. [`Local`](router::fib::RouteDecision::Local) are the node's own addresses and what else is left to
    /// the host's stack; they go to the host port, if there is one, as they came.
    pub fib: Fib,
    /// Which addresses can be a host's.
    pub rules: AddressRules,
    /// The bridge.
    pub bridge: Link,
    /// The uplink; `None` without one, or while its device is away.
    pub uplink: Option<Link>,
}

impl Routing {
    /// The link that `port` stands for in the FIB.
    #[must_use]
    #[inline]
    pub fn link_of(&self, port: PortId) -> Option<(LinkId, &Link)> {
        if port == self.bridge.port {
            return Some((LinkId::Bridge, &self.bridge));
        }
        self.uplink.as_ref().filter(|uplink| uplink.port == port).map(|uplink| (LinkId::Uplink, uplink))
    }

    /// The link with this name.
    #[must_use]
    #[inline]
    pub fn link(&self, id: LinkId) -> Option<&Link> {
        match id {
            LinkId::Bridge => Some(&self.bridge),
            LinkId::Uplink => self.uplink.as_ref(),
        }
    }
}

/// The host's own port, by which its stack and the pods reach each other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostPort {
    /// The port.
    pub port: PortId,
    /// Its MAC, which is the gateway's.
    pub mac: MacAddress,
    /// The networks of the node's pods.
    pub pods: Vec<IpNet>,
    /// The host's own addresses among them.
    pub gateways: Vec<IpAddr>,
}

impl HostPort {
    /// True for the address of a pod of this node.
    #[must_use]
    pub fn is_pod(&self, address: IpAddr) -> bool {
        self.pods.iter().any(|network| network.contains(&address)) && !self.gateways.contains(&address)
    }
}
