//! Directed runs: schedules that are played on purpose, by name.
//!
//! What always holds: a directed run draws everything that it does not fix from its seed; it is looked at by the same
//! checkers as any other, and is clean without a planted bug.

mod brake;
mod by_hand;
mod coordinator;
mod copies;
mod fence;
mod front_ends;
mod hosts;
mod joins;
mod logs;
mod plans;
mod probes;
mod raft;
mod restore;
mod schedules;

use super::*;

/// A schedule.
pub struct Script {
    /// Its name; that of a planted bug has the bug's name.
    pub name: &'static str,
    /// The world it is played in.
    pub swarm: fn(&mut Stream) -> Swarm,
    /// What happens, once every store is served. Everything is healed after it.
    pub play: fn(&mut Sim, &mut Stream),
}

/// Every schedule.
pub fn all() -> impl Iterator<Item = &'static Script> {
    [
        brake::SCRIPTS,
        by_hand::SCRIPTS,
        coordinator::SCRIPTS,
        copies::SCRIPTS,
        plans::SCRIPTS,
        probes::SCRIPTS,
        raft::SCRIPTS,
        hosts::SCRIPTS,
        joins::SCRIPTS,
        logs::SCRIPTS,
        fence::SCRIPTS,
        front_ends::SCRIPTS,
        restore::SCRIPTS,
        schedules::SCRIPTS,
    ]
    .into_iter()
    .flatten()
}

/// Of each 300 seeds one: dangerous states that random worlds come to so rarely that 300 of them may miss them.
const RARE: [(u64, &str); 5] = [
    (57, "r19-disk-not-vouched-for"),
    (117, "r23-mass-unasked"),
    (177, "r19-branch-not-recorded"),
    (237, "s2-older-disk-accepted"),
    (297, "r19-conflict-adopted"),
];

/// The schedule that a campaign plays with a seed: every sixth seed has one, every 24th one about copies, every thirtieth one of
/// power that is cut, every thirtieth one of a restore, every thirtieth one of front ends, every thirtieth
/// one of hosts that join, every thirtieth one of probes, five in 300 a rare one; the others are random worlds.
pub fn of_seed(seed: u64) -> Option<&'static Script> {
    if seed % 24 == 16 {
        let mut about_copies = copies::SCRIPTS.iter().filter(|script| script.name.starts_with("reach/"));
        let turn = usize::try_from(seed / 24).unwrap_or(0) % about_copies.clone().count().max(1);
        return about_copies.nth(turn);
    }
    if let Some((_, name)) = RARE.iter().find(|(turn, _)| seed % 300 == *turn) {
        return find(name);
    }
    if seed % 30 == 8 {
        return fence::SCRIPTS.get(usize::try_from(seed / 30).unwrap_or(0) % fence::SCRIPTS.len());
    }
    if seed % 30 == 20 {
        return restore::SCRIPTS.get(usize::try_from(seed / 30).unwrap_or(0) % restore::SCRIPTS.len());
    }
    if seed % 30 == 18 {
        return front_ends::SCRIPTS.get(usize::try_from(seed / 30).unwrap_or(0) % front_ends::SCRIPTS.len());
    }
    if seed % 30 == 6 {
        return probes::SCRIPTS.get(usize::try_from(seed / 30).unwrap_or(0) % probes::SCRIPTS.len());
    }
    if seed % 30 == 19 {
        return joins::SCRIPTS.get(usize::try_from(seed / 30).unwrap_or(0) % joins::SCRIPTS.len());
    }
    let turn = usize::try_from(seed / 6).unwrap_or(0) % schedules::SCRIPTS.len();
    schedules::SCRIPTS.get(turn).filter(|_| seed % 6 == 5)
}

/// The schedule of a name.
pub fn find(name: &str) -> Option<&'static Script> {
    all().find(|script| script.name == name)
}

/// Every name.
pub fn names() -> &'static [&'static str] {
    static NAMES: std::sync::OnceLock<Vec<&'static str>> = std::sync::OnceLock::new();
    NAMES.get_or_init(|| all().map(|script| script.name).collect())
}
