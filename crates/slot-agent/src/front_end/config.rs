//! A front end's own description: what it is called, and for each map where it goes and how it is reloaded.
//!
//! What always holds: every path is absolute, a reload is an argument list whose first is an absolute path, all reloads together
//! end before the leader gives up waiting, and no unknown key is passed over.

use crate::config::{self, ConfigError};
use serde::Deserialize;
use slot_types::front_end::MAPS_MAX;
use slot_types::ids::{FrontEndName, MapName};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a reload may take when the file does not say, in seconds.
const WITHIN_S: u64 = 10;
/// How long all of them together may take, in seconds.
const WITHIN_S_MAX: u64 = 40;

/// One front end's agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontEndConfig {
    /// Its name.
    pub front_end: FrontEndName,
    /// Where it listens for the leader.
    pub listen: SocketAddr,
    /// Where it keeps what it acknowledged: an absolute path.
    pub data: PathBuf,
    /// The maps it can render.
    pub maps: BTreeMap<MapName, MapConfig>,
}

/// One map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapConfig {
    /// The file that is written.
    pub path: PathBuf,
    /// The template; without it the one of ours with the map's name.
    pub template: Option<PathBuf>,
    /// What is run after a change; nothing when empty.
    pub reload: Vec<String>,
    /// How long that may take.
    pub within: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "format")]
    _format: u16,
    front_end: FrontEndName,
    listen: SocketAddr,
    data: PathBuf,
    map: BTreeMap<MapName, Map>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Map {
    path: PathBuf,
    template: Option<PathBuf>,
    #[serde(default)]
    reload: Vec<String>,
    within_s: Option<u64>,
}

impl FrontEndConfig {
    /// Reads and checks a file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(path, &config::read(path)?)
    }

    /// Checks a text; `path` is for error messages.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let file: File = config::of_format(path, text)?;
        let value = |detail: String| ConfigError::Value { path: path.to_path_buf(), detail };
        if file.map.is_empty() || file.map.len() > MAPS_MAX {
            return Err(value(format!("describe 1 to {MAPS_MAX} maps, as in [map.nginx-mail]")));
        }
        let mut paths = BTreeSet::new();
        let mut maps = BTreeMap::new();
        for (name, map) in file.map {
            let program = map.reload.first().map(PathBuf::from);
            for absolute in [Some(&file.data), Some(&map.path), map.template.as_ref(), program.as_ref()] {
                if let Some(relative) = absolute.filter(|p| !p.is_absolute()) {
                    return Err(value(format!("{} is relative; write an absolute path", relative.display())));
                }
            }
            if map.reload.iter().any(|argument| argument.contains('\0')) {
                return Err(value(format!("map.{name}: an argument of reload has a NUL byte in it")));
            }
            if !paths.insert(map.path.clone()) {
                return Err(value(format!("map.{name}: {} is written by two maps", map.path.display())));
            }
            let within = Duration::from_secs(map.within_s.unwrap_or(WITHIN_S));
            let described = MapConfig { path: map.path, template: map.template, reload: map.reload, within };
            maps.insert(name, described);
        }
        let all: u64 = maps.values().filter(|m| !m.reload.is_empty()).map(|m| m.within.as_secs()).sum();
        if all > WITHIN_S_MAX || maps.values().any(|m| m.within.is_zero()) {
            let detail = format!("all reloads together may take {all} s; let them take 1 to {WITHIN_S_MAX} (within_s)");
            return Err(value(detail));
        }
        let File { front_end, listen, data, .. } = file;
        Ok(Self { front_end, listen, data, maps })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "format = 1\nfront_end = \"fe1\"\nlisten = \"127.0.0.1:7420\"\ndata = \"/var/lib/slot\"\n\n\
                        [map.json]\npath = \"/run/routes.json\"\nreload = [\"/bin/true\", \"-s\"]\nwithin_s = 3\n";

    fn parse(text: &str) -> Result<FrontEndConfig, String> {
        FrontEndConfig::parse(Path::new("front-end.toml"), text).map_err(|e| e.to_string())
    }

    #[test]
    fn a_good_file_is_read_and_faults_are_named() {
        let good = parse(GOOD).unwrap();
        assert_eq!(good.maps.values().next().unwrap().within, Duration::from_secs(3));
        let bad = |from: &str, to: &str| parse(&GOOD.replace(from, to)).unwrap_err();
        assert!(bad("format = 1", "format = 2").contains("format 2"));
        assert!(bad("/bin/true", "true").contains("relative"));
        assert!(bad("/run/", "run/").contains("relative"));
        assert!(bad("within_s = 3", "within_s = 90").contains("within_s"));
        assert!(bad("within_s = 3", "within_s = 0").contains("within_s"));
        assert!(bad("reload", "relaod").contains("relaod"));
        assert!(bad("fe1", "../fe1").contains("is not a name"));
        let twice = format!("{GOOD}[map.other]\npath = \"/run/routes.json\"\n");
        assert!(parse(&twice).unwrap_err().contains("two maps"));
    }
}
