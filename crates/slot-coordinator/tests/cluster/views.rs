//! What is read of a running cluster.

use super::world::World;
use super::{built, host};
use slot_coordinator::core::{ControlRequest, Failure, Reply};
use slot_types::codec;
use slot_types::evidence::Seen;
use slot_types::hold::HoldOn;
use slot_types::ids::*;
use slot_types::load::{Busy, EngineLoad, HostLoad, forecast};
use slot_types::plan::Intent;
use slot_types::view::*;

fn stores(world: &mut World, filter: StoreFilter) -> StoresView {
    let View::Stores(view) = world.view(Query::Stores(filter)) else { panic!("stores") };
    view
}

fn slots(world: &mut World, filter: SlotFilter) -> SlotsView {
    let View::Slots(view) = world.view(Query::Slots(filter)) else { panic!("slots") };
    view
}

/// What a node that does not lead says when asked for an unconfirmed answer.
fn of_a_follower(world: &mut World, query: Query) -> View {
    let leader = world.leader().unwrap();
    let follower = world.nodes.keys().find(|id| **id != leader).copied().unwrap();
    match world.ask(follower, "alice", ControlRequest::View { query, stale_ok: true }) {
        Ok(Reply::View { bytes, confirmed: false, .. }) => codec::decode(&bytes).unwrap(),
        other => panic!("an unconfirmed view, not {other:?}"),
    }
}

#[test]
fn stores_and_slots_are_listed_and_narrowed() {
    let mut world = built(21, 3);
    world.run_for(5_000);
    let all = stores(&mut world, StoreFilter::default());
    assert_eq!((all.all, all.stores.len()), (3, 3));
    for line in &all.stores {
        assert_eq!(
            (&line.served, &line.live),
            (&Seen::Known { value: true, age_ms: 0 }, &Seen::Known { value: 2, age_ms: 0 })
        );
        assert_eq!((line.copies, line.others.len()), (2, 1), "{line:?}");
        assert_eq!(line.worst_lag_records.value(), Some(&0));
    }
    let on_imap1 = StoreFilter { host: Some(host("imap1")), ..StoreFilter::default() };
    let there = stores(&mut world, on_imap1.clone());
    let holds = |line: &&StoreLine| line.master.iter().chain(&line.others).any(|slot| slot.host == host("imap1"));
    assert_eq!(there.stores.len(), all.stores.iter().filter(holds).count());
    assert_eq!((there.all, stores(&mut world, StoreFilter { not_served: true, ..on_imap1 }).stores), (3, Vec::new()));
    let by_name = StoreFilter { name: Some("*2".parse().unwrap()), ..StoreFilter::default() };
    let names: Vec<StoreName> = stores(&mut world, by_name).stores.into_iter().map(|line| line.store).collect();
    assert_eq!(names, [StoreName::new("store2").unwrap()]);

    let every = slots(&mut world, SlotFilter::default());
    let free = slots(&mut world, SlotFilter { free: true, ..SlotFilter::default() });
    assert_eq!((every.all, every.slots.len(), free.slots.len()), (12, 12, 6));
    let of_one = slots(&mut world, SlotFilter { host: Some(host("imap1")), free: false });
    assert!(of_one.slots.len() == 4 && of_one.slots.iter().all(|line| line.slot.host == host("imap1")));
    for query in [
        Query::Stores(StoreFilter { host: Some(host("imap9")), ..StoreFilter::default() }),
        Query::Slots(SlotFilter { host: Some(host("imap9")), free: false }),
    ] {
        assert_eq!(world.view(query), View::NotFound { subject: "host imap9".into() });
    }
}

#[test]
fn a_store_whose_master_is_silent_is_among_those_not_served() {
    let mut world = built(22, 3);
    world.run_for(5_000);
    let all = stores(&mut world, StoreFilter::default());
    let victim = all.stores[0].master.clone().unwrap().host;
    world.agents.get_mut(&victim).unwrap().up = false;
    world.run_for(20_000);
    let gone = stores(&mut world, StoreFilter { not_served: true, ..StoreFilter::default() });
    let expected: Vec<&StoreName> =
        all.stores.iter().filter(|l| l.master.as_ref().unwrap().host == victim).map(|l| &l.store).collect();
    assert_eq!(gone.stores.iter().map(|line| &line.store).collect::<Vec<_>>(), expected);
    assert!(gone.stores.iter().all(|line| line.served == Seen::Known { value: false, age_ms: 0 }));
}

