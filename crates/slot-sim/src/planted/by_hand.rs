//! Bugs planted where a person at the machine starts a master (R19).
//!
//! What always holds: as for the others; each is one mistake against one rule.

use super::Bug;

/// The bugs.
pub const BUGS: &[Bug] = &[
    Bug {
        name: "r19-any-copy-started-by-hand",
        rule: "R19",
        what: "A person may start any copy as master, not only the one that its own Promote made master.",
        how: "Hand A's store over to B, let nobody lead, kill A's engine, ask for A at the epoch that it holds as demoted. \
            R19: a branch begins on a copy that is no master of that epoch.",
        thread: Some("vitess#20780"),
    },
    Bug {
        name: "r19-branch-not-recorded",
        rule: "R19",
        what: "A start by hand is not written into the ledger before the engine is started.",
        how: "Let nobody lead, kill A's engine, start it by hand. S10: a launch and a StartMaster for which the durable ledger \
            has neither an order nor a branch.",
        thread: None,
    },
    Bug {
        name: "r19-conflict-adopted",
        rule: "R19",
        what: "A branch is adopted although a higher epoch was committed: its copy is no possible master any more.",
        how: "Fail A over while it has no power, let nobody lead, switch A on and start it by hand, let the coordinators come \
            back. R19: the branch is beside a higher epoch and its copy is no possible master.",
        thread: None,
    },
    Bug {
        name: "r19-disk-not-vouched-for",
        rule: "R19",
        what: "A person may start a master without having said that no older disk was put back.",
        how: "Keep A's disk while it is master, hand over to B, let nobody lead, put that disk back: its ledger says master \
            at an epoch that was fenced since. R19: the branch was begun on a disk that nobody vouched for; S1 and S2 after it.",
        thread: None,
    },
    Bug {
        name: "r19-started-beside-a-leader",
        rule: "R19",
        what: "A person may start a master while a coordinator that leads watches the agent.",
        how: "Kill A's engine and ask at once, before the leader's own StartMaster. R19: a branch was begun while a leader \
            watched.",
        thread: None,
    },
];
