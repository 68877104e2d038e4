//! Bugs planted in plans that are paused, resumed and undone.
//!
//! What always holds: as for the others; each is one mistake against one rule.

use super::Bug;

/// The bugs.
pub const BUGS: &[Bug] = &[
    Bug {
        name: "r14-resume-without-guards",
        rule: "R14",
        what: "A plan is resumed without looking at its guards again.",
        how: "Let a drain be refused its store, silence the other hosts, resume. R14: it takes up a hand-over to a host that \
            nobody hears.",
        thread: None,
    },
    Bug {
        name: "r18-undo-with-old-approval",
        rule: "R18",
        what: "An undo starts by the approval of the plan that it undoes.",
        how: "Drain a host, pause part way, ask for the undo and say nothing. S5: a plan starts that nobody approved.",
        thread: None,
    },
];
