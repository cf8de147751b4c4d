//! ICMP and ICMPv6 errors: the whole frame that tells a sender why its packet went no further.
//!
//! **When none is sent.** Never about an error or a redirect, about a fragment but the first, about a packet that
//! came in a frame for many or is for many, or one whose source is not one host (RFC 1812 §4.3.2.7, RFC 4443
//! §2.4 e). The two exceptions of RFC 4443 for multicast are not used: multicast is not routed here. An ICMP
//! message of unknown type is taken for an error. That IPv6 fragments but the first are kept silent about is
//! stricter than RFC 4443: whether they belong to an error cannot be seen. Rate limits are the caller's, by
//! [`RateLimiter`](crate::rate_limit::RateLimiter).
//!
//! **What is quoted.** The packet as it would have been on a wire, from its IP header on, as far as the error
//! stays within 576 bytes for IPv4 (RFC 1812 §4.3.2.3) and 1280 for IPv6 (RFC 4443 §2.4 c). Of a super-frame that
//! is its first segment, with that segment's lengths, flags and checksums; a checksum that was left to complete
//! is completed in the quotation. Padding is not quoted. The frame itself stays as it is.
//!
//! **Where it goes.** Back to the MAC that the packet came from, with its VLAN tags. The source is the gateway's
//! address on the port that the packet came in by. IPv4 errors carry precedence 6 and the packet's type of service
//! (RFC 1812 §4.3.2.5), and are atomic (DF, identification 0: RFC 6864 §4.1), so that no counter can be read from
//! outside.

use std::net::IpAddr;

use packet::checksum::{self, Change, Sum};
use packet::protocol::ip_protocol;
use packet::{
    ChecksumOffload, Fragment, Layout, MacAddress, Network, Offload, SegmentationKind, Transport, icmp,
    icmpv6, ipv4, ipv6, tcp, udp,
};

use crate::validate::{AddressRules, is_for_many};

/// Longest packet of an IPv4 error, in bytes.
pub const IPV4_ERROR_BYTES_MAX: usize = 576;

/// Longest packet of an IPv6 error, in bytes.
pub const IPV6_ERROR_BYTES_MAX: usize = 1280;

/// Longest frame of an error, in bytes: an IPv6 packet behind a link header with two VLAN tags.
pub const ERROR_FRAME_BYTES_MAX: usize = IPV6_ERROR_BYTES_MAX + 22;

/// TTL and hop limit of what the gateway sends.
pub(crate) const HOP_LIMIT: u8 = 64;

/// What an error tells.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Problem {
    /// TTL or hop limit exceeded in transit: 11/0, ICMPv6 3/0.
    HopLimitExceeded,
    /// No route: 3/0, ICMPv6 1/0.
    NetUnreachable,
    /// The neighbor does not answer: 3/1, ICMPv6 1/3.
    HostUnreachable,
    /// Communication administratively prohibited: 3/13, ICMPv6 1/1.
    Prohibited,
    /// Fragmentation needed and DF set, with the next hop's MTU (RFC 1191 §4): 3/4. Packet Too Big (RFC 4443
    /// §3.2): ICMPv6 2/0.
    TooBig {
        /// MTU of the way on, in bytes of the packet. IPv4 can say at most 65 535.
        mtu_bytes: u32,
    },
    /// The byte of the header at `pointer` is wrong: 12/0, ICMPv6 4/0.
    Parameter {
        /// From the start of the IP header, in bytes.
        pointer: u8,
    },
    /// The source address is not valid beyond its link: ICMPv6 1/2; IPv4 has no such code and says 3/1.
    BeyondScope,
}

impl Problem {
    /// Type, code and the word behind the checksum.
    const fn ipv4(self) -> (u8, u8, u32) {
        match self {
            Self::HopLimitExceeded => (icmp::TIME_EXCEEDED, 0, 0),
            Self::NetUnreachable => (icmp::UNREACHABLE, 0, 0),
            Self::HostUnreachable | Self::BeyondScope => (icmp::UNREACHABLE, 1, 0),
            Self::Prohibited => (icmp::UNREACHABLE, 13, 0),
            Self::TooBig { mtu_bytes } => {
                (icmp::UNREACHABLE, 4, if mtu_bytes > 0xffff { 0xffff } else { mtu_bytes })
            }
            Self::Parameter { pointer } => (icmp::PARAMETER_PROBLEM, 0, (pointer as u32) << 24),
        }
    }

