//! What can't be brought back, followed or counted now is never called done, and the reason that is said is the one there is.

use crate::intents::with_loss_case;
use crate::world::*;
use slot_planner::{NotWell, Nothing, Refusal, WhyNot};
use slot_types::cluster::*;
use slot_types::engine::EngineRole;
use slot_types::ids::*;
use slot_types::plan::{Intent, Reverse, Settlement, TaskKind};
use std::collections::{BTreeMap, BTreeSet};

fn undo(masters: &[(StoreName, SlotId)], started: &[(SlotId, StoreName)], active: &[HostName]) -> Intent {
    let masters = masters.iter().cloned().collect();
    let started = started.iter().cloned().collect();
    let active = active.iter().cloned().collect();
    Intent::Undo(Box::new(Reverse { plan: PlanId(17), masters, started, active, stays: 0 }))
}

/// Found by the judge: with the former master's host silent, or the present master ill, the undo of a hand-over said that nothing of
/// it was left to bring back.
#[test]
fn an_undo_that_can_bring_nothing_back_now_says_why() {
    let mut world = World::running(3, 4, 1, 2);
    world.complete(world.plan(Intent::FailOverSlot { slot: slot("imap1/1"), to: None }).unwrap().plan());
    let back = undo(&[(store(1), slot("imap1/1"))], &[], &[]);
    assert!(world.plan(back.clone()).is_ok());
    let mut silent = world.clone();
    silent.silent(&host(1), 20_000);
    let because = BTreeMap::from([(store(1), Refusal::HostSilent(host(1)))]);
    assert_eq!(silent.plan(back.clone()), Err(Refusal::Undo { plan: PlanId(17), because }));
    let mut ill = world.clone();
    ill.said(&slot("imap2/1"), |status| status.role = EngineRole::Idle);
    let why = ill.plan(back.clone()).unwrap_err();
    assert!(
        matches!(&why, Refusal::Undo { because, .. }
        if matches!(because[&store(1)], Refusal::NotServed { why: NotWell::Engine { .. }, .. })),
        "{why}"
    );
    assert!(why.to_string().starts_with("nothing of what p17 did can be brought back now:\n  store1: "), "{why}");
    world.complete(world.plan(back.clone()).unwrap().plan());
    assert_eq!(world.plan(back), Err(Refusal::NothingToDo(Nothing::Undone(PlanId(17)))));
}

/// Found by reading, and by the judge: a drain whose host another, given up one had left Draining declares nothing, so its undo
/// declares nothing either; what it began on that host was refused by the checker as a defect of the planner.
#[test]
fn an_undo_begins_nothing_on_a_host_that_stays_out_of_service() {
    let mut world = World::running(3, 4, 3, 2);
    let mut plan = world.plan(Intent::DrainHost(host(1))).unwrap().plan().clone();
    plan.tasks.retain(|task| !matches!(task.kind, TaskKind::HostState { to: HostState::Maintenance, .. }));
    world.complete(&plan);
    assert_eq!(world.cluster.hosts[&host(1)].declared, HostState::Draining);
    let replica =
        world.cluster.copies_on(&host(1)).find(|(name, ..)| **name != store(1)).map(|(n, s, _)| (s.clone(), n.clone()));
    let (replica, of) = replica.unwrap();
    let back = undo(&[(store(1), slot("imap1/1"))], &[(slot("imap1/1"), store(1)), (replica, of.clone())], &[]);
    let why = world.plan(back).unwrap_err();
    let Refusal::Undo { because, .. } = &why else { panic!("{why:?}") };
    assert_eq!(because.keys().collect::<Vec<_>>(), [&store(1), &of]);
    let draining = |why: &Refusal| matches!(why, Refusal::HostIn { state: HostState::Draining, needed, .. } if needed.starts_with("slotctl undrain host"));
    assert!(because.values().all(|why| draining(why) || matches!(why, Refusal::CopyIn { .. })), "{why}");
    assert!(because.values().any(draining), "{why}");
}

/// Found by the judge: what an undo leaves as it is was named, and beside it stood that all is brought back.
#[test]
fn an_undo_that_leaves_something_does_not_say_that_all_is_brought_back() {
    let mut world = World::running(4, 4, 2, 2);
    for from in ["imap1/1", "imap2/2"] {
        if let Ok(plan) = world.plan(Intent::FailOverSlot { slot: slot(from), to: None }) {
            world.complete(plan.plan());
        }
    }
    let masters: Vec<(StoreName, SlotId)> = world
        .cluster
        .stores
        .iter()
        .map(|(name, store)| {
            let master = store.master.clone();
            (name.clone(), store.copies.keys().find(|slot| Some(*slot) != master.as_ref()).unwrap().clone())
        })
        .collect();
    let ends = |world: &World| {
        let plan = world.plan(undo(&masters, &[], &[])).unwrap();
        plan.plan().notes.iter().find(|note| note.heading == "UNDO ENDS").unwrap().text.clone()
    };
    assert!(ends(&world).starts_with("all that p17 did"));
    let master = world.cluster.stores[&store(2)].master.clone().unwrap();
    world.said(&master, |status| status.role = EngineRole::Idle);
    assert!(ends(&world).starts_with("all else that p17 did"), "{}", ends(&world));
}

