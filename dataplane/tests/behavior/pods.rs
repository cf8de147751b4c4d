//! Whole pods: another TCP/IP stack behind a memory port, with a wire between that loses, repeats and
//! overtakes, by a seed.

use std::collections::{BTreeMap, VecDeque};

use packet::{Offload, checksum};
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
struct Wire {
    impairment: Impairment,
    random: Random,
    /// By the time of arrival, then by order of sending.
    under_way: BTreeMap<(u64, u64), Vec<u8>>,
    sent: u64,
}

impl Wire {
    fn new(impairment: Impairment, seed: u64) -> Self {
        Self { impairment, random: Random(seed), under_way: BTreeMap::new(), sent: 0 }
    }

    fn send(&mut self, now_ms: u64, frame: &[u8]) {
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

    fn arrived(&mut self, now_ms: u64) -> Option<Vec<u8>> {
        let first = self.under_way.first_entry().filter(|entry| entry.key().0 <= now_ms)?;
        Some(first.remove())
    }
}

/// The pod's network card.
struct Card {
    received: VecDeque<Vec<u8>>,
    out: Wire,
    now_ms: u64,
}

struct Received(Vec<u8>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

struct ToSend<'a>(&'a mut Wire, u64);

impl TxToken for ToSend<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let mut frame = vec![0; len];
        let result = write(&mut frame);
        self.0.send(self.1, &frame);
        result
    }
}

impl Device for Card {
    type RxToken<'a> = Received;
    type TxToken<'a> = ToSend<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received, ToSend<'_>)> {
        let frame = self.received.pop_front()?;
        Some((Received(frame), ToSend(&mut self.out, self.now_ms)))
    }

    fn transmit(&mut self, _: Instant) -> Option<ToSend<'_>> {
        Some(ToSend(&mut self.out, self.now_ms))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

/// A pod: station `number` with both of its addresses.
pub(crate) struct Pod {
    card: Card,
    inbound: Wire,
    end: MemoryEnd,
    queues: usize,
    interface: Interface,
    sockets: SocketSet<'static>,
    steering: Random,
}

impl Pod {
    /// A pod at the other end of a port with `queues` queues.
    pub(crate) fn new(
        number: usize,
        end: MemoryEnd,
        queues: usize,
        impairment: Impairment,
        seed: u64,
    ) -> Self {
        let mut seeds = Random(seed ^ (number as u64) << 32);
        let mut card =
            Card { received: VecDeque::new(), out: Wire::new(impairment, seeds.draw()), now_ms: 0 };
        let mut config = Config::new(HardwareAddress::Ethernet(EthernetAddress(mac(number).0)));
        config.random_seed = seeds.draw();
        let mut interface = Interface::new(config, &mut card, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            for (family, prefix) in [(Family::V4, 24), (Family::V6, 64)] {
                addresses.push(IpCidr::new(ip(number, family), prefix)).unwrap();
            }
        });
        let inbound = Wire::new(impairment, seeds.draw());
        let (sockets, steering) = (SocketSet::new(Vec::new()), Random(seeds.draw()));
        Self { card, inbound, end, queues, interface, sockets, steering }
    }

    /// Waits for a connection.
    pub(crate) fn listen(&mut self, port: u16) -> SocketHandle {
        let mut socket = tcp_socket();
        socket.listen(port).unwrap();
        self.sockets.add(socket)
    }

    /// Begins a connection.
    pub(crate) fn connect(&mut self, to: usize, family: Family, port: u16, own_port: u16) -> SocketHandle {
        let handle = self.sockets.add(tcp_socket());
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(handle);
        socket.connect(self.interface.context(), (ip(to, family), port), own_port).unwrap();
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

pub(crate) fn ip(number: usize, family: Family) -> IpAddress {
    address(number, family).into()
}
