//! What would become of a packet: the decisions of the stages, on paper.
//!
//! The packet is built and led through the tables of a [`Snapshot`] by the rules of the pipeline, without a worker:
//! nothing is learned, asked or counted. Pins are not looked at, for they are the workers': the answer of a pod to a
//! service's client goes to the host port, whatever this says.

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use dataplane::{Link, LinkId, PortEntry, PortRole, Routing, Snapshot};
use packet::build::{self, frame};
use packet::keyed_hash::KeyedHash;
use packet::{DropReason, FiveTuple, Layout, MacAddress, PortId, parse};
use router::fib::RouteDecision;
use router::neighbor::Lookup;
use router::validate::{Validity, is_link_local};

use crate::api::types::ExplainStep;

/// A packet that came in by a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Described {
    /// The port's name.
    pub ingress: String,
    /// The flow.
    pub flow: FiveTuple,
}

/// What is looked up beside the snapshot.
pub struct Surroundings<'a> {
    /// The time by which the forwarding database ages.
    pub now_ms: u64,
    /// The gateway's MAC.
    pub gateway_mac: MacAddress,
    /// The MAC of a port of the bridge.
    pub mac_of_port: &'a dyn Fn(PortId) -> Option<MacAddress>,
    /// The MAC of whoever has an address on the bridge, if it was configured.
    pub mac_of_address: &'a dyn Fn(IpAddr) -> Option<MacAddress>,
    /// True for an address in a network of the pods.
    pub is_on_bridge: &'a dyn Fn(IpAddr) -> bool,
    /// True for an address of the gateway's.
    pub is_gateway: &'a dyn Fn(IpAddr) -> bool,
    /// The source of the route to an address.
    pub source_of_route: &'a dyn Fn(IpAddr) -> Option<String>,
}

impl std::fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings").field("gateway_mac", &self.gateway_mac).finish_non_exhaustive()
    }
}

/// The decisions about the packet, in their order. The last one says where it ends.
///
/// # Errors
/// A sentence, if there is no such port or no such packet.
pub fn explain(
    snapshot: &Snapshot,
    packet: &Described,
    surroundings: &Surroundings<'_>,
) -> Result<Vec<ExplainStep>, String> {
    let entry = snapshot
        .ports()
        .find(|entry| *entry.name == *packet.ingress)
        .ok_or_else(|| format!("there is no port \"{}\"", packet.ingress))?;
    let mut tour = Tour { snapshot, entry, flow: packet.flow, surroundings, steps: Vec::new() };
    // A step that ends the tour has said why.
    let _ = tour.run()?;
    Ok(tour.steps)
}

/// The packet needs no further decision.
struct End;

struct Tour<'a> {
    snapshot: &'a Snapshot,
    entry: &'a PortEntry,
    flow: FiveTuple,
    surroundings: &'a Surroundings<'a>,
    steps: Vec<ExplainStep>,
}

