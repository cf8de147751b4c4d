//! A pod with a whole IP stack of another make (smoltcp) on the other side of the gateway.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use packet::{Buffer, Frame, PortId, checksum, parse};
use router::gateway::{Answer, Gateway};
use router::icmp_error::{ERROR_FRAME_BYTES_MAX, Offending, Origin, Problem};
use router::neighbor::{Action, Message, Neighbors, Resolution, Settings, State};
use router::rate_limit::{Limits, RateLimiter};
use router::validate::{AddressRules, Validity};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::{icmp, udp};
use smoltcp::time::Instant;
use smoltcp::wire::{
    EthernetAddress, HardwareAddress, Icmpv4Packet, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr, IpCidr, IpEndpoint,
};

use crate::errors::{MAC, POD};

const OURS: [&str; 3] = ["10.244.1.1", "fe80::1", "fd00::1"];
const THEIRS: [&str; 3] = ["10.244.1.9/24", "fe80::9/64", "fd00::9/64"];

fn port() -> PortId {
    PortId::new(5).unwrap()
}

/// The cable to the gateway, with the gateway behind it.
struct Cable {
    gateway: Gateway,
    rules: AddressRules,
    errors: RateLimiter,
    table: Neighbors,
    heard: Vec<Message>,
    to_pod: VecDeque<Vec<u8>>,
    now_ms: u64,
}

impl Cable {
    fn new() -> Self {
        Self {
            gateway: Gateway { mac: MAC, addresses: OURS.map(|text| text.parse().unwrap()).to_vec() },
            rules: AddressRules::new(true, ["10.244.1.0/24".parse().unwrap()]),
            errors: RateLimiter::new(Limits::ICMP_ERRORS, 1),
            table: Neighbors::new(Settings::default()),
            heard: Vec::new(),
            to_pod: VecDeque::new(),
            now_ms: 0,
        }
    }

    /// What a pipeline would do, without any route.
    fn take(&mut self, bytes: &[u8]) {
        let layout = parse(bytes).unwrap();
        assert_ne!(checksum::transport_is_valid(bytes, &layout), Some(false));
        let mut frame = Frame::copied(Buffer::new(), bytes, port()).unwrap();
        let mut actions = Vec::new();
        match self.gateway.answer(&mut frame, &layout, &self.rules) {
            Answer::Reply(message) => {
                self.to_pod.push_back(frame.bytes().to_vec());
                self.heard.extend(message);
            }
            Answer::Heard(message) => self.heard.push(message),
            Answer::NotAsked if layout.is_ip() => {
                let problem = match self.rules.validate(bytes, &layout) {
                    Validity::Forwardable => Problem::NetUnreachable,
                    Validity::Refuse(_, problem) => problem,
                    Validity::Discard(_) => return,
                };
                self.report(bytes, problem);
            }
            other => assert!(matches!(other, Answer::NotAsked), "{other:?}"),
        }
        for message in self.heard.drain(..) {
            self.table.heard(&message, port(), self.now_ms, 0, &mut actions);
        }
        self.carry_out(&actions);
    }

    fn report(&mut self, bytes: &[u8], problem: Problem) {
        let layout = parse(bytes).unwrap();
        let offending = Offending { bytes, layout: &layout, offload: packet::Offload::NONE };
        let (source, _) = offending.ends().unwrap();
        let mut out = [0; ERROR_FRAME_BYTES_MAX];
        let origin = Origin { mac: MAC, address: self.gateway.address_toward(source).unwrap() };
        if let Ok(written) = offending.report(problem, origin, &self.rules, &mut out)
            && self.errors.allow(source, port(), self.now_ms, 0x8000_8000)
        {
            self.to_pod.push_back(out[..written].to_vec());
        }
    }

    /// Sends the solicitations that the table asks for.
    fn carry_out(&mut self, actions: &[Action]) {
        for action in actions {
            let Action::Solicit { address, probed } = *action else { continue };
            let own = self.gateway.address_toward(address).unwrap();
            let frame = match (own, address) {
                (IpAddr::V4(own), IpAddr::V4(target)) => {
                    let mut frame = packet::arp::request(packet::arp::End { mac: MAC, address: own }, target);
                    if let Some((mac, _)) = probed {
                        frame[..6].copy_from_slice(&mac.0);
                    }
                    frame.to_vec()
                }
                (IpAddr::V6(own), IpAddr::V6(target)) => {
                    let probed = probed.map(|(mac, _)| mac);
                    packet::icmpv6::neighbor_solicitation(MAC, own, target, probed).to_vec()
                }
                other => panic!("{other:?}"),
            };
            self.to_pod.push_back(frame);
        }
    }
}

