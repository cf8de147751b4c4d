//! What comes in and goes out.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};

use e2e::Namespace;
use e2e::frames::{EXPERIMENTAL, IPV4, checksum, ethernet, ipv4, tagged, udp};
use e2e::script::Random;
use packet::{Burst, ChecksumOffload, DropReason, MacAddress};
use port::packet_socket;
use port::tap::{self, TapConfig};
use port::{EngineKind, PortSet, Queue};

use crate::rig::{Rig, SILENCE, address, device, port};

const A: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
const B: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);

fn experimental(bytes: usize, first: u8) -> Vec<u8> {
    let mut payload = vec![0; bytes - 14];
    Random::new(bytes as u64).fill(&mut payload);
    payload[0] = first;
    ethernet(B, A, EXPERIMENTAL, &payload)
}

/// Also for MACs that are neither device's: the device is promiscuous.
pub(crate) fn byte_for_byte(kind: EngineKind) {
    let mut rig = Rig::new(kind);
    let frames: Vec<_> = [60, 61, 64, 100, 1000, 1513, 1514].map(|bytes| experimental(bytes, 1)).into();
    for from in [0, 1] {
        assert_eq!(rig.pass(from, &frames), frames);
    }
    assert!(rig.seen.dropped.is_empty() && rig.seen.malformed.is_empty());
}

/// A macvlan in mode passthru has the wire for itself.
pub(crate) fn macvlan(kind: EngineKind) {
    let mut rig = Rig::on(kind, |switch, index| {
        switch.ip(&format!("link add m{index} link {} type macvlan mode passthru", device(index)));
        switch.ip(&format!("link set m{index} up"));
        format!("m{index}")
    });
    let frames = [experimental(60, 1), experimental(1514, 2), tagged(&experimental(100, 3), 0x8100, 5)];
    for from in [0, 1] {
        assert_eq!(rig.pass(from, &frames), frames);
    }
}

pub(crate) fn tags(kind: EngineKind) {
    let mut rig = Rig::new(kind);
    let plain = experimental(100, 2);
    let vlan = tagged(&plain, 0x8100, 0xa005);
    let frames = [
        vlan.clone(),
        tagged(&plain, 0x88a8, 7),
        tagged(&vlan, 0x88a8, 9),
        tagged(&plain, 0x8100, 0),
        tagged(&experimental(1514, 3), 0x8100, 5),
        plain,
    ];
    for from in [0, 1] {
        assert_eq!(rig.pass(from, &frames), frames);
    }
}

/// A tagged datagram whose checksum is still to be completed is right when it arrives.
pub(crate) fn unfinished_tagged(kind: EngineKind) {
    let mut rig = Rig::new(kind);
    let (source, destination) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
    let mut datagram = udp(1, 2, b"unfinished");
    let pseudo = [&source.octets()[..], &destination.octets(), &[0, 17, 0, 18]].concat();
    // The field holds the pseudo-header's sum, not inverted.
    datagram[6..8].copy_from_slice(&(!checksum(&[&pseudo])).to_be_bytes());
    let frame = ethernet(B, A, IPV4, &ipv4(source, destination, 17, &datagram));
    let frame = tagged(&frame, 0x8100, 5);
    let (near, far) = (rig.raw(0), rig.raw(1));
    near.send_unfinished([1, 0, 0, 0, 0, 0, 38, 0, 6, 0], &frame);
    let mut checksums = Vec::new();
    rig.run_until_seeing(|frame| checksums.push(frame.offload.checksum), |seen| seen.frames == 1);
    assert_eq!(checksums, [ChecksumOffload::Partial { start: 38, offset: 6 }]);
    let received = far.receive(SILENCE).expect("it arrives");
    assert_eq!(received[..18], frame[..18], "with its tag");
    datagram[6..8].copy_from_slice(&[0, 0]);
    let sum = checksum(&[&pseudo, &datagram]);
    // The receiving veth may leave it unfinished still, as it would between two kernels.
    let arrived = u16::from_be_bytes([received[44], received[45]]);
    assert!(arrived == sum || arrived == !checksum(&[&pseudo]), "{arrived:04x}, not {sum:04x}");
}

pub(crate) fn super_frames(kind: EngineKind) {
    bulk(Rig::new(kind));
}

/// Sends much in both directions, most of it in super-frames.
pub(crate) fn bulk(mut rig: Rig) {
    const BYTES: usize = 64 << 20;
    for from in [0, 1] {
        let done = AtomicBool::new(false);
        let far = std::mem::take(&mut rig.far);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                e2e::bulk_transfer(&far[from], &far[1 - from], address(1 - from), BYTES);
                done.store(true, Ordering::Relaxed);
            });
            rig.run_until(|_| done.load(Ordering::Relaxed));
        });
        rig.far = far;
    }
    let seen = &rig.seen;
    let average = seen.super_frame_bytes / seen.super_frames;
    assert!(average > 1514 && seen.super_frames > 100, "{average} bytes over {}", seen.super_frames);
    assert!(seen.malformed.is_empty() && seen.faults.is_empty());
}

