//! Which table is served, without I/O.
//!
//! What always holds: an older table than the one held changes nothing, nor than any whose maps may have been written before a
//! restart; one rendering at a time, of the newest table; a table is acknowledged only after its rendering was done. A store that
//! is moving stops moving when the freeze must be over, whether or not a coordinator says so (R12), and being told of the same
//! freeze again gives it no more time.

use slot_planted::planted;
use slot_types::front_end::*;
use slot_types::ids::*;
use std::collections::{BTreeMap, BTreeSet};

/// A rendering that failed is tried again after so long, if nobody asks before.
const RETRY_MS: u64 = 1_000;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A coordinator handed a table over.
    Offer {
        /// Comes back in exactly one answer.
        token: u64,
        /// The table.
        table: Box<RouteTable>,
    },
    /// The rendering with this number is done and durable, or why not.
    Rendered {
        /// Which.
        job: u64,
        /// How it went.
        result: Result<(), String>,
    },
    /// Nothing but the passing of time.
    Tick,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Write the maps of this table, reload, then make the table itself durable; answer with [`Event::Rendered`].
    Render {
        /// Names this rendering.
        job: u64,
        /// The table; what it says of moving counts no more.
        table: Box<RouteTable>,
        /// The stores whose new connections may be held now.
        moving: BTreeSet<StoreName>,
    },
    /// Answer an offer.
    Answer {
        /// Whose.
        token: u64,
        /// What is served; or why the offer is not for this front end.
        answer: Result<FrontEndReport, String>,
    },
}

/// What a front end's disk says when it starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The newest table of which maps may have been written, and be in use.
    pub begun: Option<RouteTable>,
    /// What was acknowledged last.
    pub acknowledged: Option<(u32, Revision)>,
}

impl Kept {
    /// From the table that was begun last, and the one that was acknowledged last: one that was acknowledged was begun.
    pub fn of(begun: Option<RouteTable>, acknowledged: Option<RouteTable>) -> Self {
        let age = acknowledged.as_ref().map(RouteTable::age);
        Self { begun: begun.into_iter().chain(acknowledged).max_by_key(RouteTable::age), acknowledged: age }
    }
}

/// What makes one rendering differ from another.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Picture {
    age: (u32, Revision),
    render: BTreeSet<MapName>,
    moving: BTreeSet<StoreName>,
}

struct Job {
    number: u64,
    picture: Picture,
    tokens: Vec<u64>,
}

/// See the module's documentation.
pub struct FrontEndCore {
    cluster: ClusterId,
    name: FrontEndName,
    held: Option<RouteTable>,
    acknowledged: Option<(u32, Revision)>,
    rendered: Option<Picture>,
    /// Until when a store counts as moving; one that ran out stays until a table says that it does not move.
    moving: BTreeMap<StoreName, u64>,
    waiting: Vec<u64>,
    job: Option<Job>,
    jobs: u64,
    problem: Option<String>,
    retry_at: u64,
}

impl FrontEndCore {
    /// A front end from the newest table it began to render, if any; nothing moves. Everything is rendered once more, so that
    /// what was cut off is finished.
    pub fn new(cluster: ClusterId, name: FrontEndName, kept: Kept) -> Self {
        Self {
            cluster,
            name,
            acknowledged: kept.acknowledged,
            held: kept.begun,
            rendered: None,
            moving: BTreeMap::new(),
            waiting: Vec::new(),
            job: None,
            jobs: 0,
            problem: None,
            retry_at: 0,
        }
    }

    /// Takes one event at a moment of a clock that never goes back.
    pub fn step(&mut self, now_ms: u64, event: Event) -> Vec<Effect> {
        let mut out = Vec::new();
        match event {
            Event::Offer { token, table } => self.offer(now_ms, token, *table, &mut out),
            Event::Rendered { job, result } => self.rendered(now_ms, job, result, &mut out),
            Event::Tick => {}
        }
        self.go_on(now_ms, &mut out);
        out
    }

