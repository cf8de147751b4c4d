//! The configuration file: `/etc/flyover/flyover.toml`.
//!
//! Reading has three steps. `toml` and `serde` turn the text into [`Config`], where every key is optional,
//! unknown keys are errors, and values have their final types (addresses, networks, MACs). [`validate`] then
//! looks for what no single value can show: names and addresses used twice, addresses outside the node's
//! networks, CPUs that do not exist. Both report a key path such as `port[1].mac`, and `keys` finds the
//! line for it. What a valid file asks for but this version cannot do is a third matter, looked at by the
//! daemon only ([`Config::unavailable`]): such a file passes `check-config` of the version that it is for.

mod error;
mod keys;
mod model;
mod port;
mod text;

pub(crate) use text::{destination, mac, mac_option};
pub mod validate;

pub use error::{ConfigErrors, Problem};
pub use model::{
    BridgeConfig, Config, EngineChoice, HostConfig, MetricsConfig, NodeConfig, RouteConfig, SnatConfig,
    UplinkConfig, WorkersConfig,
};
pub use port::{Pace, PortConfig, PortType, VhostMode};
pub use text::PortRange;
pub use validate::{Machine, PortCheck};

use std::path::{Path, PathBuf};

/// Where `flyover run` looks if `--config` is not given and the file exists.
pub const DEFAULT_PATH: &str = "/etc/flyover/flyover.toml";

/// A configuration that passed validation, with what is odd about it.
#[derive(Clone, PartialEq, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What is allowed but probably not meant, one line each.
    pub warnings: Vec<Problem>,
}

/// Reads and validates the file at `path`.
///
/// # Errors
/// All problems found, each with file, line and key; or why the file could not be read.
pub fn load(path: &Path, machine: &Machine) -> Result<Loaded, ConfigErrors> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        ConfigErrors::one(Problem {
            file: Some(path.to_owned()),
            line: None,
            key: String::new(),
            message: format!("cannot be read: {error}"),
        })
    })?;
    parse(&text, Some(path), machine)
}

/// Parses and validates a configuration's text; `file` is only named in messages.
///
/// # Errors
/// All problems found. A text that is not TOML, or has a value of the wrong type, reports the first only.
pub fn parse(text: &str, file: Option<&Path>, machine: &Machine) -> Result<Loaded, ConfigErrors> {
    let file: Option<PathBuf> = file.map(Path::to_owned);
    let config: Config = toml::from_str(text)
        .map_err(|error| ConfigErrors::one(keys::problem_of(text, file.clone(), &error)))?;
    let findings = validate::validate(&config, machine);
    let located = |finding: validate::Finding| Problem {
        file: file.clone(),
        line: keys::line_of(text, &finding.key),
        key: finding.key,
        message: finding.message,
    };
    let (errors, warnings): (Vec<_>, Vec<_>) =
        findings.into_iter().partition(|finding| finding.severity > validate::Severity::Warning);
    if errors.is_empty() {
        Ok(Loaded { config, warnings: warnings.into_iter().map(located).collect() })
    } else {
        Err(ConfigErrors(errors.into_iter().map(located).collect()))
    }
}
