//! The routing stage: what of a burst is the router's, and what becomes of it.
//!
//! # Theory of operation
//!
//! **From the bridge** come the frames that the forwarding database has sent to the gateway's MAC. What is for the
//! node itself (its addresses, link-local ones, what `[host] cidrs` names) goes on to the host port as it came. The
//! rest is validated (RFC 1812 §5.2, §5.3), checked against spoofing, and routed: the destinations of a burst are
//! looked up together, so that their cache misses overlap.
//!
//! **From the uplink** comes whatever the kernel's network card hears. The kernel has a copy of its own, and for most
//! of it that is the one that counts. Ours is what is addressed to the card and leads to the bridge.
//!
//! **ARP and neighbor discovery** are answered for the gateway's addresses and heard of all others. Flooded ones are
//! looked at here, too, and go on their way through the bridge unless they asked the gateway.
//!
//! **To send** a frame means to rewrite it in place and to make its verdict the port that it leaves by; the next
//! stage sends it together with what was bridged. A frame whose next hop has no MAC yet leaves the burst and
//! [waits](waiting). A frame that is refused makes an error, one of the [replies].
//!
//! **Service traffic** is pinned to the host port ([`pins`](crate::pins)), with and without a router.

mod errors;
mod gateway;
mod lists;
mod pinning;
mod replies;
mod waiting;

pub(crate) use replies::Replies;
pub(crate) use waiting::{Released, Waiting};

use std::net::IpAddr;

use packet::{BURST_FRAMES, Burst, DropReason, Fragment, Frame, Layout, MacAddress, Network, PortId};
use packet::{FiveTuple, Random, edit};
use router::fib::RouteDecision;
use router::fragment::{Fit, fit};
use router::icmp_error::Problem;
use router::lpm::Value;
use router::neighbor::Lookup;
use router::rate_limit::{Limits, RateLimiter};
use router::validate::{Validity, is_link_local, validate_for_gateway};
use switch::Forwarding;

use crate::events::Events;
use crate::fate::Fate;
use crate::pins::Pins;
use crate::punts::Punt;
use crate::routing::{Link, LinkId, Routing};
use crate::snapshot::{PortEntry, PortRole};
use crate::view::View;
use lists::Lists;
use packet::keyed_hash::KeyedHash;

/// What a worker keeps for routing.
#[derive(Debug)]
pub(crate) struct Router {
    pub(crate) waiting: Waiting,
    pub(crate) replies: Replies,
    pub(crate) pins: Pins,
    answers: RateLimiter,
    errors: RateLimiter,
    random: Random,
    lists: Lists,
    flows: KeyedHash,
}

impl Router {
    /// All memory is allocated here. `seed` is random and secret.
    pub(crate) fn new(pins: Pins, seed: u64) -> Self {
        let mut random = Random::new(seed);
        Self {
            waiting: Waiting::new(&mut random),
            replies: Replies::default(),
            pins,
            answers: RateLimiter::new(Limits::ANSWERS, random.draw()),
            errors: RateLimiter::new(Limits::ICMP_ERRORS, random.draw()),
            lists: Lists::default(),
            // The same in every run, so that a flow's way does not depend on when the daemon was started.
            flows: KeyedHash::new(0),
            random,
        }
    }
}

/// The stage at work on one burst.
pub(crate) struct RouteStage<'a> {
    pub(crate) burst: &'a mut Burst,
    pub(crate) layouts: &'a mut [Option<Layout>; BURST_FRAMES],
    pub(crate) fates: &'a mut [Fate; BURST_FRAMES],
    pub(crate) verdicts: &'a mut [Forwarding],
    pub(crate) view: &'a View<'a>,
    pub(crate) pool: &'a mut packet::BufferPool,
    pub(crate) router: &'a mut Router,
    pub(crate) events: &'a Events,
}

/// What the FIB has found for a packet.
#[derive(Clone, Copy)]
struct Found {
    destination: IpAddr,
    toward_destination: Option<Value>,
    source: IpAddr,
    /// Found only for what does not come from a port that is bound to addresses.
    toward_source: Option<Value>,
}

