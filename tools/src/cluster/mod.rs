//! A cluster in network namespaces on one machine, for lab and bench alike.
//!
//! Each node is a namespace of its own, so that the machine's network is untouched; each pod is one, and so are
//! the cloud's router and a host outside ([`cloud`]). What forwards on the nodes is exchangeable ([`System`],
//! [`forwarder`]): pods, addresses and cloud are the same over flyover and over the kernel. [`places`] tells who
//! is where, under which name and address.

mod cloud;
mod forwarder;
mod kernel;
mod ovs;
mod places;

pub(crate) use forwarder::System;
pub(crate) use places::{Location, Shape, uplink};

use crate::host::{Lifetime, Namespace};
use anyhow::Result;
use forwarder::Forwarder;
use std::path::{Path, PathBuf};

/// What to build.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan<'a> {
    /// What forwards on the nodes.
    pub system: System,
    /// How many there are of what.
    pub shape: Shape,
    /// What the names of the namespaces begin with.
    pub prefix: &'a str,
    /// Where files are made, in a folder a node.
    pub directory: &'a Path,
    /// Data-plane threads of a daemon.
    pub workers: u16,
    /// Whether daemons go on when this process ends.
    pub lifetime: Lifetime,
}

/// A cluster that runs. Dropping it removes everything but the files.
#[derive(Debug)]
pub(crate) struct Cluster {
    // The order is that of removal: a daemon goes before the namespaces that it has devices in.
    forwarders: Vec<Forwarder>,
    places: Vec<(Location, Namespace)>,
}

impl Cluster {
    /// Builds it; `progress` is told a line a node.
    ///
    /// # Errors
    /// When anything cannot be made; what was made before is removed.
    pub(crate) fn build(plan: &Plan<'_>, progress: impl Fn(&str)) -> Result<Self> {
        let shape = plan.shape;
        let mut cluster = Self { forwarders: Vec::new(), places: Vec::new() };
        for location in shape.locations() {
            let namespace = Namespace::create(&format!("{}{location}", plan.prefix))?;
            cluster.places.push((location, namespace));
        }
        if shape.cloud {
            cloud::wire(&cluster, shape.nodes)?;
        }
        for node in shape.node_numbers() {
            progress(&format!("building node{node}: {} and {} pods", plan.system.title(), shape.pods));
            let pods: Vec<_> = shape.pods_of(node).filter_map(|pod| cluster.namespace(pod)).collect();
            cluster.forwarders.push(Forwarder::start(plan, node, cluster.at(Location::Node(node))?, &pods)?);
        }
        for namespace in cluster.namespaces() {
            namespace.wait_for_addresses()?;
        }
        Ok(cluster)
    }

    /// All of it, in the order in which it was made.
    pub(crate) fn places(&self) -> impl Iterator<Item = (Location, &Namespace)> {
        self.places.iter().map(|(location, namespace)| (*location, namespace))
    }

    /// All namespaces.
    pub(crate) fn namespaces(&self) -> impl Iterator<Item = &Namespace> {
        self.places().map(|(_, namespace)| namespace)
    }

    fn namespace(&self, wanted: Location) -> Option<&Namespace> {
        self.places().find_map(|(location, namespace)| (location == wanted).then_some(namespace))
    }

    /// The namespace of `location`.
    ///
    /// # Errors
    /// When the cluster has no such place.
    pub(crate) fn at(&self, location: Location) -> Result<&Namespace> {
        self.namespace(location).ok_or_else(|| anyhow::anyhow!("the cluster has no {location}"))
    }

    /// The control sockets of its daemons, if it has daemons.
    pub(crate) fn sockets(&self) -> Vec<PathBuf> {
        self.forwarders.iter().filter_map(Forwarder::socket).collect()
    }

    /// Why a program that forwards is gone, if one is.
    pub(crate) fn obituary(&mut self) -> Option<String> {
        self.forwarders.iter_mut().find_map(Forwarder::obituary)
    }

    /// Leaves all behind when this goes.
    pub(crate) fn keep(&mut self) {
        self.forwarders.iter_mut().for_each(Forwarder::keep);
        self.places.iter_mut().for_each(|(_, namespace)| namespace.keep());
    }
}
