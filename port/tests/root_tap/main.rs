//! TAP devices in network namespaces, and frames through both engines with the kernel at the other end.
#![expect(clippy::unwrap_used, reason = "a test")]

mod device;
mod faults;
mod frames;
mod rig;

use std::io::ErrorKind;
use std::process::ExitCode;

use e2e::{Test, run_root_tests};
use port::{EngineKind, PortSet};

fn both_engines(claim: &str, body: fn(EngineKind)) -> [Test; 2] {
    [(EngineKind::Uring, "io_uring"), (EngineKind::Epoll, "epoll")]
        .map(|(kind, name)| Test::new(format!("{claim}__{name}"), move || body(kind)).unless(missing(kind)))
}

/// What the kernel lacks for this engine, if it lacks something.
fn missing(engine: EngineKind) -> Option<String> {
    let error = PortSet::new(engine, 1).err()?;
    (error.kind() == ErrorKind::Unsupported).then(|| format!("needs a kernel with more: {error}"))
}

fn main() -> ExitCode {
    let mut tests = vec![
        Test::new("a_device_is_made_as_configured", device::made_as_configured),
        Test::new("a_persistent_device_is_adopted_with_all_it_has", device::adopted),
        Test::new("a_device_that_is_not_persistent_goes_with_its_queue", device::not_persistent),
        Test::new("a_name_that_something_else_has_is_refused", device::name_taken),
        Test::new("a_device_in_use_is_refused_until_it_is_free", device::in_use),
        Test::new("a_device_that_cannot_be_configured_is_removed_again", device::removed_on_failure),
        Test::new("a_gateway_outside_all_subnets_is_reached_on_link", device::gateway_on_link),
        Test::new("adding_a_device_takes_less_than_20_ms", device::quickly_added),
        Test::new("a_namespace_that_is_deleted_is_missing", faults::namespace_deleted),
        Test::new("a_ring_that_holds_a_fraction_of_a_burst_loses_nothing", frames::by_a_small_ring)
            .unless(missing(EngineKind::Uring)),
    ];
    tests.extend(both_engines("frames_keep_their_order_in_both_directions", frames::in_order));
    tests.extend(both_engines("a_super_frame_passes_whole", frames::super_frames));
    tests.extend(both_engines("a_flooding_port_does_not_starve_another", frames::fair));
    tests.extend(both_engines("a_hundred_ports_come_and_go_without_a_trace", frames::many_ports));
    tests.extend(both_engines("a_set_can_be_dropped_under_load", frames::dropped_under_load));
    tests.extend(both_engines("a_sleeping_worker_wakes_for_a_frame", frames::wakes));
    tests.extend(both_engines("a_link_that_is_down_is_quiet_until_revived", faults::link_down));
    tests.extend(both_engines("a_device_that_is_removed_is_gone_and_costs_nothing", faults::device_removed));
    run_root_tests(2, tests)
}
