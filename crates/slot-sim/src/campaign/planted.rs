//! The hunt for planted bugs: each alone, until it is caught or the seeds run out; then the same seeds without any.
//!
//! What always holds: a bug is caught only by a run that is clean without it; a hunt counts only beside its control (the
//! same runs without a bug, which must all be clean) and its canary (a bug that cannot be missed); a harness that catches
//! nothing, or that cries at everything, fails.

use super::Failed;
use crate::run::{Options, Outcome};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The bug that must be caught at once.
pub const CANARY: &str = "canary";

/// Runs one seed with a bug chosen, or without one.
pub type BugRunner<'a> = dyn Fn(Option<&'static str>, u64, &Options) -> Outcome + Sync + 'a;

/// A planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    /// Its name.
    pub name: &'static str,
    /// The rule or invariant that it breaks.
    pub rule: &'static str,
}

/// How long it is hunted.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Seeds of the bug's own directed run, if it has one.
    pub directed_seeds: u64,
    /// Random seeds after those.
    pub swarm_seeds: u64,
    /// The first seed of both.
    pub start: u64,
    /// No seed of a bug is begun after this long.
    pub at_most: Option<Duration>,
    /// Threads; a bug is hunted by one.
    pub jobs: usize,
}

/// What came of one bug.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// The bug.
    pub bug: &'static str,
    /// The rule or invariant that it breaks.
    pub rule: &'static str,
    /// Whether something was seen.
    pub caught: bool,
    /// The invariant that failed first.
    pub by: Option<String>,
    /// How many seeds ran, the last of them the one that caught it.
    pub seeds: u64,
    /// How long that took.
    pub seconds: f64,
    /// The seed that caught it.
    pub seed: Option<u64>,
    /// Whether that was the bug's own directed run.
    pub directed: bool,
    /// What was seen.
    pub text: Option<String>,
}

/// The same runs without a bug.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Control {
    /// How many runs.
    pub seeds: u64,
    /// What they should not have seen.
    pub failed: Vec<Failed>,
}

/// What came of all bugs.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// How many bugs were hunted.
    pub planted: usize,
    /// How many of them were caught.
    pub caught: usize,
    /// The names of the others.
    pub missed: Vec<&'static str>,
    /// The bug that cannot be missed.
    pub canary: Verdict,
    /// The same runs without a bug.
    pub control: Control,
    /// Each bug.
    pub bugs: Vec<Verdict>,
}

impl Report {
    /// Whether every bug and the canary were caught and the control is clean.
    pub fn is_good(&self) -> bool {
        self.canary.caught && self.missed.is_empty() && self.planted > 0 && self.control_is_clean()
    }

    /// Whether the same runs without a bug saw nothing.
    pub fn control_is_clean(&self) -> bool {
        self.control.failed.is_empty() && self.control.seeds > 0
    }
}

/// A run that a hunt made: the directed run's name, if it was one, and the seed.
type Made = (Option<&'static str>, u64);

/// Every run that was made with a bug, and what the same run without one came to, once that is known.
struct Controls<'a> {
    runner: &'a BugRunner<'a>,
    known: Mutex<BTreeMap<Made, Option<Option<Failed>>>>,
}

impl Controls<'_> {
    fn known(&self) -> MutexGuard<'_, BTreeMap<Made, Option<Option<Failed>>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A run is made with a bug.
    fn made(&self, run: Made) {
        self.known().entry(run).or_default();
    }

    /// What the same run without a bug comes to.
    fn of(&self, run: Made) -> Option<Failed> {
        let known = self.known().get(&run).cloned().flatten();
        known.unwrap_or_else(|| {
            let failed = control(run.0, run.1, self.runner);
            self.known().insert(run, Some(failed.clone()));
            failed
        })
    }

    /// What all of them come to.
    fn all(&self, jobs: usize) -> Control {
        let runs: Vec<Made> = self.known().keys().copied().collect();
        let failed = in_parallel(&runs, jobs, &|run| self.of(*run));
        Control { seeds: runs.len() as u64, failed: failed.into_iter().flatten().collect() }
    }
}

