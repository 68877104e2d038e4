//! Bugs planted in copies that come and go.
//!
//! What always holds: as for the others; each is one mistake against one rule.

use super::Bug;

/// The bugs.
pub const BUGS: &[Bug] = &[
    Bug {
        name: "r16-building-copy-counted",
        rule: "R16",
        what: "A copy counts as soon as it follows, though it holds nothing yet.",
        how: "Move a replica to a free slot while clients write. R16: the new copy is Serving and its disk holds fewer \
            records than its master held when it was begun.",
        thread: None,
    },
    Bug {
        name: "r16-counted-while-behind",
        rule: "R16",
        what: "Whether a built copy holds everything is not looked at before it counts.",
        how: "Move a replica to a free slot while clients write. R16: it counts right after its Follow, with next to \
            nothing on its disk.",
        thread: None,
    },
    Bug {
        name: "r4-slot-free-before-destroyed",
        rule: "R4",
        what: "A slot is free as soon as the order to destroy its copy exists, not when its agent has done it.",
        how: "Hold the order to destroy B's copy back and move another store's copy to B's slot. R11: the slot is given \
            to a store while its agent holds a copy of another one.",
        thread: None,
    },
    Bug {
        name: "r11-destroyed-without-tombstone",
        rule: "R11",
        what: "An agent forgets a copy that it destroyed, with the highest order index of its slot.",
        how: "Destroy B's copy and build one of the same store there again, while the first order comes late. S2: the \
            ledger has lost an entry; R4: an order of a lower index is accepted.",
        thread: None,
    },
    Bug {
        name: "r11-tombstone-dropped",
        rule: "R11",
        what: "Nothing is kept of a store that was retired, so its name is free.",
        how: "Retire a store and apply the old cluster file again. R11: a store of a name that was retired is made; S3: \
            its epochs begin anew.",
        thread: None,
    },
];
