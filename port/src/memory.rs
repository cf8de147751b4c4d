//! Ports whose other end is held by a test, a simulation or a benchmark in the same process.
//!
//! Frames are copied once each way, into memory that is used again, so nothing is allocated once the longest
//! burst has passed. The two ends meet under a mutex that is taken once a burst, not once a frame.

mod line;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use packet::{DropReason, Frame, HEADROOM_BYTES, Offload, Offloads, PortId};

use self::line::{Line, Lines};
use crate::{Intake, PortFault, PortQueue, Transmission, Waker};

/// What a memory port is like.
#[derive(Clone, Copy, Debug)]
pub struct MemoryConfig {
    /// What may be sent to it unfinished; a frame that needs more is refused as
    /// [`TxError`](DropReason::TxError).
    pub offloads: Offloads,
    /// Most frames that wait in each direction; one more is dropped.
    pub frames_max: usize,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self { offloads: Offloads::ALL, frames_max: 1024 }
    }
}

/// A memory port with one queue: the queue for the worker, the end for the test.
#[must_use]
pub fn pair(config: MemoryConfig) -> (MemoryQueue, MemoryEnd) {
    let (mut queues, end) = multi_queue(config, 1);
    (queues.remove(0), end)
}

/// A memory port with `queues` queues, one for each worker, at least one. What the workers send arrives at
/// the one end in the order of their bursts.
#[must_use]
pub fn multi_queue(config: MemoryConfig, queues: usize) -> (Vec<MemoryQueue>, MemoryEnd) {
    let shared = Arc::new(Shared {
        config,
        to_worker: (0..queues.max(1)).map(|_| Inbound::default()).collect(),
        to_end: Mutex::default(),
        sent: Condvar::new(),
        waiting_at_end: AtomicUsize::new(0),
        link: AtomicU8::new(Link::Up as u8),
    });
    let queues = (0..queues.max(1))
        .map(|index| MemoryQueue { shared: Arc::clone(&shared), index, staged: Line::default() })
        .collect();
    (queues, MemoryEnd { shared, taken: Mutex::default() })
}

/// State of the simulated device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Link {
    /// Frames pass.
    Up,
    /// As `ip link set down`: [`PortFault::LinkDown`].
    Down,
    /// As a deleted namespace: [`PortFault::Gone`].
    Gone,
}

/// The end's send found the queue full; the frame is lost, as at a kernel queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the memory port's queue is full")]
pub struct Full;

/// What the workers have sent.
#[derive(Debug, Default)]
struct Outbound {
    lines: Lines,
    /// Who waits for a frame; only they need to be told of one, which is a system call.
    readers_waiting: usize,
}

#[derive(Debug, Default)]
struct Inbound {
    line: Mutex<Line>,
    /// Length of `line`, written under its lock; read without it as a hint.
    waiting: AtomicUsize,
    waker: Mutex<Option<Waker>>,
}

#[derive(Debug)]
struct Shared {
    config: MemoryConfig,
    to_worker: Vec<Inbound>,
    to_end: Mutex<Outbound>,
    sent: Condvar,
    /// Frames in `to_end`, written under its lock; read without it as a hint.
    waiting_at_end: AtomicUsize,
    link: AtomicU8,
}

impl Shared {
    fn fault(&self) -> Option<PortFault> {
        // Relaxed: nothing else is published by the state of the link.
        match self.link.load(Ordering::Relaxed) {
            link if link == Link::Up as u8 => None,
            link if link == Link::Down as u8 => Some(PortFault::LinkDown),
            _ => Some(PortFault::Gone),
        }
    }
}

/// No code panics while it holds one of these locks, so a poisoned one is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The worker's side of a memory port.
#[derive(Debug)]
pub struct MemoryQueue {
    shared: Arc<Shared>,
    index: usize,
    /// Sent in this burst, not yet handed over.
    staged: Line,
}

impl MemoryQueue {
    /// What may be sent to it unfinished.
    #[must_use]
    pub fn offloads(&self) -> Offloads {
        self.shared.config.offloads
    }
}

impl PortQueue for MemoryQueue {
    fn receive(&mut self, port: PortId, intake: &mut Intake<'_>) -> Result<(), PortFault> {
        if let Some(fault) = self.shared.fault() {
            return Err(fault);
        }
        let inbound = &self.shared.to_worker[self.index];
        if inbound.waiting.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        let line = &mut *lock(&inbound.line);
        line.take_while(|bytes, offload| {
            if intake.is_full() {
                return false;
            }
            let Some(mut buffer) = intake.buffer() else { return false };
            let room = &mut buffer.bytes_mut()[HEADROOM_BYTES..];
            if let Some(room) = room.get_mut(..bytes.len()) {
                room.copy_from_slice(bytes);
                intake.accept(port, buffer, bytes.len(), offload);
            } else {
                intake.refuse(port, buffer, DropReason::Oversized);
            }
            true
        });
        inbound.waiting.store(line.len(), Ordering::Relaxed);
        Ok(())
    }

    fn transmit(&mut self, frame: &mut Frame, headers_bytes: u16) -> Result<(), DropReason> {
        let job = Transmission { frame: 0, port: frame.ingress, headers_bytes };
        let mut outcome = [Err(DropReason::EgressDown)];
        self.transmit_row(std::slice::from_mut(frame), &[job], &mut outcome);
        outcome[0]
    }

