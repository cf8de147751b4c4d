//! Small UDP datagrams of one flow that wait for the same port, joined into one super-frame.
//!
//! The receiving kernel then walks its stack once for up to [`SEGMENTS_MAX`] datagrams and cuts them apart
//! right before the socket (or not at all, if the socket asked for `UDP_GRO`). It is what the kernel's own
//! `rx-udp-gro-forwarding` does. What the receiver gets is what was sent, datagram by datagram:
//!
//! - only datagrams whose sender left the checksum to complete, so that no unverified checksum is ever
//!   covered up; the IPv4 header checksum of each is verified before it is replaced;
//! - IPv4 without options and with DF, whose identification means nothing (RFC 6864 §4.1), or IPv6 without
//!   extension headers;
//! - headers equal in everything but length, identification and what follows from them in the checksums;
//!   payloads of one length, of which the last may be shorter, as for any USO frame.
//!
//! The first frame of a run is the leader: payloads are appended to it in its own buffer. After it was sent,
//! [`UdpRun::restore`] makes it the frame that it was.

use crate::checksum::{Change, Sum};
use crate::{ChecksumOffload, Frame, Layout, Network, Offload, Segmentation, SegmentationKind, Transport};

/// Most datagrams of a run: what every kernel with USO takes (`UDP_MAX_SEGMENTS` before Linux 6.9).
pub const SEGMENTS_MAX: u16 = 64;

/// Most payload bytes of a run; headers included, it stays below IPv4's 65 535.
const PAYLOAD_BYTES_MAX: usize = 65_000;

/// Ethernet with two VLAN tags, IPv6, UDP.
const HEADERS_BYTES_MAX: usize = 22 + 40 + 8;

const UDP_BYTES: usize = 8;
const IPV4_LENGTH: usize = 2;
const IPV4_FLAGS: usize = 6;
const IPV4_CHECKSUM: usize = 10;
const IPV4_BYTES: usize = 20;
const IPV6_LENGTH: usize = 4;
const IPV6_BYTES: usize = 40;
const UDP_LENGTH: usize = 4;
const UDP_CHECKSUM: u16 = 6;

/// Datagrams joined behind a leader.
#[derive(Clone, Copy, Debug)]
pub struct UdpRun {
    headers: [u8; HEADERS_BYTES_MAX],
    network: usize,
    transport: usize,
    payload: usize,
    original_bytes: usize,
    datagram_bytes: usize,
    joined_bytes: usize,
    segments: u16,
    ended: bool,
    offload: Offload,
}

impl UdpRun {
    /// A run of the one frame `leader`, or `None` if it is not of the kind that is joined.
    #[must_use]
    pub fn of(leader: &Frame, layout: &Layout) -> Option<Self> {
        let bytes = leader.bytes();
        let payload_bytes = payload_bytes(leader, layout)?;
        let payload = usize::from(layout.payload_offset);
        let mut headers = [0; HEADERS_BYTES_MAX];
        headers.get_mut(..payload)?.copy_from_slice(&bytes[..payload]);
        Some(Self {
            headers,
            network: usize::from(layout.network_offset),
            transport: usize::from(layout.transport_offset),
            payload,
            original_bytes: bytes.len(),
            datagram_bytes: payload_bytes,
            joined_bytes: payload_bytes,
            segments: 1,
            ended: false,
            offload: leader.offload,
        })
    }

    /// Appends `follower`'s payload to `leader`, the frame that the run was made [of](Self::of). False, and
    /// nothing changed, if it does not belong there.
    pub fn join(&mut self, leader: &mut Frame, follower: &Frame, layout: &Layout) -> bool {
        if self.ended || self.segments >= SEGMENTS_MAX || usize::from(layout.payload_offset) != self.payload {
            return false;
        }
        let Some(payload_bytes) = payload_bytes(follower, layout) else { return false };
        if payload_bytes > self.datagram_bytes
            || self.joined_bytes + payload_bytes > PAYLOAD_BYTES_MAX
            || follower.offload != self.offload
            || !self.same_flow(follower.bytes())
            || !self.same_sum(follower.bytes(), payload_bytes)
            || !leader.append(&follower.bytes()[self.payload..])
        {
            return false;
        }
        self.ended = payload_bytes < self.datagram_bytes;
        self.joined_bytes += payload_bytes;
        self.segments += 1;
        true
    }

