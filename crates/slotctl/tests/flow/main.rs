//! Whole commands against scripted coordinators over real mutual TLS.

mod audit;
mod coordinators;
mod fake;
#[expect(dead_code, reason = "shared with the tests of texts, which use all of it")]
#[path = "../text/fixtures.rs"]
mod fixtures;
mod generate;
mod invite;
#[path = "../text/sink.rs"]
mod sink;
mod verify;

use clap::Parser;
use fake::Rig;
use fixtures::*;
use sink::Sink;
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::plan::{Intent, Plan, Task, TaskKind};
use slot_types::position::Digest;
use slot_types::view::{PlanState, TaskProgress};
use slotctl::args::Cli;
use slotctl::console::Console;
use slotctl::failure::Exit;
use tonic::Status;

struct Ended {
    exit: Exit,
    out: String,
    err: String,
}

/// Runs a command as `oncall`; with `answers`, as on a terminal.
async fn run(rig: &Rig, line: &str, answers: Option<&[&str]>) -> Ended {
    let folder = rig.folder("oncall");
    let folder = ["--folder", folder.to_str().unwrap()];
    // Reasons are one word here, so that a line can be cut at its blanks.
    let cli = Cli::try_parse_from(line.split(' ').chain(folder)).unwrap();
    let (out, err) = (Sink::default(), Sink::default());
    let json = cli.global.output == slotctl::args::Output::Json;
    let answers = answers.map(|lines| lines.iter().map(ToString::to_string).collect());
    let mut console = Console::elsewhere(Box::new(out.clone()), Box::new(err.clone()), answers, json);
    let exit = slotctl::run(cli, &mut console).await;
    Ended { exit, out: out.text(), err: err.text() }
}

/// One coordinator that plans a drain which ends well.
async fn drains() -> (Rig, String) {
    let rig = Rig::start(&["c1"]).await;
    let plan = Plan { cluster: rig.cluster, ..drain_plan() };
    let digest = Digest::of(&plan.bytes()).to_string();
    {
        let mut script = rig.script("c1");
        script.plan = Some(plan);
        script.ends = Some(drain_view(PlanState::Done, TaskProgress::Done));
        script.host = Some(slot_types::view::HostView { declared: HostState::Maintenance, ..host_view() });
    }
    (rig, digest)
}

const DRAIN: &str = "slotctl drain host imap3 -m ticket-8812";

#[tokio::test]
async fn without_a_terminal_the_plan_and_the_approve_command_are_printed() {
    let (rig, digest) = drains().await;
    let ended = run(&rig, DRAIN, None).await;
    assert_eq!(ended.exit, Exit::NeedsApproval, "{}", ended.err);
    assert!(ended.out.contains(&format!("slotctl plan approve p17 --digest {digest} -m \"...\"")), "{}", ended.out);
    let script = rig.script("c1");
    assert_eq!(script.intents, [Intent::DrainHost(host(3))]);
    assert!(script.approved.is_empty(), "nobody said yes");
}

#[tokio::test]
async fn yes_on_a_terminal_approves_the_digest_of_what_was_shown() {
    let (rig, digest) = drains().await;
    let ended = run(&rig, DRAIN, Some(&["perhaps", "yes"])).await;
    assert_eq!(ended.exit, Exit::Done, "{}", ended.err);
    assert!(ended.err.contains("Carry out p17 as oncall? [yes/no] "), "{}", ended.err);
    assert!(ended.out.lines().last().unwrap().starts_with("imap3 is SAFE TO SWITCH OFF"), "{}", ended.out);
    let script = rig.script("c1");
    let approved: Vec<String> = script.approved.iter().map(|d| digest_of(d)).collect();
    assert_eq!(approved, [digest]);
    let asked: Vec<&str> = script.calls.iter().map(String::as_str).filter(|c| c.contains("42")).collect();
    assert_eq!(asked, ["MakePlan 42 1 by operator/oncall", "ApprovePlan 42 2 by operator/oncall"]);
    assert_eq!(script.calls.iter().filter(|c| c.starts_with("WatchPlan")).count(), 2, "a broken watch goes on");
}

fn digest_of(bytes: &[u8]) -> String {
    slot_types::position::ShortDigest(bytes.try_into().unwrap()).to_string()
}

