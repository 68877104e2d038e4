//! People who run the cluster: they drain, fail over, approve late, abort, attest, admit, and look after what is stuck.
//!
//! What always holds: they know only what [`Public`] shows and what they were answered; all they do is returned as values
//! ([`Ask`], [`Hand`]); all they draw comes from their own stream. A person attests that a host is off only when it is, or
//! wrongly where R8's own checks must find out ([`Faith`]); truly wrong words need [`Habit::TrulyWrong`] and are listed.

mod answers;
mod care;
mod deeds;
mod looks;
mod plans;
#[cfg(test)]
mod tests;

use crate::queue::Stream;
use slot_coordinator::core::ControlRequest;
use slot_machine::state::State;
use slot_types::cluster::FleetSpec;
use slot_types::hold::HoldOn;
use slot_types::ids::*;
use slot_types::plan::Intent;
use slot_types::position::ShortDigest;
use std::collections::{BTreeMap, BTreeSet};

pub use looks::{Public, Truth};

/// How long a person waits for one answer; then `answered` must be called with `None`.
pub const PATIENCE_MS: u64 = 6_000;
/// A host is left alone this long for a request that may still be on its way.
const ON_ITS_WAY_MS: u64 = 12_000;

/// A request that a person sends.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    /// Comes back in [`Crowd::answered`], once.
    pub token: u64,
    /// Which coordinator; `None` is whoever is believed to lead.
    pub to: Option<u64>,
    /// Who asks, as the certificate would say.
    pub who: OperatorName,
    /// What.
    pub request: ControlRequest,
}

/// What a person does with their own hands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hand {
    /// Switches a host off.
    SwitchOff(HostName),
    /// Switches it on.
    SwitchOn(HostName),
    /// Puts a new, empty disk in (a new incarnation) and boots.
    NewDisk(HostName),
}

/// What people may do in this world; each seed may leave some out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Habit {
    /// Drain and undrain hosts.
    Drain,
    /// Hand a well master over, with and without naming the target.
    HandOver,
    /// Fail over slots and hosts that don't answer.
    FailOver,
    /// Approve after the plan expired, or after another leader came.
    Late,
    /// Approve a digest that is not the plan's.
    Stale,
    /// Approve twice, alone and together with another.
    Twice,
    /// Say no.
    Reject,
    /// Abort at a random moment.
    Abort,
    /// Attest in good faith what is not so, where R8 must find out.
    AttestWrong,
    /// Admit reinstalled hosts.
    Admit,
    /// Give up the records of a loss case.
    Discard,
    /// Use sessions, and retry under them (R21).
    Sessions,
    /// Retry under a session that is not remembered.
    Evicted,
    /// Read, confirmed and stale (S13).
    Views,
    /// Apply the cluster file again, changed or not.
    Apply,
    /// Empty hosts, move copies, rebuild what is missing, rebalance.
    Copies,
    /// Say "hands off" for a while.
    Hold,
    /// Open more sessions than are remembered, so that others are evicted; never drawn.
    Storm,
    /// Attest what is not so although nothing can find out: the limit of R8; never drawn, and told to the checker.
    TrulyWrong,
}

impl Habit {
    /// Those a seed may have.
    pub const DRAWN: [Habit; 17] = [
        Habit::Drain,
        Habit::HandOver,
        Habit::FailOver,
        Habit::Late,
        Habit::Stale,
        Habit::Twice,
        Habit::Reject,
        Habit::Abort,
        Habit::AttestWrong,
        Habit::Admit,
        Habit::Discard,
        Habit::Sessions,
        Habit::Evicted,
        Habit::Views,
        Habit::Apply,
        Habit::Copies,
        Habit::Hold,
    ];
    /// A random half of them.
    pub fn draw(dice: &mut Stream) -> BTreeSet<Habit> {
        Self::DRAWN.into_iter().filter(|_| dice.one_in(2)).collect()
    }
}

/// Who the people are and what they do.
#[derive(Clone, Debug)]
pub struct Config {
    /// The cluster file they apply first.
    pub fleet: FleetSpec,
    /// Their names; three are needed for plans that ask for two people.
    pub operators: Vec<OperatorName>,
    /// What they do.
    pub habits: BTreeSet<Habit>,
    /// The shortest and longest time a person waits between two things, in milliseconds.
    pub think_ms: (u64, u64),
}

