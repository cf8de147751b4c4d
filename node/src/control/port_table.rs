//! Ports come, change and go.

use std::net::IpAddr;
use std::sync::Arc;

use dataplane::QueueOwners;
use dataplane::counters::PortCounters;
use packet::{MacAddress, Offloads, PortId};
use switch::Binding;

use super::{Control, Port, Refused, no_such_port};
use crate::api::types;
use crate::api::types::{AdminState, Origin};
use crate::config::validate::{Finding, Severity};
use crate::config::{PortCheck, PortConfig, PortType};
use crate::devices::{DeviceRequest, OpenError};
use crate::identity;
use crate::ports::lifecycle::Condition;

/// What became of a port that was taken into the table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Admitted {
    /// Its device is open.
    Working,
    /// Its device could not be opened, and is tried again.
    Waiting(OpenError),
}

impl Control {
    /// Adds a port for the API: it is there, carries frames and is saved when this returns. A port on a device
    /// that is somebody else's may also wait for that device.
    ///
    /// # Errors
    /// Why not; nothing is left behind then.
    pub fn add_port(&mut self, port: PortConfig) -> Result<types::Port, Refused> {
        self.check_new(&port)?;
        let name = port.name.clone();
        if let Admitted::Waiting(error) = self.admit(port, Origin::Api, true)?
            // Somebody else's device may come later.
            && !matches!(error, OpenError::NoDevice(_))
        {
            self.drop_port(&name);
            let text = error.to_string();
            return Err(match error {
                OpenError::NoNamespace(_) => Refused::Invalid(format!("netns: {text}")),
                OpenError::InTheWay(_) => Refused::Conflict(format!("device: {text}")),
                _ => Refused::Failed(text),
            });
        }
        if let Err(refused) = self.save() {
            // Nothing that would not be back after a restart.
            self.remove_with_device(&name)?;
            return Err(refused);
        }
        tracing::info!("port {name} was added");
        self.describe(&name)
    }

    /// Removes a port of the API with its device.
    ///
    /// # Errors
    /// [`Refused::NotFound`]; [`Refused::Conflict`] for a port that the configuration file or the host
    /// port's section made; what the system says when the device cannot be removed (the port is gone all
    /// the same).
    pub fn delete_port(&mut self, name: &str) -> Result<(), Refused> {
        match self.port(name)?.origin {
            Origin::Api => {}
            Origin::Host => {
                return Err(Refused::Conflict(format!("port \"{name}\" is the host port: see [host]")));
            }
            Origin::Uplink => {
                return Err(Refused::Conflict(format!("port \"{name}\" is the uplink: see [uplink]")));
            }
            Origin::Config => {
                return Err(Refused::Conflict(format!(
                    "port \"{name}\" is in the configuration file: remove it there and reload"
                )));
            }
        }
        let result = self.remove_with_device(name);
        self.save()?;
        tracing::info!("port {name} was removed");
        result
    }

    /// Sets a port up or down. Its device loses the carrier while it is down, so that its pod knows.
    ///
    /// # Errors
    /// [`Refused::NotFound`], or that it could not be saved.
    pub fn set_port(&mut self, name: &str, state: AdminState) -> Result<types::Port, Refused> {
        let port = self.ports.get_mut(name).ok_or_else(|| no_such_port(name))?;
        port.wanted_up = state == AdminState::Up;
        let id = port.id;
        self.publish();
        self.restore_device(name);
        if state == AdminState::Down {
            // What was learned from it would draw frames to a port that takes none.
            self.fdb.flush(Some(id));
        }
        self.save()?;
        self.describe(name)
    }

    fn check_new(&self, port: &PortConfig) -> Result<(), Refused> {
        if !port.port_type.is_available() {
            let text = format!("a port of type {} is not available in this version", port.port_type.name());
            return Err(Refused::Invalid(text));
        }
        let mut check = PortCheck::new(&self.config);
        for present in self.ports.values().filter(|port| matches!(port.origin, Origin::Config | Origin::Api))
        {
            check.admit(&present.config, "");
        }
        let findings = check.admit(port, "");
        for Finding { key, message, .. } in &findings {
            tracing::debug!("new port \"{}\": {key}: {message}", port.name);
        }
        match findings.into_iter().max_by_key(|finding| finding.severity) {
            Some(Finding { key, message, severity: Severity::Mistake }) => {
                Err(Refused::Invalid(format!("{key}: {message}")))
            }
            Some(Finding { key, message, severity: Severity::Clash }) => {
                Err(Refused::Conflict(format!("{key}: {message}")))
            }
            _ => Ok(()),
        }
    }

