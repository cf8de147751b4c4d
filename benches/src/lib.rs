//! The track that the benchmarks run on: workers that are stepped, memory ports, stations behind them.

pub mod routed;

use std::net::Ipv4Addr;
use std::sync::Arc;

use dataplane::counters::PortCounters;
use dataplane::simulation::Simulation;
use dataplane::{PortEntry, PortRole, QueueOwners, Snapshot};
use packet::build::{self, Link};
use packet::protocol::ip_protocol::{TCP, UDP};
use packet::{BURST_FRAMES, FiveTuple, MacAddress, Offload, Offloads, PortId};
use port::memory::{self, MemoryConfig, MemoryEnd};
use port::{EngineKind, PortSet, Queue};
use switch::{Fdb, FdbLimits};

/// UDP payload that makes a frame of 60 bytes, 64 with the frame check sequence: Ethernet's shortest.
pub const SHORTEST_PAYLOAD: usize = 18;

/// The time at which all stations were heard and all frames are sent, in ms.
pub const NOW_MS: u64 = 1_000;

/// Buffers of a worker.
const BUFFERS: usize = 256;

/// SplitMix64: repeatable.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }
}

/// The MAC of station `number`: any, but each its own.
#[must_use]
pub fn station(number: u64) -> MacAddress {
    MacAddress::from_u64(0x0200_0000_0000 | Random(number).draw() & 0xff_ffff_ffff)
}

/// One port of a track.
#[derive(Clone, Copy, Debug)]
pub struct Lane {
    /// What it takes unfinished.
    pub offloads: Offloads,
    /// The worker that has its only queue.
    pub worker: usize,
}

impl Lane {
    /// A port of worker 0 that takes everything.
    pub const PLAIN: Self = Self { offloads: Offloads::ALL, worker: 0 };
}

/// A switch with memory ports, `macs` stations of which number n is behind port n modulo 2.
#[derive(Debug)]
pub struct Track {
    simulation: Simulation,
    ends: Vec<MemoryEnd>,
    macs: u64,
    random: Random,
    /// What a frame is made from.
    template: Vec<u8>,
    offload: Offload,
}

impl Track {
    /// A track with a lane for each port.
    ///
    /// # Panics
    /// If there are fewer than two lanes or the system refuses an epoll set.
    #[must_use]
    pub fn new(macs: u64, lanes: &[Lane]) -> Self {
        let fdb = Arc::new(fdb(macs));
        let workers = lanes.iter().map(|lane| lane.worker + 1).max().expect("a lane");
        let entries = lanes.iter().enumerate().map(|(index, lane)| PortEntry {
            id: port(index),
            name: format!("port-{index}").into(),
            role: PortRole::Bridge,
            up: true,
            mtu_bytes: 1500,
            offloads: lane.offloads,
            binding: None,
            counters: Arc::new(PortCounters::new(workers)),
            queues: QueueOwners::One(lane.worker),
        });
        let snapshot = Snapshot::new(fdb, entries, Vec::new());
        let sets =
            (0..workers).map(|_| PortSet::new(EngineKind::Epoll, BUFFERS).expect("an epoll set")).collect();
        let mut simulation = Simulation::new(snapshot, sets);
        let mut ends = Vec::new();
        for (index, lane) in lanes.iter().enumerate() {
            let (queue, end) = memory::pair(MemoryConfig { offloads: lane.offloads, frames_max: 1024 });
            let queue = Queue::Other(Box::new(queue));
            simulation.attach(lane.worker, port(index), queue).expect("a free port");
            ends.push(end);
        }
        let (template, offload) = (shortest_frame(), Offload::NONE);
        Self { simulation, ends, macs, random: Random(42), template, offload }
    }

    /// Lets frames be UDP datagrams of one flow whose checksum is left to complete.
    #[must_use]
    pub fn with_unfinished_datagrams(mut self) -> Self {
        let (frame, offload) =
            build::super_frame(link(), &tuple(UDP), &[0; SHORTEST_PAYLOAD], u16::MAX).expect("a short frame");
        self.template = frame;
        self.offload = Offload { segmentation: None, ..offload };
        self
    }

