//! The rules of protocol.md, by name: followers, versions, sessions, audit, everyday recovery, boots, drains, placement.

use crate::plans::*;
use crate::world::*;
use slot_machine::command::*;
use slot_machine::state::*;
use slot_types::cluster::*;
use slot_types::codec::{self, CodecError};
use slot_types::ids::*;
use slot_types::order::{Done, NeverWill, Outcome};
use slot_types::plan::*;
use slot_types::position::Digest;

/// R16: a building copy is never handed over to, nor one that follows another master or epoch.
#[test]
fn r16_only_a_copy_that_follows_the_master_is_handed_over_to() {
    for damage in [
        |c: &mut Copy| c.state = CopyState::Building,
        |c: &mut Copy| c.follows = None,
        |c: &mut Copy| c.follows = Some((slot(3, 1), epoch(1))),
        |c: &mut Copy| c.follows = Some((slot(1, 1), epoch(0))),
    ] {
        let mut world = World::with_store();
        damage(world.cluster_mut().stores.get_mut(&store(1)).unwrap().copies.get_mut(&slot(2, 1)).unwrap());
        let task = hand_over(&world, 1, &slot(1, 1), &slot(2, 1));
        world.start(Intent::FailOverSlot { slot: slot(1, 1), to: None }, vec![task]);
        assert!(!world.start_all());
        assert_eq!(world.blocked().len(), 1);
    }
}

/// R16: a demoted master counts again only after it followed.
#[test]
fn r16_a_demoted_master_builds_until_it_follows() {
    let mut world = World::with_store();
    let task = hand_over(&world, 1, &slot(1, 1), &slot(2, 1));
    world.start(Intent::FailOverSlot { slot: slot(1, 1), to: None }, vec![task]);
    world.until(StepKind::Follow);
    assert_eq!(world.copy(1, &slot(1, 1)).state, CopyState::Building);
    world.drive();
    assert_eq!(world.copy(1, &slot(1, 1)).state, CopyState::Serving);
}

/// R20: an unknown version is refused at decoding, and both numbers are named.
#[test]
fn r20_an_unknown_version_stops_at_decoding() {
    let request = None;
    let proposal = Proposal { request, log_time: LogTime(1), wall: WallTime(1), command: Command::OpenSession };
    let mut bytes = codec::encode(&proposal);
    assert_eq!(codec::decode::<Proposal>(&bytes), Ok(proposal));
    bytes[0] = 7;
    let why = codec::decode::<Proposal>(&bytes).unwrap_err();
    assert_eq!(why, CodecError::UnknownVersion { name: "log entry", found: 7, supported: 2 });
    let text = why.to_string();
    assert!(text.contains('7') && text.contains('2'), "{text}");
    let mut world = World::new();
    let level = |level| Command::RaiseFeatureLevel { level };
    assert!(matches!(world.refused(level(2)), Refused::FeatureLevel { asked: 2, now: 1, supported: 1 }));
    assert!(matches!(world.refused(level(1)), Refused::FeatureLevel { .. }));
}

