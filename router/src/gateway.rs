//! What the gateway answers itself: ARP, neighbor solicitations, echo requests.
//!
//! It answers for the addresses that it owns *on the port* a frame came in by, and for nothing else (Linux answers
//! for any address of the host on any device). The answer is made in the frame that asked, which then goes out of
//! the port that it came in by; how often is the caller's, by [`RateLimiter`](crate::rate_limit::RateLimiter)
//! with [`Limits::ANSWERS`](crate::rate_limit::Limits::ANSWERS), before it asks here.
//!
//! - **ARP** (RFC 826): a reply to the asker alone. Probes are answered, too (RFC 5227 §2.1.1).
//! - **Neighbor discovery** (RFC 4861 §7.2.3, §7.2.4): an advertisement with the flags router, solicited and
//!   override; to all nodes, and without the solicited flag, where the asker has no address yet.
//! - **Echo** (RFC 1812 §4.3.3.6, RFC 4443 §4.2): whole requests with a right checksum from one host to one of our
//!   unicast addresses. IPv4 options are left out of the reply; requests in fragments or behind IPv6 extension
//!   headers are not answered.
//!
//! Another's claim to an address of ours is a [conflict](Answer::Conflict). What the gateway hears of its
//! neighbors is handed on for the neighbor table.

use std::net::{IpAddr, Ipv6Addr};

use packet::icmpv6::AdvertisementFlags;
use packet::{DropReason, Frame, Layout, MacAddress, Offload, arp, icmpv6, ipv6};

use crate::neighbor::{Message, read_message};
use crate::validate::{AddressRules, is_link_local};

mod echo;

/// What an Ethernet frame carries at least: those of 60 bytes.
const ETHERNET_PAYLOAD_BYTES_MIN: usize = packet::ethernet::FRAME_BYTES_MIN - packet::ethernet::HEADER_BYTES;

/// A gateway defends an address at most once in this time (RFC 5227 §2.4 c).
pub const DEFEND_INTERVAL_MS: u64 = 10_000;

/// What became of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The frame now is the answer, to be sent by the port that it came in by. The message that was answered, if
    /// any, is to be told to the neighbor table.
    Reply(Option<Message>),
    /// An advertisement by a neighbor, to be told to the neighbor table; nothing is answered. A bridge forwards it
    /// all the same if it is for others, too.
    Heard(Message),
    /// Somebody else claims this address of the gateway's. It is to be defended by an announcement
    /// ([`packet::arp::gratuitous`], [`icmpv6::unsolicited_neighbor_advertisement`]), at most once in
    /// [`DEFEND_INTERVAL_MS`]; nothing is to be learned from the frame.
    Conflict(IpAddr),
    /// Nothing that the gateway answers; the frame is as it was.
    NotAsked,
    /// To be discarded; the frame is as it was.
    Discard(DropReason),
}

/// The gateway, as one port knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gateway {
    /// Its MAC.
    pub mac: MacAddress,
    /// The addresses that it owns on the port, few; IPv6 link-local ones included.
    pub addresses: Vec<IpAddr>,
}

