//! Work inside another network namespace, in a thread of its own.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::TapError;

/// Which namespace a thread is in: device and inode of the namespace's file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct NamespaceIdentity {
    device: u64,
    inode: u64,
}

/// Runs `work` in the network namespace that the file `netns` stands for, or in the calling thread's own.
pub(super) fn inside<T: Send>(
    netns: Option<&Path>,
    work: impl FnOnce() -> Result<T, TapError> + Send,
) -> Result<T, TapError> {
    let Some(path) = netns else { return work() };
    let refused = |errno: Errno| match errno {
        Errno::PERM => TapError::MissingCapability {
            capability: "CAP_SYS_ADMIN",
            purpose: format!("to enter the network namespace {}", path.display()),
        },
        errno => TapError::Namespace { path: path.to_owned(), source: errno.into() },
    };
    let file = File::open(path).map_err(|source| TapError::Namespace { path: path.to_owned(), source })?;
    // The namespace is a thread's property; this thread ends with the work, so none is left in the wrong one.
    let outcome = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).map_err(refused)?;
            work()
        });
        thread.join()
    });
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The calling thread's network namespace.
pub(super) fn identity() -> Result<NamespaceIdentity, TapError> {
    let path = Path::new("/proc/thread-self/ns/net");
    let stat = rustix::fs::stat(path)
        .map_err(|errno| TapError::Namespace { path: path.to_owned(), source: errno.into() })?;
    Ok(NamespaceIdentity { device: stat.st_dev, inode: stat.st_ino })
}
