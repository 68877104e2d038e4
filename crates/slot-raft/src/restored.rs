//! What a node finds on its disk.
//!
//! What always holds: state is the snapshot plus the log after it; a restored state that raft-rs could not start from
//! is refused with what is wrong, instead of ending the process from inside raft-rs.

use crate::members::check_conf_state;
use slot_proto::pb::{RaftConfState, RaftEntry, RaftEntryType, RaftHardState, RaftLogStart, RaftSnapshot};

/// What a node finds on its disk. The members are those of the snapshot: later changes are in the log and are applied
/// again when it is replayed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Restored {
    /// Term, vote and commit index.
    pub hard_state: RaftHardState,
    /// The snapshot; none on a node that has yet to receive its first one.
    pub snapshot: Option<RaftSnapshot>,
    /// The place the kept log begins after; at or before the snapshot.
    pub log_start: RaftLogStart,
    /// The log.
    pub entries: Vec<RaftEntry>,
}

impl Restored {
    /// The first state of a new group: every one of the first voters must be given the same. It is a snapshot at index
    /// 1, so that a node added later always begins with a snapshot and never with an empty list of members.
    pub fn bootstrap(voters: &[u64], data: Vec<u8>) -> Self {
        Self::at(voters, 1, 1, data)
    }

    /// The first state of a group that goes on from a state it is given, at this index and term: every voter must be given the
    /// same.
    pub fn at(voters: &[u64], index: u64, term: u64, data: Vec<u8>) -> Self {
        let conf_state = RaftConfState { voters: voters.to_vec(), ..Default::default() };
        Self {
            hard_state: RaftHardState { term, vote: 0, commit: index },
            snapshot: Some(RaftSnapshot { index, term, conf_state: Some(conf_state), data }),
            log_start: RaftLogStart { index, term },
            entries: Vec::new(),
        }
    }

    /// The first state of a node that will be added to a group: nothing, until the leader sends a snapshot.
    pub fn joiner() -> Self {
        Self::default()
    }

    /// The last index of the log.
    pub fn last_index(&self) -> u64 {
        self.entries.last().map_or(self.log_start.index, |entry| entry.index)
    }

    /// What is wrong with it, if anything.
    pub fn check(&self) -> Result<(), String> {
        let mut previous = (self.log_start.index, self.log_start.term);
        for entry in &self.entries {
            if entry.index != previous.0 + 1 {
                return Err(format!("the log goes from entry {} to entry {}", previous.0, entry.index));
            }
            if entry.term < previous.1.max(1) {
                return Err(format!(
                    "entry {} is of term {}, the one before of {}",
                    entry.index, entry.term, previous.1
                ));
            }
            if !matches!(entry.r#type(), RaftEntryType::Normal | RaftEntryType::ConfChange) {
                return Err(format!("entry {} is of unknown type {}", entry.index, entry.r#type));
            }
            previous = (entry.index, entry.term);
        }
        let hard = &self.hard_state;
        if hard.term < previous.1 {
            return Err(format!("the term is {}, but the log ends in term {}", hard.term, previous.1));
        }
        let applied = self.check_snapshot()?;
        if hard.commit < applied || hard.commit > previous.0 {
            return Err(format!("the commit index is {}, outside of {} to {}", hard.commit, applied, previous.0));
        }
        Ok(())
    }

    fn check_snapshot(&self) -> Result<u64, String> {
        let Some(snapshot) = &self.snapshot else {
            let empty = self.log_start.index == 0 && self.entries.is_empty();
            return if empty { Ok(0) } else { Err("there is a log but no snapshot".into()) };
        };
        if snapshot.index == 0 || snapshot.term == 0 || self.term(snapshot.index) != Some(snapshot.term) {
            return Err(format!("the snapshot is of entry {} in term {}, the log not", snapshot.index, snapshot.term));
        }
        let members = snapshot.conf_state.as_ref().ok_or("the snapshot names no members")?;
        check_conf_state(members).map_err(|e| format!("the snapshot's list of members is wrong: {e}"))?;
        Ok(snapshot.index)
    }

    fn term(&self, index: u64) -> Option<u64> {
        if index == self.log_start.index {
            return Some(self.log_start.term);
        }
        let offset = index.checked_sub(self.log_start.index + 1)?;
        self.entries.get(usize::try_from(offset).ok()?).map(|entry| entry.term)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, term: u64) -> RaftEntry {
        RaftEntry { r#type: RaftEntryType::Normal as i32, term, index, data: vec![] }
    }

    #[test]
    fn first_states_are_valid() {
        assert_eq!(Restored::bootstrap(&[1, 2, 3], vec![]).check(), Ok(()));
        assert_eq!(Restored::joiner().check(), Ok(()));
    }

    #[test]
    fn every_break_is_found() {
        let mut good = Restored::bootstrap(&[1], vec![]);
        good.entries = vec![entry(2, 1), entry(3, 2)];
        good.hard_state = RaftHardState { term: 2, vote: 1, commit: 2 };
        assert_eq!(good.check(), Ok(()));
        let breaks: [fn(&mut Restored); 9] = [
            |r| r.entries[1].index = 4,
            |r| r.entries[1].term = 0,
            |r| r.entries[1].r#type = 7,
            |r| r.hard_state.term = 1,
            |r| r.hard_state.commit = 0,
            |r| r.hard_state.commit = 4,
            |r| r.snapshot = None,
            |r| r.snapshot.as_mut().unwrap().term = 2,
            |r| r.snapshot.as_mut().unwrap().conf_state = None,
        ];
        for (number, harm) in breaks.iter().enumerate() {
            let mut bad = good.clone();
            harm(&mut bad);
            assert!(bad.check().is_err(), "break {number}");
        }
    }
}
