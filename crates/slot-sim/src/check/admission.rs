//! Hosts as they present themselves: which disk is admitted, what it must still hold, which boots are over, whose attestation
//! stands (S2, R8, R27).
//!
//! What always holds: what a host acknowledged is counted here from the outcomes in the log; a boot has ended when an agent
//! said so of an order, and a disk is admitted by its first contact or by a person.

use super::Found;
use slot_machine::command::StepRef;
use slot_machine::state::State;
use slot_types::ids::*;
use slot_types::order::{NeverWill, Outcome};
use std::collections::BTreeMap;

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Admission {
    orders: BTreeMap<(StepRef, u32), (HostName, LogIndex)>,
    acknowledged: BTreeMap<HostName, LogIndex>,
    admitted: BTreeMap<HostName, Incarnation>,
    /// The newest boot in the state, and the last that is known to be over.
    boots: BTreeMap<HostName, BootId>,
    ended: BTreeMap<HostName, BootId>,
}

impl Admission {
    /// An order for a host exists from now on.
    pub fn started(&mut self, state: &State, step: StepRef, attempt: u32, index: u64) {
        let task = state.plans.get(&step.plan).and_then(|p| p.plan.tasks.get(usize::from(step.task)));
        let place = task.and_then(|t| t.steps.get(usize::from(step.step))).and_then(|s| s.at.as_ref());
        if let Some(place) = place {
            self.orders.insert((step, attempt), (place.host().clone(), LogIndex(index)));
        }
    }

    /// Its agent gave its word.
    pub fn finished(&mut self, id: &OrderId, outcome: &Outcome) {
        let step = StepRef { plan: id.plan, task: id.task, step: id.step };
        let Some((host, index)) = self.orders.remove(&(step, id.attempt)) else { return };
        if let Outcome::NeverWill(NeverWill::BootEnded(boot)) = outcome {
            self.ended.insert(host, *boot);
            return;
        }
        let known = self.acknowledged.entry(host).or_default();
        *known = index.max(*known);
    }

    /// The disk that is known to be a host's.
    pub fn disk(&self, host: &HostName) -> Option<Incarnation> {
        self.admitted.get(host).copied()
    }

    /// A person admitted another disk.
    pub fn admitted(&mut self, host: &HostName, incarnation: Incarnation) {
        self.admitted.insert(host.clone(), incarnation);
        self.acknowledged.remove(host);
        self.boots.remove(host);
    }

    /// The log is lost, and with it what hosts had acknowledged and presented; what is known of boots that ended stays.
    pub fn restored(&mut self) {
        self.orders.clear();
        self.acknowledged.clear();
        self.admitted.clear();
        self.boots.clear();
    }

    /// A person's word, and its agent's, let a host in after a restore.
    pub fn readopted(&mut self, host: &HostName) {
        self.acknowledged.remove(host);
        self.boots.remove(host);
    }

    /// Whether this is the boot in which a host was let in last.
    pub fn knows(&self, name: &HostName, boot: BootId) -> bool {
        self.boots.get(name) == Some(&boot)
    }

    /// An agent was heard; `again` says that this is the first word of its boot, which was judged before.
    pub fn seen(&mut self, found: &mut Found, state: &State, name: &HostName, high_water: LogIndex, again: bool) {
        let Some(host) = state.cluster.as_ref().and_then(|c| c.hosts.get(name)) else { return };
        if let Some(incarnation) = host.incarnation {
            let admitted = *self.admitted.entry(name.clone()).or_insert(incarnation);
            if admitted != incarnation {
                found.say("S2", format!("{name} is admitted with disk {incarnation}, nobody admitted it"));
            }
        }
        let acknowledged = self.acknowledged.get(name).copied().unwrap_or_default();
        if host.quarantined.is_none() && high_water < acknowledged && !again {
            let text = format!("{name} presents {high_water}, it acknowledged {acknowledged}, and it is let in");
            found.say("S2", text);
        }
        if let Some(boot) = host.boot {
            let before = self.boots.insert(name.clone(), boot);
            if before != Some(boot) && self.ended.get(name) == Some(&boot) {
                found.say("R27", format!("{name} is back in boot {boot}, which has ended"));
            }
        }
        self.alive(found, state, name);
    }

