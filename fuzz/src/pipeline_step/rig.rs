//! The switch with its router: a bound pod, an open pod, the host's port, the uplink.

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use dataplane::counters::PortCounters;
use dataplane::simulation::Simulation;
use dataplane::{HostPort, Link, PortEntry, PortRole, QueueOwners, Routing, Snapshot};
use packet::{BURST_FRAMES, MacAddress, Offload, Offloads, PortId};
use port::memory::{self, MemoryConfig, MemoryEnd};
use port::{EngineKind, PortSet, Queue};
use router::fib::{Fib, FibCompiler};
use router::gateway::Gateway;
use router::neighbor::{Neighbor, NeighborMap, State};
use router::rib::{self, Rib, Route, RouteKind, RouteSource};
use router::validate::AddressRules;
use switch::{Binding, Fdb, FdbLimits};

/// Buffers of each worker: a burst and little more, so that one that is lost is missed.
const BUFFERS: usize = BURST_FRAMES + 8;

pub(super) const BOUND: usize = 0;
pub(super) const OPEN: usize = 1;
pub(super) const HOST: usize = 2;
pub(super) const UPLINK: usize = 3;

/// Stations behind no port of their own number.
pub(super) const GATEWAY: u8 = 254;
pub(super) const NODE: u8 = 253;
pub(super) const NEXT_HOP: u8 = 252;

pub(super) fn mac(station: u8) -> MacAddress {
    MacAddress([2, 0, 0, 0, 0, station])
}

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// The router's own addresses: on the bridge, on the uplink.
pub(super) fn own() -> [Vec<IpAddr>; 2] {
    [["10.0.0.254", "fd00::fe"], ["192.168.0.11", "fd01::11"]].map(|link| link.map(ip).to_vec())
}

/// What stays the same in one run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Shape {
    pub(super) has_host: bool,
    pub(super) has_routing: bool,
    pub(super) workers: usize,
    /// The uplink's only queue is the last worker's.
    uplink_is_single: bool,
    /// Ports that take finished frames only.
    plain: [bool; 2],
}

impl Shape {
    pub(super) fn read(bits: u8) -> Self {
        let is = |bit: u8| bits >> bit & 1 != 0;
        Self {
            has_host: !is(0),
            has_routing: !is(1),
            workers: if is(2) { 2 } else { 1 },
            uplink_is_single: is(3),
            plain: [is(4), is(5)],
        }
    }

    fn offloads(self, port: usize) -> Offloads {
        if self.plain[usize::from(port == UPLINK)] { Offloads::NONE } else { Offloads::ALL }
    }
}

/// Rigs that are kept, since making one takes longer than most runs, and runs that one is used for.
const KEPT: usize = 8;
const USES_MAX: usize = 16;

/// Longer than anything is remembered: pins, limits, neighbors.
const OBLIVION_MS: u64 = 6 * 86_400_000;

thread_local! {
    static RIGS: RefCell<Vec<Rig>> = const { RefCell::new(Vec::new()) };
}

/// A rig of this shape that remembers nothing.
pub(super) fn take(shape: Shape) -> Rig {
    RIGS.with_borrow_mut(|rigs| {
        let kept = rigs.iter().position(|rig| rig.shape == shape);
        kept.map(|index| rigs.remove(index)).unwrap_or_else(|| Rig::new(shape))
    })
}

/// Keeps a rig, in which nothing waits, for another run.
pub(super) fn give_back(mut rig: Rig) {
    rig.uses += 1;
    rig.now_ms += OBLIVION_MS;
    rig.fdb.flush(None);
    RIGS.with_borrow_mut(|rigs| {
        if rig.uses < USES_MAX {
            rigs.push(rig);
        }
        if rigs.len() > KEPT {
            rigs.remove(0);
        }
    });
}

pub(super) struct Rig {
    pub(super) shape: Shape,
    uses: usize,
    pub(super) simulation: Simulation,
    pub(super) ends: Vec<MemoryEnd>,
    pub(super) entries: Vec<PortEntry>,
    fdb: Arc<Fdb>,
    pub(super) now_ms: u64,
}

