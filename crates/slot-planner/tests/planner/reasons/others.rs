//! Undrain, undo, retirements, settlements and everyday recovery: a plan where nothing speaks against it, else a reason that is so.
//!
//! What always holds: every refusal there is stands in `elsewhere`, by the compiler's word; those that these intents give have each
//! been met, or the test fails.

use super::asked::{Asked, Brought};
use super::judge::{Judge, Truth, say};
use super::odd::{Recipe, recipe};
use crate::random;
use crate::world::*;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use slot_planner::{NotWell, Nothing, Refusal, RetireBlock};
use slot_types::cluster::*;
use slot_types::engine::EngineRole;
use slot_types::ids::*;
use slot_types::plan::{Intent, Place, Plan, Settlement, StepKind, TaskKind};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// Everything these intents may be about, and something that is not there of each.
fn wanted(recipe: &Recipe, world: &World) -> Vec<Intent> {
    let of_these = |intent: &Intent| {
        matches!(
            intent,
            Intent::UndrainHost(_)
                | Intent::RetireHost(_)
                | Intent::RetireStore(_)
                | Intent::StartMaster { .. }
                | Intent::Follow { .. }
                | Intent::FenceReturned { .. }
                | Intent::CountCopy { .. }
                | Intent::SettleLoss { .. }
        )
    };
    let mut all: Vec<Intent> = random::every_intent(world).into_iter().filter(of_these).collect();
    all.extend(world.cluster.tombstones.keys().cloned().map(Intent::RetireStore));
    all.push(recipe.undo(world));
    let gone = HostName::new("gone").unwrap();
    all.extend([Intent::UndrainHost(gone.clone()), Intent::RetireHost(gone.clone()), Intent::RetireStore(store(99))]);
    all.push(Intent::SettleLoss { case: LossCaseId(999), how: Settlement::Discard });
    for slot in [SlotId::new(gone, 1), SlotId::new(host(1), 77), SlotId::new(host(1), 24)] {
        all.extend([
            Intent::StartMaster { slot: slot.clone() },
            Intent::Follow { slot: slot.clone() },
            Intent::FenceReturned { slot: slot.clone() },
            Intent::CountCopy { slot },
        ]);
    }
    all
}

/// Each intent with what was said to it: which reason, and where it goes on inside, which of those.
type Tally = BTreeMap<String, BTreeSet<String>>;

fn name_of(debug: &impl std::fmt::Debug) -> String {
    let text = format!("{debug:?}");
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_string()
}

fn reason(refusal: &Refusal) -> String {
    let inner = match refusal {
        Refusal::NothingToDo(nothing) => name_of(nothing),
        Refusal::Retire { why, .. } => name_of(why),
        Refusal::NotServed { why, .. } => name_of(why),
        Refusal::LossCaseIn { state, .. } => name_of(state),
        Refusal::CopyIn { next, .. } => next.split([';', ':']).next().unwrap_or_default().to_string(),
        _ => return name_of(refusal),
    };
    format!("{} {inner}", name_of(refusal))
}

/// Whether a plan brings back exactly what can be, and names whatever stays.
fn complete(asked: &Asked<'_>, plan: &Plan) -> Truth {
    let Some(brought) = asked.brought() else { return Ok(()) };
    let named = |name: &StoreName| {
        plan.notes.iter().any(|note| note.heading == "NOT POSSIBLE" && note.text.contains(name.as_str()))
    };
    say(brought.left.iter().all(named), ("what stays is named", &brought.left, &plan.notes))?;
    let all = plan.notes.iter().any(|note| note.heading == "UNDO ENDS" && note.text.starts_with("all that"));
    say(!all || brought.left.is_empty(), ("all is brought back", &brought.left))?;
    let planned = Brought { left: brought.left.clone(), ..Asked::planned(plan) };
    say(planned == brought, ("this is brought back, and could be", &planned, &brought))
}

