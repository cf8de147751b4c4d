//! Routes and neighbors as `ip route` and `ip neigh` print them.

use crate::output::{Hue, Output, Table, paint};
use node::api::types::{ExplainStep, Neighbor, NextHop, Route, RouteAnswer};
use std::fmt::Display;

/// One line a route, and one for each of several next hops.
pub(crate) fn routes(routes: &[Route], output: Output) -> String {
    routes.iter().map(|route| one_route(route, output)).collect()
}

fn one_route(route: &Route, output: Output) -> String {
    let mut line = Line::default();
    line.word(route.kind.as_ref());
    line.word(Some(paint(output.color, Hue::Address, &route.dst)));
    line.pair("via", route.gateway);
    line.pair("dev", route.dev.as_ref().map(|dev| paint(output.color, Hue::Name, dev)));
    line.pair("proto", Some(&route.protocol));
    line.pair("scope", route.scope.as_ref());
    line.pair("src", route.prefsrc);
    line.pair("metric", route.metric);
    for flag in &route.flags {
        line.word(Some(paint(output.color, Hue::Bad, flag)));
    }
    // Ours: that another source's route wins, or why it leads nowhere.
    if !route.active && route.reason.is_none() {
        line.word(Some("inactive"));
    }
    let mut text = line.0;
    if let Some(reason) = route.reason.as_ref().filter(|_| output.statistics) {
        text.push_str(&format!(" ({reason})"));
    }
    text.push('\n');
    for hop in &route.nexthops {
        text.push_str(&next_hop(hop, output));
    }
    text
}

fn next_hop(hop: &NextHop, output: Output) -> String {
    let mut line = Line::default();
    line.pair("nexthop via", Some(hop.gateway));
    line.pair("dev", hop.dev.as_ref().map(|dev| paint(output.color, Hue::Name, dev)));
    line.pair("weight", Some(hop.weight));
    for flag in &hop.flags {
        line.word(Some(paint(output.color, Hue::Bad, flag)));
    }
    format!("\t{}\n", line.0)
}

/// As `ip route get`, on one line, with the next hop's MAC and the route's source.
pub(crate) fn route_answer(answer: &RouteAnswer, output: Output) -> String {
    let mut line = Line::default();
    line.word(answer.kind.as_ref());
    line.word(Some(answer.dst));
    line.pair("via", answer.gateway);
    line.pair("dev", answer.dev.as_ref().map(|dev| paint(output.color, Hue::Name, dev)));
    line.pair("src", answer.prefsrc);
    line.pair("lladdr", answer.lladdr.map(|mac| paint(output.color, Hue::Address, &mac.to_string())));
    line.pair("port", answer.port.as_ref().filter(|port| answer.dev.as_ref() != Some(port)));
    line.pair("source", answer.source.as_ref());
    line.0 + "\n"
}

/// One line a neighbor: `192.168.0.1 dev eth0 lladdr 02:00:00:00:00:01 REACHABLE`.
pub(crate) fn neighbors(neighbors: &[Neighbor], output: Output) -> String {
    let line = |neighbor: &Neighbor| {
        let mut line = Line::default();
        line.word(Some(neighbor.dst));
        line.pair("dev", Some(paint(output.color, Hue::Name, &neighbor.dev)));
        line.pair("lladdr", neighbor.lladdr.map(|mac| paint(output.color, Hue::Address, &mac.to_string())));
        line.pair("port", neighbor.port.as_ref().filter(|_| output.statistics));
        for state in &neighbor.state {
            line.word(Some(state));
        }
        line.0 + "\n"
    };
    neighbors.iter().map(line).collect()
}

/// The decisions about a packet.
pub(crate) fn explanation(steps: &[ExplainStep]) -> String {
    let mut table = Table::new(&["STAGE", "DECISION", "REASON"]);
    for step in steps {
        table.row([step.stage.clone(), step.decision.clone(), step.reason.clone()]);
    }
    table.render()
}

/// Words with spaces between them.
#[derive(Default)]
struct Line(String);

impl Line {
    fn word(&mut self, word: Option<impl Display>) {
        if let Some(word) = word {
            if !self.0.is_empty() {
                self.0.push(' ');
            }
            self.0.push_str(&word.to_string());
        }
    }

