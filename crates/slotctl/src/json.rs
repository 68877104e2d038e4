//! Every answer as one JSON document.
//!
//! What always holds: a document says its schema and the schema's version, and is described in `docs/json.md`; plans and loss cases are named as a person types them (`p17`, `L12`); a plan's content is what its
//! bytes say, and its digest is computed here (R15).

use crate::asks::Pairs;
use crate::commands::audit::Verified;
use crate::failure::{Exit, Failure};
use crate::text::plan::Ending;
use serde::Serialize;
use serde_json::{Value, json};
use slot_net::Initialized;
use slot_proto::pb;
use slot_types::backup::BackupHead;
use slot_types::ids::{Epoch, HostName, PlanId, Revision};
use slot_types::plan::Plan;
use slot_types::position::Digest;
use slot_types::view::*;
use std::fmt;
use std::path::Path;

macro_rules! schemas {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $version:literal;)*) => {
        /// What a document is. Its version grows when a field goes away or changes its meaning, not when one is added.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Schema {
            $($(#[$doc])* $name,)*
        }
        impl Schema {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];
            /// As the documents say it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
            /// As the documents say it.
            pub fn version(self) -> u32 {
                match self { $(Self::$name => $version),* }
            }
        }
    };
}

schemas! {
    /// `status`.
    Status = "status", 1;
    /// `hosts`.
    Hosts = "hosts", 1;
    /// `stores`.
    Stores = "stores", 1;
    /// `slots`.
    Slots = "slots", 1;
    /// `show host`.
    Host = "host", 1;
    /// `show store`.
    Store = "store", 1;
    /// `show slot`.
    Slot = "slot", 1;
    /// `risk`.
    Risks = "risks", 1;
    /// `risk host` and `risk domain`.
    Risk = "risk", 1;
    /// `evidence host`.
    Evidence = "evidence", 1;
    /// `verify`.
    Verify = "verify", 1;
    /// `explain`.
    Explain = "explain", 1;
    /// `plan list`.
    Plans = "plans", 1;
    /// `plan show`.
    Plan = "plan", 1;
    /// A plan that waits for people.
    Proposal = "proposal", 1;
    /// A plan that was approved and is not waited for.
    Approved = "approved", 1;
    /// A plan that ended.
    PlanEnded = "plan-ended", 1;
    /// `loss list`.
    LossCases = "loss-cases", 1;
    /// `loss show`.
    LossCase = "loss-case", 1;
    /// `audit`.
    Audit = "audit", 1;
    /// `audit verify`.
    AuditVerified = "audit-verified", 1;
    /// A line of `events`.
    Event = "event", 1;
    /// `routes`.
    Routes = "routes", 1;
    /// A line of `routes --watch`.
    RoutesChange = "routes-change", 1;
    /// A change that has nothing more to tell.
    Done = "done", 1;
    /// `backup`.
    Backup = "backup", 1;
    /// `invite host`.
    Invited = "invited", 1;
    /// `invite list`.
    Invitations = "invitations", 1;
    /// `init`.
    Init = "init", 1;
    /// `offline rebalance`, `offline fill`, `offline drain`, `offline place` of a file of htools.
    Offline = "offline", 1;
    /// The same of a snapshot.
    OfflinePlan = "offline-plan", 1;
    /// `offline risk` of a file of htools.
    OfflineRisk = "offline-risk", 1;
    /// `offline explain` of a file of htools.
    OfflineExplain = "offline-explain", 1;
    /// `whatif`.
    Whatif = "whatif", 1;
    /// `capacity`.
    Capacity = "capacity", 1;
    /// `service-groups`.
    ServiceGroups = "service-groups", 1;
    /// The file of `snapshot`.
    Snapshot = "snapshot", 1;
    /// A failure, on stderr.
    Error = "error", 1;
}

/// A document as it is printed; only this module makes one.
#[derive(Clone, Debug, PartialEq)]
pub struct Document(Value);

impl Document {
    fn new(schema: Schema, mut body: Value) -> Self {
        if let Value::Object(map) = &mut body {
            map.insert("schema".into(), schema.name().into());
            map.insert("version".into(), schema.version().into());
        }
        Self(body)
    }
}
impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        // The document means the same: such characters are in strings alone, and JSON has an escape for each.
        let mut rest = text.as_str();
        while let Some(at) = rest.find(crate::console::acts) {
            let (before, after) = rest.split_at(at);
            let acting = after.chars().next().unwrap_or_default();
            write!(f, "{before}\\u{:04x}", u32::from(acting))?;
            rest = &after[acting.len_utf8()..];
        }
        f.write_str(rest)
    }
}
impl std::ops::Deref for Document {
    type Target = Value;
    fn deref(&self) -> &Value {
        &self.0
    }
}

