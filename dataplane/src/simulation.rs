//! Workers without threads: the caller steps them, in the order and at the time it likes.

use std::sync::Arc;

use arc_swap::ArcSwap;
use packet::PortId;
use port::{PortSet, Queue};

use crate::counters::WorkerCounters;
use crate::events::Events;
use crate::mailbox::Mailbox;
use crate::snapshot::Snapshot;
use crate::wiring::Wiring;
use crate::worker::{Work, Worker};

/// What is random in the workers is the same in every run.
const SEED: u64 = 7;

/// A set of workers that share everything that those of a [`Dataplane`](crate::Dataplane) share, but run
/// only when stepped.
#[derive(Debug)]
pub struct Simulation {
    snapshot: Arc<ArcSwap<Snapshot>>,
    generation: u64,
    events: Arc<Events>,
    workers: Vec<(Worker, Arc<WorkerCounters>, Arc<Mailbox>)>,
}

impl Simulation {
    /// One worker for each port set.
    #[must_use]
    pub fn new(snapshot: Snapshot, port_sets: Vec<PortSet>) -> Self {
        let wiring = Wiring::new(port_sets.len(), snapshot, SEED, || ());
        let (snapshot, events) = (Arc::clone(&wiring.snapshot), Arc::clone(&wiring.events));
        let workers = wiring
            .into_links()
            .zip(port_sets)
            .map(|(links, ports)| {
                let (counters, mailbox) = (Arc::clone(&links.counters), Arc::clone(&links.mailbox));
                (Worker::new(links, ports), counters, mailbox)
            })
            .collect();
        Self { snapshot, generation: 0, events, workers }
    }

    /// Gives a worker a queue of the port.
    ///
    /// # Errors
    /// The engine's.
    pub fn attach(&mut self, worker: usize, port: PortId, queue: Queue) -> std::io::Result<()> {
        self.workers[worker].0.attach(port, queue)
    }

    /// Publishes a snapshot; each worker takes it with its next step.
    pub fn publish(&mut self, snapshot: Snapshot) {
        self.generation += 1;
        self.snapshot.store(Arc::new(snapshot.with_generation(self.generation)));
    }

    /// Steps one worker.
    pub fn step(&mut self, worker: usize, now_ms: u64) -> Work {
        self.workers[worker].0.step(now_ms)
    }

    /// Number of workers.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// What a worker counts.
    #[must_use]
    pub fn counters(&self, worker: usize) -> &WorkerCounters {
        &self.workers[worker].1
    }

    /// Events from the workers.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// The generation that a worker's last step used.
    #[must_use]
    pub fn generation_seen(&self, worker: usize) -> u64 {
        self.workers[worker].2.generation_seen()
    }
}
