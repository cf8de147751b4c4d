//! A switch with a router: two pods, the host's port, the uplink, and a next hop beyond it.

use std::net::IpAddr;
use std::sync::Arc;

use dataplane::{HostPort, Link, LinkId, PortRole, Punt, Routing};
use ipnet::IpNet;
use packet::{FiveTuple, MacAddress, build, protocol::ip_protocol::UDP};
use router::fib::FibCompiler;
use router::gateway::Gateway;
use router::neighbor::{Neighbor, NeighborMap, State};
use router::rib::{self, Rib, Route, RouteKind, RouteSource};
use router::validate::AddressRules;

use crate::frames::{Family, address, mac};
use crate::rig::{Plan, Rig, port};

/// Ports of the rig. Pods 0 and 1 are stations 0 and 1 on the ports of their numbers.
pub(crate) const HOST: usize = 2;
pub(crate) const UPLINK: usize = 3;

/// Stations: the gateway on the bridge, which is the host's port; the node on its uplink; the next hop there.
pub(crate) const GATEWAY: usize = 254;
pub(crate) const NODE: usize = 253;
pub(crate) const NEXT_HOP: usize = 252;

/// The node's address on its uplink.
pub(crate) fn node(family: Family) -> IpAddr {
    text(match family {
        Family::V4 => "192.168.0.11",
        Family::V6 => "fd01::11",
    })
}

/// The router that the default route leads to.
pub(crate) fn next_hop(family: Family) -> IpAddr {
    text(match family {
        Family::V4 => "192.168.0.1",
        Family::V6 => "fd01::1",
    })
}

/// Somebody beyond the next hop.
pub(crate) fn remote(family: Family) -> IpAddr {
    text(match family {
        Family::V4 => "10.9.0.7",
        Family::V6 => "fd09::7",
    })
}

pub(crate) fn text(address: &str) -> IpAddr {
    address.parse().unwrap()
}

pub(crate) fn net(network: &str) -> IpNet {
    network.parse().unwrap()
}

/// The rig and what its router is made of.
pub(crate) struct Routed {
    pub(crate) rig: Rig,
    pub(crate) rib: Rib,
    pub(crate) bridge_neighbors: Vec<Neighbor>,
    pub(crate) uplink_neighbors: Vec<Neighbor>,
    pub(crate) has_host: bool,
    pub(crate) has_uplink: bool,
}

impl Routed {
    pub(crate) fn new() -> Self {
        Self::with(1, Plan::default())
    }

    /// With this many workers, and an uplink of this kind.
    pub(crate) fn with(workers: usize, uplink: Plan) -> Self {
        Self::with_pods(workers, Plan::default(), uplink)
    }

    pub(crate) fn with_pods(workers: usize, pods: Plan, uplink: Plan) -> Self {
        let mut rig = Rig::new(workers, &[pods.clone(), pods, Plan::default(), uplink]);
        rig.entries[UPLINK].role = PortRole::Uplink;
        for station in [0, 1] {
            rig.fdb.add_static(mac(station), port(station)).unwrap();
        }
        rig.fdb.add_static(mac(GATEWAY), port(HOST)).unwrap();
        let mut rib = Rib::new(1000);
        for (prefix, place) in
            [("10.0.0.0/24", HOST), ("fd00::/64", HOST), ("192.168.0.0/24", UPLINK), ("fd01::/64", UPLINK)]
        {
            offer(&mut rib, prefix, RouteSource::Connected, RouteKind::Connected { port: port(place) });
        }
        for own in ["10.0.0.254/32", "fd00::fe/128", "192.168.0.11/32", "fd01::11/128", "10.96.0.0/12"] {
            offer(&mut rib, own, RouteSource::Connected, RouteKind::Local);
        }
        let mut routed = Self {
            rig,
            rib,
            bridge_neighbors: Vec::new(),
            uplink_neighbors: Vec::new(),
            has_host: true,
            has_uplink: true,
        };
        for family in crate::frames::FAMILIES {
            let default = if family == Family::V4 { "0.0.0.0/0" } else { "::/0" };
            routed.via(default, next_hop(family));
            for station in [0, 1] {
                routed.bridge_neighbors.push(permanent(address(station, family), station, station));
            }
            routed.uplink_neighbors.push(permanent(next_hop(family), NEXT_HOP, UPLINK));
        }
        routed.publish();
        routed
    }

    /// A route by a gateway.
    pub(crate) fn via(&mut self, prefix: &str, gateway: IpAddr) {
        let gateways = vec![rib::Gateway { address: gateway, port: None, weight: 1 }];
        offer(&mut self.rib, prefix, RouteSource::Static, RouteKind::Via(gateways));
    }

    /// A route of another kind.
    pub(crate) fn route(&mut self, prefix: &str, kind: RouteKind) {
        offer(&mut self.rib, prefix, RouteSource::Static, kind);
    }

