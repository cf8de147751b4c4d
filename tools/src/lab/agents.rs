//! The traffic programs of a lab: one that calls and one that answers in every place that has a say.

use crate::cluster::{Cluster, Location};
use crate::traffic::Agent;
use anyhow::{Context, Result};
use std::collections::BTreeMap;

/// Two agents a place. They end with this.
#[derive(Debug)]
pub(super) struct Agents {
    clients: BTreeMap<Location, Agent>,
    servers: BTreeMap<Location, Agent>,
}

impl Agents {
    /// Starts them everywhere but in the router. To be called from the main thread (see [`Agent::start`]).
    pub(super) fn start(cluster: &Cluster) -> Result<Self> {
        let mut agents = Self { clients: BTreeMap::new(), servers: BTreeMap::new() };
        for (location, namespace) in cluster.places().filter(|(location, _)| *location != Location::Router) {
            agents.clients.insert(location, Agent::start(namespace.name())?);
            agents.servers.insert(location, Agent::start(namespace.name())?);
        }
        Ok(agents)
    }

    /// Who calls at `from` and who answers at `to`, which may be the same place.
    pub(super) fn pair(&mut self, from: Location, to: Location) -> Result<(&mut Agent, &mut Agent)> {
        let client = self.clients.get_mut(&from);
        let server = self.servers.get_mut(&to);
        client.zip(server).with_context(|| format!("nobody to try {from} to {to}"))
    }
}