impl RouteStage<'_> {
    /// Treats the burst's frames by the verdicts that the bridge gave, and changes those of the router's.
    pub(crate) fn run(&mut self) {
        let snapshot = self.view.snapshot;
        let gateway_port = snapshot.routing().map(|routing| routing.bridge.port);
        let pins = snapshot.host().is_some();
        if gateway_port.is_none() && !pins && !snapshot.has_uplink() {
            return;
        }
        self.router.lists.clear();
        let has_pins = pins && !self.router.pins.is_empty();
        let mut start = 0;
        while let Some(&verdict) = self.verdicts.get(start) {
            let row = self.verdicts[start..].iter().take_while(|&&other| other == verdict).count();
            let row = start..start + row;
            start = row.end;
            match verdict {
                Forwarding::Unicast(port) if Some(port) == gateway_port => {
                    row.for_each(|at| self.take_for_gateway(at));
                }
                Forwarding::Unicast(_) if pins => row.for_each(|at| self.mind_pins(at, has_pins)),
                Forwarding::Flood if gateway_port.is_some() => row.for_each(|at| self.overhear(at)),
                Forwarding::Drop(_) if snapshot.has_uplink() => row.for_each(|at| self.take_from_uplink(at)),
                Forwarding::Unicast(_) | Forwarding::Flood | Forwarding::Drop(_) => {}
            }
        }
        if let Some(routing) = snapshot.routing() {
            self.route_listed(routing);
        }
    }

    /// A frame from the bridge for the gateway's MAC.
    fn take_for_gateway(&mut self, at: usize) {
        let Some(routing) = self.view.snapshot.routing() else { return };
        let frame = &self.burst.frames()[at];
        let Some(layout) = self.layouts[at] else { return };
        let is_plain =
            layout.vlan_tags == 0 && MacAddress::read(frame.bytes(), 0) == Some(routing.bridge.gateway.mac);
        match layout.network {
            _ if !is_plain => self.leave_to_host(at, routing),
            Network::Ipv4 | Network::Ipv6 if self.reply_of_pinned(at) => {}
            _ if gateway::is_neighbor_message(frame.bytes(), &layout) => self.neighbor_message(at, routing),
            Network::Ipv4 | Network::Ipv6 => {
                let minds_source = !self.is_bound_to_addresses(frame.ingress);
                self.router.lists.add(frame.bytes(), &layout, at, minds_source);
            }
            Network::Malformed => self.refuse(at, DropReason::BadIpHeader),
            Network::Opaque | Network::Arp => self.leave_to_host(at, routing),
        }
    }

    /// A frame that the bridge has not decided on: one from the uplink, or one that is dropped already.
    fn take_from_uplink(&mut self, at: usize) {
        let frame = &self.burst.frames()[at];
        let is_from_uplink = self.fates[at].reason.is_none()
            && self.view.snapshot.port(frame.ingress).is_some_and(|entry| entry.role == PortRole::Uplink);
        if !is_from_uplink {
            return;
        }
        // Unless it turns out to be ours it is the kernel's.
        self.fates[at].consumed = true;
        let (Some(routing), Some(layout)) = (self.view.snapshot.routing(), self.layouts[at]) else { return };
        let Some(uplink) = routing.uplink.as_ref().filter(|uplink| uplink.port == frame.ingress) else {
            return;
        };
        if layout.vlan_tags != 0 {
            return;
        }
        let to = MacAddress::read(frame.bytes(), 0);
        if MacAddress::read(frame.bytes(), 6) == Some(uplink.gateway.mac) {
            self.pin_sent_by_host(at);
        } else if gateway::is_neighbor_message(frame.bytes(), &layout) {
            self.hear_on_uplink(at, uplink);
        } else if layout.is_ip() && to == Some(uplink.gateway.mac) && !self.return_to_host(at) {
            let frame = &self.burst.frames()[at];
            self.router.lists.add(frame.bytes(), &layout, at, true);
        }
    }

    /// Looks all listed packets up together, and decides on each.
    fn route_listed(&mut self, routing: &Routing) {
        self.router.lists.look_up(&routing.fib);
        for nth in 0..self.router.lists.len() {
            let (at, found) = self.router.lists.found(nth);
            self.route(at, found, routing);
        }
    }

    /// Decides on one packet.
    fn route(&mut self, at: usize, found: Found, routing: &Routing) {
        let Some(layout) = self.layouts[at] else { return };
        let frame = &self.burst.frames()[at];
        let flow_hash = || flow_hash(self.router.flows, frame, &layout);
        let decision = routing.fib.decide(found.toward_destination, flow_hash);
        let is_from_uplink = self.fates[at].consumed;
        if is_from_uplink {
            let (RouteDecision::Connected { port }
            | RouteDecision::Forward(&router::next_hop::NextHop { port, .. })) = decision
            else {
                return;
            };
            if port != routing.bridge.port || is_link_local(found.destination) {
                return;
            }
            self.fates[at].consumed = false;
        } else if decision == RouteDecision::Local || is_link_local(found.destination) {
            self.give_to_node(at, found, routing);
            return;
        }
        let validity = routing.rules.validate(frame.bytes(), &layout);
        if let Validity::Discard(reason) = validity {
            return self.refuse(at, reason);
        }
        // Before any error: nobody is told of a packet that was sent in his name.
        if let Err(reason) = self.check_reverse_path(frame, found, is_from_uplink, routing) {
            return self.refuse(at, reason);
        }
        if let Validity::Refuse(reason, problem) = validity {
            return self.refuse_aloud(at, reason, problem);
        }
        let (next, port) = match decision {
            RouteDecision::Forward(hop) => (hop.gateway, hop.port),
            RouteDecision::Connected { port } => (found.destination, port),
            RouteDecision::Local => return self.refuse(at, DropReason::NotForGateway),
            RouteDecision::Blackhole => return self.refuse(at, DropReason::RouteBlackhole),
            RouteDecision::Prohibit => {
                return self.refuse_aloud(at, DropReason::RouteProhibited, Problem::Prohibited);
            }
            RouteDecision::Unreachable => {
                return self.refuse_aloud(at, DropReason::RouteUnreachable, Problem::HostUnreachable);
            }
            RouteDecision::NoRoute => {
                return self.refuse_aloud(at, DropReason::NoRoute, Problem::NetUnreachable);
            }
        };
        match routing.link_of(port) {
            Some((id, link)) => self.hand_to(at, id, link, next),
            None => self.refuse_aloud(at, DropReason::RouteUnreachable, Problem::HostUnreachable),
        }
    }

    /// Whether the packet came from where its source is (RFC 3704 §2.2). A port that is bound to addresses has been
    /// checked before; one that is bound to a MAC alone has not.
    fn check_reverse_path(
        &self,
        frame: &Frame,
        found: Found,
        is_from_uplink: bool,
        routing: &Routing,
    ) -> Result<(), DropReason> {
        if is_from_uplink {
            // The kernel may have other devices to answer by; but what is on the bridge cannot come from outside.
            let owns = |link: &Link| link.gateway.owns(found.source);
            if owns(&routing.bridge) || routing.uplink.as_ref().is_some_and(owns) {
                return Err(DropReason::MartianSource);
            }
            let is_inside = routing.fib.ports_of(found.toward_source).contains(&routing.bridge.port);
            let leads_nowhere = matches!(
                routing.fib.decide(found.toward_source, || 0),
                RouteDecision::Blackhole | RouteDecision::Prohibit | RouteDecision::Unreachable
            );
            return if is_inside || leads_nowhere { Err(DropReason::ReversePath) } else { Ok(()) };
        }
        // There is no other way back to a link-local address than its link.
        if self.is_bound_to_addresses(frame.ingress) || is_link_local(found.source) {
            return Ok(());
        }
        let is_inside = routing.fib.ports_of(found.toward_source).contains(&routing.bridge.port);
        let is_elsewhere = match routing.bridge.neighbors.lookup(found.source) {
            Lookup::Usable { port, .. } => port != frame.ingress,
            Lookup::Unreachable | Lookup::Unknown => false,
        };
        if is_inside && !is_elsewhere { Ok(()) } else { Err(DropReason::ReversePath) }
    }

    fn is_bound_to_addresses(&self, port: PortId) -> bool {
        let binding = self.view.snapshot.port(port).and_then(|entry| entry.binding.as_ref());
        binding.is_some_and(|binding| !binding.addresses.is_empty())
    }

    /// Hands a packet to the neighbor `next`, or lets it wait for it.
    fn hand_to(&mut self, at: usize, id: LinkId, link: &Link, next: IpAddr) {
        let looked_up =
            if self.router.waiting.awaits(id, next) { Lookup::Unknown } else { link.neighbors.lookup(next) };
        match looked_up {
            Lookup::Usable { mac, port, tell } => {
                if let Some(tell) = tell {
                    self.tell_of_use(id, next, tell, self.burst.frames()[at].ingress);
                }
                self.forward(at, link, mac, port);
            }
            Lookup::Unreachable => {
                self.refuse_aloud(at, DropReason::NeighborUnresolved, Problem::HostUnreachable);
            }
            Lookup::Unknown => self.wait(at, id, next),
        }
    }

    fn tell_of_use(&mut self, link: LinkId, address: IpAddr, tell: u32, asker: PortId) {
        let reports = self.router.waiting.reports(link);
        if reports.first_use(tell) && !self.events.punt(Punt::Used { link, address, asker }) {
            reports.not_told(tell);
        }
    }

    /// Rewrites a packet for the neighbor with this MAC behind `port`, which then sends it.
    fn forward(&mut self, at: usize, link: &Link, mac: MacAddress, port: PortId) {
        let (Some(layout), Some(entry)) = (self.layouts[at], self.view.snapshot.port(port)) else {
            return self.refuse(at, DropReason::EgressDown);
        };
        let frame = &mut self.burst.frames_mut()[at];
        match fit(frame.bytes(), &layout, frame.offload, entry.mtu_bytes) {
            Fit::Whole => {}
            Fit::Fragment => self.fates[at].is_to_be_fragmented = true,
            Fit::Refuse(problem) => return self.refuse_aloud(at, DropReason::PacketTooBig, problem),
        }
        // Padding belongs to the link that it came by, and would be summed where a checksum is left to complete.
        frame.truncate(usize::try_from(layout.packet_end).unwrap_or(usize::MAX));
        let bytes = frame.bytes_mut();
        // It has been validated: there is at least one hop left.
        let _ = edit::decrement_hop_limit_and_checksum(bytes, &layout);
        if let Some(macs) = bytes.first_chunk_mut::<12>() {
            macs[..6].copy_from_slice(&mac.0);
            macs[6..].copy_from_slice(&link.gateway.mac.0);
        }
        self.verdicts[at] = Forwarding::Unicast(port);
    }

    /// A packet for the node itself: the host's, or if there is no host port the gateway's.
    fn give_to_node(&mut self, at: usize, found: Found, routing: &Routing) {
        if self.view.snapshot.host().is_some() {
            self.verdicts[at] = Forwarding::Unicast(routing.bridge.port);
            return;
        }
        let (frame, Some(layout)) = (&self.burst.frames()[at], self.layouts[at]) else { return };
        let validity = validate_for_gateway(frame.bytes(), &layout);
        match (validity, self.check_reverse_path(frame, found, false, routing)) {
            (Validity::Discard(reason), _) | (_, Err(reason)) => self.refuse(at, reason),
            (Validity::Refuse(reason, problem), Ok(())) => self.refuse_aloud(at, reason, problem),
            (Validity::Forwardable, Ok(())) => self.answer_echo(at, found.source, routing),
        }
    }

    /// A frame for the gateway's MAC that is nothing for a router.
    fn leave_to_host(&mut self, at: usize, routing: &Routing) {
        if self.view.snapshot.host().is_none_or(|host| host.port != routing.bridge.port) {
            self.refuse(at, DropReason::NotForGateway);
        }
    }

    /// Drops a frame.
    fn refuse(&mut self, at: usize, reason: DropReason) {
        self.fates[at].drop_for(reason);
        self.verdicts[at] = Forwarding::Drop(reason);
    }

    /// The frame was for the router itself, and is done with.
    fn consume(&mut self, at: usize) {
        self.fates[at].consumed = true;
        self.verdicts[at] = Forwarding::Drop(DropReason::NotForGateway);
    }

    fn entry_of(&self, at: usize) -> Option<&PortEntry> {
        self.view.snapshot.port(self.burst.frames()[at].ingress)
    }
}

/// The hash that the next hop of a flow is chosen by: of the ports, too, unless fragments have to take the same way
/// as those without.
#[cold]
fn flow_hash(hash: KeyedHash, frame: &Frame, layout: &Layout) -> u32 {
    let Some(mut flow) = FiveTuple::read(frame.bytes(), layout) else { return 0 };
    if layout.fragment != Fragment::Whole {
        (flow.source_port, flow.destination_port) = (0, 0);
    }
    u32::try_from(hash.of_flow(&flow) >> 32).unwrap_or(0)
}
