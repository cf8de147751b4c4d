//! What the control side tells about itself.

use dataplane::QueueOwners;
use dataplane::counters::{PortTotals, WorkerCounters};
use packet::{DropReason, MacAddress, Offloads};

use super::{Control, Port, Refused};
use crate::api::types;
use crate::api::types::{
    DirectionStats, Drops, FdbSummary, PortState, PortStats, PortSummary, PortTrouble, Stats, Stats64,
    Status, Worker,
};
use crate::config::PortType;

impl Control {
    /// All ports in the order of their names.
    #[must_use]
    pub fn describe_all(&self) -> Vec<types::Port> {
        self.ports.values().map(|port| self.port_report(port)).collect()
    }

    /// One port.
    ///
    /// # Errors
    /// [`Refused::NotFound`]
    pub fn describe(&self, name: &str) -> Result<types::Port, Refused> {
        self.port(name).map(|port| self.port_report(port))
    }

    fn port_report(&self, port: &Port) -> types::Port {
        let state = port.condition.state(port.wanted_up);
        let totals = port.counters.totals();
        let is_tap = port.config.port_type == PortType::Tap;
        let has_device = is_tap || port.config.port_type == PortType::Packet;
        types::Port {
            ifindex: port.id.get(),
            ifname: port.config.name.clone(),
            flags: flags(state),
            mtu: port.mtu_bytes.unwrap_or(self.config.node.mtu),
            operstate: operstate(state).to_owned(),
            txqlen: if is_tap { self.config.bridge.tap_queue_frames } else { 0 },
            link_type: "ether".to_owned(),
            address: port.mac,
            broadcast: MacAddress::BROADCAST,
            stats64: stats64(totals),
            port_type: port.config.port_type.name().to_owned(),
            state,
            reason: reason(port),
            origin: port.origin,
            netns: port.config.netns.as_ref().map(|path| path.display().to_string()),
            device: has_device.then(|| port.config.device_name().to_owned()),
            addresses: port.config.addresses.iter().map(ToString::to_string).collect(),
            anti_spoof: port.binding.is_some(),
            queues: port.queues,
            worker: match port.owners {
                QueueOwners::One(worker) if self.dataplane.workers() > 1 => Some(worker),
                _ => None,
            },
            features: features(port.offloads),
            macs: self.fdb.learned_by(port.id),
        }
    }

