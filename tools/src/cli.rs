//! The command line, as INTERFACE promises it: everything that a person can type, in one place.

mod route;

pub(crate) use route::{NeighAction, RouteAction, parse_route, parse_route_key};

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// Where the daemon listens unless told otherwise.
pub(crate) const SOCKET_DEFAULT: &str = "/run/flyover/flyover.sock";

const EXIT_STATUS: &str = "Exit status: 0 done, 1 failed (one line on stderr says what and what to do), \
                           2 wrong usage.";

/// The pods of a node talk over flyover instead of the kernel's bridge.
#[derive(Debug, Parser)]
#[command(name = "flyover", version, after_help = EXIT_STATUS, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command takes, before or after its name.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Control socket of the daemon.
    #[arg(long, global = true, env = "FLYOVER_SOCKET", default_value = SOCKET_DEFAULT, value_name = "PATH")]
    pub socket: PathBuf,
    /// Print JSON: an array, with iproute2's key names where it has them.
    #[arg(short, long, global = true)]
    pub json: bool,
    /// Print JSON with line breaks and indentation.
    #[arg(short, long, global = true)]
    pub pretty: bool,
    /// Print statistics too.
    #[arg(short, long, global = true)]
    pub statistics: bool,
    /// Colors on the terminal.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub color: Color,
}

/// When to print colors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// If standard output is a terminal and `$NO_COLOR` is not set.
    Auto,
    /// Into pipes and files too.
    Always,
    /// Not at all.
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the node's daemon in the foreground.
    Run {
        /// Configuration; without it one node runs on the defaults.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Validate a configuration file; nothing is changed.
    CheckConfig {
        /// The file.
        file: PathBuf,
    },
    /// Show the daemon's state on one screen; exits 1 if it is degraded.
    Status,
    /// Show and change ports.
    #[command(args_conflicts_with_subcommands = true)]
    Port {
        #[command(subcommand)]
        action: Option<PortAction>,
        /// Show this port only.
        name: Option<String>,
    },
    /// Show and change the forwarding database, as `bridge fdb` does.
    #[command(args_conflicts_with_subcommands = true)]
    Fdb {
        #[command(subcommand)]
        action: Option<FdbAction>,
        #[command(flatten)]
        device: Device,
    },
    /// Show and change routes, as `ip route` does. They are flyover's where the configuration has `[uplink]`.
    Route {
        #[command(subcommand)]
        action: Option<RouteAction>,
    },
    /// Show and forget neighbors, as `ip neigh` does.
    #[command(visible_alias = "neighbor", args_conflicts_with_subcommands = true)]
    Neigh {
        #[command(subcommand)]
        action: Option<NeighAction>,
        #[command(flatten)]
        device: Device,
    },
    /// Say what would become of a packet, decision by decision; nothing is sent or changed.
    Explain {
        /// Words as of `capture`: `in=PORT,tcp,src=A,dst=B,sport=1,dport=80`.
        #[arg(required = true, value_name = "PACKET")]
        packet: Vec<String>,
    },
    /// Show counters.
    Stats {
        /// Of what.
        #[arg(value_enum)]
        subject: StatsSubject,
    },
    /// Record frames as pcapng, to standard output unless that is a terminal.
    ///
    /// Try `flyover capture | wireshark -k -i -`. On a terminal one line a frame is printed.
    Capture(CaptureArgs),
    /// Build a cluster in network namespaces, try every kind of communication, remove it.
    Lab(LabArgs),
    /// Measure against the kernel's bridge and routing on this machine.
    Bench {
        #[command(subcommand)]
        subject: BenchSubject,
    },
    /// Print a shell's completions.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write the man pages into a directory.
    Man {
        /// The directory; it is made if it is missing.
        directory: PathBuf,
    },
    /// Traffic programs for lab and bench, told what to do on standard input.
    #[command(hide = true)]
    BenchAgent,
    /// Run this program in a network namespace.
    #[command(hide = true)]
    NetnsExec {
        /// End when this process ends.
        #[arg(long)]
        parent: Option<i32>,
        /// Run this one instead.
        #[arg(long)]
        program: Option<String>,
        /// Name of the namespace.
        namespace: String,
        /// The program's arguments.
        #[arg(last = true, required = true)]
        arguments: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PortAction {
    /// Show all ports or one.
    #[command(visible_aliases = ["list", "ls"])]
    Show {
        /// The port.
        name: Option<String>,
    },
    /// Add a port; it comes back after a restart of the daemon.
    Add(PortAddArgs),
    /// Remove a port and its device.
    #[command(visible_alias = "delete")]
    Del {
        /// The port.
        name: String,
    },
    /// Set a port up or down.
    Set {
        /// The port.
        name: String,
        /// What it shall be.
        #[arg(value_enum)]
        state: AdminState,
    },
}

#[derive(Debug, Args)]
pub(crate) struct PortAddArgs {
    /// Name of the new port.
    pub name: String,
    /// What it is.
    #[arg(long = "type", value_name = "TYPE", default_value = "tap",
          value_parser = ["tap", "vhost-user", "packet", "pcap"])]
    pub port_type: String,
    /// Network namespace in which the device is made (or is); the daemon's own if it is missing.
    #[arg(long, value_name = "PATH")]
    pub netns: Option<PathBuf>,
    /// Name of the device in that namespace.
    #[arg(long, value_name = "NAME")]
    pub device: Option<String>,
    /// Address with prefix length, set inside the namespace (packet: of whoever is behind the device); may be
    /// given several times.
    #[arg(long = "address", value_name = "ADDRESS/LENGTH", value_parser = parse_prefix)]
    pub addresses: Vec<String>,
    /// MAC address; derived from the name if it is missing (packet: of whoever is behind the device, needed with
    /// addresses).
    #[arg(long, value_parser = parse_mac)]
    pub mac: Option<String>,
    /// vhost-user: the socket.
    #[arg(long, value_name = "SOCKET")]
    pub path: Option<PathBuf>,
    /// pcap: the file whose frames enter the switch.
    #[arg(long, value_name = "FILE")]
    pub replay: Option<PathBuf>,
    /// pcap: the file for frames that leave by the port.
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Whether only the port's own MAC and addresses may be its source: on where addresses are given.
    #[arg(long, value_name = "BOOL")]
    pub anti_spoof: Option<bool>,
}

