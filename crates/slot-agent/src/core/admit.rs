//! Whether an order may be accepted, judged against the ledger alone.
//!
//! What always holds: judging changes nothing; whatever is not plainly lawful is refused, and a refusal that can never
//! change is a durable "never will" (R4), one that could is an [`Judgement::Refused`] that proves nothing.

use super::image::{CopyEntry, CopyKey, LedgerImage, LedgerRole};
use slot_planted::planted;
use slot_types::ids::*;
use slot_types::order::{Action, NeverWill, Order, Subject};
use std::collections::BTreeSet;

/// What becomes of an order that is not known yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// It may be accepted.
    Lawful,
    /// It never will take effect: durable.
    Never(NeverWill),
    /// It can't be considered: not durable.
    Refused(String),
}

/// Whether the action is about one slot's copy; the others are about the host.
pub fn is_about_a_slot(action: &Action) -> bool {
    !matches!(
        action,
        Action::Adopt | Action::Canary { .. } | Action::ConfirmStopped | Action::Cancel { .. } | Action::Fence { .. }
    )
}

/// S15: cluster, disk and term, before anything else is looked at.
pub fn sender(image: &LedgerImage, order: &Order) -> Result<(), String> {
    let meta = &image.meta;
    if order.cluster != meta.cluster {
        return Err(format!("the order is of cluster {}, {} belongs to {}", order.cluster, meta.host, meta.cluster));
    }
    // S2: a wiped or restored disk has another incarnation, so nothing that was meant for the old one is done on it.
    if order.incarnation != meta.incarnation && !planted("s15-incarnation-unchecked") {
        return Err(format!("the order is for disk {}, {} has {}", order.incarnation, meta.host, meta.incarnation));
    }
    generation(image, order)?;
    let former = order.index.generation() < meta.highest.generation() && obeys_former();
    if order.term < meta.term && !former && !planted("s15-older-term-taken") {
        return Err(format!("the order is of term {}, {} has seen term {}", order.term, meta.host, meta.term));
    }
    Ok(())
}

/// R10: a restored cluster is obeyed once its Adopt was taken; one from before it never again.
pub(super) fn generation(image: &LedgerImage, order: &Order) -> Result<(), String> {
    let (own, of, host) = (image.meta.highest.generation(), order.index.generation(), &image.meta.host);
    if of < own && !obeys_former() {
        return Err(format!("the order is of generation {of}, {host} was adopted by generation {own}"));
    }
    if of > own && order.action != Action::Adopt {
        return Err(format!("the order is of generation {of}, {host} was not re-adopted since generation {own}"));
    }
    Ok(())
}

/// A deliberate bug, in no shipped build (S16): whoever led before a restore is obeyed after it.
fn obeys_former() -> bool {
    planted("r10-former-generation-obeyed")
}

/// A deliberate bug, in no shipped build (R27): an order's boot is not compared.
pub(super) fn takes_any_boot() -> bool {
    planted("r27-boot-unchecked")
}

/// A deliberate bug, in no shipped build (R4): an order's index is not compared, and a cancel relies on it.
pub(super) fn takes_any_index() -> bool {
    planted("r4-older-index-accepted")
}

