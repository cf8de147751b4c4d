//! DHCP (RFC 2131) and DHCPv6 (RFC 8415), as far as one must know who speaks.

use crate::{Layout, Network, Transport, udp};

/// Who sends a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sender {
    /// A client, or a relay on behalf of one.
    Client,
    /// A server, or a relay on its behalf.
    Server,
}

/// Who sends the DHCP message in the frame `bytes`; `None` if there is none.
///
/// What is addressed to the client's port (68; 546) comes from a server, whatever port it claims to come
/// from, because clients listen there. What is addressed to the server's port (67; 547) is told by its
/// content: `op` is `BOOTREPLY` (RFC 2131 §2), or the message type is one that only servers and relays send
/// back (RFC 8415 §7.3).
#[must_use]
pub fn sender(bytes: &[u8], layout: &Layout) -> Option<Sender> {
    if layout.transport != Transport::Udp {
        return None;
    }
    let header = udp::Header::new(bytes.get(usize::from(layout.transport_offset)..)?)?;
    let first = bytes.get(usize::from(layout.payload_offset)).copied().unwrap_or(0);
    let is_reply = match (layout.network, header.destination_port()) {
        (Network::Ipv4, 68) | (Network::Ipv6, 546) => true,
        (Network::Ipv4, 67) => first == 2,
        // ADVERTISE, REPLY, RECONFIGURE, RELAY-REPL.
        (Network::Ipv6, 547) => matches!(first, 2 | 7 | 10 | 13),
        _ => return None,
    };
    Some(if is_reply { Sender::Server } else { Sender::Client })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FiveTuple, build, parse};

    fn who(source: &str, ports: (u16, u16), payload: &[u8]) -> Option<Sender> {
        let tuple = FiveTuple {
            source: source.parse().unwrap(),
            destination: source.parse().unwrap(),
            protocol: 17,
            source_port: ports.0,
            destination_port: ports.1,
        };
        let frame = build::frame(build::Link::default(), &tuple, payload).unwrap();
        sender(&frame, &parse(&frame).unwrap())
    }

    #[test]
    fn servers_are_told_from_clients() {
        assert_eq!(who("0.0.0.0", (68, 67), &[1]), Some(Sender::Client));
        assert_eq!(who("10.0.0.1", (67, 68), &[2]), Some(Sender::Server));
        assert_eq!(who("10.0.0.1", (4000, 68), &[1]), Some(Sender::Server));
        assert_eq!(who("10.0.0.1", (67, 67), &[2]), Some(Sender::Server));
        assert_eq!(who("10.0.0.1", (67, 69), &[2]), None);
        assert_eq!(who("fe80::1", (546, 547), &[1]), Some(Sender::Client));
        assert_eq!(who("fe80::1", (547, 546), &[7]), Some(Sender::Server));
        assert_eq!(who("fe80::1", (547, 547), &[13]), Some(Sender::Server));
    }
}
