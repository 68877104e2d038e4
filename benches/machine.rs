//! The replicated state machine: the whole log of a hand-over and of a drain, and the snapshot of 240 stores.
//!
//! What always holds: the commands are those a leader proposed while the plan was carried out to its end.

use criterion::{BatchSize, Criterion, Throughput};
use slot_benches::{Fleet, Log, host};
use slot_machine::apply::apply;
use slot_machine::state::State;
use slot_types::ids::Term;
use slot_types::plan::Intent;
use std::hint::black_box;

fn replay(mut state: State, log: &Log) -> State {
    for (index, proposal) in log {
        black_box(apply(&mut state, *index, Term(1), proposal));
    }
    state
}

fn plans(criterion: &mut Criterion) {
    let made = Fleet::made();
    let master = made.masters_on(&host(3)).remove(0);
    let mut group = criterion.benchmark_group("machine: apply");
    for (name, intent) in [
        ("a hand-over, in commands", Intent::FailOverSlot { slot: master, to: None }),
        ("a drain, in commands", Intent::DrainHost(host(3))),
    ] {
        let mut fleet = made.clone();
        let log = fleet.carry_out(intent);
        assert_eq!(replay(made.state.clone(), &log).cluster, fleet.state.cluster);
        group.throughput(Throughput::Elements(log.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter_batched(|| made.state.clone(), |state| replay(state, &log), BatchSize::PerIteration);
        });
    }
    group.finish();
}

fn snapshots(criterion: &mut Criterion) {
    let state = Fleet::made().state;
    let bytes = state.snapshot();
    assert_eq!(State::restore(&bytes).as_ref(), Ok(&state));
    let mut group = criterion.benchmark_group("machine: snapshot of 240 stores");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("encode", |bencher| bencher.iter(|| black_box(&state).snapshot()));
    group.bench_function("restore", |bencher| bencher.iter(|| State::restore(black_box(&bytes))));
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().sample_size(20).configure_from_args();
    plans(&mut criterion);
    snapshots(&mut criterion);
    criterion.final_summary();
}
