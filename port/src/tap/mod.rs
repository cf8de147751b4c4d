//! TAP devices: a pod's `eth0`, or the host's `cni0`, whose other side is a [`DeviceQueue`] a worker.
//!
//! A device is made *inside* its namespace, so that it never shows in ours and no name can clash here, with
//! one queue for each worker. It is persistent: when the daemon dies, the pod keeps device, addresses and
//! routes (only the carrier goes off), and the next [`open`] of the same name adopts what it finds. What is
//! configured already is left alone, so opening is idempotent.
//!
//! The pod's kernel chooses the queue by the flow: it sends a flow's packets to the queue that last wrote
//! a packet of that flow (`tun_automq_select_queue`), so a worker that forwards both directions keeps both.

mod configure;
pub(crate) mod namespace;
pub(crate) mod netlink;
mod offloads;

use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use packet::{MacAddress, Offloads, VNET_HEADER_BYTES};
use rustix::io::Errno;

pub use namespace::NamespaceIdentity;

use crate::DeviceQueue;
use crate::sys::tun;
use netlink::{Link, Netlink};

/// How long the queues of a predecessor may take to close: the kernel ends its `io_uring` rings after it has
/// let go of the locks by which we know it is dead.
const PREDECESSOR_WAIT: Duration = Duration::from_secs(2);
const PREDECESSOR_POLL: Duration = Duration::from_millis(2);

/// A TAP to open, and how it is to look inside its namespace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TapConfig {
    /// File of the network namespace, such as `/var/run/netns/vm1`; `None` is our own.
    pub netns: Option<PathBuf>,
    /// Name of the device: 1 to 15 bytes, without slash, colon or white space.
    pub device: String,
    /// MAC address.
    pub mac: MacAddress,
    /// Largest IP packet.
    pub mtu_bytes: u32,
    /// Queues to open, one for each worker.
    pub queues: usize,
    /// Frames that wait in the kernel for us, a queue (`txqueuelen`); one more is dropped there.
    pub queue_frames: u32,
    /// Addresses, each with the prefix length of its subnet.
    pub addresses: Vec<IpNet>,
    /// Gateways of default routes, at most one of each family.
    pub default_routes: Vec<IpAddr>,
    /// Whether the pod sees a carrier. Without one the device can be configured, but nothing is sent to us.
    /// Linux before 5.0 always shows one.
    pub carrier: bool,
    /// The most that is to be left unfinished between the kernel and us: less than everything shows how an
    /// older kernel does.
    pub offloads_max: Offloads,
    /// The device outlives the process.
    pub persistent: bool,
    /// The driver's NAPI (`IFF_NAPI`): what we write is received in a softirq instead of our system call.
    /// Off by default: it helped neither throughput nor latency on the reference machine.
    pub napi: bool,
}

impl Default for TapConfig {
    fn default() -> Self {
        Self {
            netns: None,
            device: String::new(),
            mac: MacAddress::ZERO,
            mtu_bytes: 1500,
            queues: 1,
            queue_frames: 4096,
            addresses: Vec::new(),
            default_routes: Vec::new(),
            carrier: true,
            offloads_max: Offloads::ALL,
            persistent: true,
            napi: false,
        }
    }
}

/// An open TAP.
#[derive(Debug)]
pub struct Tap {
    /// As many as were asked for.
    pub queues: Vec<DeviceQueue>,
    /// What the kernel takes from us, and gives us, unfinished.
    pub offloads: Offloads,
    /// Index of the device in its namespace.
    pub ifindex: u32,
    /// The device's MAC address.
    pub mac: MacAddress,
    /// Tells this device from a later one of the same name.
    pub identity: DeviceIdentity,
    /// True if the device was there already.
    pub adopted: bool,
    /// What could not be configured but does not keep frames from passing, for the log.
    pub warnings: Vec<String>,
}

/// Which device it is: names and even indexes are used again, but not both in one namespace.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DeviceIdentity {
    /// The namespace.
    pub netns: NamespaceIdentity,
    /// Index in it.
    pub ifindex: u32,
}

/// What became of a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// It is there.
    Present {
        /// Whether it is still the same one.
        identity: DeviceIdentity,
        /// Administratively up.
        up: bool,
        /// Up and with carrier: of a TAP, a process has a queue open.
        running: bool,
        /// Largest IP packet.
        mtu_bytes: u32,
    },
    /// The device, or its namespace, is not there.
    Missing,
}

/// The kernel's own counters of a device, as the pod sees them: `tx` is what the pod sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DeviceCounters {
    /// Packets we delivered.
    pub rx_packets: u64,
    /// Bytes we delivered.
    pub rx_bytes: u64,
    /// Packets we delivered that the kernel dropped.
    pub rx_dropped: u64,
    /// Packets that came, or wait to come, to us.
    pub tx_packets: u64,
    /// Bytes that came, or wait to come, to us.
    pub tx_bytes: u64,
    /// Packets that the kernel dropped before us, because the queue toward us was full.
    pub tx_dropped: u64,
}

