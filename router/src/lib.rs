//! Which next hop?
//!
//! Everything in this crate is a plain value: no I/O, no clock of its own, no thread, no `unsafe`. Time and
//! randomness are arguments. Hostile bytes lead to a verdict, never to a panic.
//!
//! - [`rib`]: the routes known, from all sources. [`fib`]: the same compiled, as the workers read them, over
//!   [`lpm`], the longest-prefix-match table, and [`next_hop`], the choice among several.
//! - [`validate`]: may the packet be forwarded at all?
//! - [`gateway`]: what the gateway answers itself. [`neighbor`]: who is at which MAC.
//! - [`fragment`]: does it fit, and if not, how is it cut? [`icmp_error`], [`rate_limit`]: what its sender is told,
//!   and how often.
#![forbid(unsafe_code)]

pub mod fib;
pub mod fragment;
pub mod gateway;
pub mod icmp_error;
pub mod lpm;
pub mod neighbor;
pub mod next_hop;
pub mod rate_limit;
pub mod rib;
#[cfg(test)]
mod test_frames;
pub mod validate;
