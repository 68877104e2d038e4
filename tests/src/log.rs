//! What one writer knows: which of its records were acknowledged, and when.
//!
//! What always holds: a record stands in the log of acknowledgements only after its engine's answer was read; the order
//! of the log is the order of the answers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A writer's log, shared with whoever reads it.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    acknowledged: Vec<(u64, Instant)>,
    begun: u64,
    troubles: Vec<(Instant, String)>,
}

impl Log {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a record was sent for the first time.
    pub fn begin(&self, sequence: u64) {
        self.inner().begun = sequence;
    }

    /// Notes an acknowledgement.
    pub fn acknowledge(&self, sequence: u64) {
        self.inner().acknowledged.push((sequence, Instant::now()));
    }

    /// Notes a try that was not acknowledged.
    pub fn trouble(&self, what: String) {
        self.inner().troubles.push((Instant::now(), what));
    }

    /// The highest sequence that was ever sent.
    pub fn begun(&self) -> u64 {
        self.inner().begun
    }

    /// The sequences acknowledged so far.
    pub fn acknowledged(&self) -> Vec<u64> {
        self.inner().acknowledged.iter().map(|(sequence, _)| *sequence).collect()
    }

    /// How many records were acknowledged so far.
    pub fn count(&self) -> usize {
        self.inner().acknowledged.len()
    }

    /// The tries since `from` that were not acknowledged.
    pub fn troubles_since(&self, from: Instant) -> Vec<String> {
        self.inner().troubles.iter().filter(|(at, _)| *at >= from).map(|(_, what)| what.clone()).collect()
    }

    /// When the first acknowledgement after an instant came.
    pub fn first_since(&self, from: Instant) -> Option<Instant> {
        self.inner().acknowledged.iter().map(|(_, at)| *at).find(|at| *at > from)
    }

    /// The longest time without an acknowledgement that lies, in part at least, between two instants.
    pub fn gap(&self, from: Instant, to: Instant) -> Duration {
        let inner = self.inner();
        let times: Vec<Instant> = inner.acknowledged.iter().map(|(_, at)| *at).collect();
        let overlapping = times.windows(2).filter(|pair| pair[1] >= from && pair[0] <= to);
        let longest = overlapping.map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
        let open = times.last().filter(|last| **last < to).map(|last| to - *last).unwrap_or_default();
        longest.max(open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_gap_may_begin_before_and_end_after() {
        let log = Log::default();
        let zero = Instant::now();
        let at = |ms| zero + Duration::from_millis(ms);
        for (sequence, ms) in [(1, 0), (2, 10), (3, 90), (4, 100), (5, 105)] {
            log.inner().acknowledged.push((sequence, at(ms)));
        }
        assert_eq!(log.gap(at(20), at(30)), Duration::from_millis(80));
        assert_eq!(log.gap(at(95), at(104)), Duration::from_millis(10));
        assert_eq!(log.gap(at(101), at(205)), Duration::from_millis(100), "and nothing came any more");
        assert_eq!(log.count(), 5);
    }
}
