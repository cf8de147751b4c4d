//! The kernel's devices: TAPs, devices of others, and capture files.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use packet::{Offloads, PORTS_MAX};
use port::Queue;
use port::packet_socket::{self, Drops, PacketConfig, PacketError, PacketFilter};
use port::pcap::{self, PcapConfig, PcapQueue};
use port::tap::{self, DeviceIdentity, Status, TapConfig, TapError};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::watch::socket_here;
use super::{DeviceRequest, Devices, Followed, Given, Guard, OpenDevice, OpenError, Presence, Tell};
use crate::config::{self, PortConfig, PortType};
use crate::host;
use crate::ingress_rule::{self, IngressRule};
use crate::kernel::{FollowOptions, KernelFollower};

/// Devices of this machine.
#[derive(Debug, Default)]
pub struct KernelDevices {
    /// What did not fit into the sockets of packet ports, by the port's name.
    drops: BTreeMap<String, Drops>,
}

impl Devices for KernelDevices {
    fn open(&mut self, request: &DeviceRequest) -> Result<OpenDevice, OpenError> {
        match request.port.port_type {
            PortType::Tap => open_tap(request),
            PortType::Packet => self.open_packet(request),
            PortType::Pcap => open_pcap(request),
            PortType::VhostUser => Err(OpenError::Failed(
                "a port of type vhost-user is not available in this version".to_owned(),
            )),
        }
    }

    fn restore(&mut self, request: &DeviceRequest) -> Result<Vec<String>, String> {
        match request.port.port_type {
            PortType::Tap => tap::restore(&tap_config(request)).map_err(|error| error.to_string()),
            _ => Ok(Vec::new()),
        }
    }

    fn presence(&mut self, port: &PortConfig) -> Result<Presence, String> {
        match port.port_type {
            PortType::Tap | PortType::Packet => {
                match tap::status(port.netns.as_deref(), port.device_name()) {
                    Ok(Status::Present { identity, up, running, mtu_bytes }) => {
                        let identity = identity_number(identity);
                        Ok(if port.port_type == PortType::Packet {
                            Presence::There { identity, up: up && running, mtu_bytes: Some(mtu_bytes) }
                        } else {
                            Presence::There { identity, up, mtu_bytes: None }
                        })
                    }
                    Ok(Status::Missing) => Ok(Presence::Missing),
                    Err(error) => Err(error.to_string()),
                }
            }
            _ => Ok(Presence::There { identity: 0, up: true, mtu_bytes: None }),
        }
    }

