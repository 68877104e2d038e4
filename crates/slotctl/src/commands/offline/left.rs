//! What is broken in the end, by name: first what was asked for and is not so, then every other hard rule.
//!
//! What always holds: all are counted; of those that are named each says whether its reason is proven, or only that nothing was found.
//! What was asked for is counted from where the copies are then, whatever the planner says it did; while anything of it is left, the
//! command does not end as done.

use crate::failure::{Exit, Failure};
use crate::offline::{Loaded, Source};
use crate::text::layout::{count, wrap};
use serde::Serialize;
use slot_planner::layout::remains::{Remains, Why, remains};
use slot_planner::layout::*;
use std::collections::BTreeSet;

/// So many of what was asked for are named as the reason why the command failed.
const NAMES_MAX: usize = 20;
/// So many are shown.
const SHOWN_MAX: usize = 10;
/// So many are in a document.
const LISTED_MAX: usize = 10_000;
/// Of what nothing more is known.
const NOT_MENDED: &str = "this plan does not mend it, though there may be a way";
/// Of masters: what a cluster does about these is for a failover, not for a plan that places copies.
const NOT_LED: &str = "this plan was not asked to have another copy lead";

/// What a plan is asked to reach, as far as it can be seen in a layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// No masters on these hosts; with `empty`, no copies either.
    Drained {
        /// Which.
        hosts: Vec<u32>,
        /// Copies too.
        empty: bool,
    },
    /// Every copy that a store asks for has a place.
    Placed,
    /// As good as it gets.
    Even,
}

/// A copy that is not as it was asked to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Undone {
    store: u32,
    /// Where it still is; [`NOWHERE`] for one that is missing.
    host: u32,
    /// By the rule that it breaks.
    rule: Rule,
}

/// A hard rule that is broken when all moves are carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Left {
    /// `apart`, `bytes`, `slots`, `copies`, `excluded`, `hosts` or `masters`.
    rule: &'static str,
    /// Whose copies; null where it is the host's own.
    store: Option<String>,
    /// Where; null of a copy that is nowhere.
    host: Option<String>,
    /// The host of the copy that is too near.
    with: Option<String>,
    /// Whether it was asked for that this be mended, so that the command does not end as done.
    asked: bool,
    /// Whether no order of moves mends it, or with others all of them.
    proven: bool,
    /// Why, in one word.
    because: &'static str,
    /// All of it in a sentence.
    text: String,
}

/// What is broken in the end: how much in all, and the first of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AllLeft {
    left: Vec<Left>,
    left_count: usize,
    #[serde(skip)]
    proven: usize,
    /// How many copies are not as was asked, and the first of them.
    #[serde(skip)]
    undone: (u64, String),
}

impl AllLeft {
    /// What is broken in the layout after, of a fleet that is planned for from the one before.
    pub fn of(
        loaded: &Loaded,
        (fleet, before, after): (&Fleet, &Layout, &Layout),
        (goal, wish): (&Goal, &Wish),
        asked: &Asked,
    ) -> AllLeft {
        let all = remains(fleet, (before, after), goal, wish);
        let undone = undone(&in_states(fleet, goal), after, asked);
        let mut left: Vec<Left> = all.iter().map(|one| Left::of(loaded, one, is_asked(asked, one))).collect();
        // A copy more than a store asks for breaks no rule on a host that is down; it was to go all the same.
        let at = |host| if *asked == Asked::Placed { NOWHERE } else { host };
        let broken = all.iter().filter(|one| is_asked(asked, one)).map(|one| (one.store, at(one.host)));
        let broken: BTreeSet<(u32, u32)> = broken.collect();
        let others = undone.iter().filter(|one| !broken.contains(&(one.store, at(one.host))));
        left.extend(others.map(|one| Left::without_reason(loaded, *one)));
        left.sort_by_key(|one| !one.asked);
        let (left_count, proven) = (left.len(), left.iter().filter(|one| one.proven).count());
        left.truncate(LISTED_MAX);
        AllLeft { left, left_count, proven, undone: (undone.len() as u64, named(loaded, &undone)) }
    }
    /// As it is printed, if there is any.
    pub fn text(&self) -> String {
        if self.left_count == 0 {
            return String::new();
        }
        let how = match (self.proven, self.left_count - self.proven) {
            (_, 0) => "proven: no order of moves mends them all".into(),
            (0, _) => "nothing of it proven to be beyond mending".into(),
            (proven, _) => format!("{proven} of them proven: no order of moves mends all of these"),
        };
        let mut text = wrap("still broken ", &format!("{}, {how}", count(self.left_count as u64, "rule")));
        for one in self.left.iter().take(SHOWN_MAX) {
            text += &wrap(if one.asked { "  not done   " } else { "  broken     " }, &one.text);
        }
        if self.left_count > SHOWN_MAX {
            text += &wrap("  ", &format!("and {} more (--json FILE names them)", self.left_count - SHOWN_MAX));
        }
        text
    }
    /// Whether all that was asked for is so.
    pub fn exit(&self) -> Exit {
        if self.undone.0 == 0 { Exit::Done } else { Exit::Failed }
    }
    /// The same, with what is not so.
    pub fn ended(&self, operation: &str, subject: &str) -> Result<Exit, Failure> {
        let (copies, named) = &self.undone;
        if *copies == 0 {
            return Ok(Exit::Done);
        }
        let is = if *copies == 1 { "is" } else { "are" };
        let cause = format!("{} {is} not as was asked: {named}", count(*copies, "copy"));
        let next = "what was printed and written is as far as it goes: bring a host back, make room, or ask for less";
        Err(Failure::new(operation, subject, cause, next))
    }
}

