//! Captures: copies of frames for somebody who watches.

use std::fmt;
use std::sync::Arc;

use dataplane::capture::{CaptureRequest, CaptureTap, FrameFilter};

use packet::PortId;

use super::{Control, Refused};
use crate::filter::Filter;

/// Frames that wait for the one who watches; more are lost to the capture.
const FRAMES: usize = 512;
/// Captures at one time. Each makes the workers look at every frame once more.
const CAPTURES_MAX: usize = 8;

/// What to capture.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CaptureOptions {
    /// Only frames that came in by the port with this name or were to leave by it.
    pub port: Option<String>,
    /// Only frames that were dropped.
    pub drops_only: bool,
    /// Only frames that match.
    pub filter: Filter,
}

/// A capture under way.
#[derive(Clone)]
pub struct CaptureHandle {
    /// Where the frames are.
    pub tap: Arc<CaptureTap>,
    /// The names of the ports by their numbers, as of the start of the capture.
    pub names: Arc<[(PortId, String)]>,
}

impl fmt::Debug for CaptureHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CaptureHandle").field("names", &self.names).finish_non_exhaustive()
    }
}

impl Control {
    /// Starts a capture. It runs until [`stop_capture`](Self::stop_capture).
    ///
    /// # Errors
    /// [`Refused::NotFound`] for a port that is not there, [`Refused::Unavailable`] if there are too many
    /// captures already.
    pub fn start_capture(&mut self, options: CaptureOptions) -> Result<CaptureHandle, Refused> {
        if self.captures.len() >= CAPTURES_MAX {
            return Err(Refused::Unavailable(format!("{CAPTURES_MAX} captures are under way already")));
        }
        let port = options.port.as_deref().map(|name| self.port(name)).transpose()?.map(|port| port.id);
        let ingress = options.filter.ingress().map(|name| self.port(name)).transpose()?.map(|port| port.id);
        let filter: Option<Arc<FrameFilter>> =
            if options.filter.is_empty() { None } else { Some(Arc::new(options.filter.bind(ingress))) };
        let request = CaptureRequest { port, drops_only: options.drops_only, filter };
        let tap = Arc::new(CaptureTap::new(request, FRAMES));
        self.captures.push(Arc::clone(&tap));
        self.publish();
        let names = self.ports.values().map(|port| (port.id, port.config.name.clone())).collect();
        Ok(CaptureHandle { tap, names })
    }

    /// Ends a capture.
    pub fn stop_capture(&mut self, capture: &CaptureHandle) {
        self.captures.retain(|tap| !Arc::ptr_eq(tap, &capture.tap));
        self.publish();
    }
}
