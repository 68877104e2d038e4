//! Front ends: what their proxies serve, and what they say of it (R12, docs/adr/0022).
//!
//! What always holds: what is served is known from the maps that proxies have read, never from what a front end says; the
//! rules are written here again: no proxy goes back to an older table as long as it has its disk, nobody acknowledges what is
//! not served by every map, no plan says that a route is served before every front end had said so, and new connections are
//! held no longer than a freeze may last.

use super::Found;
use slot_machine::command::StepRef;
use slot_machine::state::State;
use slot_types::ids::*;
use slot_types::plan::StepKind;
use std::collections::{BTreeMap, BTreeSet};

/// The rule's name in a finding.
const RULE: &str = "ADR22";
/// What rendering and reloading may take after the freeze is over.
const SLACK_MS: u64 = 8_000;

type Age = (u32, Revision);

/// What is known of one.
#[derive(Default)]
struct Book {
    /// The table of which each map is.
    served: BTreeMap<MapName, Age>,
    /// The newest that it acknowledged, with this disk and ever.
    said: Option<Age>,
    ever_said: Option<Age>,
    /// Since when new connections of a store are held without a break.
    moving: BTreeMap<StoreName, u64>,
    runs: bool,
}

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct FrontEnds {
    all: BTreeMap<FrontEndName, Book>,
}

impl FrontEnds {
    fn book(&mut self, name: &FrontEndName) -> &mut Book {
        self.all.entry(name.clone()).or_default()
    }

    /// A proxy has read a map.
    pub fn loads(
        &mut self,
        found: &mut Found,
        name: &FrontEndName,
        map: &MapName,
        age: Age,
        moving: Option<&BTreeSet<StoreName>>,
    ) {
        let now = found.now;
        let book = self.book(name);
        if let Some(before) = book.served.insert(map.clone(), age).filter(|before| *before > age) {
            let text = format!("{name} serves {map} of revision {} again, after {}", age.1, before.1);
            found.say(RULE, text);
        }
        if let Some(moving) = moving {
            book.moving.retain(|store, _| moving.contains(store));
            for store in moving {
                book.moving.entry(store.clone()).or_insert(now);
            }
        }
    }

    /// A front end answers.
    pub fn says(&mut self, found: &mut Found, name: &FrontEndName, acknowledged: Option<Age>) {
        let book = self.book(name);
        let Some(age) = acknowledged else {
            if book.said.is_some() {
                found.say(RULE, format!("{name} says that it serves nothing, and has its disk"));
            }
            return;
        };
        let oldest = book.served.values().min().copied();
        if oldest.is_none_or(|oldest| oldest < age) {
            let at = oldest.map_or("nothing".into(), |oldest| format!("revision {}", oldest.1));
            found.say(RULE, format!("{name} acknowledges revision {}, its proxy serves {at}", age.1));
        }
        if book.said.is_some_and(|said| said > age) {
            found.say(RULE, format!("{name} acknowledges revision {}, it did a newer one before", age.1));
        }
        book.said = book.said.max(Some(age));
        book.ever_said = book.ever_said.max(Some(age));
    }

    /// Its process starts or ends.
    pub fn runs(&mut self, name: &FrontEndName, starts: bool, now: u64) {
        self.book(name).runs = starts;
        self.disturbed(name, now);
    }

    /// It is kept from doing what it wants for a while.
    pub fn disturbed(&mut self, name: &FrontEndName, now: u64) {
        self.book(name).moving.values_mut().for_each(|since| *since = now);
    }

    /// Its disk, and with it every map, is gone.
    pub fn wiped(&mut self, name: &FrontEndName) {
        let book = self.book(name);
        *book = Book { ever_said: book.ever_said, ..Book::default() };
    }

    /// R12: time passes.
    pub fn hold_no_longer(&mut self, found: &mut Found, limit_ms: u64) {
        for (name, book) in self.all.iter_mut().filter(|(_, book)| book.runs && !book.moving.is_empty()) {
            let over = |since: u64| found.now > since.saturating_add(limit_ms).saturating_add(SLACK_MS);
            let late =
                book.moving.iter().find(|(_, since)| over(**since)).map(|(store, since)| (store.clone(), *since));
            if let Some((store, since)) = late {
                book.moving.remove(&store);
                let text =
                    format!("{name} holds new connections of {store} since {since}, a freeze ends in {limit_ms} ms");
                found.say("R12", text);
            }
        }
    }

    /// Hand-over 7: a step begins, as the log says.
    pub fn started(&self, found: &mut Found, state: &State, at: StepRef) {
        let (Some(record), Some(cluster)) = (state.plans.get(&at.plan), &state.cluster) else { return };
        let Some(task) = record.plan.tasks.get(usize::from(at.task)) else { return };
        let is_it = task.steps.get(usize::from(at.step)).is_some_and(|step| step.kind == StepKind::RouteServed);
        let store = task.store.as_ref().filter(|_| is_it).and_then(|name| cluster.stores.get(name));
        let Some(route) = store.and_then(|store| store.route.as_ref()) else { return };
        for name in cluster.front_ends.keys() {
            let said = self.all.get(name).and_then(|book| book.ever_said);
            if said.is_none_or(|said| said < (cluster.generation, route.revision)) {
                let text = format!("{} says that {name} serves revision {}, it said {said:?}", at.plan, route.revision);
                found.say(RULE, text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(what: impl FnOnce(&mut FrontEnds, &mut Found)) -> Vec<&'static str> {
        let (mut ends, mut found) = (FrontEnds::default(), Found::default());
        let map = |ends: &mut FrontEnds, found: &mut Found, n| {
            ends.loads(found, &name(), &"json".parse().unwrap(), (0, Revision(n)), None);
        };
        map(&mut ends, &mut found, 5);
        ends.says(&mut found, &name(), Some((0, Revision(5))));
        assert!(found.list.is_empty());
        what(&mut ends, &mut found);
        found.list.iter().map(|violation| violation.invariant).collect()
    }

    fn name() -> FrontEndName {
        "fe1".parse().unwrap()
    }

    #[test]
    fn going_back_and_saying_more_than_is_served_are_found() {
        let json: MapName = "json".parse().unwrap();
        assert_eq!(seen(|ends, found| ends.loads(found, &name(), &json, (0, Revision(4)), None)), [RULE]);
        assert_eq!(seen(|ends, found| ends.says(found, &name(), Some((0, Revision(6))))), [RULE]);
        assert_eq!(seen(|ends, found| ends.says(found, &name(), None)), [RULE]);
        let wiped = |ends: &mut FrontEnds, found: &mut Found| {
            ends.wiped(&name());
            ends.says(found, &name(), None);
            ends.loads(found, &name(), &json, (0, Revision(4)), None);
        };
        assert!(seen(wiped).is_empty(), "an empty disk remembers nothing");
    }

    #[test]
    fn r12_a_hold_that_outlasts_every_freeze_is_found_while_its_process_runs() {
        let held = |runs: bool| {
            seen(move |ends, found| {
                let moving = BTreeSet::from(["store1".parse().unwrap()]);
                ends.runs(&name(), runs, 0);
                ends.loads(found, &name(), &"json".parse().unwrap(), (0, Revision(5)), Some(&moving));
                found.now = 15_000 + SLACK_MS + 1;
                ends.hold_no_longer(found, 15_000);
            })
        };
        assert_eq!((held(true).as_slice(), held(false).is_empty()), (["R12"].as_slice(), true));
    }
}
