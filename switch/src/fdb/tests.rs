use super::*;
use crate::{Addresses, Forwarding};
use packet::DropReason;

const LIMITS: FdbLimits = FdbLimits { macs_max: 1024, macs_per_port_max: 0, aging_ms: 300_000 };
const A: MacAddress = MacAddress([2, 0, 0, 0, 0, 0xa]);
const B: MacAddress = MacAddress([2, 0, 0, 0, 0, 0xb]);

fn port(index: u16) -> PortId {
    PortId::new(index).expect("a port")
}

fn mac(number: u64) -> MacAddress {
    MacAddress::from_u64(0x0200_0000_0000 | number)
}

fn fdb() -> Fdb {
    Fdb::new(LIMITS, 7)
}

fn small(macs_max: usize, macs_per_port_max: usize) -> Fdb {
    Fdb::new(FdbLimits { macs_max, macs_per_port_max, ..LIMITS }, 7)
}

fn frame(source: MacAddress, destination: MacAddress, ingress: u16) -> Addresses {
    Addresses { source, destination, ingress: port(ingress) }
}

#[test]
fn a_learned_address_is_found_and_ages() {
    let fdb = fdb();
    assert_eq!(fdb.lookup(A, 0), None);
    assert_eq!(fdb.learn(A, port(3), 1_000), Learned::New);
    assert_eq!(fdb.learn(A, port(3), 100_000), Learned::Known);
    assert_eq!(fdb.lookup(A, 400_000), Some(port(3)));
    assert_eq!(fdb.lookup(A, 403_000), None);
    assert_eq!((fdb.age(403_000), fdb.len(), fdb.learned_by(port(3))), (1, 0, 0));
}

#[test]
fn an_expired_address_is_new_again_on_any_port() {
    let fdb = fdb();
    fdb.learn(A, port(3), 0);
    fdb.learn(B, port(3), 0);
    fdb.age(300_000);
    assert_eq!(fdb.learn(A, port(3), 310_000), Learned::New);
    assert_eq!(fdb.learn(B, port(4), 310_000), Learned::New);
    assert_eq!((fdb.lookup(A, 310_000), fdb.lookup(B, 310_000)), (Some(port(3)), Some(port(4))));
    assert_eq!((fdb.learned_by(port(3)), fdb.learned_by(port(4)), fdb.statistics().moved), (1, 1, 0));
}

#[test]
fn an_address_moves_with_its_frames() {
    let fdb = fdb();
    fdb.learn(A, port(1), 0);
    assert_eq!(fdb.learn(A, port(2), 0), Learned::Moved { from: port(1) });
    assert_eq!(fdb.lookup(A, 0), Some(port(2)));
    assert_eq!((fdb.learned_by(port(1)), fdb.learned_by(port(2)), fdb.statistics().moved), (0, 1, 1));
}

#[test]
fn learning_never_overrides_a_static_entry() {
    let fdb = fdb();
    fdb.learn(A, port(1), 0);
    assert_eq!(fdb.add_static(A, port(2)), Ok(()));
    assert_eq!(fdb.learn(A, port(1), 0), Learned::Protected);
    assert_eq!(fdb.learn(A, port(2), 0), Learned::Known);
    assert_eq!(fdb.add_static(A, port(2)), Ok(()));
    assert_eq!(fdb.add_static(A, port(1)), Err(FdbError::Exists { mac: A, port: port(2) }));
    fdb.age(1_000_000);
    assert_eq!((fdb.flush(None), fdb.lookup(A, 1_000_000)), (0, Some(port(2))));
    assert_eq!((fdb.len(), fdb.learned_by(port(1)), fdb.learned_by(port(2))), (1, 0, 0));
    assert!(fdb.remove(A) && !fdb.remove(A) && fdb.is_empty());
}

#[test]
fn a_group_or_zero_address_is_never_entered() {
    let fdb = fdb();
    for mac in [MacAddress::ZERO, MacAddress::BROADCAST, MacAddress([0x33, 0x33, 0, 0, 0, 1])] {
        assert_eq!(fdb.learn(mac, port(1), 0), Learned::Refused);
        assert_eq!(fdb.add_static(mac, port(1)), Err(FdbError::NotAStation(mac)));
        assert_eq!((fdb.lookup(mac, 0), fdb.remove(mac)), (None, false));
    }
    assert!(fdb.is_empty());
}

