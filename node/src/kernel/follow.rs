//! Following the kernel: a thread that listens, keeps the mirror and tells what changes.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::KernelChange;
use super::heard::Heard;
use super::mirror::{self, Filter, Mirror};
use super::slots::Certainty;
use super::socket::{Asker, Listener, Moment};

/// Most changes that are told at once.
const BATCH_CHANGES: usize = 8192;
/// What follows so soon belongs to the same batch.
const QUIET: Duration = Duration::from_millis(1);
/// But nothing is kept longer.
const BATCH_AGE_MAX: Duration = Duration::from_millis(10);
/// How often the kernel is asked again at once if it changed while it answered.
const DUMPS_AT_ONCE: usize = 4;
/// Most that is remembered of what it says meanwhile.
const OVERHEARD_MAX: usize = 65_536;
/// When it is asked again if it could not answer.
const RETRY: Duration = Duration::from_secs(1);

/// What of the kernel is followed, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FollowOptions {
    /// The tables whose routes count; empty: all but `local` (255).
    pub tables: Vec<u32>,
    /// The protocols whose routes count (`rtm_protocol`; BIRD has 12); empty: all.
    pub protocols: Vec<u8>,
    /// What the kernel may have said before it is listened to. If it says more, everything is asked for anew. The
    /// kernel doubles it, and counts about 1 KiB for a message.
    pub receive_buffer_bytes: usize,
}

impl Default for FollowOptions {
    fn default() -> Self {
        Self { tables: Vec::new(), protocols: Vec::new(), receive_buffer_bytes: 32 << 20 }
    }
}

/// Follows the kernel of the namespace in which it was started, until it is dropped.
#[derive(Debug)]
pub struct KernelFollower {
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
    dumps: Arc<AtomicU64>,
}

impl KernelFollower {
    /// Tells the state of the kernel in the calling thread's network namespace by one or several calls of `tell`,
    /// then returns, and tells from a thread of its own what changes, in batches of 1 to 8192 changes. What comes
    /// within a millisecond of one another is one batch, and nothing waits longer than ten. While `tell` runs, the
    /// kernel's messages wait in the receive buffer.
    ///
    /// Where the kernel says less than it does, it is asked anew and the difference told: when messages were lost;
    /// when a device goes up, down or away by which routes lead, an IPv4 address goes, or a nexthop object changes.
    ///
    /// # Errors
    /// If the kernel refuses a socket or an answer. Later ones are logged, and it is tried again each second.
    pub fn start(
        options: FollowOptions,
        tell: impl Fn(Vec<KernelChange>) + Send + 'static,
    ) -> io::Result<Self> {
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let dumps = Arc::new(AtomicU64::new(0));
        let filter = Filter { tables: options.tables, protocols: options.protocols };
        let mut follow = Follow {
            // Before the first dump, so that nothing falls between.
            listener: Listener::join(options.receive_buffer_bytes)?,
            asker: Asker::connect()?,
            mirror: Mirror::new(filter.clone()),
            filter,
            batch: Batch { tell, changes: Vec::new() },
            trust: Trust::Lost,
            restless_since: None,
            ask_not_before: Instant::now(),
            dumps: Arc::clone(&dumps),
        };
        follow.ask()?;
        follow.batch.flush();
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("kernel".to_owned())
            .spawn(move || while follow.step(&stopped) {})?;
        Ok(Self { stop, thread: Some(thread), dumps })
    }

    /// How often the kernel was asked for all that it has, the start included.
    #[must_use]
    pub fn dumps(&self) -> u64 {
        self.dumps.load(Ordering::Relaxed)
    }
}

impl Drop for KernelFollower {
    fn drop(&mut self) {
        // An eventfd takes this at any time.
        let _ = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that follows the kernel has panicked");
        }
    }
}

/// How far the mirror can be trusted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Trust {
    Whole,
    /// The kernel has to be asked, but what it says still counts.
    Doubtful,
    /// Messages are missing, so that the next ones mean nothing.
    Lost,
}

struct Follow<F> {
    listener: Listener,
    asker: Asker,
    filter: Filter,
    mirror: Mirror,
    batch: Batch<F>,
    trust: Trust,
    /// Since when something waits to be told or asked.
    restless_since: Option<Instant>,
    ask_not_before: Instant,
    dumps: Arc<AtomicU64>,
}