impl Rig {
    pub(super) fn new(shape: Shape) -> Self {
        let fdb = Fdb::new(FdbLimits { macs_max: 256, macs_per_port_max: 32, aging_ms: 300_000 }, 7);
        for (station, place) in [(0, BOUND), (1, OPEN), (GATEWAY, HOST)] {
            fdb.add_static(mac(station), port(place)).expect("room");
        }
        let fdb = Arc::new(fdb);
        let entries: Vec<PortEntry> = (BOUND..=UPLINK).map(|index| entry(index, shape)).collect();
        let sets =
            (0..shape.workers).map(|_| PortSet::new(EngineKind::Epoll, BUFFERS).expect("an epoll set"));
        let mut simulation =
            Simulation::new(Snapshot::new(Arc::clone(&fdb), entries.clone(), Vec::new()), sets.collect());
        let mut ends = Vec::new();
        for entry in &entries {
            let index = entry.id.index();
            let config = MemoryConfig { offloads: shape.offloads(index), frames_max: 512 };
            let (queues, end) = match entry.queues {
                QueueOwners::All => memory::multi_queue(config, shape.workers),
                QueueOwners::One(_) => memory::multi_queue(config, 1),
            };
            let first = if let QueueOwners::One(worker) = entry.queues { worker } else { 0 };
            for (worker, queue) in (first..).zip(queues) {
                simulation.attach(worker, entry.id, Queue::Other(Box::new(queue))).expect("a free port");
            }
            ends.push(end);
        }
        let mut rig = Self { shape, uses: 0, simulation, ends, entries, fdb, now_ms: 0 };
        rig.publish([0, 0]);
        rig
    }

    /// Publishes what the bits say of neighbors, routes and ports.
    pub(super) fn publish(&mut self, [neighbors, rest]: [u8; 2]) {
        let is = |bit: u8| rest >> bit & 1 != 0;
        self.entries[UPLINK].mtu_bytes = [1500, 1280, 576, 68][usize::from(rest & 3)];
        self.entries[OPEN].mtu_bytes = if is(2) { 600 } else { 1500 };
        self.entries[OPEN].up = !is(3);
        self.entries[UPLINK].up = !is(4);
        let has_host = self.shape.has_host;
        let entries = self.entries.iter().filter(|entry| has_host || entry.id != port(HOST)).cloned();
        let mut snapshot = Snapshot::new(Arc::clone(&self.fdb), entries, Vec::new());
        let [bridge, uplink] = own();
        if has_host {
            let pods = ["10.0.0.0/24", "fd00::/64"].map(|net| net.parse().expect("a network"));
            let gateways = bridge.clone();
            let host = HostPort { port: port(HOST), mac: mac(GATEWAY), pods: pods.to_vec(), gateways };
            snapshot = snapshot.with_host(host);
        }
        if self.shape.has_routing {
            let connected = ["10.0.0.0/24", "192.168.0.0/24"].map(|net| net.parse().expect("a network"));
            snapshot = snapshot.with_routing(Arc::new(Routing {
                fib: fib(is(5)),
                rules: AddressRules::new(true, connected),
                bridge: link(HOST, GATEWAY, bridge, &bridge_neighbors(neighbors)),
                uplink: (!is(6)).then(|| link(UPLINK, NODE, uplink, &uplink_neighbors(neighbors))),
            }));
        }
        self.simulation.publish(snapshot);
    }

    /// Sends to a port's queue; what finds it full is lost.
    pub(super) fn send(&self, to: usize, queue: usize, bytes: &[u8], offload: Offload) -> bool {
        self.ends[to].send_on(queue, bytes, offload).is_ok()
    }

    /// One round of each worker; true if there was anything to do.
    pub(super) fn step(&mut self) -> bool {
        let now_ms = self.now_ms;
        (0..self.shape.workers).map(|worker| self.simulation.step(worker, now_ms).items).sum::<usize>() > 0
    }
}

pub(super) fn port(index: usize) -> PortId {
    u16::try_from(index).ok().and_then(PortId::new).expect("a small number")
}

fn entry(index: usize, shape: Shape) -> PortEntry {
    let addresses = ["10.0.0.1", "fd00::1"].map(ip).to_vec();
    let last = QueueOwners::One(shape.workers - 1);
    PortEntry {
        id: port(index),
        name: "port".into(),
        role: if index == UPLINK { PortRole::Uplink } else { PortRole::Bridge },
        up: true,
        mtu_bytes: 1500,
        offloads: shape.offloads(index),
        binding: (index == BOUND).then(|| Arc::new(Binding { mac: mac(0), addresses })),
        counters: Arc::new(PortCounters::new(shape.workers)),
        queues: if index == UPLINK && shape.uplink_is_single { last } else { QueueOwners::All },
    }
}

