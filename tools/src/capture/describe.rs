//! A frame in a line of words, somewhat as tcpdump says it.

use packet::{FiveTuple, Fragment, Layout, MacAddress, Network, Transport, arp, icmp, icmpv6, tcp};

/// One line about the frame.
pub(crate) fn describe(bytes: &[u8]) -> String {
    let layout = match packet::parse(bytes) {
        Ok(layout) => layout,
        Err(reason) => return format!("{} bytes: {}", bytes.len(), reason.name()),
    };
    let (Some(destination), Some(source)) = (MacAddress::read(bytes, 0), MacAddress::read(bytes, 6)) else {
        return format!("{} bytes", bytes.len());
    };
    let vlan =
        if layout.vlan_tags > 0 { format!(" ({} VLAN tags)", layout.vlan_tags) } else { String::new() };
    format!("{source} > {destination}{vlan}: {}, {} bytes", network(bytes, &layout), bytes.len())
}

fn network(bytes: &[u8], layout: &Layout) -> String {
    let payload = bytes.get(usize::from(layout.network_offset)..).unwrap_or_default();
    match layout.network {
        Network::Arp => arp::Packet::new(payload).map_or_else(|| "ARP".to_owned(), |packet| arp(&packet)),
        Network::Ipv4 | Network::Ipv6 => internet(bytes, layout),
        Network::Opaque => format!("ethertype {:#06x}", layout.ethertype),
        Network::Malformed => format!("malformed, ethertype {:#06x}", layout.ethertype),
    }
}

fn arp(packet: &arp::Packet<'_>) -> String {
    let (sender, target) = (packet.sender_address(), packet.target_address());
    match packet.operation() {
        arp::Operation::Request => format!("ARP who has {target}, tell {sender}"),
        arp::Operation::Reply => format!("ARP {sender} is at {}", packet.sender_mac()),
        arp::Operation::Other(number) => format!("ARP operation {number}"),
    }
}

fn internet(bytes: &[u8], layout: &Layout) -> String {
    let Some(flow) = FiveTuple::read(bytes, layout) else { return "IP".to_owned() };
    let (source, destination) = (flow.source, flow.destination);
    if layout.fragment == Fragment::Later {
        return format!("{source} > {destination}: later fragment of protocol {}", flow.protocol);
    }
    let with_ports = |name: &str| {
        format!("{source}.{} > {destination}.{}: {name}", flow.source_port, flow.destination_port)
    };
    let payload = bytes.get(usize::from(layout.transport_offset)..).unwrap_or_default();
    let text = match layout.transport {
        Transport::Tcp => with_ports(&tcp(payload)),
        Transport::Udp => with_ports("UDP"),
        Transport::Sctp => with_ports("SCTP"),
        Transport::Icmp => {
            let name = icmp::Message::new(payload).map_or("ICMP".to_owned(), |m| icmp(m.kind(), m.code()));
            format!("{source} > {destination}: {name}")
        }
        Transport::Icmpv6 => {
            let name =
                icmpv6::Message::new(payload).map_or("ICMPv6".to_owned(), |m| icmpv6(m.kind(), m.code()));
            format!("{source} > {destination}: {name}")
        }
        Transport::Absent | Transport::Opaque => {
            format!("{source} > {destination}: protocol {}", flow.protocol)
        }
        Transport::Malformed => format!("{source} > {destination}: malformed, protocol {}", flow.protocol),
    };
    if layout.fragment == Fragment::First { format!("{text}, first fragment") } else { text }
}

fn tcp(payload: &[u8]) -> String {
    let Some(header) = tcp::Header::new(payload) else { return "TCP".to_owned() };
    const FLAGS: [(u8, char); 8] = [
        (tcp::flag::FIN, 'F'),
        (tcp::flag::SYN, 'S'),
        (tcp::flag::RST, 'R'),
        (tcp::flag::PSH, 'P'),
        (tcp::flag::ACK, '.'),
        (tcp::flag::URG, 'U'),
        (tcp::flag::ECE, 'E'),
        (tcp::flag::CWR, 'W'),
    ];
    let flags: String =
        FLAGS.iter().filter(|(bit, _)| header.flags() & bit != 0).map(|(_, letter)| letter).collect();
    format!("TCP [{flags}] seq {} ack {} win {}", header.sequence(), header.acknowledgment(), header.window())
}

fn icmp(kind: u8, code: u8) -> String {
    match kind {
        icmp::ECHO_REQUEST => "ICMP echo request".to_owned(),
        icmp::ECHO_REPLY => "ICMP echo reply".to_owned(),
        icmp::UNREACHABLE => format!("ICMP unreachable, code {code}"),
        icmp::TIME_EXCEEDED => "ICMP time exceeded".to_owned(),
        _ => format!("ICMP type {kind} code {code}"),
    }
}

fn icmpv6(kind: u8, code: u8) -> String {
    // RFC 4443 §2.1 and RFC 4861 §4.
    match kind {
        1 => format!("ICMPv6 unreachable, code {code}"),
        2 => "ICMPv6 packet too big".to_owned(),
        128 => "ICMPv6 echo request".to_owned(),
        129 => "ICMPv6 echo reply".to_owned(),
        133 => "ND router solicitation".to_owned(),
        134 => "ND router advertisement".to_owned(),
        135 => "ND neighbor solicitation".to_owned(),
        136 => "ND neighbor advertisement".to_owned(),
        _ => format!("ICMPv6 type {kind} code {code}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arp_is_told_in_words() {
        let sender = arp::End { mac: MacAddress([2, 0, 0, 0, 0, 1]), address: [10, 0, 0, 1].into() };
        let frame = arp::request(sender, [10, 0, 0, 2].into());
        assert_eq!(
            describe(&frame),
            format!(
                "02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff: ARP who has 10.0.0.2, tell 10.0.0.1, {} bytes",
                frame.len()
            )
        );
    }

    #[test]
    fn tcp_shows_ports_and_flags() {
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
        frame.extend([0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend([0xc0, 0x00, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0]);
        let text = describe(&frame);
        assert!(text.contains("10.0.0.1.49152 > 10.0.0.2.80: TCP [S] seq 1 ack 0 win 65535"), "{text}");
    }

    #[test]
    fn a_frame_too_short_has_the_name_of_its_drop_reason() {
        assert_eq!(describe(&[1, 2, 3]), "3 bytes: truncated");
    }
}
