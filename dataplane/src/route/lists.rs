//! The packets of a burst that are to be looked up, by family.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use packet::{BURST_FRAMES, Layout, Network, ipv4, ipv6};
use router::fib::Fib;
use router::lpm::Value;

use super::Found;

/// Two addresses of each packet: destinations stand before sources.
#[derive(Debug)]
struct List<A> {
    frames: Vec<usize>,
    destinations: Vec<A>,
    sources: Vec<A>,
    toward_destinations: [Option<Value>; BURST_FRAMES],
    toward_sources: [Option<Value>; BURST_FRAMES],
    /// Somebody asks where the sources are.
    minds_sources: bool,
}

impl<A> Default for List<A> {
    fn default() -> Self {
        Self {
            frames: Vec::with_capacity(BURST_FRAMES),
            destinations: Vec::with_capacity(BURST_FRAMES),
            sources: Vec::with_capacity(BURST_FRAMES),
            toward_destinations: [None; BURST_FRAMES],
            toward_sources: [None; BURST_FRAMES],
            minds_sources: false,
        }
    }
}

impl<A: Copy + Into<IpAddr>> List<A> {
    #[inline]
    fn add(&mut self, at: usize, destination: A, source: A, minds_source: bool) {
        self.minds_sources |= minds_source;
        self.frames.push(at);
        self.destinations.push(destination);
        self.sources.push(source);
    }

    fn look_up(&mut self, look_up: impl Fn(&[A], &mut [Option<Value>])) {
        if !self.frames.is_empty() {
            look_up(&self.destinations, &mut self.toward_destinations);
        }
        if self.minds_sources {
            look_up(&self.sources, &mut self.toward_sources);
        }
    }

    fn clear(&mut self) {
        self.frames.clear();
        self.destinations.clear();
        self.sources.clear();
        self.minds_sources = false;
    }

    fn found(&self, nth: usize) -> (usize, Found) {
        let found = Found {
            destination: self.destinations[nth].into(),
            toward_destination: self.toward_destinations[nth],
            source: self.sources[nth].into(),
            toward_source: self.toward_sources[nth],
        };
        (self.frames[nth], found)
    }
}

/// The packets of both families.
#[derive(Debug, Default)]
pub(super) struct Lists {
    v4: List<Ipv4Addr>,
    v6: List<Ipv6Addr>,
}

impl Lists {
    /// Adds the packet of frame `at`, if it is one. Where the source is will be found only if somebody `minds_source`.
    #[inline]
    pub(super) fn add(&mut self, bytes: &[u8], layout: &Layout, at: usize, minds_source: bool) {
        let network = bytes.get(usize::from(layout.network_offset)..).unwrap_or_default();
        match layout.network {
            Network::Ipv4 => {
                if let Some(header) = ipv4::Header::new(network) {
                    self.v4.add(at, header.destination(), header.source(), minds_source);
                }
            }
            Network::Ipv6 => {
                if let Some(header) = ipv6::Header::new(network) {
                    self.v6.add(at, header.destination(), header.source(), minds_source);
                }
            }
            Network::Opaque | Network::Arp | Network::Malformed => {}
        }
    }

    pub(super) fn look_up(&mut self, fib: &Fib) {
        self.v4.look_up(|addresses, found| fib.find_burst_v4(addresses, found));
        self.v6.look_up(|addresses, found| fib.find_burst_v6(addresses, found));
    }

    /// Packets in the lists.
    pub(super) fn len(&self) -> usize {
        self.v4.frames.len() + self.v6.frames.len()
    }

    /// What was found for one of them, with the position of its frame. Those of one flow stand in their order.
    pub(super) fn found(&self, nth: usize) -> (usize, Found) {
        match nth.checked_sub(self.v4.frames.len()) {
            None => self.v4.found(nth),
            Some(nth) => self.v6.found(nth),
        }
    }

    pub(super) fn clear(&mut self) {
        self.v4.clear();
        self.v6.clear();
    }
}
