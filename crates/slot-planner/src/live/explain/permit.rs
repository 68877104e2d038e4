//! A host that a rule forbids, as it would be were it permitted.
//!
//! What always holds: what forbids is named by the rule that says so and lifted by itself, one thing after the other, each in a cluster in
//! which it really is otherwise; so none of it can be left out.

use super::{Judge, Looks, Taken};
use crate::explain::changed::{About, Changed, LIFTED_MAX};
use crate::layout::{NOWHERE, WhyNotHere};
use crate::live::{Chart, Stance};
use crate::refusal::WhyNot;
use crate::view::View;
use slot_types::evidence::Seen;
use slot_types::ids::*;
use slot_types::view::{Change, Were};
use std::collections::BTreeSet;

/// The nearest change with which a forbidden host would be the choice for a copy, or why none is said.
pub(super) fn nearest(
    view: &View<'_>,
    (name, slot): (&StoreName, &SlotId),
    host: &HostName,
    looks: &mut Looks,
) -> Result<Change, String> {
    let mut changed = Changed::of(view);
    let mut were = Vec::new();
    while were.len() < LIFTED_MAX {
        let lift = {
            let view = changed.view();
            let chart = Chart::of(&view, &BTreeSet::new(), |_, known| Stance::kept(known));
            if !looks.at_another(&chart) {
                return Err("the fleet is too large to look for one here; ask about one store".into());
            }
            let mut judge = Judge::of(&view, &chart);
            let copy = judge.find(name, slot).ok_or("the copy would have no place then")?;
            let number = chart.hosts.binary_search(&host).ok().and_then(|at| u32::try_from(at).ok());
            let number = number.ok_or("there is no such host")?;
            match judge.forbidden(copy, number) {
                Some(lift) => lift?,
                None => {
                    let nearest = judge.taken_up(copy, |judge| {
                        let able = judge.able(copy);
                        judge.nearest(copy, number, &able, looks.each)
                    })?;
                    return Ok(Change { were: were.into_iter().chain(nearest.were).collect(), ..nearest });
                }
            }
        };
        changed.make(About { store: name, host, like: slot }, &lift);
        were.push(lift);
    }
    Err("too much would have to be otherwise".into())
}

impl Judge<'_, '_> {
    /// What forbids a host, lifted; `None` where nothing does that room does not help.
    fn forbidden(&mut self, copy: Taken<'_>, host: u32) -> Option<Result<Were, String>> {
        let (why, helps) = self.taken_up(copy, |judge| {
            let why = judge.rank(copy, host).err()?;
            Some((why, judge.room_helps(copy, host, why)))
        })?;
        if helps {
            return None;
        }
        if matches!(why, WhyNotHere::Slots | WhyNotHere::Bytes { .. }) {
            return Some(self.disk_bytes(copy, host));
        }
        let name = self.chart.host(host);
        Some(match self.table.named(self.view, copy.store, host, why) {
            WhyNot::HostState(_) => Ok(Were::Active),
            WhyNot::HostQuarantined => Ok(Were::Admitted),
            WhyNot::HostSilent => Ok(Were::Heard),
            WhyNot::HostBusy => Ok(Were::Unclaimed),
            WhyNot::Pinned => Ok(Were::Allowed),
            WhyNot::DiskFull { .. } => self.disk_bytes(copy, host),
            WhyNot::SameDomain(other) if other.host == *name => self.elsewhere(copy, &other),
            WhyNot::SameDomain(other) => Ok(Were::ApartFrom(other)),
            why => Err(why.to_string()),
        })
    }

    /// Where else the copy that the host has would be.
    fn elsewhere(&mut self, copy: Taken<'_>, other: &SlotId) -> Result<Were, String> {
        let held = self.find(self.chart.store(copy.store), other).ok_or("its copy has no place")?;
        let from = self.chart.layout.copies(&self.chart.fleet, held.store)[held.nth];
        let fleet = &self.chart.fleet;
        let level = fleet.stores[held.store as usize].level;
        // Where it would not be in the way again.
        let best = self.taken_up(held, |judge| {
            let others = judge.table.hosts().filter(|host| !fleet.share(level, from, *host));
            others.filter_map(|host| judge.table.rank(held.store, held.nth, NOWHERE, host).ok()).min()
        });
        let best = best.ok_or_else(|| format!("no other host may have {other}"))?;
        Ok(Were::CopyOn { slot: other.clone(), to: self.chart.host(best.host).clone() })
    }

    /// The bytes that a disk lacks.
    fn disk_bytes(&self, copy: Taken<'_>, host: u32) -> Result<Were, String> {
        /// More than is ever kept free or still to come.
        const MUCH: u64 = 1 << 62;
        let (name, unknown) = (self.chart.host(host), "what its disk has free is not known");
        let disk = self.view.evidence.hosts.get(name).and_then(|seen| seen.disk.value()).ok_or(unknown)?;
        let mut evidence = self.view.evidence.clone();
        if let Some(Seen::Known { value, .. }) = evidence.hosts.get_mut(name).map(|seen| &mut seen.disk) {
            value.free_bytes = MUCH;
        }
        let spare = evidence.disk_to_spare(self.view.cluster, name).ok_or(unknown)?;
        let needed = (MUCH - spare).saturating_add(self.chart.takes[copy.store as usize]);
        Ok(Were::DiskBytes(needed.saturating_sub(disk.free_bytes)))
    }
}
