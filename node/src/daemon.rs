//! `flyover run`: from a configuration file to a process that serves until it is told to stop.
//!
//! Three kinds of threads: the workers, the control side, and this one, which runs an async runtime for the
//! API and for signals. Nothing here touches a frame, and nothing that blocks is done here.

mod capabilities;
mod log;

pub use log::start_log;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::api::server::{self, ListenError};
use crate::config::{self, ConfigErrors, Loaded, Machine};
use crate::control::{self, ControlGone, ControlHandle, ControlThread, Options, StartError};
use crate::devices::KernelDevices;
use crate::state::{StateDirectory, StateError};

/// Time between two looks at the control side's health.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// Why the daemon did not start, or ended other than asked.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// A right is missing.
    #[error("{0}")]
    Capability(String),
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// A socket.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The workers or a port.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The async runtime or its signals.
    #[error("the control runtime cannot start: {0}")]
    Runtime(#[source] io::Error),
    /// Something ended that must not.
    #[error("{0}; flyover ends so that its supervisor starts it anew")]
    Broken(String),
}

/// What was asked for on the command line.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RunOptions {
    /// The configuration file. `None`: [`config::DEFAULT_PATH`] if it is there, else the defaults.
    pub config: Option<PathBuf>,
}

/// Runs the daemon until SIGTERM or SIGINT. The log is to be started before, see [`start_log`].
///
/// # Errors
/// [`RunError`], one line each (several for several mistakes in the configuration).
pub fn run(options: RunOptions) -> Result<(), RunError> {
    let machine = Machine::this();
    let path = options.config.or_else(|| {
        let default = Path::new(config::DEFAULT_PATH);
        default.exists().then(|| default.to_owned())
    });
    let loaded = load(path.as_deref(), &machine)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    capabilities::check(&loaded.config).map_err(RunError::Capability)?;
    raise_descriptor_limit();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RunError::Runtime)?;
    // Before anything is made, so that a signal meanwhile ends this in order.
    let guard = runtime.enter();
    let signals = Signals::new().map_err(RunError::Runtime)?;
    drop(guard);
    let state = StateDirectory::open(&loaded.config.state_dir)?;
    let socket = loaded.config.socket.clone();
    let listener = server::bind(&socket)?;
    let metrics = loaded.config.metrics.as_ref().map(|metrics| metrics.listen);
    let options = Options {
        machine: machine.clone(),
        devices: Box::new(KernelDevices::default()),
        state,
        engine: loaded.config.workers.engine.into(),
        seed: RandomState::new().build_hasher().finish(),
    };
    let control = control::spawn(loaded, options)?;
    let result = runtime.block_on(serve(&control, listener, metrics, signals, path.as_deref(), &machine));
    tell(&[NotifyState::Stopping]);
    tracing::info!("stopping; ports keep their devices");
    let ended_well = control.stop();
    // A socket that nobody listens on any more would be replaced at the next start anyway.
    let _ = std::fs::remove_file(&socket);
    match result {
        Ok(()) if !ended_well => Err(RunError::Broken("the control thread panicked".to_owned())),
        result => result,
    }
}

fn load(path: Option<&Path>, machine: &Machine) -> Result<Loaded, ConfigErrors> {
    match path {
        Some(path) => config::load(path, machine),
        None => config::parse("", None, machine),
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

async fn serve(
    control: &ControlThread,
    listener: UnixListener,
    metrics: Option<std::net::SocketAddr>,
    mut signals: Signals,
    path: Option<&Path>,
    machine: &Machine,
) -> Result<(), RunError> {
    let handle = control.handle();
    if let Some(address) = metrics {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| ListenError::Io { place: address.to_string(), source })?;
        tokio::spawn(server::serve_metrics(listener, handle.clone()));
    }
    let answering = tokio::spawn(server::serve(listener, handle.clone()));
    tokio::pin!(answering);
    let watching = watch(handle.clone());
    tokio::pin!(watching);
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => return Ok(()),
            _ = signals.interrupt.recv() => return Ok(()),
            _ = signals.hangup.recv() => reload(&handle, path, machine).await,
            broken = &mut watching => return Err(RunError::Broken(broken)),
            ended = &mut answering => {
                return Err(RunError::Broken(format!("the API ended ({ended:?})")));
            }
        }
    }
}

/// Tells the supervisor once the daemon is ready; ends only when something is broken.
async fn watch(control: ControlHandle) -> String {
    let mut is_ready = false;
    let watchdog = sd_notify::watchdog_enabled().is_some();
    loop {
        match control.call(|control| (control.is_ready(), control.dead_worker())).await {
            Ok((_, Some(worker))) => return format!("worker {worker} ended unexpectedly"),
            Ok((now_ready, None)) => {
                if now_ready && !is_ready {
                    is_ready = true;
                    tell(&[NotifyState::Ready]);
                    tracing::info!("ready");
                }
            }
            Err(ControlGone) => return "the control thread ended unexpectedly".to_owned(),
        }
        if watchdog {
            tell(&[NotifyState::Watchdog]);
        }
        tokio::time::sleep(HEARTBEAT).await;
    }
}

/// Reads the file again. A file that is wrong is reported and changes nothing.
async fn reload(control: &ControlHandle, path: Option<&Path>, machine: &Machine) {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!("the monotonic clock: {error}"),
    }
    let refusal = match load(path, machine) {
        Err(errors) => errors.0.iter().map(ToString::to_string).collect(),
        Ok(loaded) => match control.call(move |control| control.reload(loaded)).await {
            Ok(Ok(())) => Vec::new(),
            Ok(Err(refusal)) => vec![refusal],
            Err(gone) => vec![gone.to_string()],
        },
    };
    for problem in &refusal {
        tracing::error!("the configuration is not changed: {problem}");
    }
    if refusal.is_empty() {
        tracing::info!("the configuration was read again");
    }
    tell(&[NotifyState::Ready]);
}

/// Tells the supervisor, if there is one.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("the supervisor cannot be told: {error}");
    }
}

/// A port takes a few descriptors a worker, and the usual soft limit is 1024.
fn raise_descriptor_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::debug!("the limit of open files stays at {current:?}: {error}");
    }
}
