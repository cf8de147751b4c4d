//! Packet sockets on veth pairs between network namespaces, through both engines.
#![expect(clippy::unwrap_used, reason = "a test")]

mod filter;
mod frames;
mod life;
mod rig;

use std::process::ExitCode;

use e2e::{Test, run_root_tests};
use port::EngineKind;

/// What checks a claim.
type Body = fn(EngineKind);

fn both_engines(claim: &str, body: Body) -> [Test; 2] {
    [(EngineKind::Uring, "io_uring"), (EngineKind::Epoll, "epoll")]
        .map(|(kind, name)| Test::new(format!("{claim}__{name}"), move || body(kind)))
}

fn main() -> ExitCode {
    let mut tests = vec![
        Test::new("what_is_not_there_is_named", life::named_errors),
        Test::new("nothing_of_the_device_is_changed", life::device_is_left_alone),
        Test::new("a_filter_too_long_is_refused_by_name", filter::named_errors),
    ];
    let both: [(&str, Body); 18] = [
        ("frames_pass_byte_for_byte", frames::byte_for_byte),
        ("a_macvlan_passes_frames_for_any_mac", frames::macvlan),
        ("a_tagged_frame_keeps_its_tags", frames::tags),
        ("an_unfinished_checksum_moves_with_its_tag", frames::unfinished_tagged),
        ("super_frames_pass_whole_in_both_directions", frames::super_frames),
        ("what_leaves_by_the_device_is_not_heard", frames::outgoing),
        ("a_frame_above_the_device_s_mtu_is_dropped_by_name", frames::too_long),
        ("a_super_frame_that_cannot_be_described_harms_nobody", frames::undescribable),
        ("hostile_frames_pass_or_have_a_name", frames::hostile),
        ("a_link_that_is_down_is_quiet_until_revived", life::link_down),
        ("a_device_that_was_removed_can_be_opened_anew", life::removed),
        ("what_does_not_fit_is_counted", life::full),
        ("workers_share_the_frames_by_flow", life::shared),
        ("a_device_that_is_down_can_be_opened", life::opened_while_down),
        ("a_filter_lets_pass_what_is_asked_for_and_nothing_else", filter::only_what_is_asked_for),
        ("a_filter_changes_while_the_port_is_open", filter::changed_while_open),
        ("nothing_slips_in_before_the_filter", filter::nothing_slips_in),
        ("super_frames_pass_a_filter_whole", filter::super_frames),
    ];
    tests.extend(both.into_iter().flat_map(|(claim, body)| both_engines(claim, body)));
    run_root_tests(2, tests)
}
