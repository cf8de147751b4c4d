//! May this packet be forwarded?
//!
//! What RFC 1812 §5.2.2 and §5.3 ask of a router before it looks for a route, for IPv4 and IPv6 alike. Judged are
//! packets that came to the gateway's MAC (or to a group) and are for somebody else: what is for an address of
//! the gateway's own, for the host or link-local has left this way before.
//!
//! | seen | answer |
//! |---|---|
//! | version, lengths, checksum wrong | discarded in silence (RFC 1812 §5.2.2) |
//! | malformed IPv4 options | parameter problem (§4.3.3.5) |
//! | source route, routing header of type 0 | discarded in silence (RFC 7126 §4.3, RFC 5095 §4.2), as Linux |
//! | a packet for one in a frame for many | discarded in silence (§5.3.4) |
//! | martian source or destination | discarded in silence (§5.3.7); of a link-local IPv6 source "beyond scope" is said (RFC 4443 §3.1) |
//! | multicast, limited and directed broadcast | discarded in silence (§5.3.5, RFC 2644) |
//! | TTL or hop limit 0 or 1 | time exceeded (§5.3.1, RFC 8200 §3) |
//!
//! The transport header does not matter here: a packet with a malformed one is its receiver's business.
//! Hop-by-hop options are passed on unread (RFC 8200 §4.3), as are IPv4's other options: this router records no
//! route and no time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::Ipv4Net;
use packet::protocol::ip_protocol;
use packet::{DropReason, Layout, Network, ipv4, ipv6};

use crate::icmp_error::Problem;

/// What the packet alone says about being forwarded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Validity {
    /// It may be; a route decides. (Or, if it is for the gateway: it may be looked at.)
    Forwardable,
    /// To be discarded in silence.
    Discard(DropReason),
    /// To be discarded, and the sender is owed an error, if
    /// [`Offending::report`](crate::icmp_error::Offending::report) finds that it may be told.
    Refuse(DropReason, Problem),
}

/// Which addresses can be a host's here.
///
/// The default forwards to and from 240.0.0.0/4, as Linux does, and knows no connected network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddressRules {
    forwards_reserved: bool,
    broadcasts: Vec<Ipv4Addr>,
}

impl Default for AddressRules {
    fn default() -> Self {
        Self::new(true, [])
    }
}

impl AddressRules {
    /// Rules for a router that `connected` networks are on, and which treats 240.0.0.0/4 (RFC 1112 §4) as any
    /// other unicast address if `forwards_reserved`.
    ///
    /// The networks are few: each costs a comparison a packet. Those of 31 and 32 bits have no broadcast address
    /// (RFC 3021 §2.1).
    #[must_use]
    pub fn new(forwards_reserved: bool, connected: impl IntoIterator<Item = Ipv4Net>) -> Self {
        let with_broadcast = connected.into_iter().filter(|network| network.prefix_len() < 31);
        Self { forwards_reserved, broadcasts: with_broadcast.map(|network| network.broadcast()).collect() }
    }

