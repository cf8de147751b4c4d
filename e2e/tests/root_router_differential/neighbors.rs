//! Neighbors that have to be looked for: who is asked, what waits meanwhile, what is told and what is believed.

use std::net::IpAddr;

use e2e::frames::{ARP, IPV6, arp, ethernet, icmpv6};
use e2e::router::{
    Comparison, GATEWAY_MAC, Ipv4, Ipv6, KernelRouter, NEXT_HOP_MAC, NODE_MAC, Outcome, POD_A, POD_A_MAC,
    POD_B, Packet, STRANGE_MAC, Step, UPLINK,
};
use packet::MacAddress;

use crate::simulated::Simulated;

/// Somebody on one link who is looked for, because of packets from the other.
#[derive(Clone, Copy)]
struct Search {
    /// Where the packets come from.
    ingress: usize,
    /// Where the neighbor would be.
    place: usize,
    wanted: &'static str,
}

impl Search {
    /// Numbered packets to the neighbor.
    fn packet(self, number: u8) -> Vec<u8> {
        let (to, from) =
            if self.ingress == UPLINK { (NODE_MAC, NEXT_HOP_MAC) } else { (GATEWAY_MAC, POD_A_MAC) };
        match self.wanted.parse().expect("it is an address") {
            IpAddr::V4(wanted) => {
                let source = if self.ingress == UPLINK { [10, 9, 0, 7] } else { [10, 244, 1, 10] };
                Ipv4::udp(source.into(), wanted, &[number]).frame(to, from)
            }
            IpAddr::V6(wanted) => {
                let source = if self.ingress == UPLINK { "fd09::7" } else { "fd00:244:1::10" };
                Ipv6::udp(source.parse().expect("it is an address"), wanted, &[number]).frame(to, from)
            }
        }
    }

    /// The router's MAC where the neighbor is.
    const fn router(self) -> MacAddress {
        if self.place == UPLINK { NODE_MAC } else { GATEWAY_MAC }
    }

    /// The neighbor says that it is at `mac`: to the router, as an answer, or to all.
    fn tells(self, mac: MacAddress, flags: u8, is_answer: bool) -> Vec<u8> {
        match self.wanted.parse().expect("it is an address") {
            IpAddr::V4(wanted) => {
                let own = if self.place == UPLINK { [192, 168, 0, 11] } else { [10, 244, 1, 1] };
                if is_answer {
                    ethernet(self.router(), mac, ARP, &arp(2, (mac, wanted), (self.router(), own.into())))
                } else {
                    ethernet(
                        MacAddress::BROADCAST,
                        mac,
                        ARP,
                        &arp(1, (mac, wanted), (MacAddress::ZERO, wanted)),
                    )
                }
            }
            IpAddr::V6(wanted) => {
                let own = if self.place == UPLINK { "fd01::11" } else { "fd00:244:1::1" };
                let (to, to_mac) = if is_answer {
                    (own, self.router())
                } else {
                    ("ff02::1", MacAddress([0x33, 0x33, 0, 0, 0, 1]))
                };
                let header = [136, 0, 0, 0, flags, 0, 0, 0];
                let message = [&header[..], &wanted.octets(), &[2, 1], &mac.0].concat();
                ethernet(to_mac, mac, IPV6, &icmpv6(wanted, to.parse().expect("it is an address"), &message))
            }
        }
    }
}

const SEARCHES: [Search; 4] = [
    Search { ingress: POD_A, place: UPLINK, wanted: "192.168.0.77" },
    Search { ingress: POD_A, place: UPLINK, wanted: "fd01::77" },
    Search { ingress: UPLINK, place: POD_A, wanted: "10.244.1.77" },
    Search { ingress: UPLINK, place: POD_A, wanted: "fd00:244:1::77" },
];

/// The flags solicited and override of an advertisement.
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

type Sent = Vec<Vec<Vec<u8>>>;

fn kernel_with(milliseconds: u32) -> KernelRouter {
    let linux = KernelRouter::new(true);
    for port in [POD_A, POD_B] {
        linux.router.ip(&format!("link set v{port} type bridge_slave learning on"));
    }
    for device in ["br0", "v2"] {
        linux.router.sysctl(&format!("net/ipv4/neigh/{device}/locktime"), "0");
        for family in ["ipv4", "ipv6"] {
            let key = format!("net/{family}/neigh/{device}/retrans_time_ms");
            linux.router.sysctl(&key, &milliseconds.to_string());
        }
    }
    linux
}

/// Frames of a port that say nothing about neighbors.
fn packets(sent: &Sent, port: usize) -> Vec<&Vec<u8>> {
    let is_packet = |frame: &&Vec<u8>| {
        Packet::of(frame).is_some_and(|packet| !matches!(packet.icmp(), Some((135 | 136, _))) || packet.is_v4)
    };
    sent[port].iter().filter(is_packet).collect()
}