impl Left {
    fn of(loaded: &Loaded, one: &Remains, asked: bool) -> Left {
        let what = one.what(|store| loaded.store(store), |host| loaded.host(host));
        // A cluster's planner has bounds of its own: how the engine looked is not to be said of it.
        let (because, why) = match (&loaded.source, one.why, one.rule) {
            (Source::Snapshot { .. }, Why::NotFound | Why::NoPlace, _) => (Why::NotFound, NOT_MENDED.to_owned()),
            (Source::Snapshot { .. }, Why::NotAsked, Rule::Masters) => (one.why, NOT_LED.to_owned()),
            _ => (one.why, one.why.to_string()),
        };
        Left {
            rule: rule(one.rule),
            store: (one.store != NOWHERE).then(|| loaded.store(one.store).to_owned()),
            host: host(loaded, one.host),
            with: one.with.and_then(|with| host(loaded, with)),
            asked,
            proven: one.why.is_proven(),
            because: because.code(),
            text: format!("{what}; {why}"),
        }
    }
    fn without_reason(loaded: &Loaded, one: Undone) -> Left {
        Left {
            rule: rule(one.rule),
            store: Some(loaded.store(one.store).to_owned()),
            host: host(loaded, one.host),
            with: None,
            asked: true,
            proven: false,
            because: Why::NotFound.code(),
            text: format!("{}; {NOT_MENDED}", one.text(loaded)),
        }
    }
}

impl Undone {
    fn text(self, loaded: &Loaded) -> String {
        let (store, host) = (loaded.store(self.store), host(loaded, self.host));
        match (host, self.rule) {
            (Some(host), Rule::Masters) => format!("{store} is led from {host}"),
            (Some(host), _) => format!("{store} is on {host}"),
            (None, _) => format!("{store} lacks a copy"),
        }
    }
}

/// What is left to do of what was asked for.
fn undone(fleet: &Fleet, layout: &Layout, asked: &Asked) -> Vec<Undone> {
    let mut found = Vec::new();
    for store in 0..fleet.stores.len() as u32 {
        let copies = layout.copies(fleet, store);
        match asked {
            Asked::Even => {}
            Asked::Drained { hosts, empty } => {
                let rule = if *empty { Rule::Hosts } else { Rule::Masters };
                let looked_at = if *empty { copies } else { &copies[..copies.len().min(1)] };
                let on = looked_at.iter().filter(|host| hosts.contains(host));
                found.extend(on.map(|host| Undone { store, host: *host, rule }));
            }
            Asked::Placed => {
                let live = |host: &&u32| **host != NOWHERE && fleet.may_stay(**host);
                let asks = usize::from(fleet.stores[store as usize].copies);
                let missing = asks.saturating_sub(copies.iter().filter(live).count());
                found.extend((0..missing).map(|_| Undone { store, host: NOWHERE, rule: Rule::Copies }));
            }
        }
    }
    found
}

/// Whether it was asked for that a rule be kept.
fn is_asked(asked: &Asked, one: &Remains) -> bool {
    match asked {
        Asked::Even => false,
        Asked::Placed => one.rule == Rule::Copies,
        Asked::Drained { hosts, empty } => {
            let is_copy = *empty && matches!(one.rule, Rule::Hosts | Rule::Copies);
            hosts.contains(&one.host) && (is_copy || one.rule == Rule::Masters)
        }
    }
}

fn named(loaded: &Loaded, undone: &[Undone]) -> String {
    let mut named: Vec<String> = undone.iter().take(NAMES_MAX).map(|one| one.text(loaded)).collect();
    if undone.len() > NAMES_MAX {
        named.push(format!("and {} more (--json FILE names them)", undone.len() - NAMES_MAX));
    }
    named.join(", ")
}

fn host(loaded: &Loaded, host: u32) -> Option<String> {
    (host != NOWHERE).then(|| loaded.host(host).to_owned())
}

fn rule(rule: Rule) -> &'static str {
    match rule {
        Rule::Apart => "apart",
        Rule::Bytes => "bytes",
        Rule::Slots => "slots",
        Rule::Copies => "copies",
        Rule::Pinned => "pinned",
        Rule::Excluded => "excluded",
        Rule::Hosts => "hosts",
        Rule::Masters => "masters",
    }
}
