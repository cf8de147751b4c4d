//! IPv6 (RFC 8200 §3) and what is derived from its addresses.

use std::net::Ipv6Addr;

use crate::protocol::ip_protocol;
use crate::{Layout, MacAddress, Network};

/// Bytes of the header without extension headers.
pub const HEADER_BYTES: usize = 40;

/// All nodes of the link (RFC 4291 §2.7.1).
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// A header, seen in place.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    fixed: &'a [u8; HEADER_BYTES],
}

impl<'a> Header<'a> {
    /// The header at the start of `bytes`, or `None` if it is not all there or not of version 6. The payload
    /// length is not compared with `bytes`.
    #[must_use]
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let fixed: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
        (fixed[0] >> 4 == 6).then_some(Self { fixed })
    }

    /// Differentiated services and congestion bits.
    #[must_use]
    pub fn traffic_class(&self) -> u8 {
        self.fixed[0] << 4 | self.fixed[1] >> 4
    }

    /// Flow label, 20 bits.
    #[must_use]
    pub fn flow_label(&self) -> u32 {
        u32::from_be_bytes([0, self.fixed[1] & 0x0f, self.fixed[2], self.fixed[3]])
    }

    /// Bytes behind this header, extension headers included.
    #[must_use]
    pub fn payload_length(&self) -> u16 {
        u16::from_be_bytes([self.fixed[4], self.fixed[5]])
    }

    /// What follows this header.
    #[must_use]
    pub fn next_header(&self) -> u8 {
        self.fixed[6]
    }

    /// Hop limit.
    #[must_use]
    pub fn hop_limit(&self) -> u8 {
        self.fixed[7]
    }

    /// Source address.
    #[must_use]
    #[inline]
    pub fn source(&self) -> Ipv6Addr {
        self.address(8)
    }

    /// Destination address.
    #[must_use]
    #[inline]
    pub fn destination(&self) -> Ipv6Addr {
        self.address(24)
    }

    #[inline]
    fn address(&self, at: usize) -> Ipv6Addr {
        let mut octets = [0; 16];
        octets.copy_from_slice(&self.fixed[at..at + 16]);
        octets.into()
    }
}

/// An extension header (RFC 8200 §4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extension<'a> {
    /// Its protocol number.
    pub kind: u8,
    /// The whole header.
    pub bytes: &'a [u8],
}

/// The extension headers before a packet's transport header.
#[derive(Clone, Copy, Debug)]
pub struct Extensions<'a> {
    next: u8,
    bytes: &'a [u8],
}

impl<'a> Extensions<'a> {
    /// The extension headers in the frame `bytes`, which the parser has found sound: `layout` is its layout,
    /// with IPv6 as its network layer. There are none where that is not so.
    #[must_use]
    pub fn new(bytes: &'a [u8], layout: &Layout) -> Self {
        let start = usize::from(layout.network_offset);
        let chain = match layout.network {
            Network::Ipv6 => bytes.get(start + HEADER_BYTES..usize::from(layout.transport_offset)),
            _ => None,
        };
        Self { next: bytes.get(start + 6).copied().unwrap_or(0), bytes: chain.unwrap_or_default() }
    }
}

impl<'a> Iterator for Extensions<'a> {
    type Item = Extension<'a>;

    fn next(&mut self) -> Option<Extension<'a>> {
        let &[following, units] = self.bytes.first_chunk()?;
        let length = match self.next {
            ip_protocol::FRAGMENT => 8,
            ip_protocol::AUTHENTICATION => (usize::from(units) + 2) * 4,
            _ => (usize::from(units) + 1) * 8,
        };
        let (bytes, rest) = self.bytes.split_at_checked(length)?;
        let kind = std::mem::replace(&mut self.next, following);
        self.bytes = rest;
        Some(Extension { kind, bytes })
    }
}

/// The link-local address that a host derives from its MAC address (RFC 4291 §2.5.6 and appendix A).
#[must_use]
pub fn link_local(mac: MacAddress) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    [0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f].into()
}

/// The group in which a neighbor solicitation for `address` is sent (RFC 4291 §2.7.1).
#[must_use]
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., x, y, z] = address.octets();
    [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, x, y, z].into()
}

/// The MAC address of a multicast group (RFC 2464 §7).
#[must_use]
pub fn group_mac(group: Ipv6Addr) -> MacAddress {
    let [.., a, b, c, d] = group.octets();
    MacAddress([0x33, 0x33, a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_rfc_8200_puts_them() {
        let mut bytes = [0; 40];
        bytes[..8].copy_from_slice(&[0x6a, 0xbc, 0xde, 0xf0, 1, 2, 17, 64]);
        bytes[23] = 1;
        bytes[39] = 2;
        let header = Header::new(&bytes).unwrap();
        assert_eq!((header.traffic_class(), header.flow_label()), (0xab, 0xc_def0));
        assert_eq!((header.payload_length(), header.next_header(), header.hop_limit()), (258, 17, 64));
        assert_eq!((header.source(), header.destination()), (Ipv6Addr::from(1), Ipv6Addr::from(2)));
        bytes[0] = 0x45;
        assert!(Header::new(&bytes).is_none());
    }

    #[test]
    fn extension_headers_are_those_before_the_transport() {
        let mut frame = vec![0; 14];
        frame[12..].copy_from_slice(&[0x86, 0xdd]);
        frame.extend([0x60, 0, 0, 0, 0, 40, 0, 64]);
        frame.extend([0; 32]);
        frame.extend([43, 0, 1, 4, 0, 0, 0, 0]);
        frame.extend([51, 0, 0, 0, 0, 0, 0, 0]);
        frame.extend([59, 2]);
        frame.extend([0; 14]);
        frame.extend([7; 8]);
        let layout = crate::parse(&frame).unwrap();
        let kinds = |layout| Extensions::new(&frame, layout).map(|header| (header.kind, header.bytes.len()));
        assert_eq!(kinds(&layout).collect::<Vec<_>>(), [(0, 8), (43, 8), (51, 16)]);
        assert_eq!(kinds(&Layout { network: Network::Ipv4, ..layout }).count(), 0);
    }

    #[test]
    fn addresses_are_derived_as_the_rfcs_say() {
        assert_eq!(link_local(MacAddress([0x02, 0, 0x5e, 0x10, 0, 1])).to_string(), "fe80::5eff:fe10:1");
        let group = solicited_node("2001:db8::1:2345:6789".parse().unwrap());
        assert_eq!(group.to_string(), "ff02::1:ff45:6789");
        assert_eq!(group_mac(group), MacAddress([0x33, 0x33, 0xff, 0x45, 0x67, 0x89]));
    }
}
