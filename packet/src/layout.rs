//! Where the headers of a frame lie: the result of one parse pass, small enough to keep for every frame of
//! a burst.

/// The network layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Network {
    /// An EtherType that is not looked into (also LLC frames, whose "EtherType" is a length).
    Opaque,
    /// ARP for Ethernet and IPv4, complete (RFC 826).
    Arp,
    /// IPv4 with a header that is all there and lengths that agree (RFC 791).
    Ipv4,
    /// IPv6 with an extension header chain that is all there (RFC 8200), as far as this fragment carries it.
    Ipv6,
    /// A VLAN tag, ARP, IPv4 or IPv6 by its EtherType, but with headers that are cut short, contradict one
    /// another, or exceed the parser's bounds. No field that tells of IP or of the transport is then set.
    Malformed,
}

/// The transport layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// No transport header in this frame: not IP, or a later fragment.
    Absent,
    /// TCP with a complete header.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
    /// ICMP for IPv4.
    Icmp,
    /// ICMP for IPv6, neighbor discovery included.
    Icmpv6,
    /// Another protocol, not looked into.
    Opaque,
    /// The protocol is known, but its header is cut short or contradicts the packet.
    Malformed,
}

/// Which part of a fragmented packet the frame carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fragment {
    /// The whole packet (an IPv6 atomic fragment, RFC 6946, counts as whole).
    Whole,
    /// The first fragment, with the transport header.
    First,
    /// A later fragment.
    Later,
}

/// Offsets are in bytes from the start of the frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// EtherType behind all VLAN tags.
    pub ethertype: u16,
    /// VLAN tags (802.1Q, 802.1ad) before it: 0, 1 or 2. A third tag makes the frame opaque.
    pub vlan_tags: u8,
    /// The network layer.
    pub network: Network,
    /// The transport layer.
    pub transport: Transport,
    /// Part of a fragmented packet.
    pub fragment: Fragment,
    /// IP protocol number of the transport layer (RFC 8200: the last Next Header that the frame carries, so
    /// in a later IPv6 fragment that of the fragment header); 0 where there is no IP.
    pub protocol: u8,
    /// Start of the network header: 14, 18 or 22.
    pub network_offset: u8,
    /// Start of the transport header (or of the payload of a later fragment); 0 where there is no IP.
    pub transport_offset: u16,
    /// End of all headers: start of the transport's payload (equal to `transport_offset` if that is opaque);
    /// 0 where the transport is absent or malformed.
    pub payload_offset: u16,
    /// End of the IP packet by its own length field; bytes behind it are padding. 0 where there is no IP.
    /// On a super-frame it is the end of the frame.
    pub packet_end: u32,
}

impl Layout {
    /// The layout of an untagged frame that is not looked into.
    #[must_use]
    pub const fn opaque(ethertype: u16) -> Self {
        Self {
            ethertype,
            vlan_tags: 0,
            network: Network::Opaque,
            transport: Transport::Absent,
            fragment: Fragment::Whole,
            protocol: 0,
            network_offset: 14,
            transport_offset: 0,
            payload_offset: 0,
            packet_end: 0,
        }
    }

    /// True if the frame carries an IPv4 or IPv6 packet with sound headers.
    #[must_use]
    pub const fn is_ip(&self) -> bool {
        matches!(self.network, Network::Ipv4 | Network::Ipv6)
    }
}
