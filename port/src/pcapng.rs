//! Captures in the pcapng format (draft-ietf-opsawg-pcapng): a section, its interfaces, and packets with
//! nanosecond timestamps, their direction and a comment, such as the reason for a drop.

use std::io::{self, Write};

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const LINKTYPE_ETHERNET: u16 = 1;

const OPTION_END: u16 = 0;
const OPTION_COMMENT: u16 = 1;
const OPTION_INTERFACE_NAME: u16 = 2;
const OPTION_APPLICATION: u16 = 4;
const OPTION_TIME_RESOLUTION: u16 = 9;
const OPTION_PACKET_FLAGS: u16 = 2;
/// `if_tsresol`: timestamps count units of 10^-9 s.
const NANOSECONDS: u8 = 9;

/// Longest text of an option; what is longer is cut.
const TEXT_BYTES_MAX: usize = 1024;

/// Which way a packet went, seen from the switch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// Received from the port.
    Inbound,
    /// Sent to the port.
    Outbound,
}

/// An interface of one capture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InterfaceId(u32);

/// A packet to write.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Where it was seen.
    pub interface: InterfaceId,
    /// Nanoseconds since 1970-01-01 UTC.
    pub timestamp_ns: u64,
    /// Which way it went, if that is known.
    pub direction: Option<Direction>,
    /// The frame, or its beginning.
    pub bytes: &'a [u8],
    /// Length of the whole frame.
    pub original_bytes: usize,
    /// A remark that analyzers show beside the packet.
    pub comment: Option<&'a str>,
}

/// Writes a capture. Each block goes to the destination in one piece, so that a reader that follows the file
/// sees whole blocks; nothing is kept back but by the destination.
#[derive(Debug)]
pub struct Writer<W> {
    destination: W,
    interfaces: u32,
    block: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Begins a capture made by `application`.
    ///
    /// # Errors
    /// The destination's.
    pub fn new(destination: W, application: &str) -> io::Result<Self> {
        let mut writer = Self { destination, interfaces: 0, block: Vec::with_capacity(2048) };
        writer.begin(SECTION_HEADER);
        writer.put_u32(BYTE_ORDER_MAGIC);
        writer.put_u16(1);
        writer.put_u16(0);
        // The section's length is not known.
        writer.block.extend_from_slice(&u64::MAX.to_le_bytes());
        writer.put_option(OPTION_APPLICATION, clipped(application));
        writer.put_option(OPTION_END, &[]);
        writer.end()?;
        Ok(writer)
    }

    /// Adds an Ethernet interface; packets are cut at `snap_bytes` (0: never) by who passes them.
    ///
    /// # Errors
    /// The destination's.
    pub fn add_interface(&mut self, name: &str, snap_bytes: u32) -> io::Result<InterfaceId> {
        self.begin(INTERFACE_DESCRIPTION);
        self.put_u16(LINKTYPE_ETHERNET);
        self.put_u16(0);
        self.put_u32(snap_bytes);
        self.put_option(OPTION_INTERFACE_NAME, clipped(name));
        self.put_option(OPTION_TIME_RESOLUTION, &[NANOSECONDS]);
        self.put_option(OPTION_END, &[]);
        self.end()?;
        let id = InterfaceId(self.interfaces);
        self.interfaces += 1;
        Ok(id)
    }

    /// Adds a packet.
    ///
    /// # Errors
    /// The destination's, or [`InvalidInput`](io::ErrorKind::InvalidInput) if a length exceeds 32 bits.
    pub fn write(&mut self, packet: &Packet<'_>) -> io::Result<()> {
        let length = |bytes: usize| u32::try_from(bytes).map_err(|_| io::ErrorKind::InvalidInput);
        let (captured, original) = (length(packet.bytes.len())?, length(packet.original_bytes)?);
        self.begin(ENHANCED_PACKET);
        self.put_u32(packet.interface.0);
        let [low, high] = halves(packet.timestamp_ns);
        self.put_u32(high);
        self.put_u32(low);
        self.put_u32(captured);
        self.put_u32(original.max(captured));
        self.block.extend_from_slice(packet.bytes);
        self.pad();
        if let Some(comment) = packet.comment {
            self.put_option(OPTION_COMMENT, clipped(comment));
        }
        if let Some(direction) = packet.direction {
            let flags: u32 = match direction {
                Direction::Inbound => 1,
                Direction::Outbound => 2,
            };
            self.put_option(OPTION_PACKET_FLAGS, &flags.to_le_bytes());
        }
        if packet.comment.is_some() || packet.direction.is_some() {
            self.put_option(OPTION_END, &[]);
        }
        self.end()
    }

    /// Makes the destination write out what it keeps back.
    ///
    /// # Errors
    /// The destination's.
    pub fn flush(&mut self) -> io::Result<()> {
        self.destination.flush()
    }

    /// The destination, such as a buffer to be emptied now and then.
    pub fn destination_mut(&mut self) -> &mut W {
        &mut self.destination
    }

    /// Gives up the writer for its destination.
    pub fn into_inner(self) -> W {
        self.destination
    }

    fn begin(&mut self, kind: u32) {
        self.block.clear();
        self.put_u32(kind);
        self.put_u32(0);
    }

    /// Completes the block's two length fields and writes it.
    fn end(&mut self) -> io::Result<()> {
        let length = u32::try_from(self.block.len() + 4).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.block[4..8].copy_from_slice(&length.to_le_bytes());
        self.put_u32(length);
        self.destination.write_all(&self.block)
    }

    fn put_option(&mut self, code: u16, value: &[u8]) {
        self.put_u16(code);
        self.put_u16(u16::try_from(value.len()).unwrap_or(0));
        self.block.extend_from_slice(value);
        self.pad();
    }

    fn put_u16(&mut self, value: u16) {
        self.block.extend_from_slice(&value.to_le_bytes());
    }

    fn put_u32(&mut self, value: u32) {
        self.block.extend_from_slice(&value.to_le_bytes());
    }

    fn pad(&mut self) {
        self.block.resize(self.block.len().next_multiple_of(4), 0);
    }
}

/// Low and high 32 bits.
fn halves(value: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])]
}

fn clipped(text: &str) -> &[u8] {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text.as_bytes()[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_laid_out_as_the_format_says() {
        let mut writer = Writer::new(Vec::new(), "flyover").unwrap();
        let eth0 = writer.add_interface("eth0", 0).unwrap();
        let before = writer.destination.len();
        writer
            .write(&Packet {
                interface: eth0,
                timestamp_ns: 0x0102_0304_0506_0708,
                direction: Some(Direction::Outbound),
                bytes: &[0xaa; 5],
                original_bytes: 60,
                comment: Some("no"),
            })
            .unwrap();
        let bytes = writer.into_inner();
        assert_eq!(bytes[..4], SECTION_HEADER.to_le_bytes());
        let packet = &bytes[before..];
        assert_eq!(packet.len(), 60);
        assert_eq!(packet[..8], [6, 0, 0, 0, 60, 0, 0, 0]);
        assert_eq!(packet[12..20], [4, 3, 2, 1, 8, 7, 6, 5]);
        assert_eq!(packet[20..28], [5, 0, 0, 0, 60, 0, 0, 0]);
        assert_eq!(packet[28..36], [0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0, 0, 0]);
        assert_eq!(packet[36..44], [1, 0, 2, 0, b'n', b'o', 0, 0]);
        assert_eq!(packet[44..52], [2, 0, 4, 0, 2, 0, 0, 0]);
        assert_eq!(packet[52..56], [0; 4]);
        assert_eq!(packet[56..], [60, 0, 0, 0], "the length stands at both ends");
    }
}