    /// Takes a port into the table and opens its device. A device that cannot be opened leaves the port in
    /// the table, in a condition that is looked at again later.
    ///
    /// # Errors
    /// If the port cannot be in the table at all, or for a lack of rights.
    pub(super) fn admit(
        &mut self,
        config: PortConfig,
        origin: Origin,
        wanted_up: bool,
    ) -> Result<Admitted, Refused> {
        let name = config.name.clone();
        let Some(id) = self.numbers.take() else {
            return Err(Refused::Unavailable("there is no room for another port".to_owned()));
        };
        let mac = identity::port_mac(&self.node_name, &config);
        let port = Port {
            id,
            origin,
            mac,
            mtu_bytes: None,
            wanted_up,
            condition: Condition::Working,
            identity: 0,
            offloads: Offloads::NONE,
            queues: 0,
            owners: QueueOwners::All,
            binding: binding(&config, mac),
            counters: Arc::new(PortCounters::new(self.dataplane.workers())),
            namespace: 0,
            watch: None,
            looked_ms: 0,
            is_look_due: false,
            static_macs: Vec::new(),
            config,
        };
        if port.has_static_mac()
            && let Err(error) = self.fdb.add_static(mac, id)
        {
            self.numbers.give(id);
            return Err(Refused::Conflict(format!("mac: {error}")));
        }
        self.ports.insert(name.clone(), port);
        match self.open_device(&name) {
            Err(OpenError::NotPermitted(text)) => {
                self.drop_port(&name);
                Err(Refused::Failed(format!("port \"{name}\": {text}")))
            }
            Err(error) => Ok(Admitted::Waiting(error)),
            Ok(()) => Ok(Admitted::Working),
        }
    }

    /// Opens (or reopens) the device of a port in the table and gives its queues to the workers. The port's
    /// condition says afterwards how that went.
    pub(super) fn open_device(&mut self, name: &str) -> Result<(), OpenError> {
        let Some(request) = self.ports.get(name).map(|port| self.request(port)) else { return Ok(()) };
        let namespace = self.devices.namespace(&request.port).unwrap_or(0);
        let opened = self.devices.open(&request).and_then(|device| {
            for warning in &device.warnings {
                tracing::warn!("port {name}: {warning}");
            }
            self.hand_over(name, device)
        });
        let now_ms = self.dataplane.now_ms();
        let Some(port) = self.ports.get_mut(name) else { return Ok(()) };
        match &opened {
            Ok(()) => {
                port.condition = Condition::Working;
                port.namespace = namespace;
            }
            Err(error) => {
                // A port to be given up is dropped by whoever retries; here it only stays as it is.
                if let Some(condition) = port.condition.after_refusal(error, port.origin, now_ms) {
                    port.condition = condition;
                }
            }
        }
        // A device that is somebody else's is to be heard of when it comes.
        if matches!(opened, Ok(()) | Err(OpenError::NoDevice(_))) {
            self.watch_links(name);
        }
        self.publish();
        if opened.is_ok() {
            self.announce(name);
            self.guard_uplink();
        }
        if request.port.port_type == PortType::Packet && opened.is_ok() {
            // It is as its owner left it: perhaps down.
            self.look_at(name);
        }
        opened
    }

    pub(super) fn request(&self, port: &Port) -> DeviceRequest {
        DeviceRequest {
            port: port.config.clone(),
            mac: port.mac,
            mtu_bytes: self.config.node.mtu,
            workers: self.dataplane.workers(),
            queue_frames: self.config.bridge.tap_queue_frames,
            default_routes: default_routes(
                &self.config.node.pod_cidrs,
                &self.config.gateways(),
                &port.config,
            ),
            carrier: port.wanted_up,
            ours: (port.origin == Origin::Uplink).then(|| self.config.node.pod_cidrs.clone()),
        }
    }

    fn hand_over(&mut self, name: &str, device: crate::devices::OpenDevice) -> Result<(), OpenError> {
        let workers = self.dataplane.workers();
        let Some(port) = self.ports.get_mut(name) else { return Ok(()) };
        let single = device.queues.len() < workers;
        let first_worker = if single { port.id.index() % workers } else { 0 };
        port.queues = device.queues.len();
        port.owners = if single { QueueOwners::One(first_worker) } else { QueueOwners::All };
        port.offloads = device.offloads;
        port.identity = device.identity;
        if let Some(given) = device.given {
            port.mtu_bytes = Some(given.mtu_bytes);
            port.mac = port.config.mac.or(given.mac).unwrap_or(port.mac);
        }
        port.condition = Condition::Working;
        let id = port.id;
        if port.origin == Origin::Host {
            let port = port.config.clone();
            for complaint in self.devices.prepare_host(&port) {
                self.notice(complaint);
            }
        }
        // First the entry, so that the port's first frames find it.
        self.publish();
        self.dataplane
            .attach(id, device.queues, first_worker)
            .map_err(|error| OpenError::Failed(error.to_string()))
    }

