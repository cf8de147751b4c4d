//! The ioctls of the TUN driver (`linux/if_tun.h`), as safe functions.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, Result};
use rustix::ioctl::{IntegerSetter, Opcode, Setter, ioctl, opcode};

/// Longest device name, without the final zero (`IFNAMSIZ` − 1).
pub(crate) const DEVICE_NAME_BYTES_MAX: usize = libc::IFNAMSIZ - 1;

const SET_IFF: Opcode = opcode::write::<libc::c_int>(b'T', 202);
const SET_PERSIST: Opcode = opcode::write::<libc::c_int>(b'T', 203);
const SET_OFFLOAD: Opcode = opcode::write::<libc::c_int>(b'T', 208);
const SET_VNET_HEADER_BYTES: Opcode = opcode::write::<libc::c_int>(b'T', 216);

/// `struct ifreq` as `TUNSETIFF` reads and writes it.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; libc::IFNAMSIZ],
    flags: libc::c_short,
    rest: [u8; 22],
}

const _: () = assert!(size_of::<InterfaceRequest>() == size_of::<libc::ifreq>());

/// Opens a queue, not yet of any device, nonblocking.
pub(crate) fn open() -> Result<OwnedFd> {
    rustix::fs::open("/dev/net/tun", OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
}

/// Attaches the queue to the multi-queue TAP `device` of the calling thread's namespace, which is made if it
/// is not there: no packet information, a vnet header, with `napi` the driver's own NAPI.
pub(crate) fn attach(queue: BorrowedFd<'_>, device: &str, napi: bool) -> Result<()> {
    if device.len() > DEVICE_NAME_BYTES_MAX {
        return Err(Errno::NAMETOOLONG);
    }
    let mut name = [0; libc::IFNAMSIZ];
    name[..device.len()].copy_from_slice(device.as_bytes());
    let napi = if napi { libc::IFF_NAPI } else { 0 };
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | libc::IFF_MULTI_QUEUE | napi;
    let flags = libc::c_short::try_from(flags).map_err(|_| Errno::INVAL)?;
    let request = InterfaceRequest { name, flags, rest: [0; 22] };
    // SAFETY: TUNSETIFF takes a pointer to a `struct ifreq`, whose layout `InterfaceRequest` has; the name is
    // zero-terminated, being shorter than IFNAMSIZ.
    let request = unsafe { Setter::<SET_IFF, InterfaceRequest>::new(request) };
    // SAFETY: the kernel reads and writes within the `struct ifreq` only, which outlives the call.
    unsafe { ioctl(queue, request) }
}

/// Says which unfinished frames we take (`TUN_F_*`); `EINVAL` if the kernel does not know one of them.
pub(crate) fn set_offload(queue: BorrowedFd<'_>, flags: u32) -> Result<()> {
    set_integer::<SET_OFFLOAD>(queue, flags)
}

/// Whether the device outlives its last queue.
pub(crate) fn set_persistent(queue: BorrowedFd<'_>, persistent: bool) -> Result<()> {
    set_integer::<SET_PERSIST>(queue, u32::from(persistent))
}

/// Length of the vnet header before every frame.
pub(crate) fn set_vnet_header_bytes(queue: BorrowedFd<'_>, bytes: libc::c_int) -> Result<()> {
    // SAFETY: TUNSETVNETHDRSZ takes a pointer to an int.
    let request = unsafe { Setter::<SET_VNET_HEADER_BYTES, libc::c_int>::new(bytes) };
    // SAFETY: the kernel reads the int only, which outlives the call.
    unsafe { ioctl(queue, request) }
}

/// For the ioctls whose argument is the integer itself.
fn set_integer<const OPCODE: Opcode>(queue: BorrowedFd<'_>, value: u32) -> Result<()> {
    // SAFETY: the callers above pass opcodes that take an integer.
    let request = unsafe { IntegerSetter::<OPCODE>::new_usize(value as usize) };
    // SAFETY: an integer argument touches no memory of ours.
    unsafe { ioctl(queue, request) }
}
