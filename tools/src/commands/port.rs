//! `flyover port`.

use crate::cli::{AdminState, PortAction, PortAddArgs};
use crate::output::Output;
use crate::render;
use anyhow::{Context, Result};
use node::api::types;
use node::client::Client;
use node::config::PortConfig;
use serde_json::json;
use std::path::{Path, PathBuf};

/// What the command line says; without an action the ports are shown.
pub(super) fn execute(
    client: &Client,
    action: Option<PortAction>,
    name: Option<String>,
    output: Output,
) -> Result<()> {
    match action.unwrap_or(PortAction::Show { name }) {
        PortAction::Show { name } => show(client, name.as_deref(), output),
        PortAction::Add(arguments) => {
            let port = client.add_port(&wanted(&arguments)?)?;
            changed(&port, output)
        }
        PortAction::Del { name } => Ok(client.delete_port(&name)?),
        PortAction::Set { name, state } => {
            let state = match state {
                AdminState::Up => types::AdminState::Up,
                AdminState::Down => types::AdminState::Down,
            };
            changed(&client.set_port(&name, state)?, output)
        }
    }
}

fn show(client: &Client, name: Option<&str>, output: Output) -> Result<()> {
    let ports = match name {
        Some(name) => vec![client.port(name)?],
        None => client.ports()?,
    };
    output.print(&ports, || render::ports(&ports, output))
}

/// As iproute2: a change that worked says nothing, but JSON is an answer.
fn changed(port: &types::Port, output: Output) -> Result<()> {
    if output.json { output.print_json(&[port]) } else { Ok(()) }
}

/// The port that the arguments describe.
fn wanted(arguments: &PortAddArgs) -> Result<PortConfig> {
    let wanted = json!({
        "name": arguments.name,
        "type": arguments.port_type,
        "netns": arguments.netns.as_deref().map(absolute).transpose()?,
        "device": arguments.device,
        "mac": arguments.mac,
        "addresses": arguments.addresses,
        "anti_spoof": arguments.anti_spoof,
        "socket": arguments.path.as_deref().map(absolute).transpose()?,
        "replay": arguments.replay.as_deref().map(absolute).transpose()?,
        "record": arguments.record.as_deref().map(absolute).transpose()?,
    });
    serde_json::from_value(wanted).context("this is no port")
}

/// The daemon has a working directory of its own. A bare name is one of `ip netns` for a namespace only, so
/// that is not guessed.
fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("no such path: {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn added(line: &str) -> PortConfig {
        match Cli::try_parse_from(line.split(' ')).unwrap().command {
            Command::Port { action: Some(PortAction::Add(arguments)), .. } => wanted(&arguments).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_documented_line_describes_a_tap() {
        let port = added(
            "flyover port add vm1 --type tap --netns /var/run/netns/vm1 --device eth0 \
             --address 10.244.1.9/24 --address fd00::9/64 --mac 02:00:00:00:00:11",
        );
        assert_eq!(port.name, "vm1");
        assert_eq!(port.netns, Some("/var/run/netns/vm1".into()));
        assert_eq!(port.addresses.len(), 2);
        assert_eq!(port.mac.map(|mac| mac.to_string()).as_deref(), Some("02:00:00:00:00:11"));
        assert_eq!(port.anti_spoof, None);
    }

    #[test]
    fn what_is_not_said_is_left_to_the_daemon() {
        let port = added("flyover port add pod1");
        assert_eq!(port, PortConfig { name: "pod1".to_owned(), ..PortConfig::default() });
    }
}
