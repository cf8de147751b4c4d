//! The program as a person runs it: every command, its exit status, its JSON.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;
mod node;

use common::{FLYOVER, Said, await_end, await_some, flyover, namespaces};
use libtest_mimic::{Arguments, Trial};
use node::Node;
use std::io::{Read, Write};
use std::process::{Command, ExitCode, Stdio};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        eprintln!("skipped: tests with a daemon need root for network namespaces and TAP devices");
    }
    let plain = |name: &str, body: fn()| {
        Trial::test(name, move || {
            body();
            Ok(())
        })
    };
    let root = |name: &str, body: fn()| {
        let trial = plain(name, body);
        if is_root { trial } else { trial.with_kind("needs root").with_ignored_flag(true) }
    };
    let tests = vec![
        plain("wrong_usage_exits_2", wrong_usage_exits_2),
        plain("without_a_daemon_the_socket_is_named", without_a_daemon_the_socket_is_named),
        plain("a_configuration_is_checked_with_line_and_key", a_configuration_is_checked),
        plain("completions_and_man_pages_are_generated", completions_and_man_pages),
        root("every_command_answers_and_its_json_is_an_array", every_command_answers),
        root("a_port_is_added_set_down_and_removed", a_port_comes_and_goes),
        root("fdb_entries_are_added_deleted_and_flushed", fdb_entries_come_and_go),
        root("status_fails_when_a_port_is_gone", status_fails_when_a_port_is_gone),
        root("a_closed_pipe_is_no_failure", a_closed_pipe_is_no_failure),
        root("capture_writes_pcapng_and_lines", capture_writes_pcapng_and_lines),
        root("bench_pods_measures_both_and_leaves_nothing", || bench_leaves_nothing("pods")),
        root("bench_nodes_measures_both_and_leaves_nothing", || bench_leaves_nothing("nodes")),
    ];
    libtest_mimic::run(&arguments, tests).exit_code()
}

fn wrong_usage_exits_2() {
    for arguments in [&[][..], &["no-such-command"], &["port", "set", "x"], &["fdb", "oops"]] {
        let said = flyover(arguments);
        assert_eq!(said.code, 2, "{arguments:?}: {said:?}");
    }
    let version = flyover(&["--version"]);
    assert_eq!((version.code, version.stdout), (0, format!("flyover {}\n", env!("CARGO_PKG_VERSION"))));
}

fn without_a_daemon_the_socket_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("nobody.sock").display().to_string();
    let commands: [&[&str]; 9] = [
        &["route"],
        &["neigh", "flush"],
        &["explain", "in=a"],
        &["status"],
        &["port"],
        &["fdb", "flush"],
        &["stats", "drops"],
        &["capture", "-c", "1"],
        &["-j", "port", "add", "x"],
    ];
    for arguments in commands {
        let mut all = vec!["--socket", &socket];
        all.extend_from_slice(arguments);
        flyover(&all).assert_failure_naming(&socket);
    }
    let output = Command::new(FLYOVER).arg("status").env("FLYOVER_SOCKET", &socket).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains(&socket), "{output:?}");
}

fn a_configuration_is_checked() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("flyover.toml");
    let path = file.display().to_string();
    std::fs::write(&file, "[node]\nmtu = 1400\n").unwrap();
    assert_eq!(flyover(&["check-config", &path]).code, 0);
    std::fs::write(&file, "[node]\nmtu = 1400\n\n[bridge]\nagging_seconds = 3\n").unwrap();
    let said = flyover(&["check-config", &path]);
    said.assert_failure_naming("agging_seconds");
    assert!(said.stderr.contains(&format!("{path}:5")), "{said:?}");
    flyover(&["check-config", "/no/such/file"]).assert_failure_naming("/no/such/file");
}

fn completions_and_man_pages() {
    for shell in ["bash", "zsh", "fish"] {
        let said = flyover(&["completions", shell]);
        assert!(said.code == 0 && said.stdout.contains("check-config"), "{shell}");
    }
    let directory = tempfile::tempdir().unwrap();
    let pages = directory.path().join("man1");
    assert_eq!(flyover(&["man", &pages.display().to_string()]).code, 0);
    assert!(pages.join("flyover-port-add.1").exists());
}

