//! The track of a router: a pod on the bridge, an uplink with some next hops, and many routes by these.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use dataplane::counters::PortCounters;
use dataplane::simulation::Simulation;
use dataplane::{HostPort, Link, PortEntry, PortRole, QueueOwners, Routing, Snapshot};
use ipnet::IpNet;
use packet::{BURST_FRAMES, FiveTuple, MacAddress, Offload, Offloads, build, protocol::ip_protocol::UDP};
use port::memory::{self, MemoryConfig, MemoryEnd};
use port::{EngineKind, PortSet, Queue};
use router::fib::FibCompiler;
use router::gateway::Gateway;
use router::neighbor::{Neighbor, NeighborMap, State};
use router::rib::{self, Rib, Route, RouteKind, RouteSource};
use router::validate::AddressRules;
use switch::{Binding, Fdb, FdbLimits};

use crate::{NOW_MS, Random, SHORTEST_PAYLOAD, port, station};

/// Numbers of ports and stations.
const POD: usize = 0;
const UPLINK: usize = 1;
const HOST: usize = 2;
const NODE: usize = 3;

/// Next hops that the routes are divided among.
const NEXT_HOPS: u8 = 8;

const BUFFERS: usize = 256;

/// A router between a bound pod and an uplink, with memory ports.
#[derive(Debug)]
pub struct RoutedTrack {
    simulation: Simulation,
    ends: Vec<MemoryEnd>,
    destinations: Vec<IpAddr>,
    random: Random,
    template: Vec<u8>,
}

impl RoutedTrack {
    /// A track with `routes` routes of one family.
    ///
    /// # Panics
    /// If the system refuses an epoll set.
    #[must_use]
    pub fn new(routes: usize, is_v6: bool) -> Self {
        let mut random = Random(42);
        let mut prefixes: Vec<IpNet> = (0..routes).map(|_| prefix(&mut random, is_v6)).collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        let destinations: Vec<IpAddr> = prefixes.iter().map(|net| within(*net, &mut random)).collect();
        let fdb = Fdb::new(FdbLimits { macs_max: 1024, macs_per_port_max: 0, aging_ms: 300_000 }, 7);
        fdb.add_static(mac(HOST), port(HOST)).expect("room");
        let entries = [POD, UPLINK, HOST].map(|index| entry(index, is_v6));
        let snapshot = Snapshot::new(Arc::new(fdb), entries, Vec::new())
            .with_host(HostPort {
                port: port(HOST),
                mac: mac(HOST),
                pods: vec![pods(is_v6)],
                gateways: vec![numbered(is_v6, 0, 254)],
            })
            .with_routing(Arc::new(routing(&prefixes, is_v6)));
        let mut simulation =
            Simulation::new(snapshot, vec![PortSet::new(EngineKind::Epoll, BUFFERS).expect("an epoll set")]);
        let ends = [POD, UPLINK, HOST].map(|index| {
            let (queue, end) = memory::pair(MemoryConfig { offloads: Offloads::ALL, frames_max: 1024 });
            simulation.attach(0, port(index), Queue::Other(Box::new(queue))).expect("a free port");
            end
        });
        let link = build::Link { source: mac(POD), destination: mac(HOST) };
        let (source, destination) = (numbered(is_v6, 0, 1), destinations[0]);
        let flow =
            FiveTuple { source, destination, protocol: UDP, source_port: 4000, destination_port: 5000 };
        let payload = if is_v6 { 0 } else { SHORTEST_PAYLOAD };
        let template = build::frame(link, &flow, &vec![0; payload]).expect("a short payload");
        Self { simulation, ends: ends.into(), destinations, random, template }
    }

    /// Puts `count` frames on the pod's port, each to a random one of the routed networks.
    pub fn load(&mut self, count: usize) {
        for _ in 0..count {
            let to = self.random.below(self.destinations.len() as u64);
            match self.destinations[usize::try_from(to).unwrap_or(0)] {
                IpAddr::V4(address) => {
                    self.template[30..34].copy_from_slice(&address.octets());
                    self.template[24..26].fill(0);
                    let sum = packet::checksum::of(&self.template[14..34]);
                    self.template[24..26].copy_from_slice(&sum.to_be_bytes());
                }
                IpAddr::V6(address) => self.template[38..54].copy_from_slice(&address.octets()),
            }
            self.ends[POD].send_batch_on(0, std::iter::once((&*self.template, Offload::NONE)));
        }
    }

    /// What is measured: the worker goes round once. Returns the frames received.
    pub fn step(&mut self) -> usize {
        self.simulation.step(0, NOW_MS).items
    }

    /// Takes everything off the uplink and returns how many frames there were.
    pub fn unload(&self) -> usize {
        self.ends[UPLINK].receive_with(|_, _| ())
    }

