use super::*;
use crate::neighbor::Message;

mod bounds;

fn port(index: u16) -> PortId {
    PortId::new(index).unwrap()
}

fn host(number: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, number])
}

fn v6(number: u16) -> IpAddr {
    IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, number])
}

fn mac(number: u8) -> MacAddress {
    MacAddress([2, 0, 0, 0, 0, number])
}

fn told(target: IpAddr, mac: MacAddress, solicited: bool, overrides: bool) -> Message {
    Message::Advertisement { target, mac: Some(mac), solicited, overrides }
}

/// Half of the range: the reachable time is its base.
const MIDDLE: u32 = 0x8000_0000;

/// A table, its clock and what it wants done.
struct Link {
    table: Neighbors,
    now_ms: u64,
    actions: Vec<Action>,
}

impl Link {
    fn new(settings: Settings) -> Self {
        Self { table: Neighbors::new(settings), now_ms: 1_000_000, actions: Vec::new() }
    }

    fn resolve(&mut self, address: IpAddr, asker: u16) -> Resolution {
        self.table.resolve(address, port(asker), self.now_ms, &mut self.actions)
    }

    fn heard(&mut self, message: Message, from: u16) -> Heard {
        self.table.heard(&message, port(from), self.now_ms, MIDDLE, &mut self.actions)
    }

    /// Lets time pass and returns what is to be done.
    fn pass(&mut self, ms: u64) -> Vec<Action> {
        let mut actions = std::mem::take(&mut self.actions);
        let end = self.now_ms + ms;
        while let Some(deadline) = self.table.next_deadline_ms().filter(|deadline| *deadline <= end) {
            self.now_ms = deadline;
            self.table.tick(deadline, 1, &mut actions);
        }
        self.now_ms = end;
        actions
    }

    fn state(&self, address: IpAddr) -> Option<State> {
        self.table.get(address).map(|neighbor| neighbor.state)
    }

    /// A link on which `address` is reachable at `mac(1)` behind port 1.
    fn with_reachable(address: IpAddr) -> Self {
        let mut link = Self::new(Settings::default());
        link.resolve(address, 9);
        assert_eq!(link.heard(told(address, mac(1), true, true), 1), Heard::Updated);
        assert_eq!(link.state(address), Some(State::Reachable));
        link.actions.clear();
        link
    }

    fn at(&self, address: IpAddr) -> (State, Option<MacAddress>, PortId) {
        let neighbor = self.table.get(address).unwrap();
        (neighbor.state, neighbor.mac, neighbor.port)
    }
}

const fn ask(address: IpAddr) -> Action {
    Action::Solicit { address, probed: None }
}

#[test]
fn three_solicitations_a_second_apart_then_unreachable_then_forgotten() {
    for address in [host(1), v6(1)] {
        let mut link = Link::new(Settings::default());
        assert_eq!(link.resolve(address, 1), Resolution::Queue);
        assert_eq!(link.pass(0), [ask(address)]);
        assert_eq!(link.resolve(address, 2), Resolution::Queue);
        assert_eq!(link.pass(999), []);
        assert_eq!(link.pass(1), [ask(address)]);
        assert_eq!(link.pass(1000), [ask(address)]);
        assert_eq!(link.pass(999), []);
        assert_eq!(link.pass(1), [Action::Unreachable { address }]);
        assert_eq!(link.resolve(address, 1), Resolution::Unreachable);
        assert_eq!(link.pass(999), []);
        assert_eq!(link.state(address), Some(State::Failed));
        link.pass(1);
        assert_eq!(link.state(address), None);
        assert_eq!(link.resolve(address, 1), Resolution::Queue);
        assert_eq!(link.pass(0), [ask(address)]);
    }
}

#[test]
fn an_answer_resolves_and_lets_what_waits_go() {
    let mut link = Link::new(Settings::default());
    link.resolve(host(1), 9);
    link.heard(told(host(1), mac(1), true, true), 1);
    assert_eq!(link.pass(0), [ask(host(1)), Action::Resolved { address: host(1) }]);
    assert_eq!(link.resolve(host(1), 9), Resolution::Resolved { mac: mac(1), port: port(1) });
    assert_eq!(link.pass(10_000), [], "no more solicitations");
}

