//! Two nodes and the cloud's router between them: pods of both talk over bad wires, through a way with a smaller MTU.
//!
//! The cloud's router is a third switch with a router: the first node is on its bridge, the second one on its uplink. It
//! knows behind which node which pods are, as a VPC's route table does. As in `cluster`, everything follows from a seed.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use dataplane::{Link, PortRole, QueueOwners, Routing};
use packet::{Offload, Offloads, checksum};
use port::memory::MemoryEnd;
use router::fib::FibCompiler;
use router::gateway::Gateway;
use router::neighbor::{Neighbor, NeighborMap, State};
use router::rib::{self, Rib, Route, RouteKind, RouteSource};
use router::validate::AddressRules;

use crate::cluster::{BAD, Chatter, DATAGRAMS, DEADLINE_MS, GOOD, STREAM_BYTES, Transfer, digest};
use crate::frames::{Family, mac};
use crate::pods::{Identity, Impairment, Pod, Random, Wire};
use crate::rig::{Plan, Rig, port};
use crate::routed::text;

/// Ports of each switch: two of the bridge, the uplink; the gateway's MAC is behind a number without a port.
const UPLINK: usize = 2;
const NOBODY: usize = 3;

/// MTU of the way into the second node, and out of it.
const NARROW: usize = 1300;

/// One side of a router.
struct Side {
    station: usize,
    networks: [String; 2],
    own: [IpAddr; 2],
    /// Address, station, port.
    neighbors: Vec<([IpAddr; 2], usize, usize)>,
}

/// Host `host` of the pods' (0) or the cloud's (1) network of node `node`.
fn at(kind: u8, node: u8, host: u8) -> [IpAddr; 2] {
    let v4 = if kind == 0 { [10, 0, node, host] } else { [192, 168, node, host] };
    [v4.into(), text(&format!("fd0{kind}:0:0:{node}::{host:x}"))]
}

fn networks(kind: u8, node: u8) -> [String; 2] {
    [format!("{}/24", at(kind, node, 0)[0]), format!("fd0{kind}:0:0:{node}::/64")]
}

fn link(side: &Side, place: usize) -> Link {
    let permanent = |address, station, place| Neighbor {
        address,
        state: State::Permanent,
        mac: Some(mac(station)),
        port: port(place),
    };
    let neighbors = side.neighbors.iter().flat_map(|(addresses, station, place)| {
        addresses.iter().map(|address| permanent(*address, *station, *place))
    });
    Link {
        port: port(place),
        gateway: Gateway { mac: mac(side.station), addresses: side.own.to_vec() },
        neighbors: Arc::new(NeighborMap::new(neighbors.collect::<Vec<_>>(), 7)),
    }
}

/// A switch with a router between two sides, and routes by gateways.
fn router(plans: &[Plan], bridge: &Side, uplink: &Side, routes: &[(String, IpAddr)]) -> Rig {
    let mut rig = Rig::new(2, plans);
    rig.entries[UPLINK].role = PortRole::Uplink;
    rig.fdb.add_static(mac(bridge.station), port(NOBODY)).unwrap();
    for (_, station, place) in &bridge.neighbors {
        rig.fdb.add_static(mac(*station), port(*place)).unwrap();
    }
    let mut rib = Rib::new(100);
    let mut offer = |prefix: &str, kind| {
        let (prefix, source) = (prefix.parse().unwrap(), RouteSource::Static);
        rib.offer(Route { prefix, source, metric: 0, kind }).unwrap();
    };
    for (side, place) in [(bridge, NOBODY), (uplink, UPLINK)] {
        for network in &side.networks {
            offer(network, RouteKind::Connected { port: port(place) });
        }
        for own in side.own {
            offer(&format!("{own}/{}", if own.is_ipv4() { 32 } else { 128 }), RouteKind::Local);
        }
    }
    for (prefix, gateway) in routes {
        let gateways = vec![rib::Gateway { address: *gateway, port: None, weight: 1 }];
        offer(prefix, RouteKind::Via(gateways));
    }
    let (compiler, refused) = FibCompiler::from_rib(&rib);
    assert_eq!(refused, []);
    let connected = [bridge, uplink].map(|side| side.networks[0].parse().unwrap());
    rig.routing = Some(Arc::new(Routing {
        fib: compiler.fib(),
        rules: AddressRules::new(true, connected),
        bridge: link(bridge, NOBODY),
        uplink: Some(link(uplink, UPLINK)),
    }));
    rig.publish();
    rig
}

