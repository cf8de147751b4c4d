//! Port security: who may say what on a port.
//!
//! A bound port speaks with its own MAC and its own addresses only, in every layer in which it could pretend
//! to be another: as the sender of an ARP packet, as the target of a neighbor advertisement, as a router, as
//! a DHCP server. What cannot be checked because its headers are malformed, or hidden where a receiver but
//! not we would find them, is dropped as [`DropReason::Unverifiable`]. VLAN tags make no difference.
//!
//! Where several reasons apply, the one that says most is given: a false router advertisement is one, even
//! though its source address is false too.
//!
//! **What is not looked at:** tunnels (IP in IP, GRE), because a receiver without such a tunnel drops them,
//! and a receiver with one is to check its own.

use packet::icmpv6::{self, NdOption};
use packet::protocol::{ethertype, ip_protocol};
use packet::{DropReason, Fragment, Layout, MacAddress, Network, Transport, arp, dhcp, ipv4, ipv6};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IGMP (RFC 3376), of which a host without an address may send reports (§4.2.13).
const IGMP: u8 = 2;
/// Multicast listener report and done of version 1 (RFC 2710 §3.1), report of version 2 (RFC 3810 §5.2).
const LISTENER_MESSAGES: [u8; 3] = [131, 132, 143];

/// The MAC and the addresses that a port is bound to.
///
/// Without any address, only the MAC is bound: which IP addresses the port uses is free, but it is still no
/// router and no DHCP server, and answers for no other MAC.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Binding {
    /// The only source MAC.
    pub mac: MacAddress,
    /// The only source IP addresses, but for IPv6 link-local ones: the one made from the MAC (EUI-64) is
    /// always allowed, and as long as none is listed here, any is, for a guest may make its own (RFC 7217).
    /// To forbid that, list the EUI-64 one.
    pub addresses: Vec<IpAddr>,
}

impl Binding {
    /// Judges one frame that came in by the port.
    ///
    /// # Errors
    /// The reason for which the frame is to be dropped, of the stage
    /// [`PortSecurity`](packet::Stage::PortSecurity).
    #[inline]
    pub fn check(&self, bytes: &[u8], layout: &Layout) -> Result<(), DropReason> {
        if MacAddress::read(bytes, 6) != Some(self.mac) {
            return Err(DropReason::SpoofedSource);
        }
        let network = bytes.get(usize::from(layout.network_offset)..).unwrap_or_default();
        match layout.network {
            Network::Ipv4 => self.check_ipv4(bytes, layout, network),
            Network::Ipv6 => self.check_ipv6(bytes, layout, network),
            Network::Arp => self.check_arp(network),
            Network::Opaque if hides_network(layout, network) => Err(DropReason::Unverifiable),
            Network::Opaque => Ok(()),
            Network::Malformed => Err(DropReason::Unverifiable),
        }
    }

    /// True if the port may use and answer for `address`.
    fn owns(&self, address: IpAddr) -> bool {
        self.addresses.is_empty() || self.addresses.contains(&address) || self.owns_link_local(address)
    }

    fn owns_link_local(&self, address: IpAddr) -> bool {
        let is_link_local =
            |address: &IpAddr| matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
        is_link_local(&address)
            && (address == IpAddr::V6(eui64_link_local(self.mac))
                || !self.addresses.iter().any(is_link_local))
    }

    /// RFC 826; a probe (RFC 5227 §2.1.1) claims no sender address, but its target.
    fn check_arp(&self, network: &[u8]) -> Result<(), DropReason> {
        let packet = arp::Packet::new(network).ok_or(DropReason::Unverifiable)?;
        let claimed = if packet.is_probe() { packet.target_address() } else { packet.sender_address() };
        if packet.sender_mac() == self.mac && self.owns(claimed.into()) {
            Ok(())
        } else {
            Err(DropReason::SpoofedArp)
        }
    }

    fn check_ipv4(&self, bytes: &[u8], layout: &Layout, network: &[u8]) -> Result<(), DropReason> {
        let source = ipv4::Header::new(network).ok_or(DropReason::Unverifiable)?.source();
        let dhcp = check_transport(bytes, layout)?;
        // A client has no address yet (RFC 2131 §4.1).
        let may_lack_address = layout.protocol == IGMP || dhcp == Some(dhcp::Sender::Client);
        if self.owns(source.into()) || source == Ipv4Addr::UNSPECIFIED && may_lack_address {
            Ok(())
        } else {
            Err(DropReason::SpoofedAddress)
        }
    }

