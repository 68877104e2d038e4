//! A store that is retired: R2, R4, R11, S3 and S5, as `apply` enforces them.

use crate::plans::*;
use crate::world::*;
use slot_machine::apply::apply;
use slot_machine::command::*;
use slot_machine::state::*;
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::order::NeverWill;
use slot_types::plan::*;

fn retiring(world: &World) -> Vec<Task> {
    let (known, master) = (world.store(1), slot(1, 1));
    let steps = vec![internal(StepKind::RetireStore), at(StepKind::Demote, &master)];
    let mut tasks = vec![task(1, known.epoch, TaskKind::RetireStore { master }, steps)];
    for (number, (slot, copy)) in known.copies.iter().enumerate() {
        let kind = TaskKind::DestroyCopy { slot: slot.clone(), generation: copy.generation };
        let mut destroy = task(1, known.epoch, kind, vec![at(StepKind::Destroy, slot)]);
        destroy.after = vec![u16::try_from(number).unwrap()];
        tasks.push(destroy);
    }
    tasks
}

type Upset = fn(&mut Cluster, PossibleMaster);

fn retire() -> Intent {
    Intent::RetireStore(store(1))
}

#[test]
fn r11_nobody_serves_it_every_copy_goes_and_its_tombstone_stays() {
    let mut world = World::with_store();
    world.write(1, 10, &[]);
    let (before, slots) = (world.store(1).epoch, world.store(1).copies.clone());
    let tasks = retiring(&world);
    let id = world.start(retire(), tasks.clone());
    let demote = world.until(StepKind::Demote);
    // The point of no return: no route, no master, an epoch that is nobody's, and nothing is destroyed yet.
    let now = world.store(1);
    assert_eq!((now.retired, &now.master, &now.pending, &now.route), (true, &None, &None, &None));
    assert_eq!((now.epoch, demote.subject.as_ref().map(|s| s.epoch)), (before.next(), Some(before.next())));
    assert!(now.possible_masters.contains_key(&slot(1, 1)));
    assert!(!world.sends().iter().any(|(_, kind, _)| *kind == StepKind::Destroy), "R2: before the demote is durable");
    world.drive();
    assert_eq!(world.state.plans[&id].status, PlanStatus::Done, "{:?}", world.state.plans[&id].tasks);
    assert!(!world.cluster().stores.contains_key(&store(1)));
    let stone = &world.cluster().tombstones[&store(1)];
    assert_eq!(stone.epoch, before.next());
    for (slot, copy) in &slots {
        assert_eq!(stone.past[slot], copy.generation);
    }
    // Its slots are free, its name is not.
    world.create(2, &[slot(1, 1), slot(2, 1), slot(3, 1)]);
    let again = create(1, &[slot(1, 2), slot(2, 2), slot(3, 2)]);
    world.start(Intent::Apply(Box::new(fleet())), vec![again]);
    world.drive();
    assert!(world.blocked().iter().any(|why| why.starts_with("R11")), "{:?}", world.blocked());
    assert!(!world.cluster().stores.contains_key(&store(1)));
}

#[test]
fn s5_only_a_plan_that_asks_for_just_this_retires_a_store() {
    let mut world = World::with_store();
    let tasks = retiring(&world);
    for intent in
        [Intent::Rebalance(Default::default()), Intent::RetireStore(store(2)), Intent::Apply(Box::new(fleet()))]
    {
        let plan = world.plan(intent.clone(), tasks.clone());
        assert!(matches!(world.propose(&plan), Answer::Refused(Refused::BadPlan(_))), "{intent}");
    }
    let mut turned = tasks;
    turned[0].steps.swap(0, 1);
    let plan = world.plan(retire(), turned);
    assert!(matches!(world.propose(&plan), Answer::Refused(Refused::BadPlan(_))));
}

#[test]
fn r7_r3_it_does_not_begin_while_anything_of_it_is_open() {
    let possible = || PossibleMaster { since: epoch(1), generation: CopyGeneration(1) };
    let upsets: [(&str, Upset); 3] = [
        ("another may be master", |c, p| {
            c.stores.get_mut(&store(1)).unwrap().possible_masters.insert(slot(2, 1), p);
        }),
        ("an epoch is given away", |c, _| {
            let known = c.stores.get_mut(&store(1)).unwrap();
            (known.master, known.pending) = (None, Some(slot(2, 1)));
        }),
        ("its master moved", |c, _| c.stores.get_mut(&store(1)).unwrap().master = Some(slot(2, 1))),
    ];
    for (what, upset) in upsets {
        let mut world = World::with_store();
        let tasks = retiring(&world);
        let plan = world.plan(retire(), tasks);
        let id = world.record(&plan);
        world.approve(id, "ben").unwrap();
        upset(world.cluster_mut(), possible());
        let step = StepRef { plan: id, task: 0, step: 0 };
        let proposal = Proposal {
            request: None,
            log_time: world.state.log_time,
            wall: WallTime(5),
            command: world.start_step(step, 1),
        };
        let answer = apply(&mut world.state, LogIndex(9_000), Term(1), &proposal);
        assert!(matches!(answer, Answer::Refused(Refused::Precondition(_))), "{what}: {answer:?}");
        assert!(!world.store(1).retired, "{what}");
    }
}

#[test]
fn r4_a_retirement_that_is_aborted_keeps_what_no_agent_destroyed_and_goes_on_later() {
    let mut world = World::with_store();
    let tasks = retiring(&world);
    let id = world.start(retire(), tasks);
    let demote = world.until(StepKind::Demote);
    world.apply(Command::AbortPlan { plan: id, by: person("ben"), reason: "wait".into() });
    world.finish(demote.id, never(NeverWill::Engine("no".into())));
    assert!(world.state.plans[&id].status.is_ended(), "{:?}", world.state.plans[&id]);
    let left = world.store(1);
    assert!(left.retired && left.copies.len() == 3 && left.possible_masters.contains_key(&slot(1, 1)));
    // Nobody fails it over.
    let failover = waiving(&world, 1, &slot(1, 1), &slot(2, 1), FenceLevel::None);
    let plan = world.plan(Intent::FailOverSlot { slot: slot(1, 1), to: None }, vec![failover]);
    let sheet = world.record(&plan);
    world.dead.insert(host(1));
    world.approve(sheet, "ben").unwrap();
    assert!(matches!(world.approve(sheet, "cat"), Err(Refused::Precondition(why)) if why.contains("retired")));
    world.dead.clear();
    let tasks = retiring(&world);
    let id = world.start(retire(), tasks);
    world.drive();
    assert_eq!(world.state.plans[&id].status, PlanStatus::Done, "{:?}", world.state.plans[&id].tasks);
    assert!(world.cluster().tombstones.contains_key(&store(1)));
}
