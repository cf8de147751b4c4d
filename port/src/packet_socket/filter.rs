//! Which frames of a device are copied to us at all: a classic BPF program that the kernel runs on each.
//!
//! On a device that the host uses itself most frames are the host's own, and a copy of each would cost it
//! bandwidth and us time. The program looks at the frame as it stands in the kernel: a VLAN tag has been taken
//! out, and is known apart; a super-frame is one frame. What passes, passes whole.
//!
//! Networks are tried one after the other. A jump on a condition reaches 255 instructions, so each network has
//! its own way out, and only whole sections are leapt over, by a jump without a condition.

use std::net::IpAddr;

use ipnet::IpNet;
use libc::sock_filter;

/// Instructions that a program may have (`BPF_MAXINSNS`).
const INSTRUCTIONS_MAX: usize = 4096;

/// Operations (`linux/bpf_common.h`): all work on one register, and load by an offset into the frame.
const LOAD_WORD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const LOAD_HALF: u16 = 0x28; // BPF_LD | BPF_H | BPF_ABS
const LOAD_BYTE: u16 = 0x30; // BPF_LD | BPF_B | BPF_ABS
const LOAD_LENGTH: u16 = 0x80; // BPF_LD | BPF_W | BPF_LEN
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
const JUMP_IF_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const JUMP_IF_AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

/// Returned for a frame of which nothing is copied, and for one that is copied whole: as many bytes as this.
const NOTHING_OF_IT: u32 = 0;
const ALL_OF_IT: u32 = u32::MAX;
/// The offset that stands for whether a VLAN tag was taken out (`SKF_AD_OFF` + `SKF_AD_VLAN_TAG_PRESENT`).
const TAG_WAS_TAKEN: u32 = 0xffff_f000 + 48;
/// The offset that stands for where the frame comes from (`SKF_AD_OFF` + `SKF_AD_PKTTYPE`), and what is there if that is
/// this host (`PACKET_OUTGOING`).
const PACKET_TYPE: u32 = 0xffff_f000 + 4;
const SENT_BY_HOST: u32 = 4;

/// Offsets in a frame without a tag.
const ETHERTYPE: u32 = 12;
const IPV4_SOURCE: u32 = 14 + 12;
const IPV4_DESTINATION: u32 = 14 + 16;
/// Where the addresses end.
const IPV4_BYTES: u32 = 14 + 20;
const IPV6_NEXT_HEADER: u32 = 14 + 6;
const IPV6_SOURCE: u32 = 14 + 8;
const IPV6_DESTINATION: u32 = 14 + 24;
const IPV6_PAYLOAD: u32 = 14 + 40;

const ARP: u32 = 0x0806;
const IPV4: u32 = 0x0800;
const IPV6: u32 = 0x86dd;
const ICMPV6: u32 = 58;
/// RFC 4861 §4.3, §4.4.
const NEIGHBOR_SOLICITATION: u32 = 135;
const NEIGHBOR_ADVERTISEMENT: u32 = 136;

/// The program that lets nothing pass.
pub(super) const NOTHING: [sock_filter; 1] = [instruction(RETURN, NOTHING_OF_IT)];

/// What is heard of a device; everything else is not copied to us. A frame with a VLAN tag is never heard.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct PacketFilter {
    /// Packets to these destinations, IPv4 and IPv6. A program has room for some 1000 networks of IPv4, and for
    /// 300 or more of IPv6.
    pub networks: Vec<IpNet>,
    /// ARP, and neighbor solicitations and advertisements of ICMPv6 (without extension headers).
    pub neighbors: bool,
    /// Packets from those networks that this host itself sends, too. Without it nothing that the host sends is heard.
    pub sent_by_host: bool,
}

/// Which end of a packet is looked at.
#[derive(Clone, Copy)]
enum End {
    Source,
    Destination,
}

