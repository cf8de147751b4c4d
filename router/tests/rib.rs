//! Which of several offers for a prefix is the best, and what is refused.

#[path = "rib_routes/mod.rs"]
mod routes;

use ipnet::IpNet;
use proptest::prelude::*;
use router::next_hop::{NEXT_HOPS_MAX, NextHop};
use router::rib::{Gateway, OFFERS_OF_PREFIX_MAX, Resolution, Rib, RouteError, RouteKind, RouteSource};
use routes::{Operation, PROBES, SOURCES, an_operation, ip, net, port, route, via};
use std::collections::BTreeMap;

const UPLINK: RouteKind = RouteKind::Connected {
    port: match packet::PortId::new(9) {
        Some(port) => port,
        None => panic!(),
    },
};

/// A RIB that knows 192.168.0.0/24 and fd00::/64 at port 9.
fn rib() -> Rib {
    let mut rib = Rib::new(1_000);
    rib.offer(route("192.168.0.0/24", RouteSource::Connected, 0, UPLINK)).expect("a right route");
    rib.offer(route("fd00::/64", RouteSource::Connected, 0, UPLINK)).expect("a right route");
    rib
}

fn source_of_best(rib: &Rib, prefix: &str) -> Option<RouteSource> {
    rib.best(net(prefix)).map(|(route, _)| route.source)
}

fn hop(address: &str) -> NextHop {
    NextHop { gateway: ip(address), port: port(9) }
}

/// The RIB as one would explain it: a list.
#[derive(Default)]
struct Model(BTreeMap<(IpNet, RouteSource, u32), RouteKind>);

impl Model {
    fn best(&self, prefix: IpNet) -> Option<(RouteSource, u32, Resolution)> {
        let mut offers: Vec<_> = self.0.iter().filter(|((of, _, _), _)| *of == prefix).collect();
        offers.sort_by_key(|((_, source, metric), _)| {
            (SOURCES.iter().position(|known| known == source), *metric)
        });
        offers
            .into_iter()
            .find_map(|((_, source, metric), kind)| Some((*source, *metric, self.resolve(kind)?)))
    }

    fn resolve(&self, kind: &RouteKind) -> Option<Resolution> {
        Some(match kind {
            RouteKind::Via(gateways) => {
                let mut hops = BTreeMap::new();
                for gateway in gateways {
                    if let Some(port) = gateway.port.or_else(|| self.port_toward(gateway)) {
                        let lower = hops.entry(NextHop { gateway: gateway.address, port }).or_insert(u8::MAX);
                        *lower = gateway.weight.max(1).min(*lower);
                    }
                }
                if hops.is_empty() {
                    return None;
                }
                Resolution::Via(hops.into_iter().collect())
            }
            RouteKind::Connected { port } => Resolution::Connected { port: *port },
            RouteKind::Local => Resolution::Local,
            RouteKind::Blackhole => Resolution::Blackhole,
            RouteKind::Prohibit => Resolution::Prohibit,
            RouteKind::Unreachable => Resolution::Unreachable,
        })
    }

