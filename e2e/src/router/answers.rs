//! Differences in what a router answers and says itself: ARP, neighbor discovery, echo, its stack.

use std::net::{IpAddr, Ipv4Addr};

use packet::MacAddress;

use super::matchers::{is_link_local, transport};
use super::read::{ethertype, is_pod, is_router_address};
use super::{GATEWAY_LINK_LOCAL, GATEWAY_MAC, GATEWAYS, Outcome, Packet, Step, UPLINK, packets};
use crate::frames::{ARP, IPV6};

/// The type and code of the router's ICMP messages, if they are all that was sent and alike.
pub(super) fn said(outcome: &Outcome) -> Option<(u8, u8)> {
    let mut all = outcome.frames().map(|(_, frame)| Packet::of(frame).filter(Packet::is_router_s)?.icmp());
    let first = all.next()??;
    all.all(|other| other == Some(first)).then_some(first)
}

/// Without the copies of the step's frame that a bridge floods.
pub(super) fn unflooded(step: &Step, outcome: &Outcome) -> Outcome {
    without(outcome, |port, frame| port != step.ingress && *frame == step.frame[..])
}

pub(super) fn without(outcome: &Outcome, is_left_out: impl Fn(usize, &[u8]) -> bool) -> Outcome {
    let mut rest = outcome.clone();
    for (port, frames) in rest.sent.iter_mut().enumerate() {
        frames.retain(|frame| !is_left_out(port, frame));
    }
    rest
}

/// The same frame, but back to where the packet came from.
pub(super) fn is_back_where_it_came_from(step: &Step, linux: &Outcome, flyover: &Outcome) -> bool {
    let linux = unflooded(step, linux);
    let (Some((home, expected)), Some((port, seen))) = (linux.only(), flyover.only()) else { return false };
    let is_own = linux.icmp().is_some() || is_answer(expected);
    let is_elsewhere = home != port || expected.get(..6) != seen.get(..6);
    port == step.ingress && is_own && is_elsewhere && expected.get(6..) == seen.get(6..)
}

/// The kernel floods what the gateway answers.
pub(super) fn is_flooded_too(step: &Step, linux: &Outcome, flyover: &Outcome) -> bool {
    let rest = unflooded(step, linux);
    rest != *linux && rest == *flyover && !flyover.is_silence()
}

/// The kernel sends its answer to many, or to a MAC that nobody knows, by all ports of the bridge.
pub(super) fn is_answered_by_all_ports(step: &Step, linux: &Outcome, flyover: &Outcome) -> bool {
    let Some((port, answer)) = flyover.only().filter(|(port, _)| *port == step.ingress) else { return false };
    let rest = unflooded(step, linux);
    let own = without(&rest, |other, frame| other != port && frame == answer);
    own != rest && own == *flyover
}

/// True for an answer to ARP or a solicitation, or an echo reply, of the router's.
pub(super) fn is_answer(frame: &[u8]) -> bool {
    let of_arp = ethertype(frame) == Some(ARP) && frame.get(20..22) == Some(&[0, 2]);
    let packet = Packet::of(frame).filter(Packet::is_router_s);
    of_arp || packet.and_then(|packet| packet.icmp()).is_some_and(|(kind, _)| matches!(kind, 0 | 129 | 136))
}

/// All is the same but that the kernel answers.
fn is_answered_by_linux_only(linux: &Outcome, flyover: &Outcome) -> bool {
    let rest = without(linux, |_, frame| is_answer(frame));
    rest != *linux && rest == *flyover
}

/// Whoever asks gives a MAC that no station has, or the router's own.
pub(super) fn is_asked_by_no_station(step: &Step, linux: &Outcome, flyover: &Outcome) -> bool {
    let is_solicitation = || step.packet().is_some_and(|packet| packet.icmp() == Some((135, 0)));
    let at = match ethertype(&step.frame) {
        Some(ARP) => 22,
        Some(IPV6) if is_solicitation() => 80,
        _ => return false,
    };
    let mac = MacAddress::read(&step.frame, at).unwrap_or_default();
    let is_station = !mac.is_group() && mac != MacAddress::ZERO && mac != GATEWAY_MAC;
    !is_station && is_answered_by_linux_only(linux, flyover)
}

/// The source is an address of the router's own.
pub(super) fn is_asked_by_itself(step: &Step, linux: &Outcome, flyover: &Outcome) -> bool {
    let is_own = step.packet().is_some_and(|packet| is_router_address(packet.source()));
    is_own && is_answered_by_linux_only(linux, flyover)
}

/// ARP for the hardware of IEEE 802 instead of Ethernet.
pub(super) fn is_arp_of_ieee_802(step: &Step, linux: &Outcome, flyover: &Outcome) -> bool {
    let is_it = ethertype(&step.frame) == Some(ARP) && step.frame.get(14..16) == Some(&[0, 6]);
    is_it && is_answered_by_linux_only(linux, flyover)
}

