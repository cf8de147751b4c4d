//! ICMP for IPv6 (RFC 4443) and neighbor discovery (RFC 4861).

use std::net::{IpAddr, Ipv6Addr};

use crate::protocol::{ethertype, ip_protocol};
use crate::{MacAddress, checksum, ethernet, ipv6};

/// Bytes of the header that all messages share with their first data word.
pub const HEADER_BYTES: usize = 8;

/// Types below this one are errors (RFC 4443 §2.1).
pub const FIRST_INFORMATIONAL: u8 = 128;
/// Destination unreachable.
pub const UNREACHABLE: u8 = 1;
/// Packet too big.
pub const PACKET_TOO_BIG: u8 = 2;
/// Time exceeded.
pub const TIME_EXCEEDED: u8 = 3;
/// Parameter problem.
pub const PARAMETER_PROBLEM: u8 = 4;
/// Echo request.
pub const ECHO_REQUEST: u8 = 128;
/// Echo reply.
pub const ECHO_REPLY: u8 = 129;
/// Router solicitation (RFC 4861 §4.1).
pub const ROUTER_SOLICITATION: u8 = 133;
/// Router advertisement (RFC 4861 §4.2).
pub const ROUTER_ADVERTISEMENT: u8 = 134;
/// Neighbor solicitation (RFC 4861 §4.3).
pub const NEIGHBOR_SOLICITATION: u8 = 135;
/// Neighbor advertisement (RFC 4861 §4.4).
pub const NEIGHBOR_ADVERTISEMENT: u8 = 136;
/// Redirect (RFC 4861 §4.5).
pub const REDIRECT: u8 = 137;

/// Bytes of the frame that [`unsolicited_neighbor_advertisement`] and [`neighbor_solicitation`] build.
pub const ADVERTISEMENT_FRAME_BYTES: usize = ethernet::HEADER_BYTES + DISCOVERY_PACKET_BYTES;

/// Bytes of the IPv6 packet that [`neighbor_advertisement`] builds.
pub const DISCOVERY_PACKET_BYTES: usize = 72;

/// A message, seen in place.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    header: &'a [u8; HEADER_BYTES],
    body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The message `bytes`, all of the packet's payload, or `None` if its header is not all there.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        bytes.split_first_chunk().map(|(header, body)| Self { header, body })
    }

    /// Type.
    #[must_use]
    pub fn kind(&self) -> u8 {
        self.header[0]
    }

    /// Code, which refines the type.
    #[must_use]
    pub fn code(&self) -> u8 {
        self.header[1]
    }

    /// Checksum.
    #[must_use]
    pub fn checksum(&self) -> u16 {
        u16::from_be_bytes([self.header[2], self.header[3]])
    }

    /// The identifier of an echo, by which its reply finds back.
    #[must_use]
    pub fn identifier(&self) -> Option<u16> {
        matches!(self.kind(), ECHO_REQUEST | ECHO_REPLY)
            .then_some(u16::from_be_bytes([self.header[4], self.header[5]]))
    }

    /// The beginning of the packet that an error is about; `None` in other messages.
    #[must_use]
    pub fn quoted(&self) -> Option<&'a [u8]> {
        (self.kind() < FIRST_INFORMATIONAL).then_some(self.body)
    }

    /// The neighbor solicitation or advertisement that this is; `None` if it is another message or its
    /// target is not all there.
    #[must_use]
    pub fn neighbor(&self) -> Option<Neighbor<'a>> {
        if !matches!(self.kind(), NEIGHBOR_SOLICITATION | NEIGHBOR_ADVERTISEMENT) {
            return None;
        }
        let (target, options) = self.body.split_first_chunk()?;
        Some(Neighbor { header: self.header, target, options })
    }

    /// The options of a message of neighbor discovery; `None` if it is another message or cut short.
    #[must_use]
    pub fn options(&self) -> Option<Options<'a>> {
        let fixed_bytes = match self.kind() {
            ROUTER_SOLICITATION => 0,
            ROUTER_ADVERTISEMENT => 8,
            NEIGHBOR_SOLICITATION | NEIGHBOR_ADVERTISEMENT => 16,
            REDIRECT => 32,
            _ => return None,
        };
        self.body.get(fixed_bytes..).map(Options)
    }
}