/// Judges an order that the ledger does not know.
pub fn judge(image: &LedgerImage, slots: &BTreeSet<u16>, boot: BootId, order: &Order) -> Judgement {
    // R27: that boot has ended, or never was one of this host.
    if order.boot != boot && !takes_any_boot() {
        if order.action == Action::Adopt {
            // R10, L1: its id is the same for every boot, and nobody waits for this answer: kept, it would be the answer to the
            // Adopt of this boot too, and the host would never be re-adopted.
            return Judgement::Refused(format!(
                "the Adopt is for boot {}, {} is in another",
                order.boot, image.meta.host
            ));
        }
        return Judgement::Never(NeverWill::BootEnded(order.boot));
    }
    if order.index <= image.meta.forgotten {
        return Judgement::Never(NeverWill::Superseded { held: image.meta.forgotten });
    }
    if let Action::Cancel { order: target } = &order.action
        && *target == order.id
    {
        return Judgement::Refused("an order can't cancel itself".into());
    }
    if let Action::Fence { host, .. } = &order.action
        && *host == image.meta.host
    {
        // R26: who switches itself off can't say whether it is off.
        return Judgement::Refused(format!("{host} does not switch itself off"));
    }
    if !is_about_a_slot(&order.action) {
        return Judgement::Lawful;
    }
    let Some(subject) = &order.subject else {
        return Judgement::Refused(format!("{} names no copy", order.action.name()));
    };
    if !slots.contains(&subject.slot) {
        return Judgement::Refused(format!(
            "{} has no slot {:02}; add it to agent.toml",
            image.meta.host, subject.slot
        ));
    }
    // R4: per slot, over all copies that ever were on it.
    let held = image.high_water(subject.slot);
    if order.index <= held && !takes_any_index() {
        return Judgement::Never(NeverWill::Superseded { held });
    }
    judge_copy(image, subject, &order.action)
}

/// R11: whether a copy is the one that an order is about.
pub(super) fn is_copy(key: &CopyKey, subject: &Subject) -> bool {
    key.store == subject.store && (key.generation == subject.generation || planted("r11-key-without-generation"))
}

fn judge_copy(image: &LedgerImage, subject: &Subject, action: &Action) -> Judgement {
    let current = image.current(subject.slot);
    if matches!(action, Action::Provision) {
        return judge_provision(image, subject, current);
    }
    if matches!(action, Action::Destroy)
        && let Some((key, entry)) = current
        && entry.role == LedgerRole::Master
    {
        // R2: a master is demoted first, by an order of its own, whatever epoch this one is of.
        return Judgement::Never(NeverWill::OtherCopy { held: format!("{} as master", held_text(key)) });
    }
    match current {
        // R11: another copy generation lives there.
        Some((key, entry)) if is_copy(key, subject) => judge_epoch(entry, subject, action),
        Some((key, _)) => Judgement::Never(NeverWill::OtherCopy { held: held_text(key) }),
        // There is nothing to delete: it is done as soon as the tombstone is written.
        None if matches!(action, Action::Destroy) => judge_gone(image, subject),
        None => Judgement::Never(NeverWill::OtherCopy { held: "nothing".into() }),
    }
}

/// S2: not even a tombstone's epoch goes back.
fn judge_gone(image: &LedgerImage, subject: &Subject) -> Judgement {
    let key = CopyKey { slot: subject.slot, store: subject.store.clone(), generation: subject.generation };
    match image.copies.get(&key) {
        Some(entry) if entry.epoch > subject.epoch => Judgement::Never(NeverWill::OlderEpoch { held: entry.epoch }),
        _ => Judgement::Lawful,
    }
}

fn held_text(key: &CopyKey) -> String {
    format!("{} {}", key.store, key.generation)
}

fn judge_provision(image: &LedgerImage, subject: &Subject, current: Option<(&CopyKey, &CopyEntry)>) -> Judgement {
    let newest = image.copies.keys().filter(|k| k.slot == subject.slot && k.store == subject.store).max();
    if let Some(newest) = newest
        && newest.generation > subject.generation
    {
        return Judgement::Never(NeverWill::OtherCopy { held: held_text(newest) });
    }
    let Some((key, entry)) = current else {
        // A generation that was retired here can't come back (R11).
        return match newest {
            Some(newest) if newest.generation == subject.generation => {
                Judgement::Never(NeverWill::OtherCopy { held: format!("{}, retired", held_text(newest)) })
            }
            _ => Judgement::Lawful,
        };
    };
    if key.store != subject.store {
        return Judgement::Never(NeverWill::OtherCopy { held: held_text(key) });
    }
    if key.generation == subject.generation {
        return judge_epoch(entry, subject, &Action::Provision);
    }
    // A new generation takes the place of a copy that is not master; a master is demoted first, by an order of its own.
    if entry.role == LedgerRole::Master {
        return Judgement::Never(NeverWill::OtherCopy { held: format!("{} as master", held_text(key)) });
    }
    judge_epoch(entry, subject, &Action::Provision)
}

