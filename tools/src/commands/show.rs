//! `status` and `stats`, and what a flush answers.

use crate::cli::StatsSubject;
use crate::output::{Output, print};
use crate::render;
use anyhow::Result;
use node::api::types::Flushed;
use node::client::Client;
use std::process::ExitCode;

/// `flyover status`: fails if the daemon is degraded or not ready yet.
pub(super) fn status(client: &Client, output: Output) -> Result<ExitCode> {
    let status = client.status()?;
    let healthy = status.ready && !status.degraded;
    let values = [status];
    output.print(&values, || render::status(&values[0], output))?;
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `flyover stats`.
pub(super) fn stats(client: &Client, subject: StatsSubject, output: Output) -> Result<()> {
    match subject {
        StatsSubject::Drops => {
            let drops = client.drops()?;
            output.print(&drops, || render::drops(&drops, output))
        }
        StatsSubject::Workers => {
            let workers = client.workers()?;
            output.print(&workers, || render::workers(&workers, output))
        }
        StatsSubject::Ports => {
            let ports = client.port_stats()?;
            output.print(&ports, || render::port_stats(&ports, output))
        }
    }
}

/// As iproute2: a flush says something only if it is asked to.
pub(super) fn flushed(flushed: Flushed, output: Output) -> Result<()> {
    if output.json {
        output.print_json(&[flushed])
    } else if output.statistics {
        print(&format!("{} entries forgotten\n", flushed.flushed))
    } else {
        Ok(())
    }
}
