//! The lab's table, and the ways into a lab that is kept.

use super::checks::Outcome;
use super::cluster::Cluster;
use crate::output::Table;
use std::fmt::Write as _;

/// What passed, with throughput and round-trip time.
pub(super) fn table(outcomes: &[Outcome]) -> String {
    let titles = ["COMMUNICATION", "FROM", "TO", "ADDRESS", "RESULT", ">Gbit/s", ">RTT p50", ">RTT p99"];
    let mut table = Table::new(&titles);
    for outcome in outcomes {
        let mut row = vec![
            outcome.kind.title().to_owned(),
            outcome.from.clone(),
            outcome.to.clone(),
            outcome.address.to_string(),
            if outcome.passed { "passed" } else { "FAILED" }.to_owned(),
        ];
        match &outcome.figures {
            Some(figures) => {
                row.push(format!("{:.2}", figures.bits_per_second * 1e-9));
                row.extend([figures.rtt_p50_ns, figures.rtt_p99_ns].map(microseconds));
            }
            None => row.extend([String::new(), String::new(), String::new()]),
        }
        table.row(row);
    }
    let mut text = table.render();
    for outcome in outcomes {
        if let Some(error) = &outcome.error {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{} ({}): {error}", outcome.kind.title(), outcome.address);
        }
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "a time is shown with one decimal")]
fn microseconds(nanoseconds: u64) -> String {
    format!("{:.1} µs", nanoseconds as f64 / 1000.0)
}

/// How to enter each namespace and to talk to each daemon.
pub(super) fn entrances(cluster: &Cluster) -> String {
    let mut text = "\nThe lab goes on. To enter a namespace:\n".to_owned();
    for node in &cluster.nodes {
        for place in std::iter::once(&node.host).chain(&node.pods) {
            let [v4, v6] = place.addresses;
            let name = place.namespace.name();
            let _ = writeln!(text, "  sudo ip netns exec {name} bash   # {}: {v4}, {v6}", place.name);
        }
    }
    text.push_str("To talk to a daemon:\n");
    for node in &cluster.nodes {
        let _ = writeln!(text, "  sudo flyover --socket {} status", node.socket().display());
    }
    text.push_str("To remove it: sudo flyover lab --down\n");
    text
}

#[cfg(test)]
mod tests {
    use super::super::checks::{Figures, Kind};
    use super::*;

    #[test]
    fn the_table_shows_what_passed_and_why_not() {
        let passed = Outcome {
            kind: Kind::PodToPod,
            from: "pod1".to_owned(),
            to: "pod2".to_owned(),
            address: "10.244.1.12".parse().unwrap(),
            passed: true,
            error: None,
            figures: Some(Figures {
                bits_per_second: 21.234e9,
                bytes: 1,
                rtt_p50_ns: 14_250,
                rtt_p99_ns: 40_000,
            }),
        };
        let failed = Outcome {
            kind: Kind::PodToHost,
            to: "node1".to_owned(),
            address: "fd00:10:244:1::1".parse().unwrap(),
            passed: false,
            error: Some("cannot connect".to_owned()),
            figures: None,
            ..passed.clone()
        };
        insta::assert_snapshot!(table(&[passed, failed]), @r"
        COMMUNICATION   FROM   TO      ADDRESS            RESULT   Gbit/s   RTT p50   RTT p99
        pod to pod      pod1   pod2    10.244.1.12        passed    21.23   14.2 µs   40.0 µs
        pod to host     pod1   node1   fd00:10:244:1::1   FAILED        -         -         -
        pod to host (fd00:10:244:1::1): cannot connect
        ");
    }
}
