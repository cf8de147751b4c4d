//! What a person types: the `flyover` command line, the lab and the measuring tools.
//!
//! - [`cli`]: everything that can be typed; [`commands`]: what it does, as a client of the control API;
//!   [`render`] and [`capture`]: what the daemon says, in words; [`output`]: how it is printed.
//! - [`lab`]: a cluster that is built, tried and removed; [`mod@bench`]: flyover against the kernel; [`cluster`]:
//!   the network namespaces of both.
//! - [`traffic`]: the programs that both send and receive with; [`host`]: namespaces, child processes, CPU
//!   time, and the way out on Ctrl-C.
#![forbid(unsafe_code)]

mod bench;
mod capture;
mod cli;
mod cluster;
mod commands;
mod host;
mod lab;
mod output;
mod render;
mod traffic;

use clap::Parser;
use std::process::ExitCode;

/// Runs the command that the arguments of this process ask for; the exit status is 0 (done), 1 (failed, with
/// one line on standard error) or 2 (wrong usage).
#[must_use]
pub fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match commands::execute(cli) {
        Ok(code) => code,
        Err(error) => report(&error),
    }
}

/// Prints help, version or a usage error, each where it belongs.
fn usage(error: &clap::Error) -> ExitCode {
    // A closed pipe is no failure, and there is nowhere left to say more.
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

fn report(error: &anyhow::Error) -> ExitCode {
    if error.downcast_ref::<output::OutputClosed>().is_some() {
        return ExitCode::SUCCESS;
    }
    if let Some(error) = error.downcast_ref::<clap::Error>() {
        return usage(error);
    }
    if let Some(interrupted) = error.chain().find(|cause| cause.is::<host::Interrupted>()) {
        // What was under way does not matter then.
        eprintln!("flyover: {interrupted}");
        return ExitCode::FAILURE;
    }
    eprintln!("flyover: {}", one_line(error));
    ExitCode::FAILURE
}

/// The error and its causes; a cause that its error has told already is not repeated.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if line.contains(&cause) {
            continue;
        }
        if !line.is_empty() {
            line.push_str(": ");
        }
        line.push_str(&cause);
    }
    line.trim_end().replace('\n', "; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn causes_are_told_once_and_on_one_line() {
        let error = anyhow!("no such\nfile").context("cannot read x: no such\nfile").context("start");
        assert_eq!(one_line(&error), "start: cannot read x: no such; file");
    }
}
