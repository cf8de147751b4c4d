//! The two ways to drive the queues of devices: `io_uring` where the kernel offers what is needed, else `epoll`.

mod epoll;
mod uring;

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use packet::{BufferPool, DropReason, Frame, PortId};

use crate::{DeviceQueue, Intake, PortFault, Transmission, Waker};

/// Which engine drives the queues of devices.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum EngineKind {
    /// `io_uring` if the kernel offers what the engine needs (Linux 6.7, not disabled), else `epoll`.
    #[default]
    Auto,
    /// Multishot reads into shared buffers, one system call for all writes of a burst.
    Uring,
    /// One system call a frame; needs nothing special.
    Epoll,
}

/// What can be tuned of the `io_uring` engine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UringOptions {
    /// Buffers that the kernel may read into ahead of us, shared by all TAPs of a worker, and as many by all
    /// its packet sockets: a power of two, at most 16 384.
    pub read_buffers: u16,
    /// The same while super-frames pass, at least 1.
    pub bulk_buffers: u16,
    /// Writes that go to the kernel in one system call: a power of two.
    pub queue_entries: u32,
    /// The system call that writes a burst also reads what has arrived meanwhile: one call a burst less, but
    /// twice the buffers in use, and so in the cache.
    pub collect_on_transmit: bool,
}

impl Default for UringOptions {
    fn default() -> Self {
        Self { read_buffers: 32, bulk_buffers: 16, queue_entries: 256, collect_on_transmit: false }
    }
}

/// Drives all queues of devices of a worker. Everything is nonblocking but [`wait`](Self::wait).
pub(crate) trait Engine: Send {
    /// The name for statistics.
    fn name(&self) -> &'static str;

    /// Takes a queue over. The port has none yet.
    fn attach(&mut self, port: PortId, queue: DeviceQueue) -> io::Result<()>;

    /// Closes the port's queue once the kernel has given back all memory that it was lent for this port.
    /// False if there is no such queue.
    fn detach(&mut self, port: PortId, pool: &mut BufferPool) -> bool;

    /// Ends the quiet after a fault.
    fn revive(&mut self, port: PortId);

    /// `fd` becoming readable ends a wait from now on.
    fn watch(&mut self, port: PortId, fd: BorrowedFd<'_>) -> io::Result<()>;

    /// The opposite of [`watch`](Self::watch).
    fn unwatch(&mut self, port: PortId, fd: BorrowedFd<'_>);

    /// Fills the burst, fairly over the ports.
    fn receive(&mut self, intake: &mut Intake<'_>, faults: &mut Vec<(PortId, PortFault)>);

    /// Sends the jobs whose port is driven by this engine, in order, and sets their outcomes.
    fn transmit(
        &mut self,
        frames: &mut [Frame],
        jobs: &[Transmission],
        outcomes: &mut [Result<(), DropReason>],
        faults: &mut Vec<(PortId, PortFault)>,
    );

    /// True if [`receive`](Self::receive) may bring something.
    fn poll_ready(&mut self) -> bool;

    /// Sleeps until a queue is ready, something watched is, or the timeout ends.
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()>;
}

/// The engine for `kind`; `waker` ends its waits.
pub(crate) fn start(kind: EngineKind, options: UringOptions, waker: &Waker) -> io::Result<Box<dyn Engine>> {
    if kind != EngineKind::Epoll {
        match uring::UringEngine::new(options, waker) {
            Ok(engine) => return Ok(Box::new(engine)),
            Err(error) if kind == EngineKind::Uring => return Err(error),
            Err(_) => {}
        }
    }
    Ok(Box::new(epoll::EpollEngine::new(waker)?))
}
