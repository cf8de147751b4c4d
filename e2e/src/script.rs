//! Scripts of frames, and the comparison of what two switches make of them.
//!
//! A script names stations instead of MAC addresses; each run gives them fresh addresses, so that a run never
//! meets what an earlier one taught the switch. After each frame the switch is drained by *sentinels*: broadcast
//! frames from the same port, which every other port must receive after what went before. Several of them with
//! different UDP ports reach every queue of a port with several queues. So a step needs no sleep, and what each
//! port received between two sentinels is exactly what the frame caused.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use packet::MacAddress;

use crate::{DEADLINE, RawSocket, frames};

/// A small seeded generator (SplitMix64), so that a failure can be repeated.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The generator of one sequence.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is at least one.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next_u64() % bound as u64).expect("it is below a usize")
    }

    /// One of the choices.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next_u64().to_ne_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}

/// A MAC address by its part in the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Address {
    /// A station that may speak from any port.
    Station(u8),
    /// An address that no station has.
    Unknown,
    /// ff:ff:ff:ff:ff:ff.
    Broadcast,
    /// A group of IPv4 multicast.
    GroupV4,
    /// A group of IPv6 multicast.
    GroupV6,
    /// 01-80-C2-00-00-0X.
    Reserved(u8),
    /// 00:00:00:00:00:00.
    Zero,
}

impl Address {
    fn mac(self, run: u16) -> MacAddress {
        let [high, low] = run.to_be_bytes();
        match self {
            Self::Station(station) => MacAddress([0x02, 0xf1, high, low, 0, station]),
            Self::Unknown => MacAddress([0x02, 0xf1, high, low, 1, 0]),
            Self::Broadcast => MacAddress::BROADCAST,
            Self::GroupV4 => MacAddress([0x01, 0, 0x5e, 1, 2, 3]),
            Self::GroupV6 => MacAddress([0x33, 0x33, 0, 1, 2, 3]),
            Self::Reserved(last) => MacAddress([0x01, 0x80, 0xc2, 0, 0, last & 0x0f]),
            Self::Zero => MacAddress::ZERO,
        }
    }
}

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// An unknown EtherType and so many bytes.
    Experimental(usize),
    /// A well-formed UDP packet over IPv4 with so many bytes of payload, from this port.
    Udp4(usize, u16),
    /// The same over IPv6.
    Udp6(usize, u16),
    /// An ARP request.
    Arp,
    /// An 802.3 frame: a length and a logical link control header instead of a type.
    LogicalLink,
    /// An IPv4 header whose length fields lie.
    MalformedIpv4,
    /// An IPv6 header whose length field lies.
    MalformedIpv6,
    /// Noise behind a type that is noise as well.
    Noise(usize, u64),
}

/// One step: a frame that enters a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The port that it enters.
    pub ingress: usize,
    /// Who says it.
    pub source: Address,
    /// To whom.
    pub destination: Address,
    /// What.
    pub content: Content,
    /// The tags before it: none, 802.1Q, or 802.1ad and 802.1Q.
    pub tags: u8,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ingress, source, destination, content, tags } = self;
        write!(f, "port {ingress}: {source:?} to {destination:?}: {content:?}, {tags} tags")
    }
}

