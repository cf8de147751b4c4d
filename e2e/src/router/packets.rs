//! IP packets of which every field can be a lie, and the frames that drain the kernel router.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use packet::MacAddress;

use super::{GATEWAY_MAC, NEXT_HOP_MAC, NODE_MAC, POD_A_MAC, POD_B_MAC, UPLINK};
use crate::frames::{self, EXPERIMENTAL, IPV4, IPV6, checksum, ethernet};

/// An IPv4 packet. What is `None` is made right.
#[derive(Debug, Clone)]
pub struct Ipv4 {
    /// Version and header length.
    pub first: Option<u8>,
    /// Type of service.
    pub tos: u8,
    /// Total length in bytes.
    pub total_bytes: Option<u16>,
    /// Identification.
    pub id: u16,
    /// Flags and fragment offset.
    pub fragment: u16,
    /// Time to live.
    pub ttl: u8,
    /// Protocol.
    pub protocol: u8,
    /// Header checksum.
    pub checksum: Option<u16>,
    /// Source.
    pub source: Ipv4Addr,
    /// Destination.
    pub destination: Ipv4Addr,
    /// Options, a multiple of four bytes.
    pub options: Vec<u8>,
    /// What follows.
    pub payload: Vec<u8>,
    /// What follows behind the packet in its frame.
    pub padding: Vec<u8>,
}

impl Ipv4 {
    /// A UDP datagram with DF.
    #[must_use]
    pub fn udp(source: Ipv4Addr, destination: Ipv4Addr, payload: &[u8]) -> Self {
        Self {
            first: None,
            tos: 0,
            total_bytes: None,
            id: 0x1234,
            fragment: 0x4000,
            ttl: 64,
            protocol: 17,
            checksum: None,
            source,
            destination,
            options: Vec::new(),
            payload: frames::udp(4000, 5000, payload),
            padding: Vec::new(),
        }
    }

    /// The bytes, padding included.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let word = |bytes: usize| u16::try_from(bytes).unwrap_or(u16::MAX);
        let header_bytes = 20 + self.options.len();
        let words = u8::try_from(header_bytes / 4).unwrap_or(15);
        let mut header = vec![0; 20];
        header[0] = self.first.unwrap_or(0x40 | words);
        header[1] = self.tos;
        let total = self.total_bytes.unwrap_or(word(header_bytes + self.payload.len()));
        header[2..4].copy_from_slice(&total.to_be_bytes());
        header[4..6].copy_from_slice(&self.id.to_be_bytes());
        header[6..8].copy_from_slice(&self.fragment.to_be_bytes());
        header[8] = self.ttl;
        header[9] = self.protocol;
        header[12..16].copy_from_slice(&self.source.octets());
        header[16..20].copy_from_slice(&self.destination.octets());
        header.extend(&self.options);
        let sum = self.checksum.unwrap_or_else(|| checksum(&[&header]));
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        [header, self.payload.clone(), self.padding.clone()].concat()
    }

    /// The frame.
    #[must_use]
    pub fn frame(&self, to: MacAddress, from: MacAddress) -> Vec<u8> {
        ethernet(to, from, IPV4, &self.bytes())
    }
}

/// An IPv6 packet. What is `None` is made right.
#[derive(Debug, Clone)]
pub struct Ipv6 {
    /// Version, traffic class and flow label.
    pub first: u32,
    /// Payload length in bytes.
    pub payload_bytes: Option<u16>,
    /// The first header's type.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source.
    pub source: Ipv6Addr,
    /// Destination.
    pub destination: Ipv6Addr,
    /// What follows.
    pub payload: Vec<u8>,
    /// What follows behind the packet in its frame.
    pub padding: Vec<u8>,
}

impl Ipv6 {
    /// A UDP datagram, without a checksum as nobody looks at it on its way.
    #[must_use]
    pub fn udp(source: Ipv6Addr, destination: Ipv6Addr, payload: &[u8]) -> Self {
        Self {
            first: 0x6000_0000,
            payload_bytes: None,
            next_header: 17,
            hop_limit: 64,
            source,
            destination,
            payload: frames::udp(4000, 5000, payload),
            padding: Vec::new(),
        }
    }

