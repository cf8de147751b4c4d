//! A node without a kernel: real workers, the real server on a real socket, simulated devices.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use node::api::server;
use node::api::types::PortState;
use node::client::{Client, ClientError};
use node::config::{self, Machine, PortConfig};
use node::control::{self, ControlHandle, ControlThread, Options, StartError};
use node::devices::{SimulatedDevices, SimulatedWorld};
use node::state::StateDirectory;
use packet::MacAddress;
use port::EngineKind;
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(10);

pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A node with its API, as far as that goes without a right.
pub(crate) struct Node {
    control: Option<ControlThread>,
    pub(crate) client: Client,
    pub(crate) world: SimulatedWorld,
    runtime: Option<tokio::runtime::Runtime>,
    place: TempDir,
}

impl Node {
    pub(crate) fn start(text: &str) -> Self {
        let place = tempfile::tempdir().unwrap();
        Self::start_in(place, SimulatedWorld::default(), text).unwrap()
    }

    pub(crate) fn start_in(place: TempDir, world: SimulatedWorld, text: &str) -> Result<Self, StartError> {
        let machine = Machine { cpus: vec![0, 1] };
        let loaded = config::parse(text, Some(Path::new("f.toml")), &machine).unwrap();
        let options = Options {
            machine,
            devices: Box::new(SimulatedDevices(world.clone())),
            state: StateDirectory::open(place.path()).unwrap(),
            engine: EngineKind::Epoll,
            seed: 1,
        };
        let control = control::spawn(loaded, options)?;
        let socket = place.path().join("api.sock");
        let listener = server::bind(&socket).unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(server::serve(listener, control.handle()));
        Ok(Self { control: Some(control), client: Client::new(socket), world, runtime: Some(runtime), place })
    }

    /// The same node after a restart: same devices, same state directory.
    pub(crate) fn restart(mut self, text: &str) -> Self {
        assert!(self.control.take().unwrap().stop());
        drop(self.runtime.take());
        let place = std::mem::replace(&mut self.place, tempfile::tempdir().unwrap());
        Self::start_in(place, self.world.clone(), text).unwrap()
    }

    pub(crate) fn handle(&self) -> ControlHandle {
        self.control.as_ref().unwrap().handle()
    }

    pub(crate) fn add_pod(&self, index: u8) -> PortConfig {
        let port = pod(index);
        self.world.add_namespace(port.netns.clone().unwrap());
        self.client.add_port(&port).unwrap();
        port
    }

    pub(crate) fn state(&self, name: &str) -> Option<PortState> {
        self.client.ports().unwrap().into_iter().find(|port| port.ifname == name).map(|port| port.state)
    }

    pub(crate) fn raw(&self, request: &str) -> String {
        let mut stream = UnixStream::connect(self.client.socket()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // A server that has not read all of the request resets the connection behind its answer.
        if let Err(error) = stream.read_to_end(&mut answer) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
        String::from_utf8(answer).unwrap()
    }
}

pub(crate) fn netns(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}

pub(crate) fn pod(index: u8) -> PortConfig {
    let name = format!("p{index}");
    PortConfig {
        netns: Some(netns(&name)),
        mac: Some(MacAddress([2, 0, 0, 0, 0, index])),
        addresses: vec![format!("10.244.1.{index}/24").parse().unwrap()],
        name,
        ..PortConfig::default()
    }
}

/// An Ethernet frame between two pods, by their MACs' last bytes, of an EtherType for experiments.
pub(crate) fn frame(from: u8, to: MacAddress) -> Vec<u8> {
    [&to.0[..], &[2, 0, 0, 0, 0, from], &[0x88, 0xb5], &[0x5a; 46]].concat()
}

pub(crate) fn refusal<T: std::fmt::Debug>(result: Result<T, ClientError>) -> (u16, String) {
    match result {
        Err(ClientError::Refused { status, error }) => (status, error),
        other => panic!("{other:?}"),
    }
}
