//! Any stream of operations on the forwarding database: with room for all it is the slow model; without,
//! nobody who has less is a victim, and no address is on a port where it never was.

use std::collections::BTreeMap;

use packet::{MacAddress, PortId};
use switch::model::ModelBridge;
use switch::{Addresses, EntryKind, Fdb, FdbEntry, FdbLimits, Forwarding, Learned};

const PORTS: u16 = 4;
/// Operations of one run; a longer input only repeats itself.
const OPERATIONS_MAX: usize = 4096;

/// Runs the target. `data` is four bytes of settings (aging time, limit a port, room, seed), then four bytes
/// an operation: which, and three operands.
///
/// # Panics
/// If a claim does not hold.
pub fn run(data: &[u8]) {
    let Some((&[aging, per_port, room, seed], operations)) = data.split_first_chunk() else {
        return;
    };
    let limits = FdbLimits {
        macs_max: if room & 1 == 0 { 1024 } else { 1 + usize::from(room) / 8 },
        macs_per_port_max: usize::from(per_port % 8),
        aging_ms: [300_000, 0, 1, 199, 10_000, 86_400_000][usize::from(aging % 6)],
    };
    let (operations, _) = operations.as_chunks::<4>();
    let operations = operations.iter().take(OPERATIONS_MAX);
    if room & 1 == 0 {
        agree_with_the_model(limits, u64::from(seed), operations);
    } else {
        share_fairly(limits, u64::from(seed), operations);
    }
}

/// Few stations, so that they meet again, and what is no station.
fn mac(byte: u8) -> MacAddress {
    match byte {
        255 => MacAddress::BROADCAST,
        254 => MacAddress::ZERO,
        224..254 => MacAddress([1, 0x80, 0xc2, 0, 0, byte - 224]),
        _ => MacAddress([2, 0, 0, 0, 0, byte % 16]),
    }
}

fn port(byte: u8) -> PortId {
    PortId::new(u16::from(byte) % PORTS).expect("below the number of ports")
}

fn ports() -> impl Iterator<Item = PortId> {
    (0..PORTS).filter_map(PortId::new)
}

fn agree_with_the_model<'a>(limits: FdbLimits, seed: u64, operations: impl Iterator<Item = &'a [u8; 4]>) {
    let (fast, mut slow) = (Fdb::new(limits, seed), ModelBridge::new(limits));
    let mut verdicts = Vec::new();
    let mut now_ms = 0;
    for &[operation, a, b, c] in operations {
        match operation % 10 {
            0 | 1 => {
                let addresses = Addresses { source: mac(a), destination: mac(b), ingress: port(c) };
                fast.forward_burst(&[addresses], now_ms, &mut verdicts);
                assert_eq!(verdicts, [slow.forward(&addresses, now_ms)]);
            }
            2 => assert_eq!(fast.learn(mac(a), port(b), now_ms), slow.learn(mac(a), port(b), now_ms)),
            3 => assert_eq!(fast.lookup(mac(a), now_ms), slow.lookup(mac(a), now_ms)),
            4 => assert_eq!(fast.add_static(mac(a), port(b)), slow.add_static(mac(a), port(b))),
            5 => assert_eq!(fast.remove(mac(a)), slow.remove(mac(a))),
            6 => {
                let port = (a & 1 == 0).then_some(port(b));
                assert_eq!(fast.flush(port), slow.flush(port));
            }
            7 => assert_eq!(fast.remove_port(port(a)), slow.remove_port(port(a))),
            8 => assert_eq!(fast.age(now_ms), slow.age(now_ms)),
            _ => now_ms += u64::from(u16::from_le_bytes([a, b])) << (c % 12),
        }
        assert_eq!(fast.len(), slow.len());
        assert!(ports().all(|port| fast.learned_by(port) == slow.learned_by(port)));
    }
    let without_idle = |entries: Vec<FdbEntry>| -> Vec<FdbEntry> {
        entries.into_iter().map(|entry| FdbEntry { idle_ms: 0, ..entry }).collect()
    };
    assert_eq!(without_idle(fast.entries(now_ms)), without_idle(slow.entries(now_ms)));
}

/// Time stands still here, so that only want of room takes entries away.
fn share_fairly<'a>(limits: FdbLimits, seed: u64, operations: impl Iterator<Item = &'a [u8; 4]>) {
    let fdb = Fdb::new(limits, seed);
    let gateway = (MacAddress([6, 0, 0, 0, 0, 1]), port(0));
    fdb.add_static(gateway.0, gateway.1).expect("an empty table has room");
    let mut last_seen = BTreeMap::from([gateway]);
    for &[a, b, c, ingress] in operations {
        let (source, port) = (MacAddress([2, 0, 0, a, b, c]), port(ingress));
        let before: Vec<usize> = ports().map(|port| fdb.learned_by(port)).collect();
        let outcome = fdb.learn(source, port, 0);
        if outcome != Learned::Refused {
            last_seen.insert(source, port);
        }
        let would_have = before[port.index()] + 1;
        for (other, had) in ports().zip(before) {
            let gave_up = outcome == Learned::New && fdb.learned_by(other) < had;
            assert!(!gave_up || had > would_have, "{had} of port {other} for {would_have} of port {port}");
        }
        assert!(fdb.statistics().learned <= limits.macs_max);
        let back = Addresses { source: gateway.0, destination: source, ingress: gateway.1 };
        let expected = if outcome == Learned::Refused { None } else { Some(port) };
        match fdb.forward(&back, 0) {
            Forwarding::Unicast(found) => assert_eq!(Some(&found), last_seen.get(&source)),
            verdict => assert!(expected.is_none_or(|port| port == gateway.1), "{verdict:?} to {expected:?}"),
        }
    }
    for entry in fdb.entries(0) {
        assert_eq!(last_seen.get(&entry.mac), Some(&entry.port));
        assert_eq!(entry.kind == EntryKind::Static, entry.mac == gateway.0);
    }
    let held: usize = ports().map(|port| fdb.learned_by(port)).sum();
    assert_eq!((held, fdb.len()), (fdb.statistics().learned, held + 1));
}