    /// Something of a host was heard: nobody's word that it is off stands.
    pub fn alive(&self, found: &mut Found, state: &State, name: &HostName) {
        if state.cluster.as_ref().is_some_and(|c| c.attestations.contains_key(name)) {
            found.say("R8", format!("the attestation that {name} is off stands after a sign of life"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slot_types::cluster::*;
    use std::collections::BTreeSet;

    fn host() -> HostName {
        HostName::new("h1").unwrap()
    }

    fn state(disk: u8, boot: u8, attested: bool) -> State {
        let mut cluster = Cluster::new(ClusterId([1; 16]), ClusterName::new("sim").unwrap());
        let known = Host {
            at: Domain(vec!["r1".into()]),
            address: "127.1.1.1:7420".parse().unwrap(),
            declared: HostState::Active,
            slots: BTreeMap::new(),
            incarnation: Some(Incarnation([disk; 16])),
            boot: Some(BootId([boot; 16])),
            quarantined: None,
            acknowledged: LogIndex(0),
            drained_masters: BTreeSet::new(),
            back_by: None,
            device: slot_types::fence::Device::default(),
            reboots: Vec::new(),
            weight: 1,
            version: 1,
        };
        cluster.hosts.insert(host(), known);
        if attested {
            let by = OperatorName::new("alice").unwrap();
            let (at, expires) = (LogTime(0), LogTime(9));
            let word = Attestation { boot: BootId([boot; 16]), how: "seen".into(), by, at, expires };
            cluster.attestations.insert(host(), word);
        }
        State { cluster: Some(cluster), ..State::default() }
    }

    fn said(work: impl FnOnce(&mut Admission, &mut Found)) -> Vec<&'static str> {
        let (mut admission, mut found) = (Admission::default(), Found::default());
        admission.seen(&mut found, &state(1, 1, false), &host(), LogIndex(5), false);
        assert!(found.list.is_empty());
        work(&mut admission, &mut found);
        found.list.iter().map(|v| v.invariant).collect()
    }

    fn outcome(admission: &mut Admission, outcome: &Outcome) {
        let id = OrderId { plan: PlanId(1), task: 0, step: 0, attempt: 1 };
        let step = StepRef { plan: id.plan, task: 0, step: 0 };
        admission.orders.insert((step, 1), (host(), LogIndex(9)));
        admission.finished(&id, outcome);
    }

    #[test]
    fn s2_another_disk_admits_itself() {
        assert_eq!(said(|a, f| a.seen(f, &state(2, 1, false), &host(), LogIndex(5), false)), ["S2"]);
        let by_a_person = |a: &mut Admission, f: &mut Found| {
            a.admitted(&host(), Incarnation([2; 16]));
            a.seen(f, &state(2, 1, false), &host(), LogIndex(0), false);
        };
        assert!(said(by_a_person).is_empty());
    }

    #[test]
    fn s2_an_older_disk_is_let_in() {
        let older = |a: &mut Admission, f: &mut Found| {
            outcome(a, &Outcome::NeverWill(NeverWill::Cancelled));
            a.seen(f, &state(1, 1, false), &host(), LogIndex(5), false);
        };
        assert_eq!(said(older), ["S2"]);
    }

    #[test]
    fn r27_a_boot_comes_back() {
        let back = |a: &mut Admission, f: &mut Found| {
            outcome(a, &Outcome::NeverWill(NeverWill::BootEnded(BootId([1; 16]))));
            a.seen(f, &state(1, 2, false), &host(), LogIndex(5), false);
            a.seen(f, &state(1, 1, false), &host(), LogIndex(5), false);
        };
        assert_eq!(said(back), ["R27"]);
    }

    #[test]
    fn r8_an_attestation_stands_after_a_sign_of_life() {
        assert_eq!(said(|a, f| a.alive(f, &state(1, 1, true), &host())), ["R8"]);
    }
}
