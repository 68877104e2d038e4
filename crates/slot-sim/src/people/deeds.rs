//! What people do by themselves: the things of every day, and the mistakes.
//!
//! What always holds: a request is sent once per [`Ask`]; a word that a host is off is looked at again each time it is
//! sent, and kept back when it would no longer be in the faith it was meant in.

use super::looks::leads;
use super::*;
use slot_machine::command::RequestId;
use slot_machine::state::{PlanStatus, SESSIONS_MAX};
use slot_types::cluster::*;
use slot_types::plan::{Said, Scope, Settlement};
use slot_types::view::Query;

/// Something a person may choose to do.
#[derive(Clone, Copy)]
enum Choice {
    Drain,
    Undrain,
    HandOver,
    FailOver,
    Attest,
    Admit,
    AdmitOther,
    Settle,
    Abort,
    Pause,
    TakeUp,
    Reject,
    Approve,
    View,
    Evicted,
    Storm,
    Apply,
    Copies,
    Hold,
    Release,
}

impl Crowd {
    pub(super) fn act(&mut self, now: u64, public: &Public<'_>, deed: Deed, asks: &mut Vec<Ask>) {
        let who = deed.who;
        match deed.act {
            Act::Idle => {
                self.idle(now, public, who, asks);
                let pause = self.think();
                self.later(now + pause, who, Act::Idle);
            }
            Act::LookAfter => self.look_after(now, public, who, asks),
            Act::Send(errand) => self.send(now, public, who, *errand, asks),
            Act::Decide(plan) => self.decide(now, public, who, plan),
            Act::Approve(plan, yes) => self.say_yes(now, public, who, plan, yes, asks),
            Act::AfterNewLeader(plan, term, until) => {
                let another = public.state.is_some_and(|s| s.term != term);
                if another || now >= until {
                    self.count(if another { "approved after a leader change" } else { "approved late, same leader" });
                    return self.say_yes(now, public, who, plan, Yes::Plain, asks);
                }
                self.later(now + 200, who, Act::AfterNewLeader(plan, term, until));
            }
            Act::Abort(plan) => {
                self.count("abort at a random moment");
                let reason = "changed my mind".to_string();
                let request = ControlRequest::AbortPlan { request: self.id(who), plan, reason };
                self.ask(now, public, who, request, Purpose::Abort, asks);
            }
            Act::Watch(word) => self.watch(now, word),
            Act::FailOver(host, whole) => self.fail_over_host(now, public, who, &host, whole, asks),
            Act::Storm(left) => self.storm(now, public, who, left, asks),
        }
    }

    /// The number of a person's next request, when they have a session (R21).
    pub(super) fn id(&mut self, who: usize) -> Option<RequestId> {
        let person = self.people.get_mut(who)?;
        let session = person.session?;
        person.sequence += 1;
        Some(RequestId { session, sequence: person.sequence })
    }

    /// Sends a request for the first time.
    pub(super) fn ask(
        &mut self,
        now: u64,
        public: &Public<'_>,
        who: usize,
        request: ControlRequest,
        purpose: Purpose,
        asks: &mut Vec<Ask>,
    ) {
        let errand = Errand { request, purpose, tries: 0, to: None, heal: self.healing };
        self.send(now, public, who, errand, asks);
    }

    /// Sends a request, perhaps not for the first time.
    pub(super) fn send(&mut self, now: u64, public: &Public<'_>, who: usize, mut errand: Errand, asks: &mut Vec<Ask>) {
        let Some(name) = self.people.get(who).map(|p| p.name.clone()) else { return };
        if let Purpose::Attest(word) = errand.purpose
            && !self.may_attest(now, public, word)
        {
            return self.count("attestation kept back: looked again");
        }
        errand.tries += 1;
        self.number += 1;
        let token = self.number;
        let to = errand.to.take();
        asks.push(Ask { token, to, who: name, request: errand.request.clone() });
        self.sent.insert(token, Sent { who, errand, at: now, floor: self.newest });
    }

    /// Whether a word is still meant as it was; if so the host is left alone while it is on its way.
    fn may_attest(&mut self, now: u64, public: &Public<'_>, word: usize) -> bool {
        let Some((host, faith)) = self.words.get(word).map(|w| (w.host.clone(), w.faith)) else { return false };
        if self.faith(now, public, &host) != Some(faith) {
            return false;
        }
        if faith != Faith::TrulyWrong {
            self.leave_alone(now, public, &host, faith != Faith::True);
        }
        if matches!(faith, Faith::CameBack | Faith::EngineServes) {
            self.later(now + 500, 0, Act::Watch(word));
        }
        true
    }

