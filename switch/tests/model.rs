//! The forwarding database against the slow model, by random streams of operations.
#![cfg(not(loom))]

use packet::{MacAddress, PortId};
use proptest::prelude::*;
use switch::model::ModelBridge;
use switch::{Addresses, EntryKind, Fdb, FdbEntry, FdbLimits, Forwarding, Learned};

/// Far beyond what the streams below enter: no entry is given up for want of room.
const ROOM: FdbLimits = FdbLimits { macs_max: 1024, macs_per_port_max: 0, aging_ms: 300_000 };

#[derive(Clone, Copy, Debug)]
enum Operation {
    Forward(MacAddress, MacAddress, PortId),
    Learn(MacAddress, PortId),
    Lookup(MacAddress),
    AddStatic(MacAddress, PortId),
    Remove(MacAddress),
    Flush(Option<PortId>),
    RemovePort(PortId),
    Age,
    Wait { ms: u64 },
}

/// Few addresses, so that they meet again; some of them are of no station.
fn a_mac() -> impl Strategy<Value = MacAddress> {
    prop_oneof![
        20 => (0..12_u8).prop_map(|last| MacAddress([2, 0, 0, 0, 0, last])),
        1 => Just(MacAddress::ZERO),
        1 => Just(MacAddress::BROADCAST),
        1 => (0..17_u8).prop_map(|last| MacAddress([1, 0x80, 0xc2, 0, 0, last])),
    ]
}

fn a_port() -> impl Strategy<Value = PortId> {
    (0..4_u16).prop_filter_map("a port", PortId::new)
}

fn an_operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        8 => (a_mac(), a_mac(), a_port()).prop_map(|(from, to, port)| Operation::Forward(from, to, port)),
        4 => (a_mac(), a_port()).prop_map(|(mac, port)| Operation::Learn(mac, port)),
        4 => a_mac().prop_map(Operation::Lookup),
        1 => (a_mac(), a_port()).prop_map(|(mac, port)| Operation::AddStatic(mac, port)),
        1 => a_mac().prop_map(Operation::Remove),
        1 => proptest::option::of(a_port()).prop_map(Operation::Flush),
        1 => a_port().prop_map(Operation::RemovePort),
        2 => Just(Operation::Age),
        4 => prop_oneof![0..2_000_u64, 0..400_000_u64, 0..3_000_000_u64].prop_map(|ms| Operation::Wait { ms }),
    ]
}

/// The fast table shows idle times in steps.
fn without_idle(entries: Vec<FdbEntry>) -> Vec<FdbEntry> {
    entries.into_iter().map(|entry| FdbEntry { idle_ms: 0, ..entry }).collect()
}

