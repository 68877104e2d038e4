//! Hand-over 7: a route is done when every front end serves it, and nobody else waits for that.

use crate::plans::*;
use crate::world::*;
use slot_machine::state::*;
use slot_types::front_end::FrontEndSpec;
use slot_types::ids::*;
use slot_types::plan::*;

fn fe(n: u8) -> FrontEndName {
    FrontEndName::new(format!("fe{n}")).unwrap()
}

/// Two stores with masters on h1, and so many front ends.
fn world(front_ends: u8) -> World {
    let mut world = World::with_store();
    world.create(2, &[slot(1, 2), slot(2, 2)]);
    let spec = FrontEndSpec { address: "10.1.9.1:7420".parse().unwrap(), render: Default::default() };
    world.cluster_mut().front_ends = (1..=front_ends).map(|n| (fe(n), spec.clone())).collect();
    world
}

fn move_away(world: &mut World, n: u8) -> PlanId {
    let (from, to) = (slot(1, n.into()), slot(2, n.into()));
    let mut task = hand_over(world, n, &from, &to);
    task.steps.push(internal(StepKind::RouteServed));
    world.start(Intent::FailOverSlot { slot: from, to: None }, vec![task])
}

fn status(world: &World, id: PlanId) -> PlanStatus {
    world.state.plans[&id].status.clone()
}

#[test]
fn a_hand_over_is_done_when_the_last_front_end_serves_it() {
    let mut world = world(2);
    let id = move_away(&mut world, 1);
    world.drive();
    assert_eq!(status(&world, id), PlanStatus::Running);
    let route = world.store(1).route.clone().unwrap();
    assert_eq!(route.slot, slot(2, 1), "clients are sent on all the same");
    for (n, at) in [(1, route.revision), (2, Revision(route.revision.0 - 1))] {
        world.serving.insert(fe(n), at);
    }
    world.drive();
    assert_eq!(status(&world, id), PlanStatus::Running, "fe2 serves the revision before");
    world.serving.insert(fe(2), route.revision);
    world.drive();
    assert_eq!(status(&world, id), PlanStatus::Done);
}

#[test]
fn a_front_end_that_is_away_holds_up_no_other_promotion() {
    let mut world = world(1);
    world.cluster_mut().policy.handover_at_once = 1;
    let first = move_away(&mut world, 1);
    world.drive();
    let second = move_away(&mut world, 2);
    world.drive();
    assert_eq!(world.store(2).route.as_ref().unwrap().slot, slot(2, 2));
    assert_eq!([status(&world, first), status(&world, second)], [PlanStatus::Running, PlanStatus::Running]);
    // Whoever gives the front end up has both plans end.
    world.cluster_mut().front_ends.clear();
    world.drive();
    assert_eq!([status(&world, first), status(&world, second)], [PlanStatus::Done, PlanStatus::Done]);
}
