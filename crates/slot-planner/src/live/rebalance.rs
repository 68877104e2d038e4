//! Hosts even, by the engine: copies that are in order move, and masters are handed over, within a budget.
//!
//! What always holds: where hosts are to be filled, copies and masters go to these only; nothing moves of a store that is not in order; a store's hand-over comes before its copies move, unless its new
//! master is one that is built for it; a copy is destroyed only once the one built for it counts (S9); what gains most for each
//! byte comes first, and each move leaves the fleet no worse, so a plan that is stopped early was worth what it moved.

use super::merit::Standing;
use super::order::in_good_order;
use super::single::{Singles, are_counted};
use super::wanted::{Wanted, Worth};
use super::{Chart, Lead, ROUNDS_MAX, Slots, Stance};
use crate::copies::{build, destroy};
use crate::drain::hand_over;
use crate::layout::{self, Fleet, Move, NOWHERE, Outcome, RACK, Wish, solve};
use crate::leave::{Gone, live_domains, stays};
use crate::nothing::Nothing;
use crate::refusal::{Refusal, WhyNot};
use crate::view::View;
use crate::{Draft, sheet};
use slot_types::cluster::*;
use slot_types::hold::HoldOn;
use slot_types::ids::*;
use slot_types::plan::{Budget, Task};
use slot_types::render::size;
use std::collections::{BTreeMap, BTreeSet};

/// So many copies and masters one plan moves at most: a plan is one entry of the log, and is read by a person.
const MOVES_MAX: u32 = 1_000;
/// Bytes are let be where weights make copying dear.
const LET_BE_PPM: u64 = 1_000_000_000;

/// All hosts even.
pub(crate) fn rebalance(view: &View<'_>, budget: &Budget) -> Result<Draft, Refusal> {
    even(view, Wanted { budget, onto: None })
}

/// These hosts up to their share.
pub(crate) fn fill(view: &View<'_>, hosts: &BTreeSet<HostName>, budget: &Budget) -> Result<Draft, Refusal> {
    if hosts.is_empty() {
        return Err(Refusal::NothingToDo(Nothing::NoHosts));
    }
    for host in hosts {
        let known = view.cluster.hosts.get(host).ok_or_else(|| Refusal::UnknownHost(host.clone()))?;
        view.takes_copies(host).map_err(|why| match why {
            WhyNot::HostQuarantined => Refusal::HostQuarantined(host.clone()),
            WhyNot::HostBusy => Refusal::HostBusy(host.clone()),
            WhyNot::HostSilent => Refusal::HostSilent(host.clone()),
            _ => Refusal::HostIn { host: host.clone(), state: known.declared, needed: no_fill(known.declared) },
        })?;
    }
    even(view, Wanted { budget, onto: Some(hosts) })
}

/// What to do about a host that nothing may come to.
fn no_fill(state: HostState) -> &'static str {
    match state {
        HostState::Retired => "a retired host takes nothing any more; name another one",
        _ => "slotctl undrain host makes it Active, then ask again",
    }
}

