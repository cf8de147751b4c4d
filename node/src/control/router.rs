//! The router at work: what the workers ask for, what the kernel tells, what time brings.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use dataplane::Routing;
use ipnet::IpNet;
use packet::PortId;

use super::port_table::Admitted;
use super::{Control, Notice, Refused, StartError};
use crate::api::types::Origin;
use crate::config::{PortConfig, PortType, UplinkConfig};
use crate::devices::{Followed, Guard};
use crate::identity;
use crate::kernel::KernelChange;
use crate::ports::lifecycle::Condition;
use crate::router::{Outgoing, Outlet, Router, RouterSettings};

/// Punts that are taken at once, before something else has its turn.
const PUNTS_A_ROUND: usize = 256;
/// Changes of the kernel's that are taken at once, before workers that look for a neighbor have their turn: some
/// milliseconds' worth of routes.
const CHANGES_A_ROUND: usize = 256;
/// Ticks between two looks whether the kernel's stack still leaves our packets alone.
const GUARD_TICKS: u64 = 20;

impl Control {
    /// With `[uplink]`, makes its port and the router. The device may come later.
    pub(super) fn open_uplink(&mut self, down: &[String], seed: u64) -> Result<(), StartError> {
        let Some(UplinkConfig { device, .. }) = self.config.uplink.clone() else { return Ok(()) };
        let failed = |refused: Refused| StartError::Port(refused.to_string());
        let bridge = self.number_of_bridge().map_err(failed)?;
        let port = PortConfig {
            name: device.clone(),
            port_type: PortType::Packet,
            device: Some(device.clone()),
            ..PortConfig::default()
        };
        match self.admit(port, Origin::Uplink, !down.contains(&device)).map_err(failed)? {
            Admitted::Working => {}
            Admitted::Waiting(error) => tracing::warn!("uplink {device}: {error}; it is tried again"),
        }
        let uplink = self.port(&device).map_err(failed)?.id;
        let settings = RouterSettings::new(&self.config, bridge, uplink);
        self.router = settings.map(|settings| Router::new(settings, seed));
        self.configure_router();
        Ok(())
    }

    /// The number that stands for the bridge in routes: the host port's, or one without a port that the gateway's MAC
    /// is behind.
    fn number_of_bridge(&mut self) -> Result<PortId, Refused> {
        if let Some(host) = self.ports.values().find(|port| port.origin == Origin::Host) {
            return Ok(host.id);
        }
        let no_room = || Refused::Unavailable("there is no room for another port".to_owned());
        let number = self.numbers.take().ok_or_else(no_room)?;
        let mac = identity::gateway_mac(&self.config.gateways());
        self.fdb.add_static(mac, number).map_err(|error| Refused::Conflict(format!("gateway: {error}")))?;
        Ok(number)
    }

    /// Has the router told of the kernel's routes from now on.
    pub(super) fn follow_kernel(
        &mut self,
        notify: impl Fn(Notice) + Send + 'static,
    ) -> Result<(), StartError> {
        let Some(UplinkConfig { tables, protocols, .. }) = self.config.uplink.clone() else { return Ok(()) };
        let protocols = protocols.into_iter().map(|protocol| protocol.0).collect();
        let tell = Box::new(move |changes| notify(Notice::Kernel(changes)));
        let follower = self.devices.follow_kernel(Followed { tables, protocols }, tell);
        let failed = |error| StartError::Port(format!("the kernel's routes cannot be followed: {error}"));
        self.follower = Some(follower.map_err(failed)?);
        Ok(())
    }

    /// Puts `[[route]]` and `[host] cidrs` in force. They are published with the next snapshot.
    pub(super) fn configure_router(&mut self) {
        if let Some(router) = &mut self.router {
            router.set_configuration(&self.config.routes, &self.config.host.cidrs);
        }
    }

    /// The network of the daemon's namespace has changed.
    pub fn kernel_changed(&mut self, changes: Vec<KernelChange>) {
        let mut changes = changes.into_iter().peekable();
        while changes.peek().is_some() {
            self.apply_kernel_changes(changes.by_ref().take(CHANGES_A_ROUND).collect());
            self.take_punts();
        }
    }

    fn apply_kernel_changes(&mut self, changes: Vec<KernelChange>) {
        let Some(router) = &mut self.router else { return };
        let lost = router.routes().lost_defaults();
        let is_about_devices = changes.iter().any(|change| {
            use KernelChange::{Address, AddressGone, Link, LinkGone};
            matches!(change, Link(_) | LinkGone { .. } | Address { .. } | AddressGone { .. })
        });
        router.kernel_changed(changes);
        let now_lost = router.routes().lost_defaults();
        for prefix in now_lost.iter().filter(|prefix| !lost.contains(prefix)) {
            self.log("route", &format!("the default route {prefix} is gone"));
        }
        if is_about_devices {
            self.guard_uplink();
        }
        self.carry_out();
    }

