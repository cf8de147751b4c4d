//! Counters in columns.

use crate::output::{Hue, Output, Table, paint};
use node::api::types::{Drops, PortStats, Worker};

/// Reasons for which frames were dropped; with `-s` also those that did not occur.
pub(crate) fn drops(drops: &[Drops], output: Output) -> String {
    let mut table = Table::new(&["REASON", "STAGE", ">PACKETS", "HELP"]);
    for drop in drops.iter().filter(|drop| drop.packets > 0 || output.statistics) {
        table.row([drop.reason.clone(), drop.stage.clone(), drop.packets.to_string(), drop.help.clone()]);
    }
    table.render()
}

/// What each worker did.
pub(crate) fn workers(workers: &[Worker], output: Output) -> String {
    let mut table = Table::new(&[
        ">WORKER",
        ">CPU",
        "STATE",
        ">RX-PACKETS",
        ">FORWARDED",
        ">CONSUMED",
        ">DROPPED",
        ">COPIES",
        ">COPIES-DROPPED",
        ">ORIGINATED",
        ">HANDED-OFF",
        ">BURSTS",
        ">SLEEPS",
    ]);
    for worker in workers {
        let (hue, state) = if worker.stalled { (Hue::Bad, "stalled") } else { (Hue::Good, "running") };
        let counters = [
            worker.rx_packets,
            worker.forwarded,
            worker.consumed,
            worker.dropped,
            worker.copies,
            worker.copies_dropped,
            worker.originated,
            worker.handed_off,
            worker.bursts,
            worker.sleeps,
        ];
        let cells = [
            worker.worker.to_string(),
            worker.cpu.map(|cpu| cpu.to_string()).unwrap_or_default(),
            paint(output.color, hue, state),
        ];
        table.row(cells.into_iter().chain(counters.map(|counter| counter.to_string())));
    }
    table.render()
}

/// What each port brought and took.
pub(crate) fn port_stats(ports: &[PortStats], output: Output) -> String {
    let mut table = Table::new(&[
        "PORT",
        ">RX-PACKETS",
        ">RX-BYTES",
        ">RX-DROPPED",
        ">TX-PACKETS",
        ">TX-BYTES",
        ">TX-DROPPED",
        ">QUEUE-DROPPED",
    ]);
    for port in ports {
        let counters = [
            port.rx_packets,
            port.rx_bytes,
            port.rx_dropped,
            port.tx_packets,
            port.tx_bytes,
            port.tx_dropped,
        ];
        let queue_dropped = port.queue_dropped.map(|count| count.to_string()).unwrap_or_default();
        let name = paint(output.color, Hue::Name, &port.ifname);
        let counters = counters.map(|counter| counter.to_string());
        table.row(std::iter::once(name).chain(counters).chain([queue_dropped]));
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Output = Output { json: false, pretty: false, statistics: false, color: false };

    #[test]
    fn only_drops_that_occurred_are_shown_unless_all_are_wanted() {
        let reasons: Vec<Drops> = serde_json::from_value(serde_json::json!([
            {"reason": "truncated", "stage": "receive", "packets": 0, "help": "Too short."},
            {"reason": "same_port", "stage": "bridge", "packets": 12, "help": "It came from there."}
        ]))
        .unwrap();
        insta::assert_snapshot!(drops(&reasons, PLAIN), @"
        REASON      STAGE    PACKETS   HELP
        same_port   bridge        12   It came from there.
        ");
        assert!(drops(&reasons, Output { statistics: true, ..PLAIN }).contains("truncated"));
    }

    #[test]
    fn workers_show_the_equation() {
        let worker = Worker {
            rx_packets: 10,
            forwarded: 7,
            consumed: 1,
            dropped: 2,
            stalled: true,
            ..Worker::default()
        };
        insta::assert_snapshot!(workers(&[worker], PLAIN), @"
        WORKER   CPU   STATE     RX-PACKETS   FORWARDED   CONSUMED   DROPPED   COPIES   COPIES-DROPPED   ORIGINATED   HANDED-OFF   BURSTS   SLEEPS
             0     -   stalled           10           7          1         2        0                0            0            0        0        0
        ");
    }

    #[test]
    fn a_port_without_a_kernel_queue_has_no_queue_drops() {
        let port = PortStats {
            ifname: "pod1".to_owned(),
            rx_packets: 1,
            rx_bytes: 2,
            rx_dropped: 3,
            tx_packets: 4,
            tx_bytes: 5,
            tx_dropped: 6,
            queue_dropped: None,
        };
        insta::assert_snapshot!(port_stats(&[port], PLAIN), @"
        PORT   RX-PACKETS   RX-BYTES   RX-DROPPED   TX-PACKETS   TX-BYTES   TX-DROPPED   QUEUE-DROPPED
        pod1            1          2            3            4          5            6               -
        ");
    }
}
