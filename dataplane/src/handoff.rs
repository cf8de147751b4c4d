//! Frames from one worker to another: to the one that holds the leaving port's only queue.
//!
//! For every ordered pair of workers there is one bounded [`Exchange`]. A unicast frame moves: its buffer
//! goes over, an empty one comes back, nothing is copied. A copy of a flooded frame is copied. A full ring is
//! a counted drop. The receiving worker is woken once a burst, if it sleeps.

use std::sync::Arc;

use packet::{DropReason, Frame, Offload, PortId};

use crate::exchange::Exchange;
use crate::mailbox::Mailbox;

/// Frames under way between two workers, at most.
pub(crate) const HANDOFF_FRAMES: usize = 128;

/// A frame with the decision that was made on it.
#[derive(Debug)]
pub(crate) struct HandedFrame {
    pub(crate) frame: Frame,
    pub(crate) handed: Handed,
}

/// The decision that travels with a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handed {
    /// The port it is to leave by.
    pub(crate) egress: PortId,
    /// True for a copy of a flooded frame, which the sending worker settles.
    pub(crate) is_copy: bool,
    /// It leaves in fragments.
    pub(crate) is_to_be_fragmented: bool,
}

impl Handed {
    /// The frame itself moves.
    pub(crate) const fn move_to(egress: PortId) -> Self {
        Self { egress, is_copy: false, is_to_be_fragmented: false }
    }

    /// A copy moves.
    pub(crate) const fn copy_to(egress: PortId) -> Self {
        Self { is_copy: true, ..Self::move_to(egress) }
    }
}

/// The ring from one worker to another.
pub(crate) type HandoffRing = Exchange<HandedFrame>;

/// The sending ends that one worker holds.
#[derive(Debug)]
pub(crate) struct Outboxes {
    /// By worker; `None` for the worker itself.
    to: Vec<Option<Outbox>>,
}

#[derive(Debug)]
struct Outbox {
    ring: Arc<HandoffRing>,
    mailbox: Arc<Mailbox>,
    used: bool,
}

impl Outboxes {
    pub(crate) fn new(to: Vec<Option<(Arc<HandoffRing>, Arc<Mailbox>)>>) -> Self {
        let outbox = |(ring, mailbox)| Outbox { ring, mailbox, used: false };
        Self { to: to.into_iter().map(|end| end.map(outbox)).collect() }
    }

    /// Moves `frame` over, leaving an empty frame in its place.
    pub(crate) fn move_to(
        &mut self,
        worker: usize,
        frame: &mut Frame,
        handed: Handed,
    ) -> Result<(), DropReason> {
        let outbox = self.outbox(worker)?;
        let empty = outbox.ring.take_empty().ok_or(DropReason::HandoffFull)?;
        let Ok(placeholder) = Frame::received(empty, 0, Offload::NONE, frame.ingress) else {
            return Err(DropReason::HandoffFull);
        };
        let moved = std::mem::replace(frame, placeholder);
        outbox.push(HandedFrame { frame: moved, handed })
    }

    /// Sends a copy of `frame`.
    pub(crate) fn copy_to(&mut self, worker: usize, frame: &Frame, handed: Handed) -> Result<(), DropReason> {
        let outbox = self.outbox(worker)?;
        let empty = outbox.ring.take_empty().ok_or(DropReason::HandoffFull)?;
        let mut copy = match Frame::copied(empty, frame.bytes(), frame.ingress) {
            Ok(copy) => copy,
            Err(empty) => {
                outbox.ring.give_empty(empty);
                return Err(DropReason::Oversized);
            }
        };
        copy.offload = frame.offload;
        outbox.push(HandedFrame { frame: copy, handed })
    }

    /// Wakes the workers that something was sent to since the last call.
    pub(crate) fn wake(&mut self) {
        for outbox in self.to.iter_mut().flatten().filter(|outbox| outbox.used) {
            outbox.used = false;
            outbox.mailbox.notify();
        }
    }

    fn outbox(&mut self, worker: usize) -> Result<&mut Outbox, DropReason> {
        self.to.get_mut(worker).and_then(Option::as_mut).ok_or(DropReason::EgressDown)
    }
}

impl Outbox {
    fn push(&mut self, handed: HandedFrame) -> Result<(), DropReason> {
        // Cannot be full: an empty buffer of the ring was in hand.
        self.ring.push(handed).map_err(|handed| {
            self.ring.give_empty(handed.frame.into_buffer());
            DropReason::HandoffFull
        })?;
        self.used = true;
        Ok(())
    }
}
