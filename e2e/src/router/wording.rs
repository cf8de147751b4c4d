//! What both routers say, in other words: the kernel's frames as flyover would have made them.
#![expect(clippy::ptr_arg, reason = "all are functions of one type, and some change the length")]

use std::net::IpAddr;

use super::compare::mend_checksum;
use super::matchers::is_link_local;
use super::{GATEWAY_MAC, GATEWAYS, NODE_MAC, NODES, Packet, Step, packets};
use crate::frames::{self, checksum};

/// What the kernel's own ICMP packets say about fragmentation, flyover's way: errors are atomic, a reply says what its
/// request said.
pub(super) fn own_packets_with_df(step: &Step, frame: &mut Vec<u8>) {
    let Some(packet) = Packet::of(frame).filter(|packet| packet.is_v4 && packet.is_router_s()) else {
        return;
    };
    let word = match packet.icmp() {
        Some((0, _)) => step.packet().map_or(0, |request| request.ip[6]),
        Some(_) => 0x40,
        None => return,
    };
    frame[20] = word;
    mend_checksum(frame);
}

/// The bits of congestion notification, which the kernel copies into errors.
pub(super) fn errors_without_congestion(_: &Step, frame: &mut Vec<u8>) {
    if Packet::of(frame)
        .is_some_and(|packet| packet.is_v4 && packet.is_router_s() && packet.quoted().is_some())
    {
        frame[15] &= !3;
        mend_checksum(frame);
    }
}

/// What stands behind the end of the options, as it came.
pub(super) fn options_behind_their_end(step: &Step, frame: &mut Vec<u8>) {
    let Some(options) = step.packet().map(|packet| packet.options()) else { return };
    let Some(cleared) = cleared_behind_the_end(options) else { return };
    let Some(packet) = Packet::of(frame) else { return };
    let message_at = 14 + packet.header_bytes();
    let is_error = packet.quoted().is_some();
    let at = if is_error { message_at + 8 + 20 } else { 34 };
    let Some(place) = frame.get_mut(at..at + options.len()).filter(|place| **place == cleared[..]) else {
        return;
    };
    place.copy_from_slice(options);
    if is_error {
        renew_icmp_checksum(frame, message_at);
    } else {
        mend_checksum(frame);
    }
}

/// The options with zeros behind an end that is not the last byte.
fn cleared_behind_the_end(options: &[u8]) -> Option<Vec<u8>> {
    let mut at = 0;
    while *options.get(at)? != 0 {
        at += if options[at] == 1 { 1 } else { usize::from(*options.get(at + 1)?).max(2) };
    }
    let mut cleared = options.to_vec();
    cleared[at..].fill(0);
    Some(cleared)
}

/// The address that asks for a neighbor: one of the neighbor's network, in place of the link-local one.
pub(super) fn solicitations_from_near(_: &Step, frame: &mut Vec<u8>) {
    let Some(packet) = Packet::of(frame).filter(Packet::is_router_s) else { return };
    let IpAddr::V6(destination) = packet.destination() else { return };
    let own = match packet.from_mac() {
        NODE_MAC => NODES,
        GATEWAY_MAC => GATEWAYS,
        _ => return,
    };
    if packet.icmp() != Some((135, 0)) || !is_link_local(packet.source()) {
        return;
    }
    let own = own.iter().map(|own| packets::address(own)).find_map(|own| match own {
        IpAddr::V6(own) => Some(own),
        IpAddr::V4(_) => None,
    });
    let Some(own) = own else { return };
    let mut message = packet.payload().to_vec();
    message[2..4].fill(0);
    let bytes = frames::icmpv6(own, destination, &message);
    frame.truncate(14);
    frame.extend(bytes);
}

/// What is quoted of a packet that waited, with the hops that it came with.
pub(super) fn quoted_as_received(step: &Step, frame: &mut Vec<u8>) {
    let Some(packet) = Packet::of(frame).filter(|packet| packet.is_router_s() && packet.quoted().is_some())
    else {
        return;
    };
    let Some(original) = step.packet() else { return };
    let message_at = 14 + packet.header_bytes();
    let quoted_at = message_at + 8;
    let hops_at = quoted_at + if original.is_v4 { 8 } else { 7 };
    if frame.get(hops_at).copied() != original.hops().checked_sub(1) {
        return;
    }
    frame[hops_at] = original.hops();
    if original.is_v4 {
        frame[quoted_at + 10..quoted_at + 12].copy_from_slice(&original.ip[10..12]);
    }
    renew_icmp_checksum(frame, message_at);
}

/// Makes the checksum of an ICMP message right.
fn renew_icmp_checksum(frame: &mut [u8], message_at: usize) {
    let Some(packet) = Packet::of(frame) else { return };
    let mut message = packet.payload().to_vec();
    message[2..4].fill(0);
    let sum = match (packet.source(), packet.destination()) {
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let bytes = frames::icmpv6(source, destination, &message);
            [bytes[42], bytes[43]]
        }
        _ => checksum(&[&message]).to_be_bytes(),
    };
    frame[message_at + 2..message_at + 4].copy_from_slice(&sum);
}

/// The bit that RFC 791 reserves, in fragments as in their packet.
pub(super) fn reserved_bit_of_fragments(step: &Step, frame: &mut Vec<u8>) {
    let is_reserved = step.packet().is_some_and(|packet| packet.is_v4 && packet.ip[6] & 0x80 != 0);
    if is_reserved && Packet::of(frame).is_some_and(|packet| packet.is_v4 && !packet.is_router_s()) {
        frame[20] |= 0x80;
        mend_checksum(frame);
    }
}

/// The checksum of a reply of nothing but zeros.
pub(super) fn checksum_of_zeros(_: &Step, frame: &mut Vec<u8>) {
    let is_reply = Packet::of(frame).is_some_and(|packet| packet.is_v4 && packet.icmp() == Some((0, 0)));
    if is_reply && frame[34..].iter().all(|octet| *octet == 0) {
        frame[36..38].fill(0xff);
    }
}

/// The router's MAC in answers to one that seems to know it.
pub(super) fn advertisements_with_mac(_: &Step, frame: &mut Vec<u8>) {
    let Some(packet) = Packet::of(frame).filter(Packet::is_router_s) else { return };
    if packet.is_v4 || packet.icmp() != Some((136, 0)) || packet.payload().len() != 24 {
        return;
    }
    let (IpAddr::V6(source), IpAddr::V6(destination)) = (packet.source(), packet.destination()) else {
        return;
    };
    let mac = packet.from_mac();
    let mut message = [packet.payload(), &[2, 1], &mac.0].concat();
    message[2..4].fill(0);
    message[4] |= 0x20;
    let bytes = frames::icmpv6(source, destination, &message);
    frame.truncate(14);
    frame.extend(bytes);
}