    fn pair(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.word(Some(format!("{name} {value}")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Output = Output { json: false, pretty: false, statistics: false, color: false };
    const STATISTICS: Output = Output { statistics: true, ..PLAIN };

    fn example() -> Vec<Route> {
        serde_json::from_value(serde_json::json!([
            {"dst": "default", "gateway": "192.168.0.1", "dev": "eth0", "protocol": "dhcp", "metric": 100,
             "flags": [], "source": "kernel", "active": true},
            {"dst": "10.9.0.0/16", "protocol": "api", "metric": 7, "flags": [], "source": "api", "active": true,
             "nexthops": [{"gateway": "192.168.0.3", "dev": "eth0", "weight": 1, "flags": []},
                          {"gateway": "192.168.9.4", "weight": 3, "flags": ["dead"]}]},
            {"type": "blackhole", "dst": "10.7.0.0/16", "protocol": "api", "flags": [], "source": "api",
             "active": true},
            {"dst": "10.244.2.0/24", "gateway": "192.168.0.30", "dev": "eth0", "protocol": "bird", "flags": [],
             "source": "kernel", "active": false},
            {"dst": "10.8.0.0/16", "gateway": "10.99.0.1", "protocol": "static", "flags": ["dead"],
             "source": "config", "active": false, "reason": "the gateway 10.99.0.1 is on no known network"},
            {"dst": "192.168.0.0/24", "dev": "eth0", "protocol": "kernel", "scope": "link",
             "prefsrc": "192.168.0.11", "flags": [], "source": "connected", "active": true}
        ]))
        .unwrap()
    }

    #[test]
    fn lines_are_those_of_ip_route() {
        insta::assert_snapshot!(routes(&example(), PLAIN), @r"
        default via 192.168.0.1 dev eth0 proto dhcp metric 100
        10.9.0.0/16 proto api metric 7
        	nexthop via 192.168.0.3 dev eth0 weight 1
        	nexthop via 192.168.9.4 weight 3 dead
        blackhole 10.7.0.0/16 proto api
        10.244.2.0/24 via 192.168.0.30 dev eth0 proto bird inactive
        10.8.0.0/16 via 10.99.0.1 proto static dead
        192.168.0.0/24 dev eth0 proto kernel scope link src 192.168.0.11
        ");
        let line = "dead (the gateway 10.99.0.1 is on no known network)\n";
        assert!(routes(&example(), STATISTICS).contains(line));
    }

    #[test]
    fn an_answer_says_where_a_packet_goes_and_who_said_so() {
        let answers: Vec<RouteAnswer> = serde_json::from_value(serde_json::json!([
            {"dst": "8.8.8.8", "gateway": "192.168.0.1", "dev": "eth0", "prefsrc": "192.168.0.11", "flags": [],
             "lladdr": "02:00:00:00:00:01", "port": "eth0", "route": "default", "source": "kernel"},
            {"dst": "10.244.1.9", "dev": "cni0", "prefsrc": "10.244.1.1", "flags": [],
             "lladdr": "02:00:00:00:00:09", "port": "p9", "source": "connected"},
            {"type": "local", "dst": "10.96.0.10", "dev": "cni0", "flags": [], "source": "connected"}
        ]))
        .unwrap();
        let lines: String = answers.iter().map(|answer| route_answer(answer, PLAIN)).collect();
        insta::assert_snapshot!(lines, @r"
        8.8.8.8 via 192.168.0.1 dev eth0 src 192.168.0.11 lladdr 02:00:00:00:00:01 source kernel
        10.244.1.9 dev cni0 src 10.244.1.1 lladdr 02:00:00:00:00:09 port p9 source connected
        local 10.96.0.10 dev cni0 source connected
        ");
    }

    #[test]
    fn neighbors_are_those_of_ip_neigh() {
        let shown: Vec<Neighbor> = serde_json::from_value(serde_json::json!([
            {"dst": "192.168.0.1", "dev": "eth0", "lladdr": "02:00:00:00:00:01", "state": ["REACHABLE"],
             "port": "eth0"},
            {"dst": "10.244.1.77", "dev": "cni0", "state": ["FAILED"], "port": "p9"}
        ]))
        .unwrap();
        insta::assert_snapshot!(neighbors(&shown, PLAIN), @r"
        192.168.0.1 dev eth0 lladdr 02:00:00:00:00:01 REACHABLE
        10.244.1.77 dev cni0 FAILED
        ");
        assert!(neighbors(&shown, STATISTICS).contains("dev cni0 port p9 FAILED"));
    }

    #[test]
    fn decisions_stand_below_one_another() {
        let step = |stage: &str, decision: &str, reason: &str| ExplainStep {
            stage: stage.to_owned(),
            decision: decision.to_owned(),
            reason: reason.to_owned(),
        };
        let steps = [step("ingress", "take", "port p10 is up"), step("neighbor", "wait", "who has it?")];
        insta::assert_snapshot!(explanation(&steps), @r"
        STAGE      DECISION   REASON
        ingress    take       port p10 is up
        neighbor   wait       who has it?
        ");
    }
}
