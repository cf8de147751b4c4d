//! Child processes in network namespaces. They are this same binary: `netns-exec` enters the namespace while
//! it has one thread, then becomes what was asked for.

use super::namespace;
use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getppid, setsid};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

/// How long a child may take to end after SIGTERM.
const TERMINATION_TIMEOUT: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// How long a child lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lifetime {
    /// It ends with its guard, and also when this process dies in any way.
    Ours,
    /// It goes on when this process ends (but ends with its guard all the same, unless kept).
    Outlive,
}

/// A child process. Dropping it ends it: SIGTERM, and SIGKILL if that does not help.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    kept: bool,
}

impl Process {
    /// A command that runs this binary with `arguments` inside `namespace`.
    ///
    /// The kernel ties [`Lifetime::Ours`] to the *thread* that spawns, so spawn from the main thread.
    pub(crate) fn command(namespace: &str, lifetime: Lifetime, arguments: &[&str]) -> Command {
        let mut command = Self::prelude(lifetime);
        command.args([namespace, "--"]).args(arguments);
        command
    }

    /// As [`Self::command`], for another program; it lives as [`Lifetime::Ours`].
    pub(crate) fn command_of(program: &str, namespace: &str, arguments: &[&str]) -> Command {
        let mut command = Self::prelude(Lifetime::Ours);
        command.args(["--program", program, namespace, "--"]).args(arguments);
        command
    }

    fn prelude(lifetime: Lifetime) -> Command {
        let mut command = Command::new(own_binary());
        command.arg0("flyover").arg("netns-exec");
        if lifetime == Lifetime::Ours {
            command.args(["--parent", &std::process::id().to_string()]);
        }
        command
    }

    /// Guards a child that was spawned from such a command.
    pub(crate) fn guard(child: Child) -> Self {
        Self { child, kept: false }
    }

    /// The child, to take its pipes.
    pub(crate) fn child_mut(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Leaves the child running when the guard goes.
    pub(crate) fn keep(&mut self) {
        self.kept = true;
    }

    /// True once it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.kept || self.has_ended() {
            return;
        }
        let id = i32::try_from(self.id()).map(Pid::from_raw);
        if let Ok(id) = id {
            // It may have ended just now; then there is nobody to tell.
            let _ = kill(id, Signal::SIGTERM);
        }
        let deadline = Instant::now() + TERMINATION_TIMEOUT;
        while !self.has_ended() {
            if Instant::now() > deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            thread::sleep(POLL_INTERVAL);
        }
    }
}

/// The file of this binary, also when it was replaced on disk by a newer build meanwhile.
fn own_binary() -> PathBuf {
    std::env::current_exe().ok().filter(|path| path.exists()).unwrap_or_else(|| "/proc/self/exe".into())
}

/// The hidden command `netns-exec`: enters `namespace`, then becomes `program` (this binary, if there is
/// none) with `arguments`.
///
/// With `parent`, the process gets SIGTERM when that process dies, and does not start if it is dead already.
///
/// # Errors
/// When the namespace does not exist or may not be entered. On success it does not return.
pub(crate) fn enter_and_execute(
    namespace: &str,
    parent: Option<i32>,
    program: Option<&str>,
    arguments: &[String],
) -> Result<()> {
    // A terminal's Ctrl-C is for the parent, which then ends us in good order. We lead a group already only
    // when a person runs this from a shell; that is no matter.
    match setsid() {
        Ok(_) | Err(Errno::EPERM) => {}
        Err(error) => return Err(error).context("setsid"),
    }
    if let Some(parent) = parent {
        set_pdeathsig(Signal::SIGTERM).context("prctl(PR_SET_PDEATHSIG)")?;
        if getppid().as_raw() != parent {
            bail!("the process that wanted this is gone");
        }
    }
    namespace::enter(namespace)?;
    let name = program.unwrap_or("flyover");
    let binary = program.map_or_else(own_binary, PathBuf::from);
    let error = Command::new(binary).arg0(name).args(arguments).exec();
    Err(error).with_context(|| format!("cannot start {name}"))
}
