//! Frames between numbered stations: station `n` has MAC 02:00:00:00:00:n, 10.0.0.n and fd00::n.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use packet::build::{self, Link};
use packet::protocol::ip_protocol::{TCP, UDP};
use packet::{FiveTuple, MacAddress, Offload, checksum};

/// IP version of a test's packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Family {
    V4,
    V6,
}

pub(crate) const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// A station that nobody has heard of.
pub(crate) const STRANGER: usize = 200;

pub(crate) fn mac(station: usize) -> MacAddress {
    MacAddress([2, 0, 0, 0, 0, u8::try_from(station).unwrap()])
}

pub(crate) fn address(station: usize, family: Family) -> IpAddr {
    let number = u8::try_from(station).unwrap();
    match family {
        Family::V4 => Ipv4Addr::new(10, 0, 0, number).into(),
        Family::V6 => Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number.into()).into(),
    }
}

pub(crate) fn link(from: usize, to: usize) -> Link {
    Link { source: mac(from), destination: mac(to) }
}

pub(crate) fn tuple(from: usize, to: usize, family: Family, protocol: u8) -> FiveTuple {
    let (source, destination) = (address(from, family), address(to, family));
    FiveTuple { source, destination, protocol, source_port: 4000, destination_port: 5000 }
}

/// A finished UDP datagram over IPv4.
pub(crate) fn udp(from: usize, to: usize, payload: &[u8]) -> Vec<u8> {
    build::frame(link(from, to), &tuple(from, to, Family::V4, UDP), payload).unwrap()
}

/// A finished UDP datagram over IPv4 to everybody.
pub(crate) fn broadcast(from: usize, payload: &[u8]) -> Vec<u8> {
    let link = Link { source: mac(from), destination: MacAddress::BROADCAST };
    build::frame(link, &tuple(from, 255, Family::V4, UDP), payload).unwrap()
}

/// A finished TCP segment over IPv4.
pub(crate) fn tcp(from: usize, to: usize, payload: &[u8]) -> Vec<u8> {
    build::frame(link(from, to), &tuple(from, to, Family::V4, TCP), payload).unwrap()
}

/// A super-frame of the protocol, its checksum left to complete.
pub(crate) fn super_frame(
    from: usize,
    to: usize,
    family: Family,
    protocol: u8,
    payload: &[u8],
    segment_bytes: u16,
) -> (Vec<u8>, Offload) {
    let tuple = tuple(from, to, family, protocol);
    build::super_frame(link(from, to), &tuple, payload, segment_bytes).unwrap()
}

/// A UDP datagram or TCP segment whose checksum is left to complete.
pub(crate) fn unfinished(
    from: usize,
    to: usize,
    family: Family,
    protocol: u8,
    payload: &[u8],
) -> (Vec<u8>, Offload) {
    let (frame, offload) = super_frame(from, to, family, protocol, payload, u16::MAX);
    (frame, Offload { segmentation: None, ..offload })
}

/// The same frame, finished.
pub(crate) fn finished(frame: &[u8], offload: Offload) -> Vec<u8> {
    let mut frame = frame.to_vec();
    checksum::complete(&mut frame, offload);
    frame
}

/// A payload that tells where each of its bytes belongs.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| u8::try_from((n / 251 + n) % 251).unwrap()).collect()
}

/// The payload of a UDP datagram or TCP segment over IPv4 or IPv6, after an independent parser has checked
/// every length and checksum.
#[track_caller]
pub(crate) fn checked_payload(frame: &[u8]) -> Vec<u8> {
    use etherparse::{InternetSlice, SlicedPacket, TransportSlice};
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let net = packet.net.unwrap();
    if let InternetSlice::Ipv4(ip) = &net {
        assert_eq!(ip.header().header_checksum(), ip.header().to_header().calc_header_checksum());
        assert_eq!(usize::from(ip.header().total_len()) + 14, frame.len());
    }
    match packet.transport.unwrap() {
        TransportSlice::Udp(udp) => {
            let (header, payload) = (udp.to_header(), udp.payload().to_vec());
            let right = match &net {
                InternetSlice::Ipv4(ip) => {
                    header.calc_checksum_ipv4(&ip.header().to_header(), &payload).unwrap()
                }
                InternetSlice::Ipv6(ip) => {
                    header.calc_checksum_ipv6(&ip.header().to_header(), &payload).unwrap()
                }
                InternetSlice::Arp(_) => unreachable!("UDP is not in ARP"),
            };
            assert_eq!(header.checksum, right);
            assert_eq!(usize::from(header.length), payload.len() + 8);
            payload
        }
        TransportSlice::Tcp(tcp) => {
            let (header, payload) = (tcp.to_header(), tcp.payload().to_vec());
            let right = match &net {
                InternetSlice::Ipv4(ip) => {
                    header.calc_checksum_ipv4(&ip.header().to_header(), &payload).unwrap()
                }
                InternetSlice::Ipv6(ip) => {
                    header.calc_checksum_ipv6(&ip.header().to_header(), &payload).unwrap()
                }
                InternetSlice::Arp(_) => unreachable!("TCP is not in ARP"),
            };
            assert_eq!(header.checksum, right);
            payload
        }
        other => panic!("neither TCP nor UDP: {other:?}"),
    }
}
