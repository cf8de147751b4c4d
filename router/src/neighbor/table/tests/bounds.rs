//! What the table holds, and what has to go.

use super::*;

#[test]
fn a_scan_takes_no_more_than_its_quota_and_pushes_out_its_own_oldest() {
    let mut link = Link::new(Settings::default());
    link.resolve(v6(1), 2);
    let mut refused = 0;
    for number in 0..1000_u16 {
        refused += usize::from(link.resolve(v6(1000 + number), 1) == Resolution::NoRoom);
    }
    assert_eq!((refused, link.table.len()), (936, 65));
    assert_eq!(link.pass(0).len(), 65, "no more is asked than is remembered");
    link.pass(1000);
    for number in 0..1000_u16 {
        link.resolve(v6(3000 + number), 1);
    }
    assert_eq!(link.table.len(), 65);
    assert_eq!(link.state(v6(1)), Some(State::Incomplete), "another's");
    assert_eq!((link.state(v6(1000)), link.state(v6(3063))), (None, Some(State::Incomplete)));
    let given_up = link.actions.iter().filter(|action| matches!(action, Action::Unreachable { .. })).count();
    assert_eq!(given_up, 64, "what waits for them is answered");
}

#[test]
fn a_full_table_never_loses_an_entry_in_use() {
    let settings = Settings { entries_max: 10, ..Settings::default() };
    let mut link = Link::new(settings);
    for number in 0..10 {
        link.resolve(v6(number + 1), 1);
        link.heard(told(v6(number + 1), mac(1), true, true), 1);
    }
    assert_eq!(link.resolve(v6(100), 2), Resolution::NoRoom);
    assert!(!link.table.add_permanent(v6(100), mac(3), port(3), &mut link.actions));
    let asker = Message::Solicitation { target: v6(99), asker: v6(100), mac: Some(mac(3)) };
    assert_eq!(link.heard(asker, 3), Heard::Ignored(Ignored::NoRoom));
    link.pass(30_000);
    link.resolve(v6(1), 2);
    assert_eq!(link.heard(asker, 3), Heard::Ignored(Ignored::NoRoom), "not even stale ones of others");
    assert_eq!(link.resolve(v6(100), 2), Resolution::Queue);
    assert_eq!(link.state(v6(2)), None, "the oldest that is stale");
    assert_eq!(link.state(v6(1)), Some(State::Delay));
    assert_eq!(link.resolve(v6(101), 2), Resolution::Queue);
    assert_eq!((link.state(v6(100)), link.state(v6(3))), (Some(State::Incomplete), None), "it has its time");
    link.pass(1000);
    assert_eq!(link.resolve(v6(102), 2), Resolution::Queue);
    assert_eq!((link.state(v6(100)), link.state(v6(4))), (None, Some(State::Stale)), "the unanswered first");
}

#[test]
fn what_answers_on_a_port_is_bounded() {
    let settings = Settings { answered_per_port_max: 3, ..Settings::default() };
    let mut link = Link::new(settings);
    for number in 1..=5 {
        link.heard(Message::Solicitation { target: v6(99), asker: v6(number), mac: Some(mac(1)) }, 1);
    }
    let known: Vec<_> = link.table.iter().map(|neighbor| neighbor.address).collect();
    assert_eq!(known, [v6(3), v6(4), v6(5)]);
    for number in 3..=5 {
        link.resolve(v6(number), 9);
    }
    link.resolve(v6(6), 9);
    assert_eq!(link.heard(told(v6(6), mac(1), true, true), 1), Heard::Ignored(Ignored::NoRoom));
    assert_eq!(link.heard(told(v6(6), mac(2), true, true), 2), Heard::Updated);
}

#[test]
fn a_port_that_goes_away_takes_its_neighbors_along() {
    let mut link = Link::with_reachable(host(1));
    link.table.add_permanent(host(2), mac(2), port(1), &mut link.actions);
    link.table.add_permanent(host(3), mac(3), port(3), &mut link.actions);
    link.resolve(host(4), 1);
    link.actions.clear();
    let generation = link.table.generation();
    link.table.remove_port(port(1), &mut link.actions);
    assert_eq!(link.actions, [Action::Unreachable { address: host(4) }]);
    assert_eq!(link.table.iter().map(|neighbor| neighbor.address).collect::<Vec<_>>(), [host(3)]);
    assert!(link.table.generation() > generation);
}

#[test]
fn flushing_keeps_the_permanent_and_removing_takes_any() {
    let mut link = Link::with_reachable(host(1));
    link.table.add_permanent(host(2), mac(2), port(1), &mut link.actions);
    link.resolve(host(3), 9);
    link.table.flush(&mut link.actions);
    assert_eq!(link.actions, [ask(host(3)), Action::Unreachable { address: host(3) }]);
    assert_eq!(link.table.len(), 1);
    assert!(link.table.remove(host(2), &mut link.actions));
    assert!(!link.table.remove(host(2), &mut link.actions));
    link.actions.clear();
    assert_eq!((link.pass(10_000_000), link.table.next_deadline_ms()), (Vec::new(), None));
}

#[test]
fn an_address_that_is_set_while_it_is_asked_for_resolves() {
    let mut link = Link::new(Settings::default());
    link.resolve(host(1), 9);
    link.table.add_permanent(host(1), mac(1), port(1), &mut link.actions);
    assert_eq!(link.pass(100_000), [ask(host(1)), Action::Resolved { address: host(1) }]);
}

#[test]
fn a_tick_does_no_more_than_its_budget() {
    let mut link = Link::new(Settings { unanswered_per_port_max: 1000, ..Settings::default() });
    for number in 1..=100 {
        link.resolve(v6(number), 1);
    }
    link.actions.clear();
    let now_ms = link.now_ms + 1000;
    assert!(link.table.tick(now_ms, 30, &mut link.actions));
    assert_eq!(link.actions.len(), 30);
    assert!(link.table.tick(now_ms, 69, &mut link.actions));
    assert!(!link.table.tick(now_ms, 2, &mut link.actions));
    assert_eq!(link.actions.len(), 100);
}
