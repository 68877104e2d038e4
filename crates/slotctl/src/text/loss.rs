//! `slotctl loss list` and `loss show`.
//!
//! What always holds: the list of stranded records is whole, never cut; what was stated when the failover was approved
//! stands beside what was found (R7).

use super::layout::*;
use slot_types::cluster::LossState;
use slot_types::view::LossCaseView;

/// All loss cases.
pub fn list(cases: &[LossCaseView]) -> String {
    let open = cases.iter().filter(|c| c.case.state.is_open()).count();
    if cases.is_empty() {
        return "no loss cases\n".into();
    }
    let mut text = match open {
        0 => format!("{}, all settled\n\n", count(cases.len() as u64, "loss case")),
        n => format!("{n} of {} OPEN\n\n", count(cases.len() as u64, "loss case")),
    };
    let mut table = Table::new(&["CASE", "STORE", "SLOT", "PLAN", ">STRANDED", "STATE"]);
    for case in cases {
        table.row(vec![
            case.id.to_string(),
            case.case.store.to_string(),
            case.case.slot.to_string(),
            case.case.plan.to_string(),
            stranded(&case.case.state, case.case.stranded.len()),
            state(case),
        ]);
    }
    text += &table.text(0);
    if let Some(first) = cases.iter().find(|c| c.case.state == LossState::Listed) {
        text += &format!("\nnext  slotctl loss show {}\n", first.id);
    }
    text
}

fn stranded(state: &LossState, listed: usize) -> String {
    if *state == LossState::AwaitingReturn { "?".into() } else { listed.to_string() }
}

fn state(case: &LossCaseView) -> String {
    match (&case.case.state, case.plan) {
        (LossState::AwaitingReturn, _) => format!("waits for the return of {}", case.case.slot.host),
        (LossState::Listed, Some(plan)) => format!("LISTED, {plan} settles it"),
        (LossState::Listed, None) => "LISTED, waits for a person".into(),
        (LossState::NothingStranded, _) => "nothing was stranded".into(),
        (LossState::Reinjected { by }, _) => format!("reinjected by {by}"),
        (LossState::Discarded { by }, _) => format!("discarded by {by}"),
    }
}

/// One loss case.
pub fn show(view: &LossCaseView) -> String {
    let case = &view.case;
    let (id, store, slot) = (view.id, &case.store, &case.slot);
    let mut text = format!("{id}   {store} on {slot}   {}\n\n", state(view));
    text += &wrap("opened by    ", &format!("{}, which promoted past it at epoch {}", case.plan, case.epoch));
    let master = view.master.as_ref().map_or("none".to_string(), ToString::to_string);
    text += &format!("master now   {master}\n");
    text += &wrap("stated       ", &stated(view));
    text += &match &case.final_tip {
        Some(tip) => format!("ended at     {} (after its demote)\n", tip.position),
        None => "ended at     unknown: it has not been demoted yet\n".to_string(),
    };
    if case.state == LossState::AwaitingReturn {
        text += &wrap("stranded     ", &format!("unknown until {} is back; then listed exactly", slot.host));
        return text;
    }
    text += &format!("stranded     {}\n", count(case.stranded.len() as u64, "record"));
    if !case.stranded.is_empty() {
        let records: Vec<String> = case.stranded.iter().map(ToString::to_string).collect();
        text += &wrap("  ", &records.join(" "));
    }
    if case.state == LossState::Listed && view.plan.is_none() {
        text += &format!("\nnext  slotctl loss reinject {id} -m REASON    puts them into the master, none twice\n");
        text += &format!("      slotctl loss discard {id} -m REASON     gives them up by name; they stay on {slot}\n");
    }
    text
}

fn stated(view: &LossCaseView) -> String {
    let stated = &view.case.stated;
    let mut parts = vec![stated.class.to_string(), format!("candidate at {}", stated.candidate.position)];
    match (&stated.last_known, stated.last_known_age_ms) {
        (Some(tip), Some(age)) => parts.push(format!("old master last seen at {}, {} before", tip.position, span(age))),
        (Some(tip), None) => parts.push(format!("old master last seen at {}", tip.position)),
        (None, _) => parts.push("old master's end unknown".into()),
    }
    if let Some(lag) = stated.known_lag {
        parts.push(format!("{} known missing", count(lag, "record")));
    }
    parts.join(" · ")
}