impl<F: Fn(Vec<KernelChange>)> Follow<F> {
    /// Waits until there is something to do, and does it. False if it is to end.
    fn step(&mut self, stop: &OwnedFd) -> bool {
        let timeout = self.timeout().and_then(|timeout| Timespec::try_from(timeout).ok());
        let mut sources = [PollFd::new(stop, PollFlags::IN), PollFd::new(&self.listener, PollFlags::IN)];
        if let Err(error) = poll(&mut sources, timeout.as_ref())
            && error != rustix::io::Errno::INTR
        {
            tracing::error!(%error, "the kernel cannot be followed");
            return false;
        }
        let [is_stopped, is_heard] = sources.map(|source| !source.revents().is_empty());
        if is_stopped {
            return false;
        }
        if is_heard {
            self.listen();
        }
        let now = Instant::now();
        let is_late = self.restless_since.is_some_and(|since| now >= since + BATCH_AGE_MAX);
        if !is_heard || is_late {
            self.settle(now);
        }
        true
    }

    fn timeout(&self) -> Option<Duration> {
        let until_ask = self.ask_not_before.saturating_duration_since(Instant::now());
        match self.trust {
            _ if self.restless_since.is_some() => Some(QUIET),
            Trust::Whole => None,
            Trust::Doubtful | Trust::Lost => Some(until_ask),
        }
    }

    /// Takes what was said since.
    fn listen(&mut self) {
        let now = Instant::now();
        for _ in 0..BATCH_CHANGES {
            let Self { listener, mirror, batch, trust, .. } = self;
            let heard = listener.hear(|heard| {
                if *trust != Trust::Lost
                    && mirror.hear(heard, &mut |change| batch.push(change)) > Certainty::Sure
                {
                    *trust = Trust::Doubtful;
                }
            });
            match heard {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    self.lose(&error);
                    break;
                }
            }
        }
        if !self.batch.changes.is_empty() || self.trust != Trust::Whole {
            self.restless_since.get_or_insert(now);
        }
    }

    fn lose(&mut self, error: &io::Error) {
        self.trust = Trust::Lost;
        if error.raw_os_error() == Some(libc::ENOBUFS) {
            tracing::debug!("the kernel said more than fits: it is asked anew");
        } else {
            tracing::warn!(%error, "the kernel was not understood: it is asked anew");
            self.ask_not_before = self.ask_not_before.max(Instant::now() + RETRY);
        }
    }

    /// Tells what waits, and asks where there is doubt.
    fn settle(&mut self, now: Instant) {
        self.restless_since = None;
        if self.trust != Trust::Whole
            && now >= self.ask_not_before
            && let Err(error) = self.ask()
        {
            tracing::warn!(%error, "the kernel does not answer: it is asked again in a second");
            self.trust = Trust::Lost;
            self.ask_not_before = Instant::now() + RETRY;
        }
        self.batch.flush();
    }

    /// Asks for all that the kernel has, and becomes that. What was said while it answered is taken afterwards: it
    /// may repeat what is known, but in its order it leads to what is true.
    fn ask(&mut self) -> io::Result<()> {
        let began = Instant::now();
        for attempt in 1..=DUMPS_AT_ONCE {
            // What was said before is in the answer.
            while self.listener.hear(drop).unwrap_or(true) {
                if began.elapsed() > BATCH_AGE_MAX {
                    break;
                }
            }
            let mut state = Mirror::new(self.filter.clone());
            let moment = self.asker.dump(|heard| state.collect(heard))?;
            self.dumps.fetch_add(1, Ordering::Relaxed);
            let (later, is_all) = self.overhear();
            let is_whole = moment == Moment::One && is_all && !mirror::is_disturbance(&later);
            if !is_whole && attempt < DUMPS_AT_ONCE {
                continue;
            }
            let Self { mirror, batch, .. } = self;
            let mut tell = |change| batch.push(change);
            mirror.become_state(state, &mut tell);
            self.trust = if is_whole { Trust::Whole } else { Trust::Doubtful };
            for heard in later {
                if mirror.hear(heard, &mut tell) == Certainty::Doubtful {
                    self.trust = Trust::Doubtful;
                }
            }
            if !is_all {
                self.trust = Trust::Lost;
            }
            break;
        }
        // A kernel that changes without end is not asked without end.
        let now = Instant::now();
        self.ask_not_before = now + (now - began);
        Ok(())
    }

    /// What was said during a dump; false if that is not all.
    fn overhear(&mut self) -> (Vec<Heard>, bool) {
        let mut later = Vec::new();
        for _ in 0..OVERHEARD_MAX {
            match self.listener.hear(|heard| later.push(heard)) {
                Ok(true) => {}
                Ok(false) => return (later, true),
                Err(_) => break,
            }
        }
        (later, false)
    }
}

struct Batch<F> {
    tell: F,
    changes: Vec<KernelChange>,
}

impl<F: Fn(Vec<KernelChange>)> Batch<F> {
    fn push(&mut self, change: KernelChange) {
        self.changes.push(change);
        if self.changes.len() >= BATCH_CHANGES {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if !self.changes.is_empty() {
            (self.tell)(std::mem::take(&mut self.changes));
        }
    }
}
