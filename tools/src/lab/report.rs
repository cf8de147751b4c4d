//! The lab's table, and the ways into a lab that is kept.

use super::checks::Outcome;
use crate::cluster::{Cluster, Location, uplink};
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

/// What the figures are figures of.
pub(super) fn caution() -> String {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    format!("\nSender, receiver, nodes and router share this machine's CPUs ({cpus}); one TCP stream each.\n")
}

#[expect(clippy::cast_precision_loss, reason = "a time is shown with one decimal")]
fn microseconds(nanoseconds: u64) -> String {
    format!("{:.1} µs", nanoseconds as f64 / 1000.0)
}

/// How to enter each namespace and to talk to each daemon.
pub(super) fn entrances(cluster: &Cluster) -> String {
    let mut text = "\nThe lab goes on. To enter a namespace:\n".to_owned();
    for (location, namespace) in cluster.places() {
        let mut addresses = location.addresses().to_vec();
        if let Location::Node(node) = location {
            addresses.extend(uplink(node));
        }
        let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        let command = format!("sudo ip netns exec {} bash", namespace.name());
        let _ = writeln!(text, "  {command:<46} # {}", addresses.join(", "));
    }
    let sockets = cluster.sockets();
    if !sockets.is_empty() {
        text.push_str("To talk to a daemon:\n");
    }
    for socket in sockets {
        let _ = writeln!(text, "  sudo flyover --socket {} status", socket.display());
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
            from: "node1-pod1".to_owned(),
            to: "node1-pod2".to_owned(),
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
        COMMUNICATION      FROM         TO           ADDRESS            RESULT   Gbit/s   RTT p50   RTT p99
        pods of one node   node1-pod1   node1-pod2   10.244.1.12        passed    21.23   14.2 µs   40.0 µs
        pod to host        node1-pod1   node1        fd00:10:244:1::1   FAILED        -         -         -
        pod to host (fd00:10:244:1::1): cannot connect
        ");
    }
}
