//! The one event queue: virtual time, and a seeded order among events of the same time.
//!
//! What always holds: time never goes back; equal seeds and equal pushes give equal pops.

use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A seeded stream of random numbers for one concern, so that one more draw here moves nothing there.
pub struct Stream(Pcg64Mcg);

impl Stream {
    /// The stream of a concern.
    pub fn new(seed: u64, concern: u64) -> Self {
        Self(Pcg64Mcg::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ concern))
    }
    /// A number from `low` to `high`, both included.
    pub fn within(&mut self, low: u64, high: u64) -> u64 {
        self.0.random_range(low..=high)
    }
    /// True once in `n`, on average; never for 0.
    pub fn one_in(&mut self, n: u64) -> bool {
        n > 0 && self.0.random_range(0..n) == 0
    }
    /// 128 random bits.
    pub fn token(&mut self) -> [u8; 16] {
        let mut bytes = [0; 16];
        self.0.fill_bytes(&mut bytes);
        bytes
    }
}

/// Events by (time, seeded tie break, number).
pub struct Queue<E> {
    now: u64,
    next: u64,
    ties: Stream,
    /// Time, tie break, number, and where the event is kept: it stays there while the order of events changes.
    order: BinaryHeap<Reverse<(u64, u64, u64, u32)>>,
    kept: Vec<Option<E>>,
    free: Vec<u32>,
}

impl<E> Queue<E> {
    /// An empty queue at time 0.
    pub fn new(seed: u64) -> Self {
        let ties = Stream::new(seed, 1);
        Self { now: 0, next: 0, ties, order: BinaryHeap::new(), kept: Vec::new(), free: Vec::new() }
    }
    /// The time of the last popped event, in milliseconds.
    pub fn now(&self) -> u64 {
        self.now
    }
    /// Adds an event at a time; a past time counts as now.
    pub fn at(&mut self, time: u64, event: E) {
        self.next += 1;
        let tie = self.ties.within(0, u64::MAX - 1);
        let place = self.free.pop().unwrap_or_else(|| {
            self.kept.push(None);
            (self.kept.len() - 1) as u32
        });
        self.kept[place as usize] = Some(event);
        self.order.push(Reverse((time.max(self.now), tie, self.next, place)));
    }
    /// Adds an event so many milliseconds from now.
    pub fn after(&mut self, delay: u64, event: E) {
        self.at(self.now + delay, event);
    }
    /// Everything stands still for so long, and goes on where it was: no event is nearer than before.
    pub fn stand_still(&mut self, ms: u64) {
        self.now += ms;
        let later = |Reverse((time, tie, number, place))| Reverse((time + ms, tie, number, place));
        self.order = std::mem::take(&mut self.order).into_iter().map(later).collect();
    }
    /// The next event; time moves to it.
    pub fn pop(&mut self) -> Option<E> {
        let Reverse((time, _, _, place)) = self.order.pop()?;
        self.now = time;
        self.free.push(place);
        self.kept[place as usize].take()
    }
}
