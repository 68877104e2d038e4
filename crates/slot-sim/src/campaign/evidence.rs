//! What a run's file says besides its figures: of which commit it is, by which command, on which machine, how long it took.
//!
//! What always holds: no path and no name of a machine is written down.

use serde::Serialize;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::thread;

/// The machine of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// Cores a program may use.
    pub cores: usize,
    /// What the processor calls itself.
    pub model: String,
}

/// Where figures come from.
#[derive(Debug, Clone, Serialize)]
pub struct Source {
    /// The commit, with `-dirty` when the tree had changes, or `unknown` outside of a repository.
    pub commit: String,
    /// The command that does it again.
    pub command: String,
    /// The machine.
    pub machine: Machine,
    /// How the program was built.
    pub profile: &'static str,
}

impl Source {
    /// Looks at this machine, this repository and this command line, before a run.
    pub fn of(command: String) -> Self {
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        Self { commit: commit(), command, machine: machine(), profile }
    }
}

/// The command line as somebody else would type it: files of this machine are called FILE.
pub fn command_line(args: impl IntoIterator<Item = String>) -> String {
    let mut line = vec!["cargo".to_string(), "xtask".to_string()];
    let mut is_file = false;
    for arg in args {
        let flag = arg.split_once('=').map(|(flag, _)| flag).filter(|flag| FILES.contains(flag));
        match flag {
            Some(flag) => line.push(format!("{flag}=FILE")),
            None if is_file => line.push("FILE".into()),
            None => line.push(arg.clone()),
        }
        is_file = FILES.contains(&arg.as_str());
    }
    line.join(" ")
}

/// The options that name a file.
const FILES: [&str; 2] = ["--json", "--evidence"];

fn commit() -> String {
    let described = Command::new("git").args(["describe", "--always", "--dirty", "--exclude", "*"]).output();
    let text = described.ok().filter(|out| out.status.success()).map(|out| out.stdout);
    let text = text.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_string());
    text.filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown".into())
}

fn machine() -> Machine {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    Machine { cores, model: model(&info) }
}

fn model(info: &str) -> String {
    let line = info.lines().find(|line| line.starts_with("model name"));
    let name = line.and_then(|line| line.split_once(':')).map(|(_, name)| name.trim().to_string());
    name.unwrap_or_else(|| "unknown".into())
}

/// A run's file: figures, and where they come from.
#[derive(Debug, Serialize)]
pub struct Evidence<'a, T> {
    /// Where the figures come from.
    #[serde(flatten)]
    pub source: &'a Source,
    /// How long the command ran.
    pub duration_seconds: f64,
    /// The figures.
    #[serde(flatten)]
    pub figures: T,
}

/// Writes a value as JSON.
pub fn write(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_string_pretty(value).map_err(io::Error::other)?;
    text.push('\n');
    fs::write(path, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_this_machine_are_not_written_down() {
        let line = |args: &[&str]| command_line(args.iter().map(|arg| (*arg).to_string()));
        assert_eq!(line(&["sim", "--seeds", "5", "--json", "a/b"]), "cargo xtask sim --seeds 5 --json FILE");
        assert_eq!(line(&["planted", "--evidence=a/b"]), "cargo xtask planted --evidence=FILE");
    }

    #[test]
    fn the_processor_is_named() {
        assert_eq!(model("processor : 0\nmodel name\t: A 9000\n"), "A 9000");
        assert_eq!(model(""), "unknown");
    }

    #[test]
    fn figures_and_their_source_lie_side_by_side() {
        #[derive(Serialize)]
        struct Figures {
            seeds: u64,
        }
        let source = Source::of("cargo xtask sim".into());
        let all = Evidence { source: &source, duration_seconds: 1.5, figures: Figures { seeds: 7 } };
        let json = serde_json::to_value(&all).expect("it is JSON");
        assert_eq!((&json["seeds"], &json["duration_seconds"]), (&7.into(), &1.5.into()));
        assert!(json["commit"].is_string() && json["machine"]["cores"].as_u64() >= Some(1));
    }
}
