//! R10, S16: a state that comes back from a backup.

use crate::plans::*;
use crate::world::*;
use slot_machine::command::*;
use slot_machine::restore::*;
use slot_machine::state::*;
use slot_types::backup::*;
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::order::RoleOrdered;
use slot_types::plan::*;
use slot_types::view::AuditLine;

pub(crate) const MASTER: RoleOrdered = RoleOrdered::Master { done: true };
pub(crate) const REPLICA: RoleOrdered = RoleOrdered::Replica;

pub(crate) fn backup_of(state: &State) -> Backup {
    let cluster = state.cluster.as_ref().unwrap();
    let audit: Vec<AuditLine> = state
        .audit
        .entries
        .iter()
        .cloned()
        .map(|e| AuditLine {
            number: e.number,
            index: e.index,
            log_time: e.log_time,
            wall: e.wall,
            actor: e.actor,
            event: e.event,
            hash: e.hash,
        })
        .collect();
    let head = BackupHead {
        cluster: cluster.id,
        name: cluster.name.clone(),
        generation: cluster.generation,
        revision: state.revision,
        applied: state.applied,
        wall: state.wall,
        audit_last: state.audit.last_number(),
        audit_head: state.audit.head(),
    };
    let (audit_trimmed, audit_trimmed_hash) = (state.audit.trimmed_through, state.audit.trimmed_hash);
    let view = BackupView { head, audit_trimmed, audit_trimmed_hash, state: state.for_backup() };
    Backup::from_file(&Backup { view, audit }.to_file()).unwrap()
}

/// `store1` on h1 (master, epoch 1) and h2, backed up and restored as generation 1.
pub(crate) fn restored_world() -> World {
    let mut world = World::with_store();
    let task = hand_over(&world, 1, &slot(1, 1), &slot(2, 1));
    world.record(&world.plan(Intent::FailOverSlot { slot: slot(1, 1), to: None }, vec![task]));
    world.attest(3, "ann");
    let backup = backup_of(&world.state);
    world.state = restored(&backup, 1).unwrap();
    world
}

pub(crate) fn copy(epoch: Epoch, ordered: RoleOrdered) -> AdoptedCopy {
    AdoptedCopy {
        slot: 1,
        store: store(1),
        generation: CopyGeneration(1),
        epoch,
        ordered,
        stopped: false,
        sync_copies: 0,
        follows: None,
        serves: None,
        by_hand: false,
    }
}

pub(crate) fn said(h: u8, copies: Vec<AdoptedCopy>) -> AdoptedHost {
    AdoptedHost { incarnation: disk(h), boot: boot(h, 9), high_water: LogIndex::first_of(1), copies }
}

pub(crate) fn word(world: &mut World, h: u8, high_water: u64) -> Answer {
    let (by, reason) = (person("ann"), "after the fire".to_string());
    world.apply(Command::AdoptHost {
        host: host(h),
        incarnation: disk(h),
        high_water: LogIndex(high_water),
        by,
        reason,
    })
}

pub(crate) fn adopt(world: &mut World, h: u8, copies: Vec<AdoptedCopy>) {
    assert_eq!(word(world, h, 77), Answer::Done);
    world.ok(Command::HostAdopted { host: host(h), said: said(h, copies) });
}

pub(crate) fn hosts(world: &World) -> Vec<u8> {
    (1..=9).filter(|h| world.cluster().hosts.contains_key(&host(*h))).collect()
}

/// Every host but h1 and h2 holds nothing.
pub(crate) fn adopt_all(world: &mut World, first: Vec<AdoptedCopy>, second: Vec<AdoptedCopy>) {
    for h in hosts(world) {
        match h {
            1 => adopt(world, 1, first.clone()),
            2 => adopt(world, 2, second.clone()),
            h => adopt(world, h, Vec::new()),
        }
    }
    assert_eq!(world.state.restoring, None);
}

#[test]
fn r10_a_restore_voids_what_was_under_way_and_begins_above_everything_given_before() {
    let world = restored_world();
    let state = &world.state;
    assert!(state.plans.is_empty() && state.store_claims.is_empty() && state.sessions.is_empty());
    assert!(world.cluster().attestations.is_empty());
    assert_eq!(world.store(1).route, None, "nobody is sent where a master was");
    assert_eq!((world.cluster().generation, state.applied, state.term.0), (1, LogIndex(1 << 40), 1 << 40));
    assert!(state.last_plan >= PlanId(1_000_000_000));
    assert_eq!(state.audit.first_broken(), None, "S12: the chain goes on");
    assert!(state.audit.entries.back().unwrap().event.contains("this is generation 1"));
    assert!(world.cluster().hosts.values().all(|h| h.quarantined == Some(HostQuarantine::Restored)));
}

/// A token that was used after the backup was taken is not known to be burnt: whoever copied it could join with another key.
#[test]
fn r10_a_restore_voids_invitations() {
    let mut world = World::with_store();
    let certificate = slot_types::position::Digest::of(b"token");
    world.ok(Command::InviteHost { host: host(9), certificate, by: person("ann"), reason: "new".into() });
    assert!(restored(&backup_of(&world.state), 1).unwrap().invitations.is_empty());
}

#[test]
fn r10_every_coordinator_begins_with_the_same_bytes() {
    let backup = backup_of(&World::with_store().state);
    assert_eq!(restored(&backup, 1).unwrap().snapshot(), restored(&backup, 1).unwrap().snapshot());
}

#[test]
fn r10_a_generation_only_grows() {
    let backup = backup_of(&World::with_store().state);
    for asked in [0, GENERATION_MAX + 1] {
        assert_eq!(restored(&backup, asked).unwrap_err(), RestoreError::Generation { asked, held: 0 });
    }
    let again = backup_of(&restored(&backup, 3).unwrap());
    assert!(restored(&again, 3).is_err() && restored(&again, 4).is_ok());
}

