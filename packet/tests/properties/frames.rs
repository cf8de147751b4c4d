//! Valid frames of every kind that the parser knows, with the layout that they have by construction; and
//! damage to them.

use packet::{Fragment, Layout, Network, Transport};
use proptest::prelude::*;

/// A valid frame and its layout.
#[derive(Clone, Debug)]
pub(crate) struct Built {
    pub(crate) bytes: Vec<u8>,
    pub(crate) layout: Layout,
}

/// A transport header with its payload.
#[derive(Clone, Debug)]
struct Upper {
    protocol: u8,
    transport: Transport,
    header_bytes: u16,
    bytes: Vec<u8>,
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..48)
}

fn tcp() -> impl Strategy<Value = Upper> {
    (any::<[u8; 20]>(), 5_u8..=15, payload()).prop_map(|(mut fixed, words, payload)| {
        fixed[12] = words << 4 | fixed[12] & 0x0f;
        let header_bytes = u16::from(words) * 4;
        let mut bytes = fixed.to_vec();
        bytes.resize(usize::from(header_bytes), 1);
        bytes.extend(payload);
        Upper { protocol: 6, transport: Transport::Tcp, header_bytes, bytes }
    })
}

fn udp() -> impl Strategy<Value = Upper> {
    (any::<[u8; 8]>(), payload(), 0..4_usize).prop_map(|(mut fixed, payload, surplus)| {
        let length = u16::try_from(8 + payload.len()).unwrap();
        fixed[4..6].copy_from_slice(&length.to_be_bytes());
        let mut bytes = fixed.to_vec();
        bytes.extend(payload);
        bytes.resize(bytes.len() + surplus, 0);
        Upper { protocol: 17, transport: Transport::Udp, header_bytes: 8, bytes }
    })
}

/// Protocols whose header is of fixed length with any content.
fn fixed(protocol: u8, transport: Transport, header_bytes: u16) -> impl Strategy<Value = Upper> {
    (prop::collection::vec(any::<u8>(), usize::from(header_bytes)), payload()).prop_map(
        move |(mut bytes, payload)| {
            bytes.extend(payload);
            Upper { protocol, transport, header_bytes, bytes }
        },
    )
}

fn upper(is_v6: bool) -> impl Strategy<Value = Upper> {
    let control = if is_v6 { fixed(58, Transport::Icmpv6, 8) } else { fixed(1, Transport::Icmp, 8) };
    let foreign_control = if is_v6 { 1 } else { 58 };
    prop_oneof![
        3 => tcp(),
        3 => udp(),
        2 => control,
        1 => fixed(132, Transport::Sctp, 12),
        1 => prop::sample::select(vec![2_u8, 4, 33, 41, 47, 50, 59, 103, 136, 255, foreign_control])
            .prop_flat_map(|protocol| fixed(protocol, Transport::Opaque, 0)),
    ]
}

fn fragment() -> impl Strategy<Value = Fragment> {
    prop_oneof![6 => Just(Fragment::Whole), 1 => Just(Fragment::First), 1 => Just(Fragment::Later)]
}

/// A packet, with its layout as if it began at offset 0.
type Packet = (Vec<u8>, Layout);

fn ip_layout(network: Network, upper: &Upper, fragment: Fragment, transport_offset: usize) -> Layout {
    let transport_offset = u16::try_from(transport_offset).unwrap();
    let is_later = fragment == Fragment::Later;
    Layout {
        network,
        transport: if is_later { Transport::Absent } else { upper.transport },
        fragment,
        protocol: upper.protocol,
        network_offset: 0,
        transport_offset,
        payload_offset: if is_later { 0 } else { transport_offset + upper.header_bytes },
        packet_end: u32::from(transport_offset) + u32::try_from(upper.bytes.len()).unwrap(),
        ..Layout::opaque(if network == Network::Ipv4 { 0x0800 } else { 0x86dd })
    }
}

fn ipv4() -> impl Strategy<Value = Packet> {
    (any::<[u8; 20]>(), prop_oneof![Just(5_u8), 5_u8..=15], fragment(), 1_u16..0x2000, upper(false)).prop_map(
        |(mut fixed, words, fragment, offset, upper)| {
            let header_bytes = usize::from(words) * 4;
            let total = u16::try_from(header_bytes + upper.bytes.len()).unwrap();
            fixed[0] = 0x40 | words;
            fixed[2..4].copy_from_slice(&total.to_be_bytes());
            let fragment_word = match fragment {
                Fragment::Whole => 0x4000,
                Fragment::First => 0x2000,
                Fragment::Later => offset,
            };
            fixed[6..8].copy_from_slice(&fragment_word.to_be_bytes());
            fixed[9] = upper.protocol;
            let mut bytes = fixed.to_vec();
            bytes.resize(header_bytes, 1);
            bytes.extend(&upper.bytes);
            (bytes, ip_layout(Network::Ipv4, &upper, fragment, header_bytes))
        },
    )
}

