//! Holds: what a person's "hands off" keeps from starting, and what it does not (docs/adr/0019).

use crate::plans::*;
use crate::world::*;
use slot_machine::command::*;
use slot_machine::state::*;
use slot_types::cluster::*;
use slot_types::hold::HoldOn;
use slot_types::ids::*;
use slot_types::plan::*;

fn hold(on: &HoldOn, by: &str) -> Command {
    Command::Hold { on: on.clone(), by: person(by), reason: "hands off".into() }
}
fn release(on: &HoldOn, by: &str) -> Command {
    Command::Release { on: on.clone(), by: person(by), reason: "go on".into() }
}
fn done(changed: bool, running: &[PlanId]) -> Answer {
    Answer::Hold { changed, running: running.to_vec() }
}
fn to_h2(world: &World) -> (Intent, Task) {
    (Intent::FailOverSlot { slot: slot(1, 1), to: None }, hand_over(world, 1, &slot(1, 1), &slot(2, 1)))
}
/// Everything that covers store1, whose copies are on h1, h2 and h3.
fn covers() -> [HoldOn; 5] {
    let on = |h| HoldOn::Host(host(h));
    [HoldOn::All, HoldOn::Store(store(1)), on(1), on(2), on(3)]
}
fn is_held(answer: &Answer, on: &HoldOn) -> bool {
    matches!(answer, Answer::Refused(Refused::Held(held)) if held.on == *on && held.hold.by == person("ben"))
}

#[test]
fn nothing_a_person_asked_for_starts_while_it_is_held() {
    for on in covers() {
        let mut world = World::with_store();
        let (intent, task) = to_h2(&world);
        let plan = world.plan(intent, vec![task]);
        let id = world.record(&plan);
        assert_eq!(world.apply(hold(&on, "ben")), done(true, &[]));
        let yes = world.approval(id, "ben");
        let answer = world.apply(yes.clone());
        assert!(is_held(&answer, &on), "{on}: {answer:?}");
        assert!(format!("{answer:?}").contains("hands off"), "why is said");
        assert_eq!(world.state.plans[&id].status, PlanStatus::Proposed);
        assert_eq!(world.apply(release(&on, "cat")), done(true, &[]));
        assert_eq!(world.apply(yes), Answer::Plan { id, people_missing: 0 });
        world.drive();
        assert_eq!(world.store(1).master, Some(slot(2, 1)), "{on}");
    }
}

/// A person's word stands before another person's: an unplanned failover waits too, and the epoch is not touched.
#[test]
fn no_failover_starts_while_it_is_held() {
    for on in covers() {
        let mut world = World::with_store();
        world.dead.insert(host(1));
        world.attest(1, "ann");
        let task = waiving(&world, 1, &slot(1, 1), &slot(2, 1), FenceLevel::Attested);
        let plan = world.plan(Intent::FailOverHost(host(1)), vec![task]);
        let id = world.record(&plan);
        world.ok(hold(&on, "ben"));
        assert_eq!(world.approve(id, "ben"), Ok(1), "the first of two starts nothing");
        assert!(matches!(world.approve(id, "cat"), Err(Refused::Held(_))), "{on}");
        assert_eq!(world.store(1).epoch, epoch(1));
        world.ok(release(&on, "ben"));
        assert_eq!(world.approve(id, "cat"), Ok(0));
    }
}

#[test]
fn a_drain_of_a_held_host_waits_and_other_hosts_do_not() {
    let mut world = World::with_store();
    world.ok(hold(&HoldOn::Host(host(4)), "ben"));
    let drain = |world: &mut World, h| {
        let plan = world.plan(Intent::DrainHost(host(h)), vec![host_state(h, HostState::Draining)]);
        let id = world.record(&plan);
        world.approve(id, "ben")
    };
    assert!(matches!(drain(&mut world, 4), Err(Refused::Held(_))));
    assert_eq!(drain(&mut world, 3), Ok(0));
    let (intent, task) = to_h2(&world);
    world.start(intent, vec![task]);
    world.drive();
    assert_eq!(world.store(1).master, Some(slot(2, 1)), "store1 has nothing on h4");
}

/// R25: the same master elsewhere is started again although a replica's host is held; what is held itself is not.
#[test]
fn r25_everyday_recovery_waits_where_it_would_touch_what_is_held() {
    let starts: [(HoldOn, [bool; 2]); 5] = [
        (HoldOn::All, [false, false]),
        (HoldOn::Store(store(1)), [false, false]),
        (HoldOn::Host(host(1)), [false, true]),
        (HoldOn::Host(host(2)), [true, false]),
        (HoldOn::Host(host(3)), [true, true]),
    ];
    for (on, [master, replica]) in starts {
        let mut world = World::with_store();
        world.ok(hold(&on, "ben"));
        for (may, intent, task) in [
            (master, Intent::StartMaster { slot: slot(1, 1) }, start_master(&world, 1, &slot(1, 1))),
            (replica, Intent::Follow { slot: slot(2, 1) }, follow(&world, 1, &slot(2, 1))),
        ] {
            let slot = if matches!(intent, Intent::Follow { .. }) { slot(2, 1) } else { slot(1, 1) };
            let plan = world.plan(intent, vec![task]);
            let plans = world.state.plans.len();
            assert_eq!(!world.cluster().is_held(&store(1), &slot), may, "the proposer knows beforehand: {on}");
            let answer = world.propose(&plan);
            assert_eq!(matches!(answer, Answer::Plan { .. }), may, "{on}: {answer:?}");
            assert!(may || is_held(&answer, &on), "{on}: {answer:?}");
            assert_eq!(world.state.plans.len(), plans + usize::from(may), "what is refused leaves nothing behind");
            world.drive();
        }
        world.ok(release(&on, "ben"));
        for (intent, task) in [
            (Intent::StartMaster { slot: slot(1, 1) }, start_master(&world, 1, &slot(1, 1))),
            (Intent::Follow { slot: slot(2, 1) }, follow(&world, 1, &slot(2, 1))),
        ] {
            let plan = world.plan(intent, vec![task]);
            world.record(&plan);
            world.drive();
        }
    }
}