    /// True for an address that can be one host's, on this link or elsewhere: not unspecified, loopback,
    /// multicast, broadcast or reserved.
    #[must_use]
    #[inline]
    pub fn is_host(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => self.is_v4_host(v4),
            IpAddr::V6(v6) => is_v6_host(v6),
        }
    }

    #[inline]
    fn is_v4_host(&self, address: Ipv4Addr) -> bool {
        let [first, ..] = address.octets();
        let is_unicast = match first {
            0 | 127 | 224..=239 => false,
            240..=255 => self.forwards_reserved && !address.is_broadcast(),
            _ => true,
        };
        is_unicast && !self.is_directed_broadcast(address)
    }

    /// True for the broadcast address of a connected network.
    #[must_use]
    #[inline]
    pub fn is_directed_broadcast(&self, address: Ipv4Addr) -> bool {
        self.broadcasts.contains(&address)
    }

    /// Judges the packet in the frame `bytes`, whose layout is `layout`.
    #[must_use]
    #[inline]
    pub fn validate(&self, bytes: &[u8], layout: &Layout) -> Validity {
        let network = bytes.get(usize::from(layout.network_offset)..).unwrap_or_default();
        let judged = match layout.network {
            Network::Ipv4 => self.validate_ipv4(bytes, network),
            Network::Ipv6 => validate_ipv6(bytes, layout, network),
            Network::Malformed => Err(Validity::Discard(DropReason::BadIpHeader)),
            Network::Opaque | Network::Arp => Err(Validity::Discard(DropReason::NotForGateway)),
        };
        judged.err().unwrap_or(Validity::Forwardable)
    }

    #[inline]
    fn validate_ipv4(&self, bytes: &[u8], network: &[u8]) -> Result<(), Validity> {
        let header = ipv4::Header::new(network).ok_or(Validity::Discard(DropReason::BadIpHeader))?;
        check(header.checksum_is_valid(), DropReason::BadIpChecksum)?;
        let (source, destination) = (header.source(), header.destination());
        let is_broadcast =
            self.broadcasts.iter().any(|address| *address == source || *address == destination);
        let is_ordinary = is_ordinary_v4(source) && is_ordinary_v4(destination) && !is_broadcast;
        if is_ordinary && !is_for_many(bytes) && header.options().is_empty() && header.ttl() > 1 {
            return Ok(());
        }
        self.look_closely_at_ipv4(bytes, &header)
    }

    /// Each rule for itself, for the reason.
    #[cold]
    fn look_closely_at_ipv4(&self, bytes: &[u8], header: &ipv4::Header<'_>) -> Result<(), Validity> {
        let (source, destination) = (header.source(), header.destination());
        check(!is_for_many(bytes) || destination.is_multicast(), DropReason::LinkBroadcast)?;
        let may_cross = |address: Ipv4Addr| self.is_v4_host(address) && !address.is_link_local();
        check(may_cross(source), DropReason::MartianSource)?;
        check(!destination.is_multicast(), DropReason::MulticastNotRouted)?;
        check(!self.is_directed_broadcast(destination), DropReason::DirectedBroadcast)?;
        check(may_cross(destination), DropReason::MartianDestination)?;
        // Behind the addresses, for this may have to be told, and that only to a host about a host.
        check_ipv4_options(header.options())?;
        check_hop_limit(header.ttl())
    }
}

/// Judges a packet for the gateway itself, as far as its IP header goes: checksum, options, source route.
#[must_use]
pub fn validate_for_gateway(bytes: &[u8], layout: &Layout) -> Validity {
    let network = bytes.get(usize::from(layout.network_offset)..).unwrap_or_default();
    let judged = match layout.network {
        Network::Ipv4 => match ipv4::Header::new(network) {
            Some(header) => check(header.checksum_is_valid(), DropReason::BadIpChecksum)
                .and_then(|()| check_ipv4_options(header.options())),
            None => Err(Validity::Discard(DropReason::BadIpHeader)),
        },
        Network::Ipv6 => check(!has_routing_header_0(bytes, layout), DropReason::SourceRoute),
        Network::Malformed => Err(Validity::Discard(DropReason::BadIpHeader)),
        Network::Opaque | Network::Arp => Err(Validity::Discard(DropReason::NotForGateway)),
    };
    judged.err().unwrap_or(Validity::Forwardable)
}

#[inline]
fn validate_ipv6(bytes: &[u8], layout: &Layout, network: &[u8]) -> Result<(), Validity> {
    let header = ipv6::Header::new(network).ok_or(Validity::Discard(DropReason::BadIpHeader))?;
    let is_ordinary = is_ordinary_v6(header.source()) && is_ordinary_v6(header.destination());
    let bare = usize::from(layout.network_offset) + ipv6::HEADER_BYTES;
    let is_bare = usize::from(layout.transport_offset) == bare;
    if is_ordinary && !is_for_many(bytes) && is_bare && header.hop_limit() > 1 {
        return Ok(());
    }
    look_closely_at_ipv6(bytes, layout, &header)
}