/// Why a TAP could not be opened, or looked at.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    /// The process lacks a right.
    #[error("{capability} is missing: it is needed {purpose}")]
    MissingCapability {
        /// The capability's name.
        capability: &'static str,
        /// What for.
        purpose: String,
    },
    /// The namespace's file is not there or is none.
    #[error("{}: not a network namespace that can be entered: {source}", path.display())]
    Namespace {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The TUN driver cannot be reached.
    #[error("/dev/net/tun: {0} (is the tun module loaded and the device node there?)")]
    Driver(io::Error),
    /// Not a name for a device.
    #[error("{device:?} is not a device name: 1 to 15 bytes without slash, colon or white space")]
    Name {
        /// The name.
        device: String,
    },
    /// Something else has the name.
    #[error("{device} exists already and is not a multi-queue TAP: choose another name, or remove it")]
    NameTaken {
        /// The name.
        device: String,
    },
    /// Another process has queues of the device open.
    #[error("{device} is in use by another process, which has {queues} of its queues open")]
    InUse {
        /// The name.
        device: String,
        /// Open queues.
        queues: u32,
    },
    /// A step failed.
    #[error("{device}: cannot {action}: {source}")]
    Configure {
        /// The name.
        device: String,
        /// What was tried.
        action: String,
        /// What the kernel said.
        source: io::Error,
    },
}

impl TapError {
    fn configure(device: &str, action: impl Into<String>, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        if source.kind() == io::ErrorKind::PermissionDenied && source.raw_os_error() == Some(libc::EPERM) {
            let purpose = format!("to {} {device}", action.into());
            return Self::MissingCapability { capability: "CAP_NET_ADMIN", purpose };
        }
        Self::Configure { device: device.to_owned(), action: action.into(), source }
    }
}

/// Makes or adopts the device, opens its queues, and configures it. A device that was made is removed again
/// if a step fails.
///
/// # Errors
/// See [`TapError`].
pub fn open(config: &TapConfig) -> Result<Tap, TapError> {
    if !is_device_name(&config.device) {
        return Err(TapError::Name { device: config.device.clone() });
    }
    namespace::inside(config.netns.as_deref(), || open_here(config))
}

/// Gives the device the carrier that it is to have and, if it is up, what it lost while it was down: that takes
/// the routes and, unless the namespace's settings say otherwise, the IPv6 addresses. Says what was missing. A
/// device that is not there misses nothing; what others configured stays.
///
/// # Errors
/// A missing capability, or what rtnetlink says, as when the link has just been set down again.
pub fn restore(config: &TapConfig) -> Result<Vec<String>, TapError> {
    let restored = look(config.netns.as_deref(), &config.device, |link, netlink| {
        configure::restore(netlink, config, link)
    })?;
    Ok(restored.unwrap_or_default())
}

/// What became of the device. Of a namespace whose file is gone, or is another one's by now, nothing else
/// tells: see [`NamespaceIdentity`].
///
/// # Errors
/// A missing capability, or what rtnetlink says. A namespace that is no more is [`Status::Missing`].
pub fn status(netns: Option<&Path>, device: &str) -> Result<Status, TapError> {
    let found = look(netns, device, |link, _| {
        let identity = DeviceIdentity { netns: namespace::identity()?, ifindex: link.index };
        Ok(Status::Present { identity, up: link.up, running: link.running, mtu_bytes: link.mtu_bytes })
    })?;
    Ok(found.unwrap_or(Status::Missing))
}

/// The kernel's counters of the device, `None` if it is not there.
///
/// # Errors
/// A missing capability, or what rtnetlink says.
pub fn counters(netns: Option<&Path>, device: &str) -> Result<Option<DeviceCounters>, TapError> {
    look(netns, device, |link, _| {
        Ok(DeviceCounters {
            rx_packets: link.stats.rx_packets,
            rx_bytes: link.stats.rx_bytes,
            rx_dropped: link.stats.rx_dropped,
            tx_packets: link.stats.tx_packets,
            tx_bytes: link.stats.tx_bytes,
            tx_dropped: link.stats.tx_dropped,
        })
    })
}

/// Removes the device, with whatever queues are open. False if it was not there (any more).
///
/// # Errors
/// A missing capability, or what rtnetlink says; [`TapError::NameTaken`] for a device that is no TAP of ours.
pub fn remove(netns: Option<&Path>, device: &str) -> Result<bool, TapError> {
    let removed = look(netns, device, |link, netlink| {
        if !link.multi_queue_tap {
            return Err(TapError::NameTaken { device: device.to_owned() });
        }
        netlink.delete_link(link.index).map_err(|error| TapError::configure(device, "remove", error))
    })?;
    Ok(removed.is_some())
}

