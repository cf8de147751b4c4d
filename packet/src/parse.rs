//! The one pass over a frame's headers.
//!
//! Each header is looked at through one bounds check, nothing is allocated or copied, and the work is
//! bounded: two VLAN tags, and [`EXTENSION_HEADERS_MAX`] IPv6 extension headers. Checksums are not verified
//! here; a bridge carries what it is given.

use crate::protocol::{ethertype, ip_protocol};
use crate::{DropReason, FRAME_BYTES_MAX, Fragment, Layout, Network, Transport};

/// Most IPv6 extension headers of a packet; a longer chain makes the packet malformed (RFC 8504 §5.3 lets a
/// receiver limit them).
pub const EXTENSION_HEADERS_MAX: usize = 8;

/// Most bytes of all IPv6 extension headers together, the longest that one header can be.
pub const EXTENSION_BYTES_MAX: u16 = 2048;

/// Finds the headers of `bytes`, a frame from its destination address on, without frame check sequence.
///
/// A header that is cut short or contradicts another is reported in the layout as
/// [`Network::Malformed`] or [`Transport::Malformed`]; the layers below it are valid all the same.
///
/// # Errors
/// [`DropReason::Truncated`] for fewer than 14 bytes, [`DropReason::Oversized`] for more than
/// [`FRAME_BYTES_MAX`].
#[inline]
pub fn parse(bytes: &[u8]) -> Result<Layout, DropReason> {
    let Some(&[.., high, low]) = bytes.first_chunk::<14>() else {
        return Err(DropReason::Truncated);
    };
    if bytes.len() > FRAME_BYTES_MAX {
        return Err(DropReason::Oversized);
    }
    if let Some(layout) = plain(bytes) {
        return Ok(layout);
    }
    // Taken apart and put together again (the `max` changes nothing, but keeps the compiler from seeing a
    // mere copy), so that only this way goes through memory. A place in memory common to both results costs
    // the plain way a failed store-to-load forwarding: 12 ns a frame instead of 4.
    let Layout {
        ethertype,
        vlan_tags,
        network,
        transport,
        fragment,
        protocol,
        network_offset,
        transport_offset,
        payload_offset,
        packet_end,
    } = general(bytes, u16::from_be_bytes([high, low]));
    Ok(Layout {
        ethertype,
        vlan_tags,
        network,
        transport,
        fragment,
        protocol,
        network_offset: network_offset.max(14),
        transport_offset,
        payload_offset,
        packet_end,
    })
}

/// The layout of the most frequent frames, or `None` for [`general`] to find it: untagged, whole IPv4
/// without options, TCP or UDP. All offsets but the payload's are constants then, which takes a third of the
/// time, and the code is short enough to be inlined into the caller's loop.
#[inline]
fn plain(bytes: &[u8]) -> Option<Layout> {
    let header: &[u8; 42] = bytes.first_chunk()?;
    let packet_end = usize::from(u16::from_be_bytes([header[16], header[17]])) + 14;
    let is_plain = header[12..15] == [8, 0, 0x45] && [header[20] & 0x3f, header[21]] == [0, 0];
    if !is_plain || packet_end > bytes.len() {
        return None;
    }
    let protocol = header[23];
    let (transport, payload_offset) = match protocol {
        ip_protocol::UDP => {
            let length = usize::from(u16::from_be_bytes([header[38], header[39]]));
            if length < 8 || 34 + length > packet_end {
                return None;
            }
            (Transport::Udp, 42)
        }
        ip_protocol::TCP => {
            let header_bytes = u16::from(*bytes.get(46)? >> 4) * 4;
            if header_bytes < 20 || 34 + usize::from(header_bytes) > packet_end {
                return None;
            }
            (Transport::Tcp, 34 + header_bytes)
        }
        _ => return None,
    };
    Some(Layout {
        network: Network::Ipv4,
        transport,
        protocol,
        transport_offset: 34,
        payload_offset,
        packet_end: u32::try_from(packet_end).ok()?,
        ..Layout::opaque(ethertype::IPV4)
    })
}

/// What is known once the link header is read.
#[derive(Clone, Copy)]
struct Link {
    ethertype: u16,
    vlan_tags: u8,
    network_offset: u8,
}

impl Link {
    /// The layout of a frame without IP.
    #[inline]
    const fn layout(self, network: Network) -> Layout {
        let Self { ethertype, vlan_tags, network_offset } = self;
        Layout { vlan_tags, network, network_offset, ..Layout::opaque(ethertype) }
    }

    const fn is_tag(self) -> bool {
        matches!(self.ethertype, ethertype::VLAN | ethertype::SERVICE_VLAN)
    }
}

/// `N` bytes at `offset`, behind one bounds check.
#[inline]
fn chunk<const N: usize>(bytes: &[u8], offset: usize) -> Option<&[u8; N]> {
    bytes.get(offset..)?.first_chunk()
}

