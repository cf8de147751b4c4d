//! `flyover lab`: what its table promises, and that nothing is left of it, however it ends.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{FLYOVER, Said, await_end, await_some, flyover, namespaces};
use libtest_mimic::{Arguments, Trial};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

const PREFIX: &str = "fly-lab-";
const DIRECTORY: &str = "/run/fly-lab";
/// Two nodes with two pods each, a router, a host outside.
const NAMESPACES: usize = 8;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // There is one lab on a machine.
    arguments.test_threads = Some(1);
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        eprintln!("skipped: a lab needs root for network namespaces and TAP devices");
    }
    let root = |name: &str, body: fn()| {
        let trial = Trial::test(name, move || {
            body();
            Ok(())
        });
        if is_root { trial } else { trial.with_kind("needs root").with_ignored_flag(true) }
    };
    let tests = vec![
        root("every_kind_of_communication_passes_over_flyover", || every_kind_passes(&["lab", "-j"])),
        root("every_kind_of_communication_passes_over_the_kernel", || {
            every_kind_passes(&["lab", "--kernel", "-j"]);
        }),
        root("an_interrupted_lab_leaves_nothing", || {
            for moment in MOMENTS {
                interrupted(moment);
            }
        }),
        root("what_a_killed_lab_leaves_is_removed_by_down", || {
            for moment in MOMENTS {
                killed(moment);
            }
        }),
        root("what_a_killed_lab_leaves_is_removed_by_the_next", the_next_lab_cleans_up),
        root("a_kept_lab_can_be_entered_and_is_removed_by_down", kept),
    ];
    libtest_mimic::run(&arguments, tests).exit_code()
}

fn assert_nothing_is_left() {
    assert_eq!(namespaces(PREFIX), [""; 0]);
    assert!(!Path::new(DIRECTORY).exists());
    let daemons: Vec<_> = processes(|_, command_line| command_line.contains(DIRECTORY));
    assert_eq!(daemons, [0; 0], "daemons go on");
}

/// Ids of the processes for which `is_wanted` (its parent, its command line) holds.
fn processes(is_wanted: impl Fn(u32, &str) -> bool) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| {
        // Processes end while they are looked at.
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{id}/{file}")).unwrap_or_default();
        let status = read("status");
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok());
        is_wanted(parent.unwrap_or(0), &read("cmdline"))
    })
    .collect()
}

/// What must be in the table: rows of each kind, and between whom.
fn expected_rows() -> BTreeMap<&'static str, usize> {
    // Of both nodes, in both families.
    let kinds = ["within_pod", "pod_to_pod", "pod_to_remote_pod", "pod_to_outside"];
    let mut rows: BTreeMap<_, _> = kinds.into_iter().map(|kind| (kind, 4)).collect();
    rows.extend([("host_to_pod", 4), ("host_to_remote_pod", 4), ("pod_to_host", 8)]);
    rows
}

fn every_kind_passes(arguments: &[&str]) {
    let said = flyover(arguments);
    let outcomes = said.array();
    let mut rows = BTreeMap::new();
    let mut addresses = BTreeSet::new();
    for outcome in &outcomes {
        assert_eq!(outcome["passed"], true, "{outcome}");
        assert!(outcome["bits_per_second"].as_f64() > Some(0.0), "{outcome}");
        assert!(outcome["bytes"].as_u64() > Some(0), "{outcome}");
        assert!(outcome["rtt_p50_ns"].as_u64() > Some(0), "{outcome}");
        *rows.entry(outcome["kind"].as_str().unwrap()).or_default() += 1;
        addresses.insert(outcome["address"].as_str().unwrap());
    }
    assert_eq!(rows, expected_rows());
    for address in ["10.244.2.11", "fd00:10:244:1::b", "203.0.113.10", "2001:db8::10", "192.168.0.12"] {
        assert!(addresses.contains(address), "{address} of {addresses:?}");
    }
    assert!(said.stderr.lines().count() > outcomes.len(), "progress is shown: {said:?}");
    assert_nothing_is_left();
}

/// When a lab is disturbed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// The first namespace is there.
    Begun,
    /// The first node is being built.
    Building,
    /// All of it is being tried.
    Trying,
}

const MOMENTS: [Moment; 3] = [Moment::Begun, Moment::Building, Moment::Trying];

