//! Any stream of ARP and neighbor discovery, sound or damaged, with time passing and packets to send in between:
//! the gateway answers for its own addresses only and soundly, and the neighbor table keeps its bounds and
//! believes nobody about what is another's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use packet::{
    Buffer, Frame, Layout, MacAddress, Network, PortId, arp, checksum, ethernet, icmpv6, ipv4, parse,
};
use router::gateway::{Answer, Gateway};
use router::neighbor::{
    Action, Heard, Ignored, Lookup, Message, NeighborMap, Neighbors, Resolution, Settings, State,
};
use router::validate::AddressRules;

/// Operations of one run; a longer input only repeats itself.
const OPERATIONS_MAX: usize = 1024;
const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 0xfe]);
const PORTS: u8 = 4;

/// Runs the target. `data` is a byte of settings, then operations: a byte that says which, and operands.
///
/// # Panics
/// If a claim does not hold.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let Some(small) = input.byte() else { return };
    let settings = Settings {
        entries_max: if small & 1 == 0 { 1000 } else { 6 },
        unanswered_per_port_max: if small & 2 == 0 { 1000 } else { 2 },
        answered_per_port_max: if small & 4 == 0 { 1000 } else { 2 },
        ..Settings::default()
    };
    let mut link = Link::new(settings);
    for _ in 0..OPERATIONS_MAX {
        if link.operate(&mut input).is_none() {
            break;
        }
        link.table_is_sound();
    }
    link.everything_ends();
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> Option<u8> {
        self.bytes(1).and_then(|bytes| bytes.first().copied())
    }

    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn address(&mut self) -> Option<IpAddr> {
        self.byte().map(|byte| match byte {
            0..112 => Ipv4Addr::new(10, 0, 0, byte % 12).into(),
            112..120 => [Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, Ipv4Addr::new(224, 0, 0, 1)]
                [usize::from(byte % 3)]
            .into(),
            120..232 => Ipv6Addr::from_bits(0xfe80 << 112 | u128::from(byte % 12)).into(),
            _ => [Ipv6Addr::UNSPECIFIED, Ipv6Addr::LOCALHOST, packet::ipv6::ALL_NODES][usize::from(byte % 3)]
                .into(),
        })
    }

    fn port(&mut self) -> Option<PortId> {
        self.byte().and_then(|byte| PortId::new(u16::from(byte % PORTS)))
    }

    fn mac(&mut self) -> Option<MacAddress> {
        self.byte().map(|byte| match byte {
            250 => MacAddress::BROADCAST,
            251 => MacAddress::ZERO,
            252 => MAC,
            _ => MacAddress([2, 0, 0, 0, 0, byte % 6]),
        })
    }
}

struct Link {
    gateway: Gateway,
    rules: AddressRules,
    table: Neighbors,
    settings: Settings,
    now_ms: u64,
    /// What permanent entries are to be.
    permanent: BTreeMap<IpAddr, (MacAddress, PortId)>,
    /// Who was ever said to be where, and on which port.
    told: BTreeSet<(IpAddr, MacAddress, PortId)>,
    buffer: Option<Buffer>,
}

impl Link {
    fn new(settings: Settings) -> Self {
        let addresses =
            vec![Ipv4Addr::new(10, 0, 0, 1).into(), Ipv6Addr::from_bits(0xfe80 << 112 | 1).into()];
        Self {
            gateway: Gateway { mac: MAC, addresses },
            rules: AddressRules::default(),
            table: Neighbors::new(settings),
            settings,
            now_ms: 0,
            permanent: BTreeMap::new(),
            told: BTreeSet::new(),
            buffer: Some(Buffer::new()),
        }
    }

    fn operate(&mut self, input: &mut Input<'_>) -> Option<()> {
        let before: BTreeMap<_, _> = self.table.iter().map(|entry| (entry.address, entry)).collect();
        let mut actions = Vec::new();
        let mut is_control = false;
        match input.byte()? % 12 {
            0 | 1 => {
                let (address, asker) = (input.address()?, input.port()?);
                let resolution = self.table.resolve(address, asker, self.now_ms, &mut actions);
                let entry = self.table.get(address);
                match resolution {
                    Resolution::Resolved { mac, port } => {
                        assert!(entry.is_some_and(|entry| entry.mac == Some(mac) && entry.port == port));
                    }
                    Resolution::Queue => assert_eq!(entry.map(|entry| entry.state), Some(State::Incomplete)),
                    Resolution::Unreachable => {
                        assert!(entry.is_none_or(|entry| entry.state == State::Failed));
                    }
                    Resolution::NoRoom => assert_eq!(entry, None),
                }
            }
            2..=4 => {
                let frame = arp_frame(input)?;
                self.receive(&frame, input, &mut actions)?;
            }
            5..=7 => {
                let frame = nd_frame(input)?;
                self.receive(&frame, input, &mut actions)?;
            }
            8 => {
                let count = usize::from(input.byte()?);
                let frame = input.bytes(count)?.to_vec();
                self.receive(&frame, input, &mut actions)?;
            }
            9 | 10 => {
                self.now_ms += u64::from(input.byte()?) * 250;
                let budget = self.table.len();
                assert!(!self.table.tick(self.now_ms, budget, &mut actions), "one timer a neighbor is due");
            }
            _ => {
                is_control = true;
                self.control(input, &mut actions)?;
            }
        }
        for action in &actions {
            self.action_is_right(*action, &before);
        }
        for (address, old) in before.into_iter().filter(|(_, old)| old.state.is_usable() && !is_control) {
            let moved = self.table.get(address).is_some_and(|new| new.port != old.port);
            assert!(!moved, "{address} moved to another port");
        }
        Some(())
    }

