//! What each command does. All but `run`, `lab` and `bench` are clients of the control API and can do nothing
//! that it cannot.

mod capture;
mod config;
mod fdb;
mod generate;
mod port;
mod routing;
mod show;

use crate::cli::{Cli, Command};
use crate::output::Output;
use crate::{bench, host, lab, traffic};
use anyhow::Result;
use node::client::Client;
use std::process::ExitCode;

/// Does what the command line says.
pub(crate) fn execute(cli: Cli) -> Result<ExitCode> {
    let output = Output::new(&cli.global);
    let client = Client::new(cli.global.socket);
    match cli.command {
        Command::Run { config } => return config::run(config),
        Command::CheckConfig { file } => return config::check(&file),
        Command::Status => return show::status(&client, output),
        Command::Port { action, name } => port::execute(&client, action, name, output)?,
        Command::Fdb { action, device } => fdb::execute(&client, action, &device, output)?,
        Command::Route { action } => routing::route(&client, action, output)?,
        Command::Neigh { action, device } => routing::neigh(&client, action, &device, output)?,
        Command::Explain { packet } => routing::explain(&client, &packet, output)?,
        Command::Stats { subject } => show::stats(&client, subject, output)?,
        Command::Capture(arguments) => capture::execute(&client, &arguments, output)?,
        Command::Lab(arguments) => lab::run(&arguments, output)?,
        Command::Bench { subject } => bench::run(&subject, output)?,
        Command::Completions { shell } => generate::completions(shell)?,
        Command::Man { directory } => generate::man_pages(&directory)?,
        Command::BenchAgent => traffic::agent::run_in_own_namespace()?,
        Command::NetnsExec { parent, program, namespace, arguments } => {
            host::enter_and_execute(&namespace, parent, program.as_deref(), &arguments)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