/// Up or down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AdminState {
    /// Forwarding.
    Up,
    /// Frames from it and to it are dropped.
    Down,
}

#[derive(Debug, Subcommand)]
pub(crate) enum FdbAction {
    /// Show all entries or those of one port.
    #[command(visible_aliases = ["list", "ls"])]
    Show {
        #[command(flatten)]
        device: Device,
    },
    /// Add a static entry, which learning never overrides.
    Add {
        /// The address.
        #[arg(value_parser = parse_mac)]
        mac: String,
        #[command(flatten)]
        device: RequiredDevice,
    },
    /// Delete an entry.
    #[command(visible_alias = "delete")]
    Del {
        /// The address.
        #[arg(value_parser = parse_mac)]
        mac: String,
        #[command(flatten)]
        device: Device,
    },
    /// Forget learned entries, all or those of one port.
    Flush {
        #[command(flatten)]
        device: Device,
    },
}

/// `dev PORT`, as iproute2 writes it.
#[derive(Debug, Clone, Args)]
pub(crate) struct Device {
    /// Of one port only: the word `dev` and its name.
    #[arg(value_names = ["dev", "PORT"], num_args = 2)]
    words: Vec<String>,
}

/// `dev PORT` where it must be said.
#[derive(Debug, Clone, Args)]
pub(crate) struct RequiredDevice {
    /// The word `dev` and the port's name.
    #[arg(value_names = ["dev", "PORT"], num_args = 2, required = true)]
    words: Vec<String>,
}

