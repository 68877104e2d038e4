//! Bugs planted where agents look around for the leader (R8, R26, docs/adr/0027 and 0039).
//!
//! What always holds: as for the others; each is one mistake against one rule.

use super::Bug;

/// The bugs.
pub const BUGS: &[Bug] = &[
    Bug {
        name: "r8-answered-probe-ignored",
        rule: "R8",
        what: "An answer to a probe voids no word that its host is off.",
        how: "Cut A's host off from the coordinators and from B's, so that a third host alone reaches it, and say that it is off. R8: \
            the word stands though its leader took an answer to a probe of after it; S1, if the failover goes through.",
        thread: None,
    },
    Bug {
        name: "r8-late-answer-counts",
        rule: "R8",
        what: "An answer voids a word that was given after its probe was asked for.",
        how: "Hold an agent's answer back, switch off A's host, which had answered it, and say so. R8: the word is voided by an answer \
            of before it.",
        thread: None,
    },
    Bug {
        name: "r8-connection-taken-for-an-answer",
        rule: "R8",
        what: "An agent that is connected to an address says that its host answered.",
        how: "Let all processes of A's host stand still: its kernel takes connections. R8: an agent says that it answered, and it has \
            proven nothing.",
        thread: None,
    },
    Bug {
        name: "r26-device-asked-while-held",
        rule: "R26",
        what: "A host's device is asked for its status while a failover is under way that is to switch the host off.",
        how: "Switch off A's host, fail it over, and hold the plan up for longer than its device is left in peace. R26: the device is \
            asked, which a running plan holds.",
        thread: None,
    },
    Bug {
        name: "adr39-share-of-the-silent-dropped",
        rule: "ADR39",
        what: "What a silent agent had to look at goes to nobody.",
        how: "Let two agents fall silent for half a minute. ADR39: a master's address is looked at by fewer than two hosts, and two \
            that are heard could.",
        thread: None,
    },
];
