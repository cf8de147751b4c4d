//! Routes and neighbors: `ip -j route`, `ip -j route get`, `ip -j neigh`, and more.

use std::net::IpAddr;

use ipnet::IpNet;
use packet::MacAddress;
use serde::{Deserialize, Serialize};

use crate::config::{destination, mac_option};

/// What a route does with packets, but for those to the node itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteType {
    /// It hands them on.
    #[default]
    Unicast,
    /// It drops them without a word.
    Blackhole,
    /// It drops them and says that they are prohibited.
    Prohibit,
    /// It drops them and says that the host is unreachable.
    Unreachable,
}

impl RouteType {
    fn is_unicast(&self) -> bool {
        *self == Self::Unicast
    }
}

/// A route to add: by `gateway`, or by one of `nexthops` for each flow, or with `dev` alone to neighbors there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewRoute {
    /// The destinations: a network, or an address.
    #[serde(deserialize_with = "destination::deserialize")]
    pub dst: IpNet,
    /// What it does.
    #[serde(rename = "type", default, skip_serializing_if = "RouteType::is_unicast")]
    pub kind: RouteType,
    /// The next hop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Where the next hop is: the uplink's device, or the host port's name for the bridge. Absent: in the known
    /// network that contains it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev: Option<String>,
    /// Of two routes of the API the one with the lower metric wins.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub metric: u32,
    /// Several next hops, in place of `gateway`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nexthops: Vec<NewNextHop>,
}

/// One of several next hops.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewNextHop {
    /// Its address.
    pub gateway: IpAddr,
    /// As of [`NewRoute::dev`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev: Option<String>,
    /// Its share of the flows, relative to the others.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub weight: u8,
}

const fn one() -> u8 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_one(weight: &u8) -> bool {
    *weight == 1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_zero(metric: &u32) -> bool {
    *metric == 0
}

/// One route, of one source: `ip -j route` and more.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Route {
    /// `local` (the node itself, or left to its host), `blackhole`, `prohibit`, `unreachable`; absent: unicast.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// `default`, a network, or an address.
    pub dst: String,
    /// The only next hop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// The uplink's device, or the host port's name for the bridge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev: Option<String>,
    /// Who gave it to the kernel, as iproute2 names it; `static` for the configuration's, `api`, `cluster`.
    pub protocol: String,
    /// `link` where the destinations are neighbors, `host` for the node's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The address by which the node is in the next hop's network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefsrc: Option<IpAddr>,
    /// The lower one wins among the routes of one source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
    /// `dead` if it leads nowhere now.
    pub flags: Vec<String>,
    /// Several next hops.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nexthops: Vec<NextHop>,
    /// Where it comes from: `connected`, `config`, `api`, `cluster` or `kernel`, which is also their precedence.
    pub source: String,
    /// True if packets follow it: no other route to the same destinations wins.
    pub active: bool,
    /// Why it leads nowhere, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One of several next hops of a route.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NextHop {
    /// Its address.
    pub gateway: IpAddr,
    /// Where it is; absent: nowhere now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev: Option<String>,
    /// Its share of the flows, relative to the others.
    pub weight: u8,
    /// `dead` if it is on no known network.
    pub flags: Vec<String>,
}

/// What becomes of packets to one address: `ip -j route get` and more, from the tables that workers use.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RouteAnswer {
    /// As of [`Route::kind`].
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The address.
    pub dst: IpAddr,
    /// The next hop, if that is another address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Where it leaves: the uplink's device, or the host port's name for the bridge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev: Option<String>,
    /// The router's own address there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefsrc: Option<IpAddr>,
    /// Always empty; iproute2 has the key.
    pub flags: Vec<String>,
    /// The next hop's MAC, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "mac_option")]
    pub lladdr: Option<MacAddress>,
    /// The port of the switch behind which the next hop is, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// The destinations of the route that decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// As of [`Route::source`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// One neighbor: `ip -j neigh` and more.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Neighbor {
    /// Its address.
    pub dst: IpAddr,
    /// The link: the uplink's device, or the host port's name for the bridge.
    pub dev: String,
    /// Its MAC, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "mac_option")]
    pub lladdr: Option<MacAddress>,
    /// One of `INCOMPLETE`, `REACHABLE`, `STALE`, `DELAY`, `PROBE`, `FAILED`, `PERMANENT` (RFC 4861 §7.3.2).
    pub state: Vec<String>,
    /// The port of the switch that it is behind; while it has not answered, that of whoever looks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
}

/// The router in numbers.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RoutingSummary {
    /// The uplink's device.
    pub uplink: String,
    /// Routes of all sources.
    pub routes: usize,
    /// Different destinations that packets are routed to.
    pub active: usize,
    /// Routes by their source.
    pub sources: std::collections::BTreeMap<String, usize>,
    /// Neighbors on both links.
    pub neighbors: usize,
    /// Requests of the workers that were lost because there were too many.
    pub requests_lost: u64,
}

/// A packet to be followed on paper.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplainRequest {
    /// Words as of a [filter](crate::filter): `in=PORT,tcp,src=A,dst=B,sport=1,dport=80`.
    pub packet: String,
}

/// One decision about a packet.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ExplainStep {
    /// Who decides: `ingress`, `port_security`, `bridge`, `validation`, `route`, `reverse_path`, `neighbor`, `egress`.
    pub stage: String,
    /// What is decided, in a word or two.
    pub decision: String,
    /// Why.
    pub reason: String,
}