impl Tour<'_> {
    fn step(&mut self, stage: &str, decision: impl Into<String>, reason: impl Into<String>) {
        self.steps.push(ExplainStep {
            stage: stage.to_owned(),
            decision: decision.into(),
            reason: reason.into(),
        });
    }

    fn drop_for(&mut self, stage: &str, reason: DropReason) -> End {
        self.step(stage, format!("drop {}", reason.name()), reason.help());
        End
    }

    fn name(&self, id: PortId) -> String {
        self.snapshot.port(id).map_or_else(|| "the gateway".to_owned(), |entry| entry.name.to_string())
    }

    fn run(&mut self) -> Result<Result<(), End>, String> {
        let (name, role) = (self.entry.name.to_string(), self.entry.role);
        if !self.entry.up {
            self.step("ingress", "nothing", format!("port {name} is not up: nothing is taken from it"));
            return Ok(Err(End));
        }
        self.step("ingress", "take", format!("port {name} is up"));
        let destination = if role == PortRole::Uplink {
            let uplink = self.snapshot.routing().and_then(|routing| routing.uplink.as_ref());
            uplink.map(|uplink| uplink.gateway.mac)
        } else {
            self.link_destination()
        };
        let Some(destination) = destination else { return Ok(Err(End)) };
        let source = (self.surroundings.mac_of_port)(self.entry.id).unwrap_or(MacAddress([2; 6]));
        let link = build::Link { source, destination };
        let bytes = frame(link, &self.flow, &[]).ok_or("source and destination are of different families")?;
        let layout = parse(&bytes).map_err(|reason| reason.help().to_owned())?;
        Ok(if role == PortRole::Uplink {
            self.enter_from_uplink(&bytes, &layout)
        } else {
            self.enter_from_bridge(&bytes, &layout, destination)
        })
    }

    /// The MAC that a host on the bridge would send to.
    fn link_destination(&mut self) -> Option<MacAddress> {
        let destination = self.flow.destination;
        let on_bridge = (self.surroundings.is_on_bridge)(destination)
            && (self.surroundings.is_on_bridge)(self.flow.source);
        if !on_bridge || (self.surroundings.is_gateway)(destination) {
            return Some(self.surroundings.gateway_mac);
        }
        let known = (self.surroundings.mac_of_address)(destination).or_else(|| {
            let routing = self.snapshot.routing()?;
            match routing.bridge.neighbors.lookup(destination) {
                Lookup::Usable { mac, .. } => Some(mac),
                Lookup::Unreachable | Lookup::Unknown => None,
            }
        });
        if known.is_none() {
            let reason =
                format!("nobody is known to have {destination}: the sender asks for it on the bridge first");
            self.step("bridge", "flood ARP or neighbor discovery", reason);
        }
        known
    }

    fn enter_from_bridge(&mut self, bytes: &[u8], layout: &Layout, to: MacAddress) -> Result<(), End> {
        match &self.entry.binding {
            None => self.step("port_security", "pass", "the port is not bound to addresses"),
            Some(binding) => match binding.check(bytes, layout) {
                Ok(()) => self.step("port_security", "pass", "MAC and address are the port's own"),
                Err(reason) => return Err(self.drop_for("port_security", reason)),
            },
        }
        let Some(port) = self.snapshot.fdb().lookup(to, self.surroundings.now_ms) else {
            self.step("bridge", "flood", format!("{to} is behind no known port"));
            return Ok(());
        };
        if port == self.entry.id {
            return Err(self.drop_for("bridge", DropReason::SamePort));
        }
        let reason = format!("{to} is behind it");
        match self.snapshot.routing() {
            Some(routing) if port == routing.bridge.port && to == routing.bridge.gateway.mac => {
                self.step("bridge", "to the router", format!("{to} is the gateway's MAC"));
                self.route(bytes, layout, routing, false)
            }
            _ => {
                let is_host = self.snapshot.host().is_some_and(|host| host.port == port);
                let reason =
                    if is_host { format!("{reason}: the host's kernel does the rest") } else { reason };
                let name = self.name(port);
                self.step("bridge", format!("to {name}"), reason);
                self.leave(bytes.len(), port)
            }
        }
    }

    fn enter_from_uplink(&mut self, bytes: &[u8], layout: &Layout) -> Result<(), End> {
        let Some(routing) = self.snapshot.routing() else { return Ok(()) };
        self.route(bytes, layout, routing, true)
    }

    fn decide<'r>(&mut self, routing: &'r Routing) -> RouteDecision<'r> {
        // As workers hash a whole packet, the same in every run.
        let hash = KeyedHash::new(0).of_flow(&self.flow) >> 32;
        let decision = routing.fib.lookup(self.flow.destination, u32::try_from(hash).unwrap_or(0));
        let destination = self.flow.destination;
        let source = (self.surroundings.source_of_route)(destination);
        let whose = source.map_or_else(String::new, |source| format!(" (source {source})"));
        let text = match decision {
            RouteDecision::Forward(hop) => {
                format!("via {} by {}", hop.gateway, self.link_name(routing, hop.port))
            }
            RouteDecision::Connected { port } => format!("by {}", self.link_name(routing, port)),
            RouteDecision::Local => "local".to_owned(),
            RouteDecision::Blackhole => "blackhole".to_owned(),
            RouteDecision::Prohibit => "prohibit".to_owned(),
            RouteDecision::Unreachable => "unreachable".to_owned(),
            RouteDecision::NoRoute => "none".to_owned(),
        };
        self.step("route", text, format!("the longest match for {destination}{whose}"));
        decision
    }

    fn link_name(&self, routing: &Routing, port: PortId) -> String {
        if port == routing.bridge.port { "the bridge".to_owned() } else { self.name(port) }
    }

    fn route(
        &mut self,
        bytes: &[u8],
        layout: &Layout,
        routing: &Routing,
        is_from_uplink: bool,
    ) -> Result<(), End> {
        let decision = self.decide(routing);
        let destination = self.flow.destination;
        if is_from_uplink {
            let port = match decision {
                RouteDecision::Forward(hop) => Some(hop.port),
                RouteDecision::Connected { port } => Some(port),
                _ => None,
            };
            if port != Some(routing.bridge.port) || is_link_local(destination) {
                self.step(
                    "uplink",
                    "leave to the kernel",
                    "it leads to no pod, and the kernel has its own copy",
                );
                return Err(End);
            }
        } else if decision == RouteDecision::Local || is_link_local(destination) {
            return self.give_to_node();
        }
        match routing.rules.validate(bytes, layout) {
            Validity::Forwardable => self.step("validation", "pass", "a sound packet between hosts"),
            Validity::Discard(reason) | Validity::Refuse(reason, _) => {
                return Err(self.drop_for("validation", reason));
            }
        }
        match self.reverse_path(routing, is_from_uplink) {
            Ok(why) => self.step("reverse_path", "pass", why),
            Err(reason) => return Err(self.drop_for("reverse_path", reason)),
        }
        let (next, port) = match decision {
            RouteDecision::Forward(hop) => (hop.gateway, hop.port),
            RouteDecision::Connected { port } => (destination, port),
            RouteDecision::Local => return Err(self.drop_for("route", DropReason::NotForGateway)),
            RouteDecision::Blackhole => return Err(self.drop_for("route", DropReason::RouteBlackhole)),
            RouteDecision::Prohibit => return Err(self.drop_for("route", DropReason::RouteProhibited)),
            RouteDecision::Unreachable => return Err(self.drop_for("route", DropReason::RouteUnreachable)),
            RouteDecision::NoRoute => return Err(self.drop_for("route", DropReason::NoRoute)),
        };
        match routing.link_of(port) {
            Some((id, link)) => self.hand_to(bytes.len(), id, link, next),
            None => Err(self.drop_for("route", DropReason::RouteUnreachable)),
        }
    }

    /// As the pipeline's stage does it.
    fn reverse_path(&self, routing: &Routing, is_from_uplink: bool) -> Result<String, DropReason> {
        let source = self.flow.source;
        let is_inside = routing.fib.ports_toward(source).contains(&routing.bridge.port);
        if is_from_uplink {
            let owns = |link: &Link| link.gateway.owns(source);
            if owns(&routing.bridge) || routing.uplink.as_ref().is_some_and(owns) {
                return Err(DropReason::MartianSource);
            }
            let why = || format!("{source} is not on the bridge");
            return if is_inside { Err(DropReason::ReversePath) } else { Ok(why()) };
        }
        if self.entry.binding.is_some() {
            return Ok("the port is bound".to_owned());
        }
        let is_elsewhere = match routing.bridge.neighbors.lookup(source) {
            Lookup::Usable { port, .. } => port != self.entry.id,
            Lookup::Unreachable | Lookup::Unknown => false,
        };
        let why = || format!("the way to {source} is by the bridge, and nobody else there has it");
        if is_inside && !is_elsewhere { Ok(why()) } else { Err(DropReason::ReversePath) }
    }

    fn give_to_node(&mut self) -> Result<(), End> {
        match self.snapshot.host().map(|host| host.port) {
            Some(port) => {
                let name = self.name(port);
                self.step("host", format!("to {name}"), "it is the node's own, or left to it: as it came");
                Ok(())
            }
            None => {
                self.step("host", "answer echo requests, drop the rest", "the node has no host port");
                Err(End)
            }
        }
    }

    fn hand_to(&mut self, frame_bytes: usize, id: LinkId, link: &Link, next: IpAddr) -> Result<(), End> {
        match link.neighbors.lookup(next) {
            Lookup::Usable { mac, port, .. } => {
                let name = self.name(port);
                self.step("neighbor", format!("{mac} behind {name}"), format!("{next} is there"));
                self.leave(frame_bytes, port)
            }
            Lookup::Unreachable => Err(self.drop_for("neighbor", DropReason::NeighborUnresolved)),
            Lookup::Unknown => {
                let place = if id == LinkId::Bridge { "the bridge" } else { "the uplink" };
                let reason = format!("where {next} is has to be asked on {place} first");
                self.step("neighbor", "wait", reason);
                Ok(())
            }
        }
    }

    fn leave(&mut self, frame_bytes: usize, port: PortId) -> Result<(), End> {
        let Some(entry) = self.snapshot.port(port).filter(|entry| entry.up) else {
            return Err(self.drop_for("egress", DropReason::EgressDown));
        };
        let (name, mtu_bytes) = (entry.name.to_string(), entry.mtu_bytes);
        let reason = format!("a packet of {} bytes; up to {mtu_bytes} fit", frame_bytes.saturating_sub(14));
        self.step("egress", format!("send by {name}"), reason);
        Ok(())
    }
}