    fn port_toward(&self, gateway: &Gateway) -> Option<packet::PortId> {
        let networks = self.0.iter().filter_map(|((prefix, source, metric), kind)| match kind {
            RouteKind::Connected { port } if prefix.contains(&gateway.address) => {
                Some((prefix.prefix_len(), std::cmp::Reverse((*source, *metric)), *port))
            }
            _ => None,
        });
        networks.max().map(|(_, _, port)| port)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_best_is_that_of_the_model_and_every_change_of_it_is_told(
        operations in proptest::collection::vec(an_operation(), 1..60),
    ) {
        let (mut rib, mut model) = (Rib::new(1_000), Model::default());
        let mut bests = BTreeMap::new();
        for operation in operations {
            let changed = match operation {
                Operation::Offer(route) => {
                    model.0.insert((route.prefix, route.source, route.metric), route.kind.clone());
                    rib.offer(route).unwrap()
                }
                Operation::Withdraw(prefix, source, metric) => {
                    let known = model.0.remove(&(prefix, source, metric)).is_some();
                    let changed = rib.withdraw(prefix, source, metric);
                    prop_assert_eq!(known, changed.contains(&prefix));
                    changed
                }
                Operation::WithdrawSource(source) => {
                    model.0.retain(|(_, of, _), _| *of != source);
                    rib.withdraw_source(source)
                }
            };
            prop_assert_eq!(rib.len(), model.0.len());
            prop_assert_eq!(rib.routes().count(), model.0.len());
            for prefix in model.0.keys().map(|(prefix, _, _)| *prefix).chain(bests.keys().copied().collect::<Vec<_>>()) {
                let expected = model.best(prefix);
                let best = rib.best(prefix).map(|(route, resolution)| (route.source, route.metric, resolution));
                prop_assert_eq!(&best, &expected, "{}", prefix);
                let before = bests.insert(prefix, expected.clone()).flatten();
                prop_assert!(before == expected || changed.contains(&prefix), "{} changed untold", prefix);
            }
        }
        for probe in PROBES {
            let longest = model.0.keys().map(|(prefix, _, _)| *prefix);
            let usable = longest.filter(|prefix| prefix.contains(&ip(probe)) && model.best(*prefix).is_some());
            let expected = usable.max_by_key(IpNet::prefix_len);
            prop_assert_eq!(rib.lookup(ip(probe)).map(|(route, _)| route.prefix), expected);
        }
    }
}

#[test]
fn sources_take_precedence_in_their_order_and_the_next_takes_over() {
    let mut rib = rib();
    for (metric, source) in (0..).zip(SOURCES).collect::<Vec<_>>().into_iter().rev() {
        // The later the source in the order, the better its metric: it must not help.
        rib.offer(route("10.0.0.0/24", source, 100 - metric, via(&["192.168.0.1"]))).unwrap();
        assert_eq!(source_of_best(&rib, "10.0.0.0/24"), Some(source));
    }
    for (source, next) in SOURCES.into_iter().zip(SOURCES.into_iter().skip(1).map(Some).chain([None])) {
        assert!(rib.withdraw_source(source).contains(&net("10.0.0.0/24")));
        if source == RouteSource::Connected {
            // Its networks went with it: the others' gateways are nowhere.
            assert_eq!(source_of_best(&rib, "10.0.0.0/24"), None);
            rib.offer(route("192.168.0.0/24", RouteSource::Kernel { protocol: 2 }, 0, UPLINK)).unwrap();
        }
        assert_eq!(source_of_best(&rib, "10.0.0.0/24"), next);
    }
}

#[test]
fn one_protocol_of_the_kernel_does_not_take_the_routes_of_another_along() {
    let mut rib = rib();
    let (bird, frr) = (RouteSource::Kernel { protocol: 12 }, RouteSource::Kernel { protocol: 186 });
    rib.offer(route("10.0.0.0/24", bird, 20, via(&["192.168.0.1"]))).unwrap();
    rib.offer(route("10.0.0.0/24", frr, 20, via(&["192.168.0.2"]))).unwrap();
    rib.offer(route("10.0.1.0/24", frr, 20, via(&["192.168.0.2"]))).unwrap();
    assert_eq!(rib.withdraw_source(bird), [net("10.0.0.0/24")]);
    assert_eq!(
        (source_of_best(&rib, "10.0.0.0/24"), source_of_best(&rib, "10.0.1.0/24")),
        (Some(frr), Some(frr))
    );
}

#[test]
fn a_lower_metric_wins_and_the_same_metric_replaces() {
    let mut rib = rib();
    for (metric, gateway) in [(20, "192.168.0.1"), (10, "192.168.0.2"), (10, "192.168.0.3")] {
        rib.offer(route("10.0.0.0/24", RouteSource::Api, metric, via(&[gateway]))).unwrap();
    }
    assert_eq!(rib.len(), 4);
    let (_, resolution) = rib.best(net("10.0.0.0/24")).unwrap();
    assert_eq!(resolution, Resolution::Via(vec![(hop("192.168.0.3"), 1)]));
    assert_eq!(rib.withdraw(net("10.0.0.0/24"), RouteSource::Api, 30), []);
    assert_eq!(rib.withdraw(net("10.0.0.0/24"), RouteSource::Api, 10), [net("10.0.0.0/24")]);
    let (route, _) = rib.best(net("10.0.0.0/24")).unwrap();
    assert_eq!(route.metric, 20);
}

#[test]
fn routes_sleep_while_their_gateways_network_is_gone() {
    let mut rib = rib();
    rib.offer(route("0.0.0.0/0", RouteSource::Static, 0, via(&["192.168.0.1"]))).unwrap();
    rib.offer(route("0.0.0.0/0", RouteSource::Kernel { protocol: 4 }, 0, via(&["172.16.0.1"]))).unwrap();
    let gone = rib.withdraw(net("192.168.0.0/24"), RouteSource::Connected, 0);
    assert_eq!(gone, [net("0.0.0.0/0"), net("192.168.0.0/24")]);
    assert_eq!(source_of_best(&rib, "0.0.0.0/0"), None);
    let other = rib.offer(route("172.16.0.0/12", RouteSource::Connected, 0, UPLINK)).unwrap();
    assert_eq!(other, [net("0.0.0.0/0"), net("172.16.0.0/12")]);
    assert_eq!(source_of_best(&rib, "0.0.0.0/0"), Some(RouteSource::Kernel { protocol: 4 }));
    rib.offer(route("192.168.0.0/24", RouteSource::Connected, 0, UPLINK)).unwrap();
    assert_eq!(source_of_best(&rib, "0.0.0.0/0"), Some(RouteSource::Static));
}

#[test]
fn of_several_gateways_those_in_known_networks_are_used() {
    let mut rib = rib();
    rib.offer(route(
        "10.0.0.0/8",
        RouteSource::Static,
        0,
        via(&["172.16.0.1", "192.168.0.7", "192.168.0.7"]),
    ))
    .unwrap();
    assert_eq!(rib.lookup(ip("10.2.3.4")).unwrap().1, Resolution::Via(vec![(hop("192.168.0.7"), 1)]));
    let onlink = Gateway { address: ip("172.16.0.1"), port: Some(port(3)), weight: 0 };
    rib.offer(route("10.0.0.0/8", RouteSource::Static, 0, RouteKind::Via(vec![onlink]))).unwrap();
    let expected = NextHop { gateway: ip("172.16.0.1"), port: port(3) };
    assert_eq!(rib.lookup(ip("10.2.3.4")).unwrap().1, Resolution::Via(vec![(expected, 1)]));
}

#[test]
fn every_fault_of_a_route_has_its_name() {
    let mut rib = rib();
    let mut refused =
        |prefix: &str, kind: RouteKind| rib.offer(route(prefix, RouteSource::Api, 0, kind)).unwrap_err();
    assert_eq!(refused("10.0.0.1/24", via(&["192.168.0.1"])), RouteError::HostBits(net("10.0.0.1/24")));
    assert_eq!(refused("224.0.0.0/24", RouteKind::Blackhole), RouteError::Multicast(net("224.0.0.0/24")));
    assert_eq!(refused("ff02::/16", RouteKind::Local), RouteError::Multicast(net("ff02::/16")));
    assert_eq!(refused("10.0.0.0/8", via(&[])), RouteError::NoGateway(net("10.0.0.0/8")));
    let wrong = RouteError::WrongFamily { prefix: net("10.0.0.0/8"), gateway: ip("fd00::1") };
    assert_eq!(refused("10.0.0.0/8", via(&["fd00::1"])), wrong);
    for unusable in ["0.0.0.0", "127.0.0.1", "224.0.0.5", "255.255.255.255"] {
        assert_eq!(refused("10.0.0.0/8", via(&[unusable])), RouteError::UnusableGateway(ip(unusable)));
    }
    for unusable in ["::", "::1", "ff02::1"] {
        assert_eq!(refused("fd01::/16", via(&[unusable])), RouteError::UnusableGateway(ip(unusable)));
    }
    let many = via(&["192.168.0.1"; NEXT_HOPS_MAX + 1]);
    assert_eq!(refused("10.0.0.0/8", many), RouteError::TooManyGateways(net("10.0.0.0/8")));
    let nowhere = route("10.0.0.0/8", RouteSource::Api, 0, via(&["172.16.0.1"]));
    let fault = RouteError::GatewayOnNoKnownNetwork(ip("172.16.0.1"));
    assert_eq!(rib.resolve(&nowhere), Err(fault));
    assert_eq!(fault.to_string(), "the gateway 172.16.0.1 is on no known network");
    assert_eq!(
        RouteError::HostBits(net("10.0.0.1/24")).to_string(),
        "10.0.0.1/24 has host bits: did you mean 10.0.0.0/24?"
    );
}

#[test]
fn a_full_rib_refuses_by_name_and_still_replaces() {
    let mut rib = Rib::new(OFFERS_OF_PREFIX_MAX + 1);
    for metric in 0..OFFERS_OF_PREFIX_MAX {
        let metric = u32::try_from(metric).unwrap();
        rib.offer(route("10.0.0.0/8", RouteSource::Api, metric, RouteKind::Local)).unwrap();
    }
    let more = route("10.0.0.0/8", RouteSource::Api, 1_000, RouteKind::Local);
    assert_eq!(rib.offer(more.clone()), Err(RouteError::TooManyOffers(net("10.0.0.0/8"))));
    rib.offer(route("11.0.0.0/8", RouteSource::Api, 0, RouteKind::Local)).unwrap();
    assert_eq!(rib.offer(more), Err(RouteError::Full(OFFERS_OF_PREFIX_MAX + 1)));
    rib.offer(route("11.0.0.0/8", RouteSource::Api, 0, RouteKind::Blackhole)).unwrap();
    assert_eq!(rib.best(net("11.0.0.0/8")).unwrap().1, Resolution::Blackhole);
}
