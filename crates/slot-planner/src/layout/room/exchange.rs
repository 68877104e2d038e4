//! Copies of many sizes packed tightly: every copy has a host, hosts may be overfull, and exchanges lessen by how much until none is.
//!
//! What always holds: what is answered has no overfull host. A copy goes to another host and none, one or two of that one's come back; what
//! makes hosts more overfull is done too, if it is little (threshold accepting, Dueck and Scheuer 1990), so the search does not
//! end where nothing single helps. Every so many exchanges, what is nearly packed is finished ([`Three`]). The choices are drawn
//! from numbers that are the same in every run, and steps are counted.

use super::rebuild::{Found, Rebuilding};
use super::three::Three;
use crate::layout::model::*;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// After so many steps what is nearly packed is looked at, if no more hosts than these are overfull.
const FINISH_EVERY: u64 = 10_000;
const FINISH_HOSTS: usize = 6;
/// Hosts with the most room, each of which is tried to take from an overfull one.
const TAKERS: usize = 4;
/// In so many steps what is allowed falls from so many thousandths of a copy of middling size, to so many.
const COOLING: u64 = 200_000;
const ALLOWED: (i64, i64) = (30, 9);

/// So many steps come before prices are asked whether there is any packing.
const BEFORE_PRICES: u64 = 50_000;

impl Rebuilding<'_> {
    /// A host for each copy, as long as the question's steps last; or that there is none.
    pub(super) fn by_exchange(&self) -> Found {
        let Some(mut packing) = Packing::of(self) else { return Found::Unknown };
        if packing.lessen(BEFORE_PRICES) {
            return Found::At(packing.at);
        }
        if self.is_priced_out() {
            return Found::Nowhere;
        }
        if packing.lessen(u64::MAX) { Found::At(packing.at) } else { Found::Unknown }
    }
}

/// A host for each copy, and by how much that is too much.
struct Packing<'r> {
    of: &'r Rebuilding<'r>,
    hosts: Vec<u32>,
    /// By host, below zero where it is overfull.
    bytes: Vec<i64>,
    slots: Vec<i64>,
    on: Vec<Vec<usize>>,
    at: Vec<u32>,
    /// Bytes of a copy of middling size: what a slot too many counts for.
    ordinary: i64,
    over: i64,
    drawn: u64,
    steps: u64,
    /// When what is nearly packed is looked at again.
    finish: u64,
}

