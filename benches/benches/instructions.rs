//! How many instructions a frame costs. Unlike times, counts are the same on a busy machine, so a change
//! that makes a frame dearer shows.
//!
//! `cargo bench -p benches --bench instructions` counts each case under valgrind and fails if one has grown
//! by more than 5 % over what `instructions.toml` records; with `-- --record` it writes that file anew.
//! Counts depend on the compiler, so the file names the one that it holds for; with another, or without
//! valgrind, the cases are reported as ignored.
//!
//! Callgrind collects only while a function named `measured_…` runs; making and taking frames is not
//! counted.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use benches::routed::RoutedTrack;
use benches::{Lane, NOW_MS, Random, Track, fdb, port, station};
use packet::{BURST_FRAMES, MacAddress, Offloads};
use switch::{Addresses, Fdb, Forwarding};

const MACS: u64 = 10_000;
const ROUTES: usize = 10_000;

/// Bursts that are counted, after as many that are not.
const BURSTS: usize = 50;

/// Percent by which a count may grow.
const GROWTH_MAX: f64 = 5.0;

/// A name, and what lets `frames` frames (returned) pass through a `measured_…` function.
type Case = (&'static str, fn() -> usize);

const CASES: &[Case] = &[
    ("parse", parse),
    ("learn_and_look_up", learn_and_look_up),
    ("forward_64_bytes", || forward(Track::new(MACS, &[Lane::PLAIN; 2]), Track::load)),
    ("flood_to_8", || forward(Track::new(MACS, &[Lane::PLAIN; 9]), Track::load_broadcast)),
    ("coalesce_64_bytes", || {
        forward(Track::new(2, &[Lane::PLAIN; 2]).with_unfinished_datagrams(), Track::load_one_flow)
    }),
    ("hand_over_64_bytes", || {
        forward(Track::new(MACS, &[Lane::PLAIN, Lane { worker: 1, ..Lane::PLAIN }]), Track::load)
    }),
    ("cut_9_000_bytes", || {
        let plain = Lane { offloads: Offloads::NONE, ..Lane::PLAIN };
        forward(Track::new(2, &[Lane::PLAIN, plain]).with_super_frames(9_000), Track::load_one_flow)
    }),
    ("route_v4_64_bytes", || route(RoutedTrack::new(ROUTES, false))),
    ("route_v6_64_bytes", || route(RoutedTrack::new(ROUTES, true))),
];

#[inline(never)]
fn measured_step(track: &mut Track) -> usize {
    track.step()
}

#[inline(never)]
fn measured_parse(frames: &[Vec<u8>]) {
    for frame in frames {
        let _ = black_box(packet::parse(black_box(frame)));
    }
}

#[inline(never)]
fn measured_forward(fdb: &Fdb, addresses: &[Addresses], verdicts: &mut Vec<Forwarding>) {
    fdb.forward_burst(addresses, NOW_MS, verdicts);
}

fn forward(mut track: Track, load: fn(&mut Track, usize)) -> usize {
    track.warm_up(load);
    for _ in 0..BURSTS {
        load(&mut track, BURST_FRAMES);
        while measured_step(&mut track) > 0 {}
        track.unload();
    }
    BURSTS * BURST_FRAMES
}

#[inline(never)]
fn measured_route(track: &mut RoutedTrack) -> usize {
    // Not the same as the step alone, or the linker would make one of both and count what warms up.
    black_box(track.step())
}

fn route(mut track: RoutedTrack) -> usize {
    track.warm_up();
    for _ in 0..BURSTS {
        track.load(BURST_FRAMES);
        while measured_route(&mut track) > 0 {}
        track.unload();
    }
    BURSTS * BURST_FRAMES
}

fn parse() -> usize {
    let frames = vec![benches::shortest_frame(); BURST_FRAMES];
    measured_parse(&frames);
    frames.len()
}

fn learn_and_look_up() -> usize {
    let (fdb, mut random) = (fdb(MACS), Random(42));
    let mut burst = || -> Vec<Addresses> {
        let mut any = |parity: u64| station(random.below(MACS / 2) * 2 + parity);
        let mut frame = |_| -> (MacAddress, MacAddress) { (any(1), any(0)) };
        let both = (0..BURST_FRAMES).map(&mut frame);
        both.map(|(destination, source)| Addresses { destination, source, ingress: port(0) }).collect()
    };
    let mut verdicts = Vec::with_capacity(BURST_FRAMES);
    for _ in 0..BURSTS {
        measured_forward(&fdb, &burst(), &mut verdicts);
    }
    BURSTS * BURST_FRAMES
}

/// What was recorded: the compiler, and instructions a frame by case.
#[derive(Default)]
struct Record {
    compiler: String,
    counts: BTreeMap<String, f64>,
}

impl Record {
    fn path() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.toml")
    }

    fn read() -> Self {
        let mut record = Self::default();
        let text = std::fs::read_to_string(Self::path()).unwrap_or_default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((key, value)) = line.split_once(" = ") else { continue };
            match value.parse() {
                Ok(count) => drop(record.counts.insert(key.to_owned(), count)),
                Err(_) => record.compiler = value.trim_matches('"').to_owned(),
            }
        }
        record
    }

    fn write(&self) -> std::io::Result<()> {
        let mut text = format!(
            "# Instructions a frame, written by `cargo bench -p benches --bench instructions -- --record`.\n\
             compiler = \"{}\"\n",
            self.compiler
        );
        for (name, count) in &self.counts {
            let _ = writeln!(text, "{name} = {count:.1}");
        }
        std::fs::write(Self::path(), text)
    }
}

