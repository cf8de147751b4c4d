//! The compiled routes against the routes known.

#[path = "rib_routes/mod.rs"]
mod routes;

use ipnet::IpNet;
use packet::PortId;
use proptest::prelude::*;
use router::fib::{Fib, FibCompiler, FibError, RouteDecision};
use router::lpm::Value;
use router::next_hop::{NextHop, NextHops};
use router::rib::{Gateway, Resolution, Rib, Route, RouteKind, RouteSource};
use routes::{Operation, PROBES, an_operation, ip, net, port, route, via};
use std::net::{IpAddr, Ipv4Addr};

/// What the RIB says, as the FIB should say it.
fn expect(fib: &Fib, rib: &Rib, address: IpAddr) -> Result<(), TestCaseError> {
    let resolution = rib.lookup(address).map(|(_, resolution)| resolution);
    let mut ports: Vec<PortId> = Vec::new();
    for flow_hash in [0, 1, 0x1234_5678, u32::MAX] {
        let decision = fib.lookup(address, flow_hash);
        match &resolution {
            None => prop_assert_eq!(decision, RouteDecision::NoRoute),
            Some(Resolution::Local) => prop_assert_eq!(decision, RouteDecision::Local),
            Some(Resolution::Blackhole) => prop_assert_eq!(decision, RouteDecision::Blackhole),
            Some(Resolution::Prohibit) => prop_assert_eq!(decision, RouteDecision::Prohibit),
            Some(Resolution::Unreachable) => prop_assert_eq!(decision, RouteDecision::Unreachable),
            Some(Resolution::Connected { port }) => {
                prop_assert_eq!(decision, RouteDecision::Connected { port: *port });
                ports = vec![*port];
            }
            Some(Resolution::Via(hops)) => {
                let table = NextHops::new(hops).expect("there are next hops");
                prop_assert_eq!(decision, RouteDecision::Forward(table.of_flow(flow_hash)));
                ports = hops.iter().map(|(hop, _)| hop.port).collect();
            }
        }
    }
    ports.sort_unstable();
    ports.dedup();
    prop_assert_eq!(fib.ports_toward(address), ports);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_step_by_step_or_built_anew_it_answers_as_the_routes_known(
        operations in proptest::collection::vec(an_operation(), 1..60),
    ) {
        let (mut rib, mut compiler) = (Rib::new(1_000), FibCompiler::new());
        for operation in operations {
            let changed = match operation {
                Operation::Offer(route) => rib.offer(route).unwrap(),
                Operation::Withdraw(prefix, source, metric) => rib.withdraw(prefix, source, metric),
                Operation::WithdrawSource(source) => rib.withdraw_source(source),
            };
            for prefix in changed {
                compiler.update(&rib, prefix).unwrap();
            }
        }
        let (anew, refused) = FibCompiler::from_rib(&rib);
        prop_assert_eq!(refused, vec![]);
        prop_assert_eq!((compiler.len(), compiler.targets()), (anew.len(), anew.targets()));
        for probe in PROBES {
            expect(&compiler.fib(), &rib, ip(probe))?;
            expect(&anew.fib(), &rib, ip(probe))?;
        }
        for prefix in rib.prefixes().collect::<Vec<_>>() {
            expect(&compiler.fib(), &rib, prefix.network())?;
            expect(&compiler.fib(), &rib, prefix.broadcast())?;
        }
    }
}

fn connected(index: u16) -> RouteKind {
    RouteKind::Connected { port: port(index) }
}

/// 192.168.0.0/24 at port 1, 192.168.1.0/24 at port 2.
fn rib() -> Rib {
    let mut rib = Rib::new(100_000);
    rib.offer(route("192.168.0.0/24", RouteSource::Connected, 0, connected(1))).expect("a right route");
    rib.offer(route("192.168.1.0/24", RouteSource::Connected, 0, connected(2))).expect("a right route");
    rib
}

#[test]
fn a_fib_given_out_before_a_change_still_answers_as_it_did() {
    let mut rib = rib();
    rib.offer(route("10.0.0.0/8", RouteSource::Static, 0, via(&["192.168.0.1"]))).unwrap();
    let (mut compiler, _) = FibCompiler::from_rib(&rib);
    let before = compiler.fib();
    for prefix in rib.offer(route("10.0.0.0/8", RouteSource::Static, 0, via(&["192.168.1.1"]))).unwrap() {
        compiler.update(&rib, prefix).unwrap();
    }
    let through = |fib: &Fib| match fib.lookup(ip("10.1.1.1"), 7) {
        RouteDecision::Forward(hop) => *hop,
        other => panic!("{other:?}"),
    };
    assert_eq!(through(&before), NextHop { gateway: ip("192.168.0.1"), port: port(1) });
    assert_eq!(through(&compiler.fib()), NextHop { gateway: ip("192.168.1.1"), port: port(2) });
}