#[test]
fn an_unsolicited_answer_while_asking_is_stale() {
    for (address, solicited) in [(v6(1), false), (host(1), false)] {
        let mut link = Link::new(Settings::default());
        link.resolve(address, 9);
        link.heard(told(address, mac(1), solicited, false), 1);
        assert_eq!(link.at(address), (State::Stale, Some(mac(1)), port(1)));
    }
}

#[test]
fn reachable_ends_stale_and_a_use_leads_by_delay_to_probes_of_the_neighbor_alone() {
    for address in [host(1), v6(1)] {
        let mut link = Link::with_reachable(address);
        assert_eq!(link.pass(29_999), []);
        assert_eq!(link.state(address), Some(State::Reachable));
        link.pass(1);
        assert_eq!(link.state(address), Some(State::Stale));
        assert_eq!(link.pass(30_000), [], "unused, nothing is asked");
        assert_eq!(link.resolve(address, 9), Resolution::Resolved { mac: mac(1), port: port(1) });
        assert_eq!(link.state(address), Some(State::Delay));
        assert_eq!(link.pass(4999), []);
        let probe = Action::Solicit { address, probed: Some((mac(1), port(1))) };
        assert_eq!(link.pass(1), [probe]);
        assert_eq!(link.state(address), Some(State::Probe));
        assert!(matches!(link.resolve(address, 9), Resolution::Resolved { .. }));
        assert_eq!(link.pass(2000), [probe; 2]);
        link.pass(1000);
        assert_eq!(link.state(address), None, "RFC 4861 §7.3.3: resolution begins anew");
    }
}

#[test]
fn an_answered_probe_is_reachable_again() {
    for address in [host(1), v6(1)] {
        let mut link = Link::with_reachable(address);
        link.pass(30_000);
        link.resolve(address, 9);
        link.pass(5000);
        assert_eq!(link.heard(told(address, mac(1), true, true), 1), Heard::Confirmed);
        assert_eq!(link.state(address), Some(State::Reachable));
    }
}

#[test]
fn a_stale_entry_that_nobody_uses_is_forgotten_after_a_minute() {
    let mut link = Link::with_reachable(host(1));
    link.pass(30_000 + 59_999);
    assert_eq!(link.state(host(1)), Some(State::Stale));
    link.pass(1);
    assert!(link.table.is_empty());
}

#[test]
fn the_reachable_time_is_random_between_half_and_one_and_a_half() {
    for (random, reachable_ms) in [(0, 15_000), (MIDDLE, 30_000), (u32::MAX, 44_999)] {
        let mut table = Neighbors::new(Settings::default());
        let mut actions = Vec::new();
        table.resolve(host(1), port(9), 0, &mut actions);
        table.heard(&told(host(1), mac(1), true, true), port(1), 0, random, &mut actions);
        assert_eq!(table.next_deadline_ms(), Some(reachable_ms));
    }
}

#[test]
fn nothing_that_nobody_asked_for_makes_an_entry() {
    let mut link = Link::new(Settings::default());
    for address in [host(1), v6(1)] {
        for (solicited, overrides) in [(false, false), (false, true), (true, false), (true, true)] {
            let heard = link.heard(told(address, mac(1), solicited, overrides), 1);
            assert_eq!(heard, Heard::Ignored(Ignored::Unknown));
        }
    }
    assert!(link.table.is_empty());
}

