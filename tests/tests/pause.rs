//! Plans that are paused half way, taken up again, given up or undone (R18, docs/adr/0025-paused-resumed-undone.md).
//!
//! What always holds: of a paused plan nothing is in motion and nothing is frozen, whoever leads: every store is served, by the
//! master it had or by the one it was handed to; nothing that was acknowledged is lost.

use serde_json::Value;
use slot_tests::cluster::Cluster;
use slot_tests::ctl::{DONE, FAILED, NEEDS_APPROVAL, PART_WAY, Proposal};
use slot_tests::programs::Programs;
use slot_tests::shape::{Shape, host};
use slot_tests::verify::verify;
use slot_tests::writer::{Routes, Writers};
use slot_tests::{AT_LAST, Outcome, engines, rot, wait_until};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(10);
/// Longer than a whole drain takes where nobody pauses it.
const STILL: Duration = Duration::from_secs(5);
/// How long each agent thinks before it freezes, so that a person is quick enough to pause between two stores.
const SLOWLY: &str = "agent-freeze-received=sleep:700";

/// A cluster whose masters leave a host one after another, with time in between; with a host that has several.
/// `None` where the programs have no failpoints, which was said then.
fn slow_cluster() -> Outcome<Option<(Cluster, u8)>> {
    let Some(programs) = Programs::with_failpoints()? else { return Ok(None) };
    let policy = "handover = { at_once = 1, per_host = 1 }\n".into();
    let shape = Shape { slots: 10, stores: 12, policy, ..Shape::small() };
    let slow = (1..=shape.hosts).map(|n| (host(n), SLOWLY.to_owned())).collect::<BTreeMap<_, _>>();
    let cluster = Cluster::for_test_with(shape, programs, slow)?;
    for n in 1..=cluster.shape.hosts {
        if cluster.masters_on(n)?.len() >= 4 {
            return Ok(Some((cluster, n)));
        }
    }
    Err("no host has four masters".into())
}

/// A drain that runs, and has handed over one store at least.
fn half_way(cluster: &Cluster, writers: &Writers, n: u8) -> Outcome<Proposal> {
    let before = writers.routes();
    let proposal = cluster.ctl.propose("alice", &["drain", "host", &host(n), "-m", "new fan"])?;
    cluster.ctl.approve_and_go("alice", &proposal)?.expect(DONE)?;
    wait_until("the first master leaves", AT_LAST, || writers.routes() != before)?;
    Ok(proposal)
}

/// Has it paused by alice; fails unless it then rests between two stores.
fn paused(cluster: &Cluster, plan: &str) -> Outcome<Value> {
    let said = cluster.ctl.json("alice", &["plan", "pause", plan, "-m", "lunch"])?.expect(PART_WAY)?;
    let standing = said.json();
    assert_eq!((&standing["state"], &standing["safe_to_switch_off"]), (&"Paused".into(), &false.into()), "{said:?}");
    must_rest(&standing);
    Ok(standing)
}

/// R18: every hand-over is over or has not begun, and there are some of both.
fn must_rest(standing: &Value) {
    let states: BTreeSet<&str> = handovers(standing).into_iter().map(|(_, task)| task).collect();
    assert_eq!(states, BTreeSet::from(["Done", "Waiting"]), "{standing}");
    for task in standing["tasks"].as_array().into_iter().flatten() {
        let begun = task["state"] == "Waiting" && task["steps_done"] != 0;
        assert!(!begun && task["state"] != "Running", "in motion: {task}");
    }
}

/// The stores that a plan hands over, each with how far it is.
fn handovers(standing: &Value) -> Vec<(&str, &str)> {
    let planned = standing["document"]["tasks"].as_array().into_iter().flatten();
    let lines = standing["tasks"].as_array().into_iter().flatten();
    let moving = planned.zip(lines).filter(|(task, _)| task["kind"]["HandOver"].is_object());
    moving.filter_map(|(task, line)| Some((task["store"].as_str()?, line["state"].as_str()?))).collect()
}