/// Found by the judge: an Active host with a copy that a drain had stopped, of a store without a master, had "nothing to do".
#[test]
fn an_undrain_that_can_start_nothing_now_says_why() {
    let mut world = World::running(3, 4, 2, 2);
    let stopped = slot("imap3/1");
    let name = world.cluster.copy_on(&stopped).unwrap().0.clone();
    world.store_mut(&name).copies.get_mut(&stopped).unwrap().state = CopyState::Stopped;
    world.see_all();
    let asks = Intent::UndrainHost(host(3));
    assert!(world.plan(asks.clone()).is_ok());
    world.store_mut(&name).master = None;
    let because = BTreeMap::from([(name.clone(), Refusal::NotServed { store: name, why: NotWell::NoMaster })]);
    assert_eq!(world.plan(asks.clone()), Err(Refusal::Undrain { host: host(3), because }));
    let active = Intent::UndrainHost(host(1));
    assert_eq!(world.plan(active), Err(Refusal::NothingToDo(Nothing::Active(host(1)))));
}

/// Found by the judge: a master that an undrain could not hand back was handed back by none after it, since its host was Active.
#[test]
fn a_master_that_was_not_handed_back_is_handed_back_by_the_next_undrain() {
    let mut world = World::running(3, 4, 3, 2);
    world.complete(world.plan(Intent::DrainHost(host(1))).unwrap().plan());
    world.cluster.hosts.get_mut(&host(1)).unwrap().drained_masters = BTreeSet::from([store(1)]);
    let master = world.cluster.stores[&store(1)].master.clone().unwrap();
    world.said(&master, |status| status.role = EngineRole::Idle);
    let asks = Intent::UndrainHost(host(1));
    let first = world.plan(asks.clone()).unwrap();
    assert!(first.plan().notes.iter().any(|n| n.heading == "NOT POSSIBLE" && n.text.contains("store1")));
    world.complete(first.plan());
    assert_ne!(world.cluster.stores[&store(1)].master.as_ref().unwrap().host, host(1));
    let then = world.plan(asks.clone()).unwrap();
    let back = |task: &TaskKind| matches!(task, TaskKind::HandOver { to, .. } if to.host == host(1));
    assert!(then.plan().tasks.iter().any(|task| back(&task.kind)), "{:?}", then.plan().tasks);
    world.complete(then.plan());
    assert_eq!(world.plan(asks), Err(Refusal::NothingToDo(Nothing::Active(host(1)))));
}

/// Found by the judge of `reasons`: a former master that may still be one was called the master already.
#[test]
fn a_former_master_is_not_called_the_master() {
    let mut world = World::running(3, 4, 1, 3);
    let (former, pending) = (slot("imap2/1"), slot("imap3/1"));
    let known = world.store_mut(&store(1));
    let since = PossibleMaster { since: known.epoch, generation: CopyGeneration(1) };
    known.possible_masters.insert(former.clone(), since);
    (known.master, known.pending) = (None, Some(pending));
    let asks = Intent::FailOverSlot { slot: former.clone(), to: Some(former.clone()) };
    let why = WhyNot::OthersCan;
    assert_eq!(world.plan(asks), Err(Refusal::NotThisTarget { store: store(1), to: former, why }));
}

/// Found by reading: of the master that serves it was said that it is fenced, and that it follows its master.
#[test]
fn the_master_is_called_neither_fenced_nor_a_follower() {
    let world = World::running(3, 4, 1, 2);
    let master = slot("imap1/1");
    let fence = world.plan(Intent::FenceReturned { slot: master.clone() });
    assert_eq!(fence, Err(Refusal::FollowsNobody { slot: master.clone(), store: store(1) }));
    let count = world.plan(Intent::CountCopy { slot: master.clone() });
    assert_eq!(count, Err(Refusal::NothingToDo(Nothing::Whole(master))));
}

/// Found by reading: that a copy was stopped by a drain was told as a loss case about another copy.
#[test]
fn a_loss_case_of_a_stopped_copy_is_not_said_to_be_about_another() {
    let mut world = with_loss_case(LossState::Listed);
    let settle = Intent::SettleLoss { case: LossCaseId(12), how: Settlement::Discard };
    let next = |world: &World| match world.plan(settle.clone()) {
        Err(Refusal::CopyIn { next, .. }) => next,
        other => panic!("{other:?}"),
    };
    let old = slot("imap1/1");
    world.store_mut(&store(1)).copies.get_mut(&old).unwrap().state = CopyState::Stopped;
    assert!(next(&world).starts_with("it was stopped on purpose"), "{}", next(&world));
    world.store_mut(&store(1)).copies.get_mut(&old).unwrap().generation = CopyGeneration(2);
    assert!(next(&world).starts_with("its loss case is about another copy"), "{}", next(&world));
}

/// Found by reading: a former master that is not demoted yet, or that was set aside by a restore, was sent to a loss case that there is
/// none of.
#[test]
fn a_copy_without_a_loss_case_is_not_sent_to_one() {
    let mut world = with_loss_case(LossState::Listed);
    let old = slot("imap1/1");
    let follow = Intent::Follow { slot: old.clone() };
    let next = |world: &World| match world.plan(follow.clone()) {
        Err(Refusal::CopyIn { next, .. }) => next,
        other => panic!("{other:?}"),
    };
    assert!(next(&world).starts_with("settle its loss case first"));
    world.cluster.loss_cases.clear();
    assert!(next(&world).starts_with("it was set aside and no loss case says why"));
    let since = PossibleMaster { since: Epoch { generation: 0, n: 7 }, generation: CopyGeneration(1) };
    world.store_mut(&store(1)).possible_masters.insert(old.clone(), since);
    let slots = BTreeSet::from([old]);
    assert_eq!(world.plan(follow), Err(Refusal::PossibleMasters { store: store(1), slots }));
}
