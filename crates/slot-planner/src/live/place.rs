//! Copies that have no place get one, by the engine; everything else stays.
//!
//! What always holds: each copy ends on the host that is best for it while all else is as the plan leaves it, so that why it is there
//! can be told copy by copy, best by the order of aims or by the weights of the cluster file; what gets no place has none on any host, each for the reason that is told, and that another packing
//! of what the plan builds would have had one is ruled out, or said not to be.

use super::packing::{Packed, Packing, Seat};
use super::weigh::Weighing;
use super::{Arrival, Chart, Slots, take};
use crate::layout::choice::{Rank, Seats};
use crate::layout::refine::refine;
use crate::layout::scale::Homeless;
use crate::layout::{Goal, Layout, NOWHERE, Outcome, WhyNotHere, Wish, figures, solve};
use crate::refusal::WhyNot;
use crate::view::View;
use slot_types::cluster::{HostState, Weights};
use slot_types::ids::*;
use std::collections::{BTreeMap, BTreeSet};

/// So often a problem is put to the engine anew where what it proposed found no slot.
const ROUNDS_MAX: usize = 16;
/// So often all copies are looked at again once one of them has found a better place.
const PASSES_MAX: usize = 8;
/// So many hosts are tried by weights for the master of a new store, those first that could weigh least.
const HEADS_MAX: usize = 64;

/// Copies that got a place, and those that did not.
pub(crate) struct Placed {
    slots: BTreeMap<u32, Vec<SlotId>>,
    beside: BTreeMap<SlotId, SlotId>,
    without: BTreeMap<u32, BTreeMap<HostName, WhyNot>>,
    is_most: bool,
}

impl Placed {
    /// The slots of a store's new copies, its master's first if that is one of them.
    pub fn of(&self, store: u32) -> &[SlotId] {
        self.slots.get(&store).map_or(&[], Vec::as_slice)
    }
    /// The lost copy in whose domain this slot is, if it is in one.
    pub fn beside(&self, slot: &SlotId) -> Option<&SlotId> {
        self.beside.get(slot)
    }
    /// Why each host may not have the copy of a store that has no place.
    pub fn why_not(&self, store: u32) -> Option<&BTreeMap<HostName, WhyNot>> {
        self.without.get(&store)
    }
    /// Whether no other packing has more copies, these going nowhere that is not free.
    pub fn is_most(&self) -> bool {
        self.is_most
    }
}