impl Config {
    /// Alice, bob and carol, with every habit that may be drawn.
    pub fn new(fleet: FleetSpec) -> Self {
        let names = ["alice", "bob", "carol"];
        let operators = names.into_iter().filter_map(|name| OperatorName::new(name).ok()).collect();
        Self { fleet, operators, habits: Habit::DRAWN.into_iter().collect(), think_ms: (1_000, 20_000) }
    }
}

/// In what faith a person attested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Faith {
    /// The host had no power when the request was sent.
    True,
    /// It had none when it was looked at, and is back, seen by everybody: the next report voids the word.
    CameBack,
    /// Its agent is dead, its engine serves and is heard by replicas: their word voids it.
    EngineServes,
    /// Not so, and perhaps nothing can find out.
    TrulyWrong,
}

/// A person's word that a host is off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Who.
    pub by: OperatorName,
    /// Which host.
    pub host: HostName,
    /// When it was first sent.
    pub at: u64,
    /// The boot that was looked at.
    pub boot: Option<BootId>,
    /// How true it was then.
    pub faith: Faith,
    /// It was seen in the replicated state.
    pub recorded: bool,
    /// It was seen there, and then not any more.
    pub void: bool,
}

/// Something a person was answered that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// The invariant or rule.
    pub invariant: &'static str,
    /// When.
    pub at_ms: u64,
    /// What.
    pub text: String,
}

struct Person {
    name: OperatorName,
    session: Option<u64>,
    opening: bool,
    sequence: u64,
}

/// What a person will do at a time.
struct Deed {
    who: usize,
    act: Act,
}

enum Act {
    /// Look around and choose.
    Idle,
    /// Look after what is stuck, in the heal phase.
    LookAfter,
    /// Send.
    Send(Box<Errand>),
    /// Make up one's mind about a plan that was shown.
    Decide(PlanId),
    /// Say yes.
    Approve(PlanId, Yes),
    /// Say yes once the term is another, or at that time.
    AfterNewLeader(PlanId, Term, u64),
    /// Say stop.
    Abort(PlanId),
    /// Watch whether a word still stands.
    Watch(usize),
    /// Ask for failovers off a host.
    FailOver(HostName, bool),
    /// Go on opening sessions.
    Storm(u32),
}

/// How somebody says yes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Yes {
    /// To what was shown.
    Plain,
    /// After its validity.
    Late,
    /// To another digest.
    Stale,
    /// A second time.
    Again,
}

/// Why something is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Session,
    Plan,
    Approve(PlanId, Yes, bool),
    Reject,
    Abort,
    Attest(usize),
    Admit,
    Hold,
    Pause,
    View,
    Evicted,
}

#[derive(Clone)]
struct Errand {
    request: ControlRequest,
    purpose: Purpose,
    tries: u32,
    to: Option<u64>,
    /// Asked in the heal phase.
    heal: bool,
}

struct Sent {
    who: usize,
    errand: Errand,
    at: u64,
    /// The newest revision that any person had been answered when this was sent (S13).
    floor: Revision,
}

/// A plan as it was shown to somebody.
struct Shown {
    digest: ShortDigest,
    intent: Intent,
    by: usize,
    people: u8,
    heal: bool,
}

/// What a person cares for in the heal phase, so that nobody asks for it every second.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Care {
    /// The copies of a store.
    Copies(StoreName),
    Fleet,
    Plan(PlanId),
    Store(StoreName),
    Case(LossCaseId),
    Host(HostName),
    Attest(HostName),
    Hold(HoldOn),
}

/// The people.
pub struct Crowd {
    dice: Stream,
    config: Config,
    people: Vec<Person>,
    agenda: BTreeMap<(u64, u64), Deed>,
    number: u64,
    sent: BTreeMap<u64, Sent>,
    shown: BTreeMap<PlanId, Shown>,
    yes: BTreeMap<(PlanId, usize), Option<slot_machine::command::RequestId>>,
    planned: BTreeMap<slot_machine::command::RequestId, PlanId>,
    names: BTreeMap<CoordinatorName, u64>,
    newest: Revision,
    /// Plans to which one person seems to have said two yeses that count.
    doubted: BTreeSet<PlanId>,
    healing: bool,
    words: Vec<Word>,
    alone: BTreeMap<HostName, u64>,
    seen_off: BTreeMap<HostName, (u64, Option<BootId>)>,
    first_disks: BTreeMap<HostName, Incarnation>,
    switched_off: BTreeSet<HostName>,
    care: BTreeMap<Care, u64>,
    ill_since: BTreeMap<StoreName, u64>,
    hands: Vec<Hand>,
    complaints: Vec<Complaint>,
    counts: BTreeMap<&'static str, u64>,
}

