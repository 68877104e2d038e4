//! R10: what a restored state is rebuilt to, by what the hosts said; each test is a schedule around the loss.

use crate::plans::*;
use crate::restore::*;
use crate::world::*;
use slot_machine::command::*;
use slot_machine::restore::*;
use slot_machine::state::PlanStatus;
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::order::RoleOrdered;
use slot_types::plan::*;
use slot_types::position::Digest;

const HALF: RoleOrdered = RoleOrdered::Master { done: false };
const DEMOTED: RoleOrdered = RoleOrdered::Demoted { done: true };
const DEMOTING: RoleOrdered = RoleOrdered::Demoted { done: false };

/// What h1, h2 and h3 say they hold of `store1`; h4 holds nothing. The hosts come back in this order.
fn rebuilt_in(world: &mut World, order: &[u8], copies: &[AdoptedCopy; 3]) {
    for h in order {
        let held = copies.get(usize::from(*h) - 1).cloned();
        adopt(world, *h, held.into_iter().collect());
    }
    assert_eq!(world.state.restoring, None);
}

fn rebuilt(copies: [AdoptedCopy; 3]) -> World {
    let mut world = restored_world();
    rebuilt_in(&mut world, &[1, 2, 3, 4], &copies);
    world
}

/// The same, where h4 came back with a disk that the backup does not know: nobody knows what its former one held.
fn rebuilt_without_a_disk(copies: [AdoptedCopy; 3]) -> World {
    let mut world = restored_world();
    for (h, copy) in (1..).zip(copies) {
        adopt(&mut world, h, vec![copy]);
    }
    let (by, reason) = (person("ann"), "new disk".to_string());
    world.ok(Command::AdoptHost { host: host(4), incarnation: disk(9), high_water: LogIndex(0), by, reason });
    world.ok(Command::HostAdopted { host: host(4), said: AdoptedHost { incarnation: disk(9), ..said(4, Vec::new()) } });
    assert_eq!(world.state.restoring, None);
    world
}

fn open_cases(world: &World) -> Vec<SlotId> {
    world.cluster().loss_cases.values().filter(|case| case.state.is_open()).map(|case| case.slot.clone()).collect()
}

fn possible(world: &World) -> Vec<SlotId> {
    world.store(1).possible_masters.keys().cloned().collect()
}

/// A demotes at 2, the coordinators are lost before B is promoted: A's end is the store's (R3), and nothing is lost yet (R7).
#[test]
fn r3_who_was_demoted_and_has_no_successor_is_asked_again() {
    let mut world = rebuilt([copy(epoch(2), DEMOTED), copy(epoch(1), REPLICA), copy(epoch(1), REPLICA)]);
    assert_eq!((world.store(1).epoch, world.store(1).master.clone()), (epoch(2), None));
    assert_eq!((possible(&world), open_cases(&world)), (vec![slot(1, 1)], vec![]));
    world.tips.insert(slot(1, 1), tip(1, 105));
    world.tips.insert(slot(2, 1), tip(1, 100));
    let task = demoting(&world, 1, &slot(1, 1), &slot(2, 1));
    let id = world.start(Intent::FailOverSlot { slot: slot(1, 1), to: Some(slot(2, 1)) }, vec![task]);
    world.drive();
    assert_eq!(world.state.plans[&id].status, PlanStatus::Done, "{:?}", world.run(id, 0));
    assert_eq!(world.store(1).epoch, Epoch { generation: 1, n: 3 }, "above whatever was given after the backup");
    assert!(world.tips[&slot(2, 1)].position.length > 105, "R1: it has caught up from where the demoted one ended");
}

/// R2: an accepted Demote is none before it is done; the engine may acknowledge below it.
#[test]
fn r2_a_demote_that_is_not_done_fences_nobody() {
    let world = rebuilt([copy(epoch(2), DEMOTING), copy(epoch(2), MASTER), copy(epoch(2), REPLICA)]);
    assert_eq!(world.store(1).master, Some(slot(2, 1)));
    assert_eq!((possible(&world), open_cases(&world)), (vec![slot(1, 1)], vec![slot(1, 1)]));
    let world = rebuilt([copy(epoch(2), DEMOTED), copy(epoch(2), MASTER), copy(epoch(2), REPLICA)]);
    assert_eq!((possible(&world), open_cases(&world)), (vec![], vec![]), "its successor is promoted: it is over");
}

