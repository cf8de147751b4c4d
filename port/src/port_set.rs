//! All queues of one worker, and its sleep.

use std::io;
use std::time::Duration;

use packet::{BURST_FRAMES, BufferPool, Burst, DropReason, PORTS_MAX, PortId};

use crate::direct::DirectQueues;
use crate::engine::{self, Engine};
use crate::{EngineKind, Intake, PortFault, Queue, UringOptions, Waker};

/// How to start a [`PortSet`].
#[derive(Clone, Copy, Debug)]
pub struct PortSetOptions {
    /// Which engine drives the queues of devices.
    pub engine: EngineKind,
    /// Buffers allocated for the worker, those lent to the kernel included. Memory becomes resident as
    /// buffers are first used, as many bytes of each as frames were long.
    pub buffers: usize,
    /// For the `io_uring` engine.
    pub uring: UringOptions,
}

impl Default for PortSetOptions {
    fn default() -> Self {
        Self { engine: EngineKind::Auto, buffers: 256, uring: UringOptions::default() }
    }
}

/// One frame to send to one port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transmission {
    /// Position in the burst.
    pub frame: u16,
    /// Where to.
    pub port: PortId,
    /// Length of the frame's headers, Ethernet to transport; looked at for super-frames only.
    pub headers_bytes: u16,
}

/// What a [`PortSet::receive`] brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Received<'a> {
    /// Frames that were added to the burst.
    pub frames: usize,
    /// What arrived but is no frame that could be added: received and dropped.
    pub malformed: &'a [(PortId, DropReason)],
}

/// One worker's queue of every port.
///
/// It may be made anywhere, but from the first call of another method on it stays with that thread
/// (`io_uring` is told that there is a single issuer).
pub struct PortSet {
    engine: Box<dyn Engine>,
    direct: DirectQueues,
    devices: Vec<bool>,
    pool: BufferPool,
    waker: Waker,
    malformed: Vec<(PortId, DropReason)>,
    faults: Vec<(PortId, PortFault)>,
    /// The last receive ended because the burst was full.
    more: bool,
    /// The polled queues are asked before the engine next time.
    direct_first: bool,
}

impl PortSet {
    /// A set without ports, with `buffers` buffers of its own.
    ///
    /// # Errors
    /// What the kernel says to `epoll` or, with [`EngineKind::Uring`], to `io_uring`:
    /// [`Unsupported`](io::ErrorKind::Unsupported) if it lacks what the engine needs.
    pub fn new(kind: EngineKind, buffers: usize) -> io::Result<Self> {
        Self::with_options(PortSetOptions { engine: kind, buffers, ..PortSetOptions::default() })
    }