/// Each rule for itself, for the reason.
#[cold]
fn look_closely_at_ipv6(bytes: &[u8], layout: &Layout, header: &ipv6::Header<'_>) -> Result<(), Validity> {
    check(!has_routing_header_0(bytes, layout), DropReason::SourceRoute)?;
    let (source, destination) = (header.source(), header.destination());
    check(!is_for_many(bytes) || destination.is_multicast(), DropReason::LinkBroadcast)?;
    check(is_v6_host(source), DropReason::MartianSource)?;
    check(!destination.is_multicast(), DropReason::MulticastNotRouted)?;
    let is_host = is_v6_host(destination) && !destination.is_unicast_link_local();
    check(is_host, DropReason::MartianDestination)?;
    if source.is_unicast_link_local() {
        return Err(Validity::Refuse(DropReason::MartianSource, Problem::BeyondScope));
    }
    check_hop_limit(header.hop_limit())
}

/// True for most addresses of hosts that a router forwards to and from, by the first octet alone: none of 0/8, 127/8,
/// 169.254/16 (and the rest of 169/8), multicast and class E.
#[inline]
fn is_ordinary_v4(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    (first.wrapping_sub(1) < 223) & (first != 127) & (first != 169)
}

/// The same for global unicast (2000::/3) and unique local (fc00::/7) addresses.
#[inline]
fn is_ordinary_v6(address: Ipv6Addr) -> bool {
    let [first, ..] = address.octets();
    (first >> 5 == 1) | (first >> 1 == 0x7e)
}

/// True for an address that means something on its own link only (RFC 3927, RFC 4291 §2.5.6).
#[must_use]
pub fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

fn is_v6_host(address: Ipv6Addr) -> bool {
    // RFC 4291 §2.5.5.2: a mapped address is one of a program's interface, never of a packet.
    let is_mapped = address.to_ipv4_mapped().is_some();
    !(address.is_unspecified() || address.is_loopback() || address.is_multicast() || is_mapped)
}

/// True if the frame is addressed to a group.
#[inline]
pub(crate) fn is_for_many(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| first & 1 != 0)
}

#[inline]
const fn check(holds: bool, reason: DropReason) -> Result<(), Validity> {
    if holds { Ok(()) } else { Err(Validity::Discard(reason)) }
}

#[inline]
const fn check_hop_limit(hop_limit: u8) -> Result<(), Validity> {
    if hop_limit > 1 {
        return Ok(());
    }
    Err(Validity::Refuse(DropReason::TtlExpired, Problem::HopLimitExceeded))
}

fn check_ipv4_options(options: &[u8]) -> Result<(), Validity> {
    for option in ipv4::Options::new(options) {
        match option {
            Ok(option) => check(
                !matches!(
                    option.kind(),
                    ipv4::Ipv4Option::LOOSE_SOURCE_ROUTE | ipv4::Ipv4Option::STRICT_SOURCE_ROUTE
                ),
                DropReason::SourceRoute,
            )?,
            Err(offset) => {
                let pointer = u8::try_from(ipv4::HEADER_BYTES + offset).unwrap_or(u8::MAX);
                return Err(Validity::Refuse(DropReason::BadIpOptions, Problem::Parameter { pointer }));
            }
        }
    }
    Ok(())
}

/// The type is all that counts (RFC 5095 §4.2): other routing headers pass.
fn has_routing_header_0(bytes: &[u8], layout: &Layout) -> bool {
    let mut extensions = ipv6::Extensions::new(bytes, layout);
    extensions.any(|header| header.kind == ip_protocol::ROUTING && header.bytes.get(2) == Some(&0))
}

#[cfg(test)]
mod tests;
