//! Notices when a link changes in a namespace, without asking again and again.
//!
//! Each watched port has a netlink socket in its namespace that hears of links (`RTMGRP_LINK`). One thread
//! sleeps on all of them. What it hears is not read as news, only as a reason to look: the control side
//! empties the socket, arms it anew and asks for the device's state. Until then the socket stays silent
//! (`EPOLLONESHOT`), so a pod that sets its link up and down all day costs what the control side allows.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;

use packet::PortId;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};

/// The group of link messages (`RTMGRP_LINK`, linux/rtnetlink.h).
const LINKS: u32 = 1;
/// The event that ends the thread.
const STOP: u64 = u64::MAX;
const EVENTS: usize = 32;

/// A netlink socket (of `NETLINK_ROUTE`, which is protocol 0) in the calling thread's namespace that becomes readable when a link changes there.
///
/// # Errors
/// What the system says.
pub(super) fn socket_here() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    bind(&socket, &SocketAddrNetlink::new(0, LINKS))?;
    Ok(socket)
}

/// Reads away what waits.
pub(crate) fn drain(socket: &OwnedFd) {
    let mut buffer = Vec::with_capacity(8192);
    // An overrun is one error before the rest can be read; anything else ends it.
    loop {
        buffer.clear();
        match recv(socket, spare_capacity(&mut buffer), RecvFlags::empty()) {
            Ok(_) | Err(Errno::NOBUFS | Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

/// The thread that sleeps on all sockets.
#[derive(Debug)]
pub(crate) struct LinkWatcher {
    epoll: Arc<OwnedFd>,
    stop: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

impl LinkWatcher {
    /// Starts the thread. `notice` is called from it with the port whose namespace has news.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn start(notice: impl Fn(PortId) + Send + 'static) -> io::Result<Self> {
        let epoll = Arc::new(epoll::create(CreateFlags::CLOEXEC)?);
        let stop = eventfd(0, EventfdFlags::CLOEXEC)?;
        epoll::add(&*epoll, &stop, EventData::new_u64(STOP), EventFlags::IN)?;
        let events = Arc::clone(&epoll);
        let thread = std::thread::Builder::new().name("links".to_owned()).spawn(move || {
            let mut ready = Vec::with_capacity(EVENTS);
            loop {
                ready.clear();
                match epoll::wait(events.as_fd(), spare_capacity(&mut ready), None) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(_) => return,
                }
                for event in &ready {
                    let number = event.data.u64();
                    if number == STOP {
                        return;
                    }
                    if let Some(port) = u16::try_from(number).ok().and_then(PortId::new) {
                        notice(port);
                    }
                }
            }
        })?;
        Ok(Self { epoll, stop, thread: Some(thread) })
    }

    /// Begins to watch; it ends when the socket is closed.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn add(&self, socket: &OwnedFd, port: PortId) -> io::Result<()> {
        Ok(epoll::add(&*self.epoll, socket, data(port), EventFlags::IN | EventFlags::ONESHOT)?)
    }

    /// Asks to be told once more.
    pub(crate) fn arm(&self, socket: &OwnedFd, port: PortId) {
        // The socket was added before, and memory is not needed to change it.
        let _ = epoll::modify(&*self.epoll, socket, data(port), EventFlags::IN | EventFlags::ONESHOT);
    }
}

fn data(port: PortId) -> EventData {
    EventData::new_u64(port.get().into())
}

impl Drop for LinkWatcher {
    fn drop(&mut self) {
        // Without the eight bytes the thread would not end, so it is not waited for then.
        if rustix::io::write(&self.stop, &1_u64.to_ne_bytes()).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    #[test]
    fn news_is_told_once_until_it_is_asked_for_again() {
        let (told, hear) = channel();
        let watcher = LinkWatcher::start(move |port| told.send(port).unwrap()).unwrap();
        let (near, far) = UnixDatagram::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let near = OwnedFd::from(near);
        let port = PortId::new(7).unwrap();
        watcher.add(&near, port).unwrap();
        for _ in 0..2 {
            far.send(b"news").unwrap();
            far.send(b"more").unwrap();
            assert_eq!(hear.recv_timeout(Duration::from_secs(5)), Ok(port));
            far.send(b"and more").unwrap();
            assert!(hear.recv_timeout(Duration::from_millis(20)).is_err());
            drain(&near);
            watcher.arm(&near, port);
            assert!(hear.recv_timeout(Duration::from_millis(20)).is_err());
        }
    }

    #[test]
    fn a_link_socket_can_be_had_without_rights() {
        drain(&socket_here().unwrap());
    }
}
