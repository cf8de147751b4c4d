//! What the router answers and hears: ARP, neighbor discovery, echo requests.

use std::net::IpAddr;

use packet::{DropReason, Layout, Network, Transport, icmpv6};
use router::gateway::Answer;
use router::neighbor::{Message, read_message};

use super::RouteStage;
use crate::punts::Punt;
use crate::routing::{Link, LinkId, Routing};

/// True for ARP, neighbor solicitations and advertisements.
pub(super) fn is_neighbor_message(bytes: &[u8], layout: &Layout) -> bool {
    if layout.network == Network::Arp {
        return true;
    }
    layout.network == Network::Ipv6
        && layout.transport == Transport::Icmpv6
        && matches!(
            bytes.get(usize::from(layout.transport_offset)),
            Some(&(icmpv6::NEIGHBOR_SOLICITATION | icmpv6::NEIGHBOR_ADVERTISEMENT))
        )
}

impl RouteStage<'_> {
    /// ARP or neighbor discovery to the gateway's MAC. What the gateway does not answer is the host's, which asks and
    /// is answered under the same MAC.
    #[cold]
    pub(super) fn neighbor_message(&mut self, at: usize, routing: &Routing) {
        match self.read(at) {
            Err(reason) => self.refuse(at, reason),
            Ok(Some(message)) => {
                if !self.answer(at, message, routing) {
                    self.leave_to_host_or_consume(at, routing);
                }
            }
            Ok(None) => self.leave_to_host(at, routing),
        }
    }

    /// A flooded frame: if it is ARP or neighbor discovery it may be to the gateway, or tell of a neighbor.
    pub(super) fn overhear(&mut self, at: usize) {
        let (Some(routing), Some(layout)) = (self.view.snapshot.routing(), self.layouts[at]) else { return };
        // One that breaks a rule is for its receivers to refuse.
        if is_neighbor_message(self.burst.frames()[at].bytes(), &layout)
            && layout.vlan_tags == 0
            && let Ok(Some(message)) = self.read(at)
        {
            self.answer(at, message, routing);
        }
    }

    /// Answers a message or hands it on; true if the frame was for the gateway alone and is consumed.
    fn answer(&mut self, at: usize, message: Message, routing: &Routing) -> bool {
        let gateway = &routing.bridge.gateway;
        let (teller, is_for_us) = match message {
            Message::Solicitation { target, asker, .. } => {
                (asker, gateway.owns(target) || gateway.owns(asker))
            }
            Message::Advertisement { target, .. } => (target, true),
        };
        let Some(layout) = self.layouts[at].filter(|_| is_for_us) else { return false };
        let (port, random) = (self.burst.frames()[at].ingress, self.router.random.draw());
        if !self.router.answers.allow(teller, port, self.view.now_ms, random) {
            return false;
        }
        let link = LinkId::Bridge;
        let frame = &mut self.burst.frames_mut()[at];
        match gateway.answer(frame, &layout, &routing.rules) {
            Answer::Reply(heard) => {
                self.router.replies.copy(self.pool, frame);
                if let Some(message) = heard {
                    self.events.punt(Punt::Heard { link, port, message });
                }
                self.consume(at);
                true
            }
            Answer::Heard(message) => {
                self.events.punt(Punt::Heard { link, port, message });
                false
            }
            Answer::Conflict(address) => {
                self.events.punt(Punt::Conflict { link, port, address });
                false
            }
            Answer::NotAsked | Answer::Discard(_) => false,
        }
    }

    /// A message on the uplink, which the kernel answers itself.
    #[cold]
    pub(super) fn hear_on_uplink(&mut self, at: usize, uplink: &Link) {
        let Ok(Some(message)) = self.read(at) else { return };
        let (teller, is_of_use) = match message {
            Message::Solicitation { target, asker, mac } => {
                (asker, uplink.gateway.owns(target) && mac != Some(uplink.gateway.mac))
            }
            Message::Advertisement { target, .. } => (target, !uplink.gateway.owns(target)),
        };
        let (port, random) = (self.burst.frames()[at].ingress, self.router.random.draw());
        if is_of_use && self.router.answers.allow(teller, port, self.view.now_ms, random) {
            self.events.punt(Punt::Heard { link: LinkId::Uplink, port, message });
        }
    }

    /// A packet of `asker`'s for the node where there is no host port: an echo request is answered, all else refused.
    #[cold]
    pub(super) fn answer_echo(&mut self, at: usize, asker: IpAddr, routing: &Routing) {
        let Some(layout) = self.layouts[at] else { return };
        let frame = &mut self.burst.frames_mut()[at];
        let random = self.router.random.draw();
        if !self.router.answers.allow(asker, frame.ingress, self.view.now_ms, random) {
            return self.refuse(at, DropReason::AnswerLimit);
        }
        match routing.bridge.gateway.answer(frame, &layout, &routing.rules) {
            Answer::Reply(_) => {
                self.router.replies.copy(self.pool, frame);
                self.consume(at);
            }
            Answer::Discard(reason) => self.refuse(at, reason),
            Answer::Heard(_) | Answer::Conflict(_) | Answer::NotAsked => {
                self.refuse(at, DropReason::NotForGateway);
            }
        }
    }

    fn leave_to_host_or_consume(&mut self, at: usize, routing: &Routing) {
        if self.view.snapshot.host().is_some() {
            self.leave_to_host(at, routing);
        } else {
            self.consume(at);
        }
    }

    fn read(&self, at: usize) -> Result<Option<Message>, DropReason> {
        let frame = &self.burst.frames()[at];
        self.layouts[at]
            .map_or(Ok(None), |layout| read_message(frame.bytes(), &layout, frame.offload.checksum))
    }
}