impl Crowd {
    /// The coordinators were restored: revisions begin anew, and what was answered before is void (R10, S13).
    pub fn coordinators_restored(&mut self) {
        self.newest = Revision(0);
        self.sent.values_mut().for_each(|sent| sent.floor = Revision(0));
        self.people.iter_mut().for_each(|person| (person.session, person.opening) = (None, false));
        self.planned.clear();
    }

    /// People who have done nothing yet; the first applies the cluster file at once.
    pub fn new(dice: Stream, config: Config) -> Self {
        let people = config.operators.iter().cloned();
        let people = people.map(|name| Person { name, session: None, opening: false, sequence: 0 }).collect();
        let mut crowd = Self {
            dice,
            people,
            agenda: BTreeMap::new(),
            number: 0,
            sent: BTreeMap::new(),
            shown: BTreeMap::new(),
            yes: BTreeMap::new(),
            planned: BTreeMap::new(),
            names: BTreeMap::new(),
            newest: Revision(0),
            doubted: BTreeSet::new(),
            healing: false,
            words: Vec::new(),
            alone: BTreeMap::new(),
            seen_off: BTreeMap::new(),
            first_disks: BTreeMap::new(),
            switched_off: BTreeSet::new(),
            care: BTreeMap::new(),
            ill_since: BTreeMap::new(),
            hands: Vec::new(),
            complaints: Vec::new(),
            counts: BTreeMap::new(),
            config,
        };
        for who in 0..crowd.people.len() {
            let first = if who == 0 { 0 } else { crowd.think() };
            crowd.later(first, who, Act::Idle);
        }
        crowd
    }

    /// When [`Crowd::step`] must be called next; `u64::MAX` is never.
    pub fn wake_at(&self) -> u64 {
        self.agenda.keys().next().map_or(u64::MAX, |(at, _)| *at)
    }

    /// Does what is due.
    pub fn step(&mut self, now: u64, public: &Public<'_>) -> Vec<Ask> {
        self.look(now, public);
        if public.healing && !self.healing {
            self.healing = true;
            self.agenda.retain(|_, deed| matches!(deed.act, Act::Watch(_)));
            self.later(now, 0, Act::LookAfter);
        }
        let mut asks = Vec::new();
        while self.agenda.keys().next().is_some_and(|(at, _)| *at <= now) {
            let Some((_, deed)) = self.agenda.pop_first() else { break };
            self.act(now, public, deed, &mut asks);
        }
        asks
    }

    /// What people did with their hands since this was last asked.
    pub fn hands(&mut self) -> Vec<Hand> {
        std::mem::take(&mut self.hands)
    }

    /// Whether faults must leave a host alone now: somebody relies on seeing it, or on its being off, for a moment. Its power,
    /// its processes, its links and its disks stay as they are.
    pub fn leaves_alone(&self, host: &HostName, now: u64) -> bool {
        self.alone.get(host).is_some_and(|until| *until > now)
    }

    /// Every word given that a host is off.
    pub fn words(&self) -> &[Word] {
        &self.words
    }

    /// Hosts somebody was truly wrong about: what is lost for their stores was waived by a person (the limit of R8).
    pub fn waived_hosts(&self) -> BTreeSet<HostName> {
        self.words.iter().filter(|w| w.faith == Faith::TrulyWrong).map(|w| w.host.clone()).collect()
    }

    /// Answers that must not be (S5, S13, R21), as people themselves could tell.
    pub fn complaints(&self) -> &[Complaint] {
        &self.complaints
    }

    /// What people did and were answered, by name.
    pub fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn has(&self, habit: Habit) -> bool {
        self.config.habits.contains(&habit)
    }

    fn think(&mut self) -> u64 {
        let (low, high) = self.config.think_ms;
        self.dice.within(low.min(high), high)
    }

    fn later(&mut self, at: u64, who: usize, act: Act) {
        self.number += 1;
        self.agenda.insert((at, self.number), Deed { who, act });
    }

    fn complain(&mut self, invariant: &'static str, at_ms: u64, text: String) {
        self.complaints.push(Complaint { invariant, at_ms, text });
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        let last = (all.len() as u64).checked_sub(1)?;
        usize::try_from(self.dice.within(0, last)).ok().and_then(|at| all.get(at))
    }
}

/// The fleet as replicated, if there is one.
fn cluster<'a>(public: &Public<'a>) -> Option<(&'a State, &'a slot_types::cluster::Cluster)> {
    let state = public.state?;
    Some((state, state.cluster.as_ref()?))
}
