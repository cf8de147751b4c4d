//! What the kernel knows of the network in the daemon's namespace, as far as the router wants to know it: devices,
//! addresses, routes and permanent neighbors.
//!
//! A mirror is kept of it by rtnetlink: a dump at first, then change by change. What the mirror tells are exact
//! differences, whatever the kernel repeats or leaves out: each [`KernelChange`] takes whoever applies them all, in
//! their order, from one state of the kernel to a later one.
//!
//! What is told of routes:
//! - Of the routes of one table with the same prefix and metric, the kernel uses the first one that lives, and that
//!   one is told. Only routes for every source and every type of service count, and those that the kernel makes for
//!   itself (`local`, `broadcast`, `multicast`, `anycast`) are none.
//! - Hops that the kernel calls dead, or whose device has no carrier (`RTNH_F_DEAD`, `RTNH_F_LINKDOWN`), are left out,
//!   and a route without hops is no route.
//! - A way that only the kernel itself can take is a hop out of no device ([`KernelHop::KERNEL_ONLY`]).
//! - `throw` is told as `unreachable`: in the last table that a packet's rules lead to, that is what it means.
//! - Nexthop objects are told as what they are resolved to.

mod follow;
mod heard;
mod mirror;
mod slots;
mod socket;

pub use follow::{FollowOptions, KernelFollower};

use std::net::IpAddr;

use ipnet::IpNet;
use packet::MacAddress;

/// Something has become different.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KernelChange {
    /// A device is there, or has other properties than before.
    Link(KernelLink),
    /// A device is gone. Its addresses, routes and neighbors were told to be gone before.
    LinkGone {
        /// Its index.
        index: u32,
    },
    /// A device has an address.
    Address {
        /// Of the device.
        index: u32,
        /// With the length of its network's prefix; host bits are the address. An address with a peer has full
        /// length, since the network is the peer's. One whose duplicate address detection is not done, or has
        /// failed, is not told.
        address: IpNet,
    },
    /// A device has an address no longer.
    AddressGone {
        /// Of the device.
        index: u32,
        /// As it was told.
        address: IpNet,
    },
    /// A route is there, in place of the one with the same key if there was one.
    Route(KernelRoute),
    /// The route with this key is gone.
    RouteGone(KernelRouteKey),
    /// A neighbor that the operator has set (`NUD_PERMANENT`).
    Neighbor {
        /// Of the device.
        index: u32,
        /// Who.
        address: IpAddr,
        /// Where.
        mac: MacAddress,
    },
    /// Such a neighbor is gone.
    NeighborGone {
        /// Of the device.
        index: u32,
        /// Who.
        address: IpAddr,
    },
}

/// A device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KernelLink {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its MAC, if it has one.
    pub mac: Option<MacAddress>,
    /// Longest IP packet.
    pub mtu_bytes: u32,
    /// Set up, with carrier.
    pub is_running: bool,
}

/// What tells one route from the others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct KernelRouteKey {
    /// The table (`RTA_TABLE`); `main` is 254.
    pub table: u32,
    /// Who gave it to the kernel (`rtm_protocol`).
    pub protocol: u8,
    /// The destinations.
    pub prefix: IpNet,
    /// The lower one wins.
    pub metric: u32,
}

/// A unicast route, or one that drops.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KernelRoute {
    /// Its key.
    pub key: KernelRouteKey,
    /// Where it leads.
    pub kind: KernelRouteKind,
}

/// Where a route of the kernel leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KernelRouteKind {
    /// To these, by flow; at least one, in the order of their indexes and gateways.
    Hops(Vec<KernelHop>),
    /// `blackhole`
    Blackhole,
    /// `prohibit`
    Prohibit,
    /// `unreachable`, and what cannot be expressed here.
    Unreachable,
}

/// One way on.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct KernelHop {
    /// The device, or [`KernelHop::KERNEL_ONLY`].
    pub index: u32,
    /// The gateway, of the route's family; `None`: the destinations are on the device's own network.
    pub gateway: Option<IpAddr>,
    /// Its share of the flows: 1 to 255, to which a nexthop object's greater weights are cut; 1 if there is no other.
    pub weight: u8,
}

impl KernelHop {
    /// The index of no device, for a way that the kernel can take but that cannot be expressed here: into a tunnel
    /// (`encap`), for IPv4 by a gateway with an IPv6 address (RFC 5549), or by a nexthop object that the kernel does
    /// not resolve (`net.ipv4.nexthop_compat_mode` is 0). As with every device that is not the router's own, it is
    /// for the kernel to forward there.
    pub const KERNEL_ONLY: u32 = 0;
}
