//! What a person sees of every command, from its first line to its exit code.
//!
//! What always holds: every command that can be given has a transcript, and none is of a command that is not there; each is
//! what the whole program printed, run against a coordinator that answers over mutual TLS: plans are the planner's own, of the
//! planner's own worlds. Only the digest of a plan, which names the cluster's random identity, and the test's folder are
//! written as fixed words; so is the identity of a cluster that `init` makes.

use super::clusters::{snapshot, world};
use super::fake::{Rig, Script};
use super::fixtures::*;
use clap::{CommandFactory, Parser};
use slot_types::backup::{BackupHead, BackupView};
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::plan::{Intent, Plan, Reverse};
use slot_types::position::Digest;
use slot_types::view::*;
use slotctl::args::Cli;
use slotctl::console::Console;
use slotctl::failure::Exit;
use slotctl::text::layout::COLUMNS;
use std::collections::BTreeSet;
use std::io::Write;
use std::sync::{Arc, Mutex};
use world::World;

/// Stands for the digest of a plan.
const DIGEST: &str = "9f3c-41d0-77ab-e215";
/// Stands for the identity of a cluster that `init` made.
const CLUSTER_ID: &str = "000102030405060708090a0b0c0d0e0f";
/// So many lines of a script for a shell are shown: the rest is clap's.
const SCRIPT_LINES: usize = 3;

/// Every command with a line of it. `DIR` is the test's folder, `DIGEST` the plan's.
const LINES: &[(&str, &str)] = &[
    (
        "init",
        "init DIR/new --cluster fm2 --coordinator c1=10.1.1.3:7400 --agent imap1 --operator alice bob --client mta1",
    ),
    ("apply", "apply -f DIR/cluster.toml -m 'two more stores'"),
    ("status", "status"),
    ("show host", "show host imap3"),
    ("show store", "show store store23"),
    ("show slot", "show slot imap7/31"),
    ("hosts", "hosts"),
    ("stores", "stores"),
    ("slots", "slots"),
    ("risk", "risk"),
    ("risk host", "risk host imap3"),
    ("risk domain", "risk domain ny/r1"),
    ("whatif down", "whatif down imap1,imap2"),
    ("whatif add-host", "whatif add-host --like imap1"),
    ("whatif remove-host", "whatif remove-host imap1"),
    ("whatif resize", "whatif resize imap1 --to 500B"),
    ("whatif grow-stores", "whatif grow-stores --by 50"),
    ("capacity", "capacity"),
    ("service-groups", "service-groups"),
    ("snapshot", "snapshot --out DIR/saved.json"),
    ("evidence host", "evidence host imap3"),
    ("explain plan", "explain plan p17"),
    ("explain store", "explain store store23"),
    ("explain slot", "explain slot imap7/31"),
    ("verify store", "verify store store58"),
    ("verify host", "verify host imap3"),
    ("verify all", "verify all"),
    ("drain host", "drain host imap2 -m 'replace PSU 2'"),
    ("drain rack", "drain rack ny/r2 -m 'new switch'"),
    ("undrain host", "undrain host imap2 -m 'PSU is in'"),
    ("move slot", "move slot imap1/1 --to imap3/8 -m 'its disk fails'"),
    ("rebuild store", "rebuild store store1 -m 'a third copy'"),
    ("rebuild host", "rebuild host imap1 -m 'a third copy'"),
    ("rebuild all", "rebuild all -m 'a third copy'"),
    ("rebalance", "rebalance -m 'imap2 is empty'"),
    ("fill host", "fill host imap2 -m 'imap2 is back'"),
    ("retire host", "retire host imap2 -m 'lease ends'"),
    ("retire store", "retire store store3 -m 'customer left'"),
    ("failover slot", "failover slot imap1/1 -m 'its disk makes noises'"),
    ("failover store", "failover store store2 -m 'try it'"),
    ("failover host", "failover host imap1 -m 'it burns'"),
    ("off host", "off host imap1 --how 'unplugged it myself' -m 'it burns'"),
    ("invite host", "invite host imap9 --ca DIR/cluster --out DIR/imap9.token -m 'new disks'"),
    ("invite list", "invite list"),
    ("invite revoke", "invite revoke imap9 -m 'not today'"),
    ("admit host", "admit host imap3 --incarnation 000102030405060708090a0b0c0d0e0f -m 'new disks'"),
    ("hold host", "hold host imap3 -m 'on the bench'"),
    ("hold store", "hold store store23 -m 'export runs'"),
    ("hold all", "hold all -m 'the network is moved'"),
    ("release host", "release host imap3 -m done"),
    ("release store", "release store store23 -m done"),
    ("release all", "release all -m done"),
    ("plan list", "plan list"),
    ("plan show", "plan show p17"),
    ("plan approve", "plan approve p17 --digest DIGEST -m 'as agreed'"),
    ("plan reject", "plan reject p17 -m 'not today'"),
    ("plan abort", "plan abort p17 -m 'the wrong host'"),
    ("plan pause", "plan pause p17 -m lunch"),
    ("plan resume", "plan resume p17 --no-wait -m 'back from lunch'"),
    ("plan undo", "plan undo p17 -m 'the wrong host'"),
    ("plan watch", "plan watch p17"),
    ("loss list", "loss list"),
    ("loss show", "loss show L12"),
    ("loss reinject", "loss reinject L12 -m 'put it back'"),
    ("loss discard", "loss discard L12 -m 'test mails'"),
    ("events", "events --since 1"),
    ("audit", "audit"),
    ("audit verify", "audit verify"),
    ("backup", "backup --out DIR/fm1.backup"),
    ("offline rebalance", "offline rebalance --from DIR/cluster.json --format snapshot"),
    ("offline fill", "offline fill --host imap2 --from DIR/cluster.json --format snapshot"),
    ("offline drain", "offline drain --host imap2 --empty --from DIR/cluster.json --format snapshot"),
    ("offline place", "offline place --from DIR/cluster.json --format snapshot"),
    ("offline risk", "offline risk --from DIR/cluster.json --format snapshot"),
    ("offline capacity", "offline capacity --from DIR/cluster.json --format snapshot"),
    ("offline whatif down", "offline whatif --from DIR/cluster.json --format snapshot down imap1"),
    ("offline whatif add-host", "offline whatif --from DIR/cluster.json --format snapshot add-host --like imap1"),
    ("offline whatif remove-host", "offline whatif --from DIR/cluster.json --format snapshot remove-host imap1"),
    ("offline whatif resize", "offline whatif --from DIR/cluster.json --format snapshot resize imap1 --to 500B"),
    ("offline whatif grow-stores", "offline whatif --from DIR/cluster.json --format snapshot grow-stores --by 50"),
    ("offline service-groups", "offline service-groups --from DIR/cluster.json --format snapshot"),
    ("offline explain store", "offline explain --from DIR/cluster.json --format snapshot store store1"),
    ("offline explain slot", "offline explain --from DIR/cluster.json --format snapshot slot imap1/1"),
    ("offline explain plan rebalance", "offline explain plan rebalance --from DIR/cluster.json --format snapshot"),
    ("offline explain plan fill", "offline explain plan fill --host imap2 --from DIR/cluster.json --format snapshot"),
    ("offline explain plan drain", "offline explain plan drain --host imap2 --from DIR/cluster.json --format snapshot"),
    ("offline explain plan place", "offline explain plan place --from DIR/cluster.json --format snapshot"),
    ("completions", "completions bash"),
    ("man", "man DIR/man"),
    ("routes", "routes"),
];