    fn leave_alone(&mut self, now: u64, public: &Public<'_>, host: &HostName, neighbours: bool) {
        self.alone.insert(host.clone(), now + ON_ITS_WAY_MS);
        let Some((_, cluster)) = cluster(public).filter(|_| neighbours) else { return };
        for store in cluster.stores.values().filter(|s| s.copies.keys().any(|slot| slot.host == *host)) {
            for slot in store.copies.keys() {
                self.alone.insert(slot.host.clone(), now + ON_ITS_WAY_MS);
            }
        }
    }

    /// While a wrong word stands, nothing may keep the signs of life from being heard.
    fn watch(&mut self, now: u64, word: usize) {
        let Some(given) = self.words.get(word).filter(|w| !w.void) else { return };
        let (recorded, host) = (given.recorded, given.host.clone());
        if recorded {
            for until in self.alone.values_mut().filter(|until| **until > now) {
                *until = (*until).max(now + 3_000);
            }
        }
        if self.leaves_alone(&host, now) {
            self.later(now + 500, 0, Act::Watch(word));
        }
    }

    /// Gives the word that a host is off, if it can be given in some faith now.
    pub(super) fn attest(
        &mut self,
        now: u64,
        public: &Public<'_>,
        who: usize,
        host: &HostName,
        asks: &mut Vec<Ask>,
    ) -> Option<Faith> {
        let faith = self.faith(now, public, host)?;
        let by = self.people.get(who)?.name.clone();
        let boot = match faith {
            Faith::CameBack => self.seen_off.get(host).and_then(|(_, boot)| *boot),
            _ => cluster(public).and_then(|(_, c)| c.hosts.get(host)).and_then(|h| h.boot),
        };
        self.words.push(Word { by, host: host.clone(), at: now, boot, faith, recorded: false, void: false });
        let word = self.words.len() - 1;
        self.count(match faith {
            Faith::True => "attested in truth",
            Faith::CameBack => "attested wrongly: the host is back",
            Faith::EngineServes => "attested wrongly: its engine serves",
            Faith::TrulyWrong => "attested truly wrongly",
        });
        let request =
            ControlRequest::Attest { request: self.id(who), host: host.clone(), how: "power cord in hand".into() };
        self.ask(now, public, who, request, Purpose::Attest(word), asks);
        Some(faith)
    }

    pub(super) fn plan(&mut self, now: u64, public: &Public<'_>, who: usize, intent: Intent, asks: &mut Vec<Ask>) {
        let reason = "simulation".to_string();
        // R23: whoever looks finds hosts off, and says so; hosts that only are cut off look alive from beside them.
        let off = u16::try_from(public.truth.off.len()).unwrap_or(u16::MAX);
        let mass = cluster(public).is_some_and(|(_, c)| c.policy.brakes(off));
        if mass {
            self.count("asked with many hosts off");
        }
        let said = Said { mass, ..Said::default() };
        let request = ControlRequest::MakePlan { request: self.id(who), intent: Box::new(intent), reason, said };
        self.ask(now, public, who, request, Purpose::Plan, asks);
    }

    fn idle(&mut self, now: u64, public: &Public<'_>, who: usize, asks: &mut Vec<Ask>) {
        if !self.is_founded(public) {
            if who == 0 {
                self.apply_file(now, public, who, asks);
            }
            return;
        }
        self.tend_session(now, public, who, asks);
        let choices = self.choices(public);
        let total: u64 = choices.iter().map(|(weight, _)| *weight).sum();
        let mut draw = self.dice.within(0, total.saturating_sub(1));
        for (weight, choice) in choices {
            if draw < weight {
                return self.choose(now, public, who, choice, asks);
            }
            draw -= weight;
        }
    }

