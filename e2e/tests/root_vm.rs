//! A virtual machine behind a TAP that QEMU opened: a small Linux that boots under software emulation, with
//! a kernel of Debian's that `test.sh` unpacks into `target/guest`.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use e2e::script::Random;
use e2e::{Namespace, Plan, Pod, Rig, Test, listen, ping, run_root_tests, wait_until};
use sha2::{Digest, Sha256};

const DEVICE: &str = "vm5";
const MAC: &str = "02:00:00:00:05:05";
/// Software emulation on a busy machine.
const BOOT: Duration = Duration::from_secs(90);
const BYTES: usize = 8 << 20;
/// In the order in which they need one another.
const MODULES: [&str; 8] = [
    "net/core/failover",
    "drivers/net/net_failover",
    "drivers/virtio/virtio_ring",
    "drivers/virtio/virtio",
    "drivers/virtio/virtio_pci_legacy_dev",
    "drivers/virtio/virtio_pci_modern_dev",
    "drivers/virtio/virtio_pci",
    "drivers/net/virtio_net",
];

/// The kernel and the folder of its modules, if they were unpacked.
fn kernel() -> Option<(PathBuf, PathBuf)> {
    let guest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/guest");
    let image = std::fs::read_dir(guest.join("boot")).ok()?.flatten().find_map(|entry| {
        entry.file_name().to_string_lossy().starts_with("vmlinuz-").then(|| entry.path())
    })?;
    let version = image.file_name()?.to_string_lossy().trim_start_matches("vmlinuz-").to_owned();
    Some((image, guest.join("lib/modules").join(version).join("kernel")))
}

/// The program that is all of the guest's user space, if it is installed and needs no libraries.
fn busybox() -> Option<Vec<u8>> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("busybox")).find(|path| path.is_file());
    let program = std::fs::read(found?).ok()?;
    let loader = b"/ld-linux";
    (!program.windows(loader.len()).any(|window| window == loader)).then_some(program)
}

/// An archive for the kernel to unpack, in the format of `cpio -H newc`.
struct Initramfs(Vec<u8>);

impl Initramfs {
    fn add(&mut self, name: &str, mode: u32, content: &[u8]) {
        let mut fields = [0_u32; 13];
        fields[1] = mode;
        fields[4] = 1;
        fields[6] = u32::try_from(content.len()).expect("it is small");
        fields[11] = u32::try_from(name.len() + 1).expect("it is short");
        self.0.extend(b"070701");
        fields.iter().for_each(|field| self.0.extend(format!("{field:08x}").bytes()));
        self.0.extend(name.bytes().chain([0]));
        self.pad();
        self.0.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    /// What busybox, `init` and the modules are all there is to.
    fn build(init: &str, modules: &Path) -> Vec<u8> {
        const DIRECTORY: u32 = 0o040_755;
        const PROGRAM: u32 = 0o100_755;
        let mut archive = Self(Vec::new());
        for directory in ["bin", "dev", "proc", "sys"] {
            archive.add(directory, DIRECTORY, b"");
        }
        archive.add("bin/busybox", PROGRAM, &busybox().expect("busybox is installed"));
        for (index, module) in MODULES.iter().enumerate() {
            let path = modules.join(format!("{module}.ko"));
            let content = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            archive.add(&format!("{index}.ko"), PROGRAM, &content);
        }
        archive.add("init", PROGRAM, init.as_bytes());
        archive.add("TRAILER!!!", 0, b"");
        archive.0
    }
}

/// A running virtual machine; killed when dropped.
struct Machine {
    child: Child,
    lines: Receiver<String>,
    heard: Vec<String>,
}

impl Machine {
    /// Boots with `init` as the first program, the TAP [`DEVICE`] of `host` being its network card.
    fn boot(host: &Namespace, directory: &Path, init: &str) -> Self {
        let (image, modules) = kernel().expect("the kernel was unpacked");
        let archive = directory.join("initramfs");
        std::fs::write(&archive, Initramfs::build(init, &modules)).expect("the archive can be written");
        let errors = File::create(directory.join("qemu.log")).expect("the log can be written");
        let mut command = Command::new("qemu-system-x86_64");
        command.args(["-accel", "tcg", "-m", "256", "-nodefaults", "-display", "none", "-no-reboot"]);
        command.args(["-serial", "stdio", "-append", "console=ttyS0 quiet panic=-1"]);
        command.arg("-kernel").arg(image).arg("-initrd").arg(archive);
        command.args(["-netdev", &format!("tap,id=net0,ifname={DEVICE},script=no,downscript=no")]);
        command.args(["-device", &format!("virtio-net-pci,netdev=net0,mac={MAC},romfile=")]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
        let mut child = host.run(|| command.spawn()).expect("QEMU can be started");
        let output = BufReader::new(child.stdout.take().expect("it was piped"));
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if tell.send(line.trim_end().to_owned()).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, heard: Vec::new() }
    }

