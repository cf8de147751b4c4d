//! Packet sockets (packet(7), `linux/if_packet.h`), as safe functions.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use libc::{c_int, c_uint};
use rustix::io::{Errno, Result};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::packet_socket::message::{CONTROL_BYTES, HEAD_BYTES, HEADER_BYTES};

/// Opens a socket that hears nothing yet, nonblocking.
pub(crate) fn open() -> Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None)
}

/// A vnet header of [`HEADER_BYTES`] before every frame, in both directions. True if the kernel takes UDP
/// super-frames: it does since 6.2, and `PACKET_VNET_HDR_SZ`, by which that is told, came with 6.5.
pub(crate) fn set_vnet_header(socket: BorrowedFd<'_>) -> Result<bool> {
    let bytes = c_int::try_from(HEADER_BYTES).unwrap_or(c_int::MAX);
    match set_packet_option(socket, libc::PACKET_VNET_HDR_SZ, &bytes) {
        Ok(()) => Ok(true),
        Err(Errno::NOPROTOOPT) => set_packet_option(socket, libc::PACKET_VNET_HDR, &1_i32).map(|()| false),
        Err(errno) => Err(errno),
    }
}

/// Does not hear what this host sends by the device.
pub(crate) fn ignore_outgoing(socket: BorrowedFd<'_>) -> Result<()> {
    set_packet_option(socket, libc::PACKET_IGNORE_OUTGOING, &1_i32)
}

/// Tells, with each frame, of the VLAN tag that was taken out.
pub(crate) fn tell_of_tags(socket: BorrowedFd<'_>) -> Result<()> {
    set_packet_option(socket, libc::PACKET_AUXDATA, &1_i32)
}

/// Limits of what waits in the socket toward us and from us, in bytes of kernel memory (the kernel doubles
/// them). Needs `CAP_NET_ADMIN` in the initial user namespace; `EPERM` without.
pub(crate) fn set_memory(socket: BorrowedFd<'_>, receive_bytes: c_int, send_bytes: c_int) -> Result<()> {
    set_option(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &receive_bytes)?;
    set_option(socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, &send_bytes)
}

