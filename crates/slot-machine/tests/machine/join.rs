//! Hosts that join with a one-time token: who may, once, for a day, and which disk is admitted with it (docs/adr/0024).

use crate::plans::*;
use crate::world::*;
use slot_machine::command::*;
use slot_machine::join::{Fate, Guest, INVITATION_MS, INVITATIONS_MAX};
use slot_types::cluster::*;
use slot_types::ids::*;
use slot_types::plan::*;
use slot_types::position::Digest;

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}
fn invite(name: &HostName, token: &str) -> Command {
    Command::InviteHost {
        host: name.clone(),
        certificate: digest(token),
        by: person("ann"),
        reason: "new disks".into(),
    }
}
fn guest(name: &HostName, token: &str, key: &str, incarnation: Incarnation) -> Guest {
    Guest { host: name.clone(), certificate: digest(token), key: digest(key), incarnation }
}
fn join(name: &HostName, token: &str, key: &str, incarnation: Incarnation) -> Command {
    Command::JoinHost(guest(name, token, key, incarnation))
}
fn revoke(name: &HostName, by: &str) -> Command {
    Command::RevokeInvitation { host: name.clone(), by: person(by), reason: "wrong machine".into() }
}
fn no(name: &HostName, why: NoJoin) -> Refused {
    Refused::MayNotJoin { host: name.clone(), why }
}
fn told(world: &World) -> String {
    world.state.audit.entries.back().map(|entry| entry.event.clone()).unwrap_or_default()
}

#[test]
fn a_token_is_burnt_by_its_first_use_and_the_same_key_may_ask_again() {
    let mut world = World::with_store();
    let h5 = host(5);
    world.ok(invite(&h5, "token"));
    world.ok(join(&h5, "token", "key", disk(5)));
    assert!(told(&world).contains("is burnt") && told(&world).contains("ann"), "{}", told(&world));
    // An answer was lost: the same use. From anybody else it is a second one, and stands in the audit.
    let before = world.state.audit.entries.len();
    world.ok(join(&h5, "token", "key", disk(5)));
    assert_eq!(world.state.audit.entries.len(), before, "nothing new happened");
    for (key, incarnation) in [("other key", disk(5)), ("key", disk(6))] {
        assert_eq!(world.refused(join(&h5, "token", key, incarnation)), no(&h5, NoJoin::Used));
        assert!(told(&world).contains("refused: h5 joins with token"), "{}", told(&world));
    }
    // A burnt token is not made good by inviting with it again.
    assert_eq!(world.refused(invite(&h5, "token")), no(&h5, NoJoin::Used));
    assert_eq!(world.refused(join(&h5, "token", "other key", disk(5))), no(&h5, NoJoin::Used));
}

#[test]
fn a_token_is_good_for_a_day_of_log_time() {
    let mut world = World::new();
    let h5 = host(5);
    world.ok(invite(&h5, "token"));
    world.now += INVITATION_MS - 1;
    world.ok(join(&h5, "token", "key", disk(5)));
    let h6 = host(6);
    world.ok(invite(&h6, "token"));
    world.now += INVITATION_MS;
    assert_eq!(world.refused(join(&h6, "token", "key", disk(6))), no(&h6, NoJoin::Expired));
    assert_eq!(world.refused(join(&h5, "token", "key", disk(5))), no(&h5, NoJoin::Expired), "not even its own use");
}

#[test]
fn a_token_is_for_one_host_and_the_last_one_counts() {
    let mut world = World::new();
    let (h5, h6) = (host(5), host(6));
    assert_eq!(world.refused(join(&h5, "token", "key", disk(5))), no(&h5, NoJoin::NotInvited));
    world.ok(invite(&h5, "token"));
    assert_eq!(world.refused(join(&h6, "token", "key", disk(6))), no(&h6, NoJoin::NotInvited));
    assert_eq!(world.refused(join(&h5, "stolen", "key", disk(5))), no(&h5, NoJoin::OtherToken));
    world.ok(invite(&h5, "second"));
    assert!(told(&world).contains("instead of token"), "{}", told(&world));
    assert_eq!(world.refused(join(&h5, "token", "key", disk(5))), no(&h5, NoJoin::OtherToken));
    world.ok(join(&h5, "second", "key", disk(5)));
}