fn every_command_answers() {
    let node = Node::start();
    let commands: [&[&str]; 11] = [
        &["status"],
        &["port"],
        &["port", "show"],
        &["port", "pod1"],
        &["-s", "port", "show", "pod1"],
        &["fdb"],
        &["fdb", "show", "dev", "pod1"],
        &["stats", "drops"],
        &["stats", "workers"],
        &["stats", "ports"],
        &["explain", "in=pod1,tcp,src=10.244.1.11,dst=10.244.1.1"],
    ];
    for arguments in commands {
        let text = node.flyover(arguments);
        assert!(text.code == 0 && text.stderr.is_empty() && text.stdout.lines().count() > 0, "{text:?}");
        let json = node.flyover(&[arguments, &["-j"]].concat());
        assert!(!json.array().is_empty(), "{json:?}");
        assert_eq!(json.stdout.lines().count(), 1);
        assert!(node.flyover(&[arguments, &["-j", "-p"]].concat()).stdout.lines().count() > 1);
    }
    let port = &node.flyover(&["-j", "port", "pod1"]).array()[0];
    assert_eq!((&port["ifname"], &port["state"]), (&"pod1".into(), &"up".into()));
    assert_eq!(port["address"], "02:00:00:00:00:11");
    let fdb = node.flyover(&["fdb", "show"]).stdout;
    assert!(fdb.contains("02:00:00:00:00:11 dev pod1 master cni0 permanent\n"), "{fdb}");
    node.flyover(&["port", "show", "nobody"]).assert_failure_naming("nobody");
    // Without an uplink there is no router to ask.
    for arguments in [&["route"][..], &["neigh"]] {
        assert_eq!(node.flyover(&[arguments, &["-j"]].concat()).array(), [""; 0]);
    }
    node.flyover(&["route", "get", "8.8.8.8"]).assert_failure_naming("[uplink]");
    node.flyover(&["route", "add", "10.0.0.0/8", "via", "10.244.1.9"]).assert_failure_naming("`ip route`");
    assert_eq!(node.flyover(&["route", "add", "10.0.0.0/8", "by", "10.244.1.9"]).code, 2);
}

fn a_port_comes_and_goes() {
    let node = Node::start();
    let netns = node.pods[1].path();
    let add = ["port", "add", "pod2", "--netns", &netns, "--device", "eth0", "--address", "10.244.1.12/24"];
    let said = node.flyover(&add);
    assert_eq!((said.code, said.stdout.as_str(), said.stderr.as_str()), (0, "", ""));
    node.flyover(&add).assert_failure_naming("pod2");
    let state = |node: &Node| node.flyover(&["-j", "port", "pod2"]).array()[0]["state"].clone();
    assert_eq!(state(&node), "up");
    let set = node.flyover(&["-j", "port", "set", "pod2", "down"]);
    assert_eq!(set.array()[0]["state"], "down");
    assert_eq!(state(&node), "down");
    assert_eq!(node.flyover(&["port", "set", "pod2", "up"]).code, 0);
    await_some("pod2 to be up again", || (state(&node) == "up").then_some(()));
    assert_eq!(node.flyover(&["port", "del", "pod2"]).code, 0);
    node.flyover(&["port", "show", "pod2"]).assert_failure_naming("pod2");
    node.flyover(&["port", "del", "pod2"]).assert_failure_naming("pod2");
}

fn fdb_entries_come_and_go() {
    let node = Node::start();
    let mac = "02:aa:00:00:00:01";
    assert_eq!(node.flyover(&["fdb", "add", mac, "dev", "pod1"]).code, 0);
    let shown = node.flyover(&["fdb", "dev", "pod1"]).stdout;
    assert!(shown.contains(&format!("{mac} dev pod1 master cni0 static\n")), "{shown}");
    node.flyover(&["fdb", "del", mac, "dev", "cni0"]).assert_failure_naming(mac);
    assert_eq!(node.flyover(&["fdb", "del", mac, "dev", "pod1"]).code, 0);
    node.flyover(&["fdb", "del", mac]).assert_failure_naming(mac);
    assert!(node.flyover(&["-j", "fdb", "flush"]).array()[0]["flushed"].is_u64());
    assert_eq!(node.flyover(&["fdb", "flush", "port", "pod1"]).code, 2);
}