    /// Fills every recycled buffer once, and sees that every frame leaves by the uplink.
    ///
    /// # Panics
    /// If one does not.
    pub fn warm_up(&mut self) {
        for _ in 0..2 * BUFFERS / BURST_FRAMES {
            self.load(BURST_FRAMES);
            while self.step() > 0 {}
            assert_eq!(self.unload(), BURST_FRAMES, "every frame is routed");
        }
    }
}

fn mac(number: usize) -> MacAddress {
    station(number as u64)
}

/// Host `host` of the bridge's network (0) or the uplink's (1).
fn numbered(is_v6: bool, network: u8, host: u8) -> IpAddr {
    if is_v6 {
        Ipv6Addr::new(0xfd00, u16::from(network), 0, 0, 0, 0, 0, u16::from(host)).into()
    } else {
        Ipv4Addr::new(10, network, 0, host).into()
    }
}

fn pods(is_v6: bool) -> IpNet {
    IpNet::new(numbered(is_v6, 0, 0), if is_v6 { 64 } else { 24 }).expect("a length of the family")
}

/// As long as routes on the Internet are: IPv4 mostly 24 bits, IPv6 mostly 48.
fn prefix(random: &mut Random, is_v6: bool) -> IpNet {
    let bits = random.draw();
    let long = random.below(2) == 0;
    let net = if is_v6 {
        let length = if long { 48 } else { u8::try_from(29 + random.below(19)).unwrap_or(29) };
        IpNet::new(Ipv6Addr::from_bits(0x2 << 124 | u128::from(bits >> 4) << 64).into(), length)
    } else {
        let length = if long { 24 } else { u8::try_from(16 + random.below(8)).unwrap_or(16) };
        let [a, b, c, ..] = bits.to_be_bytes();
        IpNet::new(Ipv4Addr::new(20 + a % 80, b, c, 0).into(), length)
    };
    net.expect("a length of the family").trunc()
}

fn within(net: IpNet, random: &mut Random) -> IpAddr {
    match net {
        IpNet::V4(net) => {
            let host = u32::try_from(random.draw() >> 32).unwrap_or(1) & !net.netmask().to_bits();
            Ipv4Addr::from_bits(net.network().to_bits() | host).into()
        }
        IpNet::V6(net) => {
            let host = u128::from(random.draw()) & !net.netmask().to_bits();
            Ipv6Addr::from_bits(net.network().to_bits() | host).into()
        }
    }
}

fn entry(index: usize, is_v6: bool) -> PortEntry {
    let binding = Binding { mac: mac(POD), addresses: vec![numbered(is_v6, 0, 1)] };
    PortEntry {
        id: port(index),
        name: format!("port-{index}").into(),
        role: if index == UPLINK { PortRole::Uplink } else { PortRole::Bridge },
        up: true,
        mtu_bytes: 1500,
        offloads: Offloads::ALL,
        binding: (index == POD).then(|| Arc::new(binding)),
        counters: Arc::new(PortCounters::new(1)),
        queues: QueueOwners::One(0),
    }
}

fn routing(prefixes: &[IpNet], is_v6: bool) -> Routing {
    let mut rib = Rib::new(prefixes.len() + 16);
    let mut offer = |prefix: IpNet, kind: RouteKind| {
        let route = Route { prefix, source: RouteSource::Static, metric: 0, kind };
        rib.offer(route).expect("room");
    };
    let length = if is_v6 { 64 } else { 24 };
    let uplink = IpNet::new(numbered(is_v6, 1, 0), length).expect("a length of the family");
    offer(pods(is_v6), RouteKind::Connected { port: port(HOST) });
    offer(uplink, RouteKind::Connected { port: port(UPLINK) });
    for (hop, prefix) in (0..NEXT_HOPS).cycle().zip(prefixes) {
        let gateway = rib::Gateway { address: numbered(is_v6, 1, hop + 1), port: None, weight: 1 };
        offer(*prefix, RouteKind::Via(vec![gateway]));
    }
    let own = |network| vec![numbered(is_v6, network, 254)];
    let link = |place, station, addresses, neighbors: Vec<Neighbor>| Link {
        port: port(place),
        gateway: Gateway { mac: mac(station), addresses },
        neighbors: Arc::new(NeighborMap::new(neighbors, 7)),
    };
    let permanent = |address, station, place| Neighbor {
        address,
        state: State::Permanent,
        mac: Some(mac(station)),
        port: port(place),
    };
    let hops = (0..NEXT_HOPS)
        .map(|hop| permanent(numbered(is_v6, 1, hop + 1), 100 + usize::from(hop), UPLINK))
        .collect();
    let connected = [pods(is_v6), uplink].into_iter().filter_map(|net| match net {
        IpNet::V4(net) => Some(net),
        IpNet::V6(_) => None,
    });
    Routing {
        fib: FibCompiler::from_rib(&rib).0.fib(),
        rules: AddressRules::new(true, connected),
        bridge: link(HOST, HOST, own(0), vec![permanent(numbered(is_v6, 0, 1), POD, POD)]),
        uplink: Some(link(UPLINK, NODE, own(1), hops)),
    }
}