    /// Publishes what there is now.
    pub(crate) fn publish(&mut self) {
        let (compiler, refused) = FibCompiler::from_rib(&self.rib);
        assert_eq!(refused, []);
        let map = |neighbors: &[Neighbor]| Arc::new(NeighborMap::new(neighbors.iter().copied(), 7));
        let gateway = |station: usize, addresses: Vec<IpAddr>| Gateway { mac: mac(station), addresses };
        let own = vec![address(GATEWAY, Family::V4), address(GATEWAY, Family::V6)];
        self.rig.routing = Some(Arc::new(Routing {
            fib: compiler.fib(),
            rules: AddressRules::new(true, [v4("10.0.0.0/24"), v4("192.168.0.0/24")]),
            bridge: Link {
                port: port(HOST),
                gateway: gateway(GATEWAY, own.clone()),
                neighbors: map(&self.bridge_neighbors),
            },
            uplink: self.has_uplink.then(|| Link {
                port: port(UPLINK),
                gateway: gateway(NODE, vec![node(Family::V4), node(Family::V6)]),
                neighbors: map(&self.uplink_neighbors),
            }),
        }));
        self.rig.host = self.has_host.then(|| HostPort {
            port: port(HOST),
            mac: mac(GATEWAY),
            pods: vec![net("10.0.0.0/24"), net("fd00::/64")],
            gateways: own,
        });
        self.rig.publish();
    }

    /// What the workers ask and tell the control side.
    pub(crate) fn punts(&self) -> Vec<Punt> {
        std::iter::from_fn(|| self.rig.simulation.events().punts().next()).collect()
    }

    /// A neighbor is found.
    pub(crate) fn find(&mut self, link: LinkId, address: IpAddr, station: usize, place: usize) {
        let neighbors = match link {
            LinkId::Bridge => &mut self.bridge_neighbors,
            LinkId::Uplink => &mut self.uplink_neighbors,
        };
        neighbors.push(Neighbor { state: State::Reachable, ..permanent(address, station, place) });
        self.publish();
    }

    /// A neighbor does not answer.
    pub(crate) fn give_up(&mut self, link: LinkId, address: IpAddr) {
        let neighbors = match link {
            LinkId::Bridge => &mut self.bridge_neighbors,
            LinkId::Uplink => &mut self.uplink_neighbors,
        };
        neighbors.push(Neighbor { address, state: State::Failed, mac: None, port: port(0) });
        self.publish();
    }
}

fn v4(network: &str) -> ipnet::Ipv4Net {
    network.parse().unwrap()
}

fn offer(rib: &mut Rib, prefix: &str, source: RouteSource, kind: RouteKind) {
    rib.offer(Route { prefix: net(prefix), source, metric: 0, kind }).unwrap();
}

fn permanent(address: IpAddr, station: usize, place: usize) -> Neighbor {
    Neighbor { address, state: State::Permanent, mac: Some(mac(station)), port: port(place) }
}

/// A UDP datagram between any two addresses, over any two stations.
pub(crate) fn datagram(stations: (usize, usize), ends: (IpAddr, IpAddr), payload: &[u8]) -> Vec<u8> {
    let link = build::Link { source: mac(stations.0), destination: mac(stations.1) };
    let flow = FiveTuple {
        source: ends.0,
        destination: ends.1,
        protocol: UDP,
        source_port: 4000,
        destination_port: 5000,
    };
    build::frame(link, &flow, payload).unwrap()
}

/// From pod 0 to somebody beyond the next hop.
pub(crate) fn outbound(family: Family, payload: &[u8]) -> Vec<u8> {
    datagram((0, GATEWAY), (address(0, family), remote(family)), payload)
}

/// From there to pod 1.
pub(crate) fn inbound(family: Family, payload: &[u8]) -> Vec<u8> {
    datagram((NEXT_HOP, NODE), (remote(family), address(1, family)), payload)
}

/// The MACs of a frame: to, from.
pub(crate) fn macs(frame: &[u8]) -> (MacAddress, MacAddress) {
    (MacAddress::read(frame, 0).unwrap(), MacAddress::read(frame, 6).unwrap())
}

/// What a router makes of `frame`, toward the station `to` from its own `from`.
pub(crate) fn routed(frame: &[u8], from: usize, to: usize) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let layout = packet::parse(&frame).unwrap();
    packet::edit::decrement_hop_limit_and_checksum(&mut frame, &layout).unwrap();
    frame[..6].copy_from_slice(&mac(to).0);
    frame[6..12].copy_from_slice(&mac(from).0);
    frame
}

/// The IPv4 header's checksum set right; an IPv6 packet stays as it is.
pub(crate) fn resummed(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    if frame[14] >> 4 == 4 {
        let end = 14 + usize::from(frame[14] & 15) * 4;
        frame[24..26].fill(0);
        let sum = packet::checksum::of(&frame[14..end]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
    }
    frame
}

/// The packet with another TTL or hop limit.
pub(crate) fn with_hop_limit(frame: &[u8], hop_limit: u8) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let at = if frame[14] >> 4 == 4 { 22 } else { 21 };
    frame[at] = hop_limit;
    resummed(&frame)
}

/// The IPv4 packet without DF.
pub(crate) fn may_fragment(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[20] &= 0xbf;
    resummed(&frame)
}

/// The IPv4 packet with these options, whole words.
pub(crate) fn ipv4_options(frame: &[u8], options: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame.splice(34..34, options.iter().copied());
    frame[14] += u8::try_from(options.len() / 4).unwrap();
    let total = u16::try_from(frame.len() - 14).unwrap();
    frame[16..18].copy_from_slice(&total.to_be_bytes());
    resummed(&frame)
}
