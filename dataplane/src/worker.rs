//! One worker: all of its state, and one step of its loop.
//!
//! A worker owns its ports' queues, its buffers and its counters; nobody else touches them. It shares with
//! others only what is made for it: the published snapshot (read), the forwarding database, its mailbox and
//! the rings of the handoff. Time is an argument, so that a test can single-step several workers on one
//! thread, with the order and the clock in its hand.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Cache};
use packet::{Burst, DropReason, Frame, PortId};
use port::{PortFault, PortSet, Queue};

use crate::counters::WorkerCounters;
use crate::events::{Event, Events};
use crate::handoff::{Handed, HandoffRing, Outboxes};
use crate::mailbox::{Command, Mailbox};
use crate::pipeline::{Pass, Scratch};
use crate::route::{Released, Router};
use crate::snapshot::Snapshot;
use crate::view::View;

/// Longest sleep while packets wait for their next hop.
const WAITING: Duration = Duration::from_millis(250);

/// What a worker shares with the rest.
pub(crate) struct Links {
    pub(crate) index: usize,
    pub(crate) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) counters: Arc<WorkerCounters>,
    pub(crate) inboxes: Vec<Arc<HandoffRing>>,
    pub(crate) outboxes: Outboxes,
    pub(crate) events: Arc<Events>,
    pub(crate) router: Router,
}

/// What one step found to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Work {
    /// Frames received from ports or from other workers, commands included.
    pub items: usize,
    /// A super-frame was among them.
    pub bulk: bool,
    /// The worker was told to stop.
    pub stop: bool,
}

/// A worker. See the [module](self).
pub struct Worker {
    index: usize,
    ports: PortSet,
    published: Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>,
    /// What this round goes by.
    snapshot: Arc<Snapshot>,
    burst: Burst,
    scratch: Scratch,
    handed: Vec<Handed>,
    router: Router,
    released: Vec<Released>,
    /// The snapshot is another one than when packets that wait were looked at.
    is_new: bool,
    inboxes: Vec<Arc<HandoffRing>>,
    outboxes: Outboxes,
    mailbox: Arc<Mailbox>,
    counters: Arc<WorkerCounters>,
    events: Arc<Events>,
    rejected: Vec<(PortId, DropReason)>,
    faults: Vec<(PortId, PortFault)>,
}