impl Chart<'_> {
    /// Places what has no place.
    pub fn place(&mut self, view: &View<'_>) -> Placed {
        let proposal = self.propose();
        let mut layout = self.layout.clone();
        if let Some(outcome) = proposal {
            self.accept(&outcome.layout, &mut layout);
        }
        let new = self.new_stores();
        if self.is_uniform(&new) {
            refine(&self.fleet, &mut layout, &new);
        }
        let fill = |weights: Option<Weights>| {
            let mut table = Table::by(self, &layout, weights);
            let open = table.open();
            let is_most = table.fill(&open, &new);
            (table, open, is_most)
        };
        let (mut table, mut open, mut is_most) = fill(self.weights);
        if table.weighing.as_ref().is_some_and(Weighing::is_spent) {
            // Of so much as is to be placed here domains are weighed for no copy.
            (table, open, is_most) = fill(self.weights.map(|weights| Weights { domain: 0, ..weights }));
        }
        table.finish(view, &open, is_most)
    }

    /// Whether the nth copy of a store, which has no place, may be on this very slot.
    pub fn may_take(&self, view: &View<'_>, (store, nth): (u32, usize), slot: &SlotId) -> Result<(), WhyNot> {
        let table = Table::of(self, &self.layout);
        let host = self.hosts.binary_search(&&slot.host).map_err(|_| WhyNot::NoCopy)?;
        let host = u32::try_from(host).map_err(|_| WhyNot::NoCopy)?;
        table.rank(store, nth, NOWHERE, host).map_err(|why| table.named(view, store, host, why))?;
        let size = self.fleet.stores[store as usize].size;
        let fits = self.free[host as usize].iter().any(|(bytes, number)| *number == slot.number && *bytes >= size);
        if fits { Ok(()) } else { Err(WhyNot::NoFreeSlot) }
    }

    /// Takes from a proposal where copies go that had no place; all else stays as it is.
    fn accept(&self, proposal: &Layout, layout: &mut Layout) {
        for store in 0..u32::try_from(self.stores.len()).unwrap_or(u32::MAX) {
            let range = self.fleet.range(store);
            let (held, found) = (&self.layout.at[range.clone()], &proposal.at[range.clone()]);
            let mut new = found.iter().copied().filter(|host| *host != NOWHERE && !held.contains(host));
            // Of a new store the engine chose the master as well: it is the first.
            for copy in range.filter(|copy| self.layout.at[*copy] == NOWHERE) {
                layout.at[copy] = new.next().unwrap_or(NOWHERE);
            }
        }
    }

    /// Stores of which nothing has a place yet.
    fn new_stores(&self) -> Vec<u32> {
        let all = 0..u32::try_from(self.stores.len()).unwrap_or(u32::MAX);
        all.filter(|store| self.layout.copies(&self.fleet, *store).iter().all(|host| *host == NOWHERE)).collect()
    }

    /// Whether every free slot is large enough for each of these stores.
    fn is_uniform(&self, stores: &[u32]) -> bool {
        let largest = stores.iter().map(|store| self.fleet.stores[*store as usize].size).max().unwrap_or(0);
        self.free.iter().flatten().all(|(size, _)| *size >= largest)
    }

    /// All slots of a new store, its master's first: those it has and those it got.
    pub fn slots_of(&self, store: u32, placed: &Placed) -> Vec<SlotId> {
        let held = self.layout.copies(&self.fleet, store).iter().filter_map(|host| self.slot(store, *host));
        held.chain(placed.of(store)).cloned().collect()
    }

    /// What the engine says, a copy without a slot being kept away, for the next round, from the host where there was none for it.
    fn propose(&mut self) -> Option<Outcome> {
        let exclusions = self.fleet.exclusions.clone();
        let mut last = None;
        for _ in 0..ROUNDS_MAX {
            let Ok(outcome) = solve(&self.fleet, &self.layout, &Goal::Place, &Wish::default()) else { break };
            let (_, without) = self.arrivals(&outcome);
            let stop = without.is_empty();
            last = Some(outcome);
            if stop {
                break;
            }
            without.into_iter().for_each(|(store, host)| self.exclude(store, host));
        }
        self.fleet.exclusions = exclusions;
        last
    }
}

/// The copies to be placed, while they are.
pub(super) struct Table<'c, 'a> {
    chart: &'c Chart<'a>,
    pub seats: Seats<'c>,
    free: Vec<BTreeSet<(u64, u16)>>,
    spare: Vec<Option<u64>>,
    given: Slots,
    /// The host of the lost copy beside which one is built.
    beside: BTreeMap<Arrival, u32>,
    /// How hosts are weighed, if they are.
    weighing: Option<Weighing<'c>>,
}

impl<'c, 'a> Table<'c, 'a> {
    pub fn of(chart: &'c Chart<'a>, layout: &Layout) -> Table<'c, 'a> {
        Table::by(chart, layout, chart.weights)
    }

    fn by(chart: &'c Chart<'a>, layout: &Layout, weights: Option<Weights>) -> Table<'c, 'a> {
        let seats = Seats::of(&chart.fleet, layout, &figures(&chart.fleet, layout));
        let (free, spare) = (chart.free.clone(), chart.spare.clone());
        let weighing = weights.map(|weights| Weighing::of(&chart.fleet, layout, weights));
        Table { chart, seats, free, spare, given: Slots::new(), beside: BTreeMap::new(), weighing }
    }

