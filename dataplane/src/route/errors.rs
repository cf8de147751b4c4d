//! Errors: what senders are told of packets that do not get on.

use packet::{DropReason, MacAddress};
use router::icmp_error::{ERROR_FRAME_BYTES_MAX, Offending, Origin, Problem};

use super::RouteStage;
use crate::snapshot::PortRole;

impl RouteStage<'_> {
    /// Drops a packet and tells its sender, as far as the sender may be told and the limits allow.
    #[cold]
    pub(super) fn refuse_aloud(&mut self, at: usize, reason: DropReason, problem: Problem) {
        self.refuse(at, reason);
        self.report(at, problem);
    }

    fn report(&mut self, at: usize, problem: Problem) -> Option<()> {
        let routing = self.view.snapshot.routing()?;
        let is_from_uplink = self.entry_of(at)?.role == PortRole::Uplink;
        let link = if is_from_uplink { routing.uplink.as_ref()? } else { &routing.bridge };
        let frame = self.burst.frames().get(at)?;
        let offending =
            Offending { bytes: frame.bytes(), layout: self.layouts[at].as_ref()?, offload: frame.offload };
        offending.may_be_reported(&routing.rules).ok()?;
        // The bridge has refused such senders, the uplink hears them.
        MacAddress::read(frame.bytes(), 6).filter(|sender| !sender.is_group())?;
        let (sender, _) = offending.ends()?;
        let origin = Origin { mac: link.gateway.mac, address: link.gateway.address_toward(sender)? };
        let (ingress, random) = (frame.ingress, self.router.random.draw());
        if !self.router.errors.allow(sender, ingress, self.view.now_ms, random) {
            return None;
        }
        self.router.replies.write(self.pool, ingress, |out| {
            let room = out.get_mut(..ERROR_FRAME_BYTES_MAX)?;
            offending.report(problem, origin, &routing.rules, room).ok()
        })
    }
}