    fn choices(&self, public: &Public<'_>) -> Vec<(u64, Choice)> {
        let mut choices = Vec::new();
        let Some((state, cluster)) = cluster(public) else { return choices };
        let mut may = |habit: Habit, when: bool, weight: u64, choice: Choice| {
            if when && self.config.habits.contains(&habit) {
                choices.push((weight, choice));
            }
        };
        let drained = cluster.hosts.values().any(|h| h.declared != HostState::Active);
        let quarantined = cluster.hosts.values().any(|h| h.quarantined.is_some());
        let running = state.running().next().is_some();
        let proposed = state.plans.values().any(|p| p.status == PlanStatus::Proposed);
        let listed = cluster.loss_cases.values().any(|c| c.state == LossState::Listed);
        let unserved = cluster.stores.values().any(|s| s.master.is_none());
        let dark = !public.truth.off.is_empty();
        may(Habit::Drain, true, 3, Choice::Drain);
        may(Habit::HandOver, true, 8, Choice::HandOver);
        may(Habit::FailOver, dark || unserved, 14, Choice::FailOver);
        may(Habit::FailOver, true, 2, Choice::FailOver);
        may(Habit::AttestWrong, true, 3, Choice::Attest);
        may(Habit::TrulyWrong, true, 2, Choice::Attest);
        may(Habit::Admit, quarantined, 8, Choice::Admit);
        may(Habit::Admit, true, 1, Choice::AdmitOther);
        may(Habit::Abort, running, 3, Choice::Abort);
        may(Habit::Abort, running, 3, Choice::Pause);
        may(Habit::Reject, proposed, 2, Choice::Reject);
        may(Habit::Views, true, 6, Choice::View);
        may(Habit::Evicted, true, 2, Choice::Evicted);
        may(Habit::Storm, true, 1, Choice::Storm);
        may(Habit::Apply, true, 2, Choice::Apply);
        may(Habit::Copies, true, 8, Choice::Copies);
        may(Habit::Hold, cluster.holds.len() < 2, 3, Choice::Hold);
        // What nobody leaves out: a drained host comes back, records come back, colleagues are helped.
        let paused = state.running().any(|p| matches!(p.status, PlanStatus::Paused { .. }));
        choices.extend(paused.then_some((8, Choice::TakeUp)));
        choices.extend(drained.then_some((6, Choice::Undrain)));
        choices.extend(listed.then_some((8, Choice::Settle)));
        choices.extend(proposed.then_some((2, Choice::Approve)));
        choices.extend((!cluster.holds.is_empty()).then_some((8, Choice::Release)));
        choices
    }

    fn choose(&mut self, now: u64, public: &Public<'_>, who: usize, choice: Choice, asks: &mut Vec<Ask>) {
        let Some((state, cluster)) = cluster(public) else { return };
        let hosts: Vec<HostName> = cluster.hosts.keys().cloned().collect();
        match choice {
            Choice::Drain => {
                let Some(host) = self.one_of(&hosts).cloned() else { return };
                let other =
                    if self.dice.one_in(4) { self.one_of(&hosts).filter(|other| **other != host) } else { None };
                let intent = match other.cloned() {
                    Some(other) => Intent::DrainHosts([host, other].into()),
                    None => Intent::DrainHost(host),
                };
                self.count(if intent.drained().len() > 1 { "drain of two asked" } else { "drain asked" });
                self.plan(now, public, who, intent, asks);
            }
            Choice::Undrain => {
                let drained = cluster.hosts.iter().filter(|(_, h)| h.declared != HostState::Active);
                let drained: Vec<HostName> = drained.map(|(name, _)| name.clone()).collect();
                let Some(host) = self.one_of(&drained).cloned() else { return };
                self.count("undrain asked");
                self.plan(now, public, who, Intent::UndrainHost(host), asks);
            }
            Choice::HandOver => self.hand_over(now, public, who, cluster, asks),
            Choice::Copies => self.copies(now, public, who, cluster, asks),
            Choice::Hold => self.hold(now, public, who, cluster, asks),
            Choice::Release => {
                let held: Vec<HoldOn> = cluster.holds.keys().cloned().collect();
                let Some(on) = self.one_of(&held).cloned() else { return };
                self.count("release asked");
                let request = ControlRequest::Release { request: self.id(who), on, reason: "go on".into() };
                self.ask(now, public, who, request, Purpose::Hold, asks);
            }
            Choice::FailOver => self.fail_over(now, public, who, cluster, asks),
            Choice::Attest => {
                let Some(host) = self.wrong_host(now, public, &hosts) else { return };
                let faith = self.attest(now, public, who, &host, asks);
                if faith.is_some() && (self.dice.one_in(2) || faith == Some(Faith::TrulyWrong)) {
                    let soon = now + self.dice.within(500, 9_000);
                    let whole = self.dice.one_in(2);
                    self.later(soon, who, Act::FailOver(host, whole));
                }
            }
            Choice::Admit | Choice::AdmitOther => self.admit(now, public, who, choice, cluster, asks),
            Choice::Settle => self.settle(now, public, who, cluster, asks),
            Choice::Abort => {
                let running: Vec<PlanId> = state.running().map(|p| p.id).collect();
                if let Some(plan) = self.one_of(&running).copied() {
                    self.later(now, who, Act::Abort(plan));
                }
            }
            Choice::Pause => self.pause(now, public, who, state, asks),
            Choice::TakeUp => self.take_up(now, public, who, state, asks),
            Choice::Reject | Choice::Approve => self.answer_colleague(now, public, who, choice, asks),
            Choice::View => self.view(now, public, who, cluster, asks),
            Choice::Evicted => self.evicted(now, public, who, cluster, asks),
            Choice::Storm => self.later(now, who, Act::Storm(SESSIONS_MAX as u32 + 16)),
            Choice::Apply => {
                let mut fleet = self.config.fleet.clone();
                if self.dice.one_in(2) {
                    fleet.policy.max_lag_records += self.dice.within(1, 9);
                }
                self.count("cluster file applied again");
                self.plan(now, public, who, Intent::Apply(Box::new(fleet)), asks);
            }
        }
    }