#[test]
fn invitations_are_bounded_and_make_room_with_time() {
    let mut world = World::new();
    let name = |n: usize| HostName::new(format!("new{n}")).unwrap();
    for n in 0..INVITATIONS_MAX {
        world.ok(invite(&name(n), "token"));
    }
    assert!(matches!(world.refused(invite(&name(INVITATIONS_MAX), "token")), Refused::Precondition(_)));
    world.ok(invite(&name(0), "another"));
    world.now += INVITATION_MS;
    world.ok(invite(&name(INVITATIONS_MAX), "token"));
    assert_eq!(world.state.invitations.len(), 1);
}

/// S2: with nothing left on the former disk, the invited one is admitted in the entry that burns the token; it holds nothing
/// (R16), and the former one is a stranger from then on.
#[test]
fn s2_the_disk_of_an_invited_host_is_admitted() {
    let mut world = World::with_store();
    let h3 = host(3);
    world.ok(invite(&h3, "token"));
    assert_eq!(world.cluster().hosts[&h3].incarnation, Some(disk(3)), "an invitation alone changes nothing");
    world.ok(join(&h3, "token", "key", disk(77)));
    assert!(told(&world).contains("is admitted"), "{}", told(&world));
    assert_eq!(world.cluster().hosts[&h3].incarnation, Some(disk(77)));
    let copy = world.copy(1, &slot(3, 1));
    assert_eq!((copy.state, copy.whole), (CopyState::Building, false), "R16: the new disk holds nothing");
    let seen = |incarnation| Command::HostSeen {
        host: host(3),
        incarnation,
        boot: boot(3, 2),
        high_water: LogIndex(0),
        silence: SILENCE,
        first: false,
    };
    world.ok(seen(disk(3)));
    assert!(matches!(world.cluster().hosts[&h3].quarantined, Some(HostQuarantine::OtherDisk { .. })));
    world.ok(seen(disk(77)));
    assert_eq!(world.cluster().hosts[&h3].quarantined, None);
    // The same use once more does not bring the disk back after a person has admitted yet another one.
    world.ok(seen(disk(78)));
    let (by, reason) = (person("ben"), "once more".to_string());
    world.ok(Command::AdmitHost { host: h3.clone(), incarnation: disk(78), by, reason });
    world.ok(join(&h3, "token", "key", disk(77)));
    assert_eq!(world.cluster().hosts[&h3].incarnation, Some(disk(78)));
}

/// S2, R3: whoever is master there, or may be, is not forgotten because somebody was invited; the host joins, and a person
/// says the rest.
#[test]
fn s2_the_former_disk_is_not_forgotten_while_it_may_hold_a_master() {
    let mut world = World::with_store();
    let h1 = host(1);
    world.ok(invite(&h1, "token"));
    world.ok(join(&h1, "token", "key", disk(77)));
    assert!(told(&world).contains("may hold a master of store1"), "{}", told(&world));
    assert_eq!(world.cluster().hosts[&h1].incarnation, Some(disk(1)));
    // Failed over without a fence that is proven: a possible master still (R28).
    world.dead.insert(h1.clone());
    world.attest(1, "ann");
    let id = world.start(
        Intent::FailOverHost(h1.clone()),
        vec![waiving(&world, 1, &slot(1, 1), &slot(2, 1), FenceLevel::Attested)],
    );
    world.drive();
    assert_eq!(world.state.plans[&id].status, slot_machine::state::PlanStatus::Done);
    assert!(world.store(1).possible_masters.contains_key(&slot(1, 1)));
    world.ok(invite(&h1, "second"));
    world.ok(join(&h1, "second", "key", disk(77)));
    assert!(told(&world).contains("waits to be admitted by a person"), "{}", told(&world));
    assert_eq!(world.cluster().hosts[&h1].incarnation, Some(disk(1)));
}