impl Step {
    /// The frame that this step means in a run.
    #[must_use]
    pub fn frame(&self, run: u16) -> Vec<u8> {
        let (destination, source) = (self.destination.mac(run), self.source.mac(run));
        let (near, far) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(198, 51, 100, 1));
        let ethernet = |ethertype, payload: &[u8]| {
            let mut frame = frames::ethernet(destination, source, ethertype, payload);
            if self.tags > 0 {
                // A kernel does not receive a tag that fewer than two bytes follow, so a bridge learns nothing of it.
                frame.resize(frame.len().max(16), 0);
            }
            frame
        };
        let frame = match self.content {
            Content::Experimental(bytes) => ethernet(frames::EXPERIMENTAL, &vec![0xa5; bytes]),
            Content::Udp4(bytes, port) => {
                ethernet(frames::IPV4, &frames::ipv4(near, far, 17, &frames::udp(port, 9, &vec![1; bytes])))
            }
            Content::Udp6(bytes, port) => {
                let (near, far) = (near.to_ipv6_mapped(), far.to_ipv6_mapped());
                ethernet(frames::IPV6, &frames::ipv6(near, far, 17, &frames::udp(port, 9, &vec![2; bytes])))
            }
            Content::Arp => ethernet(frames::ARP, &frames::arp(1, (source, near), (MacAddress::ZERO, far))),
            Content::LogicalLink => ethernet(40, &[&[0x42, 0x42, 0x03][..], &[0; 37]].concat()),
            Content::MalformedIpv4 => {
                let mut packet = frames::ipv4(near, far, 17, &[0; 30]);
                packet[0] = 0x4f;
                packet[2..4].copy_from_slice(&[0xff, 0xff]);
                ethernet(frames::IPV4, &packet)
            }
            Content::MalformedIpv6 => {
                let mut packet = frames::ipv6(near.to_ipv6_mapped(), far.to_ipv6_mapped(), 0, &[0; 30]);
                packet[4..6].copy_from_slice(&[0xff, 0xff]);
                ethernet(frames::IPV6, &packet)
            }
            Content::Noise(bytes, seed) => {
                let mut noise = vec![0; bytes + 1];
                Random::new(seed).fill(&mut noise);
                // The upper half of the types: neither a length nor IP nor a tag.
                ethernet(0xf000 | u16::from(noise[0]), &noise[1..])
            }
        };
        match self.tags {
            0 => frame,
            1 => frames::tagged(&frame, 0x8100, 0x6005),
            _ => frames::tagged(&frames::tagged(&frame, 0x8100, 0x0007), 0x88a8, 0x0064),
        }
    }

    /// The kernel takes one tag off before the bridge sees the frame, so snooping reads what is behind that.
    fn is_malformed_ip_to_snoop(&self) -> bool {
        self.tags < 2 && matches!(self.content, Content::MalformedIpv4 | Content::MalformedIpv6)
    }

    /// A step at random between `ports` ports.
    pub fn random(random: &mut Random, ports: usize) -> Self {
        let station = |random: &mut Random| Address::Station(u8::try_from(random.below(6)).unwrap_or(0));
        let source = match random.below(20) {
            0 => Address::Zero,
            1 => Address::GroupV4,
            2 => Address::Broadcast,
            _ => station(random),
        };
        let destination = match random.below(20) {
            0 => Address::Unknown,
            1 => Address::Broadcast,
            2 => Address::GroupV4,
            3 => Address::GroupV6,
            4 => Address::Reserved(u8::try_from(random.below(16)).unwrap_or(0)),
            5 => Address::Zero,
            _ => station(random),
        };
        let bytes = random.pick(&[0, 1, 4, 45, 46, 47, 100, 1000, 1499, 1500]);
        let port = u16::try_from(random.below(64)).unwrap_or(0) + 1024;
        let content = match random.below(10) {
            0..=2 => Content::Experimental(bytes),
            3 => Content::Udp4(bytes.min(1472), port),
            4 => Content::Udp6(bytes.min(1452), port),
            5 => Content::Arp,
            6 => Content::LogicalLink,
            7 => Content::MalformedIpv4,
            8 => Content::MalformedIpv6,
            _ => Content::Noise(bytes, random.next_u64()),
        };
        let tags = random.pick(&[0, 0, 0, 0, 1, 2]);
        Self { ingress: random.below(ports), source, destination, content, tags }
    }
}

/// A difference between the two switches that is meant to be.
#[derive(Debug)]
pub struct AllowedDifference {
    /// Its name in `docs/differences.md`.
    pub name: &'static str,
    /// What the Linux bridge does.
    pub linux: &'static str,
    /// What flyover does.
    pub flyover: &'static str,
    /// Why.
    pub reason: &'static str,
    /// Whether the Linux bridge floods such a frame; flyover then drops it, or the other way about.
    linux_floods: bool,
    applies: fn(&Step) -> bool,
}

