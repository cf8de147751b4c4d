//! The five-tuple, by which flows are told apart.

use std::net::IpAddr;

use crate::{Layout, Network, Transport, ipv4, ipv6};

/// Addresses, protocol and ports of a packet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FiveTuple {
    /// Source address.
    pub source: IpAddr,
    /// Destination address; of the same family as the source.
    pub destination: IpAddr,
    /// IP protocol number of the transport layer; see [`Layout::protocol`].
    pub protocol: u8,
    /// Source port of TCP, UDP and SCTP; identifier of an ICMP or ICMPv6 query; else 0.
    pub source_port: u16,
    /// Destination port of TCP, UDP and SCTP; identifier of an ICMP or ICMPv6 query; else 0.
    pub destination_port: u16,
}

impl FiveTuple {
    /// The five-tuple of the packet in the frame `bytes`, whose layout is `layout`; `None` if it is not an
    /// IP packet. The ports are 0 in a later fragment and where the transport is malformed or has none.
    #[must_use]
    pub fn read(bytes: &[u8], layout: &Layout) -> Option<Self> {
        let network = bytes.get(usize::from(layout.network_offset)..)?;
        let (source, destination) = match layout.network {
            Network::Ipv4 => {
                let header = ipv4::Header::new(network)?;
                (IpAddr::V4(header.source()), IpAddr::V4(header.destination()))
            }
            Network::Ipv6 => {
                let header = ipv6::Header::new(network)?;
                (IpAddr::V6(header.source()), IpAddr::V6(header.destination()))
            }
            Network::Opaque | Network::Arp | Network::Malformed => return None,
        };
        let transport = bytes.get(usize::from(layout.transport_offset)..)?;
        let (source_port, destination_port) = ports(transport, layout.transport).unwrap_or((0, 0));
        Some(Self { source, destination, protocol: layout.protocol, source_port, destination_port })
    }

    /// Of the IP packet in `packet`, of which no more than the first bytes need be there, such as those that an ICMP error
    /// quotes. Ports are zero where they are not there; `None` without the addresses, and behind IPv6 extension headers.
    #[must_use]
    pub fn of_packet(packet: &[u8]) -> Option<Self> {
        let (source, destination, protocol, headers_bytes, is_later): (IpAddr, IpAddr, _, _, _) =
            match packet.first()? >> 4 {
                4 => {
                    let header: &[u8; 20] = packet.first_chunk()?;
                    let &[.., a, b, c, d, e, f, g, h] = header;
                    let headers_bytes = usize::from(header[0] & 15) * 4;
                    let is_later = (u16::from_be_bytes([header[6], header[7]]) & 0x1fff) != 0;
                    ([a, b, c, d].into(), [e, f, g, h].into(), header[9], headers_bytes, is_later)
                }
                6 => {
                    let header = ipv6::Header::new(packet)?;
                    let protocol = *packet.get(6)?;
                    (header.source().into(), header.destination().into(), protocol, ipv6::HEADER_BYTES, false)
                }
                _ => return None,
            };
        let kind = match (protocol, source.is_ipv4()) {
            (0 | 43 | 44 | 60, false) => return None,
            (6, _) => Transport::Tcp,
            (17, _) => Transport::Udp,
            (132, _) => Transport::Sctp,
            (1, true) => Transport::Icmp,
            (58, false) => Transport::Icmpv6,
            _ => Transport::Opaque,
        };
        let transport = packet.get(headers_bytes..).filter(|_| !is_later).unwrap_or_default();
        let (source_port, destination_port) = ports(transport, kind).unwrap_or((0, 0));
        Some(Self { source, destination, protocol, source_port, destination_port })
    }

    /// The five-tuple of the opposite direction.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            protocol: self.protocol,
            source_port: self.destination_port,
            destination_port: self.source_port,
        }
    }
}

