//! Traffic programs of our own, so that `flyover lab` and `flyover bench` need nothing installed.
//!
//! An [`agent`] is a child process in a network namespace. It is the same binary, started as
//! `flyover netns-exec NAMESPACE -- bench-agent`, and is spoken to in JSON lines over its standard input
//! and output ([`protocol`], [`handle`]). It serves what others call (in threads of its own) and does one
//! call at a time: bulk TCP ([`bulk`]), small UDP datagrams ([`datagrams`]), ping-pong and connections
//! ([`calls`]). When its standard input ends, or its parent dies, it ends.

pub(crate) mod agent;
mod bulk;
mod calls;
mod datagrams;
pub(crate) mod handle;
mod protocol;
mod socket;

pub(crate) use handle::Agent;
