//! What a frame has to pass before the bridge learns anything from it: stages 1 and 2 of the pipeline.
//!
//! Each pass over a burst is a small loop of its own, so that what it works with stays in registers: one loop
//! for all was a third slower.

use packet::{DropReason, Frame, Layout, Offload};
use switch::Addresses;

use crate::fate::Fate;
use crate::snapshot::{PortEntry, PortRole};

/// Parses all frames.
#[inline(never)]
pub(crate) fn parse(frames: &[Frame], layouts: &mut [Option<Layout>]) {
    for (frame, layout) in frames.iter().zip(layouts) {
        *layout = packet::parse(frame.bytes()).ok();
    }
}

/// Judges the frames of `row`, which came from the port of `entry`, and adds the addresses of each to
/// `addresses`: [`Addresses::NONE`] for one that is not the bridge's, because it is not admitted, and its fate names the
/// reason, or because the port is the uplink.
#[inline(never)]
pub(crate) fn admit(
    row: &[Frame],
    layouts: &[Option<Layout>],
    entry: Option<&PortEntry>,
    fates: &mut [Fate],
    addresses: &mut Vec<Addresses>,
) {
    let Some(entry) = entry.filter(|entry| entry.up) else {
        fates.iter_mut().for_each(|fate| fate.drop_for(DropReason::IngressDown));
        addresses.extend(row.iter().map(|_| Addresses::NONE));
        return;
    };
    let frames = row.iter().zip(layouts).zip(fates);
    let is_bridged = entry.role == PortRole::Bridge;
    addresses.extend(frames.map(|((frame, layout), fate)| match judge(frame, layout.as_ref(), entry) {
        Ok(()) if !is_bridged => Addresses::NONE,
        Ok(()) => Addresses::read(frame.bytes(), frame.ingress).unwrap_or(Addresses::NONE),
        Err(reason) => {
            fate.drop_for(reason);
            Addresses::NONE
        }
    }));
}

#[inline]
fn judge(frame: &Frame, layout: Option<&Layout>, entry: &PortEntry) -> Result<(), DropReason> {
    let Some(layout) = layout else {
        return packet::parse(frame.bytes()).map(|_| ());
    };
    if frame.offload != Offload::NONE {
        packet::validate_offload(frame.bytes(), layout, frame.offload)?;
    }
    entry.binding.as_ref().map_or(Ok(()), |binding| binding.check(frame.bytes(), layout))
}
