//! Arbitrary schedules: every command is judged by [`crate::watch`] after it was applied.

use crate::plans::*;
use crate::world::*;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use slot_machine::apply::apply;
use slot_machine::command::*;
use slot_machine::runnable::{Runnable, runnable};
use slot_machine::state::*;
use slot_types::cluster::*;
use slot_types::evidence::{Evidence, Seen};
use slot_types::ids::*;
use slot_types::order::{Done, NeverWill, Outcome};
use slot_types::plan::*;
use slot_types::position::ShortDigest;

/// One random deed; the numbers choose among what the state offers.
#[derive(Clone, Copy, Debug)]
struct Deed {
    kind: u8,
    a: u16,
    b: u16,
    c: u16,
}

/// A fifth of what PROPTEST_CASES asks for: each case is a schedule of a hundred commands.
fn cases() -> u32 {
    ProptestConfig::default().cases / 5
}

fn deeds(max: usize) -> impl Strategy<Value = Vec<Deed>> {
    let deed = (0u8..64, any::<u16>(), any::<u16>(), any::<u16>()).prop_map(|(kind, a, b, c)| Deed { kind, a, b, c });
    prop::collection::vec(deed, 1..max)
}

fn choose<T: Clone>(from: &[T], n: u16) -> Option<T> {
    (!from.is_empty()).then(|| from[usize::from(n) % from.len()].clone())
}
fn any_slot(n: u16) -> SlotId {
    slot(u8::try_from(n % u16::from(HOSTS)).unwrap() + 1, n / 16 % 2 + 1)
}
fn any_host(n: u16) -> u8 {
    u8::try_from(n % u16::from(HOSTS)).unwrap() + 1
}
fn anybody(n: u16) -> OperatorName {
    person(["ann", "ben", "cat"][usize::from(n % 3)])
}
/// A copy of the store, mostly.
fn some_copy(world: &World, name: u8, n: u16) -> SlotId {
    let copies = world.cluster().stores.get(&store(name)).map(|s| s.copies.keys().cloned().collect::<Vec<_>>());
    choose(&copies.unwrap_or_default(), n).filter(|_| !n.is_multiple_of(17)).unwrap_or_else(|| any_slot(n))
}

impl Deed {
    fn carry_out(self, world: &mut World) {
        let Deed { kind, a, b, .. } = self;
        match kind {
            0..=13 => self.start(world),
            14..=31 => self.answer(world),
            32..=41 => self.ask(world),
            42..=46 => self.record(world),
            47..=49 => self.approve(world),
            50 | 51 => self.person(world),
            52 | 53 => self.stuck(world),
            54 | 55 => self.hosts(world),
            56 => {
                world.apply(Command::NewLeader { node: CoordinatorName::new("c1").unwrap() });
            }
            57 => {
                let number = world.state.audit.trimmed_through + u64::from(a % 40);
                let known = world.state.audit.entries.iter().find(|e| e.number == number).map(|e| e.hash);
                let hash = known.filter(|_| !b.is_multiple_of(4)).unwrap_or_default();
                world.apply(Command::TrimAudit { through: number, hash, by: anybody(b) });
            }
            58 => {
                if a.is_multiple_of(2) {
                    world.apply(Command::OpenSession);
                }
                let sessions: Vec<u64> = world.state.sessions.keys().copied().collect();
                let session = choose(&sessions, b).unwrap_or(7);
                let request = RequestId { session, sequence: u64::from(a % 80) };
                let (_, again) = world.log[usize::from(b) % world.log.len()].clone();
                world.submit(Some(request), again.command);
            }
            59 => {
                let (_, again) = world.log[usize::from(b) % world.log.len()].clone();
                world.submit(again.request, again.command);
            }
            60 => world.now += u64::from(a) * 20,
            _ => {
                if b.is_multiple_of(3) {
                    world.dead.insert(host(any_host(a)));
                } else {
                    world.dead.clear();
                }
            }
        }
    }

    fn guards(self, world: &World) -> Evidence {
        let mut evidence = world.evidence();
        match self.c % 32 {
            0 => Evidence::default(),
            1 => {
                evidence.hosts.remove(&host(any_host(self.b)));
                evidence.copies.insert(any_slot(self.b), Seen::Unknown { reason: "cut off".into() });
                evidence
            }
            _ => evidence,
        }
    }

