//! Buffers lent to the kernel through a ring of provided buffers: any request of the ring's group may take
//! the next one.

use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;
use packet::Buffer;

/// A page of the ring of provided buffers, whose address must be page-aligned.
#[repr(C, align(4096))]
#[derive(Clone)]
struct Page([u8; 4096]);

const ENTRIES_PER_PAGE: usize = 4096 / size_of::<BufRingEntry>();

/// Most buffers of one ring of provided buffers.
pub(super) const LENT_MAX: u16 = 1 << 15;

/// One group of lent buffers. A lent buffer is parked in `slots`, where nothing touches it, until the
/// completion that names it is popped.
pub(super) struct Lending {
    /// Where in a buffer the kernel's part begins.
    offset: usize,
    /// Number of the first slot: the kernel's name for a buffer is unique over all groups.
    first: u16,
    pages: Vec<Page>,
    tail: u16,
    slots: Vec<Option<Buffer>>,
    free_slots: Vec<u16>,
}

impl Lending {
    /// Registers `group` with room for `count` buffers (a power of two up to [`LENT_MAX`]), named from
    /// `first` on. The memory has to be [leaked](Self::leak) if the ring is given up before it is drained.
    pub(super) fn register(
        ring: &IoUring,
        group: u16,
        first: u16,
        count: u16,
        offset: usize,
    ) -> io::Result<Self> {
        let slots = usize::from(count);
        let mut pages = vec![Page([0; 4096]); slots.div_ceil(ENTRIES_PER_PAGE)];
        // SAFETY: the memory holds `count` entries, is page-aligned, zeroed, and lives until the ring is
        // closed: `pages` is never resized, and leaked if the ring cannot be drained.
        unsafe { ring.submitter().register_buf_ring_with_flags(pages.as_mut_ptr() as u64, count, group, 0) }?;
        Ok(Self {
            offset,
            first,
            pages,
            tail: 0,
            slots: (0..slots).map(|_| None).collect(),
            free_slots: (0..count).rev().collect(),
        })
    }

    /// How many more buffers can be lent.
    pub(super) fn room(&self) -> usize {
        self.free_slots.len()
    }

    /// How many buffers a request can still choose from.
    pub(super) fn lent(&self) -> usize {
        self.slots.len().saturating_sub(self.free_slots.len())
    }

    /// Lends a buffer.
    ///
    /// # Errors
    /// Gives it back if there is no [`room`](Self::room).
    pub(super) fn lend(&mut self, mut buffer: Buffer) -> Result<(), Buffer> {
        let Some(slot) = self.free_slots.pop() else { return Err(buffer) };
        let memory = &mut buffer.bytes_mut()[self.offset..];
        let (address, length) = (memory.as_mut_ptr() as u64, u32::try_from(memory.len()).unwrap_or(0));
        let mask = self.slots.len() - 1;
        let entries = self.pages.as_mut_ptr().cast::<BufRingEntry>();
        // SAFETY: the position is below the number of entries that `pages` has room for.
        let entry = unsafe { entries.add(usize::from(self.tail) & mask) };
        // SAFETY: `entry` is aligned and initialized (zeroed at first); the kernel does not look at it before
        // the tail below passes it. The setters leave the last two bytes, the tail in entry 0, alone.
        let entry = unsafe { &mut *entry };
        entry.set_addr(address);
        entry.set_len(length);
        entry.set_bid(self.first.wrapping_add(slot));
        self.slots[usize::from(slot)] = Some(buffer);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: entries points to the first entry of a live, page-aligned ring of entries.
        let tail = unsafe { BufRingEntry::tail(entries) }.cast_mut();
        // SAFETY: the tail is two-byte aligned, lives as long as `pages`, and is only read by the kernel.
        let tail = unsafe { AtomicU16::from_ptr(tail) };
        // Release: pairs with the kernel's acquire of the tail (`io_ring_buffer_select`), so it sees the
        // entry whole.
        tail.store(self.tail, Ordering::Release);
        Ok(())
    }

    /// The buffer that the kernel names, no longer lent; `None` if it is none of this group's.
    pub(super) fn take(&mut self, name: u16) -> Option<Buffer> {
        let slot = name.checked_sub(self.first)?;
        let buffer = self.slots.get_mut(usize::from(slot))?.take();
        if buffer.is_some() {
            self.free_slots.push(slot);
        }
        buffer
    }

    /// Leaks what the kernel may still write to.
    pub(super) fn leak(&mut self) {
        std::mem::forget(std::mem::take(&mut self.slots));
        std::mem::forget(std::mem::take(&mut self.pages));
        self.free_slots.clear();
    }
}
