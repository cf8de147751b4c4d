//! Frames out of a pcapng stream (draft-ietf-opsawg-pcapng) as they come. Sections of either byte order,
//! Enhanced Packet Blocks; other blocks are passed over.

use std::io::{self, ErrorKind, Read};

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
const OPTION_COMMENT: u16 = 1;
const OPTION_IF_NAME: u16 = 2;
const OPTION_IF_TSRESOL: u16 = 9;
/// A block holds at most a super-frame and some options.
const BLOCK_BYTES_MAX: u32 = 1 << 20;

/// A captured frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct CapturedFrame {
    /// The port's name (`if_name`), or its number.
    pub port: String,
    /// Since the Unix epoch.
    pub time_ns: u64,
    /// The frame.
    pub bytes: Vec<u8>,
    /// `opt_comment`, such as why it was dropped.
    pub comment: Option<String>,
}

/// An interface of the section.
struct Interface {
    name: String,
    /// Ticks of its timestamps a second.
    ticks_per_second: u64,
}

/// Reads blocks.
pub(crate) struct Reader<R> {
    stream: R,
    big_endian: bool,
    interfaces: Vec<Interface>,
}

impl<R: Read> Reader<R> {
    /// A reader at the start of a stream.
    pub(crate) fn new(stream: R) -> Self {
        Self { stream, big_endian: false, interfaces: Vec::new() }
    }

    /// The next frame; `None` at the end of the stream, which may be anywhere.
    ///
    /// # Errors
    /// What the stream says, or [`ErrorKind::InvalidData`] if it is not pcapng.
    pub(crate) fn next_frame(&mut self) -> io::Result<Option<CapturedFrame>> {
        loop {
            let Some((kind, body)) = self.next_block()? else { return Ok(None) };
            match kind {
                SECTION_HEADER => self.interfaces.clear(),
                INTERFACE_DESCRIPTION => {
                    let interface = self.interface(&body).ok_or_else(invalid)?;
                    self.interfaces.push(interface);
                }
                ENHANCED_PACKET => return self.frame(&body).map(Some).ok_or_else(invalid),
                _ => {}
            }
        }
    }

    fn next_block(&mut self) -> io::Result<Option<(u32, Vec<u8>)>> {
        let mut head = [0; 8];
        if !read_whole(&mut self.stream, &mut head)? {
            return Ok(None);
        }
        let [a, b, c, d, length @ ..] = head;
        let mut kind = self.u32([a, b, c, d]);
        let mut body = Vec::new();
        // The header's type reads the same in both orders; its byte order decides about its length.
        if kind == SECTION_HEADER {
            let mut magic = [0; 4];
            if !read_whole(&mut self.stream, &mut magic)? {
                return Ok(None);
            }
            self.big_endian = u32::from_be_bytes(magic) == BYTE_ORDER_MAGIC;
            if !self.big_endian && u32::from_le_bytes(magic) != BYTE_ORDER_MAGIC {
                return Err(invalid());
            }
            kind = SECTION_HEADER;
            body.extend_from_slice(&magic);
        }
        let length = self.u32(length);
        if length > BLOCK_BYTES_MAX || !length.is_multiple_of(4) || (length as usize) < 12 + body.len() {
            return Err(invalid());
        }
        let start = body.len();
        body.resize(length as usize - 8, 0);
        if !read_whole(&mut self.stream, &mut body[start..])? {
            return Ok(None);
        }
        body.truncate(length as usize - 12);
        Ok(Some((kind, body)))
    }

    fn interface(&self, body: &[u8]) -> Option<Interface> {
        let mut interface =
            Interface { name: self.interfaces.len().to_string(), ticks_per_second: 1_000_000 };
        for (code, value) in self.options(body.get(8..)?) {
            match (code, value) {
                (OPTION_IF_NAME, name) => interface.name = String::from_utf8_lossy(name).into_owned(),
                (OPTION_IF_TSRESOL, [power]) if power & 0x80 == 0 => {
                    interface.ticks_per_second = 10_u64.checked_pow(u32::from(*power))?;
                }
                (OPTION_IF_TSRESOL, [power]) => {
                    interface.ticks_per_second = 1_u64.checked_shl(u32::from(power & 0x7f))?;
                }
                _ => {}
            }
        }
        Some(interface)
    }

