//! Why a master went to one copy and not to another that could take it as well.
//!
//! What always holds: copies are compared by the score that chooses among them, all else staying as it is; a change that is said to
//! make another one the choice was made on the same board, and the very search that plans chose that one; no change with fewer
//! masters does, unless it is said that the search was cut short.

use super::board::{Board, Score};
use super::{Item, Leads, NONE, Search};
use crate::handed::{HandOver, Sets};
use crate::live::FEWER_MAX;
use crate::view::View;
use slot_types::cluster::{ONE_STORE, level_text};
use slot_types::ids::*;
use slot_types::view::LedElsewhere;

/// A store's master taken up: the host that it goes to, and every host that could have it.
pub(crate) struct Choice<'c> {
    pub store: &'c StoreName,
    pub chosen: &'c HostName,
    pub able: &'c [&'c HostName],
}

/// Masters that would have to be led elsewhere.
pub(crate) struct Fewer {
    /// As few as possible; `None` where no set of them is enough.
    pub led_elsewhere: Option<Vec<LedElsewhere>>,
    /// Whether not all of the smaller sets were looked at.
    pub bounded: bool,
}

impl<'a> Leads<'a> {
    /// In what a host is worse for a store's master than the one that it goes to.
    pub fn why_not(&self, view: &View<'_>, choice: &Choice<'_>, host: &HostName) -> Option<String> {
        let mut others = self.taken_up(view, choice)?;
        Some(others.why(self.host(host)?))
    }

    /// The fewest masters off a host with which it would be the choice; so many stores are looked at at most.
    pub fn fewer(&self, view: &View<'_>, choice: &Choice<'_>, host: &HostName, looks: u64) -> Option<Fewer> {
        let mut others = self.taken_up(view, choice)?;
        Some(others.fewer(self.host(host)?, looks))
    }

    /// Whether it is the choice as things are.
    pub fn is_chosen(&self, view: &View<'_>, choice: &Choice<'_>, host: &HostName) -> bool {
        self.taken_up(view, choice).zip(self.host(host)).is_some_and(|(mut others, host)| others.is_chosen(host))
    }

    fn taken_up<'l, 'v>(&'l self, view: &'v View<'v>, choice: &Choice<'_>) -> Option<Others<'l, 'a, 'v>> {
        let (store, to) = self.store(choice.store).zip(self.host(choice.chosen))?;
        let mut hosts: Vec<u32> = choice.able.iter().filter_map(|host| self.host(host)).collect();
        hosts.sort_unstable();
        hosts.dedup();
        let mut load = view.loads();
        if let Some(led) = load.get_mut(self.hosts[self.lead[store as usize] as usize]) {
            *led = led.saturating_sub(self.load(store));
        }
        let items = vec![Item { store, hosts }];
        let board = Board::of(self, &|_| false, &items, &load);
        Some(Others { leads: self, view, board, items, store, to })
    }
}

/// The fleet with one master taken up.
struct Others<'l, 'a, 'v> {
    leads: &'l Leads<'a>,
    view: &'v View<'v>,
    board: Board<'l, 'a>,
    /// The one, with the hosts that could have it.
    items: Vec<Item>,
    store: u32,
    to: u32,
}

