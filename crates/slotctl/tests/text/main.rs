//! What a person reads, from fixed values and a fixed clock; and what the command line takes and refuses.

#[path = "../flow/fake.rs"]
mod fake;
mod fixtures;
mod sink;
mod usage;

use fixtures::*;
use slot_types::cluster::{CopyState, HostState, LossState, Role};
use slot_types::engine::EngineRole;
use slot_types::ids::*;
use slot_types::plan::{Intent, Plan, Task, TaskKind};
use slot_types::position::Digest;
use slot_types::view::*;
use slotctl::commands::audit::Verified;
use slotctl::failure::{Exit, Failure};
use slotctl::{json, text};

/// Compares with the committed transcript; every transcript fits a terminal.
macro_rules! golden {
    ($text:expr) => {{
        let text: String = $text;
        for line in text.lines() {
            assert!(line.chars().count() <= text::layout::COLUMNS, "too wide: {line}");
            assert_eq!(line, line.trim_end(), "ends in a blank");
        }
        insta::assert_snapshot!(text);
    }};
}

mod clusters;
mod evidence;
mod explain;
mod fleet;
mod intents;
mod offline;
mod offline_explain;
mod outputs;
mod progress;
mod risk;
mod schema;
mod snapshots;
mod telling;
mod transcripts;
mod verify;

#[test]
fn status_on_a_quiet_day() {
    golden!(text::status::status(&quiet(), true));
}

#[test]
fn status_when_something_needs_a_person() {
    golden!(text::status::status(&trouble(), true));
}

#[test]
fn status_without_a_leader() {
    let mut view = quiet();
    view.leader = None;
    view.answered_by = CoordinatorName::new("c3").unwrap();
    for line in &mut view.coordinators {
        line.reachable = unknown("c3 does not lead");
    }
    for host in &mut view.hosts {
        host.seen = unknown("c3 does not lead");
        host.worst_lag_records = unknown("c3 does not lead");
    }
    view.hosts.truncate(2);
    view.worst_losses = unknown("only the leader hears agents");
    view.worst_pair = unknown("only the leader hears agents");
    golden!(text::status::status(&view, false));
}

#[test]
fn show_host() {
    golden!(text::show::host(&host_view()));
}

#[test]
fn show_silent_host() {
    golden!(text::show::host(&silent_host()));
}

#[test]
fn show_store() {
    golden!(text::show::store(&store_view()));
}

#[test]
fn show_slot() {
    let store = store_view();
    let view = SlotView { line: store.copies[1].clone(), size_bytes: 500_000_000_000, store: Some(store) };
    golden!(text::show::slot(&view));
}

#[test]
fn an_engine_that_does_not_do_what_was_committed_stands_out() {
    let mut view = store_view();
    view.served = false;
    view.copies[1] = line(7, 31, 23, Role::Master, CopyState::Serving, running(7, 31, 23, EngineRole::Idle, 9_000));
    let text = text::show::store(&view);
    assert!(text.contains("NOT SERVED") && text.contains("idle (!), 9.0 s ago"), "{text}");
}

fn plans() -> Vec<PlanLine> {
    let line = |id, title: &str, state, why: &str, done, missing| PlanLine {
        id: PlanId(id),
        digest: Digest([id as u8; 32]),
        title: title.into(),
        requested_by: (id != 19).then(|| who("oncall")),
        state,
        why: why.into(),
        tasks_done: done,
        tasks_total: 63,
        people_missing: missing,
        created: NOW,
    };
    vec![
        line(20, "fail over host imap3", PlanState::Proposed, "", 0, 2),
        line(19, "start master imap2/05", PlanState::Done, "", 63, 0),
        line(18, "undrain imap4", PlanState::Running, "", 12, 0),
        line(17, "drain imap3", PlanState::Stopped, "copies differ after 3 looks", 62, 0),
    ]
}

#[test]
fn hold_and_release() {
    use slot_types::hold::HoldOn;
    let imap3 = HoldOn::Host(host(3));
    let texts = [
        text::hold::held(&imap3, true, &[]),
        text::hold::held(&imap3, true, &[PlanId(17), PlanId(18)]),
        text::hold::held(&HoldOn::All, false, &[PlanId(17)]),
        text::hold::released(&HoldOn::Store(store(23)), true),
        text::hold::released(&HoldOn::All, false),
    ];
    golden!(texts.join("\n"));
}

