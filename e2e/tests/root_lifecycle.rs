//! Daemon, ports and namespaces come and go.

use std::io::{Read, Write};
use std::process::{Command, ExitCode};

use e2e::{
    Daemon, Plan, Pod, Rig, Test, Trickle, connect, exchange, flyover_binary, ping, run_root_tests,
    wait_until,
};
use rustix::process::Signal;

fn assert_none_lost(what: &str, trickle: Trickle) {
    let (sent, heard) = trickle.finish();
    assert_eq!(sent, heard, "{what}: datagrams sent and heard");
}

fn ports_come_and_go_under_traffic_without_loss_to_others(workers: usize) {
    let rig = Rig::start(&Plan::new(workers, 2));
    let [near, far] = &rig.pods[..] else { unreachable!("two pods were asked for") };
    let trickles = far.addresses().map(|to| Trickle::start(&near.namespace, &far.namespace, to));
    for round in 0..3 {
        let guests: Vec<_> = (2..7).map(|index| Pod::new(index, false)).collect();
        for guest in &guests {
            rig.succeed(&guest.add_arguments());
            assert!(ping(&guest.namespace, near.v4.into(), 56), "round {round}: {} to p0", guest.port);
            assert!(ping(&far.namespace, guest.v6.into(), 56), "round {round}: p1 to {}", guest.port);
        }
        for guest in &guests {
            rig.succeed(&["port", "del", &guest.port]);
            assert_eq!(rig.port(&guest.port), None);
        }
    }
    for trickle in trickles {
        assert_none_lost("while ports came and went", trickle);
    }
    rig.assert_every_frame_is_accounted_for();
}

fn a_port_set_down_is_silent_until_it_is_set_up(workers: usize) {
    let rig = Rig::start(&Plan::new(workers, 2));
    let [near, far] = &rig.pods[..] else { unreachable!("two pods were asked for") };
    assert!(ping(&near.namespace, far.v4.into(), 56));
    rig.succeed(&["port", "set", "p1", "down"]);
    assert!(!ping(&near.namespace, far.v4.into(), 56));
    rig.succeed(&["port", "set", "p1", "up"]);
    wait_until("p1 answers again", || ping(&near.namespace, far.v4.into(), 56).then_some(()));
}

fn is_down_or_gone(rig: &Rig, port: &str) -> Option<()> {
    rig.port(port).is_none_or(|row| row["operstate"] != "UP").then_some(())
}

fn a_deleted_namespace_harms_its_own_port_only(workers: usize) {
    let rig = Rig::start(&Plan::new(workers, 3));
    let [near, far, doomed] = &rig.pods[..] else { unreachable!("three pods were asked for") };
    assert!(ping(&doomed.namespace, near.v4.into(), 56));
    let trickle = Trickle::start(&near.namespace, &far.namespace, far.v4.into());
    doomed.namespace.delete();
    wait_until("p2 is reported down or is reaped", || is_down_or_gone(&rig, "p2"));
    assert!(ping(&near.namespace, far.v6.into(), 56));
    assert_none_lost("while a namespace was deleted", trickle);
    rig.assert_every_frame_is_accounted_for();
}

fn a_removed_device_harms_its_own_port_only(workers: usize) {
    let rig = Rig::start(&Plan::new(workers, 3));
    let [near, far, doomed] = &rig.pods[..] else { unreachable!("three pods were asked for") };
    let trickle = Trickle::start(&near.namespace, &far.namespace, far.v4.into());
    doomed.namespace.ip("link del eth0");
    wait_until("p2 is reported down or is reaped", || is_down_or_gone(&rig, "p2"));
    assert_none_lost("while a device was removed", trickle);
}

fn a_link_that_goes_down_and_up_carries_traffic_again(workers: usize) {
    let rig = Rig::start(&Plan::new(workers, 3));
    let [near, far, other] = &rig.pods[..] else { unreachable!("three pods were asked for") };
    assert!(ping(&near.namespace, far.v4.into(), 56));
    let trickle = Trickle::start(&near.namespace, &other.namespace, other.v4.into());
    for _ in 0..3 {
        far.namespace.ip("link set eth0 down");
        wait_until("p1 is reported down", || is_down_or_gone(&rig, "p1"));
        assert!(!ping(&near.namespace, far.v4.into(), 56));
        far.namespace.ip("link set eth0 up");
        wait_until("p1 answers again", || ping(&near.namespace, far.v4.into(), 56).then_some(()));
    }
    assert_none_lost("while a link went down and up", trickle);
    rig.assert_every_frame_is_accounted_for();
}

