//! What lab and bench need of the machine: network namespaces, child processes in them, a daemon, the
//! clock of the CPUs, and a way to stop that removes everything.

mod cpu;
mod daemon;
mod interrupt;
mod namespace;
mod process;

pub(crate) use cpu::{CpuTimes, CpuUse};
pub(crate) use daemon::{Daemon, stop_kept};
pub(crate) use interrupt::{Interrupted, check as check_interrupt, install as install_interrupt};
pub(crate) use namespace::{Namespace, existing, ip_json, remove, require_root};
pub(crate) use process::{Lifetime, Process, enter_and_execute};
