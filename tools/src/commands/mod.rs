//! What each command does.

mod generate;

use crate::cli::{BenchSubject, Cli, Command};
use crate::output::Output;
use crate::{bench, host, lab, traffic};
use anyhow::Result;
use std::process::ExitCode;

/// Does what the command line says.
pub(crate) fn execute(cli: Cli) -> Result<ExitCode> {
    let output = Output::new(&cli.global);
    match cli.command {
        Command::Lab(arguments) => lab::run(&arguments, output)?,
        Command::Bench { subject: BenchSubject::Pods(arguments) } => bench::pods(&arguments, output)?,
        Command::Completions { shell } => generate::completions(shell)?,
        Command::Man { directory } => generate::man_pages(&directory)?,
        Command::BenchAgent => traffic::agent::run(std::io::stdin().lock(), std::io::stdout().lock())?,
        Command::NetnsExec { parent, program, namespace, arguments } => {
            host::enter_and_execute(&namespace, parent, program.as_deref(), &arguments)?;
        }
        _ => anyhow::bail!("not yet"),
    }
    Ok(ExitCode::SUCCESS)
}
