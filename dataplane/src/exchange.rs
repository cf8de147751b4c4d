//! A bounded ring of frames between two threads that neither copies nor allocates: who puts a full buffer in
//! takes an empty one out, and who takes a full one out gives its memory back when done.

use crossbeam_queue::ArrayQueue;
use packet::Buffer;

/// `T` owns a [`Buffer`] and travels one way; empty buffers travel the other. Any number of threads on
/// either side.
#[derive(Debug)]
pub struct Exchange<T> {
    full: ArrayQueue<T>,
    empty: ArrayQueue<Buffer>,
}

impl<T> Exchange<T> {
    /// An exchange for `capacity` (at least 1) items, with as many empty buffers to start with.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        let empty = ArrayQueue::new(capacity);
        for _ in 0..capacity {
            // The queue was made for just as many.
            let _ = empty.push(Buffer::new());
        }
        Self { full: ArrayQueue::new(capacity), empty }
    }

    /// An empty buffer, to fill or to leave behind in exchange for a full one; `None` if `capacity` are
    /// under way.
    #[must_use]
    pub fn take_empty(&self) -> Option<Buffer> {
        self.empty.pop()
    }

    /// Sends an item on its way.
    ///
    /// # Errors
    /// Gives the item back if the ring is full, which cannot happen to a caller who holds an empty buffer
    /// of this exchange for every item pushed.
    pub fn push(&self, item: T) -> Result<(), T> {
        self.full.push(item)
    }

    /// The oldest item.
    #[must_use]
    pub fn pop(&self) -> Option<T> {
        self.full.pop()
    }

    /// True if there is nothing to [`pop`](Self::pop).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.full.is_empty()
    }

    /// Gives the memory of an item back. A buffer beyond the capacity is freed.
    pub fn give_empty(&self, buffer: Buffer) {
        let _ = self.empty.push(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_items_than_buffers_are_under_way() {
        let exchange = Exchange::with_capacity(2);
        for n in 0..2 {
            let buffer = exchange.take_empty().unwrap();
            exchange.push((n, buffer)).unwrap();
        }
        assert!(exchange.take_empty().is_none());
        let (first, buffer) = exchange.pop().unwrap();
        assert_eq!(first, 0);
        exchange.give_empty(buffer);
        assert!(exchange.take_empty().is_some());
    }
}
