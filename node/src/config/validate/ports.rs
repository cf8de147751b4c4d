//! Validation of ports, one after the other: those of the file, or one that the API adds to those there are.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use packet::MacAddress;

use super::{Finding, Findings, MTU_MIN_V6, WORKERS_MAX, absolute, device_name};
use crate::config::{Config, PortConfig, PortType};
use crate::identity;

/// What the ports so far have taken, and the networks that ports are to be in.
#[derive(Clone, Debug)]
pub struct PortCheck {
    node_name: String,
    networks: Vec<IpNet>,
    mtu_bytes: u32,
    names: BTreeMap<String, &'static str>,
    macs: BTreeMap<[u8; 6], String>,
    addresses: BTreeMap<IpAddr, String>,
    devices: BTreeMap<(Option<PathBuf>, String), String>,
}

impl PortCheck {
    /// Nothing taken yet but names and devices of host port and uplink, and MAC and addresses of the gateway.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let mut check = Self {
            node_name: config.node_name(),
            networks: config.node.pod_cidrs.clone(),
            mtu_bytes: config.node.mtu,
            names: BTreeMap::new(),
            macs: BTreeMap::new(),
            addresses: BTreeMap::new(),
            devices: BTreeMap::new(),
        };
        let gateways = config.gateways();
        for gateway in &gateways {
            check.addresses.insert(gateway.addr(), "the gateway".to_owned());
        }
        if config.host.enabled {
            let name = &config.host.name;
            check.names.insert(name.clone(), "the host port");
            check.devices.insert((None, name.clone()), "the host port".to_owned());
        }
        if let Some(uplink) = &config.uplink {
            check.names.insert(uplink.device.clone(), "the uplink");
            check.devices.insert((None, uplink.device.clone()), "the uplink".to_owned());
        }
        check.macs.insert(identity::gateway_mac(&gateways).0, "the gateway".to_owned());
        check
    }

    /// Everything wrong or odd with `port`, given the ports admitted before; keys begin with `prefix`.
    /// What the port takes counts as taken from now on, even if something was wrong.
    pub fn admit(&mut self, port: &PortConfig, prefix: &str) -> Vec<Finding> {
        let mut findings = Findings::default();
        let key = |name: &str| format!("{prefix}{name}");
        if let Err(why) = device_name(&port.name) {
            findings.error(key("name"), why);
        } else if let Some(holder) = self.names.insert(port.name.clone(), "another port") {
            findings.clash(key("name"), format!("\"{}\" is the name of {holder} already", port.name));
        }
        keys_fit_type(port, prefix, &mut findings);
        self.device(port, prefix, &mut findings);
        self.mac(port, prefix, &mut findings);
        for (index, address) in port.addresses.iter().enumerate() {
            self.address(port, address, &key(&format!("addresses[{index}]")), &mut findings);
        }
        findings.0
    }

    fn device(&mut self, port: &PortConfig, prefix: &str, findings: &mut Findings) {
        if !matches!(port.port_type, PortType::Tap | PortType::Packet) {
            return;
        }
        if let Some(netns) = &port.netns {
            absolute(netns, &format!("{prefix}netns"), findings);
        }
        let device = port.device_name();
        if port.device.is_some()
            && let Err(why) = device_name(device)
        {
            findings.error(format!("{prefix}device"), why);
        }
        if port.port_type == PortType::Packet && port.device.is_none() {
            return;
        }
        let place = (port.netns.clone(), device.to_owned());
        if let Some(holder) = self.devices.insert(place, format!("port \"{}\"", port.name)) {
            let netns =
                port.netns.as_ref().map_or("the daemon's namespace".into(), |path| path.to_string_lossy());
            findings.clash(
                format!("{prefix}device"),
                format!("device \"{device}\" in {netns} is that of {holder} already"),
            );
        }
    }

    fn mac(&mut self, port: &PortConfig, prefix: &str, findings: &mut Findings) {
        let key = format!("{prefix}mac");
        if port.port_type == PortType::Packet && port.mac.is_none() {
            // The device's own MAC is not that of whoever is behind it.
            if port.is_bound() {
                findings.error(key, "a port of type packet that is bound (by addresses or anti_spoof) needs the MAC of whoever is behind the device");
            }
            return;
        }
        if let Some(mac) = port.mac
            && (mac.is_group() || mac.is_zero())
        {
            findings.error(key, format!("{mac} is not a device's address (a group address, or zero)"));
            return;
        }
        let mac = identity::port_mac(&self.node_name, port);
        if let Some(holder) = self.macs.insert(mac.0, format!("port \"{}\"", port.name)) {
            findings.clash(key, format!("{} is that of {holder} already", MacAddress(mac.0)));
        }
    }

    fn address(&mut self, port: &PortConfig, address: &IpNet, key: &str, findings: &mut Findings) {
        let host = address.addr();
        if host.is_unspecified() || host.is_multicast() || host.is_loopback() {
            findings.error(key, format!("{host} is not an address of a host"));
            return;
        }
        if host.is_ipv6() && self.mtu_bytes < MTU_MIN_V6 {
            findings.error(key, format!("IPv6 needs node.mtu of {MTU_MIN_V6} bytes or more"));
        }
        if let Some(holder) = self.addresses.insert(host, format!("port \"{}\"", port.name)) {
            findings.clash(key, format!("{host} is that of {holder} already"));
        }
        match self.networks.iter().find(|network| network.contains(&host)) {
            None => findings.warning(
                key,
                format!("{host} lies in none of node.pod_cidrs: it has no gateway here, and no default route is set"),
            ),
            Some(network) if network.network() == host => {
                findings.error(key, format!("{host} is the address of the network {network} itself"));
            }
            Some(network @ IpNet::V4(_)) if network.broadcast() == host => {
                findings.error(key, format!("{host} is the broadcast address of {network}"));
            }
            Some(network) if network.prefix_len() != address.prefix_len() => findings.warning(
                key,
                format!("the prefix length of {address} is not that of its network {network}"),
            ),
            Some(_) => {}
        }
    }
}