/// What was said to each intent; what of that is not so is answered, by intent and reason.
fn judged(recipe: &Recipe, tally: &mut Tally) -> BTreeMap<String, String> {
    let world = recipe.world();
    let mut untrue = BTreeMap::new();
    for intent in wanted(recipe, &world) {
        let asked = Asked { world: &world, intent: &intent };
        let (said, verdict) = match world.plan(intent.clone()) {
            Ok(plan) if asked.is_free() => ("a plan".to_string(), complete(&asked, plan.plan())),
            Ok(_) => ("a plan".to_string(), Err("something speaks against it".to_string())),
            Err(refusal) if elsewhere(&refusal).is_some() => {
                (reason(&refusal), Err(format!("{refusal:?}, but {}", elsewhere(&refusal).unwrap_or_default())))
            }
            Err(refusal) if asked.is_free() => {
                (reason(&refusal), Err(format!("nothing speaks against it: {refusal:?}")))
            }
            Err(refusal) => (reason(&refusal), asked.truth(&refusal).map_err(|why| format!("{refusal:?}: {why}"))),
        };
        if let Err(why) = verdict {
            untrue.entry(format!("{} {said}", name_of(&intent))).or_insert(format!("{intent}: {why}"));
        }
        let reasons = tally.entry(name_of(&intent)).or_default();
        if let Err(Refusal::Undrain { because, .. } | Refusal::Undo { because, .. }) = world.plan(intent.clone()) {
            reasons.extend(because.values().map(|why| format!("{said}: {}", name_of(why))));
        }
        reasons.insert(said);
    }
    untrue
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn who_brings_back_retires_or_recovers_is_told_the_truth(recipe in recipe()) {
        let untrue = judged(&recipe, &mut Tally::new());
        prop_assert!(untrue.is_empty(), "{untrue:#?}");
    }
}

/// What each of these intents is told, and where a refusal is about several stores, what of each; all of it comes up.
const SAID: [(&str, &[&str]); 9] = [
    (
        "CountCopy",
        &[
            "CopyIn it is not seen to hold everything yet",
            "CopyIn only a copy that is being built is counted",
            "Held",
            "HostQuarantined",
            "HostSilent",
            "NoCopy",
            "NotServed NoMaster",
            "NotServed Pending",
            "NothingToDo Whole",
            "StoresBusy",
            "UnknownHost",
            "UnknownSlot",
            "a plan",
        ],
    ),
    // No hold keeps the standing Demote back (docs/adr/0019).
    (
        "FenceReturned",
        &[
            "FollowsNobody",
            "HostQuarantined",
            "HostSilent",
            "NoCopy",
            "NotServed NoMaster",
            "NotServed Pending",
            "NothingToDo Fenced",
            "StoresBusy",
            "UnknownHost",
            "UnknownSlot",
            "a plan",
        ],
    ),
    // A store with a pending master has none, and its copies are woken: "pending" is no reason here.
    (
        "Follow",
        &[
            "CopyIn it is gone for good",
            "CopyIn it was set aside and no loss case says why",
            "CopyIn it was stopped on purpose",
            "CopyIn settle its loss case first",
            "FollowsNobody",
            "Held",
            "HostIn",
            "HostQuarantined",
            "HostSilent",
            "NoCopy",
            "NotServed NoMaster",
            "NothingToDo Awake",
            "NothingToDo Follows",
            "PossibleMasters",
            "StoresBusy",
            "UnknownHost",
            "UnknownSlot",
            "a plan",
        ],
    ),
    ("RetireHost", &["Held", "HostBusy", "HostHolds", "NobodyAsks", "NothingToDo Retired", "UnknownHost", "a plan"]),
    (
        "RetireStore",
        &[
            "Held",
            "NobodyAsks",
            "NothingToDo StoreRetired",
            "Retire LossCase",
            "Retire NoMaster",
            "Retire NotMade",
            "Retire Pending",
            "Retire PossibleMaster",
            "Retire Silent",
            "StoresBusy",
            "UnknownStore",
            "a plan",
        ],
    ),
    (
        "SettleLoss",
        &[
            "CopyIn it is gone for good",
            "CopyIn it was stopped on purpose",
            "CopyIn its hand-over has not come to its end",
            "CopyIn its loss case is about another copy",
            "FollowsNobody",
            "Held",
            "HostIn",
            "HostQuarantined",
            "HostSilent",
            "LossCaseIn AwaitingReturn",
            "LossCaseIn Discarded",
            "LossCaseIn NothingStranded",
            "LossCaseIn Reinjected",
            "NoCopy",
            "NobodyAsks",
            "NotServed Copy",
            "NotServed Engine",
            "NotServed EngineNotSeen",
            "NotServed HostSilent",
            "NotServed NoMaster",
            "NotServed Pending",
            "PossibleMasters",
            "StoresBusy",
            "UnknownLossCase",
            "a plan",
        ],
    ),
    (
        "StartMaster",
        &[
            "CopyIn look at it",
            "Held",
            "HostIn",
            "HostQuarantined",
            "HostSilent",
            "NoCopy",
            "NotMaster",
            "NotServed NoMaster",
            "NotServed Pending",
            "NothingToDo RunsAsMaster",
            "StoresBusy",
            "UnknownHost",
            "UnknownSlot",
            "a plan",
        ],
    ),
    (
        "Undo",
        &[
            "Held",
            "HostBusy",
            "HostIn",
            "HostQuarantined",
            "HostSilent",
            "NobodyAsks",
            "NothingToDo Undone",
            "Undo",
            "Undo: CopyGone",
            "Undo: CopyIn",
            "Undo: HostIn",
            "Undo: HostQuarantined",
            "Undo: HostSilent",
            "Undo: NotServed",
            "Undo: PossibleMasters",
            "Undo: StoresBusy",
            "UnknownHost",
            "a plan",
        ],
    ),
    // That its host is silent, set aside or out of service is said of the whole undrain.
    (
        "UndrainHost",
        &[
            "Held",
            "HostBusy",
            "HostIn",
            "HostQuarantined",
            "HostSilent",
            "NobodyAsks",
            "NothingToDo Active",
            "Undrain",
            "Undrain: CopyIn",
            "Undrain: NotServed",
            "Undrain: PossibleMasters",
            "Undrain: StoresBusy",
            "UnknownHost",
            "a plan",
        ],
    ),
];