/// R21: a retry is answered, not applied; an evicted session's request is refused; answers are a set, not a high-water mark.
#[test]
fn r21_retries_sessions_and_out_of_order_sequences() {
    let mut world = World::with_store();
    let Answer::Session(session) = world.apply(Command::OpenSession) else { panic!() };
    let task = hand_over(&world, 1, &slot(1, 1), &slot(2, 1));
    let bytes = world.plan(Intent::FailOverSlot { slot: slot(1, 1), to: None }, vec![task]).bytes();
    let ask = |sequence| Some(RequestId { session, sequence });
    let first = world.submit(ask(5), Command::RecordPlan { bytes: bytes.clone() });
    assert_eq!(world.submit(ask(5), Command::RecordPlan { bytes: bytes.clone() }), first);
    assert_eq!(world.state.last_plan, PlanId(3), "recorded once");
    // A lower sequence that was never seen is new.
    for sequence in [0, 3, 4] {
        assert_ne!(world.submit(ask(sequence), Command::RecordPlan { bytes: bytes.clone() }), first);
    }
    for sequence in 10..10 + ANSWERS_PER_SESSION_MAX as u64 {
        world.submit(ask(sequence), Command::RaiseFeatureLevel { level: 9 });
    }
    for sequence in [0, 3, 4, 5] {
        let again = world.submit(ask(sequence), Command::RecordPlan { bytes: bytes.clone() });
        assert!(matches!(again, Answer::Refused(Refused::SequenceTooOld { .. })), "{again:?}");
    }
    for _ in 0..SESSIONS_MAX {
        world
            .state
            .sessions
            .insert(world.index + 1_000_000, Session { last_used: LogIndex(u64::MAX), ..Session::default() });
        world.index += 1;
    }
    while world.state.sessions.len() > SESSIONS_MAX {
        world.state.sessions.pop_last();
    }
    world.ok(Command::OpenSession);
    let evicted = world.submit(ask(99), Command::RecordPlan { bytes });
    assert_eq!(evicted, Answer::Refused(Refused::SessionUnknown(session)));
}

/// R22: the chain is trimmed only at an entry whose archived hash is named; what is left verifies and travels in snapshots.
#[test]
fn r22_the_audit_is_trimmed_at_an_archived_point() {
    let mut world = World::with_store();
    let entry = world.state.audit.entries[4].clone();
    let wrong = Command::TrimAudit { through: entry.number, hash: Digest::default(), by: person("ann") };
    assert_eq!(world.refused(wrong), Refused::AuditTrim(entry.number));
    world.ok(Command::TrimAudit { through: entry.number, hash: entry.hash, by: person("ann") });
    assert_eq!(world.state.audit.trimmed_through, entry.number);
    let restored = State::restore(&world.state.snapshot()).unwrap();
    assert_eq!(restored.audit.first_broken(), None);
    assert_eq!(restored.audit.head(), world.state.audit.head());
    let mut forged = restored.clone();
    forged.audit.entries[2].event.push('!');
    assert!(forged.audit.first_broken().is_some());
    assert!(matches!(State::restore(&[9, 0, 1]), Err(CodecError::UnknownVersion { found: 9, .. })));
}

/// R25: the same master at the same epoch, without a yes, at a bounded rate; anything else is no everyday recovery.
#[test]
fn r25_start_master_is_everyday_and_bounded() {
    let mut world = World::with_store();
    let everyday =
        |world: &World| world.plan(Intent::StartMaster { slot: slot(1, 1) }, vec![start_master(world, 1, &slot(1, 1))]);
    let plan = everyday(&world);
    let id = world.record(&plan);
    world.drive();
    assert_eq!(world.state.plans[&id].status, PlanStatus::Done);
    assert_eq!(world.store(1).epoch, epoch(1));
    world.cluster_mut().policy.everyday_per_minute = 2;
    let plan = everyday(&world);
    world.record(&plan);
    world.drive();
    let plan = everyday(&world);
    assert_eq!(world.propose(&plan), Answer::Refused(Refused::EverydayRate { per_minute: 2 }));
    world.now += 60_000;
    world.record(&plan);
}

