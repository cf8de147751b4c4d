//! What a frame costs from one TAP device to another: a worker of ours, which learns, looks up and counts,
//! beside the plain way, the `tun-tap` crate in a loop that reads a frame and writes it to the other device.
//! Senders and receivers are not timed: frames wait in the first device's queue, and the kernel behind the
//! second one throws away what is for nobody there.
//!
//! `sudo cargo bench -p benches --bench tap`; the times shown are those of one frame.

use std::sync::Arc;
use std::time::{Duration, Instant};

use benches::{NOW_MS, fdb, port, station};
use criterion::{Criterion, Throughput};
use dataplane::counters::PortCounters;
use dataplane::simulation::Simulation;
use dataplane::{PortEntry, PortRole, QueueOwners, Snapshot};
use e2e::{Namespace, RawSocket};
use packet::build::{self, Link};
use packet::protocol::ip_protocol::UDP;
use packet::{FiveTuple, MacAddress};
use port::tap::{self, TapConfig};
use port::{EngineKind, PortSet, Queue};

/// Frames that wait when the clock starts; every queue holds as many.
const FRAMES: u64 = 256;
const DEVICE: &str = "tap0";
const MTU_BYTES: u32 = 1500;

/// What carries frames from the first device to the second.
trait Forwarder {
    /// Carries `frames` frames, all of which wait.
    fn carry(&mut self, frames: u64);
}

/// A worker with two TAP ports.
struct Worker(Simulation);

impl Forwarder for Worker {
    fn carry(&mut self, frames: u64) {
        let mut carried = 0;
        while carried < frames {
            carried += self.0.step(0, NOW_MS).items as u64;
        }
    }
}

/// Two devices of the `tun-tap` crate.
struct Plain {
    from: tun_tap::Iface,
    to: tun_tap::Iface,
    frame: Vec<u8>,
}

impl Forwarder for Plain {
    fn carry(&mut self, frames: u64) {
        for _ in 0..frames {
            let bytes = self.from.recv(&mut self.frame).expect("a frame waits");
            self.to.send(&self.frame[..bytes]).expect("the second device takes a frame");
        }
    }
}

/// A namespace for each device, in which nothing speaks of its own accord.
fn namespaces() -> [Namespace; 2] {
    ["from", "to"].map(Namespace::new_quiet)
}

fn worker(engine: EngineKind, namespaces: &[Namespace; 2]) -> Worker {
    let mut ports = PortSet::new(engine, 256).expect("an engine");
    let mut entries = Vec::new();
    for (index, namespace) in namespaces.iter().enumerate() {
        let config = TapConfig {
            netns: Some(namespace.path()),
            device: DEVICE.to_owned(),
            mac: MacAddress::from_u64(0x0200_0000_0000 + index as u64),
            mtu_bytes: MTU_BYTES,
            persistent: false,
            ..TapConfig::default()
        };
        let opened = tap::open(&config).expect("a TAP");
        opened.queues.into_iter().for_each(|queue| {
            ports.attach(port(index), Queue::Device(queue)).expect("a free port");
        });
        entries.push(PortEntry {
            id: port(index),
            name: namespace.name().into(),
            role: PortRole::Bridge,
            up: true,
            mtu_bytes: MTU_BYTES,
            offloads: opened.offloads,
            binding: None,
            counters: Arc::new(PortCounters::new(1)),
            queues: QueueOwners::All,
        });
    }
    Worker(Simulation::new(Snapshot::new(Arc::new(fdb(2)), entries, Vec::new()), vec![ports]))
}

fn plain(namespaces: &[Namespace; 2]) -> Plain {
    let [from, to] = namespaces.each_ref().map(|namespace| {
        let device =
            namespace.run(|| tun_tap::Iface::without_packet_info(DEVICE, tun_tap::Mode::Tap).expect("a TAP"));
        namespace.ip(&format!("link set {DEVICE} mtu {MTU_BYTES} txqueuelen 4096 up"));
        device
    });
    Plain { from, to, frame: vec![0; 2048] }
}

fn datagram(payload_bytes: usize) -> Vec<u8> {
    let [source, destination] = [1, 2].map(|host| std::net::Ipv4Addr::new(10, 0, 0, host).into());
    let tuple = FiveTuple { source, destination, protocol: UDP, source_port: 4000, destination_port: 5000 };
    let link = Link { source: station(0), destination: station(1) };
    build::frame(link, &tuple, &vec![0x5a; payload_bytes]).expect("a short payload")
}

/// Frames go the whole way and arrive as they were sent, or the times would be of nothing.
fn assert_forwards(forwarder: &mut impl Forwarder, sender: &RawSocket, to: &Namespace, frame: &[u8]) {
    let receiver = RawSocket::open(to, DEVICE);
    sender.send(frame);
    forwarder.carry(1);
    let arrived = receiver.receive(Duration::from_secs(5));
    assert_eq!(arrived.as_deref(), Some(frame));
}

fn measure(c: &mut Criterion, name: &str, mut forwarder: impl Forwarder, namespaces: &[Namespace; 2]) {
    let sender = RawSocket::open(&namespaces[0], DEVICE);
    for payload_bytes in [18, 1472] {
        let frame = datagram(payload_bytes);
        assert_forwards(&mut forwarder, &sender, &namespaces[1], &frame);
        let mut group = c.benchmark_group("tap_to_tap");
        group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("{}_bytes/{name}", frame.len() + 4), |b| {
            b.iter_custom(|frames| {
                let mut spent = Duration::ZERO;
                let bursts = frames.div_ceil(FRAMES);
                for _ in 0..bursts {
                    (0..FRAMES).for_each(|_| sender.send(&frame));
                    let start = Instant::now();
                    forwarder.carry(FRAMES);
                    spent += start.elapsed();
                }
                spent.mul_f64(frames as f64 / (bursts * FRAMES) as f64)
            });
        });
        group.finish();
    }
}

fn main() {
    if let Some(reason) = e2e::missing_rights() {
        println!("tap_to_tap: skipped, {reason}");
        return;
    }
    let mut criterion = Criterion::default().configure_from_args();
    for (name, engine) in [("io_uring", EngineKind::Uring), ("epoll", EngineKind::Epoll)] {
        let namespaces = namespaces();
        measure(&mut criterion, name, worker(engine, &namespaces), &namespaces);
    }
    let namespaces = namespaces();
    measure(&mut criterion, "plain_tun_tap", plain(&namespaces), &namespaces);
    criterion.final_summary();
}
