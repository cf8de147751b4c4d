//! What the workers tell the control side.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crossbeam_queue::ArrayQueue;
use packet::PortId;
use port::PortFault;

use crate::punts::{Punt, Punts};

/// Events that may wait to be read.
const EVENTS_MAX: usize = 1024;

/// Something that a worker noticed and the control side has to act on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A worker's queue of the port failed and is parked until the port is revived or detached.
    PortFault {
        /// The worker.
        worker: usize,
        /// The port.
        port: PortId,
        /// What is wrong with it.
        fault: PortFault,
    },
    /// A worker's thread ended although nobody told it to. The process is to be restarted.
    WorkerDied {
        /// The worker.
        worker: usize,
    },
}

/// The way of events from all workers to the one reader.
pub struct Events {
    queue: ArrayQueue<Event>,
    punts: Punts,
    lost: AtomicU64,
    notify: Box<dyn Fn() + Send + Sync>,
}

impl Events {
    /// `notify` is called, from a worker's thread, after each event and each punt; it must not block.
    pub(crate) fn new(notify: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            queue: ArrayQueue::new(EVENTS_MAX),
            punts: Punts::new(),
            lost: AtomicU64::new(0),
            notify: Box::new(notify),
        }
    }

    pub(crate) fn push(&self, event: Event) {
        if self.queue.push(event).is_err() {
            self.lost.fetch_add(1, Relaxed);
        }
        (self.notify)();
    }

    /// False if there was no room for the punt.
    pub(crate) fn punt(&self, punt: Punt) -> bool {
        let pushed = self.punts.push(punt);
        (self.notify)();
        pushed
    }

    /// What the routing stage asks for and hears.
    #[must_use]
    pub fn punts(&self) -> &Punts {
        &self.punts
    }

    /// The oldest event.
    #[must_use]
    pub fn next(&self) -> Option<Event> {
        self.queue.pop()
    }

    /// Events that found the queue full. A reader that sees this rise looks at all ports.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("waiting", &self.queue.len()).finish_non_exhaustive()
    }
}