    /// Forgets a port and removes its device.
    pub(super) fn remove_with_device(&mut self, name: &str) -> Result<(), Refused> {
        let Some(config) = self.ports.get(name).map(|port| port.config.clone()) else { return Ok(()) };
        self.drop_port(name);
        self.devices.remove(&config).map_err(Refused::Failed)
    }

    /// Forgets a port; its device stays.
    pub(super) fn drop_port(&mut self, name: &str) {
        if let Some(port) = self.ports.remove(name) {
            self.forget_neighbors_behind(port.id);
            self.retiring.push(port.id);
            self.retire();
        }
    }

    /// Frees the numbers of removed ports that every worker has forgotten.
    pub(super) fn retire(&mut self) {
        let generation = self.publish();
        let retiring = std::mem::take(&mut self.retiring);
        for id in retiring {
            let forgotten = self.dataplane.detach(id).and_then(|()| self.dataplane.wait_for(generation));
            self.fdb.remove_port(id);
            match forgotten {
                Ok(()) => self.numbers.give(id),
                // A stalled worker; the next tick tries again.
                Err(_) => self.retiring.push(id),
            }
        }
    }

    /// Lets go of a port's device, and with it of the namespace that the open device keeps alive; false if a
    /// worker does not answer.
    pub(super) fn let_go(&mut self, id: PortId) -> bool {
        if let Some(port) = self.ports.values_mut().find(|port| port.id == id) {
            port.watch = None;
        }
        self.dataplane.detach(id).is_ok()
    }

    /// Applies another configuration to a port that stays where it is.
    pub(super) fn change_port(&mut self, config: PortConfig, reopen: bool) {
        let name = config.name.clone();
        let mac = identity::port_mac(&self.node_name, &config);
        let Some(port) = self.ports.get_mut(&name) else { return };
        // The MAC of a device that is somebody else's is known from the device.
        let mac = if port.mtu_bytes.is_some() && config.mac.is_none() { port.mac } else { mac };
        let (id, had_static) = (port.id, port.has_static_mac());
        let old_mac = std::mem::replace(&mut port.mac, mac);
        port.binding = binding(&config, mac);
        port.config = config;
        let has_static = port.has_static_mac();
        if had_static && (!has_static || old_mac != mac) {
            self.fdb.remove(old_mac);
        }
        if has_static && let Err(error) = self.fdb.add_static(mac, id) {
            self.notice(format!("port \"{name}\": {error}"));
        }
        if !reopen {
            self.publish();
        } else if self.let_go(id)
            && let Err(error) = self.open_device(&name)
        {
            self.notice(format!("port \"{name}\": {error}"));
        }
    }
}

fn binding(config: &PortConfig, mac: MacAddress) -> Option<Arc<Binding>> {
    config.is_bound().then(|| Arc::new(Binding { mac, addresses: config.hosts().collect() }))
}

/// The gateways of a port's networks, the first of each family. A port in the daemon's own namespace gets no
/// default route: that one is the host's.
fn default_routes(networks: &[ipnet::IpNet], gateways: &[ipnet::IpNet], port: &PortConfig) -> Vec<IpAddr> {
    let mut routes: Vec<IpAddr> = Vec::new();
    if port.netns.is_none() {
        return routes;
    }
    for address in port.hosts() {
        let is_near = |gateway: &&ipnet::IpNet| {
            networks.iter().any(|network| network.contains(&gateway.addr()) && network.contains(&address))
        };
        if let Some(gateway) = gateways.iter().find(is_near).map(ipnet::IpNet::addr)
            && !routes.iter().any(|route| route.is_ipv4() == gateway.is_ipv4())
        {
            routes.push(gateway);
        }
    }
    routes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_s_default_routes_are_the_gateways_of_its_networks() {
        let nets =
            |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect::<Vec<ipnet::IpNet>>();
        let networks = nets(&["10.1.0.0/24", "10.2.0.0/24", "fd00::/64"]);
        let gateways = nets(&["10.1.0.1/24", "10.2.0.1/24", "fd00::1/64"]);
        let routes = |netns: Option<&str>, addresses: &[&str]| {
            let port = PortConfig {
                netns: netns.map(Into::into),
                addresses: nets(addresses),
                ..PortConfig::default()
            };
            default_routes(&networks, &gateways, &port).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(routes(Some("/n"), &["10.2.0.9/24", "fd00::9/64"]), ["10.2.0.1", "fd00::1"]);
        assert_eq!(routes(Some("/n"), &["10.1.0.9/24", "10.2.0.9/24"]), ["10.1.0.1"], "one of a family");
        assert_eq!(routes(Some("/n"), &["192.0.2.9/24"]), Vec::<String>::new());
        assert_eq!(routes(None, &["10.1.0.9/24"]), Vec::<String>::new(), "never the host's own route");
    }
}
