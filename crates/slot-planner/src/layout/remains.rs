//! Which hard rules a layout leaves broken, each by name, and why.
//!
//! What always holds: there is one entry for each violation that [`violations`](super::violations) counts; a reason that
//! [is proven](Why::is_proven) is a counting argument about every layout that any order of moves leads to, from the layout before or from the one
//! after, so no planner would mend it with these hosts, pins and exclusions; everything else says what was looked for.
//!
//! The arguments only know what never changes: a copy that is pinned, or of which nothing can be read, stays; what stays on a host is
//! no room; a copy goes to no host that is not active, that its store is kept away from, that is too small, or that
//! shares a domain with a copy of the store that stays.

use super::figures::violations;
use super::goal::{Goal, Wish};
use super::model::*;
use super::rules::Rule;
use super::solve::wanted;
use slot_types::render::size;
use std::collections::BTreeSet;

/// A rule that is broken: of a store or of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remains {
    /// Which rule.
    pub rule: Rule,
    /// Whose: [`NOWHERE`] where it is a host's own.
    pub store: u32,
    /// Where; [`NOWHERE`] of a copy that is nowhere.
    pub host: u32,
    /// The host of the copy that is too near.
    pub with: Option<u32>,
    /// Why it remains.
    pub why: Why,
}

/// Why a rule remains broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// Nothing of the store can be read, so nothing of it can be built.
    Lost,
    /// What would have to move is pinned or held.
    Pinned,
    /// No host may take the copy, whatever else moves: each is not active, excluded, too small, or too near a copy that stays.
    NoHost,
    /// A store's copies need more domains than there are that may hold one.
    Domains {
        /// Copies it asks for, or has.
        copies: u32,
        /// Domains that hold one or may.
        domains: u32,
    },
    /// What cannot leave a host is more than it may hold.
    Stays {
        /// Bytes of it.
        bytes: u64,
        /// Copies of it.
        copies: u32,
    },
    /// All copies that have to be on active hosts need more than these hold: not all can be mended.
    Bytes {
        /// Bytes needed.
        needed: u64,
        /// Bytes they may hold.
        room: u64,
    },
    /// The same in copies and slots.
    Slots {
        /// Copies.
        needed: u64,
        /// Slots.
        room: u64,
    },
    /// The goal does not let move what would have to.
    NotAsked,
    /// There was a budget: what needs room made for it is not looked for within one.
    Budget,
    /// No place was found that is free while all else stays. A rebalance looks for copies that make way.
    NoPlace,
    /// No order of moves was found. There may be one.
    NotFound,
}

impl Why {
    /// Whether this is no matter of how well was searched.
    pub fn is_proven(self) -> bool {
        !matches!(self, Why::NotAsked | Why::Budget | Why::NoPlace | Why::NotFound)
    }
    /// In one word, for programs.
    pub fn code(self) -> &'static str {
        match self {
            Why::Lost => "lost",
            Why::Pinned => "pinned",
            Why::NoHost => "no_host",
            Why::Domains { .. } => "domains",
            Why::Stays { .. } => "stays",
            Why::Bytes { .. } => "bytes",
            Why::Slots { .. } => "slots",
            Why::NotAsked => "not_asked",
            Why::Budget => "budget",
            Why::NoPlace => "no_place",
            Why::NotFound => "not_found",
        }
    }
    /// Whether it rules out that this very violation is mended; otherwise only that all are that have it.
    pub fn is_about_each(self) -> bool {
        matches!(self, Why::Lost | Why::Pinned | Why::NoHost | Why::Stays { .. })
    }
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Why::Lost => f.write_str("nothing of the store can be read, so nothing of it can be built"),
            Why::Pinned => f.write_str("what would have to move is pinned, held or not to be touched now"),
            Why::NoHost => f.write_str(
                "no host may take it, whatever else moves: each gets nothing, is excluded, too small or too near a copy that \
                 stays",
            ),
            Why::Domains { copies, domains } => {
                write!(f, "the store's {copies} copies need as many failure domains; those that hold one or may: {domains}")
            }
            Why::Stays { bytes, copies } => {
                write!(f, "what can go nowhere else is more than it may hold: {} in {copies} of its copies", size(*bytes))
            }
            Why::Bytes { needed, room } => {
                let (needed, room) = (size(*needed), size(*room));
                write!(f, "not all can be mended: what has to be on active hosts is {needed}, and they may hold {room}")
            }
            Why::Slots { needed, room } => write!(
                f,
                "not all can be mended: {needed} copies have to be on active hosts, and they have {room} slots"
            ),
            Why::NotAsked => f.write_str("nothing was asked that lets what would have to move move: ask for a rebalance"),
            Why::Budget => {
                f.write_str("not within the budget; with one, no copies are moved to make way: ask without a budget")
            }
            Why::NoPlace => f.write_str("no place is free while all else stays: a rebalance looks for copies that make way"),
            Why::NotFound => f.write_str(
                "no order of moves was found, though there may be one: single steps, chains of four copies that make way, and \
                 copies that wander were tried",
            ),
        }
    }
}

