//! The waiting room against a list of lists.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use packet::PortId;
use proptest::prelude::*;
use router::neighbor::{Queued, WaitingLimits, WaitingRoom};

#[derive(Clone, Copy, Debug)]
enum Event {
    Push(u8, u16),
    Take(u8),
    Expire,
    Pass(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (0..6_u8, 0..3_u16).prop_map(|(host, port)| Event::Push(host, port)),
        2 => (0..6_u8).prop_map(Event::Take),
        1 => Just(Event::Expire),
        2 => (0..3000_u64).prop_map(Event::Pass),
    ]
}

fn host(number: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, number])
}

#[derive(Debug)]
struct Awaited {
    since_ms: u64,
    asked_ms: u64,
    frames: VecDeque<(u16, u32)>,
}

struct Model {
    limits: WaitingLimits,
    awaited: BTreeMap<IpAddr, Awaited>,
}

impl Model {
    fn push(&mut self, address: IpAddr, port: u16, frame: u32, now_ms: u64) -> Queued<u32> {
        let frames = || self.awaited.values().flat_map(|awaited| &awaited.frames);
        let of_port = frames().filter(|(of, _)| *of == port).count();
        let free = self.limits.frames_max - frames().count();
        let port_is_full = of_port >= self.limits.frames_per_port_max || of_port >= free;
        let room_for_another = self.awaited.len() < self.limits.neighbors_max;
        let ask_again_ms = self.limits.ask_again_ms;
        let Some(awaited) = self.awaited.get_mut(&address) else {
            if port_is_full || !room_for_another {
                return Queued::Refused(frame);
            }
            let frames = VecDeque::from([(port, frame)]);
            self.awaited.insert(address, Awaited { since_ms: now_ms, asked_ms: now_ms, frames });
            return Queued::Waiting { ask: true };
        };
        let mut oldest = None;
        if awaited.frames.len() >= self.limits.frames_per_neighbor_max {
            if port_is_full && awaited.frames[0].0 != port {
                return Queued::Refused(frame);
            }
            oldest = awaited.frames.pop_front();
        } else if port_is_full {
            return Queued::Refused(frame);
        }
        awaited.frames.push_back((port, frame));
        let ask = now_ms >= awaited.asked_ms + ask_again_ms;
        if ask {
            awaited.asked_ms = now_ms;
        }
        oldest.map_or(Queued::Waiting { ask }, |(_, oldest)| Queued::Replaced { oldest, ask })
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn frames_wait_as_in_the_model(
        bounds in (1..12_usize, 1..5_usize, 1..8_usize, 1..6_usize), events in prop::collection::vec(event(), 1..300), seed in any::<u64>(),
    ) {
        let limits = WaitingLimits {
            frames_max: bounds.0,
            frames_per_neighbor_max: bounds.1,
            frames_per_port_max: bounds.2,
            neighbors_max: bounds.3,
            ..WaitingLimits::default()
        };
        let mut room = WaitingRoom::new(limits, seed);
        let mut model = Model { limits, awaited: BTreeMap::new() };
        let mut now_ms = 0;
        for (frame, event) in (0_u32..).zip(events) {
            match event {
                Event::Push(number, port) => {
                    let queued = room.push(host(number), PortId::new(port).unwrap(), frame, now_ms);
                    prop_assert_eq!(queued, model.push(host(number), port, frame, now_ms));
                }
                Event::Take(number) => {
                    let mut taken = Vec::new();
                    room.take(host(number), |frame| taken.push(frame));
                    let expected = model.awaited.remove(&host(number)).map(|awaited| awaited.frames);
                    let expected: Vec<u32> = expected.into_iter().flatten().map(|(_, frame)| frame).collect();
                    prop_assert_eq!(taken, expected);
                }
                Event::Expire => {
                    let mut expired: BTreeMap<IpAddr, Vec<u32>> = BTreeMap::new();
                    while let Some(address) = room.overdue(now_ms, 6) {
                        room.take(address, |frame| expired.entry(address).or_default().push(frame));
                    }
                    let (gone, stay): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut model.awaited)
                        .into_iter()
                        .partition(|(_, awaited)| awaited.since_ms + limits.wait_ms <= now_ms);
                    model.awaited = stay;
                    let gone: BTreeMap<IpAddr, Vec<u32>> = gone
                        .into_iter()
                        .map(|(address, awaited)| (address, awaited.frames.iter().map(|(_, frame)| *frame).collect()))
                        .collect();
                    prop_assert_eq!(expired, gone);
                }
                Event::Pass(ms) => now_ms += ms,
            }
            let waiting: usize = model.awaited.values().map(|awaited| awaited.frames.len()).sum();
            prop_assert_eq!(room.len(), waiting);
        }
    }
}
