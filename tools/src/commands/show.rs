//! `status` and `stats`.

use crate::cli::StatsSubject;
use crate::output::Output;
use crate::render;
use anyhow::Result;
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
