//! Numbers assigned by IEEE and IANA that several modules need.

/// EtherTypes (IEEE 802 Numbers, IANA).
pub mod ethertype {
    /// Internet Protocol version 4.
    pub const IPV4: u16 = 0x0800;
    /// Address Resolution Protocol.
    pub const ARP: u16 = 0x0806;
    /// Customer VLAN tag (IEEE 802.1Q-2018 table 9-1).
    pub const VLAN: u16 = 0x8100;
    /// Internet Protocol version 6.
    pub const IPV6: u16 = 0x86dd;
    /// Service VLAN tag, formerly 802.1ad (IEEE 802.1Q-2018 table 9-1).
    pub const SERVICE_VLAN: u16 = 0x88a8;
    /// Values below are the length of an LLC frame (IEEE 802.3-2018 §3.2.6).
    pub const FIRST: u16 = 0x0600;
}

/// IP protocol numbers (IANA), IPv6 extension headers included.
pub mod ip_protocol {
    /// IPv6 Hop-by-Hop Options header (RFC 8200 §4.3).
    pub const HOP_BY_HOP: u8 = 0;
    /// Internet Control Message Protocol (RFC 792).
    pub const ICMP: u8 = 1;
    /// Transmission Control Protocol (RFC 9293).
    pub const TCP: u8 = 6;
    /// User Datagram Protocol (RFC 768).
    pub const UDP: u8 = 17;
    /// IPv6 Routing header (RFC 8200 §4.4).
    pub const ROUTING: u8 = 43;
    /// IPv6 Fragment header (RFC 8200 §4.5).
    pub const FRAGMENT: u8 = 44;
    /// Authentication Header (RFC 4302).
    pub const AUTHENTICATION: u8 = 51;
    /// ICMP for IPv6 (RFC 4443).
    pub const ICMPV6: u8 = 58;
    /// No Next Header (RFC 8200 §4.7).
    pub const NO_NEXT_HEADER: u8 = 59;
    /// IPv6 Destination Options header (RFC 8200 §4.6).
    pub const DESTINATION_OPTIONS: u8 = 60;
    /// Stream Control Transmission Protocol (RFC 9260).
    pub const SCTP: u8 = 132;
}
