//! What the daemon says, as text for people and awk. Every function is pure: API types in, text out.

mod fdb;
mod ports;
mod routing;
mod stats;
mod status;

pub(crate) use fdb::fdb;
pub(crate) use ports::ports;
pub(crate) use routing::{explanation, neighbors, route_answer, routes};
pub(crate) use stats::{drops, port_stats, workers};
pub(crate) use status::status;
