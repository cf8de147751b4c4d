//! Captured frames as pcapng (draft-ietf-opsawg-pcapng §4): a section, an interface for each port of the
//! switch, an enhanced packet block for each frame. What was dropped carries a comment with the reason.

/// Block types.
const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
/// Options.
const COMMENT: u16 = 1;
const INTERFACE_NAME: u16 = 2;
const TIMESTAMP_RESOLUTION: u16 = 9;
const APPLICATION: u16 = 4;
const DROP_COUNT: u16 = 4;
/// `LINKTYPE_ETHERNET`.
const ETHERNET: u16 = 1;
/// Timestamps are in units of 10⁻⁹ s.
const NANOSECONDS: u8 = 9;

/// One frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'a> {
    /// Number of the port that it came in by.
    pub(super) port: u16,
    /// Since the Unix epoch.
    pub(super) time_ns: u64,
    /// The whole frame.
    pub(super) bytes: &'a [u8],
    /// For whoever reads it.
    pub(super) comment: Option<&'a str>,
    /// Frames lost to the capture since the packet before.
    pub(super) lost: u64,
}

/// A capture in the making: interfaces are described as they first occur.
#[derive(Debug, Default)]
pub(super) struct Writer {
    /// Ports in the order of their interface blocks.
    interfaces: Vec<u16>,
}

impl Writer {
    /// Writes the section's head.
    pub(super) fn begin(out: &mut Vec<u8>) {
        block(out, SECTION, |body| {
            // Byte order, version 1.0, unknown length.
            body.extend(0x1a2b_3c4d_u32.to_le_bytes());
            body.extend([1, 0, 0, 0]);
            body.extend(u64::MAX.to_le_bytes());
            option(body, APPLICATION, concat!("flyover ", env!("CARGO_PKG_VERSION")).as_bytes());
            end_of_options(body);
        });
    }

    /// Describes a port, if that was not done before.
    pub(super) fn interface(&mut self, port: u16, name: &str, out: &mut Vec<u8>) -> u32 {
        let known = self.interfaces.iter().position(|other| *other == port);
        let index = known.unwrap_or_else(|| {
            self.interfaces.push(port);
            block(out, INTERFACE, |body| {
                body.extend(ETHERNET.to_le_bytes());
                // Reserved; no limit of the captured length.
                body.extend([0; 6]);
                option(body, INTERFACE_NAME, name.as_bytes());
                option(body, TIMESTAMP_RESOLUTION, &[NANOSECONDS]);
                end_of_options(body);
            });
            self.interfaces.len() - 1
        });
        u32::try_from(index).unwrap_or(u32::MAX)
    }

    /// Writes a frame; `name` is that of its port.
    pub(super) fn packet(&mut self, packet: &Packet<'_>, name: &str, out: &mut Vec<u8>) {
        let interface = self.interface(packet.port, name, out);
        block(out, ENHANCED_PACKET, |body| {
            let [a, b, c, d, e, f, g, h] = packet.time_ns.to_le_bytes();
            let length = u32::try_from(packet.bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
            body.extend(interface.to_le_bytes());
            // The upper half of the time comes first.
            body.extend([e, f, g, h, a, b, c, d]);
            body.extend(length);
            body.extend(length);
            body.extend(packet.bytes);
            pad(body);
            if let Some(comment) = packet.comment {
                option(body, COMMENT, comment.as_bytes());
            }
            if packet.lost > 0 {
                option(body, DROP_COUNT, &packet.lost.to_le_bytes());
            }
            if packet.comment.is_some() || packet.lost > 0 {
                end_of_options(body);
            }
        });
    }
}

/// Type, total length, body, total length again.
fn block(out: &mut Vec<u8>, kind: u32, write: impl FnOnce(&mut Vec<u8>)) {
    let mut body = Vec::new();
    write(&mut body);
    pad(&mut body);
    let total = u32::try_from(body.len() + 12).unwrap_or(u32::MAX).to_le_bytes();
    out.extend(kind.to_le_bytes());
    out.extend(total);
    out.extend(body);
    out.extend(total);
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    // Names and comments are ours and short.
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    body.extend(code.to_le_bytes());
    body.extend(length.to_le_bytes());
    body.extend(&value[..usize::from(length)]);
    pad(body);
}

fn end_of_options(body: &mut Vec<u8>) {
    body.extend([0; 4]);
}

/// To a multiple of four bytes; blocks begin at one.
fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(mut bytes: &[u8]) -> Vec<(u32, Vec<u8>)> {
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
            let total = word(4) as usize;
            assert_eq!(total % 4, 0);
            assert_eq!(word(total - 4) as usize, total, "both lengths agree");
            found.push((word(0), bytes[8..total - 4].to_vec()));
            bytes = &bytes[total..];
        }
        found
    }

    #[test]
    fn each_port_is_described_once_before_its_first_frame() {
        let (mut out, mut writer) = (Vec::new(), Writer::default());
        Writer::begin(&mut out);
        let packet = |port, comment| Packet {
            port,
            time_ns: 0x0102_0304_0506_0708,
            bytes: &[1, 2, 3, 4, 5],
            comment,
            lost: 0,
        };
        writer.packet(&packet(7, None), "vm1", &mut out);
        writer.packet(&packet(9, Some("dropped: same_port")), "vm2", &mut out);
        writer.packet(&packet(7, None), "vm1", &mut out);
        let blocks = blocks(&out);
        let kinds: Vec<u32> = blocks.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [SECTION, INTERFACE, ENHANCED_PACKET, INTERFACE, ENHANCED_PACKET, ENHANCED_PACKET]);
        assert!(blocks[1].1.windows(3).any(|text| text == b"vm1"));
        let frame = &blocks[2].1;
        assert_eq!(frame[..4], [0; 4]);
        assert_eq!(frame[4..12], [4, 3, 2, 1, 8, 7, 6, 5]);
        assert_eq!((frame[12], frame[16], frame.len()), (5, 5, 28));
        assert_eq!(frame[20..28], [1, 2, 3, 4, 5, 0, 0, 0]);
        assert_eq!(blocks[4].1[0], 1);
        assert!(blocks[4].1.windows(18).any(|text| text == b"dropped: same_port"));
        assert_eq!(blocks[5].1, *frame);
    }
}
