//! What can be typed, and what cannot.

use super::*;
use clap::CommandFactory;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split(' '))
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn show_is_what_port_and_fdb_do_without_a_verb() {
    let Command::Port { action: None, name } = parse("flyover port pod1").unwrap().command else {
        panic!("not a bare port");
    };
    assert_eq!(name.as_deref(), Some("pod1"));
    let Command::Fdb { action: None, device } = parse("flyover fdb dev pod1").unwrap().command else {
        panic!("not a bare fdb");
    };
    assert_eq!(device.port().unwrap(), Some("pod1"));
    let Command::Fdb { action: Some(FdbAction::Show { device }), .. } =
        parse("flyover fdb show").unwrap().command
    else {
        panic!("not fdb show");
    };
    assert_eq!(device.port().unwrap(), None);
}

#[test]
fn iproute2_words_are_checked() {
    let Command::Fdb { action: Some(FdbAction::Add { mac, device }), .. } =
        parse("flyover fdb add 02:00:00:00:00:0A dev pod1").unwrap().command
    else {
        panic!("not fdb add");
    };
    assert_eq!((mac.as_str(), device.port().unwrap()), ("02:00:00:00:00:0a", "pod1"));
    assert!(parse("flyover fdb add 02:00:00:00:00:0A").is_err());
    let Command::Fdb { device, .. } = parse("flyover fdb port pod1").unwrap().command else {
        panic!("not fdb");
    };
    assert!(device.port().is_err());
}

#[test]
fn routes_and_neighbors_are_spoken_of_as_with_ip() {
    for line in [
        "flyover route",
        "flyover route show --all",
        "flyover route ls",
        "flyover route get fd00::1",
        "flyover route add default via 192.168.0.1 dev eth0 metric 5",
        "flyover route add blackhole 10.0.0.0/8",
        "flyover route delete 10.0.0.0/8",
        "flyover neigh",
        "flyover neigh dev eth0",
        "flyover neighbor show dev eth0",
        "flyover neigh flush",
        "flyover explain in=a,tcp,src=10.0.0.1,dst=10.0.0.2",
    ] {
        parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
    for line in ["flyover route add", "flyover route get nowhere", "flyover route del", "flyover explain"] {
        assert_eq!(parse(line).expect_err(line).exit_code(), 2, "{line}");
    }
}

#[test]
fn global_options_may_stand_anywhere() {
    let cli = parse("flyover port show -j -s --socket /x").unwrap();
    assert!(cli.global.json && cli.global.statistics && !cli.global.pretty);
    assert_eq!(cli.global.socket, PathBuf::from("/x"));
    assert!(parse("flyover -j -p status").unwrap().global.pretty);
}

#[test]
fn wrong_values_are_usage_errors() {
    for line in [
        "flyover",
        "flyover port add x --mac 02:00",
        "flyover port add x --address 10.0.0.1",
        "flyover port add x --address 10.0.0.1/33",
        "flyover port set x sideways",
        "flyover stats weather",
        "flyover lab --keep --down",
        "flyover bench pods --pairs 0",
        "flyover bench pods --seconds -1",
    ] {
        let error = parse(line).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}

#[test]
fn the_version_has_the_documented_form() {
    let error = parse("flyover --version").expect_err("prints the version");
    assert_eq!(error.to_string(), format!("flyover {}\n", env!("CARGO_PKG_VERSION")));
}
