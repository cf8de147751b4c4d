//! What the routing stage cannot do itself, and hands to the control side: looking for neighbors, and what is heard
//! of them.
//!
//! A queue apart from that of the [events](crate::Events), because strangers decide how much goes in here. What finds
//! it full is counted and not missed: frames that wait ask again after a second, and so does whoever wants to be
//! heard.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crossbeam_queue::ArrayQueue;
use packet::PortId;
use router::neighbor::Message;

use crate::routing::LinkId;

/// Punts that may wait to be read.
const PUNTS_MAX: usize = 1024;

/// Something for the control side to do for the routing stage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Punt {
    /// A packet is for `address`, and nobody knows where that is. Frames wait.
    Wanted {
        /// Where it should be.
        link: LinkId,
        /// Who is looked for.
        address: IpAddr,
        /// The port that the packet came in by.
        asker: PortId,
    },
    /// A packet went to `address`, which is known from long ago only.
    Used {
        /// Where it is.
        link: LinkId,
        /// Who was used.
        address: IpAddr,
        /// The port that the packet came in by.
        asker: PortId,
    },
    /// A neighbor told something, in a message that has been checked.
    Heard {
        /// Where it is.
        link: LinkId,
        /// The port that it came in by.
        port: PortId,
        /// What it told.
        message: Message,
    },
    /// Somebody else claims an address of the gateway's.
    Conflict {
        /// Where.
        link: LinkId,
        /// The port that the claim came in by.
        port: PortId,
        /// The address.
        address: IpAddr,
    },
}

/// The way of punts from all workers to the one reader, who is told as of events.
#[derive(Debug)]
pub struct Punts {
    queue: ArrayQueue<Punt>,
    lost: AtomicU64,
}

impl Punts {
    pub(crate) fn new() -> Self {
        Self { queue: ArrayQueue::new(PUNTS_MAX), lost: AtomicU64::new(0) }
    }

    /// False if there was no room.
    pub(crate) fn push(&self, punt: Punt) -> bool {
        let pushed = self.queue.push(punt).is_ok();
        if !pushed {
            self.lost.fetch_add(1, Relaxed);
        }
        pushed
    }

    /// The oldest punt.
    #[must_use]
    pub fn next(&self) -> Option<Punt> {
        self.queue.pop()
    }

    /// Punts that found the queue full.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }
}
