//! Packet sockets: a port on a network device that is there already and stays the kernel's: a veth, a
//! macvlan, the TAP of a virtual machine that another process opened, the node's own NIC.
//!
//! A socket hears every frame that the device receives, before the kernel's own stack and beside it, and
//! sends by the device as the kernel does. Nothing of the device is changed but that it takes frames for any
//! MAC while the port is open, if that is asked for. What the host itself sends by the device is not heard, and so neither is what
//! we send.
//!
//! A vnet header goes with each frame, so super-frames pass whole in both directions; what the device cannot
//! do of it, the kernel does in software when the frame leaves. There is one socket for each worker; the
//! kernel shares the frames between them by a hash of the flow that is the same for both directions
//! (`PACKET_FANOUT`), and sends each flow's answers where that flow was heard.
//!
//! The kernel's stack hears the same frames, and may answer some: see [`stack`]. Where most frames are for it,
//! a [filter](PacketFilter) keeps them from being copied to us.
//!
//! The sockets survive a device that goes down, and fall silent for ever when it is removed.

mod filter;
pub(crate) mod message;
mod stack;

pub use filter::PacketFilter;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use packet::{MacAddress, Offloads};
use rustix::io::Errno;

use crate::DeviceQueue;
use crate::sys::packet_socket as sys;
use crate::tap::netlink::{Link, Netlink};
use crate::tap::{DeviceIdentity, TapError, namespace};

/// Kernel memory that one waiting frame is counted with; a super-frame takes about thirty times that.
const FRAME_MEMORY_BYTES: u32 = 2048;
const RECEIVE_BYTES_MIN: u32 = 1 << 20;
const RECEIVE_BYTES_MAX: u32 = 256 << 20;
/// How soon the caller of [`close_elsewhere`] has let go.
const CLOSE_POLL: Duration = Duration::from_millis(1);
/// A burst of super-frames fits.
const SEND_BYTES: libc::c_int = 4 << 20;

/// A device to open a port on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PacketConfig {
    /// File of the network namespace; `None` is our own.
    pub netns: Option<PathBuf>,
    /// Name of the device.
    pub device: String,
    /// Sockets to open, one for each worker.
    pub queues: usize,
    /// Small frames that may wait in the kernel for us, a socket; one more is dropped there and
    /// [counted](Drops).
    pub queue_frames: u32,
    /// Whether the device is to take frames for any MAC, as the port of a switch has to. If not, we hear beside
    /// the kernel what is for its own MAC and groups.
    pub promiscuous: bool,
    /// What is heard; `None` is everything. No other frame is heard at any time, and
    /// [`Filters`] can change it later.
    pub filter: Option<PacketFilter>,
}

/// An open port.
#[derive(Debug)]
pub struct PacketPort {
    /// As many as were asked for, or one where the kernel cannot share the frames (see the warnings).
    pub queues: Vec<DeviceQueue>,
    /// What the kernel takes from us unfinished.
    pub offloads: Offloads,
    /// The device's own MAC: that of whoever is behind it is another one.
    pub mac: Option<MacAddress>,
    /// Largest IP packet that the device takes.
    pub mtu_bytes: u32,
    /// Tells this device from a later one of the same name.
    pub identity: DeviceIdentity,
    /// What the kernel drops before us.
    pub drops: Drops,
    /// Changes what is heard.
    pub filters: Filters,
    /// What does not keep frames from passing, for the log.
    pub warnings: Vec<String>,
}

