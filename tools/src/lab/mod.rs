//! `flyover lab`: a cluster in network namespaces on one machine, tried and removed.
//!
//! [`crate::cluster`] builds it, [`checks`] knows what has to work and tries it, [`report`] shows it. What a run
//! makes is removed by guards; what a killed run left is found by its names, which begin with `fly-lab-`, and
//! removed by the next run or by `--down`.

mod agents;
mod checks;
mod report;

use crate::cli::LabArgs;
use crate::cluster::{Cluster, Plan, Shape, System};
use crate::host::Lifetime;
use crate::output::{Output, print};
use crate::{bench, host};
use agents::Agents;
use anyhow::{Context, Result, bail};
use std::fs;
use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;

/// What it consists of.
const SHAPE: Shape = Shape { nodes: 2, pods: 2, cloud: true };
/// Namespaces of the lab begin with this.
const PREFIX: &str = "fly-lab-";
/// Configurations, sockets and logs of the lab's daemons, a folder a node.
const DIRECTORY: &str = "/run/fly-lab";
/// An abstract socket that is held while a lab is built, tried or removed; it leaves no file behind.
const LOCK: &str = "flyover-lab";
/// In [`DIRECTORY`] while a lab was left running on purpose.
const KEPT: &str = "kept";

/// `flyover lab`.
pub(crate) fn run(arguments: &LabArgs, output: Output) -> Result<()> {
    host::require_root("flyover lab")?;
    let _lock = lock()?;
    if arguments.down {
        return down();
    }
    if Path::new(DIRECTORY).join(KEPT).exists() {
        bail!("a lab is running already: look at it, or remove it with `flyover lab --down`");
    }
    host::install_interrupt()?;
    let progress = |line: &str| eprintln!("{line}");
    if remove_everything()? + bench::remove_leftovers()? > 0 {
        progress("removed what an earlier run had left");
    }

    let directory = Directory::create()?;
    let plan = Plan {
        system: if arguments.kernel { System::KernelBridge } else { System::Flyover },
        shape: SHAPE,
        prefix: PREFIX,
        directory: Path::new(DIRECTORY),
        workers: 1,
        // Daemons of a lab that is to be kept go on when this process ends.
        lifetime: if arguments.keep { Lifetime::Outlive } else { Lifetime::Ours },
    };
    let mut cluster = Cluster::build(&plan, progress)?;
    let mut agents = Agents::start(&cluster)?;
    let outcomes = checks::run(&mut cluster, &mut agents, SHAPE, progress)?;
    drop(agents);
    let failed = outcomes.iter().filter(|outcome| outcome.error.is_some()).count();
    let entrances = arguments.keep.then(|| report::entrances(&cluster));
    if arguments.keep {
        fs::write(Path::new(DIRECTORY).join(KEPT), "")?;
        cluster.keep();
        directory.keep();
    } else {
        drop(cluster);
        drop(directory);
        progress("removed everything");
    }
    if output.json {
        output.print_json(&outcomes)?;
    } else {
        print(&report::table(&outcomes))?;
        print(&report::caution())?;
        if let Some(entrances) = entrances {
            print(&entrances)?;
        }
    }
    if failed > 0 {
        bail!("{failed} of {} kinds of communication failed", outcomes.len());
    }
    Ok(())
}

/// `flyover lab --down`.
fn down() -> Result<()> {
    let removed = remove_everything()? + bench::remove_leftovers()?;
    print(&match removed {
        0 => "there was no lab\n".to_owned(),
        count => format!("removed {count} network namespaces and what was in them\n"),
    })
}

/// Ends the lab's daemons and removes its namespaces and files; how many namespaces there were.
fn remove_everything() -> Result<usize> {
    let directory = Path::new(DIRECTORY);
    for entry in fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok) {
        host::stop_kept(&entry.path())?;
    }
    let namespaces = host::existing(PREFIX);
    for name in &namespaces {
        host::remove(name)?;
    }
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| format!("cannot remove {}", directory.display()))?;
    }
    Ok(namespaces.len())
}

/// One lab at a time: the names are the same for all.
fn lock() -> Result<UnixListener> {
    let address = SocketAddr::from_abstract_name(LOCK)?;
    UnixListener::bind_addr(&address).map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => anyhow::anyhow!("another `flyover lab` is at work: wait for it to end"),
        _ => anyhow::Error::new(error).context("cannot lock the lab"),
    })
}

/// Removes the lab's files when it goes, unless they are kept.
struct Directory(bool);

impl Directory {
    fn create() -> Result<Self> {
        fs::create_dir_all(DIRECTORY).with_context(|| format!("cannot make {DIRECTORY}"))?;
        Ok(Self(true))
    }

    fn keep(mut self) {
        self.0 = false;
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if self.0
            && Path::new(DIRECTORY).exists()
            && let Err(error) = fs::remove_dir_all(DIRECTORY)
        {
            eprintln!("flyover: cannot remove {DIRECTORY}: {error}");
        }
    }
}
