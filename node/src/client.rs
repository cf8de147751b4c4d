//! A small blocking client of the control API, for the command line and other programs without an async
//! runtime. One connection for each request.

mod response;

pub use response::Body;

use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use packet::MacAddress;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::types;
use crate::config::PortConfig;

/// How long the daemon may take to answer.
const ANSWER: Duration = Duration::from_secs(30);
/// Longest answer that is read as a whole, in bytes: 4096 ports and every MAC fit.
const ANSWER_BYTES_MAX: u64 = 1 << 30;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no flyover daemon answers at {}: {source} (is `flyover run` running? another socket is given by --socket)", .socket.display())]
    NoDaemon {
        /// The socket.
        socket: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// The daemon refuses.
    #[error("{error}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// What the daemon says.
        error: String,
    },
    /// The connection broke, or the daemon is too slow.
    #[error("the daemon's answer did not arrive: {0}")]
    Io(#[from] io::Error),
    /// It is no daemon of ours, or of another version.
    #[error("the daemon's answer cannot be understood: {0}")]
    Answer(String),
}

/// What a capture is to contain.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CaptureQuery {
    /// Only frames of this port.
    pub port: Option<String>,
    /// Only so many frames.
    pub count: Option<u64>,
    /// Only dropped frames.
    pub drops: bool,
    /// Only frames that match; see [`filter`](crate::filter).
    pub filter: Option<String>,
}

