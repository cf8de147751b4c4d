//! `flyover capture`: pcapng as the daemon sends it, or a line a frame on a terminal.

use crate::capture::{Reader, describe};
use crate::cli::CaptureArgs;
use crate::output::{Output, print, write_bytes};
use anyhow::{Context, Result};
use node::client::{CaptureQuery, Client};
use serde_json::json;
use std::fs::File;
use std::io::{ErrorKind, IsTerminal, Read, Write};
use std::path::Path;

/// Read from the daemon at a time, in bytes.
const CHUNK_BYTES: usize = 64 * 1024;

/// Captures until the count is reached, the reader is gone, the daemon ends or a signal comes.
pub(super) fn execute(client: &Client, arguments: &CaptureArgs, output: Output) -> Result<()> {
    let query = CaptureQuery {
        port: arguments.port.clone(),
        count: arguments.count,
        drops: arguments.drops,
        filter: (!arguments.filter.is_empty()).then(|| arguments.filter.join(",")),
    };
    let file = arguments.write.as_deref().filter(|path| *path != Path::new("-"));
    // A file that cannot be written is told before anything is captured.
    let file =
        file.map(|path| File::create(path).with_context(|| format!("cannot write {}", path.display())));
    let file = file.transpose()?;
    let stream = client.capture(&query)?;
    match file {
        Some(mut file) => copy(stream, |bytes| file.write_all(bytes).context("cannot write the capture")),
        None if arguments.write.is_some() => copy(stream, write_bytes),
        None if output.json || std::io::stdout().is_terminal() => lines(stream, output),
        None => copy(stream, write_bytes),
    }
}

/// Passes the stream on as it comes, so that who reads it sees frames at once.
fn copy(mut stream: impl Read, mut write: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(count) => write(&chunk[..count])?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // The daemon was stopped; what came before is a valid capture.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error).context("the capture broke off"),
        }
    }
}

/// A line a frame; with `-j` an object a line, since it is a stream.
fn lines(stream: impl Read, output: Output) -> Result<()> {
    let mut reader = Reader::new(stream);
    while let Some(frame) = reader.next_frame().context("the capture broke off")? {
        let summary = describe(&frame.bytes);
        if output.json {
            let line = json!({
                "time_ns": frame.time_ns, "ifname": frame.port, "len": frame.bytes.len(),
                "summary": summary, "comment": frame.comment,
            });
            print(&format!("{line}\n"))?;
            continue;
        }
        let note = frame.comment.map(|comment| format!(" [{comment}]")).unwrap_or_default();
        print(&format!("{} {} {summary}{note}\n", clock(frame.time_ns), frame.port))?;
    }
    Ok(())
}

/// Time of day in UTC: `10:32:01.123456`.
fn clock(time_ns: u64) -> String {
    let (seconds, fraction) = (time_ns / 1_000_000_000 % 86_400, time_ns % 1_000_000_000 / 1000);
    format!("{:02}:{:02}:{:02}.{fraction:06}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_shows_the_time_of_day() {
        assert_eq!(clock(86_400_000_000_000 + 3_661_000_042_999), "01:01:01.000042");
    }

    #[test]
    fn everything_is_passed_on() {
        let mut seen = Vec::new();
        let bytes = vec![7; CHUNK_BYTES + 1];
        copy(bytes.as_slice(), |chunk| {
            seen.extend_from_slice(chunk);
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, bytes);
    }
}