#[test]
fn a_plan_and_what_it_did_are_explained() {
    let mut world = built(25, 3);
    world.run_for(5_000);
    let all = stores(&mut world, StoreFilter::default());
    let (store, master) = (all.stores[0].store.clone(), all.stores[0].master.clone().unwrap());
    let drain = world.plan(Intent::DrainHost(master.host.clone())).unwrap();
    let explain = |world: &mut World, what| {
        let View::Explain(view) = world.view(Query::Explain(what)) else { panic!("an explanation") };
        view.explained.value().cloned().expect("it is known")
    };
    let Explained::Plan(plan) = explain(&mut world, ExplainWhat::Plan(drain)) else { panic!("of a plan") };
    let choice = plan.tasks.iter().find(|task| task.store == store).expect("its master is moved");
    assert_eq!((choice.from.as_ref(), choice.changed.as_str()), (Some(&master), ""), "{choice:?}");
    assert_eq!(choice.because, ["no other copy can become master as well"]);
    let to = choice.to.clone();
    world.approve(drain).unwrap();
    world.until("the drain is done", |w| w.plan_status(drain).as_deref() == Some("done"));
    world.run_for(3_000);
    let Explained::Plan(plan) = explain(&mut world, ExplainWhat::Plan(drain)) else { panic!("of a plan") };
    assert!(plan.tasks.iter().all(|task| task.changed.contains("has changed since the plan was made")), "{plan:?}");
    let Explained::Store(now) = explain(&mut world, ExplainWhat::Store(store.clone())) else { panic!("of a store") };
    let made = now.made_by.expect("the drain is remembered");
    assert_eq!(
        (now.master.as_ref(), made.plan, now.if_host_dies),
        (Some(&to), drain, None),
        "its other copy is stopped"
    );
    let former = now.candidates.iter().find(|c| c.slot == master).unwrap();
    assert_eq!(former.planned, Verdict::No { why: "is Stopped".into() });
    let Explained::Slot { store: Some(on), .. } = explain(&mut world, ExplainWhat::Slot(to)) else {
        panic!("of a slot")
    };
    assert_eq!(on.store, store);
    assert_eq!(
        world.view(Query::Explain(ExplainWhat::Plan(PlanId(99)))),
        View::NotFound { subject: "plan p99".into() }
    );
}

#[test]
fn s12_the_chain_as_it_is_read_can_be_computed_again() {
    let mut world = built(26, 3);
    world.run_for(5_000);
    let View::Audit(first) = world.view(Query::Audit { after: 0, limit: 5 }) else { panic!("an audit") };
    assert!(first.more && first.last > 5 && first.entries.len() == 5);
    let mut end = ChainEnd { number: first.trimmed_through, hash: first.trimmed_hash };
    let mut audit = first.clone();
    loop {
        assert!(audit.chain_ok && audit.entries.len() <= 5);
        audit.entries.iter().for_each(|entry| end.follow(entry).unwrap());
        if !audit.more {
            break;
        }
        let View::Audit(next) = world.view(Query::Audit { after: end.number, limit: 5 }) else { panic!("an audit") };
        audit = next;
    }
    let head = world.core(world.leader().unwrap()).state().audit.head();
    assert_eq!((end.number, end.hash), (audit.last, head));
    let wall = first.entries[2].wall;
    let View::Audit(since) = world.view(Query::AuditSince { wall, limit: 500 }) else { panic!("an audit") };
    assert!(since.entries[0].wall >= wall && since.entries[0].number <= first.entries[2].number);
    let View::Audit(none) = world.view(Query::AuditSince { wall: WallTime(u64::MAX), limit: 500 }) else { panic!() };
    assert!(none.entries.is_empty() && !none.more && none.last >= end.number);
}

