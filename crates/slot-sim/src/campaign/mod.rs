//! Many seeds on all cores, and what came of them together.
//!
//! What always holds: seeds are taken in order without a gap, and a seed that was begun is ended, so what a campaign
//! covers is a range; each seed runs on one thread and by itself; the digest is over the seeds' digests in the seeds'
//! order, so it is equal whatever the number of threads. Nothing here touches a world: a seed is run by whoever the
//! caller names, so all of this is tested without one.

pub mod evidence;
pub mod planted;
pub mod shrink;
pub mod sweep;

use crate::run::{Options, Outcome};
use serde::Serialize;
use slot_types::position::Digest;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Runs one seed.
pub type Runner<'a> = dyn Fn(u64, &Options) -> Outcome + Sync + 'a;

/// Which seeds, on how many threads, for how long.
#[derive(Debug, Clone)]
pub struct Campaign {
    /// The first seed.
    pub start: u64,
    /// How many, at most.
    pub seeds: u64,
    /// No seed is begun after this long.
    pub at_most: Option<Duration>,
    /// Threads.
    pub jobs: usize,
    /// What is asked of every seed.
    pub options: Options,
}

/// A seed that failed.
#[derive(Debug, Clone, Serialize)]
pub struct Failed {
    /// The seed.
    pub seed: u64,
    /// The invariant's id, or the place of a panic.
    pub invariant: String,
    /// When, in simulated milliseconds.
    pub at_ms: u64,
    /// What was seen.
    pub text: String,
}

/// What came of all seeds.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// How many seeds ran.
    pub seeds: u64,
    /// The first of them.
    pub start: u64,
    /// Threads.
    pub jobs: usize,
    /// Simulated hours.
    pub sim_hours: f64,
    /// How long it took.
    pub wall_seconds: f64,
    /// Processor time of the whole program meanwhile: on a busy machine much less than threads times wall time.
    pub cpu_seconds: f64,
    /// Simulated hours in an hour of one core's time.
    pub sim_hours_per_core_hour: f64,
    /// Violations, panics not counted.
    pub violations: u64,
    /// Seeds that ended in a panic.
    pub panics: u64,
    /// Faults injected, by class.
    pub faults: BTreeMap<&'static str, u64>,
    /// Dangerous states reached, by name.
    pub reached: BTreeMap<&'static str, u64>,
    /// Dangerous states that no seed reached.
    pub unreached: Vec<&'static str>,
    /// Over the digests of all seeds.
    pub digest: String,
    /// The seeds that failed, in order.
    pub failed: Vec<Failed>,
}

impl Summary {
    /// Whether nothing wrong was seen and every dangerous state was reached.
    pub fn is_clean(&self) -> bool {
        self.failed.is_empty() && self.unreached.is_empty()
    }
}

/// What a campaign must have done to be worth something.
pub struct Wanted<'a> {
    /// Every dangerous state.
    pub names: &'a [&'static str],
    /// Every class of fault.
    pub classes: &'a [&'static str],
}

/// What of an outcome is kept.
#[derive(Default)]
struct Sums {
    digests: BTreeMap<u64, [u8; 32]>,
    failed: BTreeMap<u64, Vec<Failed>>,
    panics: u64,
    sim_ms: u64,
    faults: BTreeMap<&'static str, u64>,
    reached: BTreeMap<&'static str, u64>,
}

impl Sums {
    fn add(&mut self, outcome: Outcome) {
        let seed = outcome.seed;
        self.sim_ms += outcome.sim_ms;
        self.digests.insert(seed, outcome.digest);
        let mut failed: Vec<Failed> = Vec::new();
        if let Some(text) = &outcome.panicked {
            self.panics += 1;
            let only_panic = Outcome { panicked: outcome.panicked.clone(), ..Outcome::default() };
            let invariant = only_panic.failure().unwrap_or_default();
            failed.push(Failed { seed, invariant, at_ms: outcome.sim_ms, text: text.clone() });
        }
        for broken in outcome.violations {
            failed.push(Failed {
                seed,
                invariant: broken.invariant.to_string(),
                at_ms: broken.at_ms,
                text: broken.text,
            });
        }
        if !failed.is_empty() {
            self.failed.insert(seed, failed);
        }
        for (into, from) in [(&mut self.faults, outcome.faults), (&mut self.reached, outcome.reached)] {
            for (name, times) in from {
                *into.entry(name).or_default() += times;
            }
        }
    }
}