/// R7: a loss case is for who was promoted past; nobody was, so a plan that demotes the old master loses nothing.
#[test]
fn r7_no_loss_case_before_anybody_was_promoted_past() {
    let world = rebuilt([copy(epoch(1), MASTER), copy(epoch(2), REPLICA), copy(epoch(1), REPLICA)]);
    assert_eq!((possible(&world), open_cases(&world)), (vec![slot(1, 1)], vec![]));
    assert_eq!(world.copy(1, &slot(1, 1)).state, CopyState::Quarantined);
    let world = rebuilt([copy(epoch(1), MASTER), copy(epoch(2), HALF), copy(epoch(1), REPLICA)]);
    assert_eq!(open_cases(&world), [slot(1, 1)], "its Promote may have been done");
}

/// A listed case waits for a person; its copy must not follow, and lose its end, before that.
#[test]
fn r7_a_copy_whose_loss_case_is_listed_stays_quarantined() {
    let mut world = World::with_store();
    world.write(1, 10, &[slot(2, 1), slot(3, 1)]);
    world.dead.insert(host(1));
    world.attest(1, "ann");
    let task = waiving(&world, 1, &slot(1, 1), &slot(2, 1), FenceLevel::Attested);
    world.start(Intent::FailOverHost(host(1)), vec![task]);
    world.drive();
    world.dead.clear();
    world.seen(1, 2);
    world.stranded.insert(slot(1, 1), vec![RecordId { client: ClientName::new("mta").unwrap(), sequence: 7 }]);
    let task = fence_returned(&world, 1, &slot(1, 1));
    world.start(Intent::FenceReturned { slot: slot(1, 1) }, vec![task]);
    world.drive();
    let case = world.cluster().loss_cases.values().next().unwrap().clone();
    assert_eq!(case.state, LossState::Listed);
    let backup = backup_of(&world.state);
    world.state = restored(&backup, 1).unwrap();
    let at_two = [copy(epoch(2), DEMOTED), copy(epoch(2), MASTER), copy(epoch(2), REPLICA)];
    rebuilt_in(&mut world, &[1, 2, 3, 4], &at_two);
    assert_eq!(open_cases(&world), [slot(1, 1)]);
    assert_eq!(world.copy(1, &slot(1, 1)).state, CopyState::Quarantined);
}

/// S2: a disk that knows less than the backup says it acknowledged was put back; its word is not complete.
#[test]
fn s2_an_older_disk_is_not_readopted() {
    let mut world = restored_world();
    let acknowledged = world.cluster().hosts[&host(1)].acknowledged;
    let Answer::Refused(refused) = word(&mut world, 1, acknowledged.0 - 1) else { panic!("taken") };
    assert!(refused.to_string().contains("older copy of its disk"), "{refused}");
    assert_eq!(word(&mut world, 1, acknowledged.0), Answer::Done);
}

/// The word was for one disk; then another is shown, which took orders of another restored cluster with this number.
#[test]
fn r10_a_second_word_for_another_disk_is_looked_at_as_the_first_was() {
    let mut world = restored_world();
    let (by, reason) = (person("ann"), "again".to_string());
    assert_eq!(word(&mut world, 1, 77), Answer::Done);
    let used = LogIndex(LogIndex::first_of(1).0 + 5);
    let other = Command::AdoptHost { host: host(1), incarnation: disk(8), high_water: used, by, reason };
    assert!(world.refused(other).to_string().contains("--generation 2"));
}

