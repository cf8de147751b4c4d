//! Routes and neighbors change under way: every packet arrives once and in its order, by a next hop that was right
//! while it was here, or is dropped by name.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use dataplane::QueueOwners;
use packet::Offload;
use proptest::prelude::*;
use router::neighbor::{Neighbor, State};
use router::rib::RouteSource;

use crate::frames::{FAMILIES, Family, address, mac};
use crate::rig::{Plan, port};
use crate::routed::{GATEWAY, NEXT_HOP, NODE, Routed, UPLINK, datagram, macs, net, remote};

/// Next hops on the uplink that the default route may lead to.
const HOPS: u8 = 3;
/// Flows: pods 0 and 1 outward by both families, and one from outside to pod 1.
const FLOWS: u8 = 5;

#[derive(Clone, Debug)]
enum Event {
    Send {
        flow: u8,
        count: u8,
    },
    Step {
        worker: usize,
    },
    Route {
        hop: u8,
    },
    /// `state`: unknown, reachable, stale, failed; a reachable one may have moved to another MAC.
    Neighbor {
        hop: u8,
        state: u8,
        moved: bool,
    },
    Wait {
        ms: u64,
    },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..FLOWS, 1..40_u8).prop_map(|(flow, count)| Event::Send { flow, count }),
        6 => (0..2_usize).prop_map(|worker| Event::Step { worker }),
        2 => (0..=HOPS).prop_map(|hop| Event::Route { hop }),
        3 => (0..HOPS, 0..4_u8, any::<bool>())
            .prop_map(|(hop, state, moved)| Event::Neighbor { hop, state, moved }),
        1 => (0..2500_u64).prop_map(|ms| Event::Wait { ms }),
    ]
}

/// What one snapshot says: the hop of the default route, and each hop's station, if it has one.
type Valid = (Option<u8>, [Option<u8>; HOPS as usize]);

struct Churn {
    routed: Routed,
    hop: Option<u8>,
    neighbors: [(u8, bool); HOPS as usize],
    /// By generation.
    published: Vec<Valid>,
    /// By flow and number: the generation in which it was sent.
    sent: BTreeMap<(u8, u16), usize>,
    arrived: BTreeSet<(u8, u16)>,
    /// By flow and station: the last that left.
    last: BTreeMap<(u8, u8), u16>,
    numbers: [u16; FLOWS as usize],
}

fn family(flow: u8) -> Family {
    FAMILIES[usize::from(flow % 2)]
}

fn hop_address(hop: u8, family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::from([192, 168, 0, 100 + hop]),
        Family::V6 => IpAddr::from([0xfd01, 0, 0, 0, 0, 0, 0, 0x100 + u16::from(hop)]),
    }
}

/// The station that a hop is, before and after it has moved.
fn station(hop: u8, moved: bool) -> u8 {
    150 + hop * 2 + u8::from(moved)
}

impl Churn {
    fn new(single: bool) -> Self {
        let uplink =
            if single { Plan::owned_by(1) } else { Plan { queues: QueueOwners::All, ..Plan::default() } };
        let mut churn = Self {
            routed: Routed::with(2, uplink),
            hop: Some(0),
            neighbors: [(1, false); HOPS as usize],
            published: Vec::new(),
            sent: BTreeMap::new(),
            arrived: BTreeSet::new(),
            last: BTreeMap::new(),
            numbers: [0; FLOWS as usize],
        };
        churn.publish();
        churn
    }

    fn publish(&mut self) {
        for default in ["0.0.0.0/0", "::/0"] {
            self.routed.rib.withdraw(net(default), RouteSource::Static, 0);
        }
        if let Some(hop) = self.hop {
            self.routed.via("0.0.0.0/0", hop_address(hop, Family::V4));
            self.routed.via("::/0", hop_address(hop, Family::V6));
        }
        self.routed.uplink_neighbors.clear();
        let mut stations = [None; HOPS as usize];
        for (hop, (state, moved)) in (0_u8..).zip(self.neighbors) {
            let station = station(hop, moved);
            let (state, is_usable) = match state {
                0 => continue,
                1 => (State::Reachable, true),
                2 => (State::Stale, true),
                _ => (State::Failed, false),
            };
            for family in FAMILIES {
                self.routed.uplink_neighbors.push(Neighbor {
                    address: hop_address(hop, family),
                    state,
                    mac: is_usable.then(|| mac(usize::from(station))),
                    port: port(UPLINK),
                });
            }
            stations[usize::from(hop)] = is_usable.then_some(station);
        }
        self.published.push((self.hop, stations));
        self.routed.publish();
    }