#[test]
fn r25_what_is_not_everyday_recovery_is_refused() {
    let mut world = World::with_store();
    let start = Intent::StartMaster { slot: slot(2, 1) };
    let other_slot = world.plan(start.clone(), vec![start_master(&world, 1, &slot(2, 1))]);
    assert!(matches!(world.propose(&other_slot), Answer::Refused(_)), "a replica");
    let hands_over = world.plan(start.clone(), vec![hand_over(&world, 1, &slot(1, 1), &slot(2, 1))]);
    assert!(matches!(world.propose(&hands_over), Answer::Refused(_)), "a hand-over");
    let mut sneaky = follow(&world, 1, &slot(2, 1));
    sneaky.steps.push(at(StepKind::Stop, &slot(3, 1)));
    let sneaky = world.plan(Intent::Follow { slot: slot(2, 1) }, vec![sneaky]);
    assert!(matches!(world.propose(&sneaky), Answer::Refused(_)), "a stop behind a follow");
    let mut asked = world.plan(Intent::StartMaster { slot: slot(1, 1) }, vec![start_master(&world, 1, &slot(1, 1))]);
    asked.requested_by = Some(person("ann"));
    assert!(matches!(world.propose(&asked), Answer::Refused(_)), "asked for by a person");
    // A higher epoch is committed: not the same master any more.
    let old = start_master(&world, 1, &slot(1, 1));
    let task = demoting(&world, 1, &slot(1, 1), &slot(2, 1));
    world.start(Intent::FailOverSlot { slot: slot(1, 1), to: None }, vec![task]);
    world.drive();
    let old = world.plan(Intent::StartMaster { slot: slot(1, 1) }, vec![old]);
    assert!(matches!(world.propose(&old), Answer::Refused(_)));
}

/// R25, L2: an everyday order to a silent host does not hold its store for ever.
#[test]
fn r25_an_everyday_order_to_a_silent_host_lets_go() {
    let mut world = World::with_store();
    let plan = world.plan(Intent::Follow { slot: slot(2, 1) }, vec![follow(&world, 1, &slot(2, 1))]);
    let id = world.record(&plan);
    world.until(StepKind::Follow);
    world.dead.insert(host(2));
    world.all_stuck();
    assert!(world.state.plans[&id].status.is_ended());
    assert!(world.state.store_claims.is_empty());
    assert_eq!(world.copy(1, &slot(2, 1)).state, CopyState::Building, "R16: its fate is not known");
}

/// R27: an order for a boot that has ended is issued anew for the new one, and no attempt is wasted in between.
#[test]
fn r27_a_boot_that_has_ended_is_not_ordered_again() {
    let mut world = World::with_store();
    let task = hand_over(&world, 1, &slot(1, 1), &slot(2, 1));
    let id = world.start(Intent::FailOverSlot { slot: slot(1, 1), to: None }, vec![task]);
    let demote = world.until(StepKind::Demote);
    assert_eq!(demote.boot, boot(1, 1));
    world.finish(demote.id, never(NeverWill::BootEnded(boot(1, 1))));
    assert!(!world.start_all(), "its new boot was not heard of yet");
    assert!(world.blocked()[0].contains("booted again"));
    // A report of the old boot that was late is not believed.
    world.ok(Command::HostSeen {
        host: host(1),
        incarnation: disk(1),
        boot: boot(1, 1),
        high_water: LogIndex(9_999),
        silence: SILENCE,
        first: false,
    });
    assert!(!world.start_all());
    world.seen(1, 2);
    world.start_all();
    let again = world.order(StepKind::Demote);
    assert_eq!((again.boot, again.id.attempt), (boot(1, 2), 2));
    world.drive();
    assert_eq!(world.state.plans[&id].status, PlanStatus::Done);
}

/// R28: a weakly fenced master stays a possible master; each later Promote needs it fenced or waived by name again.
#[test]
fn r28_a_weakly_fenced_master_is_not_forgotten() {
    let mut world = World::with_store();
    world.dead.insert(host(1));
    world.attest(1, "ann");
    let task = waiving(&world, 1, &slot(1, 1), &slot(2, 1), FenceLevel::Attested);
    world.start(Intent::FailOverHost(host(1)), vec![task]);
    world.drive();
    assert!(world.store(1).possible_masters.contains_key(&slot(1, 1)));
    // A planned hand-over never waives.
    let follow = world.plan(Intent::Follow { slot: slot(3, 1) }, vec![follow(&world, 1, &slot(3, 1))]);
    world.record(&follow);
    world.drive();
    let task = hand_over(&world, 1, &slot(2, 1), &slot(3, 1));
    let id = world.start(Intent::FailOverSlot { slot: slot(2, 1), to: None }, vec![task]);
    assert!(!world.start_all());
    assert!(world.blocked()[0].contains("h1/01"), "{:?}", world.blocked());
    world.ok(Command::AbortPlan { plan: id, by: person("ann"), reason: "no".into() });
    // Nor does a failover forget it.
    let task = demoting(&world, 1, &slot(2, 1), &slot(3, 1));
    let plan = world.plan(Intent::FailOverSlot { slot: slot(2, 1), to: None }, vec![task]);
    let id = world.record(&plan);
    assert!(matches!(world.approve(id, "ann"), Err(Refused::Precondition(_))));
}