/// R4: an order to the former disk may be on its way while a plan runs.
#[test]
fn s2_the_former_disk_is_not_forgotten_under_a_running_plan() {
    let mut world = World::with_store();
    let h3 = host(3);
    world.start(Intent::DrainHost(h3.clone()), vec![stop(&world, 1, &slot(3, 1))]);
    world.ok(invite(&h3, "token"));
    world.ok(join(&h3, "token", "key", disk(77)));
    assert!(told(&world).contains("is under way there"), "{}", told(&world));
    assert_eq!(world.cluster().hosts[&h3].incarnation, Some(disk(3)));
}

#[test]
fn the_disk_a_host_has_and_a_host_that_is_not_there_yet_change_nothing_else() {
    let mut world = World::with_store();
    let before = world.cluster().clone();
    for (name, incarnation) in [(host(2), disk(2)), (host(9), disk(9))] {
        world.ok(invite(&name, "token"));
        world.ok(join(&name, "token", "key", incarnation));
    }
    assert_eq!(*world.cluster(), before);
}

/// S2: a person's word is taken back by any person, for good: the token admits no disk and burns nothing, whoever asks.
#[test]
fn s2_a_revoked_token_is_refused_and_admits_no_disk() {
    let mut world = World::with_store();
    let h3 = host(3);
    world.ok(invite(&h3, "token"));
    world.ok(revoke(&h3, "ben"));
    let before = world.cluster().clone();
    for key in ["key", "other key"] {
        assert_eq!(world.refused(join(&h3, "token", key, disk(77))), no(&h3, NoJoin::Revoked));
        assert!(told(&world).contains("refused: h3 joins with token"), "{}", told(&world));
    }
    assert_eq!(*world.cluster(), before, "its disk is the one it had");
    // A request to invite that was on its way, or is sent again, does not make it good; another token is another word.
    assert_eq!(world.refused(invite(&h3, "token")), no(&h3, NoJoin::Revoked));
    assert_eq!(world.refused(join(&h3, "token", "key", disk(77))), no(&h3, NoJoin::Revoked));
    world.ok(invite(&h3, "second"));
    assert!(!told(&world).contains("instead of"), "nothing was open: {}", told(&world));
    assert_eq!(world.refused(join(&h3, "token", "key", disk(77))), no(&h3, NoJoin::OtherToken));
    world.ok(join(&h3, "second", "key", disk(77)));
    assert_eq!(world.cluster().hosts[&h3].incarnation, Some(disk(77)));
}

/// S12: who took it back, whose word it was and why stand in the audit, once.
#[test]
fn s12_a_revocation_is_audited_and_said_again_is_nothing_new() {
    let mut world = World::new();
    let h5 = host(5);
    world.ok(invite(&h5, "token"));
    world.ok(revoke(&h5, "ben"));
    let entry = world.state.audit.entries.back().unwrap().clone();
    assert_eq!(entry.actor, "ben");
    for told in [&digest("token").to_string(), "of h5, invited by ann", "wrong machine"] {
        assert!(entry.event.contains(told), "{told} in {}", entry.event);
    }
    world.ok(revoke(&h5, "cid"));
    assert_eq!(world.state.audit.entries.back(), Some(&entry), "it was so already");
    assert!(matches!(&world.state.invitations[&h5].fate, Fate::Revoked { by, .. } if *by == person("ben")));
}

