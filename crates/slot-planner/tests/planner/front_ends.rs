//! Front ends in plans: the file that names them, and the wait at the end of whatever moves a route.

use crate::world::*;
use slot_planner::{Nothing, Refusal};
use slot_types::front_end::FrontEndSpec;
use slot_types::ids::*;
use slot_types::plan::*;

#[test]
fn a_file_adds_changes_and_ends_front_ends_and_every_moved_route_waits_for_them() {
    let mut world = World::running(4, 4, 3, 2);
    let mut file = file(4, 4, 3, 2);
    let name = FrontEndName::new("fe1").unwrap();
    let spec =
        FrontEndSpec { address: "10.1.9.7:7420".parse().unwrap(), render: [MapName::new("json").unwrap()].into() };
    file.front_ends.insert(name, spec);
    let plan = world.plan(Intent::Apply(Box::new(file.clone()))).unwrap();
    assert_eq!(plan.plan().notes[0].text, "new front end fe1 at 10.1.9.7:7420 renders json");
    world.cluster.front_ends = file.front_ends.clone();
    let again = world.plan(Intent::Apply(Box::new(file.clone())));
    assert!(matches!(again, Err(Refusal::NothingToDo(Nothing::FleetAsFile { .. }))), "{again:?}");
    let drain = world.plan(Intent::DrainHost(host(1))).unwrap();
    let moves = drain.plan().tasks.iter().filter(|t| matches!(t.kind, TaskKind::HandOver { .. }));
    let ends: Vec<StepKind> = moves.map(|t| t.steps.last().unwrap().kind).collect();
    assert!(!ends.is_empty() && ends.iter().all(|kind| *kind == StepKind::RouteServed), "{ends:?}");
    file.front_ends.clear();
    let gone = world.plan(Intent::Apply(Box::new(file))).unwrap();
    assert_eq!(gone.plan().notes[0].text, "fe1 is no front end any more: nothing waits for it");
}