/// Hunts the canary, then every bug, then runs the control. `each` hears of every verdict, by any thread.
pub fn hunt(
    bugs: &[Subject],
    directed: &[&'static str],
    limits: &Limits,
    runner: &BugRunner<'_>,
    each: &(dyn Fn(&Verdict) + Sync),
) -> Report {
    let controls = Controls { runner, known: Mutex::default() };
    let one = |bug: &Subject, limits: &Limits| {
        let verdict = hunt_one(*bug, directed, limits, &controls);
        each(&verdict);
        verdict
    };
    // At once: in its first run.
    let first = Limits { directed_seeds: 1, swarm_seeds: 1, at_most: None, ..limits.clone() };
    let canary = one(&Subject { name: CANARY, rule: "the harness" }, &first);
    let verdicts = in_parallel(bugs, limits.jobs, &|bug| one(bug, limits));
    Report {
        planted: verdicts.len(),
        caught: verdicts.iter().filter(|v| v.caught).count(),
        missed: verdicts.iter().filter(|v| !v.caught).map(|v| v.bug).collect(),
        canary,
        control: controls.all(limits.jobs),
        bugs: verdicts,
    }
}

fn hunt_one(bug: Subject, directed: &[&'static str], limits: &Limits, controls: &Controls<'_>) -> Verdict {
    let began = Instant::now();
    let own = directed.iter().find(|name| **name == bug.name).copied();
    let own_seeds = if own.is_some() { limits.directed_seeds } else { 0 };
    let plan = (0..own_seeds).map(|n| (own, n)).chain((0..limits.swarm_seeds).map(|n| (None, n)));
    let mut verdict = Verdict {
        bug: bug.name,
        rule: bug.rule,
        caught: false,
        by: None,
        seeds: 0,
        seconds: 0.0,
        seed: None,
        directed: false,
        text: None,
    };
    for (name, number) in plan {
        if limits.at_most.is_some_and(|limit| began.elapsed() >= limit) {
            break;
        }
        let seed = limits.start + number;
        controls.made((name, seed));
        let outcome = (controls.runner)(Some(bug.name), seed, &options(name));
        verdict.seeds += 1;
        let failure = outcome.failure();
        // What fails without the bug as well says nothing of the bug; the control says it.
        if let Some(by) = failure.filter(|_| controls.of((name, seed)).is_none()) {
            verdict.caught = true;
            verdict.by = Some(by);
            verdict.seed = Some(seed);
            verdict.directed = name.is_some();
            verdict.text = outcome.violations.into_iter().next().map(|v| v.text).or(outcome.panicked);
            break;
        }
    }
    verdict.seconds = began.elapsed().as_secs_f64();
    verdict
}

fn options(directed: Option<&str>) -> Options {
    Options { directed: directed.map(str::to_string), ..Options::default() }
}

fn control(name: Option<&'static str>, seed: u64, runner: &BugRunner<'_>) -> Option<Failed> {
    let outcome = runner(None, seed, &options(name));
    let invariant = outcome.failure()?;
    let at_ms = outcome.violations.first().map_or(outcome.sim_ms, |v| v.at_ms);
    let text = outcome.violations.into_iter().next().map(|v| v.text).or(outcome.panicked).unwrap_or_default();
    let text = name.map_or(text.clone(), |name| format!("directed run {name}: {text}"));
    Some(Failed { seed, invariant, at_ms, text })
}

/// Does the same to every item on so many threads; the answers are in the items' order.
pub(crate) fn in_parallel<T: Sync, R: Send>(items: &[T], jobs: usize, each: &(dyn Fn(&T) -> R + Sync)) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(items.len()));
    thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, items.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(number) else { return };
                    let answer = each(item);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((number, answer));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, answer)| answer).collect()
}

