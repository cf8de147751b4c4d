//! Frames byte for byte: an `AF_PACKET` socket on one device (packet(7)); and UDP segmentation.
//!
//! The only `unsafe` of the tests. For `AF_PACKET` the kernel takes 802.1Q tags out of received frames and tells of them apart
//! (`PACKET_AUXDATA`); they are put back here, so that a frame reads as it was on the wire.

#![expect(
    clippy::cast_possible_truncation,
    reason = "constants of libc are wider than the fields they are for"
)]

use std::ffi::CString;
use std::io;
use std::mem::{size_of, size_of_val, zeroed};
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use crate::Namespace;

/// Room for the largest super-frame.
const FRAME_BYTES: usize = 65_536 + 64;
/// Bytes that the socket may hold while a test looks elsewhere.
const RECEIVE_BUFFER_BYTES: libc::c_int = 32 << 20;

/// What is sent by `socket` from now on is cut into datagrams of `bytes` bytes (`UDP_SEGMENT`, udp(7)), as late
/// as the devices on its way allow.
///
/// # Errors
/// What the kernel says.
pub(crate) fn cut_datagrams(socket: &UdpSocket, bytes: u16) -> io::Result<()> {
    set_option(socket.as_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, &libc::c_int::from(bytes))
}

fn set_option<T>(fd: BorrowedFd<'_>, level: libc::c_int, option: libc::c_int, value: &T) -> io::Result<()> {
    let length = size_of_val(value) as libc::socklen_t;
    // SAFETY: `value` is valid for `length` bytes during the call.
    let status =
        unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, std::ptr::from_ref(value).cast(), length) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// An `AF_PACKET` socket bound to one device, which hears everything that the device receives.
#[derive(Debug)]
pub struct RawSocket {
    fd: OwnedFd,
}

impl RawSocket {
    /// Opens a socket on `device` of `namespace`.
    ///
    /// # Panics
    /// If there is no such device or no right to open the socket.
    #[must_use]
    pub fn open(namespace: &Namespace, device: &str) -> Self {
        let opened = namespace.run(|| Self::open_here(device));
        opened.unwrap_or_else(|error| panic!("raw socket on {device} of {}: {error}", namespace.name()))
    }

