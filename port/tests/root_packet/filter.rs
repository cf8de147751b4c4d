//! What a filter keeps from us.

use std::sync::atomic::{AtomicBool, Ordering};

use e2e::frames::{
    ALL_NODES, ALL_NODES_MAC, ARP, EXPERIMENTAL, IPV4, IPV6, arp, ethernet, ipv4, ipv6,
    neighbor_advertisement, router_advertisement, tagged, udp,
};
use e2e::{Namespace, RawSocket};
use ipnet::IpNet;
use packet::{Burst, MacAddress};
use port::packet_socket::{self, PacketConfig, PacketError, PacketFilter};
use port::{EngineKind, PortSet, Queue};

use crate::frames::bulk;
use crate::rig::{DEADLINE, Rig, config, port, wire};

const A: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
const B: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);

fn filter(networks: &[&str], neighbors: bool) -> PacketFilter {
    let network = |text: &&str| text.parse::<IpNet>().unwrap();
    PacketFilter { networks: networks.iter().map(network).collect(), neighbors, sent_by_host: false }
}

fn to_ipv4(address: &str) -> Vec<u8> {
    let source = "192.0.2.1".parse().unwrap();
    ethernet(B, A, IPV4, &ipv4(source, address.parse().unwrap(), 17, &udp(1, 2, &[7; 30])))
}

fn to_ipv6(address: &str) -> Vec<u8> {
    let source = "2001:db8::1".parse().unwrap();
    ethernet(B, A, IPV6, &ipv6(source, address.parse().unwrap(), 17, &udp(1, 2, &[7; 30])))
}

fn question() -> Vec<u8> {
    let (sender, target) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
    ethernet(MacAddress::BROADCAST, A, ARP, &arp(1, (A, sender), (MacAddress([0; 6]), target)))
}

fn advertisement() -> Vec<u8> {
    let source = "fe80::1".parse().unwrap();
    ethernet(ALL_NODES_MAC, A, IPV6, &neighbor_advertisement(source, source, A))
}

/// A port with two workers.
struct Filtered {
    sets: Vec<PortSet>,
    filters: packet_socket::Filters,
    /// Hears everything, as the filtered sockets do without a filter.
    witness: RawSocket,
    far: RawSocket,
    _namespaces: [Namespace; 2],
}

impl Filtered {
    fn new(kind: EngineKind, filter: PacketFilter) -> Self {
        let namespaces = ["switch", "far"].map(Namespace::new_quiet);
        let [switch, far] = &namespaces;
        wire(switch, far, 0);
        let config = PacketConfig { filter: Some(filter), ..config(switch, 0, 2) };
        let opened = packet_socket::open(&config).unwrap();
        assert_eq!((opened.queues.len(), opened.warnings), (2, vec![]));
        let attach = |queue| {
            let mut set = PortSet::new(kind, 64).unwrap();
            set.attach(port(0), Queue::Device(queue)).unwrap();
            set
        };
        let sets = opened.queues.into_iter().map(attach).collect();
        let (witness, far) = (RawSocket::open(switch, "v0"), RawSocket::open(far, "eth0"));
        Self { sets, filters: opened.filters, witness, far, _namespaces: namespaces }
    }

    /// Which of `frames` are heard, in any order, when they are sent.
    fn heard(&mut self, frames: &[Vec<u8>], expected: usize) -> Vec<Vec<u8>> {
        frames.iter().for_each(|frame| self.far.send(frame));
        let (mut heard, mut burst) = (Vec::new(), Burst::new());
        let mut look = |sets: &mut [PortSet]| {
            for set in sets {
                set.receive(&mut burst);
                heard.extend(burst.frames().iter().map(|frame| frame.bytes().to_vec()));
                burst.recycle(set.pool());
            }
            heard.len()
        };
        e2e::wait_until("what passes", || (look(&mut self.sets) >= expected).then_some(()));
        for _ in frames {
            self.witness.receive(DEADLINE).expect("it was looked at");
        }
        look(&mut self.sets);
        heard
    }

    /// Sends `frames`, of which exactly those that are marked are to be heard.
    fn assert_heard(&mut self, frames: &[(bool, Vec<u8>)]) {
        let all: Vec<_> = frames.iter().map(|(_, frame)| frame.clone()).collect();
        let passing = frames.iter().filter(|(passes, _)| *passes);
        let mut expected: Vec<_> = passing.map(|(_, frame)| frame.clone()).collect();
        let mut heard = self.heard(&all, expected.len());
        expected.sort();
        heard.sort();
        assert_eq!(heard, expected);
    }
}

