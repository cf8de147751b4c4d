//! The memory that frames live in: one allocation a buffer, made at start, moved by value ever after.
//!
//! A [`Buffer`] owns its bytes wherever it goes: from a worker's pool to an I/O engine (which lends its
//! memory to the kernel for one read), into a [`Frame`](crate::Frame), to another worker in exchange for an
//! empty one, and back to a pool. There is no reference count and nothing is shared.

/// Bytes kept free before a received frame: room for a vnet header, more VLAN tags or a tunnel header.
pub const HEADROOM_BYTES: usize = 128;

/// Longest frame: a 65 535-byte IP packet (IPv4's and IPv6's length fields) behind an Ethernet header with
/// two VLAN tags.
pub const FRAME_BYTES_MAX: usize = 65_535 + 14 + 8;

/// Bytes of a buffer. Not a multiple of a page: buffers at 64 KiB strides would put all headers into the
/// same few cache sets; this stride moves each buffer on by five lines.
pub const BUFFER_BYTES: usize = HEADROOM_BYTES + 65_536 + 2048 + 192;

const _: () = assert!(BUFFER_BYTES >= HEADROOM_BYTES + FRAME_BYTES_MAX && BUFFER_BYTES.is_multiple_of(64));

/// One frame's worth of memory, [`BUFFER_BYTES`] long.
#[derive(Debug)]
pub struct Buffer(Box<[u8; BUFFER_BYTES]>);

impl Buffer {
    /// A zeroed buffer. The pages are not resident before they are first written.
    #[must_use]
    pub fn new() -> Self {
        let Ok(zeroed) = vec![0; BUFFER_BYTES].into_boxed_slice().try_into() else {
            unreachable!("the length is that of the array")
        };
        Self(zeroed)
    }

    /// The whole memory.
    #[must_use]
    #[inline]
    pub fn bytes(&self) -> &[u8; BUFFER_BYTES] {
        &self.0
    }

    /// The whole memory, to write to.
    #[must_use]
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8; BUFFER_BYTES] {
        &mut self.0
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Self::new()
    }
}

/// A worker's free buffers. All are allocated when the worker starts; taking and giving back never
/// allocates.
#[derive(Debug)]
pub struct BufferPool {
    free: Vec<Buffer>,
}

impl BufferPool {
    /// A pool of `count` buffers.
    #[must_use]
    pub fn with_buffers(count: usize) -> Self {
        Self { free: (0..count).map(|_| Buffer::new()).collect() }
    }

    /// The buffer given back last (its lines are the warmest), or `None` if all are in use.
    #[inline]
    pub fn take(&mut self) -> Option<Buffer> {
        self.free.pop()
    }

    /// Gives a buffer back.
    #[inline]
    pub fn give(&mut self, buffer: Buffer) {
        self.free.push(buffer);
    }

    /// Gives several buffers back; the last one ends on top.
    #[inline]
    pub fn give_all(&mut self, buffers: impl IntoIterator<Item = Buffer>) {
        self.free.extend(buffers);
    }

    /// How many buffers are free.
    #[must_use]
    pub fn free(&self) -> usize {
        self.free.len()
    }
}
