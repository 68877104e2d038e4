//! Where the copies of new stores go.
//!
//! What always holds: copies of one store are in different domains, each on a free slot that is large enough (S9);
//! within that, masters are even over hosts and the worst survivor of any one host's loss has as few masters as the
//! search finds; the same input gives the same places, ties go to the first name.

use slot_types::cluster::{Domain, Spread, StoreSpec};
use slot_types::ids::{HostName, SlotId};
use std::collections::{BTreeMap, BTreeSet};

/// Above this many (store, host) combinations the greedy result stands: the search looks at pairs of stores.
const SEARCH_MAX: usize = 512;
/// Up to here two changes at once are looked at: small fleets get stuck more easily, and cost nothing.
const SEARCH_DEEP_MAX: usize = 32;
/// Rounds of improvement; each must lower the score, so this is only a bound on time.
const ROUNDS_MAX: usize = 256;

/// A host that may get copies.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    pub host: HostName,
    pub at: Domain,
    /// Free slots with their sizes.
    pub free: BTreeMap<u16, u64>,
    /// Masters it has.
    pub masters: u32,
    /// Copies it has.
    pub copies: u32,
}

/// Where one store goes: the master first.
pub(crate) type Placed = Vec<SlotId>;

/// There is no place for this one, though so many domains would have had room.
pub(crate) struct Stuck {
    pub store: usize,
    pub found: u8,
}

/// How many of `masters of host a` have a copy on host b: `pairs[a][b]`.
pub(crate) type Pairs = Vec<Vec<u32>>;

/// Places stores in order. `pairs` is of the hosts of `rooms`, in their order.
pub(crate) fn place(rooms: &[Room], pairs: &Pairs, specs: &[StoreSpec]) -> Result<Vec<Placed>, Stuck> {
    let mut board = Board {
        rooms: rooms.to_vec(),
        masters: rooms.iter().map(|r| r.masters).collect(),
        copies: rooms.iter().map(|r| r.copies).collect(),
        pairs: pairs.clone(),
    };
    let mut hosts: Vec<Vec<usize>> = Vec::new();
    for (number, spec) in specs.iter().enumerate() {
        let chosen = board.choose(spec, specs.len() - number - 1);
        if chosen.len() < usize::from(spec.copies) {
            return Err(Stuck { store: number, found: u8::try_from(chosen.len()).unwrap_or(u8::MAX) });
        }
        board.take(spec, &chosen);
        hosts.push(chosen);
    }
    let largest = specs.iter().map(|s| s.size_bytes).max().unwrap_or(0);
    let uniform = rooms.iter().all(|r| r.free.values().all(|size| *size >= largest));
    if uniform && specs.len() * rooms.len() <= SEARCH_MAX {
        search(rooms, pairs, specs, &mut hosts);
    }
    Ok(slots(rooms, specs, &hosts))
}

struct Board {
    rooms: Vec<Room>,
    masters: Vec<u32>,
    copies: Vec<u32>,
    pairs: Pairs,
}

impl Board {
    fn fits(&self, room: usize, spec: &StoreSpec) -> bool {
        fitting(&self.rooms[room], spec) > 0
    }

    /// The master's host, then the others'; fewer when there is no room.
    fn choose(&self, spec: &StoreSpec, still_to_come: usize) -> Vec<usize> {
        let balanced = self.pick(spec, None);
        if balanced.len() == usize::from(spec.copies) && self.leaves_room(spec, &balanced, still_to_come) {
            return balanced;
        }
        // Taking from the emptiest domains first always leaves room if there is any for stores like this one.
        let mut groups: BTreeMap<String, usize> = BTreeMap::new();
        for room in 0..self.rooms.len() {
            let fitting = fitting(&self.rooms[room], spec);
            *groups.entry(group(&self.rooms[room], spec.spread)).or_default() += fitting;
        }
        let mut order: Vec<(&String, usize)> = groups.iter().map(|(g, n)| (g, *n)).collect();
        order.sort_by_key(|(name, free)| (std::cmp::Reverse(*free), (*name).clone()));
        let widest: BTreeSet<&String> = order.iter().take(usize::from(spec.copies)).map(|(g, _)| *g).collect();
        self.pick(spec, Some(&widest))
    }