    /// Finds places for copies that have none, of these stores all copies; answers whether no packing has more of them.
    fn fill(&mut self, open: &[(u32, usize)], new: &[u32]) -> bool {
        self.name_slots(open);
        for &(store, nth) in open {
            if self.at(store, nth) == NOWHERE {
                self.settle(store, nth);
            }
        }
        let is_most = self.pack(open);
        // Of new stores all copies were placed together, and may be together better than each alone; but not by weights.
        let is_weighed = self.weighing.is_some();
        let alone = |store: &u32| is_weighed || new.binary_search(store).is_err();
        for _ in 0..PASSES_MAX {
            let mut moved = open.iter().filter(|(store, nth)| alone(store) && self.settle(*store, *nth)).count();
            moved += new.iter().filter(|store| self.settle_by_weight(**store)).count();
            if moved == 0 {
                break;
            }
        }
        is_most
    }

    /// The copies that have no place before, in order: (store, which of its copies).
    fn open(&self) -> Vec<(u32, usize)> {
        let (fleet, before) = (&self.chart.fleet, &self.chart.layout);
        let mut open = Vec::new();
        for store in 0..u32::try_from(self.chart.stores.len()).unwrap_or(u32::MAX) {
            let held = before.copies(fleet, store);
            if held.contains(&NOWHERE) {
                let now = self.seats.layout.copies(fleet, store).iter().enumerate();
                open.extend(
                    now.filter(|(_, host)| **host == NOWHERE || !held.contains(host)).map(|(nth, _)| (store, nth)),
                );
            }
        }
        open
    }

    fn at(&self, store: u32, nth: usize) -> u32 {
        self.seats.layout.copies(&self.chart.fleet, store)[nth]
    }

    fn size(&self, store: u32) -> u64 {
        self.chart.fleet.stores[store as usize].size
    }

    /// The slots of what the engine placed; what finds none is taken up again.
    fn name_slots(&mut self, open: &[(u32, usize)]) {
        let placed =
            open.iter().map(|(store, nth)| (*store, self.at(*store, *nth))).filter(|(_, host)| *host != NOWHERE);
        self.given = self.chart.slots(&placed.collect::<Vec<_>>());
        for ((store, host), slot) in &self.given {
            self.free[*host as usize].retain(|(_, number)| *number != slot.number);
            take(&mut self.spare[*host as usize], self.chart.takes[*store as usize]);
        }
        for &(store, nth) in open {
            let host = self.at(store, nth);
            if host != NOWHERE && !self.given.contains_key(&(store, host)) {
                self.seats.lift(store, nth);
            }
        }
    }

    /// Where copies have no place, those that have one step aside; answers whether no packing has more.
    fn pack(&mut self, open: &[(u32, usize)]) -> bool {
        if open.iter().all(|(store, nth)| self.at(*store, *nth) != NOWHERE) {
            return true;
        }
        let held: Vec<Option<(u32, usize)>> = open.iter().map(|(store, nth)| self.held(*store, *nth)).collect();
        let Packed { seats, is_most } = Packing::of(self.chart, open).pack(&held);
        if seats.iter().flatten().count() > held.iter().flatten().count() {
            self.seat(open, &seats);
        }
        is_most
    }

    /// The host of a copy that has its slot, and which of the host's free ones that is.
    fn held(&self, store: u32, nth: usize) -> Option<(u32, usize)> {
        let host = self.at(store, nth);
        let slot = self.given.get(&(store, host))?;
        let place = self.chart.free[host as usize].iter().position(|(_, number)| *number == slot.number)?;
        Some((host, place))
    }

    /// Puts all of them down anew.
    fn seat(&mut self, open: &[(u32, usize)], seats: &[Option<Seat>]) {
        for (store, nth) in open {
            self.seats.lift(*store, *nth);
        }
        (self.free, self.spare) = (self.chart.free.clone(), self.chart.spare.clone());
        self.beside.clear();
        for (&(store, nth), &(host, lost)) in
            open.iter().zip(seats).filter_map(|(copy, seat)| Some((copy, seat.as_ref()?)))
        {
            self.seats.put(store, nth, host);
            if lost != NOWHERE {
                self.beside.insert((store, host), lost);
            }
        }
        self.name_slots(open);
    }