/// All that a pod could notice of its device: index, MAC, MTU, addresses, routes.
fn identity(pod: &Pod) -> [String; 3] {
    let link = pod.namespace.ip("-o link show dev eth0");
    let index_and_mac =
        link.split_whitespace().filter(|word| word.contains(':')).collect::<Vec<_>>().join(" ");
    [index_and_mac, pod.namespace.ip("-o -4 addr show dev eth0"), pod.namespace.ip("route show")]
}

fn a_killed_daemon_comes_back_to_what_it_left(workers: usize) {
    let mut rig = Rig::start(&Plan::new(workers, 2));
    let guest = Pod::new(7, false);
    rig.succeed(&guest.add_arguments());
    let (mut near, mut far) = connect(&rig.pods[0].namespace, &rig.pods[1].namespace, rig.pods[1].v4.into());
    let (near6, far6) = connect(&guest.namespace, &rig.pods[0].namespace, rig.pods[0].v6.into());
    let (host, pod) = connect(&rig.host, &guest.namespace, guest.v4.into());
    exchange(&near, &far);
    let before: Vec<_> = rig.pods.iter().chain([&guest]).map(identity).collect();
    for _ in 0..3 {
        rig.daemon_mut().kill();
        near.write_all(b"said while nobody forwards").expect("the socket takes it");
        let without: Vec<_> = rig.pods.iter().chain([&guest]).map(|pod| identity(pod)[1].clone()).collect();
        assert!(without.iter().zip(&before).all(|(now, before)| *now == before[1]), "addresses stay");
        rig.start_daemon();
        let mut heard = [0; 26];
        far.read_exact(&mut heard).expect("it arrives after the restart");
        assert_eq!(&heard, b"said while nobody forwards");
        exchange(&near, &far);
        exchange(&near6, &far6);
        exchange(&host, &pod);
        let after: Vec<_> = rig.pods.iter().chain([&guest]).map(identity).collect();
        assert_eq!(before, after);
        assert!(rig.port(&guest.port).is_some(), "the port added by the API is back");
    }
    rig.assert_every_frame_is_accounted_for();
}

fn a_stopped_daemon_leaves_pods_their_devices(workers: usize) {
    let mut rig = Rig::start(&Plan::new(workers, 2));
    let (near, far) = connect(&rig.pods[0].namespace, &rig.pods[1].namespace, rig.pods[1].v6.into());
    exchange(&near, &far);
    let before: Vec<_> = rig.pods.iter().map(identity).collect();
    rig.daemon().signal(Signal::TERM);
    let status = rig.daemon_mut().await_exit();
    assert!(status.success(), "after SIGTERM: {status}");
    rig.start_daemon();
    exchange(&near, &far);
    assert_eq!(before, rig.pods.iter().map(identity).collect::<Vec<_>>());
}

fn a_suspended_daemon_goes_on_where_it_was(workers: usize) {
    let rig = Rig::start(&Plan::new(workers, 2));
    let (mut near, mut far) = connect(&rig.pods[0].namespace, &rig.pods[1].namespace, rig.pods[1].v4.into());
    exchange(&near, &far);
    rig.daemon().signal(Signal::STOP);
    near.write_all(b"said meanwhile").expect("the socket takes it");
    assert!(!ping(&rig.pods[0].namespace, rig.pods[1].v4.into(), 56), "nobody forwards now");
    rig.daemon().signal(Signal::CONT);
    let mut heard = [0; 14];
    far.read_exact(&mut heard).expect("it arrives");
    exchange(&near, &far);
    assert!(ping(&rig.pods[0].namespace, rig.pods[1].v6.into(), 56));
    assert!(rig.flyover(&["status"]).stderr.is_empty());
}

fn a_second_daemon_on_the_same_state_refuses_to_start() {
    let rig = Rig::start(&Plan::new(1, 1));
    let mut second = Daemon::spawn(&rig.host, rig.directory());
    let status = second.await_exit();
    assert!(!status.success(), "the second daemon ended with {status}");
    assert!(ping(&rig.pods[0].namespace, Rig::GATEWAYS[0], 56), "the first goes on");
    rig.succeed(&["port", "show"]);
}

