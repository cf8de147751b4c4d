//! Edits of addresses, ports and hop limit that cannot forget a checksum (RFC 1624), offloads included.
//!
//! Where the transport's checksum is [partial](ChecksumOffload::Partial), its field holds the sum of the
//! pseudo-header: an address changes it, a port does not, for the port is summed when the checksum is
//! completed.

use std::net::IpAddr;

use crate::checksum::{self, Change};
use crate::protocol::ip_protocol;
use crate::{ChecksumOffload, Layout, Network, Transport, ipv6};

/// A frame with an IP packet, under edit.
#[derive(Debug)]
pub struct Editor<'a> {
    bytes: &'a mut [u8],
    layout: Layout,
    checksum: ChecksumOffload,
}

/// Lowers TTL or hop limit of the packet in the frame `bytes`, whose layout is `layout`, by one and returns what is
/// left. `None`, and no change, if it is 0 or 1 already: the packet must not be forwarded (RFC 1812 §5.3.1, RFC 8200
/// §3). Whatever is behind the IP header does not matter.
#[must_use]
#[inline]
pub fn decrement_hop_limit_and_checksum(bytes: &mut [u8], layout: &Layout) -> Option<u8> {
    let header = bytes.get_mut(usize::from(layout.network_offset)..)?;
    let hop_limit = match layout.network {
        Network::Ipv4 => {
            let header: &mut [u8; 20] = header.first_chunk_mut()?;
            let left = header[8].checked_sub(1).filter(|left| *left > 0)?;
            let old = u16::from_be_bytes([header[8], header[9]]);
            let checksum = u16::from_be_bytes([header[10], header[11]]);
            let checksum = Change::NONE.word(old, old - 0x100).applied_to(checksum);
            header[10..12].copy_from_slice(&checksum.to_be_bytes());
            header[8] = left;
            left
        }
        Network::Ipv6 => {
            let left = header.get(7)?.checked_sub(1).filter(|left| *left > 0)?;
            *header.get_mut(7)? = left;
            left
        }
        Network::Opaque | Network::Arp | Network::Malformed => return None,
    };
    Some(hop_limit)
}

/// Which end of a flow an edit is about.
#[derive(Clone, Copy)]
enum End {
    Source,
    Destination,
}

impl<'a> Editor<'a> {
    /// An editor of the frame `bytes`, whose layout and checksum state are `layout` and `checksum`.
    ///
    /// `None` if the frame carries no IP packet, or one whose checksum cannot be kept: a malformed transport,
    /// one with a pseudo-header that is not known here (UDP-Lite, DCCP), or an IPv6 Routing header with
    /// segments left (the pseudo-header has another destination then, RFC 8200 §8.1).
    #[must_use]
    pub fn new(bytes: &'a mut [u8], layout: &Layout, checksum: ChecksumOffload) -> Option<Self> {
        let headers_end = usize::from(layout.transport_offset.max(layout.payload_offset));
        let is_known = match layout.transport {
            Transport::Malformed => false,
            Transport::Opaque => !matches!(layout.protocol, 33 | 136),
            _ => true,
        };
        let is_editable = layout.is_ip()
            && is_known
            && headers_end <= bytes.len()
            && !(layout.network == Network::Ipv6 && is_source_routed(bytes, layout));
        is_editable.then_some(Self { bytes, layout: *layout, checksum })
    }

    /// Replaces the source address. `None`, and no change, if `address` is of the other family.
    #[must_use]
    pub fn set_source_and_checksums(&mut self, address: IpAddr) -> Option<()> {
        self.set_address(End::Source, address)
    }

    /// Replaces the destination address. `None`, and no change, if `address` is of the other family.
    #[must_use]
    pub fn set_destination_and_checksums(&mut self, address: IpAddr) -> Option<()> {
        self.set_address(End::Destination, address)
    }

    /// Replaces the source port of TCP or UDP. `None`, and no change, for other transports and later
    /// fragments.
    #[must_use]
    pub fn set_source_port_and_checksum(&mut self, port: u16) -> Option<()> {
        matches!(self.layout.transport, Transport::Tcp | Transport::Udp).then_some(())?;
        self.set_transport_word(0, port)
    }