    fn start(self, world: &mut World) {
        let starts: Vec<_> = runnable(&world.state)
            .into_iter()
            .filter_map(|i| match i {
                Runnable::Start { step, attempt, .. } => Some((step, attempt)),
                Runnable::Blocked { step, .. } => Some((step, 1)),
                Runnable::Send { .. } => None,
            })
            .collect();
        let wild = StepRef { plan: PlanId(u64::from(self.a % 6)), task: self.b % 4, step: self.c % 9 };
        let (step, attempt) = match choose(&starts, self.a) {
            Some(found) if !self.b.is_multiple_of(13) => found,
            _ => (wild, u32::from(self.b % 3)),
        };
        let guards = self.guards(world);
        world.apply(Command::StartStep { step, attempt, guards });
    }

    fn answer(self, world: &mut World) {
        let sends: Vec<_> = runnable(&world.state)
            .into_iter()
            .filter_map(|i| if let Runnable::Send { host, order, .. } = i { Some((host, *order)) } else { None })
            .collect();
        let Some((host, order)) = choose(&sends, self.a).filter(|_| !self.b.is_multiple_of(29)) else {
            let id = OrderId {
                plan: PlanId(u64::from(self.a % 6)),
                task: self.b % 3,
                step: self.c,
                attempt: u32::from(self.c % 3),
            };
            world.finish(id, self.outcome());
            return;
        };
        if self.b.is_multiple_of(7) {
            world.finish(order.id, self.outcome());
        } else if !world.dead.contains(&host) {
            world.answer_as_agent(&host, &order);
        }
    }

    fn outcome(self) -> Outcome {
        let held = LogIndex(u64::from(self.c));
        let tip = tip(u64::from(self.c % 4), u64::from(self.c / 4 % 40));
        match self.c % 13 {
            0 => Outcome::Done(Done::Plain),
            1 | 2 => Outcome::Done(Done::Tip { tip, history: Vec::new() }),
            3 => {
                let client = ClientName::new("mta").unwrap();
                Outcome::Done(Done::Stranded(vec![RecordId { client, sequence: 1 }]))
            }
            4 => Outcome::Done(Done::Reinjected { appended: 1, present: 1 }),
            5 => never(NeverWill::Superseded { held }),
            6 => never(NeverWill::OlderEpoch { held: epoch(9) }),
            7 => never(NeverWill::BootEnded(boot(any_host(self.a), 1))),
            8 => never(NeverWill::Cancelled),
            9 => never(NeverWill::Thawed),
            10 => never(NeverWill::NotEqual { have: tip, want: tip }),
            11 => never(NeverWill::StillRunning("slot 01".into())),
            _ => never(NeverWill::Engine("no".into())),
        }
    }

    /// An honest plan, approved by as many as it takes, in a world in which it fits.
    fn ask(self, world: &mut World) {
        let plan = if self.a.is_multiple_of(8) {
            self.drain(world)
        } else {
            let (intent, task) = self.task(world);
            if let TaskKind::FailOver { waived, .. } = &task.kind {
                for slot in waived {
                    world.dead.insert(slot.host.clone());
                    let boot = world.cluster().hosts[&slot.host].boot.unwrap_or_default();
                    let (host, how) = (slot.host.clone(), "off".to_string());
                    world.apply(Command::Attest { host, boot, how, by: person("ann") });
                }
            }
            world.plan(intent, vec![task])
        };
        let Answer::Plan { id, people_missing } = world.propose(&plan) else { return };
        for by in ["ben", "cat"].iter().take(usize::from(people_missing)) {
            let _ = world.approve(id, by);
        }
        for _ in 0..self.b % 4 {
            world.round();
        }
    }

    fn drain(self, world: &World) -> Plan {
        let h = any_host(self.b);
        let states = [HostState::Maintenance, HostState::Active, HostState::Draining, HostState::Empty, HostState::Off];
        let to = states[usize::from(self.c % 8).min(4)];
        let mut tasks: Vec<Task> = Vec::new();
        for n in 1..=2 {
            let Some(known) = world.cluster().stores.get(&store(n)) else { continue };
            let running = |c: &Copy| c.state != CopyState::Stopped;
            let here = known.copies.iter().find(|(s, c)| s.host == host(h) && running(c));
            tasks.extend(here.map(|(s, _)| stop(world, n, s)));
        }
        let deps: Vec<u16> = (0..tasks.len()).map(|n| u16::try_from(n).unwrap()).collect();
        tasks.push(after(host_state(h, to), &deps));
        world.plan(Intent::DrainHost(host(h)), tasks)
    }

