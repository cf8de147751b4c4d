//! ICMP for IPv4 (RFC 792).

/// Bytes of the header that all messages share with their first data word.
pub const HEADER_BYTES: usize = 8;

/// Echo reply.
pub const ECHO_REPLY: u8 = 0;
/// Destination unreachable.
pub const UNREACHABLE: u8 = 3;
/// Source quench (deprecated by RFC 6633).
pub const SOURCE_QUENCH: u8 = 4;
/// Redirect.
pub const REDIRECT: u8 = 5;
/// Echo request.
pub const ECHO_REQUEST: u8 = 8;
/// Router advertisement (RFC 1256).
pub const ROUTER_ADVERTISEMENT: u8 = 9;
/// Router solicitation (RFC 1256).
pub const ROUTER_SOLICITATION: u8 = 10;
/// Time exceeded.
pub const TIME_EXCEEDED: u8 = 11;
/// Parameter problem.
pub const PARAMETER_PROBLEM: u8 = 12;
/// Timestamp request.
pub const TIMESTAMP_REQUEST: u8 = 13;
/// Timestamp reply.
pub const TIMESTAMP_REPLY: u8 = 14;
/// Address mask reply, the last of the messages that ask or answer (RFC 950).
pub const ADDRESS_MASK_REPLY: u8 = 18;

/// A message, seen in place.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    header: &'a [u8; HEADER_BYTES],
    body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The message `bytes`, all of the packet's payload, or `None` if its header is not all there.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        bytes.split_first_chunk().map(|(header, body)| Self { header, body })
    }

    /// Type.
    #[must_use]
    pub fn kind(&self) -> u8 {
        self.header[0]
    }

    /// Code, which refines the type.
    #[must_use]
    pub fn code(&self) -> u8 {
        self.header[1]
    }

    /// Checksum.
    #[must_use]
    pub fn checksum(&self) -> u16 {
        u16::from_be_bytes([self.header[2], self.header[3]])
    }

    /// True for a message that asks or answers. All others, unknown ones included, are taken for messages
    /// about another packet, which must not be answered by such a message (RFC 1122 §3.2.2).
    #[must_use]
    pub fn is_query(&self) -> bool {
        matches!(
            self.kind(),
            ECHO_REPLY | ECHO_REQUEST | ROUTER_ADVERTISEMENT | ROUTER_SOLICITATION | TIMESTAMP_REQUEST
                ..=ADDRESS_MASK_REPLY
        )
    }

    /// The identifier of a query (echo, timestamp), by which its reply finds back.
    #[must_use]
    pub fn identifier(&self) -> Option<u16> {
        matches!(self.kind(), ECHO_REPLY | ECHO_REQUEST | TIMESTAMP_REQUEST | TIMESTAMP_REPLY)
            .then_some(u16::from_be_bytes([self.header[4], self.header[5]]))
    }

    /// The beginning of the packet that an error or a redirect is about; `None` in other messages.
    #[must_use]
    pub fn quoted(&self) -> Option<&'a [u8]> {
        matches!(self.kind(), UNREACHABLE | REDIRECT | TIME_EXCEEDED | PARAMETER_PROBLEM).then_some(self.body)
    }

    /// What follows the header.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_have_an_identifier_and_errors_a_quotation() {
        let message = [8, 0, 0, 0, 0x12, 0x34, 0, 1, 0x45];
        let echo = Message::new(&message).unwrap();
        assert_eq!((echo.identifier(), echo.quoted()), (Some(0x1234), None));
        let message = [3, 4, 0, 0, 0, 0, 5, 0, 0x45];
        let error = Message::new(&message).unwrap();
        assert_eq!((error.code(), error.identifier(), error.quoted()), (4, None, Some(&[0x45][..])));
        assert!(Message::new(&message[..7]).is_none());
        let queries = (0..=u8::MAX).filter(|kind| Message::new(&[*kind; 8]).unwrap().is_query());
        assert_eq!(queries.collect::<Vec<_>>(), [0, 8, 9, 10, 13, 14, 15, 16, 17, 18]);
    }
}
