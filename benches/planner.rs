//! The planner: a plan for one host of a fleet of 12 hosts and 240 stores, the independent checker included.
//!
//! What always holds: a plan that is measured was made, and moves every master of the host.

use criterion::Criterion;
use slot_benches::{Fleet, host};
use slot_planner::plan;
use slot_types::ids::HostName;
use slot_types::plan::{Intent, Plan, TaskKind};
use std::hint::black_box;

fn moved(plan: &Plan) -> usize {
    let moves = |kind: &TaskKind| matches!(kind, TaskKind::HandOver { .. } | TaskKind::FailOver { .. });
    plan.tasks.iter().filter(|task| moves(&task.kind)).count()
}

fn measure(criterion: &mut Criterion, name: &str, fleet: &Fleet, about: &HostName, intent: &Intent) {
    let (cluster, inputs) = (fleet.cluster(), fleet.inputs());
    let evidence = fleet.evidence();
    let masters = fleet.masters_on(about).len();
    assert_eq!(moved(fleet.plan(intent.clone()).plan()), masters);
    criterion.bench_function(&format!("planner: {name}, {masters} masters"), |bencher| {
        bencher.iter(|| plan(black_box(cluster), black_box(&evidence), intent.clone(), inputs.clone()));
    });
}

fn main() {
    let mut criterion = Criterion::default().sample_size(20).configure_from_args();
    let mut fleet = Fleet::made();
    let about = host(3);
    measure(&mut criterion, "drain a host", &fleet, &about, &Intent::DrainHost(about.clone()));
    fleet.silence(&about);
    measure(&mut criterion, "fail over a dead host", &fleet, &about, &Intent::FailOverHost(about.clone()));
    criterion.final_summary();
}