/// The ledger was lost and the engine was not: no copy that anybody could order, and perhaps a master.
#[test]
fn s2_an_engine_that_outlived_its_ledger_is_no_copy_and_may_be_a_master() {
    let loose = AdoptedCopy { serves: Some(epoch(1)), ..copy(Epoch::ZERO, RoleOrdered::Unknown) };
    let world = rebuilt([loose, copy(epoch(2), MASTER), copy(epoch(2), REPLICA)]);
    assert!(!world.store(1).copies.contains_key(&slot(1, 1)));
    assert_eq!(world.store(1).possible_masters[&slot(1, 1)].since, epoch(1));
}

/// S8: the host was drained after the backup, and somebody may have it open.
#[test]
fn s8_what_was_stopped_by_an_order_stays_stopped() {
    let stopped = AdoptedCopy { stopped: true, ..copy(epoch(1), REPLICA) };
    let world = rebuilt([copy(epoch(1), MASTER), copy(epoch(1), REPLICA), stopped]);
    assert_eq!(world.copy(1, &slot(3, 1)).state, CopyState::Stopped);
    assert_eq!(world.cluster().hosts[&host(3)].declared, HostState::Maintenance);
    assert_eq!(world.cluster().hosts[&host(2)].declared, HostState::Active);
}

/// The schedule of R10 with a disk that is gone: after the backup h1 was switched off by its device, the copy on h4 was promoted
/// at 2, and h4's disk is lost with the coordinators. h1 says it is the master at 1, and nothing speaks against it.
#[test]
fn r10_where_a_disk_is_missing_a_master_that_does_not_run_is_not_started() {
    let copies = || [copy(epoch(1), MASTER), copy(epoch(1), REPLICA), copy(epoch(1), REPLICA)];
    assert_eq!(rebuilt(copies()).store(1).master, Some(slot(1, 1)), "every disk has spoken");
    let world = rebuilt_without_a_disk(copies());
    let now = world.store(1);
    assert_eq!((now.master.clone(), now.route.clone(), possible(&world)), (None, None, vec![slot(1, 1)]));
    assert!(now.last_promoted.is_unheard_of(), "R7: a Promote above it may have been issued");
}

/// Whoever is promoted past a running master, or makes it one again, leaves a trace in its ledger; what runs was not fenced.
#[test]
fn r10_where_a_disk_is_missing_a_master_that_serves_is_the_master() {
    let serving = AdoptedCopy { serves: Some(epoch(1)), ..copy(epoch(1), MASTER) };
    let by_hand = AdoptedCopy { by_hand: true, ..serving.clone() };
    let others = || [copy(epoch(1), REPLICA), copy(epoch(1), REPLICA)];
    let [b, c] = others();
    let world = rebuilt_without_a_disk([serving, b, c]);
    assert_eq!(world.store(1).master, Some(slot(1, 1)));
    let [b, c] = others();
    let world = rebuilt_without_a_disk([by_hand, b, c]);
    assert_eq!(world.store(1).master, None, "R19: it was dead, so it may have been fenced before");
}

/// A host that joined after the backup holds the master: nobody waits for it, but its followers name it.
#[test]
fn r10_a_master_that_this_state_does_not_know_is_not_forgotten() {
    let follows = Some((slot(9, 1), epoch(2)));
    let follower = AdoptedCopy { follows, ..copy(epoch(2), REPLICA) };
    let world = rebuilt([copy(epoch(2), DEMOTED), follower, copy(epoch(2), REPLICA)]);
    let now = world.store(1);
    assert_eq!((now.master.clone(), possible(&world)), (None, vec![slot(1, 1), slot(9, 1)]));
    assert!(now.last_promoted.is_unheard_of());
}

/// The Promote's host booted before it answered, and the copy was raised at that epoch (ADR 30): its end is still asked for.
#[test]
fn r3_a_half_made_master_that_was_raised_since_is_still_pending() {
    let mut world = World::with_store();
    world.dead.insert(host(1));
    world.attest(1, "ann");
    let task = waiving(&world, 1, &slot(1, 1), &slot(2, 1), FenceLevel::Attested);
    world.start(Intent::FailOverHost(host(1)), vec![task]);
    world.until(StepKind::Promote);
    assert!(world.store(1).promote_started);
    let backup = backup_of(&world.state);
    world.state = restored(&backup, 1).unwrap();
    rebuilt_in(&mut world, &[1, 2, 3, 4], &[copy(epoch(1), MASTER), copy(epoch(2), REPLICA), copy(epoch(1), REPLICA)]);
    assert_eq!((world.store(1).pending.clone(), world.store(1).promote_started), (Some(slot(2, 1)), true));
}

