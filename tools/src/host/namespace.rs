//! Network namespaces by iproute2, removed when their guard goes.

use anyhow::{Context, Result, anyhow, bail};
use nix::sched::{CloneFlags, setns};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Where iproute2 keeps named namespaces.
const DIRECTORY: &str = "/run/netns";
/// The kernel's parameters of the namespace of whoever looks.
const PARAMETERS: &str = "/proc/sys/net";
/// How long addresses may stay tentative (RFC 4862 §5.4).
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A network namespace of ours. Dropping it removes it; its devices go with it.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
    kept: bool,
}

impl Namespace {
    /// Makes the namespace, with its loopback up.
    ///
    /// # Errors
    /// When the name is taken, or `ip` cannot do it.
    pub(crate) fn create(name: &str) -> Result<Self> {
        super::check_interrupt()?;
        ip(&["netns", "add", name])?;
        let namespace = Self { name: name.to_owned(), kept: false };
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Its name, as `ip netns` lists it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its file, to enter it by.
    pub(crate) fn path(&self) -> PathBuf {
        path_of(&self.name)
    }

    /// Runs `ip` inside.
    pub(crate) fn ip(&self, arguments: &[&str]) -> Result<()> {
        let mut all = vec!["-n", self.name.as_str()];
        all.extend_from_slice(arguments);
        ip(&all)
    }

    /// Sets a parameter of the kernel inside, such as `ipv4/ip_forward`.
    pub(crate) fn set(&self, parameter: &str, value: &str) -> Result<()> {
        let file = Path::new(PARAMETERS).join(parameter);
        // A thread of its own, which ends there: only the calling thread changes its namespace.
        let written = thread::scope(|scope| {
            let inside = scope.spawn(|| {
                enter(&self.name)?;
                fs::write(&file, value)
                    .with_context(|| format!("cannot write {} in {}", file.display(), self.name))
            });
            inside.join()
        });
        written.map_err(|_| anyhow!("setting {} in {} died", file.display(), self.name))?
    }

    /// Waits until no address inside is tentative: until then nothing can listen on it.
    pub(crate) fn wait_for_addresses(&self) -> Result<()> {
        let deadline = Instant::now() + ADDRESS_TIMEOUT;
        loop {
            super::check_interrupt()?;
            let links = ip_json(&self.name, &["-6", "address", "show", "tentative"])?;
            let tentative = links
                .as_array()
                .into_iter()
                .flatten()
                .find(|link| link["addr_info"].as_array().is_some_and(|addresses| !addresses.is_empty()));
            let Some(link) = tentative else { return Ok(()) };
            if Instant::now() > deadline {
                bail!("an address of {} in {} stays tentative", link["ifname"], self.name);
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// Leaves the namespace behind when the guard goes.
    pub(crate) fn keep(&mut self) {
        self.kept = true;
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = remove(&self.name)
        {
            eprintln!("flyover: {error:#}");
        }
    }
}

/// The file of the namespace `name`.
fn path_of(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

/// Moves the calling thread into the namespace `name`.
///
/// # Errors
/// When it does not exist or may not be entered.
pub(super) fn enter(name: &str) -> Result<()> {
    let path = path_of(name);
    let file = File::open(&path).with_context(|| format!("no network namespace {}", path.display()))?;
    setns(file, CloneFlags::CLONE_NEWNET)
        .with_context(|| format!("cannot enter {}: CAP_SYS_ADMIN is needed", path.display()))
}

/// Names of all namespaces that begin with `prefix`, sorted.
pub(crate) fn existing(prefix: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(DIRECTORY) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(prefix))
        .collect();
    names.sort();
    names
}

/// Removes the namespace `name`.
pub(crate) fn remove(name: &str) -> Result<()> {
    ip(&["netns", "delete", name])
}

/// Runs `ip` with `arguments`; an error carries what it said.
fn ip(arguments: &[&str]) -> Result<()> {
    ip_output(arguments).map(drop)
}

/// Runs `ip -json` with `arguments` in `namespace` and parses the answer.
pub(crate) fn ip_json(namespace: &str, arguments: &[&str]) -> Result<serde_json::Value> {
    let mut all = vec!["-json", "-n", namespace];
    all.extend_from_slice(arguments);
    serde_json::from_slice(&ip_output(&all)?).with_context(|| format!("`ip {}`", all.join(" ")))
}

fn ip_output(arguments: &[&str]) -> Result<Vec<u8>> {
    let mut command = Command::new("ip");
    command.args(arguments).stdin(Stdio::null());
    // A Ctrl-C is for us; half a change would be left behind otherwise.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let output = command.output().map_err(|error| match error.kind() {
        ErrorKind::NotFound => anyhow::anyhow!("`ip` was not found: install iproute2"),
        _ => anyhow::Error::new(error).context("cannot run `ip`"),
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`ip {}`: {}", arguments.join(" "), said.trim().replace('\n', "; "));
    }
    Ok(output.stdout)
}

/// Refuses to go on without the rights that namespaces and TAP devices need.
pub(crate) fn require_root(what: &str) -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("{what} needs root for network namespaces and TAP devices: run it with sudo");
    }
    if !Path::new("/dev/net/tun").exists() {
        bail!("{what} needs /dev/net/tun: load the kernel module tun");
    }
    Ok(())
}
