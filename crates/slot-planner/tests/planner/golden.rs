//! Plans as a person reads them, from fixed values.

use crate::world::*;
use slot_planner::CheckedPlan;
use slot_types::cluster::{Reboot, Silence};
use slot_types::ids::*;
use slot_types::plan::{Intent, Settlement};
use slot_types::render::{WIDTH, render_plan};

pub fn page(plan: &CheckedPlan) -> String {
    let text = render_plan(Some(PlanId(17)), plan.plan(), &plan.digest());
    assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    text
}

fn rebooted(ms: u64, kept_off: bool) -> Reboot {
    Reboot { boot: BootId([99; 16]), silence: Silence { ms, whole: true }, kept_off, wall: WallTime(0) }
}

#[test]
fn apply_a_file() {
    let plan = World::empty().plan(Intent::Apply(Box::new(file(4, 8, 6, 2)))).unwrap();
    insta::assert_snapshot!(page(&plan));
}

#[test]
fn drain_and_undrain() {
    let mut world = World::running(4, 8, 12, 2);
    let drain = world.plan(Intent::DrainHost(host(2))).unwrap();
    insta::assert_snapshot!("drain", page(&drain));
    world.complete(drain.plan());
    let undrain = world.plan(Intent::UndrainHost(host(2))).unwrap();
    insta::assert_snapshot!("undrain", page(&undrain));
}

#[test]
fn fail_over() {
    let mut world = World::running(4, 8, 12, 2);
    let planned = world.plan(Intent::FailOverSlot { slot: slot("imap1/1"), to: None }).unwrap();
    insta::assert_snapshot!("failover_planned", page(&planned));
    world.silent(&host(1), 241_000);
    world.attest(&host(1));
    world.host_mut(&host(1)).reboots = vec![rebooted(130_000, false), rebooted(115_000, true)];
    let one = world.plan(Intent::FailOverSlot { slot: slot("imap1/1"), to: None }).unwrap();
    insta::assert_snapshot!("failover_slot", page(&one));
    world.said(&slot("imap2/1"), |s| s.tip = tip(s.epoch, 59));
    let all = world.plan(Intent::FailOverHost(host(1))).unwrap();
    insta::assert_snapshot!("failover_host", page(&all));
    // Two are caught up and one is behind: one yes for the two, two people for the one.
    world.cluster.policy.two_if_unfenced = false;
    let part = world.plan(Intent::FailOverHost(host(1))).unwrap();
    insta::assert_snapshot!("failover_host_in_parts", page(&part));
}

#[test]
fn retire_a_store() {
    let world = World::running(4, 8, 12, 2);
    insta::assert_snapshot!(page(&world.plan(Intent::RetireStore(store(3))).unwrap()));
}

#[test]
fn settle_a_loss() {
    let world = crate::intents::with_loss_case(slot_types::cluster::LossState::Listed);
    let intent = Intent::SettleLoss { case: LossCaseId(12), how: Settlement::Discard };
    insta::assert_snapshot!(page(&world.plan(intent).unwrap()));
}
