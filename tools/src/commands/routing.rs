//! `flyover route`, `flyover neigh`, `flyover explain`.

use super::show;
use crate::cli::{Device, NeighAction, RouteAction, parse_route, parse_route_key};
use crate::output::Output;
use crate::render;
use anyhow::{Result, bail};
use node::api::types::{Neighbor, Route};
use node::client::Client;

/// `flyover route`; without an action the routes are shown.
pub(super) fn route(client: &Client, action: Option<RouteAction>, output: Output) -> Result<()> {
    match action.unwrap_or(RouteAction::Show { all: false }) {
        RouteAction::Show { all } => {
            let mut routes: Vec<Route> = client.routes()?;
            // As `ip route`: the node itself has a table of its own.
            routes.retain(|route| all || route.kind.as_deref() != Some("local"));
            output.print(&routes, || render::routes(&routes, output))
        }
        RouteAction::Get { address } => {
            let answers = [client.route_get(address)?];
            output.print(&answers, || render::route_answer(&answers[0], output))
        }
        RouteAction::Add { words } => {
            let route = client.add_route(&parse_route(&words)?)?;
            // As iproute2: a change that worked says nothing, but JSON is an answer.
            if output.json { output.print_json(&[route]) } else { Ok(()) }
        }
        RouteAction::Del { words } => {
            let key = parse_route_key(&words)?;
            Ok(client.delete_route(key.dst.parse()?, key.metric)?)
        }
    }
}

/// `flyover neigh`; without an action the neighbors are shown.
pub(super) fn neigh(
    client: &Client,
    action: Option<NeighAction>,
    device: &Device,
    output: Output,
) -> Result<()> {
    match action {
        None => show_neighbors(client, device, output),
        Some(NeighAction::Show { device }) => show_neighbors(client, &device, output),
        Some(NeighAction::Flush { device }) => show::flushed(client.flush_neighbors(device.port()?)?, output),
    }
}

fn show_neighbors(client: &Client, device: &Device, output: Output) -> Result<()> {
    let wanted = device.port()?;
    let mut neighbors: Vec<Neighbor> = client.neighbors()?;
    if let Some(dev) = wanted {
        let links: Vec<String> = neighbors.iter().map(|neighbor| neighbor.dev.clone()).collect();
        neighbors.retain(|neighbor| neighbor.dev == dev);
        if neighbors.is_empty() && !links.is_empty() && client.port(dev).is_err() {
            bail!("there is no link {dev}: `flyover neigh` shows which there are");
        }
    }
    output.print(&neighbors, || render::neighbors(&neighbors, output))
}

/// `flyover explain`
pub(super) fn explain(client: &Client, packet: &[String], output: Output) -> Result<()> {
    let steps = client.explain(&packet.join(","))?;
    output.print(&steps, || render::explanation(&steps))
}