/// What `apply` is given: the fleet of the worlds, and two stores more.
const FILE: &str = r#"version = 1
cluster = "fm1"
coordinators = { c1 = "10.1.9.1:7400" }

[hosts]
"imap[1-4]" = { at = "ny/r{n}", address = "10.1.{n}.1", kind = "box" }

[kind.box]
slots = 8
slot = { size = "1 kB", address = "10.20.{n}.{slot}" }

[stores]
"store[1-14]" = { engine = "journal", copies = 2, size = "100 B", spread = "rack", sync_copies = 0 }
"#;

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Sink {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// A line's words; what stands between quotes is one.
fn words(line: &str) -> Vec<String> {
    let parts = line.split('\'').enumerate();
    let cut = |(n, part): (usize, &str)| match n % 2 {
        0 => part.split_whitespace().map(str::to_string).collect(),
        _ => vec![part.to_string()],
    };
    parts.flat_map(cut).collect()
}

fn done(world: &mut World, intent: Intent) {
    let plan = world.plan(intent).unwrap();
    world.complete(plan.plan());
}

/// The world in which a command is planned.
fn world_of(command: &str) -> World {
    let mut world = World::running(4, 8, 12, 2);
    let imap2 = world::host(2);
    match command {
        "undrain host" | "plan undo" => done(&mut world, Intent::DrainHost(imap2)),
        "rebalance"
        | "offline rebalance"
        | "offline explain plan rebalance"
        | "fill host"
        | "offline fill"
        | "offline explain plan fill" => {
            done(&mut world, Intent::EmptyHost(imap2.clone()));
            done(&mut world, Intent::UndrainHost(imap2));
        }
        "retire host" => done(&mut world, Intent::EmptyHost(imap2)),
        "rebuild store" | "rebuild host" | "rebuild all" | "offline place" | "offline explain plan place" => {
            world.store_mut(&world::store(1)).spec.copies = 3
        }
        "failover host" => {
            world.silent(&world::host(1), 241_000);
            world.attest(&world::host(1));
        }
        "loss reinject" | "loss discard" => with_loss_case(&mut world),
        _ => {}
    }
    world
}

/// store1's former master is back, and what it alone holds is listed.
fn with_loss_case(world: &mut World) {
    let name = world::store(1);
    let slot = world.cluster.stores[&name].master.clone().unwrap();
    let to = world.cluster.stores[&name].copies.keys().find(|at| **at != slot).cloned().unwrap();
    done(world, Intent::FailOverSlot { slot: slot.clone(), to: Some(to) });
    let case = LossCase {
        store: name.clone(),
        slot: slot.clone(),
        epoch: world.cluster.stores[&name].epoch,
        ..loss_case(12, LossState::Listed).case
    };
    let copy = world.store_mut(&name).copies.get_mut(&slot).unwrap();
    (copy.state, copy.follows) = (CopyState::Quarantined, None);
    world.cluster.loss_cases.insert(LossCaseId(12), case);
    world.see_all();
}

/// What a plan did is read from its record by whoever leads.
fn recorded(world: &World, intent: Intent) -> Intent {
    let Intent::Undo(wanted) = intent else { return intent };
    let imap2 = world::host(2);
    let stopped = |(name, slot, copy): (&StoreName, &SlotId, &Copy)| {
        (copy.state == CopyState::Stopped).then(|| (slot.clone(), name.clone()))
    };
    let before = World::running(4, 8, 12, 2).cluster;
    let masters = before.masters_on(&imap2).filter_map(|(name, store)| Some((name.clone(), store.master.clone()?)));
    Intent::Undo(Box::new(Reverse {
        plan: wanted.plan,
        masters: masters.collect(),
        started: world.cluster.copies_on(&imap2).filter_map(stopped).collect(),
        active: BTreeSet::from([imap2.clone()]),
        stays: 0,
    }))
}

/// A whole chain of two entries and what a coordinator says of it.
fn chain() -> Vec<AuditLine> {
    let mut prev = Digest::default();
    let mut entries = super::audit().entries;
    for (number, entry) in (1..).zip(&mut entries) {
        (entry.number, entry.index, entry.log_time) = (number, LogIndex(number * 3), LogTime(number * 1_000));
        entry.hash = entry.expected_hash(&prev);
        prev = entry.hash;
    }
    entries
}

/// What is read of the cluster.
fn view(query: &Query, world: &World) -> Option<View> {
    let stored = store_view();
    Some(match query {
        Query::Host(_) => View::Host(Box::new(host_view())),
        Query::Slot(_) => {
            let line = stored.copies[1].clone();
            View::Slot(Box::new(SlotView { line, size_bytes: 500_000_000_000, store: Some(stored) }))
        }
        Query::Store(_) => View::Store(Box::new(stored)),
        Query::Plans => View::Plans(super::plans()),
        Query::LossCases => View::LossCases(vec![loss_case(12, LossState::Listed)]),
        Query::LossCase(_) => View::LossCase(Box::new(loss_case(12, LossState::Listed))),
        Query::Routes => View::Routes(super::routes_view()),
        Query::Stores(_) => View::Stores(super::fleet::stores_view()),
        Query::Slots(_) => View::Slots(super::fleet::slots_view()),
        Query::Risks => View::Risks(Box::new(super::risk::risks_view())),
        Query::Risk(_) => View::Risk(Box::new(super::risk::risk_view())),
        Query::Explain(ExplainWhat::Plan(_)) => View::Explain(Box::new(super::explain::explain_plan_view())),
        Query::Explain(ExplainWhat::Store(_)) => View::Explain(Box::new(super::explain::explain_store_view())),
        Query::Explain(ExplainWhat::Slot(_)) => View::Explain(Box::new(super::explain::explain_slot_view())),
        Query::Evidence(_) => View::Evidence(Box::new(super::evidence::evidence_view())),
        Query::Backup => {
            let last = chain().pop().unwrap();
            let head = BackupHead { audit_last: last.number, audit_head: last.hash, ..super::backup_head() };
            let (audit_trimmed, audit_trimmed_hash) = (0, Digest::default());
            View::Backup(Box::new(BackupView { head, audit_trimmed, audit_trimmed_hash, state: vec![7; 300] }))
        }
        Query::Snapshot => View::Snapshot(Box::new(snapshot(world))),
        Query::Invitations => View::Invitations(invitations_view()),
        Query::Status | Query::Plan(_) | Query::Audit { .. } | Query::AuditSince { .. } => return None,
    })
}

/// A plan that runs, or has run, for the commands that are about one.
fn standing(command: &str) -> PlanView {
    match command {
        "plan pause" => {
            let why = "by oncall: lunch".into();
            PlanView { why, ..drain_view(PlanState::Paused, TaskProgress::Waiting) }
        }
        "plan show" => drain_view(PlanState::Running, TaskProgress::Running),
        _ => drain_view(PlanState::Done, TaskProgress::Done),
    }
}

fn prepare(script: &mut Script, cluster: ClusterId, command: &str) {
    let world = world_of(command);
    let host = HostView { declared: HostState::Maintenance, slots: Vec::new(), ..host_view() };
    let is_drained = matches!(command, "plan approve" | "plan watch");
    script.plan = Some(Plan { cluster, ..drain_plan() });
    script.ends = Some(standing(command));
    script.audit = chain();
    script.verify = match command {
        "verify host" => [super::verify::verify_view(), super::verify::settled_view("host imap3")].into(),
        "verify store" => [super::verify::settled_view("store store58")].into(),
        _ => [super::verify::settled_view("all")].into(),
    };
    let (planned, looked) = (world.clone(), world);
    let mut status = quiet();
    if command == "drain rack" {
        status.hosts.retain(|line| line.host == world::host(2));
        status.hosts[0].at = Domain(vec!["ny".into(), "r2".into()]);
    }
    script.planner = Some(Box::new(move |intent| {
        let plan = planned.plan(recorded(&planned, intent)).map_err(|refusal| refusal.to_string())?;
        Ok(Plan { cluster, ..plan.plan().clone() })
    }));
    script.views = Some(Box::new(move |query| match query {
        Query::Host(_) if is_drained => Some(View::Host(Box::new(host.clone()))),
        Query::Status => Some(View::Status(Box::new(status.clone()))),
        query => view(query, &looked),
    }));
}

/// What a person sees who types it.
async fn transcript(command: &str, line: &str) -> String {
    let rig = Rig::start(&["c1"]).await;
    let dir = rig.dir.path().display().to_string();
    prepare(&mut rig.script("c1"), rig.cluster, command);
    std::fs::write(rig.dir.path().join("cluster.toml"), FILE).unwrap();
    slotctl::offline::snapshot::write(&snapshot(&world_of(command)), &rig.dir.path().join("cluster.json")).unwrap();
    let digest = |rig: &Rig| Digest::of(&rig.script("c1").plan.as_ref().unwrap().bytes()).short().to_string();
    let typed = line.replace("DIR", &dir).replace("DIGEST", &digest(&rig));
    let folder = rig.folder("oncall").display().to_string();
    let all = ["slotctl".to_string()].into_iter().chain(words(&typed)).chain(["--folder".to_string(), folder]);
    let cli = Cli::try_parse_from(all).unwrap_or_else(|error| panic!("{line}: {error}"));
    let (out, err) = (Sink::default(), Sink::default());
    let mut console = Console::elsewhere(Box::new(out.clone()), Box::new(err.clone()), None, false);
    let exit: Exit = slotctl::run(cli, &mut console).await;
    let mut said = out.text();
    if command == "completions" {
        said =
            said.lines().take(SCRIPT_LINES).map(|line| format!("{}\n", line.trim_end())).collect::<String>() + "...\n";
    }
    if let Some((before, id)) = said.split_once("cluster id ").filter(|_| command == "init") {
        said = format!("{before}cluster id {CLUSTER_ID}{}", id.get(CLUSTER_ID.len()..).unwrap_or_default());
    }
    let mut text = format!("$ slotctl {}\n{said}", line.replace("DIGEST", DIGEST));
    if !err.text().is_empty() {
        text += &format!("--- on stderr\n{}", err.text());
    }
    text += &format!("--- exit {}\n", exit.code());
    text.replace(&dir, "DIR").replace(&digest(&rig), DIGEST)
}

#[test]
fn every_command_has_a_transcript() {
    let all = super::schema::commands(&Cli::command(), "");
    let all: BTreeSet<&str> = all.iter().map(String::as_str).collect();
    let told: BTreeSet<&str> = LINES.iter().map(|(command, _)| *command).collect();
    let missing: Vec<&&str> = all.difference(&told).collect();
    let gone: Vec<&&str> = told.difference(&all).collect();
    assert!(missing.is_empty() && gone.is_empty(), "without a transcript: {missing:?}; not there: {gone:?}");
    assert_eq!(told.len(), LINES.len(), "a command is there twice");
    for (command, line) in LINES {
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut rest = words.iter();
        assert!(command.split(' ').all(|name| rest.any(|word| *word == name)), "{line} is not of {command}");
    }
}

#[tokio::test]
async fn what_every_command_prints() {
    for (command, line) in LINES {
        let text = transcript(command, line).await;
        for line in text.lines().skip(1) {
            assert!(line.chars().count() <= COLUMNS, "{command}: too wide: {line}");
            assert_eq!(line, line.trim_end(), "{command}: ends in a blank");
        }
        insta::assert_snapshot!(command.replace(' ', "_"), text);
    }
}
