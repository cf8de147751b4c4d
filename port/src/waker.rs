//! Ends a worker's sleep from any thread.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::EventfdFlags;

/// Wakes the worker that owns the [`PortSet`](crate::PortSet) this came from. A wake is never lost: one that
/// comes before the worker sleeps ends its next [`wait`](crate::PortSet::wait) at once. Any number of wakes
/// before a wait count as one.
///
/// Each call is a system call (a write to an eventfd), so a busy caller keeps a flag of its own that tells
/// whether the worker sleeps.
#[derive(Clone, Debug)]
pub struct Waker(Arc<OwnedFd>);

impl Waker {
    pub(crate) fn new() -> io::Result<Self> {
        let fd = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self(Arc::new(fd)))
    }

    /// Ends the worker's current or next wait.
    pub fn wake(&self) {
        // The one error left is EAGAIN, when the counter is at its maximum: then a wake is pending anyway.
        let _ = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
