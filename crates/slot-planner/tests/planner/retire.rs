//! A store that leaves for good.

use crate::world::{World, file, host, slot, store};
use slot_planner::{Nothing, Refusal, RetireBlock};
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::plan::{Intent, StepKind, TaskKind};
use std::collections::{BTreeMap, BTreeSet};

fn retire(n: usize) -> Intent {
    Intent::RetireStore(store(n))
}

fn block(world: &World) -> RetireBlock {
    match world.plan(retire(1)) {
        Err(Refusal::Retire { store: named, why }) if named == store(1) => why,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn its_master_is_fenced_first_and_every_copy_destroyed_after_it() {
    let world = World::running(4, 8, 4, 3);
    let plan = world.plan(retire(1)).unwrap().plan().clone();
    let master = world.cluster.stores[&store(1)].master.clone().unwrap();
    assert_eq!(plan.tasks[0].kind, TaskKind::RetireStore { master });
    let steps: Vec<StepKind> = plan.tasks[0].steps.iter().map(|s| s.kind).collect();
    assert_eq!(steps, [StepKind::RetireStore, StepKind::Demote]);
    let gone: BTreeSet<&SlotId> = plan.tasks[1..]
        .iter()
        .filter_map(|task| match &task.kind {
            TaskKind::DestroyCopy { slot, .. } => Some(slot),
            _ => None,
        })
        .collect();
    assert_eq!(gone, world.cluster.stores[&store(1)].copies.keys().collect());
    assert_eq!((plan.destroys(), plan.people), (Some(&store(1)), 1));
    let said = |heading: &str| plan.notes.iter().any(|note| note.heading == heading);
    assert!(said("DATA DESTROYED") && said("NO UNDO") && said("AFTER"));
}

#[test]
fn it_is_refused_while_anything_of_it_is_open() {
    let world = World::running(4, 8, 4, 3);
    let other = slot("imap2/1");
    let upset = |change: &dyn Fn(&mut World)| {
        let mut world = world.clone();
        change(&mut world);
        block(&world)
    };
    let first = |world: &World| world.cluster.stores[&store(1)].master.clone().unwrap();
    assert_eq!(
        upset(&|w| {
            let case = LossCase {
                store: store(1),
                slot: first(w),
                generation: CopyGeneration(1),
                plan: PlanId(1),
                epoch: Epoch::ZERO,
                stated: LossStatement {
                    class: LossClass::Unknown,
                    candidate: slot_types::position::Tip::default(),
                    last_known: None,
                    last_known_age_ms: None,
                    known_lag: None,
                },
                state: LossState::Listed,
                final_tip: None,
                stranded: Vec::new(),
                opened: LogTime(1),
            };
            w.cluster.loss_cases.insert(LossCaseId(7), case);
        }),
        RetireBlock::LossCase(LossCaseId(7))
    );
    assert_eq!(upset(&|w| w.store_mut(&store(1)).pending = Some(other.clone())), RetireBlock::Pending(other.clone()));
    let possible = PossibleMaster { since: Epoch::ZERO, generation: CopyGeneration(1) };
    assert_eq!(
        upset(&|w| {
            w.store_mut(&store(1)).possible_masters.insert(other.clone(), possible.clone());
        }),
        RetireBlock::PossibleMaster(other.clone())
    );
    assert_eq!(upset(&|w| w.store_mut(&store(1)).master = None), RetireBlock::NoMaster);
    let silent = upset(&|w| {
        let host = first(w).host;
        w.silent(&host, 60_000);
    });
    assert_eq!(silent, RetireBlock::Silent(BTreeSet::from([first(&world).host])));
}

#[test]
fn one_that_stopped_part_way_is_planned_from_where_it_is() {
    let mut world = World::running(4, 8, 4, 3);
    let master = world.cluster.stores[&store(1)].master.clone().unwrap();
    let half = |world: &mut World, fenced: bool| {
        let known = world.store_mut(&store(1));
        known.retired = true;
        known.master = None;
        known.copies.values_mut().for_each(|copy| copy.state = CopyState::Retired);
        let possible = PossibleMaster { since: known.epoch, generation: CopyGeneration(1) };
        known.possible_masters = if fenced { BTreeMap::new() } else { BTreeMap::from([(master.clone(), possible)]) };
    };
    half(&mut world, false);
    let plan = world.plan(retire(1)).unwrap();
    assert_eq!(plan.plan().tasks[0].kind, TaskKind::RetireStore { master: master.clone() });
    half(&mut world, true);
    let plan = world.plan(retire(1)).unwrap();
    assert!(plan.plan().tasks.iter().all(|task| matches!(task.kind, TaskKind::DestroyCopy { .. })));
    // Nobody fails it over, and nothing is built for it.
    let failover = world.plan(Intent::FailOverStore { store: store(1), to: None });
    assert_eq!(failover, Err(Refusal::NoHead(store(1))));
}

/// R11: the file never brings it back, and says so.
#[test]
fn r11_a_file_that_still_names_it_makes_nothing_and_says_so() {
    let mut world = World::running(4, 8, 4, 3);
    let gone = world.cluster.stores.remove(&store(1)).unwrap();
    let stone = Tombstone { epoch: gone.epoch, past: BTreeMap::new(), at: LogTime(1), wall: WallTime(1) };
    world.cluster.tombstones.insert(store(1), stone);
    assert_eq!(world.plan(retire(1)), Err(Refusal::NothingToDo(Nothing::StoreRetired(store(1)))));
    let same = world.plan(Intent::Apply(Box::new(file(4, 8, 4, 3))));
    let Err(Refusal::NothingToDo(nothing)) = same else { panic!("{same:?}") };
    assert!(nothing.to_string().contains("store1, retired for good"), "{nothing}");
    let more = world.plan(Intent::Apply(Box::new(file(4, 8, 5, 3)))).unwrap();
    assert_eq!(more.plan().stores(), BTreeSet::from([&store(5)]));
    assert!(more.plan().notes.iter().any(|note| note.heading == "RETIRED, NOT MADE" && note.text.contains("store1")));
    assert!(world.cluster.hosts.contains_key(&host(1)));
}