    fn task(self, world: &World) -> (Intent, Task) {
        let name = u8::try_from(self.c % 2 + 1).unwrap();
        if world.cluster().stores.get(&store(name)).is_none_or(|s| s.epoch == Epoch::ZERO) || self.c.is_multiple_of(31)
        {
            let slots = [any_slot(self.a), any_slot(self.b), any_slot(self.c)];
            return (Intent::Apply(Box::new(fleet())), create(name, &slots[..usize::from(self.c % 3) + 1]));
        }
        let known = world.store(name);
        let leads = known.master.clone().or_else(|| known.pending.clone()).unwrap_or_else(|| any_slot(self.a));
        let from = if self.a.is_multiple_of(7) { some_copy(world, name, self.a) } else { leads };
        let to = some_copy(world, name, self.b);
        let slot = some_copy(world, name, self.a);
        let fail = Intent::FailOverSlot { slot: from.clone(), to: None };
        match self.c / 2 % 12 {
            0..=2 => (fail, hand_over(world, name, &from, &to)),
            3..=5 => (fail, self.fail_over(world, name, &from, &to)),
            6 => (Intent::DrainHost(slot.host.clone()), stop(world, name, &slot)),
            7 => (Intent::Follow { slot: slot.clone() }, follow(world, name, &slot)),
            8 => (Intent::StartMaster { slot: from.clone() }, start_master(world, name, &from)),
            9 | 10 => {
                let cases = world.cluster().loss_cases.values().filter(|c| c.store == store(name) && c.state.is_open());
                let waits: Vec<_> =
                    known.possible_masters.keys().cloned().chain(cases.map(|c| c.slot.clone())).collect();
                let slot = choose(&waits, self.a).unwrap_or(slot);
                (Intent::FenceReturned { slot: slot.clone() }, fence_returned(world, name, &slot))
            }
            _ => {
                let mut cases: Vec<_> =
                    world.cluster().loss_cases.iter().map(|(id, c)| (*id, c.slot.clone())).collect();
                let listed = |id: &LossCaseId| world.cluster().loss_cases[id].state == LossState::Listed;
                if !self.b.is_multiple_of(8) {
                    cases.retain(|(id, slot)| listed(id) && known.copies.contains_key(slot));
                }
                let (case, at) = choose(&cases, self.a).unwrap_or((LossCaseId(1), slot));
                let how = if self.b.is_multiple_of(2) { Settlement::Reinject } else { Settlement::Discard };
                (Intent::SettleLoss { case, how }, settle(world, name, case, &at, how))
            }
        }
    }

    fn fail_over(self, world: &World, name: u8, from: &SlotId, to: &SlotId) -> Task {
        let known = world.store(name);
        let half_made = known.pending.iter().filter(|_| known.promote_started);
        let possible = known.possible_masters.keys().chain(&known.master).chain(half_made).chain([from]);
        let mut possible: Vec<SlotId> = possible.filter(|s| *s != to).cloned().collect();
        possible.sort();
        possible.dedup();
        let fence = [FenceLevel::Demoted, FenceLevel::Attested, FenceLevel::None][usize::from(self.b / 64 % 3)];
        let (mut waived, mut demote): (Vec<_>, Vec<_>) =
            possible.into_iter().partition(|s| fence != FenceLevel::Demoted && !(s.number + self.a).is_multiple_of(3));
        // A careless planner forgets one.
        if self.b.is_multiple_of(5) {
            waived.pop();
        } else if self.b.is_multiple_of(6) {
            demote.pop();
        }
        let class = if self.a.is_multiple_of(2) { LossClass::CaughtUp } else { LossClass::Unknown };
        let candidate = tip(0, 0);
        Failover { from, to, fence, demote: &demote, waived: &waived, class, candidate }.task(world, name)
    }

    fn record(self, world: &mut World) {
        let mut plan = match self.a % 9 {
            0 => self.drain(world),
            _ => {
                let (intent, task) = self.task(world);
                world.plan(intent, vec![task])
            }
        };
        self.spoil(&mut plan);
        let mut bytes = plan.bytes();
        if self.b.is_multiple_of(23) {
            let at = usize::from(self.a) % bytes.len();
            bytes[at] ^= u8::try_from(self.c % 255).unwrap() + 1;
        }
        if self.b.is_multiple_of(41) {
            bytes.truncate(usize::from(self.c) % bytes.len());
        }
        world.apply(Command::RecordPlan { bytes });
    }

