//! Makes what the workers share: mailboxes, rings between every two of them, counters, the snapshot.

use std::sync::Arc;

use arc_swap::ArcSwap;
use packet::Random;

use crate::counters::WorkerCounters;
use crate::events::Events;
use crate::exchange::Exchange;
use crate::handoff::{HANDOFF_FRAMES, HandoffRing, Outboxes};
use crate::mailbox::Mailbox;
use crate::pins::Pins;
use crate::route::Router;
use crate::snapshot::Snapshot;
use crate::worker::Links;

pub(crate) struct Wiring {
    pub(crate) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(crate) events: Arc<Events>,
    workers: usize,
    seed: u64,
}

impl Wiring {
    pub(crate) fn new(
        workers: usize,
        snapshot: Snapshot,
        seed: u64,
        notify: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self {
            seed,
            snapshot: Arc::new(ArcSwap::from_pointee(snapshot)),
            events: Arc::new(Events::new(notify)),
            workers,
        }
    }

    /// One worker's ends each.
    pub(crate) fn into_links(self) -> impl Iterator<Item = Links> {
        let mailboxes: Vec<_> = (0..self.workers).map(|_| Arc::new(Mailbox::new())).collect();
        // rings[from][to]
        let ring = |from: usize, to: usize| {
            let capacity = if from == to { 1 } else { HANDOFF_FRAMES };
            Arc::new(HandoffRing::from(Exchange::with_capacity(capacity)))
        };
        let rings: Vec<Vec<_>> =
            (0..self.workers).map(|from| (0..self.workers).map(|to| ring(from, to)).collect()).collect();
        let mut random = Random::new(self.seed);
        let pins = Pins::for_workers(self.workers, random.draw());
        (0..self.workers).zip(pins).map(move |(index, pins)| {
            let others = || (0..self.workers).filter(move |&other| other != index);
            let end = |to: usize| {
                (to != index).then(|| (Arc::clone(&rings[index][to]), Arc::clone(&mailboxes[to])))
            };
            Links {
                index,
                snapshot: Arc::clone(&self.snapshot),
                mailbox: Arc::clone(&mailboxes[index]),
                counters: Arc::new(WorkerCounters::default()),
                inboxes: others().map(|from| Arc::clone(&rings[from][index])).collect(),
                outboxes: Outboxes::new((0..self.workers).map(end).collect()),
                events: Arc::clone(&self.events),
                router: Router::new(pins, random.draw()),
            }
        })
    }
}