    fn send(&mut self, flow: u8) {
        let number = self.numbers[usize::from(flow)];
        self.numbers[usize::from(flow)] += 1;
        let [high, low] = number.to_be_bytes();
        let payload = [flow, high, low];
        let (from, frame) = if flow == 4 {
            let ends = (remote(family(flow)), address(1, family(flow)));
            (UPLINK, datagram((NEXT_HOP, NODE), ends, &payload))
        } else {
            let pod = usize::from(flow / 2);
            (pod, datagram((pod, GATEWAY), (address(pod, family(flow)), remote(family(flow))), &payload))
        };
        // A flow stays with its queue; a full queue loses what nobody has seen.
        if self.routed.rig.ends[from].send_on(usize::from(flow % 2), &frame, Offload::NONE).is_ok() {
            self.sent.insert((flow, number), self.published.len() - 1);
        }
    }

    /// Looks at all that has left.
    fn collect(&mut self) {
        for out in [UPLINK, 1] {
            for (bytes, _) in self.routed.rig.received(out) {
                let is_v4 = bytes[12..14] == [8, 0];
                let (protocol, hops, payload) =
                    if is_v4 { (bytes[23], bytes[22], 42) } else { (bytes[20], bytes[21], 62) };
                if protocol != 17 {
                    continue;
                }
                assert_eq!(hops, 63, "one hop");
                let (flow, number) =
                    (bytes[payload], u16::from_be_bytes([bytes[payload + 1], bytes[payload + 2]]));
                let since = self.sent[&(flow, number)];
                assert!(self.arrived.insert((flow, number)), "flow {flow}: {number} came twice");
                let (to, from) = macs(&bytes);
                let station = to.0[5];
                if flow == 4 {
                    assert_eq!((out, station, from), (1, 1, mac(GATEWAY)));
                } else {
                    assert_eq!((out, from), (UPLINK, mac(NODE)));
                    let window = &self.published[since..];
                    let hops: BTreeSet<u8> = window.iter().filter_map(|(hop, _)| *hop).collect();
                    let is_valid = hops.iter().any(|hop| {
                        window.iter().any(|(_, stations)| stations[usize::from(*hop)] == Some(station))
                    });
                    assert!(is_valid, "flow {flow}: {number} went to {station} of {window:?}");
                }
                let last = self.last.insert((flow, station), number);
                assert!(last.is_none_or(|last| last < number), "flow {flow}: {number} after {last:?}");
            }
        }
        self.routed.rig.received(0);
        self.routed.punts();
    }

    fn run(&mut self, event: &Event) {
        match *event {
            Event::Send { flow, count } => (0..count).for_each(|_| self.send(flow)),
            Event::Step { worker } => {
                self.routed.rig.simulation.step(worker, self.routed.rig.now_ms);
            }
            Event::Route { hop } => {
                self.hop = (hop < HOPS).then_some(hop);
                self.publish();
            }
            Event::Neighbor { hop, state, moved } => {
                self.neighbors[usize::from(hop)] = (state, moved);
                self.publish();
            }
            Event::Wait { ms } => self.routed.rig.now_ms += ms,
        }
        self.collect();
    }

    fn end(mut self) {
        self.routed.rig.run();
        self.collect();
        self.routed.rig.now_ms += 4_000;
        self.routed.rig.run();
        self.collect();
        self.routed.rig.assert_balanced();
        let dropped = self.routed.rig.sum(dataplane::counters::WorkerCounters::dropped_total);
        assert_eq!(self.arrived.len() as u64 + dropped, self.sent.len() as u64);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_packet_is_lost_without_a_name_or_goes_astray_while_routes_and_neighbors_change(
        single in any::<bool>(),
        events in prop::collection::vec(event(), 1..120),
    ) {
        let mut churn = Churn::new(single);
        events.iter().for_each(|event| churn.run(event));
        churn.end();
    }
}
