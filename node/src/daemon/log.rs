//! The log: lines on standard error.

use std::io::{IsTerminal, stderr};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The environment variable that sets what is logged: a level, or `crate=level` with commas between.
const VARIABLE: &str = "FLYOVER_LOG";

/// Starts the log on standard error: from `info` on, or what `$FLYOVER_LOG` says.
pub fn start_log() {
    let wanted = std::env::var(VARIABLE).ok();
    let parsed = wanted.as_deref().map(str::parse::<Targets>);
    let (targets, complaint) = match parsed {
        Some(Ok(targets)) => (targets, None),
        Some(Err(error)) => (Targets::new().with_default(LevelFilter::INFO), Some(error)),
        None => (Targets::new().with_default(LevelFilter::INFO), None),
    };
    let lines = fmt::layer().with_writer(stderr).with_ansi(stderr().is_terminal()).with_target(false);
    // A second start, as in tests, leaves the first in place.
    let _ = tracing_subscriber::registry().with(targets).with(lines).try_init();
    if let Some(error) = complaint {
        tracing::warn!("{VARIABLE} is not understood ({error}); everything from info on is logged");
    }
}