/// Neither what we send nor what the host sends by the device comes back to us.
pub(crate) fn outgoing(kind: EngineKind) {
    let mut rig = Rig::new(kind);
    let host = e2e::RawSocket::open(&rig.switch, &device(0));
    host.send(&experimental(60, 9));
    assert_eq!(rig.pass(0, &[experimental(60, 1)]).len(), 1);
    let before = rig.seen.frames;
    assert_eq!(before, 1, "the one that came in");
    rig.set.wait(Some(SILENCE)).unwrap();
    while rig.step(|_| {}) > 0 {}
    assert_eq!(rig.seen.frames, before);
}

pub(crate) fn too_long(kind: EngineKind) {
    let mut rig = Rig::new(kind);
    for (namespace, name) in [(&rig.far[0], "eth0".to_owned()), (&rig.switch, device(0))] {
        namespace.ip(&format!("link set {name} mtu 9000"));
    }
    let (near, far) = (rig.raw(0), rig.raw(1));
    near.send(&experimental(9014, 1));
    rig.run_until(|seen| seen.frames == 1);
    assert_eq!(rig.seen.dropped, [DropReason::EgressMtu]);
    assert!(far.receive(SILENCE).is_none());
    assert_eq!(rig.pass(0, &[experimental(1514, 1)]).len(), 1, "the next one passes");
}

/// A machine may send super-frames of a kind that no vnet header describes to a packet socket (UDP
/// fragmentation): they are lost by name, and harm neither the port nor the frames around them.
pub(crate) fn undescribable(kind: EngineKind) {
    const ROUNDS: usize = 100;
    let switch = Namespace::new_quiet("switch");
    let config = TapConfig {
        netns: Some(switch.path()),
        device: device(0),
        mac: A,
        persistent: false,
        ..TapConfig::default()
    };
    let machine = tap::open(&config).unwrap().queues.remove(0);
    let mut set = PortSet::new(kind, 256).unwrap();
    let opened = packet_socket::open(&crate::rig::config(&switch, 0, 1)).unwrap();
    set.attach(port(0), Queue::Device(opened.queues.into_iter().next().unwrap())).unwrap();
    let (source, destination) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
    let fragmentable = ethernet(B, A, IPV4, &ipv4(source, destination, 17, &udp(1, 2, &[7; 4000])));
    let write = |header: [u8; 12], frame: &[u8]| {
        rustix::io::write(&machine, &[&header, frame].concat()).unwrap();
    };
    let (mut burst, mut heard, mut malformed) = (Burst::new(), Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        write([0; 12], &experimental(60, 1));
        write([1, 3, 42, 0, 0xc8, 0x05, 34, 0, 6, 0, 0, 0], &fragmentable);
        write([0; 12], &experimental(60, 2));
        e2e::wait_until("three frames", || {
            malformed.extend_from_slice(set.receive(&mut burst).malformed);
            heard.extend(burst.frames().iter().map(|frame| frame.bytes()[14]));
            burst.recycle(set.pool());
            (heard.len() + malformed.len() == 3 * round).then_some(())
        });
    }
    assert_eq!(malformed, [(port(0), DropReason::BadOffload); ROUNDS]);
    assert_eq!(heard, [1, 2].repeat(ROUNDS));
    let mut faults = Vec::new();
    set.take_faults(&mut faults);
    assert!(faults.is_empty(), "{faults:?}");
}

/// Whatever stands in a frame, it passes or has a name.
pub(crate) fn hostile(kind: EngineKind) {
    const FRAMES: usize = 2000;
    let mut rig = Rig::new(kind);
    let near = rig.raw(0);
    let mut random = Random::new(5);
    for batch in 0..FRAMES / 50 {
        for index in 0..50 {
            // A tag that is cut off is the end of a frame before we could hear it.
            let mut bytes = vec![0; 22 + random.below(1492)];
            random.fill(&mut bytes);
            if index % 2 == 0 {
                let ethertype = random.pick(&[0x0800_u16, 0x86dd, 0x8100, 0x88a8, 0x0806]);
                bytes[12..14].copy_from_slice(&ethertype.to_be_bytes());
            }
            near.send(&bytes);
        }
        rig.run_until(|seen| seen.frames + seen.malformed.len() >= 50 * (batch + 1));
    }
    assert_eq!(rig.seen.frames + rig.seen.malformed.len(), FRAMES);
    assert!(rig.seen.faults.is_empty(), "{:?}", rig.seen.faults);
}