/// The plan that c1 makes, and sees done once it is approved; its digest.
fn makes(rig: &Rig, plan: Plan) -> String {
    let (digest, bytes) = (Digest::of(&plan.bytes()), plan.bytes());
    let view = slot_types::view::PlanView { digest, bytes, ..drain_view(PlanState::Done, TaskProgress::Done) };
    let mut script = rig.script("c1");
    (script.plan, script.ends) = (Some(plan), Some(view));
    digest.to_string()
}

/// R26: a power cut is approved only by who types the host's name, on a terminal or off it.
#[tokio::test]
async fn r26_the_host_that_is_switched_off_is_typed() {
    let (rig, _) = drains().await;
    let plan = Plan { cluster: rig.cluster, switch_off: switched_off(Some(host(9))), ..drain_plan() };
    let digest = makes(&rig, plan);
    let ended = run(&rig, DRAIN, Some(&["yes", "imap4", "no"])).await;
    assert!(ended.err.contains("SWITCHED OFF") && rig.script("c1").approved.is_empty(), "{}", ended.err);
    let approve = format!("slotctl plan approve p17 --digest {digest} -m go");
    for line in [approve.clone(), format!("{approve} --switch-off imap4")] {
        let ended = run(&rig, &line, None).await;
        assert!(ended.exit != Exit::Done && ended.err.contains("SWITCHED OFF"), "{}", ended.err);
        assert!(rig.script("c1").approved.is_empty());
    }
    let ended = run(&rig, &format!("{approve} --switch-off imap3"), None).await;
    assert_eq!(ended.exit, Exit::Done, "{}", ended.err);
    assert_eq!(rig.script("c1").approved.len(), 1);
    let ended = run(&rig, DRAIN, Some(&["imap3"])).await;
    assert_eq!(ended.exit, Exit::Done, "{}", ended.err);
}

/// The end of a store is approved only by who types its name, on a terminal or off it.
#[tokio::test]
async fn the_store_that_is_destroyed_is_typed() {
    let (rig, _) = drains().await;
    let store = slot_types::ids::StoreName::new("store23").unwrap();
    let plan = Plan { cluster: rig.cluster, intent: Intent::RetireStore(store.clone()), ..drain_plan() };
    let digest = makes(&rig, plan);
    let retire = "slotctl retire store store23 -m old";
    let ended = run(&rig, retire, Some(&["yes", "store2", "no"])).await;
    assert!(ended.err.contains("DESTROYED") && rig.script("c1").approved.is_empty(), "{}", ended.err);
    assert_eq!(rig.script("c1").intents, [Intent::RetireStore(store)]);
    let ended = run(&rig, retire, None).await;
    assert!(ended.exit == Exit::NeedsApproval && ended.out.contains("--destroy STORE"), "{}", ended.out);
    let approve = format!("slotctl plan approve p17 --digest {digest} -m go");
    for line in [approve.clone(), format!("{approve} --destroy store2"), format!("{approve} --switch-off imap3")] {
        let ended = run(&rig, &line, None).await;
        assert!(ended.exit != Exit::Done && ended.err.contains("--destroy STORE"), "{line}: {}", ended.err);
        assert!(rig.script("c1").approved.is_empty());
    }
    let ended = run(&rig, &format!("{approve} --destroy store23"), None).await;
    assert_eq!(ended.exit, Exit::Done, "{}", ended.err);
    let ended = run(&rig, retire, Some(&["store23"])).await;
    assert_eq!(ended.exit, Exit::Done, "{}", ended.err);
}

#[tokio::test]
async fn no_rejects_and_silence_leaves_the_plan() {
    let (rig, _) = drains().await;
    let ended = run(&rig, DRAIN, Some(&["no"])).await;
    assert_eq!(ended.exit, Exit::Failed);
    assert!(ended.out.ends_with("p17 rejected; nothing was changed\n"), "{}", ended.out);
    let ended = run(&rig, DRAIN, Some(&[])).await;
    assert_eq!(ended.exit, Exit::NeedsApproval);
    let script = rig.script("c1");
    assert!(script.approved.is_empty());
    assert_eq!(script.calls.iter().filter(|c| c.starts_with("RejectPlan")).count(), 1);
}

#[tokio::test]
async fn two_people_are_never_asked_at_one_terminal() {
    let (rig, _) = drains().await;
    rig.script("c1").plan.as_mut().unwrap().people = 2;
    let ended = run(&rig, DRAIN, Some(&["yes"])).await;
    assert_eq!(ended.exit, Exit::NeedsApproval);
    assert!(ended.out.contains("p17 needs 2 people, 2 more; oncall asked for it and is not one"), "{}", ended.out);
    assert!(!ended.err.contains("Carry out") && rig.script("c1").approved.is_empty());
}

