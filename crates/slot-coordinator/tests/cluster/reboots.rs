//! How long reboots took, as the leader that heard both ends of one says, and one that did not.

use super::world::World;
use super::{built, host};
use slot_types::cluster::{Host, HostQuarantine, Reboot};
use slot_types::ids::*;
use slot_types::plan::Intent;
use slot_types::render::render_plan;
use slot_types::view::*;

/// The host goes down for so long and comes back in another boot; its engines are everyday recovery's business.
fn reboots(world: &mut World, name: &str, boot: u8, ms: u64) {
    world.agents.get_mut(&host(name)).unwrap().up = false;
    world.run_for(ms);
    let agent = world.agents.get_mut(&host(name)).unwrap();
    (agent.up, agent.boot) = (true, BootId([boot; 16]));
    world.run_for(5_000);
}

fn evidence(world: &mut World, name: &str) -> EvidenceView {
    let View::Evidence(view) = world.view(Query::Evidence(host(name))) else { panic!("evidence") };
    *view
}

/// What the log knows of imap1.
fn known(world: &World) -> Option<Host> {
    world.core(world.leader()?).state().cluster.as_ref()?.hosts.get(&host("imap1")).cloned()
}

fn took(all: &[Reboot]) -> Vec<(u64, bool)> {
    all.iter().map(|reboot| (reboot.silence.ms / 1_000, reboot.silence.whole)).collect()
}

#[test]
fn a_reboot_takes_from_the_last_report_of_the_old_boot_to_the_first_of_the_new_one() {
    let mut world = built(41, 3);
    assert_eq!(evidence(&mut world, "imap1").reboots, []);
    reboots(&mut world, "imap1", 91, 26_000);
    reboots(&mut world, "imap1", 92, 14_000);
    let seen = evidence(&mut world, "imap1");
    assert_eq!(took(&seen.reboots), [(26, true), (14, true)]);
    assert_eq!(seen.reboots[1].boot, BootId([92; 16]));
    // Every coordinator has applied the same, and a later leader shows it too.
    let leader = world.leader().unwrap();
    world.crash(leader);
    world.start(leader);
    world.run_for(20_000);
    assert_eq!(evidence(&mut world, "imap1").reboots, seen.reboots);
}

#[test]
fn a_leader_that_did_not_hear_the_old_boot_says_at_least_how_long() {
    let mut world = built(42, 3);
    world.agents.get_mut(&host("imap1")).unwrap().up = false;
    world.run_for(60_000);
    let leader = world.leader().unwrap();
    world.crash(leader);
    world.run_for(30_000);
    reboots(&mut world, "imap1", 91, 1_000);
    let seen = evidence(&mut world, "imap1");
    let [reboot] = seen.reboots.as_slice() else { panic!("one reboot: {:?}", seen.reboots) };
    assert!(!reboot.silence.whole, "{reboot}");
    assert!((20_000..40_000).contains(&reboot.silence.ms), "no longer than it has listened: {reboot}");
}

#[test]
fn the_sheet_of_a_silent_host_says_how_long_it_took_to_come_back_and_how_long_it_is_silent() {
    let mut world = built(43, 3);
    reboots(&mut world, "imap1", 91, 26_000);
    reboots(&mut world, "imap1", 92, 21_000);
    world.agents.get_mut(&host("imap1")).unwrap().up = false;
    world.run_for(40_000);
    let View::Status(status) = world.view(Query::Status) else { panic!("a status") };
    let seen = status.needs_you.iter().find(|trouble| trouble.subject == "imap1").unwrap().seen.join("\n");
    assert!(seen.contains("or wait: its last 2 reboots took 21 s, 26 s"), "{seen}");
    let attest =
        slot_coordinator::core::ControlRequest::Attest { request: None, host: host("imap1"), how: "unplugged".into() };
    world.agents.values_mut().for_each(|agent| agent.deaf = true);
    world.run_for(5_000);
    world.ask_leader("alice", &attest).unwrap();
    let plan = world.plan(Intent::FailOverHost(host("imap1"))).unwrap();
    let leader = world.leader().unwrap();
    let record = world.nodes[&leader].core.as_ref().unwrap().state().plans[&plan].clone();
    let shown = render_plan(Some(plan), &record.plan, &record.digest);
    let words = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    let said = "OR WAIT? imap1: its last 2 reboots took 21 s, 26 s; silent now for 4";
    assert!(words.contains(said), "{shown}");
}

/// S2: an older disk that is back at once is known by its first report: a boot that the log does not have yet has acknowledged
/// nothing, so what its host ever acknowledged must be in its ledger.
#[test]
fn s2_an_older_disk_is_known_by_the_first_report_of_its_boot() {
    let mut world = World::new(44, 3, &super::HOSTS);
    let plan = world.plan(super::fleet()).unwrap();
    let imap1 = host("imap1");
    world.approve(plan).unwrap();
    world.until("imap1 acknowledges an order", |w| known(w).is_some_and(|h| h.acknowledged > LogIndex(0)));
    let agent = world.agents.get_mut(&imap1).unwrap();
    (agent.boot, agent.high_water) = (BootId([91; 16]), LogIndex(0));
    world.run_for(1_500);
    let now = known(&world).unwrap();
    assert!(matches!(now.quarantined, Some(HostQuarantine::OlderDisk { .. })), "{now:?}");
    assert_ne!(now.boot, Some(BootId([91; 16])));
}

/// S2: the first word of a boot is not held against what that boot acknowledged since, however late it is heard again.
#[test]
fn s2_a_host_that_boots_while_it_works_is_no_older_disk() {
    let mut world = World::new(45, 3, &super::HOSTS);
    let plan = world.plan(super::fleet()).unwrap();
    world.approve(plan).unwrap();
    world.until("imap1 acknowledges an order", |w| known(w).is_some_and(|h| h.acknowledged > LogIndex(0)));
    world.agents.get_mut(&host("imap1")).unwrap().boot = BootId([91; 16]);
    world.run_for(30_000);
    let now = known(&world).unwrap();
    assert_eq!((now.quarantined, now.boot), (None, Some(BootId([91; 16]))));
}

/// S2, R27: a report of the boot before, heard after the next boot acknowledged orders, gives no honest disk up.
#[test]
fn s2_a_late_report_of_the_boot_before_is_no_older_disk() {
    let mut world = built(46, 3);
    let imap1 = host("imap1");
    world.run_for(10_000);
    let late = (known(&world).unwrap().boot.unwrap(), world.agents[&imap1].high_water);
    world.agents.get_mut(&imap1).unwrap().boot = BootId([91; 16]);
    world.run_for(2_000);
    let plan = world.plan(Intent::DrainHost(imap1.clone())).unwrap();
    world.approve(plan).unwrap();
    world.until("the next boot acknowledges an order", |w| {
        known(w).is_some_and(|h| h.boot == Some(BootId([91; 16])) && h.acknowledged > late.1)
    });
    for _ in 0..3 {
        world.agents.get_mut(&imap1).unwrap().late = Some(late);
        world.run_for(250);
        world.agents.get_mut(&imap1).unwrap().late = None;
        world.run_for(1_250);
        assert_eq!(known(&world).unwrap().quarantined, None);
    }
    world.run_for(10_000);
    let now = known(&world).unwrap();
    assert_eq!((now.quarantined, now.boot), (None, Some(BootId([91; 16]))));
}