/// Refusals that none of these intents can give, and who gives them instead; a new one stands here or in what was met.
fn elsewhere(refusal: &Refusal) -> Option<&'static str> {
    match refusal {
        Refusal::OtherCluster { .. }
        | Refusal::NotSupported { .. }
        | Refusal::Pinned { .. }
        | Refusal::SlotInUse { .. }
        | Refusal::SpreadBroken { .. } => Some("a cluster file says it"),
        Refusal::TooManyTasks { .. } => Some("only a cluster file makes so many stores"),
        Refusal::Drain { .. } => Some("hosts are drained or emptied: `reasons` judges it"),
        Refusal::NoTarget { .. }
        | Refusal::NotThisTarget { .. }
        | Refusal::NotFenced { .. }
        | Refusal::NoHead(_)
        | Refusal::ManyHeads { .. }
        | Refusal::Brake { .. }
        | Refusal::FailOverHost { .. } => Some("a master is moved: `reasons` judges it"),
        Refusal::NoRoom { .. }
        | Refusal::NotThisPlace { .. }
        | Refusal::TooFewCopies { .. }
        | Refusal::Rebuild { .. } => Some("a copy is built: `reasons` and `packing` judge it"),
        Refusal::CopyGone { .. } => Some("it is said within an undo, of one store"),
        Refusal::Faulty(_) => Some("the planner and its checker never disagree"),
        Refusal::NothingToDo(_)
        | Refusal::NobodyAsks
        | Refusal::UnknownHost(_)
        | Refusal::UnknownSlot(_)
        | Refusal::UnknownStore(_)
        | Refusal::UnknownLossCase(_)
        | Refusal::NoCopy(_)
        | Refusal::HostIn { .. }
        | Refusal::HostQuarantined(_)
        | Refusal::HostSilent(_)
        | Refusal::HostBusy(_)
        | Refusal::StoresBusy(_)
        | Refusal::Held(_)
        | Refusal::NotMaster { .. }
        | Refusal::PossibleMasters { .. }
        | Refusal::NotServed { .. }
        | Refusal::CopyIn { .. }
        | Refusal::FollowsNobody { .. }
        | Refusal::LossCaseIn { .. }
        | Refusal::Undrain { .. }
        | Refusal::Undo { .. }
        | Refusal::HostHolds { .. }
        | Refusal::Retire { .. } => None,
    }
}

/// The same worlds each time, so many that every reason there is comes up.
#[test]
fn every_reason_that_these_intents_have_is_met_and_true() {
    let config = ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let tally = RefCell::new(Tally::new());
    let look = |recipe: Recipe| {
        let untrue = judged(&recipe, &mut tally.borrow_mut());
        if untrue.is_empty() { Ok(()) } else { Err(TestCaseError::fail(format!("{untrue:#?}"))) }
    };
    TestRunner::new_with_rng(config, rng).run(&recipe(), look).unwrap();
    let all = |reasons: &[&str]| reasons.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let wanted: Tally = SAID.iter().map(|(intent, reasons)| (intent.to_string(), all(reasons))).collect();
    let met = tally.take();
    for (intent, reasons) in &wanted {
        let found = met.get(intent).cloned().unwrap_or_default();
        let (never, new): (Vec<_>, Vec<_>) =
            (reasons.difference(&found).collect(), found.difference(reasons).collect());
        assert!(never.is_empty() && new.is_empty(), "{intent}: never met {never:?}, not listed {new:?}");
    }
    assert_eq!(met.len(), wanted.len());
}

