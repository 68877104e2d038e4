//! Every answer as one JSON document.
//!
//! What always holds: plans and loss cases are named as a person types them (`p17`, `L12`); a plan's content is what its
//! bytes say, and its digest is computed here (R15).

use crate::commands::audit::Verified;
use crate::failure::Exit;
use crate::text::plan::Ending;
use serde::Serialize;
use serde_json::{Value, json};
use slot_types::plan::Plan;
use slot_types::position::Digest;
use slot_types::view::*;

/// Any value as JSON; a value that has no JSON form says so instead.
fn value(of: &impl Serialize) -> Value {
    serde_json::to_value(of).unwrap_or_else(|e| json!({ "not_representable": e.to_string() }))
}

/// What a plan says.
pub fn document(plan: &Plan) -> Value {
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
        "people": plan.people,
        "two_because": plan.two_because,
        "tasks": value(&plan.tasks),
        "notes": value(&plan.notes),
    })
}

/// A plan and how far it is.
pub fn plan(view: &PlanView, plan: &Plan, digest: &Digest) -> Value {
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
pub fn proposal(id: &str, plan: &Plan, digest: &Digest, missing: u32, approve: &str) -> Value {
    json!({
        "plan": id,
        "digest": digest.to_string(),
        "digest_full": digest.hex(),
        "state": "Proposed",
        "people_needed": plan.people,
        "people_missing": missing,
        "approve": approve,
        "document": document(plan),
    })
}

/// A plan that ended, and what that means.
pub fn ending(view: &PlanView, of: &Plan, digest: &Digest, ending: &Ending) -> Value {
    let mut value = plan(view, of, digest);
    if let Value::Object(map) = &mut value {
        map.insert("exit".into(), ending.exit.code().into());
        if let Some(safe) = ending.safe {
            map.insert("safe_to_switch_off".into(), safe.into());
        }
    }
    value
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
pub fn view(of: &View, confirmed: bool) -> Value {
    let mut value = match of {
        View::Status(status) => value(status),
        View::Host(host) => value(host),
        View::Store(store) => value(store),
        View::Slot(slot) => value(slot),
        View::Plans(lines) => json!({ "plans": lines.iter().map(plan_line).collect::<Vec<_>>() }),
        View::LossCases(cases) => json!({ "loss_cases": cases.iter().map(loss_case).collect::<Vec<_>>() }),
        View::LossCase(case) => loss_case(case),
        View::Audit(audit) => value(audit),
        View::Routes(routes) => value(routes),
        View::Stores(stores) => value(stores),
        View::Slots(slots) => value(slots),
        View::Risks(risks) => value(risks),
        View::Risk(risk) => value(risk),
        View::Explain(explain) => value(explain),
        View::Plan(plan) => json!({ "plan": plan.id.to_string() }),
        View::NotFound { subject } => json!({ "not_found": subject }),
    };
    if let Value::Object(map) = &mut value {
        map.insert("confirmed".into(), confirmed.into());
    }
    value
}

/// One event.
pub fn event(entry: &AuditLine) -> Value {
    value(entry)
}

/// What was found of the audit.
pub fn verified(of: &Verified) -> Value {
    let found = of.broken.as_ref();
    json!({
        "whole": found.is_none(),
        "archived_through": of.archived_through,
        "whole_through": of.end.number,
        "hash": of.end.hash.to_string(),
        "hash_full": of.end.hash.hex(),
        "first_bad": found.map(ChainBreak::number),
        "why": found.map(ToString::to_string),
        "noted_found": of.noted,
        "answered_by": of.answered_by,
    })
}

/// The table of hosts.
pub fn hosts(of: &StatusView, confirmed: bool) -> Value {
    json!({
        "cluster": value(&of.cluster),
        "revision": of.revision.0,
        "wall": of.wall.0,
        "hosts": value(&of.hosts),
        "confirmed": confirmed,
    })
}

/// A change that has nothing more to tell.
pub fn done(what: &str, subject: &str, exit: Exit) -> Value {
    json!({ "done": what, "subject": subject, "exit": exit.code() })
}