    const fn ipv6(self) -> (u8, u8, u32) {
        match self {
            Self::HopLimitExceeded => (icmpv6::TIME_EXCEEDED, 0, 0),
            Self::NetUnreachable => (icmpv6::UNREACHABLE, 0, 0),
            Self::Prohibited => (icmpv6::UNREACHABLE, 1, 0),
            Self::BeyondScope => (icmpv6::UNREACHABLE, 2, 0),
            Self::HostUnreachable => (icmpv6::UNREACHABLE, 3, 0),
            Self::TooBig { mtu_bytes } => (icmpv6::PACKET_TOO_BIG, 0, mtu_bytes),
            Self::Parameter { pointer } => (icmpv6::PARAMETER_PROBLEM, 0, pointer as u32),
        }
    }
}

/// Why no error is sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Silence {
    /// The frame carries no IP packet with sound headers.
    NotIp,
    /// The packet is itself an error or a redirect, or cannot be told from one.
    AboutError,
    /// A fragment but the first.
    LaterFragment,
    /// The frame or the packet is for many.
    ForMany,
    /// The source is not one host, or it is ourselves.
    NoSender,
    /// The gateway has no address of the packet's family on the port.
    NoAddress,
    /// The memory given is too short.
    NoRoom,
}

/// Who sends an error: the gateway, as the port knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Origin {
    /// Its MAC.
    pub mac: MacAddress,
    /// Its address, of the packet's family.
    pub address: IpAddr,
}

/// A packet that does not get on. Its offload metadata have passed [`packet::validate_offload`].
#[derive(Clone, Copy, Debug)]
pub struct Offending<'a> {
    /// The frame.
    pub bytes: &'a [u8],
    /// Its layout.
    pub layout: &'a Layout,
    /// What its sender left to do.
    pub offload: Offload,
}

impl<'a> Offending<'a> {
    /// Whether the sender may be told.
    ///
    /// # Errors
    /// The reason why not.
    pub fn may_be_reported(&self, rules: &AddressRules) -> Result<(), Silence> {
        let (source, destination) = self.ends().ok_or(Silence::NotIp)?;
        if self.layout.fragment == Fragment::Later {
            return Err(Silence::LaterFragment);
        }
        let to_many = match destination {
            IpAddr::V4(v4) => v4.is_multicast() || v4.is_broadcast() || rules.is_directed_broadcast(v4),
            IpAddr::V6(v6) => v6.is_multicast(),
        };
        if to_many || is_for_many(self.bytes) {
            return Err(Silence::ForMany);
        }
        if !rules.is_host(source) || matches!(source, IpAddr::V4(v4) if v4.is_link_local()) {
            return Err(Silence::NoSender);
        }
        if self.is_error() { Err(Silence::AboutError) } else { Ok(()) }
    }

    /// Writes the error about `problem` to the start of `out` and returns its length;
    /// [`ERROR_FRAME_BYTES_MAX`] bytes are always enough.
    ///
    /// # Errors
    /// The reason why none is sent; `out` is then as it was.
    pub fn report(
        &self,
        problem: Problem,
        origin: Origin,
        rules: &AddressRules,
        out: &mut [u8],
    ) -> Result<usize, Silence> {
        self.may_be_reported(rules)?;
        let (source, _) = self.ends().ok_or(Silence::NotIp)?;
        if source == origin.address {
            return Err(Silence::NoSender);
        }
        let wire = Wire::of(self);
        let start = usize::from(self.layout.network_offset);
        let (ip_bytes, bytes_max) = match (source, origin.address) {
            (IpAddr::V4(_), IpAddr::V4(_)) => (ipv4::HEADER_BYTES, IPV4_ERROR_BYTES_MAX),
            (IpAddr::V6(_), IpAddr::V6(_)) => (ipv6::HEADER_BYTES, IPV6_ERROR_BYTES_MAX),
            _ => return Err(Silence::NoAddress),
        };
        let quoted_end = wire.end.min(start + bytes_max - ip_bytes - icmp::HEADER_BYTES);
        let quoted = self.bytes.get(start..quoted_end).ok_or(Silence::NotIp)?;
        let message_at = start + ip_bytes;
        let frame = out.get_mut(..message_at + icmp::HEADER_BYTES + quoted.len()).ok_or(Silence::NoRoom)?;
        let link = self.bytes.get(..start).ok_or(Silence::NotIp)?;
        let sender = MacAddress::read(link, 6).ok_or(Silence::NotIp)?;
        frame[..start].copy_from_slice(link);
        frame[..6].copy_from_slice(&sender.0);
        frame[6..12].copy_from_slice(&origin.mac.0);
        let (packet, message) = frame[start..].split_at_mut(ip_bytes);
        message[icmp::HEADER_BYTES..].copy_from_slice(quoted);
        wire.correct(start, &mut message[icmp::HEADER_BYTES..]);
        finish(packet, message, problem, origin.address, source).ok_or(Silence::NoRoom)?;
        Ok(frame.len())
    }

