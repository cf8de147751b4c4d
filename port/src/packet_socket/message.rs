//! What one receive from a packet socket brings into a buffer, and how it becomes a frame.
//!
//! From [`MESSAGE_OFFSET`] on, as a multishot `IORING_OP_RECVMSG` writes it: a head of four 32-bit words,
//! [`CONTROL_BYTES`] of control messages, a vnet header of [`HEADER_BYTES`], and then, at
//! [`HEADROOM_BYTES`], the frame. The one control message that is asked for (`PACKET_AUXDATA`) holds the
//! VLAN tag, which the kernel has taken out of the frame: it is put back.

use packet::{
    Buffer, ChecksumOffload, DropReason, FRAME_BYTES_MAX, HEADROOM_BYTES, Offload, VNET_HEADER_BYTES,
};

use crate::queue::FRAME_BYTES_MIN;

/// The head that `io_uring` writes (`struct io_uring_recvmsg_out`).
pub(crate) const HEAD_BYTES: usize = 16;
/// Room for one `struct tpacket_auxdata` as a control message.
pub(crate) const CONTROL_BYTES: usize =
    AUXILIARY_OFFSET + AUXILIARY_BYTES.next_multiple_of(size_of::<usize>());
/// Bytes of a vnet header without `num_buffers`: what every kernel that has `PACKET_VNET_HDR` takes.
pub(crate) const HEADER_BYTES: usize = 10;
/// Where in a buffer a message begins.
pub(crate) const MESSAGE_OFFSET: usize = HEADROOM_BYTES - HEADER_BYTES - CONTROL_BYTES - HEAD_BYTES;

const CONTROL_OFFSET: usize = MESSAGE_OFFSET + HEAD_BYTES;
const AUXILIARY_OFFSET: usize = size_of::<libc::cmsghdr>();
const AUXILIARY_BYTES: usize = size_of::<libc::tpacket_auxdata>();
/// Destination and source address: a tag stands behind them.
const ADDRESS_BYTES: usize = 12;
const TAG_BYTES: u16 = 4;

/// The frame in a buffer that a receive of `received_bytes` filled.
///
/// # Errors
/// Why it is none: [`Truncated`](DropReason::Truncated), [`Oversized`](DropReason::Oversized) or
/// [`BadOffload`](DropReason::BadOffload).
pub(crate) fn frame_of(buffer: &mut Buffer, received_bytes: usize) -> Result<(usize, Offload), DropReason> {
    let frame_bytes = received_bytes
        .checked_sub(HEAD_BYTES + CONTROL_BYTES + HEADER_BYTES)
        .filter(|&bytes| bytes >= FRAME_BYTES_MIN)
        .ok_or(DropReason::Truncated)?;
    // A frame that did not fit into the buffer is longer than this, too.
    if frame_bytes > FRAME_BYTES_MAX {
        return Err(DropReason::Oversized);
    }
    let memory = buffer.bytes_mut();
    let mut header = [0; VNET_HEADER_BYTES];
    header[..HEADER_BYTES].copy_from_slice(&memory[HEADROOM_BYTES - HEADER_BYTES..HEADROOM_BYTES]);
    let offload = Offload::from_vnet_header(header, frame_bytes).map_err(|_| DropReason::BadOffload)?;
    match removed_tag(&memory[MESSAGE_OFFSET..HEADROOM_BYTES - HEADER_BYTES]) {
        Some(tag) => put_back(memory, frame_bytes, offload, tag),
        None => Ok((frame_bytes, offload)),
    }
}

/// The tag (protocol and control information) that the head and control messages tell of.
fn removed_tag(message: &[u8]) -> Option<[u8; 4]> {
    let word = |at: usize| Some(u32::from_ne_bytes(*message.get(at..)?.first_chunk()?));
    let half = |at: usize| Some(u16::from_ne_bytes(*message.get(at..)?.first_chunk()?));
    let control_bytes = usize::try_from(word(4)?).ok()?;
    let control = CONTROL_OFFSET - MESSAGE_OFFSET;
    let kind = (word(control + size_of::<usize>())?, word(control + size_of::<usize>() + 4)?);
    let is_auxiliary = kind == (libc::SOL_PACKET.unsigned_abs(), libc::PACKET_AUXDATA.unsigned_abs());
    if control_bytes < AUXILIARY_OFFSET + AUXILIARY_BYTES || !is_auxiliary {
        return None;
    }
    let auxiliary = control + AUXILIARY_OFFSET;
    let status = word(auxiliary)?;
    if status & libc::TP_STATUS_VLAN_VALID == 0 {
        return None;
    }
    let information = half(auxiliary + std::mem::offset_of!(libc::tpacket_auxdata, tp_vlan_tci))?;
    let protocol = if status & libc::TP_STATUS_VLAN_TPID_VALID == 0 {
        0x8100 // what a kernel before 3.14 means (IEEE 802.1Q §9.6)
    } else {
        half(auxiliary + std::mem::offset_of!(libc::tpacket_auxdata, tp_vlan_tpid))?
    };
    let ([a, b], [c, d]) = (protocol.to_be_bytes(), information.to_be_bytes());
    Some([a, b, c, d])
}