/// Compares what was sent, and the order of packets.
fn compare(search: Search, what: &str, frame: &[u8], sent: (Sent, Sent), comparison: &mut Comparison) {
    let (linux, flyover) = sent;
    for port in 0..linux.len() {
        let number = |frame: &&Vec<u8>| frame.last().copied();
        let order = |sent| packets(sent, port).iter().map(number).collect::<Vec<_>>();
        assert_eq!(order(&linux), order(&flyover), "{what} {}", search.wanted);
    }
    let step = Step::new(format!("{what} {}", search.wanted), search.ingress, frame.to_vec());
    comparison.compare(&step, &Outcome::new(linux), &Outcome::new(flyover));
}

/// Three questions, and then the senders of all packets that waited are told.
pub(crate) fn nobody_answers(comparison: &mut Comparison) {
    let (linux, mut flyover) = (kernel_with(100), Simulated::new(true));
    for search in SEARCHES {
        for number in 1..=3 {
            linux.send(search.ingress, &search.packet(number));
            flyover.send(search.ingress, &search.packet(number));
        }
        let expected = linux.collect(|sent| packets(&sent.to_vec(), search.ingress).len() == 3);
        let mut seen = flyover.live(0);
        for _ in 0..3 {
            for (port, frames) in flyover.live(1000).into_iter().enumerate() {
                seen[port].extend(frames);
            }
        }
        // Each quotes a packet of its own.
        for number in 1..=3 {
            let only = |sent: &Sent| {
                let mut sent = sent.clone();
                sent[search.ingress].retain(|frame| frame.last() == Some(&number));
                sent
            };
            let frame = search.packet(number);
            compare(search, "nobody answers for", &frame, (only(&expected), only(&seen)), comparison);
        }
    }
}

/// What waits leaves in its order when the neighbor answers; what it tells later is believed as far as RFC 4861 and
/// RFC 826 say; and what nobody asked for makes no neighbor.
pub(crate) fn a_neighbor_answers(comparison: &mut Comparison) {
    let (linux, mut flyover) = (kernel_with(1000), Simulated::new(true));
    let (first, second) = (STRANGE_MAC, MacAddress([2, 0xf4, 0, 0, 9, 8]));
    let third = MacAddress([2, 0xf4, 0, 0, 9, 7]);
    for search in SEARCHES {
        let early = search.tells(third, OVERRIDE, false);
        linux.send(search.place, &early);
        flyover.send(search.place, &early);
        flyover.live(0);
        for number in 1..=3 {
            linux.send(search.ingress, &search.packet(number));
            flyover.send(search.ingress, &search.packet(number));
        }
        let is_asked = |frame: &Vec<u8>| {
            let is_arp = frame.get(12..14) == Some(&ARP.to_be_bytes()) && frame[6..12] == search.router().0;
            is_arp || Packet::of(frame).is_some_and(|packet| !packet.is_v4 && packet.icmp() == Some((135, 0)))
        };
        let expected = linux.collect(|sent| sent[search.place].iter().any(is_asked));
        let seen = flyover.live(0);
        let sent = (without(expected, &early), without(seen, &early));
        compare(search, "asks for", &search.packet(1), sent, comparison);
        let answer = search.tells(first, SOLICITED | OVERRIDE, true);
        converse(search, "answers", &answer, (&linux, &mut flyover), 3, comparison);
        // A new MAC, told to all. ARP has no way to tell without overriding.
        let last = if search.wanted.contains(':') { 0 } else { OVERRIDE };
        for (mac, flags, what) in [(second, OVERRIDE, "moves"), (third, last, "tells again")] {
            let told = search.tells(mac, flags, false);
            linux.send(search.place, &told);
            flyover.send(search.place, &told);
            flyover.live(0);
            let packet = search.packet(9);
            let (expected, seen) = exchange(search, &packet, (&linux, &mut flyover), 1);
            compare(search, what, &packet, (without(expected, &told), without(seen, &told)), comparison);
        }
    }
}

/// The neighbor says `frame`, and `count` packets that waited leave.
fn converse(
    search: Search,
    what: &str,
    frame: &[u8],
    (linux, flyover): (&KernelRouter, &mut Simulated),
    count: usize,
    comparison: &mut Comparison,
) {
    linux.send(search.place, frame);
    flyover.send(search.place, frame);
    let expected = linux.collect(|sent| packets(&sent.to_vec(), search.place).len() >= count);
    let seen = flyover.live(0);
    compare(search, what, &search.packet(1), (without(expected, frame), without(seen, frame)), comparison);
}

/// A packet, which leaves at once.
fn exchange(
    search: Search,
    packet: &[u8],
    (linux, flyover): (&KernelRouter, &mut Simulated),
    count: usize,
) -> (Sent, Sent) {
    linux.send(search.ingress, packet);
    flyover.send(search.ingress, packet);
    let expected = linux.collect(|sent| packets(&sent.to_vec(), search.place).len() >= count);
    (expected, flyover.live(0))
}

/// Without the copies of a frame that the bridge floods.
fn without(mut sent: Sent, frame: &[u8]) -> Sent {
    sent.iter_mut().for_each(|frames| frames.retain(|other| other != frame));
    sent
}
