//! Stores that have no master and nobody better than the last resort (L1).

use super::intents::with_loss_case;
use crate::world::*;
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::plan::*;

/// Found by the simulator, seeds 137 and 275: the checker took the slot that the sheet is about, to which an epoch had been given
/// and never filled, for another one that could lead, and refused the plan.
#[test]
fn l1_the_slot_a_sheet_is_about_does_not_stand_in_the_way_of_the_last_resort() {
    let mut world = with_loss_case(LossState::AwaitingReturn);
    let (old, pending) = (slot("imap1/1"), slot("imap2/1"));
    let known = world.store_mut(&store(1));
    (known.master, known.pending, known.promote_started) = (None, Some(pending.clone()), true);
    let since = PossibleMaster { since: known.epoch, generation: CopyGeneration(1) };
    known.possible_masters.insert(old.clone(), since);
    known.copies.get_mut(&pending).unwrap().role = Role::Replica;
    world.see_all();
    world.said(&old, |status| status.role = slot_types::engine::EngineRole::Demoted);
    let plan = world.plan(Intent::FailOverSlot { slot: pending, to: None }).unwrap();
    let TaskKind::FailOver { to, .. } = &plan.plan().tasks[0].kind else { panic!("no failover") };
    assert_eq!(*to, old);
}

/// Found by the simulator, seeds 10052, 14787 and 17935: an epoch was given to the only whole copy, the plan was aborted before its
/// Promote, and nothing could make it master any more: a sheet about a slot never chose the slot itself.
#[test]
fn l1_a_slot_that_was_to_be_master_is_the_last_way_of_its_own_sheet() {
    let mut world = World::running(2, 4, 1, 2);
    let (pending, other) = (slot("imap1/1"), slot("imap2/1"));
    let known = world.store_mut(&store(1));
    let since = PossibleMaster { since: known.epoch, generation: CopyGeneration(1) };
    known.possible_masters.insert(pending.clone(), since);
    (known.master, known.pending, known.epoch) = (None, Some(pending.clone()), known.epoch.next());
    known.copies.get_mut(&pending).unwrap().role = Role::Replica;
    known.copies.get_mut(&other).unwrap().state = CopyState::Building;
    world.see_all();
    for intent in [
        Intent::FailOverSlot { slot: pending.clone(), to: None },
        Intent::FailOverSlot { slot: pending.clone(), to: Some(pending.clone()) },
        Intent::FailOverStore { store: store(1), to: None },
    ] {
        let plan = world.plan(intent).unwrap();
        let task = &plan.plan().tasks[0];
        let TaskKind::FailOver { from, to, waived, loss, .. } = &task.kind else { panic!("no failover") };
        assert_eq!((from, to, waived.len(), loss.class), (&pending, &pending, 0, LossClass::NoneProvable));
        assert!(!task.steps.iter().any(|step| step.kind == StepKind::Demote), "{:?}", task.steps);
    }
    // While another copy can lead, it does; and a master is not promoted over itself.
    world.store_mut(&store(1)).copies.get_mut(&other).unwrap().state = CopyState::Serving;
    world.see_all();
    let plan = world.plan(Intent::FailOverStore { store: store(1), to: None }).unwrap();
    assert!(matches!(&plan.plan().tasks[0].kind, TaskKind::FailOver { to, .. } if *to == other));
    let known = world.store_mut(&store(1));
    (known.master, known.pending) = (Some(pending.clone()), None);
    world.see_all();
    assert!(world.plan(Intent::FailOverSlot { slot: pending.clone(), to: Some(pending) }).is_err());
}