    /// Source and destination of the packet: the former is whom an error goes to.
    #[must_use]
    pub fn ends(&self) -> Option<(IpAddr, IpAddr)> {
        let network = self.bytes.get(usize::from(self.layout.network_offset)..)?;
        match self.layout.network {
            Network::Ipv4 => {
                ipv4::Header::new(network).map(|header| (header.source().into(), header.destination().into()))
            }
            Network::Ipv6 => {
                ipv6::Header::new(network).map(|header| (header.source().into(), header.destination().into()))
            }
            Network::Opaque | Network::Arp | Network::Malformed => None,
        }
    }

    fn is_error(&self) -> bool {
        let own_control = match self.layout.network {
            Network::Ipv4 => ip_protocol::ICMP,
            _ => ip_protocol::ICMPV6,
        };
        if self.layout.protocol != own_control {
            return false;
        }
        let message = self.bytes.get(usize::from(self.layout.transport_offset)..).unwrap_or_default();
        match self.layout.transport {
            Transport::Icmp => icmp::Message::new(message).is_none_or(|message| !message.is_query()),
            Transport::Icmpv6 => icmpv6::Message::new(message).is_none_or(|message| {
                message.kind() < icmpv6::FIRST_INFORMATIONAL || message.kind() == icmpv6::REDIRECT
            }),
            _ => true,
        }
    }
}

/// Writes the IP header and the header of the message, the quotation of which is in place.
fn finish(packet: &mut [u8], message: &mut [u8], problem: Problem, from: IpAddr, to: IpAddr) -> Option<()> {
    let message_bytes = u16::try_from(message.len()).ok()?;
    let (kind, code, word) = match from {
        IpAddr::V4(_) => problem.ipv4(),
        IpAddr::V6(_) => problem.ipv6(),
    };
    message[..4].copy_from_slice(&[kind, code, 0, 0]);
    message[4..8].copy_from_slice(&word.to_be_bytes());
    let pseudo = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let provoking_tos = message.get(icmp::HEADER_BYTES + 1).copied().unwrap_or(0);
            packet.copy_from_slice(&ipv4_header(from, to, message_bytes, provoking_tos)?);
            Sum::ZERO
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            packet[..4].copy_from_slice(&[0x60, 0, 0, 0]);
            packet[4..6].copy_from_slice(&message_bytes.to_be_bytes());
            packet[6..8].copy_from_slice(&[ip_protocol::ICMPV6, HOP_LIMIT]);
            packet[8..24].copy_from_slice(&from.octets());
            packet[24..40].copy_from_slice(&to.octets());
            checksum::pseudo_header(from.into(), to.into(), ip_protocol::ICMPV6, message_bytes.into())
        }
        _ => return None,
    };
    let checksum = pseudo.with(message).checksum();
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    Some(())
}

/// Precedence 6 (RFC 1812 §4.3.2.5).
const PRECEDENCE: u8 = 0xc0;

/// The bits of the type of service that an error has from the packet that provoked it: all but its precedence, and
/// what has become of the rest, the two of congestion notification (RFC 3168).
const TOS_BITS: u8 = 0x1c;

/// The header of an error of `message_bytes` bytes.
fn ipv4_header(
    from: std::net::Ipv4Addr,
    to: std::net::Ipv4Addr,
    message_bytes: u16,
    provoking_tos: u8,
) -> Option<[u8; ipv4::HEADER_BYTES]> {
    let mut header = [0; ipv4::HEADER_BYTES];
    let total_bytes = message_bytes.checked_add(20)?;
    header[..2].copy_from_slice(&[0x45, PRECEDENCE | provoking_tos & TOS_BITS]);
    header[2..4].copy_from_slice(&total_bytes.to_be_bytes());
    header[6..10].copy_from_slice(&[0x40, 0, HOP_LIMIT, ip_protocol::ICMP]);
    header[12..16].copy_from_slice(&from.octets());
    header[16..].copy_from_slice(&to.octets());
    let checksum = checksum::of(&header);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    Some(header)
}

mod wire;

use wire::Wire;

#[cfg(test)]
mod tests;