fn reloading_takes_up_what_changed_and_refuses_what_is_wrong() {
    let plan = Plan::new(1, 2);
    let rig = Rig::start(&plan);
    let valid = rig.configuration(&plan);
    let trickle = Trickle::start(&rig.pods[0].namespace, &rig.pods[1].namespace, rig.pods[1].v4.into());
    let ports = rig.json(&["port", "show"]).as_array().map(Vec::len);

    rig.write_configuration(&format!("{valid}\nno_such_key = 1\n"));
    rig.daemon().signal(Signal::HUP);
    wait_until("the unknown key is reported", || rig.daemon().log().contains("no_such_key").then_some(()));
    assert_eq!(rig.json(&["port", "show"]).as_array().map(Vec::len), ports);

    let guest = Pod::new(5, false);
    let added = format!(
        "{valid}\n[[port]]\nname = \"{}\"\ntype = \"tap\"\nnetns = \"{}\"\ndevice = \"eth0\"\n\
         addresses = [\"{}/24\"]\n",
        guest.port,
        guest.namespace.path().display(),
        guest.v4
    );
    rig.write_configuration(&added);
    rig.daemon().signal(Signal::HUP);
    wait_until("the new port is there", || rig.port(&guest.port));
    assert!(ping(&guest.namespace, rig.pods[0].v4.into(), 56));

    rig.write_configuration(&valid);
    rig.daemon().signal(Signal::HUP);
    wait_until("the port is gone again", || rig.port(&guest.port).is_none().then_some(()));
    assert_none_lost("while the configuration was read again", trickle);
}

fn a_wrong_configuration_names_line_and_key() {
    let plan = Plan::new(1, 0);
    let rig = Rig::prepare(&plan);
    let path = rig.configuration_path().display().to_string();
    assert_eq!(rig.flyover(&["check-config", &path]).code, Some(0));
    let wrong = rig.configuration(&plan).replace("mtu = 1500", "mut = 1500");
    let line = wrong.lines().position(|line| line.starts_with("mut")).expect("the line is there") + 1;
    rig.write_configuration(&wrong);
    let output = rig.flyover(&["check-config", &path]);
    assert_eq!(output.code, Some(1));
    assert!(output.stderr.contains("mut"), "the key is named: {}", output.stderr);
    assert!(output.stderr.contains(&line.to_string()), "line {line} is named: {}", output.stderr);
    let mut daemon = Daemon::spawn(&rig.host, rig.directory());
    assert!(!daemon.await_exit().success());
    assert!(daemon.log().contains("mut"), "{}", daemon.log());
}

fn commands_without_a_daemon_name_the_socket() {
    let rig = Rig::prepare(&Plan::new(1, 0));
    let output = rig.flyover(&["status"]);
    assert_eq!(output.code, Some(1));
    assert!(output.stderr.contains(&rig.socket().display().to_string()), "{}", output.stderr);
    assert_eq!(output.stderr.trim_end().lines().count(), 1, "{}", output.stderr);
    assert_eq!(rig.flyover(&["no-such-command"]).code, Some(2));
}

fn without_rights_the_missing_capability_is_named() {
    let rig = Rig::prepare(&Plan::new(1, 1));
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"]);
    command.arg(flyover_binary()).arg("run").arg("--config").arg(rig.configuration_path());
    let output = rig.host.run(|| command.output()).expect("setpriv can be run");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(errors.contains("CAP_NET_ADMIN") || errors.contains("CAP_SYS_ADMIN"), "{errors}");
}

fn main() -> ExitCode {
    let both = Test::with_one_and_two_workers;
    let mut tests: Vec<Test> = [
        both(
            "ports_come_and_go_under_traffic_without_loss_to_others",
            ports_come_and_go_under_traffic_without_loss_to_others,
        ),
        both("a_port_set_down_is_silent_until_it_is_set_up", a_port_set_down_is_silent_until_it_is_set_up),
        both("a_deleted_namespace_harms_its_own_port_only", a_deleted_namespace_harms_its_own_port_only),
        both("a_removed_device_harms_its_own_port_only", a_removed_device_harms_its_own_port_only),
        both(
            "a_link_that_goes_down_and_up_carries_traffic_again",
            a_link_that_goes_down_and_up_carries_traffic_again,
        ),
        both("a_killed_daemon_comes_back_to_what_it_left", a_killed_daemon_comes_back_to_what_it_left),
        both("a_stopped_daemon_leaves_pods_their_devices", a_stopped_daemon_leaves_pods_their_devices),
        both("a_suspended_daemon_goes_on_where_it_was", a_suspended_daemon_goes_on_where_it_was),
    ]
    .into_iter()
    .flatten()
    .collect();
    tests.extend([
        Test::new(
            "a_second_daemon_on_the_same_state_refuses_to_start",
            a_second_daemon_on_the_same_state_refuses_to_start,
        ),
        Test::new(
            "reloading_takes_up_what_changed_and_refuses_what_is_wrong",
            reloading_takes_up_what_changed_and_refuses_what_is_wrong,
        ),
        Test::new("a_wrong_configuration_names_line_and_key", a_wrong_configuration_names_line_and_key),
        Test::new("commands_without_a_daemon_name_the_socket", commands_without_a_daemon_name_the_socket),
        Test::new(
            "without_rights_the_missing_capability_is_named",
            without_rights_the_missing_capability_is_named,
        )
        .needing("setpriv"),
    ]);
    run_root_tests(2, tests)
}