#[tokio::test]
async fn without_a_terminal_watching_is_quiet() {
    let (rig, digest) = drains().await;
    let approve = format!("slotctl plan approve p17 --digest {digest} -m yes");
    assert_eq!(run(&rig, &approve, None).await.exit, Exit::Done);
    let ended = run(&rig, "slotctl plan watch p17", None).await;
    assert_eq!((ended.exit, ended.err.as_str()), (Exit::Done, ""));
    assert!(ended.out.ends_with("0 masters, 0 engines running\n"), "{}", ended.out);
}

#[tokio::test]
async fn a_failover_wants_the_host_typed() {
    let (rig, _) = drains().await;
    {
        let mut script = rig.script("c1");
        let plan = script.plan.as_mut().unwrap();
        plan.intent = Intent::FailOverHost(host(3));
        plan.tasks.push(Task {
            kind: TaskKind::FailOver {
                from: slot(3, 7),
                to: slot(7, 31),
                fence: FenceLevel::Demoted,
                waived: Default::default(),
                unreachable: Default::default(),
                feed: None,
                loss: loss_case(1, LossState::Listed).case.stated,
            },
            store: Some(store(23)),
            epoch: epoch(8),
            after: Vec::new(),
            steps: Vec::new(),
        });
    }
    let line = "slotctl failover host imap3 -m psu";
    assert_eq!(run(&rig, line, Some(&["yes", "yes", "imap4"])).await.exit, Exit::NeedsApproval);
    assert!(rig.script("c1").approved.is_empty());
    let ended = run(&rig, line, Some(&["imap3"])).await;
    assert_eq!(ended.exit, Exit::Done, "{}", ended.err);
    assert_eq!(rig.script("c1").approved.len(), 1);
}

#[tokio::test]
async fn what_a_failover_is_about_and_what_the_person_knows_is_sent() {
    let (rig, _) = drains().await;
    let classes = std::collections::BTreeSet::from([LossClass::Lagging, LossClass::Unknown]);
    for (line, intent, mass) in [
        ("failover host imap3", Intent::FailOverHost(host(3)), false),
        ("failover host imap3 --mass", Intent::FailOverHost(host(3)), true),
        (
            "failover host imap3 --class unknown,lagging",
            Intent::FailOverClasses { host: host(3), classes: classes.clone() },
            false,
        ),
        (
            "failover host imap3 --class all --mass",
            Intent::FailOverClasses { host: host(3), classes: LossClass::ALL.into() },
            true,
        ),
        ("failover store store23 --mass", Intent::FailOverStore { store: store(23), to: None }, true),
    ] {
        run(&rig, &format!("slotctl {line} -m psu"), None).await;
        let script = rig.script("c1");
        assert_eq!((script.intents.last(), script.mass), (Some(&intent), mass), "{line}");
    }
}

#[tokio::test]
async fn a_digest_that_is_not_that_of_the_bytes_is_refused_here() {
    let (rig, digest) = drains().await;
    let right = format!("slotctl plan approve p17 --digest {digest} -m yes");
    let wrong = "slotctl plan approve p17 --digest 0000-0000-0000-0000 -m yes";
    let ended = run(&rig, wrong, None).await;
    assert_eq!(ended.exit, Exit::Failed);
    assert!(ended.err.contains("is not the digest of p17 as received"), "{}", ended.err);
    assert!(!ended.err.contains(&digest), "the right digest is got by reading the plan");
    // R15: one changed byte in the reason, as received; the recorded digest is that of the true bytes.
    let bytes = rig.script("c1").plan.as_ref().unwrap().bytes();
    let at = bytes.windows(6).position(|w| w == b"ticket").unwrap();
    rig.script("c1").tamper = Some(at);
    let ended = run(&rig, &right, None).await;
    assert_eq!(ended.exit, Exit::Failed, "{}", ended.out);
    assert!(ended.err.contains(&format!("recorded with digest {digest}")), "{}", ended.err);
    assert!(rig.script("c1").approved.is_empty(), "nothing reached the coordinator");
    rig.script("c1").tamper = None;
    let ended = run(&rig, &right, None).await;
    assert_eq!(ended.exit, Exit::Done, "{}", ended.err);
    assert_eq!(rig.script("c1").approved.len(), 1);
}