    /// A host about which somebody may be wrong now.
    fn wrong_host(&mut self, now: u64, public: &Public<'_>, hosts: &[HostName]) -> Option<HostName> {
        let wrong = |host: &&HostName| self.faith(now, public, host).is_some_and(|f| f != Faith::True);
        let wrong: Vec<HostName> = hosts.iter().filter(wrong).cloned().collect();
        self.one_of(&wrong).cloned()
    }

    /// Copies elsewhere: a host emptied, a slot moved, what is missing rebuilt, hosts made even.
    fn copies(&mut self, now: u64, public: &Public<'_>, who: usize, cluster: &Cluster, asks: &mut Vec<Ask>) {
        let slots: Vec<SlotId> = cluster.stores.values().flat_map(|store| store.copies.keys().cloned()).collect();
        let hosts: Vec<HostName> = cluster.hosts.keys().cloned().collect();
        let stores: Vec<StoreName> = cluster.stores.keys().cloned().collect();
        let intent = match self.dice.within(0, 7) {
            0 => self.one_of(&hosts).cloned().map(Intent::EmptyHost),
            1 => {
                let both = [self.one_of(&hosts).cloned(), self.one_of(&hosts).cloned()];
                Some(Intent::EmptyHosts(both.into_iter().flatten().collect()))
            }
            2 => self.one_of(&stores).cloned().map(|store| Intent::Rebuild(Scope::Store(store))),
            3 => Some(Intent::Rebuild(Scope::All)),
            4 => {
                self.retires(cluster, &stores).map(Intent::RetireStore).or(Some(Intent::Rebalance(Default::default())))
            }
            _ => {
                let free: Vec<SlotId> = cluster
                    .hosts
                    .iter()
                    .flat_map(|(name, host)| host.slots.keys().map(|number| SlotId::new(name.clone(), *number)))
                    .filter(|slot| !slots.contains(slot))
                    .collect();
                let to = if self.dice.one_in(2) { self.one_of(&free).cloned() } else { None };
                self.one_of(&slots).cloned().map(|slot| Intent::MoveCopy { slot, to })
            }
        };
        let Some(intent) = intent else { return };
        self.count(match intent {
            Intent::EmptyHost(_) => "empty asked",
            Intent::EmptyHosts(_) => "empty of two asked",
            Intent::MoveCopy { .. } => "move asked",
            Intent::Rebalance(_) => "rebalance asked",
            Intent::RetireStore(_) => "retire store asked",
            _ => "rebuild asked",
        });
        self.plan(now, public, who, intent, asks);
    }

    /// Now and then, and once in a world, a store that is not wanted any more.
    fn retires(&mut self, cluster: &Cluster, stores: &[StoreName]) -> Option<StoreName> {
        let another = stores.len() > 1 && cluster.tombstones.is_empty() && !cluster.stores.values().any(|s| s.retired);
        if another && self.dice.one_in(4) { self.one_of(stores).cloned() } else { None }
    }

