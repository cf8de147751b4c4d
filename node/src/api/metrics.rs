//! `/metrics` in Prometheus' text format 0.0.4.

use std::fmt::Write;

use super::types::{Stats, Status};

/// The page.
pub(super) fn page(status: &Status, stats: &Stats) -> String {
    let mut page = Page(String::new());
    page.family("build_info", "gauge", "Version of the daemon.");
    page.sample("build_info", &[("version", &status.version), ("engine", &status.engine)], 1);
    page.family("ready", "gauge", "1 once every configured port exists and the workers run.");
    page.sample("ready", &[], u64::from(status.ready));
    page.family("degraded", "gauge", "1 if a worker is stalled or a port that should be up is not.");
    page.sample("degraded", &[], u64::from(status.degraded));
    page.family("uptime_seconds", "gauge", "Since the daemon's start.");
    page.sample("uptime_seconds", &[], status.uptime_seconds);
    page.workers(stats);
    page.family("drops_total", "counter", "Frames dropped, by reason.");
    for drops in &stats.drops {
        page.sample("drops_total", &[("stage", &drops.stage), ("reason", &drops.reason)], drops.packets);
    }
    page.ports(status, stats);
    page.routing(status);
    page.family("fdb_entries", "gauge", "Entries of the forwarding database.");
    for (kind, count) in [("learned", status.fdb.learned), ("static", status.fdb.statics)] {
        page.sample("fdb_entries", &[("kind", kind)], count as u64);
    }
    page.family("fdb_events_total", "counter", "Addresses that moved, were evicted or were refused.");
    let events =
        [("moved", status.fdb.moved), ("evicted", status.fdb.evicted), ("refused", status.fdb.refused)];
    for (event, count) in events {
        page.sample("fdb_events_total", &[("event", event)], count);
    }
    page.0
}

struct Page(String);

impl Page {
    // Writing to a string does not fail.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP flyover_{name} {help}\n# TYPE flyover_{name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        let _ = write!(self.0, "flyover_{name}");
        for (position, (label, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let before = if position == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{before}{label}=\"{text}\"");
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    fn routing(&mut self, status: &Status) {
        let Some(routing) = &status.routing else { return };
        self.family("routes", "gauge", "Routes known, by source.");
        for (source, count) in &routing.sources {
            self.sample("routes", &[("source", source)], *count as u64);
        }
        self.family("routes_active", "gauge", "Different destinations that packets are routed to.");
        self.sample("routes_active", &[], routing.active as u64);
        self.family("neighbors", "gauge", "Neighbors known.");
        self.sample("neighbors", &[], routing.neighbors as u64);
        self.family(
            "neighbor_requests_lost_total",
            "counter",
            "Requests of the workers about neighbors that were lost because there were too many.",
        );
        self.sample("neighbor_requests_lost_total", &[], routing.requests_lost);
    }

    fn workers(&mut self, stats: &Stats) {
        self.family("worker_stalled", "gauge", "1 if the worker made no progress for a second.");
        for worker in &stats.workers {
            let label = worker.worker.to_string();
            self.sample("worker_stalled", &[("worker", &label)], u64::from(worker.stalled));
        }
        self.family("worker_frames_total", "counter", "Frames; received = forwarded + consumed + dropped.");
        for worker in &stats.workers {
            let label = worker.worker.to_string();
            let counts = [
                ("received", worker.rx_packets),
                ("forwarded", worker.forwarded),
                ("consumed", worker.consumed),
                ("dropped", worker.dropped),
                ("copies", worker.copies),
                ("copies_dropped", worker.copies_dropped),
                ("originated", worker.originated),
                ("handed_off", worker.handed_off),
            ];
            for (kind, count) in counts {
                self.sample("worker_frames_total", &[("worker", &label), ("kind", kind)], count);
            }
        }
    }

    fn ports(&mut self, status: &Status, stats: &Stats) {
        self.family("port_up", "gauge", "1 if the port carries frames.");
        for port in &stats.ports {
            let is_up = !status.ports.not_up.iter().any(|other| other.ifname == port.ifname);
            self.sample("port_up", &[("port", &port.ifname)], u64::from(is_up));
        }
        let directions = ["rx", "tx"];
        let of = |port: &super::types::PortStats, direction: &str| match direction {
            "rx" => [port.rx_packets, port.rx_bytes, port.rx_dropped],
            _ => [port.tx_packets, port.tx_bytes, port.tx_dropped],
        };
        let families = [
            ("port_frames_total", "Frames; rx came from the port."),
            ("port_bytes_total", "Bytes, without frame check sequences."),
            (
                "port_dropped_total",
                "Frames from the port that went nowhere, or for it that could not be sent.",
            ),
        ];
        for (index, (name, help)) in families.into_iter().enumerate() {
            self.family(name, "counter", help);
            for port in &stats.ports {
                for direction in directions {
                    let value = of(port, direction)[index];
                    self.sample(name, &[("port", &port.ifname), ("direction", direction)], value);
                }
            }
        }
        self.family(
            "port_queue_dropped_total",
            "counter",
            "Frames that the kernel dropped before the switch.",
        );
        for port in &stats.ports {
            if let Some(dropped) = port.queue_dropped {
                self.sample("port_queue_dropped_total", &[("port", &port.ifname)], dropped);
            }
        }
    }
}
