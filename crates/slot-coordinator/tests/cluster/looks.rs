//! Hosts as the others see them, devices asked before an approval, and what a probe that is answered voids.

use super::world::World;
use super::{HOSTS, built, host};
use slot_coordinator::core::ControlRequest;
use slot_machine::audit::AuditEntry;
use slot_types::codec;
use slot_types::evidence::Seen;
use slot_types::fence::Power;
use slot_types::ids::Incarnation;
use slot_types::plan::{Intent, Plan};
use slot_types::probe::{FRESH_MS, Probed};
use slot_types::render::render_plan;
use slot_types::view::*;

fn evidence(world: &mut World, name: &str) -> EvidenceView {
    let View::Evidence(view) = world.view(Query::Evidence(host(name))) else { panic!("evidence") };
    *view
}

fn fenced(seed: u64) -> World {
    let mut world = World::new(seed, 3, &HOSTS);
    let fence = "kind.small]\nfence = { agent = \"fence_ipmilan\", ip = \"10.9.0.{n}\", from = \"another rack\" }";
    let text = super::FLEET.replace("kind.small]", fence);
    let intent = Intent::Apply(Box::new(slot_types::file::parse(&text, "cluster.toml").unwrap()));
    let plan = world.plan(intent).unwrap();
    world.approve(plan).unwrap();
    world.until("the fleet is made", |w| w.plan_status(plan).as_deref() == Some("done"));
    world
}

#[test]
fn r8_every_host_is_probed_by_all_others_and_each_probe_has_its_age() {
    let mut world = built(31, 3);
    world.run_for(10_000);
    let view = evidence(&mut world, "imap1");
    let reach = view.reach.expect("the leader has probes");
    assert_eq!((reach.seekers(FRESH_MS), reach.answered(FRESH_MS)), (2, 2), "{reach:?}");
    let masters_there = view.engines.iter().filter(|e| reach.slots_answered(FRESH_MS).contains(&e.slot)).count();
    assert!(masters_there > 0, "addresses of masters are probed too: {reach:?}");
    assert!(reach.probes.iter().all(|probe| probe.same_ms >= probe.age_ms));
    world.agents.get_mut(&host("imap1")).unwrap().up = false;
    world.run_for(20_000);
    let reach = evidence(&mut world, "imap1").reach.unwrap();
    assert_eq!((reach.seekers(FRESH_MS), reach.answered(FRESH_MS)), (2, 0), "{reach:?}");
    let agent = reach.probes.iter().find(|probe| probe.slot.is_none()).unwrap();
    assert!(agent.probed == Probed::NoAnswer && agent.same_ms > 10_000, "{agent:?}");
    let View::Status(status) = world.view(Query::Status) else { panic!("a status") };
    let seen = status.needs_you.iter().find(|trouble| trouble.subject == "imap1").unwrap().seen.join("\n");
    assert!(seen.contains("2 of 2 hosts cannot reach it"), "R23: from where it is seen: {seen}");
    assert!(seen.contains("the others all reach each other"), "{seen}");
}

/// Every agent and every master's address, by every other host or two of them, once in one to two seconds.
#[test]
fn adr39_every_service_address_is_looked_at_every_one_to_two_seconds() {
    let mut world = built(35, 3);
    world.run_for(3_000);
    let begun = world.now;
    world.looked.clear();
    world.run_for(20_000);
    let leader = world.leader().unwrap();
    let cluster = world.nodes[&leader].core.as_ref().unwrap().state().cluster.clone().unwrap();
    let masters = cluster.stores.values().filter_map(|store| store.master.clone());
    let targets = cluster.hosts.keys().map(|host| (host.clone(), None));
    let targets: Vec<_> = targets.chain(masters.map(|slot| (slot.host.clone(), Some(slot)))).collect();
    assert_eq!(targets.len(), 6, "three hosts, three masters");
    for target in &targets {
        let seen = world.looked.iter().filter(|(_, by, of)| of == target && *by != target.0);
        let mut at: std::collections::BTreeMap<_, Vec<u64>> = std::collections::BTreeMap::new();
        seen.for_each(|(when, by, _)| at.entry(by).or_insert_with(|| vec![begun]).push(*when));
        assert_eq!(at.len(), 2, "{target:?} is looked at by two others");
        for (by, at) in at {
            let gaps = at.windows(2).skip(1).map(|pair| pair[1] - pair[0]);
            let (least, most) = gaps.fold((u64::MAX, 0), |(least, most), gap| (least.min(gap), most.max(gap)));
            assert!(least >= 1_000 && most <= 2_200, "{by} looks at {target:?} after {least} to {most} ms");
        }
    }
    assert!(world.looked.iter().all(|(_, _, of)| targets.contains(of)), "and nothing else is looked at");
}

