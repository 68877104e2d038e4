//! A planner that anybody can check: of all single steps it takes the best, until none makes anything better.
//!
//! What always holds: a step is one copy to another host that may hold it, a missing copy built, or one hand-over; it never makes more
//! of anything broken.

use slot_planner::layout::*;

/// Where it ends.
pub fn rebalance(fleet: &Fleet, before: &Layout) -> Layout {
    let mut layout = before.clone();
    let mut best = merit(fleet, &layout);
    loop {
        let mut found: Option<Layout> = None;
        for then in steps(fleet, before, &layout) {
            let merit = merit(fleet, &then);
            if merit < best {
                (best, found) = (merit, Some(then));
            }
        }
        match found {
            Some(then) => layout = then,
            None => return layout,
        }
    }
}

/// What is short, the dearest first.
fn merit(fleet: &Fleet, layout: &Layout) -> (u64, u64, u64, u64) {
    let figures = figures(fleet, layout);
    (figures.violations.total(), figures.worst_survivor, figures.load_max, figures.bytes_max_ppm)
}

fn steps(fleet: &Fleet, before: &Layout, layout: &Layout) -> Vec<Layout> {
    let tally = Tally::without_pairs(fleet, layout);
    let mut all = Vec::new();
    for store in (0..fleet.stores.len() as u32).filter(|store| !fleet.is_lost(*store, before)) {
        let (range, copies) = (fleet.range(store), layout.copies(fleet, store));
        for copy in range.clone() {
            let at = layout.at[copy];
            let may_go = at == NOWHERE || !fleet.is_pinned(store, at);
            for host in fleet.active().filter(|_| may_go) {
                if may_hold(fleet, &tally, copies, store, at, host).is_ok() {
                    let mut then = layout.clone();
                    then.at[copy] = host;
                    all.push(then);
                }
            }
            if copy != range.start && at != NOWHERE && fleet.hosts[at as usize].is_active() {
                let mut then = layout.clone();
                then.at.swap(range.start, copy);
                all.push(then);
            }
        }
    }
    all
}
