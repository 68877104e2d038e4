//! Applying one command.
//!
//! What always holds: `apply` is total; it never panics, whatever the bytes of a plan say; a refused command leaves
//! everything but the revision, the time, its session and the audit as it was (S5, S12).

use crate::command::{Answer, Command, Proposal, Refused};
use crate::state::{FEATURE_LEVEL_SUPPORTED, State};
use crate::{aside, by_hand, holds, hosts, join, pause, plans, restore, sessions, steps, verified};
use slot_planted::planted;
use slot_types::cluster::Cluster;
use slot_types::ids::*;

/// Where in the log and when a command stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    pub index: LogIndex,
    pub revision: Revision,
    pub now: LogTime,
    pub wall: WallTime,
}

/// Applies a command at an index. Equal states and equal arguments give equal states and answers (S14).
pub fn apply(state: &mut State, index: LogIndex, term: Term, proposal: &Proposal) -> Answer {
    state.applied = index;
    state.term = term;
    state.revision = state.revision.next();
    // R17: log time never goes back, whatever a leader stamped.
    state.log_time = state.log_time.max(proposal.log_time);
    state.wall = proposal.wall;
    let stamp = Stamp { index, revision: state.revision, now: state.log_time, wall: proposal.wall };

    if let Some(request) = proposal.request
        && let Some(answer) = sessions::remembered(state, request, index)
    {
        return answer;
    }
    let answer = dispatch(state, stamp, &proposal.command).unwrap_or_else(|refused| {
        if let Some((actor, what)) = person(&proposal.command) {
            audit(state, stamp, actor, format!("refused: {what}: {refused}"));
        }
        Answer::Refused(refused)
    });
    if let Some(request) = proposal.request {
        sessions::remember(state, request, index, &answer);
    }
    answer
}

fn dispatch(state: &mut State, stamp: Stamp, command: &Command) -> Result<Answer, Refused> {
    if let Some(restoring) = &state.restoring
        && !restore::is_taken(command)
    {
        return Err(restoring.refusal());
    }
    match command {
        Command::Found { cluster, name } => found(state, stamp, *cluster, name),
        Command::NewLeader { node } => Ok(new_leader(state, stamp, node)),
        Command::OpenSession => Ok(Answer::Session(sessions::open(state, stamp.index))),
        Command::HostSeen { host, incarnation, boot, high_water, silence, first } => {
            let (incarnation, boot, high_water, first) = (*incarnation, *boot, *high_water, *first);
            let report = hosts::Report { incarnation, boot, high_water, first };
            hosts::seen(state, stamp, host, report, *silence)
        }
        Command::SignOfLife { host, seen } => hosts::sign_of_life(state, stamp, host, seen),
        Command::AdmitHost { host, incarnation, by, reason } => {
            hosts::admit(state, stamp, host, *incarnation, by, reason)
        }
        Command::Attest { host, boot, how, by } => hosts::attest(state, stamp, host, *boot, how, by),
        Command::RecordPlan { bytes } => plans::record(state, stamp, bytes),
        Command::ApprovePlan { plan, digest, by, reason, guards } => {
            plans::approve(state, stamp, *plan, *digest, by, reason, guards)
        }
        Command::RejectPlan { plan, by, reason } => plans::reject(state, stamp, *plan, by, reason),
        Command::AbortPlan { plan, by, reason } => plans::abort(state, stamp, *plan, by, reason),
        Command::PausePlan { plan, by, reason } => pause::pause(state, stamp, *plan, by, reason),
        Command::ResumePlan { plan, by, reason, guards } => pause::resume(state, stamp, *plan, by, reason, guards),
        Command::StartStep { step, attempt, guards } => steps::start(state, stamp, *step, *attempt, guards),
        Command::FinishStep { id, outcome } => steps::finish(state, stamp, *id, outcome),
        Command::StuckStep { step, why } => steps::stuck(state, stamp, *step, why),
        Command::TrimAudit { through, hash, by } => {
            if !state.audit.trim(*through, *hash) {
                return Err(Refused::AuditTrim(*through));
            }
            audit(state, stamp, by.as_str(), format!("audit trimmed through {through}"));
            Ok(Answer::Done)
        }
        Command::AsideSeen { slot, generation, records } => aside::seen(state, stamp, slot, *generation, records),
        Command::ByHandSeen { slot, store, generation, starts } => {
            by_hand::seen(state, stamp, slot, store, *generation, starts)
        }
        Command::Verified { slot, generation, of } => verified::verified(state, stamp, slot, *generation, of),
        Command::AdoptHost { host, incarnation, high_water, by, reason } => {
            restore::adopt(state, stamp, host, *incarnation, *high_water, by, reason)
        }
        Command::HostAdopted { host, said } => restore::adopted(state, stamp, host, said),
        Command::Hold { on, by, reason } => holds::hold(state, stamp, on, by, reason),
        Command::Release { on, by, reason } => holds::release(state, stamp, on, by, reason),
        Command::InviteHost { host, certificate, by, reason } => {
            join::invite(state, stamp, host, *certificate, by, reason)
        }
        Command::JoinHost(guest) => join::join(state, stamp, guest),
        Command::RevokeInvitation { host, by, reason } => join::revoke(state, stamp, host, by, reason),
        Command::RaiseFeatureLevel { level } => raise_feature_level(state, stamp, *level),
    }
}