/// The layout of any frame that has a link header with this EtherType: up to two tags (IEEE 802.1Q-2018
/// §9.6), then the network layer.
#[inline(never)]
fn general(bytes: &[u8], ethertype: u16) -> Layout {
    let mut link = Link { ethertype, vlan_tags: 0, network_offset: 14 };
    while link.is_tag() && link.vlan_tags < 2 {
        let Some(&[_, _, high, low]) = chunk(bytes, usize::from(link.network_offset)) else {
            return link.layout(Network::Malformed);
        };
        link.ethertype = u16::from_be_bytes([high, low]);
        link.vlan_tags += 1;
        link.network_offset += 4;
    }
    let layout = match link.ethertype {
        ethertype::IPV6 => ipv6(bytes, link),
        ethertype::ARP => arp(bytes, link),
        ethertype::IPV4 => ipv4(bytes, link),
        _ => Some(link.layout(Network::Opaque)),
    };
    layout.unwrap_or(link.layout(Network::Malformed))
}

/// ARP for Ethernet and IPv4: 28 bytes with the four constants of RFC 826 in place.
fn arp(bytes: &[u8], link: Link) -> Option<Layout> {
    let packet: &[u8; 28] = chunk(bytes, usize::from(link.network_offset))?;
    (packet[..6] == [0, 1, 8, 0, 6, 4]).then_some(link.layout(Network::Arp))
}

/// IPv4 (RFC 791 §3.1). The total length is 0 on a packet that is too long for the field: so Linux writes
/// it on a TCP super-frame above 65 535 bytes, and on none else.
#[inline]
fn ipv4(bytes: &[u8], link: Link) -> Option<Layout> {
    let start = usize::from(link.network_offset);
    let header: &[u8; 20] = chunk(bytes, start)?;
    let header_bytes = u16::from(header[0] & 0x0f) * 4;
    let total_bytes = u16::from_be_bytes([header[2], header[3]]);
    let available = bytes.len() - start;
    let packet_bytes = if total_bytes == 0 && available > usize::from(u16::MAX) {
        u32::try_from(available).ok()?
    } else if total_bytes < header_bytes || usize::from(total_bytes) > available {
        return None;
    } else {
        u32::from(total_bytes)
    };
    if header[0] >> 4 != 4 || header_bytes < 20 {
        return None;
    }
    let fragment_word = u16::from_be_bytes([header[6], header[7]]);
    let fragment = match (fragment_word & 0x3fff, fragment_word & 0x1fff) {
        (0, _) => Fragment::Whole,
        (_, 0) => Fragment::First,
        _ => Fragment::Later,
    };
    let protocol = header[9];
    let transport_offset = u16::from(link.network_offset) + header_bytes;
    let packet_end = u32::from(link.network_offset) + packet_bytes;
    let payload = bytes.get(usize::from(transport_offset)..usize::try_from(packet_end).ok()?)?;
    let found = transport(payload, protocol, fragment, ip_protocol::ICMP);
    let (transport, payload_offset) = found.behind(transport_offset);
    let network = Network::Ipv4;
    let Link { ethertype, vlan_tags, network_offset } = link;
    Some(Layout {
        ethertype,
        vlan_tags,
        network,
        transport,
        fragment,
        protocol,
        network_offset,
        transport_offset,
        payload_offset,
        packet_end,
    })
}

/// IPv6 and its chain of extension headers (RFC 8200 §4).
fn ipv6(bytes: &[u8], link: Link) -> Option<Layout> {
    let header: &[u8; 40] = chunk(bytes, usize::from(link.network_offset))?;
    let payload_bytes = u16::from_be_bytes([header[4], header[5]]);
    let packet_end = u32::from(link.network_offset) + 40 + u32::from(payload_bytes);
    if header[0] >> 4 != 6 {
        return None;
    }
    let packet = bytes.get(..usize::try_from(packet_end).ok()?)?;
    let chain = Chain::walk(packet, u16::from(link.network_offset) + 40, header[6])?;
    let fragment = chain.fragment.unwrap_or(Fragment::Whole);
    let payload = packet.get(usize::from(chain.offset)..)?;
    let found = transport(payload, chain.next_header, fragment, ip_protocol::ICMPV6);
    let (transport, payload_offset) = found.behind(chain.offset);
    Some(Layout {
        transport,
        fragment,
        protocol: chain.next_header,
        transport_offset: chain.offset,
        payload_offset,
        packet_end,
        ..link.layout(Network::Ipv6)
    })
}

/// Where a chain of extension headers ends.
struct Chain {
    offset: u16,
    next_header: u8,
    /// What the fragment header said, if there was one.
    fragment: Option<Fragment>,
}