/// Why a port could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum PacketError {
    /// The device is not there (yet).
    #[error("there is no device {device}{}", place(.netns.as_ref()))]
    NoDevice {
        /// The name.
        device: String,
        /// The namespace that was looked into.
        netns: Option<PathBuf>,
    },
    /// The process lacks a right.
    #[error("CAP_NET_RAW is missing: it is needed to open a packet socket on {device}")]
    MissingCapability {
        /// The device's name.
        device: String,
    },
    /// More networks than the kernel takes a filter for.
    #[error("{device}: a packet filter for {networks} networks is longer than the kernel allows")]
    FilterTooLong {
        /// The name.
        device: String,
        /// How many networks there are.
        networks: usize,
    },
    /// A step failed.
    #[error("{device}: cannot {action}: {source}")]
    Configure {
        /// The name.
        device: String,
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The namespace cannot be entered, or rtnetlink cannot be asked.
    #[error(transparent)]
    Device(#[from] TapError),
}

fn place(netns: Option<&PathBuf>) -> String {
    netns.map_or_else(String::new, |path| format!(" in {}", path.display()))
}

/// Counts the frames that did not fit into a port's sockets (`PACKET_STATISTICS`), as long as they are open.
#[derive(Debug, Default)]
pub struct Drops {
    sockets: Vec<Weak<OwnedFd>>,
    total: u64,
}

impl Drops {
    /// Frames dropped so far.
    pub fn total(&mut self) -> u64 {
        for socket in self.sockets.iter().filter_map(Weak::upgrade) {
            // A socket that is being closed has no more to tell.
            self.total = self.total.saturating_add(sys::take_dropped(socket.as_fd()).unwrap_or(0).into());
        }
        self.total
    }

    /// True while a socket is open.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.sockets.iter().any(|socket| socket.strong_count() > 0)
    }

    /// Goes on counting from what `former` has counted: the same port was opened anew.
    #[must_use]
    pub fn after(mut self, mut former: Self) -> Self {
        self.total = self.total.saturating_add(former.total());
        self
    }
}

/// Changes what a port's sockets hear, as long as they are open.
#[derive(Debug, Default)]
pub struct Filters {
    sockets: Vec<Weak<OwnedFd>>,
    device: String,
}

impl Filters {
    /// From now on `filter` decides; `None` is everything. What was heard before and waits to be received is
    /// received. Sockets change one after the other, each at once.
    ///
    /// # Errors
    /// [`FilterTooLong`](PacketError::FilterTooLong), and nothing has changed;
    /// [`Configure`](PacketError::Configure) if the kernel lacks memory: some sockets may have changed.
    pub fn set(&self, filter: Option<&PacketFilter>) -> Result<(), PacketError> {
        let program = program(&self.device, filter)?;
        for socket in self.sockets.iter().filter_map(Weak::upgrade) {
            listen(socket.as_fd(), program.as_deref()).map_err(|errno| PacketError::Configure {
                device: self.device.clone(),
                action: "change the filter on",
                source: errno.into(),
            })?;
        }
        Ok(())
    }
}

fn program(
    device: &str,
    filter: Option<&PacketFilter>,
) -> Result<Option<Vec<libc::sock_filter>>, PacketError> {
    let Some(filter) = filter else { return Ok(None) };
    let too_long =
        || PacketError::FilterTooLong { device: device.to_owned(), networks: filter.networks.len() };
    filter.program().ok_or_else(too_long).map(Some)
}

/// Hears what the program lets pass, or everything.
fn listen(socket: BorrowedFd<'_>, program: Option<&[libc::sock_filter]>) -> rustix::io::Result<()> {
    program.map_or_else(|| sys::remove_filter(socket), |program| sys::set_filter(socket, program))
}

/// Opens the sockets. Nothing is left behind if a step fails.
///
/// # Errors
/// See [`PacketError`].
pub fn open(config: &PacketConfig) -> Result<PacketPort, PacketError> {
    namespace::inside(config.netns.as_deref(), || open_here(config))
}

fn open_here(config: &PacketConfig) -> Result<PacketPort, PacketError> {
    let device = &config.device;
    let program = program(device, config.filter.as_ref())?;
    let link = find(config)?;
    let mut warnings = Vec::new();
    if config.promiscuous {
        warnings.extend(stack::answers_beside_us(device));
    }
    let mut takes_uso = true;
    let mut sockets: Vec<Arc<OwnedFd>> = Vec::with_capacity(config.queues);
    let mut group = None;
    for _ in 0..config.queues.max(1) {
        let (socket, uso) = hushed_socket(config, link.index, &mut warnings)?;
        takes_uso &= uso;
        if config.queues > 1 {
            let shared = match group {
                None => sys::new_fanout(socket.as_fd()).map(|number| group = Some(number)),
                Some(number) => sys::join_fanout(socket.as_fd(), number),
            };
            if let Err(errno) = shared {
                // On some kernels a device that is down has no part in it.
                warnings.push(format!("{device}: served by one worker only (PACKET_FANOUT: {errno})"));
                sockets.truncate(0);
                sockets.push(Arc::new(socket));
                break;
            }
        }
        sockets.push(Arc::new(socket));
    }
    for socket in &sockets {
        listen(socket.as_fd(), program.as_deref()).map_err(failed(config, "set the filter on"))?;
    }
    let weak: Vec<_> = sockets.iter().map(Arc::downgrade).collect();
    Ok(PacketPort {
        filters: Filters { sockets: weak.clone(), device: device.clone() },
        drops: Drops { sockets: weak, total: 0 },
        queues: sockets.into_iter().map(DeviceQueue::of_packet_socket).collect(),
        offloads: Offloads { uso: takes_uso, ..Offloads::ALL },
        mac: link.mac,
        mtu_bytes: link.mtu_bytes,
        identity: DeviceIdentity { netns: namespace::identity()?, ifindex: link.index },
        warnings,
    })
}