    /// Puts one copy where it is best; answers whether that is another host than before.
    fn settle(&mut self, store: u32, nth: usize) -> bool {
        let before = self.take_up(store, nth);
        let lost = self.chart.lost.get(&store).map_or(&[][..], Vec::as_slice).iter().copied();
        let found =
            std::iter::once(NOWHERE).chain(lost).find_map(|instead| Some((self.best(store, nth, instead)?, instead)));
        let Some((rank, instead)) = found else { return before != NOWHERE };
        self.put_down(store, nth, rank.host);
        if instead != NOWHERE {
            self.beside.insert((store, rank.host), instead);
        }
        rank.host != before
    }

    /// Takes one copy up, its slot with it; answers where it was.
    fn take_up(&mut self, store: u32, nth: usize) -> u32 {
        let before = self.seats.lift(store, nth);
        if let Some(slot) = self.given.remove(&(store, before)) {
            let size = self.slot_size(&slot, before);
            self.free[before as usize].insert((size, slot.number));
            if let Some(spare) = &mut self.spare[before as usize] {
                *spare += self.chart.takes[store as usize];
            }
            self.beside.remove(&(store, before));
        }
        before
    }

    /// Puts it down on the smallest slot of a host that is large enough.
    fn put_down(&mut self, store: u32, nth: usize, host: u32) {
        if let Some((size, number)) = self.free[host as usize].range((self.size(store), 0)..).next().copied() {
            self.free[host as usize].remove(&(size, number));
            take(&mut self.spare[host as usize], self.chart.takes[store as usize]);
            self.given.insert((store, host), SlotId::new(self.chart.host(host).clone(), number));
        }
        self.seats.put(store, nth, host);
    }

    fn slot_size(&self, slot: &SlotId, host: u32) -> u64 {
        let all = &self.chart.free[host as usize];
        all.iter().find(|(_, number)| *number == slot.number).map_or(0, |(size, _)| *size)
    }

    pub fn hosts(&self) -> std::ops::Range<u32> {
        0..u32::try_from(self.chart.hosts.len()).unwrap_or(u32::MAX)
    }

    /// Whether a host may have a copy, and how good it is for it.
    pub fn rank(&self, store: u32, nth: usize, instead: u32, host: u32) -> Result<Rank, WhyNotHere> {
        let rank = self.seats.rank(store, nth, instead, host)?;
        match (self.fits(store, host), self.is_full(store, host)) {
            (_, true) => Err(WhyNotHere::Excluded),
            (true, false) => Ok(rank),
            (false, false) => Err(WhyNotHere::Slots),
        }
    }

    /// Whether a slot that is free is large enough.
    fn fits(&self, store: u32, host: u32) -> bool {
        self.free[host as usize].range((self.size(store), 0)..).next().is_some()
    }

    /// Whether a host's disk has less to spare than a copy takes.
    pub fn is_full(&self, store: u32, host: u32) -> bool {
        self.spare[host as usize].is_some_and(|spare| spare < self.chart.takes[store as usize])
    }

    fn best(&self, store: u32, nth: usize, instead: u32) -> Option<Rank> {
        let ranks: Vec<Rank> = self.hosts().filter_map(|host| self.rank(store, nth, instead, host).ok()).collect();
        match &self.weighing {
            Some(weighing) => weighing.best(&self.seats.layout, Homeless { store, nth, more: 0 }, ranks),
            None => ranks.into_iter().min(),
        }
    }

    /// Weighs hosts for a copy that is taken up, if hosts are weighed.
    pub fn weigh(&self, store: u32, nth: usize, ranks: &mut [Rank]) {
        if let Some(weighing) = &self.weighing {
            weighing.weigh(&self.seats.layout, Homeless { store, nth, more: 0 }, ranks);
        }
    }