#[tokio::test]
async fn an_approval_that_is_not_the_last_exits_with_3() {
    let (rig, digest) = drains().await;
    rig.script("c1").missing_after_approval = 1;
    let ended = run(&rig, &format!("slotctl plan approve p17 --digest {digest} -m yes"), None).await;
    assert_eq!(ended.exit, Exit::NeedsApproval);
    assert!(ended.out.contains("p17 approved by oncall") && ended.out.contains(&digest), "{}", ended.out);
}

#[tokio::test]
async fn a_drain_that_stops_part_way_says_not_safe() {
    let (rig, digest) = drains().await;
    rig.script("c1").ends = Some(drain_view(PlanState::Stopped, TaskProgress::NotDone));
    rig.script("c1").host = Some(slot_types::view::HostView { declared: HostState::Draining, ..host_view() });
    let approve = format!("slotctl plan approve p17 --digest {digest} -m yes");
    let ended = run(&rig, &approve, None).await;
    assert_eq!(ended.exit, Exit::PartWay);
    assert!(ended.out.lines().last().unwrap().contains("imap3 is NOT SAFE TO SWITCH OFF: "), "{}", ended.out);
    let ended = run(&rig, &format!("{approve} --output json"), None).await;
    let document: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((&document["safe_to_switch_off"], &document["exit"]), (&false.into(), &4.into()));
}

#[tokio::test]
async fn a_refused_drain_says_why_and_whether_it_is_safe() {
    let (rig, _) = drains().await;
    rig.script("c1").refuse = Some(Status::failed_precondition("store58 has no replica that can take over"));
    rig.script("c1").host = Some(host_view());
    let ended = run(&rig, DRAIN, Some(&["yes"])).await;
    assert_eq!(ended.exit, Exit::Failed);
    assert!(ended.err.contains("store58 has no replica that can take over"), "{}", ended.err);
    assert!(
        ended.out.ends_with("imap3 is NOT SAFE TO SWITCH OFF: 1 master left, store4 on imap3/01\n"),
        "{}",
        ended.out
    );
    let ended = run(&rig, &format!("{DRAIN} --output json"), None).await;
    let error: serde_json::Value = serde_json::from_str(&ended.err).unwrap();
    assert_eq!(error["error"]["subject"], "imap3");
    assert!(ended.out.is_empty() && error["error"]["next"].is_string(), "{}", ended.out);
}

#[tokio::test]
async fn what_is_so_already_is_no_failure() {
    let (rig, _) = drains().await;
    for status in
        [Status::already_exists("imap3 is Active"), Status::failed_precondition("nothing to do: imap3 is Active")]
    {
        rig.script("c1").refuse = Some(status);
        let ended = run(&rig, "slotctl undrain host imap3 -m back", None).await;
        assert_eq!((ended.exit, ended.out.as_str()), (Exit::Done, "nothing to do: imap3 is Active\n"), "{}", ended.err);
    }
    let ended = run(&rig, DRAIN, None).await;
    assert_eq!(ended.exit, Exit::Done);
    assert!(ended.out.ends_with("imap3 is SAFE TO SWITCH OFF   it is in Maintenance\n"), "{}", ended.out);
}

#[tokio::test]
async fn json_is_one_document_and_the_exit_codes_are_the_same() {
    let (rig, digest) = drains().await;
    let ended = run(&rig, &format!("{DRAIN} --output json"), Some(&["yes"])).await;
    assert_eq!(ended.exit, Exit::NeedsApproval, "JSON never asks");
    let document: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((&document["plan"], &document["digest"]), (&"p17".into(), &digest.clone().into()));
    assert_eq!(document["document"]["reason"], "replace PSU 2, ticket 8812");
    let ended = run(&rig, &format!("slotctl --output json plan approve p17 --digest {digest} -m yes"), None).await;
    let document: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((ended.exit, &document["safe_to_switch_off"]), (Exit::Done, &true.into()));
}

#[tokio::test]
async fn leader_hints_are_followed() {
    let rig = Rig::start(&["c1", "c2"]).await;
    let leader = format!("c2={}", rig.nodes["c2"].1);
    rig.script("c1").follower_of = Some(leader);
    rig.script("c2").plan = Some(Plan { cluster: rig.cluster, ..drain_plan() });
    let ended = run(&rig, &format!("{DRAIN} --coordinator c1"), None).await;
    assert_eq!(ended.exit, Exit::NeedsApproval, "{}", ended.err);
    assert_eq!(rig.script("c1").calls.len(), 1, "asked once, then the leader");
}