/// Does the same to both and compares all that they say.
fn agree(limits: FdbLimits, operations: &[Operation], seed: u64) -> Result<(), TestCaseError> {
    let (fast, mut slow) = (Fdb::new(limits, seed), ModelBridge::new(limits));
    let mut now_ms = 0;
    for operation in operations {
        match *operation {
            Operation::Forward(source, destination, ingress) => {
                let addresses = Addresses { destination, source, ingress };
                let mut verdicts = Vec::new();
                fast.forward_burst(&[addresses], now_ms, &mut verdicts);
                prop_assert_eq!(verdicts, vec![slow.forward(&addresses, now_ms)], "{:?}", operation);
            }
            Operation::Learn(mac, port) => {
                let (fast, slow) = (fast.learn(mac, port, now_ms), slow.learn(mac, port, now_ms));
                prop_assert_eq!(fast, slow, "{:?}", operation);
            }
            Operation::Lookup(mac) => {
                prop_assert_eq!(fast.lookup(mac, now_ms), slow.lookup(mac, now_ms), "{:?}", operation);
            }
            Operation::AddStatic(mac, port) => {
                prop_assert_eq!(fast.add_static(mac, port), slow.add_static(mac, port), "{:?}", operation);
            }
            Operation::Remove(mac) => prop_assert_eq!(fast.remove(mac), slow.remove(mac)),
            Operation::Flush(port) => prop_assert_eq!(fast.flush(port), slow.flush(port)),
            Operation::RemovePort(port) => prop_assert_eq!(fast.remove_port(port), slow.remove_port(port)),
            Operation::Age => prop_assert_eq!(fast.age(now_ms), slow.age(now_ms)),
            Operation::Wait { ms } => now_ms += ms,
        }
        prop_assert_eq!(fast.len(), slow.len(), "{:?}", operation);
        for port in (0..4).filter_map(PortId::new) {
            prop_assert_eq!(fast.learned_by(port), slow.learned_by(port), "{:?}", operation);
        }
    }
    prop_assert_eq!(without_idle(fast.entries(now_ms)), without_idle(slow.entries(now_ms)));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn with_room_for_all_the_fast_table_is_the_slow_one(
        operations in proptest::collection::vec(an_operation(), 1..120),
        macs_per_port_max in prop_oneof![Just(0), 1..6_usize],
        aging_ms in prop_oneof![Just(300_000), Just(0), 1..2_000_u64, 1..5_000_000_u64],
        seed: u64,
    ) {
        agree(FdbLimits { macs_per_port_max, aging_ms, ..ROOM }, &operations, seed)?;
    }

    #[test]
    fn under_pressure_nobody_who_has_less_is_a_victim_and_no_port_is_wrong(
        learned in proptest::collection::vec((0..400_u64, 0..6_u16), 1..600),
        macs_max in 8..64_usize,
        seed: u64,
    ) {
        let fdb = Fdb::new(FdbLimits { macs_max, ..ROOM }, seed);
        let gateway = (MacAddress([2, 0xff, 0, 0, 0, 1]), PortId::new(9).expect("a port"));
        prop_assert_eq!(fdb.add_static(gateway.0, gateway.1), Ok(()));
        let ports: Vec<PortId> = (0..6).filter_map(PortId::new).collect();
        let mut last_seen = std::collections::BTreeMap::new();
        for (number, port) in learned {
            let (mac, port) = (MacAddress::from_u64(0x0200_0000_0000 | number), ports[usize::from(port)]);
            let before: Vec<usize> = ports.iter().map(|port| fdb.learned_by(*port)).collect();
            let outcome = fdb.learn(mac, port, 0);
            if matches!(outcome, Learned::New | Learned::Moved { .. } | Learned::Known) {
                last_seen.insert(mac, port);
            }
            let would_have = before[port.index()] + 1;
            for (other, had) in ports.iter().zip(before) {
                let gave_up = fdb.learned_by(*other) < had && outcome == Learned::New;
                prop_assert!(!gave_up || had > would_have, "{had} of {other} for {would_have} of {port}");
            }
            prop_assert!(fdb.statistics().learned <= macs_max);
        }
        for entry in fdb.entries(0) {
            let expected = if entry.kind == EntryKind::Static { Some(&gateway.1) } else { last_seen.get(&entry.mac) };
            prop_assert_eq!(Some(&entry.port), expected);
        }
        prop_assert_eq!(fdb.lookup(gateway.0, 0), Some(gateway.1));
        let held: usize = ports.iter().map(|port| fdb.learned_by(*port)).sum();
        prop_assert_eq!((held, held + 1), (fdb.statistics().learned, fdb.entries(0).len()));
    }
}

#[test]
fn the_model_shares_a_full_table_fairly() {
    let mut model = ModelBridge::new(FdbLimits { macs_max: 10, ..ROOM });
    let port = |index| PortId::new(index).expect("a port");
    let mac = |number| MacAddress::from_u64(0x0200_0000_0000 | number);
    for number in 0..20 {
        model.learn(mac(number), port(1), number);
    }
    assert_eq!((model.len(), model.lookup(mac(9), 20), model.lookup(mac(10), 20)), (10, None, Some(port(1))));
    for number in 100..110 {
        assert_eq!(model.learn(mac(number), port(2), 20), Learned::New);
    }
    assert_eq!((model.learned_by(port(1)), model.learned_by(port(2))), (5, 5));
    let frame = Addresses { destination: mac(109), source: mac(19), ingress: port(1) };
    assert_eq!(model.forward(&frame, 20), Forwarding::Unicast(port(2)));
}
