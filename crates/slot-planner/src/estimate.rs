//! How long a plan takes that copies data, and what the fleet could lose while it runs.
//!
//! What always holds: it is an estimate and decides nothing; work begins in the order of tasks, as much at once as policy allows; a
//! wave is over when its busiest link is, at [`RATE`], which is assumed and said to be; hand-overs take no time here. What could be lost is
//! counted between waves, and of a plan of which not every wave is looked at it is said after how many.

use crate::layout::cluster::Course;
use crate::layout::course::Leg;
use crate::layout::{NOWHERE, figures};
use crate::view::View;
use crate::{Draft, Inputs, sheet};
use slot_types::cluster::{Cluster, Domain, ONE_STORE, Policy, level_text};
use slot_types::evidence::Evidence;
use slot_types::ids::*;
use slot_types::plan::{Intent, Task, TaskKind};
use slot_types::render::size;
use std::collections::BTreeMap;

/// Bytes a second from one host to another: a disk's, or most of a gigabit. Policy bounds how many copies run at once and not how
/// fast one is, and nothing here knows the site's.
pub const RATE: u64 = 100_000_000;
/// So many copies of a fleet are looked at for one estimate: the leader has other things to do.
const LOOKED_MAX: usize = 500_000;
/// Waves are looked at after; of more, every so many-th.
const LOOKS_MAX: usize = 32;

/// The waves of a plan, as an executor within policy would come by them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// After the loss of any one host, load of the masters of the fullest survivor, as figures count it; before.
    pub before: u64,
    /// Each wave; not of all of a long plan is it said what could be lost after it.
    pub legs: Vec<Leg>,
    /// Afterwards.
    pub after: u64,
}

impl Estimate {
    /// Bytes copied.
    pub fn bytes(&self) -> u64 {
        self.legs.iter().map(|leg| leg.bytes).fold(0, u64::saturating_add)
    }
    /// How long that takes, in milliseconds.
    pub fn ms(&self) -> u64 {
        self.legs.iter().map(|leg| leg.ms(RATE)).fold(0, u64::saturating_add)
    }
    /// After how many waves it was looked at what could be lost then.
    pub fn looked_at(&self) -> usize {
        self.legs.iter().filter(|leg| leg.worst_survivor.is_some()).count()
    }
    /// The worst between two waves, and after which wave that is, from 1.
    pub fn worst(&self) -> Option<(u64, usize)> {
        let looked = self.legs.iter().enumerate().filter_map(|(nth, leg)| Some((leg.worst_survivor?, nth + 1)));
        looked.max_by_key(|(level, nth)| (*level, std::cmp::Reverse(*nth)))
    }
}

/// Estimates a plan's tasks.
pub fn estimate(cluster: &Cluster, evidence: &Evidence, inputs: &Inputs, tasks: &[Task]) -> Estimate {
    let mut course = Course::of(cluster, evidence, inputs);
    let worst = |course: &Course| {
        let (fleet, layout) = course.now();
        figures(&fleet, &layout).worst_survivor
    };
    let before = worst(&course);
    let waves = waves(cluster, tasks);
    let looks = (LOOKED_MAX / course.copies().max(1)).clamp(1, LOOKS_MAX);
    let every = waves.len().div_ceil(looks).max(1);
    let mut legs = Vec::new();
    for (nth, wave) in (1..).zip(&waves) {
        let mut leg = leg(&course, tasks, wave);
        wave.iter().for_each(|task| course.carry_out(&tasks[*task]));
        leg.worst_survivor = (nth % every == 0 || nth == waves.len()).then(|| worst(&course));
        legs.push(leg);
    }
    let after = legs.last().and_then(|leg| leg.worst_survivor).unwrap_or(before);
    Estimate { before, legs, after }
}

/// What a wave copies.
fn leg(course: &Course, tasks: &[Task], wave: &[usize]) -> Leg {
    let mut leg = Leg { copies: 0, hand_overs: 0, bytes: 0, link: 0, worst_survivor: None };
    let mut links: BTreeMap<(u32, bool), u64> = BTreeMap::new();
    for task in wave.iter().map(|task| &tasks[*task]) {
        match &task.kind {
            TaskKind::HandOver { .. } => leg.hand_overs += 1,
            TaskKind::BuildCopy { slot, .. } => {
                let (master, bytes) = task.store.as_ref().and_then(|name| course.master(name)).unwrap_or((NOWHERE, 0));
                (leg.copies, leg.bytes) = (leg.copies + 1, leg.bytes.saturating_add(bytes));
                for end in [(master, false), (course.number(&slot.host), true)] {
                    let link = links.entry(end).or_default();
                    *link = link.saturating_add(bytes);
                    leg.link = leg.link.max(*link);
                }
            }
            _ => {}
        }
    }
    leg
}

/// Counts what goes on at once.
#[derive(Default)]
struct Busy<'a> {
    all: u16,
    hosts: BTreeMap<&'a HostName, u16>,
    domains: BTreeMap<&'a Domain, u16>,
}

impl<'a> Busy<'a> {
    /// Whether one more fits within the caps for all, a host and a domain; if so, it is begun.
    fn begin(&mut self, cluster: &'a Cluster, ends: [&'a HostName; 2], caps: (u16, u16, u16)) -> bool {
        let mut domains: Vec<&Domain> = ends.iter().filter_map(|h| cluster.hosts.get(*h)).map(|h| &h.at).collect();
        domains.dedup();
        let free = |count: Option<&u16>, cap: u16| count.is_none_or(|count| *count < cap);
        let fits = self.all < caps.0
            && ends.iter().all(|host| free(self.hosts.get(host), caps.1))
            && domains.iter().all(|domain| free(self.domains.get(domain), caps.2));
        if fits {
            self.all += 1;
            ends.into_iter().for_each(|host| *self.hosts.entry(host).or_default() += 1);
            domains.into_iter().for_each(|domain| *self.domains.entry(domain).or_default() += 1);
        }
        fits
    }
}