    fn hand_over(&mut self, now: u64, public: &Public<'_>, who: usize, cluster: &Cluster, asks: &mut Vec<Ask>) {
        let masters: Vec<(&Store, &SlotId)> =
            cluster.stores.values().filter_map(|s| s.master.as_ref().map(|m| (s, m))).collect();
        let Some((store, slot)) = self.one_of(&masters).copied() else { return };
        let others: Vec<SlotId> = store.copies.keys().filter(|s| *s != slot).cloned().collect();
        let to = if self.dice.one_in(2) { self.one_of(&others).cloned() } else { None };
        self.count(if to.is_some() { "hand-over asked, to a slot" } else { "hand-over asked" });
        self.plan(now, public, who, Intent::FailOverSlot { slot: slot.clone(), to }, asks);
    }

    /// A store whose master is dark or gone: attest if the host is off, then ask for another master.
    fn fail_over(&mut self, now: u64, public: &Public<'_>, who: usize, cluster: &Cluster, asks: &mut Vec<Ask>) {
        let ill = |slot: &SlotId| public.truth.off.contains(&slot.host) || !public.truth.engines.contains(slot);
        let slots: Vec<SlotId> = cluster.stores.values().flat_map(leads).filter(ill).collect();
        let Some(slot) = self.one_of(&slots).cloned() else { return };
        if public.truth.off.contains(&slot.host) {
            // Where a device can do it, nobody has to give a word; some do all the same.
            if !self.has_device(cluster, &slot.host) || self.dice.one_in(4) {
                self.attest(now, public, who, &slot.host, asks);
            }
            let soon = now + self.dice.within(2_000, 9_000);
            let whole = self.dice.one_in(2);
            return self.later(soon, who, Act::FailOver(slot.host, whole));
        }
        self.count("failover of a slot asked");
        self.plan(now, public, who, Intent::FailOverSlot { slot, to: None }, asks);
    }

    /// Whether a host's device can be used, as far as anybody knows.
    pub(super) fn has_device(&self, cluster: &Cluster, host: &HostName) -> bool {
        let device = cluster.hosts.get(host).map(|h| &h.device);
        device.is_some_and(|device| device.spec.is_some() && device.failed.is_none())
    }

    fn fail_over_host(
        &mut self,
        now: u64,
        public: &Public<'_>,
        who: usize,
        host: &HostName,
        whole: bool,
        asks: &mut Vec<Ask>,
    ) {
        if whole {
            self.count("failover of a host asked");
            return self.plan(now, public, who, Intent::FailOverHost(host.clone()), asks);
        }
        let Some((_, cluster)) = cluster(public) else { return };
        let here: Vec<SlotId> = cluster.stores.values().flat_map(leads).filter(|slot| slot.host == *host).collect();
        for slot in here {
            self.count("failover of a slot asked");
            self.plan(now, public, who, Intent::FailOverSlot { slot, to: None }, asks);
        }
    }

    fn admit(
        &mut self,
        now: u64,
        public: &Public<'_>,
        who: usize,
        choice: Choice,
        cluster: &Cluster,
        asks: &mut Vec<Ask>,
    ) {
        let presented = cluster.hosts.iter().filter_map(|(name, host)| match host.quarantined {
            Some(HostQuarantine::OtherDisk { presented }) => Some((name.clone(), presented)),
            _ => None,
        });
        // A person admits the disk they put in; a clone's visit is not one.
        let own = presented.filter(|(name, disk)| public.truth.disks.get(name) == Some(disk));
        let mut all: Vec<(HostName, Incarnation)> = own.collect();
        if matches!(choice, Choice::AdmitOther) {
            all = cluster.hosts.keys().map(|name| (name.clone(), Incarnation([0xee; 16]))).collect();
        }
        let Some((host, incarnation)) = self.one_of(&all).cloned() else { return };
        self.count(if matches!(choice, Choice::AdmitOther) { "admit asked: no such disk" } else { "admit asked" });
        let reason = "reinstalled".to_string();
        let request = ControlRequest::AdmitHost { request: self.id(who), host, incarnation, reason };
        self.ask(now, public, who, request, Purpose::Admit, asks);
    }

    fn settle(&mut self, now: u64, public: &Public<'_>, who: usize, cluster: &Cluster, asks: &mut Vec<Ask>) {
        let listed = cluster.loss_cases.iter().filter(|(_, c)| c.state == LossState::Listed);
        let listed: Vec<LossCaseId> = listed.map(|(id, _)| *id).collect();
        let Some(case) = self.one_of(&listed).copied() else { return };
        let give_up = self.has(Habit::Discard) && self.dice.one_in(3);
        let how = if give_up { Settlement::Discard } else { Settlement::Reinject };
        self.count(if give_up { "discard asked" } else { "reinject asked" });
        self.plan(now, public, who, Intent::SettleLoss { case, how }, asks);
    }