fn even(view: &View<'_>, wanted: Wanted<'_>) -> Result<Draft, Refusal> {
    let budget = wanted.budget;
    // What a person holds stays; a hold on everything, or on what is asked for by name, is said as such.
    let all = view.cluster.holds.contains_key(&HoldOn::All);
    let held = |host: &HostName| !all && view.cluster.holds.contains_key(&HoldOn::Host(host.clone()));
    let named = |host: &HostName| wanted.onto.is_some_and(|onto| onto.contains(host));
    let hosts = view.cluster.hosts.keys().filter(|name| held(name) && !named(name)).cloned().collect();
    let chart =
        Chart::of(view, &hosts, |name, store| match all || view.cluster.holds_on_store(name).next().is_none() {
            true => stance(view, name, store, wanted),
            false => Stance::kept(store),
        });
    let before = Standing::of(&chart.fleet, &chart.layout);
    let moves_max = budget.max_moves.unwrap_or(MOVES_MAX).min(MOVES_MAX) as usize;
    let start = wanted.worth(view.policy(), &before, wanted.lacks(&chart, &chart.layout), 0);
    let mut best: Option<(Worth, Made<'_>, bool)> = None;
    for way in aims(view, &chart, &before) {
        let whole = course(view, chart.clone(), (&way, wanted), wish(view, budget));
        let is_cut = whole.moves() > moves_max;
        let made = if is_cut { part(view, &chart, (&way, wanted), &whole, moves_max) } else { whole };
        let worth = made.worth(view, wanted);
        if worth < start && best.as_ref().is_none_or(|(least, ..)| worth < *least) {
            best = Some((worth, made, is_cut));
        }
    }
    let Some((_, mut made, is_cut)) = best else {
        return Err(Refusal::NothingToDo(nothing(wanted, are_counted(&chart))));
    };
    (made.ways, made.after) = in_good_order(view.policy(), &chart.fleet, &chart.layout, made.ways);
    let mut draft = draft(view, &made, &before);
    if is_cut {
        let all = "only a part of what would make the hosts even; ask again afterwards";
        draft.note("NOT ALL", format!("at most {moves_max} copies and masters by one plan: {all}"));
    }
    Ok(draft)
}

/// What there is to say where nothing is found: that there is no move, where every single one was looked at.
fn nothing(wanted: Wanted<'_>, is_counted: bool) -> Nothing {
    match (wanted.onto.cloned(), is_counted) {
        (None, true) => Nothing::Even,
        (Some(hosts), true) => Nothing::Filled(hosts),
        (onto, false) => Nothing::NotFound(onto.unwrap_or_default()),
    }
}

/// One way to aim: how even bytes are to be, and whether copies are to be in different racks where their stores only ask for
/// different hosts.
struct Aim {
    bytes_ppm: u64,
    apart: bool,
}

/// The aims that are tried. In the order of aims there is one, or two where a rack could not be lost and copies further apart may
/// help; weights decide between more and less even bytes.
fn aims(view: &View<'_>, chart: &Chart<'_>, before: &Standing) -> Vec<Aim> {
    let usual = Wish::default().bytes_ppm;
    let bytes =
        if view.policy().weights.is_some() { vec![usual, 1_050_000, 1_200_000, LET_BE_PPM] } else { vec![usual] };
    let close = |store: &layout::Store| store.level < RACK && store.copies > 1;
    let apart = before.domains > 0 && chart.fleet.stores.iter().any(close);
    let both = |bytes_ppm| [true, false].map(|apart| Aim { bytes_ppm, apart });
    bytes.into_iter().flat_map(both).filter(|aim| apart || !aim.apart).collect()
}

/// What the engine's solutions come to, and the fleet after them.
pub(super) struct Made<'a> {
    ways: Vec<Way<'a>>,
    waves: usize,
    pub after: Standing,
    /// What hosts that are to be filled lack then.
    lacks: u64,
}

impl Made<'_> {
    /// Copied so far.
    pub fn bytes(&self) -> u64 {
        self.ways.iter().map(Way::bytes).fold(0, u64::saturating_add)
    }
    /// Copies and masters together.
    fn moves(&self) -> usize {
        self.ways.iter().map(|way| usize::from(way.copy.is_some()) + usize::from(way.hand_over.is_some())).sum()
    }
    pub fn worth(&self, view: &View<'_>, wanted: Wanted<'_>) -> Worth {
        wanted.worth(view.policy(), &self.after, self.lacks, self.bytes())
    }
    /// Nothing done.
    fn none(chart: &Chart<'_>, wanted: Wanted<'_>) -> Self {
        let after = Standing::of(&chart.fleet, &chart.layout);
        Made { ways: Vec::new(), waves: 0, after, lacks: wanted.lacks(chart, &chart.layout) }
    }
}

