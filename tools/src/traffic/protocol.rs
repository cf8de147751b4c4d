//! What is said to an agent and what it answers: one JSON object a line.

use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// Size of a ping-pong message, of a connection's request and of its response, in bytes.
pub(crate) const MESSAGE_BYTES: usize = 14;

/// A UDP payload of this size makes a 64-byte Ethernet frame (14 + 20 + 8 + 18 bytes and 4 of FCS).
pub(crate) const SMALL_PAYLOAD_BYTES: usize = 18;

/// What an agent can offer to others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Service {
    /// Takes `streams` TCP connections and counts what they bring, until all have ended.
    Bulk {
        /// Number of connections to expect.
        streams: u16,
        /// Compare every byte with what the sender must have sent.
        verify: bool,
    },
    /// Returns each message of [`MESSAGE_BYTES`] to its sender over TCP.
    Echo,
    /// A connection each: one request, one response, close.
    Responder,
    /// Counts numbered UDP datagrams.
    Datagrams,
}

/// One line to an agent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Request {
    /// Start a service on a port that the kernel chooses: [`Reply::Listening`].
    Serve {
        /// What to offer.
        service: Service,
        /// The own address to offer it on.
        address: IpAddr,
    },
    /// End a service and say what it saw: [`Reply::Bulk`], [`Reply::Datagrams`] or [`Reply::Done`].
    Finish {
        /// The port that [`Reply::Listening`] named.
        port: u16,
    },
    /// Send as much as TCP takes: [`Reply::Bulk`], as the sender saw it.
    SendBulk {
        /// A bulk service.
        to: SocketAddr,
        /// Connections at a time.
        streams: u16,
        /// How long to send.
        duration_ms: u64,
    },
    /// Send numbered datagrams as fast as the socket takes them: [`Reply::Sent`].
    SendDatagrams {
        /// A datagram service.
        to: SocketAddr,
        /// How long to send.
        duration_ms: u64,
    },
    /// Ping-pong with an echo service: [`Reply::RoundTrips`].
    RoundTrips {
        /// An echo service.
        to: SocketAddr,
        /// How long to play.
        duration_ms: u64,
    },
    /// One connection after the other to a responder: [`Reply::Connections`].
    Connections {
        /// A responder.
        to: SocketAddr,
        /// How long to go on.
        duration_ms: u64,
    },
}

/// One line from an agent.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub(crate) enum Reply {
    /// The service waits on this port.
    Listening {
        /// TCP or UDP port.
        port: u16,
    },
    /// Bytes that went or came over TCP.
    Bulk(Bulk),
    /// Datagrams that came.
    Datagrams(Datagrams),
    /// Datagrams that the socket took.
    Sent {
        /// Their number.
        packets: u64,
    },
    /// Result of a ping-pong.
    RoundTrips(RoundTrips),
    /// Result of connecting.
    Connections(Connections),
    /// Nothing to tell.
    Done,
    /// What was asked could not be done.
    Failed {
        /// Why, in one line.
        message: String,
    },
}

/// Bytes that went or came over TCP.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Bulk {
    /// Sum over all streams.
    pub bytes: u64,
    /// From the first byte of any stream to the last of all.
    pub seconds: f64,
    /// Pieces that differed from what must have been sent; 0 unless verified.
    pub corrupt: u64,
}

impl Bulk {
    /// Payload throughput in bits a second; 0 if nothing came.
    pub(crate) fn bits_per_second(&self) -> f64 {
        per_second(self.bytes, self.seconds) * 8.0
    }
}

/// What a datagram service saw.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Datagrams {
    /// Datagrams that came.
    pub delivered: u64,
    /// Those that came after one with a higher number.
    pub reordered: u64,
    /// Those that came too late for the receiving socket's buffer (kernel counter `RcvbufErrors`).
    pub receive_buffer_drops: u64,
    /// From the first to the last.
    pub seconds: f64,
}

impl Datagrams {
    /// Delivered packets a second; 0 if nothing came.
    pub(crate) fn packets_per_second(&self) -> f64 {
        per_second(self.delivered, self.seconds)
    }
}

/// Result of a ping-pong over one TCP connection.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct RoundTrips {
    /// Messages that went and came back.
    pub count: u64,
    /// Half of them were faster than this, in nanoseconds.
    pub p50_ns: u64,
    /// 99 of 100 were faster than this, in nanoseconds.
    pub p99_ns: u64,
    /// The slowest, in nanoseconds.
    pub max_ns: u64,
}

/// Result of connecting again and again.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Connections {
    /// Connections that were made, answered and closed.
    pub completed: u64,
    /// How long it took.
    pub seconds: f64,
}

impl Connections {
    /// Connections a second.
    pub(crate) fn per_second(&self) -> f64 {
        per_second(self.completed, self.seconds)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate is shown with a few digits")]
fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_replies_survive_the_line() {
        let request = Request::Serve {
            service: Service::Bulk { streams: 4, verify: true },
            address: "fd00::1".parse().unwrap(),
        };
        let line = serde_json::to_string(&request).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(serde_json::from_str::<Request>(&line).unwrap(), request);

        let reply = Reply::Bulk(Bulk { bytes: 7, seconds: 0.5, corrupt: 0 });
        let line = serde_json::to_string(&reply).unwrap();
        assert_eq!(serde_json::from_str::<Reply>(&line).unwrap(), reply);
    }

    #[test]
    fn rates_of_nothing_are_zero() {
        assert_eq!(Bulk::default().bits_per_second(), 0.0);
        assert_eq!(Datagrams::default().packets_per_second(), 0.0);
    }

    #[test]
    fn bulk_rate_is_in_bits() {
        assert_eq!(Bulk { bytes: 1000, seconds: 2.0, corrupt: 0 }.bits_per_second(), 4000.0);
    }
}
