//! What is said of a plan before it begins: how long it takes, what could be lost meanwhile, and what would find no room.

use crate::world::*;
use slot_planner::Refusal;
use slot_planner::estimate::{Estimate, RATE, estimate};
use slot_planner::layout::cluster::after_plan;
use slot_planner::layout::figures;
use slot_types::plan::{Intent, Plan, TaskKind};

fn of(world: &World, plan: &Plan) -> Estimate {
    estimate(&world.cluster, &world.evidence, &world.inputs, &plan.tasks)
}

fn built(plan: &Plan) -> usize {
    plan.tasks.iter().filter(|task| matches!(task.kind, TaskKind::BuildCopy { .. })).count()
}

/// The words of a plan's note.
fn note<'a>(plan: &'a Plan, heading: &str) -> Option<&'a str> {
    plan.notes.iter().find(|note| note.heading == heading).map(|note| note.text.as_str())
}

#[test]
fn waves_keep_to_policy_and_end_where_the_plan_does() {
    let mut world = World::running(6, 12, 24, 2);
    for (at_once, per_host, per_domain) in [(6, 2, 9), (6, 1, 9), (1, 1, 1), (4, 4, 2)] {
        let policy = &mut world.cluster.policy;
        (policy.copy_at_once, policy.copy_per_host, policy.copy_per_domain) = (at_once, per_host, per_domain);
        let plan = world.plan(Intent::EmptyHost(host(2))).unwrap();
        let (plan, found) = (plan.plan(), of(&world, plan.plan()));
        let (copies, bytes): (u32, u64) = (found.legs.iter().map(|leg| leg.copies).sum(), found.bytes());
        assert_eq!((copies as usize, bytes), (built(plan), built(plan) as u64 * 100));
        // Every rack is one host here.
        let link = u64::from(per_host.min(per_domain)) * 100;
        assert!(found.legs.iter().all(|leg| leg.copies <= u32::from(at_once) && leg.link <= link), "{found:?}");
        let (fleet, layout) = after_plan(&world.cluster, &world.evidence, &world.inputs, plan);
        assert_eq!(found.after, figures(&fleet, &layout).worst_survivor);
        assert!(found.worst().unwrap().0 >= found.after);
        if at_once == 1 {
            assert_eq!(found.legs.iter().filter(|leg| leg.copies > 0).count(), built(plan));
            assert_eq!(found.ms(), built(plan) as u64 * (100 * 1000u64).div_ceil(RATE));
        }
    }
}

#[test]
fn a_plan_says_how_long_it_takes_and_what_one_more_loss_would_do() {
    let mut world = World::running(4, 12, 12, 2);
    for n in 1..=12 {
        world.store_mut(&store(n)).spec.size_bytes = 900;
    }
    world.see_all();
    let empty = world.plan(Intent::EmptyHost(host(2))).unwrap();
    let of_copies = note(empty.plan(), "TIME").unwrap();
    let assumed = "of copies, under a minute, if 100.0 MB a second go between two hosts: assumed, since no policy says \
        how fast a copy is";
    assert!(of_copies.ends_with(assumed), "{of_copies}");
    let lost = note(empty.plan(), "ONE HOST LOST").unwrap();
    assert!(lost.starts_with("masters of the fullest other: 4 now, ") && lost.ends_with(" afterwards"), "{lost}");
    let drain = world.plan(Intent::DrainHost(host(2))).unwrap();
    assert_eq!(note(drain.plan(), "TIME"), None, "nothing is copied");
    assert!(note(drain.plan(), "ONE HOST LOST").is_some());
    let failover = world.plan(Intent::FailOverSlot { slot: slot("imap1/1"), to: None }).unwrap();
    assert_eq!(note(failover.plan(), "ONE HOST LOST"), None);
}

#[test]
fn what_would_find_no_room_is_named_with_its_bytes_and_only_then() {
    let (mut fits, mut not) = (0, 0);
    for (hosts, slots, stores) in
        [(4, 5, 8), (4, 6, 8), (4, 8, 12), (4, 6, 9), (5, 4, 9), (3, 4, 5), (3, 8, 6), (6, 5, 13)]
    {
        let world = World::running(hosts, slots, stores, 2);
        let drain = world.plan(Intent::DrainHost(host(1))).unwrap();
        let empty = world.plan(Intent::EmptyHost(host(1)));
        match note(drain.plan(), "NOT POSSIBLE") {
            None => {
                fits += 1;
                assert!(note(drain.plan(), "ALSO").unwrap().contains("--empty moves the data too"));
                assert!(empty.is_ok(), "{hosts} {slots} {stores}: {:?}", empty.err().map(|e| e.to_string()));
            }
            Some(said) => {
                not += 1;
                let Err(Refusal::Drain { because, .. }) = empty else { panic!("{hosts} {slots} {stores}: {said}") };
                assert_eq!(said.matches(" (100 B)").count(), because.len(), "{said}: {because:?}");
                let all = format!("of {} B in all", because.len() * 100);
                assert!(said.starts_with("drain --empty: ") && said.contains(&all), "{said}");
                assert!(because.keys().all(|name| said.contains(&format!("{name} ("))), "{said}");
            }
        }
    }
    assert!(fits >= 3 && not >= 3, "{fits} {not}");
}

/// Copies of stores that the file gives no size are copies too.
#[test]
fn a_plan_that_builds_copies_always_says_something_of_its_time() {
    let mut world = World::running(4, 12, 12, 2);
    for n in 1..=12 {
        world.store_mut(&store(n)).spec.size_bytes = 0;
    }
    world.see_all();
    let empty = world.plan(Intent::EmptyHost(host(2))).unwrap();
    assert!(built(empty.plan()) > 0);
    let time = note(empty.plan(), "TIME").unwrap();
    assert!(time.ends_with("of copies, how long is not said: the file gives these stores no size"), "{time}");
}

/// What is looked at after some of the waves alone is not said to be the worst of all.
#[test]
fn a_worst_of_some_waves_says_of_how_many() {
    let mut world = World::running(6, 40, 100, 2);
    let policy = &mut world.cluster.policy;
    (policy.copy_at_once, policy.copy_per_host, policy.copy_per_domain) = (1, 1, 1);
    let plan = world.plan(Intent::EmptyHost(host(2))).unwrap();
    let found = of(&world, plan.plan());
    let (all, looked) = (found.legs.len(), found.looked_at());
    assert!(all > 32 && looked <= 32, "{looked} of {all}");
    let lost = note(plan.plan(), "ONE HOST LOST").unwrap();
    assert!(lost.contains(&format!("looked at after {looked} of them, what is between may be worse")), "{lost}");
}
