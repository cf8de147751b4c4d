//! What has to work, and trying it: bulk TCP with every byte compared, then a ping-pong.

use super::cluster::{Cluster, Place, agents};
use crate::host;
use crate::traffic::handle;
use anyhow::Result;
use serde::Serialize;
use std::net::IpAddr;
use std::time::Duration;

/// How long bytes are sent.
const BULK: Duration = Duration::from_millis(600);
/// How long ping-pong is played.
const PING_PONG: Duration = Duration::from_millis(300);

/// A kind of communication.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// Over the pod's own loopback.
    WithinPod,
    /// Between two pods of a node.
    PodToPod,
    /// From a pod to its node.
    PodToHost,
    /// From a node to its pod.
    HostToPod,
}

impl Kind {
    /// For tables.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::WithinPod => "within a pod",
            Self::PodToPod => "pod to pod",
            Self::PodToHost => "pod to host",
            Self::HostToPod => "host to pod",
        }
    }
}

/// A node, and one of its pods unless the host itself is meant.
type Location = (usize, Option<usize>);

/// One thing to try.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Check {
    kind: Kind,
    from: Location,
    to: Location,
    /// 0 is IPv4, 1 is IPv6.
    family: usize,
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

/// Everything to try on nodes that have so many pods each.
fn plan(pods: &[usize]) -> Vec<Check> {
    let mut checks = Vec::new();
    for (node, &pods) in pods.iter().enumerate() {
        let pod = |index| (node, Some(index));
        let host = (node, None);
        let mut add = |kind, from, to| {
            checks.extend([0, 1].map(|family| Check { kind, from, to, family }));
        };
        if pods > 0 {
            add(Kind::WithinPod, pod(0), pod(0));
        }
        for index in 1..pods {
            add(Kind::PodToPod, pod(0), pod(index));
        }
        if pods > 0 {
            add(Kind::PodToHost, pod(0), host);
            add(Kind::HostToPod, host, pod(0));
        }
    }
    checks
}

/// Tries everything; a failure is an outcome, Ctrl-C is an error.
pub(super) fn run(cluster: &mut Cluster, progress: impl Fn(&str)) -> Result<Vec<Outcome>> {
    let pods: Vec<usize> = cluster.nodes.iter().map(|node| node.pods.len()).collect();
    let checks = plan(&pods);
    let mut outcomes = Vec::new();
    for check in &checks {
        let result = perform(check, cluster);
        host::check_interrupt()?;
        let outcome = outcome(check, cluster, result);
        progress(&format!("[{}/{}] {}", outcomes.len() + 1, checks.len(), outcome.sentence()));
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

fn perform(check: &Check, cluster: &mut Cluster) -> Result<Figures> {
    let address = target(check, cluster);
    let (client, server) = agents(cluster, check.from, check.to)?;
    let bulk = handle::bulk(client, server, address, (1, true), BULK)?.value;
    let times = handle::round_trips(client, server, address, PING_PONG)?.value;
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
        && let Some(last_words) = cluster.nodes.iter_mut().find_map(super::cluster::Node::obituary)
    {
        error.push_str(&format!("; a daemon ended: {last_words}"));
    }
    Outcome {
        kind: check.kind,
        from: place(cluster, check.from).name.clone(),
        to: place(cluster, check.to).name.clone(),
        address: target(check, cluster),
        passed: error.is_none(),
        error,
        figures: result.ok(),
    }
}

fn place(cluster: &Cluster, (node, pod): Location) -> &Place {
    let node = &cluster.nodes[node];
    pod.map_or(&node.host, |pod| &node.pods[pod])
}

fn target(check: &Check, cluster: &Cluster) -> IpAddr {
    place(cluster, check.to).addresses[check.family]
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

    #[test]
    fn one_node_with_two_pods_has_four_kinds_in_both_families() {
        let checks = plan(&[2]);
        assert_eq!(checks.len(), 8);
        for kind in [Kind::WithinPod, Kind::PodToPod, Kind::PodToHost, Kind::HostToPod] {
            let families: Vec<_> =
                checks.iter().filter(|check| check.kind == kind).map(|check| check.family).collect();
            assert_eq!(families, [0, 1], "{kind:?}");
        }
    }

    #[test]
    fn a_pod_talks_to_itself_and_to_another() {
        let checks = plan(&[2]);
        assert_eq!((checks[0].from, checks[0].to), ((0, Some(0)), (0, Some(0))));
        assert_eq!((checks[2].from, checks[2].to), ((0, Some(0)), (0, Some(1))));
    }

    #[test]
    fn every_node_is_tried() {
        assert_eq!(plan(&[2, 2]).len(), 16);
        assert!(plan(&[0]).is_empty());
    }
}