    fn control(&mut self, input: &mut Input<'_>, actions: &mut Vec<Action>) -> Option<()> {
        let (which, address, port) = (input.byte()?, input.address()?, input.port()?);
        match which % 8 {
            0..=2 => {
                let mac = input.mac()?;
                if self.table.add_permanent(address, mac, port, actions) {
                    self.permanent.insert(address, (mac, port));
                }
            }
            3 => {
                self.table.remove(address, actions);
                self.permanent.remove(&address);
            }
            4 => {
                self.table.remove_port(port, actions);
                self.permanent.retain(|_, (_, of)| *of != port);
            }
            5 => self.table.flush(actions),
            _ => self.table.confirm(address, self.now_ms, u32::from(which) << 24),
        }
        Some(())
    }

    /// A frame comes in, and what is heard is told to the table.
    fn receive(&mut self, bytes: &[u8], input: &mut Input<'_>, actions: &mut Vec<Action>) -> Option<()> {
        let (port, random) = (input.port()?, u32::from(input.byte()?) << 24);
        let Ok(layout) = parse(bytes) else { return Some(()) };
        let mut frame = Frame::copied(self.buffer.take()?, bytes, port).ok()?;
        let answer = self.gateway.answer(&mut frame, &layout, &self.rules);
        match answer {
            Answer::Reply(_) => self.reply_is_sound(bytes, &layout, frame.bytes()),
            _ => assert_eq!(frame.bytes(), bytes, "only a reply changes the frame"),
        }
        self.buffer = Some(frame.into_buffer());
        let message = match answer {
            Answer::Reply(Some(message)) | Answer::Heard(message) => message,
            Answer::Conflict(address) => {
                assert!(self.gateway.owns(address));
                return Some(());
            }
            Answer::Reply(None) | Answer::NotAsked | Answer::Discard(_) => return Some(()),
        };
        let (who, mac) = match message {
            Message::Solicitation { asker, mac, .. } => (asker, mac),
            Message::Advertisement { target, mac, .. } => (target, mac),
        };
        if let Some(mac) = mac {
            assert!(!mac.is_group() && !mac.is_zero() && mac != MAC);
            self.told.insert((who, mac, port));
        }
        let was_known = self.table.get(who).is_some();
        let heard = self.table.heard(&message, port, self.now_ms, random, actions);
        let is_advertisement = matches!(message, Message::Advertisement { .. });
        assert!(heard != Heard::New || !(was_known || is_advertisement), "asked for or asking");
        assert!(heard != Heard::Ignored(Ignored::Permanent) || self.permanent.contains_key(&who));
        Some(())
    }

    /// A reply is from us, of us, to the one that asked (or to all nodes), and its checksums are right.
    fn reply_is_sound(&self, asked: &[u8], asked_layout: &Layout, reply: &[u8]) {
        let layout = parse(reply).expect("a reply is a frame");
        assert_eq!((layout.network, layout.vlan_tags), (asked_layout.network, asked_layout.vlan_tags));
        let link = ethernet::Header::new(reply).expect("a reply has a link header");
        assert_eq!(link.source(), MAC);
        let network = &reply[usize::from(layout.network_offset)..];
        if layout.network == Network::Arp {
            let packet = arp::Packet::new(network).expect("a reply is complete");
            assert_eq!(packet.operation(), arp::Operation::Reply);
            assert!(self.gateway.owns(packet.sender_address().into()) && packet.sender_mac() == MAC);
            assert_eq!(packet.target_mac(), link.destination());
            assert_eq!(reply.len(), asked.len());
            return;
        }
        let source = match layout.network {
            Network::Ipv4 => {
                let header = ipv4::Header::new(network).expect("a reply is complete");
                assert!(header.checksum_is_valid());
                header.source().into()
            }
            _ => packet::ipv6::Header::new(network).expect("a reply is complete").source().into(),
        };
        assert!(self.gateway.owns(source), "{source} is not ours");
        assert_eq!(checksum::transport_is_valid(reply, &layout), Some(true), "{asked:02x?} {reply:02x?}");
        assert!(!link.destination().is_group() || link.destination() == MacAddress([0x33, 0x33, 0, 0, 0, 1]));
    }

