//! A router between pods and an uplink, twice: as the kernel is one, and as flyover is. Both are set up by this
//! module's tables, get the same frames, and are compared by what they send.
//!
//! - [`KernelRouter`]: the kernel in a namespace: a bridge with two pods, as cni0 is, and an uplink.
//! - [`Step`] and [`steps`]: frames to try, scripted and at random.
//! - [`Outcome`] and [`Comparison`]: what came of a frame, and whether the difference between two of them is among
//!   [`ROUTER_DIFFERENCES`].
//!
//! The stations are [`POD_A`] and [`POD_B`] on the ports of these numbers, and behind [`UPLINK`] two next hops.
//! Nobody but the router answers anything, all neighbors are known beforehand.

mod answers;
mod compare;
mod differences;
mod kernel;
mod matchers;
mod packets;
mod read;
pub mod steps;
mod wording;

pub use compare::{Comparison, Outcome};
pub use differences::{ROUTER_DIFFERENCES, RouterDifference};
pub use kernel::KernelRouter;
pub use packets::{Ipv4, Ipv6, echo4, echo6};
pub use read::{Packet, is_on_link};
pub use steps::Step;

use packet::MacAddress;

/// The first pod's port.
pub const POD_A: usize = 0;
/// The second pod's port.
pub const POD_B: usize = 1;
/// The uplink's port.
pub const UPLINK: usize = 2;
/// Number of ports.
pub const PORTS: usize = 3;

/// The MTU of the pods, in bytes.
pub const POD_MTU_BYTES: u32 = 1500;
/// The MTU of the uplink, in bytes: less, so that there is something to fragment.
pub const UPLINK_MTU_BYTES: u32 = 1400;

/// The router's MAC on the bridge.
pub const GATEWAY_MAC: MacAddress = MacAddress([2, 0xf4, 0, 0, 0, 0xfe]);
/// The router's MAC on the uplink.
pub const NODE_MAC: MacAddress = MacAddress([2, 0xf4, 0, 0, 0, 0xfd]);
/// The first pod's MAC.
pub const POD_A_MAC: MacAddress = MacAddress([2, 0xf4, 0, 0, 0, 1]);
/// The second pod's MAC.
pub const POD_B_MAC: MacAddress = MacAddress([2, 0xf4, 0, 0, 0, 2]);
/// The MAC of the next hop that the default routes lead to.
pub const NEXT_HOP_MAC: MacAddress = MacAddress([2, 0xf4, 0, 0, 1, 1]);
/// The MAC of another next hop.
pub const OTHER_HOP_MAC: MacAddress = MacAddress([2, 0xf4, 0, 0, 1, 2]);
/// A MAC that nobody has.
pub const STRANGE_MAC: MacAddress = MacAddress([2, 0xf4, 0, 0, 9, 9]);

/// The router's addresses on the bridge, with the networks; the link-local one is made of the MAC.
pub const GATEWAYS: &[&str] = &["10.244.1.1/24", "fd00:244:1::1/64"];
/// Its link-local address there.
pub const GATEWAY_LINK_LOCAL: &str = "fe80::f4:ff:fe00:fe";
/// The router's addresses on the uplink, with the networks.
pub const NODES: &[&str] = &["192.168.0.11/24", "fd01::11/64"];
/// Its link-local address there.
pub const NODE_LINK_LOCAL: &str = "fe80::f4:ff:fe00:fd";

/// Who is where: address, MAC, port.
pub const NEIGHBORS: &[(&str, MacAddress, usize)] = &[
    ("10.244.1.10", POD_A_MAC, POD_A),
    ("fd00:244:1::10", POD_A_MAC, POD_A),
    ("fe80::10", POD_A_MAC, POD_A),
    ("10.244.1.11", POD_B_MAC, POD_B),
    ("fd00:244:1::11", POD_B_MAC, POD_B),
    ("fe80::11", POD_B_MAC, POD_B),
    ("192.168.0.1", NEXT_HOP_MAC, UPLINK),
    ("fd01::1", NEXT_HOP_MAC, UPLINK),
    ("fe80::1", NEXT_HOP_MAC, UPLINK),
    ("192.168.0.2", OTHER_HOP_MAC, UPLINK),
    ("fd01::2", OTHER_HOP_MAC, UPLINK),
];

/// Where a route leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By this neighbor.
    Via(&'static str),
    /// Nowhere, in silence.
    Blackhole,
    /// Nowhere: it is prohibited.
    Prohibit,
    /// Nowhere: nobody is there.
    Unreachable,
}

/// The routes besides those to the networks themselves.
pub const ROUTES: &[(&str, Way)] = &[
    ("0.0.0.0/0", Way::Via("192.168.0.1")),
    ("10.20.0.0/16", Way::Blackhole),
    ("10.21.0.0/16", Way::Prohibit),
    ("10.22.0.0/16", Way::Unreachable),
    ("10.23.0.0/16", Way::Via("10.244.1.11")),
    ("10.24.0.0/16", Way::Via("192.168.0.2")),
    ("10.24.5.0/24", Way::Via("192.168.0.1")),
    ("10.24.5.7/32", Way::Prohibit),
    ("::/0", Way::Via("fd01::1")),
    ("fd20::/32", Way::Blackhole),
    ("fd21::/32", Way::Prohibit),
    ("fd22::/32", Way::Unreachable),
    ("fd23::/32", Way::Via("fd00:244:1::11")),
    ("fd24::/32", Way::Via("fd01::2")),
    ("fd24:5::/64", Way::Via("fd01::1")),
    ("fd24:5::7/128", Way::Prohibit),
];

/// The routes of a node without a way to everywhere.
pub fn routes(with_default: bool) -> impl Iterator<Item = (&'static str, Way)> {
    ROUTES.iter().copied().filter(move |(prefix, _)| with_default || !prefix.ends_with("/0"))
}
