//! One seed from its beginning to its end: what is asked of a run, and what came of it.
//!
//! What always holds: the same seed and options give the same outcome; a panic anywhere in the product ends that seed
//! only, is kept with its seed and place, and prints nothing; fault events are numbered in the order in which the seed
//! draws them, so that one of them can be left out by its number and the others stay what they were.

use crate::faults::FaultClass;
use crate::sim::play;
use std::any::Any;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

/// What a trace's lines are made of, for whoever reads one for the first time.
pub const LEGEND: &str = play::LEGEND;

/// Every dangerous state that a campaign must have been in.
pub fn names() -> &'static [&'static str] {
    crate::reach::ALL
}

/// Every class of fault, by name.
pub fn classes() -> &'static [&'static str] {
    static NAMES: std::sync::OnceLock<Vec<&'static str>> = std::sync::OnceLock::new();
    NAMES.get_or_init(|| FaultClass::ALL.iter().map(|class| class.name()).collect())
}

/// The directed runs there are, by name: that of a planted bug has the bug's name.
pub fn directed() -> &'static [&'static str] {
    crate::sim::directed::names()
}

/// Whether there is a directed run of this name, or a case of the sweep.
pub fn is_directed(name: &str) -> bool {
    directed().contains(&name) || crate::sweep::Faults::parse(name).is_some()
}

/// What is asked of a run besides its seed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Keep one line for every event.
    pub trace: bool,
    /// The numbers of fault events that are not injected.
    pub suppressed: BTreeSet<u64>,
    /// The only classes of faults that may happen; as the seed draws them when this is `None`.
    pub classes: Option<BTreeSet<String>>,
    /// A directed run instead of a random one, by its name.
    pub directed: Option<String>,
    /// Run the seed twice and take a difference for a violation.
    pub twice: bool,
}

/// Something that must not have happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The invariant's id, `S1` to `S16`, `L1` to `L3`, or the rule's.
    pub invariant: &'static str,
    /// What was seen.
    pub text: String,
    /// When, in simulated milliseconds.
    pub at_ms: u64,
}

/// One fault that was injected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultEvent {
    /// Its number among those that the seed draws.
    pub number: u64,
    /// When, in simulated milliseconds.
    pub at_ms: u64,
    /// What was done to whom.
    pub what: String,
}

/// What came of a seed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// How much simulated time went by.
    pub sim_ms: u64,
    /// All that happened, hashed.
    pub digest: [u8; 32],
    /// What must not have happened, in the order in which it was seen.
    pub violations: Vec<Violation>,
    /// The message and place of the panic that ended the run.
    pub panicked: Option<String>,
    /// How many faults of each class were injected.
    pub faults: BTreeMap<&'static str, u64>,
    /// The faults that can be left out by number, in order.
    pub fault_events: Vec<FaultEvent>,
    /// How often each dangerous state was reached.
    pub reached: BTreeMap<&'static str, u64>,
    /// One line for every event, if a trace was asked for.
    pub trace: Vec<String>,
    /// All that the seed drew before it began.
    pub config: String,
    /// Faults of a sweep that really happened.
    pub landed: u64,
}

impl Outcome {
    /// Whether nothing wrong was seen.
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty() && self.panicked.is_none()
    }

    /// What failed first, as a short name: an invariant's id, or the place of a panic.
    pub fn failure(&self) -> Option<String> {
        if let Some(first) = self.violations.first() {
            return Some(first.invariant.to_string());
        }
        let panicked = self.panicked.as_ref()?;
        let place = panicked.rsplit_once(" at ").map_or("", |(_, place)| place);
        Some(format!("panic at {place}"))
    }
}

/// Runs a seed.
pub fn run(seed: u64, options: &Options) -> Outcome {
    let mut outcome = once(seed, options);
    if options.twice {
        let again = once(seed, options);
        if let Some(text) = difference(&outcome, &again) {
            let at_ms = again.sim_ms;
            outcome.violations.push(Violation { invariant: "determinism", text, at_ms });
        }
    }
    outcome
}

fn once(seed: u64, options: &Options) -> Outcome {
    let mut outcome = Outcome { seed, ..Outcome::default() };
    let mut scene = None;
    let ended = without_noise(|| play::play(seed, options, &mut scene));
    // What was seen before a panic counts: the world is looked at once more, and may panic again.
    let harvested = without_noise(|| {
        if let Some(scene) = scene.take() {
            scene.harvest(&mut outcome);
        }
    });
    outcome.panicked = ended.err().or(harvested.err());
    outcome
}

/// What differs between two runs of one seed.
fn difference(one: &Outcome, other: &Outcome) -> Option<String> {
    if one.digest == other.digest && one.sim_ms == other.sim_ms && one.fault_events == other.fault_events {
        return None;
    }
    let mut text = format!("the seed's second run differs: {} ms and {} ms", one.sim_ms, other.sim_ms);
    let apart = one.fault_events.iter().zip(&other.fault_events).find(|(a, b)| a != b);
    if let Some((a, b)) = apart {
        // Writing to a string does not fail.
        let _ = write!(text, "; first other fault: {a:?} and {b:?}");
    }
    Some(text)
}

thread_local! {
    /// Where the panic that a run catches is written down; `None` outside of a run.
    static HEARD: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Calls something, and turns a panic in it into its message and place. Panics elsewhere are printed as ever.
pub fn without_noise<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    static LISTEN: Once = Once::new();
    LISTEN.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let ours = HEARD.with_borrow_mut(|heard| {
                let Some(heard) = heard else { return false };
                let place = info.location().map_or("?".to_string(), |at| format!("{}:{}", at.file(), at.line()));
                *heard = format!("{} at {place}", words(info.payload()));
                true
            });
            if !ours {
                before(info);
            }
        }));
    });
    let outer = HEARD.replace(Some(String::new()));
    let result = panic::catch_unwind(AssertUnwindSafe(call));
    let heard = HEARD.replace(outer).unwrap_or_default();
    result.map_err(|_| heard)
}

/// What a panic said.
fn words(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without words")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_kept_with_its_message_and_place() {
        let heard = without_noise(|| assert_eq!(1 + 1, 3, "the sum")).expect_err("it panics");
        assert!(heard.contains("the sum") && heard.contains("run.rs:"), "{heard}");
        assert_eq!(without_noise(|| 7), Ok(7));
    }

    #[test]
    fn a_panic_is_named_by_its_place() {
        let outcome = Outcome { panicked: Some("seed 7 at noon at core.rs:12".into()), ..Outcome::default() };
        assert_eq!(outcome.failure().as_deref(), Some("panic at core.rs:12"));
        assert!(!outcome.is_clean());
    }

    #[test]
    fn another_digest_is_a_difference() {
        let one = Outcome::default();
        assert_eq!(difference(&one, &one), None);
        assert!(difference(&one, &Outcome { digest: [1; 32], ..Outcome::default() }).is_some());
    }
}
