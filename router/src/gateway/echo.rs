//! Echo requests and their replies (RFC 792, RFC 1812 §4.3.3.6; RFC 4443 §4).

use std::net::IpAddr;

use packet::checksum::{self, Change};
use packet::{
    ChecksumOffload, DropReason, Fragment, Frame, Layout, MacAddress, Network, Offload, Transport, icmp,
    icmpv6, ipv4, ipv6,
};

use crate::icmp_error::HOP_LIMIT;
use crate::validate::{AddressRules, is_for_many};

/// Who asks whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Request {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
}

impl Request {
    /// The echo request in a frame, be it sound or not.
    pub(super) fn read(bytes: &[u8], layout: &Layout) -> Option<Self> {
        let network = bytes.get(usize::from(layout.network_offset)..)?;
        let kind = *bytes.get(usize::from(layout.transport_offset))?;
        match (layout.network, layout.transport, kind) {
            (Network::Ipv4, Transport::Icmp, icmp::ECHO_REQUEST) => {
                let header = ipv4::Header::new(network)?;
                Some(Self { source: header.source().into(), destination: header.destination().into() })
            }
            (Network::Ipv6, Transport::Icmpv6, icmpv6::ECHO_REQUEST) => {
                let header = ipv6::Header::new(network)?;
                Some(Self { source: header.source().into(), destination: header.destination().into() })
            }
            _ => None,
        }
    }

    /// Whether it is to be answered.
    pub(super) fn check(
        &self,
        bytes: &[u8],
        layout: &Layout,
        checksum: ChecksumOffload,
        rules: &AddressRules,
    ) -> Result<(), DropReason> {
        if is_for_many(bytes) {
            return Err(DropReason::LinkBroadcast);
        }
        if !rules.is_host(self.source) {
            return Err(DropReason::MartianSource);
        }
        let network = bytes.get(usize::from(layout.network_offset)..).unwrap_or_default();
        if layout.network == Network::Ipv4
            && !ipv4::Header::new(network).is_some_and(|header| header.checksum_is_valid())
        {
            return Err(DropReason::BadIpChecksum);
        }
        let is_bare = layout.network == Network::Ipv4
            || usize::from(layout.transport_offset)
                == usize::from(layout.network_offset) + ipv6::HEADER_BYTES;
        let is_summed = match checksum {
            ChecksumOffload::None => checksum::transport_is_valid(bytes, layout) == Some(true),
            ChecksumOffload::Valid | ChecksumOffload::Partial { .. } => true,
        };
        if is_bare && is_summed && layout.fragment == Fragment::Whole {
            Ok(())
        } else {
            Err(DropReason::BadEcho)
        }
    }
}

/// Turns the request, which has been checked, into its reply from the gateway's MAC, without IPv4 options and
/// without padding. A checksum that was left to complete still is.
pub(super) fn reply(frame: &mut Frame, layout: &Layout, mac: MacAddress) -> Option<()> {
    let start = usize::from(layout.network_offset);
    let asker = MacAddress::read(frame.bytes(), 6)?;
    frame.truncate(usize::try_from(layout.packet_end).ok()?);
    let message_at = if layout.network == Network::Ipv4 {
        strip_ipv4_options(frame, layout)?;
        start + ipv4::HEADER_BYTES
    } else {
        start + ipv6::HEADER_BYTES
    };
    let frame_checksum = frame.offload.checksum;
    let (headers, message) = frame.bytes_mut().split_at_mut_checked(message_at)?;
    super::set_link(headers, asker, mac)?;
    let packet = headers.get_mut(start..)?;
    let reply = if layout.network == Network::Ipv4 {
        finish_ipv4(packet)?;
        icmp::ECHO_REPLY
    } else {
        let fixed: &mut [u8; ipv6::HEADER_BYTES] = packet.first_chunk_mut()?;
        // The traffic class stays; the flow is the asker's (RFC 6437 §3).
        fixed[1] &= 0xf0;
        fixed[2..4].fill(0);
        fixed[7] = HOP_LIMIT;
        let (source, destination) = fixed[8..].split_at_mut(16);
        source.swap_with_slice(destination);
        icmpv6::ECHO_REPLY
    };
    let is_partial = matches!(frame_checksum, ChecksumOffload::Partial { .. });
    turn_message(message, reply, is_partial)
}

/// Makes a request a reply. The pseudo-header of ICMPv6 is the same in both directions.
fn turn_message(message: &mut [u8], reply: u8, is_partial: bool) -> Option<()> {
    let header: &mut [u8; icmp::HEADER_BYTES] = message.first_chunk_mut()?;
    let before = u16::from_be_bytes([header[0], header[1]]);
    header[0] = reply;
    let after = u16::from_be_bytes([header[0], header[1]]);
    if is_partial {
        return Some(());
    }
    let change = Change::NONE.word(before, after);
    let mut checksum = change.applied_to(u16::from_be_bytes([header[2], header[3]]));
    if checksum == 0 && message.iter().enumerate().all(|(at, byte)| matches!(at, 2 | 3) || *byte == 0) {
        // Of a message of nothing but zeros (an IPv4 reply with identifier and sequence 0) an update gives 0, but
        // the sum of RFC 792 is all ones, and receivers know the difference.
        checksum = 0xffff;
    }
    message.get_mut(2..4)?.copy_from_slice(&checksum.to_be_bytes());
    Some(())
}

/// Moves the message to where the header ends without options.
fn strip_ipv4_options(frame: &mut Frame, layout: &Layout) -> Option<()> {
    let from = usize::from(layout.transport_offset);
    let to = usize::from(layout.network_offset) + ipv4::HEADER_BYTES;
    let surplus = from.checked_sub(to)?;
    if surplus == 0 {
        return Some(());
    }
    let bytes = frame.bytes_mut();
    let packet_bytes = u16::try_from(bytes.len() - surplus - usize::from(layout.network_offset)).ok()?;
    bytes.copy_within(from.., to);
    let header: &mut [u8; 4] = bytes.get_mut(usize::from(layout.network_offset)..)?.first_chunk_mut()?;
    header[0] = 0x45;
    header[2..].copy_from_slice(&packet_bytes.to_be_bytes());
    frame.truncate(frame.len() - surplus);
    if let Offload { checksum: ChecksumOffload::Partial { start, .. }, .. } = &mut frame.offload {
        *start = start.checked_sub(u16::try_from(surplus).ok()?)?;
    }
    Some(())
}

/// Swaps the addresses, and gives the header a TTL and a checksum of its own.
fn finish_ipv4(packet: &mut [u8]) -> Option<()> {
    let header: &mut [u8; ipv4::HEADER_BYTES] = packet.first_chunk_mut()?;
    let (source, destination) = header[12..].split_at_mut(4);
    source.swap_with_slice(destination);
    header[8] = HOP_LIMIT;
    header[10..12].fill(0);
    let checksum = checksum::of(header);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    Some(())
}