/// Finds the device and runs `then` in its namespace; `None` if the device or the namespace is not there.
fn look<T: Send>(
    netns: Option<&Path>,
    device: &str,
    then: impl FnOnce(&Link, &mut Netlink) -> Result<T, TapError> + Send,
) -> Result<Option<T>, TapError> {
    let found = namespace::inside(netns, || {
        let mut netlink = connect(device)?;
        match find(&mut netlink, device)? {
            Some(link) => then(&link, &mut netlink).map(Some),
            None => Ok(None),
        }
    });
    match found {
        // ENOENT: unmounted and unlinked; EINVAL: unmounted, the empty file is left.
        Err(TapError::Namespace { source, .. })
            if matches!(source.raw_os_error(), Some(libc::ENOENT | libc::EINVAL | libc::ESRCH)) =>
        {
            Ok(None)
        }
        found => found,
    }
}

fn connect(device: &str) -> Result<Netlink, TapError> {
    Netlink::connect().map_err(|error| TapError::configure(device, "reach rtnetlink", error))
}

fn find(netlink: &mut Netlink, device: &str) -> Result<Option<Link>, TapError> {
    netlink.link(device).map_err(|error| TapError::configure(device, "look it up", error))
}

fn is_device_name(name: &str) -> bool {
    (1..=tun::DEVICE_NAME_BYTES_MAX).contains(&name.len())
        && name != "."
        && name != ".."
        && !name.bytes().any(|byte| matches!(byte, b'/' | b':' | b'%' | 0) || byte.is_ascii_whitespace())
}

/// [`open`], in the right namespace.
fn open_here(config: &TapConfig) -> Result<Tap, TapError> {
    let device = &config.device;
    let mut netlink = connect(device)?;
    let adopted = claim(&mut netlink, device)?;
    let mut queues = Vec::with_capacity(config.queues);
    for _ in 0..config.queues.max(1) {
        let queue = tun::open().map_err(|errno| TapError::Driver(errno.into()))?;
        tun::attach(queue.as_fd(), device, config.napi).map_err(|errno| match errno {
            Errno::BUSY | Errno::INVAL => TapError::NameTaken { device: device.clone() },
            errno => TapError::configure(device, "open a TAP queue of", errno),
        })?;
        queues.push(DeviceQueue::from_fd(queue));
    }
    let first = queues[0].as_fd();
    let header_bytes = libc::c_int::try_from(VNET_HEADER_BYTES).unwrap_or(libc::c_int::MAX);
    tun::set_vnet_header_bytes(first, header_bytes)
        .map_err(|errno| TapError::configure(device, "set the vnet header's length of", errno))?;
    let offloads = offloads::negotiate(config.offloads_max, |flags| tun::set_offload(first, flags))
        .map_err(|errno| TapError::configure(device, "set the offloads of", errno))?;
    let mut warnings = Vec::new();
    let ifindex = configure::apply(&mut netlink, config, &mut warnings)?;
    let identity = DeviceIdentity { netns: namespace::identity()?, ifindex };
    // Last, so that a device that could not be configured goes with its queues.
    tun::set_persistent(first, config.persistent)
        .map_err(|errno| TapError::configure(device, "set the persistence of", errno))?;
    Ok(Tap { queues, offloads, ifindex, mac: config.mac, identity, adopted, warnings })
}

/// True if the device is there and free to be adopted, false if the name is free.
fn claim(netlink: &mut Netlink, device: &str) -> Result<bool, TapError> {
    let deadline = Instant::now() + PREDECESSOR_WAIT;
    loop {
        let Some(link) = find(netlink, device)? else { return Ok(false) };
        if !link.multi_queue_tap {
            return Err(TapError::NameTaken { device: device.to_owned() });
        }
        if link.queues_open == 0 {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Err(TapError::InUse { device: device.to_owned(), queues: link.queues_open });
        }
        std::thread::sleep(PREDECESSOR_POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_kernel_would_refuse_or_expand_are_refused() {
        for name in ["eth0", "cni0", "a", "fifteen-bytes-0"] {
            assert!(is_device_name(name), "{name}");
        }
        for name in ["", ".", "..", "a/b", "a b", "a:1", "tap%d", "sixteen-bytes-00", "a\0b"] {
            assert!(!is_device_name(name), "{name:?}");
            let config = TapConfig { device: name.to_owned(), ..TapConfig::default() };
            assert!(matches!(open(&config), Err(TapError::Name { .. })));
        }
    }

    #[test]
    fn a_namespace_that_is_none_is_named_in_the_error() {
        let netns = Some(PathBuf::from("/dev/null"));
        let error = open(&TapConfig { netns, device: "eth0".to_owned(), ..TapConfig::default() })
            .expect_err("a device node is no namespace");
        let text = error.to_string();
        assert!(text.contains("/dev/null") || text.contains("CAP_SYS_ADMIN"), "{text}");
    }
}
