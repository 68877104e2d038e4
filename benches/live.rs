//! What the planner takes of a processor on live fleets of several sizes, and what the leader's core does itself before it asks.
//!
//! What always holds: fleets are made by the planner and the machine, the same in every run: copies in different racks, a quarter of the slots
//! free, every agent heard. It measures and asserts nothing.

use slot_benches::{Fleet, Size, host, json_file, times_ms};
use slot_planner::{WhatIf, explain_store, plan};
use slot_types::plan::{Budget, Intent};
use std::hint::black_box;

/// How often each question is asked.
const RUNS: usize = 5;
/// (hosts, racks, stores a host, copies).
const SIZES: [(u16, u16, u16, u8); 5] =
    [(12, 3, 30, 2), (48, 6, 30, 2), (100, 10, 30, 2), (200, 20, 30, 2), (200, 20, 20, 3)];

fn ask<T>(what: &str, question: impl FnMut() -> T) -> (String, Vec<f64>) {
    (what.to_string(), times_ms(RUNS, question))
}

fn measured(fleet: &Fleet) -> Vec<(String, Vec<f64>)> {
    let (cluster, inputs, evidence) = (fleet.cluster(), fleet.inputs(), fleet.evidence());
    let planned = |intent: Intent| plan(black_box(cluster), &evidence, intent, inputs.clone()).is_ok();
    let if_lost = || WhatIf::new(black_box(cluster), &evidence, &inputs);
    let name = cluster.stores.keys().next().expect("a store");
    let third = host(3);
    vec![
        ask("the core: a copy of the cluster and of what is seen", || (cluster.clone(), evidence.clone())),
        ask("status: every host's and every rack's loss, and the worst pair", || {
            let if_lost = if_lost();
            (if_lost.each(), if_lost.worst_pair())
        }),
        ask("explain store", || explain_store(black_box(cluster), &evidence, &inputs, name)),
        ask("drain host", || planned(Intent::DrainHost(third.clone()))),
        ask("drain host --empty", || planned(Intent::EmptyHost(third.clone()))),
        ask("rebalance", || planned(Intent::Rebalance(Budget::default()))),
    ]
}

fn main() -> std::io::Result<()> {
    let mut rows = Vec::new();
    for (hosts, racks, each, copies) in SIZES {
        let slots = each * u16::from(copies) * 4 / 3;
        let fleet = Fleet::of(Size { hosts, racks, slots, stores: hosts * each, copies });
        println!("{hosts} hosts, {} stores of {copies} copies", hosts * each);
        for (what, took_ms) in measured(&fleet) {
            let (least, median, most) = (took_ms[0], took_ms[RUNS / 2], took_ms[RUNS - 1]);
            println!("{median:>10.1} ms  {what}");
            rows.push(serde_json::json!({
                "hosts": hosts, "stores": hosts * each, "copies": copies, "what": what,
                "median_ms": median, "least_ms": least, "most_ms": most, "runs": RUNS,
            }));
        }
    }
    if let Some(path) = json_file() {
        std::fs::write(path, format!("{:#}\n", serde_json::json!({ "bench": "live", "cases": rows })))?;
    }
    Ok(())
}
