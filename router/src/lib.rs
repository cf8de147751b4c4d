//! Which next hop?
//!
//! Everything in this crate is a plain value: no I/O, no clock of its own, no thread, no `unsafe`. Time and
//! randomness are arguments. Hostile bytes lead to a verdict, never to a panic.
#![forbid(unsafe_code)]

pub mod lpm;
