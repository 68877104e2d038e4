//! One store's master moves as planned, while clients write and processes are killed at every step.
//!
//! What always holds: the hand-over completes, or it is aborted and the old master serves; nothing that was acknowledged
//! is lost, nothing is there twice, records keep their order; there is one master in the end.

use serde_json::Value;
use slot_tests::armed::{Armed, ENGINE_POINTS, MOMENTS, STEPS};
use slot_tests::cluster::Cluster;
use slot_tests::ctl::DONE;
use slot_tests::programs::Programs;
use slot_tests::shape::Shape;
use slot_tests::verify::verify;
use slot_tests::writer::Writers;
use slot_tests::{AT_LAST, Outcome, wait_for};
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(10);
/// How long a failpoint that was armed late is waited for, once its plan is over.
const LATE: Duration = Duration::from_secs(30);
/// How many hand-overs a late failpoint is given.
const TURNS: usize = 10;
const STORE: &str = "store1";

/// The store's master, and the slot of its only replica.
fn sides(cluster: &Cluster) -> Outcome<(String, String)> {
    let master = cluster.master_of(STORE)?;
    let other = cluster.copies_of(STORE)?.into_iter().find(|slot| *slot != master).ok_or("no replica")?;
    Ok((master, other))
}

fn host_of(slot: &str) -> &str {
    slot.split('/').next().unwrap_or(slot)
}

#[test]
fn a_master_moves_and_no_client_notices_but_by_a_pause() -> Outcome<()> {
    let cluster = Cluster::for_test(Shape::small())?;
    let mut writers = Writers::start(&cluster, PAUSE)?;
    let (from, to) = sides(&cluster)?;
    let epoch = cluster.epoch_of(STORE)?;
    let said = cluster.ctl.change("alice", &["failover", "slot", &from, "--to", &to, "-m", "test"])?.expect(DONE)?;
    assert_eq!(said.json()["state"], "Done");
    assert_eq!(cluster.master_of(STORE)?, to);
    assert_eq!(cluster.epoch_of(STORE)?, epoch + 1);
    writers.wait_progress()?;
    // And back again: the old master follows the new one and is its heir.
    cluster.wait_served()?;
    cluster.ctl.change("alice", &["failover", "store", STORE, "--to", &from, "-m", "test"])?.expect(DONE)?;
    assert_eq!(cluster.master_of(STORE)?, from);
    writers.wait_progress()?;
    writers.stop()?;
    verify(&writers)?.must_be_in_order()
}

/// Who is killed.
#[derive(Debug, Clone, Copy)]
enum Victim {
    /// The leading coordinator.
    Leader,
    /// On the host of the old master.
    Old,
    /// On the host of the new master.
    New,
    /// Wherever the canary is sent from.
    Anywhere,
}

/// One kill.
struct Case {
    victim: Victim,
    failpoint: String,
    /// Armed only once the plan is approved: it would be reached by ordinary writes too.
    late: bool,
}

fn case(victim: Victim, failpoint: impl Into<String>, late: bool) -> Case {
    Case { victim, failpoint: failpoint.into(), late }
}

fn processes(cluster: &Cluster, victim: Victim, from: &str, to: &str) -> Vec<String> {
    match victim {
        Victim::Leader => vec!["c1".into()], // coordinators share their markers
        Victim::Old => vec![host_of(from).to_owned()],
        Victim::New => vec![host_of(to).to_owned()],
        Victim::Anywhere => (1..=cluster.shape.hosts).map(slot_tests::shape::host).collect(),
    }
}

/// Follows a plan to its end, starting again what was killed.
fn end_of(cluster: &mut Cluster, plan: &str) -> Outcome<Value> {
    wait_for(&format!("plan {plan} ends"), AT_LAST, || {
        if let Err(error) = cluster.revive() {
            eprintln!("{error}");
        }
        let view = cluster.look(&["plan", "show", plan]).ok()?;
        let ended = !["Proposed", "Running", "Stuck", "Aborting"].contains(&view["state"].as_str()?);
        ended.then_some(view)
    })
}

