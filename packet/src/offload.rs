//! What the sender of a frame left to do: finish a checksum, cut a super-frame into segments.
//!
//! The form on the wire between a TAP or a VM and us is `struct virtio_net_hdr` (VIRTIO 1.2 §5.1.6), in
//! little-endian order. It is checked against the frame before anything believes it: a VM writes what it
//! likes.

/// Bytes of a vnet header with the `num_buffers` field (VIRTIO 1.2 §5.1.6, `VIRTIO_NET_F_MRG_RXBUF`).
pub const VNET_HEADER_BYTES: usize = 12;

const FLAG_NEEDS_CSUM: u8 = 1;
const FLAG_DATA_VALID: u8 = 2;
const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;

const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
const GSO_ECN: u8 = 0x80;

/// State of the transport checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ChecksumOffload {
    /// The checksum field holds what the sender put there; nothing is known of it.
    #[default]
    None,
    /// Already verified by the sender's side; need not be verified again.
    Valid,
    /// The field at `start + offset` holds the sum of the pseudo-header only; the sum over the bytes from
    /// `start` to the end of the packet is to be folded in (VIRTIO 1.2 §5.1.6.2).
    Partial {
        /// From the start of the frame to the first summed byte.
        start: u16,
        /// From `start` to the checksum field.
        offset: u16,
    },
}

/// Kind of super-frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SegmentationKind {
    /// TCP over IPv4 (TSO4).
    TcpV4,
    /// TCP over IPv6 (TSO6).
    TcpV6,
    /// UDP datagrams of equal size behind one header (USO, v4 and v6).
    Udp,
}

/// How a super-frame is to be cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segmentation {
    /// Protocol.
    pub kind: SegmentationKind,
    /// Payload bytes of a segment, without headers; never 0.
    pub size_bytes: u16,
    /// The TCP flow has CWR set on the first segment only (RFC 3168 §6.1.2, TSO-ECN).
    pub ecn: bool,
}

/// The offload metadata of one frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Offload {
    /// State of the transport checksum.
    pub checksum: ChecksumOffload,
    /// Present on super-frames.
    pub segmentation: Option<Segmentation>,
}

/// A vnet header that contradicts its frame or asks for something that does not exist.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OffloadError {
    /// `csum_start + csum_offset + 2` lies beyond the frame.
    #[error("the checksum to complete lies outside the frame")]
    ChecksumOutside,
    /// `gso_type` is not one of TCPv4, TCPv6, UDP_L4 (the former UFO is not offered), or `gso_size` is 0.
    #[error("unknown or empty segmentation")]
    Segmentation,
    /// A super-frame without a checksum to complete.
    #[error("a super-frame needs its checksum left to complete")]
    SegmentationWithoutChecksum,
}

impl Offload {
    /// Nothing left to do.
    pub const NONE: Self = Self { checksum: ChecksumOffload::None, segmentation: None };

    /// Reads the vnet header of a frame of `frame_bytes` bytes. `hdr_len` is a hint that is not trusted and
    /// not kept.
    ///
    /// # Errors
    /// See [`OffloadError`]; the frame is to be dropped as `bad_offload`.
    pub fn from_vnet_header(
        header: [u8; VNET_HEADER_BYTES],
        frame_bytes: usize,
    ) -> Result<Self, OffloadError> {
        let [
            flags,
            gso_type,
            _,
            _,
            size_low,
            size_high,
            start_low,
            start_high,
            offset_low,
            offset_high,
            _,
            _,
        ] = header;
        let start = u16::from_le_bytes([start_low, start_high]);
        let offset = u16::from_le_bytes([offset_low, offset_high]);
        let checksum = if flags & FLAG_NEEDS_CSUM != 0 {
            if usize::from(start) + usize::from(offset) + 2 > frame_bytes {
                return Err(OffloadError::ChecksumOutside);
            }
            ChecksumOffload::Partial { start, offset }
        } else if flags & FLAG_DATA_VALID != 0 {
            ChecksumOffload::Valid
        } else {
            ChecksumOffload::None
        };
        let kind = match gso_type & !GSO_ECN {
            GSO_NONE => return Ok(Self { checksum, segmentation: None }),
            GSO_TCPV4 => SegmentationKind::TcpV4,
            GSO_TCPV6 => SegmentationKind::TcpV6,
            GSO_UDP_L4 => SegmentationKind::Udp,
            _ => return Err(OffloadError::Segmentation),
        };
        let size_bytes = u16::from_le_bytes([size_low, size_high]);
        if size_bytes == 0 {
            return Err(OffloadError::Segmentation);
        }
        if !matches!(checksum, ChecksumOffload::Partial { .. }) {
            return Err(OffloadError::SegmentationWithoutChecksum);
        }
        Ok(Self {
            checksum,
            segmentation: Some(Segmentation { kind, size_bytes, ecn: gso_type & GSO_ECN != 0 }),
        })
    }