/// The table of RFC 4861 §7.2.5 and appendix C for an entry that has a MAC.
#[test]
fn advertisements_change_entries_as_appendix_c_says() {
    use State::{Delay, Probe, Reachable, Stale};
    for (after_ms, state) in [(0, Reachable), (30_000, Stale), (30_001, Delay), (35_001, Probe)] {
        for (solicited, overrides, same, expected) in [
            (true, false, true, (Reachable, 1)),
            (true, true, true, (Reachable, 1)),
            (true, true, false, (Reachable, 2)),
            (true, false, false, (if state == Reachable { Stale } else { state }, 1)),
            (false, false, false, (if state == Reachable { Stale } else { state }, 1)),
            (false, true, true, (state, 1)),
            (false, true, false, (Stale, 2)),
            (false, false, true, (state, 1)),
        ] {
            let mut link = Link::with_reachable(v6(1));
            link.pass(after_ms.min(30_000));
            if after_ms > 30_000 {
                link.resolve(v6(1), 9);
                link.pass(after_ms - 30_001);
            }
            assert_eq!(link.state(v6(1)), Some(state));
            let new = if same { mac(1) } else { mac(2) };
            link.heard(told(v6(1), new, solicited, overrides), 1);
            let expected = (expected.0, Some(mac(expected.1)), port(1));
            assert_eq!(link.at(v6(1)), expected, "{state:?} S={solicited} O={overrides} same={same}");
        }
    }
}

#[test]
fn an_advertisement_without_a_mac_confirms_only() {
    let bare = Message::Advertisement { target: v6(1), mac: None, solicited: true, overrides: false };
    let mut link = Link::new(Settings::default());
    link.resolve(v6(1), 9);
    assert_eq!(link.heard(bare, 1), Heard::Ignored(Ignored::NothingTold));
    let mut link = Link::with_reachable(v6(1));
    link.pass(30_000);
    assert_eq!(link.heard(bare, 1), Heard::Confirmed);
    assert_eq!(link.state(v6(1)), Some(State::Reachable));
}

#[test]
fn an_arp_reply_counts_as_asked_for_only_while_we_ask() {
    let mut link = Link::with_reachable(host(1));
    link.pass(30_000);
    assert_eq!(link.heard(told(host(1), mac(1), true, true), 1), Heard::Confirmed);
    assert_eq!(link.state(host(1)), Some(State::Stale));
    link.heard(told(host(1), mac(2), true, true), 1);
    assert_eq!(link.at(host(1)), (State::Stale, Some(mac(2)), port(1)));
}

#[test]
fn nothing_heard_on_one_port_changes_an_entry_of_another() {
    for address in [host(1), v6(1)] {
        for message in [
            told(address, mac(6), true, true),
            told(address, mac(6), false, true),
            Message::Solicitation { target: host(254), asker: address, mac: Some(mac(6)) },
        ] {
            for after_ms in [0, 30_000] {
                let mut link = Link::with_reachable(address);
                link.pass(after_ms);
                let before = link.at(address);
                assert_eq!(link.heard(message, 6), Heard::Ignored(Ignored::OtherPort));
                assert_eq!(link.at(address), before);
            }
        }
    }
}

#[test]
fn a_permanent_entry_is_changed_by_nothing_that_is_heard() {
    let mut link = Link::new(Settings::default());
    assert!(link.table.add_permanent(host(1), mac(1), port(1), &mut link.actions));
    for from in [1, 6] {
        for message in [
            told(host(1), mac(6), true, true),
            Message::Solicitation { target: host(254), asker: host(1), mac: Some(mac(6)) },
        ] {
            assert_eq!(link.heard(message, from), Heard::Ignored(Ignored::Permanent));
        }
    }
    link.table.confirm(host(1), link.now_ms, 0);
    assert_eq!(link.pass(10_000_000), []);
    assert_eq!(link.at(host(1)), (State::Permanent, Some(mac(1)), port(1)));
}

#[test]
fn who_asks_the_gateway_is_known_as_stale() {
    for address in [host(1), v6(1)] {
        let mut link = Link::new(Settings::default());
        let from = |mac| Message::Solicitation { target: host(254), asker: address, mac: Some(mac) };
        assert_eq!(link.heard(from(mac(1)), 1), Heard::New);
        assert_eq!(link.at(address), (State::Stale, Some(mac(1)), port(1)));
        assert_eq!(link.heard(from(mac(1)), 1), Heard::Confirmed);
        assert_eq!(link.heard(from(mac(2)), 1), Heard::Updated);
        assert_eq!(link.at(address), (State::Stale, Some(mac(2)), port(1)));
        let mut link = Link::with_reachable(address);
        link.heard(from(mac(1)), 1);
        assert_eq!(link.state(address), Some(State::Reachable), "nothing new is told");
    }
}