    /// Sees to it that the kernel's stack leaves alone what the router forwards: while the uplink works.
    pub(super) fn guard_uplink(&mut self) {
        let Some(router) = &self.router else { return };
        let routes = router.routes();
        let settings = routes.settings();
        let mut ports = self.ports.values();
        let is_working =
            ports.any(|port| port.origin == Origin::Uplink && port.condition == Condition::Working);
        if !is_working || routes.uplink().is_none() {
            return;
        }
        let ours = settings.pod_cidrs.clone();
        let addresses = routes.mirror().addresses().map(|(_, address)| address);
        let mut except: Vec<IpAddr> =
            addresses.chain(settings.gateways.iter().copied()).map(|address| address.addr()).collect();
        except.retain(|address| ours.iter().any(|network: &IpNet| network.contains(address)));
        except.sort_unstable();
        except.dedup();
        let guard = Guard { device: settings.uplink_device.clone(), ours, except };
        match self.devices.guard_uplink(Some(&guard)) {
            Ok(true) => {
                tracing::info!("the kernel's stack leaves the pods' packets on {} alone", guard.device);
            }
            Ok(false) => {}
            Err(error) => self.log("guard", &format!("uplink {}: {error}", guard.device)),
        }
    }

    /// What is to be done about the router now and then.
    pub(super) fn tick_router(&mut self) {
        if self.router.is_some() && self.ticks.is_multiple_of(GUARD_TICKS) {
            self.guard_uplink();
        }
    }

    /// Gives the uplink back to the kernel. Devices stay.
    pub fn stop(&mut self) {
        self.follower = None;
        if self.router.is_some()
            && let Err(error) = self.devices.guard_uplink(None)
        {
            tracing::warn!("{error}");
        }
    }

    /// Takes some of the punts that wait, and does what they ask for.
    pub(super) fn take_punts(&mut self) {
        let now_ms = self.dataplane.now_ms();
        let mut taken = 0;
        while taken < PUNTS_A_ROUND
            && let Some(punt) = self.dataplane.events().punts().next()
        {
            if let Some(router) = &mut self.router {
                router.punt(punt, now_ms);
            }
            taken += 1;
        }
        self.has_punts = taken == PUNTS_A_ROUND;
        self.carry_out();
    }

    /// Does what is due: punts that were left over, and neighbors' timers. To be called when
    /// [`due_in`](Self::due_in) has passed, or before.
    pub fn run_timers(&mut self) {
        if self.due_in() != Some(Duration::ZERO) {
            return;
        }
        let now_ms = self.dataplane.now_ms();
        if let Some(router) = &mut self.router {
            router.neighbors_mut().tick(now_ms);
        }
        self.take_punts();
    }

    /// Time until [`run_timers`](Self::run_timers) has something to do; `None`: nothing is to come.
    #[must_use]
    pub fn due_in(&self) -> Option<Duration> {
        if self.has_punts {
            return Some(Duration::ZERO);
        }
        let deadline_ms = self.router.as_ref()?.neighbors().next_deadline_ms()?;
        Some(Duration::from_millis(deadline_ms.saturating_sub(self.dataplane.now_ms())))
    }

    /// Publishes what the router has new, and sends what it wants to be sent.
    fn carry_out(&mut self) {
        let Some(router) = &mut self.router else { return };
        let outgoing = router.neighbors_mut().take_outgoing();
        let conflicts = router.neighbors_mut().take_conflicts();
        if router.has_changed() {
            self.publish();
        }
        for port in self.ports.values().filter(|port| port.is_up()) {
            let is_for = |outgoing: &&Outgoing| match outgoing.to {
                Outlet::Port(id) => id == port.id,
                Outlet::Bridge => port.is_on_bridge(),
                Outlet::Unbound => port.is_on_bridge() && !port.is_bound_to_addresses(),
            };
            let frames: Vec<_> = outgoing.iter().filter(is_for).map(|frame| frame.frame.clone()).collect();
            if !frames.is_empty() {
                self.send(port, frames);
            }
        }
        for conflict in conflicts {
            let claimer = self.name_of(conflict.port).unwrap_or_else(|| "?".to_owned());
            let address = conflict.address;
            self.log("conflict", &format!("port {claimer} claims {address}, which is the gateway's"));
        }
    }

    /// What workers are to route by.
    pub(super) fn renew_routing(&mut self) -> Option<Arc<Routing>> {
        let router = self.router.as_mut()?;
        let pods = self.ports.values().filter(|port| matches!(port.origin, Origin::Config | Origin::Api));
        router
            .set_pods(pods.flat_map(|port| port.config.hosts().map(|address| (address, port.mac, port.id))));
        Some(router.routing())
    }

    /// A port is gone, or its device is: so is whoever was behind it.
    pub(super) fn forget_neighbors_behind(&mut self, id: PortId) {
        if let Some(router) = &mut self.router {
            router.neighbors_mut().remove_port(id);
        }
    }
}