/// Puts the tag behind the addresses. What follows moves by four bytes: tagged frames are few, and to move
/// the addresses instead would move the frame's beginning.
fn put_back(
    memory: &mut [u8],
    frame_bytes: usize,
    mut offload: Offload,
    tag: [u8; 4],
) -> Result<(usize, Offload), DropReason> {
    let tagged_bytes = frame_bytes + tag.len();
    if tagged_bytes > FRAME_BYTES_MAX {
        return Err(DropReason::Oversized);
    }
    let place = HEADROOM_BYTES + ADDRESS_BYTES;
    memory.copy_within(place..HEADROOM_BYTES + frame_bytes, place + tag.len());
    memory[place..place + tag.len()].copy_from_slice(&tag);
    if let ChecksumOffload::Partial { start, .. } = &mut offload.checksum {
        *start = start.checked_add(TAG_BYTES).ok_or(DropReason::BadOffload)?;
    }
    Ok((tagged_bytes, offload))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FRAME: [u8; 20] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0x88, 0xb5, 20, 21, 22, 23, 24, 25];

    /// A buffer as the kernel fills it, and the bytes that it says it received.
    fn received(frame: &[u8], header: [u8; HEADER_BYTES], tag: Option<(u32, u16, u16)>) -> (Buffer, usize) {
        let mut buffer = Buffer::new();
        let memory = buffer.bytes_mut();
        let mut put = |at: usize, bytes: &[u8]| memory[at..at + bytes.len()].copy_from_slice(bytes);
        put(HEADROOM_BYTES, frame);
        put(HEADROOM_BYTES - HEADER_BYTES, &header);
        if let Some((status, information, protocol)) = tag {
            put(
                MESSAGE_OFFSET + 4,
                &u32::try_from(AUXILIARY_OFFSET + AUXILIARY_BYTES).unwrap().to_ne_bytes(),
            );
            put(CONTROL_OFFSET, &(AUXILIARY_OFFSET + AUXILIARY_BYTES).to_ne_bytes());
            put(CONTROL_OFFSET + size_of::<usize>(), &libc::SOL_PACKET.to_ne_bytes());
            put(CONTROL_OFFSET + size_of::<usize>() + 4, &libc::PACKET_AUXDATA.to_ne_bytes());
            put(CONTROL_OFFSET + AUXILIARY_OFFSET, &status.to_ne_bytes());
            put(CONTROL_OFFSET + AUXILIARY_OFFSET + 16, &information.to_ne_bytes());
            put(CONTROL_OFFSET + AUXILIARY_OFFSET + 18, &protocol.to_ne_bytes());
        }
        (buffer, HEAD_BYTES + CONTROL_BYTES + HEADER_BYTES + frame.len())
    }

    fn bytes_of(buffer: &Buffer, frame_bytes: usize) -> &[u8] {
        &buffer.bytes()[HEADROOM_BYTES..HEADROOM_BYTES + frame_bytes]
    }

    #[test]
    fn a_frame_without_a_tag_is_left_where_it_stands() {
        for tag in [None, Some((0, 5, 0x8100))] {
            let (mut buffer, bytes) = received(&FRAME, [0; HEADER_BYTES], tag);
            assert_eq!(frame_of(&mut buffer, bytes), Ok((FRAME.len(), Offload::NONE)));
            assert_eq!(bytes_of(&buffer, FRAME.len()), FRAME);
        }
    }

    #[test]
    fn a_tag_is_put_back_and_the_checksum_moves_with_the_packet() {
        let both = libc::TP_STATUS_VLAN_VALID | libc::TP_STATUS_VLAN_TPID_VALID;
        for (status, protocol, expected) in
            [(both, 0x88a8, [0x88, 0xa8, 0x20, 5]), (libc::TP_STATUS_VLAN_VALID, 0, [0x81, 0, 0x20, 5])]
        {
            let header = [1, 0, 0, 0, 0, 0, 14, 0, 2, 0];
            let (mut buffer, bytes) = received(&FRAME, header, Some((status, 0x2005, protocol)));
            let (frame_bytes, offload) = frame_of(&mut buffer, bytes).unwrap();
            assert_eq!(offload.checksum, ChecksumOffload::Partial { start: 18, offset: 2 });
            assert_eq!(bytes_of(&buffer, frame_bytes), [&FRAME[..12], &expected, &FRAME[12..]].concat());
        }
    }

    #[test]
    fn what_is_no_frame_has_a_name() {
        let refused = |bytes: usize, header: [u8; HEADER_BYTES], tag| {
            let (mut buffer, before) = received(&[0xff; 14], header, tag);
            frame_of(&mut buffer, before - 14 + bytes).unwrap_err()
        };
        let tag = Some((libc::TP_STATUS_VLAN_VALID, 1, 0));
        assert_eq!(refused(13, [0; 10], None), DropReason::Truncated);
        assert_eq!(refused(FRAME_BYTES_MAX + 1, [0; 10], None), DropReason::Oversized);
        assert_eq!(refused(FRAME_BYTES_MAX - 3, [0; 10], tag), DropReason::Oversized);
        assert_eq!(refused(60, [1, 0, 0, 0, 0, 0, 0xff, 0xff, 2, 0], None), DropReason::BadOffload);
        assert_eq!(frame_of(&mut Buffer::new(), 3), Err(DropReason::Truncated));
    }

    proptest! {
        #[test]
        fn whatever_stands_before_the_frame_leads_to_a_verdict(
            before in proptest::collection::vec(any::<u8>(), HEADROOM_BYTES - MESSAGE_OFFSET),
            status in any::<u32>(),
            is_auxiliary in any::<bool>(),
            bytes in 0..BUFFER_ROOM,
        ) {
            let (mut buffer, _) = received(&[], [0; HEADER_BYTES], Some((status, 0xffff, 0xffff)));
            if !is_auxiliary {
                buffer.bytes_mut()[MESSAGE_OFFSET..HEADROOM_BYTES].copy_from_slice(&before);
            }
            if let Ok((frame_bytes, _)) = frame_of(&mut buffer, bytes) {
                prop_assert!((FRAME_BYTES_MIN..=FRAME_BYTES_MAX).contains(&frame_bytes));
            }
        }
    }

    const BUFFER_ROOM: usize = packet::BUFFER_BYTES - MESSAGE_OFFSET;
}
