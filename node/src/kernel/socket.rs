//! The two sockets to rtnetlink: one that listens, one that asks. They are in the namespace of the thread that made
//! them, whichever thread uses them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NLMSG_OVERRUN, NetlinkBuffer,
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::heard::{self, Heard, INET, INET6, RTM_GETNEXTHOP, UNSPECIFIED};

/// The kernel builds no longer ones: `NLMSG_GOODSIZE` bounds what it tells, and 32 KiB one part of a dump.
const BUFFER_BYTES: usize = 64 * 1024;
const HEADER_BYTES: usize = 16;

/// What changes are heard of. The kernel tells of nexthop objects since Linux 5.3.
const GROUPS: [u32; 6] = [
    libc::RTNLGRP_LINK,
    libc::RTNLGRP_IPV4_IFADDR,
    libc::RTNLGRP_IPV6_IFADDR,
    libc::RTNLGRP_IPV4_ROUTE,
    libc::RTNLGRP_IPV6_ROUTE,
    libc::RTNLGRP_NEIGH,
];

/// What is asked for, in this order: type, family, bytes of the request.
///
/// Devices are first for a reason. The kernel says that a device is down, or an address gone, before it removes the
/// routes; both it does under its RTNL lock, and whoever asks for devices waits for that.
const QUESTIONS: [(u16, u8, usize); 7] = [
    (libc::RTM_GETLINK, UNSPECIFIED, 16),
    (libc::RTM_GETADDR, INET, 8),
    (libc::RTM_GETADDR, INET6, 8),
    (libc::RTM_GETROUTE, INET, 12),
    (libc::RTM_GETROUTE, INET6, 12),
    (libc::RTM_GETNEIGH, UNSPECIFIED, 12),
    (RTM_GETNEXTHOP, UNSPECIFIED, 8),
];

/// Hears what the kernel says of its own accord.
pub(super) struct Listener {
    socket: Socket,
    buffer: Vec<u8>,
}

