//! Election timeouts from a seed.
//!
//! What always holds: raft-rs draws its election timeout from the thread's own generator; after every call into it the
//! value is written over with one from (seed, node, incarnation, draw number), so two runs of one seed are equal. A new
//! value is drawn only when term or role changed or a campaign began, else a node could push its own deadline away for
//! ever.

use crate::mirror::Mirror;
use raft::{Raft, StateRole};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use std::ops::Range;

pub(crate) struct ElectionTimeouts {
    rng: Pcg64,
    range: Range<usize>,
    current: usize,
    seen: (u64, StateRole),
}

impl ElectionTimeouts {
    pub(crate) fn new(seed: u64, node_id: u64, incarnation: [u8; 16], range: Range<usize>) -> Self {
        let mut bytes = [0u8; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8..16].copy_from_slice(&node_id.to_le_bytes());
        bytes[16..].copy_from_slice(&incarnation);
        let mut rng = Pcg64::from_seed(bytes);
        // Nearby seeds give nearby first draws; a few thrown away part them.
        for _ in 0..4 {
            let _: u64 = rng.random();
        }
        let current = rng.random_range(range.clone());
        Self { rng, range, current, seen: (0, StateRole::Follower) }
    }

    /// To be called after every call into raft-rs. Not drawn from (node, term) alone: with pre-vote a failed round does
    /// not raise the term, so two colliding nodes would collide for ever.
    pub(crate) fn pin(&mut self, raft: &mut Raft<Mirror>, campaigned: bool) {
        let now = (raft.term, raft.state);
        if campaigned || now != self.seen {
            self.seen = now;
            self.current = self.draw();
        }
        raft.set_randomized_election_timeout(self.current);
    }

    fn draw(&mut self) -> usize {
        self.rng.random_range(self.range.clone())
    }
}