struct Received(Vec<u8>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

struct ToSend<'a>(&'a mut Cable);

impl TxToken for ToSend<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        let mut frame = vec![0; length];
        let result = write(&mut frame);
        self.0.take(&frame);
        result
    }
}

impl Device for Cable {
    type RxToken<'a> = Received;
    type TxToken<'a> = ToSend<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received, ToSend<'_>)> {
        let frame = self.to_pod.pop_front()?;
        Some((Received(frame), ToSend(self)))
    }

    fn transmit(&mut self, _: Instant) -> Option<ToSend<'_>> {
        Some(ToSend(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

struct Pod {
    cable: Cable,
    interface: Interface,
    sockets: SocketSet<'static>,
    icmp: SocketHandle,
    udp: SocketHandle,
}

const PORT: u16 = 4000;
const IDENTIFIER: u16 = 0x77;

impl Pod {
    /// `bound` is what the ICMP socket listens to.
    fn new(bound: icmp::Endpoint) -> Self {
        let mut cable = Cable::new();
        let config = Config::new(HardwareAddress::Ethernet(EthernetAddress(POD.0)));
        let mut interface = Interface::new(config, &mut cable, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            for text in THEIRS {
                addresses.push(text.parse::<IpCidr>().unwrap()).unwrap();
            }
        });
        interface.routes_mut().add_default_ipv4_route(Ipv4Addr::new(10, 244, 1, 1)).unwrap();
        interface.routes_mut().add_default_ipv6_route("fd00::1".parse::<Ipv6Addr>().unwrap()).unwrap();
        let mut sockets = SocketSet::new(Vec::new());
        let buffer = || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 32], vec![0; 65_536]);
        let mut socket = icmp::Socket::new(buffer(), buffer());
        socket.bind(bound).unwrap();
        let icmp = sockets.add(socket);
        let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 32], vec![0; 65_536]);
        let mut socket = udp::Socket::new(buffer(), buffer());
        socket.bind(PORT).unwrap();
        let udp = sockets.add(socket);
        Self { cable, interface, sockets, icmp, udp }
    }

    /// Lets 100 ms pass and everything come to rest.
    fn run(&mut self) {
        for _ in 0..10 {
            self.cable.now_ms += 10;
            let mut actions = Vec::new();
            self.cable.table.tick(self.cable.now_ms, 100, &mut actions);
            self.cable.carry_out(&actions);
            let now = Instant::from_millis(i64::try_from(self.cable.now_ms).unwrap());
            self.interface.poll(now, &mut self.cable, &mut self.sockets);
        }
    }

    fn ping(&mut self, to: IpAddr, data: &[u8]) {
        let from = THEIRS[if to.is_ipv4() { 0 } else { 2 }];
        let (ident, seq_no) = (IDENTIFIER, 1);
        let message = match (to, IpAddr::from(from.parse::<IpCidr>().unwrap().address())) {
            (IpAddr::V4(_), _) => {
                let echo = Icmpv4Repr::EchoRequest { ident, seq_no, data };
                let mut bytes = vec![0; echo.buffer_len()];
                echo.emit(&mut Icmpv4Packet::new_unchecked(&mut bytes), &Default::default());
                bytes
            }
            (IpAddr::V6(to), IpAddr::V6(from)) => {
                let echo = Icmpv6Repr::EchoRequest { ident, seq_no, data };
                let mut bytes = vec![0; echo.buffer_len()];
                let mut packet = Icmpv6Packet::new_unchecked(&mut bytes);
                echo.emit(&from, &to, &mut packet, &Default::default());
                bytes
            }
            other => panic!("{other:?}"),
        };
        self.sockets.get_mut::<icmp::Socket<'_>>(self.icmp).send_slice(&message, to.into()).unwrap();
        self.run();
    }

    fn send_udp(&mut self, to: IpAddr, data: &[u8]) {
        let to = IpEndpoint { addr: to.into(), port: 53 };
        self.sockets.get_mut::<udp::Socket<'_>>(self.udp).send_slice(data, to).unwrap();
        self.run();
    }

    fn received(&mut self) -> Vec<(Vec<u8>, IpAddr)> {
        let socket = self.sockets.get_mut::<icmp::Socket<'_>>(self.icmp);
        let mut received = Vec::new();
        while let Ok((bytes, from)) = socket.recv() {
            received.push((bytes.to_vec(), from.into()));
        }
        received
    }
}