impl Worker {
    pub(crate) fn new(links: Links, ports: PortSet) -> Self {
        links.mailbox.set_waker(ports.waker());
        Self {
            index: links.index,
            ports,
            snapshot: links.snapshot.load_full(),
            published: Cache::new(links.snapshot),
            burst: Burst::new(),
            scratch: Scratch::new(),
            handed: Vec::with_capacity(packet::BURST_FRAMES),
            router: links.router,
            released: Vec::with_capacity(packet::BURST_FRAMES),
            is_new: false,
            inboxes: links.inboxes,
            outboxes: links.outboxes,
            mailbox: links.mailbox,
            counters: links.counters,
            events: links.events,
            rejected: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// One round: commands, then at most one burst from each other worker and one from the ports.
    pub fn step(&mut self, now_ms: u64) -> Work {
        let mut work = Work::default();
        self.renew_snapshot();
        while let Some(command) = self.mailbox.next_command() {
            work.items += 1;
            work.stop |= self.obey(command, now_ms);
        }
        // Once more: what a command is about has been published before it.
        self.renew_snapshot();
        self.mailbox.beat(self.snapshot.generation());
        work.items += self.take_released(now_ms);
        for inbox in 0..self.inboxes.len() {
            work.items += self.take_handed(inbox, now_ms);
        }
        work.items += self.take_received(now_ms, &mut work.bulk);
        self.ports.take_faults(&mut self.faults);
        for (port, fault) in self.faults.drain(..) {
            self.events.push(Event::PortFault { worker: self.index, port, fault });
        }
        work
    }

    /// Takes the snapshot that was published last. All frames of a round go by one.
    fn renew_snapshot(&mut self) {
        let latest = self.published.load();
        if !Arc::ptr_eq(latest, &self.snapshot) {
            self.snapshot = Arc::clone(latest);
            self.router.waiting.see_snapshot();
            self.is_new = true;
        }
    }

    /// Takes a queue of the port over.
    pub(crate) fn attach(&mut self, port: PortId, queue: Queue) -> std::io::Result<()> {
        self.ports.attach(port, queue)
    }

    /// True if a step would find something to do, found out without a system call.
    pub fn is_ready(&mut self) -> bool {
        self.has_mail() || self.ports.poll_ready()
    }

    /// Sleeps until there is something to do.
    ///
    /// # Errors
    /// The engine's, which are fatal to the worker.
    pub fn sleep(&mut self) -> std::io::Result<()> {
        let (mailbox, inboxes) = (&self.mailbox, &self.inboxes);
        if !mailbox.sleep_flag().may_sleep(|| has_mail(mailbox, inboxes)) {
            return Ok(());
        }
        self.counters.sleeps.add(1);
        let slept = self.ports.wait((!self.router.waiting.is_empty()).then_some(WAITING));
        mailbox.sleep_flag().woke();
        slept
    }

    fn has_mail(&self) -> bool {
        has_mail(&self.mailbox, &self.inboxes)
    }

    fn take_received(&mut self, now_ms: u64, bulk: &mut bool) -> usize {
        self.rejected.extend_from_slice(self.ports.receive(&mut self.burst).malformed);
        let items = self.burst.len() + self.rejected.len();
        if items == 0 {
            return 0;
        }
        self.counters.bursts.add(1);
        *bulk = self.burst.is_bulk();
        let rejected = std::mem::take(&mut self.rejected);
        let mut pass = self.pass(now_ms);
        pass.view.count_rejected(&rejected);
        pass.run();
        self.rejected = rejected;
        self.rejected.clear();
        self.burst.recycle(self.ports.pool());
        items
    }

    /// Treats the packets whose waiting for a next hop has come to an end.
    fn take_released(&mut self, now_ms: u64) -> usize {
        if self.router.waiting.is_empty() {
            self.is_new = false;
            return 0;
        }
        let mut items = 0;
        loop {
            let routing = self.snapshot.routing().map(AsRef::as_ref);
            let (burst, released) = (&mut self.burst, &mut self.released);
            let more = self.router.waiting.release(routing, self.is_new, now_ms, burst, released);
            if self.burst.is_empty() {
                break;
            }
            items += self.burst.len();
            let released = std::mem::take(&mut self.released);
            self.pass(now_ms).run_released(&released);
            self.released = released;
            self.released.clear();
            self.router.waiting.take_back(&mut self.burst);
            if !more {
                break;
            }
        }
        self.is_new = false;
        items
    }

    fn take_handed(&mut self, inbox: usize, now_ms: u64) -> usize {
        let ring = &self.inboxes[inbox];
        while !self.burst.is_full() {
            let Some(item) = ring.pop() else { break };
            self.handed.push(item.handed);
            if let Err(frame) = self.burst.push(item.frame) {
                ring.give_empty(frame.into_buffer());
            }
        }
        let items = self.burst.len();
        if items > 0 {
            self.send_handed(now_ms);
            let ring = &self.inboxes[inbox];
            for frame in self.burst.drain() {
                ring.give_empty(frame.into_buffer());
            }
        }
        items
    }

    /// The burst on its way through the stages.
    fn pass(&mut self, now_ms: u64) -> Pass<'_> {
        Pass {
            burst: &mut self.burst,
            scratch: &mut self.scratch,
            view: View { snapshot: &self.snapshot, counters: &self.counters, worker: self.index, now_ms },
            ports: &mut self.ports,
            out: &mut self.outboxes,
            router: &mut self.router,
            events: &self.events,
        }
    }

    /// Sends the burst's frames as `handed` says. They stay in the burst.
    fn send_handed(&mut self, now_ms: u64) {
        let handed = std::mem::take(&mut self.handed);
        self.pass(now_ms).run_handed(&handed);
        self.handed = handed;
        self.handed.clear();
    }

    /// Returns true if the worker is to stop.
    fn obey(&mut self, command: Command, now_ms: u64) -> bool {
        match command {
            Command::Attach { port, queue, done } => {
                let attached = self.ports.attach(port, *queue);
                // Whoever asked may have given up waiting.
                let _ = done.try_send(attached);
            }
            Command::Detach { port, done } => {
                let _ = done.try_send(self.ports.detach(port));
            }
            Command::Revive { port } => self.ports.revive(port),
            Command::Originate { port, frames } => self.originate(port, &frames, now_ms),
            Command::Stop => return true,
        }
        false
    }

    /// Sends frames of the switch itself to one port, past learning and security, in as many bursts as they
    /// need. What is no frame, or finds no buffer at all, counts as a copy dropped before that port.
    fn originate(&mut self, port: PortId, frames: &[Vec<u8>], now_ms: u64) {
        self.handed.clear();
        let mut unsent = 0;
        let mut rest = frames;
        while !rest.is_empty() {
            while !self.burst.is_full()
                && let [bytes, others @ ..] = rest
                && let Some(buffer) = self.ports.pool().take()
            {
                rest = others;
                match Frame::copied(buffer, bytes, port).map(|frame| self.burst.push(frame)) {
                    Ok(Ok(())) => self.handed.push(Handed::copy_to(port)),
                    Ok(Err(frame)) => {
                        unsent += 1;
                        self.ports.pool().give(frame.into_buffer());
                    }
                    Err(buffer) => {
                        unsent += 1;
                        self.ports.pool().give(buffer);
                    }
                }
            }
            if self.burst.is_empty() {
                break;
            }
            self.counters.originated.add(self.burst.len() as u64);
            self.send_handed(now_ms);
            self.burst.recycle(self.ports.pool());
        }
        unsent += rest.len() as u64;
        if unsent > 0 {
            let view = self.pass(now_ms).view;
            view.count_unsent(view.snapshot.port(port), unsent);
        }
    }
}

fn has_mail(mailbox: &Mailbox, inboxes: &[Arc<HandoffRing>]) -> bool {
    mailbox.has_commands() || inboxes.iter().any(|inbox| !inbox.is_empty())
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("index", &self.index).finish_non_exhaustive()
    }
}