    fn action_is_right(&self, action: Action, before: &BTreeMap<IpAddr, router::neighbor::Neighbor>) {
        match action {
            Action::Solicit { address, probed: None } => {
                // It may have been pushed out since, by the same operation, only if it was there before.
                let entry = self.table.get(address);
                assert!(entry.is_some_and(|entry| entry.state == State::Incomplete));
            }
            Action::Solicit { address, probed: Some((mac, port)) } => {
                let entry = self.table.get(address).expect("a neighbor that is probed is known");
                assert_eq!((entry.state, entry.mac, entry.port), (State::Probe, Some(mac), port));
            }
            Action::Resolved { address } => {
                assert!(self.table.get(address).is_some_and(|entry| entry.state.is_usable()));
            }
            Action::Unreachable { address } => {
                assert_eq!(before.get(&address).map(|entry| entry.state), Some(State::Incomplete));
                assert!(self.table.get(address).is_none_or(|entry| entry.state == State::Failed));
            }
        }
    }

    fn table_is_sound(&self) {
        let Settings { entries_max, unanswered_per_port_max, answered_per_port_max, .. } = self.settings;
        assert!(self.table.len() <= entries_max);
        assert_eq!(self.table.iter().count(), self.table.len());
        let (mut unanswered, mut answered) = ([0; PORTS as usize], [0; PORTS as usize]);
        for entry in self.table.iter() {
            match (entry.state, entry.mac) {
                (State::Permanent, mac) => {
                    assert_eq!(self.permanent.get(&entry.address).map(|(mac, _)| *mac), mac);
                    assert_eq!(self.permanent.get(&entry.address).map(|(_, port)| *port), Some(entry.port));
                }
                (State::Incomplete | State::Failed, mac) => {
                    assert_eq!(mac, None);
                    unanswered[entry.port.index()] += 1;
                }
                (_, mac) => {
                    answered[entry.port.index()] += 1;
                    let mac = mac.expect("an answered neighbor has a MAC");
                    assert!(self.told.contains(&(entry.address, mac, entry.port)), "nobody said {entry:?}");
                }
            }
        }
        let permanent = self.table.iter().filter(|entry| entry.state == State::Permanent).count();
        assert_eq!(permanent, self.permanent.len());
        assert!(unanswered.iter().all(|count| *count <= unanswered_per_port_max));
        assert!(answered.iter().all(|count| *count <= answered_per_port_max));
        let map = NeighborMap::new(self.table.iter(), self.now_ms);
        for entry in self.table.iter() {
            let expected = match (entry.state, map.lookup(entry.address)) {
                (State::Incomplete, Lookup::Unknown) | (State::Failed, Lookup::Unreachable) => true,
                (state, Lookup::Usable { mac, port, tell }) => {
                    (Some(mac), port, tell.is_some()) == (entry.mac, entry.port, state == State::Stale)
                }
                _ => false,
            };
            assert!(expected, "{entry:?}");
        }
    }

    /// Left alone, everything but the permanent entries goes away.
    fn everything_ends(&mut self) {
        let mut actions = Vec::new();
        while let Some(deadline_ms) = self.table.next_deadline_ms() {
            self.table.tick(deadline_ms, 1, &mut actions);
        }
        assert_eq!(self.table.len(), self.permanent.len());
    }
}

/// An ARP frame of operands, with up to one byte damaged.
fn arp_frame(input: &mut Input<'_>) -> Option<Vec<u8>> {
    let v4 = |address| match address {
        IpAddr::V4(v4) => v4,
        IpAddr::V6(v6) => Ipv4Addr::new(10, 0, 0, v6.octets()[15] % 12),
    };
    let sender = arp::End { mac: input.mac()?, address: v4(input.address()?) };
    let target = arp::End { mac: input.mac()?, address: v4(input.address()?) };
    let frame = match input.byte()? % 3 {
        0 => arp::request(sender, target.address),
        1 => arp::reply(sender, target),
        _ => arp::gratuitous(sender.mac, sender.address),
    };
    damage(frame.to_vec(), input)
}

/// A message of neighbor discovery of operands, with up to one byte damaged.
fn nd_frame(input: &mut Input<'_>) -> Option<Vec<u8>> {
    let v6 = |address| match address {
        IpAddr::V6(v6) => v6,
        IpAddr::V4(v4) => Ipv6Addr::from_bits(0xfe80 << 112 | u128::from(v4.octets()[3])),
    };
    let (mac, source, target) = (input.mac()?, v6(input.address()?), v6(input.address()?));
    let kind = input.byte()?;
    if kind & 1 == 0 {
        let probed = (kind & 2 != 0).then_some(MAC);
        return damage(icmpv6::neighbor_solicitation(mac, source, target, probed).to_vec(), input);
    }
    let flags = icmpv6::AdvertisementFlags {
        router: kind & 2 != 0,
        solicited: kind & 4 != 0,
        overrides: kind & 8 != 0,
    };
    let mut frame = ethernet::header(MAC, mac, 0x86dd).to_vec();
    frame.extend(icmpv6::neighbor_advertisement(mac, source, target, flags));
    damage(frame, input)
}

fn damage(mut frame: Vec<u8>, input: &mut Input<'_>) -> Option<Vec<u8>> {
    let (at, value) = (usize::from(input.byte()?), input.byte()?);
    if let Some(place) = frame.get_mut(at) {
        *place = value;
    }
    Some(frame)
}
