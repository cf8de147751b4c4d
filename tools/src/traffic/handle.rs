//! The other end of an agent: starts it in a namespace and asks it. Every wait ends: by the answer, by a
//! deadline, by the agent's death or by Ctrl-C.

use super::protocol::{Bulk, Connections, Datagrams, Reply, Request, RoundTrips, Service};
use crate::host::{self, CpuTimes, CpuUse, Lifetime, Process};
use anyhow::{Context, Result, bail, ensure};
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr};
use std::process::{ChildStdin, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// What an agent may need beyond the time that it was told to spend.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// An agent in a network namespace; it ends with this.
#[derive(Debug)]
pub(crate) struct Agent {
    namespace: String,
    input: ChildStdin,
    replies: Receiver<String>,
    // Last: the pipe is closed before the process is waited for.
    _process: Process,
}

/// A result with what the machine's CPUs did for it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Measured<T> {
    /// The result.
    pub value: T,
    /// From the start of the traffic to its end.
    pub cpu: CpuUse,
}

impl Agent {
    /// Starts an agent in `namespace`. To be called from the main thread (see [`Process::command`]).
    pub(crate) fn start(namespace: &str) -> Result<Self> {
        let child = Process::command(namespace, Lifetime::Ours, &["bench-agent"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a traffic agent")?;
        let mut process = Process::guard(child);
        let (Some(input), Some(output)) =
            (process.child_mut().stdin.take(), process.child_mut().stdout.take())
        else {
            bail!("a traffic agent has no pipes");
        };
        let (sender, replies) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { namespace: namespace.to_owned(), input, replies, _process: process })
    }

    fn ask(&mut self, request: &Request, duration: Duration) -> Result<Reply> {
        host::check_interrupt()?;
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.input.write_all(&line).with_context(|| format!("the agent in {} is gone", self.namespace))?;
        let deadline = Instant::now() + duration + PATIENCE;
        loop {
            match self.replies.recv_timeout(POLL_INTERVAL) {
                Ok(line) => match serde_json::from_str(&line)? {
                    Reply::Failed { message } => bail!("in {}: {message}", self.namespace),
                    reply => return Ok(reply),
                },
                Err(RecvTimeoutError::Timeout) => {
                    host::check_interrupt()?;
                    ensure!(Instant::now() < deadline, "the agent in {} is silent", self.namespace);
                }
                Err(RecvTimeoutError::Disconnected) => bail!("the agent in {} died", self.namespace),
            }
        }
    }

    fn serve(&mut self, service: Service, address: IpAddr) -> Result<SocketAddr> {
        match self.ask(&Request::Serve { service, address }, Duration::ZERO)? {
            Reply::Listening { port } => Ok(SocketAddr::new(address, port)),
            other => Err(self.unexpected(&other)),
        }
    }

    fn finish(&mut self, service: SocketAddr) -> Result<Reply> {
        self.ask(&Request::Finish { port: service.port() }, Duration::ZERO)
    }

    fn unexpected(&self, reply: &Reply) -> anyhow::Error {
        anyhow::anyhow!("the agent in {} answered something else: {reply:?}", self.namespace)
    }

    /// Calls `address`, where `server` answers, and returns both sides' accounts.
    fn call(
        &mut self,
        server: &mut Self,
        address: IpAddr,
        service: Service,
        duration: Duration,
        request: impl FnOnce(SocketAddr, u64) -> Request,
    ) -> Result<(Measured<Reply>, Reply)> {
        let to = server.serve(service, address)?;
        let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let before = CpuTimes::now()?;
        let value = self.ask(&request(to, duration_ms), duration)?;
        let cpu = CpuTimes::now()?.since(before);
        let seen = server.finish(to)?;
        Ok((Measured { value, cpu }, seen))
    }
}

/// Bulk TCP from `client` to `server` at `address`. What came must be as much as what was sent.
pub(crate) fn bulk(
    client: &mut Agent,
    server: &mut Agent,
    address: IpAddr,
    service: (u16, bool),
    duration: Duration,
) -> Result<Measured<Bulk>> {
    let (streams, verify) = service;
    let (sent, seen) =
        client.call(server, address, Service::Bulk { streams, verify }, duration, |to, duration_ms| {
            Request::SendBulk { to, streams, duration_ms }
        })?;
    let Reply::Bulk(went) = sent.value else { return Err(client.unexpected(&sent.value)) };
    let Reply::Bulk(came) = seen else { return Err(server.unexpected(&seen)) };
    ensure!(came.bytes == went.bytes, "{} bytes were sent over TCP, {} came", went.bytes, came.bytes);
    ensure!(came.corrupt == 0, "TCP brought other bytes than were sent, {} times", came.corrupt);
    Ok(Measured { value: came, cpu: sent.cpu })
}

/// 64-byte frames of UDP from `client` to `server`: how many were sent, and what came.
pub(crate) fn datagrams(
    client: &mut Agent,
    server: &mut Agent,
    address: IpAddr,
    duration: Duration,
) -> Result<Measured<(u64, Datagrams)>> {
    let (sent, seen) = client.call(server, address, Service::Datagrams, duration, |to, duration_ms| {
        Request::SendDatagrams { to, duration_ms }
    })?;
    let Reply::Sent { packets } = sent.value else { return Err(client.unexpected(&sent.value)) };
    let Reply::Datagrams(came) = seen else { return Err(server.unexpected(&seen)) };
    ensure!(came.delivered <= packets, "{packets} datagrams were sent, {} came", came.delivered);
    Ok(Measured { value: (packets, came), cpu: sent.cpu })
}

/// TCP ping-pong of `client` with `server`.
pub(crate) fn round_trips(
    client: &mut Agent,
    server: &mut Agent,
    address: IpAddr,
    duration: Duration,
) -> Result<Measured<RoundTrips>> {
    let (sent, _) = client.call(server, address, Service::Echo, duration, |to, duration_ms| {
        Request::RoundTrips { to, duration_ms }
    })?;
    let Reply::RoundTrips(times) = sent.value else { return Err(client.unexpected(&sent.value)) };
    ensure!(times.count > 0, "no ping came back within {duration:?}");
    Ok(Measured { value: times, cpu: sent.cpu })
}

/// Connections of `client` to `server`, one after the other.
pub(crate) fn connections(
    client: &mut Agent,
    server: &mut Agent,
    address: IpAddr,
    duration: Duration,
) -> Result<Measured<Connections>> {
    let (sent, _) = client.call(server, address, Service::Responder, duration, |to, duration_ms| {
        Request::Connections { to, duration_ms }
    })?;
    let Reply::Connections(made) = sent.value else { return Err(client.unexpected(&sent.value)) };
    Ok(Measured { value: made, cpu: sent.cpu })
}
