//! Nothing that is done for a packet allocates.

use std::net::IpAddr;

use packet::{Buffer, FiveTuple, Frame, Offload, PortId, arp, build, icmpv6, parse};
use router::fragment::{Fit, Fragmenter, fit};
use router::gateway::{Answer, Gateway};
use router::icmp_error::{ERROR_FRAME_BYTES_MAX, Offending, Origin, Problem};
use router::neighbor::{
    Lookup, Neighbor, NeighborMap, Queued, State, UseReports, WaitingLimits, WaitingRoom,
};
use router::rate_limit::{Limits, RateLimiter};
use router::validate::{AddressRules, Validity};

use crate::counting::allocations_in;
use crate::errors::{MAC, POD};

fn port(index: u16) -> PortId {
    PortId::new(index).unwrap()
}

fn frame(source: &str, destination: &str, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
    let tuple = FiveTuple { source, destination, protocol, source_port: 1, destination_port: 2 };
    build::frame(build::Link { source: POD, destination: MAC }, &tuple, payload).unwrap()
}

#[test]
fn validation_errors_and_fragments_allocate_nothing() {
    let rules = AddressRules::new(true, ["10.244.1.0/24".parse().unwrap()]);
    let mut errors = RateLimiter::new(Limits::ICMP_ERRORS, 3);
    let mut fragmented = frame("10.244.1.9", "198.51.100.1", 17, &[7; 4000]);
    fragmented[20] = 0;
    let sum = packet::checksum::Change::NONE.word(0x4000, 0);
    let checksum = sum.applied_to(u16::from_be_bytes([fragmented[24], fragmented[25]]));
    fragmented[24..26].copy_from_slice(&checksum.to_be_bytes());
    let mut out = vec![0; 2000];
    for (bytes, own) in
        [(fragmented, "10.244.1.1"), (frame("fd00::9", "2001:db8::1", 17, &[7; 4000]), "fd00::1")]
    {
        let address: IpAddr = own.parse().unwrap();
        let count = allocations_in(|| {
            let layout = parse(&bytes).unwrap();
            assert_eq!(rules.validate(&bytes, &layout), Validity::Forwardable);
            let offending = Offending { bytes: &bytes, layout: &layout, offload: Offload::NONE };
            let (source, _) = offending.ends().unwrap();
            assert!(errors.allow(source, port(1), 1000, 0));
            let origin = Origin { mac: MAC, address };
            let problem = Problem::TooBig { mtu_bytes: 1500 };
            let written = offending.report(problem, origin, &rules, &mut out).unwrap();
            assert!(written <= ERROR_FRAME_BYTES_MAX);
            if fit(&bytes, &layout, Offload::NONE, 1500) == Fit::Fragment {
                let mut fragmenter = Fragmenter::new(&bytes, &layout, Offload::NONE, 1500).unwrap();
                let mut fragments = 0;
                while fragmenter.next_into(&mut out).is_some() {
                    fragments += 1;
                }
                assert_eq!(fragments, 3);
            }
        });
        assert_eq!(count, 0);
    }
}

#[test]
fn the_gateways_answers_allocate_nothing() {
    let gateway =
        Gateway { mac: MAC, addresses: ["10.244.1.1", "fd00::1"].map(|text| text.parse().unwrap()).to_vec() };
    let rules = AddressRules::default();
    let pod = arp::End { mac: POD, address: [10, 244, 1, 9].into() };
    let (source, target) = ("fd00::9".parse().unwrap(), "fd00::1".parse().unwrap());
    for asked in [
        arp::request(pod, [10, 244, 1, 1].into()).to_vec(),
        icmpv6::neighbor_solicitation(POD, source, target, None).to_vec(),
        frame("10.244.1.9", "10.244.1.1", 1, b"data"),
        frame("fd00::9", "fd00::1", 58, b"data"),
    ] {
        let layout = parse(&asked).unwrap();
        let mut frame = Frame::copied(Buffer::new(), &asked, port(1)).unwrap();
        let count = allocations_in(|| {
            assert!(matches!(gateway.answer(&mut frame, &layout, &rules), Answer::Reply(_)));
        });
        assert_eq!(count, 0);
    }
}

#[test]
fn looking_neighbors_up_and_waiting_for_them_allocates_nothing() {
    let host = |number: u32| IpAddr::V4((0x0af4_0100 + number).into());
    let neighbors = (0..500).map(|number| Neighbor {
        address: host(number),
        state: if number % 2 == 0 { State::Stale } else { State::Reachable },
        mac: Some(POD),
        port: port(1),
    });
    let map = NeighborMap::new(neighbors, 7);
    let mut reports = UseReports::new(500);
    let asked: Vec<IpAddr> = (400..600).map(host).collect();
    let mut found = Vec::with_capacity(asked.len());
    let limits = WaitingLimits::default();
    let mut room = WaitingRoom::new(limits, 7);
    let count = allocations_in(|| {
        for round in 0..2000_u32 {
            map.lookup_burst(&asked, &mut found);
            for (index, lookup) in (0..).zip(&found) {
                match lookup {
                    Lookup::Usable { tell: Some(tell), .. } => {
                        reports.first_use(*tell);
                    }
                    Lookup::Unknown => {
                        // Ever new neighbors, so that the table's places are used over and over.
                        let address = host(round * 1000 + index);
                        let now_ms = u64::from(round) * 40;
                        let queued = room.push(address, port(2), index, now_ms);
                        assert!(matches!(queued, Queued::Waiting { .. } | Queued::Refused(_)));
                    }
                    _ => {}
                }
            }
            while let Some(address) = room.overdue(u64::from(round) * 40, 64) {
                room.take(address, |_| {});
            }
            room.take(host(round * 1000 + 150), |_| {});
        }
    });
    assert_eq!(count, 0);
    assert!(!room.is_empty());
}
