//! R6, R26: which hosts a sheet switches off, from where, and what it says dies with them.

use crate::world::*;
use slot_planner::Refusal;
use slot_planner::check::check;
use slot_types::cluster::*;
use slot_types::fence::*;
use slot_types::ids::*;
use slot_types::plan::*;
use slot_types::render::{WIDTH, render_plan};
use std::collections::BTreeSet;

fn device(n: usize, from: FenceFrom) -> FenceSpec {
    let ip = FenceValue::new(format!("10.9.0.{n}")).unwrap();
    FenceSpec {
        agent: FenceAgent::new("fence_ipmilan").unwrap(),
        options: [(FenceKey::new("ip").unwrap(), ip)].into(),
        password_file: Some(FencePath::new("/etc/slotd/secret/ipmi").unwrap()),
        timeout_ms: 20_000,
        from,
    }
}

/// imap1, which every host could be switched off like, is silent.
pub fn fenced(from: FenceFrom) -> World {
    let mut world = World::running(4, 8, 8, 2);
    for n in 1..=4 {
        world.host_mut(&host(n)).device.spec = Some(device(n, from));
    }
    world.silent(&host(1), 20_000);
    world
}

fn one() -> Intent {
    Intent::FailOverSlot { slot: slot("imap1/1"), to: None }
}

#[test]
fn r26_a_silent_host_is_switched_off_last_and_one_person_is_enough() {
    use StepKind::*;
    let world = fenced(FenceFrom::AnotherRack);
    let checked = world.plan(Intent::FailOverHost(host(1))).unwrap();
    let plan = checked.plan();
    assert_eq!((plan.people, plan.two_because.len()), (1, 0), "a device fences as well as a demote");
    assert_eq!(plan.powers_off(), BTreeSet::from([&host(1)]));
    let off = &plan.switch_off[&host(1)];
    assert_eq!((off.by.clone(), off.boot), (Some(host(2)), world.cluster.hosts[&host(1)].boot.unwrap()));
    let there: BTreeSet<SlotId> = world.cluster.copies_on(&host(1)).map(|(_, slot, _)| slot.clone()).collect();
    assert_eq!(off.kills, there, "R6: every copy on it is named");
    for task in &plan.tasks {
        let TaskKind::FailOver { fence, waived, .. } = &task.kind else { panic!("{:?}", task.kind) };
        assert_eq!((*fence, waived.len()), (FenceLevel::Device, 1));
        let kinds: Vec<StepKind> = task.steps.iter().map(|s| s.kind).collect();
        let at = |kind| kinds.iter().position(|k| *k == kind).unwrap();
        assert!(
            at(CommitEpoch) < at(Raise) && at(Raise) < at(FenceHost) && at(FenceHost) + 1 == at(Promote),
            "{kinds:?}"
        );
        let step = &task.steps[at(FenceHost)];
        assert_eq!(step.at, Some(Place::Device { of: host(1), by: host(2) }));
        assert!(step.deadline_ms > 20_000);
    }
    assert_eq!(plan.facts[&EntityRef::Host(host(2))], world.cluster.hosts[&host(2)].version, "R14");
}