fn ports(transport: &[u8], kind: Transport) -> Option<(u16, u16)> {
    match kind {
        Transport::Tcp | Transport::Udp | Transport::Sctp => {
            let &[a, b, c, d] = transport.first_chunk()?;
            Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
        }
        Transport::Icmp | Transport::Icmpv6 => {
            let &[kind_octet, _, _, _, high, low] = transport.first_chunk()?;
            // Echo (RFC 792, RFC 4443 §4) and timestamp (RFC 792) carry an identifier; other messages do not.
            let is_query = match kind {
                Transport::Icmp => matches!(kind_octet, 0 | 8 | 13 | 14),
                _ => matches!(kind_octet, 128 | 129),
            };
            let identifier = u16::from_be_bytes([high, low]);
            is_query.then_some((identifier, identifier))
        }
        Transport::Absent | Transport::Opaque | Transport::Malformed => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    fn frame(protocol: u8, transport: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 12];
        bytes.extend([8, 0, 0x45, 0, 0, 20 + u8::try_from(transport.len()).unwrap(), 0, 0, 0, 0, 64]);
        bytes.extend([protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        bytes.extend(transport);
        bytes
    }

    fn tuple(bytes: &[u8]) -> FiveTuple {
        FiveTuple::read(bytes, &parse(bytes).unwrap()).unwrap()
    }

    #[test]
    fn udp_ports_are_read_and_reversed() {
        let tuple = tuple(&frame(17, &[0x12, 0x34, 0, 53, 0, 8, 0, 0]));
        assert_eq!((tuple.source_port, tuple.destination_port, tuple.protocol), (0x1234, 53, 17));
        assert_eq!(tuple.source, IpAddr::from([10, 0, 0, 1]));
        assert_eq!(tuple.reversed().source_port, 53);
        assert_eq!(tuple.reversed().reversed(), tuple);
    }

    #[test]
    fn an_echo_identifier_stands_for_both_ports_and_other_messages_have_none() {
        let echo = tuple(&frame(1, &[8, 0, 0, 0, 0xbe, 0xef, 0, 1]));
        assert_eq!((echo.source_port, echo.destination_port), (0xbeef, 0xbeef));
        let unreachable = tuple(&frame(1, &[3, 1, 0, 0, 0xbe, 0xef, 0, 1]));
        assert_eq!((unreachable.source_port, unreachable.destination_port), (0, 0));
    }

    #[test]
    fn a_quotation_of_a_few_bytes_tells_its_flow() {
        let whole = frame(17, &[0x12, 0x34, 0, 53, 0, 8, 0, 0]);
        assert_eq!(FiveTuple::of_packet(&whole[14..]), Some(tuple(&whole)));
        assert_eq!(FiveTuple::of_packet(&whole[14..38]), Some(tuple(&whole)), "ports only");
        assert_eq!(FiveTuple::of_packet(&whole[14..36]).map(|flow| flow.source_port), Some(0));
        assert_eq!(FiveTuple::of_packet(&whole[14..33]), None);
        assert_eq!(FiveTuple::of_packet(&[]), None);
        let mut v6 = vec![0x60, 0, 0, 0, 0, 8, 6, 64];
        v6.extend([1; 16]);
        v6.extend([2; 16]);
        v6.extend([0, 80, 0, 81]);
        let flow = FiveTuple::of_packet(&v6).unwrap();
        assert_eq!((flow.protocol, flow.source_port, flow.destination_port), (6, 80, 81));
        assert_eq!(flow.destination, IpAddr::from([2; 16]));
        v6[6] = 44;
        assert_eq!(FiveTuple::of_packet(&v6), None, "what is behind an extension header is not looked for");
    }

    #[test]
    fn later_fragments_have_no_ports() {
        let mut bytes = frame(17, &[0x12, 0x34, 0, 53, 0, 8, 0, 0]);
        bytes[21] = 1;
        let tuple = tuple(&bytes);
        assert_eq!((tuple.source_port, tuple.destination_port, tuple.protocol), (0, 0, 17));
    }
}
