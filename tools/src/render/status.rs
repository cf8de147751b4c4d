//! One screen about the node.

use crate::output::{Hue, Output, paint};
use node::api::types::{Status, Worker};

/// Drop reasons on the screen; `stats drops` has all.
const DROPS_MAX: usize = 5;

/// The screen.
pub(crate) fn status(status: &Status, output: Output) -> String {
    let (hue, verdict) = match status {
        Status { degraded: true, .. } => (Hue::Bad, "degraded"),
        Status { ready: false, .. } => (Hue::Bad, "starting"),
        _ => (Hue::Good, "ready"),
    };
    let mut screen = Screen(String::new());
    screen.line("node", &format!("{}: {}", status.node, paint(output.color, hue, verdict)));
    let uptime = duration(status.uptime_seconds);
    screen.line(
        "daemon",
        &format!("flyover {}, pid {}, up {uptime}, {}", status.version, status.pid, status.engine),
    );
    screen.line("gateways", &status.gateways.join(", "));
    screen.lines("workers", &workers(&status.workers, output));
    screen.lines("ports", &ports(status, output));
    let fdb = &status.fdb;
    screen.line(
        "fdb",
        &format!(
            "{} learned of at most {}, {} static; {} moved, {} evicted, {} refused",
            fdb.learned, fdb.max, fdb.statics, fdb.moved, fdb.evicted, fdb.refused
        ),
    );
    screen.line("routes", &routes(status));
    screen.lines("drops", &drops(status));
    screen.lines("warnings", &status.warnings);
    screen.0
}

/// Lines with a word before the first of each group.
struct Screen(String);

impl Screen {
    fn line(&mut self, word: &str, text: &str) {
        let text = if text.is_empty() { "none" } else { text };
        self.0.push_str(&format!("{word:<9} {text}\n"));
    }

    fn lines(&mut self, word: &str, lines: &[String]) {
        if lines.is_empty() {
            self.line(word, "");
        }
        for (index, line) in lines.iter().enumerate() {
            self.line(if index == 0 { word } else { "" }, line);
        }
    }
}

fn workers(workers: &[Worker], output: Output) -> Vec<String> {
    let line = |worker: &Worker| {
        let stalled = if worker.stalled {
            format!(" {}", paint(output.color, Hue::Bad, "STALLED"))
        } else {
            String::new()
        };
        format!(
            "{}:{stalled} {} received = {} forwarded + {} consumed + {} dropped",
            worker.worker, worker.rx_packets, worker.forwarded, worker.consumed, worker.dropped
        )
    };
    workers.iter().map(line).collect()
}

fn ports(status: &Status, output: Output) -> Vec<String> {
    let mut lines = vec![format!("{} of {} up", status.ports.up, status.ports.total)];
    lines.extend(status.ports.not_up.iter().map(|port| {
        let state = paint(output.color, Hue::Bad, port.state.name());
        match &port.reason {
            Some(reason) => format!("{} is {state}: {reason}", port.ifname),
            None => format!("{} is {state}", port.ifname),
        }
    }));
    lines
}

fn routes(status: &Status) -> String {
    match &status.routing {
        None => "the kernel's: there is no [uplink]".to_owned(),
        Some(routing) => {
            let sources: Vec<String> =
                routing.sources.iter().map(|(source, count)| format!("{count} {source}")).collect();
            format!(
                "{} in use of {} ({}); {} neighbors; uplink {}",
                routing.active,
                routing.routes,
                sources.join(", "),
                routing.neighbors,
                routing.uplink
            )
        }
    }
}

fn drops(status: &Status) -> Vec<String> {
    let mut lines: Vec<String> = status
        .drops
        .iter()
        .take(DROPS_MAX)
        .map(|drop| format!("{} {}: {}", drop.packets, drop.reason, drop.help))
        .collect();
    if status.drops.len() > DROPS_MAX {
        lines.push(format!("and {} more reasons: flyover stats drops", status.drops.len() - DROPS_MAX));
    }
    lines
}

/// `1d 02:03:04`, without the days if there are none.
fn duration(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let clock = format!("{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    if days > 0 { format!("{days}d {clock}") } else { clock }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_screen_tells_what_is_wrong() {
        let value = serde_json::json!({
            "version": "0.1.0", "node": "node-1", "pid": 77, "uptime_seconds": 93_784, "ready": true,
            "degraded": true, "engine": "io_uring", "gateways": ["10.244.1.1/24", "fd00::1/64"],
            "workers": [{
                "worker": 0, "stalled": false, "rx_packets": 10, "forwarded": 7, "consumed": 1, "dropped": 2,
                "copies": 0, "copies_dropped": 0, "originated": 0, "handed_off": 0, "bursts": 3, "sleeps": 1
            }],
            "ports": {"total": 2, "up": 1, "not_up": [
                {"ifname": "pod2", "state": "gone", "reason": "its namespace was removed"}
            ]},
            "fdb": {"learned": 2, "statics": 3, "max": 8192, "moved": 0, "evicted": 0, "refused": 0},
            "routing": {"uplink": "eth0", "routes": 6, "active": 5, "sources": {"api": 2, "kernel": 4},
                        "neighbors": 3, "requests_lost": 0},
            "drops": [{"reason": "same_port", "stage": "bridge", "packets": 2, "help": "It came from there."}],
            "warnings": []
        });
        let output = Output { json: false, pretty: false, statistics: false, color: false };
        insta::assert_snapshot!(status(&serde_json::from_value(value).unwrap(), output), @"
        node      node-1: degraded
        daemon    flyover 0.1.0, pid 77, up 1d 02:03:04, io_uring
        gateways  10.244.1.1/24, fd00::1/64
        workers   0: 10 received = 7 forwarded + 1 consumed + 2 dropped
        ports     1 of 2 up
                  pod2 is gone: its namespace was removed
        fdb       2 learned of at most 8192, 3 static; 0 moved, 0 evicted, 0 refused
        routes    5 in use of 6 (2 api, 4 kernel); 3 neighbors; uplink eth0
        drops     2 same_port: It came from there.
        warnings  none
        ");
    }

    #[test]
    fn durations_are_read_at_a_glance() {
        assert_eq!(duration(59), "00:00:59");
        assert_eq!(duration(86_400 + 3_661), "1d 01:01:01");
    }
}
