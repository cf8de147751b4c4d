//! Ports that replay and record capture files: a whole node that needs no right.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;
use std::time::{Duration, Instant};

use node::config::{self, Machine};
use node::control::{self, Options};
use node::devices::KernelDevices;
use node::state::StateDirectory;
use port::EngineKind;
use port::pcapng::{Packet, Writer};

fn capture_of(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), "test").unwrap();
    let interface = writer.add_interface("wire", 0).unwrap();
    for (index, bytes) in frames.iter().enumerate() {
        let packet = Packet {
            interface,
            timestamp_ns: 1_000 * index as u64,
            direction: None,
            bytes,
            original_bytes: bytes.len(),
            comment: None,
        };
        writer.write(&packet).unwrap();
    }
    writer.into_inner()
}

fn options(place: &Path) -> Options {
    Options {
        machine: Machine { cpus: vec![0, 1] },
        devices: Box::new(KernelDevices::default()),
        state: StateDirectory::open(place).unwrap(),
        engine: EngineKind::Epoll,
        seed: 3,
    }
}

#[test]
fn what_one_port_replays_another_records() {
    for workers in [1, 2] {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name).display().to_string();
        let frames: Vec<Vec<u8>> = (0..100_u8)
            .map(|index| [&[0xff; 6][..], &[2, 0, 0, 0, 0, 1], &[0x88, 0xb5, index], &[0; 45]].concat())
            .collect();
        std::fs::write(path("in.pcapng"), capture_of(&frames)).unwrap();
        let text = format!(
            "[host]\nenabled = false\n[workers]\ncount = {workers}\n\
             [[port]]\nname = \"sink\"\ntype = \"pcap\"\nrecord = \"{}\"\n\
             [[port]]\nname = \"source\"\ntype = \"pcap\"\nreplay = \"{}\"\npace = \"fast\"\n",
            path("out.pcapng"),
            path("in.pcapng")
        );
        let loaded = config::parse(&text, None, &Machine::default()).unwrap();
        let control = control::spawn(loaded, options(place.path())).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let ports = control.handle().call_and_wait(control::Control::port_stats).unwrap();
            let sent = ports.iter().find(|port| port.ifname == "sink").unwrap().tx_packets;
            if sent == frames.len() as u64 {
                break;
            }
            assert!(Instant::now() < deadline, "{ports:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(control.stop());
        let recorded = std::fs::read(path("out.pcapng")).unwrap();
        for frame in &frames {
            assert!(recorded.windows(frame.len()).any(|window| window == frame), "{workers} workers");
        }
    }
}

#[test]
fn a_file_that_is_not_there_is_named_and_the_port_is_tried_again() {
    let place = tempfile::tempdir().unwrap();
    let text = "[host]\nenabled = false\n[[port]]\nname = \"a\"\ntype = \"pcap\"\nreplay = \"/nonexistent/in.pcap\"\n";
    let loaded = config::parse(text, None, &Machine::default()).unwrap();
    let control = control::spawn(loaded, options(place.path())).unwrap();
    let status = control.handle().call_and_wait(|control| control.status()).unwrap();
    let [trouble] = &status.ports.not_up[..] else { panic!("{status:?}") };
    assert!(trouble.reason.as_ref().unwrap().contains("/nonexistent/in.pcap"), "{trouble:?}");
    assert!(!status.ready && status.degraded);
}
