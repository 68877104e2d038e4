//! How many more stores fit, against trying every placement.

use super::fleet;
use slot_planner::layout::room::{Ask, Limit, not_survivable, room};
use slot_planner::layout::*;

/// Whether copies that are homeless can be rebuilt, by trying every host for each.
fn rebuilds(fleet: &Fleet, free: &mut [u32], stores: &mut [Vec<u32>], missing: &[usize], gone: &[u32]) -> bool {
    let Some((store, rest)) = missing.split_first() else { return true };
    for host in 0..free.len() as u32 {
        let apart = stores[*store].iter().all(|other| !fleet.share(RACK, *other, host));
        if free[host as usize] == 0 || gone.contains(&host) || !apart {
            continue;
        }
        free[host as usize] -= 1;
        stores[*store].push(host);
        let done = rebuilds(fleet, free, stores, rest, gone);
        stores[*store].pop();
        free[host as usize] += 1;
        if done {
            return true;
        }
    }
    false
}

/// Whether every single loss of a host can be rebuilt.
fn survives(fleet: &Fleet, free: &[u32], stores: &[Vec<u32>]) -> bool {
    (0..free.len() as u32).all(|lost| {
        let mut left: Vec<Vec<u32>> =
            stores.iter().map(|s| s.iter().copied().filter(|h| *h != lost).collect()).collect();
        let missing: Vec<usize> = (0..stores.len()).filter(|s| left[*s].len() < stores[*s].len()).collect();
        rebuilds(fleet, &mut free.to_vec(), &mut left, &missing, &[lost])
    })
}

/// The most new stores of two copies, by trying all pairs of hosts in order.
fn most(fleet: &Fleet, free: &mut Vec<u32>, stores: &mut Vec<Vec<u32>>, from: (u32, u32)) -> u32 {
    let mut best = 0;
    for a in 0..free.len() as u32 {
        for b in a + 1..free.len() as u32 {
            if (a, b) < from || free[a as usize] == 0 || free[b as usize] == 0 || fleet.share(RACK, a, b) {
                continue;
            }
            free[a as usize] -= 1;
            free[b as usize] -= 1;
            stores.push(vec![a, b]);
            if survives(fleet, free, stores) {
                best = best.max(1 + most(fleet, free, stores, (a, b)));
            }
            stores.pop();
            free[a as usize] += 1;
            free[b as usize] += 1;
        }
    }
    best
}

/// The same numbers in every run.
pub struct Dice(pub u64);

impl Dice {
    /// A number below a bound.
    pub fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from((self.0 >> 33) % u64::from(bound)).unwrap()
    }
}

/// Copies of one size on two to five hosts in racks: exactly as many as there is room for.
#[test]
fn it_is_what_trying_everything_finds() {
    let mut dice = Dice(7);
    let mut asked = 0;
    for _ in 0..2_000 {
        let hosts: Vec<(u32, u32)> = (0..2 + dice.below(4)).map(|_| (dice.below(4), dice.below(4))).collect();
        let mut free: Vec<u32> = hosts.iter().map(|(_, slots)| *slots).collect();
        let mut stores: Vec<Vec<u32>> = Vec::new();
        for _ in 0..dice.below(3) {
            let (a, b) = (dice.below(5) as usize, dice.below(5) as usize);
            let able = a < hosts.len() && b < hosts.len() && hosts[a].0 != hosts[b].0;
            if able && free[a] > 0 && free[b] > 0 {
                (free[a], free[b]) = (free[a] - 1, free[b] - 1);
                stores.push(vec![a as u32, b as u32]);
            }
        }
        let given: Vec<(u64, u8, &[u32])> = stores.iter().map(|at| (1, RACK, at.as_slice())).collect();
        let specs: Vec<(u32, u32, u64)> =
            hosts.iter().map(|(rack, slots)| (*rack, *slots, u64::from(*slots))).collect();
        let (fleet, layout) = fleet(&specs, &given);
        let found = room(&fleet, &layout, &Ask { size: 1, copies: 2, level: RACK, survive: Some(HOST) });
        if !survives(&fleet, &free, &stores) {
            assert_eq!((found.fits, found.at_most), (0, 0));
            continue;
        }
        let exact = most(&fleet, &mut free, &mut stores, (0, 0));
        assert!(found.fits == exact && exact <= found.at_most, "{found:?}, exact {exact}");
        asked += 1;
    }
    assert!(asked > 1_500, "only {asked} survive a loss as they are");
}

#[test]
fn it_says_what_stands_in_the_way() {
    let hosts = [(0, 4, 4000), (1, 4, 4000), (2, 4, 4000)];
    let (fleet, layout) = fleet(&hosts, &[(1000, RACK, &[0, 1])]);
    let ask = Ask { size: 1000, copies: 2, level: RACK, survive: None };
    let free = room(&fleet, &layout, &ask);
    assert_eq!((free.fits, free.at_most, free.limit), (5, 5, Limit::Places));
    // Two hosts of four have to hold everything: four stores in all.
    let safe = room(&fleet, &layout, &Ask { survive: Some(HOST), ..ask });
    assert_eq!((safe.fits, safe.at_most), (3, 3));
    let large = room(&fleet, &layout, &Ask { size: 3500, survive: Some(HOST), ..ask });
    assert_eq!(large.fits, 0);
}

#[test]
fn a_rack_can_be_lost_if_a_copy_is_left_and_there_is_room() {
    let mut fleet = Fleet::default();
    for rack in [0, 0, 1, 1, 2] {
        fleet.hosts.push(Host::new(100, 4).within(&[rack, 7]));
    }
    let store = Store { size: 10, load: 1, copies: 2, level: HOST };
    let both = [0, 1];
    let layout = Layout::of(&mut fleet, [(store, [0, 2].as_slice()), (store, &both), (store, &[3, 4])]);
    // The second store is in one rack; the third's is another's, and the site is the whole fleet.
    assert_eq!(not_survivable(&fleet, &layout, RACK), [0]);
    assert_eq!(not_survivable(&fleet, &layout, RACK + 1), Vec::<u32>::new());
    assert_eq!(not_survivable(&fleet, &layout, HOST), Vec::<u32>::new());
    // No room outside the first rack; then room for one copy in all, which is on the first host.
    fleet.hosts.iter_mut().skip(2).for_each(|host| host.slots = 1);
    assert_eq!(not_survivable(&fleet, &layout, RACK), [0]);
    fleet.hosts[1].slots = 1;
    fleet.hosts[0].slots = 3;
    // There is room by number for what is on the second and the third host, too; but it is where the other copy is.
    assert_eq!(not_survivable(&fleet, &layout, HOST), [0, 1, 2]);
}
