//! Plans of the placement engine for a fleet in a file of htools.

use super::left::{AllLeft, Asked};
use super::{hosts, unwritable, wrong};
use crate::args::{Budget, Files, Offline};
use crate::asks::Side;
use crate::console::Console;
use crate::failure::{Exit, Failure};
use crate::json;
use crate::offline::writing::{Readers, Unwritable, Writing};
use crate::offline::{Loaded, htools};
use crate::text::layout::{bytes, count, span, wrap};
use serde::Serialize;
use slot_planner::layout::*;

/// Bytes a second on each link where nobody says.
const RATE: u64 = 100_000_000;
/// So many of the copies that fit nowhere are named.
const NAMES_MAX: usize = 100;

/// What was planned, in figures.
#[derive(Debug, Serialize)]
pub struct Stats {
    /// `rebalance`, `fill`, `drain` or `place`.
    operation: &'static str,
    hosts: usize,
    active: u32,
    stores: usize,
    /// Moves with a copy.
    copies: usize,
    /// Moves without one.
    hand_overs: usize,
    /// Stores whose master is on another host afterwards.
    master_changes: usize,
    /// Of these, stores whose master was on no host that is drained.
    master_changes_elsewhere: usize,
    /// Masters that were on hosts that lose all, and above what the fullest host is left with: no plan that ends as even changes fewer.
    master_changes_floor: u64,
    bytes_copied: u64,
    waves: u32,
    /// How long all waves take, one after the other.
    copy_ms: u64,
    /// At so many bytes a second on each link.
    bytes_per_second: u64,
    /// Each wave.
    legs: Vec<Wave>,
    figures_before: Side,
    /// The worst survivor of a loss between any two waves; null when nobody asked.
    worst_survivor_during: Option<f64>,
    figures_after: Side,
    /// What is broken then, and why.
    #[serde(flatten)]
    left: AllLeft,
    /// That every part of every move was replayed against the hard rules: nothing else has figures.
    checked: bool,
}

/// One wave.
#[derive(Debug, Serialize)]
pub struct Wave {
    /// Moves with a copy.
    copies: u32,
    /// Moves without one.
    hand_overs: u32,
    bytes_copied: u64,
    copy_ms: u64,
    /// When it is over; null when nobody asked.
    worst_survivor: Option<f64>,
}

/// How an outcome is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Bytes a second on each link.
    pub rate: u64,
    /// Whether it is said what could be lost between the waves.
    pub during: bool,
}

impl Stats {
    /// The figures of an outcome for a loaded fleet; only what was replayed has any.
    pub fn of(operation: &'static str, loaded: &Loaded, asked: (&Goal, &Wish), checked: &Checked, look: Look) -> Stats {
        stats(operation, loaded, asked, checked, look)
    }
}

/// The fleet with its hosts in the states that the goal asks for.
pub(super) fn wanted(loaded: &Loaded, goal: &Goal) -> Fleet {
    in_states(&loaded.fleet, goal)
}

/// Each wave.
fn waves(fleet: &Fleet, loaded: &Loaded, outcome: &Outcome, look: Look) -> Vec<Wave> {
    let wave = |leg: &course::Leg| Wave {
        copies: leg.copies,
        hand_overs: leg.hand_overs,
        bytes_copied: leg.bytes,
        copy_ms: leg.ms(look.rate),
        worst_survivor: leg.worst_survivor.map(|level| level as f64 / 1e3),
    };
    course::legs(fleet, &loaded.layout, outcome, look.during).iter().map(wave).collect()
}

