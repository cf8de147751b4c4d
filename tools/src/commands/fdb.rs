//! `flyover fdb`.

use super::show;
use crate::cli::{Device, FdbAction};
use crate::output::Output;
use crate::render;
use anyhow::{Result, bail};
use node::api::types::FdbEntry;
use node::client::Client;

/// What the command line says; without an action the entries are shown.
pub(super) fn execute(
    client: &Client,
    action: Option<FdbAction>,
    device: &Device,
    output: Output,
) -> Result<()> {
    match action {
        None => show(client, device, output),
        Some(FdbAction::Show { device }) => show(client, &device, output),
        Some(FdbAction::Add { mac, device }) => {
            let entry = client.add_fdb(mac.parse()?, device.port()?)?;
            // As iproute2: a change that worked says nothing, but JSON is an answer.
            if output.json { output.print_json(&[entry]) } else { Ok(()) }
        }
        Some(FdbAction::Del { mac, device }) => delete(client, &mac, &device),
        Some(FdbAction::Flush { device }) => show::flushed(client.flush_fdb(device.port()?)?, output),
    }
}

fn show(client: &Client, device: &Device, output: Output) -> Result<()> {
    let entries: Vec<FdbEntry> = client.fdb(device.port()?)?;
    output.print(&entries, || render::fdb(&entries, output))
}

/// A port that is named has to be the right one, as for `bridge fdb del`.
fn delete(client: &Client, mac: &str, device: &Device) -> Result<()> {
    let mac = mac.parse()?;
    if let Some(port) = device.port()?
        && !client.fdb(Some(port))?.iter().any(|entry| entry.mac == mac)
    {
        bail!("{mac} is not an entry of {port}: `flyover fdb` shows which there are");
    }
    Ok(client.delete_fdb(mac)?)
}