/// The judge is no yes-man: of a drained host, a master that died, and a copy that waits for its loss case, nothing else is true.
#[test]
fn what_is_not_so_of_these_intents_is_found_out() {
    let mut world = crate::intents::with_loss_case(LossState::Listed);
    let (old, master) = (slot("imap1/1"), slot("imap2/1"));
    world.said(&master, |status| status.role = EngineRole::Idle);
    let intent = Intent::SettleLoss { case: LossCaseId(12), how: Settlement::Discard };
    let asked = Asked { world: &world, intent: &intent };
    let said = world.plan(intent.clone()).expect_err("its master is idle");
    assert_eq!(asked.truth(&said), Ok(()));
    let epoch = world.cluster.stores[&store(1)].epoch;
    let idle = |epoch| NotWell::Engine { role: EngineRole::Idle, epoch };
    let not_served = |name, why| Refusal::NotServed { store: name, why };
    let copy = |state, next| Refusal::CopyIn { store: store(1), slot: old.clone(), state, next };
    let untrue = [
        not_served(store(2), idle(epoch)),
        not_served(store(1), idle(epoch.next())),
        not_served(store(1), NotWell::NoMaster),
        not_served(store(1), NotWell::HostSilent),
        not_served(store(1), NotWell::Pending(master.clone())),
        copy(CopyState::Quarantined, "its loss case is about another copy; look at it: slotctl show slot"),
        copy(CopyState::Stopped, "it was stopped on purpose: slotctl undrain host"),
        copy(CopyState::Quarantined, "anything else"),
        Refusal::LossCaseIn { case: LossCaseId(12), state: LossState::Listed },
        Refusal::LossCaseIn { case: LossCaseId(12), state: LossState::AwaitingReturn },
        Refusal::UnknownLossCase(LossCaseId(12)),
        Refusal::FollowsNobody { slot: old.clone(), store: store(1) },
        Refusal::PossibleMasters { store: store(1), slots: [old.clone()].into() },
        Refusal::NotMaster { slot: old.clone(), store: store(1), master: Some(master.clone()) },
        Refusal::HostSilent(host(1)),
        Refusal::HostQuarantined(host(1)),
        Refusal::HostBusy(host(1)),
        Refusal::StoresBusy([store(1)].into()),
        Refusal::NoCopy(old.clone()),
        Refusal::UnknownSlot(old.clone()),
        Refusal::UnknownHost(host(1)),
        Refusal::NobodyAsks,
        Refusal::NothingToDo(Nothing::Fenced(old.clone())),
        Refusal::Retire { store: store(1), why: RetireBlock::LossCase(LossCaseId(12)) },
        Refusal::HostHolds { host: host(1), slots: [old.clone()].into() },
        Refusal::Undrain { host: host(1), because: BTreeMap::new() },
        Refusal::Undo { plan: PlanId(17), because: BTreeMap::new() },
        Refusal::NoHead(store(1)),
    ];
    for refusal in untrue {
        assert!(asked.truth(&refusal).is_err(), "{refusal:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// R3, R8, R26: who is said not to be fenced is not, by no word and no device; who is waived is.
    #[test]
    fn a_former_master_counts_as_fenced_where_it_is(recipe in recipe()) {
        let world = recipe.world();
        let moves = |intent: &Intent| matches!(intent,
            Intent::FailOverSlot { .. } | Intent::FailOverStore { .. } | Intent::FailOverHost(_));
        for intent in random::every_intent(&world).into_iter().filter(moves) {
            let judge = Judge { world: &world, intent: &intent };
            match world.plan(intent.clone()) {
                Err(refusal @ Refusal::NotFenced { .. }) => {
                    prop_assert_eq!(judge.refusal(&refusal), Ok(()), "{}: {:?}", &intent, &refusal);
                }
                Err(Refusal::Faulty(fault)) => prop_assert!(false, "{intent}: {fault}"),
                Err(_) => {}
                Ok(plan) => for task in &plan.plan().tasks {
                    let TaskKind::FailOver { from, to, waived, .. } = &task.kind else { continue };
                    let demoted = |slot: &SlotId| task.steps.iter().any(|step| {
                        step.kind == StepKind::Demote && step.at == Some(Place::Slot(slot.clone()))
                    });
                    let store = &world.cluster.stores[task.store.as_ref().unwrap()];
                    let may = store.possible_masters.keys().chain(&store.master).chain([from]).filter(|slot| *slot != to);
                    for slot in may {
                        let allowed = world.cluster.policy.allow_unfenced || !judge.is_loose(slot);
                        prop_assert!(demoted(slot) || waived.contains(slot) && allowed, "{intent}: {slot} of {task:?}");
                    }
                }
            }
        }
    }
}
