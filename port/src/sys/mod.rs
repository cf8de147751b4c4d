//! All `unsafe` of this crate: the TUN driver's ioctls, packet sockets, and memory lent to `io_uring`.

mod lending;
pub(crate) mod packet_socket;
pub(crate) mod ring;
pub(crate) mod tun;
