//! People who pause plans, take them up again and undo them.
//!
//! What always holds: whoever finds a plan paused does something about it sooner or later; an undo is asked for like any other
//! plan, and is shown before anybody says yes.

use super::*;
use slot_machine::state::PlanStatus;
use slot_types::plan::Reverse;

impl Crowd {
    /// Somebody says: begin nothing more.
    pub(super) fn pause(&mut self, now: u64, public: &Public<'_>, who: usize, state: &State, asks: &mut Vec<Ask>) {
        let running: Vec<PlanId> = state.running().filter(|p| p.status == PlanStatus::Running).map(|p| p.id).collect();
        let Some(plan) = self.one_of(&running).copied() else { return };
        self.count("pause asked");
        let request = ControlRequest::PausePlan { request: self.id(who), plan, reason: "wait a moment".into() };
        self.ask(now, public, who, request, Purpose::Pause, asks);
    }

    /// Somebody finds a plan paused.
    pub(super) fn take_up(&mut self, now: u64, public: &Public<'_>, who: usize, state: &State, asks: &mut Vec<Ask>) {
        let paused = state.running().filter(|p| matches!(p.status, PlanStatus::Paused { .. }));
        let paused: Vec<PlanId> = paused.map(|p| p.id).collect();
        let Some(plan) = self.one_of(&paused).copied() else { return };
        let reason = "it has waited long enough".to_string();
        match self.dice.within(0, 5) {
            0 => {
                let request = ControlRequest::AbortPlan { request: self.id(who), plan, reason };
                self.ask(now, public, who, request, Purpose::Pause, asks);
            }
            1 | 2 => {
                self.count("undo asked");
                let intent = Intent::Undo(Box::new(Reverse { plan, ..Reverse::default() }));
                self.plan(now, public, who, intent, asks);
            }
            _ => {
                self.count("resume asked");
                let request = ControlRequest::ResumePlan { request: self.id(who), plan, reason };
                self.ask(now, public, who, request, Purpose::Pause, asks);
            }
        }
    }
}
