//! `GET /v1/capture`: frames as they pass, as a stream of pcapng.

use std::io;
use std::time::Duration;

use dataplane::capture::Captured;
use hyper::Response;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use packet::PortId;
use port::pcapng::{Direction, InterfaceId, Packet, Writer};
use tokio::sync::mpsc::{Sender, channel};

use super::body::AnswerBody;
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
    tokio::spawn(async move {
        if let Err(error) = pump(&running.capture, count, &pieces).await {
            tracing::warn!("a capture ended: {error}");
        }
    });
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

/// A capture file in the making: each port of the switch is an interface.
struct File {
    writer: Writer<Vec<u8>>,
    interfaces: Vec<(PortId, InterfaceId)>,
}

impl File {
    fn begin(ports: &[(PortId, String)]) -> io::Result<Self> {
        let writer = Writer::new(Vec::new(), concat!("flyover ", env!("CARGO_PKG_VERSION")))?;
        let mut file = Self { writer, interfaces: Vec::new() };
        for (port, name) in ports {
            file.interface(*port, name)?;
        }
        Ok(file)
    }

    fn interface(&mut self, port: PortId, name: &str) -> io::Result<InterfaceId> {
        if let Some((_, id)) = self.interfaces.iter().find(|(other, _)| *other == port) {
            return Ok(*id);
        }
        let id = self.writer.add_interface(name, 0)?;
        self.interfaces.push((port, id));
        Ok(id)
    }

    /// `lost` frames before this one could not be captured.
    fn add(&mut self, frame: &Captured, lost: u64) -> io::Result<()> {
        // A port that came after the capture began is not known by name.
        let interface = self.interface(frame.ingress, &format!("port {}", frame.ingress))?;
        let dropped = frame.dropped.map(|reason| format!("dropped: {}", reason.name()));
        let lost = (lost > 0).then(|| format!("{lost} frames before this one are not in the capture"));
        let remarks: Vec<String> = dropped.into_iter().chain(lost).collect();
        let comment = remarks.join("; ");
        self.writer.write(&Packet {
            interface,
            timestamp_ns: frame.time_ns,
            direction: Some(Direction::Inbound),
            bytes: frame.bytes(),
            original_bytes: frame.bytes().len(),
            comment: (!comment.is_empty()).then_some(&comment),
        })
    }

    fn pending(&mut self) -> &mut Vec<u8> {
        self.writer.destination_mut()
    }
}

/// Moves frames from the workers' ring to the client until one of them has enough. Writing to memory does
/// not fail; should it, the stream ends.
async fn pump(capture: &CaptureHandle, count: u64, pieces: &Sender<Bytes>) -> io::Result<()> {
    let mut file = File::begin(&capture.names)?;
    let mut left = count;
    let mut lost = 0;
    loop {
        while left > 0 && file.pending().len() < PIECE_BYTES {
            let lost_now = capture.tap.lost();
            match capture.tap.read(|frame| file.add(frame, lost_now - lost)) {
                None => break,
                Some(written) => written?,
            }
            lost = lost_now;
            left -= 1;
        }
        let piece = std::mem::take(file.pending());
        if !piece.is_empty() {
            if pieces.send(Bytes::from(piece)).await.is_err() {
                return Ok(());
            }
            // There may be more.
            continue;
        }
        if left == 0 {
            return Ok(());
        }
        tokio::select! {
            () = pieces.closed() => return Ok(()),
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}
