//! Differences in what becomes of packets that are for others.

use std::net::IpAddr;

use super::answers::{said, without};
use super::read::{is_pod, is_router_address, neighbor};
use super::{GATEWAYS, Outcome, Packet, Step, UPLINK, packets};

/// A frame from the uplink that is none of flyover's, for the kernel has a copy of its own.
pub(super) fn is_left_to_the_kernel(step: &Step, _: &Outcome, flyover: &Outcome) -> bool {
    let is_for_a_pod = step.packet().is_some_and(|packet| {
        is_pod(packet.destination())
            && !GATEWAYS.iter().any(|own| packets::address(own) == packet.destination())
    });
    step.ingress == UPLINK && flyover.is_silence() && !is_for_a_pod
}

/// An address of 169.254.0.0/16 at one end.
pub(super) fn is_link_local_v4(step: &Step, _: &Outcome, flyover: &Outcome) -> bool {
    let is_it = |address| matches!(address, IpAddr::V4(v4) if v4.is_link_local());
    flyover.is_silence()
        && step.packet().is_some_and(|packet| is_it(packet.source()) || is_it(packet.destination()))
}

/// An IPv6 address that no packet has, at one end.
pub(super) fn is_martian_v6(step: &Step, _: &Outcome, flyover: &Outcome) -> bool {
    let is_it = |address| match address {
        IpAddr::V6(v6) => v6.is_unspecified() || v6.is_loopback() || v6.to_ipv4_mapped().is_some(),
        IpAddr::V4(_) => false,
    };
    flyover.is_silence()
        && step.packet().is_some_and(|packet| is_it(packet.source()) || is_it(packet.destination()))
}

/// The way back to the source does not lead where the packet came from.
fn is_from_elsewhere(step: &Step) -> bool {
    let Some(source) = step.packet().map(|packet| packet.source()) else { return false };
    let is_inside = is_pod(source)
        || match source {
            IpAddr::V4(v4) => matches!(v4.octets(), [10, 23, ..]),
            IpAddr::V6(v6) => matches!(v6.segments(), [0xfd23, 0, ..]),
        };
    let leads_nowhere = match source {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => matches!(v6.segments(), [0xfd20..=0xfd22, 0, ..] | [0xfd24, 5, 0, 0, .., 7]),
    };
    is_router_address(source)
        || leads_nowhere
        || !is_link_local(source) && is_inside == (step.ingress == UPLINK)
}

pub(super) fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// From outside, by a source that no route leads back to.
pub(super) fn is_from_nowhere(step: &Step, linux: &Outcome, flyover: &Outcome) -> bool {
    let is_known = |source| match source {
        IpAddr::V4(v4) => matches!(v4.octets(), [10, 20..=24, ..] | [192, 168, 0, _] | [10, 244, 1, _]),
        IpAddr::V6(v6) => matches!(v6.segments(), [0xfd00..=0xfd01 | 0xfd20..=0xfd24, ..] | [0xfe80, ..]),
    };
    let is_known = step.packet().is_none_or(|packet| is_known(packet.source()));
    step.ingress == UPLINK && !step.has_default && !is_known && linux.is_silence() && !flyover.is_silence()
}

/// IPv6 from elsewhere.
pub(super) fn is_from_elsewhere_v6(step: &Step, _: &Outcome, flyover: &Outcome) -> bool {
    step.packet().is_some_and(|packet| !packet.is_v4) && is_from_elsewhere(step) && flyover.is_silence()
}

/// An error about a route, to someone in whose name the packet was sent.
pub(super) fn is_error_to_a_third(step: &Step, linux: &Outcome, flyover: &Outcome) -> bool {
    let is_broadcast = step.packet().is_some_and(|packet| match packet.source() {
        IpAddr::V4(v4) => v4.octets()[3] == 255,
        IpAddr::V6(_) => false,
    });
    let is_route_error = said(linux).is_some_and(|said| matches!(said, (3, 0 | 1 | 13) | (12, 0)));
    is_route_error && (is_from_elsewhere(step) || is_broadcast) && flyover.is_silence()
}

/// From one pod with the address of another.
pub(super) fn is_another_pod_s(step: &Step, _: &Outcome, flyover: &Outcome) -> bool {
    let home = step.packet().and_then(|packet| neighbor(packet.source()));
    let is_another = home.is_some_and(|(_, port)| port != step.ingress && port != UPLINK);
    step.ingress != UPLINK && is_another && flyover.is_silence()
}