impl Chain {
    /// Follows the chain that begins at `offset` with a header of type `next_header`, up to the first header
    /// that is none of an extension, or to the fragment header of a later fragment. `None` if a header that
    /// is read leaves `packet`, the chain exceeds the bounds, has a Hop-by-Hop header elsewhere than in first
    /// place (RFC 8200 §4.1), or two fragment headers.
    #[inline]
    fn walk(packet: &[u8], offset: u16, next_header: u8) -> Option<Self> {
        let first = offset;
        let mut chain = Self { offset, next_header, fragment: None };
        for _ in 0..=EXTENSION_HEADERS_MAX {
            let header_bytes = match chain.next_header {
                ip_protocol::HOP_BY_HOP if chain.offset != first => return None,
                ip_protocol::HOP_BY_HOP | ip_protocol::ROUTING | ip_protocol::DESTINATION_OPTIONS => {
                    let &[next_header, units] = chunk(packet, usize::from(chain.offset))?;
                    chain.next_header = next_header;
                    (u16::from(units) + 1) * 8
                }
                ip_protocol::AUTHENTICATION => {
                    let &[next_header, units] = chunk(packet, usize::from(chain.offset))?;
                    if units == 0 {
                        return None; // RFC 4302 §2: at least 12 bytes.
                    }
                    chain.next_header = next_header;
                    (u16::from(units) + 2) * 4
                }
                ip_protocol::FRAGMENT => {
                    chain.fragment_header(packet)?;
                    8
                }
                _ => return Some(chain),
            };
            chain.offset += header_bytes;
            if chain.offset - first > EXTENSION_BYTES_MAX {
                return None;
            }
            if chain.fragment == Some(Fragment::Later) {
                return Some(chain);
            }
        }
        None
    }

    /// Reads the fragment header (RFC 8200 §4.5) at the chain's offset. One that cuts nothing off is no
    /// fragmentation (RFC 6946).
    fn fragment_header(&mut self, packet: &[u8]) -> Option<()> {
        let &[next_header, _, high, low, _, _, _, _] = chunk(packet, usize::from(self.offset))?;
        if self.fragment.is_some() {
            return None;
        }
        let word = u16::from_be_bytes([high, low]);
        self.fragment = Some(match (word & 0xfff8, word & 1) {
            (0, 0) => Fragment::Whole,
            (0, _) => Fragment::First,
            _ => Fragment::Later,
        });
        self.next_header = next_header;
        Some(())
    }
}

/// A transport header and its length.
#[derive(Clone, Copy)]
struct Found(Transport, u16);

impl Found {
    /// The transport and its payload's offset, if the header is at `offset`.
    #[inline]
    const fn behind(self, offset: u16) -> (Transport, u16) {
        match self.0 {
            Transport::Absent | Transport::Malformed => (self.0, 0),
            transport => (transport, offset + self.1),
        }
    }
}

/// The transport header at the start of `payload`, the rest of the packet. `icmp` is the number of the
/// control protocol that belongs to this version of IP.
#[inline]
fn transport(payload: &[u8], protocol: u8, fragment: Fragment, icmp: u8) -> Found {
    if matches!(fragment, Fragment::Later) {
        return Found(Transport::Absent, 0);
    }
    let (transport, header_bytes) = match protocol {
        ip_protocol::UDP => (Transport::Udp, udp_header_bytes(payload, fragment)),
        ip_protocol::TCP => (Transport::Tcp, tcp_header_bytes(payload)),
        ip_protocol::SCTP => (Transport::Sctp, (payload.len() >= 12).then_some(12)),
        ip_protocol::ICMP if icmp == protocol => (Transport::Icmp, (payload.len() >= 8).then_some(8)),
        ip_protocol::ICMPV6 if icmp == protocol => (Transport::Icmpv6, (payload.len() >= 8).then_some(8)),
        _ => (Transport::Opaque, Some(0)),
    };
    header_bytes.map_or(Found(Transport::Malformed, 0), |header_bytes| Found(transport, header_bytes))
}

/// RFC 768: the length covers the header and lies within the packet, of which a first fragment has but the
/// beginning.
#[inline]
fn udp_header_bytes(payload: &[u8], fragment: Fragment) -> Option<u16> {
    let &[_, _, _, _, high, low, _, _] = payload.first_chunk()?;
    let length = usize::from(u16::from_be_bytes([high, low]));
    (length >= 8 && (length <= payload.len() || matches!(fragment, Fragment::First))).then_some(8)
}

/// RFC 9293 §3.1: the data offset is at least 5 words, all of them there (RFC 7112 §5 demands it of first
/// fragments, too).
#[inline]
fn tcp_header_bytes(payload: &[u8]) -> Option<u16> {
    let header: &[u8; 20] = payload.first_chunk()?;
    let header_bytes = u16::from(header[12] >> 4) * 4;
    (header_bytes >= 20 && usize::from(header_bytes) <= payload.len()).then_some(header_bytes)
}

#[cfg(test)]
mod tests;
