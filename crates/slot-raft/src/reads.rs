//! Linearizable reads: many wait for one round of heartbeats.
//!
//! What always holds: a read is confirmed only by a round that began after the read did (S13); every round has a
//! context of its own, never used again (a context reused over retries let stale reads through elsewhere); every
//! read ends, by its confirmation or by its deadline.

use slot_planted::planted;

/// A read waiting for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Waiting {
    token: u64,
    deadline: u64,
}

struct Round {
    context: [u8; 16],
    term: u64,
    reads: Vec<Waiting>,
}

/// The reads under way.
#[derive(Default)]
pub(crate) struct Reads {
    next_round: u64,
    waiting: Vec<Waiting>,
    round: Option<Round>,
    confirmed: Vec<(Waiting, u64)>,
}

impl Reads {
    pub(crate) fn add(&mut self, token: u64, deadline: u64) {
        self.waiting.push(Waiting { token, deadline });
    }

    /// Begins a round for everything that waits, if none is under way; gives its context.
    pub(crate) fn begin_round(&mut self, term: u64) -> Option<Vec<u8>> {
        if self.round.is_some() || self.waiting.is_empty() {
            return None;
        }
        self.next_round += u64::from(!planted("raft-read-context-reused"));
        let mut context = [0u8; 16];
        context[..8].copy_from_slice(&term.to_be_bytes());
        context[8..].copy_from_slice(&self.next_round.to_be_bytes());
        self.round = Some(Round { context, term, reads: std::mem::take(&mut self.waiting) });
        Some(context.to_vec())
    }

    /// A quorum has confirmed a round.
    pub(crate) fn confirm(&mut self, context: &[u8], index: u64) {
        if let Some(round) = self.round.take_if(|round| round.context == context) {
            self.confirmed.extend(round.reads.into_iter().map(|read| (read, index)));
        }
    }

    /// The reads whose index has been applied.
    pub(crate) fn answer(&mut self, applied: u64) -> Vec<(u64, u64)> {
        let mut answered = Vec::new();
        self.confirmed.retain(|(read, index)| {
            let ready = *index <= applied;
            if ready {
                answered.push((read.token, *index));
            }
            !ready
        });
        answered
    }

    /// The reads that can no longer be confirmed because this node does not lead in the term they were asked in.
    pub(crate) fn fail_unconfirmed(&mut self, leading_term: Option<u64>) -> Vec<u64> {
        let mut failed = Vec::new();
        if let Some(round) = self.round.take_if(|round| Some(round.term) != leading_term) {
            failed.extend(round.reads.iter().map(|read| read.token));
        }
        if leading_term.is_none() {
            failed.extend(self.waiting.drain(..).map(|read| read.token));
        }
        failed
    }

    /// The reads whose time is up. A round that nobody waits for any more is given up, so that the next read begins
    /// one.
    pub(crate) fn expire(&mut self, now: u64) -> Vec<u64> {
        let mut failed = Vec::new();
        let mut keep = |read: &Waiting| {
            let alive = read.deadline > now;
            if !alive {
                failed.push(read.token);
            }
            alive
        };
        self.waiting.retain(&mut keep);
        if let Some(round) = &mut self.round {
            round.reads.retain(&mut keep);
        }
        self.confirmed.retain(|(read, _)| keep(read));
        self.round.take_if(|round| round.reads.is_empty());
        failed
    }

    /// When the first of the reads' deadlines is.
    pub(crate) fn deadline(&self) -> Option<u64> {
        let in_round = self.round.iter().flat_map(|round| &round.reads);
        let confirmed = self.confirmed.iter().map(|(read, _)| read);
        self.waiting.iter().chain(in_round).chain(confirmed).map(|read| read.deadline).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_that_comes_during_a_round_waits_for_the_next() {
        let mut reads = Reads::default();
        reads.add(1, 100);
        let first = reads.begin_round(3).unwrap();
        reads.add(2, 100);
        assert_eq!(reads.begin_round(3), None);
        reads.confirm(&first, 10);
        assert_eq!(reads.answer(9), vec![]);
        assert_eq!(reads.answer(10), vec![(1, 10)]);
        let second = reads.begin_round(3).unwrap();
        assert_ne!(first, second);
        reads.confirm(&first, 11);
        assert_eq!(reads.answer(99), vec![]);
        reads.confirm(&second, 11);
        assert_eq!(reads.answer(99), vec![(2, 11)]);
    }

    #[test]
    fn deadlines_and_lost_leadership_end_reads() {
        let mut reads = Reads::default();
        reads.add(1, 100);
        let context = reads.begin_round(3).unwrap();
        reads.add(2, 50);
        assert_eq!(reads.deadline(), Some(50));
        assert_eq!(reads.expire(50), vec![2]);
        assert_eq!(reads.fail_unconfirmed(Some(3)), vec![]);
        assert_eq!(reads.fail_unconfirmed(Some(4)), vec![1]);
        reads.confirm(&context, 5);
        assert_eq!(reads.answer(99), vec![]);
        reads.add(3, 100);
        assert_eq!(reads.fail_unconfirmed(None), vec![3]);
        assert_eq!(reads.deadline(), None);
    }
}