/// Solutions one after another, as long as each makes the fleet better: what one leaves uneven the next looks at again.
fn course<'a>(view: &'a View<'a>, mut chart: Chart<'a>, (aim, wanted): (&Aim, Wanted<'_>), mut left: Wish) -> Made<'a> {
    let goal = wanted.goal(&chart);
    left.bytes_ppm = aim.bytes_ppm;
    // What is left of a slot is room again once the plan is done.
    let whole = chart.fleet.clone();
    // What found no slot is held for the engine; a single move of it may well have one.
    let mut open = chart.clone();
    let mut made = Made::none(&chart, wanted);
    for round in 1..=ROUNDS_MAX {
        let fleet = if aim.apart { chart.further_apart() } else { chart.fleet.clone() };
        let fleet = wanted.capped(&chart, fleet);
        let Ok(found) = solve(&fleet, &chart.layout, &goal, &left) else { break };
        let (ways, slots, stuck) = ways_of(view, &chart, &found, wanted);
        if !stuck.is_empty() && round < ROUNDS_MAX {
            stuck.into_iter().for_each(|store| chart.hold(store));
            continue;
        }
        chart.carry_out(&found, &slots, &stuck);
        let (was, bytes) = (made.worth(view, wanted), made.bytes());
        let more = ways.iter().map(Way::bytes).fold(0, u64::saturating_add);
        let after = Standing::of(&whole, &chart.layout);
        let lacks = wanted.lacks(&chart, &chart.layout);
        if ways.is_empty() || wanted.worth(view.policy(), &after, lacks, bytes.saturating_add(more)) >= was {
            break;
        }
        open.carry_out(&found, &slots, &stuck);
        left.max_bytes = left.max_bytes.saturating_sub(more);
        made.waves += found.waves.last().map_or(0, |last| *last as usize + 1);
        made.ways.extend(ways);
        (made.after, made.lacks) = (after, lacks);
    }
    one_by_one(view, open, (&whole, wanted), left, &mut made);
    made
}

/// Single moves, the best one each time, until none makes the fleet better.
fn one_by_one<'a>(
    view: &'a View<'a>,
    mut open: Chart<'a>,
    (whole, wanted): (&Fleet, Wanted<'_>),
    mut left: Wish,
    made: &mut Made<'a>,
) {
    loop {
        let better = Singles { view, chart: &open, whole, wanted, left: &left }.better(made);
        let able = better.into_iter().find_map(|found| {
            let (ways, slots, stuck) = ways_of(view, &open, &found, wanted);
            stuck.is_empty().then_some((found, ways, slots))
        });
        let Some((found, ways, slots)) = able else { return };
        open.carry_out(&found, &slots, &BTreeSet::new());
        left.max_bytes = left.max_bytes.saturating_sub(found.bytes);
        made.waves += usize::from(found.bytes > 0);
        made.ways.extend(ways);
        (made.after, made.lacks) = (Standing::of(whole, &open.layout), wanted.lacks(&open, &open.layout));
    }
}

/// The part of a course that so many moves reach: of hand-overs first, which cost no bytes, and of copies first the better one.
fn part<'a>(
    view: &'a View<'a>,
    chart: &Chart<'a>,
    (aim, wanted): (&Aim, Wanted<'_>),
    whole: &Made<'a>,
    moves: usize,
) -> Made<'a> {
    let in_order: Vec<&StoreName> = whole.ways.iter().map(|way| way.name).collect();
    let with_copies = whole.ways.iter().filter(|way| way.copy.is_some()).map(|way| way.name);
    let copies_first: Vec<&StoreName> = with_copies.chain(in_order.iter().copied()).collect();
    let mut best = Made::none(chart, wanted);
    for order in [in_order, copies_first] {
        let mut taken = moves;
        while taken > 0 {
            let stores: BTreeSet<&StoreName> = order.iter().take(taken).copied().collect();
            let mut part = chart.clone();
            (0..).zip(&chart.stores).filter(|(_, name)| !stores.contains(*name)).for_each(|(store, _)| part.pin(store));
            part.sort();
            let made = course(view, part, (aim, wanted), wish(view, wanted.budget));
            if made.moves() <= moves {
                if made.worth(view, wanted) < best.worth(view, wanted) {
                    best = made;
                }
                break;
            }
            taken /= 2;
        }
    }
    best
}

