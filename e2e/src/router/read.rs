//! As much of a frame as the comparison has to understand, read without the code under test.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use packet::MacAddress;

use super::{GATEWAY_MAC, NEIGHBORS, NODE_MAC, packets};
use crate::frames::{ARP, IPV4, IPV6};

/// An untagged frame with an IP packet whose fixed header is all there.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    /// The whole frame.
    pub frame: &'a [u8],
    /// From the IP header on.
    pub ip: &'a [u8],
    /// True for IPv4.
    pub is_v4: bool,
}

impl<'a> Packet<'a> {
    /// The packet of a frame.
    #[must_use]
    pub fn of(frame: &'a [u8]) -> Option<Self> {
        let ip = frame.get(14..)?;
        match ethertype(frame)? {
            IPV4 if ip.len() >= 20 => Some(Self { frame, ip, is_v4: true }),
            IPV6 if ip.len() >= 40 => Some(Self { frame, ip, is_v4: false }),
            _ => None,
        }
    }

    /// Whom the frame is for.
    #[must_use]
    pub fn to_mac(&self) -> MacAddress {
        MacAddress::read(self.frame, 0).unwrap_or_default()
    }

    /// Where the frame comes from.
    #[must_use]
    pub fn from_mac(&self) -> MacAddress {
        MacAddress::read(self.frame, 6).unwrap_or_default()
    }

    /// The source address.
    #[must_use]
    pub fn source(&self) -> IpAddr {
        if self.is_v4 { ipv4_at(self.ip, 12) } else { ipv6_at(self.ip, 8) }
    }

    /// The destination address.
    #[must_use]
    pub fn destination(&self) -> IpAddr {
        if self.is_v4 { ipv4_at(self.ip, 16) } else { ipv6_at(self.ip, 24) }
    }

    /// TTL or hop limit.
    #[must_use]
    pub fn hops(&self) -> u8 {
        self.ip[if self.is_v4 { 8 } else { 7 }]
    }

    /// Protocol, or the type of the first header.
    #[must_use]
    pub fn protocol(&self) -> u8 {
        self.ip[if self.is_v4 { 9 } else { 6 }]
    }

    /// Bytes of the header, options included.
    #[must_use]
    pub fn header_bytes(&self) -> usize {
        if self.is_v4 { usize::from(self.ip[0] & 0x0f) * 4 } else { 40 }
    }

    /// The options of IPv4.
    #[must_use]
    pub fn options(&self) -> &'a [u8] {
        let end = if self.is_v4 { self.header_bytes() } else { 20 };
        self.ip.get(20..end).unwrap_or_default()
    }

    /// What follows the header.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.ip.get(self.header_bytes()..).unwrap_or_default()
    }

    /// Type and code of ICMP right behind the header.
    #[must_use]
    pub fn icmp(&self) -> Option<(u8, u8)> {
        let is_icmp = self.protocol() == if self.is_v4 { 1 } else { 58 };
        let is_later_fragment = self.is_v4 && (self.ip[6] & 0x1f, self.ip[7]) != (0, 0);
        match self.payload() {
            [kind, code, ..] if is_icmp && !is_later_fragment => Some((*kind, *code)),
            _ => None,
        }
    }

    /// The packet that an ICMP error quotes, if this is one.
    #[must_use]
    pub fn quoted(&self) -> Option<&'a [u8]> {
        let (kind, _) = self.icmp()?;
        let is_error = if self.is_v4 { matches!(kind, 3..=5 | 11 | 12) } else { kind < 128 };
        self.payload().get(8..).filter(|_| is_error)
    }

    /// True for what a router says itself: from one of its addresses.
    #[must_use]
    pub fn is_router_s(&self) -> bool {
        is_router_address(self.source())
    }
}

/// True for an address of the router's.
pub(super) fn is_router_address(address: IpAddr) -> bool {
    super::GATEWAYS
        .iter()
        .chain(super::NODES)
        .chain([&super::GATEWAY_LINK_LOCAL, &super::NODE_LINK_LOCAL])
        .any(|own| packets::address(own) == address)
}

/// True for an address in a network of the router's, be it known where or not.
#[must_use]
pub fn is_on_link(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => matches!(v4.octets(), [10, 244, 1, _] | [192, 168, 0, _]),
        IpAddr::V6(v6) => {
            matches!(v6.segments(), [0xfd00, 0x244, 1, 0, ..] | [0xfd01, 0, 0, 0, ..])
                || v6.is_unicast_link_local()
        }
    }
}

/// True for an address of the pods' networks.
pub(super) fn is_pod(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => matches!(v4.octets(), [10, 244, 1, _]),
        IpAddr::V6(v6) => matches!(v6.segments(), [0xfd00, 0x244, 1, 0, ..]),
    }
}

/// Where a neighbor is.
pub(super) fn neighbor(address: IpAddr) -> Option<(MacAddress, usize)> {
    let found = NEIGHBORS.iter().find(|(known, ..)| packets::address(known) == address);
    found.map(|(_, mac, port)| (*mac, *port))
}

pub(super) fn ethertype(frame: &[u8]) -> Option<u16> {
    frame.get(12..)?.first_chunk().map(|octets| u16::from_be_bytes(*octets))
}

/// What the kernel says unasked, or when it likes: questions for neighbors, reports of its groups, and advertisements
/// of the subnet-router anycast address, which come after a random delay.
pub(super) fn is_kernel_s_own(frame: &[u8]) -> bool {
    let from = MacAddress::read(frame, 6).unwrap_or_default();
    if from != GATEWAY_MAC && from != NODE_MAC {
        return false;
    }
    if ethertype(frame) == Some(ARP) {
        return frame.get(20..22) == Some(&[0, 1]);
    }
    let Some(packet) = Packet::of(frame).filter(|packet| !packet.is_v4) else { return false };
    let is_question = packet.hops() == 255 && matches!(packet.icmp(), Some((133..=135, 0)));
    let is_anycast = packet.icmp() == Some((136, 0))
        && packet.payload().get(8..24).is_some_and(|target| target.ends_with(&[0; 8]));
    is_report(frame) || is_question || is_anycast
}

/// Reports of groups that are listened to.
pub(super) fn is_report(frame: &[u8]) -> bool {
    let all_routers = IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16));
    Packet::of(frame).is_some_and(|packet| packet.destination() == all_routers)
}

fn ipv4_at(bytes: &[u8], at: usize) -> IpAddr {
    let octets: [u8; 4] = bytes[at..at + 4].try_into().expect("it is four bytes");
    Ipv4Addr::from(octets).into()
}

fn ipv6_at(bytes: &[u8], at: usize) -> IpAddr {
    let octets: [u8; 16] = bytes[at..at + 16].try_into().expect("it is sixteen bytes");
    Ipv6Addr::from(octets).into()
}
