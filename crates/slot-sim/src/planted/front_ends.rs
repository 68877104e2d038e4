//! Bugs planted where front ends follow the routes (R12, docs/adr/0022).
//!
//! What always holds: as for the others; each is one mistake against one rule.

use super::Bug;

/// The bugs.
pub const BUGS: &[Bug] = &[
    Bug {
        name: "adr22-older-table-taken",
        rule: "ADR22",
        what: "A front end renders whatever table comes last, however old it is.",
        how: "Hold a table of the leader back, kill the leader, hand B's store back to A, let the table come. ADR22: a proxy serves \
            an older revision again.",
        thread: None,
    },
    Bug {
        name: "adr22-plan-does-not-wait",
        rule: "ADR22",
        what: "A hand-over ends without waiting for the front ends' word.",
        how: "Kill a front end and hand A's store over to B. ADR22: the plan says that the route is served, which that front end \
            never said.",
        thread: None,
    },
    Bug {
        name: "adr22-begun-not-kept",
        rule: "ADR22",
        what: "A front end keeps a table only once it is acknowledged, as it did before the simulator played one.",
        how: "Kill a front end when its proxy has read one of the new maps. ADR22: it starts with the former table and renders that \
            over the newer map.",
        thread: None,
    },
    Bug {
        name: "adr22-failed-reload-acknowledged",
        rule: "ADR22",
        what: "A reload that failed counts as one that went well.",
        how: "Let reloads fail for a while and hand A's store over to B. ADR22: the front end acknowledges a revision that its proxy \
            has not read.",
        thread: None,
    },
    Bug {
        name: "r12-moving-never-ends",
        rule: "R12",
        what: "A front end holds new connections until a coordinator tells it otherwise, not as long as the freeze may last.",
        how: "Freeze A, lose B's catch-up, and kill every coordinator. R12: new connections are held though the freeze is over.",
        thread: None,
    },
];