    /// Puts all copies of a new store where they weigh least together: with each host for the master, each other where it is best
    /// then. Answers whether that is elsewhere than before, and weighs less.
    fn settle_by_weight(&mut self, store: u32) -> bool {
        let range = self.chart.fleet.range(store);
        let before = self.seats.layout.at[range.clone()].to_vec();
        if self.weighing.is_none() || before.contains(&NOWHERE) {
            return false;
        }
        let mut best = (self.sum(), before.clone());
        for nth in 0..range.len() {
            self.take_up(store, nth);
        }
        for master in self.heads(store) {
            // Those that are left weigh no less.
            if master.weighed >= best.0 {
                break;
            }
            self.put_down(store, 0, master.host);
            for nth in 1..range.len() {
                if let Some(rank) = self.best(store, nth, NOWHERE) {
                    self.put_down(store, nth, rank.host);
                }
            }
            let now = self.seats.layout.at[range.clone()].to_vec();
            let sum = if now.contains(&NOWHERE) { u64::MAX } else { self.sum() };
            if sum < best.0 {
                best = (sum, now);
            }
            for nth in 0..range.len() {
                self.take_up(store, nth);
            }
        }
        let all = best.1.iter().enumerate();
        all.for_each(|(nth, host)| self.put_down(store, nth, *host));
        best.1 != before
    }

    /// The hosts that may have the master of a store of which nothing is anywhere, with what each weighs at least.
    fn heads(&self, store: u32) -> Vec<Rank> {
        let ranks = self.hosts().filter_map(|host| self.rank(store, 0, NOWHERE, host).ok()).collect();
        let others = self.chart.fleet.range(store).len().saturating_sub(1) as u64;
        let master = Homeless { store, nth: 0, more: self.size(store).saturating_mul(others) };
        let mut heads = self.weighing.as_ref().map_or(vec![], |by| by.least(&self.seats.layout, master, ranks));
        heads.truncate(HEADS_MAX);
        heads
    }

    fn sum(&self) -> u64 {
        self.weighing.as_ref().map_or(0, |weighing| weighing.sum(&self.seats.layout))
    }

    fn finish(self, view: &View<'_>, open: &[(u32, usize)], is_most: bool) -> Placed {
        let mut placed = Placed { slots: BTreeMap::new(), beside: BTreeMap::new(), without: BTreeMap::new(), is_most };
        for &(store, nth) in open {
            let host = self.at(store, nth);
            match self.given.get(&(store, host)) {
                Some(slot) => {
                    let lost = self.beside.get(&(store, host)).and_then(|lost| self.chart.slot(store, *lost));
                    placed.beside.extend(lost.map(|lost| (slot.clone(), lost.clone())));
                    placed.slots.entry(store).or_default().push(slot.clone());
                }
                None => drop(placed.without.entry(store).or_insert_with(|| self.why_not(view, store, nth))),
            }
        }
        placed
    }

    fn why_not(&self, view: &View<'_>, store: u32, nth: usize) -> BTreeMap<HostName, WhyNot> {
        let why = |host| {
            Some((
                self.chart.host(host).clone(),
                self.named(view, store, host, self.rank(store, nth, NOWHERE, host).err()?),
            ))
        };
        self.hosts().filter_map(why).collect()
    }

    pub fn named(&self, view: &View<'_>, store: u32, host: u32, why: WhyNotHere) -> WhyNot {
        let name = self.chart.host(host);
        let held = |by: u32| self.chart.slot(store, by).or_else(|| self.given.get(&(store, by))).cloned();
        match why {
            WhyNotHere::State(_) => view.takes_copies(name).err().unwrap_or(WhyNot::HostState(HostState::Draining)),
            WhyNotHere::HasCopy => held(host).map_or(WhyNot::NoFreeSlot, WhyNot::SameDomain),
            WhyNotHere::SharesDomain { with } => held(with).map_or(WhyNot::NoFreeSlot, WhyNot::SameDomain),
            WhyNotHere::Excluded if self.chart.never_on.contains(&(store, host)) => WhyNot::Pinned,
            WhyNotHere::Excluded if self.is_full(store, host) => {
                let spare_bytes = self.spare[host as usize].unwrap_or_default();
                WhyNot::DiskFull { takes_bytes: self.chart.takes[store as usize], spare_bytes }
            }
            // Its slots are as many bytes as it may hold, so only what stays can have taken more than its own.
            WhyNotHere::Bytes { short } if self.fits(store, host) => WhyNot::Outgrown { short_bytes: short },
            WhyNotHere::Excluded | WhyNotHere::Bytes { .. } | WhyNotHere::Slots => WhyNot::NoFreeSlot,
        }
    }
}
