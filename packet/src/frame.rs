//! One Ethernet frame on its way through a worker.

use crate::{Buffer, FRAME_BYTES_MAX, HEADROOM_BYTES, Offload, PortId};

/// An Ethernet frame, without its frame check sequence, in a [`Buffer`] of its own, with the metadata of
/// its sender's offloads. A super-frame (up to 64 KiB of payload to be segmented) is one frame.
#[derive(Debug)]
pub struct Frame {
    buffer: Buffer,
    start: u32,
    end: u32,
    /// What the sender left to do.
    pub offload: Offload,
    /// The port the frame came in by.
    pub ingress: PortId,
}

impl Frame {
    /// A frame over the `len_bytes` bytes that stand in `buffer` from [`HEADROOM_BYTES`] on (where every
    /// port receives to).
    ///
    /// # Errors
    /// Gives the buffer back if `len_bytes` exceeds [`FRAME_BYTES_MAX`].
    #[inline]
    pub fn received(
        buffer: Buffer,
        len_bytes: usize,
        offload: Offload,
        ingress: PortId,
    ) -> Result<Self, Buffer> {
        if len_bytes > FRAME_BYTES_MAX {
            return Err(buffer);
        }
        let (Ok(start), Ok(end)) = (u32::try_from(HEADROOM_BYTES), u32::try_from(HEADROOM_BYTES + len_bytes))
        else {
            return Err(buffer);
        };
        Ok(Self { buffer, start, end, offload, ingress })
    }

    /// A frame with a copy of `bytes`, without offloads.
    ///
    /// # Errors
    /// Gives the buffer back if there are more than [`FRAME_BYTES_MAX`] bytes.
    pub fn copied(mut buffer: Buffer, bytes: &[u8], ingress: PortId) -> Result<Self, Buffer> {
        if bytes.len() > FRAME_BYTES_MAX {
            return Err(buffer);
        }
        buffer.bytes_mut()[HEADROOM_BYTES..HEADROOM_BYTES + bytes.len()].copy_from_slice(bytes);
        Self::received(buffer, bytes.len(), Offload::NONE, ingress)
    }

    /// The frame from its destination address on.
    #[must_use]
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer.bytes()[self.start as usize..self.end as usize]
    }

    /// The frame from its destination address on, to edit in place.
    #[must_use]
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer.bytes_mut()[self.start as usize..self.end as usize]
    }

    /// Length in bytes.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// True if there is no byte at all.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.end == self.start
    }

    /// The `prefix.len()` bytes right before the frame are set to `prefix`, and the slice over prefix and
    /// frame is returned: how a port puts its own header (a vnet header) before a frame without moving it.
    /// The frame itself is unchanged. `None` if the headroom is too short.
    pub fn with_prefix(&mut self, prefix: &[u8]) -> Option<&[u8]> {
        let (start, end) = (self.start as usize, self.end as usize);
        let from = start.checked_sub(prefix.len())?;
        self.buffer.bytes_mut()[from..start].copy_from_slice(prefix);
        Some(&self.buffer.bytes()[from..end])
    }

    /// Adds `bytes` behind the frame's last byte. False, and nothing changed, if the frame would exceed
    /// [`FRAME_BYTES_MAX`] or its buffer.
    pub fn append(&mut self, bytes: &[u8]) -> bool {
        let (from, to) = (self.end as usize, self.end as usize + bytes.len());
        if self.len() + bytes.len() > FRAME_BYTES_MAX {
            return false;
        }
        let (Some(room), Ok(end)) = (self.buffer.bytes_mut().get_mut(from..to), u32::try_from(to)) else {
            return false;
        };
        room.copy_from_slice(bytes);
        self.end = end;
        true
    }

    /// Shortens the frame to its first `len_bytes` bytes; a frame that is shorter stays as it is.
    pub fn truncate(&mut self, len_bytes: usize) {
        if len_bytes < self.len() {
            self.end = self.start + u32::try_from(len_bytes).unwrap_or(0);
        }
    }

    /// Gives up the frame for its memory.
    #[must_use]
    #[inline]
    pub fn into_buffer(self) -> Buffer {
        self.buffer
    }
}
