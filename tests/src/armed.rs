//! Failpoints that can be armed while the processes run.
//!
//! What always holds: every failpoint of a process is set from its start, with a marker file that says "happened already";
//! taking the marker away arms it, and reaching it puts the marker back. So each kill happens once, where it was asked for.

use crate::Outcome;
use crate::shape::{Shape, host};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use tempfile::TempDir;

/// The steps of a hand-over, as coordinators name them; true for those that an agent carries out.
pub const STEPS: [(&str, bool); 8] = [
    ("freeze", true),
    ("catch-up", true),
    ("commit-epoch", false),
    ("demote", true),
    ("promote", true),
    ("repoint", false),
    ("follow", true),
    ("canary", true),
];
/// What an agent does with an order, in this order.
pub const MOMENTS: [&str; 4] = ["received", "accepted", "performed", "recorded"];
/// Where an engine can be hit.
pub const ENGINE_POINTS: [&str; 5] = [
    "journal-before-disk",
    "journal-after-disk",
    "journal-before-ack",
    "journal-after-demote-durable",
    "journal-after-promote-durable",
];

/// The markers of all processes of a cluster.
#[derive(Debug)]
pub struct Armed {
    folder: TempDir,
    names: BTreeMap<String, Vec<String>>,
}

/// Coordinators share their markers: whichever leads is hit.
fn group(process: &str) -> &str {
    if process.starts_with('c') { "coordinators" } else { process }
}

impl Armed {
    /// Markers for a cluster of this shape; nothing is armed.
    pub fn new(shape: &Shape) -> Outcome<Self> {
        let mut coordinator = vec!["slotd-before-persist".to_owned(), "slotd-after-persist".to_owned()];
        let mut agent: Vec<String> = ENGINE_POINTS.iter().map(|name| (*name).to_owned()).collect();
        for (step, by_agent) in STEPS {
            coordinator.push(format!("slotd-started-{step}"));
            if by_agent {
                coordinator.push(format!("slotd-finished-{step}"));
                agent.extend(MOMENTS.map(|moment| format!("agent-{step}-{moment}")));
            }
        }
        let mut names = BTreeMap::new();
        names.extend((1..=shape.coordinators).map(|n| (format!("c{n}"), coordinator.clone())));
        names.extend((1..=shape.hosts).map(|n| (host(n), agent.clone())));
        let armed = Self { folder: tempfile::Builder::new().prefix("slot-markers-").tempdir()?, names };
        armed.disarm_all()?;
        Ok(armed)
    }

    fn marker(&self, process: &str, name: &str) -> PathBuf {
        self.folder.path().join(group(process)).join(name)
    }

    /// What each process is started with.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let one = |process: &String, names: &Vec<String>| {
            let all = names.iter().map(|name| format!("{name}=abort-once:{}", self.marker(process, name).display()));
            (process.clone(), all.collect::<Vec<_>>().join(";"))
        };
        self.names.iter().map(|(process, names)| one(process, names)).collect()
    }

    /// From now on this process, or any coordinator, is killed once when it gets there.
    pub fn arm(&self, process: &str, name: &str) -> Outcome<()> {
        Ok(fs::remove_file(self.marker(process, name))?)
    }

    /// Whether it got there.
    pub fn happened(&self, process: &str, name: &str) -> bool {
        self.marker(process, name).exists()
    }

    /// Nothing is armed any more.
    pub fn disarm_all(&self) -> Outcome<()> {
        for (process, names) in &self.names {
            fs::create_dir_all(self.folder.path().join(group(process)))?;
            for name in names {
                match File::create_new(self.marker(process, name)) {
                    Ok(_) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }
}
