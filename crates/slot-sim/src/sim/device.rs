//! Devices that switch hosts off: one per host, where the swarm has them (R26).
//!
//! What always holds: a device's status is the truth about the host's power at that moment; everything else about it may go
//! wrong: it refuses, hangs, says that it switched and does not, or cuts the power and is heard too late. What a device has
//! switched off, somebody repairs and switches on after a while.

use super::*;
use slot_types::fence::{FenceAction, FenceSaid, Power};

/// How long a host that its device switched off stays off.
const REPAIR_MS: (u64, u64) = (8_000, 40_000);

/// What becomes of one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// The power is cut, and the answer says so.
    Cut,
    /// The power is cut, and the fence agent did not hear of it in time.
    CutUnheard,
    /// The answer says so, and the power is on.
    SaysCut,
    /// An error, and nothing happened.
    Fails,
    /// No answer in time, and nothing happened.
    Hangs,
    /// The truth about the power.
    Tells,
}

/// Whose agent asked, in which life, and by what.
pub(crate) enum Asked {
    /// By an order to fence.
    Fence { by: HostName, life: u32, call: u64 },
    /// By a leader that looks around.
    Look { by: HostName, life: u32, at: slot_agent::core_looks::At },
}

impl Asked {
    fn by(&self) -> &HostName {
        match self {
            Self::Fence { by, .. } | Self::Look { by, .. } => by,
        }
    }
}

impl Sim {
    pub(crate) fn ask_device(&mut self, asked: Asked, of: &HostName, action: FenceAction, budget_ms: u64) {
        let ill = !self.healing && self.devices.one_in(3);
        let deed = match (action, ill) {
            (FenceAction::Off, false) => Deed::Cut,
            (FenceAction::Off, true) => {
                [Deed::CutUnheard, Deed::SaysCut, Deed::Fails, Deed::Hangs][self.devices.within(0, 3) as usize]
            }
            (FenceAction::Status, false) => Deed::Tells,
            (FenceAction::Status, true) => [Deed::Fails, Deed::Tells][self.devices.within(0, 1) as usize],
        };
        let delay = match deed {
            Deed::Hangs => budget_ms,
            _ => self.devices.within(100, 2_500).min(budget_ms),
        };
        self.note(|| format!("the device of {of} is asked {} by {}: {deed:?}", action.name(), asked.by()));
        self.queue.after(delay, Happening::Device { asked, of: of.clone(), deed });
    }

    pub(crate) fn device(&mut self, asked: Asked, of: &HostName, deed: Deed) {
        if matches!(deed, Deed::Cut | Deed::CutUnheard) {
            self.cut_power(of);
        }
        let on = self.agents.get(of).is_some_and(|node| !node.dark);
        let result = match deed {
            Deed::Cut | Deed::SaysCut => Ok(FenceSaid::Switched),
            Deed::Tells => Ok(FenceSaid::Power(if on { Power::On } else { Power::Off })),
            Deed::CutUnheard | Deed::Hangs => Err("it did not end in time".to_string()),
            Deed::Fails => Err("exit code 1".to_string()),
        };
        match asked {
            Asked::Fence { by, life, call } => {
                let event = agent::Event::FenceAnswer { call, result };
                self.work(Node::Agent(by), life, Work::Agent(Box::new(event)));
            }
            Asked::Look { by, life, at } => self.device_told(by, life, at, result),
        }
    }

    /// One that is off already stays off for as long as what took its power lasts.
    fn cut_power(&mut self, of: &HostName) {
        if self.agents.get(of).is_none_or(|node| node.dark) {
            return;
        }
        self.power_off(of);
        let (short, long) = if self.healing { (1_000, 3_000) } else { REPAIR_MS };
        let down = self.devices.within(short, long);
        self.queue.after(down, Happening::PowerOn(of.clone()));
    }
}
