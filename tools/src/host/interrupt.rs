//! Ctrl-C: a flag that everything which waits looks at. The way out is then an ordinary error, so that the
//! guards on the way remove what they made, and removal is written once.

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// A signal asked us to end.
#[derive(Debug, thiserror::Error)]
#[error("interrupted; what was made is removed")]
pub(crate) struct Interrupted;

/// From now on SIGINT, SIGTERM and SIGHUP only raise the flag.
pub(crate) fn install() -> Result<()> {
    let raised = FLAG.get_or_init(|| Arc::new(AtomicBool::new(false)));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        flag::register(signal, Arc::clone(raised)).context("cannot handle signals")?;
    }
    Ok(())
}

/// An error once a signal came.
pub(crate) fn check() -> Result<()> {
    if FLAG.get().is_some_and(|raised| raised.load(Ordering::Relaxed)) {
        return Err(Interrupted.into());
    }
    Ok(())
}