#[test]
fn r10_nothing_moves_before_every_host_was_re_adopted() {
    let mut world = restored_world();
    let plan = world.plan(Intent::DrainHost(host(1)), Vec::new());
    let refused = world.refused(Command::RecordPlan { bytes: plan.bytes() });
    assert!(matches!(&refused, Refused::Restoring { hosts } if hosts.contains("h1")), "{refused:?}");
    let all = hosts(&world);
    for h in &all[1..] {
        adopt(&mut world, *h, Vec::new());
    }
    assert!(matches!(world.refused(Command::RecordPlan { bytes: plan.bytes() }), Refused::Restoring { .. }));
    assert!(world.sends().is_empty());
    adopt(&mut world, 1, vec![copy(epoch(1), MASTER)]);
    assert_eq!(world.state.restoring, None);
}

#[test]
fn r10_a_host_adopts_by_a_persons_word_first_and_by_its_own_durable_word_then() {
    let mut world = restored_world();
    world.ok(Command::HostAdopted { host: host(1), said: said(1, Vec::new()) });
    assert!(world.state.restoring.as_ref().unwrap().missing().contains(&host(1)), "nobody has said so");
    assert_eq!(word(&mut world, 1, 77), Answer::Done);
    let old = AdoptedHost { high_water: LogIndex(77), ..said(1, Vec::new()) };
    world.refused(Command::HostAdopted { host: host(1), said: old });
    let other = AdoptedHost { incarnation: disk(7), ..said(1, Vec::new()) };
    world.refused(Command::HostAdopted { host: host(1), said: other });
    assert!(world.state.restoring.as_ref().unwrap().missing().contains(&host(1)));
    world.ok(Command::HostAdopted { host: host(1), said: said(1, Vec::new()) });
    assert!(!world.state.restoring.as_ref().unwrap().missing().contains(&host(1)));
}

/// Another restore of the same backup has ordered things at this generation: none of its numbers is given again.
#[test]
fn r10_a_generation_that_was_used_is_not_used_again() {
    let mut world = restored_world();
    let used = LogIndex::first_of(1).0 + 55;
    let Answer::Refused(refused) = word(&mut world, 1, used) else { panic!("taken") };
    assert!(refused.to_string().contains("--generation 2"), "{refused}");
}

/// The schedule of R10: a backup at epoch 1, and h2 was made master at 2 after it.
#[test]
fn r10_the_highest_epoch_that_any_host_holds_wins_and_the_next_is_above_all() {
    let mut world = restored_world();
    let follower = AdoptedCopy { follows: Some((slot(2, 1), epoch(2))), ..copy(epoch(2), REPLICA) };
    adopt_all(&mut world, vec![follower.clone()], vec![copy(epoch(2), MASTER)]);
    assert_eq!(world.copy(1, &slot(1, 1)).follows, follower.follows, "R16: who follows is not told again");
    let now = world.store(1);
    assert_eq!((now.epoch, now.master.clone(), now.pending.clone()), (epoch(2), Some(slot(2, 1)), None));
    assert_eq!(now.route.as_ref().map(|r| (r.slot.clone(), r.epoch)), Some((slot(2, 1), epoch(2))));
    assert!(now.possible_masters.is_empty());
    assert!(world.cluster().loss_cases.is_empty());
    assert!(world.cluster().hosts.values().all(|h| h.quarantined.is_none()));
}

#[test]
fn r3_a_master_of_before_is_a_possible_master_with_a_loss_case() {
    let mut world = restored_world();
    adopt_all(&mut world, vec![copy(epoch(1), MASTER)], vec![copy(epoch(4), MASTER)]);
    let now = world.store(1);
    assert_eq!((now.epoch, now.master.clone()), (epoch(4), Some(slot(2, 1))));
    assert_eq!(now.possible_masters[&slot(1, 1)].since, epoch(1));
    assert_eq!(world.copy(1, &slot(1, 1)).state, CopyState::Quarantined);
    let (id, case) = world.cluster().loss_cases.iter().next().unwrap();
    assert_eq!((&case.slot, &case.state), (&slot(1, 1), &LossState::AwaitingReturn));
    assert!(*id > LossCaseId(1_000_000));
}

#[test]
fn r3_a_promote_without_an_end_leaves_the_slot_pending() {
    let mut world = restored_world();
    let half = copy(epoch(2), RoleOrdered::Master { done: false });
    adopt_all(&mut world, vec![copy(epoch(2), REPLICA)], vec![half]);
    let now = world.store(1);
    assert_eq!((now.master.clone(), now.pending.clone(), now.promote_started), (None, Some(slot(2, 1)), true));
}

#[test]
fn r16_a_copy_that_no_host_holds_is_gone_and_one_that_nobody_knew_does_not_count() {
    let mut world = restored_world();
    let moved = AdoptedCopy { slot: 2, ..copy(epoch(1), REPLICA) };
    for h in hosts(&world) {
        match h {
            1 => adopt(&mut world, 1, vec![copy(epoch(1), MASTER)]),
            3 => adopt(&mut world, 3, vec![moved.clone()]),
            h => adopt(&mut world, h, Vec::new()),
        }
    }
    let now = world.store(1);
    assert!(!now.copies.contains_key(&slot(2, 1)));
    assert_eq!(now.past[&slot(2, 1)], CopyGeneration(1));
    assert!(now.unheard.contains(&slot(2, 1)), "R7: an acknowledgement may have rested on it");
    assert!(!now.copies[&slot(3, 2)].whole);
}