    /// A set without ports.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn with_options(options: PortSetOptions) -> io::Result<Self> {
        let waker = Waker::new()?;
        Ok(Self {
            engine: engine::start(options.engine, options.uring, &waker)?,
            direct: DirectQueues::default(),
            devices: Vec::new(),
            pool: BufferPool::with_buffers(options.buffers),
            waker,
            malformed: Vec::with_capacity(2 * BURST_FRAMES),
            faults: Vec::with_capacity(BURST_FRAMES),
            more: false,
            direct_first: false,
        })
    }

    /// `io_uring` or `epoll`.
    #[must_use]
    pub fn engine_name(&self) -> &'static str {
        self.engine.name()
    }

    /// Takes a port's queue over.
    ///
    /// # Errors
    /// [`AlreadyExists`](io::ErrorKind::AlreadyExists) if the port has a queue here, or what the kernel says;
    /// the queue is closed then.
    pub fn attach(&mut self, port: PortId, queue: Queue) -> io::Result<()> {
        if self.has(port) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        match queue {
            Queue::Device(queue) => {
                self.engine.attach(port, queue)?;
                if self.devices.len() <= port.index() {
                    self.devices.resize(port.index() + 1, false);
                }
                self.devices[port.index()] = true;
                Ok(())
            }
            Queue::Other(queue) => {
                // What the queue held before it was attached is found without an event.
                self.more = true;
                self.direct.attach(port, queue, self.waker.clone(), &mut *self.engine)
            }
        }
    }

    /// Closes the port's queue here; every buffer that the kernel held for it is back when this returns.
    /// False if there was none.
    pub fn detach(&mut self, port: PortId) -> bool {
        self.faults.retain(|&(faulty, _)| faulty != port);
        if let Some(device @ true) = self.devices.get_mut(port.index()) {
            *device = false;
            return self.engine.detach(port, &mut self.pool);
        }
        self.direct.detach(port, &mut *self.engine)
    }

    /// True if the port has a queue here.
    #[must_use]
    pub fn has(&self, port: PortId) -> bool {
        self.devices.get(port.index()).copied().unwrap_or(false) || self.direct.contains(port)
    }

    /// Fills the burst with what waits at any port, until it is full or nothing waits. Never blocks. Ports
    /// take turns, so that one that floods does not keep others from being heard.
    pub fn receive(&mut self, burst: &mut Burst) -> Received<'_> {
        self.malformed.clear();
        let before = burst.len();
        let mut intake = Intake::new(burst, &mut self.pool, &mut self.malformed);
        if self.direct_first {
            self.direct.receive(&mut intake, &mut self.faults);
            self.engine.receive(&mut intake, &mut self.faults);
        } else {
            self.engine.receive(&mut intake, &mut self.faults);
            self.direct.receive(&mut intake, &mut self.faults);
        }
        self.direct_first = !self.direct_first;
        self.more = intake.is_full();
        Received { frames: burst.len() - before, malformed: &self.malformed }
    }

    /// Sends the jobs, those to one port in their order. When it returns, `outcomes[i]` says what became of
    /// `jobs[i]`: sent, or why it was dropped ([`EgressDown`](DropReason::EgressDown) also for a port that
    /// has no queue here). With `io_uring` all writes go to the kernel in one system call.
    pub fn transmit(
        &mut self,
        burst: &mut Burst,
        jobs: &[Transmission],
        outcomes: &mut Vec<Result<(), DropReason>>,
    ) {
        outcomes.clear();
        outcomes.resize(jobs.len(), Err(DropReason::EgressDown));
        let frames = burst.frames_mut();
        self.direct.transmit(frames, jobs, outcomes);
        self.engine.transmit(frames, jobs, outcomes, &mut self.faults);
    }

    /// The worker's free buffers.
    pub fn pool(&mut self) -> &mut BufferPool {
        &mut self.pool
    }

    /// True if [`receive`](Self::receive) may bring something; for bounded busy polling. With `io_uring` no
    /// system call is needed to know, with `epoll` one is.
    pub fn poll_ready(&mut self) -> bool {
        self.more || self.direct.is_ready() || self.engine.poll_ready()
    }

    /// Sleeps until a queue is ready, the [waker](Self::waker) fires or the timeout ends; at once if
    /// something is ready. It may also return for no reason.
    ///
    /// # Errors
    /// What the kernel says; an interruption by a signal is none.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if self.more || self.direct.is_ready() {
            return Ok(());
        }
        self.engine.wait(timeout)
    }

    /// What ends this worker's sleep.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Moves the faults seen since the last call to the end of `into`. Each port is named once a fault;
    /// after that, nothing is sent to it (and after any but [`LinkDown`](PortFault::LinkDown) nothing is
    /// received) until it is [revived](Self::revive) or [detached](Self::detach).
    pub fn take_faults(&mut self, into: &mut Vec<(PortId, PortFault)>) {
        into.append(&mut self.faults);
    }

    /// Tries a port again that had a fault.
    pub fn revive(&mut self, port: PortId) {
        self.faults.retain(|&(faulty, _)| faulty != port);
        self.direct.revive(port);
        self.engine.revive(port);
        self.more = true;
    }
}

const _: () = assert!(PORTS_MAX <= 1 << 16, "a port index is kept in 16 bits");
