//! Every placement and every packing of a small fleet, one after the other.
//!
//! What always holds: what is found here was made by the same rules as what is found greedily; tries are counted, not timed, so
//! that the same fleet has the same answer anywhere. A larger fleet, or one with too many ways, is left to the greedy packing.

use super::rebuild::{Found, Rebuilding};
use super::{Free, Question};
use crate::layout::model::NOWHERE;

/// Fleets of more active hosts are not small.
const HOSTS_MAX: usize = 10;
/// So many copies are put somewhere, at most, to pack what is lost.
const PACKED_MAX: u32 = 2_000;
/// And to place what is new.
const PLACED_MAX: u32 = 5_000;

impl Rebuilding<'_> {
    /// A host for each copy that is lost, by trying every host for each; or that there is none, when nothing is left to try.
    pub(super) fn every(&self) -> Found {
        if !self.question.is_small() {
            return Found::Unknown;
        }
        let (mut at, mut tries) = (vec![NOWHERE; self.lost.len()], PACKED_MAX);
        match self.pack(0, &mut self.free.clone(), &mut at, &mut tries) {
            true => Found::At(at),
            false if tries == 0 => Found::Unknown,
            false => Found::Nowhere,
        }
    }

    fn pack(&self, nth: usize, free: &mut Free, at: &mut [u32], tries: &mut u32) -> bool {
        let Some(copy) = self.lost.get(nth) else { return true };
        for host in self.left() {
            if !free.fits(host, copy.size) || !self.may(nth, host, at) {
                continue;
            }
            *tries = tries.saturating_sub(1);
            if *tries == 0 {
                return false;
            }
            free.take(host, copy.size);
            at[nth] = host;
            if self.pack(nth + 1, free, at, tries) {
                return true;
            }
            at[nth] = NOWHERE;
            free.give_back(host, copy.size);
        }
        false
    }
}

impl Question<'_> {
    fn is_small(&self) -> bool {
        self.fleet.active().nth(HOSTS_MAX).is_none()
    }

    /// Whether so many new stores can be placed, and every loss rebuilt, by trying every placement.
    pub(super) fn finds(&self, new: u32) -> bool {
        let mut tries = PLACED_MAX;
        let copies = new as usize * usize::from(self.ask.copies.max(1));
        self.is_small() && self.find(copies, &mut self.free.clone(), &mut Vec::with_capacity(copies), &mut tries)
    }

    /// Stores are all alike, so each one's hosts are tried in ascending order and none before those of the store before it.
    fn find(&self, copies: usize, free: &mut Free, placed: &mut Vec<u32>, tries: &mut u32) -> bool {
        let each = usize::from(self.ask.copies.max(1));
        let nth = placed.len() % each;
        // One more store never makes a loss easier to bear.
        if nth == 0 && self.bears(placed, free).is_err() {
            return false;
        }
        if placed.len() == copies {
            return true;
        }
        let of = placed.len() - nth;
        let same = of >= each && placed[of - each..of - each + nth] == placed[of..];
        let from = if same { placed[placed.len() - each] } else { 0 };
        for host in self.fleet.active().filter(|host| *host >= from) {
            let others = &placed[of..];
            let apart = others.iter().all(|other| *other < host && !self.fleet.share(self.ask.level, *other, host));
            if !apart || !free.fits(host, self.ask.size) {
                continue;
            }
            if *tries == 0 {
                return false;
            }
            *tries -= 1;
            free.take(host, self.ask.size);
            placed.push(host);
            if self.find(copies, free, placed, tries) {
                return true;
            }
            placed.pop();
            free.give_back(host, self.ask.size);
        }
        false
    }
}
