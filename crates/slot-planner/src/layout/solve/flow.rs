//! Which copy is master, with as few hand-overs as there can be: a flow of masters between hosts, of least cost.
//!
//! What always holds: no copy moves; what two hosts share in one direction stays within the worst survivor's level wherever their number
//! allows it; and where no host is left with too many masters, no other choice for these copies that keeps both limits leaves more
//! stores with the host that led them. This is so because each step of the flow is a shortest one, and no cycle of them ever gains.
//!
//! It applies where stores have two copies and loads are alike, and every host leads its share exactly: then what a pair may share does
//! not depend on the rest. Elsewhere masters are chosen along chains ([`roles`](super::roles)).

use super::aims::Aims;
use super::board::ByHost;
use crate::layout::figures::share_at;
use crate::layout::model::*;
use std::collections::VecDeque;

/// Each phase sends masters a hand-over further than the one before; so many are enough, and a bound on work.
const PHASES_MAX: usize = 64;

/// The lower host of a store, the higher, and the store.
type Ends = (u32, u32, u32);

/// Two hosts and the stores they share whose master either may be.
#[derive(Clone, Copy, Debug)]
struct Pair {
    /// The lower host, and the higher.
    ends: [u32; 2],
    /// Stores.
    all: i32,
    /// Those that each led before.
    homes: [i32; 2],
    /// Those that the lower one leads now.
    led: i32,
    /// The least it may lead, and the most.
    least: i32,
    most: i32,
}

impl Pair {
    /// What one store more from this end to the other costs; [`None`] if the worst survivor's level forbids it.
    fn cost(&self, from: usize) -> Option<i32> {
        let (led, homes, open) = match from {
            0 => (self.led, self.homes[0], self.led > self.least),
            _ => (self.all - self.led, self.homes[1], self.led < self.most),
        };
        // Its own go last, those of the other end first.
        let others = self.homes[1 - from];
        open.then_some(if led > self.all - others { -1 } else { i32::from(led <= homes) })
    }
}

/// The hosts and what flows between them.
struct Flow {
    pairs: Vec<Pair>,
    /// By end of a pair, twice its number and one more for the higher: those of each host.
    by_host: ByHost,
    /// Masters above a host's share; below it where negative.
    over: Vec<i64>,
    /// No step costs less than what the heights fall by.
    height: Vec<i32>,
}

/// The copy that leads, by store; [`None`] where this choice does not apply. `was` is each store's master before.
pub(super) fn leads(fleet: &Fleet, at: &[u32], was: &[u32], aims: &Aims) -> Option<Vec<u32>> {
    let shares: u64 = fleet.active().map(|host| aims.load[host as usize]).sum();
    if shares != fleet.stores.len() as u64 {
        return None;
    }
    let (mut lead, ends) = fixed(fleet, at, was)?;
    let mut flow = Flow::of(fleet, at, was, aims, &lead, &ends);
    flow.level();
    flow.give_out(fleet, at, was, &ends, &mut lead);
    Some(lead)
}

/// Stores of which one copy leads whatever is chosen, by store, and the others: (lower host, higher host, store), in order. [`None`] if a
/// store is not of the kind that this is for.
fn fixed(fleet: &Fleet, at: &[u32], was: &[u32]) -> Option<(Vec<u32>, Vec<Ends>)> {
    let mut lead = vec![NOWHERE; fleet.stores.len()];
    let mut ends = Vec::with_capacity(fleet.stores.len());
    let active = |host: u32| host != NOWHERE && fleet.hosts[host as usize].is_active();
    for (store, spec) in (0..).zip(&fleet.stores) {
        let range = fleet.range(store);
        if range.len() > 2 || spec.load != 1 || fleet.keeps_master(store) {
            return None;
        }
        let may = |copy: &usize| {
            let host = at[*copy];
            active(host) && (host == was[store as usize] || fleet.may_become_master(store, host))
        };
        let there = range.clone().filter(|copy| active(at[*copy])).count();
        let mut copies = range.filter(may);
        match (copies.next(), copies.next()) {
            (Some(a), Some(b)) if at[a] != at[b] => ends.push((at[a].min(at[b]), at[a].max(at[b]), store)),
            (Some(a), None) if there == 1 => lead[store as usize] = a as u32,
            _ => return None,
        }
    }
    ends.sort_unstable();
    Some((lead, ends))
}