impl Remains {
    /// In one sentence, with the names of what is numbered.
    pub fn said<'a>(&self, store: impl Fn(u32) -> &'a str, host: impl Fn(u32) -> &'a str) -> String {
        format!("{}; {}", self.what(store, host), self.why)
    }
    /// The same without why.
    pub fn what<'a>(&self, store: impl Fn(u32) -> &'a str, host: impl Fn(u32) -> &'a str) -> String {
        let at = || host(self.host);
        let what = match (self.rule, self.with) {
            (Rule::Apart, Some(with)) => format!("copies on {} and {} share a failure domain", at(), host(with)),
            (Rule::Copies, _) if self.host == NOWHERE => "a copy is missing".into(),
            (Rule::Copies, _) => format!("a copy is on {}, which is down", at()),
            (Rule::Hosts, _) => format!("a copy is on {}, which is to be left", at()),
            (Rule::Excluded, _) => format!("a copy is on {}, which it is kept away from", at()),
            (Rule::Masters, _) if self.host == NOWHERE => "it has no master".into(),
            (Rule::Masters, _) => format!("its master is on {}, which is not active", at()),
            (Rule::Bytes, _) => "more bytes than it may hold".into(),
            (Rule::Slots, _) => "more copies than slots".into(),
            (rule @ (Rule::Apart | Rule::Pinned), _) => rule.to_string(),
        };
        let whose = if self.store == NOWHERE { at() } else { store(self.store) };
        format!("{whose}: {what}")
    }
}

/// What is broken in the layout after, planned from the one before: by rule, store and host.
pub fn remains(fleet: &Fleet, (before, after): (&Layout, &Layout), goal: &Goal, wish: &Wish) -> Vec<Remains> {
    let Ok(fleet) = wanted(fleet, before, goal) else { return Vec::new() };
    if violations(&fleet, after).total() == 0 {
        return Vec::new();
    }
    let looked = Looked::of(&fleet, before, after);
    let mut found = looked.of_stores();
    found.extend(looked.of_hosts());
    for one in &mut found {
        if one.why == Why::NotFound {
            one.why = looked.together(one.rule).unwrap_or_else(|| not_found(goal, wish, one));
        }
    }
    found.sort_unstable();
    found
}

/// What is said of what is not proven.
fn not_found(goal: &Goal, wish: &Wish, one: &Remains) -> Why {
    let asked = match goal {
        Goal::Rebalance | Goal::Fill { .. } if wish.is_bounded() => return Why::Budget,
        Goal::Rebalance | Goal::Fill { .. } => return Why::NotFound,
        Goal::Rebuild | Goal::Drain { empty: true, .. } => matches!(one.rule, Rule::Copies | Rule::Hosts),
        Goal::Place => one.rule == Rule::Copies && one.host == NOWHERE,
        Goal::Drain { empty: false, .. } | Goal::FailOver => false,
    };
    match asked {
        false => Why::NotAsked,
        true if wish.is_bounded() => Why::Budget,
        true => Why::NoPlace,
    }
}

struct Looked<'a> {
    fleet: &'a Fleet,
    before: &'a Layout,
    after: &'a Layout,
    /// Bytes and copies on each host that never leave it.
    fixed: Vec<(u64, u32)>,
    tally: Tally,
}

