//! Frames to try on a router: ordinary, odd and hostile ones.

mod addresses;
mod errors;
mod headers;
mod local;
mod neighbors;
mod random;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use packet::MacAddress;

use super::compare::hexadecimal;
use super::packets::{v4, v6};
use super::read::{is_on_link, is_router_address, neighbor};
use super::{
    GATEWAY_LINK_LOCAL, GATEWAY_MAC, Ipv4, Ipv6, NEXT_HOP_MAC, NODE_LINK_LOCAL, NODE_MAC, POD_A, POD_A_MAC,
    POD_B, POD_B_MAC, POD_MTU_BYTES, Packet, UPLINK, UPLINK_MTU_BYTES,
};

pub use random::random;

/// A frame that enters a port.
#[derive(Debug, Clone)]
pub struct Step {
    /// What is odd about it.
    pub what: String,
    /// The port that it enters.
    pub ingress: usize,
    /// The frame.
    pub frame: Vec<u8>,
    /// Whether the router has a default route.
    pub has_default: bool,
}

impl Step {
    /// A step of a router that has a default route.
    #[must_use]
    pub fn new(what: impl Into<String>, ingress: usize, frame: Vec<u8>) -> Self {
        Self { what: what.into(), ingress, frame, has_default: true }
    }

    /// The packet in it.
    #[must_use]
    pub fn packet(&self) -> Option<Packet<'_>> {
        Packet::of(&self.frame)
    }

    /// False for a packet whose next hop, or its sender, would have to be looked for, and for what is longer than the
    /// port's device takes.
    #[must_use]
    pub fn is_comparable(&self) -> bool {
        let mtu_bytes = if self.ingress == UPLINK { UPLINK_MTU_BYTES } else { POD_MTU_BYTES };
        if self.frame.len() > 14 + mtu_bytes as usize {
            return false;
        }
        let is_known = |address| is_known(address, self.ingress);
        self.packet().is_none_or(|packet| is_known(packet.source()) && is_known(packet.destination()))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port {}: {}: {}", self.ingress, self.what, hexadecimal(&self.frame))
    }
}

/// True for an address that the router finds without asking: beyond its links, its own, or a neighbor's. A link-local one
/// means something on the link of the port only.
fn is_known(address: IpAddr, ingress: usize) -> bool {
    if is_link_local(address) {
        let own = if ingress == UPLINK { NODE_LINK_LOCAL } else { GATEWAY_LINK_LOCAL };
        let is_same_link = |port: usize| (port == UPLINK) == (ingress == UPLINK);
        return IpAddr::V6(v6(own)) == address
            || neighbor(address).is_some_and(|(_, port)| is_same_link(port));
    }
    let is_broadcast = matches!(address, IpAddr::V4(v4) if v4.octets()[3] == 255);
    !is_on_link(address) || is_broadcast || is_router_address(address) || neighbor(address).is_some()
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// A way that packets of an ordinary flow go: where they enter, and by which MACs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flow {
    name: &'static str,
    ingress: usize,
    v4: (&'static str, &'static str),
    v6: (&'static str, &'static str),
}

/// Flows that a router carries.
pub(super) const FLOWS: &[Flow] = &[
    Flow {
        name: "pod to outside",
        ingress: POD_A,
        v4: ("10.244.1.10", "10.9.0.7"),
        v6: ("fd00:244:1::10", "fd09::7"),
    },
    Flow {
        name: "outside to pod",
        ingress: UPLINK,
        v4: ("10.9.0.7", "10.244.1.10"),
        v6: ("fd09::7", "fd00:244:1::10"),
    },
    Flow {
        name: "pod to pod by the gateway",
        ingress: POD_A,
        v4: ("10.244.1.10", "10.244.1.11"),
        v6: ("fd00:244:1::10", "fd00:244:1::11"),
    },
    Flow {
        name: "network behind a pod to outside",
        ingress: POD_B,
        v4: ("10.23.0.9", "10.24.0.7"),
        v6: ("fd23::9", "fd24::7"),
    },
];

impl Flow {
    /// To the router, from the station.
    pub(super) const fn macs(&self) -> (MacAddress, MacAddress) {
        macs_of(self.ingress)
    }

    pub(super) fn ipv4(&self) -> Ipv4 {
        Ipv4::udp(v4(self.v4.0), v4(self.v4.1), b"flyover differs?")
    }

    pub(super) fn ipv6(&self) -> Ipv6 {
        Ipv6::udp(v6(self.v6.0), v6(self.v6.1), b"flyover differs?")
    }

    /// A step of this flow.
    pub(super) fn step4(&self, what: &str, packet: &Ipv4) -> Step {
        let (to, from) = self.macs();
        Step::new(format!("{}, {what}", self.name), self.ingress, packet.frame(to, from))
    }

    /// A step of this flow.
    pub(super) fn step6(&self, what: &str, packet: &Ipv6) -> Step {
        let (to, from) = self.macs();
        Step::new(format!("{}, {what}", self.name), self.ingress, packet.frame(to, from))
    }
}

/// To the router, from whoever is at this port.
pub(super) const fn macs_of(ingress: usize) -> (MacAddress, MacAddress) {
    match ingress {
        POD_A => (GATEWAY_MAC, POD_A_MAC),
        POD_B => (GATEWAY_MAC, POD_B_MAC),
        _ => (NODE_MAC, NEXT_HOP_MAC),
    }
}

/// Whoever is at this port.
pub(super) fn station(ingress: usize) -> (Ipv4Addr, Ipv6Addr) {
    match ingress {
        POD_A => (v4("10.244.1.10"), v6("fd00:244:1::10")),
        POD_B => (v4("10.244.1.11"), v6("fd00:244:1::11")),
        _ => (v4("10.9.0.7"), v6("fd09::7")),
    }
}

/// Every kind of frame.
#[must_use]
pub fn scripted() -> Vec<Step> {
    let mut steps =
        [headers::all(), addresses::all(), errors::all(), local::all(), neighbors::all()].concat();
    steps.retain(Step::is_comparable);
    steps
}

/// What matters where there is no default route.
#[must_use]
pub fn without_default() -> Vec<Step> {
    let mut steps = [addresses::without_default(), errors::to_no_route()].concat();
    steps.retain(Step::is_comparable);
    steps.iter_mut().for_each(|step| step.has_default = false);
    steps
}
