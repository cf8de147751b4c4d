//! Messages of nf_tables as bytes: `linux/netlink.h`, `linux/netfilter/nfnetlink.h`, `nf_tables.h`.
//!
//! A message is a header of 16 bytes in the machine's order, a head of four (family, version 0, and a number
//! that only a batch uses), and attributes: length, kind and value, padded to four bytes. Numbers inside the
//! attributes of nf_tables are big-endian.

/// `NFNL_SUBSYS_NFTABLES`.
const SUBSYSTEM: u16 = 10;
/// `NFNL_MSG_BATCH_BEGIN`: what stands between it and `_END` comes true together or not at all.
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
/// `NFPROTO_NETDEV`.
const FAMILY_NETDEV: u8 = 5;
const FAMILY_NONE: u8 = 0;

const HEADER_BYTES: usize = 16;
const HEAD_BYTES: usize = 4;
const ALIGNMENT: usize = 4;
/// `NLA_F_NESTED`.
const NESTED: u16 = 1 << 15;
/// `NLA_TYPE_MASK`.
const KIND_MASK: u16 = !(0b11 << 14);

/// `NLM_F_REQUEST`, `_ACK`, `_CREATE`, `_APPEND` and `_DUMP`.
const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;
const DUMP: u16 = 0x300;

/// What is asked of nf_tables (`NFT_MSG_…`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operation {
    /// Makes a table; that it is there is no error.
    NewTable,
    /// Shows a table.
    GetTable,
    /// Deletes a table and what is in it.
    DeleteTable,
    /// Makes a chain.
    NewChain,
    /// Shows a chain.
    GetChain,
    /// Appends a rule to a chain.
    NewRule,
    /// Shows all rules of a chain.
    GetRules,
}

impl Operation {
    fn number_and_flags(self) -> (u16, u16) {
        match self {
            Self::NewTable => (0, CREATE),
            Self::GetTable => (1, 0),
            Self::DeleteTable => (2, 0),
            Self::NewChain => (3, CREATE),
            Self::GetChain => (4, 0),
            Self::NewRule => (6, CREATE | APPEND),
            Self::GetRules => (7, DUMP),
        }
    }
}

/// Attributes, one after the other.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Attributes(Vec<u8>);

impl Attributes {
    /// And one more, of bytes as they stand. What is longer than an attribute can tell (64 KiB) the kernel
    /// refuses; [`EXCEPTIONS_MAX`](super::EXCEPTIONS_MAX) keeps a rule far below.
    pub(super) fn bytes(self, kind: u16, value: &[u8]) -> Self {
        self.raw(kind, value)
    }

    /// A terminated text.
    pub(super) fn text(self, kind: u16, value: &str) -> Self {
        self.raw(kind, &[value.as_bytes(), &[0]].concat())
    }

    /// A big-endian number.
    pub(super) fn number(self, kind: u16, value: u32) -> Self {
        self.raw(kind, &value.to_be_bytes())
    }

    /// Attributes within an attribute.
    pub(super) fn nested(self, kind: u16, value: &Self) -> Self {
        self.raw(kind | NESTED, &value.0)
    }

    fn raw(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(HEAD_BYTES + value.len()).unwrap_or(u16::MAX);
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(ALIGNMENT), 0);
        self
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A request to nf_tables for the family of network devices.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Request {
    /// What to do.
    pub(super) operation: Operation,
    /// With what.
    pub(super) attributes: Attributes,
}

impl Request {
    /// The request on its own, whose end is told: by an acknowledgement, or as that of a list.
    pub(super) fn encode(&self) -> Vec<u8> {
        self.message(true)
    }

    fn message(&self, acknowledged: bool) -> Vec<u8> {
        let (number, flags) = self.operation.number_and_flags();
        let acknowledge = if acknowledged && flags & DUMP != DUMP { ACKNOWLEDGE } else { 0 };
        let kind = SUBSYSTEM << 8 | number;
        message(kind, REQUEST | acknowledge | flags, (FAMILY_NETDEV, 0), &self.attributes)
    }
}

/// The requests as one batch. The last one alone is acknowledged, when all have come true: to acknowledge each
/// could be more than the socket holds.
pub(super) fn batch(requests: &[Request]) -> Vec<u8> {
    let boundary = |kind| message(kind, REQUEST, (FAMILY_NONE, SUBSYSTEM), &Attributes::default());
    let mut bytes = boundary(BATCH_BEGIN);
    for (position, request) in requests.iter().enumerate() {
        bytes.extend(request.message(position + 1 == requests.len()));
    }
    bytes.extend(boundary(BATCH_END));
    bytes
}

fn message(kind: u16, flags: u16, (family, resource): (u8, u16), attributes: &Attributes) -> Vec<u8> {
    let length = u32::try_from(HEADER_BYTES + HEAD_BYTES + attributes.0.len()).unwrap_or(u32::MAX);
    let [a, b] = resource.to_be_bytes();
    let mut bytes = Vec::new();
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]); // no number: each is answered before the next is sent; and no address of ours
    bytes.extend([family, 0, a, b]);
    bytes.extend(&attributes.0);
    bytes
}