#[test]
fn invitations() {
    let none = InvitationsView { invitations: Vec::new(), ..invitations_view() };
    let mut over = invitations_view();
    over.invitations.truncate(2);
    let texts = [
        text::invite::invited(&host(9), std::path::Path::new("imap9.token")),
        text::invite::list(&invitations_view()),
        text::invite::list(&over),
        text::invite::list(&none),
        text::invite::revoked(&host(9)),
    ];
    golden!(texts.join("\n"));
}

#[test]
fn plan_list() {
    golden!(text::plan::list(&plans()));
}

#[test]
fn plan_standing() {
    golden!(text::plan::standing(&drain_view(PlanState::Running, TaskProgress::Running)));
}

#[test]
fn how_a_plan_is_approved() {
    let plan = drain_plan();
    let digest = Digest::of(&plan.bytes()).short();
    let two = Plan { people: 2, ..plan.clone() };
    let one = text::plan::how_to_approve(PlanId(17), &plan, digest, 1);
    golden!(format!("{one}\n{}", text::plan::how_to_approve(PlanId(18), &two, digest, 2)));
}

#[test]
fn progress_says_what_is_left() {
    let view = drain_view(PlanState::Running, TaskProgress::Running);
    assert_eq!(text::plan::progress(&view), "2 of 4 done · 1 moving · 1 to go · 0.1/s · 20 s left");
    let mut view = drain_view(PlanState::Running, TaskProgress::Waiting);
    view.started = None;
    assert_eq!(text::plan::progress(&view), "2 of 4 done · 2 to go");
    view.tasks.clear();
    assert_eq!(text::plan::progress(&view), "0 of 0 done");
}

fn in_state(declared: HostState) -> HostView {
    HostView { declared, ..host_view() }
}

#[test]
fn drain_done() {
    let mut now = in_state(HostState::Maintenance);
    now.slots.clear();
    let ending =
        text::plan::ending(&drain_view(PlanState::Done, TaskProgress::Done), &drain_plan(), std::slice::from_ref(&now));
    assert_eq!((ending.exit, ending.safe), (Exit::Done, Some(true)));
    golden!(ending.text);
}

#[test]
fn drain_stopped_part_way() {
    let now = in_state(HostState::Draining);
    let view = drain_view(PlanState::Stopped, TaskProgress::NotDone);
    let ending = text::plan::ending(&view, &drain_plan(), std::slice::from_ref(&now));
    assert_eq!((ending.exit, ending.safe), (Exit::PartWay, Some(false)));
    assert!(ending.text.trim_end().lines().last().unwrap().starts_with("imap3 is NOT SAFE TO SWITCH OFF: "));
    golden!(ending.text);
}

/// One store was refused, the rest is done: what may be done next, each as it can be typed.
#[test]
fn drain_paused_part_way() {
    let mut paused = drain_view(PlanState::Paused, TaskProgress::NotDone);
    paused.why = "1 master was not handed over".into();
    let ending = text::plan::ending(&paused, &drain_plan(), &[in_state(HostState::Draining)]);
    assert_eq!((ending.exit, ending.safe), (Exit::PartWay, Some(false)));
    golden!(ending.text);
}

/// R7: the store that was stopped because its copies differ, and the records that do; or that they are not named yet.
#[test]
fn drain_that_met_a_copy_that_differs() {
    let mut paused = drain_view(PlanState::Paused, TaskProgress::NotDone);
    paused.why = "1 master was not handed over".into();
    paused.tasks[2].differs = Some(Differs { slot: slot(10, 2), findings: None });
    let unnamed = text::plan::ending(&paused, &drain_plan(), &[in_state(HostState::Draining)]);
    paused.tasks[2].differs = Some(Differs { slot: slot(10, 2), findings: Some(verify::differing(3)) });
    let named = text::plan::ending(&paused, &drain_plan(), &[in_state(HostState::Draining)]);
    assert_eq!((named.exit, named.safe), (Exit::PartWay, Some(false)));
    golden!(format!("{}\n{}", unnamed.text, named.text));
}

/// What `plan pause`, `plan resume` and an undo nobody said yes to tell.
#[test]
fn plan_paused_and_resumed() {
    let mut paused = drain_view(PlanState::Paused, TaskProgress::Waiting);
    paused.why = "by oncall: lunch".into();
    let ending = text::plan::ending(&paused, &drain_plan(), &[in_state(HostState::Draining)]);
    let id = PlanId(17);
    golden!(format!(
        "{}{}{}{}",
        text::pause::pausing(id),
        ending.text,
        text::pause::resumed(id),
        text::pause::still_paused(id)
    ));
}

