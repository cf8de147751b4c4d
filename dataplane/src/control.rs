//! The control side's handle on the workers: start them, publish to them, give them queues, stop them.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, bounded};
use packet::PortId;
use port::{PortSet, PortSetOptions, Queue};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::counters::WorkerCounters;
use crate::events::{Event, Events};
use crate::mailbox::{Command, Mailbox};
use crate::run;
use crate::snapshot::Snapshot;
use crate::wiring::Wiring;
use crate::worker::Worker;

/// How long a worker may take to answer a command.
const ANSWER: Duration = Duration::from_secs(2);

/// How to run the workers.
#[derive(Clone, Debug)]
pub struct DataplaneConfig {
    /// Number of workers, at least 1.
    pub workers: usize,
    /// Worker i runs on CPU `cpus[i]`; those beyond the list run where the kernel likes.
    pub cpus: Vec<usize>,
    /// How long a worker goes on polling after its last frame before it sleeps.
    pub busy_poll: Duration,
    /// Each worker's I/O engine and buffers.
    pub ports: PortSetOptions,
    /// Random and secret: keys the tables whose contents strangers choose.
    pub seed: u64,
}

impl Default for DataplaneConfig {
    fn default() -> Self {
        Self {
            workers: 1,
            cpus: Vec::new(),
            busy_poll: Duration::from_micros(50),
            ports: PortSetOptions::default(),
            seed: 0,
        }
    }
}

/// Why the workers could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The I/O engine.
    #[error("worker {worker}: the I/O engine cannot start: {source}")]
    Engine {
        /// The worker.
        worker: usize,
        /// The system's word.
        source: std::io::Error,
    },
    /// A thread.
    #[error("worker {worker}: its thread cannot start: {source}")]
    Thread {
        /// The worker.
        worker: usize,
        /// The system's word.
        source: std::io::Error,
    },
    /// The CPU does not exist or is not allowed to the process.
    #[error("worker {worker} cannot be pinned to CPU {cpu}: {source}")]
    Pin {
        /// The worker.
        worker: usize,
        /// The CPU.
        cpu: usize,
        /// The system's word.
        source: std::io::Error,
    },
}

/// Why a command to the workers failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The engine refused the queue.
    #[error("worker {worker} cannot take the queue: {source}")]
    Attach {
        /// The worker.
        worker: usize,
        /// The system's word.
        source: std::io::Error,
    },
    /// The worker does not answer; the watchdog reports it too.
    #[error("worker {worker} does not answer")]
    NoAnswer {
        /// The worker.
        worker: usize,
    },
    /// There is no such worker.
    #[error("there is no worker {worker}")]
    NoWorker {
        /// The worker.
        worker: usize,
    },
}

/// The running workers. Dropping it stops them.
#[derive(Debug)]
pub struct Dataplane {
    snapshot: Arc<ArcSwap<Snapshot>>,
    generation: AtomicU64,
    workers: Vec<Handle>,
    events: Arc<Events>,
    engine: &'static str,
    started: Instant,
}

#[derive(Debug)]
struct Handle {
    mailbox: Arc<Mailbox>,
    counters: Arc<WorkerCounters>,
    thread: Option<JoinHandle<()>>,
}

