//! flyover's data plane with the tables of the kernel's router, memory ports, and a clock in the test's hand.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use dataplane::counters::PortCounters;
use dataplane::simulation::Simulation;
use dataplane::{Link, LinkId, PortEntry, PortRole, QueueOwners, Routing, Snapshot};
use e2e::router::{
    GATEWAY_LINK_LOCAL, GATEWAY_MAC, GATEWAYS, NEIGHBORS, NODE_LINK_LOCAL, NODE_MAC, NODES, Outcome,
    POD_MTU_BYTES, PORTS, UPLINK, UPLINK_MTU_BYTES, Way, routes,
};
use ipnet::IpNet;
use node::router::{NeighborControl, Outlet, Station};
use packet::{Offload, Offloads, PortId};
use port::memory::{self, MemoryConfig, MemoryEnd};
use port::{EngineKind, PortSet, Queue};
use router::fib::FibCompiler;
use router::gateway::Gateway;
use router::rib::{self, Rib, Route, RouteKind, RouteSource};
use router::validate::AddressRules;
use switch::{Fdb, FdbLimits};

/// What stands for the bridge in routes: no port has the number, for there is no host port.
const BRIDGE: usize = PORTS;

/// Between two steps, so that no limit is met and every frame that waits is given up.
const STEP_MS: u64 = 10_000;

/// flyover's router.
pub(crate) struct Simulated {
    simulation: Simulation,
    fdb: Arc<Fdb>,
    entries: Vec<PortEntry>,
    ends: Vec<MemoryEnd>,
    with_default: bool,
    control: NeighborControl,
    /// Of the neighbors in the snapshot.
    generation: u64,
    now_ms: u64,
}

/// The number of a port.
fn port(index: usize) -> PortId {
    PortId::new(u16::try_from(index).expect("ports are few")).expect("ports are few")
}

fn parse<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("{text} is no address"))
}

/// The addresses of a table without their networks, and those networks.
fn addresses(table: &[&str]) -> (Vec<IpAddr>, Vec<IpNet>) {
    let networks = table.iter().map(|text| parse::<IpNet>(text));
    networks.map(|network| (network.addr(), network.trunc())).unzip()
}

impl Simulated {
    /// The router, with or without default routes.
    pub(crate) fn new(with_default: bool) -> Self {
        let limits = FdbLimits { macs_max: 4096, macs_per_port_max: 0, aging_ms: u64::MAX };
        let fdb = Arc::new(Fdb::new(limits, 7));
        fdb.add_static(GATEWAY_MAC, port(BRIDGE)).expect("there is room");
        for (_, mac, place) in NEIGHBORS.iter().filter(|(_, _, place)| *place != UPLINK) {
            fdb.add_static(*mac, port(*place)).expect("there is room");
        }
        let entries: Vec<_> = (0..PORTS).map(entry).collect();
        let snapshot = Snapshot::new(Arc::clone(&fdb), entries.clone(), Vec::new());
        let ports = PortSet::new(EngineKind::Epoll, 256).expect("epoll can be had");
        let mut simulation = Simulation::new(snapshot, vec![ports]);
        let mut ends = Vec::new();
        for index in 0..PORTS {
            let config = MemoryConfig { offloads: Offloads::ALL, frames_max: 1024 };
            let (queue, end) = memory::pair(config);
            simulation.attach(0, port(index), Queue::Other(Box::new(queue))).expect("it can be attached");
            ends.push(end);
        }
        let mut control = NeighborControl::new(port(UPLINK), 7);
        for (link, mac, table) in [(LinkId::Bridge, GATEWAY_MAC, GATEWAYS), (LinkId::Uplink, NODE_MAC, NODES)]
        {
            let addresses = table.iter().map(|text| parse(text)).collect();
            control.set_station(link, Station { mac, addresses });
            let on_link =
                NEIGHBORS.iter().filter(|(.., place)| (*place == UPLINK) == (link == LinkId::Uplink));
            let permanent = on_link.map(|(address, mac, place)| (parse(address), (*mac, port(*place))));
            control.set_permanent(link, permanent.collect::<BTreeMap<_, _>>());
        }
        let mut router =
            Self { simulation, fdb, entries, ends, with_default, control, generation: 0, now_ms: 0 };
        router.publish();
        router
    }

