//! A switch on a table: workers that run when told to, memory ports, a clock in the test's hand.

use std::sync::Arc;

use dataplane::capture::CaptureTap;
use dataplane::counters::{PortCounters, PortTotals, WorkerCounters};
use dataplane::simulation::Simulation;
use dataplane::{HostPort, PortEntry, PortRole, QueueOwners, Routing, Snapshot};
use packet::{DropReason, Offload, Offloads, PortId};
use port::memory::{self, MemoryConfig, MemoryEnd, MemoryQueue};
use port::{EngineKind, PortSet, Queue};
use switch::{Binding, Fdb, FdbLimits};

/// Buffers of each worker, unless a test says otherwise.
pub(crate) const BUFFERS: usize = 192;

/// What a port of the rig is like.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// What the switch believes that the port takes.
    pub(crate) offloads: Offloads,
    /// What it does take.
    pub(crate) really: Offloads,
    pub(crate) mtu_bytes: u32,
    pub(crate) frames_max: usize,
    pub(crate) queues: QueueOwners,
    pub(crate) up: bool,
    pub(crate) binding: Option<Binding>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            offloads: Offloads::ALL,
            really: Offloads::ALL,
            mtu_bytes: 1500,
            frames_max: 1024,
            queues: QueueOwners::All,
            up: true,
            binding: None,
        }
    }
}

impl Plan {
    /// A port that takes `offloads`, and says so.
    pub(crate) fn with(offloads: Offloads) -> Self {
        Self { offloads, really: offloads, ..Self::default() }
    }

    /// A port whose only queue is with `worker`.
    pub(crate) fn owned_by(worker: usize) -> Self {
        Self { queues: QueueOwners::One(worker), ..Self::default() }
    }

    /// The switch's entry for the port.
    pub(crate) fn entry(&self, index: usize, workers: usize) -> PortEntry {
        PortEntry {
            id: port(index),
            name: format!("port-{index}").into(),
            role: PortRole::Bridge,
            up: self.up,
            mtu_bytes: self.mtu_bytes,
            offloads: self.offloads,
            binding: self.binding.clone().map(Arc::new),
            counters: Arc::new(PortCounters::new(workers)),
            queues: self.queues,
        }
    }

    /// The port's queues, each with the worker that it is for, and its other end.
    pub(crate) fn queues(&self, workers: usize) -> (Vec<(usize, MemoryQueue)>, MemoryEnd) {
        let config = MemoryConfig { offloads: self.really, frames_max: self.frames_max };
        match self.queues {
            QueueOwners::All => {
                let (queues, end) = memory::multi_queue(config, workers);
                (queues.into_iter().enumerate().collect(), end)
            }
            QueueOwners::One(worker) => {
                let (queue, end) = memory::pair(config);
                (vec![(worker, queue)], end)
            }
        }
    }
}

/// The number of a port.
pub(crate) fn port(index: usize) -> PortId {
    PortId::new(u16::try_from(index).unwrap()).unwrap()
}

/// A forwarding database for tests.
pub(crate) fn fdb() -> Arc<Fdb> {
    Arc::new(Fdb::new(FdbLimits { macs_max: 4096, macs_per_port_max: 0, aging_ms: 300_000 }, 7))
}

/// The switch, its ports' other ends, and what was published last.
pub(crate) struct Rig {
    pub(crate) simulation: Simulation,
    pub(crate) fdb: Arc<Fdb>,
    pub(crate) entries: Vec<PortEntry>,
    pub(crate) ends: Vec<MemoryEnd>,
    pub(crate) captures: Vec<Arc<CaptureTap>>,
    pub(crate) host: Option<HostPort>,
    pub(crate) routing: Option<Arc<Routing>>,
    pub(crate) now_ms: u64,
}

impl Rig {
    /// `workers` workers and a port for each plan, all in service.
    pub(crate) fn new(workers: usize, plans: &[Plan]) -> Self {
        Self::with_buffers(workers, plans, BUFFERS)
    }

    /// The same with another number of buffers for each worker.
    pub(crate) fn with_buffers(workers: usize, plans: &[Plan], buffers: usize) -> Self {
        let fdb = fdb();
        let entries: Vec<_> =
            plans.iter().enumerate().map(|(index, plan)| plan.entry(index, workers)).collect();
        let snapshot = Snapshot::new(Arc::clone(&fdb), entries.clone(), Vec::new());
        let sets = (0..workers).map(|_| PortSet::new(EngineKind::Epoll, buffers).unwrap()).collect();
        let mut simulation = Simulation::new(snapshot, sets);
        let mut ends = Vec::new();
        for (index, plan) in plans.iter().enumerate() {
            let (queues, end) = plan.queues(workers);
            for (worker, queue) in queues {
                simulation.attach(worker, port(index), Queue::Other(Box::new(queue))).unwrap();
            }
            ends.push(end);
        }
        Self { simulation, fdb, entries, ends, captures: Vec::new(), host: None, routing: None, now_ms: 0 }
    }