#[test]
fn without_an_aging_time_the_bridge_is_a_hub() {
    let fdb = Fdb::new(FdbLimits { aging_ms: 0, ..LIMITS }, 7);
    assert_eq!(fdb.learn(A, port(1), 0), Learned::Refused);
    assert_eq!(fdb.forward(&frame(B, A, 2), 0), Forwarding::Flood);
}

#[test]
fn frames_go_where_their_destination_was_seen() {
    let fdb = fdb();
    let reserved = MacAddress([1, 0x80, 0xc2, 0, 0, 0x0e]);
    fdb.add_static(B, port(9)).unwrap();
    let rows = [
        (frame(A, mac(7), 1), Forwarding::Flood),
        (frame(A, MacAddress::ZERO, 1), Forwarding::Flood),
        (frame(A, MacAddress::BROADCAST, 1), Forwarding::Flood),
        (frame(A, B, 1), Forwarding::Unicast(port(9))),
        (frame(B, A, 9), Forwarding::Unicast(port(1))),
        (frame(mac(7), A, 1), Forwarding::Drop(DropReason::SamePort)),
        (frame(A, A, 1), Forwarding::Drop(DropReason::SamePort)),
        (frame(B, A, 1), Forwarding::Drop(DropReason::ProtectedMac)),
        (frame(B, MacAddress::BROADCAST, 1), Forwarding::Drop(DropReason::ProtectedMac)),
        (frame(A, reserved, 1), Forwarding::Drop(DropReason::ReservedGroup)),
        (frame(MacAddress::ZERO, A, 2), Forwarding::Drop(DropReason::InvalidSource)),
        (frame(MacAddress::BROADCAST, A, 2), Forwarding::Drop(DropReason::InvalidSource)),
        (frame(reserved, reserved, 2), Forwarding::Drop(DropReason::InvalidSource)),
    ];
    let addresses: Vec<Addresses> = rows.iter().map(|(frame, _)| *frame).collect();
    let mut verdicts = vec![Forwarding::Flood];
    fdb.forward_burst(&addresses, 0, &mut verdicts);
    assert_eq!(verdicts, rows.map(|(_, expected)| expected));
}

#[test]
fn reserved_groups_teach_their_source_but_pause_frames_do_not() {
    let fdb = fdb();
    for last in 0..16 {
        let group = MacAddress([1, 0x80, 0xc2, 0, 0, last]);
        let verdict = fdb.forward(&frame(mac(u64::from(last)), group, 1), 0);
        assert_eq!(verdict, Forwarding::Drop(DropReason::ReservedGroup));
        assert_eq!(fdb.lookup(mac(u64::from(last)), 0).is_none(), last == 1, "{last}");
    }
}

#[test]
fn a_frame_of_a_burst_knows_what_the_ones_before_it_taught() {
    let fdb = fdb();
    let burst: Vec<_> =
        (0..200).map(|n| frame(mac(n), mac(n.saturating_sub(1)), 1 + u16::from(n > 0))).collect();
    let mut verdicts = Vec::new();
    fdb.forward_burst(&burst, 0, &mut verdicts);
    assert_eq!(verdicts.len(), burst.len());
    assert_eq!(verdicts[1], Forwarding::Unicast(port(1)));
    assert!(verdicts[2..].iter().all(|verdict| *verdict == Forwarding::Drop(DropReason::SamePort)));
}

#[test]
fn a_port_learns_no_more_than_its_limit() {
    let fdb = small(1024, 2);
    assert_eq!(
        [1, 2, 3].map(|n| fdb.learn(mac(n), port(1), 0)),
        [Learned::New, Learned::New, Learned::Refused]
    );
    fdb.learn(mac(9), port(2), 0);
    assert_eq!(fdb.learn(mac(9), port(1), 0), Learned::Refused, "nor by a move");
    assert_eq!((fdb.lookup(mac(9), 0), fdb.learned_by(port(1))), (Some(port(2)), 2));
    assert_eq!(fdb.forward(&frame(mac(3), mac(9), 1), 0), Forwarding::Unicast(port(2)), "but is forwarded");
    fdb.remove(mac(1));
    assert_eq!(fdb.learn(mac(3), port(1), 0), Learned::New);
    assert_eq!(fdb.statistics().refused, 3);
}

