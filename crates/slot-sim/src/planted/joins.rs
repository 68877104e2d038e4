//! Bugs planted where hosts join with a one-time token (S2, S15, docs/adr/0024).
//!
//! What always holds: as for the others; each is one mistake against one rule.

use super::Bug;

/// The bugs.
pub const BUGS: &[Bug] = &[
    Bug {
        name: "s15-token-not-burnt",
        rule: "S15",
        what: "The entry that lets a host in does not burn its token.",
        how: "Two machines ask with one token, each with a key of its own. S15: the second one is let in with a token that the first \
            one has used.",
        thread: None,
    },
    Bug {
        name: "s15-revoked-token-taken",
        rule: "S15",
        what: "A token that a person took back still lets a host in.",
        how: "Invite B's host, revoke its token, and let it join. S15: it is let in with a token that was revoked.",
        thread: None,
    },
    Bug {
        name: "s15-expired-token-taken",
        rule: "S15",
        what: "A token is good for ever.",
        how: "Invite B's host, let everything stand still for a day, and let it join. S15: it is let in with a token that expired.",
        thread: None,
    },
    Bug {
        name: "s2-disk-that-joined-admitted-unseen",
        rule: "S2",
        what: "The disk of a host that joins is admitted whatever the former one may hold.",
        how: "Install the host of the master A anew and let it join. S2: its disk is admitted, and the former one led a store.",
        thread: None,
    },
];
