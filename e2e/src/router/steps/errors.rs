//! Errors about every kind of packet, or none.

use std::net::Ipv4Addr;

use super::{FLOWS, Ipv4, Ipv6, Step};
use crate::router::packets::{icmp4, icmp6};

pub(super) fn all() -> Vec<Step> {
    let mut steps = about_every_kind_of_message();
    steps.extend(about_every_protocol());
    steps.extend(of_every_route());
    steps
}

/// ICMP messages of every type whose way ends here.
fn about_every_kind_of_message() -> Vec<Step> {
    let mut steps = Vec::new();
    for flow in &FLOWS[..2] {
        for kind in 0..=255 {
            let message = icmp4(kind, 0, &[0; 28]);
            let packet = Ipv4 { protocol: 1, ttl: 1, payload: message, ..flow.ipv4() };
            steps.push(flow.step4(&format!("ICMP of type {kind}, TTL 1"), &packet));
            let base = flow.ipv6();
            let packet = icmp6(base.source, base.destination, kind, 0, &[0; 28]);
            let packet = Ipv6 { hop_limit: 1, ..packet };
            steps.push(flow.step6(&format!("ICMPv6 of type {kind}, hop limit 1"), &packet));
            let behind = packet.extended(60, &[0, 1, 4, 0, 0, 0, 0]);
            steps.push(flow.step6(&format!("ICMPv6 of type {kind} behind options, hop limit 1"), &behind));
        }
        for length in 0..10 {
            let packet = Ipv4 { protocol: 1, ttl: 1, payload: vec![8; length], ..flow.ipv4() };
            steps.push(flow.step4(&format!("{length} bytes of ICMP, TTL 1"), &packet));
            let packet = Ipv6 { next_header: 58, hop_limit: 1, payload: vec![128; length], ..flow.ipv6() };
            steps.push(flow.step6(&format!("{length} bytes of ICMPv6, hop limit 1"), &packet));
            let packet = Ipv6 { next_header: 58, hop_limit: 1, payload: vec![1; length], ..flow.ipv6() };
            steps.push(flow.step6(&format!("{length} bytes of an ICMPv6 error, hop limit 1"), &packet));
        }
    }
    steps
}

fn about_every_protocol() -> Vec<Step> {
    let mut steps = Vec::new();
    for flow in &FLOWS[..2] {
        for protocol in (0..=255).filter(|protocol| !matches!(protocol, 0 | 43 | 44 | 51 | 58 | 60)) {
            let packet = Ipv4 { protocol, ttl: 1, ..flow.ipv4() };
            steps.push(flow.step4(&format!("protocol {protocol}, TTL 1"), &packet));
            let packet = Ipv6 { next_header: protocol, hop_limit: 1, ..flow.ipv6() };
            steps.push(flow.step6(&format!("protocol {protocol}, hop limit 1"), &packet));
        }
    }
    steps
}

/// To where no route leads, from many sources.
pub(super) fn to_no_route() -> Vec<Step> {
    let flow = &FLOWS[3];
    let mut steps = Vec::new();
    for kind in 0..=255 {
        let source = Ipv4Addr::new(10, 23, 8, kind);
        let packet = Ipv4 { protocol: 1, source, destination: super::v4("10.9.0.7"), ..flow.ipv4() };
        let message = Ipv4 { payload: icmp4(kind, 0, &[0; 28]), ..packet.clone() };
        steps.push(flow.step4(&format!("ICMP of type {kind} to no route"), &message));
        let six = icmp6(flow.ipv6().source, super::v6("fd09::7"), kind, 0, &[0; 28]);
        steps.push(flow.step6(&format!("ICMPv6 of type {kind} to no route"), &six));
        let source = Ipv4Addr::new(10, 23, 9, kind);
        let other = Ipv4 { protocol: kind, source, ..packet };
        steps.push(flow.step4(&format!("protocol {kind} to no route"), &other));
    }
    steps
}

/// To each route that leads nowhere, with options, as fragments, too long, at the end of their way. Each from another
/// source: of errors about routes the kernel tells one sender five, then one a second, and that cannot be switched off
/// in a namespace (`ip_rt_error_burst`).
fn of_every_route() -> Vec<Step> {
    let mut steps = Vec::new();
    let mut sources = (0..=255).map(|last| Ipv4Addr::new(10, 23, 7, last));
    {
        let flow = &FLOWS[3];
        for (index, (to4, to6)) in [
            ("10.20.0.1", "fd20::1"),
            ("10.21.0.1", "fd21::1"),
            ("10.22.0.1", "fd22::1"),
            ("10.24.5.7", "fd24:5::7"),
        ]
        .into_iter()
        .enumerate()
        {
            let packet = Ipv4 { destination: super::v4(to4), ..flow.ipv4() };
            let six = Ipv6 { destination: super::v6(to6), ..flow.ipv6() };
            let long = vec![index.try_into().unwrap_or(0); 1440];
            for (what, packet) in [
                ("as it is", packet.clone()),
                ("with an option", Ipv4 { options: vec![148, 4, 0, 0], ..packet.clone() }),
                ("too long", Ipv4 { payload: long.clone(), ..packet.clone() }),
                ("a later fragment", Ipv4 { fragment: 0x2009, ..packet.clone() }),
                ("a first fragment", Ipv4 { fragment: 0x2000, ..packet.clone() }),
                ("of type of service 0x10", Ipv4 { tos: 0x10, ..packet.clone() }),
                ("with TTL 1", Ipv4 { ttl: 1, ..packet.clone() }),
            ] {
                let packet = Ipv4 { source: sources.next().unwrap_or(packet.source), ..packet };
                steps.push(flow.step4(&format!("to {to4}, {what}"), &packet));
            }
            for (what, packet) in [
                ("as it is", six.clone()),
                ("with hop limit 1", Ipv6 { hop_limit: 1, ..six.clone() }),
                ("too long", Ipv6 { payload: long, ..six.clone() }),
                ("a later fragment", six.clone().extended(44, &[0, 0, 9, 0, 0, 0, 7])),
                ("a first fragment", six.clone().extended(44, &[0, 0, 1, 0, 0, 0, 7])),
            ] {
                steps.push(flow.step6(&format!("to {to6}, {what}"), &packet));
            }
        }
    }
    steps
}