    /// The status page.
    #[must_use]
    pub fn status(&self) -> Status {
        let not_up: Vec<PortTrouble> = self
            .ports
            .values()
            .filter(|port| !port.is_up())
            .map(|port| PortTrouble {
                ifname: port.config.name.clone(),
                state: port.condition.state(port.wanted_up),
                reason: reason(port),
            })
            .collect();
        let degraded = !self.stalled.is_empty()
            || self.dead_worker.is_some()
            || not_up.iter().any(|port| port.state != PortState::Down);
        let mut drops = self.drops();
        drops.retain(|drops| drops.packets > 0);
        drops.sort_by_key(|drops| std::cmp::Reverse(drops.packets));
        let fdb = self.fdb.statistics();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: self.node_name.clone(),
            pid: std::process::id(),
            uptime_seconds: self.started.elapsed().as_secs(),
            ready: self.is_ready,
            degraded,
            engine: self.dataplane.engine_name().to_owned(),
            gateways: self.config.gateways().iter().map(ToString::to_string).collect(),
            workers: self.workers(),
            ports: PortSummary { total: self.ports.len(), up: self.ports.len() - not_up.len(), not_up },
            fdb: FdbSummary {
                learned: fdb.learned,
                statics: fdb.statics,
                max: usize::try_from(self.config.bridge.max_macs).unwrap_or(usize::MAX),
                moved: fdb.moved,
                evicted: fdb.evicted,
                refused: fdb.refused,
            },
            routing: self.routing_summary(),
            drops,
            warnings: self.warnings(),
        }
    }

    fn warnings(&self) -> Vec<String> {
        let stalled = self.stalled.iter().map(|worker| format!("worker {worker} is stalled"));
        let lost =
            (self.events_lost > 0).then(|| format!("{} events of the workers were lost", self.events_lost));
        let routes = self.route_warnings();
        stalled.chain(lost).chain(routes).chain(self.notices.iter().cloned()).collect()
    }

    /// All counters.
    pub fn stats(&mut self) -> Stats {
        Stats { drops: self.drops(), workers: self.workers(), ports: self.port_stats() }
    }

    /// Every drop reason in the order of the pipeline.
    #[must_use]
    pub fn drops(&self) -> Vec<Drops> {
        DropReason::ALL
            .iter()
            .map(|reason| Drops {
                reason: reason.name().to_owned(),
                stage: reason.stage().name().to_owned(),
                packets: self.dataplane.counters().map(|worker| worker.dropped[reason.index()].get()).sum(),
                help: reason.help().to_owned(),
            })
            .collect()
    }

    /// Every worker.
    #[must_use]
    pub fn workers(&self) -> Vec<Worker> {
        let cpu = |worker: usize| self.config.workers.cpus.get(worker).copied();
        let workers = self.dataplane.counters().enumerate();
        workers
            .map(|(worker, counters)| {
                worker_report(worker, cpu(worker), self.stalled.contains(&worker), counters)
            })
            .collect()
    }

    /// Every port, with what the kernel dropped before us: a look into every namespace.
    pub fn port_stats(&mut self) -> Vec<PortStats> {
        let devices = &mut self.devices;
        self.ports
            .values()
            .map(|port| {
                let totals = port.counters.totals();
                PortStats {
                    ifname: port.config.name.clone(),
                    rx_packets: totals.rx_packets,
                    rx_bytes: totals.rx_bytes,
                    rx_dropped: totals.rx_dropped,
                    tx_packets: totals.tx_packets,
                    tx_bytes: totals.tx_bytes,
                    tx_dropped: totals.tx_dropped,
                    queue_dropped: devices.queue_dropped(&port.config),
                }
            })
            .collect()
    }
}

fn worker_report(worker: usize, cpu: Option<u16>, stalled: bool, counters: &WorkerCounters) -> Worker {
    Worker {
        worker,
        cpu,
        stalled,
        rx_packets: counters.received.get(),
        forwarded: counters.forwarded.get(),
        consumed: counters.consumed.get(),
        dropped: counters.dropped_total(),
        copies: counters.copies.get(),
        copies_dropped: counters.copies_dropped.get(),
        originated: counters.originated.get(),
        handed_off: counters.handed_off.get(),
        bursts: counters.bursts.get(),
        sleeps: counters.sleeps.get(),
    }
}

fn reason(port: &Port) -> Option<String> {
    let down = (!port.wanted_up).then_some("set down by the operator");
    port.condition.reason().or(down).map(str::to_owned)
}

fn flags(state: PortState) -> Vec<String> {
    let more: &[&str] = match state {
        PortState::Up => &["UP", "LOWER_UP"],
        PortState::Down => &[],
        PortState::LinkDown | PortState::Gone | PortState::Failed => &["NO-CARRIER", "UP"],
    };
    ["BROADCAST", "MULTICAST"].iter().chain(more).map(ToString::to_string).collect()
}

const fn operstate(state: PortState) -> &'static str {
    match state {
        PortState::Up => "UP",
        PortState::Down => "DOWN",
        PortState::LinkDown => "LOWERLAYERDOWN",
        PortState::Gone | PortState::Failed => "NOTPRESENT",
    }
}

const fn stats64(totals: PortTotals) -> Stats64 {
    Stats64 {
        rx: DirectionStats { bytes: totals.rx_bytes, packets: totals.rx_packets, dropped: totals.rx_dropped },
        tx: DirectionStats { bytes: totals.tx_bytes, packets: totals.tx_packets, dropped: totals.tx_dropped },
    }
}

fn features(offloads: Offloads) -> Vec<String> {
    let Offloads { checksum, tso4, tso6, tso_ecn, uso } = offloads;
    [(checksum, "csum"), (tso4, "tso4"), (tso6, "tso6"), (tso_ecn, "tso-ecn"), (uso, "uso")]
        .into_iter()
        .filter(|(has, _)| *has)
        .map(|(_, name)| name.to_owned())
        .collect()
}
