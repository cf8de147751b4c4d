//! Whole pods: another TCP/IP stack behind a memory port, with a wire between that loses, repeats and
//! overtakes, by a seed.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use packet::segment::Segmenter;
use packet::{
    ChecksumOffload, FiveTuple, Network, Offload, Segmentation, SegmentationKind, Transport, checksum,
};
use port::memory::MemoryEnd;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::{tcp, udp};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr};

use crate::frames::{Family, address, mac};

/// SplitMix64: repeatable.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }

    fn is(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }
}

/// What a wire does to frames, each in a thousand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Impairment {
    pub(crate) lost: u64,
    pub(crate) repeated: u64,
    /// Held back for up to 8 ms, so that others overtake.
    pub(crate) late: u64,
}

/// One direction of a wire.
pub(crate) struct Wire {
    impairment: Impairment,
    random: Random,
    /// By the time of arrival, then by order of sending.
    under_way: BTreeMap<(u64, u64), Vec<u8>>,
    sent: u64,
}

impl Wire {
    pub(crate) fn new(impairment: Impairment, seed: u64) -> Self {
        Self { impairment, random: Random(seed), under_way: BTreeMap::new(), sent: 0 }
    }

    pub(crate) fn send(&mut self, now_ms: u64, frame: &[u8]) {
        if self.random.is(self.impairment.lost) {
            return;
        }
        let copies = if self.random.is(self.impairment.repeated) { 2 } else { 1 };
        for _ in 0..copies {
            let late_ms = if self.random.is(self.impairment.late) { self.random.below(8) } else { 0 };
            self.sent += 1;
            self.under_way.insert((now_ms + 1 + late_ms, self.sent), frame.to_vec());
        }
    }

    pub(crate) fn arrived(&mut self, now_ms: u64) -> Option<Vec<u8>> {
        let first = self.under_way.first_entry().filter(|entry| entry.key().0 <= now_ms)?;
        Some(first.remove())
    }
}

/// The pod's network card.
struct Card {
    received: VecDeque<Vec<u8>>,
    out: Wire,
    now_ms: u64,
    /// What routers have told of the way's MTU, by family.
    path_mtu_bytes: [usize; 2],
}

struct Received(Vec<u8>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

struct ToSend<'a>(&'a mut Wire, u64, [usize; 2]);

impl TxToken for ToSend<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let mut frame = vec![0; len];
        let result = write(&mut frame);
        for piece in cut(frame, self.2) {
            self.0.send(self.1, &piece);
        }
        result
    }
}

impl Device for Card {
    type RxToken<'a> = Received;
    type TxToken<'a> = ToSend<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received, ToSend<'_>)> {
        let frame = self.received.pop_front()?;
        Some((Received(frame), ToSend(&mut self.out, self.now_ms, self.path_mtu_bytes)))
    }

    fn transmit(&mut self, _: Instant) -> Option<ToSend<'_>> {
        Some(ToSend(&mut self.out, self.now_ms, self.path_mtu_bytes))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

/// A TCP segment in as many as the way takes. smoltcp knows nothing of path MTU discovery; a card that segments does
/// the half of it that is the sender's.
fn cut(mut frame: Vec<u8>, path_mtu_bytes: [usize; 2]) -> Vec<Vec<u8>> {
    let layout = packet::parse(&frame).unwrap();
    let mtu_bytes = path_mtu_bytes[usize::from(layout.network == Network::Ipv6)];
    if frame.len() <= 14 + mtu_bytes || layout.transport != Transport::Tcp {
        return vec![frame];
    }
    let flow = FiveTuple::read(&frame, &layout).unwrap();
    let start = usize::from(layout.transport_offset);
    let length = u32::try_from(frame.len() - start).unwrap();
    let sum = checksum::pseudo_header(flow.source, flow.destination, flow.protocol, length).folded();
    frame[start + 16..start + 18].copy_from_slice(&sum.to_be_bytes());
    let kind = if flow.source.is_ipv4() { SegmentationKind::TcpV4 } else { SegmentationKind::TcpV6 };
    let size_bytes = u16::try_from(mtu_bytes + 14).unwrap() - layout.payload_offset;
    let offload = Offload {
        checksum: ChecksumOffload::Partial { start: layout.transport_offset, offset: 16 },
        segmentation: Some(Segmentation { kind, size_bytes, ecn: false }),
    };
    let mut segmenter = Segmenter::new(&frame, &layout, offload).unwrap();
    let mut out = vec![0; segmenter.segment_bytes_max()];
    std::iter::from_fn(|| segmenter.next_into(&mut out).map(|length| out[..length].to_vec())).collect()
}

/// The MTU that an error tells: fragmentation needed, Packet Too Big.
fn told_mtu(frame: &[u8]) -> Option<(usize, usize)> {
    let layout = packet::parse(frame).unwrap();
    let message = frame.get(usize::from(layout.transport_offset)..)?;
    let family = match (layout.transport, message) {
        (Transport::Icmp, [3, 4, ..]) => 0,
        (Transport::Icmpv6, [2, 0, ..]) => 1,
        _ => return None,
    };
    assert_eq!(checksum::transport_is_valid(frame, &layout), Some(true));
    Some((family, usize::try_from(u32::from_be_bytes(message[4..8].try_into().unwrap())).unwrap()))
}

