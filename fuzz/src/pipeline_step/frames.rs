//! Frames to begin from, and what the input makes of them.

use std::net::IpAddr;
use std::sync::OnceLock;

use packet::build::{self, Link};
use packet::protocol::ip_protocol::{ICMP, ICMPV6, TCP, UDP};
use packet::{
    ChecksumOffload, FiveTuple, MacAddress, Network, Offload, Segmentation, SegmentationKind, arp, checksum,
    icmpv6, parse,
};

use super::rig::{GATEWAY, NEXT_HOP, NODE, ip, mac};

/// Bytes that are read one after the other; none are left at the end, and then all are 0.
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub(super) fn word(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

type Sent = (Vec<u8>, Offload);

fn flow(ends: (&str, &str), protocol: u8) -> FiveTuple {
    let (source, destination) = (ip(ends.0), ip(ends.1));
    FiveTuple { source, destination, protocol, source_port: 4000, destination_port: 80 }
}

fn link(stations: (u8, u8)) -> Link {
    Link { source: mac(stations.0), destination: mac(stations.1) }
}

fn finished(stations: (u8, u8), flow: &FiveTuple, payload: &[u8]) -> Sent {
    (build::frame(link(stations), flow, payload).expect("a short payload"), Offload::NONE)
}

fn super_frame(stations: (u8, u8), flow: &FiveTuple, payload: usize, segment: u16) -> Sent {
    let payload: Vec<u8> = (0..payload).map(|n| n.to_le_bytes()[0]).collect();
    build::super_frame(link(stations), flow, &payload, segment).expect("a payload below 64 KiB")
}

/// Between whom: stations and addresses.
type Way = ((u8, u8), (&'static str, &'static str));

/// Every way through the switch, and some that lead nowhere.
const WAYS: [Way; 24] = [
    ((0, GATEWAY), ("10.0.0.1", "10.9.0.7")),
    ((0, GATEWAY), ("fd00::1", "fd09::7")),
    ((1, GATEWAY), ("10.0.0.2", "10.9.0.7")),
    ((1, GATEWAY), ("fd00::2", "fd09::7")),
    ((NEXT_HOP, NODE), ("10.9.0.7", "10.0.0.2")),
    ((NEXT_HOP, NODE), ("fd09::7", "fd00::2")),
    ((NEXT_HOP, NODE), ("10.9.0.7", "10.0.0.1")),
    ((0, 1), ("10.0.0.1", "10.0.0.2")),
    ((1, 0), ("10.0.0.2", "10.0.0.1")),
    ((1, 0), ("fd00::2", "fd00::1")),
    ((GATEWAY, 1), ("10.0.0.1", "10.0.0.2")),
    ((GATEWAY, 0), ("fd00::2", "fd00::1")),
    ((GATEWAY, 0), ("10.9.0.7", "10.0.0.1")),
    ((0, GATEWAY), ("10.0.0.1", "10.0.0.254")),
    ((1, GATEWAY), ("fd00::2", "fd00::fe")),
    ((1, GATEWAY), ("10.0.0.2", "10.5.0.1")),
    ((1, GATEWAY), ("fd00::2", "fd05::1")),
    ((1, GATEWAY), ("10.0.0.2", "10.4.0.1")),
    ((0, GATEWAY), ("10.0.0.1", "10.7.0.1")),
    ((0, GATEWAY), ("10.0.0.1", "10.0.0.77")),
    ((NEXT_HOP, NODE), ("fd09::7", "fd00::77")),
    ((1, GATEWAY), ("10.0.0.2", "192.168.0.77")),
    ((NODE, NEXT_HOP), ("10.0.0.2", "10.9.0.7")),
    ((NODE, NEXT_HOP), ("fd00::2", "fd09::7")),
];

/// Frames that are sound.
fn templates() -> &'static [Sent] {
    static TEMPLATES: OnceLock<Vec<Sent>> = OnceLock::new();
    TEMPLATES.get_or_init(|| {
        let mut all = Vec::new();
        for (stations, ends) in WAYS {
            let icmp = if ip(ends.0).is_ipv4() { ICMP } else { ICMPV6 };
            all.push(finished(stations, &flow(ends, UDP), b"datagram"));
            let answer = FiveTuple { source_port: 80, destination_port: 4000, ..flow(ends, UDP) };
            all.push(finished(stations, &answer, b"answer"));
            all.push(finished(stations, &flow(ends, TCP), &[7; 1300]));
            all.push(finished(stations, &flow(ends, icmp), b"echo"));
            all.push(super_frame(stations, &flow(ends, TCP), 5000, 1200));
            all.push(super_frame(stations, &flow(ends, UDP), 3000, 700));
            let (frame, offload) = super_frame(stations, &flow(ends, UDP), 30, 1000);
            all.push((frame, Offload { segmentation: None, ..offload }));
            all.extend(fragments(&finished(stations, &flow(ends, UDP), &[9; 1400]).0));
        }
        all.extend(neighbor_messages().map(|frame| (frame, Offload::NONE)));
        all
    })
}