/// Stations of the cloud's router, toward each node, and of the nodes on their uplinks.
const CLOUD: [usize; 2] = [203, 204];
const NODES: [usize; 2] = [201, 202];

fn node(node: u8) -> Rig {
    let index = usize::from(node - 1);
    let pod = |host: u8| (at(0, node, host), index * 2 + usize::from(host - 1), usize::from(host - 1));
    let bridge = Side {
        station: 254,
        networks: networks(0, node),
        own: at(0, node, 254),
        neighbors: vec![pod(1), pod(2)],
    };
    let uplink = Side {
        station: NODES[index],
        networks: networks(1, node),
        own: at(1, node, 11),
        neighbors: vec![(at(1, node, 1), CLOUD[index], UPLINK)],
    };
    let [v4, v6] = at(1, node, 1);
    let plans = [
        Plan::default(),
        Plan::with(Offloads::NONE),
        Plan { queues: QueueOwners::One(1), ..Plan::default() },
    ];
    router(&plans, &bridge, &uplink, &[("0.0.0.0/0".into(), v4), ("::/0".into(), v6)])
}

fn cloud() -> Rig {
    let side = |index: usize, place: usize| {
        let node = u8::try_from(index + 1).unwrap();
        Side {
            station: CLOUD[index],
            networks: networks(1, node),
            own: at(1, node, 1),
            neighbors: vec![(at(1, node, 11), NODES[index], place)],
        }
    };
    let routes: Vec<(String, IpAddr)> =
        [1, 2].into_iter().flat_map(|node| networks(0, node).into_iter().zip(at(1, node, 11))).collect();
    let narrow = Plan { mtu_bytes: u32::try_from(NARROW).unwrap(), ..Plan::default() };
    router(&[narrow.clone(), Plan::default(), narrow], &side(0, 0), &side(1, UPLINK), &routes)
}

/// Both ends of a wire between two switches, and what is under way in each direction.
struct Trunk {
    ends: [MemoryEnd; 2],
    wires: [Wire; 2],
}

impl Trunk {
    fn run(&mut self, now_ms: u64, trace: &mut DefaultHasher) {
        for direction in [0, 1] {
            let wire = &mut self.wires[direction];
            while let Some((mut frame, offload)) = self.ends[direction].receive() {
                assert_eq!(offload.segmentation, None, "nobody here sends super-frames");
                checksum::complete(&mut frame, offload);
                (now_ms, direction, &frame).hash(trace);
                wire.send(now_ms, &frame);
            }
            while let Some(frame) = wire.arrived(now_ms) {
                // A full queue loses frames, too.
                let _ = self.ends[1 - direction].send(&frame, Offload::NONE);
            }
        }
    }
}

struct Internet {
    switches: Vec<Rig>,
    pods: Vec<Pod>,
    trunks: Vec<Trunk>,
    random: Random,
    trace: DefaultHasher,
    now_ms: u64,
}

impl Internet {
    fn new(seed: u64, impairment: Impairment) -> Self {
        let mut switches = vec![node(1), node(2), cloud()];
        let mut ends: BTreeMap<(usize, usize), MemoryEnd> = BTreeMap::new();
        for (index, switch) in switches.iter_mut().enumerate() {
            let taken = std::mem::take(&mut switch.ends).into_iter().enumerate();
            ends.extend(taken.map(|(place, end)| ((index, place), end)));
        }
        let mut end = |switch, place| ends.remove(&(switch, place)).unwrap();
        let pods = (0..4)
            .map(|number| {
                let (index, place) = (number / 2, number % 2);
                let node = u8::try_from(index + 1).unwrap();
                let identity = Identity {
                    station: number,
                    addresses: at(0, node, u8::try_from(place + 1).unwrap()),
                    gateways: Some(at(0, node, 254)),
                };
                Pod::with(&identity, end(index, place), 2, impairment, seed)
            })
            .collect();
        let mut seeds = Random(seed ^ 0x7a11);
        let mut trunk = |ends| {
            let wires = [seeds.draw(), seeds.draw()].map(|seed| Wire::new(impairment, seed));
            Trunk { ends, wires }
        };
        let trunks = vec![trunk([end(0, UPLINK), end(2, 0)]), trunk([end(1, UPLINK), end(2, UPLINK)])];
        Self { switches, pods, trunks, random: Random(seed), trace: DefaultHasher::new(), now_ms: 0 }
    }

