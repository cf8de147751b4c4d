//! ARP and neighbor discovery in one vocabulary: who asks for whom, who says where whom is.

use std::net::{IpAddr, Ipv4Addr};

use packet::icmpv6::{self, NdOption};
use packet::protocol::ip_protocol;
use packet::{
    ChecksumOffload, DropReason, Fragment, Layout, MacAddress, Network, Transport, arp, checksum, ipv6,
};

use crate::validate::is_for_many;

/// A message about a neighbor that keeps every rule for its receiver: RFC 826, RFC 5227; RFC 4861 §7.1,
/// RFC 6980.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message {
    /// Who is at `target`?
    Solicitation {
        /// The address that is looked for.
        target: IpAddr,
        /// Who asks. Unspecified in a probe (RFC 5227 §1.1) and in duplicate address detection (RFC 4862
        /// §5.4.2): such a sender has no address yet, and nothing is to be learned from it.
        asker: IpAddr,
        /// The asker's MAC; neighbor discovery may leave it out.
        mac: Option<MacAddress>,
    },
    /// `target` is at `mac`.
    Advertisement {
        /// The address that is told of.
        target: IpAddr,
        /// Where it is; neighbor discovery may leave it out of a confirmation.
        mac: Option<MacAddress>,
        /// It says to answer a solicitation: the S flag; in ARP, a reply to one receiver. Whether there was one
        /// the neighbor table knows.
        solicited: bool,
        /// It replaces another MAC: the O flag; always in ARP.
        overrides: bool,
    },
}

/// The message in the frame `bytes`, whose layout is `layout` and whose checksum's state is `checksum`; `None` if
/// it is no ARP request or reply and no neighbor solicitation or advertisement.
///
/// # Errors
/// [`DropReason::BadNeighborMessage`] for one that a receiver has to discard.
pub fn read(bytes: &[u8], layout: &Layout, checksum: ChecksumOffload) -> Result<Option<Message>, DropReason> {
    match (layout.network, layout.transport) {
        (Network::Arp, _) => read_arp(bytes, layout),
        (Network::Ipv6, Transport::Icmpv6) => {
            let end = usize::try_from(layout.packet_end).unwrap_or(usize::MAX);
            let message = bytes.get(usize::from(layout.transport_offset)..end).and_then(icmpv6::Message::new);
            let Some(message) = message else { return Ok(None) };
            if !matches!(message.kind(), icmpv6::NEIGHBOR_SOLICITATION | icmpv6::NEIGHBOR_ADVERTISEMENT) {
                return Ok(None);
            }
            let is_summed = checksum != ChecksumOffload::None
                || checksum::transport_is_valid(bytes, layout) == Some(true);
            read_nd(bytes, layout, &message)
                .filter(|_| is_summed && !is_fragment(bytes, layout))
                .map(Some)
                .ok_or(DropReason::BadNeighborMessage)
        }
        _ => Ok(None),
    }
}

/// RFC 6980 §5: neighbor discovery with a fragment header is ignored, even if it is whole.
fn is_fragment(bytes: &[u8], layout: &Layout) -> bool {
    layout.fragment != Fragment::Whole
        || ipv6::Extensions::new(bytes, layout).any(|header| header.kind == ip_protocol::FRAGMENT)
}

fn read_arp(bytes: &[u8], layout: &Layout) -> Result<Option<Message>, DropReason> {
    let packet = bytes.get(usize::from(layout.network_offset)..).and_then(arp::Packet::new);
    let packet = packet.ok_or(DropReason::BadNeighborMessage)?;
    let (sender, target) = (packet.sender_address(), packet.target_address());
    let mac = packet.sender_mac();
    let is_request = match packet.operation() {
        arp::Operation::Request => true,
        arp::Operation::Reply => false,
        arp::Operation::Other(_) => return Ok(None),
    };
    let may_be_sender = is_host(sender) || packet.is_probe();
    if !is_station(mac) || !may_be_sender || (is_request && !is_host(target)) {
        return Err(DropReason::BadNeighborMessage);
    }
    // A request for oneself is an announcement (RFC 5227 §2.3).
    Ok(Some(if is_request && sender != target {
        Message::Solicitation { target: target.into(), asker: sender.into(), mac: Some(mac) }
    } else {
        let solicited = !is_request && sender != target && !is_for_many(bytes);
        Message::Advertisement { target: sender.into(), mac: Some(mac), solicited, overrides: true }
    }))
}

/// The rules of RFC 4861 §7.1.1 and §7.1.2, but for the checksum.
fn read_nd(bytes: &[u8], layout: &Layout, message: &icmpv6::Message<'_>) -> Option<Message> {
    let header = ipv6::Header::new(bytes.get(usize::from(layout.network_offset)..)?)?;
    let neighbor = message.neighbor()?;
    let (source, destination, target) = (header.source(), header.destination(), neighbor.target());
    let is_sound = header.hop_limit() == 255
        && message.code() == 0
        && !(target.is_multicast() || target.is_unspecified() || target.is_loopback())
        && !(source.is_multicast() || source.is_loopback());
    if !is_sound || neighbor.options().any(|option| option == NdOption::Malformed) {
        return None;
    }
    let mac = neighbor.options().find_map(|option| match option {
        NdOption::SourceLinkLayer(mac) if !neighbor.is_advertisement() => Some(mac),
        NdOption::TargetLinkLayer(mac) if neighbor.is_advertisement() => Some(mac),
        _ => None,
    });
    if mac.is_some_and(|mac| !is_station(mac)) {
        return None;
    }
    if neighbor.is_advertisement() {
        let (solicited, overrides) = (neighbor.is_solicited(), neighbor.overrides());
        let is_sound = !(source.is_unspecified() || destination.is_multicast() && solicited);
        return is_sound.then_some(Message::Advertisement {
            target: target.into(),
            mac,
            solicited,
            overrides,
        });
    }
    let is_detection = source.is_unspecified();
    let is_sound = !is_detection || (destination == ipv6::solicited_node(target) && mac.is_none());
    is_sound.then_some(Message::Solicitation { target: target.into(), asker: source.into(), mac })
}

/// A MAC that a station can have.
const fn is_station(mac: MacAddress) -> bool {
    !mac.is_group() && !mac.is_zero()
}

fn is_host(address: Ipv4Addr) -> bool {
    !(address.is_unspecified() || address.is_multicast() || address.is_broadcast() || address.is_loopback())
}

#[cfg(test)]
mod tests;
