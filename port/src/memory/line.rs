//! Frames that wait, byte after byte in one stretch of memory.

use std::collections::VecDeque;

use packet::Offload;

/// Bytes of frames already taken that may lie before those that wait.
const SLACK_BYTES: usize = 256 * 1024;

#[derive(Clone, Copy, Debug)]
struct Waiting {
    len: usize,
    offload: Offload,
}

/// A line of frames. Memory once used is kept, so that nothing is allocated after the longest line was seen.
#[derive(Debug, Default)]
pub(super) struct Line {
    bytes: Vec<u8>,
    frames: Vec<Waiting>,
    /// Where in `bytes` the first frame that waits begins.
    first_byte: usize,
    /// Which of `frames` that is.
    first: usize,
}

impl Line {
    pub(super) fn len(&self) -> usize {
        self.frames.len() - self.first
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    pub(super) fn push(&mut self, bytes: &[u8], offload: Offload) {
        self.bytes.extend_from_slice(bytes);
        self.frames.push(Waiting { len: bytes.len(), offload });
    }

    /// Shows the frames to `take` in order until it returns false, and takes out those for which it
    /// returned true. Returns how many these were.
    #[inline]
    pub(super) fn take_while(&mut self, mut take: impl FnMut(&[u8], Offload) -> bool) -> usize {
        let mut rest = self.bytes.get(self.first_byte..).unwrap_or_default();
        let before = self.first;
        for waiting in self.frames.get(self.first..).unwrap_or_default() {
            let Some((bytes, others)) = rest.split_at_checked(waiting.len) else { break };
            if !take(bytes, waiting.offload) {
                break;
            }
            rest = others;
            self.first += 1;
        }
        self.first_byte = self.bytes.len() - rest.len();
        let taken = self.first - before;
        if self.first == self.frames.len() || self.first_byte > SLACK_BYTES {
            self.close_up();
        }
        taken
    }

    /// Takes the first frame out.
    pub(super) fn take_first(&mut self) -> Option<(Vec<u8>, Offload)> {
        let mut frame = None;
        self.take_while(|bytes, offload| {
            let is_first = frame.is_none();
            if is_first {
                frame = Some((bytes.to_vec(), offload));
            }
            is_first
        });
        frame
    }

    /// Gives the room of what was taken out to what is to come.
    #[cold]
    fn close_up(&mut self) {
        self.bytes.drain(..self.first_byte);
        self.frames.drain(..self.first);
        (self.first_byte, self.first) = (0, 0);
    }

    /// Takes all frames out, in order.
    pub(super) fn drain(&mut self, visit: &mut impl FnMut(&[u8], Offload)) -> usize {
        self.take_while(|bytes, offload| {
            visit(bytes, offload);
            true
        })
    }
}

/// Lines one behind the other, each put in whole.
#[derive(Debug, Default)]
pub(super) struct Lines {
    lines: VecDeque<Line>,
    spare: Vec<Line>,
    frames: usize,
}

impl Lines {
    /// How many frames wait.
    pub(super) fn len(&self) -> usize {
        self.frames
    }

    /// Puts `line` behind the others and leaves an empty one in its place.
    pub(super) fn append(&mut self, line: &mut Line) {
        self.frames += line.len();
        let empty = self.spare.pop().unwrap_or_default();
        self.lines.push_back(std::mem::replace(line, empty));
    }

    /// Takes the first frame out.
    pub(super) fn take(&mut self) -> Option<(Vec<u8>, Offload)> {
        let line = self.lines.front_mut()?;
        let frame = line.take_first();
        self.frames -= usize::from(frame.is_some());
        if line.is_empty() {
            self.spare.extend(self.lines.pop_front());
        }
        frame
    }

    /// Takes all lines out, leaving `others`, which are empty, in their place.
    pub(super) fn swap(&mut self, others: &mut VecDeque<Line>) {
        self.frames = 0;
        std::mem::swap(&mut self.lines, others);
    }

    /// Gives lines that were taken out and are empty now back.
    pub(super) fn give_back(&mut self, lines: &mut VecDeque<Line>) {
        self.spare.extend(lines.drain(..));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(frames: &[&[u8]]) -> Line {
        let mut line = Line::default();
        frames.iter().for_each(|frame| line.push(frame, Offload::NONE));
        line
    }

    #[test]
    fn frames_leave_in_the_order_in_which_they_came() {
        let mut lines = Lines::default();
        lines.append(&mut line(&[b"one", b""]));
        lines.append(&mut line(&[b"three"]));
        assert_eq!(lines.take().unwrap().0, b"one");
        assert_eq!(lines.len(), 2);
        let (mut taken, mut seen) = (VecDeque::new(), Vec::new());
        lines.swap(&mut taken);
        for line in &mut taken {
            line.drain(&mut |bytes, _| seen.push(bytes.to_vec()));
        }
        lines.give_back(&mut taken);
        assert_eq!(seen, [&b""[..], b"three"]);
        assert!(lines.take().is_none() && lines.len() == 0);
    }

    #[test]
    fn a_line_that_never_empties_does_not_grow_for_ever() {
        let mut line = line(&[&[0; 1000]]);
        for _ in 0..10_000 {
            line.push(&[0; 1000], Offload::NONE);
            assert_eq!(line.take_first().map(|(bytes, _)| bytes.len()), Some(1000));
        }
        assert!(line.bytes.capacity() < 4 * SLACK_BYTES && line.len() == 1);
    }
}
