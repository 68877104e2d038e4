//! A cluster in which something is otherwise, for asking what would be planned then.
//!
//! What always holds: nothing is otherwise but what was asked for; what nobody changes is not copied.

use crate::Inputs;
use crate::view::View;
use slot_types::cluster::*;
use slot_types::engine::EngineStatus;
use slot_types::evidence::*;
use slot_types::ids::*;
use slot_types::view::Were;
use std::borrow::Cow;

/// So many things at once stand in the way of one host at most; more is no change that anybody makes.
pub(crate) const LIFTED_MAX: usize = 8;

/// What a change is about: a host, and a store.
#[derive(Clone, Copy)]
pub(crate) struct About<'s> {
    pub store: &'s StoreName,
    pub host: &'s HostName,
    /// A copy of the store that is as well as one has to be.
    pub like: &'s SlotId,
}

/// The cluster, what is seen of it and what else plans depend on, each as it is until it is changed.
pub(crate) struct Changed<'a> {
    cluster: Cow<'a, Cluster>,
    evidence: Cow<'a, Evidence>,
    inputs: Cow<'a, Inputs>,
}

impl<'a> Changed<'a> {
    pub fn of(view: &View<'a>) -> Changed<'a> {
        Changed {
            cluster: Cow::Borrowed(view.cluster),
            evidence: Cow::Borrowed(view.evidence),
            inputs: Cow::Borrowed(view.inputs),
        }
    }

    pub fn view(&self) -> View<'_> {
        View { cluster: &self.cluster, evidence: &self.evidence, inputs: &self.inputs }
    }

    /// Changes one thing.
    pub fn make(&mut self, about: About<'_>, were: &Were) {
        match were {
            Were::Heard => self.hear(about.host),
            Were::Admitted => self.admit(about.host),
            Were::Unclaimed => drop(self.inputs.to_mut().busy_hosts.remove(about.host)),
            Were::DiskBytes(bytes) => self.free(about.host, *bytes),
            Were::CopyOn { slot, to } => drop(self.move_copy(about.store, slot, to)),
            Were::Allowed | Were::NeverOn(_) => self.keep_away(about, were),
            Were::Active | Were::ApartFrom(_) | Were::Draining(_) => self.declare(about.host, were),
            _ => drop(self.make_well(about, were)),
        }
    }

    fn declare(&mut self, host: &HostName, were: &Were) {
        let hosts = &mut self.cluster.to_mut().hosts;
        if let Were::Draining(all) = were {
            hosts.iter_mut().filter(|(name, _)| all.contains(name)).for_each(|(_, h)| h.declared = HostState::Draining);
        }
        let Some(known) = hosts.get_mut(host) else { return };
        match were {
            Were::Active => known.declared = HostState::Active,
            Were::ApartFrom(_) => {
                // A name that nobody else's domain has.
                let last = known.at.0.pop().unwrap_or_default();
                known.at.0.push(format!("{last}'{host}"));
            }
            _ => {}
        }
    }

    fn keep_away(&mut self, about: About<'_>, were: &Were) {
        let Some(store) = self.cluster.to_mut().stores.get_mut(about.store) else { return };
        match were {
            Were::NeverOn(hosts) => store.spec.never.extend(hosts.iter().cloned()),
            _ => drop(store.spec.never.remove(about.host)),
        }
    }

    fn hear(&mut self, host: &HostName) {
        let Some(known) = self.cluster.to_mut().hosts.get_mut(host) else { return };
        let (incarnation, boot) = (*known.incarnation.get_or_insert_default(), *known.boot.get_or_insert_default());
        let agent = Seen::Known { value: AgentSeen { incarnation, boot }, age_ms: 0 };
        let (disk, load) = (Seen::Unknown { reason: "not told".into() }, Seen::Unknown { reason: "not told".into() });
        let missing = HostEvidence { agent: agent.clone(), running: Vec::new(), disk, load };
        self.evidence.to_mut().hosts.entry(host.clone()).or_insert(missing).agent = agent;
    }

    fn admit(&mut self, host: &HostName) {
        let seen = self.evidence.hosts.get(host).and_then(|seen| seen.agent.value()).copied();
        let Some(known) = self.cluster.to_mut().hosts.get_mut(host) else { return };
        known.quarantined = None;
        if let Some(seen) = seen {
            (known.incarnation, known.boot) = (Some(seen.incarnation), Some(seen.boot));
        }
    }