/// S2, R27: the first word of a boot, applied again after orders of that boot were acknowledged, is no older disk's.
#[test]
fn s2_the_first_word_of_a_boot_may_be_said_twice() {
    let mut world = World::with_store();
    let acknowledged = world.cluster().hosts[&host(3)].acknowledged;
    let seen = |high_water, first| Command::HostSeen {
        host: host(3),
        incarnation: disk(3),
        boot: boot(3, 2),
        high_water,
        silence: SILENCE,
        first,
    };
    world.ok(seen(acknowledged, true));
    world.cluster_mut().hosts.get_mut(&host(3)).unwrap().acknowledged = LogIndex(acknowledged.0 + 3);
    world.ok(seen(acknowledged, true));
    assert_eq!(world.cluster().hosts[&host(3)].quarantined, None);
    // A later word is held against all of it, and so is the first one of the next boot.
    world.ok(seen(acknowledged, false));
    assert!(matches!(world.cluster().hosts[&host(3)].quarantined, Some(HostQuarantine::OlderDisk { .. })));
    let mut world = World::with_store();
    world.ok(seen(LogIndex(acknowledged.0 - 1), true));
    assert!(matches!(world.cluster().hosts[&host(3)].quarantined, Some(HostQuarantine::OlderDisk { .. })));
}

/// S2, R27: a word of a boot that has ended was on its way while the host booted again, and the next boot may have acknowledged
/// orders since: it is a sign of life and says nothing of the disk.
#[test]
fn s2_a_late_word_of_an_ended_boot_is_no_older_disk() {
    let mut world = World::with_store();
    let acknowledged = world.cluster().hosts[&host(3)].acknowledged;
    world.seen(3, 2);
    world.state.ended_boots.insert(host(3), boot(3, 1));
    world.cluster_mut().hosts.get_mut(&host(3)).unwrap().acknowledged = LogIndex(acknowledged.0 + 3);
    world.ok(Command::HostSeen {
        host: host(3),
        incarnation: disk(3),
        boot: boot(3, 1),
        high_water: acknowledged,
        silence: SILENCE,
        first: true,
    });
    let now = &world.cluster().hosts[&host(3)];
    assert_eq!((now.quarantined.clone(), now.boot), (None, Some(boot(3, 2))));
}

