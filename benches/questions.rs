//! Questions about whole fleets that plan nothing: every single loss, the worst pair, how much more fits, who may be down together.
//!
//! What always holds: the fleets are made from a formula, the same in every run: 30 stores of two copies for each host, copies in
//! different racks, hosts half full.

use criterion::Criterion;
use slot_planner::layout::groups::groups;
use slot_planner::layout::loss::Losses;
use slot_planner::layout::room::{Ask, room};
use slot_planner::layout::*;
use std::hint::black_box;

const RACKS: u32 = 20;
const GIB: u64 = 1 << 30;

fn fleet(hosts: u32) -> (Fleet, Layout) {
    let host = |number: u32| Host::new(3_300 * GIB, 120).within(&[number % RACKS]);
    let mut fleet = Fleet { hosts: (0..hosts).map(host).collect(), ..Fleet::default() };
    // Round and round: master on each host in turn, its replica a step of its own further on, never a whole number of racks.
    let homes: Vec<[u32; 2]> = (0..hosts * 30)
        .map(|store| {
            let step = (store / hosts * 37 + 1) % (hosts - 1) + 1;
            let step = if step.is_multiple_of(RACKS) { step + 1 } else { step };
            [store % hosts, (store % hosts + step) % hosts]
        })
        .collect();
    let size = |store: usize| (8 + store as u64 * 7 % 40) * GIB;
    let stores = homes
        .iter()
        .enumerate()
        .map(|(number, homes)| (Store { size: size(number), load: 1, copies: 2, level: RACK }, homes.as_slice()));
    let layout = Layout::of(&mut fleet, stores);
    (fleet, layout)
}

fn main() {
    let mut criterion = Criterion::default().sample_size(10).configure_from_args();
    let (large, placed) = fleet(4_000);
    criterion.bench_function("questions: every single loss, 4,000 hosts", |bencher| {
        bencher.iter(|| Losses::of(black_box(&large), black_box(&placed)).of_each());
    });
    criterion.bench_function("questions: groups that may be down together, 4,000 hosts", |bencher| {
        bencher.iter(|| groups(black_box(&large), black_box(&placed)));
    });
    let (middle, placed) = fleet(1_000);
    let ask = Ask { size: 500 * GIB, copies: 2, level: RACK, survive: Some(HOST) };
    let found = room(&middle, &placed, &ask);
    criterion.bench_function(
        &format!("questions: room for {} (at most {}) stores, 1,000 hosts", found.fits, found.at_most),
        |bencher| {
            bencher.iter(|| room(black_box(&middle), black_box(&placed), &ask));
        },
    );
    let (small, placed) = fleet(200);
    criterion.bench_function("questions: the worst pair of 200 hosts", |bencher| {
        bencher.iter(|| Losses::of(black_box(&small), black_box(&placed)).worst_pair());
    });
    criterion.final_summary();
}
