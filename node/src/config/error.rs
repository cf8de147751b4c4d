//! How a problem of the configuration reads.

use std::fmt;
use std::path::PathBuf;

/// One thing wrong (or odd) in a configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// The file, if the text came from one.
    pub file: Option<PathBuf>,
    /// Line, from 1 on, if the key or the place is known.
    pub line: Option<usize>,
    /// The key, such as `workers.count` or `port[0].mac`; empty if the text is not TOML.
    pub key: String,
    /// What is wrong, and what to do if that is not obvious.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{}", file.display())?,
            None => write!(f, "configuration")?,
        }
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Everything that is wrong in a configuration, in the order of the checks; never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigErrors(pub Vec<Problem>);

impl ConfigErrors {
    /// A list of one.
    #[must_use]
    pub fn one(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.0.iter().enumerate() {
            if position > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
