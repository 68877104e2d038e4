//! The table of planted bugs.
//!
//! What always holds: every bug has a name that occurs in the product's sources and here, and nowhere else; a bug is on
//! only in a build with `--cfg slot_planted`, and only on a thread that chose it.

pub mod by_hand;
pub mod coordinator;
pub mod copies;
pub mod front_ends;
pub mod hosts;
pub mod joins;
pub mod plans;
pub mod probes;
pub mod raft;
pub mod restore;

/// A deliberate bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bug {
    /// What `slot_planted::choose` takes.
    pub name: &'static str,
    /// The rule or invariant it breaks.
    pub rule: &'static str,
    /// What is wrong, in a line.
    pub what: &'static str,
    /// The schedule that exposes it, and which checker must speak.
    pub how: &'static str,
    /// Where others had it, if they did.
    pub thread: Option<&'static str>,
}

/// What CI hunts at every push: caught within the first seeds, and no two by the same part of the checkers.
pub const SMOKE: [&str; 8] = [
    "p10-ack-before-fsync",
    "r24-counted-before-fsync",
    "r3-former-master-forgotten",
    "r4-abort-forgets-started",
    "raft-send-before-persist",
    "s13-read-from-leader-memory",
    "s2-ledger-commit-unsynced",
    "s6-performed-before-accepted",
];

/// Every bug there is, by name.
pub fn all() -> Vec<&'static Bug> {
    let mut all: Vec<&'static Bug> = [
        by_hand::BUGS,
        coordinator::BUGS,
        copies::BUGS,
        front_ends::BUGS,
        joins::BUGS,
        plans::BUGS,
        probes::BUGS,
        raft::BUGS,
        restore::BUGS,
        hosts::BUGS,
    ]
    .into_iter()
    .flatten()
    .collect();
    all.sort_by_key(|bug| bug.name);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::{Path, PathBuf};

    fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, out);
            } else if path.extension().is_some_and(|e| e == "rs") {
                out.push(path);
            }
        }
    }

    /// The names at sites in the product's sources, with the rooms they are in.
    fn sites() -> BTreeMap<String, BTreeSet<String>> {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut sites: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for entry in std::fs::read_dir(crates).unwrap() {
            let room = entry.unwrap().file_name().into_string().unwrap();
            let folder = crates.join(&room).join("src");
            if ["slot-sim", "slot-planted"].contains(&room.as_str()) || !folder.is_dir() {
                continue;
            }
            let mut files = Vec::new();
            sources(&folder, &mut files);
            for file in files {
                let text = std::fs::read_to_string(file).unwrap();
                for site in text.split("planted(\"").skip(1) {
                    let name = site.split('"').next().unwrap().to_string();
                    sites.entry(name).or_default().insert(room.clone());
                }
            }
        }
        sites
    }

    #[test]
    fn every_site_is_in_the_table_and_every_bug_has_a_site() {
        let sites = sites();
        let found: BTreeSet<&str> = sites.keys().map(String::as_str).collect();
        let told: BTreeSet<&str> = all().iter().map(|bug| bug.name).collect();
        let untold: Vec<_> = found.difference(&told).collect();
        let homeless: Vec<_> = told.difference(&found).collect();
        assert!(untold.is_empty(), "planted in the sources, not in the table: {untold:?}");
        assert!(homeless.is_empty(), "in the table, planted nowhere: {homeless:?}");
    }

    #[test]
    fn what_ci_hunts_is_in_the_table() {
        let all = all();
        assert!(SMOKE.iter().all(|name| all.iter().any(|bug| bug.name == *name)));
    }

    #[test]
    fn names_are_unique_and_everything_is_said() {
        let all = all();
        assert!(all.windows(2).all(|pair| pair[0].name != pair[1].name), "a name is there twice");
        for bug in all {
            let kebab = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(bug.name.chars().all(kebab), "{}", bug.name);
            assert!(!bug.what.is_empty() && bug.how.len() > bug.what.len() / 2, "{} tells too little", bug.name);
            let rule = bug.rule.strip_prefix("ADR").or_else(|| bug.rule.strip_prefix(['R', 'S', 'L']));
            let is_rule = rule.is_some_and(|number| number.parse::<u8>().is_ok());
            assert!(is_rule, "{} breaks {}", bug.name, bug.rule);
        }
    }

    #[test]
    fn as_many_as_promised() {
        let all = all();
        assert!(all.len() >= 45, "{} bugs", all.len());
        let upstream = all.iter().filter(|bug| bug.thread.is_some()).count();
        assert!(upstream >= 10, "{upstream} of others");
    }
}