/// Tasks by number, wave by wave: what takes time as policy allows it at once, and behind it what takes none.
fn waves(cluster: &Cluster, tasks: &[Task]) -> Vec<Vec<usize>> {
    let Policy { handover_at_once, handover_per_host, handover_per_domain, .. } = cluster.policy;
    let Policy { copy_at_once, copy_per_host, copy_per_domain, .. } = cluster.policy;
    let mut done = vec![false; tasks.len()];
    let mut waves: Vec<Vec<usize>> = Vec::new();
    let mut left: Vec<usize> = (0..tasks.len()).collect();
    // Where copies are built from: the master of that moment.
    let mut masters: BTreeMap<&StoreName, &HostName> = BTreeMap::new();
    let mut last_is_timed = false;
    while !left.is_empty() {
        let (mut hand_overs, mut copies) = (Busy::default(), Busy::default());
        let ready = |task: usize, done: &[bool]| {
            tasks[task].after.iter().all(|after| done.get(usize::from(*after)).copied().unwrap_or(true))
        };
        let mut wave: Vec<usize> = Vec::new();
        left.retain(|task| {
            let begins = ready(*task, &done)
                && match &tasks[*task].kind {
                    TaskKind::HandOver { from, to } => hand_overs.begin(
                        cluster,
                        [&from.host, &to.host],
                        (handover_at_once, handover_per_host, handover_per_domain),
                    ),
                    TaskKind::BuildCopy { slot, .. } => {
                        let name = tasks[*task].store.as_ref();
                        let known = || cluster.stores.get(name?)?.master.as_ref().map(|master| &master.host);
                        let led = name.and_then(|name| masters.get(name)).copied();
                        let from = led.or_else(known).unwrap_or(&slot.host);
                        copies.begin(cluster, [from, &slot.host], (copy_at_once, copy_per_host, copy_per_domain))
                    }
                    _ => false,
                };
            wave.extend(begins.then_some(*task));
            !begins
        });
        let timed = wave.len();
        wave.iter().for_each(|task| done[*task] = true);
        masters.extend(wave.iter().filter_map(|task| match &tasks[*task].kind {
            TaskKind::HandOver { to, .. } => Some((tasks[*task].store.as_ref()?, &to.host)),
            _ => None,
        }));
        // What takes no time, in as many rounds as it waits for itself.
        loop {
            let known = wave.len();
            left.retain(|task| {
                let timed = matches!(tasks[*task].kind, TaskKind::HandOver { .. } | TaskKind::BuildCopy { .. });
                let begins = !timed && ready(*task, &done);
                if begins {
                    done[*task] = true;
                    wave.push(*task);
                }
                !begins
            });
            if wave.len() == known {
                break;
            }
        }
        if wave.is_empty() {
            break;
        }
        // Work that takes no time belongs to the wave before it, or to the first.
        match waves.last_mut() {
            Some(last) if timed == 0 || !last_is_timed => last.extend(wave),
            _ => waves.push(wave),
        }
        last_is_timed |= timed > 0;
    }
    waves
}

/// Says it of a plan that moves data, or takes hosts out of service.
pub(crate) fn note(view: &View<'_>, intent: &Intent, draft: &mut Draft) {
    let copies = draft.tasks.iter().any(|task| matches!(task.kind, TaskKind::BuildCopy { .. }));
    let moves = draft.tasks.iter().any(|task| matches!(task.kind, TaskKind::HandOver { .. }));
    if !copies && (intent.drained().is_empty() || !moves) {
        return;
    }
    let found = estimate(view.cluster, view.evidence, view.inputs, &draft.tasks);
    let waves = found.legs.iter().filter(|leg| leg.copies > 0).count();
    if waves > 0 {
        draft.note("TIME", format!("{} of copies, {}", sheet::count(waves, "wave", "waves"), how_long(&found)));
    }
    let has_loads = view.cluster.has_loads();
    let said = |level: u64| if has_loads { level_text(level) } else { level.div_ceil(ONE_STORE).to_string() };
    let what = if has_loads { "declared load" } else { "masters" };
    if let Some((worst, nth)) = found.worst() {
        let (all, looked) = (found.legs.len(), found.looked_at());
        let after = match (nth < all, looked < all) {
            (_, true) => {
                format!(" (wave {nth} of {all}; looked at after {looked} of them, what is between may be worse)")
            }
            (true, false) => format!(" (wave {nth} of {all})"),
            (false, false) => String::new(),
        };
        let (before, worst, then) = (said(found.before), said(worst), said(found.after));
        draft.note(
            "ONE HOST LOST",
            format!(
                "{what} of the fullest other: {before} now, {worst} at worst while it runs{after}, {then} afterwards"
            ),
        );
    }
}

/// `12 min, if 100.0 MB a second go between two hosts: assumed, since no policy says how fast a copy is`.
fn how_long(found: &Estimate) -> String {
    match found.bytes() {
        0 => "how long is not said: the file gives these stores no size".to_owned(),
        _ => {
            let (rate, span) = (size(RATE), minutes(found.ms()));
            format!("{span}, if {rate} a second go between two hosts: assumed, since no policy says how fast a copy is")
        }
    }
}

/// `under a minute`, `12 min`, `3 h 05 min`.
fn minutes(ms: u64) -> String {
    match ms.div_ceil(60_000) {
        0 | 1 => "under a minute".to_owned(),
        minutes @ 2..120 => format!("{minutes} min"),
        minutes => format!("{} h {:02} min", minutes / 60, minutes % 60),
    }
}
