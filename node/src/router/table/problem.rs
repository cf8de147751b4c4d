//! What can be wrong with a route.

use std::net::IpAddr;

use ipnet::IpNet;
use router::fib::FibError;
use router::rib::RouteError;

/// Why a route is not taken, or not in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RouteProblem {
    /// The route alone says so, or no known network has its next hop.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// Two nodes with overlapping pod networks.
    #[error(
        "{prefix} lies in {pods}, the network of this node's own pods; the pod networks of two nodes must not overlap"
    )]
    OwnNetwork {
        /// Of the route.
        prefix: IpNet,
        /// The pods' network.
        pods: IpNet,
    },
    /// A next hop that is this node.
    #[error("the gateway {0} is an address of this node itself")]
    OwnAddress(IpAddr),
    /// As `ip route add`: a second route with the same key.
    #[error("there is a route to {prefix} with metric {metric} already")]
    Exists {
        /// Of the route.
        prefix: IpNet,
        /// Of the route.
        metric: u32,
    },
    /// The compiled table is full.
    #[error(transparent)]
    Fib(#[from] FibError),
}
