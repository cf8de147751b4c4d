//! People who talk: ping, TCP with a hash at both ends, UDP.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::sys::cut_datagrams;
use crate::{DEADLINE, Namespace, wait_until};

/// One echo request with `payload_bytes` that may not be fragmented; true if it is answered within two seconds.
#[must_use]
pub fn ping(from: &Namespace, to: IpAddr, payload_bytes: usize) -> bool {
    let (size, to) = (payload_bytes.to_string(), to.to_string());
    from.output("ping", &["-n", "-c", "1", "-W", "2", "-M", "do", "-s", &size, &to]).status.success()
}

/// The unspecified address of the same family.
fn any_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// A listener on a free port of `address` inside `namespace`.
///
/// # Panics
/// If the address is not there.
#[must_use]
pub fn listen(namespace: &Namespace, address: IpAddr) -> (TcpListener, SocketAddr) {
    let listener = namespace
        .run(|| TcpListener::bind((address, 0)))
        .unwrap_or_else(|error| panic!("listening on {address}: {error}"));
    let address = listener.local_addr().expect("a bound socket has an address");
    (listener, address)
}

/// A connection between two namespaces: the end of `from`, then the end of `to`.
///
/// # Panics
/// If it cannot be made in time.
#[must_use]
pub fn connect(from: &Namespace, to: &Namespace, address: IpAddr) -> (TcpStream, TcpStream) {
    let (listener, address) = listen(to, address);
    let near = from
        .run(|| TcpStream::connect_timeout(&address, DEADLINE))
        .unwrap_or_else(|error| panic!("connecting to {address}: {error}"));
    let (far, _) = listener.accept().expect("a connection was made");
    for end in [&near, &far] {
        end.set_read_timeout(Some(DEADLINE)).expect("a timeout can be set");
        end.set_write_timeout(Some(DEADLINE)).expect("a timeout can be set");
    }
    (near, far)
}

/// Says something in both directions and panics unless it is heard.
///
/// # Panics
/// If the connection is broken or silent.
pub fn exchange(near: &TcpStream, far: &TcpStream) {
    for (mut speaker, mut listener) in [(near, far), (far, near)] {
        let mut heard = [0; 5];
        speaker.write_all(b"hello").expect("the connection takes data");
        listener.read_exact(&mut heard).expect("the data arrives");
        assert_eq!(&heard, b"hello");
    }
}

/// Sends `bytes` pseudo-random bytes over one TCP connection and compares the SHA-256 of what was sent with that
/// of what arrived.
///
/// # Panics
/// If the connection fails or the hashes differ.
pub fn bulk_transfer(from: &Namespace, to: &Namespace, address: IpAddr, bytes: usize) {
    let (mut near, mut far) = connect(from, to, address);
    let sender = std::thread::spawn(move || {
        let mut generator = crate::script::Random::new(bytes as u64);
        let mut hash = Sha256::new();
        let mut left = bytes;
        let mut chunk = vec![0; 256 << 10];
        while left > 0 {
            let length = left.min(chunk.len());
            generator.fill(&mut chunk[..length]);
            hash.update(&chunk[..length]);
            near.write_all(&chunk[..length]).expect("the connection takes data");
            left -= length;
        }
        hash.finalize()
    });
    let mut hash = Sha256::new();
    let mut received = 0;
    let mut chunk = vec![0; 256 << 10];
    loop {
        match far.read(&mut chunk).expect("the data arrives") {
            0 => break,
            length => {
                hash.update(&chunk[..length]);
                received += length;
            }
        }
    }
    let sent = sender.join().expect("the sender finished");
    assert_eq!(received, bytes, "bytes received over {address}");
    assert_eq!(hash.finalize(), sent, "the payload's hash over {address}");
}

/// Sends a datagram of each size and compares what arrives; sizes above the MTU travel in fragments.
///
/// # Panics
/// If one is lost or altered.
pub fn send_datagrams(from: &Namespace, to: &Namespace, address: IpAddr, sizes: &[usize]) {
    let (speaker, listener, target) = datagram_sockets(from, to, address);
    let mut generator = crate::script::Random::new(1);
    for &size in sizes {
        let mut sent = vec![0; size];
        generator.fill(&mut sent);
        speaker.send_to(&sent, target).unwrap_or_else(|error| panic!("sending {size} bytes: {error}"));
        let mut heard = vec![0; 65_536];
        let length = loop {
            match listener.recv(&mut heard) {
                Ok(length) => break length,
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(error) => panic!("{size} bytes to {target}: {error}"),
            }
        };
        assert!(heard[..length] == sent[..], "a datagram of {size} bytes to {target} was altered");
    }
}