    /// Lets frames be TCP super-frames of `payload_bytes` in segments of 1448 bytes.
    #[must_use]
    pub fn with_super_frames(mut self, payload_bytes: usize) -> Self {
        let payload = vec![0; payload_bytes];
        (self.template, self.offload) =
            build::super_frame(link(), &tuple(TCP), &payload, 1448).expect("a payload below 65 KB");
        self
    }

    /// Puts `count` frames on port 0, from random stations there to random stations of port 1.
    pub fn load(&mut self, count: usize) {
        self.load_to(count, |random, macs| station(random.below(macs / 2) * 2 + 1));
    }

    /// Puts `count` frames on port 0 that are all between the same two stations.
    pub fn load_one_flow(&mut self, count: usize) {
        let (frame, offload) = (&mut self.template, self.offload);
        frame[..6].copy_from_slice(&station(1).0);
        frame[6..12].copy_from_slice(&station(0).0);
        self.ends[0].send_batch_on(0, (0..count).map(|_| (&**frame, offload)));
    }

    /// Puts `count` frames on port 0 that go to everybody.
    pub fn load_broadcast(&mut self, count: usize) {
        self.load_to(count, |_, _| MacAddress::BROADCAST);
    }

    fn load_to(&mut self, count: usize, destination: fn(&mut Random, u64) -> MacAddress) {
        for _ in 0..count {
            let to = destination(&mut self.random, self.macs);
            let from = station(self.random.below(self.macs / 2) * 2);
            self.template[..6].copy_from_slice(&to.0);
            self.template[6..12].copy_from_slice(&from.0);
            self.ends[0].send_batch_on(0, std::iter::once((&*self.template, self.offload)));
        }
    }

    /// What is measured: every worker goes round once, in order. Returns the frames received.
    pub fn step(&mut self) -> usize {
        (0..self.simulation.workers()).map(|worker| self.simulation.step(worker, NOW_MS).items).sum()
    }

    /// Takes everything off the ports and returns how many frames there were.
    pub fn unload(&self) -> usize {
        self.ends.iter().map(|end| end.receive_with(|_, _| ())).sum()
    }

    /// Fills every recycled buffer once, so that nothing is allocated any more.
    pub fn warm_up(&mut self, load: fn(&mut Self, usize)) {
        for _ in 0..2 * BUFFERS / BURST_FRAMES {
            load(self, BURST_FRAMES);
            while self.step() > 0 {}
            self.unload();
        }
    }
}

/// A forwarding database with `macs` stations, of which number n is behind port n modulo 2.
///
/// # Panics
/// If there are more than fit a `usize`.
#[must_use]
pub fn fdb(macs: u64) -> Fdb {
    let macs_max = usize::try_from(macs).expect("a count of MACs").next_power_of_two();
    let fdb = Fdb::new(FdbLimits { macs_max, macs_per_port_max: 0, aging_ms: 300_000 }, 0x5eed);
    for number in 0..macs {
        fdb.learn(station(number), port(usize::from(number % 2 == 1)), NOW_MS);
    }
    fdb
}

/// The port with this number.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn port(index: usize) -> PortId {
    u16::try_from(index).ok().and_then(PortId::new).expect("a small number")
}

fn link() -> Link {
    Link { source: station(0), destination: station(1) }
}

fn tuple(protocol: u8) -> FiveTuple {
    let [source, destination] = [1, 2].map(|host| Ipv4Addr::new(10, 0, 0, host).into());
    FiveTuple { source, destination, protocol, source_port: 4000, destination_port: 5000 }
}

/// A finished UDP datagram in a frame of 60 bytes.
///
/// # Panics
/// Never.
#[must_use]
pub fn shortest_frame() -> Vec<u8> {
    build::frame(link(), &tuple(UDP), &[0; SHORTEST_PAYLOAD]).expect("a short payload")
}
