//! What becomes of a received frame.

use packet::{BURST_FRAMES, DropReason, Frame};
use port::Transmission;

use crate::counters::WorkerCounters;

/// What has become of a frame so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fate {
    /// Copies sent.
    pub(crate) sent: u16,
    /// Copies that could not be sent.
    pub(crate) failed: u16,
    /// The first reason for which the frame, or a copy, was dropped.
    pub(crate) reason: Option<DropReason>,
    /// The frame belongs to another worker, which settles it, or waits to be settled.
    pub(crate) settled_elsewhere: bool,
    /// It was for the switch itself, or for the kernel, which has a copy of its own.
    pub(crate) consumed: bool,
    /// It leaves in fragments.
    pub(crate) is_to_be_fragmented: bool,
}

impl Fate {
    /// Nothing has become of it yet.
    pub(crate) const OPEN: Self = Self {
        sent: 0,
        failed: 0,
        reason: None,
        settled_elsewhere: false,
        consumed: false,
        is_to_be_fragmented: false,
    };

    /// Notes what became of one copy.
    #[inline]
    pub(crate) fn copy(&mut self, outcome: Result<(), DropReason>) {
        match outcome {
            Ok(()) => self.sent += 1,
            Err(reason) => {
                self.failed += 1;
                self.drop_for(reason);
            }
        }
    }

    /// Notes why the frame is dropped, unless there was a reason before.
    #[inline]
    pub(crate) fn drop_for(&mut self, reason: DropReason) {
        self.reason.get_or_insert(reason);
    }
}

/// What became of frames that were sent to one port one after the other.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) dropped: u64,
}

impl Sent {
    /// Notes the outcome of each job in the fate of its frame, and sums up.
    #[inline(never)]
    pub(crate) fn note(
        frames: &[Frame],
        jobs: &[Transmission],
        outcomes: &[Result<(), DropReason>],
        fates: &mut [Fate; BURST_FRAMES],
    ) -> Self {
        let mut sent = Self::default();
        for (job, outcome) in jobs.iter().zip(outcomes) {
            let at = usize::from(job.frame);
            let (Some(frame), Some(fate)) = (frames.get(at), fates.get_mut(at)) else { continue };
            if outcome.is_ok() {
                sent.packets += 1;
                sent.bytes += frame.len() as u64;
            } else {
                sent.dropped += 1;
            }
            fate.copy(*outcome);
        }
        sent
    }
}

/// What became of the frames of a burst, summed up before it is counted.
#[derive(Debug, Default)]
pub(crate) struct Settlement {
    received: u64,
    forwarded: u64,
    consumed: u64,
    copies: u64,
    copies_dropped: u64,
}

impl Settlement {
    /// Adds one frame. `Err`: the frame was dropped, and is still to be counted under the reason.
    #[inline]
    pub(crate) fn add(&mut self, fate: &Fate) -> Result<(), DropReason> {
        if fate.settled_elsewhere {
            return Ok(());
        }
        self.received += 1;
        if fate.consumed {
            self.consumed += 1;
            return Ok(());
        }
        if fate.sent == 0 {
            return Err(fate.reason.unwrap_or(DropReason::NoEgress));
        }
        self.forwarded += 1;
        if (fate.sent, fate.failed) != (1, 0) {
            self.copies += u64::from(fate.sent - 1);
            self.copies_dropped += u64::from(fate.failed);
        }
        Ok(())
    }

    /// Counts the sums.
    pub(crate) fn count(&self, counters: &WorkerCounters) {
        counters.received.add(self.received);
        counters.forwarded.add(self.forwarded);
        counters.consumed.add(self.consumed);
        counters.copies.add(self.copies);
        counters.copies_dropped.add(self.copies_dropped);
    }
}
