//! The results as a table and as JSON.

use super::measure::{Better, Figure, Measure};
use super::rig::DeviceDrops;
use super::run::{Results, Series};
use super::statistics::{Summary, ratios};
use crate::cluster::System;
use crate::output::Table;
use serde::Serialize;

/// More stolen time than this, in percent of a sample, is told.
const STEAL_PERCENT_MAX: f64 = 1.0;
/// More CPU time used by other programs than this, in percent, is told.
const OTHERS_PERCENT_MAX: f64 = 5.0;

/// Everything, as `-j` prints it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// What was run.
    bench: &'static str,
    /// What is passed, and what shares the CPUs.
    way: &'static str,
    /// The running kernel's release.
    kernel: String,
    /// CPUs that this process may use.
    cpus: usize,
    /// Length of a sample.
    seconds: f64,
    /// Samples of each measure and system.
    pairs: u32,
    /// Largest part of a sample's CPU time that the hypervisor took, in percent.
    steal_percent_max: f64,
    /// How busy the CPUs were with other things before the first sample, in percent.
    others_busy_percent: f64,
    /// Every figure of every measure.
    figures: Vec<FigureReport>,
    /// What the kernel's devices dropped over all measures.
    drops: Vec<DropReport>,
}

#[derive(Debug, Serialize)]
struct FigureReport {
    measure: Measure,
    title: String,
    figure: Figure,
    unit: &'static str,
    better: Better,
    systems: Vec<SystemReport>,
}

#[derive(Debug, Serialize)]
struct SystemReport {
    system: System,
    #[serde(flatten)]
    summary: Option<Summary>,
    samples: Vec<f64>,
    /// flyover divided by this system, pair by pair; absent for flyover itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<Summary>,
}

#[derive(Debug, Serialize)]
struct DropReport {
    system: System,
    #[serde(flatten)]
    drops: DeviceDrops,
}

impl Report {
    /// Summarizes `results`; other things kept the CPUs busy for that part (0 to 1) of the time before.
    pub(super) fn new(results: &Results, others_busy_share: f64) -> Self {
        let plan = &results.plan;
        let figures = results.series.iter().flat_map(|series| {
            series.measure.figures().iter().enumerate().map(|(index, &figure)| FigureReport {
                measure: series.measure,
                title: series.measure.title(plan.streams),
                figure,
                unit: figure.unit(),
                better: figure.better(),
                systems: systems(&plan.systems, series, index, figure),
            })
        });
        let steal = results.series.iter().flat_map(|series| series.samples.iter().flatten());
        Self {
            bench: plan.subject.name(),
            way: plan.subject.way(),
            kernel: nix::sys::utsname::uname()
                .map(|name| name.release().to_string_lossy().into_owned())
                .unwrap_or_default(),
            cpus: std::thread::available_parallelism().map_or(1, Into::into),
            seconds: plan.duration.as_secs_f64(),
            pairs: plan.pairs,
            steal_percent_max: steal.map(|sample| 100.0 * sample.steal_share).fold(0.0, f64::max),
            others_busy_percent: 100.0 * others_busy_share,
            figures: figures.collect(),
            drops: plan
                .systems
                .iter()
                .zip(&results.drops)
                .map(|(&system, &drops)| DropReport { system, drops })
                .collect(),
        }
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut text = format!(
            "flyover bench {}: Linux {}, {} CPUs, {} pairs of {} s each\n{}\n\n",
            self.bench, self.kernel, self.cpus, self.pairs, self.seconds, self.way
        );
        text.push_str(&self.figure_table());
        text.push_str("\nratio: flyover divided by the other, pair by pair: median (smallest … largest)\n\n");
        text.push_str(&self.drop_table());
        text.push_str(&self.cautions());
        text
    }

    /// What speaks against believing the figures.
    fn cautions(&self) -> String {
        let mut text = String::new();
        if self.steal_percent_max > STEAL_PERCENT_MAX {
            text.push_str(&format!(
                "\nThe hypervisor took up to {:.1} % of the CPU time of a sample: take the figures with care.\n",
                self.steal_percent_max
            ));
        }
        if self.others_busy_percent > OTHERS_PERCENT_MAX {
            text.push_str(&format!(
                "\nOther programs used {:.0} % of the CPUs before the first sample: all figures are disturbed.\n",
                self.others_busy_percent
            ));
        }
        text
    }

    fn figure_table(&self) -> String {
        let mut titles = vec!["MEASURE".to_owned(), "UNIT".to_owned(), "BETTER".to_owned()];
        for DropReport { system, .. } in &self.drops {
            titles.push(format!(">{}", system.title().to_uppercase()));
            if *system != System::Flyover {
                titles.push("RATIO".to_owned());
            }
        }
        let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
        let mut table = Table::new(&titles);
        for figure in &self.figures {
            let mut row = vec![figure.title.clone(), figure.unit.to_owned(), figure.better.word().to_owned()];
            for system in &figure.systems {
                row.push(system.summary.map(|summary| number(summary.median)).unwrap_or_default());
                if system.system != System::Flyover {
                    row.push(system.ratio.map(ratio).unwrap_or_default());
                }
            }
            table.row(row);
        }
        table.render()
    }

