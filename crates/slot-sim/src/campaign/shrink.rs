//! Leaving out fault events of a failing seed, as many as go while it still fails in the same way.
//!
//! What always holds: what is answered fails; it failed when it was last run; leaving out any single one of what is left
//! makes the failure go away or turns it into another, unless the limit of runs ended the search.

use crate::run::{Options, Outcome};
use std::collections::BTreeSet;

/// What is left of a failing seed.
#[derive(Debug)]
pub struct Shrunk {
    /// The numbers to leave out.
    pub suppressed: BTreeSet<u64>,
    /// What the run without them came to.
    pub outcome: Outcome,
    /// How many runs it took.
    pub runs: u64,
}

/// Shrinks a seed that fails; `None` when it does not fail.
pub fn shrink(
    seed: u64,
    options: &Options,
    most_runs: u64,
    runner: &mut dyn FnMut(u64, &Options) -> Outcome,
) -> Option<Shrunk> {
    let first = runner(seed, options);
    let wanted = first.failure()?;
    let mut best = Shrunk { suppressed: options.suppressed.clone(), outcome: first, runs: 1 };
    // What comes after the failure cannot have caused it.
    let failed_at = best.outcome.violations.first().map_or(best.outcome.sim_ms, |v| v.at_ms);
    let later: Vec<u64> = best.outcome.fault_events.iter().filter(|e| e.at_ms > failed_at).map(|e| e.number).collect();
    let mut leave_out = |best: &mut Shrunk, numbers: &[u64]| {
        if numbers.is_empty() || best.runs >= most_runs {
            return false;
        }
        let mut suppressed = best.suppressed.clone();
        suppressed.extend(numbers);
        let outcome = runner(seed, &Options { suppressed: suppressed.clone(), ..options.clone() });
        best.runs += 1;
        let same = outcome.failure().as_ref() == Some(&wanted);
        if same {
            (best.suppressed, best.outcome) = (suppressed, outcome);
        }
        same
    };
    leave_out(&mut best, &later);
    let mut size = best.outcome.fault_events.len().max(1);
    loop {
        let mut went = false;
        let mut from = 0;
        loop {
            // The list is the last failing run's: leaving something out may let other events happen, or not.
            let left: Vec<u64> = best.outcome.fault_events.iter().map(|e| e.number).collect();
            if from >= left.len() {
                break;
            }
            let chunk = &left[from..left.len().min(from + size)];
            if leave_out(&mut best, chunk) {
                went = true;
            } else {
                from += size;
            }
        }
        if best.runs >= most_runs || (size == 1 && !went) {
            return Some(best);
        }
        size = size.div_ceil(2).max(1);
    }
}

/// Numbers as a person types them, `1,5,9-20`.
pub fn ranges(numbers: &BTreeSet<u64>) -> String {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => runs.push((*number, *number)),
        }
    }
    let text = |(from, to): &(u64, u64)| if from == to { from.to_string() } else { format!("{from}-{to}") };
    runs.iter().map(text).collect::<Vec<_>>().join(",")
}

/// Reads what [`ranges`] writes.
pub fn parse_ranges(text: &str) -> Result<BTreeSet<u64>, String> {
    let mut numbers = BTreeSet::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.trim().parse::<u64>().map_err(|e| format!("{part}: {e}; write 1,5,9-20"));
        let (from, to) = (number(from)?, number(to)?);
        if from > to || to - from > 10_000_000 {
            return Err(format!("{part}: a range goes from the lower to the higher number, write 9-20"));
        }
        numbers.extend(from..=to);
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{FaultEvent, Violation};

    /// Fails while all of `causes` happen, out of 64 events; event 50 comes after the failure.
    fn toy(causes: &'static [u64]) -> impl FnMut(u64, &Options) -> Outcome {
        move |seed, options| {
            let happen = (1..=64).filter(|n| !options.suppressed.contains(n));
            let event = |number| FaultEvent { number, at_ms: number * 10, what: "something".into() };
            let mut outcome = Outcome { seed, fault_events: happen.map(event).collect(), ..Outcome::default() };
            if causes.iter().all(|n| !options.suppressed.contains(n)) {
                outcome.violations.push(Violation { invariant: "S4", text: "lost".into(), at_ms: 400 });
            } else if options.suppressed.contains(&3) {
                outcome.violations.push(Violation { invariant: "S1", text: "another".into(), at_ms: 400 });
            }
            outcome
        }
    }

    fn left(shrunk: &Shrunk) -> Vec<u64> {
        shrunk.outcome.fault_events.iter().map(|e| e.number).collect()
    }

    #[test]
    fn only_the_causes_are_left() {
        for causes in [&[17][..], &[1, 40], &[2, 3, 29, 38], &[]] {
            let shrunk = shrink(1, &Options::default(), 1_000, &mut toy(causes)).expect("it fails");
            assert_eq!(left(&shrunk), causes);
            assert_eq!(shrunk.outcome.failure().as_deref(), Some("S4"));
            assert!(shrunk.runs < 200, "{} runs", shrunk.runs);
        }
    }

    #[test]
    fn a_limit_of_runs_still_answers_with_something_that_fails() {
        let shrunk = shrink(1, &Options::default(), 4, &mut toy(&[5, 30])).expect("it fails");
        assert_eq!((shrunk.runs, shrunk.outcome.failure().as_deref()), (4, Some("S4")));
    }

    #[test]
    fn what_does_not_fail_is_not_shrunk() {
        let options = Options { suppressed: BTreeSet::from([1]), ..Options::default() };
        assert!(shrink(1, &options, 100, &mut toy(&[1])).is_none());
    }

    #[test]
    fn ranges_are_read_as_they_are_written() {
        let numbers = BTreeSet::from([1, 5, 9, 10, 11, 20]);
        assert_eq!(ranges(&numbers), "1,5,9-11,20");
        assert_eq!(parse_ranges("1,5,9-11,20"), Ok(numbers));
        assert_eq!(parse_ranges(""), Ok(BTreeSet::new()));
        assert!(parse_ranges("5-1").is_err() && parse_ranges("x").is_err());
    }
}
