//! This node's proposals under way, and log time.
//!
//! What always holds: log time is the state's at the beginning of this leadership plus monotonic time elapsed since, and
//! never less than the state's (R17); what a proposal was for is forgotten with the leadership it was made under, so
//! nothing is ever concluded from a proposal whose fate is not known.

use super::entry::Entry;
use super::io::Now;
use slot_machine::command::{Command, Proposal, RequestId, StepRef};
use slot_planted::planted;
use slot_raft::Input;
use slot_types::codec;
use slot_types::ids::*;
use std::collections::{BTreeMap, VecDeque};

/// What a proposal is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To say that this node leads.
    NewLeader,
    /// To found the cluster.
    Found,
    /// To answer a request.
    Request(u64),
    /// To start a step.
    Start(StepRef),
    /// To record what became of an order.
    Finish(OrderId, LogIndex),
    /// To record that a step is stuck.
    Stuck(StepRef),
    /// To record an agent's disk and boot.
    HostSeen(HostName),
    /// To open a loss case for what a host's copy put aside.
    Aside(HostName),
    /// To audit what people started at a host's machine.
    ByHand(HostName),
    /// To record what a comparison found.
    Verified(HostName),
    /// To record what a host holds, after a restore.
    Adopt(HostName),
    /// To void an attestation.
    SignOfLife(HostName),
    /// An everyday plan.
    Everyday(StoreName),
}

/// This node's proposals.
pub(super) struct Proposer {
    life: [u8; 16],
    counter: u64,
    pending: BTreeMap<u64, Purpose>,
    /// Log time and the caller's clock when this leadership began.
    base: (LogTime, u64),
    /// What raft has still to be told.
    pub(super) inputs: VecDeque<Input>,
}

impl Proposer {
    pub(super) fn new(life: [u8; 16]) -> Self {
        Self { life, counter: 0, pending: BTreeMap::new(), base: (LogTime(0), 0), inputs: VecDeque::new() }
    }

    /// Log time starts to run from what the state says (R17).
    pub(super) fn set_base(&mut self, log_time: LogTime, now: Now) {
        self.base = (log_time, now.ms);
    }

    /// Log time now; `floor` is the state's.
    pub(super) fn log_now(&self, now: Now, floor: LogTime) -> LogTime {
        if planted("r17-log-time-from-wall-clock") {
            return LogTime(now.wall.0).max(floor);
        }
        let (base, since) = self.base;
        LogTime(base.0.saturating_add(now.ms.saturating_sub(since))).max(floor)
    }

    /// Hands a command to raft; what became of it comes to [`Self::committed`] or [`Self::dropped`].
    pub(super) fn propose(
        &mut self,
        now: Now,
        floor: LogTime,
        request: Option<RequestId>,
        command: Command,
        purpose: Purpose,
    ) {
        self.counter += 1;
        let proposal = Proposal { request, log_time: self.log_now(now, floor), wall: now.wall, command };
        let entry = Entry { life: self.life, counter: self.counter, proposal };
        self.pending.insert(self.counter, purpose);
        self.inputs.push_back(Input::Propose { request: self.counter, data: codec::encode(&entry) });
    }

    /// What raft is told next: one input, or all proposals in a row, which then share one write and one message.
    pub(super) fn next_inputs(&mut self) -> Option<Vec<Input>> {
        let mut inputs = vec![self.inputs.pop_front()?];
        while matches!((inputs.last(), self.inputs.front()), (Some(Input::Propose { .. }), Some(Input::Propose { .. })))
        {
            inputs.extend(self.inputs.pop_front());
        }
        Some(inputs)
    }

    /// An entry was committed: what it was for, if it is this life's and of this leadership.
    pub(super) fn committed(&mut self, entry: &Entry) -> Option<Purpose> {
        (entry.life == self.life).then(|| self.pending.remove(&entry.counter)).flatten()
    }

    /// A proposal certainly did not enter the log: what it was for.
    pub(super) fn dropped(&mut self, counter: u64) -> Option<Purpose> {
        self.pending.remove(&counter)
    }

    /// Leadership ended: everything under way, its fate unknown.
    pub(super) fn forget(&mut self) -> Vec<Purpose> {
        std::mem::take(&mut self.pending).into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r17_log_time_runs_with_monotonic_time_and_never_back() {
        let mut proposer = Proposer::new([1; 16]);
        let now = |ms| Now { ms, wall: WallTime(0) };
        proposer.set_base(LogTime(5_000), now(100));
        assert_eq!(proposer.log_now(now(350), LogTime(5_000)), LogTime(5_250));
        assert_eq!(proposer.log_now(now(350), LogTime(9_000)), LogTime(9_000));
        assert_eq!(proposer.log_now(now(50), LogTime(5_000)), LogTime(5_000));
    }

    #[test]
    fn only_this_lifes_entries_are_own() {
        let mut proposer = Proposer::new([1; 16]);
        let now = Now { ms: 0, wall: WallTime(0) };
        proposer.propose(now, LogTime(0), None, Command::OpenSession, Purpose::Found);
        let Some(Input::Propose { data, .. }) = proposer.inputs.pop_front() else { panic!("a proposal") };
        let own: Entry = codec::decode(&data).unwrap();
        let other = Entry { life: [2; 16], ..own.clone() };
        assert_eq!(proposer.committed(&other), None);
        assert_eq!(proposer.committed(&own), Some(Purpose::Found));
        assert_eq!(proposer.committed(&own), None);
    }
}
