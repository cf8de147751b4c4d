//! A node with pods: the daemon in a namespace of its own that stands for the host, a namespace a pod.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::{CommandOutput, Daemon, Namespace, RawSocket, flyover_binary, wait_until};

/// What a [`Rig`] shall look like.
#[derive(Debug, Clone)]
pub struct Plan {
    workers: usize,
    pods: usize,
    mtu_bytes: u32,
    host: bool,
    addressed: bool,
    bound: bool,
    bridge: String,
    node: u8,
    sections: String,
}

impl Plan {
    /// A node with `workers` workers, its host port and `pods` pods that have addresses.
    #[must_use]
    pub fn new(workers: usize, pods: usize) -> Self {
        Self {
            workers,
            pods,
            mtu_bytes: 1500,
            host: true,
            addressed: true,
            bound: true,
            bridge: String::new(),
            node: 1,
            sections: String::new(),
        }
    }

    /// The node with this number, which is the third part of its pods' addresses.
    #[must_use]
    pub fn node(mut self, node: u8) -> Self {
        self.node = node;
        self
    }

    /// Adds lines to the end of the `[host]` section, where further sections can begin.
    #[must_use]
    pub fn sections(mut self, lines: &str) -> Self {
        self.sections.push_str(lines);
        self.sections.push('\n');
        self
    }

    /// Another MTU than 1500 for pods and host port.
    #[must_use]
    pub fn mtu_bytes(mut self, mtu_bytes: u32) -> Self {
        self.mtu_bytes = mtu_bytes;
        self
    }

    /// A bare switch: no host port, and pods without addresses in namespaces whose kernel keeps quiet, so that
    /// no port is bound and nobody speaks but the test.
    #[must_use]
    pub fn bare_switch(mut self) -> Self {
        self.host = false;
        self.addressed = false;
        self
    }

    /// Pods that may use any MAC and any address: `anti_spoof = false`.
    #[must_use]
    pub fn unbound(mut self) -> Self {
        self.bound = false;
        self
    }

    /// Adds a line to the `[bridge]` section.
    #[must_use]
    pub fn bridge(mut self, line: &str) -> Self {
        self.bridge.push_str(line);
        self.bridge.push('\n');
        self
    }
}

/// One pod: a namespace in which the daemon makes `eth0`.
#[derive(Debug)]
pub struct Pod {
    /// The name of its port.
    pub port: String,
    /// Where it lives.
    pub namespace: Namespace,
    /// Its IPv4 address.
    pub v4: Ipv4Addr,
    /// Its IPv6 address.
    pub v6: Ipv6Addr,
}

impl Pod {
    /// The device that the daemon makes in every pod.
    pub const DEVICE: &str = "eth0";

    /// A pod of node 1 whose device the daemon has not made yet. Pod `index` is called p0, p1, … and has the addresses
    /// 10.244.1.(10 + index) and fd00:244:1::(10 + index).
    ///
    /// # Panics
    /// If `index` is above 240.
    #[must_use]
    pub fn new(index: usize, quiet: bool) -> Self {
        Self::on_node(1, index, quiet)
    }

    /// The same on another node, whose number takes the place of the 1.
    ///
    /// # Panics
    /// If `index` is above 240.
    #[must_use]
    pub fn on_node(node: u8, index: usize, quiet: bool) -> Self {
        let last = u8::try_from(index + 10).expect("the addresses of a /24 suffice");
        let port = format!("p{index}");
        let namespace = if quiet { Namespace::new_quiet(&port) } else { Namespace::new(&port) };
        if !quiet {
            // Nobody here offers routes, and the asking goes on for an hour: flooded a hundredfold it is no idle node.
            namespace.sysctl("net/ipv6/conf/default/router_solicitations", "0");
        }
        Self {
            port,
            namespace,
            v4: Ipv4Addr::new(10, 244, node, last),
            v6: Ipv6Addr::new(0xfd00, 0x244, node.into(), 0, 0, 0, 0, u16::from(last)),
        }
    }

    /// Both its addresses.
    #[must_use]
    pub fn addresses(&self) -> [IpAddr; 2] {
        [self.v4.into(), self.v6.into()]
    }