#[test]
fn only_an_open_invitation_is_revoked() {
    let mut world = World::new();
    let (h5, h6) = (host(5), host(6));
    let none = |host: &HostName, why| Refused::NothingToRevoke { host: host.clone(), why };
    assert_eq!(world.refused(revoke(&h5, "ben")), none(&h5, NoRevoke::NotInvited));
    assert!(told(&world).contains("refused: revoke the invitation of h5"), "{}", told(&world));
    world.ok(invite(&h5, "token"));
    world.ok(join(&h5, "token", "key", disk(5)));
    assert_eq!(world.refused(revoke(&h5, "ben")), none(&h5, NoRevoke::Joined));
    // Its answer may have been lost: it is the same use still.
    world.ok(join(&h5, "token", "key", disk(5)));
    world.ok(invite(&h6, "token"));
    world.now += INVITATION_MS;
    assert_eq!(world.refused(revoke(&h6, "ben")), none(&h6, NoRevoke::NotInvited));
}

#[test]
fn a_retired_host_is_not_invited() {
    let mut world = World::new();
    world.cluster_mut().hosts.get_mut(&host(4)).unwrap().declared = HostState::Retired;
    assert!(matches!(world.refused(invite(&host(4), "token")), Refused::Precondition(_)));
}

/// A person retires a host after somebody was invited in its name: the name is used up, whoever holds the token.
#[test]
fn a_host_that_was_retired_after_its_invitation_does_not_join() {
    let mut world = World::new();
    world.ok(invite(&host(4), "token"));
    world.cluster_mut().hosts.get_mut(&host(4)).unwrap().declared = HostState::Retired;
    let refused = world.refused(join(&host(4), "token", "key", disk(77)));
    assert!(refused.to_string().contains("retired"), "{refused}");
    assert_eq!(world.cluster().hosts[&host(4)].incarnation, Some(disk(4)));
}

/// `store1` without a master: its epoch is h2's, which was never promoted at it, and its plan is over.
fn masterless() -> World {
    let mut world = World::with_store();
    let id = world.start(Intent::DrainHost(host(1)), vec![hand_over(&world, 1, &slot(1, 1), &slot(2, 1))]);
    world.until(StepKind::Demote);
    world.dead.insert(host(1));
    world.ok(Command::AbortPlan { plan: id, by: person("ann"), reason: "too long".into() });
    for _ in 0..3 {
        world.all_stuck();
    }
    assert!(world.state.plans[&id].status.is_ended(), "{:?}", world.state.plans[&id].tasks);
    assert_eq!((world.store(1).master.clone(), world.store(1).pending.clone()), (None, Some(slot(2, 1))));
    world
}

fn waits_for_a_person(mut world: World, n: u8, why: &str) {
    world.ok(invite(&host(n), "token"));
    world.ok(join(&host(n), "token", "key", disk(77)));
    assert!(told(&world).contains("waits to be admitted by a person"), "{}", told(&world));
    assert!(told(&world).contains(why), "{}", told(&world));
    assert_eq!(world.cluster().hosts[&host(n)].incarnation, Some(disk(n)));
}

/// R3: the next plan makes a possible master of whom the epoch was given to, and needs its disk to fence it.
#[test]
fn s2_the_former_disk_is_not_forgotten_while_an_epoch_is_allocated_to_it() {
    waits_for_a_person(masterless(), 2, "may hold a master of store1");
}

/// L1: where nobody is master, a replica may be all that is left of a store.
#[test]
fn s2_the_former_disk_is_not_forgotten_while_its_store_has_no_master() {
    waits_for_a_person(masterless(), 3, "which has no master");
}

/// R7: records that an open loss case tells of are on the former disk and nowhere else.
#[test]
fn s2_the_former_disk_is_not_forgotten_while_a_loss_case_waits_for_it() {
    let mut world = World::with_store();
    world.dead.insert(host(1));
    world.attest(1, "ann");
    let task = waiving(&world, 1, &slot(1, 1), &slot(2, 1), FenceLevel::Attested);
    world.start(Intent::FailOverHost(host(1)), vec![task]);
    world.drive();
    world.dead.clear();
    world.seen(1, 2);
    let client = ClientName::new("mta").unwrap();
    world.stranded.insert(slot(1, 1), vec![RecordId { client, sequence: 7 }]);
    let task = fence_returned(&world, 1, &slot(1, 1));
    world.start(Intent::FenceReturned { slot: slot(1, 1) }, vec![task]);
    world.drive();
    assert!(world.store(1).possible_masters.is_empty());
    waits_for_a_person(world, 1, "waits for what the former one holds");
}

