//! What a node costs: memory and processor when idle, and the time to add a port. One test at a time, for they
//! measure.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use e2e::{Plan, Pod, Rig, Test, run_root_tests};

const RESIDENT_BYTES_MAX: u64 = 64 << 20;
/// 0.5 % of one core.
const IDLE_WINDOW: Duration = Duration::from_secs(10);
const IDLE_CPU_MAX: Duration = Duration::from_millis(50);
const ADD_MAX: Duration = Duration::from_millis(20);

fn a_hundred_idle_ports_cost_next_to_nothing() {
    let rig = Rig::start(&Plan::new(1, 100));
    // New pods announce themselves and look for routers for a while.
    let mut settled = false;
    for _ in 0..30 {
        let before = rig.daemon().cpu_time();
        std::thread::sleep(Duration::from_secs(1));
        settled = rig.daemon().cpu_time().saturating_sub(before) <= IDLE_CPU_MAX / 10;
        if settled {
            break;
        }
    }
    let before = rig.daemon().cpu_time();
    std::thread::sleep(IDLE_WINDOW);
    let used = rig.daemon().cpu_time().saturating_sub(before);
    let resident_bytes = rig.daemon().resident_bytes();
    eprintln!(
        "100 idle ports: {used:?} of processor in {IDLE_WINDOW:?}, {} KiB resident",
        resident_bytes >> 10
    );
    assert!(settled && used <= IDLE_CPU_MAX, "{used:?} of processor in {IDLE_WINDOW:?}");
    assert!(resident_bytes <= RESIDENT_BYTES_MAX, "{resident_bytes} bytes resident");
}

/// The time that a person waits, process start included; up to three rounds, for the machine may be busy.
fn adding_a_port_is_quick(workers: usize) {
    let rig = Rig::start(&Plan::new(workers, 2));
    let mut medians = Vec::new();
    for round in 0..3 {
        let guests: Vec<_> = (0..21).map(|index| Pod::new(2 + 21 * round + index, false)).collect();
        let mut times: Vec<_> = guests
            .iter()
            .map(|guest| {
                let arguments = guest.add_arguments();
                let start = Instant::now();
                rig.succeed(&arguments);
                start.elapsed()
            })
            .collect();
        times.sort_unstable();
        let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
        eprintln!("flyover port add with {workers} workers: median {median:?}, longest {longest:?}");
        if median <= ADD_MAX {
            return;
        }
        medians.push(median);
    }
    panic!("adding a port took {medians:?} in the median of each round");
}

fn main() -> ExitCode {
    let mut tests = vec![Test::new(
        "a_hundred_idle_ports_cost_next_to_nothing",
        a_hundred_idle_ports_cost_next_to_nothing,
    )];
    tests.extend(Test::with_one_and_two_workers("adding_a_port_is_quick", adding_a_port_is_quick));
    run_root_tests(1, tests)
}
