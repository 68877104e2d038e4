//! Holds: what `hold` and `release` answer, and how a hold reads elsewhere.
//!
//! What always holds: who, since when and why stand beside what is held, and the command that ends it.

use super::layout::*;
use slot_types::hold::{Held, HoldOn};
use slot_types::ids::PlanId;

fn subject(on: &HoldOn) -> String {
    match on {
        HoldOn::All => "everything".into(),
        on => on.to_string(),
    }
}

/// After `hold`.
pub fn held(on: &HoldOn, changed: bool, running: &[PlanId]) -> String {
    let what = subject(on);
    let first = if changed {
        format!("{what} is held: nothing that touches it starts before it is released")
    } else {
        format!("nothing to do: {what} was held by you already")
    };
    let mut text = wrap("", &first);
    for plan in running {
        let goes_on =
            format!("{plan} runs and goes on: a hold pauses nothing; to stop it: slotctl plan abort {plan} -m REASON");
        text += &wrap("  careful  ", &goes_on);
    }
    text + &format!("  next     slotctl release {on} -m REASON\n")
}

/// After `release`.
pub fn released(on: &HoldOn, changed: bool) -> String {
    let what = subject(on);
    if changed {
        return format!("{what} is released\n  next     slotctl status\n");
    }
    format!("nothing to do: no hold on {what} was there; slotctl status says what is held\n")
}

/// Holds below one label: `held   host imap3 by ann since ...`.
pub fn lines(label: &str, holds: &[Held]) -> String {
    let line = |Held { on, hold }: &Held| {
        let since = date_and_time(hold.wall);
        let text = format!("{} by {} since {since} UTC: {}", subject(on), hold.by, hold.reason);
        wrap(label, &text)
    };
    holds.iter().map(line).collect()
}
