//! Open vSwitch's userspace datapath with TAP ports and userspace TSO, in a namespace and a directory of its
//! own: a system-wide Open vSwitch is neither used nor disturbed.

use crate::host::{self, Namespace, Process};
use anyhow::{Context, Result, bail, ensure};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Where the schema lies, unless `$OVS_PKGDATADIR` says otherwise as it does to Open vSwitch's own programs.
const DATA_DIRECTORY: &str = "/usr/share/openvswitch";
const START_TIMEOUT: Duration = Duration::from_secs(15);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A database server and a switch daemon. Dropping it ends both.
#[derive(Debug)]
pub(super) struct OpenVSwitch {
    switch: Process,
    _database: Process,
}

/// True if the programs are installed.
pub(super) fn is_installed() -> bool {
    schema().exists() && ["ovsdb-tool", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl"].iter().all(on_path)
}

fn schema() -> PathBuf {
    let directory = std::env::var_os("OVS_PKGDATADIR").unwrap_or_else(|| DATA_DIRECTORY.into());
    Path::new(&directory).join("vswitch.ovsschema")
}

fn on_path(program: &&str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

impl OpenVSwitch {
    /// Starts both in `node` with a bridge, and moves a TAP port of it into each of `pods` as `eth0`.
    pub(super) fn start(node: &Namespace, pods: &[&Namespace], directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let files = Files(directory.to_owned());
        run(&files, "ovsdb-tool", &["create", &files.path("conf.db"), &schema().display().to_string()])?;
        let remote = format!("punix:{}", files.path("db.sock"));
        let control = format!("--unixctl={}", files.path("ovsdb.ctl"));
        let database =
            spawn(&files, "ovsdb-server", node, &[&files.path("conf.db"), "--remote", &remote, &control])?;
        wait_for(&directory.join("db.sock"))?;
        vsctl(&files, &["--no-wait", "init"])?;
        vsctl(&files, &["--no-wait", "set", "Open_vSwitch", ".", "other_config:userspace-tso-enable=true"])?;
        let address = format!("unix:{}", files.path("db.sock"));
        let control = format!("--unixctl={}", files.path("vswitchd.ctl"));
        let switch = spawn(&files, "ovs-vswitchd", node, &[&address, &control, "--disable-system"])?;
        vsctl(&files, &["add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev"])?;
        for (index, pod) in pods.iter().enumerate() {
            let tap = format!("tap{}", index + 1);
            vsctl(&files, &["add-port", "br0", &tap, "--", "set", "interface", &tap, "type=tap"])?;
            node.ip(&["link", "set", &tap, "netns", pod.name(), "name", "eth0"])?;
        }
        Ok(Self { switch, _database: database })
    }

    /// True if the switch daemon has ended, which it should not have.
    pub(super) fn has_ended(&mut self) -> bool {
        self.switch.has_ended()
    }
}

/// The directory that stands for all of `/var/run`, `/var/log` and `/etc/openvswitch`.
struct Files(PathBuf);

impl Files {
    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    fn apply(&self, command: &mut Command) {
        for variable in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"] {
            command.env(variable, &self.0);
        }
        command.stdin(Stdio::null());
    }
}

fn spawn(files: &Files, program: &str, namespace: &Namespace, arguments: &[&str]) -> Result<Process> {
    let log = File::create(files.0.join(format!("{program}.log")))?;
    let mut command = Process::command_of(program, namespace.name(), arguments);
    files.apply(&mut command);
    let child = command.stdout(log.try_clone()?).stderr(log).spawn();
    child.map(Process::guard).with_context(|| format!("cannot start {program}"))
}

fn vsctl(files: &Files, arguments: &[&str]) -> Result<()> {
    let database = format!("--db=unix:{}", files.path("db.sock"));
    let mut all = vec![database.as_str(), "--timeout=15"];
    all.extend_from_slice(arguments);
    run(files, "ovs-vsctl", &all)
}

fn run(files: &Files, program: &str, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new(program);
    files.apply(&mut command);
    let output = command.args(arguments).output().with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{program} {}`: {}", arguments.join(" "), said.trim().replace('\n', "; "));
    }
    Ok(())
}

fn wait_for(path: &Path) -> Result<()> {
    let deadline = Instant::now() + START_TIMEOUT;
    while !path.exists() {
        host::check_interrupt()?;
        ensure!(Instant::now() < deadline, "{} did not appear", path.display());
        std::thread::sleep(POLL_INTERVAL);
    }
    Ok(())
}
