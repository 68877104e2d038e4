//! Looking after what is stuck, once the faults are over.
//!
//! What always holds: everything asked here is what a careful person would ask; a host is attested off only while it is.

use super::looks::leads;
use super::*;
use slot_machine::state::{PlanRecord, PlanStatus};
use slot_types::cluster::*;
use slot_types::plan::{Scope, Settlement};

/// How often somebody looks.
const ROUND_MS: u64 = 2_000;
/// The same thing is not asked again earlier.
const AGAIN_MS: u64 = 15_000;
/// A loss case is tried again after this long: what it needs may have to come back by itself first, which no plan that holds
/// the store lets it.
const SETTLE_AGAIN_MS: u64 = 120_000;
/// A store is given this long to come back by itself (R25).
const BY_ITSELF_MS: u64 = 25_000;
/// A plan that runs for longer is given up, stuck or not: it keeps everyday recovery from its stores.
const SLOW_MS: u64 = 120_000;

impl Crowd {
    /// "Hands off" on something; whoever said it means to end it soon.
    pub(super) fn hold(&mut self, now: u64, public: &Public<'_>, who: usize, cluster: &Cluster, asks: &mut Vec<Ask>) {
        let hosts = cluster.hosts.keys().cloned().map(HoldOn::Host);
        let things: Vec<HoldOn> = match self.dice.within(0, 9) {
            0 => vec![HoldOn::All],
            1..=4 => hosts.collect(),
            _ => cluster.stores.keys().cloned().map(HoldOn::Store).collect(),
        };
        let Some(on) = self.one_of(&things).cloned() else { return };
        self.count("hold asked");
        let request = ControlRequest::Hold { request: self.id(who), on: on.clone(), reason: "hands off".into() };
        self.ask(now, public, who, request, Purpose::Hold, asks);
        let request = ControlRequest::Release { request: None, on, reason: "seen enough".into() };
        let errand = Errand { request, purpose: Purpose::Hold, tries: 0, to: None, heal: false };
        let soon = now + self.dice.within(1_000, 20_000);
        self.later(soon, who, Act::Send(Box::new(errand)));
    }

    /// Whether it is time to ask for something (again).
    pub(super) fn may_care(&mut self, what: Care, now: u64, every_ms: u64) -> bool {
        if self.care.get(&what).is_some_and(|until| *until > now) {
            return false;
        }
        self.care.insert(what, now + every_ms);
        true
    }

    pub(super) fn look_after(&mut self, now: u64, public: &Public<'_>, who: usize, asks: &mut Vec<Ask>) {
        self.later(now + ROUND_MS, who, Act::LookAfter);
        if !self.is_founded_once(public) {
            return self.apply_file(now, public, who, asks);
        }
        let Some((state, cluster)) = cluster(public) else { return };
        let paused = |p: &&slot_machine::state::PlanRecord| matches!(p.status, PlanStatus::Paused { .. });
        for plan in state.running().filter(paused) {
            if self.may_care(Care::Plan(plan.id), now, AGAIN_MS) {
                let old = plan.started.is_some_and(|at| state.log_time.since(at) > SLOW_MS);
                let (request, plan, reason) = (None, plan.id, "all is well again".to_string());
                let request = match old || self.dice.one_in(2) {
                    true => ControlRequest::AbortPlan { request, plan, reason },
                    false => ControlRequest::ResumePlan { request, plan, reason },
                };
                self.count("care: paused plan resumed or aborted");
                self.ask(now, public, who, request, Purpose::Pause, asks);
            }
        }
        for plan in state.running().filter(|p| p.status == PlanStatus::Running) {
            let old = plan.started.is_some_and(|at| state.log_time.since(at) > SLOW_MS);
            if (is_stuck(plan) || old) && self.may_care(Care::Plan(plan.id), now, AGAIN_MS) {
                self.count("care: stuck plan aborted");
                let request =
                    ControlRequest::AbortPlan { request: None, plan: plan.id, reason: "it is stuck".to_string() };
                self.ask(now, public, who, request, Purpose::Abort, asks);
            }
        }
        for on in cluster.holds.keys() {
            if self.may_care(Care::Hold(on.clone()), now, 4_000) {
                self.count("care: released");
                let request = ControlRequest::Release { request: None, on: on.clone(), reason: "all is over".into() };
                self.ask(now, public, who, request, Purpose::Hold, asks);
            }
        }
        for (name, host) in &cluster.hosts {
            self.care_for_host(now, public, who, (name, host), asks);
        }
        for (name, store) in &cluster.stores {
            self.care_for_store(now, public, who, (name, store), asks);
        }
        for (id, case) in &cluster.loss_cases {
            if case.state == LossState::Listed && self.may_care(Care::Case(*id), now, SETTLE_AGAIN_MS) {
                // As the refusal says: what leads can follow nobody, so it hands over first.
                let leads = cluster.stores.get(&case.store).is_some_and(|s| s.master.as_ref() == Some(&case.slot));
                let intent = match leads {
                    true => Intent::FailOverSlot { slot: case.slot.clone(), to: None },
                    false => Intent::SettleLoss { case: *id, how: Settlement::Reinject },
                };
                self.count(if leads { "care: hand-over asked before a reinject" } else { "care: reinject asked" });
                self.plan(now, public, who, intent, asks);
            }
        }
    }

