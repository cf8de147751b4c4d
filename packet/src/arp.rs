//! ARP for Ethernet and IPv4 (RFC 826, RFC 5227).

use std::net::Ipv4Addr;

use crate::protocol::ethertype;
use crate::{MacAddress, ethernet};

/// Bytes of a packet.
pub const PACKET_BYTES: usize = 28;

/// Bytes of a frame that we build: padded to the shortest of a wire.
pub const FRAME_BYTES: usize = ethernet::FRAME_BYTES_MIN;

/// What a packet wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Who has the target address?
    Request,
    /// The sender has the sender address.
    Reply,
    /// Anything else, such as RARP.
    Other(u16),
}

/// A packet, seen in place.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a>(&'a [u8; PACKET_BYTES]);

impl<'a> Packet<'a> {
    /// The packet at the start of `bytes`, or `None` if it is not all there or not for Ethernet and IPv4.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let packet: &[u8; PACKET_BYTES] = bytes.first_chunk()?;
        (packet[..6] == [0, 1, 8, 0, 6, 4]).then_some(Self(packet))
    }

    /// What the packet wants.
    #[must_use]
    pub fn operation(&self) -> Operation {
        match u16::from_be_bytes([self.0[6], self.0[7]]) {
            1 => Operation::Request,
            2 => Operation::Reply,
            other => Operation::Other(other),
        }
    }

    /// The sender's MAC address, as it says.
    #[must_use]
    pub fn sender_mac(&self) -> MacAddress {
        self.mac(8)
    }

    /// The sender's address, as it says; unspecified in a probe.
    #[must_use]
    pub fn sender_address(&self) -> Ipv4Addr {
        self.address(14)
    }

    /// The target's MAC address; without meaning in a request.
    #[must_use]
    pub fn target_mac(&self) -> MacAddress {
        self.mac(18)
    }

    /// The address asked for, or the receiver's of a reply.
    #[must_use]
    pub fn target_address(&self) -> Ipv4Addr {
        self.address(24)
    }

    /// True for an ARP Probe (RFC 5227 §1.1): a request that claims no sender address.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.operation() == Operation::Request && self.sender_address().is_unspecified()
    }

    fn mac(&self, at: usize) -> MacAddress {
        MacAddress::read(self.0, at).unwrap_or_default()
    }

    fn address(&self, at: usize) -> Ipv4Addr {
        Ipv4Addr::new(self.0[at], self.0[at + 1], self.0[at + 2], self.0[at + 3])
    }
}

/// One end of an exchange.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct End {
    /// MAC address.
    pub mac: MacAddress,
    /// Protocol address.
    pub address: Ipv4Addr,
}

/// An announcement (RFC 5227 §3): a broadcast request in which sender and target address are `address`.
#[must_use]
pub fn gratuitous(mac: MacAddress, address: Ipv4Addr) -> [u8; FRAME_BYTES] {
    request(End { mac, address }, address)
}

/// A broadcast request of `sender` for `target`.
#[must_use]
pub fn request(sender: End, target: Ipv4Addr) -> [u8; FRAME_BYTES] {
    frame(MacAddress::BROADCAST, 1, sender, End { mac: MacAddress::ZERO, address: target })
}

/// A reply of `sender` to `target`.
#[must_use]
pub fn reply(sender: End, target: End) -> [u8; FRAME_BYTES] {
    frame(target.mac, 2, sender, target)
}

fn frame(destination: MacAddress, operation: u16, sender: End, target: End) -> [u8; FRAME_BYTES] {
    let mut frame = [0; FRAME_BYTES];
    frame[..14].copy_from_slice(&ethernet::header(destination, sender.mac, ethertype::ARP));
    frame[14..20].copy_from_slice(&[0, 1, 8, 0, 6, 4]);
    frame[20..22].copy_from_slice(&operation.to_be_bytes());
    frame[22..28].copy_from_slice(&sender.mac.0);
    frame[28..32].copy_from_slice(&sender.address.octets());
    frame[32..38].copy_from_slice(&target.mac.0);
    frame[38..42].copy_from_slice(&target.address.octets());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Network, parse};

    const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 1);

    #[test]
    fn an_announcement_is_a_broadcast_request_for_oneself() {
        let frame = gratuitous(MAC, ADDRESS);
        assert_eq!(parse(&frame).unwrap().network, Network::Arp);
        assert!(ethernet::Header::new(&frame).unwrap().destination().is_broadcast());
        let packet = Packet::new(&frame[14..]).unwrap();
        assert_eq!(packet.operation(), Operation::Request);
        assert_eq!((packet.sender_mac(), packet.sender_address()), (MAC, ADDRESS));
        assert_eq!((packet.target_mac(), packet.target_address()), (MacAddress::ZERO, ADDRESS));
        assert!(!packet.is_probe());
    }

    #[test]
    fn a_reply_goes_to_the_asker_alone() {
        let asker = End { mac: MacAddress([2, 0, 0, 0, 0, 9]), address: Ipv4Addr::new(10, 244, 1, 9) };
        let frame = reply(End { mac: MAC, address: ADDRESS }, asker);
        assert_eq!(ethernet::Header::new(&frame).unwrap().destination(), asker.mac);
        let packet = Packet::new(&frame[14..]).unwrap();
        assert_eq!(packet.operation(), Operation::Reply);
        assert_eq!((packet.target_mac(), packet.target_address()), (asker.mac, asker.address));
    }

    #[test]
    fn a_probe_claims_no_address() {
        let frame = request(End { mac: MAC, address: Ipv4Addr::UNSPECIFIED }, ADDRESS);
        assert!(Packet::new(&frame[14..]).unwrap().is_probe());
    }
}