    fn drop_table(&self) -> String {
        let mut table = Table::new(&["KERNEL DROPS", ">TX DROPPED", ">RX DROPPED", ">ERRORS"]);
        for DropReport { system, drops } in &self.drops {
            let counts = [drops.tx_dropped, drops.rx_dropped, drops.errors].map(|count| count.to_string());
            table.row(std::iter::once(system.title().to_owned()).chain(counts));
        }
        table.render()
    }
}

fn systems(systems: &[System], series: &Series, index: usize, figure: Figure) -> Vec<SystemReport> {
    let samples = |system: usize| -> Vec<f64> {
        series.samples[system].iter().filter_map(|sample| sample.values.get(index).copied()).collect()
    };
    let ours = samples(0);
    let report = |(position, &system): (usize, &System)| {
        let theirs = samples(position);
        let compared = position > 0 && figure.is_compared();
        SystemReport {
            system,
            summary: Summary::of(&theirs),
            ratio: if compared { Summary::of(&ratios(&ours, &theirs)) } else { None },
            samples: theirs,
        }
    };
    systems.iter().enumerate().map(report).collect()
}

/// Three or four digits, whatever the size.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn ratio(summary: Summary) -> String {
    format!("{:.2} ({:.2} … {:.2})", summary.median, summary.min, summary.max)
}

#[cfg(test)]
mod tests {
    use super::super::measure::Sample;
    use super::super::run::Plan;
    use super::super::subject::Subject;
    use super::*;
    use std::time::Duration;

    fn results() -> Results {
        let sample = |values: &[f64]| Sample { values: values.to_vec(), steal_share: 0.02 };
        let tcp = Series {
            measure: Measure::TcpOne,
            samples: vec![
                vec![sample(&[20.0, 0.1]), sample(&[22.0, 0.1])],
                vec![sample(&[10.0, 0.2]), sample(&[20.0, 0.2])],
            ],
        };
        let udp = Series {
            measure: Measure::Udp,
            samples: vec![vec![sample(&[0.4, 4.0, 12.5])], vec![sample(&[0.2, 5.0, 0.0])]],
        };
        Results {
            plan: Plan {
                subject: Subject::Pods,
                systems: vec![System::Flyover, System::KernelBridge],
                measures: vec![Measure::TcpOne, Measure::Udp],
                duration: Duration::from_secs(2),
                pairs: 2,
                streams: 8,
            },
            series: vec![tcp, udp],
            drops: vec![DeviceDrops { tx_dropped: 7, ..DeviceDrops::default() }, DeviceDrops::default()],
        }
    }

    #[test]
    fn the_table_shows_figures_ratios_and_drops() {
        let mut report = Report::new(&results(), 0.0);
        report.kernel = "6.1".to_owned();
        report.cpus = 2;
        insta::assert_snapshot!(report.text(), @r"
        flyover bench pods: Linux 6.1, 2 CPUs, 2 pairs of 2 s each
        pod - node - pod; sender, receiver and node share these CPUs, and all of it is in every figure

        MEASURE               UNIT         BETTER   FLYOVER   KERNEL BRIDGE   RATIO
        TCP, 1 stream         Gbit/s       higher      21.0            15.0   1.55 (1.10 … 2.00)
        TCP, 1 stream         CPU-s/Gbit   lower      0.100           0.200   0.50 (0.50 … 0.50)
        UDP, 64-byte frames   Mpkt/s       higher     0.400           0.200   2.00 (2.00 … 2.00)
        UDP, 64-byte frames   CPU-s/Mpkt   lower       4.00            5.00   0.80 (0.80 … 0.80)
        UDP, 64-byte frames   % lost       lower       12.5           0.000   -

        ratio: flyover divided by the other, pair by pair: median (smallest … largest)

        KERNEL DROPS    TX DROPPED   RX DROPPED   ERRORS
        flyover                  7            0        0
        kernel bridge            0            0        0

        The hypervisor took up to 2.0 % of the CPU time of a sample: take the figures with care.
        ");
    }

    #[test]
    fn json_has_samples_and_ratios() {
        let json = serde_json::to_value([Report::new(&results(), 0.5)]).unwrap();
        let throughput = &json[0]["figures"][0];
        assert_eq!(throughput["figure"], "throughput");
        assert_eq!(throughput["systems"][0]["median"], 21.0);
        assert_eq!(throughput["systems"][0].get("ratio"), None);
        assert_eq!(throughput["systems"][1]["ratio"]["max"], 2.0);
        assert_eq!(json[0]["drops"][0]["tx_dropped"], 7);
        assert_eq!(json[0]["others_busy_percent"], 50.0);
    }

    #[test]
    fn numbers_keep_three_or_four_digits() {
        assert_eq!([0.0456, 3.456, 21.27, 12345.6].map(number), ["0.046", "3.46", "21.3", "12346"]);
    }
}