#[test]
fn safe_is_said_only_when_the_cluster_says_maintenance() {
    let done = drain_view(PlanState::Done, TaskProgress::Done);
    for now in [None, Some(in_state(HostState::Draining)), Some(in_state(HostState::Off))] {
        let ending = text::plan::ending(&done, &drain_plan(), now.as_slice());
        assert_eq!((ending.exit, ending.safe), (Exit::PartWay, Some(false)), "{}", ending.text);
        assert!(ending.text.contains("imap3 is NOT SAFE TO SWITCH OFF: "), "{}", ending.text);
    }
}

#[test]
fn every_ended_state_has_its_exit_code() {
    let mut plan = drain_plan();
    plan.intent = Intent::UndrainHost(host(3));
    for (state, exit) in [
        (PlanState::Done, Exit::Done),
        (PlanState::Stopped, Exit::PartWay),
        (PlanState::Paused, Exit::PartWay),
        (PlanState::Aborted, Exit::PartWay),
        (PlanState::Rejected, Exit::Failed),
        (PlanState::Void, Exit::Failed),
    ] {
        let ending = text::plan::ending(&drain_view(state, TaskProgress::NotDone), &plan, &[]);
        assert_eq!((ending.exit, ending.safe), (exit, None));
    }
}

#[test]
fn drain_refused() {
    let failure = Failure::new(
        "drain host",
        "imap3",
        "store58 on imap3/11 has no replica that can take over:\nimap10/02 is 41000 records behind, at most 1000 are \
         allowed",
        "nothing was changed by this; slotctl status shows how things stand",
    );
    golden!(format!("{}{}", failure.text(), text::plan::switch_off_now(&host_view())));
}

#[test]
fn loss_list() {
    golden!(text::loss::list(&[
        loss_case(12, LossState::Listed),
        loss_case(13, LossState::AwaitingReturn),
        loss_case(9, LossState::Reinjected { by: who("alice") }),
        loss_case(8, LossState::NothingStranded),
    ]));
    assert_eq!(text::loss::list(&[]), "no loss cases\n");
}

#[test]
fn loss_show() {
    golden!(text::loss::show(&loss_case(12, LossState::Listed)));
}

#[test]
fn loss_show_before_the_host_is_back() {
    golden!(text::loss::show(&loss_case(13, LossState::AwaitingReturn)));
}

fn audit() -> AuditView {
    let entry = |number: u64, actor: &str, event: &str| AuditLine {
        number,
        index: LogIndex(number * 3),
        log_time: LogTime(number * 1_000),
        wall: NOW,
        actor: actor.into(),
        event: event.into(),
        hash: Digest([number as u8; 32]),
    };
    AuditView {
        trimmed_through: 40,
        trimmed_hash: Digest([40; 32]),
        last: 99,
        entries: vec![
            entry(41, "oncall", "approved p17 (drain imap3), digest 9f3c-41d0-77ab-e215: replace PSU 2, ticket 8812"),
            entry(42, "slotd", "p17.0.0#1 started"),
        ],
        chain_ok: true,
        more: true,
    }
}

#[test]
fn audit_chain() {
    golden!(text::audit::audit(&audit()));
    assert!(text::audit::audit(&AuditView { chain_ok: false, ..audit() }).starts_with("CHAIN BROKEN"));
    let later = text::audit::audit(&AuditView { trimmed_through: 12, ..audit() });
    let none = text::audit::audit(&AuditView { entries: Vec::new(), more: false, ..audit() });
    assert!(!none.contains("chain whole") && none.ends_with("no entries\n"), "{none}");
    assert!(later.starts_with("these entries fit the chain; all of it: slotctl audit verify"), "{later}");
}

#[test]
fn events() {
    let mut events = text::audit::Events::default();
    let later = AuditLine { number: 43, wall: WallTime(NOW.0 + 86_400_000), ..audit().entries[1].clone() };
    let all: Vec<AuditLine> = audit().entries.into_iter().chain([later]).collect();
    golden!(all.iter().map(|entry| events.line(entry)).collect::<String>());
}

