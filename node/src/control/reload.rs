//! A changed configuration file, while running.

use super::port_table::Admitted;
use super::start::fdb_limits;
use super::{Control, Port};
use crate::api::types::Origin;
use crate::config::validate::Severity;
use crate::config::{Config, Loaded, PortCheck, PortConfig};
use crate::ports::plan::{Change, plan};

impl Control {
    /// Puts another configuration in force, as far as that is possible while running. What needs a restart
    /// stays as it was and is named in the log and in the status.
    ///
    /// # Errors
    /// A sentence, if the configuration asks for what this version cannot do or takes what a port of the API
    /// has; nothing is changed then.
    pub fn reload(&mut self, loaded: Loaded) -> Result<(), String> {
        let Loaded { config: wanted, warnings } = loaded;
        let missing: Vec<String> = wanted.unavailable().into_iter().map(|(_, sentence)| sentence).collect();
        if !missing.is_empty() {
            return Err(missing.join("; "));
        }
        self.clashes(&wanted)?;
        self.notices.clear();
        for warning in warnings {
            self.notice(warning.to_string());
        }
        let (mut config, fixed) = merge(&self.config, wanted);
        for key in fixed {
            self.notice(format!("{key} has changed in the file and takes effect when flyover is restarted"));
        }
        if let Err(error) = self.fdb.set_limits(fdb_limits(&config), self.dataplane.now_ms()) {
            self.notice(format!("bridge.max_macs: {error}"));
            config.bridge.max_macs = self.config.bridge.max_macs;
        }
        let reopen_all = config.node.mtu != self.config.node.mtu
            || config.bridge.tap_queue_frames != self.config.bridge.tap_queue_frames;
        let present = self.ports.values().map(|port| (port.origin, &port.config));
        let changes = plan(present, &config.ports);
        self.config = config;
        self.configure_router();
        for change in changes {
            self.apply(change);
        }
        if reopen_all {
            // The uplink has its device's MTU, and no queue of ours.
            let ports: Vec<PortConfig> = self.bridge_ports().map(|port| port.config.clone()).collect();
            for port in ports {
                self.change_port(port, true);
            }
        }
        self.publish();
        self.save().map_err(|refused| refused.to_string())
    }

    /// Whether the file's ports get along with those of the API, of which the file cannot know.
    fn clashes(&self, wanted: &Config) -> Result<(), String> {
        let mut check = PortCheck::new(wanted);
        for port in &wanted.ports {
            check.admit(port, "");
        }
        let is_named = |port: &Port| wanted.ports.iter().any(|other| other.name == port.config.name);
        for port in self.ports.values().filter(|port| port.origin == Origin::Api && !is_named(port)) {
            let findings = check.admit(&port.config, "");
            if let Some(clash) = findings.into_iter().find(|finding| finding.severity == Severity::Clash) {
                let name = &port.config.name;
                return Err(format!(
                    "it clashes with port \"{name}\" of the API: {}: {}",
                    clash.key, clash.message
                ));
            }
        }
        Ok(())
    }

    fn apply(&mut self, change: Change) {
        tracing::info!("configuration: {}", describe(&change));
        match change {
            Change::Remove(name) => {
                if let Err(refused) = self.remove_with_device(&name) {
                    self.notice(format!("port \"{name}\": {refused}"));
                }
            }
            Change::Adopt(name) => {
                if let Some(port) = self.ports.get_mut(&name) {
                    port.origin = Origin::Config;
                }
            }
            Change::Rebind(port) => self.change_port(port, false),
            Change::Reopen(port) => self.change_port(port, true),
            Change::Add(port) => {
                let name = port.name.clone();
                match self.admit(port, Origin::Config, true) {
                    Ok(Admitted::Working) => {}
                    Ok(Admitted::Waiting(error)) => tracing::warn!("port {name}: {error}; it is tried again"),
                    Err(refused) => self.notice(format!("port \"{name}\": {refused}")),
                }
            }
        }
    }
}

fn describe(change: &Change) -> String {
    match change {
        Change::Remove(name) => format!("port {name} is removed"),
        Change::Adopt(name) => format!("port {name} now belongs to the file"),
        Change::Rebind(port) => format!("port {}: anti_spoof has changed", port.name),
        Change::Reopen(port) => format!("port {} has changed", port.name),
        Change::Add(port) => format!("port {} is added", port.name),
    }
}

/// What can be in force now: `wanted`, but with the running values of what only a start can change; and the
/// keys of those that differ.
fn merge(running: &Config, mut wanted: Config) -> (Config, Vec<&'static str>) {
    let mut fixed = Vec::new();
    macro_rules! keep {
        ($($key:literal: $($field:ident).+;)*) => {
            $(if wanted.$($field).+ != running.$($field).+ {
                wanted.$($field).+ = running.$($field).+.clone();
                fixed.push($key);
            })*
        };
    }
    keep! {
        "socket": socket;
        "state_dir": state_dir;
        "node.name": node.name;
        "node.cluster_cidrs": node.cluster_cidrs;
        "node.pod_cidrs": node.pod_cidrs;
        "workers": workers;
        "host.enabled": host.enabled;
        "host.name": host.name;
        "uplink": uplink;
        "metrics": metrics;
    }
    (wanted, fixed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_a_start_can_change_stays_and_is_named() {
        let running = Config::default();
        let mut wanted = Config::default();
        wanted.workers.count = 2;
        wanted.node.mtu = 9000;
        wanted.host.name = "br0".into();
        wanted.host.cidrs = vec!["10.96.0.0/12".parse().unwrap()];
        let (merged, fixed) = merge(&running, wanted);
        assert_eq!(fixed, ["workers", "host.name"]);
        assert_eq!(merged.workers, running.workers);
        assert_eq!((merged.host.name, merged.host.cidrs.len()), (running.host.name, 1));
        assert_eq!(merged.node.mtu, 9000);
    }

    #[test]
    fn an_unchanged_file_changes_nothing() {
        assert_eq!(merge(&Config::default(), Config::default()), (Config::default(), vec![]));
    }
}
