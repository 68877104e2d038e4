//! A restore of the coordinators from a backup (R10, S16, S3, S12, R3): what is void, and what must hold across it.
//!
//! What always holds: what was given before is known from the entries of the lost log and from the orders that left, not from
//! the backup; what a host holds is known from its ledger's own transactions; who of them may be a master is booked there from
//! the Promotes that it took and the Demotes, Raises and Follows that it did. What outlives a restore is never forgotten here: epochs
//! and their holders, sheets, acknowledgements, ledgers.

use super::Found;
use super::approvals::StoreBase;
use super::audit::{Chain, verify};
use super::commits::{Commits, Facts};
use slot_machine::command::Command;
use slot_machine::restore::Readoption;
use slot_machine::state::State;
use slot_types::cluster::{Cluster, HostQuarantine, HostState, Store};
use slot_types::ids::*;
use std::collections::{BTreeMap, BTreeSet};

/// What is known of restores.
#[derive(Default)]
pub(crate) struct Restores {
    /// Every generation that was begun: once more is a person's mistake, which the hosts must find out.
    begun: BTreeSet<u32>,
    /// Hosts of which a person said that they belong to this group, since it began.
    said: BTreeMap<HostName, Incarnation>,
    /// Those whose report was recorded.
    adopted: BTreeSet<HostName>,
    /// The backup's epochs.
    kept: BTreeMap<StoreName, Epoch>,
    /// What a campaign wants to have seen.
    pub seen: BTreeSet<&'static str>,
}

/// Commands that change nothing which a restore left open.
fn may_come_before(command: &Command) -> bool {
    matches!(
        command,
        Command::NewLeader { .. }
            | Command::OpenSession
            | Command::AdoptHost { .. }
            | Command::HostAdopted { .. }
            | Command::Hold { .. }
            | Command::Release { .. }
            | Command::TrimAudit { .. }
    )
}

impl Commits {
    /// The disks of the coordinators are gone, and they begin anew with this state.
    pub fn restored(&mut self, found: &mut Found, state: &State) {
        let generation = state.cluster.as_ref().map_or(0, |cluster| cluster.generation);
        nothing_is_under_way(found, state);
        if self.restores.begun.insert(generation) {
            self.is_above_all(found, state, generation);
        }
        if let Err(why) = verify(&state.audit) {
            found.say("S12", format!("the audit of a restored state can't be verified: {why}"));
        }
        // The restore's own entry follows the backup's last, which must be the one that was written.
        let last = state.audit.entries.back().map(|entry| (entry.number - 1, entry.prev));
        if let Some((number, hash)) = last.filter(|(number, hash)| !self.chain.wrote(*number, *hash)) {
            found.say("S12", format!("a restored audit has {hash:?} as entry {number}, which nobody wrote"));
        }
        self.chain.goes_on_from(Chain::at(state.audit.last_number(), state.audit.head()));
        self.forget_what_is_void(state);
        self.state = state.clone();
    }

    fn forget_what_is_void(&mut self, state: &State) {
        let stores = state.cluster.iter().flat_map(|cluster| &cluster.stores);
        self.restores.said.clear();
        self.restores.adopted.clear();
        self.restores.kept = stores.clone().map(|(name, store)| (name.clone(), store.epoch)).collect();
        let base = |store: &Store| StoreBase {
            epoch: store.epoch,
            master: store.master.clone(),
            pending: store.pending.clone(),
        };
        self.stores = stores.map(|(name, store)| (name.clone(), base(store))).collect();
        let hosts = state.cluster.iter().flat_map(|cluster| &cluster.hosts);
        self.hosts = hosts.map(|(name, host)| (name.clone(), host.declared)).collect();
        self.plans.clear();
        self.answers.clear();
        self.sessions.clear();
        self.marks.clear();
        self.compared.clear();
        self.last_leader = state.applied.0;
        self.tasks.restored();
        self.begin_books_anew(state);
    }

    /// R4, S15, S3: whatever was numbered before has a lower number.
    fn is_above_all(&self, found: &mut Found, state: &State, generation: u32) {
        let before = &self.state;
        let rows = [
            ("index", state.applied.0, before.applied.0.max(self.tasks.last_start())),
            ("term", state.term.0, before.term.0),
            ("plan", state.last_plan.0, before.last_plan.0),
            ("loss case", state.last_loss_case.0, before.last_loss_case.0),
        ];
        for (what, begins, given) in rows {
            if begins <= given {
                found
                    .say("S16", format!("generation {generation} begins at {what} {begins}, {given} was given before"));
            }
        }
        let epochs = self.epochs.values().flat_map(BTreeMap::keys).map(|epoch| epoch.generation);
        if epochs.max().is_some_and(|highest| highest >= generation) {
            found.say("S3", format!("generation {generation} begins, epochs of it were given before"));
        }
    }

    /// A command of a state that waits for hosts was accepted; `waited` is whether it waited before it, too.
    pub(super) fn while_restoring(
        &mut self,
        found: &mut Found,
        facts: Facts<'_>,
        index: u64,
        command: &Command,
        waited: bool,
    ) {
        if !waited {
            return;
        }
        if !may_come_before(command) {
            let text =
                format!("entry {index} is taken before every host was re-adopted: {}", super::commits::name(command));
            found.say("R10", text);
        }
        let generation = self.state.cluster.as_ref().map_or(0, |cluster| cluster.generation);
        match command {
            Command::AdoptHost { host, incarnation, .. } => {
                let follows = facts.ledgers.generation(host);
                if follows >= generation && !self.restores.said.contains_key(host) {
                    let text =
                        format!("{host} is re-adopted by generation {generation}, it followed {follows} already");
                    found.say("S16", text);
                }
                if !self.restores.adopted.contains(host) {
                    self.restores.said.insert(host.clone(), *incarnation);
                }
            }
            Command::HostAdopted { host, .. } => {
                if facts.ledgers.generation(host) < generation {
                    found.say("S16", format!("{host} counts as re-adopted, its ledger follows another generation"));
                }
                if self.restores.said.get(host) != facts.ledgers.disk(host).as_ref() {
                    found.say("R10", format!("{host} counts as re-adopted with a disk that nobody named"));
                }
                self.restores.adopted.insert(host.clone());
                self.admission.readopted(host);
            }
            _ => {}
        }
        if self.state.restoring.is_none() {
            self.rebuilt(found, facts, index);
        }
    }

