//! What the bytes mean.
//!
//! Everything in this crate is a plain value: no I/O, no clock, no thread, no `unsafe`. Hostile bytes lead
//! to a verdict ([`DropReason`], [`Layout`] with a malformed layer), never to a panic.
//!
//! - [`Frame`], [`Burst`], [`Buffer`], [`BufferPool`]: how frames travel through a worker.
//! - [`Offload`]: what the sender of a frame left to do (checksum, segmentation).
#![forbid(unsafe_code)]

mod buffer;
mod burst;
mod drop_reason;
mod frame;
mod layout;
mod mac;
mod offload;
mod port_id;

pub use buffer::{BUFFER_BYTES, Buffer, BufferPool, FRAME_BYTES_MAX, HEADROOM_BYTES};
pub use burst::{BURST_BYTES, BURST_FRAMES, Burst};
pub use drop_reason::{DropReason, Stage};
pub use frame::Frame;
pub use layout::{Fragment, Layout, Network, Transport};
pub use mac::{MacAddress, ParseMacError};
pub use offload::{
    ChecksumOffload, Offload, OffloadError, Offloads, Segmentation, SegmentationKind, VNET_HEADER_BYTES,
};
pub use port_id::{PORTS_MAX, PortId};