    /// When [`Self::step`] must be called, if nothing happens before.
    pub fn next_deadline(&self, now_ms: u64) -> Option<u64> {
        let moving = self.moving.values().copied().filter(|until| *until > now_ms).min();
        let retry = (self.job.is_none() && self.rendered != self.picture(now_ms)).then_some(self.retry_at);
        moving.into_iter().chain(retry).min()
    }

    /// What is acknowledged.
    pub fn acknowledged(&self) -> Option<(u32, Revision)> {
        self.acknowledged
    }

    fn offer(&mut self, now_ms: u64, token: u64, table: RouteTable, out: &mut Vec<Effect>) {
        if table.cluster != self.cluster || table.front_end != self.name {
            let why = format!(
                "the table is for {} of cluster {}, this is {} of cluster {}",
                table.front_end, table.cluster, self.name, self.cluster
            );
            return out.push(Effect::Answer { token, answer: Err(why) });
        }
        let older =
            self.held.as_ref().is_some_and(|held| table.age() < held.age()) && !planted("adr22-older-table-taken");
        if older {
            return out.push(Effect::Answer { token, answer: Ok(self.report()) });
        }
        let said: BTreeMap<&StoreName, u64> =
            table.routes.iter().filter_map(|(store, line)| Some((store, line.moving_ms?))).collect();
        self.moving.retain(|store, _| said.contains_key(store));
        for (store, left) in said {
            let until = now_ms.saturating_add(left);
            let entry = self.moving.entry(store.clone()).or_insert(until);
            *entry = (*entry).min(until);
        }
        self.held = Some(table);
        self.waiting.push(token);
        // Whoever asks wants it tried now.
        self.retry_at = now_ms;
    }

    fn rendered(&mut self, now_ms: u64, job: u64, result: Result<(), String>, out: &mut Vec<Effect>) {
        let Some(done) = self.job.take_if(|running| running.number == job) else { return };
        match result {
            Ok(()) => {
                self.acknowledged = self.acknowledged.max(Some(done.picture.age));
                self.rendered = Some(done.picture);
                self.problem = None;
            }
            Err(why) => {
                // What the maps hold now is not known.
                self.rendered = None;
                self.problem = Some(why);
                self.retry_at = now_ms.saturating_add(RETRY_MS);
            }
        }
        out.extend(done.tokens.into_iter().map(|token| Effect::Answer { token, answer: Ok(self.report()) }));
    }

    fn go_on(&mut self, now_ms: u64, out: &mut Vec<Effect>) {
        if self.job.is_some() {
            return;
        }
        let (Some(wanted), Some(held)) = (self.picture(now_ms), &self.held) else { return };
        if self.rendered.as_ref() == Some(&wanted) {
            return self.answer_waiting(out);
        }
        if self.retry_at > now_ms {
            return;
        }
        self.jobs += 1;
        out.push(Effect::Render { job: self.jobs, table: Box::new(held.clone()), moving: wanted.moving.clone() });
        let tokens = std::mem::take(&mut self.waiting);
        self.job = Some(Job { number: self.jobs, picture: wanted, tokens });
    }

    fn answer_waiting(&mut self, out: &mut Vec<Effect>) {
        let report = self.report();
        out.extend(self.waiting.drain(..).map(|token| Effect::Answer { token, answer: Ok(report.clone()) }));
    }

    fn picture(&self, now_ms: u64) -> Option<Picture> {
        let held = self.held.as_ref()?;
        let moving = self.moving.iter().filter(|(_, until)| **until > now_ms || planted("r12-moving-never-ends"));
        let moving = moving.map(|(store, _)| store.clone());
        Some(Picture { age: held.age(), render: held.render.clone(), moving: moving.collect() })
    }

    fn report(&self) -> FrontEndReport {
        let serving = FrontEndSeen { acknowledged: self.acknowledged, problem: self.problem.clone() };
        FrontEndReport { cluster: self.cluster, front_end: self.name.clone(), serving }
    }
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;
