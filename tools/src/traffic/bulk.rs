//! Bulk TCP: large writes on one or several connections, every byte counted and, if wanted, compared.

use super::protocol::Bulk;
use super::socket;
use anyhow::{Context, Result, bail, ensure};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// The stream repeats itself after so many bytes. A prime: a segment that is lost, doubled or misplaced
/// by any power of two or multiple of an MSS shows in the comparison.
const PERIOD_BYTES: usize = 131_071;
/// How long [`Sink::finish`] waits for streams that have not ended.
const FINISH_TIMEOUT: Duration = Duration::from_secs(15);

/// Two periods of the stream, so that a period can be cut from any position.
fn pattern() -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let period = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    let mut bytes: Vec<u8> = period.take(PERIOD_BYTES).collect();
    bytes.extend_from_within(..);
    bytes
}

/// One stream as its receiver saw it.
struct Stream {
    bytes: u64,
    corrupt: u64,
    first: Instant,
    last: Instant,
}

/// The receiving side.
pub(super) struct Sink {
    port: u16,
    streams: u16,
    results: Receiver<Result<Stream>>,
}

impl Sink {
    /// Listens for `streams` connections in threads of their own.
    pub(super) fn start(address: IpAddr, streams: u16, verify: bool) -> Result<Self> {
        let listener = socket::listen(address)?;
        let port = listener.local_addr()?.port();
        let (sender, results) = mpsc::channel();
        thread::spawn(move || {
            for _ in 0..streams {
                let sender = sender.clone();
                let accepted = accept(&listener);
                thread::spawn(move || {
                    // A closed channel means that nobody waits for the result any more.
                    let _ = sender.send(accepted.and_then(|stream| drain(stream, verify)));
                });
            }
        });
        Ok(Self { port, streams, results })
    }

    /// The port to connect to.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Waits for all streams to end and sums them up.
    pub(super) fn finish(self) -> Result<Bulk> {
        let deadline = Instant::now() + FINISH_TIMEOUT;
        let mut streams = Vec::new();
        for _ in 0..self.streams {
            let left = deadline.saturating_duration_since(Instant::now());
            streams.push(self.results.recv_timeout(left).context("a TCP stream did not end")??);
        }
        let (Some(first), Some(last)) =
            (streams.iter().map(|stream| stream.first).min(), streams.iter().map(|stream| stream.last).max())
        else {
            bail!("no TCP stream was asked for");
        };
        Ok(Bulk {
            bytes: streams.iter().map(|stream| stream.bytes).sum(),
            seconds: last.saturating_duration_since(first).as_secs_f64(),
            corrupt: streams.iter().map(|stream| stream.corrupt).sum(),
        })
    }
}

fn accept(listener: &TcpListener) -> Result<TcpStream> {
    let (stream, _) = listener.accept()?;
    socket::prepare(&stream)?;
    Ok(stream)
}

/// Reads to the end of the stream, then closes: that tells the sender that all has come.
fn drain(mut stream: TcpStream, verify: bool) -> Result<Stream> {
    let expected = if verify { pattern() } else { Vec::new() };
    let mut buffer = vec![0; PERIOD_BYTES];
    let (mut bytes, mut corrupt, mut position) = (0_u64, 0, 0);
    let mut first = None;
    loop {
        let count = match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).context("a TCP stream broke"),
        };
        first.get_or_insert_with(Instant::now);
        if verify && buffer[..count] != expected[position..position + count] {
            corrupt += 1;
        }
        position = (position + count) % PERIOD_BYTES;
        bytes += count as u64;
    }
    let last = Instant::now();
    Ok(Stream { bytes, corrupt, first: first.unwrap_or(last), last })
}

/// Sends on `streams` connections for `duration`; returns when the receiver has read everything.
pub(super) fn send(to: SocketAddr, streams: u16, duration: Duration) -> Result<Bulk> {
    ensure!(streams > 0, "no TCP stream was asked for");
    let connections = (0..streams).map(|_| socket::connect(to)).collect::<Result<Vec<_>>>()?;
    let start = Instant::now();
    let senders: Vec<_> = connections
        .into_iter()
        .map(|stream| thread::spawn(move || send_stream(stream, start + duration)))
        .collect();
    let mut bytes = 0;
    for sender in senders {
        bytes += sender.join().map_err(|_| anyhow::anyhow!("a sender died"))??;
    }
    Ok(Bulk { bytes, seconds: start.elapsed().as_secs_f64(), corrupt: 0 })
}

fn send_stream(mut stream: TcpStream, deadline: Instant) -> Result<u64> {
    let pattern = pattern();
    let (mut bytes, mut position) = (0_u64, 0);
    while Instant::now() < deadline {
        let count = match stream.write(&pattern[position..position + PERIOD_BYTES]) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => 0,
            Err(error) => return Err(error).context("a TCP stream broke"),
        };
        position = (position + count) % PERIOD_BYTES;
        bytes += count as u64;
    }
    stream.shutdown(Shutdown::Write)?;
    // The receiver closes when it has read all.
    let rest = stream.read(&mut [0; 1]).context("the receiver did not read to the end")?;
    ensure!(rest == 0, "the receiver of a bulk stream answered");
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn every_byte_that_is_sent_is_counted_and_equal() {
        let sink = Sink::start(Ipv4Addr::LOCALHOST.into(), 2, true).unwrap();
        let to = (Ipv4Addr::LOCALHOST, sink.port()).into();
        let sent = send(to, 2, Duration::from_millis(50)).unwrap();
        let received = sink.finish().unwrap();
        assert_eq!(received.bytes, sent.bytes);
        assert!(received.bytes > 0);
        assert_eq!(received.corrupt, 0);
    }

    #[test]
    fn a_changed_byte_is_found() {
        let sink = Sink::start(Ipv4Addr::LOCALHOST.into(), 1, true).unwrap();
        let mut bytes = pattern();
        bytes[1000] ^= 1;
        let mut stream = socket::connect((Ipv4Addr::LOCALHOST, sink.port()).into()).unwrap();
        stream.write_all(&bytes[..PERIOD_BYTES]).unwrap();
        drop(stream);
        assert!(sink.finish().unwrap().corrupt > 0);
    }
}