/// A neighbor solicitation or advertisement, seen in place.
#[derive(Clone, Copy, Debug)]
pub struct Neighbor<'a> {
    header: &'a [u8; HEADER_BYTES],
    target: &'a [u8; 16],
    options: &'a [u8],
}

impl<'a> Neighbor<'a> {
    /// True for an advertisement.
    #[must_use]
    pub fn is_advertisement(&self) -> bool {
        self.header[0] == NEIGHBOR_ADVERTISEMENT
    }

    /// An advertisement's sender is a router.
    #[must_use]
    pub fn is_router(&self) -> bool {
        self.header[4] & 0x80 != 0
    }

    /// An advertisement replies to a solicitation.
    #[must_use]
    pub fn is_solicited(&self) -> bool {
        self.header[4] & 0x40 != 0
    }

    /// An advertisement is to override what is cached.
    #[must_use]
    pub fn overrides(&self) -> bool {
        self.header[4] & 0x20 != 0
    }

    /// The address that is asked for or advertised.
    #[must_use]
    pub fn target(&self) -> Ipv6Addr {
        (*self.target).into()
    }

    /// The options.
    #[must_use]
    pub fn options(&self) -> Options<'a> {
        Options(self.options)
    }
}

/// An option of neighbor discovery (RFC 4861 §4.6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NdOption<'a> {
    /// The sender's MAC address (type 1).
    SourceLinkLayer(MacAddress),
    /// The target's MAC address (type 2).
    TargetLinkLayer(MacAddress),
    /// Another option: its type and what follows its length.
    Other(u8, &'a [u8]),
    /// An option of length 0, one that is cut short, or a MAC address of another length than Ethernet's; nothing
    /// behind it can be read, and a receiver must discard the message (RFC 4861 §7.1).
    Malformed,
}

/// The options of a message, in order. Ends behind [`NdOption::Malformed`].
#[derive(Clone, Copy, Debug)]
pub struct Options<'a>(&'a [u8]);

impl<'a> Iterator for Options<'a> {
    type Item = NdOption<'a>;

    fn next(&mut self) -> Option<NdOption<'a>> {
        if self.0.is_empty() {
            return None;
        }
        let bytes = std::mem::take(&mut self.0);
        let Some(&[kind, units]) = bytes.first_chunk() else {
            return Some(NdOption::Malformed);
        };
        let Some((option, rest)) = bytes.split_at_checked(usize::from(units) * 8) else {
            return Some(NdOption::Malformed);
        };
        let Some(body) = option.get(2..) else {
            return Some(NdOption::Malformed);
        };
        // RFC 2464 §6: that of Ethernet is 1.
        if matches!(kind, 1 | 2) && units != 1 {
            return Some(NdOption::Malformed);
        }
        self.0 = rest;
        Some(match (kind, MacAddress::read(body, 0)) {
            (1, Some(mac)) => NdOption::SourceLinkLayer(mac),
            (2, Some(mac)) => NdOption::TargetLinkLayer(mac),
            _ => NdOption::Other(kind, body),
        })
    }
}

/// An advertisement to all nodes that `address` is at `mac`, overriding what they cached (RFC 4861 §7.2.6).
/// `is_router` is what the sender is: its neighbors drop it as a router when an advertisement says no.
#[must_use]
pub fn unsolicited_neighbor_advertisement(
    mac: MacAddress,
    address: Ipv6Addr,
    is_router: bool,
) -> [u8; ADVERTISEMENT_FRAME_BYTES] {
    let mut frame = [0; ADVERTISEMENT_FRAME_BYTES];
    let group = ipv6::ALL_NODES;
    frame[..14].copy_from_slice(&ethernet::header(ipv6::group_mac(group), mac, ethertype::IPV6));
    let flags = if is_router { 0xa0 } else { 0x20 };
    let packet = Discovery { kind: NEIGHBOR_ADVERTISEMENT, flags, source: address, destination: group, mac };
    frame[14..].copy_from_slice(&packet.build(address));
    frame
}

