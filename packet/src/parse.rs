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
    let mut layout = Layout::opaque(u16::from_be_bytes([high, low]));
    if matches!(layout.ethertype, ethertype::VLAN | ethertype::SERVICE_VLAN) && !skip_tags(bytes, &mut layout)
    {
        layout.network = Network::Malformed;
        return Ok(layout);
    }
    let recognized = match layout.ethertype {
        ethertype::IPV4 => ipv4(bytes, &mut layout),
        ethertype::IPV6 => ipv6(bytes, &mut layout),
        ethertype::ARP => arp(bytes, &mut layout),
        _ => Some(()),
    };
    if recognized.is_none() {
        layout.network = Network::Malformed;
    }
    Ok(layout)
}

/// `N` bytes at `offset`, behind one bounds check.
#[inline]
fn chunk<const N: usize>(bytes: &[u8], offset: usize) -> Option<&[u8; N]> {
    bytes.get(offset..)?.first_chunk()
}

/// Moves on behind up to two tags (IEEE 802.1Q-2018 §9.6). False if the frame ends inside a tag.
fn skip_tags(bytes: &[u8], layout: &mut Layout) -> bool {
    while layout.vlan_tags < 2 && matches!(layout.ethertype, ethertype::VLAN | ethertype::SERVICE_VLAN) {
        let Some(&[_, _, high, low]) = chunk(bytes, usize::from(layout.network_offset)) else {
            return false;
        };
        layout.ethertype = u16::from_be_bytes([high, low]);
        layout.vlan_tags += 1;
        layout.network_offset += 4;
    }
    true
}

/// ARP for Ethernet and IPv4: 28 bytes with the four constants of RFC 826 in place.
fn arp(bytes: &[u8], layout: &mut Layout) -> Option<()> {
    let packet: &[u8; 28] = chunk(bytes, usize::from(layout.network_offset))?;
    if packet[..6] != [0, 1, 8, 0, 6, 4] {
        return None;
    }
    layout.network = Network::Arp;
    Some(())
}

/// IPv4 (RFC 791 §3.1). The total length is 0 on a packet that is too long for the field: so Linux writes
/// it on a TCP super-frame above 65 535 bytes, and on none else.
#[inline]
fn ipv4(bytes: &[u8], layout: &mut Layout) -> Option<()> {
    let start = usize::from(layout.network_offset);
    let header: &[u8; 20] = chunk(bytes, start)?;
    let header_bytes = u16::from(header[0] & 0x0f) * 4;
    let total_bytes = u16::from_be_bytes([header[2], header[3]]);
    let available = bytes.len() - start;
    let packet_end = if total_bytes == 0 && available > usize::from(u16::MAX) {
        u32::try_from(bytes.len()).ok()?
    } else if total_bytes < header_bytes || usize::from(total_bytes) > available {
        return None;
    } else {
        u32::from(layout.network_offset) + u32::from(total_bytes)
    };
    if header[0] >> 4 != 4 || header_bytes < 20 {
        return None;
    }
    let fragment_word = u16::from_be_bytes([header[6], header[7]]);
    let fragment = if fragment_word & 0x3fff == 0 {
        Fragment::Whole
    } else if fragment_word & 0x1fff == 0 {
        Fragment::First
    } else {
        Fragment::Later
    };
    layout.network = Network::Ipv4;
    layout.fragment = fragment;
    layout.protocol = header[9];
    layout.transport_offset = u16::from(layout.network_offset) + header_bytes;
    layout.packet_end = packet_end;
    if !matches!(fragment, Fragment::Later) {
        transport(bytes, layout, ip_protocol::ICMP, Transport::Icmp);
    }
    Some(())
}

/// IPv6 and its chain of extension headers (RFC 8200 §4).
fn ipv6(bytes: &[u8], layout: &mut Layout) -> Option<()> {
    let start = usize::from(layout.network_offset);
    let header: &[u8; 40] = chunk(bytes, start)?;
    let payload_bytes = u16::from_be_bytes([header[4], header[5]]);
    let packet_end = u32::from(layout.network_offset) + 40 + u32::from(payload_bytes);
    if header[0] >> 4 != 6 {
        return None;
    }
    let packet = bytes.get(..usize::try_from(packet_end).ok()?)?;
    let chain = Chain::walk(packet, u16::from(layout.network_offset) + 40, header[6])?;
    layout.network = Network::Ipv6;
    layout.fragment = chain.fragment.unwrap_or(Fragment::Whole);
    layout.protocol = chain.next_header;
    layout.transport_offset = chain.offset;
    layout.packet_end = packet_end;
    if !matches!(layout.fragment, Fragment::Later) {
        transport(bytes, layout, ip_protocol::ICMPV6, Transport::Icmpv6);
    }
    Some(())
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
    /// that is none of an extension, or to the fragment header of a later fragment. `None` if the chain
    /// leaves `packet`, exceeds the bounds, has a Hop-by-Hop header elsewhere than in first place (RFC 8200
    /// §4.1), or two fragment headers.
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
            if usize::from(chain.offset) > packet.len() || chain.offset - first > EXTENSION_BYTES_MAX {
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

/// Finds the end of the transport header of a whole packet or first fragment. `icmp` is the number of the
/// control protocol that belongs to this version of IP.
#[inline]
fn transport(bytes: &[u8], layout: &mut Layout, icmp: u8, icmp_transport: Transport) {
    let start = usize::from(layout.transport_offset);
    let end = usize::try_from(layout.packet_end).unwrap_or(bytes.len());
    let payload = bytes.get(start..end).unwrap_or_default();
    let (transport, header_bytes) = match layout.protocol {
        ip_protocol::UDP => (Transport::Udp, udp_header_bytes(payload, layout.fragment)),
        ip_protocol::TCP => (Transport::Tcp, tcp_header_bytes(payload)),
        ip_protocol::SCTP => (Transport::Sctp, (payload.len() >= 12).then_some(12)),
        protocol if protocol == icmp => (icmp_transport, (payload.len() >= 8).then_some(8)),
        _ => (Transport::Opaque, Some(0)),
    };
    match header_bytes {
        Some(header_bytes) => {
            layout.transport = transport;
            layout.payload_offset = layout.transport_offset + header_bytes;
        }
        None => layout.transport = Transport::Malformed,
    }
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