    /// The state is what the hosts said from now on.
    fn rebuilt(&mut self, found: &mut Found, facts: Facts<'_>, index: u64) {
        let Some(cluster) = &self.state.cluster else { return };
        let serves = |name: &&HostName| cluster.hosts[*name].declared != HostState::Retired;
        let missing: Vec<&HostName> =
            cluster.hosts.keys().filter(serves).filter(|name| !self.restores.adopted.contains(*name)).collect();
        if !missing.is_empty() {
            found.say("R10", format!("entry {index} ends the restore, {missing:?} did not say what they hold"));
        }
        let mut possible: BTreeMap<StoreName, BTreeMap<SlotId, Epoch>> = BTreeMap::new();
        for (host, known) in &cluster.hosts {
            for number in known.slots.keys() {
                let slot = SlotId::new(host.clone(), *number);
                if let Some((store, since)) = facts.ledgers.may_be_master(&slot) {
                    possible.entry(store.clone()).or_default().insert(slot, since);
                }
            }
        }
        for (name, store) in &cluster.stores {
            let masters = possible.get(name);
            is_what_hosts_hold(found, cluster, facts, (name, store));
            all_former_are_named(found, cluster, (name, store), masters);
            let seen = &mut self.restores.seen;
            if self.restores.kept.get(name).is_some_and(|kept| *kept < store.epoch) {
                seen.insert("R10: a store's epoch was above the backup's");
            }
            if store.pending.is_some() {
                seen.insert("R10: a promote was open when its host was re-adopted");
            }
            if store.master.is_none() && store.pending.is_none() && !store.copies.is_empty() {
                seen.insert("R10: a store came back without a master");
            }
            if !store.possible_masters.is_empty() {
                seen.insert("R10: a former master was found at a restore");
            }
        }
        self.restores.seen.insert("R10: every host was re-adopted");
        self.tasks.possible_are(possible);
    }
}

/// R10: nothing that was under way goes on, nobody is believed to be what he was.
fn nothing_is_under_way(found: &mut Found, state: &State) {
    let Some(cluster) = &state.cluster else {
        return found.say("R10", "a restored state has no cluster".into());
    };
    let claims = state.store_claims.len() + state.host_claims.len() + state.slot_claims.len();
    let rows = [
        ("plans", state.plans.len()),
        ("sessions", state.sessions.len()),
        ("claims", claims),
        ("attestations", cluster.attestations.len()),
        ("routes", cluster.stores.values().filter(|store| store.route.is_some()).count()),
    ];
    for (what, count) in rows.into_iter().filter(|(_, count)| *count > 0) {
        found.say("R10", format!("a restored state has {count} {what}"));
    }
    let waits = |name: &HostName| {
        let known = state.restoring.as_ref().and_then(|restoring| restoring.hosts.get(name));
        matches!(known, Some(Readoption::Waiting))
    };
    for (name, host) in cluster.hosts.iter().filter(|(_, host)| host.declared != HostState::Retired) {
        if host.quarantined != Some(HostQuarantine::Restored) || !waits(name) {
            found.say("R10", format!("a restored state believes {name} without a person's word"));
        }
    }
}

/// S3, R10: the epoch is the highest that any ledger holds; copies are those that hosts hold; who leads by his ledger leads.
fn is_what_hosts_hold(found: &mut Found, cluster: &Cluster, facts: Facts<'_>, (name, store): (&StoreName, &Store)) {
    for (host, known) in &cluster.hosts {
        for number in known.slots.keys() {
            let slot = SlotId::new(host.clone(), *number);
            let held = facts.ledgers.copy_of(&slot, name);
            if let Some(epoch) = held.filter(|epoch| *epoch > store.epoch) {
                found.say("S3", format!("{name} comes back at {:?}, {slot} holds {epoch:?}", store.epoch));
            }
            if held.is_some() != store.copies.contains_key(&slot) {
                let is = if held.is_some() { "holds a copy and is not named" } else { "is named and holds none" };
                found.say("R10", format!("{name} comes back, {slot} {is}"));
            }
        }
    }
}

/// R3, R7: whoever may acknowledge below that epoch must be fenced first, and what it may have is told of.
fn all_former_are_named(
    found: &mut Found,
    cluster: &Cluster,
    (name, store): (&StoreName, &Store),
    masters: Option<&BTreeMap<SlotId, Epoch>>,
) {
    let lower = masters.into_iter().flatten().filter(|(_, since)| **since < store.epoch);
    for (slot, since) in lower {
        if !store.possible_masters.contains_key(slot) {
            let text = format!(
                "{name} comes back at {:?}, {slot} may be its master at {since:?} and is not named",
                store.epoch
            );
            found.say("R3", text);
        }
        let told =
            cluster.loss_cases.values().any(|case| case.store == *name && case.slot == *slot && case.state.is_open());
        // Without a successor nothing was left behind yet: whoever is promoted next fences it first, or has it on the sheet.
        let passed = store.master.is_some() || store.pending.is_some();
        if passed && !told {
            found.say("R7", format!("{name} comes back at {:?}, no loss case tells of {slot}", store.epoch));
        }
    }
}