/// Sends as much as one call can by a socket that has the kernel cut it into datagrams of `size` bytes, `rounds`
/// times, and compares what arrives.
///
/// # Panics
/// If one is lost or altered.
pub fn send_cut_datagrams(from: &Namespace, to: &Namespace, address: IpAddr, size: u16, rounds: usize) {
    let (speaker, listener, target) = datagram_sockets(from, to, address);
    cut_datagrams(&speaker, size).expect("the kernel has UDP segmentation");
    let mut generator = crate::script::Random::new(size.into());
    // 64 datagrams are the most that every kernel takes at once.
    let count = (65_000 / usize::from(size)).min(64);
    let mut sent = vec![0; count * usize::from(size) - 1];
    for _ in 0..rounds {
        generator.fill(&mut sent);
        speaker.send_to(&sent, target).unwrap_or_else(|error| panic!("sending {count} of {size}: {error}"));
        let mut heard = vec![0; 65_536];
        for datagram in sent.chunks(size.into()) {
            let length =
                listener.recv(&mut heard).unwrap_or_else(|error| panic!("{size} to {target}: {error}"));
            assert!(heard[..length] == *datagram, "a datagram of {size} bytes to {target} was altered");
        }
    }
}

fn datagram_sockets(from: &Namespace, to: &Namespace, address: IpAddr) -> (UdpSocket, UdpSocket, SocketAddr) {
    let listener = to.run(|| UdpSocket::bind((address, 0))).expect("the address is there");
    let speaker = from.run(|| UdpSocket::bind((any_of(address), 0))).expect("a socket can be bound");
    listener.set_read_timeout(Some(DEADLINE)).expect("a timeout can be set");
    let target = listener.local_addr().expect("a bound socket has an address");
    (speaker, listener, target)
}

/// A steady stream of datagrams, to find out whether anything is lost meanwhile.
#[derive(Debug)]
pub struct Trickle {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    speaker: JoinHandle<()>,
    listener: JoinHandle<u64>,
}

impl Trickle {
    /// Sends a datagram every half millisecond or so until [`finish`](Self::finish).
    ///
    /// # Panics
    /// If the sockets cannot be made.
    #[must_use]
    pub fn start(from: &Namespace, to: &Namespace, address: IpAddr) -> Self {
        let (speaker, listener, target) = datagram_sockets(from, to, address);
        listener.set_read_timeout(Some(Duration::from_millis(500))).expect("a timeout can be set");
        // On a busy machine the listener may not run for a while, and that is not to look like a loss.
        rustix::net::sockopt::set_socket_recv_buffer_size_force(&listener, 8 << 20)
            .expect("a buffer can be set");
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let (stopped, counter) = (Arc::clone(&stop), Arc::clone(&sent));
        let speaker = std::thread::spawn(move || {
            // Relaxed: nothing but the flag and the count themselves is told by them.
            while !stopped.load(Ordering::Relaxed) {
                if speaker.send_to(&[0; 100], target).is_ok() {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_micros(500));
            }
        });
        let stopped = Arc::clone(&stop);
        let listener = std::thread::spawn(move || {
            let mut heard = 0_u64;
            let mut datagram = [0; 100];
            loop {
                match listener.recv(&mut datagram) {
                    Ok(_) => heard += 1,
                    Err(error) if error.kind() == ErrorKind::Interrupted => (),
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                        if stopped.load(Ordering::Relaxed) {
                            return heard;
                        }
                    }
                    Err(error) => panic!("listening: {error}"),
                }
            }
        });
        Self { stop, sent, speaker, listener }
    }

    /// Stops when a few hundred were sent, and returns how many were sent and how many were heard.
    ///
    /// # Panics
    /// If a socket failed meanwhile.
    #[must_use]
    pub fn finish(self) -> (u64, u64) {
        wait_until("enough datagrams", || (self.sent.load(Ordering::Relaxed) >= 300).then_some(()));
        self.stop.store(true, Ordering::Relaxed);
        self.speaker.join().expect("the speaker did not fail");
        let sent = self.sent.load(Ordering::Relaxed);
        let heard = self.listener.join().expect("the listener did not fail");
        (sent, heard)
    }
}