#[test]
fn r26_a_sheet_for_one_store_says_what_else_dies() {
    let world = fenced(FenceFrom::AnotherRack);
    let checked = world.plan(one()).unwrap();
    let note = |heading: &str| {
        let notes = checked.plan().notes.iter().filter(|n| n.heading == heading);
        notes.map(|n| n.text.clone()).collect::<Vec<_>>().join(" / ")
    };
    assert!(note("DIES TOO").contains("3 copies of imap1"), "{}", note("DIES TOO"));
    assert!(note("DIES TOO").contains("store5"), "{}", note("DIES TOO"));
    let text = render_plan(Some(PlanId(18)), checked.plan(), &checked.digest());
    assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn r26_only_an_agent_of_another_failure_domain_does_it() {
    let mut world = fenced(FenceFrom::AnotherRack);
    let rack = world.cluster.hosts[&host(1)].at.clone();
    for n in 3..=4 {
        world.host_mut(&host(n)).at = rack.clone();
    }
    assert_eq!(world.plan(one()).unwrap().plan().switch_off[&host(1)].by, Some(host(2)));
    world.host_mut(&host(2)).at = rack.clone();
    assert!(matches!(world.plan(one()), Err(Refusal::NotFenced { .. })), "nobody outside that rack is left");
    for n in 1..=4 {
        world.host_mut(&host(n)).device.spec = Some(device(n, FenceFrom::AnotherHost));
    }
    assert_eq!(world.plan(one()).unwrap().plan().switch_off[&host(1)].by, Some(host(2)), "where the file allows it");
    for n in 3..=4 {
        world.silent(&host(n), 20_000);
    }
    world.host_mut(&host(2)).at = Domain(vec!["ny".into(), "r2".into()]);
    assert_eq!(
        world.plan(one()).unwrap().plan().switch_off[&host(1)].by,
        Some(host(2)),
        "a silent agent fences nobody"
    );
}

#[test]
fn r26_power_stays_on_where_something_better_is_known() {
    let mut world = fenced(FenceFrom::AnotherRack);
    // A person's word: nothing is cut, and two people say yes as ever.
    world.attest(&host(1));
    let attested = world.plan(one()).unwrap();
    assert!(attested.plan().switch_off.is_empty());
    assert_eq!(attested.plan().people, 2);
    world.cluster.attestations.clear();
    // Its device said off before: it is not told again, and nobody types anything.
    let boot = world.cluster.hosts[&host(1)].boot.unwrap();
    let off = DeviceOff { boot, by: host(2), plan: PlanId(3), at: LogTime(1), was: HostState::Active };
    world.host_mut(&host(1)).device.off = Some(off);
    world.host_mut(&host(1)).declared = HostState::Off;
    let again = world.plan(one()).unwrap();
    assert_eq!((again.plan().switch_off[&host(1)].by.clone(), again.plan().powers_off().len()), (None, 0));
    assert!(again.plan().tasks[0].steps.iter().all(|s| s.kind != StepKind::FenceHost));
    assert_eq!(again.plan().people, 1);
    // Its agent answers: it is asked to demote.
    let mut world = fenced(FenceFrom::AnotherRack);
    world.see_all();
    let dead = slot_types::evidence::Seen::Known { value: slot_types::evidence::CopyEvidence::NotRunning, age_ms: 100 };
    world.evidence.copies.insert(slot("imap1/1"), dead);
    assert!(world.plan(one()).unwrap().plan().switch_off.is_empty());
}

#[test]
fn r26_a_device_that_did_not_confirm_is_left_out_for_a_while() {
    let mut world = fenced(FenceFrom::AnotherRack);
    let boot = world.cluster.hosts[&host(1)].boot.unwrap();
    let at = LogTime(world.inputs.now.0 - 60_000);
    world.host_mut(&host(1)).device.failed = Some(DeviceFailed { boot, at, why: "exit code 1".into() });
    assert!(matches!(world.plan(one()), Err(Refusal::NotFenced { .. })));
    world.cluster.policy.allow_unfenced = true;
    let unfenced = world.plan(one()).unwrap();
    assert!(unfenced.plan().switch_off.is_empty());
    assert_eq!(unfenced.plan().people, 2);
    world.inputs.now = LogTime(at.0 + FAILED_MS);
    assert_eq!(world.plan(one()).unwrap().plan().powers_off().len(), 1, "later it is offered again");
}

#[test]
fn r26_the_checker_refuses_every_other_power_cut() {
    let world = fenced(FenceFrom::AnotherRack);
    let honest = world.plan(one()).unwrap();
    let refused = |world: &World, what: &str, change: &dyn Fn(&mut SwitchOff)| {
        let mut mutant = honest.plan().clone();
        change(mutant.switch_off.get_mut(&host(1)).unwrap());
        if let Some(by) = mutant.switch_off[&host(1)].by.clone() {
            for step in mutant.tasks[0].steps.iter_mut().filter(|s| s.kind == StepKind::FenceHost) {
                step.at = Some(Place::Device { of: host(1), by: by.clone() });
            }
            mutant.facts.insert(EntityRef::Host(by.clone()), world.cluster.hosts[&by].version);
        }
        let verdict = check(&world.cluster, &world.evidence, world.inputs.fleet_version, mutant);
        assert!(verdict.is_err(), "{what} passes the checker");
    };
    refused(&world, "another boot", &|off| off.boot = BootId([99; 16]));
    refused(&world, "another device", &|off| off.spec.timeout_ms += 1);
    refused(&world, "a copy left out", &|off| assert!(off.kills.pop_first().is_some()));
    refused(&world, "a copy that is not there", &|off| assert!(off.kills.insert(slot("imap4/8"))));
    refused(&world, "off without anybody's doing", &|off| off.by = None);
    refused(&world, "by itself", &|off| off.by = Some(host(1)));
    let mut beside = world.clone();
    beside.host_mut(&host(4)).at = world.cluster.hosts[&host(1)].at.clone();
    refused(&beside, "from its own rack", &|off| off.by = Some(host(4)));
    let mut idle = honest.plan().clone();
    let extra = SwitchOff { kills: BTreeSet::new(), ..idle.switch_off[&host(1)].clone() };
    idle.switch_off.insert(host(3), extra);
    idle.facts.insert(EntityRef::Host(host(3)), world.cluster.hosts[&host(3)].version);
    assert!(check(&world.cluster, &world.evidence, world.inputs.fleet_version, idle).is_err(), "a host for nothing");
}
