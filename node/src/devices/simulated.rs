//! Devices in memory: namespaces and links whose fate a test decides.

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use packet::{MacAddress, Offloads};
use port::Queue;
use port::memory::{self, Link, MemoryConfig, MemoryEnd};

use super::{DeviceRequest, Devices, Followed, Given, Guard, OpenDevice, OpenError, Presence, Tell};
use crate::config::{PortConfig, PortType};
use crate::kernel::KernelChange;

/// Frames that may wait in each direction of a simulated device.
const FRAMES: usize = 256;
/// What devices that are somebody else's have of their own.
const OTHERS_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0xff, 1]);
const OTHERS_MTU_BYTES: u32 = 1500;

#[derive(Debug)]
struct Device {
    end: Arc<MemoryEnd>,
    identity: u64,
    up: bool,
    carrier: bool,
}

#[derive(Default)]
struct Inner {
    namespaces: BTreeMap<PathBuf, u64>,
    devices: BTreeMap<(Option<PathBuf>, String), Device>,
    identities: u64,
    opened: Vec<DeviceRequest>,
    restored: Vec<DeviceRequest>,
    refusal: Option<OpenError>,
    tell: Option<Tell>,
    followed: Option<Followed>,
    guard: Option<Guard>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("devices", &self.devices).finish_non_exhaustive()
    }
}

/// The machine that simulated devices live on; clones are the same machine.
#[derive(Clone, Debug, Default)]
pub struct SimulatedWorld(Arc<Mutex<Inner>>);

impl SimulatedWorld {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a namespace.
    pub fn add_namespace(&self, path: impl Into<PathBuf>) {
        let mut inner = self.inner();
        inner.identities += 1;
        let identity = inner.identities;
        inner.namespaces.insert(path.into(), identity);
    }

    /// Takes a namespace's name away. As with the kernel's, its devices live as long as the switch holds
    /// them, and nothing tells it.
    pub fn delete_namespace(&self, path: &Path) {
        let mut inner = self.inner();
        inner.namespaces.remove(path);
        inner.devices.retain(|(netns, _), _| netns.as_deref() != Some(path));
    }

    /// Removes a device.
    pub fn delete_device(&self, netns: Option<&Path>, device: &str) {
        let key = (netns.map(Path::to_owned), device.to_owned());
        if let Some(device) = self.inner().devices.remove(&key) {
            device.end.set_link(Link::Gone);
        }
    }

    /// Sets a device's link up or down, as its pod may.
    pub fn set_link(&self, netns: Option<&Path>, device: &str, up: bool) {
        if let Some(device) = self.inner().devices.get_mut(&(netns.map(Path::to_owned), device.to_owned())) {
            device.up = up;
            device.end.set_link(if up { Link::Up } else { Link::Down });
        }
    }

    /// The pod's end of a device.
    #[must_use]
    pub fn end(&self, netns: Option<&Path>, device: &str) -> Option<Arc<MemoryEnd>> {
        let key = (netns.map(Path::to_owned), device.to_owned());
        self.inner().devices.get(&key).map(|device| Arc::clone(&device.end))
    }

    /// All requests so far, in order.
    #[must_use]
    pub fn opened(&self) -> Vec<DeviceRequest> {
        self.inner().opened.clone()
    }

    /// All requests so far to give a device what it lost, in order.
    #[must_use]
    pub fn restored(&self) -> Vec<DeviceRequest> {
        self.inner().restored.clone()
    }

    /// Whether a device has a carrier; `None` if it is not there.
    #[must_use]
    pub fn carrier(&self, netns: Option<&Path>, device: &str) -> Option<bool> {
        let key = (netns.map(Path::to_owned), device.to_owned());
        self.inner().devices.get(&key).map(|device| device.carrier)
    }

    /// Makes a device of the host's own, such as a network card.
    pub fn add_device(&self, device: &str) {
        let mut inner = self.inner();
        let (_, end) = memory::multi_queue(MemoryConfig { offloads: Offloads::ALL, frames_max: FRAMES }, 1);
        inner.identities += 1;
        let identity = inner.identities;
        let device_here = Device { end: Arc::new(end), identity, up: true, carrier: true };
        inner.devices.insert((None, device.to_owned()), device_here);
    }

    /// The kernel tells that something is different now. False if nobody listens.
    pub fn tell_kernel(&self, changes: Vec<KernelChange>) -> bool {
        let inner = self.inner();
        inner.tell.as_ref().map(|tell| tell(changes)).is_some()
    }