    fn pick(&self, spec: &StoreSpec, within: Option<&BTreeSet<&String>>) -> Vec<usize> {
        let mut chosen: Vec<usize> = Vec::new();
        let mut used: BTreeSet<String> = BTreeSet::new();
        while chosen.len() < usize::from(spec.copies) {
            let open = (0..self.rooms.len()).filter(|room| {
                let group = group(&self.rooms[*room], spec.spread);
                !used.contains(&group) && within.is_none_or(|w| w.contains(&group)) && self.fits(*room, spec)
            });
            let best = match chosen.first() {
                None => open.min_by_key(|r| (self.masters[*r], self.copies[*r], self.rooms[*r].host.clone())),
                Some(master) => open.min_by_key(|r| {
                    let (there, back) = (self.pairs[*master][*r], self.pairs[*r][*master]);
                    (there, self.copies[*r], back, self.masters[*r], self.rooms[*r].host.clone())
                }),
            };
            let Some(best) = best else { break };
            used.insert(group(&self.rooms[best], spec.spread));
            chosen.push(best);
        }
        chosen
    }

    /// Whether as many stores like this one as are still to come would find room afterwards.
    fn leaves_room(&self, spec: &StoreSpec, chosen: &[usize], still_to_come: usize) -> bool {
        let mut free: BTreeMap<String, usize> = BTreeMap::new();
        for (number, room) in self.rooms.iter().enumerate() {
            let left = fitting(room, spec).saturating_sub(usize::from(chosen.contains(&number)));
            *free.entry(group(room, spec.spread)).or_default() += left;
        }
        let usable: usize = free.values().map(|n| (*n).min(still_to_come)).sum();
        usable >= usize::from(spec.copies) * still_to_come
    }

    fn take(&mut self, spec: &StoreSpec, chosen: &[usize]) {
        for room in chosen {
            if let Some(slot) = best_fit(&self.rooms[*room].free, spec.size_bytes) {
                self.rooms[*room].free.remove(&slot);
            }
            self.copies[*room] += 1;
        }
        if let Some((master, replicas)) = chosen.split_first() {
            self.masters[*master] += 1;
            for replica in replicas {
                self.pairs[*master][*replica] += 1;
            }
        }
    }
}

/// How many slots of a host a copy may have: none where the file says never.
fn fitting(room: &Room, spec: &StoreSpec) -> usize {
    let allowed = !spec.never.contains(&room.host);
    room.free.values().filter(|size| allowed && **size >= spec.size_bytes).count()
}

fn group(room: &Room, spread: Spread) -> String {
    match spread {
        Spread::Host => room.host.to_string(),
        Spread::Rack => room.at.to_string(),
    }
}

fn best_fit(free: &BTreeMap<u16, u64>, size: u64) -> Option<u16> {
    free.iter().filter(|(_, s)| **s >= size).min_by_key(|(number, s)| (**s, **number)).map(|(number, _)| *number)
}

/// Names the slots, in the order in which the hosts were chosen.
fn slots(rooms: &[Room], specs: &[StoreSpec], hosts: &[Vec<usize>]) -> Vec<Placed> {
    let mut free: Vec<BTreeMap<u16, u64>> = rooms.iter().map(|r| r.free.clone()).collect();
    let mut placed = Vec::new();
    for (spec, chosen) in specs.iter().zip(hosts) {
        let mut copies = Vec::new();
        for room in chosen {
            if let Some(number) = best_fit(&free[*room], spec.size_bytes) {
                free[*room].remove(&number);
                copies.push(SlotId::new(rooms[*room].host.clone(), number));
            }
        }
        placed.push(copies);
    }
    placed
}

/// Lower is better: the worst survivor's masters after any one host's loss, the fullest host, then evenness of
/// survivors and copies.
pub(crate) type Score = (u32, u32, u64, u64);