impl PacketFilter {
    /// The program, or `None` if it would be too long for the kernel.
    pub(super) fn program(&self) -> Option<Vec<sock_filter>> {
        let (ipv4, ipv6): (Vec<IpNet>, Vec<_>) =
            self.networks.iter().copied().partition(|network| network.addr().is_ipv4());
        let mut program = Program::default();
        program.add(LOAD_WORD, TAG_WAS_TAKEN);
        program.return_nothing_unless(JUMP_IF_EQUAL, 0);
        if self.sent_by_host {
            program.add(LOAD_WORD, PACKET_TYPE);
            program.section(SENT_BY_HOST, ETHERTYPE + 2, |section| {
                section.add(LOAD_HALF, ETHERTYPE);
                section.section(IPV4, IPV4_BYTES, |section| section.return_all_if_in(End::Source, &ipv4));
                section.section(IPV6, IPV6_PAYLOAD, |section| section.return_all_if_in(End::Source, &ipv6));
            });
        }
        program.add(LOAD_HALF, ETHERTYPE);
        if self.neighbors {
            program.return_all_if_equal(ARP);
        }
        program.section(IPV4, IPV4_BYTES, |section| section.return_all_if_in(End::Destination, &ipv4));
        program.section(IPV6, IPV6_PAYLOAD, |section| {
            section.return_all_if_in(End::Destination, &ipv6);
            if self.neighbors {
                section.add(LOAD_BYTE, IPV6_NEXT_HEADER);
                section.return_nothing_unless(JUMP_IF_EQUAL, ICMPV6);
                section.add(LOAD_BYTE, IPV6_PAYLOAD);
                section.return_all_if_equal(NEIGHBOR_SOLICITATION);
                section.return_all_if_equal(NEIGHBOR_ADVERTISEMENT);
            }
        });
        program.add(RETURN, NOTHING_OF_IT);
        Some(program.0).filter(|instructions| instructions.len() <= INSTRUCTIONS_MAX)
    }
}

const fn instruction(code: u16, value: u32) -> sock_filter {
    sock_filter { code, jt: 0, jf: 0, k: value }
}

/// Instructions; a load from beyond the frame's end ends the program, and nothing is copied.
#[derive(Default)]
struct Program(Vec<sock_filter>);

impl Program {
    fn add(&mut self, code: u16, value: u32) {
        self.0.push(instruction(code, value));
    }

    /// Leaps over so many instructions if the comparison with `value` holds, or if it does not.
    fn jump(&mut self, code: u16, value: u32, if_so: u8, if_not: u8) {
        self.0.push(sock_filter { code, jt: if_so, jf: if_not, k: value });
    }

    fn return_all_if_equal(&mut self, value: u32) {
        self.jump(JUMP_IF_EQUAL, value, 0, 1);
        self.add(RETURN, ALL_OF_IT);
    }

    fn return_nothing_unless(&mut self, comparison: u16, value: u32) {
        self.jump(comparison, value, 1, 0);
        self.add(RETURN, NOTHING_OF_IT);
    }

    /// What is done if the register holds this value; nothing comes after it. The frame has to have so many
    /// bytes: a short prefix would be found in half an address, too.
    fn section(&mut self, value: u32, bytes_min: u32, fill: impl FnOnce(&mut Self)) {
        let mut section = Self::default();
        section.add(LOAD_LENGTH, 0);
        section.return_nothing_unless(JUMP_IF_AT_LEAST, bytes_min);
        fill(&mut section);
        section.add(RETURN, NOTHING_OF_IT);
        self.jump(JUMP_IF_EQUAL, value, 1, 0);
        self.add(JUMP, u32::try_from(section.0.len()).unwrap_or(u32::MAX));
        self.0.extend(section.0);
    }

    /// For packets of which one end is in one of the networks, all of one family.
    fn return_all_if_in(&mut self, end: End, networks: &[IpNet]) {
        networks.iter().for_each(|network| self.return_all_if_at(end, *network));
    }

    /// The address is compared word by word; the first one that differs leaps behind the return.
    fn return_all_if_at(&mut self, end: End, network: IpNet) {
        let words = words_of(end, network);
        // Load, mask and comparison of each word.
        let mut left = 3 * words.len();
        for (offset, mask, value) in words {
            left -= 3;
            self.add(LOAD_WORD, offset);
            self.add(AND, mask);
            self.jump(JUMP_IF_EQUAL, value, 0, u8::try_from(left + 1).unwrap_or(u8::MAX));
        }
        self.add(RETURN, ALL_OF_IT);
    }
}

