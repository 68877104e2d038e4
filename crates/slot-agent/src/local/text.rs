//! What a person at the machine reads.
//!
//! What always holds: the verdict first, then each slot, then the exact command; at most 100 columns but for reasons.

use super::{LocalSlot, LocalStatus};
use slot_types::hand::{HandStart, HandState};
use slot_types::ids::{SlotId, StoreName};
use std::fmt::Write as _;

/// The status of a host, for a terminal.
pub fn status(status: &LocalStatus) -> String {
    let startable = status.slots.iter().filter(|slot| slot.may_start.is_ok()).count();
    let led = if status.led { "a coordinator leads and watches it" } else { "no coordinator watches it" };
    let mut text = format!("{} · {led} · {startable} masters could be started by hand\n", status.host);
    if status.copied {
        text += "its ledger was copied or restored: nothing starts here before a coordinator has admitted this disk\n";
    }
    let _ = writeln!(text, "\n  {:<10} {:<16} {:>8}  {:<12} ENGINE", "SLOT", "STORE", "EPOCH", "LEDGER");
    for slot in &status.slots {
        let LocalSlot { slot: at, store, epoch, role, engine, .. } = slot;
        let epoch = epoch.to_string();
        let _ = writeln!(text, "  {at:<10} {store:<16} {epoch:>8}  {role:<12} {engine}");
        for start in &slot.by_hand {
            let _ = writeln!(text, "             by hand: {}", branch(start, store));
        }
    }
    let wanted = status.slots.iter().filter(|slot| slot.may_start.is_ok());
    for (n, slot) in wanted.enumerate() {
        if n == 0 {
            text += "\nOnly if nobody else may have been made master meanwhile:\n";
        }
        let _ = writeln!(text, "  slot-agent local start-master {} --epoch {} --by YOU -m WHY", slot.slot, slot.epoch);
    }
    text
}

/// Asked first: no ledger can tell that it is an old one (S2).
pub const DISK_QUESTION: &str = "\
Was a disk of this machine restored, cloned or put back since it last spoke to a coordinator? An older disk has forgotten
what was demoted since, and would be a second master. Type no to go on: ";

/// What a person types a slot's name under.
pub fn question(slot: &SlotId, slot_status: Option<&LocalSlot>) -> String {
    let what = slot_status.map_or("a store".to_string(), |slot| format!("{} at epoch {}", slot.store, slot.epoch));
    format!(
        "{slot} becomes master of {what} again, by your word alone.\n\
         If the coordinators have made another one master meanwhile, there will be two that take writes: what this one \
         alone\nacknowledges is set aside then, and a person must settle it (a loss case).\n\
         Type the slot to start it: "
    )
}

/// How a start ended.
pub fn started(slot: &SlotId, store: Option<&StoreName>, start: &HandStart) -> String {
    let name = store.map_or_else(|| format!("+{}", start.number), |store| start.branch(store));
    match &start.state {
        HandState::Serving => format!(
            "{slot} is master at epoch {}; branch {name} is in the ledger, and in the audit once coordinators are back\n",
            start.epoch
        ),
        HandState::Asked => {
            format!(
                "{slot} was asked to be master, branch {name}; whether it is one is not known: slot-agent local status\n"
            )
        }
        HandState::Failed(why) => format!("{slot} was not started, branch {name}: {why}\n"),
    }
}

fn branch(start: &HandStart, store: &StoreName) -> String {
    format!("{} by {} (user {}): {} · {}", start.branch(store), start.by, start.uid, start.reason, start.state)
}