    /// Puts an extension header of this type before what follows; `header` without its first byte.
    #[must_use]
    pub fn extended(mut self, kind: u8, header: &[u8]) -> Self {
        self.payload = [&[self.next_header], header, &self.payload].concat();
        self.next_header = kind;
        self
    }

    /// The bytes, padding included.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let length = self.payload_bytes.unwrap_or(u16::try_from(self.payload.len()).unwrap_or(u16::MAX));
        let mut bytes = self.first.to_be_bytes().to_vec();
        bytes.extend(length.to_be_bytes());
        bytes.extend([self.next_header, self.hop_limit]);
        bytes.extend(self.source.octets());
        bytes.extend(self.destination.octets());
        [bytes, self.payload.clone(), self.padding.clone()].concat()
    }

    /// The frame.
    #[must_use]
    pub fn frame(&self, to: MacAddress, from: MacAddress) -> Vec<u8> {
        ethernet(to, from, IPV6, &self.bytes())
    }
}

/// An ICMP message, its checksum included.
#[must_use]
pub(super) fn icmp4(kind: u8, code: u8, rest: &[u8]) -> Vec<u8> {
    let mut message = [&[kind, code, 0, 0], rest].concat();
    let sum = checksum(&[&message]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

/// An echo request with this data.
#[must_use]
pub fn echo4(source: Ipv4Addr, destination: Ipv4Addr, data: &[u8]) -> Ipv4 {
    let payload = icmp4(8, 0, &[&[0x77, 0x88, 0, 1], data].concat());
    Ipv4 { protocol: 1, payload, ..Ipv4::udp(source, destination, &[]) }
}

/// An ICMPv6 message in a packet, its checksum included.
#[must_use]
pub(super) fn icmp6(source: Ipv6Addr, destination: Ipv6Addr, kind: u8, code: u8, rest: &[u8]) -> Ipv6 {
    let packet = frames::icmpv6(source, destination, &[&[kind, code, 0, 0], rest].concat());
    let payload = packet[40..].to_vec();
    Ipv6 { next_header: 58, payload, ..Ipv6::udp(source, destination, &[]) }
}

/// An echo request with this data.
#[must_use]
pub fn echo6(source: Ipv6Addr, destination: Ipv6Addr, data: &[u8]) -> Ipv6 {
    icmp6(source, destination, 128, 0, &[&[0x77, 0x88, 0, 1], data].concat())
}

/// An address of a table of the [module](super), without its network.
///
/// # Panics
/// If it is none.
#[must_use]
pub(super) fn address(text: &str) -> IpAddr {
    let bare = text.split('/').next().unwrap_or(text);
    bare.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The same of IPv4.
///
/// # Panics
/// If it is none.
#[must_use]
pub(super) fn v4(text: &str) -> Ipv4Addr {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The same of IPv6.
///
/// # Panics
/// If it is none.
#[must_use]
pub(super) fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

const SENTINEL: &[u8] = b"the sentinel of step";

pub(super) fn sentinel_mark(serial: u32) -> Vec<u8> {
    [SENTINEL, &serial.to_be_bytes()].concat()
}

pub(super) fn is_sentinel(frame: &[u8]) -> bool {
    frame.windows(SENTINEL.len()).any(|window| window == SENTINEL)
}

/// Frames from a port, one of which or its answer reaches each port.
pub(super) fn sentinels(ingress: usize, mark: &[u8]) -> Vec<Vec<u8>> {
    let (pods, remote) = ([v4("10.244.1.10"), v4("10.244.1.11")], v4("192.168.0.1"));
    let macs = [POD_A_MAC, POD_B_MAC];
    if ingress == UPLINK {
        let echo = echo4(remote, v4("192.168.0.11"), mark).frame(NODE_MAC, NEXT_HOP_MAC);
        let to_pods = pods.map(|pod| Ipv4::udp(remote, pod, mark).frame(NODE_MAC, NEXT_HOP_MAC));
        return [vec![echo], to_pods.to_vec()].concat();
    }
    let (source, mac) = (pods[ingress], macs[ingress]);
    vec![
        echo4(source, v4("10.244.1.1"), mark).frame(GATEWAY_MAC, mac),
        Ipv4::udp(source, remote, mark).frame(GATEWAY_MAC, mac),
        ethernet(MacAddress::BROADCAST, mac, EXPERIMENTAL, mark),
    ]
}