/// S2: a disk that another one took the place of comes back, its old ledger on it: no word admits it.
#[test]
fn s2_a_disk_that_was_given_up_is_never_admitted_again() {
    let mut world = World::with_store();
    let h3 = host(3);
    world.ok(invite(&h3, "token"));
    world.ok(join(&h3, "token", "key", disk(77)));
    let seen = |incarnation, high_water| Command::HostSeen {
        host: host(3),
        incarnation,
        boot: boot(3, 2),
        high_water: LogIndex(high_water),
        silence: SILENCE,
        first: false,
    };
    world.ok(seen(disk(3), 0));
    let admit = |incarnation| Command::AdmitHost {
        host: host(3),
        incarnation,
        by: person("ben"),
        reason: "found it in a drawer".into(),
    };
    let refused = world.refused(admit(disk(3))).to_string();
    assert!(refused.contains("was given up"), "{refused}");
    // Neither does a token.
    world.ok(invite(&h3, "second"));
    let refused = world.refused(join(&h3, "second", "key", disk(3))).to_string();
    assert!(refused.contains("was given up"), "{refused}");
    assert_eq!(world.cluster().hosts[&h3].incarnation, Some(disk(77)));
    world.ok(join(&h3, "second", "key", disk(78)));
    assert_eq!(world.cluster().hosts[&h3].incarnation, Some(disk(78)));
}

/// S2: an older disk stays out, also after another one was put in for a moment, and though its ledger caught up in index.
#[test]
fn s2_an_older_disk_stays_out_after_another_ones_visit() {
    let mut world = World::with_store();
    let acknowledged = world.cluster().hosts[&host(3)].acknowledged;
    let seen = |incarnation, high_water| Command::HostSeen {
        host: host(3),
        incarnation,
        boot: boot(3, 1),
        high_water,
        silence: SILENCE,
        first: false,
    };
    world.ok(seen(disk(3), LogIndex(0)));
    let quarantine = |world: &World| world.cluster().hosts[&host(3)].quarantined.clone();
    assert!(matches!(quarantine(&world), Some(HostQuarantine::OlderDisk { .. })));
    world.ok(seen(disk(9), LogIndex(0)));
    assert!(matches!(quarantine(&world), Some(HostQuarantine::OtherDisk { .. })));
    world.ok(seen(disk(3), LogIndex(acknowledged.0 + 100)));
    assert!(matches!(quarantine(&world), Some(HostQuarantine::OlderDisk { .. })), "{:?}", quarantine(&world));
    // Another one is admitted as ever.
    world.ok(seen(disk(9), LogIndex(0)));
    let (by, reason) = (person("ben"), "a new one".to_string());
    world.ok(Command::AdmitHost { host: host(3), incarnation: disk(9), by, reason });
    assert_eq!(quarantine(&world), None);
}

/// R14, R16: a copy that is not counted yet and held everything once holds nothing on the new disk; plans made before see it.
#[test]
fn r14_a_copy_that_went_with_its_disk_changes_its_store() {
    let mut world = World::with_store();
    let at = slot(3, 1);
    let store_now = world.cluster_mut().stores.get_mut(&store(1)).unwrap();
    store_now.copies.get_mut(&at).unwrap().state = CopyState::Building;
    let version = store_now.version;
    world.ok(invite(&host(3), "token"));
    world.ok(join(&host(3), "token", "key", disk(77)));
    assert!(!world.copy(1, &at).whole);
    assert!(world.store(1).version > version);
}
