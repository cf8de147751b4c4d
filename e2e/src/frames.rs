//! Frames to say true and false things with, built by hand so that no code under test takes part.

use std::net::{Ipv4Addr, Ipv6Addr};

use packet::MacAddress;

/// IEEE 802 local experimental EtherType 1: nobody's kernel answers.
pub const EXPERIMENTAL: u16 = 0x88b5;
/// IPv4.
pub const IPV4: u16 = 0x0800;
/// ARP.
pub const ARP: u16 = 0x0806;
/// IPv6.
pub const IPV6: u16 = 0x86dd;

/// An Ethernet II frame, not padded.
#[must_use]
pub fn ethernet(destination: MacAddress, source: MacAddress, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&destination.0[..], &source.0, &ethertype.to_be_bytes(), payload].concat()
}

/// The frame with one more tag: `protocol` is 0x8100 or 0x88a8, `control` the priority and VLAN.
#[must_use]
pub fn tagged(frame: &[u8], protocol: u16, control: u16) -> Vec<u8> {
    let (addresses, rest) = frame.split_at(12);
    [addresses, &protocol.to_be_bytes(), &control.to_be_bytes(), rest].concat()
}

/// The Internet checksum (RFC 1071) over the concatenation of `parts`, each of even length but the last.
#[must_use]
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
            sum = (sum & 0xffff) + (sum >> 16);
        }
    }
    let folded = u16::try_from(sum).unwrap_or(u16::MAX);
    !folded
}

fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).expect("test packets are shorter than 64 KiB").to_be_bytes()
}

/// An IPv4 packet without options, TTL 64.
#[must_use]
pub fn ipv4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let [a, b] = length(20 + payload.len());
    let mut header = [0x45, 0, a, b, 0, 1, 0x40, 0, 64, protocol, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    header[12..16].copy_from_slice(&source.octets());
    header[16..20].copy_from_slice(&destination.octets());
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    [&header, payload].concat()
}

/// An IPv6 packet without extension headers, hop limit 255.
#[must_use]
pub fn ipv6(source: Ipv6Addr, destination: Ipv6Addr, next_header: u8, payload: &[u8]) -> Vec<u8> {
    let [a, b] = length(payload.len());
    let header = [0x60, 0, 0, 0, a, b, next_header, 255];
    [&header[..], &source.octets(), &destination.octets(), payload].concat()
}

/// A UDP datagram without checksum.
#[must_use]
pub fn udp(source_port: u16, destination_port: u16, payload: &[u8]) -> Vec<u8> {
    let header =
        [source_port.to_be_bytes(), destination_port.to_be_bytes(), length(8 + payload.len()), [0; 2]];
    [header.as_flattened(), payload].concat()
}

/// An ICMPv6 message with its checksum; the first four bytes of `message` are type, code and two zeros.
#[must_use]
pub fn icmpv6(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> Vec<u8> {
    let [a, b] = length(message.len());
    let pseudo = [0, 0, a, b, 0, 0, 0, 58];
    let sum = checksum(&[&source.octets(), &destination.octets(), &pseudo, message]);
    let mut message = message.to_vec();
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    ipv6(source, destination, 58, &message)
}

/// An unsolicited neighbor advertisement to all nodes: `target` is at `link_layer` (RFC 4861 §4.4).
#[must_use]
pub fn neighbor_advertisement(source: Ipv6Addr, target: Ipv6Addr, link_layer: MacAddress) -> Vec<u8> {
    let header = [136, 0, 0, 0, 0x20, 0, 0, 0];
    let message = [&header[..], &target.octets(), &[2, 1], &link_layer.0].concat();
    icmpv6(source, ALL_NODES, &message)
}

/// A router advertisement to all nodes that offers a default route for half an hour (RFC 4861 §4.2).
#[must_use]
pub fn router_advertisement(source: Ipv6Addr) -> Vec<u8> {
    icmpv6(source, ALL_NODES, &[134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0])
}

/// An ARP packet of RFC 826 for Ethernet and IPv4; `operation` is 1 (request) or 2 (reply).
#[must_use]
pub fn arp(operation: u8, sender: (MacAddress, Ipv4Addr), target: (MacAddress, Ipv4Addr)) -> Vec<u8> {
    let header = [0, 1, 8, 0, 6, 4, 0, operation];
    let (sender_mac, sender_address) = (sender.0.0, sender.1.octets());
    let (target_mac, target_address) = (target.0.0, target.1.octets());
    [&header[..], &sender_mac, &sender_address, &target_mac, &target_address].concat()
}

/// A DHCP server's offer (RFC 2131), as far as anybody looks at it.
#[must_use]
pub fn dhcp_offer(source: Ipv4Addr) -> Vec<u8> {
    let mut message = vec![0; 240];
    message[..4].copy_from_slice(&[2, 1, 6, 0]);
    message[236..].copy_from_slice(&[99, 130, 83, 99]);
    message.extend([53, 1, 2, 255]);
    ipv4(source, Ipv4Addr::BROADCAST, 17, &udp(67, 68, &message))
}

/// ff02::1.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// The group MAC of [`ALL_NODES`].
pub const ALL_NODES_MAC: MacAddress = MacAddress([0x33, 0x33, 0, 0, 0, 1]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_with_its_checksum_sums_to_zero() {
        let packet = ipv4(Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2), 17, &udp(1, 2, b"x"));
        assert_eq!(checksum(&[&packet[..20]]), 0);
        let source = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
        let packet = router_advertisement(source);
        let pseudo = [0, 0, 0, 16, 0, 0, 0, 58];
        assert_eq!(checksum(&[&packet[8..40], &pseudo, &packet[40..]]), 0);
    }

    #[test]
    fn a_tag_stands_between_addresses_and_type() {
        let frame = ethernet(MacAddress::BROADCAST, MacAddress([2, 0, 0, 0, 0, 1]), EXPERIMENTAL, b"x");
        let tagged = tagged(&frame, 0x8100, 0x0005);
        assert_eq!(tagged[12..], [0x81, 0, 0, 5, 0x88, 0xb5, b'x']);
    }
}