    /// What a faulty or a hostile planner might put into a plan.
    fn spoil(self, plan: &mut Plan) {
        let n = usize::from(self.c);
        let task = n % plan.tasks.len();
        match self.b % 37 {
            0 => plan.people = 0,
            1 => plan.facts.clear(),
            2 => {
                let steps = &mut plan.tasks[task].steps;
                steps.remove(n % steps.len());
            }
            3 => {
                let steps = &mut plan.tasks[task].steps;
                let (x, y) = (n % steps.len(), n / 8 % steps.len());
                steps.swap(x, y);
            }
            4 => {
                let steps = &mut plan.tasks[task].steps;
                steps.push(steps[n % steps.len()].clone());
            }
            5 => plan.tasks[task].epoch.n = u64::from(self.a % 5),
            6 => plan.tasks[task].after.push(self.a),
            7 => {
                let twice = plan.tasks[task].clone();
                plan.tasks.push(twice);
            }
            8 => plan.requested_by = None,
            9 => plan.valid_ms = u64::MAX,
            10 => plan.tasks[task].steps[0].at = Some(Place::Slot(any_slot(self.a))),
            11 => plan.tasks[task].steps[0].at = None,
            12 => plan.tasks[task].store = None,
            13 => plan.silent_hosts = u16::MAX,
            _ => {}
        }
    }

    fn approve(self, world: &mut World) {
        let waiting: Vec<PlanId> =
            world.state.plans.values().filter(|p| p.status == PlanStatus::Proposed).map(|p| p.id).collect();
        let Some(id) =
            waiting.last().copied().filter(|_| !self.a.is_multiple_of(3)).or_else(|| choose(&waiting, self.a))
        else {
            return;
        };
        let digest = world.state.plans[&id].digest.short();
        let digest = if self.b.is_multiple_of(19) { ShortDigest([1; 8]) } else { digest };
        let guards = self.guards(world);
        for n in 0..=self.b % 3 {
            let by = anybody(self.a.wrapping_add(n));
            let guards = guards.clone();
            world.apply(Command::ApprovePlan { plan: id, digest, by, reason: "yes".into(), guards });
        }
    }

    fn person(self, world: &mut World) {
        let all: Vec<PlanId> = world.state.plans.keys().copied().collect();
        let running: Vec<PlanId> = world.state.running().map(|r| r.id).collect();
        let ids = if running.is_empty() { all } else { running };
        let plan = choose(&ids, self.a).unwrap_or(PlanId(99));
        let (by, reason) = (anybody(self.b), "\u{7}no\n".to_string());
        let command = match self.c % 7 {
            0 | 1 => Command::RejectPlan { plan, by, reason },
            2 | 3 => Command::PausePlan { plan, by, reason },
            4 => Command::ResumePlan { plan, by, reason, guards: self.guards(world) },
            _ => Command::AbortPlan { plan, by, reason },
        };
        world.apply(command);
    }

    fn stuck(self, world: &mut World) {
        let steps: Vec<StepRef> = runnable(&world.state)
            .into_iter()
            .map(|i| {
                let (Runnable::Start { step, .. } | Runnable::Send { step, .. } | Runnable::Blocked { step, .. }) = i;
                step
            })
            .collect();
        let wild = StepRef { plan: PlanId(1), task: self.b, step: self.c };
        let step = choose(&steps, self.a).unwrap_or(wild);
        world.apply(Command::StuckStep { step, why: "late".into() });
    }