fn found(state: &mut State, stamp: Stamp, id: ClusterId, name: &ClusterName) -> Result<Answer, Refused> {
    match &state.cluster {
        Some(cluster) if cluster.id == id && cluster.name == *name => Ok(Answer::Done),
        Some(_) => Err(Refused::Founded),
        None => {
            state.cluster = Some(Cluster::new(id, name.clone()));
            audit(state, stamp, "slotd", format!("cluster {name} founded with id {id}"));
            Ok(Answer::Done)
        }
    }
}

/// R17: log time stood still while there was no leader, so what waited for approval may be older than it looks.
fn new_leader(state: &mut State, stamp: Stamp, node: &CoordinatorName) -> Answer {
    state.leader = Some(node.clone());
    let mut voided = Vec::new();
    for record in state.plans.values_mut().filter(|r| r.status == crate::state::PlanStatus::Proposed) {
        if planted("r15-new-leader-encodes-anew") {
            record.plan.revision = state.revision;
            record.bytes = record.plan.bytes();
        }
        if !record.approvals.is_empty() && !planted("r17-approvals-survive-a-new-leader") {
            record.approvals.clear();
            voided.push(record.id);
        }
    }
    if planted("r4-new-leader-starts-anew") {
        steps::start_anew(state);
    }
    audit(state, stamp, "slotd", format!("{node} leads"));
    for plan in voided {
        audit(state, stamp, "slotd", format!("approvals of {plan} are void: a new leader began before it started"));
    }
    Answer::Done
}

fn raise_feature_level(state: &mut State, stamp: Stamp, level: u32) -> Result<Answer, Refused> {
    if level != state.feature_level + 1 || level > FEATURE_LEVEL_SUPPORTED {
        return Err(Refused::FeatureLevel {
            asked: level,
            now: state.feature_level,
            supported: FEATURE_LEVEL_SUPPORTED,
        });
    }
    state.feature_level = level;
    audit(state, stamp, "slotd", format!("feature level {level}"));
    Ok(Answer::Done)
}

/// S12: one entry, before the effect it allows.
pub(crate) fn audit(state: &mut State, stamp: Stamp, actor: &str, event: String) {
    state.audit.push(stamp.index, stamp.now, stamp.wall, actor, event);
}

pub(crate) fn cluster(state: &State) -> Result<&Cluster, Refused> {
    state.cluster.as_ref().ok_or(Refused::NotFounded)
}

/// Who is behind a command, and what it asked, where refusals are audited too: people, and hosts with a token.
fn person(command: &Command) -> Option<(&str, String)> {
    match command {
        Command::ApprovePlan { plan, by, digest, .. } => Some((by.as_str(), format!("approve {plan} digest {digest}"))),
        Command::RejectPlan { plan, by, .. } => Some((by.as_str(), format!("reject {plan}"))),
        Command::AbortPlan { plan, by, .. } => Some((by.as_str(), format!("abort {plan}"))),
        Command::PausePlan { plan, by, .. } => Some((by.as_str(), format!("pause {plan}"))),
        Command::ResumePlan { plan, by, .. } => Some((by.as_str(), format!("resume {plan}"))),
        Command::Attest { host, by, .. } => Some((by.as_str(), format!("attest that {host} is off"))),
        Command::AdmitHost { host, by, .. } => Some((by.as_str(), format!("admit {host}"))),
        Command::AdoptHost { host, by, .. } => Some((by.as_str(), format!("re-adopt {host}"))),
        Command::Hold { on, by, .. } => Some((by.as_str(), format!("hold {on}"))),
        Command::Release { on, by, .. } => Some((by.as_str(), format!("release {on}"))),
        Command::InviteHost { host, by, .. } => Some((by.as_str(), format!("invite {host}"))),
        Command::RevokeInvitation { host, by, .. } => Some((by.as_str(), format!("revoke the invitation of {host}"))),
        Command::JoinHost(guest) => Some(("slotd", format!("{} joins with token {}", guest.host, guest.certificate))),
        Command::TrimAudit { by, through, .. } => Some((by.as_str(), format!("trim audit through {through}"))),
        _ => None,
    }
}
