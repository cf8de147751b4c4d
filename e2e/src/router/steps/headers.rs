//! Every field of the IP header, and what stands behind it.

use super::{FLOWS, Flow, Ipv4, Ipv6, Step};
use crate::frames::tagged;
use packet::MacAddress;

pub(super) fn all() -> Vec<Step> {
    let mut steps = Vec::new();
    for flow in FLOWS {
        every_bit(flow, &mut steps);
        lengths(flow, &mut steps);
        options(flow, &mut steps);
        extensions(flow, &mut steps);
        fragments(flow, &mut steps);
        sizes(flow, &mut steps);
        links(flow, &mut steps);
    }
    steps
}

/// One bit of the header after the other, with a checksum that is right and one that is not.
fn every_bit(flow: &Flow, steps: &mut Vec<Step>) {
    let (packet, six) = (flow.ipv4(), flow.ipv6());
    for bit in 0..160 {
        let mut step = flow.step4(&format!("bit {bit} of the header flipped"), &packet);
        step.frame[14 + bit / 8] ^= 0x80 >> (bit % 8);
        steps.push(step.clone());
        if bit / 16 != 5 {
            super::super::compare::mend_checksum(&mut step.frame);
            step.what.push_str(", the checksum right");
            steps.push(step);
        }
    }
    for bit in 0..320 {
        let mut step = flow.step6(&format!("bit {bit} of the header flipped"), &six);
        step.frame[14 + bit / 8] ^= 0x80 >> (bit % 8);
        steps.push(step);
    }
    for ttl in [0, 1, 2, 3, 255] {
        steps.push(flow.step4(&format!("TTL {ttl}"), &Ipv4 { ttl, ..packet.clone() }));
        steps.push(flow.step6(&format!("hop limit {ttl}"), &Ipv6 { hop_limit: ttl, ..six.clone() }));
    }
    for tos in [0x02, 0x10, 0x1c, 0x20, 0xb8, 0xff] {
        let expiring = Ipv4 { tos, ttl: 1, ..packet.clone() };
        steps.push(flow.step4(&format!("type of service {tos:#x}, TTL 1"), &expiring));
        let expiring = Ipv6 { first: 0x6000_0000 | u32::from(tos) << 20, hop_limit: 1, ..six.clone() };
        steps.push(flow.step6(&format!("traffic class {tos:#x}, hop limit 1"), &expiring));
    }
}

fn lengths(flow: &Flow, steps: &mut Vec<Step>) {
    let (packet, six) = (flow.ipv4(), flow.ipv6());
    for total in [0, 1, 19, 20, 21, 27, 28, 43, 44, 45, 100, 0xffff] {
        let what = format!("total length {total}");
        steps.push(flow.step4(&what, &Ipv4 { total_bytes: Some(total), ..packet.clone() }));
    }
    for length in [0, 1, 7, 8, 23, 24, 25, 100, 0xffff] {
        let what = format!("payload length {length}");
        steps.push(flow.step6(&what, &Ipv6 { payload_bytes: Some(length), ..six.clone() }));
    }
    for first in [0x05, 0x35, 0x40, 0x44, 0x46, 0x4f, 0x55, 0x65] {
        let what = format!("first byte {first:#04x}");
        steps.push(flow.step4(&what, &Ipv4 { first: Some(first), ..packet.clone() }));
    }
    let longest = if flow.ingress == super::UPLINK { 1400 } else { 1500 };
    for padding in [1, 18, 46, longest - 44] {
        let padding = vec![0xee; padding];
        let what = format!("{} bytes of padding", padding.len());
        steps.push(flow.step4(&what, &Ipv4 { padding: padding.clone(), ..packet.clone() }));
        steps.push(
            flow.step4(
                &format!("{what}, TTL 1"),
                &Ipv4 { ttl: 1, padding: padding.clone(), ..packet.clone() },
            ),
        );
        let padding = padding[..padding.len().min(longest - 64)].to_vec();
        steps.push(flow.step6(&what, &Ipv6 { padding, ..six.clone() }));
    }
    for kept in 0..60 {
        for step in [flow.step4("", &packet), flow.step6("", &six)] {
            let frame = step.frame.get(..14 + kept).unwrap_or(&step.frame).to_vec();
            steps.push(Step::new(format!("{} cut to {kept} bytes", flow.name), flow.ingress, frame));
        }
    }
}

