//! Hosts filled on a live cluster: they get their share, and nothing else gets anything.

use crate::world::*;
use proptest::prelude::*;
use slot_planner::{Nothing, Refusal};
use slot_types::cluster::*;
use slot_types::hold::{Held, Hold, HoldOn};
use slot_types::ids::*;
use slot_types::plan::*;
use std::collections::BTreeSet;

fn fill(hosts: &[usize]) -> Intent {
    Intent::Fill { hosts: hosts.iter().map(|n| host(*n)).collect(), budget: Budget::default() }
}

fn with_two_empty_hosts() -> World {
    let mut world = World::running(6, 20, 48, 2);
    world.add_hosts(&file(8, 20, 1, 2));
    world.see_all();
    world
}

fn counts(world: &World, n: usize) -> (usize, usize) {
    (world.cluster.copies_on(&host(n)).count(), world.cluster.masters_on(&host(n)).count())
}

/// Where something of a plan goes.
fn targets(plan: &Plan) -> BTreeSet<HostName> {
    let to = |task: &Task| match &task.kind {
        TaskKind::BuildCopy { slot: to, .. } | TaskKind::HandOver { to, .. } => Some(to.host.clone()),
        _ => None,
    };
    plan.tasks.iter().filter_map(to).collect()
}

#[test]
fn a_host_gets_its_share_of_copies_and_masters_and_no_other_gets_anything() {
    let mut world = with_two_empty_hosts();
    let plan = world.plan(fill(&[7])).unwrap();
    assert_eq!(targets(plan.plan()), BTreeSet::from([host(7)]));
    world.complete(plan.plan());
    let (copies, masters) = counts(&world, 7);
    assert!((11..=12).contains(&copies) && masters == 6, "96 copies and 48 masters on 8 hosts: {copies}, {masters}");
    assert_eq!(counts(&world, 8), (0, 0));
    let filled = Nothing::Filled(BTreeSet::from([host(7)]));
    assert_eq!(world.plan(fill(&[7])), Err(Refusal::NothingToDo(filled)));
    // The other one after it, and both are as full.
    let plan = world.plan(fill(&[8])).unwrap();
    world.complete(plan.plan());
    assert!(counts(&world, 8).0 >= 12 && counts(&world, 8).1 == 6, "{:?}", counts(&world, 8));
    assert_eq!(counts(&world, 7).1, 6);
}

#[test]
fn a_budget_bounds_it_and_the_checker_holds_a_plan_to_its_hosts() {
    let world = with_two_empty_hosts();
    let hosts = BTreeSet::from([host(7)]);
    let budget = Budget { max_bytes: Some(500), ..Budget::default() };
    let plan = world.plan(Intent::Fill { hosts: hosts.clone(), budget }).unwrap();
    let built = plan.plan().tasks.iter().filter(|task| matches!(task.kind, TaskKind::BuildCopy { .. })).count();
    assert!((1..=5).contains(&built), "of 100 bytes each: {built}");
    let check = |intent: Intent| {
        let mutant = Plan { intent, ..world.plan(fill(&[7])).unwrap().plan().clone() };
        slot_planner::check::check(&world.cluster, &world.evidence, world.inputs.fleet_version, mutant)
    };
    assert!(check(fill(&[7])).is_ok());
    assert!(check(fill(&[7, 8])).is_ok());
    assert!(check(fill(&[8])).is_err());
    assert!(check(Intent::Fill { hosts, budget }).is_err());
}

#[test]
fn a_host_that_can_take_nothing_is_refused_by_its_own_reason() {
    let well = with_two_empty_hosts();
    let after = |change: &dyn Fn(&mut World), intent: Intent| {
        let mut world = well.clone();
        change(&mut world);
        world.plan(intent).expect_err("refused")
    };
    assert_eq!(after(&|_| {}, fill(&[9])), Refusal::UnknownHost(host(9)));
    assert_eq!(after(&|_| {}, fill(&[])), Refusal::NothingToDo(Nothing::NoHosts));
    assert_eq!(after(&|w| w.silent(&host(7), 60_000), fill(&[7])), Refusal::HostSilent(host(7)));
    let busy = |w: &mut World| w.inputs.busy_hosts.extend([host(7)]);
    assert_eq!(after(&busy, fill(&[7, 8])), Refusal::HostBusy(host(7)));
    let drained = after(&|w| w.host_mut(&host(7)).declared = HostState::Maintenance, fill(&[7]));
    assert!(matches!(&drained, Refusal::HostIn { state: HostState::Maintenance, .. }), "{drained}");
    assert!(drained.to_string().contains("slotctl undrain host"), "{drained}");
    let hold = Hold { by: OperatorName::new("ben").unwrap(), reason: "why".into(), at: LogTime(1), wall: WallTime(2) };
    for on in [HoldOn::All, HoldOn::Host(host(7))] {
        let held = Held { on: on.clone(), hold: hold.clone() };
        let refused = after(&|w| drop(w.cluster.holds.insert(on.clone(), hold.clone())), fill(&[7]));
        assert_eq!(refused, Refusal::Held(Box::new(held)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whichever hosts are named, only they get anything, none more masters than the fullest had or its share, and asking again
    /// ends.
    #[test]
    fn whichever_hosts_are_named_only_they_get_anything(
        hosts in 3usize..7,
        stores in 1usize..20,
        copies in 1u8..4,
        named in prop::collection::btree_set(1usize..9, 1..3),
    ) {
        let mut world = World::running(hosts, 24, stores, copies);
        world.add_hosts(&file(hosts + 2, 24, 1, copies));
        world.see_all();
        let named: Vec<usize> = named.into_iter().map(|n| (n - 1) % (hosts + 2) + 1).collect();
        let most = |world: &World| (1..=hosts + 2).map(|n| counts(world, n).1).max().unwrap();
        for _ in 0..12 {
            let before = most(&world);
            let plan = match world.plan(fill(&named)) {
                Ok(plan) => plan,
                Err(why) => {
                    let filled = Nothing::Filled(named.iter().map(|n| host(*n)).collect());
                    prop_assert_eq!(why, Refusal::NothingToDo(filled));
                    return Ok(());
                }
            };
            let allowed: BTreeSet<HostName> = named.iter().map(|n| host(*n)).collect();
            prop_assert!(targets(plan.plan()).is_subset(&allowed));
            world.complete(plan.plan());
            prop_assert!(most(&world) <= before);
        }
        prop_assert!(false, "it goes on and on");
    }
}
