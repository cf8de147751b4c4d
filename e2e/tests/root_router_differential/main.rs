//! The same frames through flyover's data plane and through the kernel as a router: what each sends, answers and drops
//! is the same, but for [`ROUTER_DIFFERENCES`](e2e::router::ROUTER_DIFFERENCES).

mod neighbors;
mod simulated;

use std::process::ExitCode;

use e2e::router::{Comparison, KernelRouter, Step, steps};
use e2e::script::Random;
use e2e::{Test, run_root_tests};

use simulated::Simulated;

fn compare(linux: &mut KernelRouter, flyover: &mut Simulated, steps: &[Step], comparison: &mut Comparison) {
    for step in steps {
        let expected = linux.perform(step.ingress, &step.frame);
        let seen = flyover.perform(step.ingress, &step.frame);
        comparison.compare(step, &expected, &seen);
    }
}

fn every_kind_of_packet_meets_the_same_fate() {
    let mut comparison = Comparison::default();
    let (mut linux, mut flyover) = (KernelRouter::new(true), Simulated::new(true));
    compare(&mut linux, &mut flyover, &steps::scripted(), &mut comparison);
    let (mut linux, mut flyover) = (KernelRouter::new(false), Simulated::new(false));
    compare(&mut linux, &mut flyover, &steps::without_default(), &mut comparison);
    neighbors::nobody_answers(&mut comparison);
    neighbors::a_neighbor_answers(&mut comparison);
    comparison.assert_only_allowed("every kind of packet");
    comparison.assert_all_seen();
}

fn packets_at_random_meet_the_same_fate() {
    const SCRIPTS: u64 = 6;
    const STEPS: usize = 4000;
    // A failure names its seed, which E2E_SEED repeats.
    let first: u64 = std::env::var("E2E_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let (mut linux, mut flyover) = (KernelRouter::new(true), Simulated::new(true));
    for seed in first..first + SCRIPTS {
        let mut comparison = Comparison::default();
        let steps = steps::random(&mut Random::new(seed), STEPS);
        compare(&mut linux, &mut flyover, &steps, &mut comparison);
        comparison.assert_only_allowed(&format!("E2E_SEED={seed}"));
    }
}

fn main() -> ExitCode {
    let tests: [(&str, fn()); 2] = [
        ("every_kind_of_packet_meets_the_same_fate", every_kind_of_packet_meets_the_same_fate),
        ("packets_at_random_meet_the_same_fate", packets_at_random_meet_the_same_fate),
    ];
    run_root_tests(2, tests.map(|(claim, body)| Test::new(claim, body)).into())
}