fn options(flow: &Flow, steps: &mut Vec<Step>) {
    let lists: &[(&str, &[u8])] = &[
        ("no-operation", &[1, 1, 1, 1]),
        ("end of list", &[0, 0, 0, 0]),
        ("end of list and more", &[0, 7, 1, 1]),
        ("router alert", &[148, 4, 0, 0]),
        ("unknown, not copied", &[30, 4, 1, 2]),
        ("unknown, copied", &[158, 4, 1, 2]),
        ("security", &[130, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("stream identifier", &[136, 4, 0, 9]),
        ("record route", &[7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("record route, full", &[7, 7, 8, 10, 0, 0, 1, 0]),
        ("record route with pointer 3", &[7, 7, 3, 0, 0, 0, 0, 0]),
        ("record route with pointer 6", &[7, 7, 6, 0, 0, 0, 0, 0]),
        ("record route of 2 bytes", &[7, 2, 1, 1]),
        ("two record routes", &[7, 3, 4, 7, 3, 4, 0, 0]),
        ("timestamp", &[68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("timestamp with addresses", &[68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("timestamp, full", &[68, 4, 5, 0]),
        ("timestamp that overflows", &[68, 4, 5, 0xf0]),
        ("timestamp of 3 bytes", &[68, 3, 5, 0]),
        ("loose source route", &[131, 7, 4, 10, 9, 0, 9, 0]),
        ("strict source route", &[137, 7, 4, 10, 9, 0, 9, 0]),
        ("loose source route at its end", &[131, 7, 8, 10, 9, 0, 9, 0]),
        ("loose source route and a malformed one", &[131, 7, 4, 10, 9, 0, 9, 0x80]),
        ("length 0", &[30, 0, 1, 1]),
        ("length 1", &[30, 1, 1, 1]),
        ("length beyond the header", &[30, 5, 1, 1]),
        ("no length", &[1, 1, 1, 30]),
        ("malformed behind good ones", &[1, 148, 4, 0, 0, 30, 9, 0]),
    ];
    for (name, options) in lists {
        let packet = Ipv4 { options: options.to_vec(), ..flow.ipv4() };
        steps.push(flow.step4(&format!("option {name}"), &packet));
        steps.push(flow.step4(&format!("option {name}, TTL 1"), &Ipv4 { ttl: 1, ..packet.clone() }));
        let long = Ipv4 { payload: vec![0x5a; 1430], fragment: 0, ..packet.clone() };
        steps.push(flow.step4(&format!("option {name}, to be fragmented"), &long));
        steps.push(flow.step4(&format!("option {name}, too big"), &Ipv4 { fragment: 0x4000, ..long }));
    }
    let full = Ipv4 { options: vec![1; 40], ..flow.ipv4() };
    steps.push(flow.step4("40 bytes of options", &full));
}

/// Extension headers: their types, and all of them but the first byte.
type Chain<'a> = &'a [(u8, &'a [u8])];

fn extensions(flow: &Flow, steps: &mut Vec<Step>) {
    let pad = [0, 1, 4, 0, 0, 0, 0];
    let chains: &[(&str, Chain<'_>)] = &[
        ("hop-by-hop padding", &[(0, &pad)]),
        ("hop-by-hop router alert", &[(0, &[0, 5, 2, 0, 0, 1, 0])]),
        ("hop-by-hop unknown, skipped", &[(0, &[0, 0x1e, 4, 0, 0, 0, 0])]),
        ("hop-by-hop unknown, discarded", &[(0, &[0, 0x5e, 4, 0, 0, 0, 0])]),
        ("hop-by-hop unknown, reported", &[(0, &[0, 0x9e, 4, 0, 0, 0, 0])]),
        ("hop-by-hop unknown, reported to one", &[(0, &[0, 0xde, 4, 0, 0, 0, 0])]),
        ("hop-by-hop option beyond its header", &[(0, &[0, 1, 9, 0, 0, 0, 0])]),
        ("hop-by-hop beyond the packet", &[(0, &[200, 1, 4, 0, 0, 0, 0])]),
        ("hop-by-hop second", &[(0, &pad), (60, &pad)]),
        ("destination options", &[(60, &pad)]),
        ("routing type 0", &[(43, &[0, 0, 0, 0, 0, 0, 0])]),
        ("routing type 0 with segments left", &[(43, &[0, 0, 1, 0, 0, 0, 0])]),
        ("routing type 2", &[(43, &[0, 2, 0, 0, 0, 0, 0])]),
        ("routing type 4", &[(43, &[0, 4, 0, 0, 0, 0, 0])]),
        (
            "authentication header",
            &[(51, &[4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])],
        ),
        ("atomic fragment", &[(44, &[0, 0, 0, 0, 0, 0, 7])]),
        ("first fragment", &[(44, &[0, 0, 1, 0, 0, 0, 7])]),
        ("later fragment", &[(44, &[0, 0, 9, 0, 0, 0, 7])]),
        (
            "eight headers",
            &[(60, &pad), (60, &pad), (60, &pad), (60, &pad), (60, &pad), (60, &pad), (60, &pad), (60, &pad)],
        ),
        (
            "nine headers",
            &[
                (60, &pad),
                (60, &pad),
                (60, &pad),
                (60, &pad),
                (60, &pad),
                (60, &pad),
                (60, &pad),
                (60, &pad),
                (60, &pad),
            ],
        ),
    ];
    for (name, chain) in chains {
        let extended =
            chain.iter().fold(flow.ipv6(), |packet, (kind, header)| packet.extended(*kind, header));
        steps.push(flow.step6(name, &extended));
        steps.push(flow.step6(&format!("{name}, hop limit 1"), &Ipv6 { hop_limit: 1, ..extended }));
    }
    for next_header in [0, 41, 43, 44, 50, 59, 60, 135, 253, 255] {
        let packet = Ipv6 { next_header, ..flow.ipv6() };
        steps.push(flow.step6(&format!("next header {next_header} over UDP's bytes"), &packet));
        let expiring = Ipv6 { hop_limit: 1, ..packet };
        steps
            .push(flow.step6(&format!("next header {next_header} over UDP's bytes, hop limit 1"), &expiring));
    }
}

fn fragments(flow: &Flow, steps: &mut Vec<Step>) {
    for (name, fragment) in [
        ("first fragment", 0x2000),
        ("later fragment", 0x2009),
        ("last fragment", 0x0009),
        ("fragment with DF", 0x6000),
        ("fragment that reaches beyond 64 KiB", 0x1fff),
        ("reserved bit", 0xc000),
        ("reserved bit without DF", 0x8000),
    ] {
        for (length, payload) in [("short", 24), ("long", 1450)] {
            for ttl in [64, 1] {
                let packet = Ipv4 { fragment, ttl, payload: vec![0x11; payload], ..flow.ipv4() };
                steps.push(flow.step4(&format!("{length} {name}, TTL {ttl}"), &packet));
            }
        }
    }
}

/// Around the MTU of the uplink and of the pods.
fn sizes(flow: &Flow, steps: &mut Vec<Step>) {
    for bytes in [1279, 1280, 1281, 1376, 1396, 1399, 1400, 1401, 1402, 1408, 1499, 1500] {
        if flow.ingress == super::UPLINK && bytes > 1400 {
            continue;
        }
        for fragment in [0x4000, 0] {
            let packet = Ipv4 { fragment, payload: pattern(bytes - 20), ..flow.ipv4() };
            steps.push(flow.step4(&format!("{bytes} bytes, fragment word {fragment:#x}"), &packet));
        }
        let packet = Ipv6 { payload: pattern(bytes - 40), ..flow.ipv6() };
        steps.push(flow.step6(&format!("{bytes} bytes"), &packet));
    }
    // Quotations: as long as they may be, and a byte less and more.
    for payload in [0, 1, 7, 8, 9, 526, 527, 528, 529, 556, 1191, 1192, 1193, 1232, 1300] {
        let packet = Ipv4 { ttl: 1, payload: pattern(payload), ..flow.ipv4() };
        steps.push(flow.step4(&format!("{payload} bytes of payload, TTL 1"), &packet));
        let packet = Ipv6 { hop_limit: 1, payload: pattern(payload), ..flow.ipv6() };
        steps.push(flow.step6(&format!("{payload} bytes of payload, hop limit 1"), &packet));
    }
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| u8::try_from(at % 251).unwrap_or(0)).collect()
}

/// Frames for others, for many, with tags, of another type.
fn links(flow: &Flow, steps: &mut Vec<Step>) {
    let (packet, six) = (flow.ipv4(), flow.ipv6());
    let (to, from) = flow.macs();
    for ttl in [64, 1] {
        for (name, mac) in [
            ("everybody", MacAddress::BROADCAST),
            ("a group of IPv4", MacAddress([1, 0, 0x5e, 0, 0, 1])),
            ("a group of IPv6", MacAddress([0x33, 0x33, 0, 0, 0, 1])),
            ("a stranger", super::super::STRANGE_MAC),
        ] {
            let what = format!("{} in a frame for {name}, TTL {ttl}", flow.name);
            let packet = Ipv4 { ttl, ..packet.clone() };
            steps.push(Step::new(&what, flow.ingress, packet.frame(mac, from)));
            let six = Ipv6 { hop_limit: ttl, ..six.clone() };
            steps.push(Step::new(&what, flow.ingress, six.frame(mac, from)));
        }
    }
    for (what, frame) in [("IPv4", packet.frame(to, from)), ("IPv6", six.frame(to, from))] {
        steps.push(Step::new(format!("{what} with a tag"), flow.ingress, tagged(&frame, 0x8100, 5)));
        let mut priority = tagged(&frame, 0x8100, 0xe000);
        priority[12] = 0x81;
        let mut other = frame.clone();
        other[12..14].copy_from_slice(&if what == "IPv4" { [0x86, 0xdd] } else { [8, 0] });
        steps.push(Step::new(format!("{what} called the other"), flow.ingress, other));
        let mut strange = frame;
        strange[6..12].copy_from_slice(&[2, 0xf4, 0, 0, 8, 8]);
        steps.push(Step::new(format!("{}, {what} from a strange MAC", flow.name), flow.ingress, strange));
    }
}