    /// Makes `leader` a USO frame over all that was joined, if anything was.
    pub fn seal(&self, leader: &mut Frame) {
        let (Ok(size_bytes), Ok(udp_bytes), Ok(datagram)) = (
            u16::try_from(self.datagram_bytes),
            u16::try_from(self.joined_bytes + UDP_BYTES),
            u16::try_from(self.datagram_bytes + UDP_BYTES),
        ) else {
            return;
        };
        if self.segments < 2 {
            return;
        }
        let network_bytes = self.transport - self.network;
        let bytes = leader.bytes_mut();
        if network_bytes == IPV4_BYTES {
            let total = udp_bytes + 20;
            let at = self.network + IPV4_LENGTH;
            let old = u16::from_be_bytes([bytes[at], bytes[at + 1]]);
            bytes[at..at + 2].copy_from_slice(&total.to_be_bytes());
            update_word(bytes, self.network + IPV4_CHECKSUM, |sum| {
                Change::NONE.word(old, total).applied_to(sum)
            });
        } else {
            let at = self.network + IPV6_LENGTH;
            bytes[at..at + 2].copy_from_slice(&udp_bytes.to_be_bytes());
        }
        let at = self.transport + UDP_LENGTH;
        bytes[at..at + 2].copy_from_slice(&udp_bytes.to_be_bytes());
        // The pseudo-header's length grows with the datagram's.
        update_word(bytes, self.transport + usize::from(UDP_CHECKSUM), |sum| {
            Change::NONE.word(datagram, udp_bytes).applied_to_partial(sum)
        });
        leader.offload.segmentation =
            Some(Segmentation { kind: SegmentationKind::Udp, size_bytes, ecn: false });
    }

    /// Makes `leader` again the frame that it was.
    pub fn restore(&self, leader: &mut Frame) {
        leader.truncate(self.original_bytes);
        leader.offload = self.offload;
        leader.bytes_mut()[..self.payload].copy_from_slice(&self.headers[..self.payload]);
    }

    /// Equal headers but for length, identification and checksums.
    fn same_flow(&self, follower: &[u8]) -> bool {
        let (network, transport) = (self.network, self.transport);
        let same = |from: usize, to: usize| self.headers.get(from..to) == follower.get(from..to);
        let same_network = if transport - network == IPV4_BYTES {
            same(0, network + IPV4_LENGTH)
                && same(network + IPV4_FLAGS, network + IPV4_CHECKSUM)
                && same(network + IPV4_CHECKSUM + 2, transport)
        } else {
            same(0, network + IPV6_LENGTH) && same(network + IPV6_LENGTH + 2, transport)
        };
        same_network && same(transport, transport + UDP_LENGTH)
    }

    /// The pseudo-header's sum is the leader's but for the length: what the run makes of it is what it was.
    fn same_sum(&self, follower: &[u8], payload_bytes: usize) -> bool {
        let at = self.transport + usize::from(UDP_CHECKSUM);
        let (Some(&own), Some(&sum)) = (
            self.headers.get(at..).and_then(<[u8]>::first_chunk),
            follower.get(at..).and_then(<[u8]>::first_chunk),
        ) else {
            return false;
        };
        if payload_bytes == self.datagram_bytes {
            return own == sum;
        }
        let (Ok(longer), Ok(shorter)) =
            (u16::try_from(self.datagram_bytes + UDP_BYTES), u16::try_from(payload_bytes + UDP_BYTES))
        else {
            return false;
        };
        let expected = Change::NONE.word(longer, shorter).applied_to_partial(u16::from_be_bytes(own));
        expected == u16::from_be_bytes(sum)
    }
}

/// The payload's length, if the frame is of the kind that is joined.
fn payload_bytes(frame: &Frame, layout: &Layout) -> Option<usize> {
    let start = layout.transport_offset;
    let left =
        Offload { checksum: ChecksumOffload::Partial { start, offset: UDP_CHECKSUM }, segmentation: None };
    if layout.transport != Transport::Udp || frame.offload != left {
        return None;
    }
    let bytes = frame.bytes();
    let (network, transport) = (usize::from(layout.network_offset), usize::from(start));
    let header = bytes.get(network..transport)?;
    let plain = match layout.network {
        Network::Ipv4 => {
            header.len() == IPV4_BYTES
                && header[IPV4_FLAGS] == 0x40
                && header[IPV4_FLAGS + 1] == 0
                && Sum::of(header).checksum() == 0
        }
        Network::Ipv6 => header.len() == IPV6_BYTES,
        _ => false,
    };
    let udp_bytes = bytes.len() - transport;
    let length = bytes.get(transport + UDP_LENGTH..transport + UDP_LENGTH + 2)?;
    let whole = layout.packet_end as usize == bytes.len()
        && usize::from(u16::from_be_bytes([length[0], length[1]])) == udp_bytes;
    (plain && whole && udp_bytes > UDP_BYTES).then(|| udp_bytes - UDP_BYTES)
}

fn update_word(bytes: &mut [u8], at: usize, update: impl FnOnce(u16) -> u16) {
    let new = update(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
    bytes[at..at + 2].copy_from_slice(&new.to_be_bytes());
}