/// A redirect of ICMPv6 whose way ends here.
pub(super) fn is_error_about_a_redirect(step: &Step, linux: &Outcome, flyover: &Outcome) -> bool {
    let message = step.packet().filter(|packet| !packet.is_v4).and_then(|packet| transport(&packet));
    let is_redirect = message.is_some_and(|(kind, bytes)| kind == 58 && bytes.first() == Some(&137));
    is_redirect && linux.icmp().is_some() && flyover.is_silence()
}

/// ICMP whose header is not all there.
pub(super) fn is_cut_icmp(step: &Step, linux: &Outcome, flyover: &Outcome) -> bool {
    let Some(packet) = step.packet() else { return false };
    let (kind, bytes) = if packet.is_v4 {
        let total = usize::from(u16::from_be_bytes([packet.ip[2], packet.ip[3]]));
        (packet.protocol(), packet.ip.get(packet.header_bytes()..total))
    } else {
        transport(&packet).map_or((0, None), |(kind, bytes)| (kind, Some(bytes)))
    };
    let is_cut = kind == if packet.is_v4 { 1 } else { 58 } && bytes.is_some_and(|bytes| bytes.len() < 8);
    is_cut && linux.icmp().is_some() && flyover.is_silence()
}

/// A fragment of IPv6 but the first.
pub(super) fn is_later_fragment_v6(step: &Step, linux: &Outcome, flyover: &Outcome) -> bool {
    let packet = step.packet().filter(|packet| !packet.is_v4 && packet.protocol() == 44);
    let is_later = packet
        .is_some_and(|packet| packet.ip.get(42..44).is_some_and(|word| (word[0], word[1] & 0xf8) != (0, 0)));
    is_later && linux.icmp().is_some() && flyover.is_silence()
}

/// To a link-local address of IPv6.
pub(super) fn is_to_link_local_v6(step: &Step, _: &Outcome, flyover: &Outcome) -> bool {
    let to = step.packet().map(|packet| packet.destination());
    to.is_some_and(|to| is_link_local(to) && !is_router_address(to)) && flyover.is_silence()
}

/// An address of 0.0.0.0/8.
pub(super) fn is_network_0(step: &Step, _: &Outcome, flyover: &Outcome) -> bool {
    let is_it = |address| matches!(address, IpAddr::V4(v4) if v4.octets()[0] == 0);
    flyover.is_silence()
        && step.packet().is_some_and(|packet| is_it(packet.source()) || is_it(packet.destination()))
}

/// A fragment that ends beyond what a packet can hold, and is to be fragmented.
pub(super) fn is_beyond_64_kib(step: &Step, _: &Outcome, flyover: &Outcome) -> bool {
    let is_it = step.packet().filter(|packet| packet.is_v4).is_some_and(|packet| {
        let offset = usize::from(u16::from_be_bytes([packet.ip[6] & 0x1f, packet.ip[7]])) * 8;
        offset + packet.payload().len() > 0xffff
    });
    is_it && flyover.is_silence()
}

/// The options that a router may write to, or that it may look into.
pub(super) fn has_recorded(step: &Step, linux: &Outcome, flyover: &Outcome) -> bool {
    let Some(packet) = step.packet() else { return false };
    let records = kinds(packet.options()).iter().any(|kind| matches!(kind, 7 | 68));
    let shape = |outcome: &Outcome| -> Vec<_> {
        let shapes = outcome.frames().map(|(port, frame)| {
            let packet = Packet::of(frame)?;
            let own = packet.is_router_s().then(|| packet.icmp());
            Some((port, packet.to_mac(), packet.source(), packet.destination(), own, frame.len().min(576)))
        });
        let mut shapes: Vec<_> = shapes
            .map(|shape| {
                shape.map(|mut shape| {
                    // An answer of the kernel's has the options, too.
                    if shape.4.is_some() {
                        shape.5 = 0;
                    }
                    shape
                })
            })
            .collect();
        shapes.sort_unstable();
        shapes
    };
    records && !linux.is_silence() && shape(linux) == shape(flyover)
}

