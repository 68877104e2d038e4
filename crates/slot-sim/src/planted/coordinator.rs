//! Bugs planted in the replicated state machine, the planner and the coordinator.
//!
//! What always holds: each is one mistake against one rule or invariant, and `how` is the schedule that `protocol.md` has
//! beside the rule, with the checker that must speak.

use super::Bug;

/// The bugs.
pub const BUGS: &[Bug] = &[
    Bug {
        name: "r13-held-plan-started",
        rule: "R13",
        what: "Whether a person holds what a plan touches is looked at when it is planned, and not when it starts.",
        how: "Plan a drain, then hold the host, then say yes. ADR19: the plan starts and has orders for a held host.",
        thread: None,
    },
    Bug {
        name: "r1-promote-against-freeze",
        rule: "R1",
        what: "Promote is checked against the freeze's position instead of Demote's final one.",
        how: "Hand-over A to B with a freeze limit shorter than what follows: delay Demote's delivery to A past the \
            limit, so that A thaws and acknowledges writes through its other replica (B cut off from A); then let \
            Demote and Promote through. S4: what A acknowledged after the thaw is missing at B's first write; R1: \
            the Promote order does not carry the Demote receipt's tip.",
        thread: None,
    },
    Bug {
        name: "s2-older-disk-accepted",
        rule: "S2",
        what: "A host that presents a ledger older than what it acknowledged is not quarantined.",
        how: "Snapshot an agent's disk, let a Demote or Raise be done on it, cut power, put the snapshot back, power \
            on, let it report. S2: a host whose presented high-water is below its acknowledged index is served as \
            admitted; its ledger epoch went back.",
        thread: Some("cockroachdb/docs#269"),
    },
    Bug {
        name: "s2-new-disk-admits-itself",
        rule: "S2",
        what: "A disk of another incarnation takes the place of the admitted one without a person.",
        how: "Wipe a host's disk (or start a clone of another agent's) and let it report under the same certificate. \
            S2: the state's incarnation of the host changes although no AdmitHost was applied.",
        thread: Some("swarmkit#1148, Patroni#1804"),
    },
    Bug {
        name: "r3-former-master-forgotten",
        rule: "R3",
        what: "CommitEpoch does not put the former master among the possible masters.",
        how: "Hand-over A to B; right after CommitEpoch (before Demote reaches A) cut B's host off and hold back \
            Demote; abort, then fail over from B to C. A thaws and acknowledges at e after C was promoted. S7: C's \
            Promote starts while A, of the checker's own list of possible masters, is neither fenced nor waived; \
            S1(c).",
        thread: None,
    },
    Bug {
        name: "r3-half-made-master-forgotten",
        rule: "R3",
        what: "A slot whose Promote was sent and not answered is not a possible master of the next epoch.",
        how: "Hand over A to B; B's host loses power as its agent accepts the Promote; attest B off, fail over \
            to C, and hand over C to A while B is still off. S7: A's Promote starts although B, which may be master at the \
            epoch before C's, is neither fenced nor waived by name.",
        thread: None,
    },
    Bug {
        name: "r4-abort-forgets-started",
        rule: "R4",
        what: "An abort before the commit ends the task at once, with its Freeze, StartMaster or Provision still in \
            flight.",
        how: "Start a hand-over, delay the Freeze order to A by seconds, abort the plan, then let the order arrive. \
            R4: the plan ended with a started step that has neither done nor never-will; S6: the engine freezes for \
            an order of an ended plan. Also with an everyday StartMaster to a silent host.",
        thread: None,
    },
    Bug {
        name: "r4-new-leader-starts-anew",
        rule: "R4",
        what: "A new leader takes outstanding orders for gone and starts their steps as the next attempt.",
        how: "Kill the leader while any order is between StartStep and FinishStep (failpoint slotd-started-*). R4/R21: \
            StartStep of attempt 2 is applied with no never-will recorded for attempt 1; S6: both attempts take \
            effect at the agent.",
        thread: None,
    },
    Bug {
        name: "r6-epoch-before-last-yes",
        rule: "R6",
        what: "The first of two approvals of a failover already allocates the epoch.",
        how: "A failover that needs two people (attested, or lagging): the first person approves; look at once. S3: \
            an epoch is allocated by an entry that starts no plan. Reject the plan afterwards: the store stays without a \
            master.",
        thread: None,
    },
    Bug {
        name: "r7-furthest-raised-ignored",
        rule: "R7",
        what: "The new master need not hold what a copy raised later turned out to hold.",
        how: "Three copies, sync_copies 1, nobody writes for a moment. Cut A's agent off, attest A off, plan the \
            failover to B; cut B's engine from A, so that A acknowledges through C alone after the sheet was made; A loses \
            power within the margin of an attestation. R7: an acknowledged record that C, raised, holds is missing from B \
            at its first write.",
        thread: None,
    },
    Bug {
        name: "r7-unheard-copy-counted",
        rule: "R7",
        what: "The planner of a failover is not shown copies that nobody hears: none-provable without proof.",
        how: "Three copies, sync_copies 1: A dies and C is cut off after A acknowledged through C alone; plan the \
            failover to B. R7: the statement says none-provable although reached copies + sync_copies do not exceed \
            the others; after Promote the acknowledged record is missing.",
        thread: None,
    },
    Bug {
        name: "r8-sign-of-life-ignored",
        rule: "R8",
        what: "An attestation stands although the engine of the attested host was heard since.",
        how: "Kill A's agent and leave its engine serving; attest A off (in good faith); B still hears A and reports \
            it; fail over with attested fencing. R8: SignOfLife is applied and the attestation still stands; S1(c): \
            A acknowledges at e after B's first write at e+1.",
        thread: None,
    },
    Bug {
        name: "r13-store-claim-not-checked",
        rule: "R13",
        what: "A second plan for a store starts while another one holds it.",
        how: "Two hand-overs of one store (to B, to C) recorded before either starts; approve both in one round trip, \
            before the first Freeze is finished. R13: two running plans have unended tasks for the same store; two \
            freezes of A.",
        thread: None,
    },
    Bug {
        name: "r13-superseded-plan-goes-on",
        rule: "R13",
        what: "A failover takes a store from a running plan without ending that plan's task.",
        how: "Start a hand-over A to B, hold it between Freeze and CatchUp, cut A off, approve a failover A to C. \
            R13/R4: steps of the superseded task start, and its orders are sent, after the failover's entry; L1: the \
            old plan and the new one order the same slots.",
        thread: None,
    },
    Bug {
        name: "r14-guards-skipped-at-commit",
        rule: "R14",
        what: "CommitEpoch is not guarded by fresh observation of both sides.",
        how: "Hand-over; after CatchUp kill B's engine (or cut B's host), wait until its report is older than the \
            guard's age, then let CommitEpoch be proposed. R14: the evidence in the applied StartStep of CommitEpoch \
            does not show from and to running, in role and fresh.",
        thread: None,
    },
    Bug {
        name: "r14-stale-plan-executed-late",
        rule: "S5",
        what: "A plan is recorded and approved although what it was computed from has changed.",
        how: "Make a failover or hand-over plan, leave it; let another plan move the store's master; approve the first \
            one before it expires. S5: the versions of its facts differ from the state's at the entry that starts \
            it.",
        thread: Some("AWS DynamoDB DNS 2025-10-20"),
    },
    Bug {
        name: "r15-new-leader-encodes-anew",
        rule: "R15",
        what: "A new leader encodes waiting plans anew and keeps the digest people saw.",
        how: "Record a plan, change the leader before it is approved, approve by the old digest. R15: the bytes in \
            the state are not those that were recorded.",
        thread: None,
    },
    Bug {
        name: "r16-done-before-followers",
        rule: "R16",
        what: "A change of master counts its followers as following when they are only told to.",
        how: "Hand-over with a third copy C whose host is cut off before Follow. R16: the plan is done while C does \
            not follow the new master and is not among the copies the plan names as unreachable; no Follow receipt \
            is in the log.",
        thread: None,
    },
    Bug {
        name: "r17-log-time-from-wall-clock",
        rule: "R17",
        what: "Log time is taken from the leader's wall clock.",
        how: "Jump the leader's wall clock a year ahead, propose anything, jump back and change the leader. R17: log \
            time advances by more than the simulated time elapsed; every waiting plan expires.",
        thread: Some("TiKV#964"),
    },
    Bug {
        name: "r17-approvals-survive-a-new-leader",
        rule: "R17",
        what: "Approvals of plans that have not started survive a change of leader.",
        how: "A plan that needs two people: the first approves, the leader is killed, all coordinators stay away for \
            an hour, the second approves. R17/S5: the plan starts with an approval older than the last NewLeader \
            entry.",
        thread: None,
    },
    Bug {
        name: "r18-abort-after-commit-thaws",
        rule: "R18",
        what: "An abort after CommitEpoch goes back: it cancels the Demote and thaws the old master.",
        how: "Hand-over; hold back Demote after CommitEpoch, abort the plan, let everything through. R18: a task whose \
            CommitEpoch is done goes back, a Thaw is ordered after the commit; the store is left without a master by \
            a plan that says aborted.",
        thread: None,
    },
    Bug {
        name: "r20-unknown-command-skipped",
        rule: "R20",
        what: "A node with an older build skips commands it does not know instead of stopping.",
        how: "Node c1 plays the old build. Let a SignOfLife or AsideSeen be committed (attest a host whose engine \
            serves; or cut a replica off with records nobody else holds and let it follow again). S14: state hashes \
            of c1 and the others differ at equal index; S12: so do audit heads.",
        thread: None,
    },
    Bug {
        name: "r21-dedup-by-high-water-mark",
        rule: "R21",
        what: "A request below the session's highest sequence is answered as remembered without having been applied.",
        how: "One session, two changes in flight, sequence 2 committed before sequence 1 (delay or lose the first, \
            retry it). R21/S13: sequence 1 is answered with success, with the answer of 2, and no entry of it took \
            effect.",
        thread: None,
    },
    Bug {
        name: "r21-evicted-session-applied-anew",
        rule: "R21",
        what: "A retry from an evicted session is applied again instead of being refused.",
        how: "Open a session, make a change, lose the answer; open 1,024 further sessions; retry with the first \
            session and sequence. R21: the same (session, sequence) takes effect at two indexes.",
        thread: None,
    },
    Bug {
        name: "r22-snapshot-without-audit",
        rule: "R22",
        what: "Snapshots leave the audit entries out.",
        how: "Go past the snapshot interval, then restart a coordinator, or let a lagging one be installed from the \
            snapshot. S12/R22: the entries since the trim point are gone from that node; its chain does not verify \
            and its head differs at equal index.",
        thread: None,
    },
    Bug {
        name: "r23-mass-unasked",
        rule: "R23",
        what: "The leader takes it for said that many hosts are known to be silent.",
        how: "Switch more hosts off than policy allows, the master's among them, attest that one off and ask for a \
            failover without a word about the others. R23: a plan that nobody should have got is shown, and says of \
            the person who asked what they did not say.",
        thread: None,
    },
    Bug {
        name: "r25-start-master-after-commit",
        rule: "R25",
        what: "An everyday StartMaster goes on, at its old epoch, after a failover took the store.",
        how: "Kill A's engine so that everyday recovery starts a StartMaster; hold the order back (cut A's agent), \
            fail over to B with A not demoted (attested or unfenced), heal. R25/R5: StartMaster at e is sent after \
            e+1 was committed; S1(c): A acknowledges at e after B's first write.",
        thread: None,
    },
    Bug {
        name: "r27-ended-boot-comes-back",
        rule: "R27",
        what: "A late report from a boot that has ended becomes the host's boot again.",
        how: "Delay a report of A, power-cycle A, let an order be answered \"boot ended\", then deliver the old \
            report. R27: the state's boot of the host goes back to one recorded as ended; an attestation would name \
            it.",
        thread: None,
    },
    Bug {
        name: "r27-order-moved-to-new-boot",
        rule: "R27",
        what: "An outstanding role order is sent with the boot the host has now, not with the one it was started for.",
        how: "Start a Promote, StartMaster or Demote, hold its order back, power-cycle the target, let it report and \
            the order through. R27: an order's bytes differ between two deliveries of one (plan, step, attempt); it \
            takes effect in a boot that its StartStep did not name.",
        thread: None,
    },
    Bug {
        name: "r28-waived-master-forgotten",
        rule: "R28",
        what: "After a Promote that waived a master by attestation nobody counts that master any more.",
        how: "Attest A off, fail over A to B at e+1 (A waived), then kill B and fail over B to C at e+2 while A's host \
            comes back cut off from the coordinators. S7/R28: C's Promote starts without A fenced or waived by name \
            again.",
        thread: None,
    },
    Bug {
        name: "s3-epoch-allocated-twice",
        rule: "S3",
        what: "The next epoch is counted from the last one promoted, not from the last one allocated.",
        how: "Attest A off and fail over to B; B loses power before it is raised; attest B off too and fail over to C. \
            S3: the same (store, epoch) is allocated by two entries to two slots.",
        thread: None,
    },
    Bug {
        name: "s5-rejected-plan-approved",
        rule: "S5",
        what: "A plan that a person rejected can still be approved.",
        how: "Record a plan, reject it, approve it (a second person who had it on the screen). S5: a revoked plan \
            starts.",
        thread: None,
    },
    Bug {
        name: "s5-other-digest-approved",
        rule: "S5",
        what: "The digest a person gives with the yes is not compared with the plan's.",
        how: "Approve with the digest of another plan (a stale screen). S5: a plan starts by an approval of other \
            bytes.",
        thread: Some("CVE-2017-16857"),
    },
    Bug {
        name: "s5-expired-approval-accepted",
        rule: "S5",
        what: "A plan is approved after its validity has run out.",
        how: "Record a plan, wait longer than plan_valid_ms (made short by a cluster file) without recording another \
            one, approve. S5: log time at the start is beyond recorded + min(valid_ms, policy).",
        thread: None,
    },
    Bug {
        name: "s5-same-person-twice",
        rule: "S5",
        what: "Two approvals by one person count as two people.",
        how: "A failover that needs two people; one person approves twice (double click, retry without session). S5: \
            distinct approvers at the start are fewer than policy asks for.",
        thread: None,
    },
    Bug {
        name: "s7-demote-not-awaited",
        rule: "S7",
        what: "A Demote is taken for done when it is started, with the freeze's position for its answer.",
        how: "Hand-over with a short freeze limit; Promote starts at once. S7: Promote starts without a receipt of \
            Demote; with A cut from its agent past the freeze's limit A thaws and acknowledges: S1(c), S4.",
        thread: None,
    },
    Bug {
        name: "s7-attestation-unchecked-at-promote",
        rule: "S7",
        what: "That an attestation still stands is not looked at again just before Promote.",
        how: "Fail over with attested fencing; after Raise was started let the engine of the attested host be heard \
            (SignOfLife applied) or the attestation expire (hold Raise back); then let Promote start. S7/R8: Promote \
            starts past a waived slot without a standing attestation.",
        thread: None,
    },
    Bug {
        name: "s8-silent-counts-as-stopped",
        rule: "S8",
        what: "A Stop or ConfirmStopped that gets no answer in time counts as done.",
        how: "Drain a host for maintenance, kill its agent before Stop (engines run on), wait for the deadlines. S8: \
            the host is declared Maintenance while an engine on it runs.",
        thread: None,
    },
    Bug {
        name: "s9-two-copies-one-rack",
        rule: "S9",
        what: "That a store's copies are in different racks is not looked at again when its first Provision starts.",
        how: "Two free hosts of different racks; record a file that moves one into the other's rack, and a file with \
            a new store; approve both in one round trip, in this order. S9: two copies of a store with spread = rack are \
            made in one rack.",
        thread: None,
    },
    Bug {
        name: "s12-step-without-entry",
        rule: "S12",
        what: "The start of a step is not written to the audit.",
        how: "Any plan. S12: StartStep is applied and takes effect with no audit entry of its own before it.",
        thread: None,
    },
    Bug {
        name: "s12-hash-leaves-out-event",
        rule: "S12",
        what: "An audit entry's hash does not cover what happened.",
        how: "Any entry. S12: the chain, recomputed by the checker from the entries alone, has other hashes.",
        thread: None,
    },
    Bug {
        name: "s13-read-from-leader-memory",
        rule: "S13",
        what: "A read called confirmed is answered from the leader's memory without asking a quorum.",
        how: "Cut the leader off from its peers but not from its clients, let another be elected and a change be \
            answered there, then ask the old one for a confirmed view. S13: its revision is below that of a change \
            answered before the read began.",
        thread: Some("etcd#741"),
    },
    Bug {
        name: "s14-own-clock-in-apply",
        rule: "S14",
        what: "Applying an entry stamps it with the node's own clock.",
        how: "Any entry applied on two nodes at different moments. S14: state hashes differ at equal index; S12: so do \
            audit heads.",
        thread: None,
    },
    Bug {
        name: "s15-deposed-leader-sends",
        rule: "S15",
        what: "Orders are sent without confirming by a read-index round that this node still leads.",
        how: "Cut the leader off from its peers but not from the agents while a step is started; let the new leader \
            abort or fail over; the old one sends. S15: an order of an older term leaves after a newer leader has \
            committed; an agent that has not heard the newer one accepts it.",
        thread: Some("Neon#8784"),
    },
    Bug {
        name: "r26-fires-on-another-boot",
        rule: "R6",
        what: "A host is switched off although it has booted again since its sheet was made.",
        how: "Approve a failover of a silent host that has a device; let the host boot again and fall silent before its \
            copies are raised. R6: the order to its device starts for a boot that is not the host's.",
        thread: None,
    },
    Bug {
        name: "r26-power-cut-while-the-agent-answers",
        rule: "R26",
        what: "Power is cut without looking once more whether the host's agent answers.",
        how: "Cut a host off from the leader, approve the failover that switches it off, and mend the cut before the \
            copies are raised. R26: the order to its device starts while the agent is freshly heard.",
        thread: None,
    },
];