/// S2: a wiped, replaced, cloned or older disk gets no orders; admitting another one takes a person.
#[test]
fn s2_other_and_older_disks_are_quarantined() {
    let mut world = World::with_store();
    let seen = |incarnation, high_water| Command::HostSeen {
        host: host(3),
        incarnation,
        boot: boot(3, 2),
        high_water,
        silence: SILENCE,
        first: false,
    };
    let acknowledged = world.cluster().hosts[&host(3)].acknowledged;
    assert!(acknowledged > LogIndex(0));
    world.ok(seen(disk(3), LogIndex(acknowledged.0 - 1)));
    assert!(matches!(world.cluster().hosts[&host(3)].quarantined, Some(HostQuarantine::OlderDisk { .. })));
    let plan = world.plan(Intent::Follow { slot: slot(3, 1) }, vec![follow(&world, 1, &slot(3, 1))]);
    assert!(matches!(world.propose(&plan), Answer::Refused(_)));
    world.ok(seen(disk(3), acknowledged));
    assert!(world.cluster().hosts[&host(3)].quarantined.is_some(), "an older disk does not become whole by itself");
    let admit = |n| Command::AdmitHost { host: host(3), incarnation: disk(n), by: person("ann"), reason: "new".into() };
    assert!(matches!(world.refused(admit(3)), Refused::Precondition(_)));
    world.ok(seen(disk(66), LogIndex(0)));
    assert!(matches!(world.refused(admit(67)), Refused::Precondition(_)));
    world.ok(admit(66));
    assert_eq!(world.copy(1, &slot(3, 1)).state, CopyState::Building, "R16: the new disk holds nothing");
    // A master's disk is not replaced before it is failed over.
    world.ok(Command::HostSeen {
        host: host(1),
        incarnation: disk(99),
        boot: boot(1, 2),
        high_water: LogIndex(0),
        silence: SILENCE,
        first: false,
    });
    let admit = Command::AdmitHost { host: host(1), incarnation: disk(99), by: person("ann"), reason: "new".into() };
    assert!(matches!(world.refused(admit), Refused::Precondition(_)));
}

/// S8: Maintenance needs no master, stopped copies, and the agent's own word; nothing slips in between.
#[test]
fn s8_nothing_starts_between_the_proof_and_the_declaration() {
    let mut world = World::with_store();
    let tasks = vec![stop(&world, 1, &slot(3, 1)), after(host_state(3, HostState::Maintenance), &[0])];
    let id = world.start(Intent::DrainHost(host(3)), tasks);
    let confirm = world.until(StepKind::ConfirmStopped);
    // Everyday recovery does not start what was stopped on purpose.
    let plan = world.plan(Intent::Follow { slot: slot(3, 1) }, vec![follow(&world, 1, &slot(3, 1))]);
    assert!(matches!(world.propose(&plan), Answer::Refused(_)));
    // A person's failover may; then the host is not declared, whatever was confirmed before.
    let task = demoting(&world, 1, &slot(1, 1), &slot(3, 1));
    world.start(Intent::FailOverSlot { slot: slot(1, 1), to: None }, vec![task]);
    world.start_all();
    world.answer_as_agent(&host(3), &confirm);
    assert!(!world.start_all() || world.cluster().hosts[&host(3)].declared != HostState::Maintenance);
    world.drive();
    assert_ne!(world.cluster().hosts[&host(3)].declared, HostState::Maintenance);
    assert_eq!(world.store(1).master, Some(slot(3, 1)));
    world.all_stuck();
    assert!(matches!(world.state.plans[&id].status, PlanStatus::Stopped | PlanStatus::Paused { by: None, .. }));
}

#[test]
fn s8_what_still_runs_is_asked_again_and_bounded() {
    let mut world = World::new();
    let id = world.start(Intent::DrainHost(host(4)), vec![host_state(4, HostState::Maintenance)]);
    for attempt in 1..=ATTEMPTS_MAX {
        let confirm = world.until(StepKind::ConfirmStopped);
        assert_eq!(confirm.id.attempt, attempt);
        world.finish(confirm.id, never(NeverWill::StillRunning("slot 01 (store1)".into())));
    }
    assert!(matches!(world.state.plans[&id].status, PlanStatus::Paused { by: None, .. }));
}