impl Gateway {
    /// True if the gateway owns `address` on the port.
    #[must_use]
    #[inline]
    pub fn owns(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address)
    }

    /// The address that errors about a packet of `peer`'s come from (RFC 1812 §4.3.2.4): the first owned one of
    /// the same family, one that is valid beyond the link where the peer's is. `None` if there is none.
    #[must_use]
    pub fn address_toward(&self, peer: IpAddr) -> Option<IpAddr> {
        let same_family = || self.addresses.iter().copied().filter(|own| own.is_ipv4() == peer.is_ipv4());
        let wants_local = is_link_local(peer);
        same_family().find(|own| is_link_local(*own) == wants_local).or_else(|| same_family().next())
    }

    /// Answers `frame`, whose layout is `layout`, if it asks the gateway. Its offload metadata have passed
    /// [`packet::validate_offload`].
    #[must_use]
    pub fn answer(&self, frame: &mut Frame, layout: &Layout, rules: &AddressRules) -> Answer {
        match read_message(frame.bytes(), layout, frame.offload.checksum) {
            Ok(Some(message)) => self.answer_message(frame, layout, message),
            Ok(None) => self.answer_echo(frame, layout, rules),
            Err(reason) => Answer::Discard(reason),
        }
    }

    fn answer_message(&self, frame: &mut Frame, layout: &Layout, message: Message) -> Answer {
        let link_destination = MacAddress::read(frame.bytes(), 0).unwrap_or_default();
        let is_for_us = link_destination == self.mac || link_destination.is_group();
        match message {
            // Ours, or the host's, which shares the MAC: nothing to answer, nothing to learn.
            Message::Solicitation { mac: Some(mac), .. } | Message::Advertisement { mac: Some(mac), .. }
                if mac == self.mac =>
            {
                Answer::NotAsked
            }
            Message::Advertisement { target, .. } if self.owns(target) => Answer::Conflict(target),
            Message::Solicitation { asker, .. } if self.owns(asker) => Answer::Conflict(asker),
            Message::Advertisement { .. } => Answer::Heard(message),
            Message::Solicitation { target, asker, mac } if self.owns(target) && is_for_us => {
                let link_source = MacAddress::read(frame.bytes(), 6).unwrap_or_default();
                let asker_mac = mac.unwrap_or(link_source);
                let done = match (target, asker) {
                    (IpAddr::V6(target), IpAddr::V6(asker)) => {
                        self.advertise(frame, layout, target, (asker, asker_mac))
                    }
                    _ => self.reply_arp(frame, layout, asker_mac),
                };
                let reply = Answer::Reply(Some(message));
                done.map_or(Answer::Discard(DropReason::BadNeighborMessage), |()| reply)
            }
            Message::Solicitation { .. } => Answer::NotAsked,
        }
    }

    /// RFC 826, "Packet Reception": swap the fields, put our MAC in, and make it a reply.
    fn reply_arp(&self, frame: &mut Frame, layout: &Layout, asker: MacAddress) -> Option<()> {
        let start = usize::from(layout.network_offset);
        // As much padding as Ethernet may want, and nothing in it.
        frame.truncate(start + ETHERNET_PAYLOAD_BYTES_MIN);
        let (packet, padding) = frame.bytes_mut().get_mut(start..)?.split_first_chunk_mut()?;
        let packet: &mut [u8; arp::PACKET_BYTES] = packet;
        padding.fill(0);
        let (sender, target) = packet[8..].split_at_mut(10);
        sender.swap_with_slice(target);
        sender[..6].copy_from_slice(&self.mac.0);
        packet[6..8].copy_from_slice(&[0, 2]);
        set_link(frame.bytes_mut(), asker, self.mac)
    }

    /// RFC 4861 §7.2.4.
    fn advertise(
        &self,
        frame: &mut Frame,
        layout: &Layout,
        target: Ipv6Addr,
        (asker, asker_mac): (Ipv6Addr, MacAddress),
    ) -> Option<()> {
        let solicited = !asker.is_unspecified();
        let (to, to_mac) =
            if solicited { (asker, asker_mac) } else { (ipv6::ALL_NODES, ipv6::group_mac(ipv6::ALL_NODES)) };
        let flags = AdvertisementFlags { router: true, solicited, overrides: true };
        let packet = icmpv6::neighbor_advertisement(self.mac, target, to, flags);
        set_link(frame.bytes_mut(), to_mac, self.mac)?;
        frame.truncate(usize::from(layout.network_offset));
        frame.offload = Offload::NONE;
        frame.append(&packet).then_some(())
    }

    fn answer_echo(&self, frame: &mut Frame, layout: &Layout, rules: &AddressRules) -> Answer {
        match echo::Request::read(frame.bytes(), layout) {
            Some(request) if self.owns(request.destination) => {
                match request.check(frame.bytes(), layout, frame.offload.checksum, rules) {
                    Err(reason) => Answer::Discard(reason),
                    Ok(()) if self.owns(request.source) => Answer::Discard(DropReason::MartianSource),
                    Ok(()) => echo::reply(frame, layout, self.mac)
                        .map_or(Answer::Discard(DropReason::BadEcho), |()| Answer::Reply(None)),
                }
            }
            _ => Answer::NotAsked,
        }
    }
}

/// Turns the frame to `destination`.
fn set_link(bytes: &mut [u8], destination: MacAddress, source: MacAddress) -> Option<()> {
    bytes.get_mut(..6)?.copy_from_slice(&destination.0);
    bytes.get_mut(6..12)?.copy_from_slice(&source.0);
    Some(())
}

#[cfg(test)]
mod tests;
