//! The checker against plans that are almost right: every change of one must be refused.

use crate::world::*;
use slot_planner::CheckedPlan;
use slot_planner::check::{Fault, check};
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::plan::*;
use std::collections::BTreeSet;

/// Facts, people and evidence as they should be, so that only the mutation itself can be what is refused.
fn mend(world: &World, plan: &mut Plan) {
    plan.two_because = two_people_because(plan, &world.cluster.policy);
    plan.people = people_needed(plan, &world.cluster.policy);
}

fn refused(world: &World, plan: &CheckedPlan, what: &str, change: impl Fn(&mut Plan)) {
    let mut mutant = plan.plan().clone();
    change(&mut mutant);
    assert_ne!(&mutant, plan.plan(), "{what} changes nothing");
    mend(world, &mut mutant);
    let verdict = check(&world.cluster, &world.evidence, world.inputs.fleet_version, mutant);
    assert!(verdict.is_err(), "{what} passes the checker");
}

fn plans() -> Vec<(World, CheckedPlan)> {
    let mut all = Vec::new();
    let world = World::empty();
    all.push((world.clone(), world.plan(Intent::Apply(Box::new(file(4, 8, 4, 3)))).unwrap()));
    let mut world = World::running(4, 8, 8, 3);
    let drain = world.plan(Intent::DrainHost(host(2))).unwrap();
    all.push((world.clone(), drain.clone()));
    all.push((world.clone(), world.plan(Intent::FailOverSlot { slot: slot("imap1/1"), to: None }).unwrap()));
    let mut dead = world.clone();
    dead.silent(&host(1), 20_000);
    dead.attest(&host(1));
    all.push((dead.clone(), dead.plan(Intent::FailOverHost(host(1))).unwrap()));
    all.push((world.clone(), world.plan(Intent::EmptyHost(host(2))).unwrap()));
    all.push((world.clone(), world.plan(Intent::MoveCopy { slot: slot("imap1/1"), to: None }).unwrap()));
    all.push((world.clone(), world.plan(Intent::RetireStore(store(2))).unwrap()));
    world.complete(drain.plan());
    all.push((world.clone(), world.plan(Intent::UndrainHost(host(2))).unwrap()));
    all
}

#[test]
fn a_step_left_out_doubled_exchanged_or_elsewhere() {
    for (world, plan) in plans() {
        for (number, task) in plan.plan().tasks.iter().enumerate() {
            for step in 0..task.steps.len() {
                let what = |change: &str| format!("{}: task {number} step {step} {change}", plan.plan().intent);
                refused(&world, &plan, &what("left out"), |p| {
                    p.tasks[number].steps.remove(step);
                });
                refused(&world, &plan, &what("doubled"), |p| {
                    let again = p.tasks[number].steps[step].clone();
                    p.tasks[number].steps.insert(step, again);
                });
                refused(&world, &plan, &what("without a deadline"), |p| p.tasks[number].steps[step].deadline_ms = 0);
                if step > 0 && task.steps[step] != task.steps[step - 1] {
                    refused(&world, &plan, &what("exchanged"), |p| p.tasks[number].steps.swap(step, step - 1));
                }
                if let Some(Place::Slot(at)) = &task.steps[step].at {
                    let elsewhere = SlotId::new(at.host.clone(), at.number + 1);
                    refused(&world, &plan, &what("elsewhere"), |p| {
                        p.tasks[number].steps[step].at = Some(Place::Slot(elsewhere.clone()));
                    });
                }
            }
        }
    }
}

#[test]
fn a_task_left_out_doubled_or_of_another_epoch() {
    for (world, plan) in plans() {
        for number in 0..plan.plan().tasks.len() {
            let what = |change: &str| format!("{}: task {number} {change}", plan.plan().intent);
            let about_host = matches!(plan.plan().intent, Intent::FailOverHost(_) | Intent::UndrainHost(_));
            if !about_host {
                refused(&world, &plan, &what("left out"), |p| {
                    p.tasks.remove(number);
                });
            }
            refused(&world, &plan, &what("doubled"), |p| {
                let again = p.tasks[number].clone();
                p.tasks.push(again);
            });
            refused(&world, &plan, &what("of the next epoch"), |p| {
                p.tasks[number].epoch = p.tasks[number].epoch.next();
            });
            if !plan.plan().tasks[number].after.is_empty() {
                refused(&world, &plan, &what("waiting for nothing"), |p| p.tasks[number].after.clear());
            }
            let own = u16::try_from(number).unwrap();
            refused(&world, &plan, &what("waiting for itself"), |p| p.tasks[number].after.push(own));
            refused(&world, &plan, &what("of another store"), |p| {
                p.tasks[number].store = match &p.tasks[number].store {
                    Some(_) => None,
                    None => Some(store(1)),
                };
            });
        }
    }
}