/// Plays a case; `false` when its plan was over before its failpoint was armed, which only a late one can find.
fn play(cluster: &mut Cluster, writers: &Writers, armed: &Armed, case: &Case) -> Outcome<bool> {
    let (from, to) = sides(cluster)?;
    let victims = processes(cluster, case.victim, &from, &to);
    let arm = || victims.iter().try_for_each(|process| armed.arm(process, &case.failpoint));
    let proposal = cluster.ctl.propose("alice", &["failover", "slot", &from, "--to", &to, "-m", "kill at a step"])?;
    if !case.late {
        arm()?;
    }
    cluster.ctl.approve_and_go("alice", &proposal)?.expect(DONE)?;
    if case.late {
        arm()?;
    }
    let view = end_of(cluster, &proposal.plan)?;
    let patience = if case.late { LATE } else { AT_LAST };
    let reached = wait_for("the failpoint is reached", patience, || {
        victims.iter().any(|process| armed.happened(process, &case.failpoint)).then_some(())
    });
    armed.disarm_all()?;
    let missed = case.late && reached.is_err() && view["state"] == "Done";
    if !missed {
        reached?;
    }
    wait_for("everybody is up again", AT_LAST, || cluster.revive().ok().filter(Vec::is_empty))?;
    cluster.wait_served()?;
    writers.wait_progress()?;
    let master = cluster.master_of(STORE)?;
    let state = view["state"].as_str().unwrap_or_default();
    eprintln!("{:?} {}: {state}, master {master} ({from} -> {to})", case.victim, case.failpoint);
    let fits = if state == "Done" { master == to } else { master == from || master == to };
    if fits { Ok(!missed) } else { Err(format!("plan {state}, but {STORE} is served by {master}: {view}").into()) }
}

fn play_all(cases: &[Case]) -> Outcome<()> {
    let Some(programs) = Programs::with_failpoints()? else { return Ok(()) };
    let shape = Shape::small();
    let armed = Armed::new(&shape)?;
    let mut cluster = Cluster::for_test_with(shape, programs, armed.environment())?;
    let mut writers = Writers::start(&cluster, PAUSE)?;
    for case in cases {
        let mut turn = || {
            let played = play(&mut cluster, &writers, &armed, case);
            played.map_err(|error| format!("{:?} killed at {}: {error}", case.victim, case.failpoint))
        };
        // A hand-over takes some 70 ms: it may be over before its late failpoint is armed. Then there is another one.
        let mut reached = false;
        for _ in 0..TURNS {
            reached = turn()?;
            if reached {
                break;
            }
        }
        if !reached {
            return Err(format!("{:?} was not killed at {} in {TURNS} turns", case.victim, case.failpoint).into());
        }
    }
    writers.stop()?;
    verify(&writers)?.must_be_in_order()
}

#[test]
fn the_leader_is_killed_at_every_step() -> Outcome<()> {
    let mut cases = Vec::new();
    for (step, by_agent) in STEPS {
        cases.push(case(Victim::Leader, format!("slotd-started-{step}"), false));
        if by_agent {
            cases.push(case(Victim::Leader, format!("slotd-finished-{step}"), false));
        }
    }
    for point in ["slotd-before-persist", "slotd-after-persist"] {
        cases.push(case(Victim::Leader, point, true));
    }
    play_all(&cases)
}

#[test]
fn an_agent_or_an_engine_is_killed_at_every_step() -> Outcome<()> {
    let mut cases = Vec::new();
    for (step, victim) in [
        ("freeze", Victim::Old),
        ("catch-up", Victim::New),
        ("demote", Victim::Old),
        ("promote", Victim::New),
        ("follow", Victim::Old),
        ("canary", Victim::Anywhere),
    ] {
        cases.extend(MOMENTS.map(|moment| case(victim, format!("agent-{step}-{moment}"), false)));
    }
    for point in ENGINE_POINTS {
        let victim = if point == "journal-after-promote-durable" { Victim::New } else { Victim::Old };
        let by_writes_too = !point.ends_with("durable");
        cases.push(case(victim, point, by_writes_too));
    }
    cases.push(case(Victim::New, "journal-after-disk", true));
    play_all(&cases)
}