/// Keys of other types are mistakes; some types need a key.
fn keys_fit_type(port: &PortConfig, prefix: &str, findings: &mut Findings) {
    use PortType::{Packet, Pcap, Tap, VhostUser};
    let given: [(&str, bool, &[PortType]); 8] = [
        ("netns", port.netns.is_some(), &[Tap, Packet]),
        ("device", port.device.is_some(), &[Tap, Packet]),
        ("socket", port.socket.is_some(), &[VhostUser]),
        ("mode", port.mode.is_some(), &[VhostUser]),
        ("queues", port.queues.is_some(), &[VhostUser]),
        ("replay", port.replay.is_some(), &[Pcap]),
        ("pace", port.pace.is_some(), &[Pcap]),
        ("record", port.record.is_some(), &[Pcap]),
    ];
    let own = port.port_type;
    for (name, _, types) in given.iter().filter(|(_, given, types)| *given && !types.contains(&own)) {
        let types: Vec<_> = types.iter().map(|port_type| port_type.name()).collect();
        findings.error(
            format!("{prefix}{name}"),
            format!(
                "is for ports of type {} only, and this one is of type {}",
                types.join(" and "),
                own.name()
            ),
        );
    }
    let mut need = |name: &str, is_given: bool, what: &str| {
        if !is_given {
            findings.error(format!("{prefix}{name}"), format!("a port of type {} needs {what}", own.name()));
        }
    };
    match own {
        Tap => {}
        VhostUser => need("socket", port.socket.is_some(), "the path of a socket"),
        Packet => need("device", port.device.is_some(), "a device"),
        Pcap => need("replay", port.replay.is_some() || port.record.is_some(), "`replay`, `record` or both"),
    }
    if let Some(queues) = port.queues {
        findings.bounds(&format!("{prefix}queues"), queues.into(), 1, WORKERS_MAX.into(), "");
    }
    for (name, path) in [("socket", &port.socket), ("replay", &port.replay), ("record", &port.record)] {
        if let Some(path) = path {
            absolute(path, &format!("{prefix}{name}"), findings);
        }
    }
}