/// All differences that are meant to be. Whatever else differs is a fault.
pub const ALLOWED_DIFFERENCES: &[AllowedDifference] = &[
    AllowedDifference {
        name: "spanning_tree_group",
        linux: "relays 01-80-C2-00-00-00 as any group while STP is off",
        flyover: "drops it, as the whole range 01-80-C2-00-00-00 to 0F: `reserved_group`",
        reason: "IEEE 802.1Q table 8-1 reserves the range; a pod has no business with the spanning tree beyond",
        linux_floods: true,
        applies: |step| step.destination == Address::Reserved(0) && !step.is_malformed_ip_to_snoop(),
    },
    AllowedDifference {
        name: "malformed_ip_multicast",
        linux: "drops an IP multicast packet whose header is malformed, for multicast snooping has to read it",
        flyover: "floods it like any frame to a group",
        reason: "flyover does not snoop; a bridge need not understand what it relays",
        linux_floods: false,
        applies: |step| {
            matches!(step.destination, Address::GroupV4 | Address::GroupV6) && step.is_malformed_ip_to_snoop()
        },
    },
];

/// What one step caused: the frames that each port received, sorted, and whether the sender's own kernel refused
/// the frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The error number of the sending socket.
    pub refused: Option<i32>,
    /// A list a port.
    pub received: Vec<Vec<Vec<u8>>>,
}

impl Outcome {
    fn is_flood(&self, step: &Step, frame: &[u8]) -> bool {
        self.refused.is_none()
            && self.received.iter().enumerate().all(|(port, frames)| {
                if port == step.ingress { frames.is_empty() } else { frames.len() == 1 && frames[0] == frame }
            })
    }

    fn is_silence(&self) -> bool {
        self.received.iter().all(Vec::is_empty)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(error) = self.refused {
            return write!(f, "refused by the sender's kernel (error {error})");
        }
        for (port, frames) in self.received.iter().enumerate() {
            let lengths: Vec<_> = frames.iter().map(Vec::len).collect();
            write!(f, "port {port} received frames of {lengths:?} bytes; ")?;
        }
        Ok(())
    }
}

/// A switch under comparison: one raw socket a port.
#[derive(Debug)]
pub struct Arena {
    sockets: Vec<RawSocket>,
    sentinels: u16,
    serial: u32,
}

const SENTINEL_MARK: &[u8] = b"sentinel";

/// The MAC of the Linux bridge itself. It joins 224.0.0.106, the group of all snoopers (RFC 4286), and reports so
/// when it likes: what the bridge says of its own accord is not compared.
pub(crate) const LINUX_BRIDGE: MacAddress = MacAddress([0x02, 0xf3, 0, 0, 0, 1]);

impl Arena {
    /// A switch whose ports have `queues` queues each.
    #[must_use]
    pub fn new(sockets: Vec<RawSocket>, queues: usize) -> Self {
        // Each sentinel takes a queue at random by its hash: 16 of them miss one of two queues once in 2¹⁵ times.
        Self { sockets, sentinels: if queues == 1 { 1 } else { 16 }, serial: 0 }
    }

    /// Number of ports.
    #[must_use]
    pub fn ports(&self) -> usize {
        self.sockets.len()
    }

    /// Sends a frame into a port and collects what comes of it.
    ///
    /// # Panics
    /// If a sentinel gets lost.
    pub fn perform(&mut self, ingress: usize, frame: &[u8]) -> Outcome {
        let refused = self.sockets[ingress].try_send(frame).err().and_then(|error| error.raw_os_error());
        let mut received = vec![Vec::new(); self.sockets.len()];
        self.drain(ingress, &mut received);
        // What came back to the sender is drained by a sentinel from elsewhere.
        self.drain((ingress + 1) % self.sockets.len(), &mut received);
        for frames in &mut received {
            frames.sort_unstable();
        }
        Outcome { refused, received }
    }

    /// Sends sentinels into a port and reads all others up to them.
    fn drain(&mut self, ingress: usize, received: &mut [Vec<Vec<u8>>]) {
        self.serial += 1;
        for number in 0..self.sentinels {
            self.sockets[ingress].send(&sentinel(ingress, self.serial, number));
        }
        let mine = sentinel_payload(self.serial);
        for (port, socket) in self.sockets.iter().enumerate().filter(|(port, _)| *port != ingress) {
            let mut awaited = self.sentinels;
            while awaited > 0 {
                let Some(frame) = socket.receive(DEADLINE) else {
                    panic!("port {port} misses {awaited} sentinels of port {ingress}");
                };
                if frame.ends_with(&mine) {
                    awaited -= 1;
                } else if !is_noise(&frame) {
                    received[port].push(frame);
                }
            }
        }
    }

