//! What holds of whatever leaves, and of the counters.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use packet::segment::Segmenter;
use packet::{
    DropReason, Layout, MacAddress, Network, Offload, arp, checksum, ipv4, ipv6, parse, validate_offload,
};

use super::rig::{BOUND, GATEWAY, HOST, NODE, Rig, UPLINK, mac, own};

/// What was sent so far.
#[derive(Default)]
pub(super) struct Claims {
    /// Source, destination, protocol and hop limit of every packet, and whether it came from the host.
    packets: BTreeSet<(IpAddr, IpAddr, u8, u8)>,
    /// Ends of flows with a packet whose checksums were wrong, or whose metadata left them to be wrong.
    unsound: BTreeSet<(IpAddr, IpAddr)>,
    /// By source address and by source MAC, a bit for each port.
    addresses: BTreeMap<IpAddr, u8>,
    macs: BTreeMap<MacAddress, u8>,
}

/// The IP header of a frame.
struct Packet {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    hop_limit: u8,
    header_is_valid: bool,
}

fn packet(bytes: &[u8], layout: &Layout) -> Option<Packet> {
    let network = bytes.get(usize::from(layout.network_offset)..)?;
    let protocol = layout.protocol;
    match layout.network {
        Network::Ipv4 => {
            let header = ipv4::Header::new(network)?;
            let (source, destination) = (header.source().into(), header.destination().into());
            let header_is_valid = header.checksum_is_valid();
            Some(Packet { source, destination, protocol, hop_limit: header.ttl(), header_is_valid })
        }
        Network::Ipv6 => {
            let header = ipv6::Header::new(network)?;
            let (source, destination) = (header.source().into(), header.destination().into());
            Some(Packet {
                source,
                destination,
                protocol,
                hop_limit: header.hop_limit(),
                header_is_valid: true,
            })
        }
        _ => None,
    }
}

/// Whether every checksum is right once all is done that the metadata say.
fn is_sound(bytes: &[u8], layout: &Layout, offload: Offload) -> bool {
    let is_right = |bytes: &[u8]| {
        let Ok(layout) = parse(bytes) else { return false };
        let header_is_valid = packet(bytes, &layout).is_none_or(|packet| packet.header_is_valid);
        header_is_valid && checksum::transport_is_valid(bytes, &layout) != Some(false)
    };
    if offload.segmentation.is_some() {
        let Ok(mut segmenter) = Segmenter::new(bytes, layout, offload) else { return false };
        let mut out = vec![0; segmenter.segment_bytes_max()];
        while let Some(length) = segmenter.next_into(&mut out) {
            if !is_right(&out[..length]) {
                return false;
            }
        }
        return true;
    }
    let mut bytes = bytes.to_vec();
    checksum::complete(&mut bytes, offload);
    is_right(&bytes)
}

/// Bytes of the packet, or of the longest segment.
fn longest(layout: &Layout, offload: Offload) -> u32 {
    let start = u32::from(layout.network_offset);
    let whole = layout.packet_end.saturating_sub(start);
    let headers = u32::from(layout.payload_offset).saturating_sub(start);
    offload.segmentation.map_or(whole, |segmentation| whole.min(headers + u32::from(segmentation.size_bytes)))
}

impl Claims {
    /// Notes what is sent to the switch by port `from`.
    pub(super) fn sent(&mut self, from: usize, bytes: &[u8], offload: Offload) {
        let Ok(layout) = parse(bytes) else { return };
        *self.macs.entry(MacAddress::read(bytes, 6).unwrap_or_default()).or_default() |= 1 << from;
        if let Some(arp) = arp_sender(bytes, &layout) {
            *self.addresses.entry(arp).or_default() |= 1 << from;
        }
        let Some(packet) = packet(bytes, &layout) else { return };
        *self.addresses.entry(packet.source).or_default() |= 1 << from;
        self.packets.insert((packet.source, packet.destination, packet.protocol, packet.hop_limit));
        if validate_offload(bytes, &layout, offload).is_err() || !is_sound(bytes, &layout, offload) {
            self.unsound.insert((packet.source, packet.destination));
            self.unsound.insert((packet.destination, packet.source));
        }
    }