/// The kernel looks into options more closely than a router has to.
pub(super) fn has_option_judged_by_its_content(step: &Step, linux: &Outcome, flyover: &Outcome) -> bool {
    let Some(packet) = step.packet().filter(|packet| packet.is_v4) else { return false };
    let is_looked_into = |kind: &u8| matches!(kind, 7 | 68 | 134 | 148);
    let is_later_fragment = packet.ip[6] & 0x1f != 0 || packet.ip[7] != 0;
    let is_refused = linux.icmp().is_some_and(|(kind, _)| kind == 12);
    kinds(packet.options()).iter().any(is_looked_into)
        && (is_refused
            || linux.is_silence()
                && (is_later_fragment || packet.icmp().is_some() || flyover.icmp().is_some()))
        && flyover.icmp().is_none_or(|(kind, _)| kind != 12)
}

/// A source route, and something malformed.
pub(super) fn has_source_route(step: &Step, linux: &Outcome, flyover: &Outcome) -> bool {
    let options = step.packet().map(|packet| packet.options()).unwrap_or_default();
    let is_reported = linux.icmp().is_some_and(|(kind, _)| kind == 12);
    kinds(options).iter().any(|kind| matches!(kind, 131 | 137)) && is_reported && flyover.is_silence()
}

/// The types of well-formed options.
fn kinds(mut options: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    while let [kind, rest @ ..] = options {
        match (kind, rest.first()) {
            (0, _) => break,
            (1, _) => options = rest,
            (_, Some(length @ 2..)) if usize::from(*length) <= options.len() => {
                kinds.push(*kind);
                options = &options[usize::from(*length)..];
            }
            _ => {
                kinds.push(*kind);
                break;
            }
        }
    }
    kinds
}

/// Both send fragments that are the same packet once they are put together.
pub(super) fn is_fragmented_without_options(step: &Step, linux: &Outcome, flyover: &Outcome) -> bool {
    let has_options = step.packet().is_some_and(|packet| !packet.options().is_empty());
    has_options && joined(linux).is_some_and(|packet| Some(packet) == joined(flyover))
}

/// Where the fragments were sent, and the payload with its offset.
fn joined(outcome: &Outcome) -> Option<(usize, usize, Vec<u8>)> {
    let mut parts = Vec::new();
    for (port, frame) in outcome.frames() {
        let packet = Packet::of(frame).filter(|packet| packet.is_v4 && !packet.is_router_s())?;
        let offset = usize::from(u16::from_be_bytes([packet.ip[6] & 0x1f, packet.ip[7]])) * 8;
        parts.push((offset, port, packet.payload().to_vec()));
    }
    parts.sort_unstable();
    let (first, port, _) = parts.first().filter(|_| parts.len() > 1)?.clone();
    let mut bytes = Vec::new();
    for (offset, its_port, payload) in parts {
        if offset != first + bytes.len() || its_port != port {
            return None;
        }
        bytes.extend(payload);
    }
    Some((port, first, bytes))
}

/// `unreachable` routes of IPv6.
pub(super) fn is_unreachable_v6(_: &Step, linux: &Outcome, flyover: &Outcome) -> bool {
    let is_v6 =
        |outcome: &Outcome| outcome.frames().all(|(_, frame)| Packet::of(frame).is_some_and(|it| !it.is_v4));
    is_v6(linux) && (linux.icmp(), flyover.icmp()) == (Some((1, 0)), Some((1, 3)))
}

/// A link-local source is told so before anything else is looked at; but not about an error.
pub(super) fn is_beyond_scope_first(step: &Step, _: &Outcome, flyover: &Outcome) -> bool {
    let Some(packet) = step.packet().filter(|packet| is_link_local(packet.source())) else { return false };
    let is_no_question = transport(&packet)
        .is_some_and(|(kind, bytes)| kind == 58 && (bytes.len() < 8 || bytes[0] < 128 || bytes[0] == 137));
    flyover.icmp() == Some((1, 2)) || is_no_question && flyover.is_silence()
}

