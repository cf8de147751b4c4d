//! Waiting for what must come true, with a deadline instead of a fixed sleep.

use std::time::{Duration, Instant};

/// How long anything that should happen at once may take on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Polls `probe` every few milliseconds until it answers.
///
/// # Panics
/// If `probe` still answers `None` when [`DEADLINE`] has passed; `what` says what was awaited.
pub fn wait_until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = probe() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {DEADLINE:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