impl<'a> Looked<'a> {
    fn of(fleet: &'a Fleet, before: &'a Layout, after: &'a Layout) -> Looked<'a> {
        let fixed = vec![(0, 0); fleet.hosts.len()];
        let mut looked = Looked { fleet, before, after, fixed, tally: Tally::without_pairs(fleet, after) };
        for store in 0..fleet.stores.len() as u32 {
            let size = fleet.stores[store as usize].size;
            for host in after.copies(fleet, store).iter().filter(|host| **host != NOWHERE) {
                if looked.is_fixed(store, *host) {
                    let fixed = &mut looked.fixed[*host as usize];
                    *fixed = (fixed.0 + size, fixed.1 + 1);
                }
            }
        }
        looked
    }
    /// Whether a copy stays where it is for good. One that came on the way could have gone elsewhere, whatever holds it now.
    fn is_fixed(&self, store: u32, host: u32) -> bool {
        let leads = |layout: &Layout| layout.master(self.fleet, store) == host;
        let leads_for_good = leads(self.before) && leads(self.after) && self.fleet.keeps_master(store);
        let held = self.fleet.is_pinned(store, host) || leads_for_good || self.fleet.is_lost(store, self.after);
        host != NOWHERE && held && self.before.copies(self.fleet, store).contains(&host)
    }
    /// Copies beyond what a store asks for may be dropped: nothing is proven of such a store.
    fn has_more(&self, store: u32) -> bool {
        self.fleet.range(store).len() > usize::from(self.fleet.stores[store as usize].copies)
    }
    /// Whether a host could ever take the copy of a store that is on `from`.
    fn could(&self, store: u32, from: u32, host: u32) -> bool {
        let (spec, on) = (&self.fleet.stores[store as usize], &self.fleet.hosts[host as usize]);
        let fixed = self.fixed[host as usize];
        let others = self.after.copies(self.fleet, store).iter().copied().filter(|other| *other != from);
        let mut stay = others.filter(|other| *other != NOWHERE && self.is_fixed(store, *other));
        host != from
            && on.is_active()
            && !self.fleet.is_excluded(store, host)
            && spec.size <= on.largest
            && fixed.0.saturating_add(spec.size) <= on.bytes
            && fixed.1 < on.slots
            && !stay.any(|other| self.fleet.share(spec.level, other, host))
    }
    /// Why a copy can go nowhere at all, if that is so.
    fn stuck(&self, store: u32, from: u32) -> Option<Why> {
        if self.fleet.is_lost(store, self.after) {
            return Some(Why::Lost);
        }
        if self.is_fixed(store, from) {
            return Some(Why::Pinned);
        }
        let open = !self.has_more(store) && !self.fleet.active().any(|host| self.could(store, from, host));
        open.then_some(Why::NoHost)
    }
    fn of_stores(&self) -> Vec<Remains> {
        let mut found = Vec::new();
        for (store, spec) in (0..).zip(&self.fleet.stores) {
            let copies = self.after.copies(self.fleet, store);
            let mut push = |rule, host, with, why: Option<Why>| {
                found.push(Remains { rule, store, host, with, why: why.unwrap_or(Why::NotFound) });
            };
            let near = |nth: usize| {
                let later = copies[nth + 1..].iter().copied().filter(|other| *other != NOWHERE);
                later.filter(move |other| self.fleet.share(spec.level, copies[nth], *other))
            };
            let is_near = (0..copies.len()).any(|nth| copies[nth] != NOWHERE && near(nth).next().is_some());
            for (nth, &host) in copies.iter().enumerate() {
                let state = if host == NOWHERE { State::Down } else { self.fleet.hosts[host as usize].state };
                let is_missing = matches!(state, State::Down | State::Retired) && nth < usize::from(spec.copies);
                if is_missing {
                    let few = || self.too_few_domains(store).filter(|_| !is_near);
                    push(Rule::Copies, host, None, self.stuck(store, host).or_else(few));
                }
                if state == State::Leaving {
                    push(Rule::Hosts, host, None, self.stuck(store, host));
                }
                if nth == 0 && state != State::Active {
                    push(Rule::Masters, host, None, self.leads_for_good(store));
                }
                if host == NOWHERE {
                    continue;
                }
                if self.fleet.is_excluded(store, host) {
                    push(Rule::Excluded, host, None, self.stuck(store, host));
                }
                for other in near(nth) {
                    let both = self.stuck(store, host).and_then(|why| self.stuck(store, other).map(|so| why.max(so)));
                    push(Rule::Apart, host, Some(other), both.or_else(|| self.too_few_domains(store)));
                }
            }
        }
        found
    }
    /// Whether a store has more copies than domains that hold one, or may.
    fn too_few_domains(&self, store: u32) -> Option<Why> {
        let copies = self.after.copies(self.fleet, store);
        let level = usize::from(self.fleet.stores[store as usize].level).min(LEVELS - 1);
        let there = copies.iter().chain(self.before.copies(self.fleet, store)).copied();
        let may = self.fleet.active().filter(|host| copies.iter().any(|from| self.could(store, *from, *host)));
        let mut domains = BTreeSet::new();
        for host in there.filter(|host| *host != NOWHERE).chain(may) {
            let domain = self.fleet.hosts[host as usize].domain[level];
            domains.insert(if level == 0 || domain == NOWHERE { (0, host) } else { (1, domain) });
        }
        let (copies, domains) = (copies.len() as u32, domains.len() as u32);
        (!self.has_more(store) && domains < copies).then_some(Why::Domains { copies, domains })
    }
    /// Why no copy of a store on an active host can be its master.
    fn leads_for_good(&self, store: u32) -> Option<Why> {
        if self.fleet.is_lost(store, self.after) {
            return Some(Why::Lost);
        }
        let master = self.after.master(self.fleet, store);
        if self.fleet.keeps_master(store) && self.is_fixed(store, master) {
            return Some(Why::Pinned);
        }
        let there = self.after.copies(self.fleet, store).iter().chain(self.before.copies(self.fleet, store));
        let leads = there.clone().any(|host| *host != NOWHERE && self.fleet.hosts[*host as usize].is_active());
        let stuck = || self.after.copies(self.fleet, store).iter().all(|host| self.stuck(store, *host).is_some());
        (!leads && stuck()).then_some(Why::NoHost)
    }
    fn of_hosts(&self) -> Vec<Remains> {
        let mut found = Vec::new();
        for (host, spec) in (0..).zip(&self.fleet.hosts).filter(|(_, spec)| spec.is_readable()) {
            let (bytes, copies) = (self.tally.bytes[host as usize], self.tally.slots[host as usize]);
            if bytes <= spec.bytes && copies <= spec.slots {
                continue;
            }
            let stays = self.staying(host);
            let why = Why::Stays { bytes: stays.0, copies: stays.1 };
            let mut push = |rule, proven: bool| {
                let why = if proven { why } else { Why::NotFound };
                found.push(Remains { rule, store: NOWHERE, host, with: None, why });
            };
            if bytes > spec.bytes {
                push(Rule::Bytes, stays.0 > spec.bytes);
            }
            if copies > spec.slots {
                push(Rule::Slots, stays.1 > spec.slots);
            }
        }
        found
    }
    /// Bytes and copies on a host that can go nowhere else.
    fn staying(&self, host: u32) -> (u64, u32) {
        let mut sum = (0, 0);
        for (store, spec) in (0..).zip(&self.fleet.stores) {
            let is_there = self.after.copies(self.fleet, store).contains(&host);
            if is_there && self.stuck(store, host).is_some() {
                sum = (sum.0 + spec.size, sum.1 + 1);
            }
        }
        sum
    }
    /// Whether what has to be on active hosts, all taken together, is more than they hold.
    fn together(&self, rule: Rule) -> Option<Why> {
        if !matches!(rule, Rule::Bytes | Rule::Slots | Rule::Copies | Rule::Hosts) {
            return None;
        }
        let (mut bytes, mut copies) = (0u64, 0u64);
        for (store, spec) in (0..).zip(&self.fleet.stores).filter(|(store, _)| !self.fleet.is_lost(*store, self.before))
        {
            // What is on a host that gets nothing may stay there.
            let may_stay = |layout: &Layout| {
                let there = layout.copies(self.fleet, store).iter().filter(|host| **host != NOWHERE);
                let spec = |host: &&u32| &self.fleet.hosts[**host as usize];
                there.filter(|host| !spec(host).is_active() && spec(host).state.may_keep()).count()
            };
            let elsewhere = may_stay(self.before).max(may_stay(self.after));
            let must = usize::from(spec.copies).saturating_sub(elsewhere) as u64;
            (bytes, copies) = (bytes.saturating_add(spec.size.saturating_mul(must)), copies + must);
        }
        let hosts = || self.fleet.active().map(|host| &self.fleet.hosts[host as usize]);
        let room = hosts().fold(0u64, |sum, host| sum.saturating_add(host.bytes));
        let slots: u64 = hosts().map(|host| u64::from(host.slots)).sum();
        if bytes > room {
            return Some(Why::Bytes { needed: bytes, room });
        }
        (copies > slots).then_some(Why::Slots { needed: copies, room: slots })
    }
}
