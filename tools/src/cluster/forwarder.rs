//! What forwards on a node.

use super::ovs::{self, OpenVSwitch};
use super::places::{Location, pod_networks, with_prefix_length};
use super::{Plan, cloud, kernel};
use crate::host::{Daemon, Namespace};
use anyhow::Result;
use serde::Serialize;
use std::fmt::Write as _;
use std::path::PathBuf;

/// A way to forward.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum System {
    /// A daemon of this binary.
    Flyover,
    /// A bridge with a veth pair a pod, and the kernel's routing.
    KernelBridge,
    /// The userspace datapath with TAP ports and userspace TSO; it knows no uplink here.
    OpenVSwitch,
}

impl System {
    /// Its name in tables.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Flyover => "flyover",
            Self::KernelBridge => "kernel bridge",
            Self::OpenVSwitch => "Open vSwitch",
        }
    }

    /// Its name in file names.
    pub(crate) fn slug(self) -> &'static str {
        match self {
            Self::Flyover => "flyover",
            Self::KernelBridge => "bridge",
            Self::OpenVSwitch => "ovs",
        }
    }

    /// True if everything that it needs is installed.
    pub(crate) fn is_installed(self) -> bool {
        self != Self::OpenVSwitch || ovs::is_installed()
    }
}

/// One at work. Dropping it ends it.
#[derive(Debug)]
pub(super) enum Forwarder {
    Flyover(Daemon),
    Kernel,
    OpenVSwitch(OpenVSwitch),
}

impl Forwarder {
    /// Joins `pods` in node `number`, whose own namespace is `node`.
    pub(super) fn start(plan: &Plan<'_>, number: u8, node: &Namespace, pods: &[&Namespace]) -> Result<Self> {
        let directory = plan.directory.join(Location::Node(number).to_string());
        match plan.system {
            System::Flyover => {
                // What comes through has come through the daemon.
                cloud::forward(node, false)?;
                let settings = settings(plan, number, pods)?;
                Daemon::start(node.name(), &directory, &settings, plan.lifetime).map(Self::Flyover)
            }
            System::KernelBridge => {
                kernel::build(number, node, pods)?;
                Ok(Self::Kernel)
            }
            System::OpenVSwitch => {
                let switch = OpenVSwitch::start(node, pods, &directory)?;
                for (pod, index) in pods.iter().zip(1..) {
                    kernel::configure_pod(pod, number, index)?;
                }
                Ok(Self::OpenVSwitch(switch))
            }
        }
    }

    /// The daemon's control socket.
    pub(super) fn socket(&self) -> Option<PathBuf> {
        match self {
            Self::Flyover(daemon) => Some(daemon.socket()),
            Self::Kernel | Self::OpenVSwitch(_) => None,
        }
    }

    /// Why it is gone, if it should be there and is not.
    pub(super) fn obituary(&mut self) -> Option<String> {
        match self {
            Self::Flyover(daemon) => daemon.has_ended().then(|| daemon.last_words()),
            Self::OpenVSwitch(switch) => switch.has_ended().then(|| "ovs-vswitchd ended".to_owned()),
            Self::Kernel => None,
        }
    }

    /// Leaves a daemon running when this goes.
    pub(super) fn keep(&mut self) {
        if let Self::Flyover(daemon) = self {
            daemon.keep();
        }
    }
}

/// A daemon's configuration without its socket and state directory.
fn settings(plan: &Plan<'_>, number: u8, pods: &[&Namespace]) -> Result<String> {
    let mut text = format!(
        "[node]\nname = \"node{number}\"\ncluster_cidrs = [\"10.244.0.0/16\", \"fd00:10:244::/48\"]\n\
         pod_cidrs = {:?}\n\n[workers]\ncount = {}\n",
        pod_networks(number),
        plan.workers,
    );
    if plan.shape.cloud {
        write!(text, "\n[uplink]\ndevice = {:?}\n", cloud::UPLINK)?;
    }
    for (pod, index) in pods.iter().zip(1..) {
        write!(
            text,
            "\n[[port]]\nname = \"pod{index}\"\ntype = \"tap\"\nnetns = {:?}\ndevice = {:?}\naddresses = {:?}\n",
            pod.path(),
            kernel::POD_DEVICE,
            Location::Pod(number, index).addresses().map(with_prefix_length),
        )?;
    }
    Ok(text)
}