    /// Every store of the file was made at some time, though it may have no master now.
    fn is_founded_once(&self, public: &Public<'_>) -> bool {
        let Some((_, cluster)) = cluster(public) else { return false };
        let gone = |name: &StoreName| cluster.tombstones.contains_key(name);
        let made = |name: &StoreName| gone(name) || cluster.stores.get(name).is_some_and(|s| s.epoch > Epoch::ZERO);
        self.config.fleet.stores.keys().all(made)
    }

    fn care_for_host(
        &mut self,
        now: u64,
        public: &Public<'_>,
        who: usize,
        (name, host): (&HostName, &Host),
        asks: &mut Vec<Ask>,
    ) {
        let Some((state, cluster)) = cluster(public) else { return };
        let off = public.truth.off.contains(name);
        if host.quarantined == Some(HostQuarantine::Restored) {
            return self.readopt(now, public, who, name, asks);
        }
        if host.quarantined.is_some() && self.holds_a_master(public, name) {
            return self.empty_quarantined(now, public, who, name, off, asks);
        }
        if off {
            // Whoever switched it off switches it on again; what the faults switched off comes back by itself.
            if self.switched_off.remove(name) {
                self.count("care: host switched on");
                self.hands.push(Hand::SwitchOn(name.clone()));
            }
            return;
        }
        let admits = |disk: &Incarnation| public.truth.disks.get(name) == Some(disk);
        match &host.quarantined {
            Some(HostQuarantine::OtherDisk { presented }) if admits(presented) => {
                if !self.may_care(Care::Host(name.clone()), now, AGAIN_MS) {
                    return;
                }
                self.count("care: host admitted");
                let (host, incarnation, reason) = (name.clone(), *presented, "reinstalled".to_string());
                let request = ControlRequest::AdmitHost { request: None, host, incarnation, reason };
                self.ask(now, public, who, request, Purpose::Admit, asks);
            }
            Some(HostQuarantine::OlderDisk { .. }) if self.may_care(Care::Host(name.clone()), now, 4 * AGAIN_MS) => {
                self.count("care: new disk put in");
                self.hands.push(Hand::NewDisk(name.clone()));
            }
            None if self.is_half_stopped(state, cluster, name, host)
                && self.may_care(Care::Host(name.clone()), now, 2 * AGAIN_MS) =>
            {
                self.count("care: undrain asked, for a copy left stopped");
                self.plan(now, public, who, Intent::UndrainHost(name.clone()), asks);
            }
            None if host.declared != HostState::Active && self.may_care(Care::Host(name.clone()), now, AGAIN_MS) => {
                self.count("care: undrain asked");
                self.plan(now, public, who, Intent::UndrainHost(name.clone()), asks);
            }
            _ => {}
        }
    }

    /// After a restore: the word that a host belongs to this cluster, with the disk that is in it (R10).
    fn readopt(&mut self, now: u64, public: &Public<'_>, who: usize, host: &HostName, asks: &mut Vec<Ask>) {
        let Some(incarnation) = public.truth.disks.get(host).copied() else { return };
        if self.may_care(Care::Host(host.clone()), now, AGAIN_MS) {
            self.count("care: host re-adopted");
            let (host, reason) = (host.clone(), "the coordinators were restored".to_string());
            let request = ControlRequest::AdmitHost { request: None, host, incarnation, reason };
            self.ask(now, public, who, request, Purpose::Admit, asks);
        }
    }

