//! Who belongs to the group, and which changes of it are allowed.
//!
//! What always holds: a configuration that raft-rs could not restore is refused here, before raft-rs would end the
//! process over it; one change at a time; no change may leave an even number of voters or remove the leader that makes
//! it.

use crate::effects::MemberChange;
use raft::eraftpb;
use slot_proto::pb::RaftConfState;
use std::collections::BTreeSet;

/// Who belongs to the group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    /// Who votes.
    pub voters: BTreeSet<u64>,
    /// Who only follows.
    pub learners: BTreeSet<u64>,
    /// Who voted before a change that is still under way.
    pub outgoing: BTreeSet<u64>,
}

impl Members {
    pub(crate) fn of(state: &eraftpb::ConfState) -> Self {
        Self {
            voters: state.get_voters().iter().copied().collect(),
            learners: state.get_learners().iter().copied().collect(),
            outgoing: state.get_voters_outgoing().iter().copied().collect(),
        }
    }

    /// Everyone who must be sent messages.
    pub fn all(&self) -> BTreeSet<u64> {
        &(&self.voters | &self.learners) | &self.outgoing
    }

    /// The members after `changes`, or why they must not be made.
    pub(crate) fn after(&self, changes: &[MemberChange], leader: u64) -> Result<Members, String> {
        if !self.outgoing.is_empty() {
            return Err("another change is under way; wait until it has ended".into());
        }
        if changes.is_empty() {
            return Err("it changes nothing".into());
        }
        let mut next = self.clone();
        for change in changes {
            let (MemberChange::AddVoter(id) | MemberChange::AddLearner(id) | MemberChange::Remove(id)) = *change;
            if id == 0 {
                return Err("0 is no node's id".into());
            }
            next.voters.remove(&id);
            next.learners.remove(&id);
            match change {
                MemberChange::AddVoter(_) => next.voters.insert(id),
                MemberChange::AddLearner(_) => next.learners.insert(id),
                MemberChange::Remove(_) => true,
            };
        }
        if !next.voters.contains(&leader) {
            return Err(format!("node {leader} leads and would no longer vote; transfer leadership first"));
        }
        if next.voters.len().is_multiple_of(2) {
            return Err(format!("{} voters bear no more losses than {}", next.voters.len(), next.voters.len() - 1));
        }
        Ok(next)
    }
}

/// Why a configuration cannot be a group's.
pub(crate) fn check_conf_state(state: &RaftConfState) -> Result<(), String> {
    let lists = [&state.voters, &state.learners, &state.voters_outgoing, &state.learners_next];
    let sets = lists.map(|list| list.iter().copied().collect::<BTreeSet<u64>>());
    for (list, set) in lists.iter().zip(&sets) {
        if list.len() != set.len() || set.contains(&0) {
            return Err("a member is named twice or has id 0".into());
        }
    }
    let [voters, learners, outgoing, next] = &sets;
    if voters.is_empty() {
        return Err("it has no voter".into());
    }
    if !learners.is_disjoint(voters) || !learners.is_disjoint(outgoing) || !learners.is_disjoint(next) {
        return Err("a learner also votes".into());
    }
    if !next.is_subset(outgoing) || !next.is_disjoint(voters) {
        return Err("a member becomes a learner that did not vote before".into());
    }
    if outgoing.is_empty() && state.auto_leave {
        return Err("it ends a change that is not under way".into());
    }
    Ok(())
}

/// The change as raft-rs wants it. More than one change of voters goes through a joint phase that ends by itself.
pub(crate) fn to_conf_change(changes: &[MemberChange]) -> eraftpb::ConfChangeV2 {
    let singles = changes.iter().map(|change| {
        let (id, kind) = match *change {
            MemberChange::AddVoter(id) => (id, eraftpb::ConfChangeType::AddNode),
            MemberChange::AddLearner(id) => (id, eraftpb::ConfChangeType::AddLearnerNode),
            MemberChange::Remove(id) => (id, eraftpb::ConfChangeType::RemoveNode),
        };
        let mut single = eraftpb::ConfChangeSingle { node_id: id, ..Default::default() };
        single.set_change_type(kind);
        single
    });
    let mut change = eraftpb::ConfChangeV2::default();
    change.set_changes(singles.collect::<Vec<_>>().into());
    change
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Members {
        Members { voters: [1, 2, 3].into(), ..Default::default() }
    }

    #[test]
    fn even_voters_and_a_leader_without_a_vote_are_refused() {
        assert!(three().after(&[MemberChange::Remove(3)], 1).unwrap_err().contains("2 voters"));
        let change = [MemberChange::Remove(1), MemberChange::AddVoter(4)];
        assert!(three().after(&change, 1).unwrap_err().contains("transfer leadership"));
        assert!(three().after(&[MemberChange::Remove(2), MemberChange::Remove(3)], 1).is_ok());
        assert!(three().after(&[MemberChange::AddLearner(4)], 1).is_ok());
    }

    #[test]
    fn configurations_raft_could_not_restore_are_refused() {
        let good = RaftConfState { voters: vec![1, 2, 3], learners: vec![4], ..Default::default() };
        assert_eq!(check_conf_state(&good), Ok(()));
        for bad in [
            RaftConfState::default(),
            RaftConfState { voters: vec![1, 1], ..Default::default() },
            RaftConfState { voters: vec![0], ..Default::default() },
            RaftConfState { voters: vec![1], learners: vec![1], ..Default::default() },
            RaftConfState { voters: vec![1], learners_next: vec![2], ..Default::default() },
            RaftConfState { voters: vec![1], auto_leave: true, ..Default::default() },
        ] {
            assert!(check_conf_state(&bad).is_err(), "{bad:?}");
        }
    }
}
