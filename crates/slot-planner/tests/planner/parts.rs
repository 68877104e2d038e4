//! One store by name, one class of a dead host's sheet, and the brake of R23.

use crate::world::{World, host, slot, store, tip};
use slot_planner::{Nothing, Refusal};
use slot_types::cluster::{LossClass, PossibleMaster};
use slot_types::ids::*;
use slot_types::plan::{Intent, Plan, TaskKind};
use std::collections::BTreeSet;

/// A dead host with three masters, of which one's replica is behind; its fence alone asks for nobody.
fn dead() -> World {
    let mut world = World::running(4, 8, 12, 2);
    world.cluster.policy.two_if_unfenced = false;
    world.silent(&host(1), 20_000);
    world.attest(&host(1));
    world.said(&slot("imap2/1"), |s| s.tip = tip(s.epoch, 10));
    world
}

fn classes(plan: &Plan) -> Vec<LossClass> {
    plan.failovers().map(|(_, _, loss)| loss.class).collect()
}

fn later(plan: &Plan) -> Vec<&str> {
    plan.notes.iter().filter(|n| n.heading == "NOT IN THIS PLAN").map(|n| n.text.as_str()).collect()
}

#[test]
fn s5_what_one_person_can_approve_does_not_wait_for_two() {
    let mut world = dead();
    let plan = world.plan(Intent::FailOverHost(host(1))).unwrap().plan().clone();
    assert_eq!((classes(&plan), plan.people), (vec![LossClass::CaughtUp; 2], 1));
    assert_eq!(later(&plan), ["LAGGING: 1 store, store1\nslotctl failover store store1"]);
    world.complete(&plan);
    world.silent(&host(1), 30_000);
    world.attest(&host(1));
    world.said(&slot("imap2/1"), |s| s.tip = tip(s.epoch, 10));
    // What is left is a sheet of its own, which two people are asked for.
    let rest = world.plan(Intent::FailOverHost(host(1))).unwrap().plan().clone();
    assert_eq!((classes(&rest), rest.people, later(&rest).len()), (vec![LossClass::Lagging], 2, 0));
}

#[test]
fn classes_are_asked_for_by_name() {
    let world = dead();
    let of = |classes: &[LossClass]| {
        let intent = Intent::FailOverClasses { host: host(1), classes: classes.iter().copied().collect() };
        world.plan(intent).map(|checked| checked.plan().clone())
    };
    let all = of(&LossClass::ALL).unwrap();
    assert_eq!((all.failovers().count(), all.people, later(&all).len()), (3, 2, 0));
    let lagging = of(&[LossClass::Lagging]).unwrap();
    assert_eq!((classes(&lagging), lagging.people), (vec![LossClass::Lagging], 2));
    assert!(later(&lagging)[0].ends_with("slotctl failover host imap1 --class caught-up"), "{:?}", later(&lagging));
    let none = of(&[LossClass::Unknown]).unwrap_err();
    assert!(matches!(none, Refusal::NothingToDo(Nothing::NoneOfClass { .. })), "{none}");
    assert!(none.to_string().ends_with("with a loss of unknown; its sheet has 2 caught-up, 1 lagging"), "{none}");
}

/// Both parts of a sheet go where the whole sheet would have gone: no host is filled twice.
#[test]
fn a_part_keeps_the_targets_of_the_whole_sheet() {
    let world = dead();
    let targets = |intent: Intent| -> BTreeSet<(Option<StoreName>, SlotId)> {
        let plan = world.plan(intent).unwrap().plan().clone();
        let to = |kind: &TaskKind| if let TaskKind::FailOver { to, .. } = kind { Some(to.clone()) } else { None };
        plan.tasks.iter().filter_map(|task| Some((task.store.clone(), to(&task.kind)?))).collect()
    };
    let of =
        |classes: &[LossClass]| Intent::FailOverClasses { host: host(1), classes: classes.iter().copied().collect() };
    let mut parts = targets(of(&[LossClass::Lagging]));
    parts.extend(targets(of(&[LossClass::CaughtUp])));
    assert_eq!(parts, targets(of(&LossClass::ALL)));
}

#[test]
fn a_store_is_failed_over_wherever_its_master_is() {
    let mut world = World::running(4, 8, 4, 3);
    let asked = |to: Option<SlotId>| Intent::FailOverStore { store: store(1), to };
    let plan = world.plan(asked(Some(slot("imap3/1")))).unwrap().plan().clone();
    let task = &plan.tasks[0].kind;
    assert_eq!(*task, TaskKind::HandOver { from: slot("imap1/1"), to: slot("imap3/1") });
    assert_eq!(world.plan(Intent::FailOverStore { store: store(9), to: None }), Err(Refusal::UnknownStore(store(9))));
    // Without a master it is about the slot that may still be one; of several a person says which.
    let since = PossibleMaster { since: world.store_mut(&store(1)).epoch, generation: CopyGeneration(1) };
    let record = world.store_mut(&store(1));
    record.master = None;
    assert_eq!(world.plan(asked(None)), Err(Refusal::NoHead(store(1))));
    let record = world.store_mut(&store(1));
    record.possible_masters.insert(slot("imap1/1"), since.clone());
    record.possible_masters.insert(slot("imap2/1"), since);
    let both = BTreeSet::from([slot("imap1/1"), slot("imap2/1")]);
    assert_eq!(world.plan(asked(None)), Err(Refusal::ManyHeads { store: store(1), slots: both }));
    world.store_mut(&store(1)).possible_masters.remove(&slot("imap2/1"));
    world.silent(&host(1), 20_000);
    world.attest(&host(1));
    let plan = world.plan(asked(None)).unwrap().plan().clone();
    assert!(matches!(&plan.tasks[0].kind, TaskKind::FailOver { from, .. } if *from == slot("imap1/1")), "{plan:?}");
}

/// R23: more silent hosts than policy allows stop every unplanned failover until somebody says to know; planned work goes on.
#[test]
fn r23_many_silent_hosts_brake() {
    let mut world = World::running(6, 8, 12, 2);
    world.cluster.policy.brake_silent_hosts = 1;
    for n in [1, 4] {
        world.silent(&host(n), 20_000);
        world.attest(&host(n));
    }
    let ask = Intent::FailOverHost(host(1));
    let refused = world.plan(ask.clone()).unwrap_err();
    let hosts = BTreeSet::from([host(1), host(4)]);
    assert_eq!(refused, Refusal::Brake { silent: 2, allowed: 1, hosts });
    assert!(refused.to_string().contains("imap1 imap4") && refused.to_string().contains("--mass"), "{refused}");
    let planned = |n| world.plan(Intent::FailOverStore { store: store(n), to: None });
    assert!((1..=12).filter_map(|n| planned(n).ok()).any(|plan| plan.plan().failovers().count() == 0));
    world.inputs.said.mass = true;
    let plan = world.plan(ask).unwrap().plan().clone();
    assert_eq!((plan.people, plan.said.mass, plan.silent_hosts), (2, true, 2));
}