impl Others<'_, '_, '_> {
    fn score(&mut self, host: u32) -> Score {
        self.board.put(self.store, host);
        let score = self.board.score();
        self.board.lift(self.store);
        score
    }

    fn why(&mut self, host: u32) -> String {
        let chosen = self.leads.hosts[self.to as usize];
        let (here, there) = (self.score(host), self.score(self.to));
        let has_loads = self.view.cluster.has_loads();
        let alone = |level: u64| if has_loads { level_text(level) } else { level.div_ceil(ONE_STORE).to_string() };
        let said = |level: u64| match has_loads {
            true => format!("a declared load of {}", alone(level)),
            false => format!("{} masters", alone(level)),
        };
        if here < there {
            return format!(
                "this master alone would be better there; all of a plan are chosen together, and that gave {chosen}"
            );
        }
        if here.weighed != there.weighed {
            let more = (here.weighed - there.weighed).div_ceil(1000);
            format!(
                "by the weights of the cluster file it comes to {more} more than {chosen}: a host's loss could leave {} on \
                 one host, and the fullest would have {}; with {chosen} it is {} and {}",
                said(here.worst),
                alone(here.fullest),
                alone(there.worst),
                alone(there.fullest)
            )
        } else if here.worst != there.worst {
            let (here, there) = (said(here.worst), alone(there.worst));
            format!("a host's loss could leave {here} on one host; with {chosen} it is {there}")
        } else if here != there {
            let with = |host: u32| self.board.level(host, self.leads.load(self.store));
            format!("it would have {}, {chosen} would have {}", said(with(host)), alone(with(self.to)))
        } else {
            format!("it is as good as {chosen}; all masters of a plan are chosen together, and the first by name then")
        }
    }

    /// By the search of every plan, of this one master.
    fn is_chosen(&mut self, host: u32) -> bool {
        let bears = self.board.bears();
        // Each choice has its own looks, as a plan has.
        let looks = std::mem::take(&mut self.board.looks);
        let chosen = Search { items: &self.items, bears, board: &mut self.board }.best();
        if self.board.lead(self.store) != NONE {
            self.board.lift(self.store);
        }
        self.board.looks += looks;
        chosen.first().is_some_and(|nth| self.items[0].hosts[*nth] == host)
    }

    fn fewer(&mut self, host: u32, looks: u64) -> Fewer {
        let sets = Sets::of(self.hand_overs(host).into_iter());
        let (most, mut bounded) = (self.board.looks + looks, false);
        for size in 0..=FEWER_MAX {
            let mut found: Option<Vec<HandOver>> = None;
            sets.each(size, &mut |set| {
                if size > 0 && self.board.looks > most {
                    bounded = true;
                    return false;
                }
                set.iter().for_each(|(store, to)| self.hand_over(*store, *to));
                if self.is_chosen(host) {
                    found = Some(set.to_vec());
                }
                set.iter().rev().for_each(|(store, _)| self.hand_over(*store, host));
                found.is_none()
            });
            if found.is_some() || bounded {
                let told = |set: Vec<HandOver>| set.into_iter().filter_map(|(store, to)| self.told(store, host, to));
                return Fewer { led_elsewhere: found.map(|set| told(set).collect()), bounded };
            }
        }
        Fewer { led_elsewhere: None, bounded }
    }

    /// The masters of a host that can be handed over now, with what that changes: who leads one more, and who could take it over.
    fn hand_overs(&self, host: u32) -> Vec<(Vec<u32>, HandOver)> {
        let mut all = Vec::new();
        for store in self.board.led(host).iter().copied() {
            let heirs = &self.leads.heirs[store as usize];
            for to in heirs.iter().copied().filter(|to| self.told(store, host, *to).is_some()) {
                // Only what weighs alike stands for each other.
                let load = u32::from(self.leads.store_load[store as usize]);
                let effect = [load, to].into_iter().chain(heirs.iter().copied()).collect();
                all.push((effect, (store, to)));
            }
        }
        all
    }

    fn hand_over(&mut self, store: u32, to: u32) {
        self.board.lift(store);
        self.board.put(store, to);
    }

    /// A hand-over that can be made now, in slots.
    fn told(&self, store: u32, from: u32, to: u32) -> Option<LedElsewhere> {
        let name = self.leads.stores[store as usize];
        let known = self.view.cluster.stores.get(name).filter(|_| !self.view.inputs.busy_stores.contains(name))?;
        let master = self.view.master_well(name, known).ok().filter(|_| known.possible_masters.is_empty())?;
        let (from, to) = (self.leads.hosts[from as usize], self.leads.hosts[to as usize]);
        let mut takers = known.copies.keys().filter(|slot| slot.host == *to && master.host == *from);
        let slot = takers.find(|slot| self.view.handover_target(name, known, master, slot).is_ok())?;
        Some(LedElsewhere { store: name.clone(), to: slot.clone() })
    }
}
