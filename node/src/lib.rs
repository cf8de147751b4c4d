//! What the operator wants: configuration, the life cycle of ports, state that survives a restart, and the
//! control API.
#![forbid(unsafe_code)]

pub mod api;
pub mod client;
pub mod config;
pub mod control;
pub mod daemon;
pub mod devices;
pub mod explain;
pub mod filter;
pub mod host;
pub mod identity;
pub mod ingress_rule;
pub mod kernel;
pub mod limit;
pub mod ports;
pub mod router;
pub mod state;
