use super::*;
use std::collections::BTreeMap;

fn neighbor(address: &str, state: State, mac: u8, port: u16) -> Neighbor {
    let mac = state.is_usable().then_some(MacAddress([2, 0, 0, 0, 0, mac]));
    Neighbor { address: address.parse().unwrap(), state, mac, port: PortId::new(port).unwrap() }
}

#[test]
fn each_state_shows_as_what_a_worker_does_with_it() {
    let states = [
        ("10.0.0.1", State::Incomplete),
        ("10.0.0.2", State::Reachable),
        ("10.0.0.3", State::Stale),
        ("10.0.0.4", State::Delay),
        ("fe80::5", State::Probe),
        ("fe80::6", State::Failed),
        ("fe80::7", State::Permanent),
    ];
    let map = NeighborMap::new(states.map(|(address, state)| neighbor(address, state, 9, 4095)), 7);
    let addresses: Vec<IpAddr> = states.iter().map(|(address, _)| address.parse().unwrap()).collect();
    let mut found = vec![Lookup::Unreachable];
    map.lookup_burst(&addresses, &mut found);
    for ((address, state), lookup) in states.into_iter().zip(found) {
        assert_eq!(lookup, map.lookup(address.parse().unwrap()));
        match (state, lookup) {
            (State::Incomplete, Lookup::Unknown) | (State::Failed, Lookup::Unreachable) => {}
            (_, Lookup::Usable { mac, port, tell }) => {
                assert_eq!((mac, port.get()), (MacAddress([2, 0, 0, 0, 0, 9]), 4095));
                assert_eq!(tell.is_some(), state == State::Stale);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(map.lookup("10.0.0.9".parse().unwrap()), Lookup::Unknown);
    assert_eq!(map.lookup("::ffff:10.0.0.9".parse().unwrap()), Lookup::Unknown);
    assert_eq!(NeighborMap::new([], 7).lookup("::".parse().unwrap()), Lookup::Unknown);
}

#[test]
fn every_neighbor_of_a_large_table_is_found_within_few_probes() {
    let mut model = BTreeMap::new();
    for number in 0..8192_u32 {
        let text = if number % 2 == 0 {
            std::net::Ipv4Addr::from(0x0af4_0000 + number).to_string()
        } else {
            format!("fd00::{number:x}")
        };
        let port = u16::try_from(number % 4096).unwrap();
        let one = neighbor(&text, State::Reachable, number.to_le_bytes()[0], port);
        model.insert(one.address, one);
    }
    let map = NeighborMap::new(model.values().copied(), 99);
    assert!(map.v4.probes_max.max(map.v6.probes_max) <= 40, "{map:?}");
    let addresses: Vec<IpAddr> = model.keys().copied().collect();
    let mut found = Vec::new();
    map.lookup_burst(&addresses, &mut found);
    assert_eq!(found.len(), model.len());
    for (one, lookup) in model.values().zip(found) {
        assert_eq!(lookup, Lookup::Usable { mac: one.mac.unwrap(), port: one.port, tell: None });
    }
}

#[test]
fn a_use_is_told_once_until_the_next_snapshot() {
    let address = |n| if n % 3 == 0 { format!("10.0.0.{n}") } else { format!("fd00::{n}") };
    let stale: Vec<_> = (1..100).map(|n| neighbor(&address(n), State::Stale, n, 1)).collect();
    let map = NeighborMap::new(stale.iter().copied(), 3);
    let mut reports = UseReports::new(99);
    for round in 0..2 {
        for one in &stale {
            let Lookup::Usable { tell: Some(tell), .. } = map.lookup(one.address) else { panic!("{one:?}") };
            assert!(reports.first_use(tell), "{round}");
            assert!(!reports.first_use(tell));
            reports.not_told(tell);
            assert!(reports.first_use(tell), "the ring was full");
        }
        reports.reset();
    }
    assert!(!reports.first_use(u32::MAX), "beyond any map");
    reports.not_told(u32::MAX);
}