/// So many bugs of a table, spread over it evenly, for a quick look.
pub fn spread(bugs: &[Subject], wanted: usize) -> Vec<Subject> {
    let wanted = wanted.min(bugs.len());
    (0..wanted).map(|n| bugs[n * bugs.len() / wanted]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Violation;

    const BUGS: [Subject; 3] = [
        Subject { name: "r1-early", rule: "R1" },
        Subject { name: "r2-late", rule: "R2" },
        Subject { name: "r3-never", rule: "R3" },
    ];

    fn limits() -> Limits {
        Limits { directed_seeds: 2, swarm_seeds: 10, start: 0, at_most: None, jobs: 3 }
    }

    fn found(seed: u64, invariant: &'static str) -> Outcome {
        let violation = Violation { invariant, text: "seen".into(), at_ms: 1 };
        Outcome { seed, violations: vec![violation], ..Outcome::default() }
    }

    /// Sees the canary at once, the first bug in its directed run, the second with seed 6, the third never.
    fn eyes(bug: Option<&'static str>, seed: u64, options: &Options) -> Outcome {
        match (bug, seed) {
            (Some(CANARY), _) => found(seed, "S4"),
            (Some("r1-early"), 1) if options.directed.as_deref() == Some("r1-early") => found(seed, "S1"),
            (Some("r2-late"), 6) => found(seed, "S2"),
            _ => Outcome { seed, ..Outcome::default() },
        }
    }

    #[test]
    fn each_bug_has_its_verdict_and_the_missed_are_named() {
        let report = hunt(&BUGS, &["r1-early"], &limits(), &eyes, &|_| ());
        let of = |n: usize| (&report.bugs[n].by, report.bugs[n].seeds, report.bugs[n].directed);
        assert_eq!(of(0), (&Some("S1".to_string()), 2, true));
        assert_eq!(of(1), (&Some("S2".to_string()), 7, false));
        assert_eq!(of(2), (&None, 10, false));
        assert_eq!((report.caught, &report.missed[..]), (2, &["r3-never"][..]));
        // Ten random seeds and two directed ones: every run that was made with a bug is made without one.
        assert_eq!(report.control.seeds, 12);
        assert!(report.canary.caught && report.control_is_clean() && !report.is_good());
        assert!(hunt(&BUGS[..2], &["r1-early"], &limits(), &eyes, &|_| ()).is_good());
    }

    #[test]
    fn a_harness_that_catches_nothing_fails() {
        let blind = |_: Option<&'static str>, seed: u64, _: &Options| Outcome { seed, ..Outcome::default() };
        let report = hunt(&BUGS, &[], &limits(), &blind, &|_| ());
        assert!(!report.canary.caught && report.caught == 0 && !report.is_good());
        assert!(!hunt(&[], &[], &limits(), &blind, &|_| ()).is_good());
    }

    #[test]
    fn a_harness_that_cries_at_everything_fails() {
        let shy = |_: Option<&'static str>, seed: u64, _: &Options| found(seed, "S1");
        let report = hunt(&BUGS, &[], &limits(), &shy, &|_| ());
        assert_eq!((report.caught, report.control.failed.len()), (0, 10));
        assert!(!report.canary.caught && !report.control_is_clean() && !report.is_good());
    }

    #[test]
    fn a_run_that_fails_without_the_bug_catches_nothing() {
        let flaky = |bug: Option<&'static str>, seed: u64, options: &Options| match seed {
            3 => found(seed, "L1"),
            _ => eyes(bug, seed, options),
        };
        let report = hunt(&BUGS[1..2], &[], &limits(), &flaky, &|_| ());
        assert_eq!((report.bugs[0].seeds, report.bugs[0].by.as_deref()), (7, Some("S2")));
        assert_eq!(report.control.failed.iter().map(|f| f.seed).collect::<Vec<_>>(), [3]);
        assert!(!report.is_good());
    }

    #[test]
    fn a_quick_look_is_spread_over_the_table() {
        let names = |n: usize| spread(&BUGS, n).iter().map(|b| b.name).collect::<Vec<_>>();
        assert_eq!(names(2), ["r1-early", "r2-late"]);
        assert_eq!(names(9).len(), 3);
        assert_eq!(names(0).len(), 0);
    }
}