/// A client of the daemon that listens on one socket.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// A client; nothing is connected yet.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// All ports.
    ///
    /// # Errors
    /// [`ClientError`], here and below.
    pub fn ports(&self) -> Result<Vec<types::Port>, ClientError> {
        self.get("/v1/ports")
    }

    /// One port.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn port(&self, name: &str) -> Result<types::Port, ClientError> {
        self.get(&format!("/v1/ports/{}", step(name)))
    }

    /// Adds a port.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn add_port(&self, port: &PortConfig) -> Result<types::Port, ClientError> {
        self.post("/v1/ports", port)
    }

    /// Removes a port.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn delete_port(&self, name: &str) -> Result<(), ClientError> {
        self.request("DELETE", &format!("/v1/ports/{}", step(name)), None).map(drop)
    }

    /// Sets a port up or down.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn set_port(&self, name: &str, state: types::AdminState) -> Result<types::Port, ClientError> {
        self.post(&format!("/v1/ports/{}/state", step(name)), &types::SetState { state })
    }

    /// The forwarding database, of one port or all.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn fdb(&self, dev: Option<&str>) -> Result<Vec<types::FdbEntry>, ClientError> {
        self.get(&with_dev("/v1/fdb", dev))
    }

    /// Adds a static entry.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn add_fdb(&self, mac: MacAddress, dev: &str) -> Result<types::FdbEntry, ClientError> {
        self.post("/v1/fdb", &types::NewFdbEntry { mac, dev: dev.to_owned() })
    }

    /// Removes an entry.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn delete_fdb(&self, mac: MacAddress) -> Result<(), ClientError> {
        self.request("DELETE", &format!("/v1/fdb/{mac}"), None).map(drop)
    }

    /// Forgets learned entries, of one port or all.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn flush_fdb(&self, dev: Option<&str>) -> Result<types::Flushed, ClientError> {
        read_json(self.request("DELETE", &with_dev("/v1/fdb", dev), None)?)
    }

    /// All routes of all sources.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn routes(&self) -> Result<Vec<types::Route>, ClientError> {
        self.get("/v1/routes")
    }

    /// What becomes of packets to `address`.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn route_get(&self, address: IpAddr) -> Result<types::RouteAnswer, ClientError> {
        self.get(&format!("/v1/routes/get?dst={address}"))
    }

    /// Adds a route.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn add_route(&self, route: &types::NewRoute) -> Result<types::Route, ClientError> {
        self.post("/v1/routes", route)
    }

    /// Removes a route of the API: with this metric, or the best one.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn delete_route(&self, prefix: IpNet, metric: Option<u32>) -> Result<(), ClientError> {
        let metric = metric.map_or(String::new(), |metric| format!("&metric={metric}"));
        self.request("DELETE", &format!("/v1/routes?dst={prefix}{metric}"), None).map(drop)
    }

    /// All neighbors.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn neighbors(&self) -> Result<Vec<types::Neighbor>, ClientError> {
        self.get("/v1/neighbors")
    }

    /// Forgets learned neighbors, of one link or all.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn flush_neighbors(&self, dev: Option<&str>) -> Result<types::Flushed, ClientError> {
        read_json(self.request("DELETE", &with_dev("/v1/neighbors", dev), None)?)
    }

    /// What would become of a packet.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn explain(&self, packet: &str) -> Result<Vec<types::ExplainStep>, ClientError> {
        self.post("/v1/explain", &types::ExplainRequest { packet: packet.to_owned() })
    }

    /// The status page.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn status(&self) -> Result<types::Status, ClientError> {
        self.get("/v1/status")
    }

    /// All counters.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn stats(&self) -> Result<types::Stats, ClientError> {
        self.get("/v1/stats")
    }

    /// Counters of drops.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn drops(&self) -> Result<Vec<types::Drops>, ClientError> {
        self.get("/v1/stats/drops")
    }

    /// Counters of workers.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn workers(&self) -> Result<Vec<types::Worker>, ClientError> {
        self.get("/v1/stats/workers")
    }

    /// Counters of ports.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn port_stats(&self) -> Result<Vec<types::PortStats>, ClientError> {
        self.get("/v1/stats/ports")
    }

    /// Captures frames as pcapng, until the count is reached or the body is dropped. A read may block for as
    /// long as no frame matches.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn capture(&self, query: &CaptureQuery) -> Result<Body, ClientError> {
        let mut encoded = form_urlencoded::Serializer::new(String::new());
        if let Some(port) = &query.port {
            encoded.append_pair("port", port);
        }
        if let Some(count) = query.count {
            encoded.append_pair("count", &count.to_string());
        }
        if query.drops {
            encoded.append_pair("drops", "true");
        }
        if let Some(filter) = &query.filter {
            encoded.append_pair("filter", filter);
        }
        let body = self.request("GET", &format!("/v1/capture?{}", encoded.finish()), None)?;
        body.wait_for_ever()?;
        Ok(body)
    }

    /// Any `GET`, as a value.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        read_json(self.request("GET", path, None)?)
    }

    fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| ClientError::Answer(error.to_string()))?;
        read_json(self.request("POST", path, Some(&body))?)
    }

    /// Any request; the body of an answer with a 2xx status.
    fn request(&self, method: &str, path: &str, body: Option<&[u8]>) -> Result<Body, ClientError> {
        let mut stream = UnixStream::connect(&self.socket)
            .map_err(|source| ClientError::NoDaemon { socket: self.socket.clone(), source })?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_write_timeout(Some(ANSWER))?;
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: flyover\r\nconnection: close\r\n");
        if let Some(body) = body {
            head.push_str("content-type: application/json\r\n");
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut message = head.into_bytes();
        message.extend_from_slice(body.unwrap_or_default());
        stream.write_all(&message)?;
        let (status, body) = response::read(stream)?;
        if (200..300).contains(&status) {
            return Ok(body);
        }
        let error = match read_json::<types::Error>(body) {
            Ok(refusal) => refusal.error,
            Err(_) => format!("the daemon answers with status {status}"),
        };
        Err(ClientError::Refused { status, error })
    }
}

fn read_json<T: DeserializeOwned>(body: Body) -> Result<T, ClientError> {
    let mut bytes = Vec::new();
    body.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes)?;
    serde_json::from_slice(&bytes).map_err(|error| ClientError::Answer(error.to_string()))
}

fn with_dev(path: &str, dev: Option<&str>) -> String {
    match dev {
        None => path.to_owned(),
        Some(dev) => {
            let query = form_urlencoded::Serializer::new(String::new()).append_pair("dev", dev).finish();
            format!("{path}?{query}")
        }
    }
}

/// A name as one step of a path. No port has a name that needs more than letters, so that anything else
/// need only be kept from meaning something.
fn step(name: &str) -> String {
    form_urlencoded::byte_serialize(name.as_bytes()).collect()
}
