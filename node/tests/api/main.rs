//! The control API as a client meets it: real workers, the real server on a real socket, simulated devices.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod explain;
mod forwarding;
mod http;
mod life;
mod ports;
mod rig;
mod routing;
