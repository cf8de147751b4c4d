//! Frames as an attacker would write them: field by field, nothing checked, no checksum.

use packet::MacAddress;
use std::net::{Ipv4Addr, Ipv6Addr};

pub(crate) const UDP: u8 = 17;
pub(crate) const TCP: u8 = 6;
pub(crate) const IGMP: u8 = 2;
pub(crate) const ICMPV6: u8 = 58;
pub(crate) const HOP_BY_HOP: u8 = 0;
pub(crate) const FRAGMENT: u8 = 44;
pub(crate) const DESTINATION_OPTIONS: u8 = 60;

pub(crate) fn ethernet(source: MacAddress, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&MacAddress::BROADCAST.0, &source.0, ethertype.to_be_bytes().as_slice(), payload].concat()
}

/// Puts 802.1Q or 802.1ad tags before the EtherType, the outermost first.
pub(crate) fn tagged(frame: &[u8], tags: &[u16]) -> Vec<u8> {
    let (addresses, rest) = frame.split_at(12);
    let tags = tags.iter().flat_map(|tag| [tag.to_be_bytes(), [0, 7]].concat());
    addresses.iter().copied().chain(tags).chain(rest.iter().copied()).collect()
}

pub(crate) fn arp(operation: u16, sender: (MacAddress, Ipv4Addr), target: Ipv4Addr) -> Vec<u8> {
    let (mac, address) = sender;
    [
        &[0, 1, 8, 0, 6, 4],
        operation.to_be_bytes().as_slice(),
        &mac.0,
        &address.octets(),
        &[0; 6],
        &target.octets(),
    ]
    .concat()
}

/// `fragment` is the whole word of flags and offset.
pub(crate) fn ipv4(source: Ipv4Addr, protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + payload.len()).expect("a test frame fits its length field");
    [
        &[0x45, 0],
        length.to_be_bytes().as_slice(),
        &[0, 7],
        &fragment.to_be_bytes(),
        &[64, protocol, 0, 0],
        &source.octets(),
        &[10, 244, 1, 200],
        payload,
    ]
    .concat()
}

pub(crate) fn ipv6(source: Ipv6Addr, next_header: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("a test frame fits its length field");
    [
        &[0x60, 0, 0, 0],
        length.to_be_bytes().as_slice(),
        &[next_header, 255],
        &source.octets(),
        &Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).octets(),
        payload,
    ]
    .concat()
}

/// Hop-by-Hop or Destination Options header of 8 bytes, all padding.
pub(crate) fn extension(next_header: u8, payload: &[u8]) -> Vec<u8> {
    [&[next_header, 0, 1, 4, 0, 0, 0, 0], payload].concat()
}

/// Fragment header; `word` is offset, reserved bits and M flag.
pub(crate) fn fragment(next_header: u8, word: u16, payload: &[u8]) -> Vec<u8> {
    [&[next_header, 0], word.to_be_bytes().as_slice(), &[0, 0, 0, 9], payload].concat()
}

pub(crate) fn udp(source_port: u16, destination_port: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).expect("a test frame fits its length field");
    let words = [source_port, destination_port, length, 0].map(u16::to_be_bytes).concat();
    [&words, payload].concat()
}

pub(crate) fn tcp() -> Vec<u8> {
    let mut header = vec![0; 20];
    header[12] = 5 << 4;
    header
}

/// A message whose first data word is zero.
pub(crate) fn icmpv6(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 0, 0, 0, 0, 0, 0, 0], body].concat()
}

/// Neighbor solicitation (135) or advertisement (136).
pub(crate) fn neighbor(kind: u8, target: Ipv6Addr, options: &[u8]) -> Vec<u8> {
    icmpv6(kind, &[&target.octets(), options].concat())
}

/// Source (1) or target (2) link-layer address option.
pub(crate) fn link_layer(kind: u8, mac: MacAddress) -> Vec<u8> {
    [&[kind, 1], mac.0.as_slice()].concat()
}