    /// The rest of the line that begins with `start`.
    fn await_line(&mut self, start: &str) -> String {
        let deadline = Instant::now() + BOOT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|error| {
                panic!("the guest does not say {start:?}: {error}\n{}", self.heard.join("\n"))
            });
            self.heard.push(line.clone());
            if let Some(rest) = line.strip_prefix(start) {
                return rest.trim().to_owned();
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the guest does: ping, fetch, and give back.
fn init(guest: &Pod, pod: &Pod, fetch: &TcpListener, give: &TcpListener) -> String {
    let port = |listener: &TcpListener| listener.local_addr().expect("it is bound").port();
    let (fetch, give) = (port(fetch), port(give));
    let (v4, v6, pod4, pod6) = (guest.v4, guest.v6, pod.v4, pod.v6);
    let last = MODULES.len() - 1;
    format!(
        "#!/bin/busybox sh\n\
         bb=/bin/busybox\n\
         $bb mount -t proc proc /proc; $bb mount -t sysfs sysfs /sys; $bb mount -t devtmpfs dev /dev\n\
         for number in $($bb seq 0 {last}); do $bb insmod /$number.ko || echo \"SAYS no module $number\"; done\n\
         $bb ip addr add {v4}/24 dev eth0; $bb ip link set eth0 up\n\
         echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad; $bb ip -6 addr add {v6}/64 dev eth0\n\
         $bb ip route add default via 10.244.1.1\n\
         $bb ping -c 3 -w 30 {pod4} > /dev/null; echo \"PING4 $?\"\n\
         $bb ping -c 3 -w 30 {pod6} > /dev/null; echo \"PING6 $?\"\n\
         $bb ping -c 3 -w 30 10.244.1.1 > /dev/null; echo \"GATEWAY $?\"\n\
         $bb nc {pod4} {fetch} < /dev/null > /data\n\
         echo \"HASH $($bb sha256sum < /data)\"\n\
         $bb nc {pod4} {give} < /data\n\
         echo \"DONE\"\n\
         while true; do $bb sleep 1; done\n"
    )
}

fn a_virtual_machine_talks_to_pods() {
    let rig = Rig::start(&Plan::new(1, 1));
    let (pod, guest) = (&rig.pods[0], Pod::new(5, false));
    // As docs/vm.md has it.
    rig.host.ip(&format!("tuntap add dev {DEVICE} mode tap vnet_hdr"));
    rig.host.sysctl(&format!("net/ipv6/conf/{DEVICE}/disable_ipv6"), "1");
    rig.host.sysctl(&format!("net/ipv4/conf/{DEVICE}/arp_ignore"), "8");
    rig.host.ip(&format!("link set {DEVICE} up"));
    let (v4, v6) = (format!("{}/24", guest.v4), format!("{}/64", guest.v6));
    let mut words = vec!["port", "add", &guest.port, "--type", "packet", "--device", DEVICE];
    words.extend(["--mac", MAC, "--address", &v4, "--address", &v6]);
    rig.succeed(&words);
    let state = || rig.port(&guest.port).map(|port| port["state"].clone());
    wait_until("no carrier while no machine runs", || (state()? == "link-down").then_some(()));

    let (fetch, _) = listen(&pod.namespace, pod.v4.into());
    let (give, _) = listen(&pod.namespace, pod.v4.into());
    let mut machine = Machine::boot(&rig.host, rig.directory(), &init(&guest, pod, &fetch, &give));
    for claim in ["PING4", "PING6", "GATEWAY"] {
        assert_eq!(machine.await_line(claim), "0", "{claim}\n{}", machine.heard.join("\n"));
    }
    let mut data = vec![0; BYTES];
    Random::new(4).fill(&mut data);
    fetch.accept().expect("the guest fetches").0.write_all(&data).expect("it takes the data");
    let hash: String = Sha256::digest(&data).iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(machine.await_line("HASH").starts_with(&hash), "{}", machine.heard.join("\n"));
    let mut given = Vec::new();
    give.accept().expect("the guest gives").0.read_to_end(&mut given).expect("the data arrives");
    assert!(given == data, "{} bytes came back", given.len());
    machine.await_line("DONE");
    for address in guest.addresses() {
        assert!(ping(&pod.namespace, address, 56), "{address}");
    }

    let table = rig.json(&["stats", "ports"]);
    let row = table.as_array().and_then(|rows| rows.iter().find(|row| row["ifname"] == guest.port.as_str()));
    let count = |key: &str| row.and_then(|row| row[key].as_u64()).expect("it is a number");
    let bytes_a_frame = count("tx_bytes") / count("tx_packets");
    assert!(bytes_a_frame > 1514, "super-frames to the guest: {bytes_a_frame} bytes a frame");
    drop(machine);
    wait_until("no carrier once the machine is off", || (state()? == "link-down").then_some(()));
    rig.assert_every_frame_is_accounted_for();
}

fn main() -> ExitCode {
    let missing = if kernel().is_none() {
        Some("needs a kernel in target/guest: ./test.sh unpacks one")
    } else {
        busybox().is_none().then_some("needs busybox-static")
    };
    let test = Test::new("a_virtual_machine_talks_to_pods", a_virtual_machine_talks_to_pods)
        .needing("qemu-system-x86_64")
        .unless(missing.map(str::to_owned));
    run_root_tests(1, vec![test])
}