#[test]
fn a_new_leader_calls_nothing_lost_before_it_has_listened() {
    let mut world = built(27, 3);
    world.run_for(5_000);
    for agent in world.agents.values_mut() {
        agent.up = false;
    }
    let former = world.leader().unwrap();
    world.crash(former);
    let mut unknown = 0;
    world.until("another leader", |w| w.leader().is_some_and(|l| l != former));
    for _ in 0..40 {
        let View::Status(status) = world.view(Query::Status) else { panic!("a status") };
        match &status.worst_losses {
            Seen::Unknown { reason } => {
                assert!(reason.contains("has not listened for imap"), "{reason}");
                assert!(status.hosts.iter().all(|line| line.stop_if_dies.is_none()));
                unknown += 1;
            }
            // Once it has, every host is silent, and what is down already can't be lost.
            Seen::Known { value, .. } => assert!(value.iter().all(|line| (line.stops, line.served) == (0, 0))),
        }
        world.run_for(200);
    }
    assert!((1..40).contains(&unknown), "{unknown}");
}

/// R8: an engine that replicas still hear is a sign of life that does not pass through its agent.
#[test]
fn all_that_is_seen_of_a_host_is_said_with_its_age() {
    let mut world = built(26, 3);
    world.run_for(5_000);
    let View::Status(status) = world.view(Query::Status) else { panic!("a status") };
    let name = status.hosts.iter().find(|line| line.masters > 0).expect("somebody has masters").host.clone();
    let look = |world: &mut World| match world.view(Query::Evidence(name.clone())) {
        View::Evidence(seen) => *seen,
        other => panic!("{other:?}"),
    };
    let well = look(&mut world);
    assert!(well.agent.fresh(3_000).is_some() && !well.links.is_empty() && !well.engines.is_empty(), "{well:?}");
    assert!(well.links.iter().all(|link| link.heard_ms.value().is_some()), "{well:?}");
    assert!(well.others.iter().all(|other| !other.silent && !other.same_domain), "{well:?}");
    world.agents.get_mut(&name).unwrap().up = false;
    world.run_for(20_000);
    let dead = look(&mut world);
    assert!(dead.agent.age_ms().is_some_and(|age| age > 15_000), "{dead:?}");
    assert!(dead.engines.iter().all(|engine| engine.engine.age_ms().is_none_or(|age| age > 15_000)), "{dead:?}");
    let View::Evidence(seen) = of_a_follower(&mut world, Query::Evidence(name)) else { panic!("evidence") };
    assert!(seen.agent.value().is_none() && seen.others.iter().all(|other| other.agent.value().is_none()));
    assert_eq!(world.view(Query::Evidence(host("imap9"))), View::NotFound { subject: "host imap9".into() });
}

#[test]
fn a_loss_is_said_before_it_happens() {
    let mut world = built(24, 3);
    world.run_for(5_000);
    let View::Status(status) = world.view(Query::Status) else { panic!("a status") };
    let worst = status.worst_losses.value().expect("the leader hears agents");
    assert_eq!(worst.len(), 1, "each host is a rack of its own: {worst:?}");
    assert_eq!((worst[0].stops, worst[0].served, worst[0].stores), (0, 3, 3));
    // Any two of three hosts: one of the three stores has both its copies on them, or more.
    let pair = status.worst_pair.value().expect("the leader hears agents");
    assert_eq!((pair.looked_at, pair.of), (3, 3));
    let two = pair.worst.clone().expect("two hosts");
    assert!(two.stops > 0 && matches!(&two.lost, Lost::Hosts(hosts) if hosts.len() == 2), "{two:?}");
    let View::Risk(risk) = world.view(Query::Risk(two.lost.clone())) else { panic!("a risk") };
    assert_eq!(risk.loss.value().map(|loss| loss.stops.len()), Some(two.stops as usize));
    for line in &status.hosts {
        let View::Risk(risk) = world.view(Query::Risk(Lost::Host(line.host.clone()))) else { panic!("a risk") };
        let loss = risk.loss.value().expect("the leader hears agents");
        assert_eq!(loss.masters, line.masters);
        let fullest = loss.fullest.as_ref().map(|f| (f.after, f.host.clone()));
        assert_eq!((fullest, Some(0)), (line.fullest_if_dies.clone(), line.stop_if_dies));
    }
    let victim = worst[0].lost.clone();
    let Lost::Host(name) = &victim else { panic!("a host") };
    world.agents.get_mut(name).unwrap().up = false;
    world.run_for(20_000);
    // What only that host had a live copy of can't be lost again; the others now hang on one host.
    let View::Risks(risks) = world.view(Query::Risks) else { panic!("risks") };
    let losses = risks.losses.value().unwrap();
    assert!(LossLine::worst(&losses.hosts).unwrap().stops > 0, "{losses:?}");
    let nowhere = Lost::Host(host("imap9"));
    assert_eq!(world.view(Query::Risk(nowhere)), View::NotFound { subject: "host imap9".into() });
    let View::Risks(risks) = of_a_follower(&mut world, Query::Risks) else { panic!("risks") };
    assert!(risks.losses.value().is_none());
}