/// Starts a lab and waits for the moment.
fn lab_at(moment: Moment, arguments: &[&str]) -> Child {
    let mut child = Command::new(FLYOVER)
        .arg("lab")
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let beginning = match moment {
        Moment::Begun => {
            await_some("a namespace of the lab", || (!namespaces(PREFIX).is_empty()).then_some(()));
            return child;
        }
        Moment::Building => "building node1",
        Moment::Trying => "[1/",
    };
    let mut errors = BufReader::new(child.stderr.as_mut().unwrap());
    let mut line = String::new();
    while !line.starts_with(beginning) {
        line.clear();
        assert!(errors.read_line(&mut line).unwrap() > 0, "the lab ended before {moment:?}");
    }
    if let Moment::Trying = moment {
        assert_eq!(namespaces(PREFIX).len(), NAMESPACES);
    }
    child
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

fn interrupted(moment: Moment) {
    let mut child = lab_at(moment, &[]);
    signal(&child, Signal::SIGINT);
    assert_eq!(await_end(&mut child).code(), Some(1), "{moment:?}");
    assert_nothing_is_left();
}

/// Kills a lab at once, but lets a change by `ip` that is under way come to its end; its agents.
fn kill_at_once(child: &mut Child) -> Vec<u32> {
    // Stopped, it starts no more.
    signal(child, Signal::SIGSTOP);
    let parent = child.id();
    let children_with = |word: &str| processes(|its, line| its == parent && line.contains(word));
    let (changes, agents) = (children_with("netns\0"), children_with("bench-agent"));
    signal(child, Signal::SIGKILL);
    await_end(child);
    await_ends(&changes);
    agents
}

fn await_ends(ids: &[u32]) {
    let is_there = |id: &&u32| Path::new(&format!("/proc/{id}")).exists();
    await_some("the end of processes", || ids.iter().find(is_there).is_none().then_some(()));
}

fn killed(moment: Moment) {
    // A daemon of a lab that is to be kept does not end with it.
    for arguments in [&[][..], &["--keep"]] {
        let mut child = lab_at(moment, arguments);
        let agents = kill_at_once(&mut child);
        let said = flyover(&["lab", "--down"]);
        assert!(said.code == 0 && said.stdout.starts_with("removed "), "{moment:?}: {said:?}");
        assert_nothing_is_left();
        await_ends(&agents);
    }
    assert_eq!(flyover(&["lab", "--down"]).stdout, "there was no lab\n");
}

fn the_next_lab_cleans_up() {
    let mut child = lab_at(Moment::Trying, &[]);
    await_ends(&kill_at_once(&mut child));
    assert_eq!(namespaces(PREFIX).len(), NAMESPACES);
    // It needs to come no further than to its first outcome.
    let mut next = lab_at(Moment::Trying, &[]);
    signal(&next, Signal::SIGTERM);
    await_end(&mut next);
    assert_nothing_is_left();
}

/// Removes a lab that a failed test would leave.
struct Down;

impl Drop for Down {
    fn drop(&mut self) {
        flyover(&["lab", "--down"]);
    }
}

fn kept() {
    let _down = Down;
    let kept = flyover(&["lab", "--keep"]);
    assert_eq!(kept.code, 0, "{kept:?}");
    let passed = kept.stdout.lines().filter(|line| line.contains("   passed   ")).count();
    assert_eq!(passed, expected_rows().values().sum::<usize>(), "{kept:?}");
    assert_eq!(entered(&kept), namespaces(PREFIX).into_iter().collect());
    for node in ["node1", "node2"] {
        let socket = format!("{DIRECTORY}/{node}/flyover.sock");
        assert!(kept.stdout.contains(&socket), "{kept:?}");
        let status = flyover(&["--socket", &socket, "status"]);
        assert_eq!(status.code, 0, "{status:?}");
    }
    flyover(&["lab"]).assert_failure_naming("flyover lab --down");
    assert_eq!(
        flyover(&["lab", "--down"]).stdout,
        format!("removed {NAMESPACES} network namespaces and what was in them\n")
    );
    assert_nothing_is_left();
}

/// Enters each namespace as the lab says, with `true` in the place of a shell.
fn entered(kept: &Said) -> BTreeSet<String> {
    let commands = kept.stdout.lines().filter_map(|line| line.trim().strip_prefix("sudo ip netns exec "));
    let names: BTreeSet<String> =
        commands.filter_map(|command| Some(command.split_once(" bash")?.0.to_owned())).collect();
    assert_eq!(names.len(), NAMESPACES);
    for name in &names {
        assert!(
            Command::new("ip").args(["netns", "exec", name, "true"]).status().unwrap().success(),
            "{name}"
        );
    }
    names
}
