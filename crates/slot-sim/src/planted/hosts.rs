//! Bugs planted in the agent, its ledger and the journal engine.
//!
//! What always holds: each is one mistake against one rule or invariant, beside which `protocol.md` has the schedule;
//! `how` says which fault makes that schedule here, and which checker must speak.

use super::Bug;

/// The bugs.
pub const BUGS: &[Bug] = &[
    Bug {
        name: "r1-frozen-answered-after-thaw",
        rule: "R1",
        what: "A freeze that was thawed still answers its order with the frozen tip.",
        how: "Freeze A; lose the receipt and kill the leader; let the limit pass, so that A thaws and acknowledges; \
            the new leader delivers Freeze again. R1: the agent answers Done for a freeze whose end is durable \
            (engine not frozen by it); S6: the outcome in the ledger was not replaced.",
        thread: None,
    },
    Bug {
        name: "r2-demote-by-ledger-alone",
        rule: "R2",
        what: "An engine that does not answer Demote counts as fenced, since the ledger holds e+1.",
        how: "R2's schedule: hand-over A to B; pause A's engine (inside an append) before the Demote call reaches it, \
            longer than a third of the order's budget; B is promoted from the last seen tip; let A's engine go on. \
            R2: Demote's receipt while the engine's disk holds e; S1(c): an acknowledgement at e after the fence; \
            S4: it is missing at B.",
        thread: None,
    },
    Bug {
        name: "r4-older-index-accepted",
        rule: "R4",
        what: "The agent compares no StartStep index, and a cancel relies on that comparison.",
        how: "Hold back an order of A's slot (Freeze, Follow or Stop); abort, so that the leader cancels it and hears \
            never-will; run another plan over the same slot; let the old order arrive. S6: an effect of an order \
            answered never-will; S15: an order is accepted whose index is below the slot's highest durable one.",
        thread: None,
    },
    Bug {
        name: "r4-cancel-leaves-no-tombstone",
        rule: "R4",
        what: "A cancel of an order that never came is answered and leaves no tombstone.",
        how: "Hold back a Freeze or Stop on its way to the agent; abort the plan; the cancel hears never-will; let \
            the order arrive while no later order of that slot was accepted. S6: an effect of an order answered \
            never-will; R12 or S10: a freeze or stop that no plan knows of.",
        thread: None,
    },
    Bug {
        name: "r4-refusal-judged-again",
        rule: "R4",
        what: "Only what was done is kept: an order that was refused or cancelled is judged again when it comes \
            again.",
        how: "As for the missing tombstone: cancel an order before it arrives, then deliver it (or deliver twice, \
            with the cancel between). S6: two different outcomes for one order, the second with an effect.",
        thread: None,
    },
    Bug {
        name: "r5-boots-as-master",
        rule: "R5",
        what: "An agent that starts makes the dead masters in its ledger master again by itself.",
        how: "Cut power of A's host, fail over to B without A's demote (weak fence, or raised majority); power A on \
            with the coordinators cut off from it; writers with the old route are near. S10: a launch and a \
            StartMaster call without an order; S1(c): A acknowledges at e after B's first write at e+1.",
        thread: Some("Patroni#2787"),
    },
    Bug {
        name: "r11-key-without-generation",
        rule: "R11",
        what: "The ledger names a copy by slot and store only, so a new generation inherits the old one's epoch, \
            role and index.",
        how: "Create a store and abort when some copies are provisioned and one promoted or following; create it \
            again on the same slots (generation 2). S9/R11: after Provision of generation 2 the durable ledger has \
            no such key; L1: its Promote or Follow is refused as another role of the same epoch for ever.",
        thread: None,
    },
    Bug {
        name: "r11-old-engine-taken-for-new-copy",
        rule: "R11",
        what: "An engine of an older copy generation counts as the one that an order is about.",
        how: "Create a store, stop the plan before its end with the engines running, create it again on the same \
            slots: Provision of generation 2 finds generation 1's engine and answers done. R11: an engine serves \
            another generation than the ledger's current key; R16: the new copy begins with the old one's records.",
        thread: None,
    },
    Bug {
        name: "r21-attempt-beside-attempt",
        rule: "R21",
        what: "An order of a slot is accepted while another one of that slot has a call out.",
        how: "Pause A's engine so that a call hangs; let the leader cancel or time out the attempt and issue the next \
            (or hand in a newer order of the slot); go on. S6: two calls of different orders out on one slot; an \
            order's outcome changes from superseded to done.",
        thread: None,
    },
    Bug {
        name: "r21-launched-beside-hung",
        rule: "R21",
        what: "For a hung engine Demote launches a second process instead of reaping the first.",
        how: "Pause A's engine across a Demote until its first call has timed out; go on after the second process has \
            answered. S6: a Launch on a slot whose process is alive; S1(c): the first process acknowledges at e \
            after Demote's receipt.",
        thread: Some("Patroni#3649"),
    },
    Bug {
        name: "r27-boot-unchecked",
        rule: "R27",
        what: "The boot id of an order is not compared.",
        how: "R27's schedule: kill A's engine, hold back the StartMaster that follows; cut power of A's host; fail \
            over to B at e+1 with A fenced by power; power A on; let the old StartMaster arrive before Demote. S15: \
            an order of another boot is accepted; S1: A is master at e while B is at e+1.",
        thread: None,
    },
    Bug {
        name: "s2-ledger-commit-unsynced",
        rule: "S2",
        what: "The ledger's commits are not synced, for speed.",
        how: "Kill an agent, or cut its host's power, soon after an order's receipt (Demote and Raise are the worst). \
            S2: ledger epoch and highest index are lower than acknowledged; S6: an order answered done is unknown \
            or open.",
        thread: Some("NATS 2.12.1: fsync every two minutes"),
    },
    Bug {
        name: "s6-answered-before-durable",
        rule: "S6",
        what: "An order's outcome is answered before it is durable in the ledger.",
        how: "Slow the ledger's disk, cut power of the host between the answer and the ledger's sync; deliver the \
            order again. S6: a receipt for which the durable ledger has no outcome; after the restart the order is \
            performed again.",
        thread: None,
    },
    Bug {
        name: "s6-performed-before-accepted",
        rule: "S6",
        what: "The engine is called before the order is durably accepted.",
        how: "Crash the agent's host at the ledger write that accepts a Demote, Promote or Freeze, with the call \
            already out. S6: a Call or Launch for an order that the durable ledger does not hold; S2: the engine's \
            epoch is above its ledger's.",
        thread: None,
    },
    Bug {
        name: "s6-redelivery-performed-again",
        rule: "S6",
        what: "An order that was done is done again when it is delivered again.",
        how: "Deliver StartMaster, Provision or Freeze twice with the first one's receipt before the second (a \
            duplicate delayed by the network, or a new leader's); kill the engine between, or let the freeze thaw. \
            S6: a second effect for one (plan, step, attempt), or another outcome than the stored one.",
        thread: Some("omicron#6069"),
    },
    Bug {
        name: "s8-stop-believed",
        rule: "S8",
        what: "An engine that was asked to stop counts as stopped.",
        how: "Drain a host and pause one engine so that its Stop call times out; ConfirmStopped follows. S8: \
            Maintenance is declared while the process is alive; S6: Stop answered done before the process is gone.",
        thread: None,
    },
    Bug {
        name: "s10-agent-start-kills-engines",
        rule: "S10",
        what: "An agent that starts kills the engines it finds, to begin from a clean state.",
        how: "Kill and restart any agent with engines running, coordinators away or not. S10: a Kill without an \
            order; a store that served stops serving.",
        thread: None,
    },
    Bug {
        name: "s11-duplicate-begins-anew",
        rule: "S11",
        what: "A second delivery of an order under way takes the place of the first.",
        how: "Duplicate any order whose engine call takes longer than the duplicate (a slow disk or a pause helps). \
            S11/L1: the call's answer finds nobody, the slot's lane is never freed, its orders hang until the agent \
            restarts; the plan does not end within the bound.",
        thread: None,
    },
    Bug {
        name: "s11-trailing-bytes-overlooked",
        rule: "S11",
        what: "Bytes behind an order in its message are overlooked instead of refused.",
        how: "Hand an agent an order with bytes appended, as two frames run together would be (behind the checksum of \
            the transport, so directed). S11: an order is accepted or answered from a damaged message.",
        thread: None,
    },
    Bug {
        name: "s15-incarnation-unchecked",
        rule: "S15",
        what: "An order for another disk is taken.",
        how: "Wipe A's host with an order on its way (Provision or ConfirmStopped), re-admit it as a new disk, let \
            the order arrive; or clone an agent's folder and let both live. S15: an order is accepted whose \
            incarnation is not the ledger's.",
        thread: None,
    },
    Bug {
        name: "s15-older-term-taken",
        rule: "S15",
        what: "An order of a deposed leader is taken after one of its successor.",
        how: "Hold back the old leader's delivery; elect another, let it deliver anything to the same agent; release \
            the old one; crash the leader at each Deliver. S15: an order is accepted or performed with a lower term \
            than the ledger's highest.",
        thread: None,
    },
    Bug {
        name: "r1-freezes-again-after-thaw",
        rule: "R1",
        what: "The engine freezes again for an id that was thawed.",
        how: "Freeze A; kill its agent before the outcome is in the ledger; let the limit pass and writes be \
            acknowledged; the agent restarts and the order is delivered again (or a Freeze call is delayed past its \
            Thaw). R1: an engine is frozen by an id whose freeze was seen to end.",
        thread: None,
    },
    Bug {
        name: "r1-promote-unchecked",
        rule: "R1",
        what: "Promote compares the copy's tip with nothing.",
        how: "R1's schedule: freeze A at 100, compare; crash the leader past the limit; A acknowledges 101 with B cut \
            off; CommitEpoch, Demote (P1 = 101), Promote before B has caught up. S4: 101 was acknowledged and is \
            missing at B's first write; R1: Promote's receipt carries another tip than asked.",
        thread: None,
    },
    Bug {
        name: "r2-demote-before-durable",
        rule: "R2",
        what: "The engine answers Demote with e+1 in memory only.",
        how: "Slow A's disk, cut its power right after Demote's answer; or let an append be on its way to the disk at \
            that moment. R2/S2: Demote answered while the disk's meta holds e; the final tip P1 is shorter than the \
            log that becomes durable.",
        thread: None,
    },
    Bug {
        name: "r2-ack-without-recheck",
        rule: "R2",
        what: "Between fsync and acknowledgement neither role nor epoch is looked at again.",
        how: "sync_copies 0; pause or slow A's disk with an append on its way, let Demote arrive, go on. S1(c), R2: \
            the engine says done at e in the same step as, or after, Demote's durable answer at e+1.",
        thread: None,
    },
    Bug {
        name: "r2-append-after-demote",
        rule: "R2",
        what: "Role and epoch are compared when an append comes, and not under the lock that Demote takes.",
        how: "sync_copies 0; freeze A (appends are held back), then Demote within their time; what was held is \
            appended after Demote's answer. R2: the demoted log grows past P1; S1(c): acknowledged at e after the \
            fence; S4: missing at B.",
        thread: None,
    },
    Bug {
        name: "r5-late-start-master",
        rule: "R5",
        what: "The engine starts as master for a StartMaster of an epoch below the one it holds.",
        how: "A's engine dies and is launched again; delay the agent's StartMaster(e) call inside the host and kill \
            the agent; deliver Demote(e+1) by its next life; let the call arrive. S1: A is master at e+1 beside B; \
            S10: a role above what any order gave.",
        thread: None,
    },
    Bug {
        name: "r7-tail-cut-and-forgotten",
        rule: "R7",
        what: "A divergent suffix is cut and its entry in the list of what was put aside is dropped.",
        how: "sync_copies 0; cut A off from its replicas while it acknowledges; fail over to B; heal, so that A \
            follows B. R7: an acknowledged record is in no log and in no aside that is listed; the loss case's list \
            is shorter than the acknowledged set says.",
        thread: None,
    },
    Bug {
        name: "r7-follower-judged-by-length",
        rule: "R7",
        what: "A master takes a follower's length as the same history.",
        how: "As for the divergent suffix, with sync_copies 1: A comes back longer than B, follows, and counts as a \
            copy of what B appends. R24: acknowledged with no second copy that has the record; S4 when B's host \
            dies then.",
        thread: None,
    },
    Bug {
        name: "r7-ahead-of-master-cut",
        rule: "R7",
        what: "A replica that is ahead of its same-epoch master cuts its records instead of stopping to ask.",
        how: "sync_copies 1; lose the master's last fsync at a power cut (its replica has the records); StartMaster \
            by everyday recovery. (Opening refuses a log that is known to be longer: cut within the settle time.) \
            R7: a suffix is cut for a source whose history does not supersede it; S4: an acknowledged record is in \
            no serving log.",
        thread: None,
    },
    Bug {
        name: "r12-freeze-never-thaws",
        rule: "R12",
        what: "The freeze has no timer of its own.",
        how: "R12's schedule: freeze A, kill its agent and cut the coordinators off (or kill the leader) past the \
            limit. R12: an engine is frozen beyond its limit; L1: writers are not answered within the bound.",
        thread: None,
    },
    Bug {
        name: "r16-pulls-on-after-raise",
        rule: "R16",
        what: "A raise leaves the copy pulling from its old source at the old epoch.",
        how: "sync_copies 1, copies A, B, D; cut A off from the coordinators, not from D; fail over to B; between D's \
            Raise and its Follow writers go on at A. S1(c): A acknowledges at e through D after D durably held e+1; \
            R24 at B; also B's CatchUp is refused where B itself was raised.",
        thread: None,
    },
    Bug {
        name: "r16-divergent-tail-kept",
        rule: "R16",
        what: "A follower whose tail diverged keeps it and asks again for ever.",
        how: "sync_copies 0; cut A off while it acknowledges, fail over to B, heal. L1, R16: after the heal phase A's \
            log is not a beginning of B's, its lag never closes.",
        thread: None,
    },
    Bug {
        name: "r21-record-looked-for-once",
        rule: "R21",
        what: "A record's id is looked for when the append comes and not again when it is placed.",
        how: "Freeze, or a slow disk, with a writer that repeats its append under the same id before the first is \
            placed. R21: one record id is in the log twice.",
        thread: None,
    },
    Bug {
        name: "r21-record-high-water",
        rule: "R21",
        what: "Records are told apart by each client's highest sequence.",
        how: "Two appends of one client overtake each other on the way; or reinject a stranded tail after the client \
            has gone on. S4: an append answered as existing is in no log; R21/R7: reinjected counts fewer than \
            listed.",
        thread: None,
    },
    Bug {
        name: "r24-lowered-silently",
        rule: "R24",
        what: "Too few replicas lower sync_copies to what is there.",
        how: "sync_copies 1; cut all replicas off from the master for longer than follower_ms while writers go on; \
            cut the master's power and fail over. R24: acknowledged with fewer durable copies than committed; S4: \
            missing after the failover.",
        thread: None,
    },
    Bug {
        name: "r24-counted-before-fsync",
        rule: "R24",
        what: "A follower tells its master a length that is not on its disk yet.",
        how: "sync_copies 1; slow the replica's disk; cut the power of the whole site (or replica first, then lose \
            the master's last fsync). R24: acknowledged while one durable copy has the record; S4 after the \
            failover to the replica.",
        thread: Some("Galera 2026"),
    },
    Bug {
        name: "r29-thaws-as-master",
        rule: "R29",
        what: "Demote leaves the freeze's timer running, and its end makes the engine master.",
        how: "Any hand-over whose freeze limit passes while A runs on (hold the plan after Demote with a leader \
            change). R29: a role change by the timer; S1: two masters at e+1, or A's replica turns master.",
        thread: None,
    },
    Bug {
        name: "s2-raise-in-memory-only",
        rule: "S2",
        what: "Raise is answered with the epoch in memory only.",
        how: "Failover with a reachable replica D: cut D's power (or kill its engine) within the settle time after \
            Raise's receipt; power on. S2: the engine's epoch goes back from e+1 to e; R2: Raise answered while the \
            disk's meta holds e.",
        thread: None,
    },
    Bug {
        name: "s4-promote-while-behind",
        rule: "S4",
        what: "Promote takes a copy that is behind, since it will catch up.",
        how: "Hand-over A to B with writes acknowledged between P0 and P1 (thaw, or sync_copies 0 with B slow); crash \
            the leader before Promote. S4: B's first write is accepted without records that A had acknowledged up \
            to P1.",
        thread: None,
    },
    Bug {
        name: "p4-stale-follow-applied",
        rule: "S11",
        what: "A Follow of an older epoch is carried out after a newer one.",
        how: "Delay the agent's Follow(e, A) call inside replica D's host, kill its agent; fail over to B; D follows \
            B at e+1 (or is B itself); let the call arrive. S1/S11: a role change by an order older than the held \
            epoch; R16, L1: D does not follow B at the end; the new master steps down.",
        thread: Some("AWS DynamoDB DNS, 2025-10-20"),
    },
    Bug {
        name: "p10-rename-without-folder-fsync",
        rule: "S2",
        what: "The new meta is renamed and the folder is not synced.",
        how: "Cut power of a host right after the answer to Demote, Raise, Promote or Freeze. S2: the engine's epoch \
            goes back; R1: a freeze id is forgotten; R2: Demote answered while the disk's meta holds e.",
        thread: Some("etcd#6368"),
    },
    Bug {
        name: "p10-ack-before-fsync",
        rule: "S4",
        what: "A record is acknowledged when it is in memory, before its fsync.",
        how: "sync_copies 0; cut power (or kill the engine) between an acknowledgement and the end of its disk \
            operation. S4: an acknowledged record is in no log.",
        thread: Some("etcd#14370, NATS 2.12.1"),
    },
    Bug {
        name: "p11-fsync-tried-again",
        rule: "S4",
        what: "After a failed disk operation the file is synced once more, and that success is believed.",
        how: "EIO at an fsync or ENOSPC at a write of the only or the master's copy: the pages are clean and not on \
            disk; cut power later. S4: an acknowledged record is in no log; P11: an engine goes on after a disk \
            error.",
        thread: Some("Rebello, ATC'20: none of five applications handled it"),
    },
    Bug {
        name: "p12-lost-tail-opened",
        rule: "S4",
        what: "A log shorter than what is known to have been durable is opened as a torn tail.",
        how: "sync_copies 1; lose a segment's last fsync (or put an old segment back) at a power cut of the master \
            more than the settle time after the append; everyday StartMaster. S4: an acknowledged record is in no \
            serving log; R7: the replica stands ahead of its master.",
        thread: Some("FAST'18, protocol-aware recovery"),
    },
    Bug {
        name: "p12-corrupt-middle-cut",
        rule: "S4",
        what: "Whatever can't be read in the last segment is cut as a torn tail, good frames behind it too.",
        how: "Stop an engine, flip a bit in an acknowledged frame in the middle of its last segment, start it again \
            (StartMaster for the master). S4: acknowledged records are in no serving log; the engine opens a \
            damaged file.",
        thread: Some("NATS: a single-bit error on a minority lost data"),
    },
    Bug {
        name: "r26-off-without-status",
        rule: "R26",
        what: "A host counts as off once its device took the order, whatever its status says.",
        how: "Fail over past a silent host whose device answers off and leaves the power on. R26: a host counts as off \
            and has power; S1, if its engine serves.",
        thread: None,
    },
];