/// Offset, mask and masked value of each word of the address that the prefix has a part in: at most four.
fn words_of(end: End, network: IpNet) -> Vec<(u32, u32, u32)> {
    let bytes = |address| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let offset = match (end, network) {
        (End::Source, IpNet::V4(_)) => IPV4_SOURCE,
        (End::Destination, IpNet::V4(_)) => IPV4_DESTINATION,
        (End::Source, IpNet::V6(_)) => IPV6_SOURCE,
        (End::Destination, IpNet::V6(_)) => IPV6_DESTINATION,
    };
    let (masks, values) = (bytes(network.netmask()), bytes(network.network()));
    let words = |bytes: &[u8]| -> Vec<u32> {
        bytes.as_chunks().0.iter().map(|word| u32::from_be_bytes(*word)).collect()
    };
    let offsets = (offset..).step_by(4);
    let words = offsets.zip(words(&masks)).zip(words(&values));
    words.map(|((offset, mask), value)| (offset, mask, value)).take_while(|(_, mask, _)| *mask != 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the kernel makes of a program and a frame: how many bytes of it are copied at most.
    fn run(program: &[sock_filter], frame: &[u8], tag_was_taken: bool) -> u32 {
        run_on(program, frame, tag_was_taken, false)
    }

    fn run_on(program: &[sock_filter], frame: &[u8], tag_was_taken: bool, sent_by_host: bool) -> u32 {
        let (mut at, mut register) = (0, 0_u32);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            let bytes = |count: usize| {
                let start = usize::try_from(k).unwrap();
                let bytes = frame.get(start..start + count)?;
                Some(bytes.iter().fold(0, |value, byte| value << 8 | u32::from(*byte)))
            };
            let leap = |holds: bool| usize::from(if holds { jt } else { jf });
            let loaded = match code {
                LOAD_WORD if k == TAG_WAS_TAKEN => Some(tag_was_taken.into()),
                LOAD_WORD if k == PACKET_TYPE => Some(if sent_by_host { SENT_BY_HOST } else { 0 }),
                LOAD_WORD => bytes(4),
                LOAD_HALF => bytes(2),
                LOAD_BYTE => bytes(1),
                LOAD_LENGTH => Some(u32::try_from(frame.len()).unwrap()),
                AND => Some(register & k),
                JUMP => {
                    at += usize::try_from(k).unwrap();
                    continue;
                }
                JUMP_IF_EQUAL => {
                    at += leap(register == k);
                    continue;
                }
                JUMP_IF_AT_LEAST => {
                    at += leap(register >= k);
                    continue;
                }
                RETURN => return k,
                other => panic!("no such operation: {other:#x}"),
            };
            let Some(value) = loaded else { return 0 };
            register = value;
        }
    }

    /// The same, said slowly.
    fn is_heard(filter: &PacketFilter, frame: &[u8], tag_was_taken: bool, sent_by_host: bool) -> bool {
        let is_ours = |address: IpAddr| filter.networks.iter().any(|net| net.contains(&address));
        let is_of_host = sent_by_host && filter.sent_by_host;
        let (v4, v6) = if is_of_host { (26, 22) } else { (30, 38) };
        let Some(ethertype) = frame.get(12..14) else { return false };
        match ethertype {
            _ if tag_was_taken => false,
            [0x08, 0x06] => filter.neighbors && !is_of_host,
            [0x08, 0x00] => {
                let octets: Option<&[u8; 4]> =
                    frame.get(v4..).filter(|_| frame.len() >= 34).and_then(|rest| rest.first_chunk());
                octets.is_some_and(|octets| is_ours(IpAddr::from(*octets)))
            }
            [0x86, 0xdd] => {
                let octets: Option<&[u8; 16]> =
                    frame.get(v6..).filter(|_| frame.len() >= 54).and_then(|rest| rest.first_chunk());
                let is_neighbor = frame.get(20) == Some(&58) && matches!(frame.get(54), Some(135 | 136));
                let is_heard = filter.neighbors && is_neighbor && !is_of_host;
                octets.is_some_and(|octets| is_ours(IpAddr::from(*octets)) || is_heard)
            }
            _ => false,
        }
    }

    /// Addresses that often share some of their first bits.
    fn address() -> impl Strategy<Value = IpAddr> {
        let ipv4 = (0..6_u32, any::<u32>())
            .prop_map(|(shift, low)| IpAddr::from((0x0af4_0100 ^ low >> (8 * shift).min(31)).to_be_bytes()));
        let ipv6 = (0..17_u32, any::<u128>()).prop_map(|(shift, low)| {
            IpAddr::from(((0xfd00_0001 << 96) ^ low >> (8 * shift).min(127)).to_be_bytes())
        });
        prop_oneof![ipv4, ipv6]
    }

    fn network() -> impl Strategy<Value = IpNet> {
        (address(), any::<u8>()).prop_map(|(address, length)| {
            let bits = if address.is_ipv4() { 32 } else { 128 };
            IpNet::new(address, length % (bits + 1)).unwrap()
        })
    }

    fn filter() -> impl Strategy<Value = PacketFilter> {
        (proptest::collection::vec(network(), 0..8), any::<bool>(), any::<bool>()).prop_map(
            |(networks, neighbors, sent_by_host)| PacketFilter { networks, neighbors, sent_by_host },
        )
    }

    fn frame_to(address: IpAddr, next_header: u8, kind: u8) -> Vec<u8> {
        let mut frame = vec![0; 60];
        match address {
            IpAddr::V4(address) => {
                frame[12..14].copy_from_slice(&[0x08, 0x00]);
                frame[26..30].copy_from_slice(&[10, 244, 1, 2]);
                frame[30..34].copy_from_slice(&address.octets());
            }
            IpAddr::V6(address) => {
                frame[12..14].copy_from_slice(&[0x86, 0xdd]);
                frame[20] = next_header;
                frame[38..54].copy_from_slice(&address.octets());
                frame[54] = kind;
            }
        }
        frame
    }

    fn frame() -> impl Strategy<Value = Vec<u8>> {
        let packet = (address(), prop_oneof![Just(58), any::<u8>()], 133..139_u8, 0..80_usize).prop_map(
            |(address, next_header, kind, length)| {
                let mut frame = frame_to(address, next_header, kind);
                frame.truncate(length);
                frame
            },
        );
        let any_type =
            (proptest::collection::vec(any::<u8>(), 0..80), 0..6_usize).prop_map(|(mut frame, choice)| {
                let types = [[8, 6], [8, 0], [0x86, 0xdd], [0x81, 0], [0x88, 0xa8]];
                if let (Some(ethertype), Some(place)) = (types.get(choice), frame.get_mut(12..14)) {
                    place.copy_from_slice(ethertype);
                }
                frame
            });
        prop_oneof![3 => packet, 1 => any_type]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn the_program_lets_pass_what_is_to_be_heard(
            filter in filter(),
            frame in frame(),
            tag_was_taken in proptest::bool::weighted(0.1),
            sent_by_host in any::<bool>(),
        ) {
            // A socket that is not to hear them is not given them in the first place.
            let sent_by_host = sent_by_host && filter.sent_by_host;
            let expected =
                if is_heard(&filter, &frame, tag_was_taken, sent_by_host) { u32::MAX } else { 0 };
            let found = run_on(&filter.program().unwrap(), &frame, tag_was_taken, sent_by_host);
            prop_assert_eq!(found, expected);
        }
    }

    fn networks(count: usize, network: impl Fn(usize) -> String) -> PacketFilter {
        PacketFilter {
            networks: (0..count).map(|index| network(index).parse().unwrap()).collect(),
            neighbors: true,
            sent_by_host: false,
        }
    }

    #[test]
    fn what_the_host_sends_is_known_by_its_source() {
        let networks = vec!["10.244.1.0/24".parse().unwrap()];
        let filter = PacketFilter { networks, neighbors: true, sent_by_host: true };
        let program = filter.program().unwrap();
        let from_pod = frame_to("192.0.2.1".parse().unwrap(), 6, 0);
        assert_eq!(run_on(&program, &from_pod, false, true), u32::MAX);
        assert_eq!(run_on(&program, &from_pod, false, false), 0, "from outside it is nothing of ours");
        let mut from_node = frame_to("10.244.1.2".parse().unwrap(), 6, 0);
        from_node[26..30].copy_from_slice(&[192, 0, 2, 1]);
        assert_eq!(run_on(&program, &from_node, false, true), 0);
        assert_eq!(run_on(&program, &from_node, false, false), u32::MAX);
    }

    #[test]
    fn as_many_networks_as_the_kernel_takes_are_all_looked_at() {
        let ipv4 = |index: usize| format!("10.{}.{}.0/24", index >> 8, index & 255);
        let ipv6 = |index: usize| format!("fd00::{index:x}/128");
        for (most, filter) in [(1017, networks(1017, ipv4)), (313, networks(313, ipv6))] {
            let program = filter.program().unwrap();
            assert!(program.len() <= 4096, "{}", program.len());
            for network in &filter.networks {
                assert_eq!(run(&program, &frame_to(network.addr(), 6, 0), false), u32::MAX, "{network}");
            }
            for missed in ["11.0.0.0", "fd01::", "9.0.0.1"] {
                assert_eq!(run(&program, &frame_to(missed.parse().unwrap(), 6, 0), false), 0, "{missed}");
            }
            let mut longer = filter.clone();
            longer.networks.push(filter.networks[0]);
            assert_eq!(longer.program().map(|program| program.len()), None, "{most} + 1");
        }
    }

    #[test]
    fn a_filter_for_nothing_lets_nothing_pass() {
        let program = PacketFilter::default().program().unwrap();
        for address in ["10.244.1.5", "fd00::5"] {
            assert_eq!(run(&program, &frame_to(address.parse().unwrap(), 58, 135), false), 0);
        }
        assert_eq!(run(&NOTHING, &[0; 60], false), 0);
    }
}
