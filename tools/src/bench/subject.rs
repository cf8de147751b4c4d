//! Which way is measured: from where to where, and over what.

use crate::cluster::{Location, Shape, System};

/// A way, as it is named on the command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Subject {
    /// From pod to pod of one node.
    Pods,
    /// From a pod of one node to a pod of another, routed three times.
    Nodes,
}

impl Subject {
    /// Its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pods => "pods",
            Self::Nodes => "nodes",
        }
    }

    /// What is passed on the way, and what shares the CPUs.
    pub(super) fn way(self) -> &'static str {
        match self {
            Self::Pods => {
                "pod - node - pod; sender, receiver and node share these CPUs, and all of it is in every figure"
            }
            Self::Nodes => {
                "pod - node - cloud router (the kernel's, the same for all) - node - pod; sender, receiver, both\n\
                 nodes and the router share these CPUs, and all of it is in every figure"
            }
        }
    }

    /// The least cluster that has the way.
    pub(super) fn shape(self) -> Shape {
        match self {
            Self::Pods => Shape { nodes: 1, pods: 2, cloud: false },
            Self::Nodes => Shape { nodes: 2, pods: 1, cloud: true },
        }
    }

    /// Who sends and who receives.
    pub(super) fn ends(self) -> (Location, Location) {
        match self {
            Self::Pods => (Location::Pod(1, 1), Location::Pod(1, 2)),
            Self::Nodes => (Location::Pod(1, 1), Location::Pod(2, 1)),
        }
    }

    /// What is compared on this machine: ours first.
    pub(super) fn systems(self) -> Vec<System> {
        let all: &[System] = match self {
            Self::Pods => &[System::Flyover, System::KernelBridge, System::OpenVSwitch],
            Self::Nodes => &[System::Flyover, System::KernelBridge],
        };
        all.iter().copied().filter(|system| system.is_installed()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_are_in_the_cluster_and_flyover_comes_first() {
        for subject in [Subject::Pods, Subject::Nodes] {
            let shape = subject.shape();
            let pods: Vec<_> = shape.node_numbers().flat_map(|node| shape.pods_of(node)).collect();
            let (from, to) = subject.ends();
            assert!(from != to && pods.contains(&from) && pods.contains(&to), "{subject:?}");
            assert_eq!(subject.systems()[..2], [System::Flyover, System::KernelBridge]);
        }
    }
}
