//! Questions about whole fleets that plan nothing: every single loss, the worst pair, how much more fits, who may be down together.
//!
//! What always holds: the fleets are made from a formula, the same in every run: 30 stores of two copies for each host, copies in
//! different racks, hosts half full. It measures and asserts nothing: each median stands beside its target.

use slot_benches::{json_file, times_ms};
use slot_planner::layout::groups::groups;
use slot_planner::layout::loss::Losses;
use slot_planner::layout::room::{Ask, room};
use slot_planner::layout::*;
use std::hint::black_box;

const RACKS: u32 = 20;
const GIB: u64 = 1 << 30;
/// How often each question is asked.
const RUNS: usize = 11;

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

/// A question, and how long its answer may take.
struct Case {
    what: String,
    target_ms: f64,
    took_ms: Vec<f64>,
}

impl Case {
    fn median_ms(&self) -> f64 {
        self.took_ms[self.took_ms.len() / 2]
    }
    fn json(&self) -> serde_json::Value {
        let (least, most) = (self.took_ms.first(), self.took_ms.last());
        serde_json::json!({
            "what": self.what, "target_ms": self.target_ms, "median_ms": self.median_ms(), "least_ms": least,
            "most_ms": most, "runs": self.took_ms.len(), "within": self.median_ms() <= self.target_ms,
        })
    }
}

/// Asks as often as is said, after once that is not counted.
fn ask<T>(what: impl Into<String>, target_ms: f64, question: impl FnMut() -> T) -> Case {
    Case { what: what.into(), target_ms, took_ms: times_ms(RUNS, question) }
}

fn cases() -> Vec<Case> {
    let (large, placed) = fleet(4_000);
    let mut cases = vec![
        ask("every single loss of a host, 4,000 hosts", 50.0, || {
            Losses::of(black_box(&large), black_box(&placed)).of_each()
        }),
        ask("every single loss of a rack, 4,000 hosts", 50.0, || {
            Losses::of(black_box(&large), black_box(&placed)).of_domains(RACK)
        }),
        ask("groups that may be down together, 4,000 hosts", 50.0, || groups(black_box(&large), black_box(&placed))),
    ];
    let (small, placed) = fleet(200);
    cases.push(ask("the worst pair of 200 hosts", 200.0, || {
        Losses::of(black_box(&small), black_box(&placed)).worst_pair()
    }));
    let (middle, placed) = fleet(1_000);
    for (level, survive) in [("host", HOST), ("rack", RACK)] {
        let wanted = Ask { size: 500 * GIB, copies: 2, level: RACK, survive: Some(survive) };
        let found = room(&middle, &placed, &wanted);
        let what = format!(
            "room for {} (at most {}) more stores of 500 GiB, any {level} lost, 1,000 hosts",
            found.fits, found.at_most
        );
        cases.push(ask(what, 100.0, || room(black_box(&middle), black_box(&placed), &wanted)));
    }
    cases
}

fn main() -> std::io::Result<()> {
    let cases = cases();
    println!("{:>10}  {:>10}  {:>6}  question", "median ms", "target ms", "within");
    for case in &cases {
        let within = if case.median_ms() <= case.target_ms { "yes" } else { "NO" };
        println!("{:>10.2}  {:>10.0}  {within:>6}  {}", case.median_ms(), case.target_ms, case.what);
    }
    if let Some(path) = json_file() {
        let rows: Vec<serde_json::Value> = cases.iter().map(Case::json).collect();
        std::fs::write(path, format!("{:#}\n", serde_json::json!({ "bench": "questions", "cases": rows })))?;
    }
    Ok(())
}