/// What of a store may move: nothing that is busy, in doubt, or needed until it is whole again.
fn stance(view: &View<'_>, name: &StoreName, store: &Store, wanted: Wanted<'_>) -> Stance {
    let mut stance = Stance::kept(store);
    let settled = !view.inputs.busy_stores.contains(name) && store.possible_masters.is_empty();
    let Some(master) = view.master_well(name, store).ok().filter(|_| settled) else { return stance };
    // A host that a running plan holds is left to that plan.
    if view.inputs.busy_hosts.contains(&master.host) {
        return stance;
    }
    let replicas = || store.copies.iter().filter(|(slot, _)| *slot != master);
    let leads = replicas().filter(|(slot, _)| view.handover_target(name, store, master, slot).is_ok());
    stance.lead = Lead::Or(leads.map(|(slot, _)| slot.clone()).collect());
    let in_order = |(slot, copy): &(&SlotId, &Copy)| {
        let others = live_domains(view, name, store, &BTreeSet::from([(*slot).clone()]));
        copy.whole
            && copy.state == CopyState::Serving
            && view.answers(&slot.host)
            && !view.inputs.busy_hosts.contains(&slot.host)
            && stays(view, name, store, slot).is_none()
            && others.len() + 1 >= usize::from(store.spec.copies)
    };
    stance.movable = store.copies.iter().filter(in_order).map(|(slot, _)| slot.clone()).collect();
    if matches!(&stance.lead, Lead::Or(leads) if leads.is_empty()) {
        // Nobody can take over, so the master's copy stays where it is.
        stance.movable.remove(master);
        stance.lead = Lead::Kept;
    }
    if let Lead::Or(leads) = &mut stance.lead {
        leads.retain(|slot| wanted.may_get(&slot.host));
    }
    stance
}

fn wish(view: &View<'_>, budget: &Budget) -> Wish {
    let policy = view.policy();
    Wish {
        max_bytes: budget.max_bytes.unwrap_or(u64::MAX),
        min_gain_ppm: u64::from(budget.min_gain_ppm),
        per_host: u32::from(policy.copy_per_host),
        per_domain: u32::from(policy.copy_per_domain),
        in_all: u32::from(policy.copy_at_once),
        ..Wish::default()
    }
}

/// One of the engine's moves, in slots.
pub(super) struct Way<'a> {
    /// As the engine numbers it.
    pub one: Move,
    name: &'a StoreName,
    store: &'a Store,
    /// The master goes from here to there.
    hand_over: Option<(SlotId, SlotId)>,
    /// The copy here is built there.
    copy: Option<(SlotId, SlotId)>,
}

impl Way<'_> {
    fn bytes(&self) -> u64 {
        if self.copy.is_some() { self.store.spec.size_bytes } else { 0 }
    }
    /// Where something goes.
    fn targets(&self) -> impl Iterator<Item = &SlotId> {
        [&self.hand_over, &self.copy].into_iter().flatten().map(|(_, to)| to)
    }
}

/// The moves that can be carried out, with their slots, and the stores of which one can't: all of such a store is left out.
fn ways_of<'a>(
    view: &View<'a>,
    chart: &Chart<'a>,
    outcome: &Outcome,
    wanted: Wanted<'_>,
) -> (Vec<Way<'a>>, Slots, BTreeSet<u32>) {
    let (slots, without) = chart.arrivals(outcome);
    let mut stuck: BTreeSet<u32> = without.into_iter().map(|(store, _)| store).collect();
    let mut gone: BTreeMap<u32, Gone> = BTreeMap::new();
    let mut found: Vec<(u32, Way<'a>)> = Vec::new();
    for one in &outcome.moves {
        let first = gone.get(&one.store).is_none_or(|gone| gone.built == 0);
        let way = way(view, chart, &slots, one, gone.entry(one.store).or_default(), first);
        match way.filter(|way| way.targets().all(|to| wanted.may_get(&to.host))) {
            Some(way) => found.push((one.store, way)),
            None => drop(stuck.insert(one.store)),
        }
    }
    let able = found.into_iter().filter(|(store, _)| !stuck.contains(store)).map(|(_, way)| way).collect();
    (able, slots, stuck)
}

fn way<'a>(
    view: &View<'a>,
    chart: &Chart<'a>,
    slots: &Slots,
    one: &Move,
    gone: &mut Gone,
    first: bool,
) -> Option<Way<'a>> {
    let (name, store) = view.cluster.stores.get_key_value(chart.store(one.store))?;
    let slot = |host: u32| slots.get(&(one.store, host)).or_else(|| chart.slot(one.store, host)).cloned();
    let copy = match (one.from, one.to) {
        (NOWHERE, NOWHERE) => None,
        (NOWHERE, _) | (_, NOWHERE) => return None,
        (from, _) if chart.fleet.is_pinned(one.store, from) => return None,
        (from, to) => Some((slot(from)?, slots.get(&(one.store, to))?.clone())),
    };
    let hand_over = match one.master {
        NOWHERE => None,
        host if !chart.fleet.may_become_master(one.store, host) => return None,
        // After a copy of it has moved, not every follower a hand-over names would be there.
        _ if !first => return None,
        host => Some((store.master.clone()?, slot(host)?)),
    };
    if let Some((from, _)) = &copy {
        gone.stays_whole(view, (name, store), from).ok()?;
        gone.left.insert(from.clone());
        gone.built += 1;
    }
    Some(Way { one: *one, name, store, hand_over, copy })
}

