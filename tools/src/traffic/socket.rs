//! Sockets with deadlines: a lost frame must end in an error, never in a program that hangs.

use anyhow::{Context, Result};
use nix::sys::socket::{setsockopt, sockopt};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may be silent: well above TCP's first retransmissions.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Listens on a free port of `address`.
pub(super) fn listen(address: IpAddr) -> Result<TcpListener> {
    TcpListener::bind((address, 0)).with_context(|| format!("cannot listen on {address}"))
}

/// A connection that sends at once and gives up when nothing moves for ten seconds.
pub(super) fn connect(to: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, CONNECT_TIMEOUT)
        .with_context(|| format!("cannot connect to {to}"))?;
    prepare(&stream)?;
    Ok(stream)
}

/// Sets the options of [`connect`] on an accepted connection.
pub(super) fn prepare(stream: &TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    stream.set_write_timeout(Some(SILENCE_MAX))?;
    Ok(())
}

/// Makes the close of `stream` leave no TIME_WAIT behind: it is a reset. To be used only after the peer's
/// end of the stream was seen, so that nothing is lost.
pub(super) fn close_without_time_wait(stream: &TcpStream) -> Result<()> {
    let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    setsockopt(stream, sockopt::Linger, &linger).context("cannot set SO_LINGER")
}