    /// Whether a copy of an Active host was left stopped, by a drain that was given up or an undrain that could not start it.
    fn is_half_stopped(&self, state: &State, cluster: &Cluster, name: &HostName, host: &Host) -> bool {
        host.declared == HostState::Active
            && state.running().next().is_none()
            && cluster.copies_on(name).any(|(_, _, copy)| copy.state == CopyState::Stopped)
    }

    /// Whether a host's disk stands in the way of some store's next master.
    fn holds_a_master(&self, public: &Public<'_>, host: &HostName) -> bool {
        let Some((_, cluster)) = cluster(public) else { return false };
        cluster.stores.values().flat_map(leads).any(|slot| slot.host == *host)
            || cluster.masters_on(host).next().is_some()
    }

    /// Nothing can be ordered on a quarantined host: it is switched off, attested, and its masters are failed over.
    fn empty_quarantined(
        &mut self,
        now: u64,
        public: &Public<'_>,
        who: usize,
        host: &HostName,
        off: bool,
        asks: &mut Vec<Ask>,
    ) {
        if !off {
            if self.may_care(Care::Host(host.clone()), now, AGAIN_MS) {
                self.count("care: host switched off");
                self.switched_off.insert(host.clone());
                self.hands.push(Hand::SwitchOff(host.clone()));
            }
            return;
        }
        self.attest_once(now, public, who, host, asks);
        if self.may_care(Care::Host(host.clone()), now, 8_000) {
            self.count("care: failover of a host asked");
            self.plan(now, public, who, Intent::FailOverHost(host.clone()), asks);
        }
    }

    /// The word that a host is off, unless it stands.
    fn attest_once(&mut self, now: u64, public: &Public<'_>, who: usize, host: &HostName, asks: &mut Vec<Ask>) {
        let Some((state, cluster)) = cluster(public) else { return };
        let stands = cluster.attestations.get(host).is_some_and(|a| a.expires > state.log_time);
        let off = public.truth.off.contains(host);
        if off && !stands && !self.has_device(cluster, host) && self.may_care(Care::Attest(host.clone()), now, 5_000) {
            self.attest(now, public, who, host, asks);
        }
    }

    fn care_for_store(
        &mut self,
        now: u64,
        public: &Public<'_>,
        who: usize,
        (name, store): (&StoreName, &Store),
        asks: &mut Vec<Ask>,
    ) {
        if store.retired {
            if self.may_care(Care::Store(name.clone()), now, AGAIN_MS) {
                self.count("care: retirement gone on with");
                self.plan(now, public, who, Intent::RetireStore(name.clone()), asks);
            }
            return;
        }
        let served = store.pending.is_none() && store.master.as_ref().is_some_and(|m| public.truth.engines.contains(m));
        let Some((state, _)) = cluster(public) else { return };
        let whole = |(_, copy): &(&SlotId, &Copy)| copy.whole && copy.state != CopyState::Retired;
        let odd = store.copies.values().any(|copy| !copy.whole || copy.state == CopyState::Retired);
        let short = store.copies.iter().filter(whole).count() != usize::from(store.spec.copies);
        let idle = !state.store_claims.contains_key(name);
        if served && idle && (odd || short) && self.may_care(Care::Copies(name.clone()), now, AGAIN_MS) {
            self.count("care: rebuild asked");
            self.plan(now, public, who, Intent::Rebuild(Scope::Store(name.clone())), asks);
        }
        // R13: an approved failover may take a store from a plan that gets nowhere.
        let holder = state.store_claims.get(name).and_then(|plan| state.plans.get(plan));
        if served || holder.is_some_and(|plan| plan.status == PlanStatus::Running && !is_stuck(plan)) {
            self.ill_since.remove(name);
            return;
        }
        let since = *self.ill_since.entry(name.clone()).or_insert(now);
        if now.saturating_sub(since) < BY_ITSELF_MS || !self.may_care(Care::Store(name.clone()), now, AGAIN_MS) {
            return;
        }
        for slot in leads(store) {
            self.attest_once(now, public, who, &slot.host, asks);
            self.count("care: failover of a slot asked");
            self.plan(now, public, who, Intent::FailOverSlot { slot, to: None }, asks);
        }
    }
}

fn is_stuck(plan: &PlanRecord) -> bool {
    plan.tasks.iter().any(|task| task.steps.iter().any(|step| step.stuck.is_some()))
}
