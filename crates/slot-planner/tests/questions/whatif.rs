//! Fleets as they would be.

use super::fleet;
use slot_planner::layout::loss::Losses;
use slot_planner::layout::whatif::{Change, after};
use slot_planner::layout::*;

fn small() -> (Fleet, Layout) {
    let stores: [(u64, u8, &[u32]); 4] =
        [(4, RACK, &[0, 1]), (2, RACK, &[0, 2]), (3, RACK, &[1, 2]), (5, RACK, &[2, 0])];
    fleet(&[(0, 9, 12), (1, 9, 12), (2, 9, 12)], &stores)
}

#[test]
fn masters_of_a_lost_host_go_where_its_loss_sends_them() {
    let (fleet, layout) = small();
    let then = after(&fleet, &layout, &Change::Down(vec![0]));
    assert_eq!((then.stopped.len(), &then.on_one_copy[..]), (0, &[0, 1, 3][..]));
    assert_eq!([0, 1, 2, 3].map(|store| then.layout.master(&fleet, store)), [1, 2, 1, 2]);
    let tally = Tally::of(&fleet, &then.layout);
    let loss = Losses::of(&fleet, &layout).of_hosts(&[0]);
    assert_eq!(tally.load[loss.fullest.host as usize], loss.fullest.load);
    // 5 bytes are free on host 1 and 2 on host 2: the copy of 5 goes to host 1, the one of 4 nowhere, and nothing is left for the 2.
    assert_eq!(then.homeless, [0, 1]);
    assert_eq!(after(&fleet, &layout, &Change::Down(vec![0, 1])).stopped, [0]);
}

#[test]
fn what_does_not_fit_is_named() {
    let (fleet, layout) = small();
    let removed = after(&fleet, &layout, &Change::Remove(vec![0]));
    assert_eq!((removed.homeless, removed.stopped.len()), (vec![0, 1], 0));
    let resized = after(&fleet, &layout, &Change::Resize { host: 2, bytes: 8 });
    assert_eq!(resized.overfull, [(2, 2)]);
    let grown = after(&fleet, &layout, &Change::Grow { per_mille: 250 });
    assert_eq!(grown.fleet.stores.iter().map(|store| store.size).collect::<Vec<_>>(), [5, 2, 3, 6]);
    assert_eq!(grown.overfull, [(0, 1)]);
    let added = after(&fleet, &layout, &Change::Add { like: 1, count: 2 });
    assert_eq!((added.fleet.hosts.len(), added.overfull.len(), &added.layout), (5, 0, &layout));
    assert!(added.fleet.share(RACK, 1, 4));
}
