//! Where others reach a worker: commands, the sleep flag, and the signs of life that it gives.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::Sender;
use crossbeam_queue::ArrayQueue;
use packet::PortId;
use port::{Queue, Waker};

use crate::sleep::SleepFlag;

/// Commands that may wait for one worker.
const COMMANDS_MAX: usize = 256;

/// What the control side asks of one worker.
pub(crate) enum Command {
    /// Take this queue; answer when done.
    Attach { port: PortId, queue: Box<Queue>, done: Sender<std::io::Result<()>> },
    /// Let the port's queue go; answer when the kernel holds none of its buffers; false if there was none.
    Detach { port: PortId, done: Sender<bool> },
    /// The device is there again: read it again.
    Revive { port: PortId },
    /// Send these frames, of the switch itself, to the port.
    Originate { port: PortId, frames: Vec<Vec<u8>> },
    /// Leave the loop.
    Stop,
}

/// One worker's letter box.
pub(crate) struct Mailbox {
    commands: ArrayQueue<Command>,
    sleep: SleepFlag,
    waker: OnceLock<Waker>,
    heartbeat: AtomicU64,
    generation_seen: AtomicU64,
}

impl Mailbox {
    pub(crate) fn new() -> Self {
        Self {
            commands: ArrayQueue::new(COMMANDS_MAX),
            sleep: SleepFlag::new(),
            waker: OnceLock::new(),
            heartbeat: AtomicU64::new(0),
            generation_seen: AtomicU64::new(0),
        }
    }

    /// The worker's engine is up and can be woken by this.
    pub(crate) fn set_waker(&self, waker: Waker) {
        // A mailbox belongs to one worker for life, which calls this once.
        let _ = self.waker.set(waker);
    }

    /// Puts a command in and wakes the worker.
    ///
    /// # Errors
    /// Gives the command back if the box is full, which a stalled worker causes.
    pub(crate) fn command(&self, command: Command) -> Result<(), Command> {
        self.commands.push(command)?;
        self.notify();
        Ok(())
    }

    /// Wakes the worker if it sleeps. Whoever has put something into one of its queues calls this after.
    pub(crate) fn notify(&self) {
        if self.sleep.must_wake()
            && let Some(waker) = self.waker.get()
        {
            waker.wake();
        }
    }

    pub(crate) fn next_command(&self) -> Option<Command> {
        self.commands.pop()
    }

    pub(crate) fn has_commands(&self) -> bool {
        !self.commands.is_empty()
    }

    pub(crate) fn sleep_flag(&self) -> &SleepFlag {
        &self.sleep
    }

    /// The worker has gone round once more, with this generation of the snapshot.
    pub(crate) fn beat(&self, generation: u64) {
        self.heartbeat.store(self.heartbeat.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        // Release: whoever sees the generation sees that no older snapshot is in use any more. Partner: the
        // Acquire load in `generation_seen`.
        self.generation_seen.store(generation, Ordering::Release);
    }

    pub(crate) fn heartbeat(&self) -> u64 {
        self.heartbeat.load(Ordering::Relaxed)
    }

    pub(crate) fn generation_seen(&self) -> u64 {
        self.generation_seen.load(Ordering::Acquire)
    }
}

impl std::fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mailbox")
            .field("commands", &self.commands.len())
            .field("sleep", &self.sleep)
            .field("heartbeat", &self.heartbeat)
            .field("generation_seen", &self.generation_seen)
            .finish_non_exhaustive()
    }
}
