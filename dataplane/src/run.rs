//! A worker's thread: step while there is work, poll for a bounded time, then sleep.

use std::time::{Duration, Instant};

use crate::worker::Worker;

/// Looks for work between two looks at the clock.
const LOOKS: u32 = 16;

/// Runs the worker until it is told to stop. `started` is the zero of the milliseconds that the tables keep.
pub(crate) fn run(mut worker: Worker, started: Instant, busy_poll: Duration) {
    loop {
        let now = started.elapsed();
        let work = worker.step(u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
        if work.stop {
            return;
        }
        if work.items > 0 || poll(&mut worker, busy_poll) {
            continue;
        }
        if let Err(error) = worker.sleep() {
            // Nothing can be received any more; the supervisor starts the process anew.
            std::panic::panic_any(error);
        }
    }
}

/// Looks for work for `busy_poll`, without system calls; true as soon as there is some.
fn poll(worker: &mut Worker, busy_poll: Duration) -> bool {
    if busy_poll.is_zero() {
        return false;
    }
    let until = Instant::now() + busy_poll;
    loop {
        for _ in 0..LOOKS {
            if worker.is_ready() {
                return true;
            }
            std::hint::spin_loop();
        }
        if Instant::now() >= until {
            return false;
        }
    }
}
