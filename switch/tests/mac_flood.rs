//! One port invents a million MACs: the others do not notice.
#![cfg(not(loom))]

use packet::{MacAddress, PortId};
use switch::{Addresses, Fdb, FdbLimits, Forwarding};

const PODS: u16 = 100;
const INVENTED: u64 = 1_000_000;
const ATTACKER: u16 = 500;

fn port(index: u16) -> PortId {
    PortId::new(index).expect("a port")
}

fn pod(index: u16) -> (MacAddress, PortId) {
    (MacAddress::from_u64(0x0200_0000_0000 | u64::from(index)), port(index))
}

/// Local, unicast, and spread over all buckets.
fn invented(number: u64) -> MacAddress {
    MacAddress::from_u64(0x0a00_0000_0000 | number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24)
}

/// Every pod talks to its neighbor; each frame must go to one port.
fn pods_talk(fdb: &Fdb, now_ms: u64) {
    let frames: Vec<Addresses> = (0..PODS)
        .map(|index| {
            let ((source, ingress), (destination, _)) = (pod(index), pod((index + 1) % PODS));
            Addresses { destination, source, ingress }
        })
        .collect();
    let mut verdicts = Vec::new();
    fdb.forward_burst(&frames, now_ms, &mut verdicts);
    for (index, verdict) in (0..PODS).zip(verdicts) {
        assert_eq!(verdict, Forwarding::Unicast(pod((index + 1) % PODS).1), "pod {index} at {now_ms} ms");
    }
}

fn flood(limits: FdbLimits, also: impl Fn(&Fdb, u64)) -> Fdb {
    let fdb = Fdb::new(limits, 0x5eed);
    for (mac, port) in (0..PODS).map(pod) {
        fdb.learn(mac, port, 0);
    }
    for number in 0..INVENTED {
        // A minute in all.
        let now_ms = number * 60_000 / INVENTED;
        fdb.learn(invented(number), port(ATTACKER), now_ms);
        if number % 10_000 == 0 {
            pods_talk(&fdb, now_ms);
            also(&fdb, number);
        }
    }
    pods_talk(&fdb, 60_000);
    for (mac, port) in (0..PODS).map(pod) {
        assert_eq!((fdb.lookup(mac, 60_000), fdb.learned_by(port)), (Some(port), 1));
    }
    fdb
}

#[test]
fn a_limit_a_port_stops_a_flood_of_macs_at_once() {
    let limits = FdbLimits { macs_max: 8192, macs_per_port_max: 64, aging_ms: 300_000 };
    let fdb = flood(limits, |_, _| {});
    assert_eq!(fdb.learned_by(port(ATTACKER)), 64);
    assert_eq!(fdb.statistics().evicted, 0);
}

#[test]
fn without_a_limit_a_flood_of_macs_evicts_its_own() {
    let limits = FdbLimits { macs_max: 8192, macs_per_port_max: 0, aging_ms: 300_000 };
    // A newcomer is entered even while the table is full of the attacker's.
    let newcomer = |fdb: &Fdb, number: u64| {
        let index = u16::try_from(1_000 + number / 10_000).expect("a port");
        let (mac, port) = pod(index);
        fdb.learn(mac, port, number * 60_000 / INVENTED);
        assert_eq!(fdb.lookup(mac, number * 60_000 / INVENTED), Some(port), "newcomer {index}");
    };
    let fdb = flood(limits, newcomer);
    assert!(fdb.statistics().learned <= 8192 && fdb.learned_by(port(ATTACKER)) <= 8192 - usize::from(PODS));
    assert!(fdb.statistics().evicted > 900_000);
}