fn draft<'a>(view: &'a View<'a>, made: &Made<'a>, first: &Standing) -> Draft {
    let mut sheet = Sheet { view, draft: Draft::default(), last: BTreeMap::new(), turn: 0 };
    let (mut copies, mut bytes) = (0usize, 0u64);
    for way in &made.ways {
        let is_built = matches!((&way.hand_over, &way.copy), (Some((_, to)), Some((_, built))) if to == built);
        if !is_built {
            sheet.lead(way);
        }
        let Some((from, to)) = &way.copy else { continue };
        sheet.chain(way, |after| build(way.name, way.store, to, Some(from), after));
        if is_built {
            sheet.lead(way);
        }
        if let Some(held) = way.store.copies.get(from) {
            sheet.chain(way, |after| destroy(way.name, way.store, from, held, after));
        }
        (copies, bytes) = (copies + 1, bytes.saturating_add(way.bytes()));
    }
    let Sheet { view, mut draft, .. } = sheet;
    sheet::where_to(view, None, &mut draft);
    note_figures(first, &made.after, view.cluster.has_loads(), &mut draft);
    if copies > 0 {
        let moved = sheet::count(copies, "copy moves", "copies move");
        let waves = sheet::count(made.waves.min(copies), "wave", "waves");
        draft.note("DATA", format!("{moved}, at most {} in {waves}, what gains most for each byte first", size(bytes)));
    }
    draft
}

/// A plan while its tasks are written down; those about one store are a chain.
struct Sheet<'a> {
    view: &'a View<'a>,
    draft: Draft,
    last: BTreeMap<&'a StoreName, u16>,
    turn: usize,
}

impl<'a> Sheet<'a> {
    fn chain(&mut self, way: &Way<'a>, task: impl FnOnce(Vec<u16>) -> Task) {
        let after = self.last.get(way.name).copied().into_iter().collect();
        self.last.insert(way.name, self.draft.push(task(after)));
    }

    fn lead(&mut self, way: &Way<'a>) {
        let Some((from, to)) = &way.hand_over else { return };
        let (view, turn) = (self.view, self.turn);
        self.chain(way, |after| hand_over(view, way.name, way.store, from, to, after, turn));
        self.turn += 1;
    }
}

/// The fleet before the plan and after it.
fn note_figures(first: &Standing, last: &Standing, has_loads: bool, draft: &mut Draft) {
    let per_cent = |ppm: u64| ppm.div_ceil(10_000);
    let (before, after) = (&first.figures, &last.figures);
    let levels = [before.worst_survivor, after.worst_survivor, after.worst_survivor_bound];
    let text = match has_loads {
        true => {
            let [before, after, least] = levels.map(level_text);
            format!("{before} -> {after} of declared load (no layout: {least})")
        }
        false => {
            let [before, after, least] = levels.map(|level| level.div_ceil(ONE_STORE));
            format!("{before} -> {after} masters (no layout: {least})")
        }
    };
    draft.note("EVENNESS", format!("after the loss of any one host the fullest has at most {text}"));
    draft.note(
        "EVENNESS",
        format!(
            "fullest host {}% -> {}% of its fair share of bytes",
            per_cent(before.bytes_max_ppm),
            per_cent(after.bytes_max_ppm)
        ),
    );
    if (first.domains, last.domains) != (0, 0) {
        let text = "racks and sites that could not be lost: no copy left, or no room for what was there";
        draft.note("EVENNESS", format!("{text}: {} -> {}", first.domains, last.domains));
    }
}