/// Any value as JSON; a value that has no JSON form says so instead.
fn value(of: &impl Serialize) -> Value {
    serde_json::to_value(of).unwrap_or_else(|e| json!({ "not_representable": e.to_string() }))
}

/// What was planned for a fleet in a file.
pub fn offline(stats: &crate::commands::offline::Stats) -> Document {
    Document::new(Schema::Offline, value(stats))
}

/// A backup that was taken.
pub fn backup(head: &BackupHead, file: &Path, bytes: usize) -> Document {
    let mut body = value(head);
    body["file"] = file.display().to_string().into();
    body["bytes"] = bytes.into();
    Document::new(Schema::Backup, body)
}

/// What was planned for a cluster in a file.
pub fn offline_plan(planned: &crate::commands::offline::Planned) -> Document {
    let plan = planned.plan.plan();
    let body = json!({
        "operation": planned.operation,
        "digest": planned.plan.digest().to_string(),
        "figures_before": value(&planned.before),
        "figures_after": value(&planned.after),
        "document": document(plan),
    });
    let body = with_left(body, &planned.left);
    Document::new(Schema::OfflinePlan, body)
}

/// Everything the planner looks at.
pub fn snapshot(view: &SnapshotView) -> Document {
    Document::new(Schema::Snapshot, value(view))
}

/// Of what an answer is: a cluster at a revision, confirmed or from a file, or a file that says neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Of {
    /// The cluster's.
    pub revision: Option<Revision>,
    /// Whether it is surely the present state; [`None`] for a file.
    pub confirmed: Option<bool>,
}

/// An answer to a question about a whole fleet.
pub fn answer(schema: Schema, answer: &impl Serialize, of: Of) -> Document {
    let mut body = value(answer);
    if let Value::Object(map) = &mut body {
        map.insert("revision".into(), value(&of.revision));
        map.extend(of.confirmed.map(|confirmed| ("confirmed".to_owned(), confirmed.into())));
    }
    Document::new(schema, body)
}

/// What each loss would do, with the worst of any two hosts.
pub fn risks(view: &RisksView, pairs: &Pairs, confirmed: Option<bool>) -> Document {
    let mut body = value(view);
    body["pairs"] = value(pairs);
    if let Some(confirmed) = confirmed {
        body["confirmed"] = confirmed.into();
    }
    Document::new(Schema::Risks, body)
}

/// What a plan says.
fn document(plan: &Plan) -> Value {
    let facts: Vec<Value> =
        plan.facts.iter().map(|(of, version)| json!({ "of": of.to_string(), "version": version })).collect();
    json!({
        "cluster": value(&plan.cluster),
        "generation": plan.generation,
        "what": plan.intent.to_string(),
        "intent": value(&plan.intent),
        "requested_by": value(&plan.requested_by),
        "reason": plan.reason,
        "revision": plan.revision.0,
        "created_wall": plan.created_wall.0,
        "valid_ms": plan.valid_ms,
        "facts": facts,
        "evidence": value(&plan.evidence),
        "silent_hosts": plan.silent_hosts,
        "mass": plan.said.mass,
        "back_by": plan.said.back_by.map(|at| at.0),
        "people": plan.people,
        "two_because": plan.two_because,
        "tasks": value(&plan.tasks),
        "notes": value(&plan.notes),
        "load_forecast": value(&slot_types::load::forecast(&plan.evidence, &plan.tasks)),
    })
}

/// A plan and how far it is.
pub fn plan(view: &PlanView, plan: &Plan, digest: &Digest) -> Document {
    Document::new(Schema::Plan, standing(view, plan, digest))
}

fn standing(view: &PlanView, plan: &Plan, digest: &Digest) -> Value {
    json!({
        "plan": view.id.to_string(),
        "digest": digest.to_string(),
        "digest_full": digest.hex(),
        "state": value(&view.state),
        "why": view.why,
        "approvals": value(&view.approvals),
        "people_needed": view.people_needed,
        "people_missing": view.people_missing,
        "tasks": value(&view.tasks),
        "loss_cases": view.loss_cases.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "started": value(&view.started),
        "ended": value(&view.ended),
        "ended_wall": value(&view.ended_wall),
        "document": document(plan),
    })
}