#[test]
fn a_pod_finds_its_gateway_and_pings_it() {
    for (address, reply) in [(OURS[0], 0), (OURS[2], 129)] {
        let mut pod = Pod::new(icmp::Endpoint::Ident(IDENTIFIER));
        let address: IpAddr = address.parse().unwrap();
        for data in [&b""[..], b"x", &[0xa5; 1400]] {
            pod.ping(address, data);
            let received = pod.received();
            assert_eq!(received.len(), 1);
            assert_eq!((received[0].0[0], received[0].1), (reply, address));
            assert!(received[0].0.ends_with(data));
        }
    }
}

#[test]
fn a_pod_is_told_that_there_is_no_route() {
    for (to, kind) in [("198.51.100.1", [3, 0]), ("2001:db8::1", [1, 0])] {
        let mut pod = Pod::new(icmp::Endpoint::Udp(PORT.into()));
        pod.send_udp(to.parse().unwrap(), b"hello");
        let received = pod.received();
        assert_eq!(received.len(), 1, "{to}");
        assert_eq!(received[0].0[..2], kind);
        assert!(OURS.contains(&received[0].1.to_string().as_str()));
    }
}

#[test]
fn a_pod_that_traces_a_route_hears_of_the_first_hop() {
    for (to, kind) in [("198.51.100.1", 11), ("2001:db8::1", 3)] {
        let mut pod = Pod::new(icmp::Endpoint::Udp(PORT.into()));
        pod.sockets.get_mut::<udp::Socket<'_>>(pod.udp).set_hop_limit(Some(1));
        pod.send_udp(to.parse().unwrap(), b"hello");
        let received = pod.received();
        assert_eq!(received.len(), 1, "{to}");
        assert_eq!(received[0].0[0], kind);
    }
}

#[test]
fn a_flood_is_answered_as_often_as_the_limits_allow() {
    let mut pod = Pod::new(icmp::Endpoint::Udp(PORT.into()));
    for _ in 0..50 {
        pod.send_udp("198.51.100.1".parse().unwrap(), b"hello");
    }
    assert_eq!(pod.received().len(), 6 + 4, "a burst, and what five seconds add");
}

#[test]
fn the_gateway_finds_the_pod_and_keeps_track_of_it() {
    for address in ["10.244.1.9", "fd00::9", "fe80::9"] {
        let mut pod = Pod::new(icmp::Endpoint::Ident(IDENTIFIER));
        let address: IpAddr = address.parse().unwrap();
        let resolve = |pod: &mut Pod| {
            let mut actions = Vec::new();
            let now_ms = pod.cable.now_ms;
            let resolution = pod.cable.table.resolve(address, PortId::new(9).unwrap(), now_ms, &mut actions);
            pod.cable.carry_out(&actions);
            pod.run();
            resolution
        };
        assert_eq!(resolve(&mut pod), Resolution::Queue);
        assert_eq!(resolve(&mut pod), Resolution::Resolved { mac: POD, port: port() });
        let state = |pod: &Pod| pod.cable.table.get(address).map(|neighbor| neighbor.state);
        assert_eq!(state(&pod), Some(State::Reachable));
        let mut seen = Vec::new();
        for _ in 0..600 {
            resolve(&mut pod);
            if seen.last() != Some(&state(&pod)) {
                seen.push(state(&pod));
            }
        }
        // The probe is answered within the 100 ms that a step takes.
        let cycle = [Some(State::Reachable), Some(State::Stale), Some(State::Delay)];
        assert!(seen.len() >= 6, "{seen:?}");
        assert!(seen.iter().enumerate().all(|(at, state)| *state == cycle[at % 3]), "{seen:?}");
    }
}