impl Dataplane {
    /// Starts the workers on a first snapshot. `notify` is called from a worker's thread after each event
    /// and must not block.
    ///
    /// # Errors
    /// [`StartError`]; workers that had started are stopped again.
    pub fn start(
        config: &DataplaneConfig,
        snapshot: Snapshot,
        notify: impl Fn() + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        let wiring = Wiring::new(config.workers.max(1), snapshot, config.seed, notify);
        let mut dataplane = Self {
            snapshot: Arc::clone(&wiring.snapshot),
            generation: AtomicU64::new(0),
            workers: Vec::new(),
            events: Arc::clone(&wiring.events),
            engine: "",
            started: Instant::now(),
        };
        let started = dataplane.started;
        for links in wiring.into_links() {
            let worker = links.index;
            let (mailbox, counters) = (Arc::clone(&links.mailbox), Arc::clone(&links.counters));
            let events = Arc::clone(&links.events);
            let (options, busy_poll, cpu) =
                (config.ports, config.busy_poll, config.cpus.get(worker).copied());
            let (ready, is_ready) = bounded(1);
            // The engine is made on the thread that uses it: io_uring ties a ring to its one submitter.
            let body = move || match prepare(worker, cpu, options) {
                Ok(ports) => {
                    let _ = ready.send(Ok(ports.engine_name()));
                    let worker = Worker::new(links, ports);
                    run::run(worker, started, busy_poll);
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                }
            };
            let guarded = move || {
                if std::panic::catch_unwind(AssertUnwindSafe(body)).is_err() {
                    events.push(Event::WorkerDied { worker });
                }
            };
            let thread = std::thread::Builder::new()
                .name(format!("worker-{worker}"))
                .spawn(guarded)
                .map_err(|source| StartError::Thread { worker, source })?;
            dataplane.workers.push(Handle { mailbox, counters, thread: Some(thread) });
            dataplane.engine = is_ready.recv().unwrap_or(Err(StartError::Engine {
                worker,
                source: std::io::Error::other("the worker's thread ended at once"),
            }))?;
        }
        Ok(dataplane)
    }

