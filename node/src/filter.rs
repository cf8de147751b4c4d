//! The filter of `capture` (and, as the description of a packet, of `explain`): words with commas between
//! them, all of which have to hold.
//!
//! | word | holds for |
//! |---|---|
//! | `tcp` `udp` `sctp` `icmp` `arp` | the protocol; `icmp` is that of either IP version |
//! | `src=A[/L]` `dst=A[/L]` | the address (of ARP: sender and target) lies in the network |
//! | `host=A[/L]` | either address does |
//! | `sport=N` `dport=N` `port=N` | the port of TCP, UDP or SCTP; `port` is either |
//! | `mac=M` | source or destination MAC |
//! | `in=PORT` | the frame came in by the port of the switch with this name |
//!
//! The headers looked at are the outermost IP headers, behind any VLAN tags. A later fragment has no ports
//! and matches none.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use packet::protocol::ip_protocol;
use packet::{FiveTuple, Layout, MacAddress, Network, PortId, Transport};

use crate::explain::Described;

/// What a frame has to be.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filter {
    terms: Vec<Term>,
    ingress: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Term {
    Protocol(Protocol),
    Source(IpNet),
    Destination(IpNet),
    Host(IpNet),
    SourcePort(u16),
    DestinationPort(u16),
    Port(u16),
    Mac(MacAddress),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Protocol {
    Tcp,
    Udp,
    Sctp,
    Icmp,
    Arp,
}

/// A filter's text that cannot be understood.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FilterError {
    /// Not one of the words.
    #[error(
        "\"{0}\" is no word of a filter; there are tcp, udp, sctp, icmp, arp, src=, dst=, host=, sport=, dport=, port=, mac= and in="
    )]
    Unknown(String),
    /// A word's value is wrong.
    #[error("{word}={value}: {expected} is expected")]
    Value {
        /// The word.
        word: String,
        /// Its value.
        value: String,
        /// What its value has to be.
        expected: &'static str,
    },
    /// Two words that cannot both hold.
    #[error("no frame is both {0} and {1}")]
    Contradiction(String, String),
}

impl std::str::FromStr for Filter {
    type Err = FilterError;

    /// An empty text matches everything.
    fn from_str(text: &str) -> Result<Self, FilterError> {
        let mut filter = Self::default();
        let mut protocol_word: Option<&str> = None;
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let Some((name, value)) = word.split_once('=') else {
                let protocol = protocol(word).ok_or_else(|| FilterError::Unknown(word.to_owned()))?;
                match protocol_word.replace(word) {
                    Some(before) if before != word => {
                        return Err(FilterError::Contradiction(before.to_owned(), word.to_owned()));
                    }
                    _ => filter.terms.push(Term::Protocol(protocol)),
                }
                continue;
            };
            if name == "in" {
                match filter.ingress.replace(value.to_owned()) {
                    Some(before) if before != value => {
                        return Err(FilterError::Contradiction(format!("in={before}"), word.to_owned()));
                    }
                    _ => continue,
                }
            }
            filter.terms.push(term(name, value)?);
        }
        Ok(filter)
    }
}

fn protocol(word: &str) -> Option<Protocol> {
    Some(match word {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        "icmp" => Protocol::Icmp,
        "arp" => Protocol::Arp,
        _ => return None,
    })
}

fn term(name: &str, value: &str) -> Result<Term, FilterError> {
    let wrong = |expected| FilterError::Value { word: name.to_owned(), value: value.to_owned(), expected };
    let network = || {
        let host = || value.parse::<IpAddr>().map(IpNet::from);
        value.parse::<IpNet>().or_else(|_| host()).map_err(|_| wrong("an address or a network"))
    };
    let port = || value.parse::<u16>().map_err(|_| wrong("a port, 0 to 65535,"));
    Ok(match name {
        "src" => Term::Source(network()?),
        "dst" => Term::Destination(network()?),
        "host" => Term::Host(network()?),
        "sport" => Term::SourcePort(port()?),
        "dport" => Term::DestinationPort(port()?),
        "port" => Term::Port(port()?),
        "mac" => Term::Mac(value.parse().map_err(|_| wrong("a MAC address, such as 02:00:00:00:00:11,"))?),
        _ => return Err(FilterError::Unknown(format!("{name}={value}"))),
    })
}