fn status_fails_when_a_port_is_gone() {
    let mut node = Node::start();
    assert_eq!(node.flyover(&["status"]).code, 0);
    let [pod, _] = &mut node.pods;
    let output = Command::new("ip").args(["netns", "delete", &pod.0]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = await_some("a degraded status", || {
        let said = node.flyover(&["status"]);
        (said.code == 1).then_some(said)
    });
    assert!(said.stdout.contains("degraded") && said.stdout.contains("pod1"), "{said:?}");
}

fn a_closed_pipe_is_no_failure() {
    let node = Node::start();
    let mut child = node
        .command(&["-j", "stats", "drops"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(await_end(&mut child).code(), Some(0));
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!(errors, "");
}

/// Frames from pod1: datagrams to an address that nobody has become ARP requests; to the gateway, UDP.
fn send_from_pod1(node: &Node) {
    let mut agent = Command::new(FLYOVER)
        .args(["netns-exec", &node.pods[0].0, "--", "bench-agent"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let request = b"{\"do\":\"send_datagrams\",\"to\":\"10.244.1.1:9\",\"duration_ms\":5}\n";
    // It may refuse (nobody listens there): the frames were sent all the same.
    agent.stdin.take().unwrap().write_all(request).unwrap();
    await_end(&mut agent);
}

fn capture_writes_pcapng_and_lines() {
    let node = Node::start();
    let file = node.directory().join("seen.pcapng").display().to_string();
    let commands: [&[&str]; 3] = [
        &["capture", "-c", "3", "-i", "pod1"],
        &["capture", "-c", "3", "-w", &file],
        &["capture", "-j", "-c", "3", "udp,host=10.244.1.1"],
    ];
    let outputs = commands.map(|arguments| {
        let child = node.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        finish_capture(&node, child)
    });
    let magic = [0x0a, 0x0d, 0x0d, 0x0a];
    assert!(outputs[0].starts_with(&magic), "{:?}", outputs[0]);
    assert!(std::fs::read(&file).unwrap().starts_with(&magic) && outputs[1].is_empty());
    let lines: Vec<serde_json::Value> = outputs[2]
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    assert_eq!(lines.len(), 3, "{}", String::from_utf8_lossy(&outputs[2]));
    assert!(lines.iter().all(|line| line["summary"].as_str().is_some_and(|text| text.contains("UDP"))));
    node.flyover(&["capture", "no-such-word"]).assert_failure_naming("no-such-word");
}

/// Sends until the capture has what it waits for.
fn finish_capture(node: &Node, mut child: std::process::Child) -> Vec<u8> {
    let status = await_some("a capture to end", || {
        send_from_pod1(node);
        child.try_wait().unwrap()
    });
    let output = child.wait_with_output().unwrap();
    assert!(status.success(), "{output:?}");
    output.stdout
}

fn bench_leaves_nothing(subject: &str) {
    let child = Command::new(FLYOVER)
        .args(["bench", subject, "--seconds", "0.2", "--pairs", "1", "-j"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let own = format!("fly-bench-{}-", child.id());
    let said = Said::from(child.wait_with_output().unwrap());
    let report = &said.array()[0];
    let figures = report["figures"].as_array().unwrap();
    assert_eq!((&report["bench"], figures.len()), (&subject.into(), 10), "{said:?}");
    for figure in figures.iter().filter(|figure| figure["figure"] != "loss") {
        assert!(figure["systems"][0]["median"].is_number(), "{figure}");
        assert_eq!(figure["systems"][1]["system"], "kernel_bridge");
    }
    assert!(report["drops"][0]["tx_dropped"].is_u64());
    // Another bench may be at work; the number in the names tells ours.
    assert_eq!(namespaces(&own), [""; 0]);
}