/// What was made after the backup is not made again beside what the hosts hold.
#[test]
fn s9_a_store_made_after_the_backup_is_learnt_from_the_hosts() {
    let mut world = restored_world();
    let other =
        |h: u8, ordered| AdoptedCopy { store: store(2), slot: 2, sync_copies: 1, ..copy(epoch(h.into()), ordered) };
    adopt(&mut world, 1, vec![copy(epoch(1), MASTER), other(5, DEMOTED)]);
    adopt(&mut world, 2, vec![copy(epoch(1), REPLICA), other(5, MASTER)]);
    adopt(&mut world, 3, vec![copy(epoch(1), REPLICA)]);
    adopt(&mut world, 4, Vec::new());
    let learnt = world.store(2);
    assert_eq!((learnt.epoch, learnt.master.clone()), (epoch(5), Some(slot(2, 2))));
    assert_eq!((learnt.spec.copies, learnt.spec.sync_copies), (2, 1), "R24: never lower in silence");
    assert!(learnt.copies.contains_key(&slot(1, 2)) && !learnt.copies[&slot(1, 2)].whole);
    assert_eq!(learnt.route.as_ref().map(|route| route.slot.clone()), Some(slot(2, 2)));
}

/// A token that was used after the backup is not good for once more.
#[test]
fn r10_tokens_are_void() {
    let mut world = World::with_store();
    let (certificate, reason) = (Digest([3; 32]), "a new machine".to_string());
    world.ok(Command::InviteHost { host: host(4), certificate, by: person("ann"), reason });
    assert!(restored(&backup_of(&world.state), 1).unwrap().invitations.is_empty());
}

/// The order in which hosts come back says nothing.
#[test]
fn s14_hosts_may_come_back_in_any_order() {
    let copies = [copy(epoch(2), DEMOTING), copy(epoch(2), HALF), copy(epoch(1), MASTER)];
    let of = |order: &[u8]| {
        let mut world = restored_world();
        rebuilt_in(&mut world, order, &copies);
        let mut cluster = world.cluster().clone();
        cluster.loss_cases.values_mut().for_each(|case| case.opened = LogTime(0));
        cluster
    };
    let first = of(&[1, 2, 3, 4]);
    for order in [[4, 3, 2, 1], [2, 4, 1, 3], [3, 1, 4, 2]] {
        assert_eq!(of(&order), first);
    }
}

/// The cluster file names a host that joined after the backup: what its disk holds is nobody's to give away again.
#[test]
fn s2_the_first_contact_admits_no_disk_that_took_orders_before_the_restore() {
    let mut world = rebuilt([copy(epoch(1), MASTER), copy(epoch(1), REPLICA), copy(epoch(1), REPLICA)]);
    let fresh = world.cluster().hosts[&host(4)].clone();
    world.cluster_mut().hosts.insert(host(9), Host { incarnation: None, boot: None, ..fresh });
    let seen = |high_water| Command::HostSeen {
        host: host(9),
        incarnation: disk(9),
        boot: boot(9, 1),
        high_water,
        silence: SILENCE,
        first: false,
    };
    world.ok(seen(LogIndex(44)));
    assert_eq!(world.cluster().hosts[&host(9)].incarnation, None);
    assert!(world.cluster().hosts[&host(9)].quarantined.is_some());
    world.cluster_mut().hosts.get_mut(&host(9)).unwrap().quarantined = None;
    world.ok(seen(LogIndex(0)));
    assert_eq!(world.cluster().hosts[&host(9)].incarnation, Some(disk(9)));
}
