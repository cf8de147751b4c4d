//! What the workers report, and what is done about it: the clockwork around
//! [`lifecycle`](crate::ports::lifecycle).

use dataplane::Event;
use packet::PortId;
use port::PortFault;

use super::Control;
use crate::api::types::Origin;
use crate::config::PortType;
use crate::devices::{OpenError, Presence, drain};
use crate::ports::lifecycle::{Condition, Step};

/// Least time between two looks at one port because of news about links.
const LOOK_MS: u64 = 100;

impl Control {
    /// Takes all events that wait, and as many punts as are due in one round.
    pub fn take_events(&mut self) {
        while let Some(event) = self.dataplane.events().next() {
            match event {
                Event::PortFault { port, fault, .. } => self.fault(port, fault),
                Event::WorkerDied { worker } => {
                    tracing::error!("worker {worker} ended unexpectedly");
                    self.dead_worker = Some(worker);
                }
            }
        }
        let lost = self.dataplane.events().lost();
        if lost > self.events_lost {
            self.events_lost = lost;
            self.look_at_all_ports();
        }
        self.take_punts();
    }

    fn fault(&mut self, id: PortId, fault: PortFault) {
        let now_ms = self.dataplane.now_ms();
        let Some(port) = self.port_numbered(id) else { return };
        self.worsen(id, port.condition.after_fault(fault, now_ms));
    }

    /// The port is in this condition now.
    fn worsen(&mut self, id: PortId, condition: Condition) {
        let Some(port) = self.ports.values_mut().find(|port| port.id == id) else { return };
        if condition == port.condition {
            return;
        }
        let text = format!("port {}: {}", port.config.name, condition.reason().unwrap_or_default());
        let is_gone = matches!(condition, Condition::Gone { .. });
        port.condition = condition;
        self.log("fault", &text);
        self.publish();
        if is_gone {
            self.let_go(id);
        }
        self.forget_neighbors_behind(id);
        self.fdb.flush(Some(id));
    }

    /// Has the control side told of what happens to links near a port.
    pub(super) fn watch_links(&mut self, name: &str) {
        let Some(port) = self.ports.get_mut(name) else { return };
        port.watch = self.devices.watch(&port.config);
        if let Some(socket) = &port.watch
            && let Err(error) = self.links.add(socket, port.id)
        {
            tracing::warn!("port {name}: its link is not watched: {error}");
        }
    }

    /// Something has changed among the links near a port.
    pub fn link_changed(&mut self, id: PortId) {
        let now_ms = self.dataplane.now_ms();
        let Some(port) = self.ports.values_mut().find(|port| port.id == id) else { return };
        port.is_look_due = true;
        if now_ms.saturating_sub(port.looked_ms) >= LOOK_MS {
            self.look(id, now_ms);
        }
    }

    /// Looks at the device of the port with this name.
    pub(super) fn look_at(&mut self, name: &str) {
        if let Some(id) = self.ports.get(name).map(|port| port.id) {
            self.look(id, self.dataplane.now_ms());
        }
    }

    /// Looks at the device of a port that works or whose link is down, or that waits for somebody else's.
    fn look(&mut self, id: PortId, now_ms: u64) {
        let Some(port) = self.ports.values_mut().find(|port| port.id == id) else { return };
        port.is_look_due = false;
        port.looked_ms = now_ms;
        // First the socket, so that what comes after the look is heard.
        if let Some(socket) = &port.watch {
            drain(socket);
            self.links.arm(socket, id);
        }
        let (name, identity, is_watched) = (port.config.name.clone(), port.identity, port.watch.is_some());
        let presence = self.devices.presence(&port.config);
        if let Ok(Presence::There { identity: seen, mtu_bytes, .. }) = presence
            && seen == identity
            && mtu_bytes != port.mtu_bytes
        {
            port.mtu_bytes = mtu_bytes;
            self.publish();
        }
        let Some(port) = self.ports.get(&name) else { return };
        match (&port.condition, presence) {
            // A device that is somebody else's has come.
            (Condition::Gone { .. }, Ok(Presence::There { .. })) if is_watched => self.reopen(&name, now_ms),
            (Condition::Gone { .. } | Condition::Failed { .. }, _) => {}
            (Condition::LinkDown, Ok(_)) => self.look_after(&name, now_ms),
            (Condition::Working, Ok(Presence::There { identity: seen, up, .. })) if seen == identity => {
                if up {
                    // It may have been down in between.
                    self.restore_device(&name);
                } else {
                    self.fault(id, PortFault::LinkDown);
                }
            }
            (Condition::Working, Ok(_)) => self.fault(id, PortFault::Gone),
            (_, Err(error)) => self.log("look", &format!("port {name}: {error}")),
        }
    }

    /// Once a second: is every namespace still there, and the same?
    fn look_at_namespaces(&mut self, now_ms: u64) {
        let devices = &mut self.devices;
        let moved: Vec<PortId> = self
            .ports
            .values()
            .filter(|port| matches!(port.condition, Condition::Working | Condition::LinkDown))
            .filter(|port| devices.namespace(&port.config) != Some(port.namespace))
            .map(|port| port.id)
            .collect();
        for id in moved {
            self.worsen(id, Condition::gone(now_ms, "its namespace is gone".to_owned()));
        }
        let due: Vec<PortId> =
            self.ports.values().filter(|port| port.is_look_due).map(|port| port.id).collect();
        for id in due {
            self.look(id, now_ms);
        }
    }

