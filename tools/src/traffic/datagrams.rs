//! Small UDP datagrams, 64 a system call, numbered so that what is lost or overtaken is counted.

use super::protocol::{Datagrams, SMALL_PAYLOAD_BYTES};
use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, recvmmsg, sendmmsg, setsockopt, sockopt};
use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Datagrams a system call.
const BATCH: usize = 64;
/// The receiving socket's buffer: large, so that what is measured is the way there.
const RECEIVE_BUFFER_BYTES: usize = 32 << 20;
/// After this silence nothing more is expected.
const SILENCE: Duration = Duration::from_millis(100);

type Payload = [u8; SMALL_PAYLOAD_BYTES];

/// Counts arrivals by their numbers.
#[derive(Default)]
struct Arrivals {
    delivered: u64,
    reordered: u64,
    next: u64,
    times: Option<(Instant, Instant)>,
}

impl Arrivals {
    fn take(&mut self, number: u64) {
        self.delivered += 1;
        if number < self.next {
            self.reordered += 1;
        } else {
            self.next = number + 1;
        }
    }

    fn stamp(&mut self, now: Instant) {
        self.times = Some((self.times.map_or(now, |(first, _)| first), now));
    }
}

/// The receiving side.
pub(super) struct Sink {
    port: u16,
    ending: Arc<AtomicBool>,
    receiver: JoinHandle<Result<Arrivals>>,
    receive_buffer_drops: u64,
}

impl Sink {
    /// Counts what comes to a free port of `address`, in a thread.
    pub(super) fn start(address: IpAddr) -> Result<Self> {
        let socket =
            UdpSocket::bind((address, 0)).with_context(|| format!("cannot receive UDP on {address}"))?;
        socket.set_read_timeout(Some(SILENCE))?;
        if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES).is_err() {
            // Without CAP_NET_ADMIN the system's limit holds.
            setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER_BYTES)?;
        }
        let port = socket.local_addr()?.port();
        let ending = Arc::new(AtomicBool::new(false));
        let receiver = thread::spawn({
            let ending = Arc::clone(&ending);
            move || receive(&socket, &ending)
        });
        Ok(Self { port, ending, receiver, receive_buffer_drops: receive_buffer_drops() })
    }

    /// The port to send to.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Waits until nothing comes any more, then says what came.
    pub(super) fn finish(self) -> Result<Datagrams> {
        // Pairs with the load in `receive`.
        self.ending.store(true, Ordering::SeqCst);
        let arrivals = self.receiver.join().map_err(|_| anyhow::anyhow!("the receiver died"))??;
        let seconds = arrivals.times.map_or(0.0, |(first, last)| (last - first).as_secs_f64());
        Ok(Datagrams {
            delivered: arrivals.delivered,
            reordered: arrivals.reordered,
            receive_buffer_drops: receive_buffer_drops().saturating_sub(self.receive_buffer_drops),
            seconds,
        })
    }
}

fn receive(socket: &UdpSocket, ending: &AtomicBool) -> Result<Arrivals> {
    let mut arrivals = Arrivals::default();
    let mut headers = MultiHeaders::<()>::preallocate(BATCH, None);
    let mut payloads = [[0; SMALL_PAYLOAD_BYTES]; BATCH];
    loop {
        let received = receive_batch(socket, &mut headers, &mut payloads);
        match received {
            Ok(count) => {
                arrivals.stamp(Instant::now());
                for payload in &payloads[..count] {
                    arrivals.take(number(payload));
                }
            }
            Err(Errno::EAGAIN) if ending.load(Ordering::SeqCst) => return Ok(arrivals),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(error) => return Err(error).context("cannot receive UDP"),
        }
    }
}

fn receive_batch(
    socket: &UdpSocket,
    headers: &mut MultiHeaders<()>,
    payloads: &mut [Payload; BATCH],
) -> Result<usize, Errno> {
    let mut slices = payloads.each_mut().map(|payload| [IoSliceMut::new(payload)]);
    let messages = recvmmsg(socket.as_raw_fd(), headers, slices.iter_mut(), MsgFlags::MSG_WAITFORONE, None)?;
    Ok(messages.count())
}

