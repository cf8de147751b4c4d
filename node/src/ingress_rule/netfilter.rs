//! A conversation with nf_tables.

use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::io::{Errno, Result};
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

use super::message::{Reply, Request, batch, replies};

/// An error brings the message along that it is about.
const REPLY_BYTES: usize = 64 * 1024;

/// A socket to the netfilter of the network namespace of the thread that opened it. The kernel answers before a
/// send returns, so nothing is ever waited for.
#[derive(Debug)]
pub(super) struct Netfilter {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Netfilter {
    pub(super) fn open() -> Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(NETFILTER))?;
        Ok(Self { socket, buffer: Vec::with_capacity(REPLY_BYTES) })
    }

    /// Has all requests carried out, or none: the first one that is refused says why.
    pub(super) fn commit(&mut self, requests: &[Request]) -> Result<()> {
        self.converse(&batch(requests), |_| {})
    }

    /// The attributes of each thing that the kernel shows.
    pub(super) fn ask(&mut self, request: &Request) -> Result<Vec<Vec<u8>>> {
        let mut shown = Vec::new();
        self.converse(&request.encode(), |attributes| shown.push(attributes.to_vec()))?;
        Ok(shown)
    }

    fn converse(&mut self, message: &[u8], mut show: impl FnMut(&[u8])) -> Result<()> {
        let kernel = SocketAddrNetlink::new(0, 0);
        sendto(&self.socket, message, SendFlags::empty(), &kernel)?;
        loop {
            self.buffer.clear();
            recv(&self.socket, spare_capacity(&mut self.buffer), RecvFlags::empty())?;
            for reply in replies(&self.buffer) {
                match reply {
                    Reply::Refused(code) => return Err(Errno::from_raw_os_error(code)),
                    Reply::Done => return Ok(()),
                    Reply::Shown(attributes) => show(attributes),
                }
            }
        }
    }
}