    fn free(&mut self, host: &HostName, bytes: u64) {
        let seen = self.evidence.to_mut().hosts.get_mut(host);
        if let Some(HostEvidence { disk: Seen::Known { value, .. }, .. }) = seen {
            value.free_bytes = value.free_bytes.saturating_add(bytes);
        }
    }

    /// A slot of a host that holds nothing, the next number if there is none.
    fn open_slot(&mut self, host: &HostName) -> Option<SlotId> {
        let open = {
            let view = self.view();
            let used = view.used_slots();
            let known = view.cluster.hosts.get(host)?;
            let all = known.slots.keys().map(|number| SlotId::new(host.clone(), *number));
            all.into_iter().find(|slot| !used.contains_key(slot) && !view.inputs.busy_slots.contains(slot))
        };
        if open.is_some() {
            return open;
        }
        let slots = &mut self.cluster.to_mut().hosts.get_mut(host)?.slots;
        let (last, spec) = slots.last_key_value().map(|(number, spec)| (*number, spec.clone()))?;
        slots.insert(last.checked_add(1)?, spec);
        Some(SlotId::new(host.clone(), last + 1))
    }

    fn move_copy(&mut self, name: &StoreName, from: &SlotId, to: &HostName) -> Option<()> {
        let slot = self.open_slot(to)?;
        let store = self.cluster.to_mut().stores.get_mut(name)?;
        let copy = store.copies.remove(from)?;
        store.copies.insert(slot.clone(), copy);
        for master in store.master.iter_mut().chain(&mut store.pending).filter(|master| *master == from) {
            *master = slot.clone();
        }
        let seen = self.evidence.to_mut().copies.remove(from)?;
        self.evidence.to_mut().copies.insert(slot, seen);
        Some(())
    }

    /// What a copy has to be to take a master.
    fn make_well(&mut self, about: About<'_>, were: &Were) -> Option<()> {
        if *were == Were::HoldsCopy {
            return self.hold_copy(about);
        }
        let (slot, _) = copy_on(self.cluster.stores.get(about.store)?, about.host)?;
        let slot = slot.clone();
        match were {
            Were::CaseClosed(id) => self.cluster.to_mut().loss_cases.get_mut(id)?.state = LossState::NothingStranded,
            Were::Agreeing => drop(self.cluster.to_mut().stamps.remove(&slot)),
            Were::Serving => {
                let copy = self.cluster.to_mut().stores.get_mut(about.store)?.copies.get_mut(&slot)?;
                (copy.state, copy.whole) = (CopyState::Serving, true);
            }
            Were::Following => self.see_like(about, &slot)?,
            Were::Behind(records) => self.said(&slot)?.behind = Some(*records),
            Were::VerifiedWithin(ms) => self.said(&slot)?.verified_ms = Some(*ms),
            Were::EndsAt(position) => self.said(&slot)?.tip.position = *position,
            _ => {}
        }
        Some(())
    }

    fn said(&mut self, slot: &SlotId) -> Option<&mut EngineStatus> {
        match self.evidence.to_mut().copies.get_mut(slot)? {
            Seen::Known { value: CopyEvidence::Running(status), .. } => Some(status),
            _ => None,
        }
    }

    fn hold_copy(&mut self, about: About<'_>) -> Option<()> {
        let slot = self.open_slot(about.host)?;
        let store = self.cluster.to_mut().stores.get_mut(about.store)?;
        let like = store.copies.get(about.like)?.clone();
        let copy = Copy { role: Role::Replica, state: CopyState::Serving, whole: true, ..like };
        store.copies.insert(slot.clone(), copy);
        self.see_like(about, &slot)
    }

    /// A copy is seen as the one that is well.
    fn see_like(&mut self, about: About<'_>, slot: &SlotId) -> Option<()> {
        let generation = self.cluster.stores.get(about.store)?.copies.get(slot)?.generation;
        let (status, age_ms) = self.evidence.last_status(about.like)?;
        let status = EngineStatus { slot: slot.clone(), generation, ..status.clone() };
        let value = CopyEvidence::Running(Box::new(status));
        self.evidence.to_mut().copies.insert(slot.clone(), Seen::Known { value, age_ms });
        Some(())
    }
}

/// The copy that a store has on a host.
pub(crate) fn copy_on<'s>(store: &'s Store, host: &HostName) -> Option<(&'s SlotId, &'s Copy)> {
    store.copies.iter().find(|(slot, _)| slot.host == *host)
}
