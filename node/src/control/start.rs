//! From a configuration to a running switch.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::{Dataplane, DataplaneConfig, Snapshot, Watchdog};
use port::{EngineKind, PortSetOptions};
use switch::{Fdb, FdbLimits};

use super::port_table::Admitted;
use super::{Control, Notice, Refused};
use crate::api::types::Origin;
use crate::config::validate::Severity;
use crate::config::{Config, Loaded, Machine, PortCheck};
use crate::devices::{Devices, LinkWatcher, OpenError};
use crate::host;
use crate::limit::RateLimit;
use crate::ports::numbers::Numbers;
use crate::state::StateDirectory;

/// What a control side is made of, besides the configuration.
pub struct Options {
    /// The machine.
    pub machine: Machine,
    /// What makes devices.
    pub devices: Box<dyn Devices>,
    /// The locked state directory.
    pub state: StateDirectory,
    /// Which I/O engine.
    pub engine: EngineKind,
    /// Keys the hash of the forwarding database.
    pub seed: u64,
}

/// Why the switch cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration needs what this version cannot do.
    #[error("{0}")]
    Unavailable(String),
    /// The workers.
    #[error(transparent)]
    Workers(#[from] dataplane::StartError),
    /// A port without which there is no point in starting.
    #[error("{0}")]
    Port(String),
}

impl Control {
    /// Starts the workers and opens the ports: the host's, those of the file, those that the API had added.
    /// `notify` is called from other threads and must not block; see [`Notice`].
    ///
    /// # Errors
    /// [`StartError`]. A configured port whose namespace is not there yet, or that the system refuses, is
    /// no reason not to start, except for a missing right; nor is any port of the API.
    pub fn start(
        loaded: Loaded,
        options: Options,
        notify: impl Fn(Notice) + Clone + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        let Loaded { config, warnings } = loaded;
        let missing: Vec<String> = config.unavailable().into_iter().map(|(_, sentence)| sentence).collect();
        if !missing.is_empty() {
            return Err(StartError::Unavailable(missing.join("; ")));
        }
        let fdb = Arc::new(Fdb::new(fdb_limits(&config), options.seed));
        let workers = config.worker_count(&options.machine);
        let dataplane_config = DataplaneConfig {
            workers,
            cpus: config.workers.cpus.iter().map(|cpu| usize::from(*cpu)).collect(),
            busy_poll: Duration::from_micros(config.workers.busy_poll_us.into()),
            ports: PortSetOptions { engine: options.engine, ..PortSetOptions::default() },
            seed: options.seed.rotate_left(32),
        };
        let empty = Snapshot::new(Arc::clone(&fdb), [], Vec::new());
        let tell = notify.clone();
        let links = LinkWatcher::start(move |port| tell(Notice::Link(port)))
            .map_err(|error| StartError::Port(format!("links cannot be watched: {error}")))?;
        let tell = notify.clone();
        let dataplane = Dataplane::start(&dataplane_config, empty, move || notify(Notice::Events))?;
        let mut control = Self {
            node_name: config.node_name(),
            dataplane,
            fdb,
            devices: options.devices,
            state: options.state,
            ports: BTreeMap::new(),
            numbers: Numbers::default(),
            retiring: Vec::new(),
            captures: Vec::new(),
            router: None,
            dormant_routes: Vec::new(),
            has_punts: false,
            follower: None,
            started: Instant::now(),
            links,
            ticks: 0,
            watchdog: Watchdog::new(workers),
            stalled: Vec::new(),
            dead_worker: None,
            events_lost: 0,
            is_ready: false,
            notices: warnings.iter().map(ToString::to_string).collect(),
            limit: RateLimit::default(),
            config,
        };
        control.open_first_ports(options.seed)?;
        control.follow_kernel(tell)?;
        control.update_readiness();
        Ok(control)
    }

    fn open_first_ports(&mut self, seed: u64) -> Result<(), StartError> {
        let (saved, warning) = self.state.load();
        if let Some(warning) = warning {
            self.notice(warning);
        }
        if let Some(port) = host::host_port(&self.config) {
            let name = port.name.clone();
            let wanted_up = !saved.down.contains(&name);
            // Without the host port there is no gateway: this is not the time to wait and see.
            match self.admit(port, Origin::Host, wanted_up) {
                Ok(Admitted::Working) => {}
                Ok(Admitted::Waiting(OpenError::InTheWay(why))) => {
                    return Err(StartError::Port(host::in_the_way(&name, &why)));
                }
                Ok(Admitted::Waiting(error)) => {
                    return Err(StartError::Port(format!("host port {name}: {error}")));
                }
                Err(refused) => return Err(StartError::Port(refused.to_string())),
            }
        }
        self.open_uplink(&saved.down, seed)?;
        self.restore_routes(saved.routes);
        let mut check = PortCheck::new(&self.config);
        for port in self.config.ports.clone() {
            check.admit(&port, "");
            let wanted_up = !saved.down.contains(&port.name);
            let name = port.name.clone();
            match self.admit(port, Origin::Config, wanted_up) {
                Ok(Admitted::Working) => {}
                Ok(Admitted::Waiting(error)) => tracing::warn!("port {name}: {error}; it is tried again"),
                Err(refused) => return Err(StartError::Port(refused.to_string())),
            }
        }
        for port in saved.ports {
            let name = port.name.clone();
            let finding =
                check.admit(&port, "").into_iter().find(|finding| finding.severity > Severity::Warning);
            let wanted_up = !saved.down.contains(&name);
            let result = match finding {
                Some(finding) => Err(Refused::Conflict(format!("{}: {}", finding.key, finding.message))),
                None => self.admit(port, Origin::Api, wanted_up),
            };
            if let Err(refused) = result.map(drop) {
                self.notice(format!("port \"{name}\", which the API had added, is not back: {refused}"));
            }
        }
        for entry in saved.fdb {
            if let Err(refused) = self.enter_static(entry.mac, &entry.port) {
                let text =
                    format!("the static entry {} dev {} is not back: {refused}", entry.mac, entry.port);
                self.notice(text);
            }
        }
        self.publish();
        Ok(())
    }
}

/// The limits that the configuration sets.
pub(super) fn fdb_limits(config: &Config) -> FdbLimits {
    let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    FdbLimits {
        macs_max: count(config.bridge.max_macs),
        macs_per_port_max: count(config.bridge.max_macs_per_port),
        aging_ms: u64::from(config.bridge.aging_seconds) * 1_000,
    }
}