impl<'r> Packing<'r> {
    /// The largest first, each on the host with the most bytes free, or the least overfull; [`None`] if one has no host at all.
    fn of(of: &'r Rebuilding<'r>) -> Option<Packing<'r>> {
        let all = of.lost.iter().try_fold(0u64, |sum, copy| sum.checked_add(copy.size))?;
        let all = i64::try_from(all).ok().filter(|all| *all < i64::MAX / 8)?;
        let hosts: Vec<u32> = of.left().collect();
        let mut packing = Packing {
            of,
            bytes: of.free.bytes.iter().map(|bytes| i64::try_from(*bytes).unwrap_or(all).min(all)).collect(),
            slots: of.free.slots.iter().map(|slots| i64::from(*slots)).collect(),
            on: vec![Vec::new(); of.question.fleet.hosts.len()],
            at: vec![NOWHERE; of.lost.len()],
            ordinary: all / i64::try_from(of.lost.len().max(1)).ok()?,
            over: 0,
            drawn: 1,
            steps: 0,
            finish: 0,
            hosts,
        };
        let with_slots = packing.hosts.iter().filter(|host| packing.slots[**host as usize] > 0);
        let mut roomy: BinaryHeap<(i64, Reverse<u32>)> =
            with_slots.map(|host| (packing.bytes[*host as usize], Reverse(*host))).collect();
        let mut passed = Vec::new();
        for nth in 0..of.lost.len() {
            let able = loop {
                match roomy.pop() {
                    Some((_, Reverse(host))) if of.may(nth, host, &packing.at) => break Some(host),
                    Some(other) => passed.push(other),
                    None => break None,
                }
            };
            let any = || packing.hosts.iter().copied().filter(|host| of.may(nth, *host, &packing.at));
            let host = able.or_else(|| any().max_by_key(|host| packing.slots[*host as usize]))?;
            packing.put(nth, host);
            if packing.slots[host as usize] > 0 {
                roomy.push((packing.bytes[host as usize], Reverse(host)));
            }
            roomy.extend(passed.drain(..));
        }
        packing.over = packing.hosts.iter().map(|host| packing.excess(*host, 0, 0)).sum();
        Some(packing)
    }

    /// Exchanges until no host is overfull, or so many steps were made, or none is left; whether none is overfull.
    fn lessen(&mut self, until: u64) -> bool {
        let (most, least) = ALLOWED;
        while self.over > 0 {
            if self.steps >= self.finish {
                self.finish = self.steps + FINISH_EVERY;
                self.steps += self.finish();
                continue;
            }
            if self.steps >= until || !self.of.question.may_go_on(1) {
                return false;
            }
            let cooled = (self.steps % COOLING).cast_signed();
            let thousandths = most - (most - least) * cooled / COOLING.cast_signed();
            self.exchange(self.ordinary / 1_000 * thousandths + self.ordinary % 1_000 * thousandths / 1_000);
            self.steps += 1;
        }
        true
    }

    fn put(&mut self, nth: usize, host: u32) {
        self.bytes[host as usize] -= self.size(nth);
        self.slots[host as usize] -= 1;
        self.on[host as usize].push(nth);
        self.at[nth] = host;
    }

    fn lift(&mut self, nth: usize) {
        let host = self.at[nth] as usize;
        self.bytes[host] += self.size(nth);
        self.slots[host] += 1;
        self.on[host].retain(|other| *other != nth);
    }

    /// All together are less than the largest number with a sign.
    fn size(&self, nth: usize) -> i64 {
        self.of.lost[nth].size.cast_signed()
    }

    /// By how much a host would be overfull with so much more, or less, free.
    fn excess(&self, host: u32, bytes: i64, slots: i64) -> i64 {
        let (bytes, slots) = (self.bytes[host as usize] + bytes, self.slots[host as usize] + slots);
        (-bytes).max(0).saturating_add((-slots).max(0).saturating_mul(self.ordinary))
    }

    /// A number below a bound.
    fn draw(&mut self, bound: usize) -> usize {
        self.drawn = self.drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.drawn >> 33) % (bound as u64).max(1)).unwrap_or(0)
    }

    /// One drawn copy to a drawn host, and none, one or two of that one's back.
    fn exchange(&mut self, allowed: i64) {
        let nth = self.draw(self.of.lost.len());
        let place = self.draw(self.hosts.len());
        let (from, to) = (self.at[nth], self.hosts[place]);
        if from == to || !self.of.may(nth, to, &self.at) {
            return;
        }
        let mut back = [usize::MAX; 2];
        let there = self.on[to as usize].len();
        let count = self.draw(3).min(there);
        for taken in 0..count {
            let drawn = self.draw(there);
            let other = self.on[to as usize][drawn];
            if back.contains(&other) || !self.of.may(other, from, &self.at) {
                return;
            }
            back[taken] = other;
        }
        let back = &back[..count];
        let bytes = self.size(nth) - back.iter().map(|other| self.size(*other)).sum::<i64>();
        let slots = [1, 0, -1][count];
        let after = self.excess(from, bytes, slots) + self.excess(to, -bytes, -slots);
        let worse = after - self.excess(from, 0, 0) - self.excess(to, 0, 0);
        // Mostly much less than what is allowed.
        let share = self.draw(1 << 16) as i128;
        if i128::from(worse) > (i128::from(allowed) * share * share) >> 32 {
            return;
        }
        self.over += worse;
        self.lift(nth);
        self.put(nth, to);
        for other in back {
            self.lift(*other);
            self.put(*other, from);
        }
    }

    /// Each overfull host with two others, packed anew so that none of the three is, if they are few; and the steps that it took.
    fn finish(&mut self) -> u64 {
        let overfull: Vec<u32> = self.hosts.iter().copied().filter(|host| self.excess(*host, 0, 0) > 0).collect();
        let before = self.of.question.steps.get();
        if overfull.len() <= FINISH_HOSTS {
            for host in overfull {
                if self.excess(host, 0, 0) > 0 && !self.relieve(host) {
                    break;
                }
            }
        }
        before - self.of.question.steps.get()
    }

    fn relieve(&mut self, overfull: u32) -> bool {
        let mut takers: Vec<u32> = self.hosts.iter().copied().filter(|host| *host != overfull).collect();
        takers.sort_by_key(|host| Reverse(self.bytes[*host as usize]));
        takers.truncate(TAKERS);
        takers.retain(|host| self.bytes[*host as usize] > 0 && self.excess(*host, 0, 0) == 0);
        for taker in takers {
            for place in 0..self.hosts.len() {
                let third = self.hosts[place];
                if third == overfull || third == taker || self.excess(third, 0, 0) > 0 {
                    continue;
                }
                if let Some(packed) = self.three([overfull, taker, third]) {
                    self.over -= self.excess(overfull, 0, 0);
                    packed.iter().for_each(|(nth, _)| self.lift(*nth));
                    packed.iter().for_each(|(nth, host)| self.put(*nth, *host));
                    return true;
                }
            }
        }
        false
    }

    /// A place on one of three hosts for each copy that is on them; not of those of whose stores others are lost, too.
    fn three(&self, hosts: [u32; 3]) -> Option<Vec<(usize, u32)>> {
        let mut copies: Vec<usize> = hosts.iter().flat_map(|host| self.on[*host as usize].iter().copied()).collect();
        if copies.len() > Three::COPIES_MAX || !copies.iter().all(|nth| self.of.is_alone(*nth)) {
            return None;
        }
        copies.sort_unstable();
        let sizes: Vec<i64> = copies.iter().map(|nth| self.size(*nth)).collect();
        let free = |host: u32, of: &[i64], each: &dyn Fn(usize) -> i64| {
            of[host as usize] + self.on[host as usize].iter().map(|nth| each(*nth)).sum::<i64>()
        };
        let bytes = hosts.map(|host| free(host, &self.bytes, &|nth| self.size(nth)));
        let slots = hosts.map(|host| free(host, &self.slots, &|_| 1));
        let may = hosts.map(|host| {
            let able = copies.iter().enumerate().filter(|(_, nth)| self.of.may(**nth, host, &self.at));
            able.fold(0u16, |mask, (bit, _)| mask | 1 << bit)
        });
        let packed = Three { question: self.of.question, sizes: &sizes, may, bytes, slots }.pack()?;
        let host = |bit: usize| (0..3).find(|host| packed[*host] >> bit & 1 == 1).map(|host| hosts[host]);
        copies.iter().enumerate().map(|(bit, nth)| Some((*nth, host(bit)?))).collect()
    }
}
