//! How busy hosts would be: said on every sheet that moves masters, and deciding nothing.

use crate::golden::page;
use crate::world::*;
use slot_types::evidence::Seen;
use slot_types::load::{HostLoad, forecast};
use slot_types::plan::*;

fn load(world: &mut World, h: usize) -> &mut Seen<HostLoad> {
    &mut world.evidence.hosts.get_mut(&host(h)).unwrap().load
}

fn unmeasured(world: &mut World, h: usize) {
    *load(world, h) = Seen::Unknown { reason: "its agent has not measured it yet".into() };
}

/// The lines of a heading.
fn said(plan: &Plan, heading: &str) -> Vec<String> {
    plan.notes.iter().filter(|note| note.heading == heading).map(|note| note.text.clone()).collect()
}

#[test]
fn every_sheet_that_moves_masters_says_how_busy_the_survivors_would_be() {
    // Three masters and three replicas on each of four hosts: 15 + 3 * 7 + 3 * 2 = 42 % of the processors.
    let mut world = World::running(4, 8, 12, 2);
    let drain = world.plan(Intent::DrainHost(host(2))).unwrap();
    let words = said(drain.plan(), "WHERE TO");
    assert_eq!(words[1], "fullest host 3 -> 4 masters (imap1, load 42 -> 49 %)");
    assert_eq!(words[2], "load afterwards: imap1 42 -> 49 %, imap3 42 -> 49 %, imap4 42 -> 49 %");
    assert_eq!(words.len(), 3, "nothing is old and nothing unknown");
    for intent in [
        Intent::FailOverSlot { slot: slot("imap1/1"), to: None },
        Intent::FailOverStore { store: store(1), to: None },
        Intent::FailOverHost(host(1)),
        Intent::EmptyHost(host(1)),
    ] {
        let plan = world.plan(intent).unwrap();
        let words = said(plan.plan(), "WHERE TO").join("\n");
        assert!(words.contains(", load 42 -> "), "{}: {words}", plan.plan().intent);
        assert!(!words.contains("UNKNOWN"), "{}: {words}", plan.plan().intent);
    }
    world.silent(&host(1), 241_000);
    world.attest(&host(1));
    let dead = world.plan(Intent::FailOverHost(host(1))).unwrap();
    let words = said(dead.plan(), "WHERE TO").join("\n");
    assert!(words.contains("(imap2, load 42 -> 49 %)"), "{words}");
    assert!(words.contains("the oldest measure in these loads is of 4 min 01 s ago"), "{words}");
}

#[test]
fn the_host_that_would_be_busiest_comes_first_also_where_another_has_more_masters() {
    let mut world = World::running(4, 8, 12, 2);
    let Seen::Known { value, .. } = load(&mut world, 4) else { panic!("not measured") };
    value.machine.disk_ppm = Some(930_000);
    let drain = world.plan(Intent::DrainHost(host(2))).unwrap();
    let words = said(drain.plan(), "WHERE TO");
    assert_eq!(words[2], "load afterwards: imap4 93 -> 95 %, imap1 42 -> 49 %, imap3 42 -> 49 %");
}

#[test]
fn what_was_not_measured_is_said_with_the_reason_and_no_number_stands_for_it() {
    let mut world = World::running(4, 8, 12, 2);
    unmeasured(&mut world, 3);
    let drain = world.plan(Intent::DrainHost(host(2))).unwrap();
    insta::assert_snapshot!("drain_with_a_host_that_is_not_measured", page(&drain));
    unmeasured(&mut world, 2);
    let words = said(world.plan(Intent::DrainHost(host(2))).unwrap().plan(), "WHERE TO");
    assert_eq!(
        words[1..],
        [
            "fullest host 3 -> 4 masters (imap1)",
            "load afterwards UNKNOWN of imap1 imap4: imap2: its agent has not measured it yet",
            "load afterwards UNKNOWN of imap3: its agent has not measured it yet",
        ]
    );
}

/// R14: what a plan was made from changes with the cluster, not with how busy it is. The forecast can be made again from the plan.
#[test]
fn r14_load_changes_no_task_no_fact_and_nobodys_yes() {
    let mut world = World::running(4, 8, 12, 2);
    let intents = [Intent::DrainHost(host(2)), Intent::EmptyHost(host(2)), Intent::FailOverHost(host(1))];
    for intent in intents {
        let plan = |world: &World| world.plan(intent.clone()).unwrap().plan().clone();
        let before = plan(&world);
        let again = forecast(&before.evidence, &before.tasks);
        assert_eq!(again, forecast(&world.evidence, &before.tasks), "of the plan's own evidence: {intent}");
        for h in 1..=4 {
            if let Seen::Known { value, .. } = load(&mut world, h) {
                value.machine.cpu_ppm = 1_000_000 - value.machine.cpu_ppm;
            }
        }
        let busy = plan(&world);
        (1..=4).for_each(|h| unmeasured(&mut world, h));
        let unknown = plan(&world);
        for other in [busy, unknown] {
            assert_ne!(said(&other, "WHERE TO"), said(&before, "WHERE TO"), "{intent}");
            assert_eq!((&other.tasks, &other.facts, other.people), (&before.tasks, &before.facts, before.people));
        }
        world.see_all();
    }
}