/// Who a pod is.
pub(crate) struct Identity {
    /// Its station, by which its MAC goes.
    pub(crate) station: usize,
    /// Its addresses, IPv4 and IPv6.
    pub(crate) addresses: [IpAddr; 2],
    /// Where its default routes lead.
    pub(crate) gateways: Option<[IpAddr; 2]>,
}

/// A pod with an address of each family.
pub(crate) struct Pod {
    addresses: [IpAddr; 2],
    card: Card,
    inbound: Wire,
    end: MemoryEnd,
    queues: usize,
    interface: Interface,
    sockets: SocketSet<'static>,
    steering: Random,
}

impl Pod {
    /// Station `number` at the other end of a port with `queues` queues.
    pub(crate) fn new(
        number: usize,
        end: MemoryEnd,
        queues: usize,
        impairment: Impairment,
        seed: u64,
    ) -> Self {
        let addresses = [Family::V4, Family::V6].map(|family| address(number, family));
        let identity = Identity { station: number, addresses, gateways: None };
        Self::with(&identity, end, queues, impairment, seed)
    }

    /// A pod of this identity.
    pub(crate) fn with(
        identity: &Identity,
        end: MemoryEnd,
        queues: usize,
        impairment: Impairment,
        seed: u64,
    ) -> Self {
        let Identity { station, addresses, gateways } = *identity;
        let mut seeds = Random(seed ^ (station as u64) << 32);
        let out = Wire::new(impairment, seeds.draw());
        let mut card = Card { received: VecDeque::new(), out, now_ms: 0, path_mtu_bytes: [1500; 2] };
        let mut config = Config::new(HardwareAddress::Ethernet(EthernetAddress(mac(station).0)));
        config.random_seed = seeds.draw();
        let mut interface = Interface::new(config, &mut card, Instant::ZERO);
        interface.update_ip_addrs(|own| {
            for (address, prefix) in addresses.into_iter().zip([24, 64]) {
                own.push(IpCidr::new(address.into(), prefix)).unwrap();
            }
        });
        for gateway in gateways.into_iter().flatten() {
            let routes = interface.routes_mut();
            match gateway {
                IpAddr::V4(gateway) => routes.add_default_ipv4_route(gateway).unwrap(),
                IpAddr::V6(gateway) => routes.add_default_ipv6_route(gateway).unwrap(),
            };
        }
        let inbound = Wire::new(impairment, seeds.draw());
        let (sockets, steering) = (SocketSet::new(Vec::new()), Random(seeds.draw()));
        Self { addresses, card, inbound, end, queues, interface, sockets, steering }
    }

    /// Its address of a family.
    pub(crate) fn address(&self, family: Family) -> IpAddress {
        self.addresses[usize::from(family == Family::V6)].into()
    }

    /// The MTU that it knows of its ways, IPv4 and IPv6.
    pub(crate) fn path_mtu_bytes(&self) -> [usize; 2] {
        self.card.path_mtu_bytes
    }

    /// Waits for a connection.
    pub(crate) fn listen(&mut self, port: u16) -> SocketHandle {
        let mut socket = tcp_socket();
        socket.listen(port).unwrap();
        self.sockets.add(socket)
    }

    /// Begins a connection.
    pub(crate) fn connect(&mut self, to: IpAddress, port: u16, own_port: u16) -> SocketHandle {
        let handle = self.sockets.add(tcp_socket());
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(handle);
        socket.connect(self.interface.context(), (to, port), own_port).unwrap();
        handle
    }

    /// A UDP socket on `port`.
    pub(crate) fn bind(&mut self, port: u16) -> SocketHandle {
        let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 64], vec![0; 64 * 1024]);
        let mut socket = udp::Socket::new(buffer(), buffer());
        socket.bind(port).unwrap();
        self.sockets.add(socket)
    }

    pub(crate) fn tcp(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    pub(crate) fn udp(&mut self, handle: SocketHandle) -> &mut udp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    /// Lets the stack run; what arrives at the port from the pod goes to any of its queues.
    pub(crate) fn run(&mut self, now_ms: u64) {
        self.card.now_ms = now_ms;
        while let Some(frame) = self.inbound.arrived(now_ms) {
            if let Some((family, mtu_bytes)) = told_mtu(&frame) {
                let known = &mut self.card.path_mtu_bytes[family];
                *known = mtu_bytes.min(*known);
            }
            self.card.received.push_back(frame);
        }
        let now = Instant::from_millis(i64::try_from(now_ms).unwrap());
        self.interface.poll(now, &mut self.card, &mut self.sockets);
        while let Some(frame) = self.card.out.arrived(now_ms) {
            let queue = if self.steering.is(900) { 0 } else { self.steering.below(self.queues as u64) };
            // A full queue loses frames, too.
            let _ = self.end.send_on(usize::try_from(queue).unwrap(), &frame, Offload::NONE);
        }
    }

    /// Takes what the switch has sent to the pod's port, and shows it to `seen`.
    pub(crate) fn collect(&mut self, now_ms: u64, mut seen: impl FnMut(&[u8])) {
        while let Some((mut frame, offload)) = self.end.receive() {
            assert_eq!(offload.segmentation, None, "nobody here sends super-frames");
            checksum::complete(&mut frame, offload);
            seen(&frame);
            self.inbound.send(now_ms, &frame);
        }
    }
}

fn tcp_socket() -> tcp::Socket<'static> {
    let buffer = || tcp::SocketBuffer::new(vec![0; 32 * 1024]);
    tcp::Socket::new(buffer(), buffer())
}