    /// Events were lost: any port may have failed unseen.
    fn look_at_all_ports(&mut self) {
        let now_ms = self.dataplane.now_ms();
        let names: Vec<String> = self.ports.keys().cloned().collect();
        for name in names {
            if let Some(port) = self.ports.get(&name) {
                self.look(port.id, now_ms);
            }
        }
    }

    /// What is to be done now and then: to be called about twice a second. Ports that work cost nothing here.
    pub fn tick(&mut self) {
        self.take_events();
        let now_ms = self.dataplane.now_ms();
        self.fdb.age(now_ms);
        let stalled = self.watchdog.observe(self.started.elapsed(), self.dataplane.heartbeats());
        if stalled != self.stalled {
            for worker in stalled.iter().filter(|worker| !self.stalled.contains(worker)) {
                tracing::error!("worker {worker} is stalled: it made no progress for a second");
            }
            for worker in self.stalled.iter().filter(|worker| !stalled.contains(worker)) {
                tracing::info!("worker {worker} goes on");
            }
            self.stalled = stalled;
        }
        self.dataplane.poke();
        // A stalled worker would keep everybody waiting here.
        if !self.retiring.is_empty() && self.stalled.is_empty() {
            self.retire();
        }
        self.ticks += 1;
        if self.ticks.is_multiple_of(2) {
            self.look_at_namespaces(now_ms);
        }
        self.look_after_ports(now_ms);
        self.tick_router();
        self.update_readiness();
    }

    /// True if a port does not work, so that it is to be looked at once a second.
    #[must_use]
    pub fn has_troubled_ports(&self) -> bool {
        self.ports.values().any(|port| port.condition != Condition::Working)
    }

    fn look_after_ports(&mut self, now_ms: u64) {
        let troubled: Vec<String> = self
            .ports
            .iter()
            .filter(|(_, port)| port.condition != Condition::Working)
            .map(|(name, _)| name.clone())
            .collect();
        for name in troubled {
            self.look_after(&name, now_ms);
        }
    }

    fn look_after(&mut self, name: &str, now_ms: u64) {
        let Some(port) = self.ports.get(name) else { return };
        let (id, condition) = (port.id, port.condition.clone());
        let presence = if condition.needs_look() { self.devices.presence(&port.config).ok() } else { None };
        match condition.next(presence, port.identity, now_ms) {
            Step::Wait => {}
            Step::Lose => self.fault(id, PortFault::Gone),
            Step::Revive => {
                if self.dataplane.revive(id).is_ok() {
                    if let Some(port) = self.ports.get_mut(name) {
                        port.condition = Condition::Working;
                    }
                    self.publish();
                    self.log("revived", &format!("port {name}: its device is up again"));
                    self.restore_device(name);
                }
            }
            Step::Reopen => self.reopen(name, now_ms),
        }
    }

    /// Lets go of what is left of a port's device and opens it anew.
    fn reopen(&mut self, name: &str, now_ms: u64) {
        let Some(port) = self.ports.get(name) else { return };
        let (id, origin, condition) = (port.id, port.origin, port.condition.clone());
        if !self.let_go(id) {
            return;
        }
        match self.open_device(name) {
            Ok(()) => self.log("revived", &format!("port {name}: its device is there again")),
            Err(error) => self.consider_giving_up(name, origin, &condition, &error, now_ms),
        }
    }

    /// Gives a port's device what it lost while its link was down, and the carrier that the operator wants.
    pub(super) fn restore_device(&mut self, name: &str) {
        let Some(request) = self.ports.get(name).map(|port| self.request(port)) else { return };
        match self.devices.restore(&request) {
            Ok(restored) if restored.is_empty() => {}
            Ok(restored) => {
                let restored = restored.join(", ");
                self.log("restored", &format!("port {name}: its device was given {restored}"));
            }
            Err(error) => self.log("restore", &format!("port {name}: {error}")),
        }
    }

    fn consider_giving_up(
        &mut self,
        name: &str,
        origin: Origin,
        before: &Condition,
        error: &OpenError,
        now_ms: u64,
    ) {
        if before.after_refusal(error, origin, now_ms).is_some() {
            self.log("reopen", &format!("port {name}: {error}"));
            return;
        }
        self.drop_port(name);
        self.log("reaped", &format!("port {name} was removed: its namespace is gone ({error})"));
        if let Err(refused) = self.save() {
            self.notice(refused.to_string());
        }
    }

    pub(super) fn update_readiness(&mut self) {
        let is_there = |condition: &Condition| matches!(condition, Condition::Working | Condition::LinkDown);
        self.is_ready |= self.dead_worker.is_none()
            && self.ports.values().all(|port| {
                // Somebody else's device may come at any time: nobody is to wait for it.
                let is_waited_for =
                    port.origin == Origin::Config && port.config.port_type != PortType::Packet;
                !is_waited_for || is_there(&port.condition)
            });
    }

    /// Logs a line unless there were too many of its kind lately.
    pub(super) fn log(&mut self, kind: &'static str, text: &str) {
        match self.limit.permit(kind, self.dataplane.now_ms()) {
            Some(0) => tracing::warn!("{text}"),
            Some(suppressed) => tracing::warn!("{text} ({suppressed} lines of this kind were left out)"),
            None => {}
        }
    }
}