/// A plan that waits for people.
pub fn proposal(id: &str, plan: &Plan, digest: &Digest, missing: u32, approve: &str) -> Document {
    let body = json!({
        "plan": id,
        "digest": digest.to_string(),
        "digest_full": digest.hex(),
        "state": "Proposed",
        "people_needed": plan.people,
        "people_missing": missing,
        "approve": approve,
        "document": document(plan),
    });
    Document::new(Schema::Proposal, body)
}

/// A plan that runs, and is not waited for.
pub fn approved(id: &str, by: &str) -> Document {
    Document::new(Schema::Approved, json!({ "plan": id, "approved_by": by, "state": "Running" }))
}

/// A plan that ended, and what that means.
pub fn ending(view: &PlanView, of: &Plan, digest: &Digest, ending: &Ending) -> Document {
    let mut value = standing(view, of, digest);
    if let Value::Object(map) = &mut value {
        map.insert("exit".into(), ending.exit.code().into());
        if let Some(safe) = ending.safe {
            map.insert("safe_to_switch_off".into(), safe.into());
        }
    }
    Document::new(Schema::PlanEnded, value)
}

/// A line of `plan list`.
fn plan_line(line: &PlanLine) -> Value {
    json!({
        "plan": line.id.to_string(),
        "digest": line.digest.to_string(),
        "what": line.title,
        "requested_by": value(&line.requested_by),
        "state": value(&line.state),
        "why": line.why,
        "tasks_done": line.tasks_done,
        "tasks_total": line.tasks_total,
        "people_missing": line.people_missing,
        "created_wall": line.created.0,
    })
}

fn loss_case(view: &LossCaseView) -> Value {
    let case = &view.case;
    json!({
        "loss_case": view.id.to_string(),
        "store": value(&case.store),
        "slot": value(&case.slot),
        "generation": case.generation.0,
        "plan": case.plan.to_string(),
        "epoch": value(&case.epoch),
        "stated": value(&case.stated),
        "state": value(&case.state),
        "open": case.state.is_open(),
        "final_tip": value(&case.final_tip),
        "stranded": case.stranded.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "master": value(&view.master),
        "settled_by_plan": view.plan.map(|plan| plan.to_string()),
    })
}

/// Any view that is not a plan; `confirmed` says whether it is surely the present state.
pub fn view(of: &View, confirmed: bool) -> Document {
    let (schema, mut value) = match of {
        View::Backup(backup) => (Schema::Backup, value(&backup.head)),
        View::Status(status) => (Schema::Status, value(status)),
        View::Host(host) => (Schema::Host, value(host)),
        View::Store(store) => (Schema::Store, value(store)),
        View::Slot(slot) => (Schema::Slot, value(slot)),
        View::Plans(lines) => (Schema::Plans, json!({ "plans": lines.iter().map(plan_line).collect::<Vec<_>>() })),
        View::LossCases(cases) => {
            (Schema::LossCases, json!({ "loss_cases": cases.iter().map(loss_case).collect::<Vec<_>>() }))
        }
        View::LossCase(case) => (Schema::LossCase, loss_case(case)),
        View::Audit(audit) => (Schema::Audit, value(audit)),
        View::Routes(routes) => (Schema::Routes, value(routes)),
        View::Stores(stores) => (Schema::Stores, value(stores)),
        View::Slots(slots) => (Schema::Slots, value(slots)),
        View::Risks(risks) => (Schema::Risks, value(risks)),
        View::Risk(risk) => (Schema::Risk, value(risk)),
        View::Explain(explain) => (Schema::Explain, value(explain)),
        View::Evidence(evidence) => (Schema::Evidence, value(evidence)),
        View::Verify(verify) => (Schema::Verify, verification(verify)),
        View::Snapshot(snapshot) => (Schema::Snapshot, value(snapshot)),
        View::Invitations(invitations) => (Schema::Invitations, value(invitations)),
        View::Plan(plan) => (Schema::Plan, json!({ "plan": plan.id.to_string() })),
        View::NotFound { subject } => (Schema::Error, json!({ "not_found": subject })),
    };
    if let Value::Object(map) = &mut value {
        map.insert("confirmed".into(), confirmed.into());
    }
    Document::new(schema, value)
}

