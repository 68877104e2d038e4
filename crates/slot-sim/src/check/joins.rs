//! Hosts that join with a token, booked anew from the committed entries (S2, S15, docs/adr/0024).
//!
//! What always holds: who was invited with what, until when, and what was taken back is known from the entries; the rules are
//! written here again: a token lets in one key from one disk, of the host it is for, within a day, and nobody once it was revoked;
//! no certificate without the entry that burnt its token; a disk is admitted by it only where the former one can't matter.

use super::Found;
use super::approvals::StoreBase;
use slot_machine::command::Command;
use slot_machine::join::Guest;
use slot_machine::state::State;
use slot_types::ids::*;
use slot_types::position::Digest;
use std::collections::{BTreeMap, BTreeSet};

/// How long a token is good, in log time.
const DAY_MS: u64 = 86_400_000;

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Joins {
    /// The last token of each host, and since when it is good.
    invited: BTreeMap<HostName, (Digest, LogTime)>,
    revoked: BTreeSet<Digest>,
    /// Who used a token.
    burnt: BTreeMap<Digest, Guest>,
}

impl Joins {
    /// R10: no invitation of before the restore is good.
    pub fn restored(&mut self) {
        self.invited.clear();
    }

    /// An entry was accepted.
    pub fn said(&mut self, found: &mut Found, state: &State, command: &Command) {
        match command {
            Command::InviteHost { host, certificate, .. } => {
                if self.revoked.contains(certificate) || self.burnt.contains_key(certificate) {
                    found.say("S15", format!("{host} is invited with token {certificate}, which is no good any more"));
                }
                let same = self.invited.get(host).is_some_and(|(known, _)| known == certificate);
                if !same {
                    self.invited.insert(host.clone(), (*certificate, state.log_time));
                }
            }
            Command::RevokeInvitation { host, .. } => {
                self.revoked.extend(self.invited.get(host).map(|(certificate, _)| *certificate));
            }
            _ => {}
        }
    }

    /// A host was let in; whether that admitted its disk in the place of the known one.
    pub fn joined(
        &mut self,
        found: &mut Found,
        state: &State,
        guest: &Guest,
        known: Option<Incarnation>,
        before: &BTreeMap<StoreName, StoreBase>,
    ) -> bool {
        let Guest { host, certificate, .. } = guest;
        let is_good = |(last, since): &(Digest, LogTime)| {
            last == certificate && state.log_time.0 < since.0.saturating_add(DAY_MS)
        };
        let why = match (self.invited.get(host), self.burnt.get(certificate)) {
            (_, Some(first)) if first != guest => Some("which another key, or another disk, has used"),
            (invited, _) if !invited.is_some_and(is_good) => Some("which is not its last, or expired"),
            _ if self.revoked.contains(certificate) => Some("which was revoked"),
            _ => None,
        };
        if let Some(why) = why {
            found.say("S15", format!("{host} is let in with token {certificate}, {why}"));
        }
        let is_first = self.burnt.insert(*certificate, guest.clone()).is_none();
        let now = state.cluster.as_ref().and_then(|cluster| cluster.hosts.get(host)).and_then(|host| host.incarnation);
        let admits = known.is_some() && now != known && now == Some(guest.incarnation);
        if admits {
            let here = |slot: &Option<SlotId>| slot.as_ref().is_some_and(|slot| slot.host == *host);
            let leads = before.iter().find(|(_, store)| here(&store.master) || here(&store.pending));
            if let Some((store, _)) =
                leads.filter(|(name, _)| state.cluster.as_ref().is_some_and(|c| c.stores.contains_key(*name)))
            {
                found.say("S2", format!("the disk of {host} is admitted as it joins, its former one led {store}"));
            }
            let cases = state.cluster.iter().flat_map(|cluster| cluster.loss_cases.values());
            if let Some(case) = cases.into_iter().find(|case| case.state.is_open() && case.slot.host == *host) {
                found.say(
                    "S2",
                    format!("the disk of {host} is admitted as it joins, and a case of {} is open", case.store),
                );
            }
            if !is_first {
                found.say("S2", format!("the disk of {host} is admitted by a token that was used before"));
            }
        }
        admits
    }

    /// A coordinator signs.
    pub fn certified(&self, found: &mut Found, guest: &Guest) {
        if self.burnt.get(&guest.certificate) != Some(guest) {
            let Guest { host, certificate, key, .. } = guest;
            found.say(
                "S15",
                format!("{host} gets a certificate for key {key}, and token {certificate} was not burnt for it"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(key: u8) -> Guest {
        let digest = |n: u8| Digest::of(&[n]);
        Guest {
            host: "h1".parse().unwrap(),
            certificate: digest(1),
            key: digest(key),
            incarnation: Incarnation([key; 16]),
        }
    }

    fn seen(what: impl FnOnce(&mut Joins, &mut Found)) -> Vec<&'static str> {
        let (mut joins, mut found) = (Joins::default(), Found::default());
        let by: OperatorName = "ann".parse().unwrap();
        let (host, certificate, reason) = (guest(1).host, guest(1).certificate, "new".to_string());
        joins.said(&mut found, &State::default(), &Command::InviteHost { host, certificate, by, reason });
        what(&mut joins, &mut found);
        found.list.iter().map(|violation| violation.invariant).collect()
    }

    fn join(joins: &mut Joins, found: &mut Found, at: u64, key: u8) {
        let state = State { log_time: LogTime(at), ..State::default() };
        joins.joined(found, &state, &guest(key), None, &BTreeMap::new());
    }

    #[test]
    fn s15_one_token_lets_one_key_in_within_a_day() {
        assert!(seen(|j, f| join(j, f, DAY_MS - 1, 1)).is_empty());
        assert_eq!(seen(|j, f| join(j, f, DAY_MS, 1)), ["S15"]);
        let twice = |second: u8| {
            seen(move |j, f| {
                join(j, f, 1, 1);
                join(j, f, 2, second);
            })
        };
        assert_eq!((twice(1).is_empty(), twice(2)), (true, vec!["S15"]));
        let revoked = |j: &mut Joins, f: &mut Found| {
            let by = "ann".parse().unwrap();
            let command = Command::RevokeInvitation { host: guest(1).host, by, reason: "lost".into() };
            j.said(f, &State::default(), &command);
            join(j, f, 1, 1);
        };
        assert_eq!(seen(revoked), ["S15"]);
    }

    #[test]
    fn s15_no_certificate_without_the_entry() {
        assert_eq!(seen(|j, f| j.certified(f, &guest(1))), ["S15"]);
        let burnt = |j: &mut Joins, f: &mut Found| {
            join(j, f, 1, 1);
            j.certified(f, &guest(1));
        };
        assert!(seen(burnt).is_empty());
    }
}