    fn hosts(self, world: &mut World) {
        let h = any_host(self.a);
        let known = world.cluster().hosts[&host(h)].clone();
        let incarnation = if self.b.is_multiple_of(37) { disk(70) } else { known.incarnation.unwrap_or(disk(h)) };
        let high_water = if self.b.is_multiple_of(41) { LogIndex(0) } else { LogIndex(u64::MAX) };
        let now = u8::try_from(self.c % 3).unwrap() + 1;
        let token = slot_types::position::Digest::of(&[h]);
        let command = match self.c / 3 % 8 {
            6 => Command::RevokeInvitation { host: host(h), by: anybody(self.b), reason: "no".into() },
            0 | 1 => Command::HostSeen {
                host: host(h),
                incarnation,
                boot: boot(h, now),
                high_water,
                silence: SILENCE,
                first: false,
            },
            2 => Command::SignOfLife { host: host(h), seen: "engine".into() },
            3 => {
                let incarnation = disk(70);
                Command::AdmitHost { host: host(h), incarnation, by: anybody(self.b), reason: "new".into() }
            }
            4 => {
                let by = anybody(self.b);
                Command::InviteHost { host: host(h), certificate: token, by, reason: "new".into() }
            }
            5 => {
                let key = slot_types::position::Digest::of(&[u8::from(self.b.is_multiple_of(3))]);
                let incarnation = disk(70 + u8::from(self.b.is_multiple_of(5)));
                Command::JoinHost(slot_machine::join::Guest { host: host(h), certificate: token, key, incarnation })
            }
            _ => {
                let boot = known.boot.unwrap_or_default();
                Command::Attest { host: host(h), boot, how: "unplugged".into(), by: anybody(self.b) }
            }
        };
        world.apply(command);
    }
}

/// What schedules must have reached, or the tests below prove nothing.
const DANGERS: [&str; 16] = [
    "refused",
    "loss case opened",
    "loss case settled",
    "attestation void",
    "host quarantined",
    "maintenance",
    "promoted",
    "promoted past a possible master",
    "two possible masters",
    "failed over while a promote was out",
    "former master fenced",
    "superseded",
    "needs a person",
    "going back",
    "gone back",
    "handed over",
];

/// The same schedules every time; each danger is reached.
#[test]
fn schedules_reach_what_is_dangerous() {
    let mut runner = TestRunner::deterministic();
    let mut reached = std::collections::BTreeMap::<&str, u64>::new();
    for _ in 0..200 {
        let mut world = World::with_store();
        for deed in deeds(160).new_tree(&mut runner).unwrap().current() {
            deed.carry_out(&mut world);
        }
        for (what, times) in &world.watch.reached {
            *reached.entry(what).or_default() += times;
        }
    }
    let missing: Vec<_> = DANGERS.iter().filter(|what| !reached.contains_key(*what)).collect();
    assert!(missing.is_empty(), "never reached: {missing:?}; reached: {reached:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    /// Any schedule keeps the invariants; the same log gives the same hash (S14).
    #[test]
    fn any_schedule_keeps_the_invariants(deeds in deeds(120)) {
        let mut world = World::with_store();
        for deed in deeds {
            deed.carry_out(&mut world);
        }
        let mut again = State::default();
        for (index, proposal) in &world.log {
            apply(&mut again, *index, Term(1), proposal);
        }
        crate::watch::whole(&world.state);
        prop_assert_eq!(again.hash(), world.state.hash());
    }

    /// Whatever happened, when agents answer again everything comes to rest or waits for a person (L1).
    #[test]
    fn any_schedule_comes_to_rest(deeds in deeds(80)) {
        let mut world = World::with_store();
        for deed in deeds {
            deed.carry_out(&mut world);
        }
        world.dead.clear();
        for h in 1..=HOSTS {
            world.seen(h, 9);
        }
        for _ in 0..200 {
            world.drive();
            let open: Vec<PlanId> = world.state.running().map(|r| r.id).collect();
            for plan in &open {
                let by = person("ann");
                world.apply(Command::AbortPlan { plan: *plan, by, reason: "heal".into() });
            }
            world.all_stuck();
            if open.is_empty() {
                break;
            }
        }
        let quarantined = world.cluster().hosts.values().any(|h| h.quarantined.is_some());
        let attested = |r: &PlanRecord| r.plan.failovers().any(|(_, fence, _)| fence != FenceLevel::Demoted);
        let left: Vec<_> = world.state.running().filter(|r| !attested(r)).map(|r| (r.id, &r.plan.intent, &r.tasks)).collect();
        prop_assert!(quarantined || left.is_empty(), "{left:?}");
        prop_assert!(!quarantined || world.state.audit.first_broken().is_none());
    }

    /// No bytes make `apply` panic, and none that are no plan change anything.
    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..400), versioned in any::<bool>()) {
        let mut world = World::new();
        let mut bytes = bytes;
        if versioned {
            bytes.splice(0..0, [1, 0]);
        }
        let answer = world.apply(Command::RecordPlan { bytes: bytes.clone() });
        prop_assert!(matches!(answer, Answer::Refused(Refused::BadPlan(_))));
        prop_assert!(State::restore(&bytes).is_err());
    }
}
