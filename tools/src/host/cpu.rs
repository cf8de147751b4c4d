//! CPU time of the whole machine: the only fair unit when sender, receiver and switch share its cores and a
//! part of the work is done in soft interrupts.

use anyhow::{Context, Result};
use nix::unistd::{SysconfVar, sysconf};
use std::fs;

/// The first line of `/proc/stat` (proc(5)), in ticks since boot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CpuTimes {
    busy: u64,
    idle: u64,
    steal: u64,
}

/// What the CPUs did between two readings, in seconds summed over all of them.
#[derive(Clone, Copy, PartialEq, Debug, Default, serde::Serialize)]
pub(crate) struct CpuUse {
    /// user + nice + system + irq + softirq.
    pub busy_seconds: f64,
    /// idle + iowait.
    pub idle_seconds: f64,
    /// Time that the hypervisor gave to others while we had work.
    pub steal_seconds: f64,
}

impl CpuTimes {
    /// Reads the clock.
    pub(crate) fn now() -> Result<Self> {
        let text = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
        Self::parse(&text).context("/proc/stat has no `cpu` line as proc(5) describes")
    }

    fn parse(text: &str) -> Option<Self> {
        let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let ticks: Vec<u64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
        let [user, nice, system, idle, iowait, irq, softirq, steal, ..] = ticks[..] else { return None };
        // Guest time is contained in user and nice.
        Some(Self { busy: user + nice + system + irq + softirq, idle: idle + iowait, steal })
    }

    /// What was used since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> CpuUse {
        let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
        self.difference(earlier, per_second)
    }

    #[expect(clippy::cast_precision_loss, reason = "ticks of a few minutes")]
    fn difference(self, earlier: Self, ticks_per_second: i64) -> CpuUse {
        let seconds =
            |later: u64, earlier: u64| later.saturating_sub(earlier) as f64 / ticks_per_second as f64;
        CpuUse {
            busy_seconds: seconds(self.busy, earlier.busy),
            idle_seconds: seconds(self.idle, earlier.idle),
            steal_seconds: seconds(self.steal, earlier.steal),
        }
    }
}

impl CpuUse {
    /// Busy part of all time, 0 to 1.
    pub(crate) fn busy_share(&self) -> f64 {
        let all = self.busy_seconds + self.idle_seconds + self.steal_seconds;
        if all > 0.0 { self.busy_seconds / all } else { 0.0 }
    }

    /// Stolen part of all time, 0 to 1.
    pub(crate) fn steal_share(&self) -> f64 {
        let all = self.busy_seconds + self.idle_seconds + self.steal_seconds;
        if all > 0.0 { self.steal_seconds / all } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_is_all_but_idle_and_steal() {
        let earlier = CpuTimes::parse("cpu  10 1 20 1000 5 3 4 2 0 0\ncpu0 1 1\n").unwrap();
        assert_eq!(earlier, CpuTimes { busy: 38, idle: 1005, steal: 2 });
        let later = CpuTimes { busy: 138, idle: 1305, steal: 102 };
        let used = later.difference(earlier, 100);
        assert_eq!(used, CpuUse { busy_seconds: 1.0, idle_seconds: 3.0, steal_seconds: 1.0 });
        assert_eq!((used.busy_share(), used.steal_share()), (0.2, 0.2));
    }

    #[test]
    fn a_short_line_is_refused() {
        assert_eq!(CpuTimes::parse("cpu 1 2 3"), None);
        assert_eq!(CpuTimes::parse("intr 1 2 3"), None);
    }

    #[test]
    fn this_machine_has_a_clock() {
        let first = CpuTimes::now().unwrap();
        let used = CpuTimes::now().unwrap().since(first);
        assert!(used.busy_seconds >= 0.0);
    }
}