    fn remove(&mut self, port: &PortConfig) -> Result<(), String> {
        match port.port_type {
            PortType::Tap => tap::remove(port.netns.as_deref(), port.device_name())
                .map(drop)
                .map_err(|error| error.to_string()),
            PortType::Packet => {
                self.drops.remove(&port.name);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn namespace(&mut self, port: &PortConfig) -> Option<u64> {
        let Some(path) = &port.netns else { return Some(0) };
        let file = std::fs::metadata(path).ok()?;
        let mut hasher = DefaultHasher::new();
        (file.dev(), file.ino()).hash(&mut hasher);
        Some(hasher.finish())
    }

    fn watch(&mut self, port: &PortConfig) -> Option<OwnedFd> {
        if !matches!(port.port_type, PortType::Tap | PortType::Packet) {
            return None;
        }
        let socket = match &port.netns {
            None => socket_here(),
            Some(path) => socket_inside(path),
        };
        // Without it a link that is set down shows only when something is sent to it.
        socket
            .inspect_err(|error| tracing::warn!("port {}: its link is not watched: {error}", port.name))
            .ok()
    }

    fn prepare_host(&mut self, port: &PortConfig) -> Vec<String> {
        host::apply_settings(Path::new("/proc/sys"), &host::kernel_settings(port))
    }

    fn follow_kernel(&mut self, followed: Followed, tell: Tell) -> Result<Box<dyn Send>, String> {
        let Followed { tables, protocols } = followed;
        let options = FollowOptions { tables, protocols, ..FollowOptions::default() };
        let follower = KernelFollower::start(options, tell).map_err(|error| error.to_string())?;
        Ok(Box::new(follower))
    }

    fn guard_uplink(&mut self, guard: Option<&Guard>) -> Result<bool, String> {
        let Some(Guard { device, ours, except }) = guard.cloned() else {
            return ingress_rule::remove().map_err(|error| error.to_string());
        };
        let rule = IngressRule { device, ours, except };
        if rule.is_present().map_err(|error| error.to_string())? {
            return Ok(false);
        }
        rule.install().map(|_| true).map_err(|error| error.to_string())
    }

    fn queue_dropped(&mut self, port: &PortConfig) -> Option<u64> {
        match port.port_type {
            PortType::Tap => tap::counters(port.netns.as_deref(), port.device_name())
                .ok()
                .flatten()
                .map(|counters| counters.tx_dropped),
            PortType::Packet => self.drops.get_mut(&port.name).map(Drops::total),
            _ => None,
        }
    }
}

impl KernelDevices {
    fn open_packet(&mut self, request: &DeviceRequest) -> Result<OpenDevice, OpenError> {
        let port = &request.port;
        let config = PacketConfig {
            netns: port.netns.clone(),
            device: port.device_name().to_owned(),
            queues: request.workers,
            queue_frames: request.queue_frames,
            // The uplink is one station, and its other traffic is none of ours.
            promiscuous: request.ours.is_none(),
            filter: request.ours.clone().map(|networks| PacketFilter {
                networks,
                neighbors: true,
                sent_by_host: true,
            }),
        };
        let opened = packet_socket::open(&config).map_err(|error| {
            let text = error.to_string();
            match error {
                PacketError::NoDevice { .. } => OpenError::NoDevice(text),
                PacketError::Device(TapError::Namespace { .. }) => OpenError::NoNamespace(text),
                PacketError::MissingCapability { .. }
                | PacketError::Device(TapError::MissingCapability { .. }) => OpenError::NotPermitted(text),
                _ => OpenError::Failed(text),
            }
        })?;
        if self.drops.len() > PORTS_MAX {
            // Ports that were given up without being removed.
            self.drops.retain(|_, drops| drops.is_live());
        }
        let former = self.drops.remove(&port.name).unwrap_or_default();
        self.drops.insert(port.name.clone(), opened.drops.after(former));
        Ok(OpenDevice {
            queues: opened.queues.into_iter().map(Queue::Device).collect(),
            offloads: opened.offloads,
            identity: identity_number(opened.identity),
            given: Some(Given { mac: opened.mac, mtu_bytes: opened.mtu_bytes }),
            adopted: false,
            warnings: opened.warnings,
        })
    }
}

/// [`socket_here`] in another namespace, by a thread that goes there and ends.
fn socket_inside(netns: &Path) -> io::Result<OwnedFd> {
    let file = std::fs::File::open(netns)?;
    let work = move || {
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
        socket_here()
    };
    let thread = std::thread::Builder::new().name("netns".to_owned()).spawn(work)?;
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
}

fn tap_config(request: &DeviceRequest) -> TapConfig {
    let port = &request.port;
    TapConfig {
        netns: port.netns.clone(),
        device: port.device_name().to_owned(),
        mac: request.mac,
        mtu_bytes: request.mtu_bytes,
        queues: request.workers,
        queue_frames: request.queue_frames,
        addresses: port.addresses.clone(),
        default_routes: request.default_routes.clone(),
        carrier: request.carrier,
        persistent: true,
        ..TapConfig::default()
    }
}

fn open_tap(request: &DeviceRequest) -> Result<OpenDevice, OpenError> {
    let opened = tap::open(&tap_config(request)).map_err(|error| {
        let text = error.to_string();
        match error {
            TapError::Namespace { .. } => OpenError::NoNamespace(text),
            TapError::NameTaken { device } => {
                OpenError::InTheWay(format!("{device} exists already and is not a TAP of flyover"))
            }
            TapError::InUse { .. } => OpenError::InTheWay(text),
            TapError::MissingCapability { .. } => OpenError::NotPermitted(text),
            _ => OpenError::Failed(text),
        }
    })?;
    Ok(OpenDevice {
        queues: opened.queues.into_iter().map(Queue::Device).collect(),
        offloads: opened.offloads,
        identity: identity_number(opened.identity),
        given: None,
        adopted: opened.adopted,
        warnings: opened.warnings,
    })
}

fn open_pcap(request: &DeviceRequest) -> Result<OpenDevice, OpenError> {
    let port = &request.port;
    let config = PcapConfig {
        replay: port.replay.clone(),
        pace: match port.pace.unwrap_or_default() {
            config::Pace::Recorded => pcap::Pace::Recorded,
            config::Pace::Fast => pcap::Pace::Unlimited,
        },
        record: port.record.clone(),
    };
    let queue = PcapQueue::open(&config, &port.name).map_err(|error| OpenError::Failed(error.to_string()))?;
    Ok(OpenDevice {
        queues: vec![Queue::Other(Box::new(queue))],
        offloads: Offloads::NONE,
        identity: 0,
        given: None,
        adopted: false,
        warnings: Vec::new(),
    })
}

/// Compared within this process only.
fn identity_number(identity: DeviceIdentity) -> u64 {
    let mut hasher = DefaultHasher::new();
    identity.hash(&mut hasher);
    hasher.finish()
}