impl Flow {
    fn of(fleet: &Fleet, at: &[u32], was: &[u32], aims: &Aims, lead: &[u32], ends: &[Ends]) -> Flow {
        let spare = |host: u32| {
            let level = share_at(aims.survivor, fleet.hosts[host as usize].weight);
            i32::try_from(level.saturating_sub(aims.load[host as usize])).unwrap_or(i32::MAX)
        };
        let mut flow = Flow {
            pairs: Vec::with_capacity(ends.len()),
            by_host: ByHost::of(&[], 0),
            over: aims.load.iter().map(|share| -i64::try_from(*share).unwrap_or(i64::MAX)).collect(),
            height: vec![0; fleet.hosts.len()],
        };
        lead.iter().filter(|copy| **copy != NOWHERE).for_each(|copy| flow.over[at[*copy as usize] as usize] += 1);
        for group in ends.chunk_by(|x, y| (x.0, x.1) == (y.0, y.1)) {
            let (a, b) = (group[0].0, group[0].1);
            let home = |host: u32| group.iter().filter(|(_, _, store)| was[*store as usize] == host).count() as i32;
            let (all, homes) = (group.len() as i32, [home(a), home(b)]);
            // Who survives the other takes what that one leads.
            let (mut least, mut most) = ((all - spare(a)).max(0), all.min(spare(b)));
            if least > most {
                (least, most) = ((least + most) / 2, (least + most) / 2);
            }
            let led = (homes[0].max(all / 2).min(all - homes[1])).clamp(least, most);
            flow.over[a as usize] += i64::from(led);
            flow.over[b as usize] += i64::from(all - led);
            flow.pairs.push(Pair { ends: [a, b], all, homes, led, least, most });
        }
        let at: Vec<u32> = flow.pairs.iter().flat_map(|pair| pair.ends).collect();
        flow.by_host = ByHost::of(&at, fleet.hosts.len());
        flow
    }
    /// Sends masters from hosts with too many to hosts with too few, along shortest ways, until none has too many or none can send.
    fn level(&mut self) {
        for _ in 0..PHASES_MAX {
            if !self.raise() {
                break;
            }
            while self.send() {}
        }
    }
    fn step(&self, end: u32) -> (usize, usize, u32) {
        let (pair, from) = (end as usize / 2, end as usize % 2);
        (pair, from, self.pairs[pair].ends[1 - from])
    }
    /// Sets heights to the distance from the hosts with too many, as far as the next one with too few; answers whether there is one.
    fn raise(&mut self) -> bool {
        const FAR: i32 = i32::MAX;
        let hosts = self.over.len();
        let mut far = vec![FAR; hosts];
        let mut at: Vec<VecDeque<u32>> = vec![VecDeque::new()];
        for host in (0..hosts).filter(|host| self.over[*host] > 0) {
            far[host] = 0;
            at[0].push_back(host as u32);
        }
        let (mut now, mut found) = (0, None);
        while now < at.len() && found.is_none_or(|found| now <= found) {
            let Some(host) = at[now].pop_front() else {
                now += 1;
                continue;
            };
            if far[host as usize] != now as i32 {
                continue;
            }
            if self.over[host as usize] < 0 {
                found = found.or(Some(now));
            }
            for end in self.by_host.of_host(host) {
                let (pair, from, to) = self.step(*end);
                let Some(cost) = self.pairs[pair].cost(from) else { continue };
                let then = now as i32 + cost + self.height[host as usize] - self.height[to as usize];
                if then < far[to as usize] {
                    far[to as usize] = then;
                    let level = then.max(now as i32) as usize;
                    at.resize(at.len().max(level + 1), VecDeque::new());
                    at[level].push_back(to);
                }
            }
        }
        let Some(most) = found else { return false };
        for (height, far) in self.height.iter_mut().zip(far) {
            *height += far.min(most as i32);
        }
        true
    }
    /// One way after the other along steps that cost what the heights fall by, each host looked at again only where it was on a way
    /// that was found; answers whether there was one.
    fn send(&mut self) -> bool {
        let hosts = self.over.len();
        let (mut next, mut seen, mut any) = (vec![0usize; hosts], vec![false; hosts], false);
        for first in 0..hosts {
            while self.over[first] > 0 && self.way(first as u32, &mut next, &mut seen) {
                any = true;
            }
        }
        any
    }
    fn way(&mut self, first: u32, next: &mut [usize], seen: &mut [bool]) -> bool {
        let mut way: Vec<u32> = Vec::new();
        let mut host = first;
        if std::mem::replace(&mut seen[first as usize], true) {
            return false;
        }
        loop {
            if self.over[host as usize] < 0 {
                break;
            }
            let ends = self.by_host.of_host(host);
            let open = |end: &u32| {
                let (pair, from, to) = self.step(*end);
                let falls = self.height[to as usize] - self.height[host as usize];
                !seen[to as usize] && self.pairs[pair].cost(from) == Some(falls)
            };
            match ends[next[host as usize]..].iter().position(open) {
                Some(nth) => {
                    next[host as usize] += nth;
                    let end = ends[next[host as usize]];
                    host = self.step(end).2;
                    seen[host as usize] = true;
                    way.push(end);
                }
                None => {
                    next[host as usize] = ends.len();
                    let Some(back) = way.pop() else { return false };
                    host = self.pairs[back as usize / 2].ends[back as usize % 2];
                    next[host as usize] += 1;
                }
            }
        }
        self.over[first as usize] -= 1;
        self.over[host as usize] += 1;
        seen[first as usize] = false;
        for end in way {
            let (pair, from, to) = self.step(end);
            self.pairs[pair].led += if from == 0 { -1 } else { 1 };
            seen[to as usize] = false;
        }
        true
    }
    /// Who leads each store of a pair: its own host first.
    fn give_out(&self, fleet: &Fleet, at: &[u32], was: &[u32], ends: &[Ends], lead: &mut [u32]) {
        let groups = ends.chunk_by(|x, y| (x.0, x.1) == (y.0, y.1));
        for (pair, group) in self.pairs.iter().zip(groups) {
            let [a, b] = pair.ends;
            let rank = |store: u32| match was[store as usize] {
                host if host == a => 0,
                host if host == b => 2,
                _ => 1,
            };
            let mut stores: Vec<u32> = group.iter().map(|(_, _, store)| *store).collect();
            stores.sort_by_key(|store| rank(*store));
            for (nth, store) in stores.into_iter().enumerate() {
                let host = if (nth as i32) < pair.led { a } else { b };
                let copy = fleet.range(store).find(|copy| at[*copy] == host).unwrap_or_default();
                lead[store as usize] = copy as u32;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::figures::figures;
    use crate::layout::goal::Wish;

    /// Small fleets of stores of two copies, as many as hosts can lead evenly, whose former masters are still there or not.
    fn any(seed: u64) -> (Fleet, Layout, Vec<u32>, u64) {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut below = |bound: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) % bound) as u32
        };
        let (hosts, each) = (3 + u64::from(below(3)), 1 + u64::from(below(2)));
        let mut fleet = Fleet::default();
        fleet.hosts.extend((0..hosts).map(|_| Host::new(1_000, 100)));
        let mut rows: Vec<(Store, [u32; 2])> = Vec::new();
        for _ in 0..hosts * each {
            let a = below(hosts);
            let b = (a + 1 + below(hosts - 1)) % hosts as u32;
            rows.push((Store { size: 1, load: 1, copies: 2, level: HOST }, [a, b]));
        }
        let layout = Layout::of(&mut fleet, rows.iter().map(|(store, at)| (*store, at.as_slice())));
        let was = rows.iter().map(|(_, at)| if below(4) == 0 { below(hosts) } else { at[below(2) as usize] });
        let was = was.collect();
        (fleet, layout, was, 1 + u64::from(below(2)))
    }

