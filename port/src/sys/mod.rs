//! All `unsafe` of this crate: the TUN driver's ioctls, and memory lent to `io_uring`.

pub(crate) mod ring;
pub(crate) mod tun;