    /// The MAC of its device as the kernel has it.
    ///
    /// # Panics
    /// If it has no device.
    #[must_use]
    pub fn mac(&self) -> String {
        let text = self.namespace.ip("-j link show dev eth0");
        let links: Value = serde_json::from_str(&text).expect("ip prints JSON");
        links[0]["address"].as_str().expect("a link has an address").to_owned()
    }

    /// A raw socket on its device.
    #[must_use]
    pub fn raw_socket(&self) -> RawSocket {
        RawSocket::open(&self.namespace, Self::DEVICE)
    }

    /// The arguments that add this pod by the command line.
    #[must_use]
    pub fn add_arguments(&self) -> Vec<String> {
        let path = self.namespace.path().display().to_string();
        let v4 = format!("{}/24", self.v4);
        let v6 = format!("{}/64", self.v6);
        ["port", "add", &self.port, "--type", "tap", "--netns", &path, "--device", Self::DEVICE]
            .into_iter()
            .chain(["--address", &v4, "--address", &v6])
            .map(str::to_owned)
            .collect()
    }
}

/// A running node.
#[derive(Debug)]
pub struct Rig {
    // In the order of dropping: the daemon before the namespaces it works in.
    daemon: Option<Daemon>,
    /// The pods that the configuration names.
    pub pods: Vec<Pod>,
    /// The namespace that stands for the host; the daemon runs here.
    pub host: Namespace,
    directory: TempDir,
}

impl Rig {
    /// The gateway's addresses, which the host port carries.
    pub const GATEWAYS: [IpAddr; 2] = [
        IpAddr::V4(Ipv4Addr::new(10, 244, 1, 1)),
        IpAddr::V6(Ipv6Addr::new(0xfd00, 0x244, 1, 0, 0, 0, 0, 1)),
    ];

    /// Makes the namespaces, writes the configuration, starts the daemon and waits until it is ready.
    ///
    /// # Panics
    /// If any of it fails.
    #[must_use]
    pub fn start(plan: &Plan) -> Self {
        let mut rig = Self::prepare(plan);
        rig.start_daemon();
        rig
    }

    /// Everything but the daemon's start.
    ///
    /// # Panics
    /// If any of it fails.
    #[must_use]
    pub fn prepare(plan: &Plan) -> Self {
        let directory = tempfile::Builder::new().prefix("fly-").tempdir().expect("a directory can be made");
        let host = if plan.host { Namespace::new("host") } else { Namespace::new_quiet("host") };
        let pods: Vec<_> =
            (0..plan.pods).map(|index| Pod::on_node(plan.node, index, !plan.addressed)).collect();
        let rig = Self { daemon: None, pods, host, directory };
        rig.write_configuration(&rig.configuration(plan));
        rig
    }

    /// The configuration file that describes `plan`.
    #[must_use]
    pub fn configuration(&self, plan: &Plan) -> String {
        let directory = self.directory.path().display();
        let mut text = format!(
            "socket = \"{directory}/flyover.sock\"\n\
             state_dir = \"{directory}/state\"\n\n\
             [node]\n\
             name = \"e2e-{node}\"\n\
             cluster_cidrs = [\"10.244.0.0/16\", \"fd00:244::/32\"]\n\
             pod_cidrs = [\"10.244.{node}.0/24\", \"fd00:244:{node}::/64\"]\n\
             mtu = {mtu}\n\n\
             [workers]\n\
             count = {workers}\n\n\
             [bridge]\n\
             {bridge}\n\
             [host]\n\
             enabled = {host}\n{sections}\n",
            node = plan.node,
            sections = plan.sections,
            mtu = plan.mtu_bytes,
            workers = plan.workers,
            bridge = plan.bridge,
            host = plan.host,
        );
        for pod in &self.pods {
            let _ = write!(
                text,
                "\n[[port]]\nname = \"{}\"\ntype = \"tap\"\nnetns = \"{}\"\ndevice = \"{}\"\n",
                pod.port,
                pod.namespace.path().display(),
                Pod::DEVICE,
            );
            if plan.addressed {
                let _ = writeln!(text, "addresses = [\"{}/24\", \"{}/64\"]", pod.v4, pod.v6);
            }
            if !plan.bound {
                text.push_str("anti_spoof = false\n");
            }
        }
        text
    }

