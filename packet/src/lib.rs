//! What the bytes mean.
//!
//! Everything in this crate is a plain value: no I/O, no clock, no thread, no `unsafe`. Hostile bytes lead
//! to a verdict ([`DropReason`], [`Layout`] with a malformed layer), never to a panic.
//!
//! - [`Frame`], [`Burst`], [`Buffer`], [`BufferPool`]: how frames travel through a worker.
//! - [`parse()`], [`Layout`], [`FiveTuple`]: where the headers lie, and which flow the frame belongs to.
//! - [`ethernet`], [`arp`], [`ipv4`], [`ipv6`], [`icmp`], [`icmpv6`], [`tcp`], [`udp`], [`sctp`], [`dhcp`]:
//!   checked views of one header each.
//! - [`edit`], [`checksum`], [`segment`], [`build`]: changing, finishing, cutting and making frames.
//! - [`Offload`], [`validate_offload`]: what the sender of a frame left to do (checksum, segmentation).
#![forbid(unsafe_code)]

pub mod arp;
mod buffer;
pub mod build;
mod burst;
pub mod checksum;
pub mod coalesce;
pub mod dhcp;
mod drop_reason;
pub mod edit;
pub mod ethernet;
mod five_tuple;
mod frame;
pub mod icmp;
pub mod icmpv6;
pub mod ipv4;
pub mod ipv6;
pub mod keyed_hash;
mod layout;
mod mac;
mod offload;
mod parse;
mod port_id;
pub mod protocol;
mod random;
pub mod sctp;
pub mod segment;
pub mod tcp;
pub mod udp;
mod validate;

pub use buffer::{BUFFER_BYTES, Buffer, BufferPool, FRAME_BYTES_MAX, HEADROOM_BYTES};
pub use burst::{BURST_BYTES, BURST_FRAMES, Burst};
pub use drop_reason::{DropReason, Stage};
pub use five_tuple::FiveTuple;
pub use frame::Frame;
pub use layout::{Fragment, Layout, Network, Transport};
pub use mac::{MacAddress, ParseMacError};
pub use offload::{
    ChecksumOffload, Offload, OffloadError, Offloads, Segmentation, SegmentationKind, VNET_HEADER_BYTES,
};
pub use parse::{EXTENSION_BYTES_MAX, EXTENSION_HEADERS_MAX, parse};
pub use port_id::{PORTS_MAX, PortId};
pub use random::Random;
pub use validate::{TCP_SEGMENT_BYTES_MIN, UDP_SEGMENTS_MAX, validate_offload};