    fn frame(&self, body: &[u8]) -> Option<CapturedFrame> {
        let word = |at: usize| Some(self.u32(*body.get(at..at + 4)?.first_chunk()?));
        let interface = self.interfaces.get(word(0)? as usize)?;
        let ticks = u128::from(word(4)?) << 32 | u128::from(word(8)?);
        let time_ns = ticks * 1_000_000_000 / u128::from(interface.ticks_per_second);
        let length = word(12)? as usize;
        let bytes = body.get(20..)?.get(..length)?.to_vec();
        let options = body.get(20 + length.next_multiple_of(4)..).unwrap_or_default();
        let comment = self.options(options).into_iter().find(|(code, _)| *code == OPTION_COMMENT);
        Some(CapturedFrame {
            port: interface.name.clone(),
            time_ns: u64::try_from(time_ns).ok()?,
            bytes,
            comment: comment.map(|(_, text)| String::from_utf8_lossy(text).into_owned()),
        })
    }

    /// Options up to the end or the first that is cut short.
    fn options<'a>(&self, mut bytes: &'a [u8]) -> Vec<(u16, &'a [u8])> {
        let mut options = Vec::new();
        while let [a, b, c, d, rest @ ..] = bytes {
            let (code, length) = (self.u16([*a, *b]), usize::from(self.u16([*c, *d])));
            let Some(value) = rest.get(..length) else { break };
            if code == 0 {
                break;
            }
            options.push((code, value));
            bytes = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        options
    }

    fn u16(&self, bytes: [u8; 2]) -> u16 {
        if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    fn u32(&self, bytes: [u8; 4]) -> u32 {
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }
}

fn invalid() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "it is not pcapng")
}

/// Fills `bytes`; false if the stream ends before.
fn read_whole(stream: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    match stream.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(kind: u32, body: &[u8], big_endian: bool) -> Vec<u8> {
        let word = |value: u32| if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
        let length = word(u32::try_from(body.len() + 12).unwrap());
        [&word(kind)[..], &length, body, &length].concat()
    }

    fn capture(big_endian: bool) -> Vec<u8> {
        let half = |value: u16| if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
        let word = |value: u32| if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
        let header = [&word(BYTE_ORDER_MAGIC)[..], &half(1), &half(0), &[0xff; 8]].concat();
        let interface = [
            &half(1)[..],
            &half(0),
            &word(0),
            &half(OPTION_IF_NAME),
            &half(4),
            b"pod1",
            &half(OPTION_IF_TSRESOL),
            &half(1),
            &[9, 0, 0, 0],
            &half(0),
            &half(0),
        ]
        .concat();
        let packet = [
            &word(0)[..],
            &word(1),
            &word(2),
            &word(5),
            &word(5),
            b"frame\0\0\0",
            &half(OPTION_COMMENT),
            &half(3),
            b"why\0",
            &half(0),
            &half(0),
        ]
        .concat();
        [
            block(SECTION_HEADER, &header, big_endian),
            block(INTERFACE_DESCRIPTION, &interface, big_endian),
            block(0x0bad, &[1, 2, 3, 4], big_endian),
            block(ENHANCED_PACKET, &packet, big_endian),
        ]
        .concat()
    }

    #[test]
    fn frames_are_read_in_both_byte_orders() {
        for big_endian in [false, true] {
            let bytes = capture(big_endian);
            let mut reader = Reader::new(bytes.as_slice());
            let frame = reader.next_frame().unwrap().unwrap();
            assert_eq!(frame.port, "pod1");
            assert_eq!(frame.time_ns, (1 << 32) + 2);
            assert_eq!(frame.bytes, b"frame");
            assert_eq!(frame.comment.as_deref(), Some("why"));
            assert_eq!(reader.next_frame().unwrap(), None);
        }
    }

    #[test]
    fn a_stream_that_is_cut_anywhere_just_ends() {
        let bytes = capture(false);
        for length in 0..bytes.len() {
            assert_eq!(Reader::new(&bytes[..length]).next_frame().unwrap(), None, "{length}");
        }
    }

    #[test]
    fn other_bytes_are_an_error_and_never_a_panic() {
        assert!(Reader::new(&[0x41; 64][..]).next_frame().is_err());
        let good = capture(false);
        for position in 0..good.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = good.clone();
                bytes[position] = value;
                // Any answer will do.
                let _ = Reader::new(bytes.as_slice()).next_frame();
            }
        }
    }
}