/// The fragments of an IPv4 packet.
fn fragments(frame: &[u8]) -> Vec<Sent> {
    let mut frame = frame.to_vec();
    if frame[12..14] != [8, 0] {
        return Vec::new();
    }
    frame[18..22].copy_from_slice(&[1, 2, 0, 0]);
    sum_header(&mut frame);
    let layout = parse(&frame).expect("a sound frame");
    let mut fragmenter =
        router::fragment::Fragmenter::new(&frame, &layout, Offload::NONE, 900).expect("no DF");
    let mut out = vec![0; 1000];
    std::iter::from_fn(|| fragmenter.next_into(&mut out).map(|len| (out[..len].to_vec(), Offload::NONE)))
        .collect()
}

fn neighbor_messages() -> impl Iterator<Item = Vec<u8>> {
    let end = |station: u8, address: &str| match ip(address) {
        IpAddr::V4(address) => arp::End { mac: mac(station), address },
        IpAddr::V6(_) => unreachable!("asked for IPv4"),
    };
    let v6 = |address: &str| match ip(address) {
        IpAddr::V6(address) => address,
        IpAddr::V4(_) => unreachable!("asked for IPv6"),
    };
    let (pod, gateway, next) = (end(1, "10.0.0.2"), end(GATEWAY, "10.0.0.254"), end(NEXT_HOP, "192.168.0.1"));
    let bound = end(0, "10.0.0.1");
    let advertised = icmpv6::unsolicited_neighbor_advertisement(mac(1), v6("fd00::fe"), false);
    [
        arp::request(pod, gateway.address).to_vec(),
        arp::request(bound, gateway.address).to_vec(),
        arp::request(bound, pod.address).to_vec(),
        arp::reply(pod, gateway).to_vec(),
        arp::gratuitous(mac(1), gateway.address).to_vec(),
        arp::request(next, end(NODE, "192.168.0.11").address).to_vec(),
        arp::reply(next, end(NODE, "192.168.0.11")).to_vec(),
        arp::request(gateway, pod.address).to_vec(),
        advertised.to_vec(),
        icmpv6::unsolicited_neighbor_advertisement(mac(1), v6("fd00::77"), true).to_vec(),
        build::frame(
            Link { source: mac(1), destination: MacAddress::BROADCAST },
            &flow(("10.0.0.2", "10.0.0.255"), UDP),
            b"all",
        )
        .expect("a short payload"),
    ]
    .into_iter()
}

/// Sets the checksum of an IPv4 header right, if that is where it should be.
fn sum_header(frame: &mut [u8]) {
    let Ok(layout) = parse(frame) else { return };
    let start = usize::from(layout.network_offset);
    let is_v4 = layout.network == Network::Ipv4;
    let Some(header) = frame.get_mut(start..usize::from(layout.transport_offset)).filter(|_| is_v4) else {
        return;
    };
    header[10..12].fill(0);
    let sum = checksum::of(header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// A frame of the input: one of the templates with a few bytes changed, or any bytes.
pub(super) fn read(input: &mut Input<'_>) -> Sent {
    let how = input.byte();
    let (mut frame, mut offload) = if how & 7 == 7 {
        let count = usize::from(input.word()) % 2048;
        (input.take(count).to_vec(), Offload::NONE)
    } else {
        let templates = templates();
        templates[usize::from(input.word()) % templates.len()].clone()
    };
    for _ in 0..how & 3 {
        let (at, value) = (usize::from(input.byte()), input.byte());
        if let Some(place) = frame.get_mut(at) {
            *place = value;
        }
    }
    if how & 8 != 0 {
        let length = usize::from(input.word()) % 3000;
        frame.resize(length, input.byte());
    }
    if how & 16 != 0 {
        offload = any_offload(input);
    }
    if how & 32 == 0 {
        sum_header(&mut frame);
    }
    (frame, offload)
}

fn any_offload(input: &mut Input<'_>) -> Offload {
    let kind = input.byte();
    let checksum = match kind & 3 {
        0 => ChecksumOffload::None,
        1 => ChecksumOffload::Valid,
        _ => ChecksumOffload::Partial { start: input.byte().into(), offset: u16::from(input.byte()) % 32 },
    };
    let segmentation = match kind >> 2 & 3 {
        0 => None,
        1 => Some(SegmentationKind::TcpV4),
        2 => Some(SegmentationKind::TcpV6),
        _ => Some(SegmentationKind::Udp),
    };
    let size_bytes = input.word().max(1);
    let ecn = kind & 16 != 0;
    Offload { checksum, segmentation: segmentation.map(|kind| Segmentation { kind, size_bytes, ecn }) }
}
