//! A worker's thread: step while there is work, poll for a bounded time, then sleep.
//!
//! Polling is for questions and answers: a frame that comes within the next microseconds is on its way
//! before a sleeping thread would have been woken. While super-frames pass it is left out. Their senders fill
//! the next ones meanwhile, and the CPU time is theirs: measured on two cores, one TCP stream gains 8 % and
//! costs a fifth less CPU (docs/performance.md).

use std::time::{Duration, Instant};

use crate::worker::Worker;

/// Looks for work between two looks at the clock.
const LOOKS: u32 = 16;

/// The CPU is offered to others this often while polling: on a machine with few cores the program that a
/// frame was just delivered to may wait for this very CPU.
const YIELD_EVERY: Duration = Duration::from_micros(2);

/// For this long after a super-frame there is no polling.
const BULK: Duration = Duration::from_micros(200);

/// Runs the worker until it is told to stop. `started` is the zero of the milliseconds that the tables keep.
pub(crate) fn run(mut worker: Worker, started: Instant, busy_poll: Duration) {
    let mut bulk_until = Duration::ZERO;
    loop {
        let now = started.elapsed();
        let work = worker.step(u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
        if work.stop {
            return;
        }
        if work.bulk {
            bulk_until = now + BULK;
        }
        if work.items > 0 || (now >= bulk_until && poll(&mut worker, busy_poll)) {
            continue;
        }
        if let Err(error) = worker.sleep() {
            // Nothing can be received any more; the supervisor starts the process anew.
            std::panic::panic_any(error);
        }
    }
}

/// Looks for work for `busy_poll`, with no system call but the yields; true as soon as there is some.
fn poll(worker: &mut Worker, busy_poll: Duration) -> bool {
    if busy_poll.is_zero() {
        return false;
    }
    let start = Instant::now();
    let mut next_yield = YIELD_EVERY;
    loop {
        for _ in 0..LOOKS {
            if worker.is_ready() {
                return true;
            }
            std::hint::spin_loop();
        }
        let polled = start.elapsed();
        if polled >= busy_poll {
            return false;
        }
        if polled >= next_yield {
            std::thread::yield_now();
            next_yield = polled + YIELD_EVERY;
        }
    }
}