fn compiler() -> String {
    let version = Command::new("rustc").arg("--version").output();
    version.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

/// Instructions a frame of one case, counted by callgrind in a process of its own.
fn count(case: &str) -> Result<f64, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*measured_*"])
        .arg(program)
        .args(["--case", case])
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    let frames = String::from_utf8_lossy(&output.stdout).trim().parse().ok();
    let (Some(collected), Some(frames)) = (collected, frames) else {
        return Err(format!("{case}: no count from valgrind: {said}"));
    };
    let (collected, frames): (f64, f64) = (collected, frames);
    Ok(collected / frames)
}

/// Why the counts cannot be compared here, if they cannot.
fn reason_to_skip(record: &Record, compiler: &str) -> Option<String> {
    if Command::new("valgrind").arg("--version").output().is_err() {
        return Some("valgrind is not installed".to_owned());
    }
    (record.compiler != compiler).then(|| format!("recorded with {}, this is {compiler}", record.compiler))
}

/// Counts all cases and compares; true if none has grown.
fn compare() -> Result<bool, String> {
    let (record, compiler) = (Record::read(), compiler());
    if let Some(reason) = reason_to_skip(&record, &compiler) {
        for (name, _) in CASES {
            println!("test {name} ... ignored, {reason}");
        }
        println!("test result: ok. 0 passed; 0 failed; {} ignored", CASES.len());
        return Ok(true);
    }
    let mut failed = 0;
    for (name, _) in CASES {
        let (now, before) = (count(name)?, record.counts.get(*name).copied().unwrap_or(0.0));
        let growth = (now / before - 1.0) * 100.0;
        let grown = growth > GROWTH_MAX;
        failed += usize::from(grown);
        let verdict = if grown { "FAILED" } else { "ok" };
        println!(
            "test {name} ... {verdict}: {now:.1} instructions a frame, recorded {before:.1} ({growth:+.1} %)"
        );
    }
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {verdict}. {} passed; {failed} failed; 0 ignored", CASES.len() - failed);
    Ok(failed == 0)
}

fn record() -> Result<bool, String> {
    let counts = CASES.iter().map(|(name, _)| Ok(((*name).to_owned(), count(name)?)));
    let record = Record { compiler: compiler(), counts: counts.collect::<Result<_, String>>()? };
    for (name, count) in &record.counts {
        println!("{name}: {count:.1} instructions a frame");
    }
    record.write().map_err(|error| error.to_string())?;
    Ok(true)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--case", case] => match CASES.iter().find(|(name, _)| *name == case) {
            Some((_, run)) => {
                println!("{}", run());
                Ok(true)
            }
            None => Err(format!("there is no case {case}")),
        },
        ref other if other.contains(&"--record") => record(),
        _ => compare(),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
