//! What counting says against a rebuilding.
//!
//! What always holds: nothing is ruled out that some packing could do. Each count lets a host take more than it could, never less.

use super::Question;
use super::rebuild::Rebuilding;
use crate::layout::model::*;
use std::collections::BTreeMap;

/// So many different sums of sizes are told apart on one host; with more of them it is taken to be filled.
const SUMS_MAX: usize = 1_024;

impl Rebuilding<'_> {
    /// Whether counting says that what is lost has no room on what is left: some copy fits on no host that may hold it; or all together
    /// have more bytes than are free there; or of those of some size and above, more than hosts have room for; or those whose others
    /// are in the same domains have more bytes, or are more, than fit outside of these; or the hosts, each filled as far as any of the
    /// sizes fill it, hold less.
    pub(super) fn has_no_room(&self) -> bool {
        let left: Vec<u32> = self.left().collect();
        let alone = |nth: usize| {
            let size = self.lost[nth].size;
            left.iter().any(|host| self.free.fits(*host, size) && self.question.may(&self.lost[nth], &self.gone, *host))
        };
        let free: u64 = left.iter().map(|host| self.free.bytes[*host as usize]).fold(0, u64::saturating_add);
        !(0..self.lost.len()).all(alone)
            || self.bytes() > free
            || self.too_many_of_a_size(&left)
            || self.too_many_apart(&left)
            || self.leaves_gaps(&left)
    }

    fn bytes(&self) -> u64 {
        self.lost.iter().map(|copy| copy.size).fold(0, u64::saturating_add)
    }

    fn too_many_of_a_size(&self, left: &[u32]) -> bool {
        let sizes = (1..).zip(self.lost.iter().map(|copy| copy.size));
        sizes.into_iter().any(|(count, size): (u64, u64)| {
            let is_last = self.lost.get(count as usize).is_none_or(|next| next.size < size);
            is_last && left.iter().map(|host| self.free.units(*host, size)).sum::<u64>() < count
        })
    }

    /// Those whose stores have copies left in the same domains may all go to the same hosts, at most.
    fn too_many_apart(&self, left: &[u32]) -> bool {
        let fleet = self.question.fleet;
        let mut alike: BTreeMap<(u8, Vec<u32>), Vec<usize>> = BTreeMap::new();
        for (nth, copy) in self.lost.iter().enumerate() {
            let level = usize::from(copy.level).min(LEVELS - 1);
            // A host in no named domain is one by itself.
            let domain = |host: u32| match fleet.hosts[host as usize].domain[level] {
                named if level > 0 && named != NOWHERE => (false, named),
                _ => (true, host),
            };
            let mut beside: Vec<(bool, u32)> = self.gone.stays(copy.copies).map(domain).collect();
            beside.sort_unstable();
            let key = beside.into_iter().flat_map(|(is_host, domain)| [u32::from(is_host), domain]).collect();
            alike.entry((copy.level, key)).or_default().push(nth);
        }
        alike.values().any(|copies| {
            let first = &self.lost[copies[0]];
            let apart =
                |host: &&u32| self.gone.stays(first.copies).all(|other| !fleet.share(first.level, other, **host));
            let (mut bytes, mut slots) = (0u64, 0u64);
            for host in left.iter().filter(apart) {
                bytes = bytes.saturating_add(self.free.bytes[*host as usize]);
                slots += u64::from(self.free.slots[*host as usize]);
            }
            let size = copies.iter().map(|nth| self.lost[*nth].size).fold(0, u64::saturating_add);
            size > bytes || copies.len() as u64 > slots
        })
    }

    /// Whether the most that the sizes there are can fill of each host, together, are too few bytes.
    fn leaves_gaps(&self, left: &[u32]) -> bool {
        let mut lacking = self.bytes();
        for host in left {
            lacking = lacking.saturating_sub(self.fills(*host));
            if lacking == 0 {
                return false;
            }
        }
        true
    }

    /// The most bytes of a host that what may be there can fill, or more.
    fn fills(&self, host: u32) -> u64 {
        let free = self.free.bytes[host as usize];
        if self.free.slots[host as usize] == 0 {
            return 0;
        }
        // Every sum there can be, ascending: with each copy, those with it and those without it.
        let mut sums: Vec<u64> = vec![0];
        let may = |nth: &usize| self.question.may(&self.lost[*nth], &self.gone, host);
        for nth in (0..self.lost.len()).filter(may) {
            let size = self.lost[nth].size;
            let with: Vec<u64> =
                sums.iter().map(|sum| sum.saturating_add(size)).take_while(|sum| *sum <= free).collect();
            sums.extend(with);
            sums.sort_unstable();
            sums.dedup();
            if sums.last() == Some(&free) || sums.len() > SUMS_MAX || !self.question.may_go_on(sums.len() as u64 / 4) {
                return free;
            }
        }
        sums.last().copied().unwrap_or(0)
    }
}

impl Question<'_> {
    /// Takes so many steps off those that are left for the question; whether there were as many.
    pub(super) fn may_go_on(&self, steps: u64) -> bool {
        let left = self.steps.get();
        self.steps.set(left.saturating_sub(steps));
        left >= steps
    }
}
