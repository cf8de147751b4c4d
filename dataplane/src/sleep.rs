//! How a worker falls asleep without missing a call.
//!
//! The worker announces its sleep, looks at its queues once more, and only then sleeps. A caller puts
//! something into a queue and then looks whether the worker has announced. Each side writes before it reads
//! what the other writes, with a sequentially consistent fence between (Dekker's pattern): at least one of
//! the two sees the other, so either the worker does not fall asleep or it is woken. Held by a loom test
//! (`tests/loom.rs`). A worker that is awake costs its callers no system call.

#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, Ordering, fence};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// The announcement of one worker.
#[derive(Debug)]
pub struct SleepFlag {
    asleep: AtomicBool,
}

impl SleepFlag {
    /// Awake.
    #[must_use]
    pub fn new() -> Self {
        Self { asleep: AtomicBool::new(false) }
    }

    /// Worker: announces sleep, then asks `has_work` (which looks into all queues). Returns true if the
    /// worker may sleep until it is woken; false if there is work, and the announcement is withdrawn.
    #[must_use]
    pub fn may_sleep(&self, has_work: impl FnOnce() -> bool) -> bool {
        self.asleep.store(true, Ordering::Relaxed);
        // Partner: the fence in `must_wake`.
        fence(Ordering::SeqCst);
        if has_work() {
            self.asleep.store(false, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// Worker: is awake again, for whatever reason.
    pub fn woke(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// Caller, after it has put something into a queue: true if the caller has to wake the worker. Of
    /// several callers at once, one is told so.
    #[must_use]
    pub fn must_wake(&self) -> bool {
        // Partner: the fence in `may_sleep`.
        fence(Ordering::SeqCst);
        // Not a swap: a caller that comes too late must not write.
        self.asleep.load(Ordering::Relaxed)
            && self.asleep.compare_exchange(true, false, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

impl Default for SleepFlag {
    fn default() -> Self {
        Self::new()
    }
}
