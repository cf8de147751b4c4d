//! What came of a frame, and what may differ.

use std::collections::BTreeSet;
use std::fmt;

use super::differences::{Kind, ROUTER_DIFFERENCES};
use super::read::{Packet, ethertype};
use super::{PORTS, Step};
use crate::frames::{ARP, checksum};

/// The frames that each port sent, sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// A list a port.
    pub sent: Vec<Vec<Vec<u8>>>,
}

impl Outcome {
    /// What was sent, in any order.
    #[must_use]
    pub fn new(mut sent: Vec<Vec<Vec<u8>>>) -> Self {
        for frames in &mut sent {
            frames.iter_mut().for_each(|frame| {
                forget_identification(frame);
                forget_padding(frame);
            });
            frames.sort_unstable();
        }
        Self { sent }
    }

    /// True if nothing was.
    #[must_use]
    pub fn is_silence(&self) -> bool {
        self.sent.iter().all(Vec::is_empty)
    }

    /// All frames, with their ports.
    pub fn frames(&self) -> impl Iterator<Item = (usize, &[u8])> {
        self.sent
            .iter()
            .enumerate()
            .flat_map(|(port, frames)| frames.iter().map(move |frame| (port, &frame[..])))
    }

    /// The only frame, and its port.
    #[must_use]
    pub fn only(&self) -> Option<(usize, &[u8])> {
        let mut frames = self.frames();
        frames.next().filter(|_| frames.next().is_none())
    }

    /// Type and code, if all that was sent is an ICMP message of the router's.
    #[must_use]
    pub fn icmp(&self) -> Option<(u8, u8)> {
        let (_, frame) = self.only()?;
        Packet::of(frame).filter(Packet::is_router_s)?.icmp()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_silence() {
            return write!(f, "silence");
        }
        for (port, frame) in self.frames() {
            write!(f, "\n    port {port}: {}", hexadecimal(frame))?;
        }
        Ok(())
    }
}

/// The frame's headers and a little more, as `od` would show it.
pub(super) fn hexadecimal(frame: &[u8]) -> String {
    let shown: Vec<_> = frame.iter().take(140).map(|octet| format!("{octet:02x}")).collect();
    let groups: Vec<_> = shown.chunks(2).map(<[_]>::concat).collect();
    let more = if frame.len() > 140 { "…" } else { "" };
    format!("{} bytes: {}{more}", frame.len(), groups.join(" "))
}

/// The identification of an IPv4 packet that the router itself sends is its own affair.
fn forget_identification(frame: &mut [u8]) {
    if Packet::of(frame).is_some_and(|packet| packet.is_v4 && packet.is_router_s()) {
        frame[18..20].fill(0);
        mend_checksum(frame);
    }
}

/// An ARP packet may be padded with zeros to what Ethernet carries at least.
fn forget_padding(frame: &mut Vec<u8>) {
    let is_padded = frame.get(42..).is_some_and(|padding| padding.iter().all(|octet| *octet == 0));
    if ethertype(frame) == Some(ARP) && frame.len() <= 60 && is_padded {
        frame.truncate(42);
    }
}

/// Makes the checksum of an IPv4 header right that was so before it was edited.
pub(super) fn mend_checksum(frame: &mut [u8]) {
    let Some(header_bytes) = Packet::of(frame).map(|packet| packet.header_bytes()) else { return };
    if let Some(header) = frame.get_mut(14..14 + header_bytes).filter(|header| header.len() >= 20) {
        header[10..12].fill(0);
        let sum = checksum(&[header]);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
    }
}

/// Compares outcomes and remembers which differences there were.
#[derive(Debug, Default)]
pub struct Comparison {
    seen: BTreeSet<&'static str>,
    faults: Vec<String>,
}

impl Comparison {
    /// Compares what the two made of `step`.
    pub fn compare(&mut self, step: &Step, linux: &Outcome, flyover: &Outcome) {
        if linux == flyover {
            return;
        }
        let mut worded = linux.clone();
        let mut names = Vec::new();
        for difference in ROUTER_DIFFERENCES {
            if let Kind::Wording(reword) = difference.kind {
                let before = worded.clone();
                worded.sent.iter_mut().flatten().for_each(|frame| reword(step, frame));
                worded = Outcome::new(worded.sent);
                if worded != before {
                    names.push(difference.name);
                }
            }
        }
        if worded != *flyover {
            let fate = ROUTER_DIFFERENCES.iter().find(|difference| {
                matches!(difference.kind, Kind::Fate(applies) if applies(step, &worded, flyover))
            });
            match fate {
                Some(difference) => names = vec![difference.name],
                None => {
                    self.faults.push(format!("{step}\n  Linux:   {linux}\n  flyover: {flyover}"));
                    return;
                }
            }
        }
        self.seen.extend(names);
    }

    /// Holds if all differences were allowed.
    ///
    /// # Panics
    /// If one was not; the first ones are shown.
    pub fn assert_only_allowed(&self, origin: &str) {
        let shown: Vec<_> = self.faults.iter().take(12).map(String::as_str).collect();
        assert!(
            self.faults.is_empty(),
            "{origin}: flyover differs from the kernel's router in {} steps:\n{}",
            self.faults.len(),
            shown.join("\n")
        );
    }

    /// Holds if every allowed difference has been seen.
    ///
    /// # Panics
    /// If one has not.
    pub fn assert_all_seen(&self) {
        let all = ROUTER_DIFFERENCES.iter().map(|difference| difference.name);
        let unseen: Vec<_> = all.filter(|name| !self.seen.contains(name)).collect();
        assert!(unseen.is_empty(), "these differences are no more: {unseen:?}");
    }
}

/// Nothing sent.
impl Default for Outcome {
    fn default() -> Self {
        Self { sent: vec![Vec::new(); PORTS] }
    }
}
