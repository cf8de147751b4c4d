//! `flyover bench`: flyover against the kernel's bridge and routing (and Open vSwitch where it is installed) on
//! this machine.
//!
//! The machine is small and shared, so nothing absolute is claimed: every sample of ours is paired with one
//! of theirs taken right before or after it, and the ratios of the pairs are what counts. CPU time is that
//! of the whole machine ([`crate::host::CpuTimes`]); frames that the kernel drops in silence are shown by
//! its device counters. What is measured ([`subject`]) and what it is measured with ([`measure`]) know
//! nothing of each other.

mod leftovers;
mod measure;
mod report;
mod rig;
mod run;
mod statistics;
mod subject;

pub(crate) use leftovers::remove_leftovers;
pub(crate) use measure::Measure;

use crate::cli::{BenchArgs, BenchSubject};
use crate::host::{self, CpuTimes};
use crate::output::{Output, print};
use anyhow::Result;
use leftovers::Workspace;
use report::Report;
use rig::Rig;
use run::Plan;
use std::time::Duration;
use subject::Subject;

/// How long the idle machine is looked at.
const LOOK_AROUND: Duration = Duration::from_millis(400);

/// `flyover bench`.
pub(crate) fn run(subject: &BenchSubject, output: Output) -> Result<()> {
    host::require_root("flyover bench")?;
    host::install_interrupt()?;
    remove_leftovers()?;
    let (subject, arguments) = match subject {
        BenchSubject::Pods(arguments) => (Subject::Pods, arguments),
        BenchSubject::Nodes(arguments) => (Subject::Nodes, arguments),
    };
    let plan = plan(subject, arguments);
    let progress = |line: &str| eprintln!("{line}");
    progress(&format!(
        "flyover bench {}: {} measures, {} pairs of {} s, about {} s",
        subject.name(),
        plan.measures.len(),
        plan.pairs,
        arguments.seconds,
        plan.estimate().as_secs() + 3,
    ));

    let others_busy_share = others_busy_share()?;
    let workspace = Workspace::create()?;
    let mut rigs = plan
        .systems
        .iter()
        .map(|&system| {
            progress(&format!("building {} over {}", subject.name(), system.title()));
            Rig::build(subject, system, &workspace, arguments.workers)
        })
        .collect::<Result<Vec<_>>>()?;
    let results = run::run(plan, &mut rigs, progress)?;
    // What was built is removed before the report, which may end in a closed pipe.
    drop(rigs);
    drop(workspace);

    let report = Report::new(&results, others_busy_share);
    if output.json { output.print_json(&[report]) } else { print(&report.text()) }
}

fn plan(subject: Subject, arguments: &BenchArgs) -> Plan {
    let systems = subject.systems();
    let measures = if arguments.only.is_empty() { Measure::ALL.to_vec() } else { arguments.only.clone() };
    // Four minutes at most with the default length of a sample.
    let pairs = arguments.pairs.unwrap_or(if systems.len() > 2 { 6 } else { 8 });
    Plan {
        subject,
        systems,
        measures,
        duration: Duration::from_secs_f64(arguments.seconds),
        pairs,
        streams: arguments.streams,
    }
}

/// How busy the CPUs are with other things before anything is measured, 0 to 1.
fn others_busy_share() -> Result<f64> {
    let before = CpuTimes::now()?;
    std::thread::sleep(LOOK_AROUND);
    Ok(CpuTimes::now()?.since(before).busy_share())
}