/// TTL 1 to a route that leads nowhere.
pub(super) fn is_expired_first(step: &Step, linux: &Outcome, flyover: &Outcome) -> bool {
    let expired =
        step.packet().filter(|packet| packet.hops() <= 1).map(|packet| if packet.is_v4 { 11 } else { 3 });
    let is_route_s = linux.is_silence()
        && step.packet().is_some_and(|packet| is_blackhole(packet.destination()))
        || linux.icmp().is_some_and(|(kind, _)| Some(kind) != expired && matches!(kind, 1 | 3));
    expired.is_some() && is_route_s && flyover.icmp().is_some_and(|(kind, _)| Some(kind) == expired)
}

pub(super) fn is_blackhole(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => matches!(v4.octets(), [10, 20, ..]),
        IpAddr::V6(v6) => matches!(v6.segments(), [0xfd20, 0, ..]),
    }
}

/// ICMP router discovery, which the kernel takes for errors.
pub(super) fn is_router_discovery(step: &Step, linux: &Outcome, flyover: &Outcome) -> bool {
    let message = step.packet().filter(|packet| packet.is_v4).and_then(|packet| packet.icmp());
    matches!(message, Some((9 | 10, _))) && linux.is_silence() && flyover.icmp().is_some()
}

/// Hop-by-hop options, which the kernel reads.
pub(super) fn has_hop_by_hop_options(step: &Step, linux: &Outcome, flyover: &Outcome) -> bool {
    let is_first = step.packet().is_some_and(|packet| !packet.is_v4 && packet.protocol() == 0);
    let is_complaint = |_, frame: &[u8]| {
        Packet::of(frame)
            .filter(Packet::is_router_s)
            .and_then(|packet| packet.icmp())
            .is_some_and(|(kind, _)| kind == 4)
    };
    let rest = without(linux, is_complaint);
    is_first && (rest.is_silence() && !flyover.is_silence() || rest != *linux && rest == *flyover)
}

/// Extension headers that do not belong together, or are too many.
pub(super) fn has_malformed_extensions(step: &Step, linux: &Outcome, flyover: &Outcome) -> bool {
    let is_malformed = step.packet().is_some_and(|packet| !packet.is_v4 && chain(&packet).is_none());
    is_malformed && flyover.is_silence() && !linux.is_silence()
}

/// A routing header of type 0.
pub(super) fn has_routing_header_0(step: &Step, linux: &Outcome, flyover: &Outcome) -> bool {
    let headers = step.packet().filter(|packet| !packet.is_v4).and_then(|packet| chain(&packet));
    let is_it = headers.is_some_and(|headers| headers.contains(&(43, 0)));
    is_it && flyover.is_silence() && !linux.is_silence()
}

/// Types and third bytes of the extension headers; `None` if they are malformed.
fn chain(packet: &Packet<'_>) -> Option<Vec<(u8, u8)>> {
    walk(packet).map(|walked| walked.headers)
}

/// The type of what follows the extension headers, and its bytes.
pub(super) fn transport<'a>(packet: &Packet<'a>) -> Option<(u8, &'a [u8])> {
    walk(packet).map(|walked| (walked.kind, walked.bytes))
}

/// A packet behind its fixed header.
struct Walked<'a> {
    /// Types and third bytes of the extension headers.
    headers: Vec<(u8, u8)>,
    /// The type of what follows them.
    kind: u8,
    bytes: &'a [u8],
}

/// Finds extension headers and what follows them; `None` if they are malformed.
fn walk<'a>(packet: &Packet<'a>) -> Option<Walked<'a>> {
    let declared = 40 + usize::from(u16::from_be_bytes([packet.ip[4], packet.ip[5]]));
    let mut rest = packet.ip.get(40..declared)?;
    let (mut kind, mut headers) = (packet.protocol(), Vec::new());
    while matches!(kind, 0 | 43 | 44 | 51 | 60) {
        if headers.len() == 8 || (kind == 0 && !headers.is_empty()) {
            return None;
        }
        let header: &[u8; 8] = rest.first_chunk()?;
        let length = match kind {
            44 => 8,
            51 if header[1] == 0 => return None,
            51 => (usize::from(header[1]) + 2) * 4,
            _ => (usize::from(header[1]) + 1) * 8,
        };
        headers.push((kind, header[2]));
        let is_later = kind == 44 && (header[2] != 0 || header[3] & 0xf8 != 0);
        kind = header[0];
        rest = rest.get(length..)?;
        if is_later {
            kind = 59;
        }
    }
    Some(Walked { headers, kind, bytes: rest })
}