#[test]
fn a_node_that_does_not_lead_says_that_it_hears_no_agents() {
    let mut world = built(23, 3);
    world.run_for(5_000);
    let View::Stores(view) = of_a_follower(&mut world, Query::Stores(StoreFilter::default())) else { panic!("stores") };
    let unknown = |seen: &dyn std::fmt::Debug| format!("{seen:?}").contains("only the leader hears agents");
    assert!(view.stores.iter().all(|l| unknown(&l.served) && unknown(&l.live) && unknown(&l.worst_lag_records)));
}

/// What is held is not started again, nor tried again and again; status says what to type, and the release lets it through.
#[test]
fn what_is_held_waits_for_its_release() {
    let mut world = built(27, 3);
    world.run_for(5_000);
    let all = stores(&mut world, StoreFilter::default());
    let (name, master) = (all.stores[0].store.clone(), all.stores[0].master.clone().unwrap());
    let on = HoldOn::Store(name.clone());
    let hold = ControlRequest::Hold { request: None, on: on.clone(), reason: "hands off".into() };
    let answer = world.ask_leader("alice", &hold);
    assert!(matches!(&answer, Ok(Reply::Hold { changed: true, running, .. }) if running.is_empty()), "{answer:?}");
    assert!(matches!(world.ask_leader("bob", &hold), Err(Failure::Refused(why)) if why.contains("is held by alice")));
    let nobody = ControlRequest::Hold { request: None, on: HoldOn::Host(host("imap9")), reason: "why".into() };
    assert!(matches!(world.ask_leader("alice", &nobody), Err(Failure::NotFound(_))));
    let why = world.plan(Intent::FailOverSlot { slot: master.clone(), to: None }).unwrap_err().to_string();
    assert!(why.contains(&format!("slotctl release {on} -m REASON")), "{why}");

    world.agents.get_mut(&master.host).unwrap().slots.get_mut(&master.number).unwrap().running = false;
    let plans = |world: &World| world.core(world.leader().unwrap()).state().last_plan;
    let before = plans(&world);
    world.run_for(30_000);
    assert_eq!(plans(&world), before, "nothing is proposed");
    let line = stores(&mut world, StoreFilter::default());
    assert_eq!((&line.stores[0].held, line.holds[0].hold.reason.as_str()), (&vec![on.clone()], "hands off"));
    assert_eq!(line.stores[0].served.value(), Some(&false));
    let View::Status(status) = world.view(Query::Status) else { panic!("a status") };
    assert_eq!(status.holds.len(), 1);
    let trouble = status.needs_you.iter().find(|trouble| trouble.subject == name.as_str()).expect("it is not served");
    assert_eq!(trouble.next, format!("slotctl release {on} -m REASON"));

    let release = ControlRequest::Release { request: None, on, reason: "go on".into() };
    assert!(matches!(world.ask_leader("bob", &release), Ok(Reply::Hold { changed: true, .. })));
    world.run_for(10_000);
    assert_eq!(stores(&mut world, StoreFilter::default()).stores[0].served.value(), Some(&true));
    world.check();
}

