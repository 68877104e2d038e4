//! The cases of the single-fault sweep and of sampled pairs.
//!
//! What always holds: a case is fully named by its text, so it can be run again alone; the places of a kind of plan are
//! those that a run without faults passes from the moment before the plan to its end, so that a case with one fault passes
//! the same places up to its own.

mod kinds;

pub use self::kinds::{Fault, Kind};

use crate::campaign::sweep::Case;
use crate::queue::Stream;
use crate::run::{self, Options, Outcome};
use std::collections::BTreeMap;
use std::fmt;

/// What everything but the faults is drawn from.
const SEED: u64 = 1;

/// A plan of a kind, with faults at some of the places that it passes. As text: `single/drain/crash/17`,
/// `pair/drain/crash/17/pause/20`, or `none/drain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    /// The kind of plan.
    pub kind: Kind,
    /// What happens at which place; places are counted from 1.
    pub at: BTreeMap<u64, Fault>,
}

impl Faults {
    /// The case of a text, if it is one.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split('/');
        let number = match words.next()? {
            "none" => 0,
            "single" => 1,
            "pair" => 2,
            _ => return None,
        };
        let kind = Kind::parse(words.next()?)?;
        let mut at = BTreeMap::new();
        for _ in 0..number {
            let fault = Fault::parse(words.next()?)?;
            at.insert(words.next()?.parse().ok()?, fault);
        }
        (words.next().is_none() && at.len() == number).then_some(Self { kind, at })
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = match self.at.len() {
            0 => "none",
            1 => "single",
            _ => "pair",
        };
        write!(f, "{number}/{}", self.kind.name())?;
        self.at.iter().try_for_each(|(place, fault)| write!(f, "/{}/{place}", fault.name()))
    }
}

/// One run with one fault, or two, at their places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faulted {
    /// What happens where.
    pub faults: Faults,
    /// The seed of everything else.
    pub seed: u64,
}

impl Case for Faulted {
    fn name(&self) -> String {
        format!("--seed {} --directed {}", self.seed, self.faults)
    }
    fn group(&self) -> String {
        let names: Vec<&str> = self.faults.at.values().map(|fault| fault.name()).collect();
        match names.as_slice() {
            [] => format!("{}, no fault", self.faults.kind.name()),
            [one] => format!("{}, {one}", self.faults.kind.name()),
            _ => format!("{}, pairs", self.faults.kind.name()),
        }
    }
    fn run(&self) -> Outcome {
        run::run(self.seed, &Options { directed: Some(self.faults.to_string()), ..Options::default() })
    }
    fn landed(&self, outcome: &Outcome) -> bool {
        outcome.landed >= self.faults.at.len() as u64
    }
}

/// Every kind of fault at every place of these kinds of plans, and each plan without any.
pub fn singles(kinds: &[Kind]) -> Vec<Faulted> {
    let mut cases = Vec::new();
    for kind in kinds.iter().copied() {
        let places = crate::sim::places_of(kind, SEED);
        cases.push(Faulted { faults: Faults { kind, at: BTreeMap::new() }, seed: SEED });
        for (number, place) in (1..).zip(&places) {
            let at = |fault| Faults { kind, at: BTreeMap::from([(number, fault)]) };
            let fits = Fault::ALL.into_iter().filter(|fault| fault.fits(place, &places[number as usize - 1..]));
            cases.extend(fits.map(|fault| Faulted { faults: at(fault), seed: SEED }));
        }
    }
    cases
}

/// So many pairs of them, drawn from a seed; each runs with a seed of its own.
pub fn pairs(number: u64, seed: u64) -> Vec<Faulted> {
    let lengths = Kind::ALL.map(|kind| crate::sim::places_of(kind, SEED).len() as u64);
    let mut dice = Stream::new(seed, 50);
    let mut cases = Vec::new();
    for at in 0..number {
        let index = dice.within(0, Kind::ALL.len() as u64 - 1) as usize;
        let last = lengths[index].max(2);
        // The first is an early one rather than a late one, so that the plan is not over before the second.
        let first = dice.within(1, last - 1).min(dice.within(1, last - 1));
        let second = dice.within(first + 1, last);
        let mut fault = || Fault::ALL[dice.within(0, Fault::ALL.len() as u64 - 1) as usize];
        let faults = BTreeMap::from([(first, fault()), (second, fault())]);
        cases.push(Faulted { faults: Faults { kind: Kind::ALL[index], at: faults }, seed: seed.wrapping_add(at) });
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_named_by_its_text() {
        for text in ["none/drain", "single/fence-returned/eio/3", "pair/hand-over/crash/3/leader-cut/40"] {
            let faults = Faults::parse(text).expect(text);
            assert_eq!(faults.to_string(), text);
        }
        for text in ["single/drain", "single/drain/crash", "pair/drain/crash/3/crash/3", "drain", "none/drain/crash/1"]
        {
            assert_eq!(Faults::parse(text), None, "{text}");
        }
    }

    #[test]
    fn pairs_are_drawn_from_their_seed() {
        let (one, again, other) = (pairs(20, 7), pairs(20, 7), pairs(20, 8));
        assert!(one == again && one != other && one.len() == 20);
        assert!(one.iter().all(|case| case.faults.at.len() == 2));
    }

    /// The whole sweep takes minutes and is run by command: here a few of each kind.
    #[test]
    fn a_sample_of_single_faults_is_clean() {
        let cases = singles(&Kind::ALL);
        let kinds = cases.iter().filter(|case| case.faults.at.is_empty()).count();
        assert_eq!(kinds, Kind::ALL.len());
        let sample = cases.iter().enumerate().filter(|(at, case)| at % 250 == 0 || case.faults.at.is_empty());
        for (_, case) in sample {
            let outcome = case.run();
            assert!(outcome.is_clean(), "{}: {:?} {:?}", case.name(), outcome.violations, outcome.panicked);
        }
    }
}
