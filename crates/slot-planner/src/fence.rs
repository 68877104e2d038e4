//! Which hosts a failover switches off, and from where (R26).
//!
//! What always holds: power is cut only where the agent is silent, nothing better is known, and a host in another failure
//! domain can do it; the plan names the boot it ends and every copy that dies with it (R6).

use crate::Draft;
use crate::sheet;
use crate::view::View;
use slot_types::cluster::*;
use slot_types::fence::{FenceFrom, FenceSpec, SwitchOff};
use slot_types::ids::*;
use slot_types::plan::TaskKind;
use std::collections::{BTreeMap, BTreeSet};

/// A device that can be used, and whose agent would.
pub(crate) struct Switch<'a> {
    pub spec: &'a FenceSpec,
    pub by: &'a HostName,
    pub boot: BootId,
}

impl<'a> View<'a> {
    /// How a silent host could be switched off now.
    pub fn switch(&self, name: &HostName) -> Option<Switch<'a>> {
        let host = self.cluster.hosts.get(name)?;
        let boot = host.boot?;
        let spec = host.device.usable(boot, self.inputs.now)?;
        let mut others = self.cluster.hosts.iter().filter(|(other, there)| {
            let apart = match spec.from {
                FenceFrom::AnotherRack => there.at != host.at,
                FenceFrom::AnotherHost => *other != name,
            };
            apart && !matches!(there.declared, HostState::Off | HostState::Retired) && self.answers(other)
        });
        others.next().map(|(by, _)| Switch { spec, by, boot })
    }
}

/// The hosts of waived slots that are to be switched off, by whom, and how long that may take.
pub(crate) fn switches(view: &View<'_>, waived: &BTreeSet<SlotId>) -> Vec<(HostName, HostName, u64)> {
    let hosts: BTreeSet<&HostName> =
        waived.iter().filter(|s| view.fence(s) == FenceLevel::Device).map(|s| &s.host).collect();
    let needed = hosts.into_iter().filter(|host| !view.is_off(host));
    needed.filter_map(|host| view.switch(host).map(|s| (host.clone(), s.by.clone(), s.spec.timeout_ms))).collect()
}

/// Names every host that counts as fenced by its device, with all that dies there (R6).
pub(crate) fn name_switched_off(view: &View<'_>, draft: &mut Draft) {
    let mut hosts: BTreeSet<HostName> = BTreeSet::new();
    for task in &draft.tasks {
        if let TaskKind::FailOver { waived, .. } = &task.kind {
            hosts.extend(waived.iter().filter(|s| view.fence(s) == FenceLevel::Device).map(|s| s.host.clone()));
        }
    }
    for name in hosts {
        let Some(off) = switch_off(view, &name) else { continue };
        if off.by.is_some() {
            note(view, &name, &off, draft);
        }
        draft.switch_off.insert(name, off);
    }
}

fn switch_off(view: &View<'_>, name: &HostName) -> Option<SwitchOff> {
    let host = view.cluster.hosts.get(name)?;
    let copies = view.cluster.copies_on(name).filter(|(_, _, copy)| copy.state != CopyState::Retired);
    let kills = copies.map(|(_, slot, _)| slot.clone()).collect();
    if view.is_off(name) {
        let spec = host.device.spec.clone()?;
        return Some(SwitchOff { boot: host.boot?, by: None, spec, kills });
    }
    let switch = view.switch(name)?;
    Some(SwitchOff { boot: switch.boot, by: Some(switch.by.clone()), spec: switch.spec.clone(), kills })
}

/// R26: how many others die, and which of them this sheet does not give another master.
fn note(view: &View<'_>, name: &HostName, off: &SwitchOff, draft: &mut Draft) {
    let moved: BTreeSet<&SlotId> = draft
        .tasks
        .iter()
        .flat_map(|task| match &task.kind {
            TaskKind::FailOver { from, waived, .. } => waived.iter().chain([from]).collect::<Vec<_>>(),
            _ => Vec::new(),
        })
        .collect();
    let mut masters: BTreeMap<&SlotId, &StoreName> = BTreeMap::new();
    for (store, found) in view.cluster.masters_on(name) {
        masters.extend(found.master.iter().chain(&found.pending).filter(|s| s.host == *name).map(|s| (s, store)));
    }
    let left: Vec<&StoreName> = masters.iter().filter(|(slot, _)| !moved.contains(**slot)).map(|(_, s)| *s).collect();
    let copies = off.kills.iter().filter(|slot| !moved.contains(slot)).count();
    if copies > 0 {
        let text = format!("{} of {name} that this sheet does not move", sheet::count(copies, "copy", "copies"));
        draft.note("DIES TOO", text);
    }
    if !left.is_empty() {
        let text = format!("masters among them, which nobody serves then: {}", sheet::names(&left));
        draft.note("DIES TOO", text);
    }
}
