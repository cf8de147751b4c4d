//! The agent's own side: requests from standard input, replies to standard output.

use super::protocol::{Reply, Request, Service};
use super::{bulk, calls, datagrams};
use anyhow::{Context, Result, anyhow};
use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::net::IpAddr;
use std::time::Duration;

/// A service that runs in threads of its own.
enum Running {
    Bulk(bulk::Sink),
    Datagrams(datagrams::Sink),
    Server(calls::Server),
}

/// Congestion controls that do not pace, so that a figure tells of the path and not of a timer; the first
/// that the namespace may choose is taken. Every kernel offers the last.
const CONGESTION_CONTROLS: [&str; 2] = ["cubic", "reno"];

/// Serves as an agent in a namespace of its own.
///
/// # Errors
/// As [`run`].
pub(crate) fn run_in_own_namespace() -> Result<()> {
    let chosen = CONGESTION_CONTROLS
        .iter()
        .any(|name| std::fs::write("/proc/sys/net/ipv4/tcp_congestion_control", name).is_ok());
    if !chosen {
        eprintln!("the namespace keeps its TCP congestion control");
    }
    run(std::io::stdin().lock(), std::io::stdout().lock())
}

/// Answers requests until `input` ends.
///
/// # Errors
/// When the lines cannot be read or written; a request that fails is a reply.
fn run(input: impl BufRead, mut output: impl Write) -> Result<()> {
    let mut services = BTreeMap::new();
    for line in input.lines() {
        let request = serde_json::from_str(&line?).context("not a request to an agent")?;
        let reply = answer(&request, &mut services)
            .unwrap_or_else(|error| Reply::Failed { message: format!("{error:#}") });
        serde_json::to_writer(&mut output, &reply)?;
        output.write_all(b"\n")?;
        output.flush()?;
    }
    Ok(())
}

fn answer(request: &Request, services: &mut BTreeMap<u16, Running>) -> Result<Reply> {
    match *request {
        Request::Serve { service, address } => {
            let (port, running) = serve(service, address)?;
            services.insert(port, running);
            Ok(Reply::Listening { port })
        }
        Request::Finish { port } => {
            finish(services.remove(&port).ok_or_else(|| anyhow!("nothing is served on port {port}"))?)
        }
        Request::SendBulk { to, streams, duration_ms } => {
            bulk::send(to, streams, Duration::from_millis(duration_ms)).map(Reply::Bulk)
        }
        Request::SendDatagrams { to, duration_ms } => {
            let packets = datagrams::send(to, Duration::from_millis(duration_ms))?;
            Ok(Reply::Sent { packets })
        }
        Request::RoundTrips { to, duration_ms } => {
            calls::round_trips(to, Duration::from_millis(duration_ms)).map(Reply::RoundTrips)
        }
        Request::Connections { to, duration_ms } => {
            calls::connections(to, Duration::from_millis(duration_ms)).map(Reply::Connections)
        }
    }
}

fn serve(service: Service, address: IpAddr) -> Result<(u16, Running)> {
    Ok(match service {
        Service::Bulk { streams, verify } => {
            let sink = bulk::Sink::start(address, streams, verify)?;
            (sink.port(), Running::Bulk(sink))
        }
        Service::Datagrams => {
            let sink = datagrams::Sink::start(address)?;
            (sink.port(), Running::Datagrams(sink))
        }
        Service::Echo => {
            let server = calls::Server::echo(address)?;
            (server.port(), Running::Server(server))
        }
        Service::Responder => {
            let server = calls::Server::responder(address)?;
            (server.port(), Running::Server(server))
        }
    })
}

fn finish(running: Running) -> Result<Reply> {
    match running {
        Running::Bulk(sink) => sink.finish().map(Reply::Bulk),
        Running::Datagrams(sink) => sink.finish().map(Reply::Datagrams),
        Running::Server(server) => server.finish().map(|()| Reply::Done),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converse(lines: &str) -> Vec<Reply> {
        let mut output = Vec::new();
        run(lines.as_bytes(), &mut output).unwrap();
        output.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }

    #[test]
    fn a_request_that_fails_is_a_reply_and_the_agent_goes_on() {
        let replies = converse("{\"do\":\"finish\",\"port\":1}\n{\"do\":\"finish\",\"port\":2}\n");
        assert_eq!(replies.len(), 2);
        assert!(matches!(&replies[1], Reply::Failed { message } if message.contains("port 2")));
    }

    #[test]
    fn serving_names_the_port() {
        let replies =
            converse("{\"do\":\"serve\",\"service\":{\"kind\":\"echo\"},\"address\":\"127.0.0.1\"}\n");
        assert!(matches!(replies[0], Reply::Listening { port } if port > 0));
    }
}
