//! `GET /v1/capture`: frames as they pass, as a stream of pcapng.

use std::time::Duration;

use dataplane::capture::Captured;
use hyper::Response;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use tokio::sync::mpsc::{Sender, channel};

use super::body::AnswerBody;
use super::pcapng::{Packet, Writer};
use super::routes::{Answer, Failure, ask, unknown_parameter};
use crate::control::{CaptureHandle, CaptureOptions, ControlHandle, Refused};

/// Time between two looks for frames; at most so long a frame waits to be shown.
const PAUSE: Duration = Duration::from_millis(10);
/// Pieces that may wait for the client.
const PIECES: usize = 4;
/// A piece is sent once it has this many bytes.
const PIECE_BYTES: usize = 128 * 1024;

/// A capture that ends when this is dropped, whatever happened to the client.
struct Running {
    control: ControlHandle,
    capture: CaptureHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        let capture = self.capture.clone();
        self.control.post(move |control| control.stop_capture(&capture));
    }
}

/// Starts a capture and answers with its stream.
pub(super) async fn start(query: &[(String, String)], control: ControlHandle) -> Result<Answer, Failure> {
    let (options, count) = parse(query)?;
    let capture = ask(&control, move |control| control.start_capture(options)).await??;
    let running = Running { control, capture };
    let (pieces, stream) = channel(PIECES);
    tokio::spawn(async move { pump(&running.capture, count, &pieces).await });
    let mut answer = Response::new(AnswerBody::Stream(stream));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-pcapng"));
    Ok(answer)
}

fn parse(query: &[(String, String)]) -> Result<(CaptureOptions, u64), Failure> {
    let mut options = CaptureOptions::default();
    let mut count = u64::MAX;
    let wrong = |key: &str, value: &str, expected: &str| {
        Failure::from(Refused::Invalid(format!("{key}={value}: {expected} is expected")))
    };
    for (key, value) in query {
        match key.as_str() {
            "port" => options.port = Some(value.clone()),
            "count" => {
                count = value.parse().map_err(|_| wrong(key, value, "a number"))?;
            }
            "drops" => {
                options.drops_only = value.parse().map_err(|_| wrong(key, value, "true or false"))?;
            }
            "filter" => {
                options.filter = value.parse().map_err(|error: crate::filter::FilterError| {
                    Failure::from(Refused::Invalid(format!("filter: {error}")))
                })?;
            }
            other => return Err(unknown_parameter(other)),
        }
    }
    Ok((options, count))
}

/// Moves frames from the workers' ring to the client until one of them has enough.
async fn pump(capture: &CaptureHandle, count: u64, pieces: &Sender<Bytes>) {
    let mut writer = Writer::default();
    let mut piece = Vec::new();
    Writer::begin(&mut piece);
    for (port, name) in &*capture.names {
        writer.interface(*port, name, &mut piece);
    }
    let mut left = count;
    let mut lost = 0;
    loop {
        while left > 0 && piece.len() < PIECE_BYTES {
            let lost_now = capture.tap.lost();
            let write = |frame: &Captured| {
                write(frame, lost_now - lost, &capture.names, &mut writer, &mut piece);
            };
            if capture.tap.read(write).is_none() {
                break;
            }
            lost = lost_now;
            left -= 1;
        }
        if !piece.is_empty() {
            if pieces.send(Bytes::from(std::mem::take(&mut piece))).await.is_err() {
                return;
            }
            // There may be more.
            continue;
        }
        if left == 0 {
            return;
        }
        tokio::select! {
            () = pieces.closed() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

fn write(frame: &Captured, lost: u64, names: &[(u16, String)], writer: &mut Writer, out: &mut Vec<u8>) {
    let port = frame.ingress.get();
    let comment = frame.dropped.map(|reason| format!("dropped: {}", reason.name()));
    let packet =
        Packet { port, time_ns: frame.time_ns, bytes: frame.bytes(), comment: comment.as_deref(), lost };
    match names.iter().find(|(other, _)| *other == port) {
        Some((_, name)) => writer.packet(&packet, name, out),
        // A port that came after the capture began.
        None => writer.packet(&packet, &format!("port {port}"), out),
    }
}
