//! Bugs planted in the Raft driver: ways to misuse raft-rs that others found out about in production.
//!
//! What always holds: each re-creates what its thread tells of, in this driver's terms.

use super::Bug;

/// The bugs.
pub const BUGS: &[Bug] = &[
    Bug {
        name: "raft-send-before-persist",
        rule: "S14",
        what: "Votes and append responses leave before their entries and hard state are durable.",
        how: "Cut a follower's power between sending an append response (or a vote) and its batch being durable, while \
            another follower is away; then let the leader die. S14: a committed entry is missing or another one at \
            its index (leader completeness); or raft-rs panics.",
        thread: Some("tikv/tikv#994"),
    },
    Bug {
        name: "raft-vote-not-persisted",
        rule: "S14",
        what: "Term and vote are written only when entries happen to be written.",
        how: "Kill a node right after its vote was sent, restart it in the same election and let another candidate of \
            that term ask. S14: two votes of one node, two leaders in one term.",
        thread: Some("raft-rs lib.rs step 6, tikv/raft-rs#433"),
    },
    Bug {
        name: "raft-snapshot-without-hard-state",
        rule: "S14",
        what: "A snapshot is written in one transaction and the commit index that goes with it in a later one.",
        how: "Crash a node right after the batch that holds a snapshot (own or installed) became durable. Restart: its \
            disk is refused, the commit index is below the snapshot (a boot loop). Checker: a node does not start \
            from its own disk; L3.",
        thread: Some("nexus#4215, curvine#1551"),
    },
    Bug {
        name: "raft-read-context-reused",
        rule: "S13",
        what: "Rounds of reads in one term share a context.",
        how: "The leader begins a round; delay one follower's heartbeat answer; let the round end; cut the leader off, \
            let another lead and commit; deliver the late answer while the old leader has a second read waiting. \
            S13: a confirmed read below an answered change.",
        thread: Some("etcd#20418"),
    },
    Bug {
        name: "raft-node-id-reused",
        rule: "S14",
        what: "A node's incarnation is made from its id: a wiped disk comes back as the same node.",
        how: "Wipe a follower's disk and start it under its id while another follower lags. S14: the peers take its \
            envelopes; it acknowledged entries it no longer has: a committed entry is lost, or raft-rs panics.",
        thread: Some("openraft#2002, restate#2415"),
    },
    Bug {
        name: "raft-applied-without-effect",
        rule: "S14",
        what: "After a restart everything committed counts as applied, though the state is only as new as the snapshot.",
        how: "Restart a coordinator that has committed entries after its snapshot. S14: its state hash differs at \
            equal index; S13: views lack changes that were answered.",
        thread: Some("etcd#13766"),
    },
    Bug {
        name: "raft-persist-error-ignored",
        rule: "S14",
        what: "A failed write of the log is taken for durable and the node goes on.",
        how: "EIO or ENOSPC at a follower's commit of entries; then power loss of it and of the leader. S14: an entry \
            acknowledged by a quorum is gone; or a gap: the store does not load.",
        thread: Some("d-engine#404"),
    },
    Bug {
        name: "raft-snapshot-never-reported",
        rule: "L3",
        what: "What became of a snapshot that was sent is never told to Raft.",
        how: "Keep a follower away beyond the log's tail, heal, lose the snapshot message once. L3: the leader waits \
            for ever, the follower never catches up.",
        thread: Some("tikv/tikv#9859"),
    },
    Bug {
        name: "raft-committed-with-entries-dropped",
        rule: "S14",
        what: "Committed entries that come in one ready with new entries are not applied.",
        how: "A burst of proposals: a follower's append carries both entries and a higher commit index. S14: its state \
            misses entries: hashes differ at equal index.",
        thread: Some("tikv/tikv#1287"),
    },
];
