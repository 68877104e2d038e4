//! The journal engine's core on a disk that is done at once: appends acknowledged, and pulls served.
//!
//! What always holds: no file, network or clock is behind these figures; an append counts when it was acknowledged.

use criterion::{BatchSize, Criterion, Throughput};
use slot_engine::journal::core::*;
use slot_types::engine::EngineCall;
use slot_types::ids::*;
use slot_types::position::Tip;
use std::hint::black_box;

/// Records in a run.
const RECORDS: u64 = 1_000;
/// Bytes in each.
const PAYLOAD: usize = 256;
/// The core's time: it stands still.
const NOW_MS: u64 = 1_000;
const EPOCH: Epoch = Epoch { generation: 0, n: 1 };

fn store() -> StoreName {
    StoreName::new("store23").expect("a valid name")
}

fn slot(n: u16) -> SlotId {
    SlotId::new(HostName::new("imap3").expect("a valid name"), n)
}

/// Answers every disk operation as done; what is left are the replies.
fn settle(core: &mut JournalCore, mut effects: Vec<Effect>) -> Vec<Reply> {
    let mut replies = Vec::new();
    while !effects.is_empty() {
        let mut next = Vec::new();
        for effect in effects {
            match effect {
                Effect::Disk { op, ops } => {
                    black_box(ops);
                    next.extend(core.step(NOW_MS, Event::DiskDone { op, result: Ok(()) }));
                }
                Effect::Reply { reply, .. } => replies.push(reply),
                Effect::Die { reason } => panic!("it died: {reason}"),
                _ => {}
            }
        }
        effects = next;
    }
    replies
}

fn step(core: &mut JournalCore, event: Event) -> Vec<Reply> {
    let effects = core.step(NOW_MS, event);
    settle(core, effects)
}

/// A master at epoch 1 with nothing but its epoch-start record.
fn master() -> JournalCore {
    let config = Config::new(store(), slot(1), CopyGeneration(1));
    let files = fresh_files(&config);
    let (mut core, effects) = JournalCore::open(config, files, NOW_MS).expect("a fresh copy opens");
    settle(&mut core, effects);
    let call = EngineCall::Promote { epoch: EPOCH, expect: Tip::default(), sync_copies: 0 };
    step(&mut core, Event::Control { request: 1, call, budget_ms: 1_000 });
    assert_eq!(core.log().durable, 1, "it was promoted");
    core
}

fn appends() -> Vec<Event> {
    let client = ClientName::new("mta").expect("a valid name");
    let append = |sequence: u64| {
        let id = RecordId { client: client.clone(), sequence };
        let append = Append { store: store(), epoch: EPOCH, id, payload: vec![7; PAYLOAD] };
        Event::Append { request: sequence + 2, append, budget_ms: 1_000 }
    };
    (0..RECORDS).map(append).collect()
}

fn acknowledged(replies: &[Reply]) -> usize {
    replies.iter().filter(|reply| matches!(reply, Reply::Append(AppendOutcome::Done { .. }))).count()
}

/// One disk operation per record.
fn one_by_one((mut core, events): (JournalCore, Vec<Event>)) -> JournalCore {
    let done: usize = events.into_iter().map(|event| acknowledged(&step(&mut core, event))).sum();
    assert_eq!(done as u64, RECORDS);
    core
}

/// All arrive while the first is being written: the rest is the next disk operation.
fn together((mut core, events): (JournalCore, Vec<Event>)) -> JournalCore {
    let effects = events.into_iter().flat_map(|event| core.step(NOW_MS, event)).collect();
    assert_eq!(acknowledged(&settle(&mut core, effects)) as u64, RECORDS);
    core
}

fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("journal: append and disk done");
    group.throughput(Throughput::Elements(RECORDS));
    group.bench_function("one by one", |bencher| {
        bencher.iter_batched(|| (master(), appends()), one_by_one, BatchSize::PerIteration);
    });
    group.bench_function("in one group commit", |bencher| {
        bencher.iter_batched(|| (master(), appends()), together, BatchSize::PerIteration);
    });
    group.finish();
}

fn pull(criterion: &mut Criterion) {
    let mut core = one_by_one((master(), appends()));
    let head = core.log().durable;
    let mut group = criterion.benchmark_group("journal: serve a pull");
    for (name, length) in [("of everything, in records", 0), ("of the last record", head - 1)] {
        let pull = Pull {
            store: store(),
            epoch: EPOCH,
            from: slot(2),
            follow: true,
            history: core.log().history_at(length),
            tip: core.log().tip_at(length),
            upto: u64::MAX,
            bytes_max: 2 << 20,
            wait_ms: 0,
        };
        group.throughput(Throughput::Elements(head - length));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let replies = step(&mut core, Event::Peer { request: 9, call: PeerCall::Pull(pull.clone()) });
                let [Reply::Peer(PeerAnswer::Records { records, .. })] = &replies[..] else { panic!("{replies:?}") };
                assert_eq!(records.len() as u64, head - length);
                replies
            });
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().sample_size(20).configure_from_args();
    append(&mut criterion);
    pull(&mut criterion);
    criterion.final_summary();
}