/// A socket on the device that hears nothing yet: until it shares with the others it would hear what they
/// hear. Also, whether the kernel takes UDP super-frames from it.
fn hushed_socket(
    config: &PacketConfig,
    ifindex: u32,
    warnings: &mut Vec<String>,
) -> Result<(OwnedFd, bool), PacketError> {
    let socket = sys::open().map_err(failed(config, "open a packet socket on"))?;
    let fd = socket.as_fd();
    let uso = sys::set_vnet_header(fd).map_err(failed(config, "ask for vnet headers of"))?;
    if !config.filter.as_ref().is_some_and(|filter| filter.sent_by_host) {
        sys::ignore_outgoing(fd).map_err(failed(config, "ignore what the host sends by"))?;
    }
    sys::tell_of_tags(fd).map_err(failed(config, "ask for the VLAN tags of"))?;
    if let Err(errno) = sys::set_memory(fd, receive_bytes(config.queue_frames), SEND_BYTES) {
        let device = &config.device;
        warnings.push(format!("{device}: the socket's memory stays at the system's default: {errno}"));
    }
    sys::set_filter(fd, &filter::NOTHING).map_err(failed(config, "set a filter on"))?;
    sys::bind(fd, ifindex).map_err(failed(config, "bind to"))?;
    if config.promiscuous {
        sys::be_promiscuous(fd, ifindex).map_err(failed(config, "make promiscuous"))?;
    }
    Ok((socket, uso))
}

fn failed(config: &PacketConfig, action: &'static str) -> impl FnOnce(Errno) -> PacketError {
    let (device, netns) = (config.device.clone(), config.netns.clone());
    move |errno| match errno {
        Errno::PERM | Errno::ACCESS => PacketError::MissingCapability { device },
        Errno::NODEV | Errno::NXIO => PacketError::NoDevice { device, netns },
        errno => PacketError::Configure { device, action, source: errno.into() },
    }
}

fn find(config: &PacketConfig) -> Result<Link, PacketError> {
    let device = &config.device;
    let failed = |error| PacketError::Configure { device: device.clone(), action: "look up", source: error };
    let found = Netlink::connect().and_then(|mut netlink| netlink.link(device)).map_err(failed)?;
    found.ok_or_else(|| PacketError::NoDevice { device: device.clone(), netns: config.netns.clone() })
}

/// Has a thread of its own wait for the end of a socket that the caller is about to let go of. The kernel
/// closes one only when nobody changes devices and a grace period has passed (`packet_release`): seconds, on
/// a busy machine whose devices are just being removed, in which a worker would serve nobody.
pub(crate) fn close_elsewhere(socket: &Arc<OwnedFd>) {
    let last = Arc::clone(socket);
    let close = move || {
        while Arc::strong_count(&last) > 1 {
            thread::sleep(CLOSE_POLL);
        }
        drop(last);
    };
    // Where no thread can be had the caller waits after all.
    let _ = thread::Builder::new().name("close".to_owned()).spawn(close);
}

fn receive_bytes(queue_frames: u32) -> libc::c_int {
    let bytes = queue_frames.saturating_mul(FRAME_MEMORY_BYTES).clamp(RECEIVE_BYTES_MIN, RECEIVE_BYTES_MAX);
    libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_a_socket_is_bounded_whatever_is_configured() {
        assert_eq!(receive_bytes(0), 1 << 20);
        assert_eq!(receive_bytes(4096), 8 << 20);
        assert_eq!(receive_bytes(u32::MAX), 256 << 20);
    }

    #[test]
    fn a_namespace_that_is_none_is_named_in_the_error() {
        let config = PacketConfig {
            netns: Some("/nonexistent/netns".into()),
            device: "eth0".to_owned(),
            queues: 1,
            queue_frames: 64,
            promiscuous: true,
            filter: None,
        };
        let error = open(&config).expect_err("there is no such file").to_string();
        assert!(error.contains("/nonexistent/netns"), "{error}");
    }
}