#[test]
fn a_question_of_the_neighbor_that_is_asked_for_answers_ours() {
    let mut link = Link::new(Settings::default());
    link.resolve(host(1), 9);
    link.heard(Message::Solicitation { target: host(254), asker: host(1), mac: Some(mac(1)) }, 1);
    assert_eq!(link.pass(0), [ask(host(1)), Action::Resolved { address: host(1) }]);
    assert_eq!(link.state(host(1)), Some(State::Stale));
}

#[test]
fn a_probe_or_a_question_without_a_mac_teaches_nothing() {
    let mut link = Link::new(Settings::default());
    let nobody = IpAddr::from([0, 0, 0, 0]);
    for (asker, mac) in [(nobody, Some(mac(1))), (v6(0), None), (IpAddr::from([0; 16]), None)] {
        let heard = link.heard(Message::Solicitation { target: host(254), asker, mac }, 1);
        assert_eq!(heard, Heard::Ignored(Ignored::NothingTold));
    }
    assert!(link.table.is_empty());
}

#[test]
fn groups_and_the_unspecified_address_are_no_neighbors() {
    let mut link = Link::new(Settings::default());
    for address in
        ["0.0.0.0", "255.255.255.255", "224.0.0.1", "127.0.0.1", "::", "::1", "ff02::1", "::ffff:10.0.0.1"]
    {
        let address = address.parse().unwrap();
        assert_eq!(link.resolve(address, 1), Resolution::Unreachable, "{address}");
        assert!(!link.table.add_permanent(address, mac(1), port(1), &mut link.actions), "{address}");
    }
    assert_eq!(link.pass(0), []);
}

#[test]
fn an_announcement_ends_the_time_in_which_nobody_is_asked() {
    let mut link = Link::new(Settings::default());
    link.resolve(host(1), 1);
    link.pass(3000);
    assert_eq!(link.state(host(1)), Some(State::Failed));
    link.heard(told(host(1), mac(1), false, true), 1);
    assert_eq!(link.resolve(host(1), 1), Resolution::Queue);
}

#[test]
fn progress_of_an_upper_layer_confirms() {
    let mut link = Link::with_reachable(v6(1));
    link.pass(30_000);
    link.resolve(v6(1), 9);
    link.table.confirm(v6(1), link.now_ms, MIDDLE);
    assert_eq!(link.state(v6(1)), Some(State::Reachable));
    link.resolve(v6(2), 9);
    link.table.confirm(v6(2), link.now_ms, MIDDLE);
    assert_eq!(link.state(v6(2)), Some(State::Incomplete));
}

#[test]
fn the_generation_moves_with_what_workers_see_and_with_nothing_else() {
    let mut link = Link::new(Settings::default());
    let mut last = link.table.generation();
    let mut moved =
        |link: &Link| std::mem::replace(&mut last, link.table.generation()) != link.table.generation();
    link.resolve(v6(1), 9);
    assert!(!moved(&link), "asking");
    link.heard(told(v6(1), mac(1), true, true), 1);
    assert!(moved(&link), "resolved");
    link.heard(told(v6(1), mac(1), true, true), 1);
    assert!(!moved(&link), "confirmed");
    link.pass(30_000);
    assert!(moved(&link), "stale: uses are told");
    link.resolve(v6(1), 9);
    assert!(moved(&link), "delay: no longer");
    link.pass(6000);
    assert!(!moved(&link), "probe");
    link.pass(3000);
    assert!(moved(&link), "gone");
    link.resolve(v6(1), 9);
    link.pass(3000);
    assert!(moved(&link), "failed: answered at once");
}