fn judge_epoch(entry: &CopyEntry, subject: &Subject, action: &Action) -> Judgement {
    if subject.epoch < entry.epoch {
        return Judgement::Never(NeverWill::OlderEpoch { held: entry.epoch });
    }
    if matches!(action, Action::StartMaster { .. })
        && (subject.epoch > entry.epoch || !(entry.role == LedgerRole::Master && entry.settled))
    {
        // R25, R5: only the same master at the same epoch, by an intact ledger.
        return if subject.epoch > entry.epoch {
            Judgement::Never(NeverWill::Engine(format!("this copy never was master at epoch {}", subject.epoch)))
        } else {
            other_role(entry)
        };
    }
    if subject.epoch > entry.epoch {
        return Judgement::Lawful;
    }
    if may_follow(entry, action) { Judgement::Lawful } else { other_role(entry) }
}

fn other_role(entry: &CopyEntry) -> Judgement {
    Judgement::Never(NeverWill::SameEpochOtherRole { epoch: entry.epoch, role: entry.role.name().into() })
}

/// Which role order may come after which at one epoch ("Same epoch, different order" in `protocol.md`).
///
/// A raise and then a demote is allowed beside the listed pairs: both only give mastership away. So does a raise after a
/// promote that was accepted and has no outcome, as when its host booted again first: by that the copy is no master, and it is
/// woken although its store has none (L1; docs/adr/0030).
fn may_follow(entry: &CopyEntry, action: &Action) -> bool {
    use LedgerRole::*;
    let role = entry.role;
    match action {
        Action::Raise => matches!(role, Idle | Raised) || (role == Master && !entry.settled),
        Action::Promote { .. } => matches!(role, Idle | Raised | Master),
        Action::Demote => matches!(role, Idle | Raised | Demoted),
        Action::Follow { .. } => matches!(role, Idle | Raised | Demoted | Replica),
        Action::StartMaster { .. } => role == Master,
        // Freeze, thaw and catch-up are told apart by their ids; the rest changes no role.
        Action::Provision
        | Action::Destroy
        | Action::Freeze { .. }
        | Action::Thaw { .. }
        | Action::CatchUp { .. }
        | Action::Stop
        | Action::ListStranded { .. }
        | Action::Reinject { .. }
        | Action::Adopt
        | Action::Canary { .. }
        | Action::ConfirmStopped
        | Action::Cancel { .. }
        | Action::Fence { .. } => true,
    }
}

/// The copy's entry once a lawful order is accepted: written before anything is performed.
pub fn accepted_entry(before: Option<&CopyEntry>, order: &Order, subject: &Subject) -> CopyEntry {
    let mut entry = before.cloned().unwrap_or(CopyEntry {
        epoch: subject.epoch,
        index: order.index,
        role: LedgerRole::Idle,
        settled: false,
        stopped: false,
        retired: false,
        freeze: None,
        sync_copies: 0,
        by_hand: Vec::new(),
    });
    entry.index = entry.index.max(order.index);
    let raised = subject.epoch > entry.epoch;
    let role = match order.action {
        Action::Demote => Some(LedgerRole::Demoted),
        Action::Raise => Some(LedgerRole::Raised),
        Action::Promote { .. } => Some(LedgerRole::Master),
        Action::Follow { .. } => Some(LedgerRole::Replica),
        // Catching up holds the order's epoch first, when it is higher.
        Action::CatchUp { .. } if raised => Some(LedgerRole::Raised),
        _ => None,
    };
    if let Some(role) = role
        && (raised || role != entry.role)
    {
        entry.role = role;
        entry.settled = false;
    }
    if role.is_some() {
        entry.epoch = entry.epoch.max(subject.epoch);
    }
    if raised && role.is_some() {
        entry.freeze = None;
    }
    if let Action::Promote { sync_copies, .. } | Action::StartMaster { sync_copies } = order.action {
        entry.sync_copies = sync_copies;
    }
    if !matches!(order.action, Action::Stop | Action::Freeze { .. } | Action::Thaw { .. }) {
        entry.stopped = false;
    }
    entry
}