pub(crate) fn only_what_is_asked_for(kind: EngineKind) {
    let mut port = Filtered::new(kind, filter(&["10.244.1.0/24", "10.245.0.0/18", "fd00:1::/60"], true));
    let solicitation = {
        let source = "fe80::1".parse().unwrap();
        let target = [&[135, 0, 0, 0, 0, 0, 0, 0], &[0xfe; 16][..]].concat();
        ethernet(ALL_NODES_MAC, A, IPV6, &e2e::frames::icmpv6(source, ALL_NODES, &target))
    };
    port.assert_heard(&[
        (true, to_ipv4("10.244.1.0")),
        (true, to_ipv4("10.244.1.255")),
        (false, to_ipv4("10.244.0.255")),
        (false, to_ipv4("10.244.2.0")),
        (true, to_ipv4("10.245.63.255")),
        (false, to_ipv4("10.245.64.0")),
        (true, to_ipv6("fd00:1:0:f::1")),
        (false, to_ipv6("fd00:1:0:10::1")),
        (false, to_ipv4("192.0.2.2")),
        (false, to_ipv6("2001:db8::2")),
        (true, question()),
        (true, advertisement()),
        (true, solicitation),
        (false, ethernet(ALL_NODES_MAC, A, IPV6, &router_advertisement("fe80::1".parse().unwrap()))),
        (false, ethernet(B, A, EXPERIMENTAL, &[0; 46])),
        (false, tagged(&to_ipv4("10.244.1.5"), 0x8100, 5)),
        (false, tagged(&to_ipv4("10.244.1.5"), 0x88a8, 5)),
        (false, tagged(&tagged(&to_ipv4("10.244.1.5"), 0x8100, 5), 0x88a8, 5)),
        (false, tagged(&question(), 0x8100, 0)),
        (true, to_ipv4("10.244.1.7")),
    ]);
}

pub(crate) fn changed_while_open(kind: EngineKind) {
    let mut port = Filtered::new(kind, filter(&["10.244.1.0/24"], false));
    let frames = || [to_ipv4("10.244.1.5"), to_ipv4("10.244.2.5"), to_ipv6("fd00:1::5"), question()];
    let marked = |passes: [bool; 4]| passes.into_iter().zip(frames()).collect::<Vec<_>>();
    port.assert_heard(&marked([true, false, false, false]));
    port.filters.set(Some(&filter(&["10.244.2.0/24", "fd00:1::/64"], false))).unwrap();
    port.assert_heard(&marked([false, true, true, false]));
    let networks: Vec<IpNet> = vec!["10.244.1.0/24".parse().unwrap(); 2000];
    let error = port
        .filters
        .set(Some(&PacketFilter { networks, neighbors: false, sent_by_host: false }))
        .unwrap_err();
    assert_eq!(error.to_string(), "v0: a packet filter for 2000 networks is longer than the kernel allows");
    port.assert_heard(&marked([false, true, true, false]));
    port.filters.set(Some(&filter(&[], true))).unwrap();
    port.assert_heard(&marked([false, false, false, true]));
    for _ in 0..2 {
        port.filters.set(None).unwrap();
        port.assert_heard(&marked([true; 4]));
    }
    port.filters.set(Some(&PacketFilter::default())).unwrap();
    port.assert_heard(&marked([false; 4]));
    port.sets.clear();
    port.filters.set(None).unwrap();
}

/// Not even in the instants between the socket, its device and its filter.
pub(crate) fn nothing_slips_in(kind: EngineKind) {
    let (switch, far) = (Namespace::new_quiet("switch"), Namespace::new_quiet("far"));
    wire(&switch, &far, 0);
    let config = PacketConfig { filter: Some(filter(&["10.244.1.0/24"], true)), ..config(&switch, 0, 2) };
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let socket = RawSocket::open(&far, "eth0");
            let others = [to_ipv4("10.244.2.5"), to_ipv6("fd00:1::5")];
            // Relaxed: nothing but the flag itself is told by it.
            while !done.load(Ordering::Relaxed) {
                others.iter().for_each(|frame| drop(socket.try_send(frame)));
            }
        });
        let (mut burst, mut odd) = (Burst::new(), Vec::new());
        for _ in 0..50 {
            let opened = packet_socket::open(&config).unwrap();
            for queue in opened.queues {
                let mut set = PortSet::new(kind, 64).unwrap();
                set.attach(port(0), Queue::Device(queue)).unwrap();
                set.receive(&mut burst);
                odd.extend(burst.frames().iter().map(|frame| frame.bytes().to_vec()));
                burst.recycle(set.pool());
            }
        }
        done.store(true, Ordering::Relaxed);
        assert_eq!(odd, Vec::<Vec<u8>>::new());
    });
}

pub(crate) fn super_frames(kind: EngineKind) {
    let rig = Rig::new(kind);
    for filters in &rig.filters {
        filters.set(Some(&filter(&["10.9.0.0/24"], true))).unwrap();
    }
    bulk(rig);
}

/// A filter that is too long is refused before a socket is opened; a device that keeps its frames for itself is
/// not made promiscuous, and that its kernel answers there is no surprise.
pub(crate) fn named_errors() {
    let (switch, far) = (Namespace::new_quiet("switch"), Namespace::new_quiet("far"));
    wire(&switch, &far, 0);
    switch.ip("addr add 10.9.0.9/24 dev v0");
    let config = PacketConfig { promiscuous: false, ..config(&switch, 0, 1) };
    let long = PacketFilter {
        networks: vec!["fd00::/64".parse().unwrap(); 1000],
        neighbors: true,
        sent_by_host: false,
    };
    let error = packet_socket::open(&PacketConfig { filter: Some(long), ..config.clone() }).unwrap_err();
    assert!(matches!(error, PacketError::FilterTooLong { networks: 1000, .. }), "{error:?}");
    let opened = packet_socket::open(&config).unwrap();
    assert_eq!(opened.warnings, Vec::<String>::new());
    assert!(switch.ip("-d link show dev v0").contains("promiscuity 0"));
}