    /// The name of the I/O engine in use.
    #[must_use]
    pub fn engine_name(&self) -> &'static str {
        self.engine
    }

    /// The time by which the workers learn and age addresses: milliseconds since the start.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Number of workers.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Publishes a snapshot and returns its generation. Workers take it with their next burst; one that
    /// sleeps is woken.
    pub fn publish(&self, snapshot: Snapshot) -> u64 {
        // Only the control side publishes, one at a time.
        let generation = self.generation.load(Ordering::Relaxed) + 1;
        self.generation.store(generation, Ordering::Relaxed);
        self.snapshot.store(Arc::new(snapshot.with_generation(generation)));
        self.poke();
        generation
    }

    /// The snapshot published last.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Waits until no worker uses a snapshot older than `generation`.
    ///
    /// # Errors
    /// [`CommandError::NoAnswer`] after two seconds.
    pub fn wait_for(&self, generation: u64) -> Result<(), CommandError> {
        let deadline = Instant::now() + ANSWER;
        for (worker, handle) in self.workers.iter().enumerate() {
            while handle.mailbox.generation_seen() < generation {
                if Instant::now() > deadline {
                    return Err(CommandError::NoAnswer { worker });
                }
                handle.mailbox.notify();
                std::thread::sleep(Duration::from_micros(50));
            }
        }
        Ok(())
    }

    /// Gives the port's queues to the workers: one each, or, if there is a single queue, that one to
    /// `first_worker`. Waits until they are taken. On an error, those already taken are let go again.
    ///
    /// # Errors
    /// [`CommandError`]
    pub fn attach(&self, port: PortId, queues: Vec<Queue>, first_worker: usize) -> Result<(), CommandError> {
        let mut result = Ok(());
        let mut answers = Vec::new();
        for (worker, queue) in (first_worker..).zip(queues) {
            let (done, answer) = bounded(1);
            result = self.command(worker, Command::Attach { port, queue: Box::new(queue), done });
            if result.is_err() {
                break;
            }
            answers.push((worker, answer));
        }
        // Whoever has taken a queue, or may yet.
        let mut holders = Vec::new();
        for (worker, answer) in answers {
            let attached = match answer.recv_timeout(ANSWER) {
                Ok(Ok(())) => {
                    holders.push(worker);
                    Ok(())
                }
                Ok(Err(source)) => Err(CommandError::Attach { worker, source }),
                Err(_) => {
                    holders.push(worker);
                    Err(CommandError::NoAnswer { worker })
                }
            };
            result = result.and(attached);
        }
        if result.is_err() {
            // The first error says more than one of the way back.
            let _ = self.detach_from(port, holders);
        }
        result
    }

    /// Takes the port's queues from all workers and waits until the kernel holds none of its buffers. A
    /// worker without a queue of the port is no error.
    ///
    /// # Errors
    /// [`CommandError::NoAnswer`]
    pub fn detach(&self, port: PortId) -> Result<(), CommandError> {
        self.detach_from(port, 0..self.workers.len())
    }

    fn detach_from(
        &self,
        port: PortId,
        workers: impl IntoIterator<Item = usize>,
    ) -> Result<(), CommandError> {
        let mut answers: Vec<(usize, Receiver<bool>)> = Vec::new();
        for worker in workers {
            let (done, answer) = bounded(1);
            self.command(worker, Command::Detach { port, done })?;
            answers.push((worker, answer));
        }
        for (worker, answer) in answers {
            answer.recv_timeout(ANSWER).map_err(|_| CommandError::NoAnswer { worker })?;
        }
        Ok(())
    }

    /// Tells the workers that the port's device is usable again.
    ///
    /// # Errors
    /// [`CommandError::NoAnswer`]
    pub fn revive(&self, port: PortId) -> Result<(), CommandError> {
        (0..self.workers.len()).try_for_each(|worker| self.command(worker, Command::Revive { port }))
    }

    /// Sends frames of the switch itself, each a whole Ethernet frame, to a port by this worker, which has a
    /// queue of it. What cannot be sent is counted by the worker (`copies_dropped`) and before the port
    /// (`tx_dropped`).
    ///
    /// # Errors
    /// [`CommandError`]
    pub fn originate(&self, port: PortId, frames: Vec<Vec<u8>>, worker: usize) -> Result<(), CommandError> {
        self.command(worker, Command::Originate { port, frames })
    }

    /// What each worker counts.
    pub fn counters(&self) -> impl Iterator<Item = &WorkerCounters> {
        self.workers.iter().map(|handle| &*handle.counters)
    }

    /// Events from the workers.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// Signs of life, for the [`Watchdog`](crate::Watchdog).
    pub fn heartbeats(&self) -> impl Iterator<Item = u64> + '_ {
        self.workers.iter().map(|handle| handle.mailbox.heartbeat())
    }

    /// Makes every worker go round once, also one that sleeps.
    pub fn poke(&self) {
        for handle in &self.workers {
            handle.mailbox.notify();
        }
    }

    fn command(&self, worker: usize, command: Command) -> Result<(), CommandError> {
        let handle = self.workers.get(worker).ok_or(CommandError::NoWorker { worker })?;
        handle.mailbox.command(command).map_err(|_| CommandError::NoAnswer { worker })
    }
}

impl Drop for Dataplane {
    fn drop(&mut self) {
        for handle in &self.workers {
            // A box is full only if its worker is stalled.
            let _ = handle.mailbox.command(Command::Stop);
        }
        // A stalled worker is left behind: the process takes it along when it ends.
        let deadline = Instant::now() + ANSWER;
        for thread in self.workers.iter_mut().filter_map(|handle| handle.thread.take()) {
            while !thread.is_finished() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_micros(100));
            }
            if thread.is_finished() {
                let _ = thread.join();
            }
        }
    }
}

/// What has to be done on the worker's own thread before it runs.
fn prepare(worker: usize, cpu: Option<usize>, options: PortSetOptions) -> Result<PortSet, StartError> {
    if let Some(cpu) = cpu {
        let mut set = CpuSet::new();
        if cpu < CpuSet::MAX_CPU {
            set.set(cpu);
        }
        sched_setaffinity(None, &set).map_err(|errno| StartError::Pin {
            worker,
            cpu,
            source: errno.into(),
        })?;
    }
    PortSet::with_options(options).map_err(|source| StartError::Engine { worker, source })
}
