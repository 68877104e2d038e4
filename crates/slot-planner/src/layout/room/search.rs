//! Every placement and every packing of a small fleet, one after the other.
//!
//! What always holds: what is found here was made by the same rules as what is found greedily; tries are counted, not timed, so
//! that the same fleet has the same answer anywhere. A larger fleet, or one with too many ways, is left to the greedy packing.

use super::{Free, LostCopy, Question};

/// Fleets of more active hosts are not small.
const HOSTS_MAX: usize = 10;
/// So many copies are put somewhere, at most, to pack what is lost.
const PACKED_MAX: u32 = 2_000;
/// And to place what is new.
const PLACED_MAX: u32 = 5_000;

impl Question<'_> {
    fn is_small(&self) -> bool {
        self.fleet.active().nth(HOSTS_MAX).is_none()
    }

    /// Whether there is a host for each copy that is lost, by trying every host for each.
    pub(super) fn packs(&self, lost: &[LostCopy<'_>], gone: &[u32], free: &Free) -> bool {
        let mut tries = PACKED_MAX;
        self.is_small() && self.pack(lost, gone, &mut free.clone(), &mut Vec::with_capacity(lost.len()), &mut tries)
    }

    fn pack(&self, lost: &[LostCopy<'_>], gone: &[u32], free: &mut Free, at: &mut Vec<u32>, tries: &mut u32) -> bool {
        let Some(copy) = lost.get(at.len()) else { return true };
        for host in self.fleet.active().filter(|host| !gone.contains(host)) {
            let beside = at.iter().zip(lost).filter(|(_, other)| other.name == copy.name);
            let apart = beside.into_iter().all(|(home, _)| !self.fleet.share(copy.level, *home, host));
            if !apart || !free.fits(host, copy.size) || !self.may(copy, gone, host) {
                continue;
            }
            if *tries == 0 {
                return false;
            }
            *tries -= 1;
            free.take(host, copy.size);
            at.push(host);
            if self.pack(lost, gone, free, at, tries) {
                return true;
            }
            at.pop();
            free.give_back(host, copy.size);
        }
        false
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