fn standing(cluster: &Cluster, plan: &str) -> Outcome<Value> {
    cluster.look(&["plan", "show", plan])
}

/// For a while no master moves, the plan stays as it is, and every store takes writes all the time: none is frozen.
fn nothing_moves(cluster: &Cluster, writers: &Writers, plan: &str) -> Outcome<()> {
    let (routes, at) = (writers.routes(), standing(cluster, plan)?);
    let until = Instant::now() + STILL;
    while Instant::now() < until {
        writers.wait_progress()?;
        let now = standing(cluster, plan)?;
        assert_eq!((&now["state"], &now["tasks"]), (&at["state"], &at["tasks"]), "it went on while it was paused");
        assert_eq!(writers.routes(), routes, "a master moved while the plan was paused");
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// Masters moved for exactly the stores whose hand-over is done; all others are as they were, at the same epoch.
fn exactly_the_done_ones_moved(standing: &Value, before: &Routes, now: &Routes) {
    let all = handovers(standing).into_iter();
    let done: BTreeSet<&str> = all.filter(|(_, state)| *state == "Done").map(|(store, _)| store).collect();
    let changed = before.iter().filter(|(store, route)| now.get(*store) != Some(*route));
    let moved: BTreeSet<&str> = changed.map(|(store, _)| store.as_str()).collect();
    assert_eq!(moved, done, "{standing}");
}

#[test]
fn r18_a_drain_paused_half_way_rests_through_leaders_and_is_resumed_by_another_person() -> Outcome<()> {
    let Some((mut cluster, n)) = slow_cluster()? else { return Ok(()) };
    let mut writers = Writers::start(&cluster, PAUSE)?;
    let (masters, before) = (cluster.masters_on(n)?, writers.routes());
    let plan = half_way(&cluster, &writers, n)?.plan;
    let stands = paused(&cluster, &plan)?;
    wait_until("clients know where the masters are", AT_LAST, || {
        cluster.routes().is_ok_and(|all| {
            all.iter().all(|(store, slot)| writers.routes().get(store).is_some_and(|route| route.to.slot == *slot))
        })
    })?;
    exactly_the_done_ones_moved(&stands, &before, &writers.routes());
    nothing_moves(&cluster, &writers, &plan)?;
    // It is a person's to know of, and is not paused twice.
    let status = cluster.ctl.run("bob", &["status"])?.expect(DONE)?.stdout;
    for told in [format!("{plan} drain {}: PAUSED by alice", host(n)), format!("slotctl plan watch {plan}")] {
        assert!(status.contains(&told), "{told} in {status}");
    }
    let twice = cluster.ctl.json("bob", &["plan", "pause", &plan, "-m", "me too"])?.expect(FAILED)?;
    assert!(twice.stderr.contains("paused by alice"), "{}", twice.stderr);
    // It keeps its stores meanwhile.
    let other = cluster.ctl.json("bob", &["drain", "host", &host(n), "-m", "mine"])?.expect(FAILED)?;
    assert!(other.stderr.contains("a running plan holds"), "{}", other.stderr);

    let leader = cluster.leader()?;
    cluster.kill_coordinator(leader)?;
    assert_ne!(cluster.leader()?, leader, "a dead coordinator does not lead");
    let again = standing(&cluster, &plan)?;
    assert_eq!((&again["state"], &again["tasks"]), (&"Paused".into(), &stands["tasks"]), "the next leader knows");
    nothing_moves(&cluster, &writers, &plan)?;
    cluster.start_coordinator(leader)?;

    let said = cluster.ctl.insist(|| cluster.ctl.json("bob", &["plan", "resume", &plan, "-m", "back from lunch"]))?;
    let ended = said.expect(DONE)?.json();
    assert_eq!((&ended["state"], &ended["safe_to_switch_off"]), (&"Done".into(), &true.into()), "{ended}");
    assert!(cluster.engines(n).is_empty() && cluster.masters_on(n)?.is_empty());
    let audit = cluster.look(&["audit", "--limit", "500"])?.to_string();
    for told in [format!("pause {plan}: lunch"), format!("resume {plan}: back from lunch")] {
        assert!(audit.contains(&told), "{told} in {audit}");
    }
    writers.wait_progress()?;
    // What is over can be undone too: replicas are started, then the same masters handed back.
    cluster.ctl.change("carol", &["plan", "undo", &plan, "-m", "the fan was well"])?.expect(DONE)?;
    assert_eq!(cluster.masters_on(n)?, masters, "the same masters are back");
    assert_eq!(cluster.look(&["show", "host", &host(n)])?["declared"], "Active");
    cluster.wait_served()?;
    writers.wait_progress()?;
    writers.stop()?;
    verify(&writers)?.must_be_in_order()
}

#[test]
fn r18_a_paused_drain_that_is_aborted_leaves_every_store_where_it_was_handed_to() -> Outcome<()> {
    let Some((cluster, n)) = slow_cluster()? else { return Ok(()) };
    let mut writers = Writers::start(&cluster, PAUSE)?;
    let masters = cluster.masters_on(n)?;
    let plan = half_way(&cluster, &writers, n)?.plan;
    paused(&cluster, &plan)?;
    let routes = cluster.routes()?;
    cluster.ctl.json("bob", &["plan", "abort", &plan, "-m", "another day"])?.expect(DONE)?;
    let ended = cluster.ctl.watch(&plan)?.expect(PART_WAY)?.json();
    assert_eq!((&ended["state"], &ended["safe_to_switch_off"]), (&"Aborted".into(), &false.into()), "{ended}");
    assert_eq!(cluster.routes()?, routes, "nothing was frozen, so nothing had to go on or back");
    writers.wait_progress()?;
    let late = cluster.ctl.json("alice", &["plan", "resume", &plan, "-m", "too late"])?.expect(FAILED)?;
    assert!(late.stderr.contains("aborted by bob"), "{}", late.stderr);
    // Its stores are anybody's again.
    cluster.ctl.change("alice", &["undrain", "host", &host(n), "-m", "back"])?.expect(DONE)?;
    assert_eq!(cluster.masters_on(n)?, masters, "the same masters are there");
    cluster.wait_served()?;
    writers.stop()?;
    verify(&writers)?.must_be_in_order()
}

#[test]
fn r18_an_undo_pauses_what_runs_and_brings_the_masters_back_after_a_yes_of_its_own() -> Outcome<()> {
    let Some((cluster, n)) = slow_cluster()? else { return Ok(()) };
    let mut writers = Writers::start(&cluster, PAUSE)?;
    let masters = cluster.masters_on(n)?;
    let plan = half_way(&cluster, &writers, n)?.plan;
    let undo = ["plan", "undo", &plan, "-m", "the wrong host"];
    let first = cluster.ctl.insist(|| cluster.ctl.json("alice", &undo))?.expect(NEEDS_APPROVAL)?;
    must_rest(&standing(&cluster, &plan)?);
    // A no costs nothing: the drain is still there to be resumed, and to be undone.
    cluster.ctl.json("bob", &["plan", "reject", &first.plan()?, "-m", "let us see"])?.expect(DONE)?;
    nothing_moves(&cluster, &writers, &plan)?;
    let ended = cluster.ctl.change("alice", &undo)?.expect(DONE)?.json();
    assert_eq!(ended["document"]["intent"]["Undo"]["plan"], plan.trim_start_matches('p').parse::<u64>()?, "{ended}");
    assert_eq!(cluster.masters_on(n)?, masters, "the same masters are back");
    assert_eq!(cluster.look(&["show", "host", &host(n)])?["declared"], "Active");
    let over = standing(&cluster, &plan)?;
    assert!(over["state"] != "Paused" && over["ended"].is_number(), "an undo that started ends what it undoes: {over}");
    cluster.ctl.json("bob", &["plan", "resume", &plan, "-m", "too late"])?.expect(FAILED)?;
    cluster.wait_served()?;
    writers.wait_progress()?;
    writers.stop()?;
    verify(&writers)?.must_be_in_order()
}

/// A hand-over that has not begun: its store, and the slot it goes to.
fn waiting(standing: &Value) -> Outcome<(String, String)> {
    let planned = standing["document"]["tasks"].as_array().into_iter().flatten();
    let lines = standing["tasks"].as_array().into_iter().flatten();
    let found = planned.zip(lines).find_map(|(task, line)| {
        let to = task["kind"]["HandOver"]["to"].as_str().filter(|_| line["state"] == "Waiting")?;
        Some((task["store"].as_str()?.to_owned(), to.to_owned()))
    });
    found.ok_or_else(|| format!("no hand-over waits: {standing}").into())
}

#[test]
fn r7_a_drain_that_meets_a_copy_that_differs_leaves_that_store_and_its_last_lines_name_the_record() -> Outcome<()> {
    let Some((cluster, n)) = slow_cluster()? else { return Ok(()) };
    let mut writers = Writers::start(&cluster, PAUSE)?;
    let plan = half_way(&cluster, &writers, n)?.plan;
    let (store, to) = waiting(&paused(&cluster, &plan)?)?;
    // Held, so that nobody starts the replica before its record is another one.
    cluster.ctl.run("bob", &["hold", "store", &store, "-m", "its disk is looked at"])?.expect(DONE)?;
    let engine = cluster.engine_on(&to)?;
    engines::kill(&engine)?;
    let index = rot::rewrite_last(&store, &to, &engine.dir)?;
    cluster.ctl.run("bob", &["release", "store", &store, "-m", "done"])?.expect(DONE)?;
    wait_until("the copy that differs is found", AT_LAST, || {
        cluster.ctl.run("bob", &["stores", "--store", &store]).is_ok_and(|said| said.stdout.contains("DIFFERS"))
    })?;

    let resume = ["plan", "resume", &plan, "-m", "go on"];
    let said = cluster.ctl.insist(|| cluster.ctl.run("bob", &resume))?.expect(PART_WAY)?;
    for told in [format!("{to} differs from its master in"), format!("record {index}:")] {
        assert!(said.stdout.contains(&told), "{told} in {}", said.stdout);
    }
    let last = said.stdout.trim_end().lines().last().unwrap_or_default().to_owned();
    assert!(last.starts_with(&format!("{} is NOT SAFE TO SWITCH OFF: 1 master left", host(n))), "last line: {last}");
    let left: Vec<String> = cluster.masters_on(n)?.iter().map(ToString::to_string).collect();
    assert_eq!(left, std::slice::from_ref(&store), "the rest went on");
    writers.wait_progress()?;
    let status = cluster.ctl.run("bob", &["status"])?.expect(DONE)?.stdout;
    assert!(status.contains(&format!("{to} DIFFERS from its master")), "{status}");

    // Built anew it is as good as any, and the host can be drained.
    cluster.ctl.json("bob", &["plan", "abort", &plan, "-m", "the copy first"])?.expect(DONE)?;
    cluster.ctl.watch(&plan)?.expect(PART_WAY)?;
    cluster.ctl.change("bob", &["move", "slot", &to, "-m", "its disk lies"])?.expect(DONE)?;
    let again = cluster.ctl.change("bob", &["drain", "host", &host(n), "-m", "new fan"])?.expect(DONE)?;
    assert_eq!(again.json()["safe_to_switch_off"], true, "{again:?}");
    writers.wait_progress()?;
    writers.stop()?;
    verify(&writers)?.must_be_in_order()
}