/// The flags of an advertisement that answers a solicitation (RFC 4861 §4.4): the sender is a router, this
/// is an answer, it overrides what is cached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AdvertisementFlags {
    /// The sender is a router.
    pub router: bool,
    /// It answers a solicitation; never set in a message to all nodes (RFC 4861 §7.2.4).
    pub solicited: bool,
    /// It replaces what the receiver cached.
    pub overrides: bool,
}

/// The IPv6 packet of an advertisement that the address `source` is at `mac`, for `destination`
/// (RFC 4861 §4.4, §7.2.4).
#[must_use]
pub fn neighbor_advertisement(
    mac: MacAddress,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    flags: AdvertisementFlags,
) -> [u8; DISCOVERY_PACKET_BYTES] {
    let flags = u8::from(flags.router) << 7 | u8::from(flags.solicited) << 6 | u8::from(flags.overrides) << 5;
    Discovery { kind: NEIGHBOR_ADVERTISEMENT, flags, source, destination, mac }.build(source)
}

/// A solicitation for `target` (RFC 4861 §4.3, §7.2.2): to its solicited-node group, or to the neighbor
/// alone that was at the MAC `probed`, to see whether it still is.
#[must_use]
pub fn neighbor_solicitation(
    mac: MacAddress,
    source: Ipv6Addr,
    target: Ipv6Addr,
    probed: Option<MacAddress>,
) -> [u8; ADVERTISEMENT_FRAME_BYTES] {
    let mut frame = [0; ADVERTISEMENT_FRAME_BYTES];
    let destination = if probed.is_some() { target } else { ipv6::solicited_node(target) };
    let to = probed.unwrap_or(ipv6::group_mac(destination));
    frame[..14].copy_from_slice(&ethernet::header(to, mac, ethertype::IPV6));
    let packet = Discovery { kind: NEIGHBOR_SOLICITATION, flags: 0, source, destination, mac };
    frame[14..].copy_from_slice(&packet.build(target));
    frame
}

/// A solicitation or advertisement with the sender's MAC as its only option.
struct Discovery {
    kind: u8,
    flags: u8,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    mac: MacAddress,
}

impl Discovery {
    fn build(&self, target: Ipv6Addr) -> [u8; DISCOVERY_PACKET_BYTES] {
        let mut packet = [0; DISCOVERY_PACKET_BYTES];
        packet[..8].copy_from_slice(&[0x60, 0, 0, 0, 0, 32, ip_protocol::ICMPV6, 255]);
        packet[8..24].copy_from_slice(&self.source.octets());
        packet[24..40].copy_from_slice(&self.destination.octets());
        packet[40] = self.kind;
        packet[44] = self.flags;
        packet[48..64].copy_from_slice(&target.octets());
        // Source link-layer address in a solicitation, target link-layer address in an advertisement.
        packet[64..66].copy_from_slice(&[if self.kind == NEIGHBOR_SOLICITATION { 1 } else { 2 }, 1]);
        packet[66..].copy_from_slice(&self.mac.0);
        let (source, destination) = (IpAddr::V6(self.source), IpAddr::V6(self.destination));
        let pseudo = checksum::pseudo_header(source, destination, ip_protocol::ICMPV6, 32);
        let checksum = pseudo.with(&packet[40..]).checksum();
        packet[42..44].copy_from_slice(&checksum.to_be_bytes());
        packet
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Transport, parse};

