//! Asking coordinators to let a host in, without I/O.
//!
//! What always holds: one coordinator is asked at a time, one after the other, until one of them says yes, or no for good;
//! whoever says neither may have burnt the token all the same, so the same key asks again until patience ends.

/// The pause before all of them are asked again, in milliseconds.
pub const PAUSE_MS: u64 = 500;

/// How it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Ask this coordinator, one of those that there are.
    Ask(usize),
    /// Wait for [`PAUSE_MS`], then [`Exchange::begin`].
    Pause,
    /// Somebody said no, for this reason.
    Refused(String),
    /// Nobody answered; the last one said this.
    Unanswered(String),
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct Exchange {
    coordinators: usize,
    patience_ms: u64,
    at: usize,
}

impl Exchange {
    /// With so many coordinators, for so long.
    pub fn new(coordinators: usize, patience_ms: u64) -> Self {
        Self { coordinators, patience_ms, at: 0 }
    }

    /// From the first coordinator.
    pub fn begin(&mut self) -> Next {
        self.at = 0;
        if self.coordinators == 0 {
            return Next::Unanswered("the token names no coordinator".into());
        }
        Next::Ask(0)
    }

    /// The one that was asked said no, for good or not, or nothing; so long after it began.
    pub fn failed(&mut self, elapsed_ms: u64, is_final: bool, text: String) -> Next {
        if is_final {
            return Next::Refused(text);
        }
        self.at += 1;
        if self.at < self.coordinators {
            return Next::Ask(self.at);
        }
        if elapsed_ms.saturating_add(PAUSE_MS) >= self.patience_ms {
            return Next::Unanswered(text);
        }
        Next::Pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_asked_in_turn_until_patience_ends_or_somebody_says_no() {
        let mut exchange = Exchange::new(2, 2_000);
        assert_eq!(exchange.begin(), Next::Ask(0));
        assert_eq!(exchange.failed(10, false, "c1: away".into()), Next::Ask(1));
        assert_eq!(exchange.failed(20, false, "c2: away".into()), Next::Pause);
        assert_eq!(exchange.begin(), Next::Ask(0), "the leader may be the first by now");
        assert_eq!(exchange.failed(1_490, false, "c1: away".into()), Next::Ask(1));
        assert_eq!(exchange.clone().failed(1_500, false, "c2: away".into()), Next::Unanswered("c2: away".into()));
        assert_eq!(exchange.failed(1_500, true, "used".into()), Next::Refused("used".into()));
        assert!(matches!(Exchange::new(0, 9).begin(), Next::Unanswered(_)));
    }
}
