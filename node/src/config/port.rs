//! One port as the file (`[[port]]`), the API and the state directory describe it.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use packet::MacAddress;
use serde::{Deserialize, Serialize};

use super::text::{mac_option, networks};

/// Kind of port.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PortType {
    /// A TAP device of the kernel, in any network namespace.
    #[default]
    Tap,
    /// A virtual machine's network card.
    VhostUser,
    /// A packet socket on a device that stays the kernel's.
    Packet,
    /// Replays a capture file and records to another.
    Pcap,
}

impl PortType {
    /// The word for it in files and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tap => "tap",
            Self::VhostUser => "vhost-user",
            Self::Packet => "packet",
            Self::Pcap => "pcap",
        }
    }

    /// True if this version can make such a port.
    #[must_use]
    pub const fn is_available(self) -> bool {
        matches!(self, Self::Tap | Self::Packet | Self::Pcap)
    }
}

/// Who listens on a vhost-user socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VhostMode {
    /// flyover connects to the virtual machine's socket and retries for ever.
    Client,
    /// flyover listens.
    Server,
}

/// How fast a pcap port replays.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pace {
    /// As the timestamps of the file say.
    #[default]
    Recorded,
    /// As fast as the switch takes the frames.
    Fast,
}

/// One port as it was asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortConfig {
    /// The port's name, unique on the node: 1 to 15 bytes, as for a device.
    pub name: String,
    /// Kind.
    #[serde(rename = "type", default)]
    pub port_type: PortType,
    /// TAP, packet: path of the network namespace. Absent: the daemon's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<PathBuf>,
    /// TAP: name of the device in that namespace. Absent: `eth0` in a given namespace, else the port's name.
    /// Packet: the device, which is made, configured and removed by others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// TAP: the device's MAC address. Absent: derived from the names of node, port and device.
    /// Packet: the MAC address of whoever is behind the device; needed where the port is bound.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "mac_option")]
    pub mac: Option<MacAddress>,
    /// Addresses with prefix lengths. TAP: configured inside the namespace. Packet: those of whoever is behind
    /// the device.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "networks::deserialize")]
    pub addresses: Vec<IpNet>,
    /// Only the port's own MAC and addresses may be its source. Absent: on where addresses are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anti_spoof: Option<bool>,
    /// vhost-user: the socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket: Option<PathBuf>,
    /// vhost-user: who listens. Absent: client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<VhostMode>,
    /// vhost-user: queue pairs. Absent: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queues: Option<u16>,
    /// pcap: the pcap or pcapng file whose frames enter the switch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<PathBuf>,
    /// pcap: how fast. Absent: as recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pace: Option<Pace>,
    /// pcap: the pcapng file to which frames that leave by this port are written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<PathBuf>,
}

impl PortConfig {
    /// The device's name in its namespace (for a TAP).
    #[must_use]
    pub fn device_name(&self) -> &str {
        match (&self.device, &self.netns) {
            (Some(device), _) => device,
            (None, Some(_)) => "eth0",
            (None, None) => &self.name,
        }
    }

    /// The port's addresses without their prefix lengths.
    pub fn hosts(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.addresses.iter().map(IpNet::addr)
    }

    /// Whether the port may only use its own MAC and addresses.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        self.anti_spoof.unwrap_or(!self.addresses.is_empty())
    }
}
