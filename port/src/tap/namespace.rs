//! Work inside another network namespace, in a thread of its own.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::TapError;

const OWN: &str = "/proc/thread-self/ns/net";

/// Which network namespace it is: device and inode of its file.
///
/// An open TAP queue keeps its namespace alive: after `ip netns del` the device goes on working, unseen, until
/// the queue is closed, and no read or write ever fails. So the owner of a TAP compares, from time to time,
/// what the namespace's file stands for ([`of`](Self::of), one `stat`) with what it was.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct NamespaceIdentity {
    device: u64,
    inode: u64,
}

impl NamespaceIdentity {
    /// The namespace that `netns` stands for now; `None` is the calling thread's own.
    ///
    /// # Errors
    /// No such file, or no right to look.
    pub fn of(netns: Option<&Path>) -> io::Result<Self> {
        let stat = rustix::fs::stat(netns.unwrap_or(Path::new(OWN)))?;
        Ok(Self { device: stat.st_dev, inode: stat.st_ino })
    }
}

/// Runs `work` in the network namespace that the file `netns` stands for, or in the calling thread's own.
pub(crate) fn inside<T: Send, E: From<TapError> + Send>(
    netns: Option<&Path>,
    work: impl FnOnce() -> Result<T, E> + Send,
) -> Result<T, E> {
    let Some(path) = netns else { return work() };
    let refused = |errno: Errno| match errno {
        Errno::PERM => TapError::MissingCapability {
            capability: "CAP_SYS_ADMIN",
            purpose: format!("to enter the network namespace {}", path.display()),
        },
        errno => TapError::Namespace { path: path.to_owned(), source: errno.into() },
    };
    let file =
        File::open(path).map_err(|source| E::from(TapError::Namespace { path: path.to_owned(), source }))?;
    // The namespace is a thread's property; this thread ends with the work, so none is left in the wrong one.
    let outcome = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(|errno| E::from(refused(errno)))?;
            work()
        });
        thread.join()
    });
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The calling thread's network namespace.
pub(crate) fn identity() -> Result<NamespaceIdentity, TapError> {
    NamespaceIdentity::of(None).map_err(|source| TapError::Namespace { path: OWN.into(), source })
}