fn link(place: usize, station: u8, addresses: Vec<IpAddr>, neighbors: &[Neighbor]) -> Link {
    let neighbors = Arc::new(NeighborMap::new(neighbors.iter().copied(), 7));
    Link { port: port(place), gateway: Gateway { mac: mac(station), addresses }, neighbors }
}

/// Two bits a neighbor that comes and goes: unknown, reachable, stale, failed.
fn neighbor(bits: u8, address: &str, station: u8, place: usize) -> Option<Neighbor> {
    let state = [State::Incomplete, State::Reachable, State::Stale, State::Failed][usize::from(bits & 3)];
    let mac = state.is_usable().then(|| mac(station));
    (state != State::Incomplete).then(|| Neighbor { address: ip(address), state, mac, port: port(place) })
}

fn permanent(address: &str, station: u8, place: usize) -> Neighbor {
    Neighbor { address: ip(address), state: State::Permanent, mac: Some(mac(station)), port: port(place) }
}

fn bridge_neighbors(bits: u8) -> Vec<Neighbor> {
    let known = [
        permanent("10.0.0.1", 0, BOUND),
        permanent("10.0.0.2", 1, OPEN),
        permanent("fd00::1", 0, BOUND),
        permanent("fd00::2", 1, OPEN),
    ];
    let changing =
        neighbor(bits, "10.0.0.77", 77, OPEN).into_iter().chain(neighbor(bits >> 2, "fd00::77", 77, OPEN));
    known.into_iter().chain(changing).collect()
}

fn uplink_neighbors(bits: u8) -> Vec<Neighbor> {
    let known = [permanent("192.168.0.1", NEXT_HOP, UPLINK), permanent("fd01::1", NEXT_HOP, UPLINK)];
    let changing = neighbor(bits >> 4, "192.168.0.2", 251, UPLINK).into_iter().chain(neighbor(
        bits >> 6,
        "fd01::2",
        251,
        UPLINK,
    ));
    known.into_iter().chain(changing).collect()
}

/// The routes, compiled once.
fn fib(without_default: bool) -> Fib {
    static FIBS: OnceLock<[Fib; 2]> = OnceLock::new();
    let compiled = |without_default| FibCompiler::from_rib(&routes(without_default)).0.fib();
    FIBS.get_or_init(|| [false, true].map(compiled))[usize::from(without_default)].clone()
}

fn routes(without_default: bool) -> Rib {
    let mut rib = Rib::new(100);
    let mut offer = |prefix: &str, kind: RouteKind| {
        let prefix = prefix.parse().expect("a prefix");
        let route = Route { prefix, source: RouteSource::Static, metric: 0, kind };
        rib.offer(route).expect("room");
    };
    let via = |gateways: &[&str]| {
        let gateway = |text: &&str| rib::Gateway { address: ip(text), port: None, weight: 1 };
        RouteKind::Via(gateways.iter().map(gateway).collect())
    };
    for (prefix, place) in
        [("10.0.0.0/24", HOST), ("fd00::/64", HOST), ("192.168.0.0/24", UPLINK), ("fd01::/64", UPLINK)]
    {
        offer(prefix, RouteKind::Connected { port: port(place) });
    }
    for own in ["10.0.0.254/32", "fd00::fe/128", "192.168.0.11/32", "fd01::11/128", "10.96.0.0/12"] {
        offer(own, RouteKind::Local);
    }
    offer("10.8.0.0/16", RouteKind::Blackhole);
    offer("10.7.0.0/16", RouteKind::Prohibit);
    offer("10.6.0.0/16", RouteKind::Unreachable);
    offer("10.5.0.0/16", via(&["192.168.0.1", "192.168.0.2"]));
    offer("fd05::/16", via(&["fd01::1", "fd01::2"]));
    offer("10.4.0.0/16", via(&["10.0.0.77"]));
    if !without_default {
        offer("0.0.0.0/0", via(&["192.168.0.1"]));
        offer("::/0", via(&["fd01::1"]));
    }
    rib
}
