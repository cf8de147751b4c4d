//! A port that replays one capture file and records what is sent to it into another.

mod reader;

use std::fs::File;
use std::io::{self, BufReader, BufWriter};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use packet::{DropReason, Frame, HEADROOM_BYTES, Offload, PortId};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};

pub use reader::{Captured, Reader};

use crate::pcapng::{Direction, InterfaceId, Packet, Writer};
use crate::{Intake, PortFault, PortQueue};

/// How fast a capture is replayed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Pace {
    /// As it was recorded, counted from the first time that the worker asks.
    #[default]
    Recorded,
    /// As fast as the worker takes the frames.
    Unlimited,
}

/// What a pcap port reads and writes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PcapConfig {
    /// A pcap or pcapng file whose frames come in by the port; `None`: nothing comes in.
    pub replay: Option<PathBuf>,
    /// How fast.
    pub pace: Pace,
    /// A pcapng file, overwritten, for what is sent to the port; `None`: it is discarded.
    pub record: Option<PathBuf>,
}

/// The one queue of a pcap port. It takes finished frames only ([`Offloads::NONE`](packet::Offloads::NONE)).
#[derive(Debug)]
pub struct PcapQueue {
    replay: Option<Replay>,
    record: Option<(Writer<BufWriter<File>>, InterfaceId)>,
}

#[derive(Debug)]
struct Replay {
    reader: Reader<BufReader<File>>,
    /// Becomes readable when the next frame is due; only of use with [`Pace::Recorded`].
    timer: Option<OwnedFd>,
    /// The next frame, read but not yet due.
    next: Option<(u64, Vec<u8>)>,
    /// When the replay began, and the timestamp of the first frame.
    began: Option<(Instant, u64)>,
    spare: Vec<u8>,
    /// Nothing more comes: the end of the file, or of what can be read of it.
    ended: bool,
}

impl PcapQueue {
    /// Opens the files; `name` is the interface's in the recording.
    ///
    /// # Errors
    /// The files', with their path, or [`InvalidData`](io::ErrorKind::InvalidData) for what is no capture.
    pub fn open(config: &PcapConfig, name: &str) -> io::Result<Self> {
        let replay = match &config.replay {
            Some(path) => Some(Replay::open(path, config.pace).map_err(|error| named(path, &error))?),
            None => None,
        };
        let record = match &config.record {
            Some(path) => Some(record_to(path, name).map_err(|error| named(path, &error))?),
            None => None,
        };
        Ok(Self { replay, record })
    }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn record_to(path: &Path, name: &str) -> io::Result<(Writer<BufWriter<File>>, InterfaceId)> {
    let mut writer = Writer::new(BufWriter::new(File::create(path)?), "flyover")?;
    let interface = writer.add_interface(name, 0)?;
    Ok((writer, interface))
}

impl Replay {
    fn open(path: &Path, pace: Pace) -> io::Result<Self> {
        let reader = Reader::new(BufReader::new(File::open(path)?))?;
        let timer = match pace {
            Pace::Unlimited => None,
            Pace::Recorded => Some(rustix::time::timerfd_create(
                TimerfdClockId::Monotonic,
                TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK,
            )?),
        };
        Ok(Self { reader, timer, next: None, began: None, spare: Vec::new(), ended: false })
    }

    /// The next frame if it is due, else sets the timer.
    fn due(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.next.is_none() {
            let Some(captured) = self.reader.next_packet()? else {
                self.ended = true;
                return Ok(None);
            };
            let mut bytes = std::mem::take(&mut self.spare);
            bytes.clear();
            bytes.extend_from_slice(captured.bytes);
            self.next = Some((captured.timestamp_ns, bytes));
        }
        if let (Some(timer), Some((timestamp_ns, _))) = (&self.timer, &self.next) {
            let (began, first_ns) = *self.began.get_or_insert_with(|| (Instant::now(), *timestamp_ns));
            let due = Duration::from_nanos(timestamp_ns.saturating_sub(first_ns));
            let left = due.saturating_sub(began.elapsed());
            if left > Duration::ZERO {
                let it_value =
                    Timespec::try_from(left).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
                let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
                rustix::time::timerfd_settime(timer, TimerfdTimerFlags::empty(), &once)?;
                return Ok(None);
            }
        }
        Ok(self.next.take().map(|(_, bytes)| bytes))
    }
}

impl PortQueue for PcapQueue {
    fn receive(&mut self, port: PortId, intake: &mut Intake<'_>) -> Result<(), PortFault> {
        let Some(replay) = &mut self.replay else { return Ok(()) };
        while !replay.ended && !intake.is_full() {
            let Some(mut buffer) = intake.buffer() else { break };
            let bytes = match replay.due() {
                Ok(Some(bytes)) => bytes,
                Ok(None) => {
                    intake.give_back(buffer);
                    break;
                }
                Err(error) => {
                    intake.give_back(buffer);
                    // A file that is broken from here on replays no further.
                    replay.ended = true;
                    return Err(PortFault::Io(error.raw_os_error().unwrap_or(libc::EBADMSG)));
                }
            };
            match buffer.bytes_mut()[HEADROOM_BYTES..].get_mut(..bytes.len()) {
                Some(room) => {
                    room.copy_from_slice(&bytes);
                    intake.accept(port, buffer, bytes.len(), Offload::NONE);
                }
                None => intake.refuse(port, buffer, DropReason::Oversized),
            }
            replay.spare = bytes;
        }
        Ok(())
    }

    fn transmit(&mut self, frame: &mut Frame, _headers_bytes: u16) -> Result<(), DropReason> {
        let Some((writer, interface)) = &mut self.record else { return Ok(()) };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let packet = Packet {
            interface: *interface,
            timestamp_ns: u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
            direction: Some(Direction::Outbound),
            bytes: frame.bytes(),
            original_bytes: frame.len(),
            comment: None,
        };
        writer.write(&packet).map_err(|_| DropReason::TxError)
    }

    fn flush(&mut self) {
        if let Some((writer, _)) = &mut self.record {
            // What the disk refuses now it refuses again with the next frame, which is then dropped by name.
            let _ = writer.flush();
        }
    }

    fn is_ready(&self) -> bool {
        self.replay.as_ref().is_some_and(|replay| replay.timer.is_none() && !replay.ended)
    }

    fn event_source(&self) -> Option<BorrowedFd<'_>> {
        self.replay.as_ref().and_then(|replay| replay.timer.as_ref()).map(AsFd::as_fd)
    }
}
