//! Bugs planted where the coordinators are restored from a backup (R10, S16).
//!
//! What always holds: as for the others; each is one mistake against one rule.

use super::Bug;

/// The bugs.
pub const BUGS: &[Bug] = &[
    Bug {
        name: "r10-backup-epoch-taken",
        rule: "S3",
        what: "A store comes back at the backup's epoch, not at the highest that a host holds.",
        how: "Take a backup, hand A's store over to B, lose the coordinators and restore. S3: the store comes back below what \
            B's ledger durably holds.",
        thread: None,
    },
    Bug {
        name: "r10-former-generation-obeyed",
        rule: "S16",
        what: "An agent that was re-adopted takes orders of whoever led before the restore.",
        how: "Take a backup, hold B's Promote back, lose the coordinators, restore, re-adopt every host, let the order arrive. \
            S16: a host takes an order of a generation that it does not follow any more.",
        thread: None,
    },
    Bug {
        name: "r10-former-master-forgotten",
        rule: "R3",
        what: "Who was a master below the highest epoch is no possible master when the state is rebuilt.",
        how: "Take a backup, fail A over while it has no power, lose the coordinators, switch A on and restore. R3: A's ledger \
            says master at a lower epoch, and the rebuilt store does not name it.",
        thread: None,
    },
];