/// Plans for a fleet, and writes what was planned.
pub(super) fn plan(
    loaded: &Loaded,
    what: &Offline,
    (operation, files, budget): (&'static str, &Files, &Budget),
    console: &mut Console,
) -> Result<Exit, Failure> {
    let subject = files.from.display().to_string();
    let goal = goal(loaded, what, operation, &subject)?;
    let wish = wish(budget);
    let checked = solved(loaded, &goal, &wish, (operation, &subject))?;
    let look = Look { rate: files.rate.unwrap_or(RATE), during: files.during };
    let stats = stats(operation, loaded, (&goal, &wish), &checked, look);
    write(loaded, &checked, files, &stats).map_err(unwritable)?;
    if console.json {
        console.document(&json::offline(&stats));
    } else {
        console.text(&text(&stats));
    }
    stats.left.ended(operation, &subject)
}

/// What is wanted.
pub(super) fn goal(loaded: &Loaded, what: &Offline, operation: &str, subject: &str) -> Result<Goal, Failure> {
    Ok(match what {
        Offline::Place { file: Some(_), .. } => return Err(no_cluster_file(subject)),
        Offline::Place { file: None, .. } => Goal::Rebuild,
        Offline::Drain { hosts: named, racks, empty, .. } => {
            let named = hosts(loaded, operation, named, racks)?;
            Goal::Drain { hosts: numbers(loaded, &named, operation)?, empty: *empty }
        }
        Offline::Fill { hosts, .. } => Goal::Fill { hosts: numbers(loaded, hosts, operation)? },
        _ => Goal::Rebalance,
    })
}

/// An outcome of which every part was replayed.
pub(super) fn solved(
    loaded: &Loaded,
    goal: &Goal,
    wish: &Wish,
    (operation, subject): (&str, &str),
) -> Result<Checked, Failure> {
    let outcome = solve(&loaded.fleet, &loaded.layout, goal, wish)
        .map_err(|no| refused(loaded, (operation, goal), subject, &no))?;
    check(&loaded.fleet, &loaded.layout, goal, outcome).map_err(|fault| {
        let next = "this is a mistake of the planner: please report it with the file";
        Failure::new(operation, subject, fault.to_string(), next)
    })
}

fn no_cluster_file(subject: &str) -> Failure {
    let next = "add a line for each new store, its nodes empty, or place them in a snapshot: --format snapshot";
    Failure::new("place", subject, "a cluster file is for snapshots", next).usage()
}

/// What is to be seen in the end.
fn asked(goal: &Goal) -> Asked {
    match goal {
        Goal::Drain { hosts, empty } => Asked::Drained { hosts: hosts.clone(), empty: *empty },
        Goal::Rebuild | Goal::Place => Asked::Placed,
        Goal::Rebalance | Goal::Fill { .. } | Goal::FailOver => Asked::Even,
    }
}

fn numbers(loaded: &Loaded, names: &[String], operation: &str) -> Result<Vec<u32>, Failure> {
    let number = |name: &String| loaded.number(name).ok_or_else(|| wrong(operation, name));
    names.iter().map(number).collect()
}

pub(super) fn wish(budget: &Budget) -> Wish {
    Wish {
        bytes_ppm: (budget.disk * 10_000.0) as u64,
        max_bytes: budget.max_bytes.unwrap_or(u64::MAX),
        max_moves: budget.max_moves.unwrap_or(usize::MAX),
        min_gain_ppm: (budget.min_gain * 1e6) as u64,
        per_host: budget.per_host,
        per_domain: budget.per_domain.unwrap_or(u32::MAX),
        in_all: budget.in_all.unwrap_or(u32::MAX),
    }
}

fn refused(loaded: &Loaded, (operation, goal): (&str, &Goal), subject: &str, no: &No) -> Failure {
    let (cause, next) = match no {
        No::DoesNotFit(stores) => does_not_fit(loaded, goal, stores),
        No::NoOtherCopy(stores) => {
            let named = stores.iter().take(5).map(|store| loaded.store(*store)).collect::<Vec<_>>().join(", ");
            (format!("{no}: {named}"), "empty the host (--empty), or leave it out".to_owned())
        }
        No::Budget { bytes: needed, moves } => {
            let takes = format!("{} of {} in all", count(*moves as u64, "copy or hand-over"), bytes(*needed));
            let takes = takes.replace("copy or hand-overs", "copies and hand-overs");
            (
                format!("the budget does not reach what has to leave: that takes {takes}"),
                format!("say --max-bytes {needed} --max-moves {moves} or more, or leave both out"),
            )
        }
        No::UnknownHost(_) | No::NoActiveHost | No::TooLarge => {
            (no.to_string(), "look at the nodes of the file".to_owned())
        }
    };
    Failure::new(operation, subject, cause, &next)
}

/// What fits nowhere, and whether that is for want of room.
fn does_not_fit(loaded: &Loaded, goal: &Goal, stores: &[(u32, u64)]) -> (String, String) {
    let fleet = in_states(&loaded.fleet, goal);
    let tally = Tally::without_pairs(&fleet, &loaded.layout);
    let barred = |store: u32| match nowhere(&fleet, &loaded.layout, &tally, store) {
        Nowhere::Rules(why) => Some(why),
        Nowhere::Full { .. } | Nowhere::Together => None,
    };
    let judged = stores.iter().map(|(store, size)| (*store, *size, barred(*store)));
    let (barred, full): (Vec<_>, Vec<_>) = judged.partition(|(.., why)| why.is_some());
    let listed = |mut named: Vec<String>, all: usize| {
        named.extend(all.checked_sub(NAMES_MAX + 1).map(|more| format!("and {} more", more + 1)));
        named.join(", ")
    };
    let (mut causes, mut next) = (Vec::new(), Vec::new());
    if !full.is_empty() {
        let named =
            full.iter().take(NAMES_MAX).map(|(store, size, _)| format!("{} ({})", loaded.store(*store), bytes(*size)));
        let all = full.iter().map(|(_, size, _)| *size).fold(0, u64::saturating_add);
        let fit = if full.len() == 1 { "fits" } else { "fit" };
        let copies = count(full.len() as u64, "copy");
        let named = listed(named.collect(), full.len());
        causes.push(format!("{copies} of {} in all {fit} on no other host: {named}", bytes(all)));
        next.push("free room on another host");
    }
    if !barred.is_empty() {
        let because = |(store, _, why): &(u32, u64, Option<Vec<(u32, WhyNotHere)>>)| {
            let hosts: Vec<String> =
                why.iter().flatten().take(3).map(|(host, why)| not_here(loaded, *host, *why)).collect();
            format!(
                "{} ({})",
                loaded.store(*store),
                if hosts.is_empty() { "no host is active".into() } else { hosts.join("; ") }
            )
        };
        let copies = count(barred.len() as u64, "copy");
        let may = if barred.len() == 1 { "is" } else { "are" };
        let named = listed(barred.iter().take(NAMES_MAX).map(because).collect(), barred.len());
        causes.push(format!("{copies} {may} allowed on no other host, whatever room there is: {named}"));
        next.push("add a host in another failure domain");
    }
    next.push("or leave hosts out of the drain");
    (causes.join("; "), next.join(", "))
}

/// Why a host may not have a copy.
fn not_here(loaded: &Loaded, host: u32, why: WhyNotHere) -> String {
    let name = loaded.host(host);
    match why {
        WhyNotHere::HasCopy => format!("{name} has a copy of it"),
        WhyNotHere::SharesDomain { with } => {
            format!("{name} is in one failure domain with its copy on {}", loaded.host(with))
        }
        WhyNotHere::Excluded => format!("it is kept away from {name}"),
        WhyNotHere::State(_) => format!("{name} is not active"),
        WhyNotHere::Bytes { .. } | WhyNotHere::Slots => format!("{name} is full"),
    }
}

fn stats(
    operation: &'static str,
    loaded: &Loaded,
    (goal, wish): (&Goal, &Wish),
    checked: &Checked,
    look: Look,
) -> Stats {
    let outcome = checked.outcome();
    let fleet = &wanted(loaded, goal);
    let legs = waves(fleet, loaded, outcome, look);
    let changes = Changes::of(fleet, &loaded.layout, goal, outcome);
    let copies = outcome.moves.iter().filter(|one| one.to != NOWHERE).count();
    Stats {
        operation,
        hosts: fleet.hosts.len(),
        active: outcome.after.hosts,
        stores: fleet.stores.len(),
        copies,
        hand_overs: outcome.moves.len() - copies,
        master_changes: changes.made,
        master_changes_elsewhere: changes.elsewhere,
        master_changes_floor: changes.floor,
        bytes_copied: outcome.bytes,
        waves: outcome.waves.last().map_or(0, |last| last + 1),
        copy_ms: legs.iter().map(|leg| leg.copy_ms).sum(),
        bytes_per_second: look.rate,
        worst_survivor_during: legs.iter().filter_map(|leg| leg.worst_survivor).reduce(f64::max),
        legs,
        figures_before: Side::of(&outcome.before),
        figures_after: Side::of(&outcome.after),
        left: AllLeft::of(loaded, (&loaded.fleet, &loaded.layout, &outcome.layout), (goal, wish), &asked(goal)),
        checked: true,
    }
}

/// Stores that another host leads.
struct Changes {
    made: usize,
    /// Of these, on hosts that are not drained.
    elsewhere: usize,
    /// No layout that serves these stores, and leaves no host more loaded than this one does, has fewer.
    floor: u64,
}

impl Changes {
    fn of(fleet: &Fleet, before: &Layout, goal: &Goal, outcome: &Outcome) -> Changes {
        let (mut made, mut elsewhere, mut floor) = (0, 0, 0);
        let is_drained = |host: u32| matches!(goal, Goal::Drain { hosts, .. } if hosts.contains(&host));
        let mut led = vec![0u64; fleet.hosts.len()];
        for store in 0..fleet.stores.len() as u32 {
            let (was, is) = (before.master(fleet, store), outcome.layout.master(fleet, store));
            if was == NOWHERE {
                continue;
            }
            made += usize::from(was != is);
            elsewhere += usize::from(was != is && !is_drained(was));
            match fleet.hosts[was as usize].is_active() {
                true => led[was as usize] += u64::from(fleet.stores[store as usize].load),
                false => floor += u64::from(was != is),
            }
        }
        // Of the masters above a level, so many stores go at least as the heaviest of them make up.
        let heaviest = fleet.stores.iter().map(|store| u64::from(store.load)).max().unwrap_or(1).max(1);
        let level = |host: &Host| outcome.after.load_max * u64::from(host.weight) / 1_000_000;
        let above = fleet.hosts.iter().zip(&led).map(|(host, load)| load.saturating_sub(level(host)));
        Changes { made, elsewhere, floor: floor + above.map(|load| load.div_ceil(heaviest)).sum::<u64>() }
    }
}

fn write(loaded: &Loaded, checked: &Checked, files: &Files, stats: &Stats) -> Result<(), Unwritable> {
    let outcome = checked.outcome();
    let mut writing = Writing::default();
    if let Some(path) = &files.out {
        let is_data = path.extension().is_some_and(|ending| ending == "data");
        writing.put_with(path, Readers::Anybody, |out| match is_data {
            true => htools::write_data(loaded, &outcome.layout, out),
            false => htools::write_csv(loaded, &loaded.fleet, &outcome.layout, out),
        })?;
    }
    if let Some(path) = &files.json {
        writing.put(path, format!("{}\n", json::offline(stats)).as_bytes(), Readers::Anybody)?;
    }
    if let Some(path) = &files.moves {
        writing.put(path, moves(loaded, outcome).as_bytes(), Readers::Anybody)?;
    }
    writing.finish()
}

/// The moves as JSON lines.
fn moves(loaded: &Loaded, outcome: &Outcome) -> String {
    let host = |host: u32| if host == NOWHERE { "" } else { &loaded.hosts[host as usize] };
    let line = |(one, wave): (&Move, &u32)| {
        serde_json::json!({
            "wave": wave, "store": loaded.store(one.store), "from": host(one.from), "to": host(one.to),
            "master": host(one.master),
        })
    };
    outcome.moves.iter().zip(&outcome.waves).map(|both| format!("{}\n", line(both))).collect()
}

fn text(stats: &Stats) -> String {
    let Stats { figures_before: before, figures_after: after, .. } = stats;
    let row =
        |name: &str, was: String, is: String, bound: String| format!("  {name:<26}{was:>12}{is:>12}{bound:>12}\n");
    let ratio = |side: &Side| format!("{:.4}", side.bytes_max_over_share);
    let mut text = format!(
        "{}, {}: {} of {} in all, {}, {}\n",
        count(stats.hosts as u64, "host"),
        count(stats.stores as u64, "store"),
        count(stats.copies as u64, "copy"),
        bytes(stats.bytes_copied),
        count(stats.hand_overs as u64, "hand-over"),
        count(stats.waves.into(), "wave")
    );
    if stats.copies > 0 {
        text +=
            &format!("copied in {} at {} a second on each link\n", span(stats.copy_ms), bytes(stats.bytes_per_second));
    }
    if stats.operation == "drain" && stats.master_changes_elsewhere > 0 {
        let led = count(stats.master_changes_elsewhere as u64, "master");
        text += &wrap("", &format!("{led} of other hosts handed over too, so that no host leads more than it must"));
    }
    if let Some(during) = stats.worst_survivor_during {
        text += &format!("worst survivor of a loss between two waves: {during}\n");
    }
    text += &row("", "before".into(), "after".into(), "bound".into());
    text += &row("most masters", before.load_max.to_string(), after.load_max.to_string(), after.load_bound.to_string());
    let bound = after.worst_survivor_bound.to_string();
    text +=
        &row("worst survivor of a loss", before.worst_survivor.to_string(), after.worst_survivor.to_string(), bound);
    text += &row("fullest over its share", ratio(before), ratio(after), "1.0000".into());
    text += &row("violations", before.violations.to_string(), after.violations.to_string(), "0".into());
    text += &row(
        "masters that change host",
        String::new(),
        stats.master_changes.to_string(),
        stats.master_changes_floor.to_string(),
    );
    text + &stats.left.text()
}