    /// Checks what has left by port `to`.
    ///
    /// # Panics
    /// If a claim does not hold.
    pub(super) fn left(&self, rig: &Rig, to: usize, bytes: &[u8], offload: Offload) {
        let layout = parse(bytes).expect("a whole frame");
        let said = format!("port {to}, {offload:?}: {bytes:02x?}");
        assert_eq!(validate_offload(bytes, &layout, offload), Ok(()), "{said}");
        let entry = &rig.entries[to];
        assert!(entry.up && entry.offloads.accept(offload), "{said}");
        // A super-frame that is bridged passes whatever its segments' length, as through the kernel's bridge.
        assert!(to != UPLINK || longest(&layout, offload) <= entry.mtu_bytes, "{said}");
        let (link_source, link_destination) =
            (MacAddress::read(bytes, 6).unwrap_or_default(), MacAddress::read(bytes, 0).unwrap_or_default());
        if to == UPLINK {
            assert!(link_source == mac(NODE) && !link_destination.is_group(), "{said}");
            assert!(layout.is_ip(), "{said}");
        } else if link_source != mac(GATEWAY) && !(to == HOST && link_destination == mac(GATEWAY)) {
            let from = self.macs.get(&link_source).copied().unwrap_or_default();
            assert_ne!(from & !(1 << UPLINK), 0, "only the uplink knows this station: {said}");
        }
        self.source_is_allowed(arp_sender(bytes, &layout), &said);
        let Some(packet) = packet(bytes, &layout) else { return };
        self.source_is_allowed(Some(packet.source), &said);
        self.hop_limit_is_right(to, link_source, &packet, &said);
        if !self.unsound.contains(&(packet.source, packet.destination)) {
            assert!(is_sound(bytes, &layout, offload), "{said}");
        }
    }

    /// What only the bound port has claimed to be is what that port is bound to.
    fn source_is_allowed(&self, source: Option<IpAddr>, said: &str) {
        let Some(source) = source else { return };
        let bound = ["10.0.0.1", "fd00::1"].map(super::rig::ip);
        let is_link_local = router::validate::is_link_local(source) && source.is_ipv6();
        let is_own = own().as_flattened_contains(source) || bound.contains(&source);
        if !(is_own || is_link_local || source.is_unspecified()) {
            let from = self.addresses.get(&source).copied().unwrap_or_default();
            assert_ne!(from & !(1 << BOUND), 0, "{source} is foreign: {said}");
        }
    }

    /// A routed packet has made one hop; what is bridged, or goes to the host as it came, none.
    fn hop_limit_is_right(&self, to: usize, link_source: MacAddress, packet: &Packet, said: &str) {
        if own().as_flattened_contains(packet.source) {
            return;
        }
        let came = |hop_limit| {
            let key = (packet.source, packet.destination, packet.protocol, hop_limit);
            self.packets.contains(&key)
        };
        let was_routed = to == UPLINK || (link_source == mac(GATEWAY) && to != HOST);
        let one_more = packet.hop_limit.checked_add(1).is_some_and(came);
        let from_host = to != UPLINK && came(packet.hop_limit);
        assert!(if was_routed { one_more || from_host } else { came(packet.hop_limit) }, "{said}");
        assert!(!was_routed || packet.hop_limit > 0 || from_host, "{said}");
    }
}

/// Looks through both links' addresses.
trait Owned {
    fn as_flattened_contains(&self, address: IpAddr) -> bool;
}

impl Owned for [Vec<IpAddr>; 2] {
    fn as_flattened_contains(&self, address: IpAddr) -> bool {
        self.iter().any(|link| link.contains(&address))
    }
}

fn arp_sender(bytes: &[u8], layout: &Layout) -> Option<IpAddr> {
    let network = bytes.get(usize::from(layout.network_offset)..)?;
    let packet = arp::Packet::new(network).filter(|_| layout.network == Network::Arp)?;
    Some(packet.sender_address().into())
}

/// Received = forwarded + consumed + dropped, for every worker, and by the ports' counts up to `waiting` frames, which
/// are not settled yet.
///
/// # Panics
/// If not.
pub(super) fn balanced(rig: &Rig, waiting: u64) {
    let (mut received, mut dropped) = (0, 0);
    for worker in 0..rig.shape.workers {
        let counters = rig.simulation.counters(worker);
        let settled = counters.forwarded.get() + counters.consumed.get() + counters.dropped_total();
        assert_eq!(counters.received.get(), settled, "worker {worker}");
        received += counters.received.get();
        dropped += counters.dropped_total();
    }
    let totals = || rig.entries.iter().map(|entry| entry.counters.totals());
    let heard: u64 = totals().map(|totals| totals.rx_packets).sum();
    assert!(received <= heard && heard - received <= waiting, "{heard} heard, {received} settled");
    assert_eq!(totals().map(|totals| totals.rx_dropped).sum::<u64>(), dropped);
    let unresolved = DropReason::LinkBroadcast.index();
    for worker in 0..rig.shape.workers {
        assert_eq!(
            rig.simulation.counters(worker).dropped[unresolved].get(),
            0,
            "no frame for many is routed"
        );
    }
}