    fn check_ipv6(&self, bytes: &[u8], layout: &Layout, network: &[u8]) -> Result<(), DropReason> {
        let source = ipv6::Header::new(network).ok_or(DropReason::Unverifiable)?.source();
        check_transport(bytes, layout)?;
        let may_lack_address = match layout.transport {
            Transport::Icmpv6 => self.check_icmpv6(bytes, layout, source)?,
            _ => false,
        };
        if source == Ipv6Addr::UNSPECIFIED && may_lack_address || self.owns(source.into()) {
            Ok(())
        } else {
            Err(DropReason::SpoofedAddress)
        }
    }

    /// Returns true if the message may come from the unspecified address.
    fn check_icmpv6(&self, bytes: &[u8], layout: &Layout, source: Ipv6Addr) -> Result<bool, DropReason> {
        let end = usize::try_from(layout.packet_end).unwrap_or(usize::MAX);
        let message = bytes.get(usize::from(layout.transport_offset)..end).and_then(icmpv6::Message::new);
        let message = message.ok_or(DropReason::Unverifiable)?;
        let kind = message.kind();
        if !(icmpv6::ROUTER_SOLICITATION..=icmpv6::REDIRECT).contains(&kind) {
            return Ok(LISTENER_MESSAGES.contains(&kind));
        }
        // RFC 6980 §5: neighbor discovery is never fragmented, and receivers ignore it if it is.
        if layout.fragment != Fragment::Whole {
            return Err(DropReason::Unverifiable);
        }
        if matches!(kind, icmpv6::ROUTER_ADVERTISEMENT | icmpv6::REDIRECT) {
            return Err(DropReason::RouterAdvertisement);
        }
        for option in message.options().ok_or(DropReason::Unverifiable)? {
            match option {
                NdOption::SourceLinkLayer(mac) | NdOption::TargetLinkLayer(mac) if mac != self.mac => {
                    return Err(DropReason::SpoofedNd);
                }
                NdOption::Malformed => return Err(DropReason::Unverifiable),
                _ => {}
            }
        }
        // An advertisement claims its target, and so does a solicitation without a source: duplicate address
        // detection (RFC 4862 §5.4.2).
        let claims = |advertises| advertises || source == Ipv6Addr::UNSPECIFIED;
        match message.neighbor() {
            Some(nd) if claims(nd.is_advertisement()) && !self.owns(nd.target().into()) => {
                Err(DropReason::SpoofedNd)
            }
            Some(nd) => Ok(!nd.is_advertisement()),
            None => Ok(true),
        }
    }
}

/// Drops what hides its transport header or answers as a DHCP server; tells who else speaks DHCP.
///
/// A first fragment must hold the transport header (RFC 7112 §5, RFC 3128 for IPv4); of later ones nothing is
/// to be known, for they are nothing without the first. A malformed TCP header hides nothing of interest.
fn check_transport(bytes: &[u8], layout: &Layout) -> Result<Option<dhcp::Sender>, DropReason> {
    let is_checked = matches!(layout.protocol, ip_protocol::UDP | ip_protocol::ICMPV6);
    match (layout.transport, layout.fragment) {
        (Transport::Udp, _) => match dhcp::sender(bytes, layout) {
            Some(dhcp::Sender::Server) => Err(DropReason::DhcpServer),
            client => Ok(client),
        },
        (Transport::Malformed | Transport::Absent, Fragment::First) => Err(DropReason::Unverifiable),
        (Transport::Malformed, _) if is_checked => Err(DropReason::Unverifiable),
        _ => Ok(None),
    }
}

/// True if a frame that was not looked into may be IP or ARP to some receiver: behind a third VLAN tag, or
/// in LLC/SNAP (RFC 1042), by which filters have been passed (CERT VU#855201).
fn hides_network(layout: &Layout, network: &[u8]) -> bool {
    let is_tag = matches!(layout.ethertype, ethertype::VLAN | ethertype::SERVICE_VLAN);
    let is_snap =
        layout.ethertype < ethertype::FIRST && matches!(network, [0xaa, 0xaa, 0x03, 0, 0, 0 | 0xf8, ..]);
    is_tag || is_snap
}

/// The link-local address that hosts make from their MAC (RFC 4291 appendix A).
fn eui64_link_local(mac: MacAddress) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}
