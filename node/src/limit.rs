//! Rate limits for the log: one kind of event never fills it.

use std::collections::BTreeMap;

/// Lines of one kind that are logged in a [`WINDOW_MS`].
pub const LINES_MAX: u32 = 5;
/// Length of a window.
pub const WINDOW_MS: u64 = 10_000;

#[derive(Clone, Copy, Debug, Default)]
struct Window {
    began_ms: u64,
    lines: u32,
    suppressed: u64,
}

/// How many lines of each kind were logged lately. Kinds are few and fixed in the code.
#[derive(Clone, Debug, Default)]
pub struct RateLimit(BTreeMap<&'static str, Window>);

impl RateLimit {
    /// `None` if a line of this kind is not to be logged now; else the number of lines that were suppressed
    /// since the last one.
    pub fn permit(&mut self, kind: &'static str, now_ms: u64) -> Option<u64> {
        let window = self.0.entry(kind).or_insert(Window { began_ms: now_ms, ..Window::default() });
        let mut suppressed = 0;
        if now_ms.saturating_sub(window.began_ms) >= WINDOW_MS {
            suppressed = window.suppressed;
            *window = Window { began_ms: now_ms, ..Window::default() };
        }
        if window.lines >= LINES_MAX {
            window.suppressed += 1;
            return None;
        }
        window.lines += 1;
        Some(suppressed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_lines_pass_and_the_next_window_says_how_many_did_not() {
        let mut limit = RateLimit::default();
        let permitted = (0..20).filter(|ms| limit.permit("fault", *ms).is_some()).count();
        assert_eq!(permitted, 5);
        assert_eq!(limit.permit("other", 20), Some(0), "kinds do not share");
        assert_eq!(limit.permit("fault", WINDOW_MS), Some(15));
        assert_eq!(limit.permit("fault", WINDOW_MS), Some(0));
    }
}