impl Device {
    /// The port's name, if one was given.
    ///
    /// # Errors
    /// A usage error if the first word is not `dev`.
    pub(crate) fn port(&self) -> Result<Option<&str>, clap::Error> {
        match self.words.as_slice() {
            [] => Ok(None),
            words => port_after_dev(words).map(Some),
        }
    }
}

impl RequiredDevice {
    /// The port's name; errors as of [`Device::port`].
    pub(crate) fn port(&self) -> Result<&str, clap::Error> {
        port_after_dev(&self.words)
    }
}

fn port_after_dev(words: &[String]) -> Result<&str, clap::Error> {
    match words {
        [word, port] if word == "dev" => Ok(port),
        [word, ..] => Err(usage_error(&format!("`dev PORT` was expected, not `{word}`"))),
        [] => Err(usage_error("`dev PORT` was expected")),
    }
}

pub(crate) fn usage_error(message: &str) -> clap::Error {
    clap::Error::raw(clap::error::ErrorKind::InvalidValue, format!("{message}\n"))
}

/// What `stats` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatsSubject {
    /// Dropped frames by reason.
    Drops,
    /// What each worker did.
    Workers,
    /// What each port brought and took.
    Ports,
}

#[derive(Debug, Args)]
pub(crate) struct CaptureArgs {
    /// Of this port only.
    #[arg(short = 'i', long = "interface", value_name = "PORT")]
    pub port: Option<String>,
    /// End after so many frames.
    #[arg(short, long, value_name = "N")]
    pub count: Option<u64>,
    /// Write to this file.
    #[arg(short, long, value_name = "FILE")]
    pub write: Option<PathBuf>,
    /// Only frames that were dropped, with the reason.
    #[arg(long)]
    pub drops: bool,
    /// Only frames for which all of these words hold, such as `tcp,host=10.244.1.11,port=80`.
    #[arg(value_name = "FILTER")]
    pub filter: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct LabArgs {
    /// Leave it running and say how to enter each namespace.
    #[arg(long, conflicts_with = "down")]
    pub keep: bool,
    /// Remove what `--keep` or a crash left.
    #[arg(long)]
    pub down: bool,
    /// The same cluster without flyover: bridges and routing of the kernel, for comparison.
    #[arg(long, conflicts_with = "down")]
    pub kernel: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BenchSubject {
    /// Pod to pod: throughput, small packets, round trips, connections and CPU.
    Pods(BenchArgs),
    /// Pods of two nodes, by both nodes' uplinks and a router between them.
    Nodes(BenchArgs),
}

#[derive(Debug, Clone, Args)]
pub(crate) struct BenchArgs {
    /// How long each measurement takes.
    #[arg(long, value_name = "N", default_value_t = 2.0, value_parser = parse_seconds)]
    pub seconds: f64,
    /// How many pairs of measurements (ours, theirs) are taken of each measure
    /// [default: 8, or 6 where Open vSwitch is compared too].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub pairs: Option<u32>,
    /// Streams of the measure with many.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(2..=256))]
    pub streams: u16,
    /// Take these measures only.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "LIST")]
    pub only: Vec<crate::bench::Measure>,
    /// Data-plane threads of flyover.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub workers: u16,
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.05..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("a number of seconds from 0.05 to 3600 is expected".to_owned()),
    }
}

fn parse_mac(text: &str) -> Result<String, String> {
    packet::MacAddress::from_str(text).map(|mac| mac.to_string()).map_err(|error| error.to_string())
}

fn parse_prefix(text: &str) -> Result<String, String> {
    let expected = || "an address with its prefix length is expected, such as 10.244.1.9/24".to_owned();
    let (address, length) = text.split_once('/').ok_or_else(expected)?;
    let address: IpAddr = address.parse().map_err(|_| expected())?;
    let length: u8 = length.parse().map_err(|_| expected())?;
    let length_max = if address.is_ipv4() { 32 } else { 128 };
    if length > length_max { Err(expected()) } else { Ok(format!("{address}/{length}")) }
}

#[cfg(test)]
mod tests;