fn number(payload: &Payload) -> u64 {
    payload.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// Sends as fast as the socket takes it; the number of datagrams that it took.
pub(super) fn send(to: SocketAddr, duration: Duration) -> Result<u64> {
    let unspecified: IpAddr = match to {
        SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((unspecified, 0))?;
    socket.connect(to).with_context(|| format!("cannot send to {to}"))?;
    let mut headers = MultiHeaders::<()>::preallocate(BATCH, None);
    let mut payloads = [[0; SMALL_PAYLOAD_BYTES]; BATCH];
    let mut sent = 0_u64;
    let end = Instant::now() + duration;
    while Instant::now() < end {
        for (position, payload) in payloads.iter_mut().enumerate() {
            payload[..8].copy_from_slice(&(sent + position as u64).to_be_bytes());
        }
        match send_batch(&socket, &mut headers, &payloads) {
            Ok(count) => sent += count as u64,
            // A full queue on the way is the way's answer, not an error of ours.
            Err(Errno::ENOBUFS | Errno::EAGAIN | Errno::EINTR) => {}
            Err(error) => return Err(error).context("cannot send UDP"),
        }
    }
    Ok(sent)
}

fn send_batch(
    socket: &UdpSocket,
    headers: &mut MultiHeaders<()>,
    payloads: &[Payload; BATCH],
) -> Result<usize, Errno> {
    let slices = payloads.each_ref().map(|payload| [IoSlice::new(payload)]);
    let messages =
        sendmmsg(socket.as_raw_fd(), headers, slices.iter(), [None; BATCH], [], MsgFlags::empty())?;
    Ok(messages.count())
}

/// `RcvbufErrors` of UDP over IPv4 and IPv6 in this network namespace; 0 where it cannot be read.
fn receive_buffer_drops() -> u64 {
    let v4 = std::fs::read_to_string("/proc/self/net/snmp").unwrap_or_default();
    let v6 = std::fs::read_to_string("/proc/self/net/snmp6").unwrap_or_default();
    snmp_receive_buffer_errors(&v4) + snmp6_receive_buffer_errors(&v6)
}

fn snmp_receive_buffer_errors(text: &str) -> u64 {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else { return 0 };
    names
        .split(' ')
        .zip(values.split(' '))
        .find(|(name, _)| *name == "RcvbufErrors")
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(0)
}

fn snmp6_receive_buffer_errors(text: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix("Udp6RcvbufErrors"))
        .and_then(|value| value.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn what_is_sent_over_loopback_arrives_in_order() {
        let sink = Sink::start(Ipv4Addr::LOCALHOST.into()).unwrap();
        let sent = send((Ipv4Addr::LOCALHOST, sink.port()).into(), Duration::from_millis(5)).unwrap();
        let seen = sink.finish().unwrap();
        assert!(sent > 0);
        assert_eq!(seen.delivered + seen.receive_buffer_drops, sent);
        assert_eq!(seen.reordered, 0);
    }

    #[test]
    fn overtaken_numbers_are_reordered_and_gaps_are_not() {
        let mut arrivals = Arrivals::default();
        for number in [0, 1, 5, 3, 4, 6] {
            arrivals.take(number);
        }
        assert_eq!((arrivals.delivered, arrivals.reordered), (6, 2));
    }

    #[test]
    fn receive_buffer_errors_are_found_by_name() {
        let text = "Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors\nUdp: 1 2 3 4 77\n";
        assert_eq!(snmp_receive_buffer_errors(text), 77);
        assert_eq!(snmp6_receive_buffer_errors("Udp6InDatagrams 3\nUdp6RcvbufErrors   \t5\n"), 5);
        assert_eq!(snmp_receive_buffer_errors("nonsense"), 0);
    }
}
