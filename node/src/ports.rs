//! The life of a port, as decisions without I/O: what to do when the configuration changes ([`plan`]), when
//! a device fails and comes back ([`lifecycle`]), and which number a port gets ([`numbers`]).

pub mod lifecycle;
pub mod numbers;
pub mod plan;