    /// The fewest stores that are led elsewhere than before, of all choices that keep both limits.
    fn fewest(fleet: &Fleet, layout: &Layout, was: &[u32], share: u64, spare: u64) -> Option<usize> {
        let stores = fleet.stores.len();
        let kept = |choice: u32| {
            let leads = |store: usize| layout.at[2 * store + (choice >> store & 1) as usize];
            let other = |store: usize| layout.at[2 * store + 1 - (choice >> store & 1) as usize];
            let hosts = 0..fleet.hosts.len() as u32;
            let even = hosts.clone().all(|host| (0..stores).filter(|s| leads(*s) == host).count() as u64 <= share);
            let led = |a, b| (0..stores).filter(|s| leads(*s) == a && other(*s) == b).count() as u64;
            let within = even && hosts.clone().all(|a| hosts.clone().all(|b| led(a, b) <= spare));
            within.then(|| (0..stores).filter(|store| leads(*store) != was[*store]).count())
        };
        (0..1u32 << stores).filter_map(kept).min()
    }

    #[test]
    fn no_choice_changes_fewer_masters() {
        let (mut judged, mut changed) = (0, 0);
        for seed in 0..600 {
            let (fleet, layout, was, spare) = any(seed);
            let share = (fleet.stores.len() / fleet.hosts.len()) as u64;
            let aims = Aims::of(&fleet, &layout, &Wish::default(), &figures(&fleet, &layout));
            let aims = aims.at_level((share + spare) * 1_000);
            let lead = leads(&fleet, &layout.at, &was, &aims).expect("it is of this kind");
            let Some(least) = fewest(&fleet, &layout, &was, share, spare) else { continue };
            let host = |store: usize| layout.at[lead[store] as usize];
            let is = (0..was.len()).filter(|store| host(*store) != was[*store]).count();
            let even = |host_: u32| (0..was.len()).filter(|store| host(*store) == host_).count() as u64 == share;
            assert!((0..fleet.hosts.len() as u32).all(even), "seed {seed}: {lead:?}");
            assert_eq!(is, least, "seed {seed}: {lead:?} of {was:?}");
            (judged, changed) = (judged + 1, changed + is);
        }
        assert!(judged > 200 && changed > judged, "{judged} judged, {changed} masters changed");
    }
}
