//! The cluster: nodes with their pods, as namespaces with daemons and traffic agents in them.

use super::PREFIX;
use crate::host::{self, Daemon, Lifetime, Namespace};
use crate::traffic::Agent;
use anyhow::{Context, Result, bail};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Pods of a node.
const PODS: u8 = 2;
/// The host part of the first pod's addresses; the gateway has 1.
const FIRST_POD: u8 = 11;
/// How long addresses may stay tentative (RFC 4862 §5.4).
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A place that has addresses: a pod, or a node's host.
#[derive(Debug)]
pub(super) struct Place {
    /// What it is called in tables, such as `pod1`.
    pub name: String,
    /// Its own IPv4 and IPv6 address.
    pub addresses: [IpAddr; 2],
    /// Sends.
    pub client: Agent,
    /// Receives.
    pub server: Agent,
    /// Its network namespace; it goes last.
    pub namespace: Namespace,
}

/// A node: its host and its pods.
#[derive(Debug)]
pub(super) struct Node {
    // The order is that of removal: the daemon goes before its ports' namespaces and its own.
    daemon: Daemon,
    /// The pods.
    pub pods: Vec<Place>,
    /// The node's own namespace, with the host port.
    pub host: Place,
}

/// All nodes. Dropping it removes everything.
#[derive(Debug)]
pub(super) struct Cluster {
    /// The nodes, from `node1` on.
    pub nodes: Vec<Node>,
}

impl Cluster {
    /// Builds `nodes` nodes with files below `directory`. Daemons of a lab that is to be kept go on when this
    /// process ends.
    pub(super) fn build(nodes: u8, directory: &Path, keep: bool, progress: impl Fn(&str)) -> Result<Self> {
        let lifetime = if keep { Lifetime::Outlive } else { Lifetime::Ours };
        let nodes = (1..=nodes)
            .map(|number| {
                progress(&format!("building node{number}: a daemon and {PODS} pods"));
                Node::build(number, directory, lifetime)
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Self { nodes })
    }

    /// Leaves all behind when this goes.
    pub(super) fn keep(&mut self) {
        for node in &mut self.nodes {
            node.daemon.keep();
            node.host.namespace.keep();
            node.pods.iter_mut().for_each(|pod| pod.namespace.keep());
        }
    }
}

impl Node {
    fn build(number: u8, directory: &Path, lifetime: Lifetime) -> Result<Self> {
        let name = format!("node{number}");
        let host = Namespace::create(&format!("{PREFIX}{name}"))?;
        let pods = (0..PODS)
            .map(|index| Namespace::create(&format!("{PREFIX}{name}-pod{}", index + 1)))
            .collect::<Result<Vec<_>>>()?;
        let settings = settings(number, &pods)?;
        let daemon = Daemon::start(host.name(), &directory.join(&name), &settings, lifetime)?;
        wait_for_addresses(host.name())?;
        for pod in &pods {
            wait_for_addresses(pod.name())?;
        }
        let pods = pods.into_iter().zip(0..).map(|(namespace, index)| {
            Place::new(format!("pod{}", index + 1), namespace, addresses(number, FIRST_POD + index))
        });
        Ok(Self {
            pods: pods.collect::<Result<_>>()?,
            daemon,
            host: Place::new(name, host, addresses(number, 1))?,
        })
    }

    /// Why the daemon is gone, if it is.
    pub(super) fn obituary(&mut self) -> Option<String> {
        self.daemon.has_ended().then(|| self.daemon.last_words())
    }

    /// The daemon's control socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.daemon.socket()
    }
}

impl Place {
    fn new(name: String, namespace: Namespace, addresses: [IpAddr; 2]) -> Result<Self> {
        let client = Agent::start(namespace.name())?;
        let server = Agent::start(namespace.name())?;
        Ok(Self { name, addresses, client, server, namespace })
    }
}

/// Addresses of host `last` of node `number`: in 10.244.N.0/24 and fd00:10:244:N::/64.
fn addresses(number: u8, last: u8) -> [IpAddr; 2] {
    [
        Ipv4Addr::new(10, 244, number, last).into(),
        Ipv6Addr::new(0xfd00, 0x10, 0x244, u16::from(number), 0, 0, 0, u16::from(last)).into(),
    ]
}

/// The daemon's configuration without its socket and state directory.
fn settings(number: u8, pods: &[Namespace]) -> Result<String> {
    let mut text = format!(
        "[node]\nname = \"node{number}\"\ncluster_cidrs = [\"10.244.0.0/16\", \"fd00:10:244::/48\"]\n\
         pod_cidrs = [\"10.244.{number}.0/24\", \"fd00:10:244:{number}::/64\"]\n"
    );
    for (pod, index) in pods.iter().zip(0..) {
        let [v4, v6] = addresses(number, FIRST_POD + index);
        write!(
            text,
            "\n[[port]]\nname = \"pod{}\"\ntype = \"tap\"\nnetns = {:?}\ndevice = \"eth0\"\n\
             addresses = [\"{v4}/24\", \"{v6}/64\"]\n",
            index + 1,
            pod.path(),
        )?;
    }
    Ok(text)
}

/// Waits until no address in `namespace` is tentative: until then nothing can listen on it.
fn wait_for_addresses(namespace: &str) -> Result<()> {
    let deadline = Instant::now() + ADDRESS_TIMEOUT;
    loop {
        host::check_interrupt()?;
        let links = host::ip_json(namespace, &["-6", "address", "show", "tentative"])?;
        let tentative = links
            .as_array()
            .into_iter()
            .flatten()
            .find(|link| link["addr_info"].as_array().is_some_and(|addresses| !addresses.is_empty()));
        let Some(link) = tentative else { return Ok(()) };
        if Instant::now() > deadline {
            bail!("an address of {} in {namespace} stays tentative", link["ifname"]);
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// The agents of two places at once, the client of the one and the server of the other; of one place, both
/// of its own.
pub(super) fn agents(
    cluster: &mut Cluster,
    from: (usize, Option<usize>),
    to: (usize, Option<usize>),
) -> Result<(&mut Agent, &mut Agent)> {
    let (mut client, mut server) = (None, None);
    for (number, node) in cluster.nodes.iter_mut().enumerate() {
        let pods = node.pods.iter_mut().enumerate().map(|(index, pod)| (Some(index), pod));
        for (index, place) in pods.chain(std::iter::once((None, &mut node.host))) {
            if (number, index) == from {
                client = Some(&mut place.client);
            }
            if (number, index) == to {
                server = Some(&mut place.server);
            }
        }
    }
    client.zip(server).context("the lab has no such place")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_have_networks_of_their_own() {
        assert_eq!(addresses(2, 1)[0].to_string(), "10.244.2.1");
        assert_eq!(addresses(2, 11)[1].to_string(), "fd00:10:244:2::b");
    }
}
