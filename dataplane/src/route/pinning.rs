//! Service traffic: which flows are pinned to the host port, and which packets follow a pin.

use packet::protocol::ip_protocol;
use packet::{DropReason, FiveTuple, Fragment, Layout, Network, Transport, icmp, icmpv6, ipv4, ipv6};
use router::fib::RouteDecision;
use router::validate::is_link_local;
use switch::Forwarding;

use super::RouteStage;
use crate::routing::HostPort;

impl RouteStage<'_> {
    /// A frame from one port of the bridge to another one.
    pub(super) fn mind_pins(&mut self, at: usize, has_pins: bool) {
        let Some(host) = self.view.snapshot.host() else { return };
        if self.burst.frames()[at].ingress == host.port {
            self.pin(at);
        } else if has_pins && self.verdicts[at] != Forwarding::Unicast(host.port) && self.follows_pin(at) {
            self.turn_to(at, host);
        }
    }

    /// A packet from the uplink to a pod: true if it follows a pin, and goes to the host's kernel by its port, since the
    /// kernel has been kept from seeing it at the uplink.
    pub(super) fn return_to_host(&mut self, at: usize) -> bool {
        let Some(host) = self.view.snapshot.host() else { return false };
        if self.router.pins.is_empty() || !self.follows_pin(at) {
            return false;
        }
        self.fates[at].consumed = false;
        self.turn_to(at, host);
        true
    }

    fn turn_to(&mut self, at: usize, host: &HostPort) {
        if let Some(destination) = self.burst.frames_mut()[at].bytes_mut().first_chunk_mut() {
            *destination = host.mac.0;
        }
        self.verdicts[at] = Forwarding::Unicast(host.port);
    }

    /// A packet that the host's kernel has sent by the uplink itself. If it is a pod's, the kernel has translated its
    /// destination, and is to see the answers.
    pub(super) fn pin_sent_by_host(&mut self, at: usize) {
        if let Some((_, flow)) = self.flow_to_pin(at)
            && self.view.snapshot.host().is_some_and(|host| host.is_pod(flow.source))
        {
            self.router.pins.pin(&flow.reversed(), self.view.now_ms);
        }
    }

    /// A frame for the gateway's MAC: true if it follows a pin to the host port, where the bridge has sent it already.
    pub(super) fn reply_of_pinned(&self, at: usize) -> bool {
        self.view.snapshot.host().is_some() && !self.router.pins.is_empty() && self.follows_pin(at)
    }

    /// A frame from the host port to a pod: pins its flow, unless it is the host's own.
    fn pin(&mut self, at: usize) {
        let Some((layout, flow)) = self.flow_to_pin(at) else { return };
        if is_redirect(self.burst.frames()[at].bytes(), &layout) {
            return self.refuse(at, DropReason::HostRedirect);
        }
        let snapshot = self.view.snapshot;
        let is_translated = match (snapshot.routing(), snapshot.host()) {
            (Some(routing), _) => {
                // A link-local address is the host's own: nobody else's gets through a host.
                !is_link_local(flow.source) && routing.fib.lookup(flow.source, 0) != RouteDecision::Local
            }
            // What is for others than pods goes to the host port anyway.
            (None, Some(host)) => host.is_pod(flow.source),
            (None, None) => false,
        };
        if is_translated {
            self.router.pins.pin(&flow.reversed(), self.view.now_ms);
        }
    }

    /// The flow of a packet, unless it does not tell.
    fn flow_to_pin(&self, at: usize) -> Option<(Layout, FiveTuple)> {
        let layout =
            self.layouts[at].filter(|layout| layout.is_ip() && layout.fragment != Fragment::Later)?;
        Some((layout, FiveTuple::read(self.burst.frames()[at].bytes(), &layout)?))
    }

    /// Whether a packet belongs to the replies of a pinned flow, or is an error about it.
    fn follows_pin(&self, at: usize) -> bool {
        let bytes = self.burst.frames()[at].bytes();
        let Some(layout) = self.layouts[at].filter(|layout| layout.is_ip() && layout.vlan_tags == 0) else {
            return false;
        };
        let Some(flow) = FiveTuple::read(bytes, &layout) else { return false };
        let (pins, now_ms) = (&self.router.pins, self.view.now_ms);
        let of_fragments = || fragments(flow, bytes, &layout);
        // An error about a flow is for the end of it: another's would be sent the host's way by a mere quotation.
        let is_to_its_end = |quoted: &FiveTuple| quoted.source == flow.destination;
        let of_reply = || quoted(bytes, &layout).filter(is_to_its_end).map_or(flow, FiveTuple::reversed);
        match layout.fragment {
            Fragment::Later => {
                of_fragments().is_some_and(|packet| pins.are_fragments_pinned(&packet, now_ms))
            }
            _ if !pins.is_pinned(&of_reply(), now_ms) => false,
            Fragment::Whole => true,
            Fragment::First => {
                // Those that follow have no ports to be known by.
                of_fragments().inspect(|packet| pins.pin_fragments(packet, now_ms));
                true
            }
        }
    }
}

/// True for a message that tells a pod to go by another way than the gateway. The kernel sends it where it translates a
/// service's address to that of a pod on the same link.
fn is_redirect(bytes: &[u8], layout: &Layout) -> bool {
    let kind = bytes.get(usize::from(layout.transport_offset)).copied();
    match layout.transport {
        Transport::Icmp => kind == Some(icmp::REDIRECT),
        Transport::Icmpv6 => kind == Some(icmpv6::REDIRECT),
        _ => false,
    }
}

/// What stands for all fragments of one packet: its ends and, in place of ports, its identification.
fn fragments(flow: FiveTuple, bytes: &[u8], layout: &Layout) -> Option<FiveTuple> {
    let identification = match layout.network {
        Network::Ipv4 => {
            let header = ipv4::Header::new(bytes.get(usize::from(layout.network_offset)..)?)?;
            u32::from(header.identification())
        }
        _ => {
            let mut extensions = ipv6::Extensions::new(bytes, layout);
            let header = extensions.find(|header| header.kind == ip_protocol::FRAGMENT)?;
            u32::from_be_bytes(*header.bytes.get(4..)?.first_chunk()?)
        }
    };
    let [high, low] =
        [identification >> 16, identification & 0xffff].map(|half| u16::try_from(half).unwrap_or(0));
    // A protocol that no transport has, so that it is never taken for a flow.
    Some(FiveTuple { protocol: ip_protocol::FRAGMENT, source_port: high, destination_port: low, ..flow })
}

/// The flow that an ICMP error quotes a packet of.
fn quoted(bytes: &[u8], layout: &Layout) -> Option<FiveTuple> {
    let message = bytes.get(usize::from(layout.transport_offset)..)?;
    let packet = match layout.transport {
        Transport::Icmp => icmp::Message::new(message)?.quoted()?,
        Transport::Icmpv6 => icmpv6::Message::new(message)?.quoted()?,
        _ => return None,
    };
    FiveTuple::of_packet(packet)
}
