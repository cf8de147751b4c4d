//! The routes as the workers read them (the forwarding information base).
//!
//! # Theory of operation
//! **Storage.** A longest-prefix-match table a family ([`lpm`](crate::lpm)) gives the number of a *target*; the
//! targets stand in a list that both share: where the route leads, with the buckets of its next hops. Routes
//! that lead to the same place share one target, so a million routes by a dozen gateways have a dozen.
//!
//! **Change.** [`FibCompiler`] is the control side's: it follows the [`Rib`] prefix by prefix, counts how many
//! routes use a target, and gives out the number of one that nobody uses again. [`FibCompiler::fib`] makes a
//! [`Fib`], which never changes and shares all that did not with those before; a worker sees one or the other.
//!
//! **Bounds.** [`ROUTES_MAX`](crate::lpm::ROUTES_MAX) routes a family, [`Value::COUNT`] targets.

mod compiler;

pub use compiler::{FibCompiler, FibError};

use crate::lpm::{LongestPrefixMatch, Table, Value};
use crate::next_hop::{NextHop, NextHops};
use packet::PortId;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

#[cfg(doc)]
use crate::rib::Rib;

/// What is to be done with a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RouteDecision<'a> {
    /// Hand it to this neighbor.
    Forward(&'a NextHop),
    /// Hand it to its destination, which is a neighbor.
    Connected {
        /// The port behind which it is.
        port: PortId,
    },
    /// It is the node's own.
    Local,
    /// Drop it without a word.
    Blackhole,
    /// Drop it and tell the sender that it is prohibited (RFC 1812 §5.2.7.1, code 13; RFC 4443 §3.1, code 1).
    Prohibit,
    /// Drop it and tell the sender that the host is unreachable (RFC 1812 §5.2.7.1, code 1; RFC 4443 §3.1,
    /// code 3).
    Unreachable,
    /// There is no route (RFC 1812 §5.2.7.1, code 0; RFC 4443 §3.1, code 0).
    NoRoute,
}

/// Where some routes lead.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Target {
    action: Action,
    /// The ports that packets may leave by, none twice.
    ports: Box<[PortId]>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Action {
    Forward(NextHops),
    Connected { port: PortId },
    Local,
    Blackhole,
    Prohibit,
    Unreachable,
}

/// An immutable forwarding table of both families; how it works stands at the top of its source file. A clone
/// shares all storage.
#[derive(Clone, Debug)]
pub struct Fib {
    v4: Table<Ipv4Addr>,
    v6: Table<Ipv6Addr>,
    targets: Arc<Vec<Option<Arc<Target>>>>,
}

impl Fib {
    /// What is to be done with a packet to `destination`. `flow_hash` is the same for all packets of a flow,
    /// which therefore take the same way as long as it exists.
    #[must_use]
    pub fn lookup(&self, destination: IpAddr, flow_hash: u32) -> RouteDecision<'_> {
        self.decide(self.find(destination), || flow_hash)
    }

    /// The matches of a burst of IPv4 destinations, for [`Fib::decide`]: `matches[i]` is for
    /// `destinations[i]`. Where the two differ in length, what the longer one has in excess is left alone.
    pub fn find_burst_v4(&self, destinations: &[Ipv4Addr], matches: &mut [Option<Value>]) {
        self.v4.lookup_burst(destinations, matches);
    }

    /// The same for IPv6.
    pub fn find_burst_v6(&self, destinations: &[Ipv6Addr], matches: &mut [Option<Value>]) {
        self.v6.lookup_burst(destinations, matches);
    }

    /// The decision for a match that this table found. `flow_hash` is asked for the flow's hash only where there is a
    /// choice.
    #[inline]
    #[must_use]
    pub fn decide(&self, found: Option<Value>, flow_hash: impl FnOnce() -> u32) -> RouteDecision<'_> {
        match self.target(found).map(|target| &target.action) {
            Some(Action::Forward(hops)) => RouteDecision::Forward(match hops.all() {
                [only] => only,
                _ => hops.of_flow(flow_hash()),
            }),
            Some(Action::Connected { port }) => RouteDecision::Connected { port: *port },
            Some(Action::Local) => RouteDecision::Local,
            Some(Action::Blackhole) => RouteDecision::Blackhole,
            Some(Action::Prohibit) => RouteDecision::Prohibit,
            Some(Action::Unreachable) => RouteDecision::Unreachable,
            None => RouteDecision::NoRoute,
        }
    }

    /// The ports by which packets to `address` may leave, all next hops considered: for the strict reverse-path
    /// check (RFC 3704 §2.2), a packet with this source is genuine only if it came in by one of them. Empty if
    /// there is no route, or none that leads out.
    #[must_use]
    pub fn ports_toward(&self, address: IpAddr) -> &[PortId] {
        self.ports_of(self.find(address))
    }

    /// The same for a match that this table found.
    #[inline]
    #[must_use]
    pub fn ports_of(&self, found: Option<Value>) -> &[PortId] {
        self.target(found).map_or(&[], |target| &target.ports)
    }

    /// Memory that look-ups use, in bytes. Some of it may be shared with older and newer tables.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let targets = self.targets.iter().flatten().map(|target| size_of_val(target.as_ref()));
        self.v4.memory_bytes() + self.v6.memory_bytes() + targets.sum::<usize>()
    }

    fn find(&self, address: IpAddr) -> Option<Value> {
        match address {
            IpAddr::V4(address) => self.v4.lookup(address),
            IpAddr::V6(address) => self.v6.lookup(address),
        }
    }

    #[inline]
    fn target(&self, found: Option<Value>) -> Option<&Target> {
        self.targets.get(found?.index())?.as_deref()
    }
}