    /// Sessions are opened, and sometimes left for a new one.
    fn tend_session(&mut self, now: u64, public: &Public<'_>, who: usize, asks: &mut Vec<Ask>) {
        let anew = self.dice.one_in(12);
        if !self.has(Habit::Sessions) {
            return;
        }
        let Some(person) = self.people.get_mut(who).filter(|p| !p.opening && (p.session.is_none() || anew)) else {
            return;
        };
        person.opening = true;
        self.ask(now, public, who, ControlRequest::OpenSession, Purpose::Session, asks);
    }

    /// A request of a session that nobody remembers (R21): it must be refused, never applied.
    fn evicted(&mut self, now: u64, public: &Public<'_>, who: usize, cluster: &Cluster, asks: &mut Vec<Ask>) {
        let session = u64::MAX - self.dice.within(0, 1 << 20);
        let request = Some(RequestId { session, sequence: self.dice.within(1, 3) });
        let Some(slot) = cluster.stores.values().find_map(|s| s.master.clone()) else { return };
        let intent = Box::new(Intent::FailOverSlot { slot, to: None });
        self.count("asked under an evicted session");
        let request = ControlRequest::MakePlan { request, intent, reason: "retry".into(), said: Default::default() };
        self.ask(now, public, who, request, Purpose::Evicted, asks);
    }

    /// So many sessions that the others are forgotten (R21).
    fn storm(&mut self, now: u64, public: &Public<'_>, who: usize, left: u32, asks: &mut Vec<Ask>) {
        for _ in 0..left.min(16) {
            self.ask(now, public, who, ControlRequest::OpenSession, Purpose::View, asks);
        }
        match left.checked_sub(16) {
            Some(left) if left > 0 => self.later(now + 100, who, Act::Storm(left)),
            _ => self.count("session storm over"),
        }
    }

    fn view(&mut self, now: u64, public: &Public<'_>, who: usize, cluster: &Cluster, asks: &mut Vec<Ask>) {
        let host = cluster.hosts.keys().next().cloned();
        let store = cluster.stores.keys().next_back().cloned();
        let queries = [
            Some(Query::Status),
            Some(Query::Plans),
            Some(Query::Routes),
            Some(Query::LossCases),
            Some(Query::Audit { after: 0, limit: 20 }),
            host.map(Query::Host),
            store.map(Query::Store),
        ];
        let queries: Vec<Query> = queries.into_iter().flatten().collect();
        let Some(query) = self.one_of(&queries).cloned() else { return };
        let stale_ok = self.dice.one_in(3);
        let nodes: Vec<u64> = public.coordinators.keys().copied().collect();
        let to = if self.dice.one_in(3) { self.one_of(&nodes).copied() } else { None };
        self.count(if stale_ok { "view asked, stale" } else { "view asked, confirmed" });
        let request = ControlRequest::View { query, stale_ok };
        let errand = Errand { request, purpose: Purpose::View, tries: 0, to, heal: self.healing };
        self.send(now, public, who, errand, asks);
    }

    /// The whole cluster file, until every store has a master.
    pub(super) fn apply_file(&mut self, now: u64, public: &Public<'_>, who: usize, asks: &mut Vec<Ask>) {
        let running = public.state.is_some_and(|s| s.running().next().is_some());
        let asked = self.sent.values().any(|sent| sent.who == who);
        if running || asked || !self.may_care(Care::Fleet, now, 4_000) {
            return;
        }
        self.count("cluster file applied");
        let fleet = Box::new(self.config.fleet.clone());
        self.plan(now, public, who, Intent::Apply(fleet), asks);
    }

    /// A proposal of somebody else's: yes or no.
    fn answer_colleague(&mut self, now: u64, public: &Public<'_>, who: usize, choice: Choice, asks: &mut Vec<Ask>) {
        let Some(state) = public.state else { return };
        let proposed: Vec<PlanId> =
            state.plans.values().filter(|p| p.status == PlanStatus::Proposed).map(|p| p.id).collect();
        let Some(plan) = self.one_of(&proposed).copied() else { return };
        if matches!(choice, Choice::Approve) {
            self.count("approved a colleague's plan");
            return self.say_yes(now, public, who, plan, Yes::Plain, asks);
        }
        self.count("reject asked");
        let request = ControlRequest::RejectPlan { request: self.id(who), plan, reason: "not today".into() };
        self.ask(now, public, who, request, Purpose::Reject, asks);
    }
}