fn ipv6() -> impl Strategy<Value = Packet> {
    let chain = prop::collection::vec((prop::sample::select(vec![43_u8, 51, 60]), 1_u8..4), 0..4);
    let atomic = prop::bool::weighted(0.2);
    (any::<[u8; 40]>(), prop::bool::weighted(0.3), chain, fragment(), atomic, 1_u16..0x2000, upper(true))
        .prop_map(|(mut fixed, hop_by_hop, chain, fragment, atomic, offset, upper)| {
            let mut extensions: Vec<(u8, Vec<u8>)> = Vec::new();
            if hop_by_hop {
                extensions.push((0, vec![0, 0, 1, 4, 0, 0, 0, 0]));
            }
            for (kind, units) in chain {
                let length =
                    if kind == 51 { (usize::from(units) + 2) * 4 } else { (usize::from(units) + 1) * 8 };
                let mut header = vec![0; length];
                header[1] = units;
                extensions.push((kind, header));
            }
            if fragment != Fragment::Whole || atomic {
                let word = match fragment {
                    Fragment::Whole => 0,
                    Fragment::First => 1,
                    Fragment::Later => offset << 3,
                };
                let [high, low] = word.to_be_bytes();
                extensions.push((44, vec![0, 0, high, low, 1, 2, 3, 4]));
            }
            for at in 0..extensions.len() {
                extensions[at].1[0] = extensions.get(at + 1).map_or(upper.protocol, |(kind, _)| *kind);
            }
            fixed[0] = 0x60 | fixed[0] & 0x0f;
            fixed[6] = extensions.first().map_or(upper.protocol, |(kind, _)| *kind);
            let chain: Vec<u8> = extensions.into_iter().flat_map(|(_, bytes)| bytes).collect();
            let payload_bytes = u16::try_from(chain.len() + upper.bytes.len()).unwrap();
            fixed[4..6].copy_from_slice(&payload_bytes.to_be_bytes());
            let mut bytes = fixed.to_vec();
            bytes.extend(&chain);
            bytes.extend(&upper.bytes);
            (bytes, ip_layout(Network::Ipv6, &upper, fragment, 40 + chain.len()))
        })
}

fn arp() -> impl Strategy<Value = Packet> {
    any::<[u8; 28]>().prop_map(|mut bytes| {
        bytes[..6].copy_from_slice(&[0, 1, 8, 0, 6, 4]);
        (bytes.to_vec(), Layout { network: Network::Arp, ..Layout::opaque(0x0806) })
    })
}

fn opaque() -> impl Strategy<Value = Packet> {
    let ethertype = prop::sample::select(vec![0_u16, 0x26, 0x05dc, 0x8847, 0x88cc, 0x88e5, 0x9100]);
    (ethertype, payload()).prop_map(|(ethertype, bytes)| (bytes, Layout::opaque(ethertype)))
}

/// Any valid frame, with up to two tags and some padding.
pub(crate) fn frame() -> impl Strategy<Value = Built> {
    let packet = prop_oneof![4 => ipv4(), 4 => ipv6(), 1 => arp(), 1 => opaque()];
    let tag = (prop::sample::select(vec![0x8100_u16, 0x88a8]), any::<[u8; 2]>());
    (any::<[u8; 12]>(), prop_oneof![Just(Vec::new()), prop::collection::vec(tag, 0..3)], packet, 0..20_usize)
        .prop_map(|(addresses, tags, (packet, mut layout), padding)| {
            let mut bytes = addresses.to_vec();
            for (kind, control) in &tags {
                bytes.extend(kind.to_be_bytes());
                bytes.extend(control);
            }
            bytes.extend(layout.ethertype.to_be_bytes());
            layout.network_offset = u8::try_from(bytes.len()).unwrap();
            layout.vlan_tags = u8::try_from(tags.len()).unwrap();
            if layout.is_ip() {
                let offset = u16::from(layout.network_offset);
                layout.transport_offset += offset;
                layout.packet_end += u32::from(offset);
                if layout.payload_offset != 0 {
                    layout.payload_offset += offset;
                }
            }
            bytes.extend(packet);
            bytes.resize(bytes.len() + padding, 0xa5);
            Built { bytes, layout }
        })
}

/// Where the fields lie that lengths, versions and types are told by: from the network header, and from the
/// transport header.
const NETWORK_FIELDS: [usize; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 9, 40, 41, 48];
const TRANSPORT_FIELDS: [usize; 5] = [0, 4, 5, 12, 12];

/// A place to damage.
fn place() -> impl Strategy<Value = (u8, prop::sample::Index)> {
    (0..8_u8, any::<prop::sample::Index>())
}

fn position(built: &Built, (class, index): (u8, prop::sample::Index)) -> usize {
    let network = usize::from(built.layout.network_offset);
    let transport = usize::from(built.layout.transport_offset);
    let position = match class {
        0 => index.index(built.bytes.len()),
        1 => 12 + index.index(10),
        2..5 => network + NETWORK_FIELDS[index.index(NETWORK_FIELDS.len())],
        _ => transport + TRANSPORT_FIELDS[index.index(TRANSPORT_FIELDS.len())],
    };
    position.min(built.bytes.len() - 1)
}

/// A valid frame with some bytes overwritten, mostly such as others depend on, and perhaps cut short.
pub(crate) fn damaged_frame() -> impl Strategy<Value = Vec<u8>> {
    let special = vec![0_u8, 1, 4, 6, 8, 17, 20, 43, 44, 51, 58, 60, 0x45, 0x4f, 0x60];
    let byte = prop_oneof![any::<u8>(), 0..64_u8, prop::sample::select(special)];
    let cut = prop::option::weighted(0.3, any::<prop::sample::Index>());
    (frame(), prop::collection::vec((place(), byte), 0..4), cut).prop_map(|(mut built, overwrites, cut)| {
        for (place, value) in overwrites {
            let position = position(&built, place);
            built.bytes[position] = value;
        }
        if let Some(cut) = cut {
            let end = built.bytes.len();
            built.bytes.truncate(14 + cut.index(end - 13));
        }
        built.bytes
    })
}
