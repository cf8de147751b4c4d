//! Ping-pong and connections over TCP.

use super::protocol::{Connections, MESSAGE_BYTES, RoundTrips};
use super::socket;
use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Round trips before the clock starts: the address is resolved and the congestion window settled.
const WARM_UP: usize = 20;

/// A service that takes connections until it is told to end.
pub(super) struct Server {
    address: SocketAddr,
    ending: Arc<AtomicBool>,
    acceptor: JoinHandle<()>,
}

impl Server {
    /// Returns every message to its sender; a thread a connection.
    pub(super) fn echo(address: IpAddr) -> Result<Self> {
        Self::start(address, |stream| {
            // An error is the end of this connection; the client reports it.
            thread::spawn(move || echo(stream));
        })
    }

    /// Answers one request a connection, one connection after the other.
    pub(super) fn responder(address: IpAddr) -> Result<Self> {
        Self::start(address, |mut stream| {
            let mut message = [0; MESSAGE_BYTES];
            // A connection without a request is dropped; the client reports it.
            let _ = stream.read_exact(&mut message).and_then(|()| stream.write_all(&message));
        })
    }

    fn start(address: IpAddr, mut serve: impl FnMut(TcpStream) + Send + 'static) -> Result<Self> {
        let listener = socket::listen(address)?;
        let address = listener.local_addr()?;
        let ending = Arc::new(AtomicBool::new(false));
        let acceptor = thread::spawn({
            let ending = Arc::clone(&ending);
            move || accept(&listener, &ending, &mut serve)
        });
        Ok(Self { address, ending, acceptor })
    }

    /// The port to connect to.
    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Takes no more connections.
    pub(super) fn finish(self) -> Result<()> {
        // Pairs with the load in `accept`; the connection below comes after it.
        self.ending.store(true, Ordering::SeqCst);
        drop(socket::connect(self.address)?);
        self.acceptor.join().map_err(|_| anyhow::anyhow!("a service died"))
    }
}

fn accept(listener: &TcpListener, ending: &AtomicBool, serve: &mut impl FnMut(TcpStream)) {
    for stream in listener.incoming() {
        if ending.load(Ordering::SeqCst) {
            break;
        }
        if let Ok(stream) = stream
            && socket::prepare(&stream).is_ok()
        {
            serve(stream);
        }
    }
}

fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    let mut message = [0; MESSAGE_BYTES];
    loop {
        stream.read_exact(&mut message)?;
        stream.write_all(&message)?;
    }
}

/// Plays ping-pong over one connection.
pub(super) fn round_trips(to: SocketAddr, duration: Duration) -> Result<RoundTrips> {
    let mut stream = socket::connect(to)?;
    let mut times = Histogram::<u64>::new_with_bounds(100, 60_000_000_000, 3).context("histogram")?;
    for _ in 0..WARM_UP {
        round_trip(&mut stream)?;
    }
    let end = Instant::now() + duration;
    loop {
        let start = Instant::now();
        if start >= end {
            break;
        }
        round_trip(&mut stream)?;
        times.saturating_record(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
    Ok(RoundTrips {
        count: times.len(),
        p50_ns: times.value_at_quantile(0.50),
        p99_ns: times.value_at_quantile(0.99),
        max_ns: times.max(),
    })
}

fn round_trip(stream: &mut TcpStream) -> Result<()> {
    let ping = [0x55; MESSAGE_BYTES];
    let mut pong = [0; MESSAGE_BYTES];
    stream.write_all(&ping).context("a ping could not be sent")?;
    stream.read_exact(&mut pong).context("a ping was not answered")?;
    ensure!(pong == ping, "a ping was answered with other bytes");
    Ok(())
}

/// Connects, asks, reads the answer and closes, one connection after the other.
pub(super) fn connections(to: SocketAddr, duration: Duration) -> Result<Connections> {
    let start = Instant::now();
    let mut completed = 0;
    while start.elapsed() < duration {
        connection(to)?;
        completed += 1;
    }
    Ok(Connections { completed, seconds: start.elapsed().as_secs_f64() })
}

fn connection(to: SocketAddr) -> Result<()> {
    let mut stream = socket::connect(to)?;
    let request = [0x33; MESSAGE_BYTES];
    stream.write_all(&request).context("a request could not be sent")?;
    // One byte more than the response, so that the end of the stream is seen too.
    let mut response = [0; MESSAGE_BYTES + 1];
    let mut filled = 0;
    loop {
        match stream.read(&mut response[filled..]).context("a request was not answered")? {
            0 => break,
            count => filled += count,
        }
    }
    ensure!(response[..filled] == request, "a request was answered with other bytes");
    socket::close_without_time_wait(&stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const SHORT: Duration = Duration::from_millis(30);

    #[test]
    fn an_echo_is_timed() {
        let server = Server::echo(Ipv4Addr::LOCALHOST.into()).unwrap();
        let times = round_trips((Ipv4Addr::LOCALHOST, server.port()).into(), SHORT).unwrap();
        assert!(times.count > 0);
        assert!(times.p50_ns > 0 && times.p50_ns <= times.p99_ns && times.p99_ns <= times.max_ns);
        server.finish().unwrap();
    }

    #[test]
    fn connections_are_counted_and_the_service_ends() {
        let server = Server::responder(Ipv4Addr::LOCALHOST.into()).unwrap();
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port()));
        let result = connections(to, SHORT).unwrap();
        assert!(result.completed > 0 && result.per_second() > 0.0);
        server.finish().unwrap();
        assert!(connections(to, SHORT).is_err());
    }
}
