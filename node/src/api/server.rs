//! The server: sockets, limits, connections.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;

use super::routes::{self, Access};
use crate::control::ControlHandle;

/// Connections to the control socket at one time; more wait.
const CONNECTIONS_MAX: usize = 64;
/// Connections to the metrics address at one time; more wait.
const METRICS_CONNECTIONS_MAX: usize = 16;
/// How long a client may take for a request's head.
const HEAD: Duration = Duration::from_secs(10);
/// Longest head, in bytes (hyper's least).
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Most headers.
const HEADERS_MAX: usize = 32;
/// How long a connection to the metrics address may last.
const METRICS_CONNECTION: Duration = Duration::from_secs(30);
/// Pause after an accept that failed, as when there are no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why a socket cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody answers there.
    #[error("{}: another process listens on this socket; stop it, or give this one another socket", .0.display())]
    Taken(PathBuf),
    /// Something that is no socket has the name.
    #[error("{}: there is something that is not a socket; remove it, or give another path", .0.display())]
    NotASocket(PathBuf),
    /// The system refuses.
    #[error("{place}: cannot listen: {source}")]
    Io {
        /// Path or address.
        place: String,
        /// The system's word.
        source: io::Error,
    },
}

/// Listens on the unix socket at `path` (mode 0600), whose directory is made if need be. A socket that nobody
/// listens on any more is replaced.
///
/// # Errors
/// [`ListenError`]
pub fn bind(path: &Path) -> Result<std::os::unix::net::UnixListener, ListenError> {
    let failed = |source| ListenError::Io { place: path.display().to_string(), source };
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(directory).map_err(failed)?;
    }
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => return Err(ListenError::NotASocket(path.to_owned())),
        Ok(_) if UnixStream::connect(path).is_ok() => return Err(ListenError::Taken(path.to_owned())),
        Ok(_) => std::fs::remove_file(path).map_err(failed)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    // Nobody else gets in between the two calls: the directory is not writable to others, and a connection
    // that is made before the mode is set is not accepted yet and closed with a listener that fails.
    let old = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    let listener = std::os::unix::net::UnixListener::bind(path);
    rustix::process::umask(old);
    let listener = listener.map_err(failed)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// Answers on the control socket until the task is dropped.
///
/// # Errors
/// If the listener cannot be used by the runtime.
pub async fn serve(listener: std::os::unix::net::UnixListener, control: ControlHandle) -> io::Result<()> {
    let listener = UnixListener::from_std(listener)?;
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return Ok(()) };
        match listener.accept().await {
            Ok((stream, _)) => {
                let control = control.clone();
                tokio::spawn(async move {
                    converse(stream, control, Access::Full).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::debug!("accept: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Answers metrics and health questions on TCP until the task is dropped.
pub async fn serve_metrics(listener: TcpListener, control: ControlHandle) {
    let slots = Arc::new(Semaphore::new(METRICS_CONNECTIONS_MAX));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let control = control.clone();
                tokio::spawn(async move {
                    let conversation = converse(stream, control, Access::MetricsOnly);
                    // Whoever takes longer is cut off.
                    let _ = tokio::time::timeout(METRICS_CONNECTION, conversation).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::debug!("accept: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    control: ControlHandle,
    access: Access,
) {
    let service = service_fn(move |request| {
        let control = control.clone();
        async move { Ok::<_, std::convert::Infallible>(routes::answer(request, control, access).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!("connection: {error}");
    }
}