/// A question for the gateway from an address that is not one of the bridge's.
pub(super) fn is_asked_from_elsewhere(step: &Step, linux: &Outcome, flyover: &Outcome) -> bool {
    let is_elsewhere = match (step.packet(), step.frame.get(28..32)) {
        (Some(packet), _) => packet.icmp() == Some((135, 0)) && !is_on_bridge(packet.source()),
        (None, Some(&[a, b, c, d])) => d == 255 || !is_on_bridge(Ipv4Addr::new(a, b, c, d).into()),
        _ => false,
    };
    let is_answer = flyover.only().is_some_and(|(port, frame)| port == step.ingress && is_answer(frame));
    is_elsewhere && is_answer && unflooded(step, linux).is_silence()
}

fn is_on_bridge(address: IpAddr) -> bool {
    is_pod(address) || is_link_local(address)
}

/// An echo request to a group, or in a frame for one.
pub(super) fn is_echo_to_many(step: &Step, linux: &Outcome, flyover: &Outcome) -> bool {
    let is_to_many =
        step.packet().is_some_and(|packet| packet.to_mac().is_group() || packet.destination().is_multicast());
    is_to_many && is_answered_by_linux_only(linux, flyover)
}

/// An echo request behind IPv6 extension headers.
pub(super) fn is_echo_behind_extensions(step: &Step, linux: &Outcome, flyover: &Outcome) -> bool {
    let is_extended = step.packet().is_some_and(|packet| !packet.is_v4 && packet.protocol() != 58);
    is_extended && is_answered_by_linux_only(linux, flyover)
}

/// ICMPv6 redirects.
pub(super) fn is_redirected(_: &Step, linux: &Outcome, flyover: &Outcome) -> bool {
    let is_redirect = |_, frame: &[u8]| {
        Packet::of(frame).is_some_and(|packet| !packet.is_v4 && packet.icmp() == Some((137, 0)))
    };
    let rest = without(linux, is_redirect);
    rest != *linux && rest == *flyover
}

/// Neighbor discovery to another network.
pub(super) fn is_neighbor_discovery(step: &Step, linux: &Outcome, flyover: &Outcome) -> bool {
    let Some(packet) = step.packet().filter(|packet| !packet.is_v4) else { return false };
    let message = transport(&packet).filter(|(kind, _)| *kind == 58);
    let is_it = message.is_some_and(|(_, bytes)| matches!(bytes.first(), Some(135 | 136)));
    is_it && !is_router_address(packet.destination()) && flyover.is_silence() && !linux.is_silence()
}

/// A solicitation behind destination options, which the kernel reads.
pub(super) fn has_destination_options(step: &Step, linux: &Outcome, flyover: &Outcome) -> bool {
    let packet = step.packet().filter(|packet| !packet.is_v4 && packet.protocol() == 60);
    let is_solicitation = packet.is_some_and(|packet| {
        transport(&packet).is_some_and(|(kind, bytes)| kind == 58 && bytes.first() == Some(&135))
    });
    let is_answered = flyover.only().is_some_and(|(port, frame)| port == step.ingress && is_answer(frame));
    is_solicitation && is_answered && !linux.frames().any(|(_, frame)| is_answer(frame))
}

/// A solicitation to an address or a group that is not the gateway's.
pub(super) fn is_solicitation_sent_elsewhere(step: &Step, linux: &Outcome, flyover: &Outcome) -> bool {
    let Some(packet) = step.packet().filter(|packet| packet.icmp() == Some((135, 0)) && !packet.is_v4) else {
        return false;
    };
    let IpAddr::V6(destination) = packet.destination() else { return false };
    let is_listened_to = match destination.segments() {
        [0xff02, 0, 0, 0, 0, 1, 0xff00, 1 | 0xfe] | [0xff02, 0, 0, 0, 0, 0, 0, 1 | 2] => true,
        _ => is_router_address(destination.into()),
    };
    let is_answered = flyover.only().is_some_and(|(port, frame)| port == step.ingress && is_answer(frame));
    !is_listened_to && is_answered && !linux.frames().any(|(_, frame)| is_answer(frame))
}

/// The kernel's stack says something that flyover's gateway does not.
pub(super) fn is_said_by_the_stack(step: &Step, linux: &Outcome, flyover: &Outcome) -> bool {
    let is_own = step.packet().is_some_and(|packet| is_gateway(packet.destination()));
    let is_echo = linux.icmp().is_some_and(|(kind, _)| matches!(kind, 0 | 129));
    step.ingress != UPLINK && is_own && !is_echo && !linux.is_silence() && flyover.is_silence()
}

fn is_gateway(address: IpAddr) -> bool {
    let link_local = [&GATEWAY_LINK_LOCAL];
    GATEWAYS.iter().chain(link_local).any(|own| packets::address(own) == address)
}

/// The router's address on another link, which the kernel answers for on any.
pub(super) fn is_of_another_link(step: &Step, linux: &Outcome, flyover: &Outcome) -> bool {
    let target = match step.packet() {
        Some(packet) => packet.destination(),
        None => match step.frame.get(38..42) {
            Some(&[a, b, c, d]) => Ipv4Addr::new(a, b, c, d).into(),
            _ => return false,
        },
    };
    let is_it = is_router_address(target) && !is_gateway(target);
    let is_said = is_answered_by_linux_only(linux, flyover) || said(linux).is_some() && flyover.is_silence();
    step.ingress != UPLINK && is_it && is_said
}