#[test]
fn a_snapshot_plans_as_its_leader_does_and_a_follower_says_that_it_does_not_see() {
    let mut world = built(26, 3);
    world.run_for(5_000);
    let View::Snapshot(taken) = world.view(Query::Snapshot) else { panic!("a snapshot") };
    assert_eq!((taken.check(), &taken.not_seen), (Ok(()), &None));
    assert!(taken.coordinators.len() == 3 && taken.cluster.stores.len() == 3, "{taken:?}");
    let mut inputs = slot_planner::Inputs::of(&taken, OperatorName::new("alice").ok(), "ticket 8812");
    let intent = Intent::DrainHost(host("imap1"));
    let here = slot_planner::plan(&taken.cluster, &taken.evidence, intent.clone(), inputs.clone()).unwrap();
    let drain = world.plan(intent.clone()).unwrap();
    let View::Plan(there) = world.view(Query::Plan(drain)) else { panic!("a plan") };
    let there: slot_types::plan::Plan = codec::decode(&there.bytes).unwrap();
    assert_eq!((&there.tasks, &there.facts), (&here.plan().tasks, &here.plan().facts));
    // What a running plan holds is in the snapshot, and refused from it as it is by the leader.
    world.approve(drain).unwrap();
    let View::Snapshot(taken) = world.view(Query::Snapshot) else { panic!("a snapshot") };
    assert!(!taken.busy_stores.is_empty() && taken.busy_hosts.contains(&host("imap1")), "{taken:?}");
    inputs = slot_planner::Inputs::of(&taken, inputs.requested_by, "");
    assert!(slot_planner::plan(&taken.cluster, &taken.evidence, intent, inputs).is_err());
    let View::Snapshot(blind) = of_a_follower(&mut world, Query::Snapshot) else { panic!("a snapshot") };
    assert!(blind.not_seen.is_some_and(|why| why == "only the leader hears agents"));
}

/// ADR 37: what agents measure is shown by the leader, and each sheet says what it would be. It is on no other node, and goes with
/// its leader.
#[test]
fn load_is_measured_by_agents_shown_by_the_leader_and_forecast_by_plans() {
    let mut world = built(27, 3);
    world.run_for(5_000);
    let loads = |world: &mut World, query: Query| {
        let View::Status(status) = world.view(query) else { panic!("a status") };
        status.hosts.iter().map(|line| line.load_ppm.value().copied()).collect::<Vec<_>>()
    };
    assert_eq!(loads(&mut world, Query::Status), [None; 3], "nobody has measured it");
    for agent in world.agents.values_mut() {
        let busy = |cpu_ppm| Busy { cpu_ppm, disk_ppm: None };
        let engine = |slot: &u16| EngineLoad { slot: *slot, busy: busy(30_000) };
        let engines = agent.slots.keys().map(engine).collect();
        agent.load = Some(HostLoad { window_ms: 30_000, processors: 8, machine: busy(610_000), engines });
    }
    world.run_for(5_000);
    assert_eq!(loads(&mut world, Query::Status), [Some(610_000); 3]);
    let View::Evidence(seen) = world.view(Query::Evidence(host("imap1"))) else { panic!("evidence") };
    assert_eq!(seen.load.value(), world.agents[&host("imap1")].load.as_ref());
    let View::Status(blind) = of_a_follower(&mut world, Query::Status) else { panic!("a status") };
    assert!(blind.hosts.iter().all(|line| line.load_ppm.value().is_none()), "{:?}", blind.hosts);

    let master = stores(&mut world, StoreFilter::default()).stores[0].master.clone().unwrap();
    let drain = world.plan(Intent::DrainHost(master.host.clone())).unwrap();
    let View::Plan(view) = world.view(Query::Plan(drain)) else { panic!("a plan") };
    let plan: slot_types::plan::Plan = codec::decode(&view.bytes).unwrap();
    let gains: Vec<_> = forecast(&plan.evidence, &plan.tasks).into_iter().filter(|one| one.comes > 0).collect();
    assert!(!gains.is_empty());
    for one in &gains {
        assert_eq!(one.then_ppm.value(), Some(&(610_000 + one.comes * 30_000)), "{one:?}");
    }
    assert!(plan.notes.iter().any(|note| note.heading == "WHERE TO" && note.text.contains("load 61 -> 64 %")));
    world.approve(drain).unwrap();
    world.until("the drain is done", |w| w.plan_status(drain).as_deref() == Some("done"));
    world.check();
}
