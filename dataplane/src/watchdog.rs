//! Finds workers that no longer go round.
//!
//! The control side pokes every worker now and then (which wakes a sleeper) and shows the heartbeats to the
//! watchdog. A worker whose heartbeat has not moved for [`STALL`] although it was poked is stalled. If the
//! observer itself was stopped (SIGSTOP, a suspended VM), the first observation after it starts anew.

use std::time::Duration;

/// How long a poked worker may take to go round.
pub const STALL: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
struct Seen {
    heartbeat: u64,
    since: Duration,
}

/// The observer's memory. Time is a duration since any fixed instant, monotonic.
#[derive(Debug)]
pub struct Watchdog {
    seen: Vec<Option<Seen>>,
    last: Option<Duration>,
}

impl Watchdog {
    /// A watchdog of `workers` workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self { seen: vec![None; workers], last: None }
    }

    /// Takes the heartbeats read at `now` and returns which workers are stalled. To be called more often
    /// than [`STALL`], each time right before the workers are poked.
    pub fn observe(&mut self, now: Duration, heartbeats: impl IntoIterator<Item = u64>) -> Vec<usize> {
        let observer_slept = self.last.is_some_and(|last| now.saturating_sub(last) > STALL);
        self.last = Some(now);
        let mut stalled = Vec::new();
        for (worker, (seen, heartbeat)) in self.seen.iter_mut().zip(heartbeats).enumerate() {
            match seen {
                Some(seen) if seen.heartbeat == heartbeat && !observer_slept => {
                    if now.saturating_sub(seen.since) >= STALL {
                        stalled.push(worker);
                    }
                }
                _ => *seen = Some(Seen { heartbeat, since: now }),
            }
        }
        stalled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_worker_that_does_not_go_round_for_a_second_is_stalled_until_it_does() {
        let mut watchdog = Watchdog::new(2);
        assert!(watchdog.observe(ms(0), [1, 1]).is_empty());
        assert!(watchdog.observe(ms(500), [1, 2]).is_empty());
        assert_eq!(watchdog.observe(ms(1000), [1, 3]), [0]);
        assert!(watchdog.observe(ms(1500), [2, 4]).is_empty());
    }

    #[test]
    fn an_observer_that_was_stopped_blames_nobody() {
        let mut watchdog = Watchdog::new(1);
        assert!(watchdog.observe(ms(0), [1]).is_empty());
        assert!(watchdog.observe(ms(60_000), [1]).is_empty());
        assert!(watchdog.observe(ms(60_500), [1]).is_empty());
        assert_eq!(watchdog.observe(ms(61_000), [1]), [0]);
    }
}
