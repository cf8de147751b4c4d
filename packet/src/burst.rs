//! The frames that a worker treats together.

use crate::{BufferPool, Frame};

/// Most frames of a burst.
pub const BURST_FRAMES: usize = 64;

/// A burst takes no further frame once it holds this many bytes, so that super-frames stay in the L2 cache
/// (1 MiB a core on the reference machine) between the kernel's copy in and its copy out.
pub const BURST_BYTES: usize = 512 * 1024;

/// Frames received together, in order of arrival, from any ports: at most [`BURST_FRAMES`], and no further
/// one once [`BURST_BYTES`] are reached. Storage is allocated once.
#[derive(Debug)]
pub struct Burst {
    frames: Vec<Frame>,
    bytes: usize,
}

impl Burst {
    /// An empty burst.
    #[must_use]
    pub fn new() -> Self {
        Self { frames: Vec::with_capacity(BURST_FRAMES), bytes: 0 }
    }

    /// True once no further frame is to be added.
    #[must_use]
    #[inline]
    pub fn is_full(&self) -> bool {
        self.frames.len() >= BURST_FRAMES || self.bytes >= BURST_BYTES
    }

    /// True if the burst is mostly payload under way in super-frames, not questions and answers: 8 KiB a
    /// frame or more on average.
    #[must_use]
    pub fn is_bulk(&self) -> bool {
        self.bytes > self.frames.len() * 8192
    }

    /// Adds a frame.
    ///
    /// # Errors
    /// Gives the frame back if [`BURST_FRAMES`] are there already. A caller that also heeds the byte bound
    /// asks [`is_full`](Self::is_full) before it reads a frame.
    #[inline]
    pub fn push(&mut self, frame: Frame) -> Result<(), Frame> {
        if self.frames.len() >= BURST_FRAMES {
            return Err(frame);
        }
        self.bytes += frame.len();
        self.frames.push(frame);
        Ok(())
    }

    /// The frames in order of arrival.
    #[must_use]
    #[inline]
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// The frames in order of arrival, to edit.
    #[must_use]
    #[inline]
    pub fn frames_mut(&mut self) -> &mut [Frame] {
        &mut self.frames
    }

    /// How many frames there are.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// True without a frame.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Takes all frames out, in order.
    pub fn drain(&mut self) -> impl Iterator<Item = Frame> + '_ {
        self.bytes = 0;
        self.frames.drain(..)
    }

    /// Gives the memory of all frames back to `pool`; the last frame's buffer, the warmest, ends on top.
    pub fn recycle(&mut self, pool: &mut BufferPool) {
        pool.give_all(self.drain().map(Frame::into_buffer));
    }
}

impl Default for Burst {
    fn default() -> Self {
        Self::new()
    }
}