    /// A finished frame, to the port's first queue.
    pub(crate) fn send(&self, port: usize, bytes: &[u8]) {
        self.send_unfinished(port, bytes, Offload::NONE);
    }

    /// A frame as its sender left it.
    pub(crate) fn send_unfinished(&self, port: usize, bytes: &[u8], offload: Offload) {
        self.ends[port].send(bytes, offload).unwrap();
    }

    /// Steps the workers in turn until none finds anything to do.
    pub(crate) fn run(&mut self) {
        while (0..self.simulation.workers())
            .map(|worker| self.simulation.step(worker, self.now_ms).items)
            .sum::<usize>()
            > 0
        {}
    }

    /// Lets the switch learn station `n` on port `n` for every port, and forgets what that made.
    pub(crate) fn introduce(&mut self) {
        for index in 0..self.ends.len() {
            self.fdb.learn(crate::frames::mac(index), port(index), self.now_ms);
        }
    }

    /// All that has arrived at a port.
    pub(crate) fn received(&self, port: usize) -> Vec<(Vec<u8>, Offload)> {
        std::iter::from_fn(|| self.ends[port].receive()).collect()
    }

    /// All that has arrived at a port, which must be finished.
    pub(crate) fn frames(&self, port: usize) -> Vec<Vec<u8>> {
        let finished = |(bytes, offload)| {
            assert_eq!(offload, Offload::NONE);
            bytes
        };
        self.received(port).into_iter().map(finished).collect()
    }

    /// Changes a port's entry and publishes.
    pub(crate) fn change(&mut self, port: usize, change: impl FnOnce(&mut PortEntry)) {
        change(&mut self.entries[port]);
        self.publish();
    }

    /// Publishes entries and captures as they are.
    pub(crate) fn publish(&mut self) {
        let entries = self.entries.clone();
        let mut snapshot = Snapshot::new(Arc::clone(&self.fdb), entries, self.captures.clone());
        if let Some(host) = &self.host {
            snapshot = snapshot.with_host(host.clone());
        }
        if let Some(routing) = &self.routing {
            snapshot = snapshot.with_routing(Arc::clone(routing));
        }
        self.simulation.publish(snapshot);
    }

    pub(crate) fn counters(&self) -> impl Iterator<Item = &WorkerCounters> {
        (0..self.simulation.workers()).map(|worker| self.simulation.counters(worker))
    }

    /// A count, summed over the workers.
    pub(crate) fn sum(&self, count: impl Fn(&WorkerCounters) -> u64) -> u64 {
        self.counters().map(count).sum()
    }

    pub(crate) fn dropped(&self, reason: DropReason) -> u64 {
        self.sum(|counters| counters.dropped[reason.index()].get())
    }

    /// The only drops so far: `count` for `reason`.
    #[track_caller]
    pub(crate) fn assert_only_drops(&self, reason: DropReason, count: u64) {
        for other in DropReason::ALL {
            let expected = if *other == reason { count } else { 0 };
            assert_eq!(self.dropped(*other), expected, "{}", other.name());
        }
    }

    pub(crate) fn totals(&self, port: usize) -> PortTotals {
        self.entries[port].counters.totals()
    }

    /// Received = forwarded + consumed + dropped, for every worker; and the ports' counts agree with the
    /// workers' in sum.
    #[track_caller]
    pub(crate) fn assert_balanced(&self) {
        assert_balanced(self.counters(), &self.entries);
    }
}

/// See [`Rig::assert_balanced`].
#[track_caller]
pub(crate) fn assert_balanced<'a>(workers: impl Iterator<Item = &'a WorkerCounters>, entries: &[PortEntry]) {
    let (mut received, mut dropped) = (0, 0);
    for (worker, counters) in workers.enumerate() {
        let settled = counters.forwarded.get() + counters.consumed.get() + counters.dropped_total();
        assert_eq!(counters.received.get(), settled, "worker {worker}");
        received += counters.received.get();
        dropped += counters.dropped_total();
    }
    let sum = |count: fn(&PortTotals) -> u64| -> u64 {
        entries.iter().map(|entry| count(&entry.counters.totals())).sum()
    };
    assert_eq!(sum(|totals| totals.rx_packets), received);
    assert_eq!(sum(|totals| totals.rx_dropped), dropped);
}