    /// Performs a whole script with fresh addresses.
    pub fn run(&mut self, script: &[Step], run: u16) -> Vec<Outcome> {
        script.iter().map(|step| self.perform(step.ingress, &step.frame(run))).collect()
    }

    /// Waits until nothing is heard on any port for a while, before the first step.
    pub fn settle(&self) {
        for socket in &self.sockets {
            while socket.receive(Duration::from_millis(20)).is_some() {}
        }
    }
}

/// Sentinels of another port, and what the Linux bridge says itself.
fn is_noise(frame: &[u8]) -> bool {
    MacAddress::read(frame, 6) == Some(LINUX_BRIDGE)
        || frame.windows(SENTINEL_MARK.len()).any(|window| window == SENTINEL_MARK)
}

fn sentinel_payload(serial: u32) -> Vec<u8> {
    [SENTINEL_MARK, &serial.to_be_bytes()].concat()
}

fn sentinel(ingress: usize, serial: u32, number: u16) -> Vec<u8> {
    let source = MacAddress([0x02, 0xf2, 0, 0, 0, u8::try_from(ingress).unwrap_or(u8::MAX)]);
    let (near, far) = (Ipv4Addr::new(203, 0, 113, 1), Ipv4Addr::new(203, 0, 113, 2));
    let datagram = frames::udp(5000 + 37 * number, 7, &sentinel_payload(serial));
    // The first is not IP: frames without an address to hash have a queue of their own.
    let (ethertype, payload) = match number {
        0 => (frames::EXPERIMENTAL, sentinel_payload(serial)),
        _ => (frames::IPV4, frames::ipv4(near, far, 17, &datagram)),
    };
    frames::ethernet(MacAddress::BROADCAST, source, ethertype, &payload)
}

/// Runs a script through both and returns the first step at which they differ without leave, in words.
pub fn first_difference(linux: &mut Arena, flyover: &mut Arena, script: &[Step], run: u16) -> Option<String> {
    let (expected, seen) = (linux.run(script, run), flyover.run(script, run));
    for ((step, linux), flyover) in script.iter().zip(&expected).zip(&seen) {
        let frame = step.frame(run);
        let allowed = ALLOWED_DIFFERENCES.iter().find(|difference| (difference.applies)(step));
        let fault = match allowed {
            // Both drop a group or zero source before anything else is looked at, and what the sender's own kernel
            // refuses reaches neither.
            Some(difference) if matches!(step.source, Address::Station(_)) && linux.refused.is_none() => {
                let (floods, drops) =
                    if difference.linux_floods { (linux, flyover) } else { (flyover, linux) };
                !(floods.is_flood(step, &frame) && drops.is_silence())
            }
            _ => linux != flyover,
        };
        if fault {
            let name = allowed.map_or("", |difference| difference.name);
            return Some(format!("{step} {name}\n  Linux bridge: {linux}\n  flyover:      {flyover}"));
        }
    }
    None
}

/// The shortest script found by leaving out parts for which `fails` still holds.
pub fn shrink(script: &[Step], mut fails: impl FnMut(&[Step]) -> bool) -> Vec<Step> {
    let mut best = script.to_vec();
    let mut part = best.len().div_ceil(2);
    while part > 0 {
        let mut start = 0;
        while start < best.len() {
            let mut shorter = best.clone();
            shorter.drain(start..(start + part).min(best.len()));
            if fails(&shorter) {
                best = shorter;
            } else {
                start += part;
            }
        }
        part /= 2;
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shrinking_keeps_only_what_matters() {
        let mut random = Random::new(1);
        let script: Vec<_> = (0..100).map(|_| Step::random(&mut random, 4)).collect();
        let (first, second) = (script[17], script[80]);
        let shrunk = shrink(&script, |part| {
            let first = part.iter().position(|step| *step == first);
            let second = part.iter().rposition(|step| *step == second);
            first.zip(second).is_some_and(|(first, second)| first < second)
        });
        assert_eq!(shrunk, [first, second]);
    }

    #[test]
    fn no_random_frame_is_shorter_than_its_header() {
        let mut random = Random::new(2);
        assert!((0..1000).all(|_| Step::random(&mut random, 4).frame(1).len() >= 14));
    }
}