    const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);

    #[test]
    fn an_advertisement_tells_all_nodes_and_is_sound() {
        let address: Ipv6Addr = "fd00:10:244::1".parse().unwrap();
        let frame = unsolicited_neighbor_advertisement(MAC, address, true);
        let layout = parse(&frame).unwrap();
        assert_eq!(layout.transport, Transport::Icmpv6);
        assert_eq!(checksum::transport_is_valid(&frame, &layout), Some(true));
        let message = Message::new(&frame[usize::from(layout.transport_offset)..]).unwrap();
        let neighbor = message.neighbor().unwrap();
        assert!(neighbor.is_advertisement() && neighbor.is_router() && neighbor.overrides());
        assert!(!neighbor.is_solicited());
        assert_eq!(neighbor.target(), address);
        assert_eq!(neighbor.options().collect::<Vec<_>>(), [NdOption::TargetLinkLayer(MAC)]);
    }

    #[test]
    fn a_solicitation_goes_to_the_group_or_to_the_one_that_is_probed() {
        let [source, target]: [Ipv6Addr; 2] = ["fe80::1", "fd00::12:3456"].map(|text| text.parse().unwrap());
        for (probed, to) in [
            (None, MacAddress([0x33, 0x33, 0xff, 0x12, 0x34, 0x56])),
            (Some(MacAddress([6; 6])), MacAddress([6; 6])),
        ] {
            let frame = neighbor_solicitation(MAC, source, target, probed);
            let layout = parse(&frame).unwrap();
            assert_eq!(ethernet::Header::new(&frame).unwrap().destination(), to);
            let header = ipv6::Header::new(&frame[14..]).unwrap();
            assert_eq!((header.source(), header.hop_limit()), (source, 255));
            let group = ipv6::solicited_node(target);
            assert_eq!(header.destination(), if probed.is_some() { target } else { group });
            assert_eq!(checksum::transport_is_valid(&frame, &layout), Some(true));
            let message = Message::new(&frame[54..]).unwrap();
            let neighbor = message.neighbor().unwrap();
            assert!(!neighbor.is_advertisement());
            assert_eq!(neighbor.target(), target);
            assert_eq!(neighbor.options().collect::<Vec<_>>(), [NdOption::SourceLinkLayer(MAC)]);
        }
    }

    #[test]
    fn an_option_of_length_zero_ends_the_options_as_malformed() {
        let options = [1, 1, 2, 0, 0, 0, 0, 1, 5, 1, 0, 0, 0, 0, 5, 220, 9, 0, 0, 0, 0, 0, 0, 0];
        let read: Vec<_> = Options(&options).collect();
        assert_eq!(read[0], NdOption::SourceLinkLayer(MAC));
        assert_eq!(read[1], NdOption::Other(5, &[0, 0, 0, 0, 5, 220]));
        assert_eq!(read[2..], [NdOption::Malformed]);
        assert_eq!(Options(&options[..15]).last(), Some(NdOption::Malformed));
        assert_eq!(Options(&options[..1]).last(), Some(NdOption::Malformed));
    }

    #[test]
    fn a_link_layer_address_is_as_long_as_that_of_ethernet() {
        for kind in [1, 2] {
            let options = [kind, 2, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
            assert_eq!(Options(&options).collect::<Vec<_>>(), [NdOption::Malformed]);
        }
    }

    #[test]
    fn each_message_of_neighbor_discovery_has_its_options_behind_its_fixed_part() {
        for (kind, fixed_bytes) in [(133, 8), (134, 16), (135, 24), (136, 24), (137, 40)] {
            let mut bytes = vec![0; fixed_bytes];
            bytes[0] = kind;
            bytes.extend([1, 1, 2, 0, 0, 0, 0, 1]);
            let options = Message::new(&bytes).unwrap().options().unwrap();
            assert_eq!(options.collect::<Vec<_>>(), [NdOption::SourceLinkLayer(MAC)], "{kind}");
            assert!(Message::new(&bytes[..fixed_bytes]).unwrap().options().unwrap().next().is_none());
        }
    }
}