/// The score of a placement; the first number is what placement is judged by.
pub(crate) fn score(rooms: &[Room], pairs: &Pairs, hosts: &[Vec<usize>]) -> Score {
    let n = rooms.len();
    let mut masters: Vec<u32> = rooms.iter().map(|r| r.masters).collect();
    let mut copies: Vec<u32> = rooms.iter().map(|r| r.copies).collect();
    let mut pairs = pairs.clone();
    for chosen in hosts {
        for (place, room) in chosen.iter().enumerate() {
            copies[*room] += 1;
            if place == 0 {
                masters[*room] += 1;
            } else {
                pairs[chosen[0]][*room] += 1;
            }
        }
    }
    let square = |n: u32| u64::from(n) * u64::from(n);
    let (mut worst, mut survivors) = (0, 0);
    for (lost, gains) in pairs.iter().enumerate().take(n) {
        for survivor in (0..n).filter(|s| *s != lost) {
            let load = masters[survivor] + gains[survivor];
            worst = worst.max(load);
            survivors += square(load);
        }
    }
    let most = masters.iter().copied().max().unwrap_or(0);
    (worst, most, survivors, copies.iter().copied().map(square).sum())
}

/// First improvement over: another master among a store's copies, a copy on another host, two copies exchanged.
fn search(rooms: &[Room], pairs: &Pairs, specs: &[StoreSpec], hosts: &mut Vec<Vec<usize>>) {
    let mut best = score(rooms, pairs, hosts);
    for _ in 0..ROUNDS_MAX {
        let found = (0..specs.len()).any(|store| improve(rooms, pairs, specs, hosts, store, &mut best));
        if !found {
            return;
        }
    }
}

/// Takes the first change of one store that lowers the score, followed by a second change in small fleets.
fn improve(
    rooms: &[Room],
    pairs: &Pairs,
    specs: &[StoreSpec],
    hosts: &mut Vec<Vec<usize>>,
    store: usize,
    best: &mut Score,
) -> bool {
    let deep = specs.len() * rooms.len() <= SEARCH_DEEP_MAX;
    for candidate in changes(rooms, specs, hosts, store) {
        let second = if deep { 0..specs.len() } else { 0..0 };
        let further = second.flat_map(|other| changes(rooms, specs, &candidate, other));
        let better = std::iter::once(candidate.clone()).chain(further).find(|c| score(rooms, pairs, c) < *best);
        if let Some(better) = better {
            *best = score(rooms, pairs, &better);
            *hosts = better;
            return true;
        }
    }
    false
}

fn changes(rooms: &[Room], specs: &[StoreSpec], hosts: &[Vec<usize>], store: usize) -> Vec<Vec<Vec<usize>>> {
    let mut all = Vec::new();
    let mut used = vec![0usize; rooms.len()];
    for room in hosts.iter().flatten() {
        used[*room] += 1;
    }
    for place in 1..hosts[store].len() {
        let mut next = hosts.to_vec();
        next[store].swap(0, place);
        all.push(next);
    }
    for place in 0..hosts[store].len() {
        for room in 0..rooms.len() {
            if used[room] < rooms[room].free.len() && !hosts[store].contains(&room) {
                let mut next = hosts.to_vec();
                next[store][place] = room;
                all.push(next);
            }
        }
        for other in store + 1..hosts.len() {
            for there in 0..hosts[other].len() {
                let mut next = hosts.to_vec();
                let mine = next[store][place];
                next[store][place] = next[other][there];
                next[other][there] = mine;
                all.push(next);
            }
        }
    }
    all.retain(|next| next.iter().zip(specs).all(|(chosen, spec)| may(rooms, spec, chosen)));
    all
}

fn may(rooms: &[Room], spec: &StoreSpec, chosen: &[usize]) -> bool {
    apart(rooms, spec.spread, chosen) && chosen.iter().all(|room| !spec.never.contains(&rooms[*room].host))
}