/// From now on a classic BPF program decides what is heard, in the place of a former one.
pub(crate) fn set_filter(socket: BorrowedFd<'_>, program: &[libc::sock_filter]) -> Result<()> {
    let len = u16::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    // The kernel does not write to it.
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    set_option(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

/// From now on everything is heard.
pub(crate) fn remove_filter(socket: BorrowedFd<'_>) -> Result<()> {
    match set_option(socket, libc::SOL_SOCKET, libc::SO_DETACH_FILTER, &0_i32) {
        Err(Errno::NOENT) => Ok(()), // there was none
        outcome => outcome,
    }
}

/// Hears, and sends by, the device with this index: all protocols.
pub(crate) fn bind(socket: BorrowedFd<'_>, ifindex: u32) -> Result<()> {
    // SAFETY: all-zero is a valid `sockaddr_ll`.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::sa_family_t::try_from(libc::AF_PACKET).map_err(|_| Errno::INVAL)?;
    address.sll_protocol = u16::try_from(libc::ETH_P_ALL).map_err(|_| Errno::INVAL)?.to_be();
    address.sll_ifindex = c_int::try_from(ifindex).map_err(|_| Errno::NODEV)?;
    // SAFETY: `address` is valid for its size during the call.
    let status = unsafe {
        libc::bind(socket.as_raw_fd(), std::ptr::from_ref(&address).cast(), length_of::<libc::sockaddr_ll>())
    };
    outcome(status)
}

/// The device takes frames for any MAC, as long as the socket is open.
pub(crate) fn be_promiscuous(socket: BorrowedFd<'_>, ifindex: u32) -> Result<()> {
    let membership = libc::packet_mreq {
        mr_ifindex: c_int::try_from(ifindex).map_err(|_| Errno::NODEV)?,
        mr_type: u16::try_from(libc::PACKET_MR_PROMISC).map_err(|_| Errno::INVAL)?,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    set_packet_option(socket, libc::PACKET_ADD_MEMBERSHIP, &membership)
}

/// Makes a group whose members share the frames by a hash of their flow, the same for both directions; its
/// number is unique in the namespace.
pub(crate) fn new_fanout(socket: BorrowedFd<'_>) -> Result<u16> {
    set_packet_option(socket, libc::PACKET_FANOUT, &fanout(libc::PACKET_FANOUT_FLAG_UNIQUEID, 0))?;
    let mut value: c_uint = 0;
    get_packet_option(socket, libc::PACKET_FANOUT, &mut value)?;
    Ok((value & 0xffff).try_into().unwrap_or(0))
}

/// Joins a group.
pub(crate) fn join_fanout(socket: BorrowedFd<'_>, group: u16) -> Result<()> {
    set_packet_option(socket, libc::PACKET_FANOUT, &fanout(0, group))
}

const fn fanout(flags: c_uint, group: u16) -> c_uint {
    (libc::PACKET_FANOUT_HASH | flags) << 16 | group as c_uint
}

/// Frames that did not fit into the socket since the last call.
pub(crate) fn take_dropped(socket: BorrowedFd<'_>) -> Result<u32> {
    let mut counts = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
    get_packet_option(socket, libc::PACKET_STATISTICS, &mut counts)?;
    Ok(counts.tp_drops)
}

/// Receives one frame into `memory` in the form that a multishot `IORING_OP_RECVMSG` gives it (see
/// [`crate::packet_socket::message`]); returns how many bytes were written.
pub(crate) fn receive(socket: BorrowedFd<'_>, memory: &mut [u8]) -> Result<usize> {
    let (head, rest) = memory.split_at_mut_checked(HEAD_BYTES).ok_or(Errno::INVAL)?;
    let (control, payload) = rest.split_at_mut_checked(CONTROL_BYTES).ok_or(Errno::INVAL)?;
    let mut part = libc::iovec { iov_base: payload.as_mut_ptr().cast(), iov_len: payload.len() };
    // SAFETY: all-zero is a valid `msghdr`.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = control.len() as _;
    // SAFETY: the message names `control` and, by `part`, `payload`, which are borrowed for the whole call.
    let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
    let Ok(payload_bytes) = usize::try_from(received) else { return Err(last_error()) };
    let word = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).to_ne_bytes();
    let flags = message.msg_flags.to_ne_bytes();
    let words = [word(0), word(message.msg_controllen), word(payload_bytes), flags];
    head.copy_from_slice(words.as_flattened());
    Ok(HEAD_BYTES + CONTROL_BYTES + payload_bytes)
}

fn set_packet_option<T: Copy>(socket: BorrowedFd<'_>, option: c_int, value: &T) -> Result<()> {
    set_option(socket, libc::SOL_PACKET, option, value)
}

fn set_option<T: Copy>(socket: BorrowedFd<'_>, level: c_int, option: c_int, value: &T) -> Result<()> {
    let length = length_of::<T>();
    // SAFETY: `value` is valid for its size during the call.
    let status = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, std::ptr::from_ref(value).cast(), length)
    };
    outcome(status)
}

/// `value` is of a type that any bytes are a value of: the callers pass integers and structures of them.
fn get_packet_option<T: Copy>(socket: BorrowedFd<'_>, option: c_int, value: &mut T) -> Result<()> {
    let mut length = length_of::<T>();
    let place = std::ptr::from_mut(value).cast();
    // SAFETY: `place` is valid for `length` bytes during the call, and the kernel writes no more than that.
    let status =
        unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_PACKET, option, place, &raw mut length) };
    outcome(status)
}

fn length_of<T>() -> libc::socklen_t {
    // The structures above are a few words long.
    libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0)
}

fn outcome(status: c_int) -> Result<()> {
    if status == 0 { Ok(()) } else { Err(last_error()) }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
