//! Reads captures: pcapng (draft-ietf-opsawg-pcapng) and the older pcap (draft-ietf-opsawg-pcap), in either
//! byte order. A file is not trusted: every length is bounded before it is believed.

use std::io::{self, Read};

const PCAP_MICROSECONDS: u32 = 0xa1b2_c3d4;
const PCAP_NANOSECONDS: u32 = 0xa1b2_3c4d;
const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
const INTERFACE_DESCRIPTION: u32 = 1;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;
const LINKTYPE_ETHERNET: u32 = 1;
const OPTION_TIME_RESOLUTION: u16 = 9;

/// Longest block, or packet, that is read.
const BLOCK_BYTES_MAX: usize = 1 << 20;
/// Most interfaces of a section.
const INTERFACES_MAX: usize = 4096;

/// A packet of a capture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Captured<'a> {
    /// Nanoseconds since 1970-01-01 UTC; 0 where the file has no time.
    pub timestamp_ns: u64,
    /// What was captured of the frame.
    pub bytes: &'a [u8],
    /// Length of the whole frame.
    pub original_bytes: u32,
}

#[derive(Clone, Copy, Debug)]
enum Format {
    Pcap { ticks_per_second: u64 },
    PcapNg,
}

#[derive(Clone, Copy, Debug)]
struct Interface {
    ethernet: bool,
    ticks_per_second: u64,
}

/// Reads packets one after the other.
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    format: Format,
    big_endian: bool,
    interfaces: Vec<Interface>,
    block: Vec<u8>,
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

impl<R: Read> Reader<R> {
    /// Begins to read.
    ///
    /// # Errors
    /// The source's, or [`InvalidData`](io::ErrorKind::InvalidData) for what is no capture of Ethernet frames.
    pub fn new(mut source: R) -> io::Result<Self> {
        let mut magic = [0; 4];
        source.read_exact(&mut magic)?;
        let (little, big) = (u32::from_le_bytes(magic), u32::from_be_bytes(magic));
        let mut reader = Self {
            source,
            format: Format::PcapNg,
            big_endian: false,
            interfaces: Vec::new(),
            block: Vec::new(),
        };
        if little == SECTION_HEADER {
            reader.read_section()?;
            return Ok(reader);
        }
        let resolution = |magic| match magic {
            PCAP_MICROSECONDS => Some(1_000_000),
            PCAP_NANOSECONDS => Some(1_000_000_000),
            _ => None,
        };
        reader.big_endian = resolution(little).is_none();
        let ticks_per_second = resolution(little)
            .or_else(|| resolution(big))
            .ok_or_else(|| invalid("neither a pcap nor a pcapng file"))?;
        reader.format = Format::Pcap { ticks_per_second };
        reader.fill(20)?;
        // The upper bits of the link type tell of a frame check sequence.
        if reader.u32_at(16)? & 0xffff != LINKTYPE_ETHERNET {
            return Err(invalid("the capture is not of Ethernet frames"));
        }
        Ok(reader)
    }