    /// Replaces the configuration file.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write_configuration(&self, text: &str) {
        std::fs::write(self.configuration_path(), text).expect("the configuration can be written");
    }

    /// Where the configuration lies.
    #[must_use]
    pub fn configuration_path(&self) -> PathBuf {
        self.directory.path().join("flyover.toml")
    }

    /// The directory of configuration, state, socket and log.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("flyover.sock")
    }

    /// Starts the daemon, again if it was killed, and waits until it is ready.
    ///
    /// # Panics
    /// If it does not get ready.
    pub fn start_daemon(&mut self) {
        let mut daemon = Daemon::spawn(&self.host, self.directory.path());
        daemon.await_ready();
        self.daemon = Some(daemon);
    }

    /// The running daemon.
    ///
    /// # Panics
    /// If none was started.
    #[must_use]
    pub fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().expect("the daemon was started")
    }

    /// The running daemon, to kill or to wait for.
    ///
    /// # Panics
    /// If none was started.
    pub fn daemon_mut(&mut self) -> &mut Daemon {
        self.daemon.as_mut().expect("the daemon was started")
    }

    /// Runs `flyover --socket … <arguments>` as the host would.
    ///
    /// # Panics
    /// If the program cannot be started.
    #[must_use]
    pub fn flyover<S: AsRef<str>>(&self, arguments: &[S]) -> CommandOutput {
        let mut command = Command::new(flyover_binary());
        command.arg("--socket").arg(self.socket());
        command.args(arguments.iter().map(AsRef::as_ref));
        self.host.run(|| command.output()).unwrap_or_else(|error| panic!("{command:?}: {error}")).into()
    }

    /// Runs a command of `flyover` that must succeed and returns what it printed.
    ///
    /// # Panics
    /// If it fails.
    #[track_caller]
    pub fn succeed<S: AsRef<str>>(&self, arguments: &[S]) -> String {
        let output = self.flyover(arguments);
        let words: Vec<_> = arguments.iter().map(AsRef::as_ref).collect();
        assert_eq!(output.code, Some(0), "flyover {}: {}", words.join(" "), output.stderr);
        output.stdout
    }

    /// The JSON that a command of `flyover` prints with `-j`.
    ///
    /// # Panics
    /// If it fails or prints something else.
    #[track_caller]
    #[must_use]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let text = self.succeed(&[&["-j"], arguments].concat());
        serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("flyover -j {arguments:?}: {error}\n{text}"))
    }

    /// How many frames were dropped for the reason of this name.
    ///
    /// # Panics
    /// If the daemon knows no such reason.
    #[must_use]
    pub fn drops(&self, reason: &str) -> u64 {
        let table = self.json(&["stats", "drops"]);
        let row = table.as_array().and_then(|rows| rows.iter().find(|row| row["reason"] == reason));
        // A table that leaves out what never happened is fine.
        row.map_or(0, |row| row["packets"].as_u64().expect("packets is a number"))
    }

    /// The row of one port in `port show`, or `None` if there is no such port.
    #[must_use]
    pub fn port(&self, name: &str) -> Option<Value> {
        let table = self.json(&["port", "show"]);
        table.as_array()?.iter().find(|row| row["ifname"] == name).cloned()
    }

    /// Holds once all workers are quiet: received = forwarded + consumed + dropped, exactly, for each.
    ///
    /// # Panics
    /// If it does not come true in time.
    pub fn assert_every_frame_is_accounted_for(&self) {
        let mut last = Value::Null;
        wait_until("received = forwarded + consumed + dropped", || {
            let table = self.json(&["stats", "workers"]);
            let balanced = table.as_array().is_some_and(|workers| {
                !workers.is_empty()
                    && workers.iter().all(|worker| {
                        let count = |key: &str| worker[key].as_u64();
                        let parts = ["forwarded", "consumed", "dropped"].map(count);
                        count("rx_packets") == parts.into_iter().sum()
                    })
            });
            // Counters are read one by one while frames pass, so two equal readings are asked for.
            let settled = balanced && last == table;
            last = table;
            settled.then_some(())
        });
    }
}