fn apart(rooms: &[Room], spread: Spread, chosen: &[usize]) -> bool {
    let groups: BTreeSet<String> = chosen.iter().map(|room| group(&rooms[*room], spread)).collect();
    groups.len() == chosen.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use slot_types::cluster::EngineKind;

    fn rooms(shape: &[(usize, u16)]) -> Vec<Room> {
        let room = |(number, (rack, slots)): (usize, &(usize, u16))| Room {
            host: HostName::new(format!("h{}", number + 1)).unwrap(),
            at: Domain(vec![format!("r{rack}")]),
            free: (1..=*slots).map(|n| (n, 100)).collect(),
            masters: 0,
            copies: 0,
        };
        shape.iter().enumerate().map(room).collect()
    }

    fn spec(copies: u8) -> StoreSpec {
        StoreSpec {
            engine: EngineKind::Journal,
            copies,
            size_bytes: 10,
            spread: Spread::Rack,
            sync_copies: 0,
            never: std::collections::BTreeSet::new(),
        }
    }

    fn no_pairs(n: usize) -> Pairs {
        vec![vec![0; n]; n]
    }

    /// Every way of placing stores of two copies; only for very small cases.
    fn best_worst(rooms: &[Room], left: usize, hosts: &mut Vec<Vec<usize>>, best: &mut u32) {
        if left == 0 {
            let mut used = vec![0; rooms.len()];
            hosts.iter().flatten().for_each(|r| used[*r] += 1);
            if used.iter().zip(rooms).all(|(n, r)| *n <= r.free.len()) {
                *best = (*best).min(score(rooms, &no_pairs(rooms.len()), hosts).0);
            }
            return;
        }
        let least = hosts.last().cloned().unwrap_or_else(|| vec![0, 0]);
        for a in 0..rooms.len() {
            for b in 0..rooms.len() {
                // Stores are alike, so their order does not matter.
                if rooms[a].at != rooms[b].at && vec![a, b] >= least {
                    hosts.push(vec![a, b]);
                    best_worst(rooms, left - 1, hosts, best);
                    hosts.pop();
                }
            }
        }
    }

    #[test]
    fn the_worst_survivor_is_as_low_as_brute_force_finds() {
        let shapes: [&[(usize, u16)]; 5] = [
            &[(1, 4), (2, 4), (3, 4)],
            &[(1, 3), (2, 3), (3, 3), (4, 3)],
            &[(1, 4), (1, 4), (2, 4), (2, 4)],
            &[(1, 2), (2, 6), (3, 2), (4, 2)],
            &[(1, 6), (2, 3), (2, 3)],
        ];
        for shape in shapes {
            let rooms = rooms(shape);
            let room: u16 = shape.iter().map(|(_, slots)| slots).sum();
            for stores in 1..=usize::from(room / 2).min(6) {
                let mut best = u32::MAX;
                best_worst(&rooms, stores, &mut Vec::new(), &mut best);
                let placed = place(&rooms, &no_pairs(rooms.len()), &vec![spec(2); stores]);
                let Ok(placed) = placed else {
                    assert_eq!(best, u32::MAX, "{shape:?}: {stores} stores have a place");
                    continue;
                };
                let index = |slot: &SlotId| rooms.iter().position(|r| r.host == slot.host).unwrap();
                let hosts: Vec<Vec<usize>> = placed.iter().map(|p| p.iter().map(index).collect()).collect();
                let ours = score(&rooms, &no_pairs(rooms.len()), &hosts).0;
                assert_eq!(ours, best, "{shape:?}: {stores} stores at {hosts:?}");
            }
        }
    }

    #[test]
    fn room_that_is_there_is_found() {
        // One rack has most of the room: every store must use it, though its masters then look uneven.
        let rooms = rooms(&[(1, 6), (2, 2), (3, 2), (4, 2)]);
        let placed = place(&rooms, &no_pairs(4), &vec![spec(2); 6]).unwrap_or_default();
        assert_eq!(placed.len(), 6);
        let all: BTreeSet<&SlotId> = placed.iter().flatten().collect();
        assert_eq!(all.len(), 12);
    }

    #[test]
    fn a_large_fleet_is_even() {
        let rooms = rooms(&(0..12).map(|h| (h / 4, 44)).collect::<Vec<_>>());
        let placed = place(&rooms, &no_pairs(12), &vec![spec(2); 240]).unwrap_or_default();
        let index = |slot: &SlotId| rooms.iter().position(|r| r.host == slot.host).unwrap();
        let hosts: Vec<Vec<usize>> = placed.iter().map(|p| p.iter().map(index).collect()).collect();
        let (worst, most, ..) = score(&rooms, &no_pairs(12), &hosts);
        assert_eq!(most, 20);
        // 20 masters of a lost host go to the 8 hosts of other racks: 23 at best.
        assert!(worst <= 24, "{worst}");
    }
}