    fn open_here(device: &str) -> io::Result<Self> {
        let protocol = libc::c_int::from((libc::ETH_P_ALL as u16).to_be());
        // SAFETY: no pointers are passed.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and nobody else owns it.
        let socket = Self { fd: unsafe { OwnedFd::from_raw_fd(fd) } };
        let name = CString::new(device)?;
        // SAFETY: `name` is a terminated string that outlives the call.
        let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
        let index = libc::c_int::try_from(index).map_err(io::Error::other)?;
        if index == 0 {
            return Err(io::Error::last_os_error());
        }
        socket.set_option(libc::SOL_PACKET, libc::PACKET_AUXDATA, &1)?;
        socket.set_option(libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &1)?;
        socket.set_option(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &RECEIVE_BUFFER_BYTES)?;
        let membership = libc::packet_mreq {
            mr_ifindex: index,
            mr_type: libc::PACKET_MR_PROMISC as u16,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        socket.set_option(libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &membership)?;
        socket.bind(index)?;
        // What came in on other devices before the bind is not ours.
        while socket.receive_now()?.is_some() {}
        Ok(socket)
    }

    fn set_option<T>(&self, level: libc::c_int, option: libc::c_int, value: &T) -> io::Result<()> {
        set_option(self.fd.as_fd(), level, option, value)
    }

    fn bind(&self, index: libc::c_int) -> io::Result<()> {
        // SAFETY: all-zero is a valid `sockaddr_ll`.
        let mut address: libc::sockaddr_ll = unsafe { zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        address.sll_ifindex = index;
        let length = size_of_val(&address) as libc::socklen_t;
        // SAFETY: `address` is valid for `length` bytes during the call.
        let status = unsafe { libc::bind(self.fd.as_raw_fd(), std::ptr::from_ref(&address).cast(), length) };
        if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Sends one frame as it stands.
    ///
    /// # Errors
    /// What the kernel said: `EMSGSIZE` if the frame exceeds the device's MTU, `ENETDOWN`, `ENOBUFS`, …
    pub fn try_send(&self, frame: &[u8]) -> io::Result<()> {
        // SAFETY: `frame` is valid for its length during the call.
        let sent = unsafe { libc::send(self.fd.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Sends one frame as it stands.
    ///
    /// # Panics
    /// If the kernel refuses it.
    pub fn send(&self, frame: &[u8]) {
        self.try_send(frame).unwrap_or_else(|error| panic!("sending {} bytes: {error}", frame.len()));
    }

    /// Sends a frame that is still to be finished, as a vnet header of ten bytes (`struct virtio_net_hdr`) says.
    ///
    /// # Panics
    /// If the kernel refuses it.
    pub fn send_unfinished(&self, header: [u8; 10], frame: &[u8]) {
        let set = |on: libc::c_int| self.set_option(libc::SOL_PACKET, libc::PACKET_VNET_HDR, &on);
        set(1).expect("vnet headers can be had");
        self.send(&[&header, frame].concat());
        set(0).expect("vnet headers can be left out");
    }

    /// The next received frame, if one comes within `timeout`.
    ///
    /// # Panics
    /// If the socket fails otherwise than by its device going down.
    #[must_use]
    pub fn receive(&self, timeout: Duration) -> Option<Vec<u8>> {
        let mut poll = libc::pollfd { fd: self.fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let timeout_ms = libc::c_int::try_from(timeout.as_millis()).unwrap_or(libc::c_int::MAX);
        loop {
            // SAFETY: `poll` is one valid `pollfd` during the call.
            match unsafe { libc::poll(&raw mut poll, 1, timeout_ms) } {
                0 => return None,
                // A process that was suspended for a while is told so.
                -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => (),
                _ => break,
            }
        }
        match self.receive_now() {
            Ok(frame) => frame,
            Err(error) if error.raw_os_error() == Some(libc::ENETDOWN) => None,
            Err(error) => panic!("receiving: {error}"),
        }
    }

    fn receive_now(&self) -> io::Result<Option<Vec<u8>>> {
        let mut frame = vec![0; FRAME_BYTES];
        let mut control = [0_u64; 16];
        let mut part = libc::iovec { iov_base: frame.as_mut_ptr().cast(), iov_len: frame.len() };
        // SAFETY: all-zero is a valid `msghdr`.
        let mut message: libc::msghdr = unsafe { zeroed() };
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control) as _;
        // SAFETY: the message names `frame` and `control`, which outlive the call.
        let length = unsafe { libc::recvmsg(self.fd.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
        let Ok(length) = usize::try_from(length) else {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::WouldBlock { Ok(None) } else { Err(error) };
        };
        frame.truncate(length);
        if let Some(tag) = removed_tag(&message) {
            frame.splice(12..12, tag);
        }
        Ok(Some(frame))
    }
}

/// The 802.1Q or 802.1ad tag that the kernel took out of a received frame.
fn removed_tag(message: &libc::msghdr) -> Option<[u8; 4]> {
    // SAFETY: the kernel has filled the control buffer that `message` names.
    let header = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: it is null or points into that buffer, which lives as long as `message` is looked at.
    let header = unsafe { header.as_ref() }?;
    let expected = size_of::<libc::tpacket_auxdata>();
    // SAFETY: arithmetic only.
    let length = unsafe { libc::CMSG_LEN(expected as libc::c_uint) };
    if (header.cmsg_level, header.cmsg_type) != (libc::SOL_PACKET, libc::PACKET_AUXDATA)
        || header.cmsg_len < length as _
    {
        return None;
    }
    // SAFETY: the header belongs to a control message, so its data follows it.
    let data = unsafe { libc::CMSG_DATA(header) };
    // SAFETY: the length of the message was checked above; the type has no invalid values.
    let auxiliary = unsafe { data.cast::<libc::tpacket_auxdata>().read_unaligned() };
    if auxiliary.tp_status & libc::TP_STATUS_VLAN_VALID == 0 {
        return None;
    }
    let protocol = if auxiliary.tp_status & libc::TP_STATUS_VLAN_TPID_VALID == 0 {
        libc::ETH_P_8021Q as u16
    } else {
        auxiliary.tp_vlan_tpid
    };
    let [a, b] = protocol.to_be_bytes();
    let [c, d] = auxiliary.tp_vlan_tci.to_be_bytes();
    Some([a, b, c, d])
}