#[test]
fn a_full_table_gives_up_entries_of_the_port_that_has_most() {
    let fdb = small(200, 0);
    for n in 0..200 {
        fdb.learn(mac(n), port(u16::from(n >= 20)), 0);
    }
    assert_eq!((fdb.learned_by(port(0)), fdb.learned_by(port(1))), (20, 180));
    for n in 200..240 {
        assert_eq!(fdb.learn(mac(n), port(2), 5_000), Learned::New, "{n}");
    }
    assert_eq!([0, 1, 2].map(|index| fdb.learned_by(port(index))), [20, 140, 40]);
    for n in 1_000..3_000 {
        fdb.learn(mac(n), port(1), 10_000);
    }
    assert_eq!([0, 1, 2].map(|index| fdb.learned_by(port(index))), [20, 140, 40]);
    assert_eq!(fdb.statistics().learned, 200);
}

#[test]
fn limits_change_while_the_table_runs() {
    let fdb = fdb();
    fdb.learn(A, port(1), 0);
    let quick = FdbLimits { aging_ms: 10_000, macs_max: 1, ..LIMITS };
    assert_eq!(fdb.set_limits(quick, 100_000), Ok(()));
    assert_eq!(fdb.lookup(A, 110_000), Some(port(1)), "its time begins anew");
    assert_eq!(fdb.learn(B, port(2), 110_000), Learned::Refused);
    assert_eq!(fdb.lookup(A, 111_000), None);
    let more = FdbLimits { macs_max: 1_000_000, ..LIMITS };
    assert!(matches!(fdb.set_limits(more, 0), Err(FdbError::SizeFixed { macs_max }) if macs_max >= 1024));
}

#[test]
fn a_removed_port_leaves_nothing_behind() {
    let fdb = fdb();
    fdb.learn(A, port(1), 0);
    fdb.add_static(B, port(1)).unwrap();
    fdb.learn(mac(1), port(2), 0);
    assert_eq!((fdb.flush(Some(port(1))), fdb.remove_port(port(1)), fdb.len()), (1, 1, 1));
    assert_eq!(fdb.flush(None), 1);
    assert!(fdb.is_empty());
}

#[test]
fn entries_are_listed_with_kind_and_idle_time() {
    let fdb = fdb();
    fdb.learn(B, port(2), 0);
    fdb.add_static(A, port(1)).unwrap();
    let expected = [
        FdbEntry { mac: A, port: port(1), kind: EntryKind::Static, idle_ms: 0 },
        FdbEntry { mac: B, port: port(2), kind: EntryKind::Learned, idle_ms: 30_000 },
    ];
    assert_eq!(fdb.entries(30_000), expected);
    assert_eq!(fdb.entries(400_000), expected[..1]);
}

#[test]
fn an_entry_that_outlived_its_time_is_not_taken_for_a_young_one() {
    for idle_ms in (303_000..3_000_000).step_by(1_000) {
        let fdb = fdb();
        fdb.learn(A, port(1), 0);
        assert_eq!(fdb.lookup(A, idle_ms), None, "nobody swept for {idle_ms} ms");
    }
}

#[test]
fn nearly_every_address_finds_a_place_in_a_table_of_its_size() {
    for seed in 0..4 {
        let fdb = Fdb::new(FdbLimits { macs_max: 100_000, ..LIMITS }, seed);
        let vendors = [0x0200_0000_0000_u64, 0x0a58_0af4_0000, 0x5254_0000_0000, 0x0242_ac11_0000];
        for n in 0..100_000_u64 {
            let mac = MacAddress::from_u64(vendors[usize::try_from(n % 4).unwrap()] + n / 4);
            fdb.learn(mac, port(u16::try_from(n % 100).unwrap()), 0);
        }
        assert!(fdb.len() > 99_990, "{} with seed {seed}", fdb.len());
    }
}
