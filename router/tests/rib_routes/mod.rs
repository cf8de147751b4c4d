//! Routes, written shortly, and random ones that meet each other.

use ipnet::IpNet;
use packet::PortId;
use proptest::prelude::*;
use router::rib::{Gateway, Route, RouteKind, RouteSource};
use std::net::IpAddr;

pub(crate) const SOURCES: [RouteSource; 6] = [
    RouteSource::Connected,
    RouteSource::Static,
    RouteSource::Api,
    RouteSource::Cluster,
    RouteSource::Kernel { protocol: 4 },
    RouteSource::Kernel { protocol: 186 },
];

pub(crate) fn port(index: u16) -> PortId {
    PortId::new(index).expect("a small number")
}

pub(crate) fn net(text: &str) -> IpNet {
    text.parse().expect("written right")
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().expect("written right")
}

pub(crate) fn via(gateways: &[&str]) -> RouteKind {
    let gateway = |text: &&str| Gateway { address: ip(text), port: None, weight: 1 };
    RouteKind::Via(gateways.iter().map(gateway).collect())
}

pub(crate) fn route(prefix: &str, source: RouteSource, metric: u32, kind: RouteKind) -> Route {
    Route { prefix: net(prefix), source, metric, kind }
}

/// Networks in which the gateways of [`a_route`] lie, and what is routed.
const PREFIXES: [&str; 12] = [
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.1.0/24",
    "10.1.1.128/25",
    "10.1.1.200/32",
    "192.168.0.0/24",
    "192.168.1.0/24",
    "::/0",
    "fd00::/16",
    "fd00:0:0:1::/64",
    "fd00::1:0:0:0:5/128",
];

pub(crate) const PROBES: [&str; 10] = [
    "8.8.8.8",
    "10.9.9.9",
    "10.1.9.9",
    "10.1.1.1",
    "10.1.1.129",
    "10.1.1.200",
    "192.168.1.7",
    "2001:db8::1",
    "fd00::9",
    "fd00:0:0:1::5",
];

pub(crate) fn a_prefix() -> impl Strategy<Value = IpNet> {
    proptest::sample::select(&PREFIXES).prop_map(net)
}

pub(crate) fn a_source() -> impl Strategy<Value = RouteSource> {
    proptest::sample::select(&SOURCES)
}

fn a_kind(is_v4: bool) -> impl Strategy<Value = RouteKind> {
    let gateways = if is_v4 {
        ["192.168.0.1", "192.168.0.2", "192.168.1.1", "10.1.1.3"]
    } else {
        ["fd00::1", "fd00::2", "fd00:0:0:1::1", "fd00:0:0:1::2"]
    };
    let gateway =
        (proptest::sample::select(gateways.to_vec()), proptest::option::weighted(0.2, 0..4_u16), 0..3_u8);
    let gateway = gateway.prop_map(|(text, index, weight)| Gateway {
        address: ip(text),
        port: index.map(port),
        weight,
    });
    prop_oneof![
        6 => proptest::collection::vec(gateway, 1..4).prop_map(RouteKind::Via),
        4 => (0..4_u16).prop_map(|index| RouteKind::Connected { port: port(index) }),
        1 => Just(RouteKind::Local),
        1 => Just(RouteKind::Blackhole),
        1 => Just(RouteKind::Prohibit),
        1 => Just(RouteKind::Unreachable),
    ]
}

pub(crate) fn a_route() -> impl Strategy<Value = Route> {
    (a_prefix(), a_source(), 0..3_u32).prop_flat_map(|(prefix, source, metric)| {
        let kind = a_kind(prefix.addr().is_ipv4());
        kind.prop_map(move |kind| Route { prefix, source, metric, kind })
    })
}

/// What happens to a RIB.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Offer(Route),
    Withdraw(IpNet, RouteSource, u32),
    WithdrawSource(RouteSource),
}

pub(crate) fn an_operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        8 => a_route().prop_map(Operation::Offer),
        4 => (a_prefix(), a_source(), 0..3_u32).prop_map(|(prefix, source, metric)| Operation::Withdraw(prefix, source, metric)),
        1 => a_source().prop_map(Operation::WithdrawSource),
    ]
}