/// What the kernel says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Reply<'a> {
    /// It refuses, with this error number.
    Refused(i32),
    /// It has done it, or has nothing more to show.
    Done,
    /// It shows something: attributes.
    Shown(&'a [u8]),
}

/// The replies in what one receive brought. What is cut off is left out.
pub(super) fn replies(bytes: &[u8]) -> impl Iterator<Item = Reply<'_>> {
    const ERROR: u16 = 2; // NLMSG_ERROR
    const DONE: u16 = 3; // NLMSG_DONE
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::try_from(u32_at(rest, 0)?).ok()?;
        let body = rest.get(HEADER_BYTES..length)?;
        let kind = u16_at(rest, 4)?;
        rest = rest.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or(&[]);
        Some(match kind {
            ERROR | DONE => match body.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code)) {
                0.. => Reply::Done,
                code => Reply::Refused(code.saturating_neg()),
            },
            _ => Reply::Shown(body.get(HEAD_BYTES..).unwrap_or(&[])),
        })
    })
}

/// The value of the first attribute of a kind.
pub(super) fn attribute(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut rest = bytes;
    loop {
        let length = usize::from(u16_at(rest, 0)?);
        let kind = u16_at(rest, 2)? & KIND_MASK;
        let value = rest.get(HEAD_BYTES..length)?;
        if kind == wanted {
            return Some(value);
        }
        rest = rest.get(length.next_multiple_of(ALIGNMENT)..)?;
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|value| u16::from_ne_bytes(*value))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|value| u32::from_ne_bytes(*value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn a_batch_is_its_messages_between_begin_and_end() {
        let table = Attributes::default().text(1, "t");
        let requests = [Operation::NewTable, Operation::DeleteTable]
            .map(|operation| Request { operation, attributes: table.clone() });
        let boundary = |kind| [20, 0, 0, 0, kind, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10];
        let inner = |kind, flags: [u8; 2]| {
            let header = [28, 0, 0, 0, kind, 10, flags[0], flags[1], 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0];
            [&header[..], &[6, 0, 1, 0, b't', 0, 0, 0]].concat()
        };
        let expected = [&boundary(16)[..], &inner(0, [1, 4]), &inner(2, [5, 0]), &boundary(17)].concat();
        assert_eq!(batch(&requests), expected);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn attributes_are_padded_and_their_numbers_big_endian() {
        let inner = Attributes::default().number(2, 0x0102_0304).bytes(3, &[9]);
        let expected = [20, 0, 1, 0x80, 8, 0, 2, 0, 1, 2, 3, 4, 5, 0, 3, 0, 9, 0, 0, 0];
        assert_eq!(Attributes::default().nested(1, &inner).as_bytes(), expected);
    }

    #[test]
    fn what_was_written_is_found_again() {
        let inner = Attributes::default().number(2, 7).text(3, "eth0");
        let outer = Attributes::default().bytes(1, &[1, 2, 3, 4, 5]).nested(4, &inner);
        let found = attribute(outer.as_bytes(), 4).unwrap();
        assert_eq!(attribute(found, 3), Some(&b"eth0\0"[..]));
        assert_eq!(attribute(outer.as_bytes(), 1), Some(&[1, 2, 3, 4, 5][..]));
        assert_eq!(attribute(outer.as_bytes(), 2), None);
    }

    fn reply(kind: u16, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(16 + body.len()).unwrap();
        [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10], body].concat()
    }

    #[test]
    fn an_error_of_zero_is_an_acknowledgement() {
        let bytes = [
            reply(2, &0_i32.to_ne_bytes()),
            reply(2, &(-2_i32).to_ne_bytes()),
            reply(0x0a06, &[5, 0, 0, 0, 8, 9, 10, 11]),
            reply(3, &0_i32.to_ne_bytes()),
        ];
        let expected = [Reply::Done, Reply::Refused(2), Reply::Shown(&[8, 9, 10, 11]), Reply::Done];
        assert_eq!(replies(&bytes.concat()).collect::<Vec<_>>(), expected);
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd_to_be_read(bytes in proptest::collection::vec(0..40_u8, 0..200)) {
            prop_assert!(replies(&bytes).count() <= bytes.len() / HEADER_BYTES);
            let _ = attribute(&bytes, 3);
        }
    }
}
