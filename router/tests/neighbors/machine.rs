//! Random events on the table and on the model of it.

use std::net::IpAddr;

use packet::{MacAddress, PortId};
use proptest::prelude::*;
use router::neighbor::{Message, Neighbors, Settings};

use crate::model::Model;

/// Every time of the default settings is a multiple of it.
const STEP_MS: u64 = 250;

#[derive(Clone, Copy, Debug)]
enum Event {
    Resolve(IpAddr, PortId),
    Heard(Message, PortId, bool),
    Pass(u64),
    Confirm(IpAddr),
    AddPermanent(IpAddr, MacAddress, PortId),
    Remove(IpAddr),
    RemovePort(PortId),
    Flush,
}

fn address() -> impl Strategy<Value = IpAddr> {
    let v4 = (1..7_u8).prop_map(|number| IpAddr::from([10, 0, 0, number]));
    let v6 = (1..7_u16).prop_map(|number| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, number]));
    prop_oneof![v4, v6]
}

fn port() -> impl Strategy<Value = PortId> {
    (0..3_u16).prop_map(|index| PortId::new(index).unwrap())
}

fn mac() -> impl Strategy<Value = MacAddress> {
    (1..4_u8).prop_map(|number| MacAddress([2, 0, 0, 0, 0, number]))
}

fn message() -> impl Strategy<Value = Message> {
    let mac = prop::option::weighted(0.9, mac());
    (any::<bool>(), address(), mac, any::<bool>(), any::<bool>()).prop_map(
        |(is_advertisement, target, mac, solicited, overrides)| {
            if is_advertisement {
                Message::Advertisement { target, mac, solicited, overrides }
            } else {
                Message::Solicitation { target: [10, 0, 0, 254].into(), asker: target, mac }
            }
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (address(), port()).prop_map(|(address, port)| Event::Resolve(address, port)),
        6 => (message(), port(), any::<bool>()).prop_map(|(message, port, long)| Event::Heard(message, port, long)),
        3 => (1..12_u64).prop_map(Event::Pass),
        2 => (1..140_u64).prop_map(Event::Pass),
        1 => address().prop_map(Event::Confirm),
        1 => (address(), mac(), port()).prop_map(|(address, mac, port)| Event::AddPermanent(address, mac, port)),
        1 => address().prop_map(Event::Remove),
        1 => port().prop_map(Event::RemovePort),
        1 => Just(Event::Flush),
    ]
}

fn settings() -> impl Strategy<Value = Settings> {
    let bound = || prop_oneof![1 => Just(1000_usize), 2 => 0..5_usize];
    (prop_oneof![Just(1000), 0..9_usize], bound(), bound()).prop_map(|(entries, unanswered, answered)| {
        Settings {
            entries_max: entries,
            unanswered_per_port_max: unanswered,
            answered_per_port_max: answered,
            ..Settings::default()
        }
    })
}

/// The random number, and the time that it makes of 30 s.
fn reachable(is_long: bool) -> (u32, u64) {
    if is_long { (1 << 31, 30_000) } else { (0, 15_000) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn the_table_does_what_the_model_does(
        settings in settings(), events in prop::collection::vec(event(), 1..120),
    ) {
        let (mut table, mut model) = (Neighbors::new(settings), Model::new(settings));
        let (mut now_ms, mut actions) = (5_000_000, Vec::new());
        for event in events {
            match event {
                Event::Resolve(address, asker) => {
                    let resolution = table.resolve(address, asker, now_ms, &mut actions);
                    prop_assert_eq!(resolution, model.resolve(address, asker));
                }
                Event::Heard(message, port, is_long) => {
                    let (random, reachable_ms) = reachable(is_long);
                    let heard = table.heard(&message, port, now_ms, random, &mut actions);
                    prop_assert_eq!(heard, model.heard(&message, port, reachable_ms));
                }
                Event::Pass(steps) => {
                    for _ in 0..steps {
                        now_ms += STEP_MS;
                        table.tick(now_ms, usize::MAX, &mut actions);
                        model.pass(STEP_MS);
                    }
                }
                Event::Confirm(address) => {
                    table.confirm(address, now_ms, 0);
                    model.confirm(address, 15_000);
                }
                Event::AddPermanent(address, mac, port) => {
                    let is_added = table.add_permanent(address, mac, port, &mut actions);
                    prop_assert_eq!(is_added, model.add_permanent(address, mac, port));
                }
                Event::Remove(address) => {
                    prop_assert_eq!(table.remove(address, &mut actions), model.remove(address));
                }
                Event::RemovePort(port) => {
                    table.remove_port(port, &mut actions);
                    model.remove_port(port);
                }
                Event::Flush => {
                    table.flush(&mut actions);
                    model.flush();
                }
            }
            actions.sort_unstable();
            model.actions.sort_unstable();
            prop_assert_eq!(&actions, &model.actions, "{:?}", event);
            prop_assert_eq!(table.iter().collect::<Vec<_>>(), model.entries(), "{:?}", event);
            actions.clear();
            model.actions.clear();
        }
    }

    /// However late and in however small portions timers are looked at, the end is the same.
    #[test]
    fn a_table_that_is_looked_at_late_comes_to_the_same_end(
        events in prop::collection::vec(event(), 1..40), lateness in prop::collection::vec(0..20_000_u64, 1..40),
    ) {
        let mut table = Neighbors::new(Settings::default());
        let (mut now_ms, mut actions) = (0, Vec::new());
        for event in &events {
            match *event {
                Event::Resolve(address, asker) => { table.resolve(address, asker, now_ms, &mut actions); }
                Event::Heard(message, port, _) => { table.heard(&message, port, now_ms, 7, &mut actions); }
                _ => {}
            }
        }
        for late in lateness.iter().cycle().take(400) {
            let Some(deadline) = table.next_deadline_ms() else { break };
            now_ms = deadline.max(now_ms) + late;
            table.tick(now_ms, 1, &mut actions);
        }
        prop_assert!(table.is_empty(), "{:?}", table);
        let solicited = actions.iter().filter(|action| matches!(action, router::neighbor::Action::Solicit { .. }));
        prop_assert!(solicited.count() <= events.len() * 3);
    }
}
