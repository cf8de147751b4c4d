//! A port set with pcap ports: what is replayed from one file is recorded into another.
#![expect(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test")]

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use packet::{Burst, DropReason, PortId};
use port::pcap::{Pace, PcapConfig, PcapQueue, Reader};
use port::pcapng::{Packet, Writer};
use port::{EngineKind, PortSet, Queue, Transmission};

const GAP: Duration = Duration::from_millis(20);

/// A file of the target directory that goes away with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A capture of frames of these lengths, [`GAP`] apart, the first byte of each its position.
fn capture(name: &str, lengths: &[usize]) -> Scratch {
    let scratch = Scratch::new(name);
    let mut writer = Writer::new(File::create(&scratch.0).unwrap(), "test").unwrap();
    let interface = writer.add_interface("a", 0).unwrap();
    for (index, &length) in lengths.iter().enumerate() {
        let mut bytes = vec![0; length];
        bytes[0] = index as u8;
        let timestamp_ns = 1_700_000_000_000_000_000 + index as u64 * GAP.as_nanos() as u64;
        let packet = Packet {
            interface,
            timestamp_ns,
            direction: None,
            bytes: &bytes,
            original_bytes: length,
            comment: None,
        };
        writer.write(&packet).unwrap();
    }
    scratch
}

/// Forwards from port 0 to port 1 until `frames` frames came or 10 s passed.
fn forward(set: &mut PortSet, frames: usize) -> Vec<(PortId, DropReason)> {
    let [from, to] = [0, 1].map(|index| PortId::new(index).unwrap());
    let mut burst = Burst::new();
    let (mut outcomes, mut malformed, mut seen) = (Vec::new(), Vec::new(), 0);
    let deadline = Instant::now() + Duration::from_secs(10);
    while seen < frames && Instant::now() < deadline {
        malformed.extend_from_slice(set.receive(&mut burst).malformed);
        assert!(burst.frames().iter().all(|frame| frame.ingress == from));
        let jobs: Vec<_> = (0..burst.len() as u16)
            .map(|frame| Transmission { frame, port: to, headers_bytes: 14 })
            .collect();
        set.transmit(&mut burst, &jobs, &mut outcomes);
        assert!(outcomes.iter().all(Result::is_ok));
        seen += burst.len();
        burst.recycle(set.pool());
        if seen < frames {
            set.wait(Some(Duration::from_secs(1))).unwrap();
        }
    }
    malformed
}

fn replay(engine: EngineKind, pace: Pace, from: &Scratch, to: &Scratch, frames: usize) -> Vec<DropReason> {
    let mut set = PortSet::new(engine, 64).unwrap();
    let source = PcapConfig { replay: Some(from.0.clone()), pace, record: None };
    let sink = PcapConfig { record: Some(to.0.clone()), ..PcapConfig::default() };
    for (index, config) in [source, sink].iter().enumerate() {
        let queue = PcapQueue::open(config, "p").unwrap();
        set.attach(PortId::new(index as u16).unwrap(), Queue::Other(Box::new(queue))).unwrap();
    }
    let malformed = forward(&mut set, frames);
    malformed.into_iter().map(|(_, reason)| reason).collect()
}

fn recorded(file: &Scratch) -> Vec<(u8, usize)> {
    let mut reader = Reader::new(BufReader::new(File::open(&file.0).unwrap())).unwrap();
    let mut frames = Vec::new();
    while let Some(packet) = reader.next_packet().unwrap() {
        frames.push((packet.bytes[0], packet.bytes.len()));
    }
    frames
}

#[test]
fn what_is_replayed_is_recorded_in_order() {
    let lengths: Vec<_> = (0..200).map(|index| 14 + index * 7).collect();
    let (from, to) = (capture("all-in", &lengths), Scratch::new("all-out"));
    assert_eq!(replay(EngineKind::Auto, Pace::Unlimited, &from, &to, 200), []);
    assert!(recorded(&to).into_iter().eq((0..200).map(|index| (index, lengths[usize::from(index)]))));
}

#[test]
fn what_is_no_frame_is_reported() {
    let (from, to) = (capture("bad-in", &[13, 60, 70_000, 200_000, 61]), Scratch::new("bad-out"));
    let malformed = replay(EngineKind::Auto, Pace::Unlimited, &from, &to, 2);
    assert_eq!(malformed, [DropReason::Truncated, DropReason::Oversized, DropReason::Oversized]);
    assert_eq!(recorded(&to), [(1, 60), (4, 61)]);
}

#[test]
fn a_replay_keeps_the_pace_of_its_recording_while_the_worker_sleeps() {
    for engine in [EngineKind::Auto, EngineKind::Epoll] {
        let (from, to) = (capture("paced-in", &[60; 6]), Scratch::new("paced-out"));
        let before = Instant::now();
        replay(engine, Pace::Recorded, &from, &to, 6);
        assert!(before.elapsed() >= 5 * GAP, "{:?}", before.elapsed());
        assert_eq!(recorded(&to).len(), 6);
    }
}

#[test]
fn what_is_no_capture_is_refused_with_its_name() {
    let config = PcapConfig { replay: Some(PathBuf::from("tests/pcap.rs")), ..PcapConfig::default() };
    let error = PcapQueue::open(&config, "p").expect_err("source text");
    assert!(error.to_string().contains("pcap.rs"), "{error}");
}
