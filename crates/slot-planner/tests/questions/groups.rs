//! Groups of hosts that may be down together.

use super::fleet;
use proptest::prelude::*;
use slot_planner::layout::groups::groups;
use slot_planner::layout::*;

proptest! {
    #[test]
    fn no_group_takes_the_last_copy_of_a_store(
        stores in prop::collection::vec(prop::sample::subsequence((0u32..8).collect::<Vec<_>>(), 1..4), 0..20),
    ) {
        let stores: Vec<(u64, u8, &[u32])> = stores.iter().map(|at| (1, HOST, at.as_slice())).collect();
        let (fleet, layout) = fleet(&[(0, 99, 99); 8], &stores);
        let found = groups(&fleet, &layout);
        for group in &found.groups {
            for (_, _, copies) in &stores {
                prop_assert!(copies.iter().any(|host| !group.contains(host)), "{:?} in {:?}", copies, group);
            }
        }
        let mut all: Vec<u32> = found.groups.concat();
        all.extend(found.never.iter().map(|(host, _)| *host));
        all.sort_unstable();
        prop_assert_eq!(all, (0..8).collect::<Vec<u32>>());
        for (host, store) in found.never {
            prop_assert_eq!(layout.copies(&fleet, store), &[host][..]);
        }
    }
}

/// Copies in different racks: a whole rack is one group, so there are no more groups than racks.
#[test]
fn a_rack_goes_down_at_once() {
    let stores: [(u64, u8, &[u32]); 4] =
        [(1, RACK, &[0, 2]), (1, RACK, &[1, 3]), (1, RACK, &[2, 4]), (1, RACK, &[5, 0])];
    let (fleet, layout) = fleet(&[(0, 4, 9), (0, 4, 9), (1, 4, 9), (1, 4, 9), (2, 4, 9), (2, 4, 9)], &stores);
    let found = groups(&fleet, &layout);
    assert!(found.groups.len() <= 3, "{found:?}");
    assert_eq!(found.groups[0][..2], [0, 1]);
}
