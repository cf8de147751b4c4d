//! The independent parsers, and where they differ from ours by intention.

use packet::{Fragment, Layout, Network, Transport};

/// What an oracle makes of the IP packet in a frame; offsets from the start of the frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    pub(crate) protocol: u8,
    pub(crate) transport_offset: usize,
    pub(crate) packet_end: usize,
    pub(crate) fragmented: bool,
}

impl Seen {
    pub(crate) fn ours(layout: &Layout) -> Option<Self> {
        layout.is_ip().then(|| Self {
            protocol: layout.protocol,
            transport_offset: usize::from(layout.transport_offset),
            packet_end: usize::try_from(layout.packet_end).unwrap(),
            fragmented: layout.fragment != Fragment::Whole,
        })
    }
}

/// etherparse's view of the IPv4 packet at `start`.
pub(crate) fn etherparse_ipv4(bytes: &[u8], start: usize) -> Option<Seen> {
    let header = etherparse::Ipv4HeaderSlice::from_slice(&bytes[start..]).ok()?;
    let total = usize::from(header.total_len());
    if header.protocol() != etherparse::ip_number::AUTH {
        // With AH it reads on behind, where we stop: only the header is compared then.
        etherparse::Ipv4Slice::from_slice(&bytes[start..]).ok()?;
    }
    (total >= header.slice().len() && total <= bytes.len() - start).then(|| Seen {
        protocol: header.protocol().0,
        transport_offset: start + header.slice().len(),
        packet_end: start + total,
        fragmented: header.is_fragmenting_payload(),
    })
}

/// etherparse's view of the IPv6 packet at `start`, and how many extension and fragment headers it has.
pub(crate) fn etherparse_ipv6(bytes: &[u8], start: usize) -> Option<(Seen, usize, usize)> {
    let packet = etherparse::Ipv6Slice::from_slice(&bytes[start..]).ok()?;
    let payload = packet.payload();
    let packet_end = start + 40 + usize::from(packet.header().payload_length());
    let seen = Seen {
        protocol: payload.ip_number.0,
        transport_offset: packet_end.checked_sub(payload.payload.len())?,
        packet_end,
        fragmented: payload.fragmented,
    };
    let extensions: Vec<_> = packet.extensions().clone().into_iter().collect();
    let fragments = extensions
        .iter()
        .filter(|extension| matches!(extension, etherparse::Ipv6ExtensionSlice::Fragment(_)))
        .count();
    Some((seen, extensions.len(), fragments))
}

/// smoltcp's view of the fixed IPv4 header. It checks neither version nor the least header length when it
/// looks at the lengths.
pub(crate) fn smoltcp_ipv4(bytes: &[u8], start: usize) -> Option<Seen> {
    let packet = smoltcp::wire::Ipv4Packet::new_checked(&bytes[start..]).ok()?;
    (packet.version() == 4 && packet.header_len() >= 20).then(|| Seen {
        protocol: packet.next_header().into(),
        transport_offset: start + usize::from(packet.header_len()),
        packet_end: start + usize::from(packet.total_len()),
        fragmented: packet.more_frags() || packet.frag_offset() != 0,
    })
}

/// Whether smoltcp accepts the fixed IPv6 header and its payload length.
pub(crate) fn smoltcp_accepts_ipv6(bytes: &[u8], start: usize) -> bool {
    smoltcp::wire::Ipv6Packet::new_checked(&bytes[start..]).is_ok_and(|packet| packet.version() == 6)
}

/// The length of the transport header by etherparse: `Some(None)` if it refuses it, `None` if it is no judge
/// of it.
pub(crate) fn etherparse_transport(payload: &[u8], transport: Protocol) -> Option<Option<usize>> {
    match transport {
        Protocol::Tcp => Some(etherparse::TcpSlice::from_slice(payload).ok().map(|tcp| tcp.header_len())),
        // It takes a length of 0 for a jumbogram (RFC 2675), which no port of ours can carry.
        Protocol::Udp if payload.get(4..6) == Some(&[0, 0]) => None,
        Protocol::Udp => Some(etherparse::UdpSlice::from_slice(payload).ok().map(|_| 8)),
        // It demands exactly 20 bytes of timestamps; we do not look into them.
        Protocol::Icmp if matches!(payload.first(), Some(13 | 14)) => None,
        Protocol::Icmp => Some(etherparse::Icmpv4Slice::from_slice(payload).ok().map(|_| 8)),
        Protocol::Icmpv6 => Some(etherparse::Icmpv6Slice::from_slice(payload).ok().map(|_| 8)),
        Protocol::Sctp => None,
    }
}

/// The same by smoltcp.
pub(crate) fn smoltcp_transport(payload: &[u8], transport: Protocol) -> Option<Option<usize>> {
    match transport {
        Protocol::Tcp => {
            Some(smoltcp::wire::TcpPacket::new_checked(payload).ok().map(|tcp| usize::from(tcp.header_len())))
        }
        Protocol::Udp => Some(smoltcp::wire::UdpPacket::new_checked(payload).ok().map(|_| 8)),
        Protocol::Icmp | Protocol::Icmpv6 | Protocol::Sctp => None,
    }
}

/// The transports that have a judge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
    Icmp,
    Icmpv6,
    Sctp,
}

impl Protocol {
    /// By the IP protocol number, for the network of `layout`.
    pub(crate) fn of(layout: &Layout) -> Option<Self> {
        match (layout.protocol, layout.network) {
            (6, _) => Some(Self::Tcp),
            (17, _) => Some(Self::Udp),
            (1, Network::Ipv4) => Some(Self::Icmp),
            (58, Network::Ipv6) => Some(Self::Icmpv6),
            (132, _) => Some(Self::Sctp),
            _ => None,
        }
    }

    pub(crate) fn transport(self) -> Transport {
        match self {
            Self::Tcp => Transport::Tcp,
            Self::Udp => Transport::Udp,
            Self::Icmp => Transport::Icmp,
            Self::Icmpv6 => Transport::Icmpv6,
            Self::Sctp => Transport::Sctp,
        }
    }
}