#[test]
fn a_flow_moves_only_when_its_own_next_hop_goes_away() {
    let mut rib = rib();
    let gateways = ["192.168.0.1", "192.168.0.2", "192.168.0.3", "192.168.1.1"];
    rib.offer(route("10.0.0.0/8", RouteSource::Static, 0, via(&gateways))).unwrap();
    let (mut compiler, _) = FibCompiler::from_rib(&rib);
    let before = compiler.fib();
    for prefix in rib.offer(route("10.0.0.0/8", RouteSource::Static, 0, via(&gateways[1..]))).unwrap() {
        compiler.update(&rib, prefix).unwrap();
    }
    let after = compiler.fib();
    let gateway_of = |fib: &Fib, flow_hash| match fib.lookup(ip("10.0.0.1"), flow_hash) {
        RouteDecision::Forward(hop) => hop.gateway,
        other => panic!("{other:?}"),
    };
    let flows = || (0..100_000_u32).map(|flow| flow.wrapping_mul(0x85eb_ca6b));
    let moved = flows().filter(|flow| gateway_of(&before, *flow) != gateway_of(&after, *flow)).count();
    assert!(flows().all(|flow| gateway_of(&before, flow) == gateway_of(&after, flow)
        || gateway_of(&before, flow) == ip(gateways[0])));
    assert!((20_000..30_000).contains(&moved), "{moved} of 100000: about a quarter had the one that went");
    assert_eq!(before.ports_toward(ip("10.0.0.1")), [port(1), port(2)]);
}

#[test]
fn a_source_is_sought_behind_every_port_of_its_route_and_nowhere_else() {
    let mut rib = rib();
    rib.offer(route("10.9.0.0/16", RouteSource::Static, 0, RouteKind::Blackhole)).unwrap();
    rib.offer(route("10.8.0.0/16", RouteSource::Static, 0, RouteKind::Local)).unwrap();
    let fib = FibCompiler::from_rib(&rib).0.fib();
    assert_eq!(fib.ports_toward(ip("192.168.1.77")), [port(2)]);
    for nowhere in ["10.9.1.1", "10.8.1.1", "11.0.0.1", "2001:db8::1"] {
        assert_eq!(fib.ports_toward(ip(nowhere)), []);
    }
}

#[test]
fn bursts_are_decided_as_single_packets_are() {
    let mut rib = rib();
    rib.offer(route("10.0.0.0/8", RouteSource::Static, 0, via(&["192.168.0.1", "192.168.1.1"]))).unwrap();
    let fib = FibCompiler::from_rib(&rib).0.fib();
    let destinations: Vec<Ipv4Addr> = (0..100).map(|last| Ipv4Addr::new(last, 0, 0, last)).collect();
    let mut matches = vec![None; 100];
    fib.find_burst_v4(&destinations, &mut matches);
    for (destination, found) in destinations.iter().zip(matches) {
        assert_eq!(fib.decide(found, || 5), fib.lookup((*destination).into(), 5), "{destination}");
    }
}

#[test]
fn routes_to_one_place_share_a_target_and_numbers_are_used_again() {
    let mut rib = rib();
    let mut compiler = FibCompiler::from_rib(&rib).0;
    // More changes of the next hop than there are numbers.
    for round in 0..40_000_u32 {
        let kind = RouteKind::Via(vec![Gateway {
            address: Ipv4Addr::from_bits(0x0b00_0000 + round).into(),
            port: Some(port(1)),
            weight: 1,
        }]);
        for prefix in ["10.0.0.0/24", "10.0.1.0/24"] {
            rib.offer(route(prefix, RouteSource::Api, 0, kind.clone())).unwrap();
            compiler.update(&rib, net(prefix)).unwrap();
        }
        assert!(compiler.targets() <= 3, "two networks and one next hop");
    }
    assert_eq!(compiler.len(), 4);
}

#[test]
fn a_target_too_many_is_refused_by_name_and_the_rest_goes_on() {
    let mut rib = rib();
    let prefix = |index: usize| {
        let address = Ipv4Addr::from_bits(u32::try_from(0x0a00_0000 + index * 256).unwrap());
        IpNet::new(address.into(), 24).unwrap()
    };
    for index in 0..Value::COUNT {
        let address = Ipv4Addr::from_bits(u32::try_from(0x0b00_0000 + index).unwrap()).into();
        let kind = RouteKind::Via(vec![Gateway { address, port: Some(port(1)), weight: 1 }]);
        rib.offer(Route { prefix: prefix(index), source: RouteSource::Api, metric: 0, kind }).unwrap();
    }
    let (mut compiler, refused) = FibCompiler::from_rib(&rib);
    assert_eq!(refused.len(), 2);
    assert!(refused.iter().all(|(_, error)| *error == FibError::TooManyTargets));
    let (left_out, error) = refused[0];
    assert_eq!(error.to_string(), "routes lead to more than 32767 different sets of next hops");
    assert_eq!(compiler.fib().lookup(left_out.network(), 0), RouteDecision::NoRoute);
    assert_eq!(compiler.update(&rib, left_out), Err(FibError::TooManyTargets));
    rib.withdraw(prefix(0), RouteSource::Api, 0);
    compiler.update(&rib, prefix(0)).unwrap();
    compiler.update(&rib, left_out).unwrap();
    assert_ne!(compiler.fib().lookup(left_out.network(), 0), RouteDecision::NoRoute);
}
