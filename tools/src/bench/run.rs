//! Takes all samples, alternating between the systems.

use super::measure::{Measure, Sample};
use super::rig::{DeviceDrops, Rig};
use super::statistics::order;
use super::subject::Subject;
use crate::cluster::System;
use crate::host;
use anyhow::{Context, Result};
use std::time::Duration;

/// What to do.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// Which way is measured.
    pub subject: Subject,
    /// What is compared: ours first.
    pub systems: Vec<System>,
    /// What is measured.
    pub measures: Vec<Measure>,
    /// Length of a sample.
    pub duration: Duration,
    /// Samples of each measure and system.
    pub pairs: u32,
    /// Streams of [`Measure::TcpMany`].
    pub streams: u16,
}

/// All samples of one measure: `samples[system][pair]`.
#[derive(Debug, Clone)]
pub(super) struct Series {
    /// What was measured.
    pub measure: Measure,
    /// By system, then by pair.
    pub samples: Vec<Vec<Sample>>,
}

/// Everything that was measured.
#[derive(Debug, Clone)]
pub(super) struct Results {
    /// What was to be done.
    pub plan: Plan,
    /// A series a measure.
    pub series: Vec<Series>,
    /// What the kernel's devices dropped meanwhile, by system.
    pub drops: Vec<DeviceDrops>,
}

impl Plan {
    /// How long it should take, without what building needs.
    pub(super) fn estimate(&self) -> Duration {
        let samples = self.systems.len() * self.measures.len() * usize::try_from(self.pairs).unwrap_or(1);
        // A datagram receiver waits for silence, agents talk.
        let sample = self.duration + Duration::from_millis(60);
        sample.saturating_mul(u32::try_from(samples).unwrap_or(u32::MAX))
    }

    /// A first, uncounted sample: addresses are resolved, congestion windows and caches warm.
    fn warm_up(&self) -> Duration {
        (self.duration / 4).min(Duration::from_millis(250))
    }
}

/// Measures; `progress` is told a line after each pair.
pub(super) fn run(plan: Plan, rigs: &mut [Rig], mut progress: impl FnMut(&str)) -> Result<Results> {
    let before = drops(rigs)?;
    let mut series = Vec::new();
    let total = plan.measures.len() * usize::try_from(plan.pairs).unwrap_or(usize::MAX);
    for &measure in &plan.measures {
        for rig in rigs.iter_mut() {
            sample(rig, measure, plan.warm_up(), plan.streams)?;
        }
        let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); rigs.len()];
        for round in 0..plan.pairs {
            for index in order(rigs.len(), round) {
                samples[index].push(sample(&mut rigs[index], measure, plan.duration, plan.streams)?);
            }
            let done = series.len() * usize::try_from(plan.pairs).unwrap_or(0) + samples[0].len();
            progress(&format!("[{done:>3}/{total}] {}", describe(&plan, measure, &samples)));
        }
        series.push(Series { measure, samples });
    }
    let drops = drops(rigs)?.into_iter().zip(before).map(|(after, before)| after.since(before)).collect();
    Ok(Results { plan, series, drops })
}

fn drops(rigs: &[Rig]) -> Result<Vec<DeviceDrops>> {
    rigs.iter().map(Rig::device_drops).collect()
}

fn sample(rig: &mut Rig, measure: Measure, duration: Duration, streams: u16) -> Result<Sample> {
    host::check_interrupt()?;
    let address = rig.address;
    let result = measure.sample(&mut rig.client, &mut rig.server, address, duration, streams);
    result.with_context(|| {
        let what = format!("{} over {}", measure.title(streams), rig.system.title());
        match rig.obituary() {
            Some(last_words) => format!("{what}: a program on the way ended ({last_words})"),
            None => what,
        }
    })
}

fn describe(plan: &Plan, measure: Measure, samples: &[Vec<Sample>]) -> String {
    let unit = measure.figures()[0].unit();
    let values = plan.systems.iter().zip(samples).filter_map(|(system, samples)| {
        let value = samples.last()?.values.first()?;
        Some(format!("{} {}", system.title(), super::report::number(*value)))
    });
    format!("{:<20} {} {unit}", measure.title(plan.streams), values.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_plans_take_less_than_four_minutes() {
        let two = Plan {
            subject: Subject::Pods,
            systems: vec![System::Flyover, System::KernelBridge],
            measures: Measure::ALL.to_vec(),
            duration: Duration::from_secs(2),
            pairs: 8,
            streams: 8,
        };
        let mut three = Plan { pairs: 6, ..two.clone() };
        three.systems.push(System::OpenVSwitch);
        for plan in [two, three] {
            assert!(plan.estimate() < Duration::from_secs(200), "{:?}", plan.estimate());
        }
    }
}
