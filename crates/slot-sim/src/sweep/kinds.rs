//! Kinds of plans, and the faults that befall them.
//!
//! What always holds: every kind of plan the planner makes is here; so is every fault that must be survived at any place.

/// A kind of plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The cluster file of an empty cluster: hosts are added, a store is made.
    CreateStore,
    /// A well master is handed over.
    HandOver,
    /// A host is drained.
    Drain,
    /// And undrained.
    Undrain,
    /// The master's host has no power, as a person says.
    FailOverOff,
    /// The master's engine is dead, its agent answers.
    FailOverEngine,
    /// All masters of a host without power.
    FailOverHost,
    /// Stranded records are put into the master.
    Reinject,
    /// Stranded records are given up.
    Discard,
    /// A rebooted host's master starts again.
    StartMaster,
    /// A rebooted host's replica follows again.
    Follow,
    /// A failed-over master comes back.
    FenceReturned,
    /// The master's host is emptied.
    Empty,
    /// The master's copy goes to another slot, the mastership with it.
    Move,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 14] = [
        Kind::CreateStore,
        Kind::HandOver,
        Kind::Drain,
        Kind::Undrain,
        Kind::FailOverOff,
        Kind::FailOverEngine,
        Kind::FailOverHost,
        Kind::Reinject,
        Kind::Discard,
        Kind::StartMaster,
        Kind::Follow,
        Kind::FenceReturned,
        Kind::Empty,
        Kind::Move,
    ];

    /// Its name in a case.
    pub fn name(self) -> &'static str {
        match self {
            Kind::CreateStore => "create-store",
            Kind::HandOver => "hand-over",
            Kind::Drain => "drain",
            Kind::Undrain => "undrain",
            Kind::FailOverOff => "failover-off",
            Kind::FailOverEngine => "failover-engine",
            Kind::FailOverHost => "failover-host",
            Kind::Reinject => "reinject",
            Kind::Discard => "discard",
            Kind::StartMaster => "start-master",
            Kind::Follow => "follow",
            Kind::FenceReturned => "fence-returned",
            Kind::Empty => "empty",
            Kind::Move => "move",
        }
    }

    /// The kind of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// What happens at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The process there is killed before it does it, and started again soon after.
    Crash,
    /// The next operation of the disk of the process there fails with EIO.
    Eio,
    /// The next message from there comes twice.
    Again,
    /// The leader is killed.
    LeaderKilled,
    /// The leader and its peers do not hear each other for longer than an election.
    LeaderCut,
    /// The process there stops for longer than an election.
    Pause,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Fault; 6] =
        [Fault::Crash, Fault::Eio, Fault::Again, Fault::LeaderKilled, Fault::LeaderCut, Fault::Pause];

    /// Its name in a case.
    pub fn name(self) -> &'static str {
        match self {
            Fault::Crash => "crash",
            Fault::Eio => "eio",
            Fault::Again => "again",
            Fault::LeaderKilled => "leader-killed",
            Fault::LeaderCut => "leader-cut",
            Fault::Pause => "pause",
        }
    }

    /// The fault of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.name() == name)
    }

    /// Whether it can happen at a place at all; `rest` is what a run without faults passes from there on, the place first.
    /// A disk without a further operation can't fail at one.
    pub fn fits(self, place: &str, rest: &[String]) -> bool {
        let Some((_, node)) = place.split_once(" at ") else { return true };
        if self != Fault::Eio || node.starts_with("engine ") {
            return true;
        }
        let writes = |verb: &str| ["persists-", "accepts-", "records-"].iter().any(|w| verb.starts_with(w));
        rest.iter().filter_map(|p| p.split_once(" at ")).any(|(verb, at)| at == node && writes(verb))
    }
}
