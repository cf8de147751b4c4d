//! What ARCHITECTURE.md promises about the shape of the source, held by a test.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use e2e::router::ROUTER_DIFFERENCES;
use e2e::script::ALLOWED_DIFFERENCES;
use e2e::workspace::{assert_document, code_of, dependencies, read, rust_files};
use packet::DropReason;

/// Who may depend on whom. Houses that stand beside the product (`benches`, `e2e`) may use everything.
const HOUSES: &[(&str, &[&str])] = &[
    ("packet", &[]),
    ("port", &["packet"]),
    ("switch", &["packet"]),
    ("router", &["packet"]),
    ("dataplane", &["packet", "port", "switch", "router"]),
    ("node", &["packet", "port", "switch", "router", "dataplane"]),
    ("tools", &["packet", "port", "dataplane", "node"]),
];
const OUTSIDE: &[&str] = &["benches", "e2e"];

/// Crates whose every file the compiler keeps free of `unsafe`.
const FREE_OF_UNSAFE: &[&str] = &["packet", "switch", "router", "dataplane", "node", "tools"];
/// Where `unsafe` may stand, each with the reason.
const MAY_BE_UNSAFE: &[(&str, &str)] = &[
    (
        "port/src/sys/",
        "system calls that no crate wraps: TAP ioctls, packet sockets, io_uring with buffers that the kernel holds",
    ),
    ("e2e/src/sys.rs", "AF_PACKET sockets for frames byte for byte"),
    ("benches/", "measures, is not part of the product"),
    ("packet/tests/", "a counting allocator can only be written with unsafe"),
    ("switch/tests/", "a counting allocator can only be written with unsafe"),
    ("dataplane/tests/", "a counting allocator can only be written with unsafe"),
];

const LINES_MAX: usize = 600;

#[test]
fn houses_use_only_what_the_table_allows() {
    let used = dependencies(&[None, Some("build")]);
    let known: BTreeSet<_> = HOUSES.iter().map(|(house, _)| *house).chain(OUTSIDE.iter().copied()).collect();
    for (house, uses) in &used {
        assert!(known.contains(house.as_str()), "{house} is not in the table of houses");
        if let Some((_, allowed)) = HOUSES.iter().find(|(name, _)| name == house) {
            for other in uses {
                assert!(allowed.contains(&other.as_str()), "{house} must not depend on {other}");
            }
        }
    }
}

#[test]
fn the_switch_does_not_know_ports_even_in_its_tests() {
    let used = dependencies(&[None, Some("build"), Some("dev")]);
    for house in ["switch", "router", "packet"] {
        for other in ["port", "dataplane", "node", "tools"] {
            assert!(!used[house].contains(other), "{house} must not depend on {other}");
        }
    }
}

/// Tests may use the rig of `e2e`.
#[test]
fn the_product_does_not_depend_on_what_stands_beside_it() {
    for (house, uses) in dependencies(&[None, Some("build")]) {
        for beside in OUTSIDE {
            assert!(!uses.contains(*beside), "{house} must not depend on {beside}");
        }
    }
}

#[test]
fn crates_that_decide_forbid_unsafe_code() {
    for house in FREE_OF_UNSAFE {
        for root in ["lib.rs", "main.rs"].map(|file| Path::new(house).join("src").join(file)) {
            if rust_files().contains(&root) {
                let forbids = read(&root).lines().any(|line| line.trim() == "#![forbid(unsafe_code)]");
                assert!(forbids, "{} lacks #![forbid(unsafe_code)]", root.display());
            }
        }
    }
}

#[test]
fn unsafe_stands_only_where_it_is_fenced() {
    for file in rust_files() {
        let fenced = MAY_BE_UNSAFE.iter().any(|(place, _)| file.starts_with(place.trim_end_matches('/')));
        let code = code_of(&read(&file));
        let mut words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
        assert!(fenced || !words.any(|word| word == "unsafe"), "{} says unsafe", file.display());
    }
}

#[test]
fn no_file_outgrows_its_question() {
    for file in rust_files() {
        let lines = read(&file).lines().count();
        assert!(lines <= LINES_MAX, "{} has {lines} lines, more than {LINES_MAX}", file.display());
    }
}

