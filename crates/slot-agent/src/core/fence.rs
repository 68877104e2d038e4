//! Switching another host off: off, then status until it says off (R26).
//!
//! What always holds: "off" is said of a host only when the device took the order *and* its status says off, in that order
//! and within the device's time; a fence that ran out of time, or that never took, is a "never will" that proves nothing
//! about the host's power; once the device was asked, only its own word ends the order, a cancel does not (R4).

use super::work::Deed;
use super::{Active, AgentCore, CallFor, Effect, Phase};
use slot_planted::planted;
use slot_types::fence::{FenceAction, FenceSaid, FenceSpec, Power};
use slot_types::ids::*;
use slot_types::order::{Action, Done, NeverWill, Outcome};

/// The pause before a device is asked again.
pub const AGAIN_MS: u64 = 500;
/// How often a device is told to switch off before it counts as unwilling: once again after something went wrong.
const OFF_TRIES: u32 = 2;

/// How far an order to switch a host off is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fencing {
    /// When the device's time is up; `None` until it is first asked.
    until: Option<u64>,
    /// How often it was told to switch off.
    tries: u32,
    /// It said that it did.
    switched: bool,
}

impl Active {
    fn device(&self) -> Option<(&HostName, &FenceSpec)> {
        match &self.order.action {
            Action::Fence { host, device, .. } => Some((host, device)),
            _ => None,
        }
    }

    /// Whether a device was asked to cut power for this order: from then on only its word counts.
    pub(super) fn device_asked(&self) -> bool {
        self.fencing.until.is_some()
    }
}

fn not_off(host: &HostName, why: impl Into<String>) -> Deed {
    Deed::Finish(Outcome::NeverWill(NeverWill::NotOff { host: host.clone(), why: why.into() }))
}

impl AgentCore {
    /// What to ask the device next.
    pub(super) fn next_fence_deed(&self, active: &Active) -> Deed {
        let Some((host, device)) = active.device() else {
            return Deed::Finish(Outcome::Done(slot_types::order::Done::Plain));
        };
        let Fencing { until, tries, switched } = active.fencing;
        let left = until.map_or(device.timeout_ms, |until| until.saturating_sub(self.now));
        if left == 0 || (!switched && tries >= OFF_TRIES) {
            return not_off(host, active.why.clone());
        }
        let action = if switched { FenceAction::Status } else { FenceAction::Off };
        Deed::Fence { host: host.clone(), action, device: Box::new(device.clone()), budget_ms: left }
    }

    pub(super) fn ask_device(
        &mut self,
        id: OrderId,
        host: HostName,
        action: FenceAction,
        device: Box<FenceSpec>,
        budget_ms: u64,
    ) {
        let call = self.next_call;
        self.next_call += 1;
        self.calls.insert(call, CallFor::Order(id));
        let now = self.now;
        if let Some(active) = self.active.get_mut(&id) {
            let until = *active.fencing.until.get_or_insert(now.saturating_add(budget_ms));
            active.fencing.tries += u32::from(action == FenceAction::Off);
            // Whoever waits hears NotYet at the end of its own budget; the device is given its time.
            active.deadline = active.deadline.max(until.saturating_add(AGAIN_MS));
            active.called = true;
            active.phase = Phase::Fencing;
            active.why = format!("the device of {host} has not answered {} yet", action.name());
        }
        self.effects.push(Effect::Fence { call, host, action, device, budget_ms });
    }

    /// The device, or its fence agent, answered, or its time was up.
    pub(super) fn device_answered(&mut self, call: u64, result: Result<FenceSaid, String>) {
        let Some(CallFor::Order(id)) = self.calls.remove(&call) else { return };
        let now = self.now;
        let Some(active) = self.active.get_mut(&id).filter(|active| active.phase == Phase::Fencing) else { return };
        active.phase = Phase::Pausing(now + AGAIN_MS);
        match result {
            Ok(FenceSaid::Switched) => {
                active.fencing.switched = true;
                active.phase = Phase::Ready;
                active.why = "its status was not asked yet".into();
                if planted("r26-off-without-status") {
                    return self.finish(id, Outcome::Done(Done::Off), true);
                }
            }
            Ok(FenceSaid::Power(Power::Off)) if active.fencing.switched => {
                return self.finish(id, Outcome::Done(Done::Off), true);
            }
            Ok(FenceSaid::Power(power)) => active.why = format!("it was told to switch off, its status says {power}"),
            Err(why) => active.why = why,
        }
        self.advance(id);
    }
}