    /// Publishes what there is now.
    fn publish(&mut self) {
        self.generation = self.control.generation();
        let mut link = |id: LinkId, place: usize, mac, table: &[&str], link_local: &str| {
            let (mut addresses, _) = addresses(table);
            addresses.push(parse(link_local));
            Link { port: port(place), gateway: Gateway { mac, addresses }, neighbors: self.control.map(id) }
        };
        let networks = [GATEWAYS, NODES].map(|table| addresses(table).1).concat();
        let networks = networks.into_iter().filter_map(|network| match network {
            IpNet::V4(network) => Some(network),
            IpNet::V6(_) => None,
        });
        let routing = Routing {
            fib: FibCompiler::from_rib(&rib(self.with_default)).0.fib(),
            rules: AddressRules::new(true, networks),
            bridge: link(LinkId::Bridge, BRIDGE, GATEWAY_MAC, GATEWAYS, GATEWAY_LINK_LOCAL),
            uplink: Some(link(LinkId::Uplink, UPLINK, NODE_MAC, NODES, NODE_LINK_LOCAL)),
        };
        let snapshot = Snapshot::new(Arc::clone(&self.fdb), self.entries.clone(), Vec::new());
        self.simulation.publish(snapshot.with_routing(Arc::new(routing)));
    }

    /// Sends a frame into a port and collects what comes of it at once. Nobody is asked for.
    pub(crate) fn perform(&mut self, ingress: usize, frame: &[u8]) -> Outcome {
        self.now_ms += STEP_MS;
        self.run();
        self.received();
        self.send(ingress, frame);
        self.run();
        while self.simulation.events().punts().next().is_some() {}
        Outcome::new(self.received())
    }

    /// Sends a frame into a port.
    pub(crate) fn send(&self, ingress: usize, frame: &[u8]) {
        self.ends[ingress].send(frame, Offload::NONE).expect("the queue is empty");
    }

    /// Lets time pass and does what is to be done, with the control side, until nothing is. Returns the frames that
    /// each port sent, in their order.
    pub(crate) fn live(&mut self, milliseconds: u64) -> Vec<Vec<Vec<u8>>> {
        self.now_ms += milliseconds;
        self.control.tick(self.now_ms);
        let mut sent = vec![Vec::new(); PORTS];
        loop {
            for outgoing in self.control.take_outgoing() {
                let is_meant = |place: &usize| match outgoing.to {
                    Outlet::Bridge | Outlet::Unbound => *place != UPLINK,
                    Outlet::Port(meant) => port(*place) == meant,
                };
                (0..PORTS).filter(is_meant).for_each(|place| sent[place].push(outgoing.frame.clone()));
            }
            if self.generation != self.control.generation() {
                self.publish();
            }
            self.run();
            for (place, frames) in self.received().into_iter().enumerate() {
                sent[place].extend(frames);
            }
            let punts = std::iter::from_fn(|| self.simulation.events().punts().next());
            let punts: Vec<_> = punts.collect();
            if punts.is_empty() {
                return sent;
            }
            punts.into_iter().for_each(|punt| self.control.punt(punt, self.now_ms, 0));
        }
    }

    fn run(&mut self) {
        while self.simulation.step(0, self.now_ms).items > 0 {}
    }

    fn received(&self) -> Vec<Vec<Vec<u8>>> {
        let frames = |end: &MemoryEnd| {
            let finished = |(bytes, offload)| {
                assert_eq!(offload, Offload::NONE);
                bytes
            };
            std::iter::from_fn(|| end.receive()).map(finished).collect()
        };
        self.ends.iter().map(frames).collect()
    }
}

fn entry(index: usize) -> PortEntry {
    let is_uplink = index == UPLINK;
    PortEntry {
        id: port(index),
        name: format!("port-{index}").into(),
        role: if is_uplink { PortRole::Uplink } else { PortRole::Bridge },
        up: true,
        mtu_bytes: if is_uplink { UPLINK_MTU_BYTES } else { POD_MTU_BYTES },
        offloads: Offloads::ALL,
        binding: None,
        counters: Arc::new(PortCounters::new(1)),
        queues: QueueOwners::All,
    }
}

fn rib(with_default: bool) -> Rib {
    let mut rib = Rib::new(1000);
    let mut offer = |prefix: IpNet, source, kind| {
        rib.offer(Route { prefix, source, metric: 0, kind }).expect("the route is sound");
    };
    for (table, place) in [(GATEWAYS, BRIDGE), (NODES, UPLINK)] {
        let (addresses, networks) = addresses(table);
        for network in networks {
            offer(network, RouteSource::Connected, RouteKind::Connected { port: port(place) });
        }
        for address in addresses {
            offer(address.into(), RouteSource::Connected, RouteKind::Local);
        }
    }
    for (prefix, way) in routes(with_default) {
        let kind = match way {
            Way::Via(gateway) => {
                RouteKind::Via(vec![rib::Gateway { address: parse(gateway), port: None, weight: 1 }])
            }
            Way::Blackhole => RouteKind::Blackhole,
            Way::Prohibit => RouteKind::Prohibit,
            Way::Unreachable => RouteKind::Unreachable,
        };
        offer(parse(prefix), RouteSource::Static, kind);
    }
    rib
}
