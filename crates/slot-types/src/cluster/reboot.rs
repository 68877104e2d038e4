//! How long a host's last reboots took: what "or wait?" is answered with, beside the loss a failover may bring.
//!
//! What always holds: a length is a leader's own, from the last word it heard of the boot that ended to the first of the new
//! one; where it did not hear that last word the length is a lower bound and is written as one. No clock is read to make it
//! here, and no rule reads it: it is for a person.

use crate::ids::*;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use std::fmt;

/// So many reboots of a host are kept, the last ones.
pub const REBOOTS_KEPT: usize = 3;

/// How long a leader had heard nothing of a host's agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Silence {
    /// In milliseconds, by the monotonic clock of that leader.
    pub ms: u64,
    /// Whether it had heard the host before. If not, it began to lead meanwhile, and the silence may be longer.
    pub whole: bool,
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = length(self.ms);
        f.pad(&if self.whole { text } else { format!("{text} or more") })
    }
}

/// One time that a host came back with another boot than it had.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Reboot {
    /// The boot that began.
    pub boot: BootId,
    /// How long its agent was silent before.
    pub silence: Silence,
    /// Whether somebody kept it off for some of that time: it was in maintenance, switched off, or said to be off.
    pub kept_off: bool,
    /// When its agent was heard again; for display.
    pub wall: WallTime,
}

impl fmt::Display for Reboot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.silence, if self.kept_off { " (kept off)" } else { "" })
    }
}

/// `its last 2 reboots took 2 min 10 s, 1 min 55 s (kept off)`: the last one first.
pub fn reboots_took(reboots: &[Reboot]) -> String {
    let took: Vec<String> = reboots.iter().rev().map(ToString::to_string).collect();
    match took.as_slice() {
        [] => "no reboot of it was seen yet".into(),
        [one] => format!("its last reboot took {one}"),
        many => format!("its last {} reboots took {}", many.len(), many.join(", ")),
    }
}

/// A length of time to the second, since it is to be compared with another.
pub fn length(ms: u64) -> String {
    let s = ms / 1_000;
    match s {
        0..60 => format!("{s} s"),
        60..3_600 => format!("{} min {:02} s", s / 60, s % 60),
        _ => format!("{} h {:02} min", s / 3_600, s % 3_600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reboot(ms: u64, whole: bool, kept_off: bool) -> Reboot {
        Reboot { boot: BootId([1; 16]), silence: Silence { ms, whole }, kept_off, wall: WallTime(0) }
    }

    #[test]
    fn reboots_read_from_the_last_one_backwards() {
        assert_eq!(reboots_took(&[]), "no reboot of it was seen yet");
        assert_eq!(reboots_took(&[reboot(59_999, true, false)]), "its last reboot took 59 s");
        assert_eq!(
            reboots_took(&[reboot(115_000, true, true), reboot(7_380_000, false, false), reboot(130_000, true, false)]),
            "its last 3 reboots took 2 min 10 s, 2 h 03 min or more, 1 min 55 s (kept off)"
        );
    }
}
