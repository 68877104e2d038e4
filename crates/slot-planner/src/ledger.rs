//! What hosts lead before a plan and after it: masters by number, and by the load that the cluster file declares.
//!
//! What always holds: after the plan is before it with the plan's tasks carried out; hosts are compared by what they bear for their
//! weight, which is their number of masters where the file declares nothing; what an applied file says is in force for both.

use crate::view::View;
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::plan::{Task, TaskKind};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Masters by host.
pub(crate) struct Ledger<'a> {
    cluster: &'a Cluster,
    file: Option<&'a FleetSpec>,
    pub before: BTreeMap<HostName, Led>,
    pub after: BTreeMap<HostName, Led>,
}

impl<'a> Ledger<'a> {
    /// With these tasks carried out, after the file they apply if they apply one.
    pub fn of<'t>(view: &View<'a>, file: Option<&'a FleetSpec>, tasks: impl Iterator<Item = &'t Task>) -> Ledger<'a> {
        let cluster = view.cluster;
        let mut ledger = Ledger { cluster, file, before: BTreeMap::new(), after: BTreeMap::new() };
        ledger.before.extend(cluster.hosts.keys().map(|host| (host.clone(), Led::default())));
        for (name, store) in &cluster.stores {
            if let Some(slot) = store.pending.as_ref().or(store.master.as_ref()) {
                let load = ledger.load(name, &store.spec);
                ledger.before.entry(slot.host.clone()).or_default().add(load);
            }
        }
        ledger.after = ledger.before.clone();
        tasks.for_each(|task| ledger.carry_out(task));
        ledger
    }

    fn carry_out(&mut self, task: &Task) {
        let Some(name) = &task.store else { return };
        let known = self.cluster.stores.get(name);
        let (from, to, spec) = match &task.kind {
            TaskKind::HandOver { from, to } | TaskKind::FailOver { from, to, .. } => {
                let Some(known) = known else { return };
                let counted = known.pending.as_ref().or(known.master.as_ref()) == Some(from);
                (counted.then_some(from), to, &known.spec)
            }
            TaskKind::CreateStore { spec, master, .. } => (None, master, spec),
            _ => return,
        };
        let load = self.load(name, spec);
        if let Some(led) = from.and_then(|slot| self.after.get_mut(&slot.host)) {
            led.take(load);
        }
        self.after.entry(to.host.clone()).or_default().add(load);
    }

    fn load(&self, name: &StoreName, spec: &StoreSpec) -> u16 {
        self.file.and_then(|file| file.stores.get(name)).map_or(spec.load, |line| line.load)
    }

    /// Whether numbers of masters do not say all.
    pub fn is_declared(&self) -> bool {
        let lines = self.file.into_iter().flat_map(|file| file.stores.values()).map(|line| line.load);
        let weights = self.file.into_iter().flat_map(|file| file.hosts.values()).map(|host| host.weight);
        self.cluster.has_loads() || lines.chain(weights).any(|declared| declared != 1)
    }

    /// What a host bears of what it leads, in thousandths of an ordinary master on an ordinary host.
    pub fn level(&self, host: &HostName, led: Led) -> u64 {
        match self.file.and_then(|file| file.hosts.get(host)) {
            Some(line) => led.level(line.weight),
            None => self.cluster.level(host, led),
        }
    }

    /// What a host leads afterwards.
    pub fn then(&self, host: &HostName) -> Led {
        self.after.get(host).copied().unwrap_or_default()
    }

    /// The host that bears most, before the plan or after it; of equals the first.
    pub fn fullest<'l>(&self, hosts: &'l BTreeMap<HostName, Led>) -> Option<(&'l HostName, Led)> {
        let most = |(host, led): &(&HostName, &Led)| (self.level(host, **led), Reverse((*host).clone()));
        hosts.iter().max_by_key(most).map(|(host, led)| (host, *led))
    }

    /// `3 masters`, with what they weigh where loads are declared.
    pub fn words(&self, host: &HostName, led: Led) -> String {
        match self.is_declared() {
            true => format!("{} masters, declared load {}", led.masters, level_text(self.level(host, led))),
            false => format!("{} masters", led.masters),
        }
    }
}