    fn transmit_row(
        &mut self,
        frames: &mut [Frame],
        jobs: &[Transmission],
        outcomes: &mut [Result<(), DropReason>],
    ) {
        if self.shared.fault().is_some() {
            outcomes.fill(Err(DropReason::EgressDown));
            return;
        }
        let MemoryConfig { offloads, frames_max } = self.shared.config;
        let waiting = self.shared.waiting_at_end.load(Ordering::Relaxed) + self.staged.len();
        let mut room = frames_max.saturating_sub(waiting);
        for (job, outcome) in jobs.iter().zip(outcomes) {
            let Some(frame) = frames.get(usize::from(job.frame)) else { continue };
            *outcome = if frame.offload != Offload::NONE && !offloads.accept(frame.offload) {
                Err(DropReason::TxError)
            } else if room == 0 {
                Err(DropReason::TxQueueFull)
            } else {
                room -= 1;
                self.staged.push(frame.bytes(), frame.offload);
                Ok(())
            };
        }
    }

    fn flush(&mut self) {
        if self.staged.is_empty() {
            return;
        }
        let sent = &mut *lock(&self.shared.to_end);
        sent.lines.append(&mut self.staged);
        self.shared.waiting_at_end.store(sent.lines.len(), Ordering::Relaxed);
        if sent.readers_waiting > 0 {
            self.shared.sent.notify_all();
        }
    }

    fn is_ready(&self) -> bool {
        // A device that has failed has to be looked at, too.
        self.shared.to_worker[self.index].waiting.load(Ordering::Relaxed) > 0 || self.shared.fault().is_some()
    }

    fn attached(&mut self, waker: Waker) {
        *lock(&self.shared.to_worker[self.index].waker) = Some(waker);
    }
}

/// The test's side of a memory port.
#[derive(Debug)]
pub struct MemoryEnd {
    shared: Arc<Shared>,
    /// Storage of [`receive_with`](Self::receive_with) between calls; empty outside of one.
    taken: Mutex<VecDeque<Line>>,
}

impl MemoryEnd {
    /// Sends a frame to the first queue's worker.
    ///
    /// # Errors
    /// [`Full`] if `frames_max` frames wait there.
    pub fn send(&self, bytes: &[u8], offload: Offload) -> Result<(), Full> {
        self.send_on(0, bytes, offload)
    }

    /// Sends a frame to the worker of queue `queue` (modulo the number of queues).
    ///
    /// # Errors
    /// [`Full`] if `frames_max` frames wait there.
    pub fn send_on(&self, queue: usize, bytes: &[u8], offload: Offload) -> Result<(), Full> {
        if self.send_batch_on(queue, std::iter::once((bytes, offload))) == 1 { Ok(()) } else { Err(Full) }
    }

    /// Sends frames to the worker of queue `queue` (modulo the number of queues) until one finds it full;
    /// returns how many were sent.
    pub fn send_batch_on<'a>(
        &self,
        queue: usize,
        frames: impl IntoIterator<Item = (&'a [u8], Offload)>,
    ) -> usize {
        let inbound = &self.shared.to_worker[queue % self.shared.to_worker.len()];
        let mut line = lock(&inbound.line);
        let before = line.len();
        for (bytes, offload) in frames {
            if line.len() >= self.shared.config.frames_max {
                break;
            }
            line.push(bytes, offload);
        }
        let after = line.len();
        inbound.waiting.store(after, Ordering::Relaxed);
        drop(line);
        // A worker does not sleep while frames wait, so only the first ones need to wake it.
        if before == 0
            && after > 0
            && let Some(waker) = &*lock(&inbound.waker)
        {
            waker.wake();
        }
        after - before
    }

    /// The next frame that was sent to this port.
    #[must_use]
    pub fn receive(&self) -> Option<(Vec<u8>, Offload)> {
        self.take(&mut lock(&self.shared.to_end))
    }

    /// The next frame that is sent to this port within `timeout`.
    #[must_use]
    pub fn receive_within(&self, timeout: Duration) -> Option<(Vec<u8>, Offload)> {
        let deadline = Instant::now() + timeout;
        let mut sent = lock(&self.shared.to_end);
        loop {
            if let Some(frame) = self.take(&mut sent) {
                return Some(frame);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            sent.readers_waiting += 1;
            sent = self.shared.sent.wait_timeout(sent, left).unwrap_or_else(PoisonError::into_inner).0;
            sent.readers_waiting -= 1;
        }
    }

    fn take(&self, sent: &mut Outbound) -> Option<(Vec<u8>, Offload)> {
        let frame = sent.lines.take()?;
        self.shared.waiting_at_end.store(sent.lines.len(), Ordering::Relaxed);
        Some(frame)
    }

    /// Shows every frame that was sent to this port to `visit`, in order, without allocating; returns how
    /// many there were.
    pub fn receive_with(&self, mut visit: impl FnMut(&[u8], Offload)) -> usize {
        let mut taken = lock(&self.taken);
        lock(&self.shared.to_end).lines.swap(&mut taken);
        self.shared.waiting_at_end.store(0, Ordering::Relaxed);
        let count = taken.iter_mut().map(|line| line.drain(&mut visit)).sum();
        lock(&self.shared.to_end).lines.give_back(&mut taken);
        count
    }

    /// Sets the state of the simulated device, and lets the workers notice.
    pub fn set_link(&self, link: Link) {
        self.shared.link.store(link as u8, Ordering::Relaxed);
        for inbound in &self.shared.to_worker {
            if let Some(waker) = &*lock(&inbound.waker) {
                waker.wake();
            }
        }
    }
}
