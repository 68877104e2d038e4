//! Every case of a list, once: single faults at every effect of every kind of plan, or pairs of them.
//!
//! What always holds: a case that was begun is ended and counted; the digest is over the cases in their order, whatever
//! the number of threads.

use super::planted::in_parallel;
use crate::run::Outcome;
use serde::Serialize;
use slot_types::position::Digest;
use std::collections::BTreeMap;
use std::time::Instant;

/// A case that failed.
#[derive(Debug, Clone, Serialize)]
pub struct FailedCase {
    /// The case, as it is typed to run it again.
    pub case: String,
    /// The invariant's id, or the place of a panic.
    pub invariant: String,
    /// What was seen.
    pub text: String,
}

/// What came of all cases.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// How many cases ran.
    pub cases: u64,
    /// How many of each group, such as a kind of plan with a kind of fault.
    pub groups: BTreeMap<String, u64>,
    /// Violations, panics not counted.
    pub violations: u64,
    /// Cases that ended in a panic.
    pub panics: u64,
    /// Simulated hours.
    pub sim_hours: f64,
    /// How long it took.
    pub wall_seconds: f64,
    /// Over the digests of all cases.
    pub digest: String,
    /// Cases whose faults did not all happen: the place was not reached, or there was nothing to befall.
    pub not_injected: Vec<String>,
    /// The cases that failed, in order.
    pub failed: Vec<FailedCase>,
}

impl Report {
    /// Whether cases ran, nearly all of them with their faults, and nothing wrong was seen.
    pub fn is_clean(&self) -> bool {
        self.failed.is_empty() && self.cases > 0 && self.is_injected()
    }

    /// Whether so many cases met their faults as a sweep must, to show anything.
    pub fn is_injected(&self) -> bool {
        let least = if self.groups.keys().any(|group| group.ends_with("pairs")) { 70 } else { 95 };
        (self.cases - self.not_injected.len() as u64) * 100 >= self.cases * least
    }
}

/// One case: how it is called, which group it counts to, and how it is run.
pub trait Case: Sync {
    /// The case, as it is typed to run it again.
    fn name(&self) -> String;
    /// The group it counts to.
    fn group(&self) -> String;
    /// Runs it.
    fn run(&self) -> Outcome;
    /// Whether its faults really happened.
    fn landed(&self, outcome: &Outcome) -> bool;
}

/// What of a case's outcome is kept.
struct Kept {
    digest: [u8; 32],
    sim_ms: u64,
    violations: u64,
    panicked: bool,
    missed: Option<String>,
    failed: Option<FailedCase>,
}

/// Runs every case on so many threads; `each` hears of every case that has ended, by any thread.
pub fn run<C: Case>(cases: &[C], jobs: usize, each: &(dyn Fn(&C) + Sync)) -> Report {
    let began = Instant::now();
    let kept = in_parallel(cases, jobs, &|case| {
        let outcome = case.run();
        each(case);
        let text = outcome.violations.first().map(|v| v.text.clone()).or_else(|| outcome.panicked.clone());
        let failed = outcome.failure().map(|invariant| FailedCase {
            case: case.name(),
            invariant,
            text: text.unwrap_or_default(),
        });
        Kept {
            digest: outcome.digest,
            sim_ms: outcome.sim_ms,
            violations: outcome.violations.len() as u64,
            panicked: outcome.panicked.is_some(),
            missed: (!case.landed(&outcome)).then(|| case.name()),
            failed,
        }
    });
    let mut groups: BTreeMap<String, u64> = BTreeMap::new();
    for case in cases {
        *groups.entry(case.group()).or_default() += 1;
    }
    Report {
        cases: cases.len() as u64,
        groups,
        violations: kept.iter().map(|k| k.violations).sum(),
        panics: kept.iter().filter(|k| k.panicked).count() as u64,
        sim_hours: kept.iter().map(|k| k.sim_ms).sum::<u64>() as f64 / 3_600_000.0,
        wall_seconds: began.elapsed().as_secs_f64(),
        digest: kept.iter().fold(Digest::default(), |all, one| all.chain(&one.digest)).hex(),
        not_injected: kept.iter().filter_map(|k| k.missed.clone()).collect(),
        failed: kept.into_iter().filter_map(|k| k.failed).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Violation;

    /// The case of number 8 meets no fault.
    struct Toy(u8);

    impl Case for Toy {
        fn name(&self) -> String {
            format!("toy {}", self.0)
        }
        fn group(&self) -> String {
            if self.0.is_multiple_of(2) { "even".into() } else { "odd".into() }
        }
        fn run(&self) -> Outcome {
            let mut outcome = Outcome { digest: [self.0; 32], sim_ms: 1_000, ..Outcome::default() };
            if self.0 == 5 {
                outcome.violations.push(Violation { invariant: "S6", text: "twice".into(), at_ms: 0 });
            }
            outcome
        }
        fn landed(&self, _: &Outcome) -> bool {
            self.0 != 8
        }
    }

    #[test]
    fn every_case_is_run_and_counted() {
        let cases: Vec<Toy> = (0..9).map(Toy).collect();
        let (one, many) = (run(&cases, 1, &|_| ()), run(&cases, 4, &|_| ()));
        assert_eq!(one.digest, many.digest);
        assert_eq!(many.groups, BTreeMap::from([("even".into(), 5), ("odd".into(), 4)]));
        assert_eq!((many.violations, many.failed[0].case.as_str()), (1, "toy 5"));
        assert!(!many.is_clean() && run(&cases[..5], 2, &|_| ()).is_clean());
        assert_eq!(many.not_injected, ["toy 8"]);
        assert!(!many.is_injected(), "one of nine without its fault is too many");
        assert!(!run::<Toy>(&[], 2, &|_| ()).is_clean(), "a sweep of nothing shows nothing");
    }
}