#[test]
fn nothing_is_left_for_later_or_hidden_from_the_compiler() {
    let marks = ["todo!(", "unimplemented!(", "#[ignore", "dbg!(", "allow(dead_code", "allow(unused"];
    for file in rust_files() {
        let code = code_of(&read(&file));
        for mark in marks {
            assert!(!code.contains(mark), "{} contains {mark}", file.display());
        }
    }
}

#[test]
fn the_switch_has_no_clock_of_its_own() {
    let houses = ["switch/src", "router/src", "packet/src"];
    for file in rust_files().iter().filter(|file| houses.iter().any(|house| file.starts_with(house))) {
        let code = code_of(&read(file));
        for word in
            ["Instant::now", "SystemTime", "std::fs", "std::net::Tcp", "std::net::Udp", "thread::spawn"]
        {
            // Unit tests below the code may start threads.
            let product = code.split("#[cfg(test)]").next().unwrap_or_default();
            assert!(!product.contains(word), "{} uses {word}", file.display());
        }
    }
}

#[test]
fn the_table_of_drop_reasons_is_up_to_date() {
    let mut text = String::from(
        "# Why a frame was dropped\n\n\
         `flyover stats drops` shows how many frames were dropped for each of these reasons. The list is closed: for\n\
         every worker, received = forwarded + consumed + dropped, exactly. This page is written by a test from\n\
         `packet/src/drop_reason.rs`.\n\n\
         | reason | stage | meaning |\n|---|---|---|\n",
    );
    for reason in DropReason::ALL {
        let _ = writeln!(text, "| `{}` | {} | {} |", reason.name(), reason.stage().name(), reason.help());
    }
    assert_document("docs/drops.md", &text);
}

/// A row of a table whose first column is a name.
fn add_row(text: &mut String, [name, linux, flyover, reason]: [&str; 4]) {
    let _ = writeln!(text, "| `{name}` | {linux} | {flyover} | {reason} |");
}

#[test]
fn the_tables_of_differences_from_linux_are_up_to_date() {
    let mut text = String::from(
        "# Where flyover differs from a Linux bridge\n\n\
         The differential test (`e2e/tests/root_differential.rs`) sends the same frames through flyover and through\n\
         a Linux bridge set up as cni0 is (STP off, multicast snooping on without a querier, netfilter hooks off) and\n\
         compares what each port receives. These are the only differences that it allows; this page is written from\n\
         the test's own table.\n\n\
         | name | Linux bridge | flyover | why |\n|---|---|---|---|\n",
    );
    for difference in ALLOWED_DIFFERENCES {
        add_row(&mut text, [difference.name, difference.linux, difference.flyover, difference.reason]);
    }
    text.push_str(
        "\nBy design, and not compared there: ports with addresses are bound to their MAC and addresses (`anti_spoof`),\n\
         a port learns at most `max_macs_per_port` addresses, the gateway's MAC is static, and a full table evicts\n\
         from the port that has learned most.\n",
    );
    text.push_str(
        "\n# Where flyover differs from the kernel as a router\n\n\
         The differential test of the router (`e2e/tests/root_router_differential`) sends the same frames through\n\
         flyover's data plane and through a kernel with a bridge, an uplink and the same routes and neighbors, set up as a\n\
         node's is (`rp_filter` strict, no redirects, no source routes, forwarding on), and compares what each sends. These\n\
         are the only differences that it allows.\n\n\
         | name | Linux | flyover | why |\n|---|---|---|---|\n",
    );
    for difference in ROUTER_DIFFERENCES {
        add_row(&mut text, [difference.name, difference.linux, difference.flyover, difference.reason]);
    }
    text.push_str(
        "\nBy design, and not compared there: how often errors and answers are sent (docs/conformance.md, §4.3.2.8), which\n\
         of several equal next hops a flow takes, the subnet-router anycast address, which the kernel answers for, and the\n\
         time between questions, of which only the number and the order are compared.\n",
    );
    assert_document("docs/differences.md", &text);
}
