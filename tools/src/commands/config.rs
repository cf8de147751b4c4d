//! `run` and `check-config`.

use crate::output::print;
use anyhow::Result;
use node::config::{self, ConfigErrors, Machine};
use node::daemon::{self, RunError, RunOptions};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// `flyover run`: serves until SIGTERM or SIGINT. A wrong configuration is a line for each problem.
pub(super) fn run(file: Option<PathBuf>) -> Result<ExitCode> {
    daemon::start_log();
    match daemon::run(RunOptions { config: file }) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(RunError::Config(errors)) => Ok(refuse(&errors)),
        Err(error) => Err(error.into()),
    }
}

fn refuse(errors: &ConfigErrors) -> ExitCode {
    for problem in &errors.0 {
        eprintln!("flyover: {}", problem.to_string().replace('\n', "; "));
    }
    ExitCode::FAILURE
}

/// `flyover check-config`: a line for each problem on standard error, warnings too.
pub(super) fn check(file: &Path) -> Result<ExitCode> {
    match config::load(file, &Machine::this()) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                eprintln!("flyover: warning: {warning}");
            }
            for (key, sentence) in loaded.config.unavailable() {
                eprintln!("flyover: warning: {}: {key}: {sentence}", file.display());
            }
            print(&format!("{}: valid\n", file.display()))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(errors) => Ok(refuse(&errors)),
    }
}