/// R8, R28: the standing Demote is never kept from starting, whoever holds what.
#[test]
fn r8_a_returned_master_is_fenced_whatever_is_held() {
    for on in covers() {
        let mut world = World::with_store();
        world.write(1, 3, &[slot(1, 1)]);
        world.dead.insert(host(1));
        world.attest(1, "ann");
        let task = waiving(&world, 1, &slot(1, 1), &slot(2, 1), FenceLevel::Attested);
        world.start(Intent::FailOverHost(host(1)), vec![task]);
        world.drive();
        world.ok(hold(&on, "ben"));
        world.dead.clear();
        world.seen(1, 2);
        let fence = Intent::FenceReturned { slot: slot(1, 1) };
        // Nothing else slips through under its name.
        let other = world.plan(fence.clone(), vec![follow(&world, 1, &slot(3, 1))]);
        assert!(matches!(world.propose(&other), Answer::Refused(_)));
        let plan = world.plan(fence, vec![fence_returned(&world, 1, &slot(1, 1))]);
        let id = world.record(&plan);
        world.drive();
        assert_eq!(world.state.plans[&id].status, PlanStatus::Done, "{on}");
        assert!(world.store(1).possible_masters.is_empty(), "{on}");
    }
}

/// R18: a hold pauses nothing; the answer names what goes on, the plan ends as if there was no hold, and the next one waits.
#[test]
fn r18_a_running_plan_goes_on_and_is_named() {
    for on in covers() {
        let mut world = World::with_store();
        let (intent, task) = to_h2(&world);
        let id = world.start(intent, vec![task]);
        world.until(StepKind::Freeze);
        assert_eq!(world.apply(hold(&on, "ben")), done(true, &[id]));
        assert_eq!(world.apply(hold(&on, "ben")), done(false, &[id]), "said twice, held once");
        world.drive();
        assert_eq!(world.state.plans[&id].status, PlanStatus::Done);
        assert_eq!(world.store(1).master, Some(slot(2, 1)));
        let back = hand_over(&world, 1, &slot(2, 1), &slot(1, 1));
        let plan = world.plan(Intent::FailOverSlot { slot: slot(2, 1), to: None }, vec![back]);
        let next = world.record(&plan);
        assert!(matches!(world.approve(next, "ben"), Err(Refused::Held(_))));
    }
    let mut world = World::with_store();
    let (intent, task) = to_h2(&world);
    world.start(intent, vec![task]);
    assert_eq!(world.apply(hold(&HoldOn::Host(host(4)), "ben")), done(true, &[]), "it does not touch h4");
}

/// S12: who held and who released it is in the audit; what changes nothing leaves no trace.
#[test]
fn s12_holds_are_bounded_idempotent_and_audited() {
    let mut world = World::with_store();
    let on = HoldOn::Host(host(1));
    let events = |world: &World| {
        let all = world.state.audit.entries.iter();
        all.map(|e| format!("{}: {}", e.actor, e.event))
            .filter(|e| e.contains("hold ") || e.contains("release "))
            .collect()
    };
    world.ok(Command::Hold { on: on.clone(), by: person("ben"), reason: "x".repeat(5_000) });
    assert_eq!(world.cluster().holds[&on].reason.len(), 1_024);
    world.ok(release(&on, "ben"));
    assert_eq!(world.apply(release(&on, "ben")), done(false, &[]));
    assert_eq!(world.apply(hold(&on, "ben")), done(true, &[]));
    let first = world.cluster().holds[&on].clone();
    world.now += 9_000;
    assert_eq!(world.apply(hold(&on, "ben")), done(false, &[]));
    assert_eq!(world.cluster().holds[&on], first, "since when stays");
    assert!(matches!(world.refused(hold(&on, "cat")), Refused::Held(held) if held.hold == first));
    assert_eq!(world.refused(hold(&HoldOn::Host(host(9)), "ben")), Refused::UnknownHost(host(9)));
    assert_eq!(world.refused(hold(&HoldOn::Store(store(9)), "ben")), Refused::UnknownStore(store(9)));
    assert_eq!(world.refused(release(&HoldOn::Store(store(9)), "ben")), Refused::UnknownStore(store(9)));
    world.ok(release(&on, "cat"));
    assert!(world.cluster().holds.is_empty());
    let events: Vec<String> = events(&world);
    assert_eq!(events[1..3], ["ben: release host h1, held by ben: go on", "ben: hold host h1: hands off"]);
    assert!(events[3].starts_with("cat: refused: hold host h1: refused: host h1 is held by ben since "), "{events:?}");
    assert_eq!(events.last().unwrap(), "cat: release host h1, held by ben: go on");
    let restored = State::restore(&world.state.snapshot()).unwrap();
    assert_eq!(restored, world.state);
}

/// R21: a retry is answered as the first time, even when another has released it in between.
#[test]
fn r21_a_retried_hold_is_answered_not_repeated() {
    let mut world = World::with_store();
    let Answer::Session(session) = world.apply(Command::OpenSession) else { panic!() };
    let ask = Some(RequestId { session, sequence: 1 });
    let first = world.submit(ask, hold(&HoldOn::All, "ben"));
    world.ok(release(&HoldOn::All, "cat"));
    assert_eq!(world.submit(ask, hold(&HoldOn::All, "ben")), first);
    assert!(world.cluster().holds.is_empty());
}
