//! The thread that the control side lives on, and the way to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Control, Notice, Options, StartError};
use crate::config::Loaded;

/// Time between two ticks. The watchdog needs more than one a second.
const TICK: Duration = Duration::from_millis(500);

type Job = Box<dyn FnOnce(&mut Control) + Send>;

enum Message {
    Job(Job),
    Notice(Notice),
    Stop,
}

/// The control side's thread has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the control side does not answer")]
pub struct ControlGone;

/// The way to the control side.
#[derive(Clone, Debug)]
pub struct ControlHandle {
    messages: Sender<Message>,
}

impl ControlHandle {
    /// Runs `job` on the control side and returns its answer.
    ///
    /// # Errors
    /// [`ControlGone`]
    pub async fn call<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Control) -> R + Send + 'static,
    ) -> Result<R, ControlGone> {
        let (answer, answered) = tokio::sync::oneshot::channel();
        // Whoever asked may have left meanwhile.
        self.send(Box::new(move |control| drop(answer.send(job(control)))))?;
        answered.await.map_err(|_| ControlGone)
    }

    /// [`call`](Self::call) for threads that may wait.
    ///
    /// # Errors
    /// [`ControlGone`]
    pub fn call_and_wait<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Control) -> R + Send + 'static,
    ) -> Result<R, ControlGone> {
        let (answer, answered) = channel();
        self.send(Box::new(move |control| drop(answer.send(job(control)))))?;
        answered.recv().map_err(|_| ControlGone)
    }

    /// Runs `job` some time; nobody waits for it.
    pub fn post(&self, job: impl FnOnce(&mut Control) + Send + 'static) {
        // If the control side has ended there is nothing left to do it to.
        let _ = self.send(Box::new(job));
    }

    fn send(&self, job: Job) -> Result<(), ControlGone> {
        self.messages.send(Message::Job(job)).map_err(|_| ControlGone)
    }
}

/// The running control side.
#[derive(Debug)]
pub struct ControlThread {
    handle: ControlHandle,
    thread: Option<JoinHandle<()>>,
}

impl ControlThread {
    /// The way to it.
    #[must_use]
    pub fn handle(&self) -> ControlHandle {
        self.handle.clone()
    }

    /// Ends it and the workers. Devices stay, for the next start. True if it had not ended by itself.
    pub fn stop(mut self) -> bool {
        self.end()
    }

    fn end(&mut self) -> bool {
        // An error means that it has ended already; join tells how.
        let _ = self.handle.messages.send(Message::Stop);
        self.thread.take().is_none_or(|thread| thread.join().is_ok())
    }
}

impl Drop for ControlThread {
    fn drop(&mut self) {
        self.end();
    }
}

/// Starts the control side on a thread of its own; returns once its ports were opened.
///
/// # Errors
/// [`StartError`]
pub fn spawn(loaded: Loaded, options: Options) -> Result<ControlThread, StartError> {
    let (messages, inbox) = channel();
    let waiting = Arc::new(AtomicBool::new(false));
    let (started, is_started) = channel();
    let events = messages.clone();
    let body = move || {
        let flag = Arc::clone(&waiting);
        // One message stands for all events that wait.
        let notify = move |notice| {
            if notice != Notice::Events || !flag.swap(true, Ordering::AcqRel) {
                // An error means that nobody will read it any more.
                let _ = events.send(Message::Notice(notice));
            }
        };
        match Control::start(loaded, options, notify) {
            Ok(control) => {
                let _ = started.send(Ok(()));
                run(control, &inbox, &waiting);
            }
            Err(error) => drop(started.send(Err(error))),
        }
    };
    let thread = std::thread::Builder::new()
        .name("control".to_owned())
        .spawn(body)
        .map_err(|error| StartError::Port(format!("the control thread cannot start: {error}")))?;
    match is_started.recv() {
        Ok(Ok(())) => Ok(ControlThread { handle: ControlHandle { messages }, thread: Some(thread) }),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(StartError::Port("the control thread ended while it started".to_owned())),
    }
}

fn run(mut control: Control, inbox: &Receiver<Message>, waiting: &AtomicBool) {
    let mut next_tick = Instant::now();
    loop {
        let now = Instant::now();
        if now >= next_tick {
            control.tick();
            next_tick = now + TICK;
        }
        control.run_timers();
        let until_tick = next_tick.saturating_duration_since(now);
        match inbox.recv_timeout(control.due_in().map_or(until_tick, |due| due.min(until_tick))) {
            Ok(Message::Job(job)) => job(&mut control),
            Ok(Message::Notice(Notice::Link(port))) => control.link_changed(port),
            Ok(Message::Notice(Notice::Kernel(changes))) => control.kernel_changed(changes),
            Ok(Message::Notice(Notice::Events)) => {
                // Before the events are taken: one that comes during that sends a message of its own.
                waiting.store(false, Ordering::Release);
                control.take_events();
            }
            Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return control.stop(),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}