/// What a comparison with masters found so far.
fn verification(of: &VerifyView) -> Value {
    let mut body = value(of);
    if let Value::Object(map) = &mut body {
        map.insert("settled".into(), of.is_settled().into());
        map.insert("equal".into(), of.all_equal().into());
    }
    body
}

/// One event.
pub fn event(entry: &AuditLine) -> Document {
    Document::new(Schema::Event, value(entry))
}

/// What was found of the audit.
pub fn verified(of: &Verified) -> Document {
    let found = of.broken.as_ref();
    let body = json!({
        "whole": found.is_none(),
        "archived_through": of.archived_through,
        "whole_through": of.end.number,
        "hash": of.end.hash.to_string(),
        "hash_full": of.end.hash.hex(),
        "first_bad": found.map(ChainBreak::number),
        "why": found.map(ToString::to_string),
        "noted_found": of.noted,
        "answered_by": of.answered_by,
    });
    Document::new(Schema::AuditVerified, body)
}

/// The table of hosts.
pub fn hosts(of: &StatusView, confirmed: bool) -> Document {
    let body = json!({
        "cluster": value(&of.cluster),
        "revision": of.revision.0,
        "wall": of.wall.0,
        "hosts": value(&of.hosts),
        "holds": value(&of.holds),
        "confirmed": confirmed,
    });
    Document::new(Schema::Hosts, body)
}

/// Routes as they are now; one of many while they are watched.
pub fn routes_change(reply: &pb::RoutesReply) -> Document {
    let route = |r: &pb::StoreRoute| {
        let epoch = Epoch { generation: r.epoch_generation, n: r.epoch_n };
        json!({ "store": r.store, "slot": r.slot, "address": r.address, "epoch": epoch })
    };
    let routes: Vec<Value> = reply.routes.iter().map(route).collect();
    Document::new(Schema::RoutesChange, json!({ "revision": reply.revision, "routes": routes }))
}

/// A change that has nothing more to tell.
pub fn done(what: &str, subject: &str, exit: Exit) -> Document {
    Document::new(Schema::Done, json!({ "done": what, "subject": subject, "exit": exit.code() }))
}

/// A change that was so already.
pub fn nothing_to_do(what: &str, subject: &str, because: &str, safe_to_switch_off: Option<bool>) -> Document {
    let mut body = json!({ "done": what, "subject": subject, "exit": Exit::Done.code(), "nothing_to_do": because });
    if let Some(safe) = safe_to_switch_off {
        body["safe_to_switch_off"] = safe.into();
    }
    Document::new(Schema::Done, body)
}

/// Nothing was to be planned for a cluster in a file, and this is broken.
pub fn nothing_to_plan(what: &str, subject: &str, because: &str, left: &crate::commands::offline::AllLeft) -> Document {
    let body = json!({ "done": what, "subject": subject, "exit": left.exit().code(), "nothing_to_do": because });
    Document::new(Schema::Done, with_left(body, left))
}

fn with_left(mut body: Value, left: &crate::commands::offline::AllLeft) -> Value {
    if let (Value::Object(body), Value::Object(left)) = (&mut body, value(left)) {
        body.extend(left);
    }
    body
}

/// A hold, or its end.
pub fn held(what: &str, subject: &str, changed: bool, goes_on: &[PlanId]) -> Document {
    let goes_on: Vec<String> = goes_on.iter().map(ToString::to_string).collect();
    let mut body = json!({ "done": what, "subject": subject, "exit": Exit::Done.code(), "goes_on": goes_on });
    if !changed {
        body["nothing_to_do"] = "it was so already".into();
    }
    Document::new(Schema::Done, body)
}

/// A token that was made.
pub fn invited(host: &HostName, token: &Path, certificate: &Digest) -> Document {
    Document::new(Schema::Invited, json!({ "host": host, "token": token, "certificate": certificate.hex() }))
}

/// A new cluster.
pub fn initialized(made: &Initialized) -> Document {
    let folders: Vec<Value> = made
        .folders
        .iter()
        .map(|(path, who)| json!({ "role": who.role().as_str(), "name": who.name(), "folder": path }))
        .collect();
    let body = json!({
        "cluster": made.membership.cluster,
        "cluster_id": made.membership.cluster_id,
        "coordinators": made.membership.coordinators,
        "ca": made.ca,
        "folders": folders,
    });
    Document::new(Schema::Init, body)
}

/// Why a command failed, and what to do next.
pub fn error(failure: &Failure) -> Document {
    Document::new(Schema::Error, json!({ "error": failure }))
}