    /// Replaces the destination port of TCP or UDP. `None`, and no change, for other transports and later
    /// fragments.
    #[must_use]
    pub fn set_destination_port_and_checksum(&mut self, port: u16) -> Option<()> {
        matches!(self.layout.transport, Transport::Tcp | Transport::Udp).then_some(())?;
        self.set_transport_word(2, port)
    }

    /// Replaces the identifier of an ICMP or ICMPv6 query. `None`, and no change, for anything else.
    #[must_use]
    pub fn set_identifier_and_checksum(&mut self, identifier: u16) -> Option<()> {
        let message = self.bytes.get(usize::from(self.layout.transport_offset)..)?;
        match self.layout.transport {
            Transport::Icmp => crate::icmp::Message::new(message)?.identifier()?,
            Transport::Icmpv6 => crate::icmpv6::Message::new(message)?.identifier()?,
            _ => return None,
        };
        self.set_transport_word(4, identifier)
    }

    /// See [`decrement_hop_limit_and_checksum`].
    #[must_use]
    pub fn decrement_hop_limit_and_checksum(&mut self) -> Option<u8> {
        decrement_hop_limit_and_checksum(self.bytes, &self.layout)
    }

    fn set_address(&mut self, end: End, address: IpAddr) -> Option<()> {
        let start = usize::from(self.layout.network_offset);
        let change = match (self.layout.network, address) {
            (Network::Ipv4, IpAddr::V4(address)) => {
                let at = start + if matches!(end, End::Source) { 12 } else { 16 };
                let change = self.replace(at, &address.octets())?;
                self.apply(start + 10, |checksum| change.applied_to(checksum))?;
                change
            }
            (Network::Ipv6, IpAddr::V6(address)) => {
                let at = start + if matches!(end, End::Source) { 8 } else { 24 };
                self.replace(at, &address.octets())?
            }
            _ => return None,
        };
        if self.layout.transport == Transport::Icmp {
            return Some(()); // No pseudo-header (RFC 792).
        }
        self.update_transport_checksum(change, true)
    }

    fn set_transport_word(&mut self, offset: usize, value: u16) -> Option<()> {
        let at = usize::from(self.layout.transport_offset) + offset;
        let change = self.replace(at, &value.to_be_bytes())?;
        self.update_transport_checksum(change, false)
    }

    /// Brings a change to the transport's checksum, if this frame has it.
    fn update_transport_checksum(&mut self, change: Change, of_pseudo_header: bool) -> Option<()> {
        let Some((start, offset)) = checksum::place(&self.layout) else {
            return Some(());
        };
        let at = usize::from(start) + usize::from(offset);
        if self.checksum == (ChecksumOffload::Partial { start, offset }) {
            if of_pseudo_header {
                self.apply(at, |sum| change.applied_to_partial(sum))?;
            }
        } else if self.layout.transport == Transport::Udp {
            self.apply(at, |checksum| change.applied_to_udp(checksum))?;
        } else {
            self.apply(at, |checksum| change.applied_to(checksum))?;
        }
        Some(())
    }

    fn word(&self, at: usize) -> Option<u16> {
        self.bytes.get(at..)?.first_chunk().map(|word| u16::from_be_bytes(*word))
    }

    fn apply(&mut self, at: usize, update: impl FnOnce(u16) -> u16) -> Option<()> {
        let updated = update(self.word(at)?);
        self.bytes.get_mut(at..at + 2)?.copy_from_slice(&updated.to_be_bytes());
        Some(())
    }

    fn replace(&mut self, at: usize, new: &[u8]) -> Option<Change> {
        let place = self.bytes.get_mut(at..at + new.len())?;
        let change = Change::NONE.words(place, new);
        place.copy_from_slice(new);
        Some(change)
    }
}

/// Whether the extension headers before the transport hold a Routing header with segments left.
fn is_source_routed(bytes: &[u8], layout: &Layout) -> bool {
    let mut extensions = ipv6::Extensions::new(bytes, layout);
    extensions.any(|header| {
        header.kind == ip_protocol::ROUTING
            && header.bytes.get(3).is_none_or(|segments_left| *segments_left > 0)
    })
}
