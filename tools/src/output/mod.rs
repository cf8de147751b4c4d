//! What is printed: text or JSON to standard output, and nothing more once nobody reads.

mod paint;
mod table;

pub(crate) use paint::{Hue, paint};
pub(crate) use table::Table;

use crate::cli::{Color, Global};
use anyhow::Result;
use serde::Serialize;
use std::io::{ErrorKind, IsTerminal, Write, stdout};

/// Nobody reads our standard output any more (`flyover … | head`): the end, but not a failure.
#[derive(Debug, thiserror::Error)]
#[error("standard output was closed")]
pub(crate) struct OutputClosed;

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Output {
    /// JSON instead of text.
    pub json: bool,
    /// JSON for people.
    pub pretty: bool,
    /// Statistics too.
    pub statistics: bool,
    /// Colors in text.
    pub color: bool,
}

impl Output {
    /// As the global options want it.
    pub(crate) fn new(global: &Global) -> Self {
        let color = match global.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
            }
        };
        Self { json: global.json, pretty: global.pretty, statistics: global.statistics, color }
    }

    /// Prints `values` as a JSON array, or as `text` makes it.
    ///
    /// # Errors
    /// [`OutputClosed`] if nobody reads, or what else standard output says.
    pub(crate) fn print<T: Serialize>(self, values: &[T], text: impl FnOnce() -> String) -> Result<()> {
        if self.json { self.print_json(values) } else { print(&text()) }
    }

    /// Prints `values` as a JSON array.
    pub(crate) fn print_json<T: Serialize + ?Sized>(self, values: &T) -> Result<()> {
        let mut text =
            if self.pretty { serde_json::to_string_pretty(values)? } else { serde_json::to_string(values)? };
        text.push('\n');
        print(&text)
    }
}

/// Prints `text` as it is.
///
/// # Errors
/// As of [`write_bytes`].
pub(crate) fn print(text: &str) -> Result<()> {
    write_bytes(text.as_bytes())
}

/// Writes `bytes` to standard output at once.
///
/// # Errors
/// [`OutputClosed`] if nobody reads, or what else standard output says.
pub(crate) fn write_bytes(bytes: &[u8]) -> Result<()> {
    let mut stdout = stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(OutputClosed.into()),
        result => Ok(result?),
    }
}