fn backup_head() -> slot_types::backup::BackupHead {
    slot_types::backup::BackupHead {
        cluster: ClusterId([0xc1; 16]),
        name: ClusterName::new("fm1").unwrap(),
        generation: 0,
        revision: Revision(1_204),
        applied: LogIndex(5_310),
        wall: WallTime(1_795_600_000_000),
        audit_last: 412,
        audit_head: Digest([7; 32]),
    }
}

#[test]
fn backup_taken() {
    golden!(slotctl::commands::backup::text(&backup_head(), std::path::Path::new("/backup/fm1-2026-11-28"), 48_213));
}

#[test]
fn a_host_that_was_not_re_adopted() {
    let mut view = host_view();
    view.quarantined = Some(slot_types::cluster::HostQuarantine::Restored);
    golden!(text::show::host(&view));
}

fn verified(broken: Option<ChainBreak>) -> Verified {
    let end = ChainEnd { number: 412, hash: Digest([7; 32]) };
    Verified { archived_through: 40, end, broken, noted: Some(100), answered_by: "c2".into() }
}

#[test]
fn audit_verified() {
    golden!(text::audit::verified(&verified(None)));
}

#[test]
fn audit_broken() {
    let broken = ChainBreak::Hash { number: 413, said: Digest([8; 32]), computed: Digest([9; 32]) };
    golden!(text::audit::verified(&verified(Some(broken))));
}

fn routes_view() -> RoutesView {
    RoutesView {
        revision: Revision(48_211),
        routes: vec![
            RouteLine { store: store(23), route: store_view().route },
            RouteLine { store: store(58), route: None },
        ],
    }
}

#[test]
fn routes() {
    golden!(text::audit::routes(&routes_view()));
}

#[test]
fn the_host_to_type_is_that_of_the_lost_masters() {
    let mut plan = drain_plan();
    assert_eq!(text::plan::host_to_type(&plan), None, "planned work asks for yes");
    let case = loss_case(12, LossState::Listed).case;
    plan.tasks.push(Task {
        kind: TaskKind::FailOver {
            from: slot(3, 7),
            to: slot(7, 31),
            fence: slot_types::cluster::FenceLevel::Attested,
            waived: [slot(3, 7)].into(),
            unreachable: [slot(3, 7)].into(),
            feed: None,
            loss: case.stated,
        },
        store: Some(store(23)),
        epoch: epoch(8),
        after: Vec::new(),
        steps: Vec::new(),
    });
    assert_eq!(text::plan::host_to_type(&plan), Some(&host(3)));
    assert!(text::plan::question(PlanId(18), &plan, "oncall").contains("whose masters are given up"));
    // R26: what is switched off is named as such, and is what has to be typed.
    plan.switch_off = switched_off(Some(host(9)));
    assert_eq!(text::plan::names_to_type(&plan).as_deref(), Some("imap3"));
    let asked = text::plan::question(PlanId(18), &plan, "oncall");
    assert_eq!(asked, "Type the host that will be SWITCHED OFF to carry out p18 as oncall (imap3): ");
    let how = text::plan::how_to_approve(PlanId(18), &plan, Digest::of(b"x").short(), 1);
    assert!(how.contains("--switch-off HOST"), "{how}");
    plan.switch_off = switched_off(None);
    assert!(!text::plan::question(PlanId(18), &plan, "oncall").contains("SWITCHED OFF"), "it is off already");
}

#[test]
fn every_document_has_a_json_form() {
    let plan = drain_plan();
    let view = drain_view(PlanState::Done, TaskProgress::Done);
    let digest = Digest::of(&view.bytes);
    let documents = [
        json::plan(&view, &plan, &digest),
        json::proposal("p17", &plan, &digest, 1, "slotctl plan approve p17"),
        json::view(&View::Status(Box::new(trouble())), true),
        json::view(&View::Host(Box::new(host_view())), true),
        json::view(&View::Store(Box::new(store_view())), true),
        json::view(&View::LossCases(vec![loss_case(12, LossState::Listed)]), true),
        json::view(&View::Audit(audit()), false),
    ];
    for document in &documents {
        assert!(!document.to_string().contains("not_representable"), "{document}");
    }
    assert_eq!(documents[0]["plan"], "p17");
    assert_eq!(documents[0]["digest"], digest.to_string());
    assert_eq!(documents[5]["loss_cases"][0]["stranded"][0], "w7:4410");
    assert_eq!(documents[6]["confirmed"], false);
}