/// A person who is wrong says it again at once: the second word falls by the first answer that was asked for after it, too.
#[test]
fn r8_a_word_that_is_given_again_falls_by_the_next_answer() {
    let mut world = built(36, 3);
    world.run_for(5_000);
    world.agents.values_mut().for_each(|agent| agent.deaf = true);
    world.agents.get_mut(&host("imap2")).unwrap().up = false;
    world.run_for(10_000);
    world.probed.insert(host("imap2"), Probed::Answered);
    let attest = ControlRequest::Attest { request: None, host: host("imap2"), how: "unplugged".into() };
    let is_attested = |world: &World| {
        let leader = world.leader().unwrap();
        let state = world.nodes[&leader].core.as_ref().unwrap().state();
        state.cluster.as_ref().unwrap().attestations.contains_key(&host("imap2"))
    };
    for word in 0..8 {
        world.ask_leader("alice", &attest).unwrap();
        assert!(is_attested(&world));
        let (given, mut waited) = (world.now, 0);
        while is_attested(&world) {
            world.run_for(1);
            waited += 1;
            assert!(waited < 5_000, "word {word} stands");
        }
        let asked = world.looked.iter().find(|(at, _, of)| *at > given && *of == (host("imap2"), None));
        let (asked, by, _) = asked.expect("somebody looked");
        assert!(world.now <= asked + 100, "word {word} stood for {} ms after {by} was asked", world.now - asked);
    }
}

#[test]
fn r8_an_answered_probe_voids_a_word_that_was_given_before_it() {
    for (probed, stands) in [(Probed::NoAnswer, true), (Probed::Unproven, true), (Probed::Answered, false)] {
        let mut world = built(32, 3);
        world.run_for(5_000);
        world.agents.values_mut().for_each(|agent| agent.deaf = true);
        world.agents.get_mut(&host("imap2")).unwrap().up = false;
        world.run_for(10_000);
        let attest = ControlRequest::Attest { request: None, host: host("imap2"), how: "unplugged".into() };
        world.ask_leader("alice", &attest).unwrap();
        // Only the leader is cut off from it: the others reach it.
        world.probed.insert(host("imap2"), probed);
        world.run_for(10_000);
        let leader = world.leader().unwrap();
        let state = world.nodes[&leader].core.as_ref().unwrap().state();
        let void =
            |entry: &AuditEntry| entry.event.contains("is off is void: ") && entry.event.contains("a probe from");
        let voided = state.audit.entries.iter().any(void);
        assert_eq!(voided, !stands, "{probed:?}");
        assert!(stands || !state.cluster.as_ref().unwrap().attestations.contains_key(&host("imap2")));
    }
}

/// Who answers has power, whatever else is wrong with it: its disk, or a boot that the log does not have yet.
#[test]
fn r26_nobody_asks_after_the_power_of_a_host_that_answers_with_another_disk() {
    let mut world = fenced(34);
    world.agents.get_mut(&host("imap1")).unwrap().incarnation = Incarnation([99; 16]);
    world.run_for(25_000);
    assert_eq!(world.devices_asked, []);
}

#[test]
fn r26_a_silent_hosts_device_is_asked_before_the_sheet_seldom_and_from_another_rack() {
    let mut world = fenced(33);
    world.run_for(4_000);
    assert_eq!(world.devices_asked, [], "nobody asks after the power of a host that answers");
    world.agents.get_mut(&host("imap1")).unwrap().up = false;
    world.run_for(25_000);
    let asked = world.devices_asked.clone();
    assert!((2..=3).contains(&asked.len()), "rate-limited: {asked:?}");
    assert!(asked.iter().all(|(_, of, by)| *of == host("imap1") && *by != host("imap1")), "{asked:?}");
    let seen = evidence(&mut world, "imap1").device.unwrap().power;
    assert!(matches!(seen, Seen::Known { value: Power::On, .. }), "{seen:?}");
    let plan = world.plan(Intent::FailOverHost(host("imap1"))).unwrap();
    let leader = world.leader().unwrap();
    let record = world.nodes[&leader].core.as_ref().unwrap().state().plans[&plan].clone();
    let shown = render_plan(Some(plan), &record.plan, &record.digest);
    assert!(shown.contains("answers: power on") || shown.contains("answers: power ON"), "{shown}");
    assert!(shown.contains("2 of 2 hosts cannot reach it"), "{shown}");
    let again: Plan = codec::decode(&record.bytes).unwrap();
    assert_eq!(again.evidence.reach, record.plan.evidence.reach, "R15: what is seen is part of what is approved");
}