    /// The next Ethernet frame, `None` at the end. What is cut off at the end of the file is left out.
    ///
    /// # Errors
    /// The source's, or [`InvalidData`](io::ErrorKind::InvalidData) for lengths that cannot be.
    pub fn next_packet(&mut self) -> io::Result<Option<Captured<'_>>> {
        let found = match self.format {
            Format::Pcap { ticks_per_second } => self.next_pcap(ticks_per_second),
            Format::PcapNg => self.next_pcapng(),
        };
        let (timestamp_ns, from, captured, original_bytes) = match found {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        };
        let bytes =
            self.block.get(from..from + captured).ok_or_else(|| invalid("a packet exceeds its block"))?;
        Ok(Some(Captured { timestamp_ns, bytes, original_bytes }))
    }

    fn next_pcap(&mut self, ticks_per_second: u64) -> io::Result<Option<(u64, usize, usize, u32)>> {
        self.fill(16)?;
        let (seconds, ticks) = (u64::from(self.u32_at(0)?), u64::from(self.u32_at(4)?));
        let (captured, original) = (self.u32_at(8)? as usize, self.u32_at(12)?);
        let timestamp_ns = seconds * 1_000_000_000 + ticks * (1_000_000_000 / ticks_per_second);
        self.fill(captured)?;
        Ok(Some((timestamp_ns, 0, captured, original)))
    }

    fn next_pcapng(&mut self) -> io::Result<Option<(u64, usize, usize, u32)>> {
        loop {
            let mut kind = [0; 4];
            self.source.read_exact(&mut kind)?;
            let kind = if self.big_endian { u32::from_be_bytes(kind) } else { u32::from_le_bytes(kind) };
            if kind == SECTION_HEADER {
                self.read_section()?;
                continue;
            }
            self.read_body()?;
            match kind {
                INTERFACE_DESCRIPTION => self.add_interface()?,
                ENHANCED_PACKET => {
                    let interface = self.interfaces.get(self.u32_at(0)? as usize);
                    let interface = *interface.ok_or_else(|| invalid("a packet of no interface"))?;
                    let ticks = u64::from(self.u32_at(4)?) << 32 | u64::from(self.u32_at(8)?);
                    let ns = u128::from(ticks) * 1_000_000_000 / u128::from(interface.ticks_per_second);
                    let (captured, original) = (self.u32_at(12)? as usize, self.u32_at(16)?);
                    if interface.ethernet {
                        return Ok(Some((u64::try_from(ns).unwrap_or(u64::MAX), 20, captured, original)));
                    }
                }
                SIMPLE_PACKET if self.interfaces.first().is_some_and(|interface| interface.ethernet) => {
                    let original = self.u32_at(0)?;
                    let captured = (original as usize).min(self.block.len() - 4);
                    return Ok(Some((0, 4, captured, original)));
                }
                _ => {}
            }
        }
    }

    /// The rest of a section header block, whose type was read; it sets the byte order.
    fn read_section(&mut self) -> io::Result<()> {
        let mut start = [0; 8];
        self.source.read_exact(&mut start)?;
        let [a, b, c, d, magic @ ..] = start;
        self.big_endian = match (u32::from_le_bytes(magic), u32::from_be_bytes(magic)) {
            (BYTE_ORDER_MAGIC, _) => false,
            (_, BYTE_ORDER_MAGIC) => true,
            _ => return Err(invalid("a section without a byte order")),
        };
        let length = [a, b, c, d];
        let length = if self.big_endian { u32::from_be_bytes(length) } else { u32::from_le_bytes(length) };
        self.interfaces.clear();
        let rest = (length as usize).checked_sub(12).ok_or_else(|| invalid("a section too short"))?;
        self.fill(rest)
    }

    /// The rest of any other block, without its second length field.
    fn read_body(&mut self) -> io::Result<()> {
        self.fill(4)?;
        let length = self.u32_at(0)? as usize;
        let rest = length.checked_sub(8).filter(|rest| *rest >= 4 && rest.is_multiple_of(4));
        self.fill(rest.ok_or_else(|| invalid("a block length that cannot be"))?)?;
        self.block.truncate(self.block.len() - 4);
        Ok(())
    }

    fn add_interface(&mut self) -> io::Result<()> {
        if self.interfaces.len() >= INTERFACES_MAX {
            return Err(invalid("too many interfaces"));
        }
        let ethernet = u32::from(self.u16_at(0)?) == LINKTYPE_ETHERNET;
        let mut ticks_per_second = 1_000_000_u64;
        let mut at = 8;
        while let (Ok(code), Ok(length)) = (self.u16_at(at), self.u16_at(at + 2)) {
            if code == OPTION_TIME_RESOLUTION {
                let exponent = *self.block.get(at + 4).ok_or_else(|| invalid("an option cut short"))?;
                let base: u64 = if exponent & 0x80 == 0 { 10 } else { 2 };
                ticks_per_second = base
                    .checked_pow(u32::from(exponent & 0x7f))
                    .ok_or_else(|| invalid("a time resolution that cannot be"))?;
            }
            at += 4 + usize::from(length).next_multiple_of(4);
        }
        self.interfaces.push(Interface { ethernet, ticks_per_second });
        Ok(())
    }

    /// Reads `bytes` bytes into the block.
    fn fill(&mut self, bytes: usize) -> io::Result<()> {
        if bytes > BLOCK_BYTES_MAX {
            return Err(invalid("a block longer than a mebibyte"));
        }
        self.block.resize(bytes, 0);
        self.source.read_exact(&mut self.block)
    }

    fn u32_at(&self, at: usize) -> io::Result<u32> {
        let bytes = self.block.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        let bytes = bytes.ok_or_else(|| invalid("a block cut short"))?;
        Ok(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn u16_at(&self, at: usize) -> io::Result<u16> {
        let bytes = self.block.get(at..at + 2).and_then(|bytes| bytes.try_into().ok());
        let bytes = bytes.ok_or_else(|| invalid("a block cut short"))?;
        Ok(if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pcapng::{Packet, Writer};

    /// What a reader makes of these bytes.
    fn read(bytes: &[u8]) -> io::Result<Vec<(u64, Vec<u8>, u32)>> {
        let mut reader = Reader::new(bytes)?;
        let mut packets = Vec::new();
        while let Some(packet) = reader.next_packet()? {
            packets.push((packet.timestamp_ns, packet.bytes.to_vec(), packet.original_bytes));
        }
        Ok(packets)
    }

    fn capture() -> Vec<u8> {
        let mut writer = Writer::new(Vec::new(), "test").unwrap();
        let interface = writer.add_interface("a", 0).unwrap();
        for length in [14_u8, 60, 61] {
            let packet = Packet {
                interface,
                timestamp_ns: 1_700_000_000_123_456_789 + u64::from(length),
                direction: None,
                bytes: &vec![length; usize::from(length)],
                original_bytes: 1500,
                comment: Some("spoofed_source"),
            };
            writer.write(&packet).unwrap();
        }
        writer.into_inner()
    }

    #[test]
    fn what_was_written_is_read_again() {
        let packets = read(&capture()).unwrap();
        assert_eq!(packets.len(), 3);
        assert_eq!(packets[1], (1_700_000_000_123_456_849, vec![60; 60], 1500));
    }

    #[test]
    fn pcap_is_read_in_either_byte_order() {
        let mut little = Vec::new();
        let mut big = Vec::new();
        for word in [PCAP_MICROSECONDS, 0x0004_0002, 0, 0, 65_535, 1, 10, 500_000, 4, 60] {
            little.extend_from_slice(&word.to_le_bytes());
            big.extend_from_slice(&word.to_be_bytes());
        }
        for mut bytes in [little, big] {
            bytes.extend_from_slice(b"abcd");
            assert_eq!(read(&bytes).unwrap(), [(10_500_000_000, b"abcd".to_vec(), 60)]);
        }
    }

    #[test]
    fn a_capture_cut_anywhere_gives_what_is_whole() {
        let whole = capture();
        for length in 0..whole.len() {
            match read(&whole[..length]) {
                Ok(packets) => assert!(packets.len() < 3),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{length}"),
            }
        }
    }

    #[test]
    fn a_corrupted_capture_never_panics() {
        let whole = capture();
        for position in 0..whole.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = whole.clone();
                bytes[position] = value;
                let _ = read(&bytes);
            }
        }
    }
}