/// Runs a campaign; `each` hears of every seed that has ended, by any thread.
pub fn run(campaign: &Campaign, wanted: &Wanted<'_>, runner: &Runner<'_>, each: &(dyn Fn(&Outcome) + Sync)) -> Summary {
    let (began, cpu) = (Instant::now(), cpu_time());
    let next = AtomicU64::new(0);
    let sums = Mutex::new(Sums::default());
    let jobs = campaign.jobs.max(1);
    let work = || {
        while campaign.at_most.is_none_or(|limit| began.elapsed() < limit) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= campaign.seeds {
                return;
            }
            let outcome = runner(campaign.start + number, &campaign.options);
            each(&outcome);
            sums.lock().unwrap_or_else(std::sync::PoisonError::into_inner).add(outcome);
        }
    };
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(work);
        }
    });
    let sums = sums.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let took = Took { wall: began.elapsed(), cpu: cpu_time().saturating_sub(cpu) };
    summary(campaign, wanted, jobs, sums, &took)
}

/// The processor time that this program has used.
fn cpu_time() -> Duration {
    Duration::try_from(rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime)).unwrap_or_default()
}

struct Took {
    wall: Duration,
    cpu: Duration,
}

fn summary(campaign: &Campaign, wanted: &Wanted<'_>, jobs: usize, sums: Sums, took: &Took) -> Summary {
    let digest = sums.digests.values().fold(Digest::default(), |all, one| all.chain(one));
    let sim_hours = sums.sim_ms as f64 / 3_600_000.0;
    let core_hours = took.cpu.as_secs_f64() / 3_600.0;
    let with_zeros = |names: &[&'static str], mut counts: BTreeMap<&'static str, u64>| {
        for name in names {
            counts.entry(name).or_default();
        }
        counts
    };
    let reached = with_zeros(wanted.names, sums.reached);
    let panics = sums.panics;
    let failed: Vec<Failed> = sums.failed.into_values().flatten().collect();
    Summary {
        seeds: sums.digests.len() as u64,
        start: campaign.start,
        jobs,
        sim_hours,
        wall_seconds: took.wall.as_secs_f64(),
        cpu_seconds: took.cpu.as_secs_f64(),
        sim_hours_per_core_hour: if core_hours > 0.0 { sim_hours / core_hours } else { 0.0 },
        violations: failed.len() as u64 - panics,
        panics,
        faults: with_zeros(wanted.classes, sums.faults),
        unreached: wanted.names.iter().filter(|name| reached[*name] == 0).copied().collect(),
        reached,
        digest: digest.hex(),
        failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Violation;

    const WANTED: Wanted<'_> = Wanted { names: &["always", "never", "seldom"], classes: &["cut", "lost"] };

    fn toy(seed: u64, _: &Options) -> Outcome {
        let mut outcome = Outcome { seed, sim_ms: 3_600_000, digest: [seed as u8; 32], ..Outcome::default() };
        outcome.reached.insert("always", 1);
        outcome.faults.insert("cut", 2);
        if seed == 7 {
            outcome.reached.insert("seldom", 1);
            outcome.violations.push(Violation { invariant: "S1", text: "two masters".into(), at_ms: 3 });
        }
        if seed == 9 {
            outcome.panicked = Some("oh at core.rs:1".into());
        }
        outcome
    }

    fn campaign(jobs: usize, seeds: u64) -> Campaign {
        Campaign { start: 1, seeds, at_most: None, jobs, options: Options::default() }
    }

    #[test]
    fn the_sum_is_the_same_whatever_the_number_of_threads() {
        let one = run(&campaign(1, 50), &WANTED, &toy, &|_| ());
        let many = run(&campaign(7, 50), &WANTED, &toy, &|_| ());
        assert_eq!((one.seeds, many.seeds), (50, 50));
        assert_eq!(one.digest, many.digest);
        assert_ne!(one.digest, run(&campaign(1, 49), &WANTED, &toy, &|_| ()).digest);
        assert_eq!(one.reached, many.reached);
        assert_eq!(one.sim_hours, 50.0);
    }

    #[test]
    fn failures_are_listed_and_what_was_not_reached_is_named() {
        let summary = run(&campaign(3, 20), &WANTED, &toy, &|_| ());
        assert_eq!((summary.violations, summary.panics), (1, 1));
        let failed: Vec<(u64, &str)> = summary.failed.iter().map(|f| (f.seed, f.invariant.as_str())).collect();
        assert_eq!(failed, [(7, "S1"), (9, "panic at core.rs:1")]);
        assert_eq!(summary.unreached, ["never"]);
        assert_eq!(summary.faults, BTreeMap::from([("cut", 40), ("lost", 0)]));
        assert!(!summary.is_clean());
    }

    #[test]
    fn a_campaign_without_failures_that_reached_everything_is_clean() {
        let wanted = Wanted { names: &["always"], classes: &[] };
        assert!(run(&campaign(2, 6), &wanted, &toy, &|_| ()).is_clean());
    }

    #[test]
    fn no_seed_is_begun_when_the_time_is_over() {
        let over = Campaign { at_most: Some(Duration::ZERO), ..campaign(2, 6) };
        assert_eq!(run(&over, &WANTED, &toy, &|_| ()).seeds, 0);
    }
}