#[tokio::test]
async fn a_coordinator_under_another_name_is_not_talked_to() {
    let (rig, _) = drains().await;
    let at = rig.nodes["c1"].1;
    let ended = run(&rig, &format!("{DRAIN} --coordinator c9={at}"), None).await;
    assert_eq!(ended.exit, Exit::NeedsApproval, "{}", ended.err);
    let asked = rig.script("c1").calls.len();
    assert_eq!(asked, 2, "a session and a plan, both asked of c1 by its own name");
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_under_the_same_number() {
    let (rig, _) = drains().await;
    rig.script("c1").drop_answers = 3;
    let ended = run(&rig, DRAIN, None).await;
    assert_eq!(ended.exit, Exit::NeedsApproval, "{}", ended.err);
    let script = rig.script("c1");
    let made: Vec<&String> = script.calls.iter().filter(|c| c.starts_with("MakePlan")).collect();
    assert_eq!(made, ["MakePlan 42 1 by operator/oncall"; 4]);
}

#[tokio::test]
async fn no_answer_to_a_change_is_an_unknown_outcome() {
    let (rig, _) = drains().await;
    rig.script("c1").drop_answers = u32::MAX;
    let ended = run(&rig, &format!("{DRAIN} --timeout 1s"), None).await;
    assert_eq!(ended.exit, Exit::Failed);
    assert!(ended.err.contains("is UNKNOWN; look before you ask again"), "{}", ended.err);
    assert!(ended.out.contains("imap3 is NOT SAFE TO SWITCH OFF"), "{}", ended.out);
}

#[tokio::test]
async fn a_plan_of_another_cluster_is_refused() {
    let (rig, _) = drains().await;
    rig.script("c1").plan.as_mut().unwrap().cluster = ClusterId([9; 16]);
    let ended = run(&rig, DRAIN, Some(&["yes"])).await;
    assert_eq!(ended.exit, Exit::Failed);
    assert!(ended.err.contains("is a plan for cluster 0909"), "{}", ended.err);
    assert!(rig.script("c1").approved.is_empty());
}

#[tokio::test]
async fn an_attestation_carries_how_and_why() {
    let (rig, _) = drains().await;
    let ended = run(&rig, "slotctl off host imap3 --how unplugged -m ticket-8812", None).await;
    assert_eq!(ended.exit, Exit::Done, "{}", ended.err);
    assert!(rig.script("c1").calls.iter().any(|c| c.starts_with("Attest unplugged (ticket-8812)")));
}

#[tokio::test]
async fn a_hold_names_what_goes_on_and_a_refusal_who_holds() {
    let (rig, _) = drains().await;
    let ended = run(&rig, "slotctl hold host imap3 -m disk", None).await;
    assert_eq!(ended.exit, Exit::Done, "{}", ended.err);
    assert!(ended.out.contains("host imap3 is held") && ended.out.contains("slotctl plan abort p17"), "{}", ended.out);
    let ended = run(&rig, "slotctl --output json hold all -m move", None).await;
    let document: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((&document["subject"], &document["goes_on"][0]), (&"all".into(), &"p17".into()), "{document}");
    let ended = run(&rig, "slotctl release store store23 -m done", None).await;
    assert!(ended.out.contains("no hold on store store23 was there"), "{}", ended.out);
    let calls = rig.script("c1").calls.clone();
    for call in ["Hold host imap3 42 1 by operator/oncall", "Hold all 42 1", "Release store store23 42 1"] {
        assert!(calls.iter().any(|c| c.starts_with(call)), "{call}: {calls:?}");
    }
    let held = "host imap3 is held by bob since 2026-11-24 08:02 UTC: disk; when its time is over: slotctl release host \
                imap3 -m REASON";
    rig.script("c1").refuse = Some(tonic::Status::failed_precondition(held));
    let ended = run(&rig, "slotctl undrain host imap3 -m disk", None).await;
    assert_eq!(ended.exit, Exit::Failed);
    let said = ended.err.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("held by bob") && said.contains("slotctl release host imap3 -m REASON"), "{said}");
}

#[tokio::test]
async fn what_does_not_exist_is_said_so() {
    let (rig, _) = drains().await;
    let ended = run(&rig, "slotctl show store store9", None).await;
    assert_eq!(ended.exit, Exit::Failed);
    assert!(ended.err.contains("does not exist"), "{}", ended.err);
}
