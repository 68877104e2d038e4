//! `agent.toml`: what an agent must be told about its host.
//!
//! What always holds: an unknown key, a slot that is no number, two slots at one address or a relative path is an error
//! that names the file and the key; what [`AgentConfig::render`] writes, [`AgentConfig::parse`] reads back equal.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use slot_types::ids::HostName;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The only format of `agent.toml`, and of `front-end.toml`, that this build reads.
pub const CONFIG_FORMAT: u16 = 1;

/// Why `agent.toml` was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read {path}: {cause}; render it from cluster.toml")]
    Read {
        /// Which.
        path: PathBuf,
        /// What happened.
        #[source]
        cause: std::io::Error,
    },
    /// Not TOML, an unknown key or a value of another kind.
    #[error("cannot read {path}: {detail}")]
    Toml {
        /// Which.
        path: PathBuf,
        /// Line, column and reason.
        detail: String,
    },
    /// Another format.
    #[error("{path}: format {found} is unknown, this build reads format {CONFIG_FORMAT}; render it anew")]
    Format {
        /// Which.
        path: PathBuf,
        /// The format found.
        found: u16,
    },
    /// A value that can't be.
    #[error("{path}: {detail}")]
    Value {
        /// Which.
        path: PathBuf,
        /// What is wrong, and what to write instead.
        detail: String,
    },
}

/// One host's agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentConfig {
    /// Its host.
    pub host: HostName,
    /// Where it listens for the leader.
    pub listen: SocketAddr,
    /// Where ledger and copies are: an absolute path.
    pub data: PathBuf,
    /// The engine's program; without it `slot-journal` beside the agent's own.
    pub engine_binary: Option<PathBuf>,
    /// Where fence agents are looked for first, before the usual folders.
    pub fence_dir: Option<PathBuf>,
    /// The slots' addresses, by number.
    pub slots: BTreeMap<u16, SocketAddr>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u16,
    host: HostName,
    listen: SocketAddr,
    data: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    engine_binary: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fence_dir: Option<PathBuf>,
    #[serde(default)]
    slots: BTreeMap<String, SocketAddr>,
}

/// Only the format, so that an unknown one is refused for what it is and not for its unknown keys.
#[derive(Deserialize)]
struct FormatOnly {
    format: u16,
}

/// The text of a file.
pub(crate) fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|cause| ConfigError::Read { path: path.to_path_buf(), cause })
}

/// What a text of this build's format says, its values not checked yet.
pub(crate) fn of_format<File: DeserializeOwned>(path: &Path, text: &str) -> Result<File, ConfigError> {
    let toml = |e: toml::de::Error| ConfigError::Toml { path: path.to_path_buf(), detail: e.to_string() };
    let FormatOnly { format } = toml::from_str(text).map_err(toml)?;
    if format != CONFIG_FORMAT {
        return Err(ConfigError::Format { path: path.to_path_buf(), found: format });
    }
    toml::from_str(text).map_err(toml)
}

impl AgentConfig {
    /// Reads and checks a file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(path, &read(path)?)
    }

    /// Checks a text; `path` is for error messages.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let file: File = of_format(path, text)?;
        let value = |detail: String| ConfigError::Value { path: path.to_path_buf(), detail };
        for absolute in [Some(&file.data), file.engine_binary.as_ref(), file.fence_dir.as_ref()].into_iter().flatten() {
            if !absolute.is_absolute() {
                return Err(value(format!("{} is relative; write an absolute path", absolute.display())));
            }
        }
        let mut slots = BTreeMap::new();
        let mut addresses = BTreeSet::from([file.listen]);
        for (number, address) in file.slots {
            let slot = number.parse::<u16>().ok().filter(|slot| *slot > 0);
            let slot = slot.ok_or_else(|| value(format!("slots.{number}: write a number from 1, as in 7 = \"…\"")))?;
            if slots.insert(slot, address).is_some() {
                return Err(value(format!("slots.{number}: slot {slot} is there twice")));
            }
            if !addresses.insert(address) {
                return Err(value(format!("slots.{number}: {address} is used twice")));
            }
        }
        let File { host, listen, data, engine_binary, fence_dir, .. } = file;
        Ok(Self { host, listen, data, engine_binary, fence_dir, slots })
    }

    /// The text of the file, for whoever renders it from `cluster.toml`.
    pub fn render(&self) -> String {
        let file = File {
            format: CONFIG_FORMAT,
            host: self.host.clone(),
            listen: self.listen,
            data: self.data.clone(),
            engine_binary: self.engine_binary.clone(),
            fence_dir: self.fence_dir.clone(),
            slots: self.slots.iter().map(|(slot, address)| (slot.to_string(), *address)).collect(),
        };
        // Every field is one that TOML can hold, unless a path is not UTF-8; then the text is refused when it is read.
        toml::to_string(&file).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "format = 1\nhost = \"imap3\"\nlisten = \"127.0.0.1:7300\"\ndata = \"/var/lib/slot\"\n\n[slots]\n1 = \"127.0.0.1:7301\"\n07 = \"127.0.0.1:7307\"\n";

    fn error(text: &str) -> String {
        AgentConfig::parse(Path::new("agent.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn what_is_rendered_is_read_back() {
        let config = AgentConfig::parse(Path::new("agent.toml"), GOOD).unwrap();
        assert_eq!(config.slots.keys().copied().collect::<Vec<_>>(), vec![1, 7]);
        let with_engine = AgentConfig { engine_binary: Some("/opt/slot-journal".into()), ..config.clone() };
        for config in [config, with_engine] {
            assert_eq!(AgentConfig::parse(Path::new("x"), &config.render()).unwrap(), config);
        }
    }

    #[test]
    fn faults_are_named() {
        assert!(error(&GOOD.replace("host", "hosst")).contains("hosst"));
        assert!(error(&GOOD.replace("\nformat = 1", "").replace("format = 1", "format = 9")).contains("format 9"));
        assert!(error(&GOOD.replace("format = 1\n", "")).contains("format"));
        assert!(error(&GOOD.replace("/var/lib", "var/lib")).contains("relative"));
        assert!(error(&GOOD.replace("07 =", "seven =")).contains("slots.seven"));
        assert!(error(&GOOD.replace("07 =", "0 =")).contains("slots.0"));
        assert!(error(&GOOD.replace("07 =", "01 =")).contains("twice"));
        assert!(error(&GOOD.replace(":7307", ":7301")).contains("used twice"));
        assert!(error(&GOOD.replace("imap3", "../x")).contains("is not a name"));
    }
}