#[test]
fn s8_the_proof_is_of_the_host_itself_and_nothing_is_started_in_maintenance() {
    let mut world = World::with_store();
    let mut other = host_state(4, HostState::Maintenance);
    other.steps[0].at = Some(Place::Host(host(3)));
    let plan = world.plan(Intent::DrainHost(host(4)), vec![other]);
    assert!(matches!(world.propose(&plan), Answer::Refused(Refused::BadPlan(_))));
    for to in [HostState::Empty, HostState::Retired, HostState::Off] {
        let id = world.start(Intent::DrainHost(host(1)), vec![host_state(1, to)]);
        assert!(!world.start_all(), "{to} with a master on it");
        world.all_stuck();
        world.ok(Command::AbortPlan { plan: id, by: person("ben"), reason: "no".into() });
    }
    let tasks = vec![stop(&world, 1, &slot(3, 1)), after(host_state(3, HostState::Maintenance), &[0])];
    world.start(Intent::DrainHost(host(3)), tasks);
    world.drive();
    assert_eq!(world.cluster().hosts[&host(3)].declared, HostState::Maintenance);
    let task = demoting(&world, 1, &slot(1, 1), &slot(3, 1));
    let plan = world.plan(Intent::FailOverSlot { slot: slot(1, 1), to: None }, vec![task]);
    let id = world.record(&plan);
    assert!(matches!(world.approve(id, "ann"), Err(Refused::Precondition(_))), "a master where a person may unplug");
    let undrain = follow(&world, 1, &slot(3, 1));
    world.start(Intent::UndrainHost(host(3)), vec![undrain]);
    assert!(!world.start_all(), "S8: first the host is declared Active");
}

/// S9: distinct domains, free slots of a size, active hosts, as many copies as wanted.
#[test]
fn s9_placement() {
    let mut world = World::with_store();
    world.cluster_mut().hosts.get_mut(&host(4)).unwrap().declared = HostState::Draining;
    let mut few = create(2, &[slot(1, 2), slot(2, 2)]);
    if let TaskKind::CreateStore { spec, .. } = &mut few.kind {
        spec.copies = 3;
    }
    let mut large = create(2, &[slot(1, 2), slot(2, 2)]);
    if let TaskKind::CreateStore { spec, .. } = &mut large.kind {
        spec.size_bytes = 2 << 30;
    }
    let cases = [
        ("two on one host", create(2, &[slot(1, 2), slot(1, 1)])),
        ("taken", create(2, &[slot(1, 1), slot(2, 2)])),
        ("draining", create(2, &[slot(1, 2), slot(4, 1)])),
        ("no such slot", create(2, &[slot(1, 2), slot(2, 9)])),
        ("too few", few),
        ("too large", large),
    ];
    for (why, task) in cases {
        let plan = world.plan(Intent::Apply(Box::new(fleet())), vec![task]);
        let id = world.record(&plan);
        world.approve(id, "ann").unwrap();
        assert!(!world.start_all(), "{why}");
        world.all_stuck();
        assert!(world.state.plans[&id].status.is_ended());
    }
    assert!(!world.cluster().stores.contains_key(&store(2)));
}

/// S12: every person's word is in the chain, refused ones too.
#[test]
fn s12_refusals_of_persons_are_audited() {
    let mut world = World::with_store();
    let before = world.state.audit.last_number();
    world.refused(Command::RejectPlan { plan: PlanId(77), by: person("eve"), reason: "x".into() });
    assert_eq!(world.state.audit.last_number(), before + 1);
    assert_eq!(world.state.audit.entries.back().unwrap().actor, "eve");
}

/// What an agent says is kept within bounds in the audit, and a word nobody waits for is not kept at all.
#[test]
fn words_are_bounded() {
    let mut world = World::with_store();
    let task = hand_over(&world, 1, &slot(1, 1), &slot(2, 1));
    let id = world.start(Intent::FailOverSlot { slot: slot(1, 1), to: None }, vec![task]);
    let order = world.until(StepKind::CatchUp);
    world.finish(order.id, never(NeverWill::Engine("é".repeat(5_000))));
    assert!(world.state.audit.entries.iter().all(|e| e.event.len() < 2_000));
    world.drive();
    let entries = world.state.audit.entries.len();
    for bit in [0x8000, 0x4000, 0x2000, 0xC000] {
        let late = OrderId { plan: id, task: 0, step: bit, attempt: 1 };
        assert!(matches!(world.finish(late, Outcome::Done(Done::Plain)), Answer::Refused(_)));
    }
    assert_eq!(world.state.audit.entries.len(), entries);
}
