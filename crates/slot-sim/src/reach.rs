//! The dangerous states that a campaign must have been in (`sometimes`).
//!
//! What always holds: a name that is not reached in a whole campaign fails it; names are counted where the world passes
//! through the state, never where a test wishes that it did. A name begins with the rule, invariant or pattern whose
//! schedule it belongs to, if it belongs to one.

mod commits;
mod engines;
mod lookout;
mod orders;

pub(crate) use commits::Commits;
pub use lookout::Watched;

use std::collections::BTreeMap;

/// How often each state was met.
#[derive(Default)]
pub(crate) struct Reached(pub BTreeMap<&'static str, u64>);

impl Reached {
    /// The world is in this state.
    pub fn at(&mut self, name: &'static str) {
        *self.0.entry(name).or_default() += 1;
    }
}

/// What people and clients count themselves, and the names of it here.
pub(crate) const TOLD: [(&str, &str); 8] = [
    ("approval interrupted by a leader change", "people: an approval was interrupted by a leader change"),
    ("attestation kept back: looked again", "people: an attestation was kept back at a second look"),
    ("approved after a leader change", "people: an approval was given after a leader change"),
    ("retried, same session and sequence", "people: a request was sent again under its number"),
    ("sent by a former route", "clients: a record was sent by a former route"),
    ("sent with an older epoch", "clients: a record was sent with an older epoch"),
    ("held by a front end", "R12: a front end held a new connection"),
    ("refused where a front end had sent it", "ADR22: a former master refused whom a front end had sent"),
];

/// Every name that a campaign must meet. Two of R26 and R6 (a device that does not confirm, a host that boots while it is ordered
/// to be switched off) are counted and too rare to be asked for.
pub const ALL: &[&str] = &[
    "ADR22: a disk of a front end was wiped",
    "ADR22: a former master refused whom a front end had sent",
    "ADR22: a front end died between a reload and its word",
    "ADR22: a front end's word came after its plan was given up",
    "ADR22: a map could not be written or reloaded",
    "ADR22: a master was made while a front end was dead",
    "ADR22: a table of a deposed leader came",
    "ADR22: an older table came after a newer one",
    "ADR22: the wait for a front end ran out",
    "ADR24: a bare host joined",
    "ADR24: a copy of a host that joined was built anew",
    "ADR24: a disk that joined waited for a person",
    "ADR24: a host asked again for the same use of its token",
    "ADR24: a host died while it joined",
    "ADR24: a reinstalled host joined",
    "ADR24: a token that had expired was refused",
    "ADR24: a token that was revoked was refused",
    "ADR24: a token that was used was refused to another key",
    "ADR24: the leader changed while a host joined",
    "ADR27: what an agent saw came to a coordinator that leads no more",
    "ADR39: the share of silent agents was dealt to others",
    "ADR53: a plan was found by a coordinator that leads no more",
    "ADR53: what a plan touches had changed when it was found",
    "P11: a coordinator ended itself on a disk error",
    "P11: a coordinator's disk answered EIO",
    "P11: a disk failed while it was opened",
    "P11: a disk was full",
    "P11: a ledger's disk answered EIO",
    "P11: a ledger's disk was full",
    "P11: an agent ended itself on a disk error",
    "P11: an engine ended itself on a disk error",
    "P11: an engine's disk answered EIO",
    "P12: a power cut took what an fsync covered",
    "P12: a torn end of a log was cut off",
    "P12: a write was torn by a power cut",
    "R10: a coordinator of before ran beside the restored ones",
    "R10: a former master was found at a restore",
    "R10: a generation that was used already was refused",
    "R10: a host booted while it was re-adopted",
    "R10: a promote was open when its host was re-adopted",
    "R10: a store came back without a master",
    "R10: a store's epoch was above the backup's",
    "R10: every host was re-adopted",
    "R10: the coordinators were restored from a backup",
    "R11: a copy was built on a slot that had held one of its store",
    "R11: a copy was destroyed",
    "R11: a copy was retired and its tombstone kept",
    "R11: a store was made again on slots that had held it",
    "R11: a store was retired",
    "R11: a store's last copy was destroyed and its tombstone kept",
    "R12: a freeze ended by its own limit",
    "R12: a freeze outlasted a client's patience",
    "R12: a front end held a new connection",
    "R12: a front end started again while it held new connections",
    "R12: an agent died while its engine was frozen",
    "R12: an engine died in a freeze",
    "R12: an engine stood still in a freeze",
    "R12: moving ended by a front end's own clock",
    "R13: a failover took a store from a running plan",
    "R13: a hold kept an approved plan from starting",
    "R13: a second plan wanted what a running one holds",
    "R13: an order arrived after a failover had taken its store",
    "R14: a guard failed between the compare and the commit",
    "R14: the facts of a plan had changed",
    "R14: what a sheet rests on did not hold at somebody's yes",
    "R15: a plan was recorded by one leader and approved under another",
    "R16: a build was told again whom it follows",
    "R16: a copy was built and counts",
    "R16: a follower was left out by name",
    "R16: an interrupted build came to count by itself",
    "R16: the epoch grew while a copy was building",
    "R17: a leader's clock was an hour off",
    "R17: a new leader voided approvals",
    "R17: the leader's clock jumped by an hour",
    "R18: an abort came after the epoch was committed",
    "R18: an abort came while the master was frozen",
    "R18: an abort thawed a master",
    "R19: a branch was adopted",
    "R19: a branch was beside a higher epoch",
    "R19: a master was started by hand",
    "R19: a start was asked for on a disk that nobody vouched for",
    "R1: a freeze was answered: thawed",
    "R1: a freeze was delivered again after its thaw",
    "R1: a thaw came between the commit and the demote",
    "R1: a thaw came between the compare and the commit",
    "R1: the final position was past the freeze's",
    "R20: a command was committed that an older build would not know",
    "R21: a further attempt began after the one before was over",
    "R21: a record came again and was there",
    "R21: a request came again and was answered from memory",
    "R21: a request of an evicted session was refused",
    "R22: a node was installed from a snapshot",
    "R22: a snapshot was sent",
    "R23: a host that the leader does not hear answered another host",
    "R23: a sheet says that others reach a silent host",
    "R24: an append ended with its fate unknown",
    "R24: writes were refused because too few copies followed",
    "R25: a master was started again without anybody's yes",
    "R26: a host was fenced by its device",
    "R26: a sheet says what a device says of a host's power",
    "R26: a silent host's device was asked for its status",
    "R26: copies of other stores were killed by a fence",
    "R27: a destroy was ordered again for the next boot",
    "R27: a step waited for a new boot",
    "R27: an order arrived for a boot that has ended",
    "R28: a weakly fenced master was named again at a later failover",
    "R29: a demote met a freeze in force",
    "R29: the limit of a freeze passed after its demote",
    "R2: a demote met appends that were not acknowledged",
    "R2: a demote was ordered of an engine that stood still inside an append",
    "R2: a hung engine was killed for its demote",
    "R3: a late Promote arrived at a higher epoch",
    "R3: a promote was ordered past a master that is waived by name",
    "R3: an epoch was given out while two slots might be masters",
    "R4: a cancel came before its order",
    "R4: a cancel came in time",
    "R4: a cancel found its order done",
    "R4: a cancel left a tombstone for an order that had not come",
    "R4: an order arrived after its plan was aborted",
    "R4: an order arrived after its plan was over",
    "R4: an order lost to a later one of its slot",
    "R4: the leader changed while a plan went back",
    "R5: a late StartMaster arrived at a higher epoch",
    "R5: the answer to a StartMaster came after a higher epoch",
    "R6: an approval was consumed during an election",
    "R6: the leader changed between an epoch and its promote",
    "R6: the leader died right after an approval was consumed",
    "R7: a copy's history was not the beginning of its source's",
    "R7: a divergent tail was put aside",
    "R7: people approved a failover whose loss has no bound",
    "R7: records that only a former master holds were listed",
    "R7: stranded records were put into the master",
    "R8: a host answered a probe in another boot than the one it was said to be off in",
    "R8: a probe that was answered voided a word",
    "R8: a process that stood still was connected to",
    "R8: an answer to a probe of before a word came after the word",
    "R8: an engine answered a probe while its agent did not",
    "S10: an agent adopted engines that had run on",
    "S15: a coordinator's disk was wiped",
    "S15: a wiped coordinator was refused",
    "S15: an agent's answer came to a coordinator that leads no more",
    "S15: an order arrived for another disk",
    "S15: an order of a deposed leader arrived",
    "S15: an order was not even considered",
    "S15: the leader stood still for longer than an election",
    "S15: two coordinators believed that they lead",
    "S16: an order of a former generation came to a re-adopted host",
    "S1: a former master refused a client",
    "S2: a cloned folder was started",
    "S2: a person admitted another disk",
    "S2: an engine woke with a higher epoch than its records have",
    "S2: an old disk was put back",
    "S2: an old disk was quarantined",
    "S2: an order of an older epoch arrived",
    "S2: another disk was quarantined",
    "S5: a stale digest was refused",
    "S5: a yes came for a plan that had started or was over",
    "S5: an expired approval was refused",
    "S5: the second approver was the first",
    "S5: who asked wanted to be one of two",
    "S6: an agent woke with an accepted order open",
    "S6: an order came again after its outcome",
    "S6: an order proved nothing yet",
    "S7: a host lost power with a master to be on it",
    "a coordinator died between its write and its hearing of it",
    "a coordinator died inside a write of its log",
    "a copy was to be verified",
    "a copy was verified, and is equal",
    "a damaged frame was refused",
    "a demote was answered after a leader change",
    "a demoted engine was ordered to serve its successor",
    "a fault at a named place",
    "a host lost power with a master on it",
    "a new leader while a plan runs",
    "a person put a new disk in",
    "a sign of life voided an attestation",
    "a site power cut",
    "a snapshot was installed between two steps of a plan",
    "a step past the commit was stuck",
    "an agent died inside a ledger transaction",
    "an answer came when nobody waited any more",
    "an engine died inside a disk operation",
    "an engine died inside an append or its meta",
    "an engine died with appends under way",
    "an engine stood still inside an append",
    "an engine was killed by its agent",
    "an order was answered to another leader than gave it",
    "clients: a record was sent by a former route",
    "clients: a record was sent with an older epoch",
    "people: a request was sent again under its number",
    "people: an approval was given after a leader change",
    "people: an approval was interrupted by a leader change",
    "people: an attestation was kept back at a second look",
    "somebody attested a host off",
    "the leader died while a plan ran",
];

#[cfg(test)]
mod tests {
    use super::ALL;
    use std::collections::BTreeSet;

    /// The service address, which nothing moves yet.
    const LATER: [u8; 1] = [9];

    #[test]
    fn every_rule_that_is_built_has_its_schedule() {
        for rule in (1..=29).filter(|rule| !LATER.contains(rule)) {
            let prefix = format!("R{rule}: ");
            assert!(ALL.iter().any(|name| name.starts_with(&prefix)), "{prefix}");
        }
    }

    #[test]
    fn names_are_many_sorted_and_said_once() {
        assert!(ALL.len() >= 60);
        assert_eq!(ALL.iter().collect::<BTreeSet<_>>().len(), ALL.len());
        assert!(ALL.is_sorted());
    }
}