#[test]
fn a_head_that_does_not_fit() {
    for (world, plan) in plans() {
        let intent = plan.plan().intent.clone();
        let what = |change: &str| format!("{intent}: {change}");
        refused(&world, &plan, &what("another cluster"), |p| p.cluster = ClusterId([1; 16]));
        refused(&world, &plan, &what("another generation"), |p| p.generation += 1);
        refused(&world, &plan, &what("nobody asks"), |p| p.requested_by = None);
        refused(&world, &plan, &what("silent hosts"), |p| p.silent_hosts += 1);
        if plan.plan().failovers().next().is_some() {
            let mut braking = world.clone();
            braking.cluster.policy.brake_silent_hosts = 0;
            let (evidence, version) = (&braking.evidence, braking.inputs.fleet_version);
            let mut unasked = plan.plan().clone();
            mend(&braking, &mut unasked);
            assert_eq!(check(&braking.cluster, evidence, version, unasked), Err(Fault::Brake(1)));
        }
        refused(&world, &plan, &what("no evidence"), |p| p.evidence.taken_at = LogTime(1));
        refused(&world, &plan, &what("another intent"), |p| p.intent = Intent::DrainHost(host(4)));
        refused(&world, &plan, &what("no tasks"), |p| p.tasks.clear());
        for entity in plan.plan().facts.keys() {
            refused(&world, &plan, &what("a fact left out"), |p| {
                p.facts.remove(entity);
            });
            refused(&world, &plan, &what("a fact of another version"), |p| {
                *p.facts.get_mut(entity).unwrap() += 1;
            });
        }
        refused(&world, &plan, &what("a fact too many"), |p| {
            p.facts.insert(EntityRef::LossCase(LossCaseId(1)), 0);
        });
        let mut fewer = plan.plan().clone();
        fewer.people = 0;
        assert!(check(&world.cluster, &world.evidence, world.inputs.fleet_version, fewer).is_err());
    }
}

#[test]
fn s9_copies_brought_together_or_put_on_a_used_slot() {
    let (world, plan) = plans().remove(0);
    let create = |p: &mut Plan, change: &dyn Fn(&mut std::collections::BTreeMap<SlotId, CopyGeneration>)| {
        if let TaskKind::CreateStore { copies, .. } = &mut p.tasks[1].kind {
            change(copies);
        }
    };
    for slot in (1..=4).flat_map(|h| (1..=8).map(move |n| SlotId::new(host(h), n))) {
        let TaskKind::CreateStore { copies, .. } = &plan.plan().tasks[1].kind else { panic!("no store") };
        if !copies.contains_key(&slot) {
            refused(&world, &plan, &format!("a copy more on {slot}"), |p| {
                create(p, &|copies| {
                    copies.insert(slot.clone(), CopyGeneration(1));
                });
            });
        }
    }
    refused(&world, &plan, "an older generation", |p| {
        create(p, &|copies| copies.values_mut().for_each(|g| *g = CopyGeneration(0)));
    });
}

#[test]
fn r3_r7_a_failover_that_claims_more_than_it_may() {
    let (world, plan) = plans().remove(3);
    let failover = |p: &mut Plan, change: &dyn Fn(&mut TaskKind)| change(&mut p.tasks[0].kind);
    let change = |what: &str, change: &dyn Fn(&mut TaskKind)| refused(&world, &plan, what, |p| failover(p, change));
    change("no waiver", &|k| {
        if let TaskKind::FailOver { waived, .. } = k {
            waived.clear();
        }
    });
    change("a waiver of somebody else", &|k| {
        if let TaskKind::FailOver { waived, to, .. } = k {
            *waived = BTreeSet::from([to.clone()]);
        }
    });
    for level in [FenceLevel::Demoted, FenceLevel::None] {
        change("another fence", &|k| {
            if let TaskKind::FailOver { fence, .. } = k {
                *fence = level;
            }
        });
    }
    change("nothing is lost", &|k| {
        if let TaskKind::FailOver { loss, .. } = k {
            loss.class = LossClass::NoneProvable;
        }
    });
    change("another candidate", &|k| {
        if let TaskKind::FailOver { loss, .. } = k {
            loss.candidate.position.length -= 1;
        }
    });
    change("another report", &|k| {
        if let TaskKind::FailOver { loss, .. } = k {
            loss.last_known_age_ms = Some(1);
        }
    });
    change("somebody unreachable", &|k| {
        if let TaskKind::FailOver { unreachable, from, .. } = k {
            unreachable.insert(from.clone());
        }
    });
    change("a master given to itself", &|k| {
        if let TaskKind::FailOver { to, from, .. } = k {
            to.clone_from(from);
        }
    });
}
