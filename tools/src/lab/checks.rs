//! What has to work, and trying it: bulk TCP with every byte compared, then a ping-pong.

use super::agents::Agents;
use crate::cluster::{Cluster, Location, Shape, uplink};
use crate::host;
use crate::traffic::handle;
use anyhow::Result;
use serde::Serialize;
use std::net::IpAddr;
use std::time::Duration;

/// How long bytes are sent.
const BULK: Duration = Duration::from_millis(400);
/// How long ping-pong is played.
const PING_PONG: Duration = Duration::from_millis(200);

/// A kind of communication.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// Over the pod's own loopback.
    WithinPod,
    /// Between two pods of a node.
    PodToPod,
    /// From a pod to one of another node, by the cloud's router.
    PodToRemotePod,
    /// From a pod to the host outside, by the cloud's router.
    PodToOutside,
    /// From a pod to its node: to the gateway's address and to the node's own.
    PodToHost,
    /// From a node to its pod.
    HostToPod,
    /// From a node to a pod of another.
    HostToRemotePod,
}

impl Kind {
    /// For tables.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::WithinPod => "within a pod",
            Self::PodToPod => "pods of one node",
            Self::PodToRemotePod => "pods of two nodes",
            Self::PodToOutside => "pod to outside",
            Self::PodToHost => "pod to host",
            Self::HostToPod => "host to pod",
            Self::HostToRemotePod => "host to pod of another node",
        }
    }
}

/// One thing to try.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Check {
    kind: Kind,
    from: Location,
    to: Location,
    /// One of those that `to` has.
    address: IpAddr,
}

/// How it went.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(super) struct Outcome {
    /// What was tried.
    pub kind: Kind,
    /// Who called.
    pub from: String,
    /// Who answered.
    pub to: String,
    /// Where.
    pub address: IpAddr,
    /// Whether it worked.
    pub passed: bool,
    /// Why not, if not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Figures, if it worked.
    #[serde(flatten)]
    pub figures: Option<Figures>,
}

/// What a check measured.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub(super) struct Figures {
    /// Payload of one TCP stream.
    pub bits_per_second: f64,
    /// Bytes that were sent and compared.
    pub bytes: u64,
    /// Median round trip over TCP.
    pub rtt_p50_ns: u64,
    /// 99th percentile of the round trips.
    pub rtt_p99_ns: u64,
}

/// Everything to try, kind by kind; each in both families.
fn plan(shape: Shape) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut add = |kind, from, to, addresses: [IpAddr; 2]| {
        checks.extend(addresses.map(|address| Check { kind, from, to, address }));
    };
    for node in shape.node_numbers() {
        let host = Location::Node(node);
        let mut pods = shape.pods_of(node);
        let Some(first) = pods.next() else { continue };
        add(Kind::WithinPod, first, first, first.addresses());
        for pod in pods {
            add(Kind::PodToPod, first, pod, pod.addresses());
        }
        add(Kind::PodToHost, first, host, host.addresses());
        add(Kind::HostToPod, host, first, first.addresses());
        if shape.cloud {
            add(Kind::PodToHost, first, host, uplink(node));
            add(Kind::PodToOutside, first, Location::Outside, Location::Outside.addresses());
            for other in shape.node_numbers().filter(|other| *other != node) {
                for pod in shape.pods_of(other).take(1) {
                    add(Kind::PodToRemotePod, first, pod, pod.addresses());
                    add(Kind::HostToRemotePod, host, pod, pod.addresses());
                }
            }
        }
    }
    // Within a kind they stay node by node.
    checks.sort_by_key(|check| check.kind);
    checks
}

/// Tries everything; a failure is an outcome, Ctrl-C is an error.
pub(super) fn run(
    cluster: &mut Cluster,
    agents: &mut Agents,
    shape: Shape,
    progress: impl Fn(&str),
) -> Result<Vec<Outcome>> {
    let checks = plan(shape);
    let mut outcomes = Vec::new();
    for check in &checks {
        let result = perform(check, agents);
        host::check_interrupt()?;
        let outcome = outcome(check, cluster, result);
        progress(&format!("[{}/{}] {}", outcomes.len() + 1, checks.len(), outcome.sentence()));
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

fn perform(check: &Check, agents: &mut Agents) -> Result<Figures> {
    let (client, server) = agents.pair(check.from, check.to)?;
    let bulk = handle::bulk(client, server, check.address, (1, true), BULK)?.value;
    let times = handle::round_trips(client, server, check.address, PING_PONG)?.value;
    Ok(Figures {
        bits_per_second: bulk.bits_per_second(),
        bytes: bulk.bytes,
        rtt_p50_ns: times.p50_ns,
        rtt_p99_ns: times.p99_ns,
    })
}

fn outcome(check: &Check, cluster: &mut Cluster, result: Result<Figures>) -> Outcome {
    let mut error = result.as_ref().err().map(|error| format!("{error:#}"));
    if let Some(error) = &mut error
        && let Some(last_words) = cluster.obituary()
    {
        error.push_str(&format!("; a daemon ended: {last_words}"));
    }
    Outcome {
        kind: check.kind,
        from: check.from.to_string(),
        to: check.to.to_string(),
        address: check.address,
        passed: error.is_none(),
        error,
        figures: result.ok(),
    }
}

impl Outcome {
    fn sentence(&self) -> String {
        let verdict = match &self.error {
            None => "passed".to_owned(),
            Some(error) => format!("FAILED: {error}"),
        };
        format!("{}, {} to {} ({}): {verdict}", self.kind.title(), self.from, self.to, self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn kinds(shape: Shape) -> BTreeMap<Kind, usize> {
        let mut counts = BTreeMap::new();
        for check in plan(shape) {
            *counts.entry(check.kind).or_default() += 1;
        }
        counts
    }

    #[test]
    fn the_full_cluster_has_every_kind_from_both_nodes_in_both_families() {
        let counts = kinds(Shape { nodes: 2, pods: 2, cloud: true });
        let expected = [
            (Kind::WithinPod, 4),
            (Kind::PodToPod, 4),
            (Kind::PodToRemotePod, 4),
            (Kind::PodToOutside, 4),
            (Kind::PodToHost, 8),
            (Kind::HostToPod, 4),
            (Kind::HostToRemotePod, 4),
        ];
        assert_eq!(counts, expected.into());
    }

    #[test]
    fn a_node_alone_has_neither_others_nor_an_outside() {
        let counts = kinds(Shape { nodes: 1, pods: 2, cloud: false });
        let kinds: Vec<_> = counts.keys().copied().collect();
        assert_eq!(kinds, [Kind::WithinPod, Kind::PodToPod, Kind::PodToHost, Kind::HostToPod]);
        assert!(plan(Shape { nodes: 1, pods: 0, cloud: true }).is_empty());
    }

    #[test]
    fn each_check_is_made_in_both_families() {
        for [v4, v6] in plan(Shape { nodes: 2, pods: 3, cloud: true }).as_chunks::<2>().0 {
            assert_eq!((v4.kind, v4.from, v4.to), (v6.kind, v6.from, v6.to));
            assert!(v4.address.is_ipv4() && v6.address.is_ipv6());
        }
    }
}