impl Listener {
    pub(super) fn join(receive_buffer_bytes: usize) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        // Without CAP_NET_ADMIN, as much as is allowed to everybody.
        if rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, receive_buffer_bytes).is_err() {
            rustix::net::sockopt::set_socket_recv_buffer_size(&socket, receive_buffer_bytes)?;
        }
        socket.set_non_blocking(true)?;
        socket.bind_auto()?;
        // Other processes cannot send to it.
        socket.connect(&SocketAddr::new(0, 0))?;
        for group in GROUPS {
            socket.add_membership(group)?;
        }
        if let Err(error) = socket.add_membership(libc::RTNLGRP_NEXTHOP) {
            tracing::debug!(%error, "the kernel does not tell of nexthop objects");
        }
        Ok(Self { socket, buffer: Vec::with_capacity(BUFFER_BYTES) })
    }

    /// The next datagram: true if there was one, and `hear` was called for what it says.
    ///
    /// # Errors
    /// ENOBUFS: the kernel had more to say than the receive buffer takes.
    pub(super) fn hear(&mut self, mut hear: impl FnMut(Heard)) -> io::Result<bool> {
        match receive(&self.socket, &mut self.buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            received => received?,
        }
        for message in messages(&self.buffer) {
            if let Some(heard) = heard::read(message.message_type(), message.flags(), message.payload()) {
                hear(heard);
            }
        }
        Ok(true)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Asks the kernel for all that it has.
pub(super) struct Asker {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

/// Whether a dump shows one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Moment {
    One,
    /// Something changed meanwhile (`NLM_F_DUMP_INTR`).
    Several,
}

impl Asker {
    pub(super) fn connect() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // Without it, older kernels tell more than is asked for, which is passed over.
        if let Err(error) = socket.set_netlink_get_strict_chk(true) {
            tracing::debug!(%error, "the kernel does not check requests strictly");
        }
        Ok(Self { socket, sequence: 0, buffer: Vec::with_capacity(BUFFER_BYTES) })
    }

    /// Calls `hear` for all devices, addresses, routes, neighbors and nexthop objects.
    pub(super) fn dump(&mut self, mut hear: impl FnMut(Heard)) -> io::Result<Moment> {
        let mut moment = Moment::One;
        for (message_type, family, bytes) in QUESTIONS {
            match self.ask(message_type, family, bytes, &mut hear) {
                Ok(Moment::One) => {}
                Ok(Moment::Several) => moment = Moment::Several,
                // Before Linux 5.3.
                Err(error)
                    if message_type == RTM_GETNEXTHOP && error.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(moment)
    }

    fn ask(
        &mut self,
        message_type: u16,
        family: u8,
        bytes: usize,
        hear: &mut impl FnMut(Heard),
    ) -> io::Result<Moment> {
        self.sequence = self.sequence.wrapping_add(1);
        self.socket.send(&request(message_type, family, bytes, self.sequence), 0)?;
        let mut moment = Moment::One;
        loop {
            receive(&self.socket, &mut self.buffer)?;
            for message in messages(&self.buffer) {
                if message.sequence_number() != self.sequence {
                    continue;
                }
                if message.flags() & NLM_F_DUMP_INTR != 0 {
                    moment = Moment::Several;
                }
                let payload = message.payload();
                match message.message_type() {
                    // An error's number; 0 if there is none.
                    NLMSG_DONE | NLMSG_ERROR => return error_in(payload).map_or(Ok(moment), Err),
                    NLMSG_OVERRUN => return Err(io::Error::other("the kernel's answer is not whole")),
                    // Without IPv6 in the kernel, it answers with what it has.
                    _ if family != UNSPECIFIED && payload.first() != Some(&family) => {}
                    message_type => {
                        heard::read(message_type, message.flags(), payload).map(&mut *hear);
                    }
                }
            }
        }
    }
}

fn request(message_type: u16, family: u8, bytes: usize, sequence: u32) -> Vec<u8> {
    let mut request = vec![0; HEADER_BYTES + bytes];
    request[HEADER_BYTES] = family;
    if message_type == libc::RTM_GETLINK {
        // One attribute: no counters, which take long to gather.
        request.extend([8_u16.to_ne_bytes(), libc::IFLA_EXT_MASK.to_ne_bytes()].concat());
        request.extend(libc::RTEXT_FILTER_SKIP_STATS.to_ne_bytes());
    }
    let length = u32::try_from(request.len()).unwrap_or_default();
    let mut header = NetlinkBuffer::new(&mut request);
    header.set_length(length);
    header.set_message_type(message_type);
    header.set_flags(NLM_F_REQUEST | NLM_F_DUMP);
    header.set_sequence_number(sequence);
    request
}

fn error_in(payload: &[u8]) -> Option<io::Error> {
    let code = i32::from_ne_bytes(*payload.first_chunk()?);
    (code != 0).then(|| io::Error::from_raw_os_error(code.saturating_abs()))
}

/// One datagram, whole.
fn receive(socket: &Socket, buffer: &mut Vec<u8>) -> io::Result<()> {
    loop {
        buffer.clear();
        match socket.recv(buffer, libc::MSG_TRUNC) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(bytes) if bytes > buffer.len() => {
                return Err(io::Error::other(format!("a message of {bytes} bytes is too long")));
            }
            Ok(_) => return Ok(()),
        }
    }
}

/// The messages of a datagram; what does not hold together ends it.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = NetlinkBuffer<&[u8]>> {
    std::iter::from_fn(move || {
        let message = NetlinkBuffer::new_checked(bytes).ok()?;
        let length = usize::try_from(message.length()).unwrap_or(usize::MAX);
        // Each is padded to four bytes (NLMSG_ALIGN).
        bytes = length.checked_next_multiple_of(4).and_then(|next| bytes.get(next..)).unwrap_or_default();
        Some(message)
    })
}