impl Filter {
    /// True if every frame matches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty() && self.ingress.is_none()
    }

    /// The name given with `in=`, for the caller to find the port's number.
    #[must_use]
    pub fn ingress(&self) -> Option<&str> {
        self.ingress.as_deref()
    }

    /// The one packet that the words describe, as `explain` wants it.
    ///
    /// # Errors
    /// A sentence: what is missing, or says too little.
    pub fn describe(&self) -> Result<Described, String> {
        let ingress = self.ingress.clone();
        let ingress = ingress.ok_or("in=PORT is missing: the port that the packet comes in by")?;
        let (mut protocol, mut source, mut destination, mut ports) = (None, None, None, (0, 0));
        for term in &self.terms {
            match *term {
                Term::Protocol(word) => protocol = Some(word),
                Term::Source(network) => source = Some(one_address(network)?),
                Term::Destination(network) => destination = Some(one_address(network)?),
                Term::SourcePort(port) => ports.0 = port,
                Term::DestinationPort(port) => ports.1 = port,
                Term::Host(_) | Term::Port(_) | Term::Mac(_) => {
                    return Err("host=, port= and mac= say too little about a packet: use src=, dst=, \
                                sport= and dport="
                        .to_owned());
                }
            }
        }
        let source = source.ok_or("src=ADDRESS is missing")?;
        let destination = destination.ok_or("dst=ADDRESS is missing")?;
        if source.is_ipv4() != destination.is_ipv4() {
            return Err(format!("{source} and {destination} are of different families"));
        }
        let protocol = match protocol {
            Some(Protocol::Tcp) => ip_protocol::TCP,
            Some(Protocol::Udp) => ip_protocol::UDP,
            Some(Protocol::Sctp) => ip_protocol::SCTP,
            Some(Protocol::Icmp) if source.is_ipv4() => ip_protocol::ICMP,
            Some(Protocol::Icmp) => ip_protocol::ICMPV6,
            Some(Protocol::Arp) | None => {
                return Err("a protocol is missing: tcp, udp, sctp or icmp".to_owned());
            }
        };
        let (source_port, destination_port) = ports;
        let flow = FiveTuple { source, destination, protocol, source_port, destination_port };
        Ok(Described { ingress, flow })
    }

    /// Whether the frame `bytes` matches. `layout` is `None` for what is too short for an Ethernet header.
    /// The ingress port is not looked at here: see [`bind`](Self::bind).
    #[must_use]
    pub fn matches(&self, bytes: &[u8], layout: Option<&Layout>) -> bool {
        if self.terms.is_empty() {
            return true;
        }
        let facts = Facts::read(bytes, layout);
        self.terms.iter().all(|term| facts.satisfy(*term))
    }

    /// The filter as a function that also looks at the ingress port, `ingress` being the number of the port
    /// that `in=` names.
    pub fn bind(
        self,
        ingress: Option<PortId>,
    ) -> impl Fn(&[u8], Option<&Layout>, PortId) -> bool + Send + Sync + 'static {
        move |bytes, layout, port| {
            ingress.is_none_or(|ingress| ingress == port) && self.matches(bytes, layout)
        }
    }
}

fn one_address(network: IpNet) -> Result<IpAddr, String> {
    let is_one = network.prefix_len() == network.max_prefix_len();
    if is_one { Ok(network.addr()) } else { Err(format!("{network} is not one address")) }
}

/// What the terms look at.
struct Facts {
    macs: Option<(MacAddress, MacAddress)>,
    protocol: Option<Protocol>,
    addresses: Option<(IpAddr, IpAddr)>,
    ports: Option<(u16, u16)>,
}

impl Facts {
    fn read(bytes: &[u8], layout: Option<&Layout>) -> Self {
        let macs = MacAddress::read(bytes, 6).zip(MacAddress::read(bytes, 0));
        let mut facts = Self { macs, protocol: None, addresses: None, ports: None };
        let Some(layout) = layout else { return facts };
        if layout.network == Network::Arp {
            facts.protocol = Some(Protocol::Arp);
            facts.addresses = arp_addresses(bytes, layout);
            return facts;
        }
        let Some(tuple) = FiveTuple::read(bytes, layout) else { return facts };
        facts.addresses = Some((tuple.source, tuple.destination));
        // By number: a later fragment of TCP is TCP too.
        facts.protocol = match tuple.protocol {
            1 | 58 => Some(Protocol::Icmp),
            6 => Some(Protocol::Tcp),
            17 => Some(Protocol::Udp),
            132 => Some(Protocol::Sctp),
            _ => None,
        };
        if matches!(layout.transport, Transport::Tcp | Transport::Udp | Transport::Sctp) {
            facts.ports = Some((tuple.source_port, tuple.destination_port));
        }
        facts
    }

    fn satisfy(&self, term: Term) -> bool {
        let addresses =
            |test: &dyn Fn(IpAddr, IpAddr) -> bool| self.addresses.is_some_and(|(a, b)| test(a, b));
        match term {
            Term::Protocol(protocol) => self.protocol == Some(protocol),
            Term::Source(network) => addresses(&|source, _| network.contains(&source)),
            Term::Destination(network) => addresses(&|_, destination| network.contains(&destination)),
            Term::Host(network) => addresses(&|a, b| network.contains(&a) || network.contains(&b)),
            Term::SourcePort(port) => self.ports.is_some_and(|(source, _)| source == port),
            Term::DestinationPort(port) => self.ports.is_some_and(|(_, destination)| destination == port),
            Term::Port(port) => self.ports.is_some_and(|(a, b)| a == port || b == port),
            Term::Mac(mac) => self.macs.is_some_and(|(a, b)| a == mac || b == mac),
        }
    }
}

/// Sender and target protocol address (RFC 826, for Ethernet and IPv4).
fn arp_addresses(bytes: &[u8], layout: &Layout) -> Option<(IpAddr, IpAddr)> {
    let packet = bytes.get(usize::from(layout.network_offset)..)?;
    let address = |at: usize| {
        let octets: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
        Some(IpAddr::from(Ipv4Addr::from(octets)))
    };
    Some((address(14)?, address(24)?))
}

#[cfg(test)]
mod tests;