    /// One millisecond.
    fn tick(&mut self) {
        self.now_ms += 1;
        let now_ms = self.now_ms;
        self.pods.iter_mut().for_each(|pod| pod.run(now_ms));
        for _ in 0..self.random.below(12) {
            let switch = usize::try_from(self.random.below(3)).unwrap();
            let worker = usize::try_from(self.random.below(2)).unwrap();
            self.switches[switch].simulation.step(worker, now_ms);
        }
        let trace = &mut self.trace;
        for (number, pod) in self.pods.iter_mut().enumerate() {
            pod.collect(now_ms, |frame| (now_ms, number, frame).hash(trace));
        }
        self.trunks.iter_mut().for_each(|trunk| trunk.run(now_ms, trace));
    }

    /// Connections and datagrams between the nodes, both families and both directions at once; the trace at the end.
    fn run(mut self, seed: u64) -> (u64, Vec<u64>) {
        let mut random = Random(seed);
        let mut payload =
            || (0..STREAM_BYTES / 2).map(|_| random.draw().to_le_bytes()[0]).collect::<Vec<u8>>();
        let mut transfers = [
            Transfer::new(&mut self.pods, 0, 2, Family::V4, payload()),
            Transfer::new(&mut self.pods, 3, 1, Family::V6, payload()),
        ];
        let ports = [7001, 7002];
        let mut chatters = [
            Chatter::new(&mut self.pods, 1, 3, Family::V4, ports[0]),
            Chatter::new(&mut self.pods, 2, 0, Family::V6, ports[1]),
        ];
        while transfers.iter().any(|transfer| !transfer.is_over())
            || chatters.iter().any(|chatter| !chatter.is_over(self.now_ms))
        {
            assert!(self.now_ms < DEADLINE_MS, "seed {seed}: the connections have come to rest");
            transfers.iter_mut().for_each(|transfer| transfer.run(&mut self.pods));
            for (chatter, port) in chatters.iter_mut().zip(ports) {
                chatter.run(&mut self.pods, port, self.now_ms);
            }
            self.tick();
        }
        for transfer in &transfers {
            assert_eq!(digest(&transfer.received), digest(&transfer.payload), "seed {seed}");
        }
        // Who sent long segments has been told.
        assert_eq!(self.pods[0].path_mtu_bytes()[0], NARROW);
        assert_eq!(self.pods[3].path_mtu_bytes()[1], NARROW);
        for switch in &mut self.switches {
            switch.now_ms = self.now_ms;
            switch.run();
            switch.assert_balanced();
        }
        assert!(self.switches[2].dropped(packet::DropReason::PacketTooBig) > 0);
        (self.trace.finish(), chatters.iter().map(|chatter| chatter.received).collect())
    }
}

#[test]
fn pods_of_two_nodes_move_tcp_and_udp_through_a_narrow_way_over_bad_wires() {
    for seed in 1..=8 {
        let (_, datagrams) = Internet::new(seed, BAD).run(seed);
        for received in datagrams {
            assert!(received > DATAGRAMS / 2, "seed {seed}: {received} datagrams");
        }
    }
}

#[test]
fn between_nodes_over_good_wires_every_datagram_arrives_once() {
    let (trace, datagrams) = Internet::new(9, GOOD).run(9);
    assert!(datagrams.iter().all(|received| *received == DATAGRAMS), "{datagrams:?}");
    assert_eq!(Internet::new(9, GOOD).run(9).0, trace, "the same seed makes the same trace");
}