    /// What of the kernel's routes is followed.
    #[must_use]
    pub fn followed(&self) -> Option<Followed> {
        self.inner().followed.clone()
    }

    /// What the kernel's stack leaves alone.
    #[must_use]
    pub fn guard(&self) -> Option<Guard> {
        self.inner().guard.clone()
    }

    /// From now on every device is refused with `error`, or none if that is `None`.
    pub fn refuse(&self, error: Option<OpenError>) {
        self.inner().refusal = error;
    }
}

/// Whoever follows the kernel of a world.
struct Follower(SimulatedWorld);

impl Drop for Follower {
    fn drop(&mut self) {
        let listener = self.0.inner().tell.take();
        drop(listener);
    }
}

/// Devices of a [`SimulatedWorld`].
#[derive(Clone, Debug, Default)]
pub struct SimulatedDevices(pub SimulatedWorld);

fn key(port: &PortConfig) -> (Option<PathBuf>, String) {
    (port.netns.clone(), port.device_name().to_owned())
}

impl Devices for SimulatedDevices {
    fn open(&mut self, request: &DeviceRequest) -> Result<OpenDevice, OpenError> {
        let mut inner = self.0.inner();
        inner.opened.push(request.clone());
        if let Some(error) = &inner.refusal {
            return Err(error.clone());
        }
        if let Some(netns) = &request.port.netns
            && !inner.namespaces.contains_key(netns)
        {
            return Err(OpenError::NoNamespace(format!("{}: no such namespace", netns.display())));
        }
        let is_others = request.port.port_type == PortType::Packet;
        if is_others && !inner.devices.contains_key(&key(&request.port)) {
            return Err(OpenError::NoDevice(format!("there is no device {}", request.port.device_name())));
        }
        let config = MemoryConfig { offloads: Offloads::ALL, frames_max: FRAMES };
        let (queues, end) = memory::multi_queue(config, request.workers);
        let adopted = inner.devices.contains_key(&key(&request.port));
        inner.identities += 1;
        let identity = inner.identities;
        let device = Device { end: Arc::new(end), identity, up: true, carrier: request.carrier };
        inner.devices.insert(key(&request.port), device);
        Ok(OpenDevice {
            queues: queues.into_iter().map(|queue| Queue::Other(Box::new(queue))).collect(),
            offloads: Offloads::ALL,
            identity,
            given: is_others.then_some(Given { mac: Some(OTHERS_MAC), mtu_bytes: OTHERS_MTU_BYTES }),
            adopted,
            warnings: Vec::new(),
        })
    }

    fn restore(&mut self, request: &DeviceRequest) -> Result<Vec<String>, String> {
        let mut inner = self.0.inner();
        inner.restored.push(request.clone());
        if let Some(device) = inner.devices.get_mut(&key(&request.port)) {
            device.carrier = request.carrier;
        }
        Ok(Vec::new())
    }

    fn presence(&mut self, port: &PortConfig) -> Result<Presence, String> {
        let inner = self.0.inner();
        Ok(inner.devices.get(&key(port)).map_or(Presence::Missing, |device| Presence::There {
            identity: device.identity,
            up: device.up,
            mtu_bytes: (port.port_type == PortType::Packet).then_some(OTHERS_MTU_BYTES),
        }))
    }

    fn remove(&mut self, port: &PortConfig) -> Result<(), String> {
        if port.port_type != PortType::Packet {
            self.0.inner().devices.remove(&key(port));
        }
        Ok(())
    }

    fn namespace(&mut self, port: &PortConfig) -> Option<u64> {
        let Some(path) = &port.netns else { return Some(0) };
        self.0.inner().namespaces.get(path).copied()
    }

    fn watch(&mut self, _port: &PortConfig) -> Option<OwnedFd> {
        None
    }

    fn prepare_host(&mut self, _port: &PortConfig) -> Vec<String> {
        Vec::new()
    }

    fn follow_kernel(&mut self, followed: Followed, tell: Tell) -> Result<Box<dyn Send>, String> {
        let mut inner = self.0.inner();
        inner.followed = Some(followed);
        inner.tell = Some(tell);
        Ok(Box::new(Follower(self.0.clone())))
    }

    fn guard_uplink(&mut self, guard: Option<&Guard>) -> Result<bool, String> {
        let mut inner = self.0.inner();
        let is_new = inner.guard.as_ref() != guard;
        inner.guard = guard.cloned();
        Ok(is_new)
    }

    fn queue_dropped(&mut self, _port: &PortConfig) -> Option<u64> {
        None
    }
}