    /// The vnet header to send before a frame whose headers (Ethernet to transport) are `headers_bytes` long.
    #[must_use]
    pub fn to_vnet_header(self, headers_bytes: u16) -> [u8; VNET_HEADER_BYTES] {
        let mut header = [0; VNET_HEADER_BYTES];
        match self.checksum {
            ChecksumOffload::None => {}
            ChecksumOffload::Valid => header[0] = FLAG_DATA_VALID,
            ChecksumOffload::Partial { start, offset } => {
                header[0] = FLAG_NEEDS_CSUM;
                header[6..8].copy_from_slice(&start.to_le_bytes());
                header[8..10].copy_from_slice(&offset.to_le_bytes());
            }
        }
        if let Some(Segmentation { kind, size_bytes, ecn }) = self.segmentation {
            header[1] = match kind {
                SegmentationKind::TcpV4 => GSO_TCPV4,
                SegmentationKind::TcpV6 => GSO_TCPV6,
                SegmentationKind::Udp => GSO_UDP_L4,
            } | if ecn { GSO_ECN } else { 0 };
            header[2..4].copy_from_slice(&headers_bytes.to_le_bytes());
            header[4..6].copy_from_slice(&size_bytes.to_le_bytes());
        }
        header
    }
}

/// What a port can take off our hands when we send to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Offloads {
    /// Completes a partial checksum.
    pub checksum: bool,
    /// Takes TCP super-frames over IPv4.
    pub tso4: bool,
    /// Takes TCP super-frames over IPv6.
    pub tso6: bool,
    /// Takes TCP super-frames with the ECN rule.
    pub tso_ecn: bool,
    /// Takes UDP super-frames.
    pub uso: bool,
}

impl Offloads {
    /// A port that takes whole, finished frames only.
    pub const NONE: Self = Self { checksum: false, tso4: false, tso6: false, tso_ecn: false, uso: false };
    /// A port that takes everything.
    pub const ALL: Self = Self { checksum: true, tso4: true, tso6: true, tso_ecn: true, uso: true };

    /// True if a frame with `offload` can be sent as it is.
    #[must_use]
    #[inline]
    pub const fn accept(self, offload: Offload) -> bool {
        if matches!(offload.checksum, ChecksumOffload::Partial { .. }) && !self.checksum {
            return false;
        }
        match offload.segmentation {
            None => true,
            Some(Segmentation { ecn: true, .. }) if !self.tso_ecn => false,
            Some(Segmentation { kind: SegmentationKind::TcpV4, .. }) => self.tso4,
            Some(Segmentation { kind: SegmentationKind::TcpV6, .. }) => self.tso6,
            Some(Segmentation { kind: SegmentationKind::Udp, .. }) => self.uso,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_the_way_out_and_in() {
        let offload = Offload {
            checksum: ChecksumOffload::Partial { start: 34, offset: 16 },
            segmentation: Some(Segmentation { kind: SegmentationKind::TcpV4, size_bytes: 1448, ecn: true }),
        };
        assert_eq!(Offload::from_vnet_header(offload.to_vnet_header(66), 9000), Ok(offload));
        assert_eq!(Offload::from_vnet_header(Offload::NONE.to_vnet_header(0), 60), Ok(Offload::NONE));
    }

    #[test]
    fn a_header_that_contradicts_its_frame_is_refused() {
        let partial =
            Offload { checksum: ChecksumOffload::Partial { start: 50, offset: 16 }, segmentation: None };
        assert_eq!(
            Offload::from_vnet_header(partial.to_vnet_header(0), 67),
            Err(OffloadError::ChecksumOutside)
        );
        assert_eq!(Offload::from_vnet_header(partial.to_vnet_header(0), 68), Ok(partial));
        for gso_type in [2, 3, 6, 0x7f] {
            let mut header = partial.to_vnet_header(0);
            header[1] = gso_type;
            header[4] = 100;
            assert_eq!(
                Offload::from_vnet_header(header, 1000),
                Err(OffloadError::Segmentation),
                "{gso_type}"
            );
        }
        let mut header = Offload::NONE.to_vnet_header(0);
        header[1] = GSO_TCPV4;
        header[4] = 100;
        assert_eq!(Offload::from_vnet_header(header, 1000), Err(OffloadError::SegmentationWithoutChecksum));
        header[4] = 0;
        assert_eq!(Offload::from_vnet_header(header, 1000), Err(OffloadError::Segmentation));
    }

    #[test]
    fn a_port_takes_only_what_it_offers() {
        let uso = Offload {
            checksum: ChecksumOffload::Partial { start: 34, offset: 6 },
            segmentation: Some(Segmentation { kind: SegmentationKind::Udp, size_bytes: 18, ecn: false }),
        };
        assert!(Offloads::ALL.accept(uso));
        assert!(!Offloads { uso: false, ..Offloads::ALL }.accept(uso));
        assert!(!Offloads { checksum: false, ..Offloads::ALL }.accept(uso));
        assert!(Offloads::NONE.accept(Offload::NONE));
    }
}
