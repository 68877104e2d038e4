//! Why there is no plan.
//!
//! What always holds: every reason is a type with the things it is about inside; one `Display` says subject, cause and
//! what to do next, in lines no wider than a terminal as long as names are short.

mod words;

use self::words::{left_out, loss_next, loss_state, places, tried};
use crate::check::Fault;
use crate::nothing::{Nothing, list};
use crate::retire::RetireBlock;
use slot_types::cluster::{CopyState, HostState, LossState};
use slot_types::engine::EngineRole;
use slot_types::hold::Held;
use slot_types::ids::*;
use slot_types::render::size;
use std::collections::{BTreeMap, BTreeSet};

/// Why a copy can't become master now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WhyNot {
    /// The store has no copy there.
    #[error("holds no copy of it")]
    NoCopy,
    /// It is the master that is to be replaced.
    #[error("is the master already")]
    IsMaster,
    /// It was master, or is to be one, and is raised itself only where nothing else is left (L1).
    #[error("was its master or is to be, and is taken again only where no other copy can be")]
    OthersCan,
    /// Its committed state.
    #[error("is {0:?}")]
    State(CopyState),
    /// Its host's declared state.
    #[error("its host is {0}")]
    HostState(HostState),
    /// S2.
    #[error("its host presents another or an older disk")]
    HostQuarantined,
    /// Nothing was heard of its host's agent lately.
    #[error("its host's agent is silent")]
    HostSilent,
    /// A running plan holds its host.
    #[error("a running plan holds its host")]
    HostBusy,
    /// No engine was seen running there lately.
    #[error("its engine is not seen running")]
    EngineNotSeen,
    /// The engine does something else.
    #[error("its engine is {0:?}")]
    Engine(EngineRole),
    /// The engine holds another store or copy generation.
    #[error("its engine holds another copy than the one recorded")]
    OtherCopy,
    /// It follows another slot or epoch than the master's (R16: no chains).
    #[error("it does not follow {master} at epoch {epoch}")]
    FollowsOther {
        /// The master.
        master: SlotId,
        /// The epoch.
        epoch: Epoch,
    },
    /// It has not heard its master lately, so its lag is not known.
    #[error("it has not heard its master lately")]
    NotHeard,
    /// Its lag is not known.
    #[error("how far it is behind is not known")]
    BehindUnknown,
    /// Too far behind.
    #[error("it is {behind} records behind, allowed are {max}")]
    Behind {
        /// How far.
        behind: u64,
        /// The policy's bound.
        max: u64,
    },
    /// Its chain digest never agreed with its master's.
    #[error("it was never verified")]
    NeverVerified,
    /// Verified too long ago.
    #[error("it was verified {} s ago, allowed are {} s", .age_ms / 1000, .max_ms / 1000)]
    VerifiedLongAgo {
        /// How long ago.
        age_ms: u64,
        /// The policy's bound.
        max_ms: u64,
    },
    /// A comparison with its master, record by record, speaks against it.
    #[error("it differs from its master: {findings}")]
    Differs {
        /// In what.
        findings: Box<slot_types::verify::Findings>,
    },
    /// A loss case is open there.
    #[error("loss case {0} is open there")]
    LossCase(LossCaseId),
    /// It never held everything its master had (R16).
    #[error("is still being built")]
    NotWhole,
    /// Another copy of the store is in the same domain (S9).
    #[error("{0} holds a copy of it in the same domain")]
    SameDomain(SlotId),
    /// No slot there is free and large enough.
    #[error("no free slot is large enough")]
    NoFreeSlot,
    /// Its disk has too little to spare.
    #[error("its disk has {} to spare, the copy takes {}", size(*.spare_bytes), size(*.takes_bytes))]
    DiskFull {
        /// What the copy takes.
        takes_bytes: u64,
        /// What is free beyond what stays free, and beyond what else comes there.
        spare_bytes: u64,
    },
    /// Copies there have outgrown their slots, and its slots have no more bytes in all.
    #[error("what is there has outgrown its slots: {} too little in all", size(*.short_bytes))]
    Outgrown {
        /// So much is missing.
        short_bytes: u64,
    },
    /// The cluster file's pin.
    #[error("the file says never there")]
    Pinned,
}

/// Why a master can't be handed over as a planned thing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotWell {
    /// The store has no master now.
    #[error("it has no master now")]
    NoMaster,
    /// An epoch was allocated to a slot that is not master yet.
    #[error("epoch was given to {0}, which is not master yet")]
    Pending(SlotId),
    /// Its committed state.
    #[error("it is {0:?}")]
    Copy(CopyState),
    /// Its agent is silent.
    #[error("the agent of its host is silent")]
    HostSilent,
    /// Not seen running.
    #[error("its engine is not seen running")]
    EngineNotSeen,
    /// Not master, or at another epoch.
    #[error("its engine is {role:?} at epoch {epoch}")]
    Engine {
        /// What it is.
        role: EngineRole,
        /// At which epoch.
        epoch: Epoch,
    },
}

/// What keeps one store from letting its host be drained.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DrainBlock {
    /// A running plan holds the store.
    #[error("a running plan holds it")]
    Busy,
    /// Its master on the host is not well.
    #[error("its master can't be handed over: {0}")]
    MasterNotWell(NotWell),
    /// Nobody can take it.
    #[error("no other copy can become master{}", reasons(.0))]
    NoTarget(BTreeMap<SlotId, WhyNot>),
    /// Nobody can take it: all of its other copies leave with it.
    #[error("no other copy can become master: its other copies are on hosts that are drained too: {}", list(.0))]
    AllDrained(BTreeSet<SlotId>),
    /// Its master elsewhere is not well, so that stopping the replica would stop the store's last live copy.
    #[error("its replica here may be its last live copy: {0}")]
    NotServed(NotWell),
    /// R24: its master would refuse writes.
    #[error("{live} live replicas would be left, {needed} must hold every record")]
    TooFewReplicas {
        /// Left.
        live: u8,
        /// The store's `sync_copies`.
        needed: u8,
    },
    /// R28: a slot may still be a master at a lower epoch.
    #[error("{} may still be a master at a lower epoch", list(.0))]
    PossibleMasters(BTreeSet<SlotId>),
    /// A loss case is open on the copy that is to be stopped.
    #[error("loss case {0} is open on its copy here")]
    LossCase(LossCaseId),
    /// S9: other copies of it are not seen live.
    #[error("with its copy elsewhere {live} whole copies would be seen live, it wants {needed}")]
    TooFewCopies {
        /// Seen.
        live: usize,
        /// Wanted.
        needed: u8,
    },
    /// No host has a place for its copy.
    #[error("its copy here, {}, finds no other place{}{}", size(*.size_bytes), tried(*.is_most), places(.why))]
    NoRoom {
        /// How large it is.
        size_bytes: u64,
        /// Every other host.
        why: BTreeMap<HostName, WhyNot>,
        /// Whether it was shown that no other packing of the copies that leave has more of them.
        is_most: bool,
    },
    /// The copy is in no state to be stopped.
    #[error("its copy here is {0:?}")]
    Copy(CopyState),
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing to do; not a fault.
    #[error("nothing to do: {0}")]
    NothingToDo(Nothing),
    /// Only everyday recovery is asked for by nobody.
    #[error("a plan needs the name of who asks for it; connect as an operator")]
    NobodyAsks,
    /// No such host.
    #[error("host {0} is not in the cluster file; slotctl status lists those that are")]
    UnknownHost(HostName),
    /// No such slot.
    #[error("slot {0} is not in the cluster file; slotctl show host {host} lists those that are", host = .0.host)]
    UnknownSlot(SlotId),
    /// No such store.
    #[error("store {0} does not exist; slotctl status lists those that do")]
    UnknownStore(StoreName),
    /// No such loss case.
    #[error("loss case {0} does not exist; slotctl loss list shows those that do")]
    UnknownLossCase(LossCaseId),
    /// The slot is free.
    #[error("slot {0} holds no copy; slotctl show host {host} lists those that do", host = .0.host)]
    NoCopy(SlotId),
    /// The store has no copy on the slot any more.
    #[error("{slot} holds no copy of {store} any more")]
    CopyGone {
        /// The store.
        store: StoreName,
        /// Where it was.
        slot: SlotId,
    },
    /// The file is another cluster's.
    #[error("the file is of cluster {file}, this is {cluster}; connect to {file}, or correct the file's first lines")]
    OtherCluster {
        /// In the file.
        file: ClusterName,
        /// This one.
        cluster: ClusterName,
    },
    /// The host's declared state does not fit.
    #[error("host {host} is {state}; {needed}")]
    HostIn {
        /// The host.
        host: HostName,
        /// What it is.
        state: HostState,
        /// What to do.
        needed: &'static str,
    },
    /// S2.
    #[error("host {0} presents another or an older disk; look at it first: slotctl show host {0}")]
    HostQuarantined(HostName),
    /// Nothing can be ordered there.
    #[error("the agent of host {0} is silent; start the host or its agent, then ask again")]
    HostSilent(HostName),
    /// R13.
    #[error("a running plan holds host {0}; wait for it, or abort it: slotctl plan list")]
    HostBusy(HostName),
    /// R13.
    #[error("a running plan holds {}; wait for it, or abort it: slotctl plan list", list(.0))]
    StoresBusy(BTreeSet<StoreName>),
    /// A person said that nothing may touch it.
    #[error("{0}")]
    Held(Box<Held>),
    /// The drain of a host is not possible now.
    #[error("{} can't be drained now, nothing was changed:{}\nnext: slotctl show store {first} says more; ask \
        again when it is well", named(.hosts), blocks(.because), first = first(.because))]
    Drain {
        /// The hosts.
        hosts: BTreeSet<HostName>,
        /// Every reason, by store.
        because: BTreeMap<StoreName, DrainBlock>,
    },
    /// Not the master.
    #[error("{slot} is not the master of {store}{}; slotctl show store {store}", now(.master))]
    NotMaster {
        /// The slot.
        slot: SlotId,
        /// The store.
        store: StoreName,
        /// Its master.
        master: Option<SlotId>,
    },
    /// Nobody can take the master role.
    #[error("no copy of {store} can become master in place of {from}{}\nnext: slotctl show store {store}; start what \
        is stopped or silent, then ask again", reasons(.why))]
    NoTarget {
        /// The store.
        store: StoreName,
        /// Its master.
        from: SlotId,
        /// Why not each copy.
        why: BTreeMap<SlotId, WhyNot>,
    },
    /// The one asked for can't.
    #[error(
        "{to} can't become master of {store}: {why}; ask again when that has changed, or leave --to out to let the planner choose"
    )]
    NotThisTarget {
        /// The store.
        store: StoreName,
        /// The slot asked for.
        to: SlotId,
        /// Why not.
        why: WhyNot,
    },
    /// R3, R8: nothing keeps former masters from acknowledging.
    #[error("nothing proves that {} can't acknowledge writes any more; two ways:\n  bring its agent back, \
        then ask again: it will be demoted\n  if it surely is off: {}", list(.slots), off(.slots))]
    NotFenced {
        /// The store.
        store: StoreName,
        /// Which slots.
        slots: BTreeSet<SlotId>,
    },
    /// A store that has no master, and none that may still be one.
    #[error(
        "{0} has no master and no slot that may still be one: a plan that makes it is under way or was given up; \
        slotctl show store {0}"
    )]
    NoHead(StoreName),
    /// A store without a master, of which several slots may still be one.
    #[error("{} may all still be the master of {store}; say which one you are about: slotctl failover slot SLOT",
        list(.slots))]
    ManyHeads {
        /// The store.
        store: StoreName,
        /// Which slots.
        slots: BTreeSet<SlotId>,
    },
    /// R23: the brake.
    #[error("{silent} hosts are silent at once (policy allows {allowed}): {}.\nThat looks like our own partition more \
        than like {silent} deaths. Look at them from another place. If they are dead, ask again with --mass; \
        two people must then say yes", list(.hosts))]
    Brake {
        /// How many.
        silent: u16,
        /// What policy allows.
        allowed: u16,
        /// Which.
        hosts: BTreeSet<HostName>,
    },
    /// None of a host's masters can be failed over.
    #[error("none of the masters on {host} can be failed over:{}", sheets(.because))]
    FailOverHost {
        /// The host.
        host: HostName,
        /// Why, by store.
        because: BTreeMap<StoreName, Refusal>,
    },
    /// R28: planned work waives nothing.
    #[error("{} may still be a master of {store} at a lower epoch; switch the host on and let it be fenced, then ask \
        again",
        list(.slots))]
    PossibleMasters {
        /// The store.
        store: StoreName,
        /// Which slots.
        slots: BTreeSet<SlotId>,
    },
    /// Something needs a running master.
    #[error("{store} is not served: {why}; slotctl show store {store}")]
    NotServed {
        /// The store.
        store: StoreName,
        /// Why.
        why: NotWell,
    },
    /// A copy is in no state for this.
    #[error("the copy of {store} on {slot} is {state:?}; {next}")]
    CopyIn {
        /// The store.
        store: StoreName,
        /// The slot.
        slot: SlotId,
        /// What it is.
        state: CopyState,
        /// What to do.
        next: &'static str,
    },
    /// The master does not follow anyone.
    #[error(
        "{slot} is the master of {store}, or is to be; it follows nobody: hand over first, slotctl failover slot {slot}"
    )]
    FollowsNobody {
        /// The slot.
        slot: SlotId,
        /// The store.
        store: StoreName,
    },
    /// A loss case that can't be settled now.
    #[error("loss case {case} is {}; {}", loss_state(.state), loss_next(.state))]
    LossCaseIn {
        /// Which.
        case: LossCaseId,
        /// Where it stands.
        state: LossState,
    },
    /// No place for a new store.
    #[error("no room for {store}: {needed} copies of {size_bytes} bytes wanted, {found} places in different \
        domains found{}\nnext: add hosts or slots, or ask for fewer copies{}", tried(*.is_most), left_out(.excluded))]
    NoRoom {
        /// The store.
        store: StoreName,
        /// Copies wanted.
        needed: u8,
        /// Places found.
        found: u8,
        /// Bytes for each.
        size_bytes: u64,
        /// Hosts that were left out, and why.
        excluded: BTreeMap<HostName, WhyNot>,
        /// Whether it was shown that no other packing of what the plan builds has more of it.
        is_most: bool,
    },
    /// The place asked for will not do.
    #[error("the copy of {store} can't go to {to}: {why}; leave --to out to let the planner choose")]
    NotThisPlace {
        /// The store.
        store: StoreName,
        /// The slot asked for.
        to: SlotId,
        /// Why not.
        why: WhyNot,
    },
    /// S9: other copies of it are not seen live.
    #[error("{store} would have {live} whole copies that are seen live, it wants {needed}; {}", more(.store, .stopped))]
    TooFewCopies {
        /// The store.
        store: StoreName,
        /// Seen.
        live: usize,
        /// Wanted.
        needed: u8,
        /// Hosts whose copies of it a person had stopped: they exist, and are not seen live.
        stopped: BTreeSet<HostName>,
    },
    /// None of several stores can be put right.
    #[error("nothing can be rebuilt now:{}", sheets(.because))]
    Rebuild {
        /// Why, by store.
        because: BTreeMap<StoreName, Refusal>,
    },
    /// A host is in service, and what a drain has left of it can't be brought back now.
    #[error("nothing more of {host} can be brought back now:{}", sheets(.because))]
    Undrain {
        /// The host.
        host: HostName,
        /// Why, by store.
        because: BTreeMap<StoreName, Refusal>,
    },
    /// Something that a plan did is left to bring back, and nothing of it can be now.
    #[error("nothing of what {plan} did can be brought back now:{}", sheets(.because))]
    Undo {
        /// The plan that is to be undone.
        plan: PlanId,
        /// Why, by store.
        because: BTreeMap<StoreName, Refusal>,
    },
    /// A host that still holds something can't be retired.
    #[error("host {host} still holds {}; empty it first: slotctl drain host {host} --empty", list(.slots))]
    HostHolds {
        /// The host.
        host: HostName,
        /// What: copies, or places of possible masters.
        slots: BTreeSet<SlotId>,
    },
    /// A store that can't be retired now.
    #[error("{store} can't be retired: {why}")]
    Retire {
        /// The store.
        store: StoreName,
        /// Why not.
        why: RetireBlock,
    },
    /// A change of a store's line that is not carried out.
    #[error("the file changes {what} of store {store}, which stays as it was made; {next}")]
    NotSupported {
        /// The store.
        store: StoreName,
        /// What.
        what: &'static str,
        /// What to do instead.
        next: &'static str,
    },
    /// A copy is where the file says that none may be.
    #[error("the file says of {store} never {}, and {slot} holds a copy of it; move it first: slotctl move slot {slot}", .slot.host)]
    Pinned {
        /// The store.
        store: StoreName,
        /// Where its copy is.
        slot: SlotId,
    },
    /// A slot with a copy would be moved, shrunk or taken away.
    #[error("the file {what} slot {slot}, which holds a copy of {store}; put its line back as it was")]
    SlotInUse {
        /// The slot.
        slot: SlotId,
        /// The store.
        store: StoreName,
        /// What would happen to it.
        what: &'static str,
    },
    /// S9.
    #[error("the file puts {a} and {b} into one domain, and both hold a copy of {store}; give them different domains")]
    SpreadBroken {
        /// The store.
        store: StoreName,
        /// One slot.
        a: SlotId,
        /// Another.
        b: SlotId,
    },
    /// More than one plan may hold.
    #[error("the plan would have {tasks} tasks, at most {max} are carried out at once; apply the file in parts")]
    TooManyTasks {
        /// How many.
        tasks: usize,
        /// The bound.
        max: usize,
    },
    /// The checker disagrees with the planner: a defect, and nothing is proposed.
    #[error("the planner made a plan that its own checker refuses: {0}; nothing is proposed, please report it")]
    Faulty(Fault),
}

/// What makes more of them seen live.
fn more(store: &StoreName, stopped: &BTreeSet<HostName>) -> String {
    match stopped.first() {
        Some(host) => format!("its copy on {host} is stopped: slotctl undrain host {host} starts it first"),
        None => format!("slotctl rebuild store {store} first"),
    }
}
fn named(hosts: &BTreeSet<HostName>) -> String {
    format!("host{} {}", if hosts.len() == 1 { "" } else { "s" }, list(hosts))
}
fn reasons(why: &BTreeMap<SlotId, WhyNot>) -> String {
    if why.is_empty() {
        return ": it has no other copy".into();
    }
    let lines: Vec<String> = why.iter().map(|(slot, why)| format!("\n    {slot} {why}")).collect();
    format!(":{}", lines.concat())
}
fn blocks(because: &BTreeMap<StoreName, DrainBlock>) -> String {
    let full = because.values().filter_map(|block| match block {
        DrainBlock::NoRoom { size_bytes, .. } => Some(*size_bytes),
        _ => None,
    });
    let (count, all) = full.fold((0, 0u64), |(count, all), bytes| (count + 1, all.saturating_add(bytes)));
    let all = if count > 1 {
        format!("\n  {count} copies of {} in all find no other place", size(all))
    } else {
        String::new()
    };
    all + &because.iter().map(|(store, why)| format!("\n  {store}: {why}")).collect::<String>()
}
fn sheets(because: &BTreeMap<StoreName, Refusal>) -> String {
    // A reason of several lines stays one block.
    because.iter().map(|(store, why)| format!("\n  {store}: {}", why.to_string().replace('\n', "\n    "))).collect()
}
fn first(because: &BTreeMap<StoreName, DrainBlock>) -> String {
    because.keys().next().map(ToString::to_string).unwrap_or_default()
}
fn now(master: &Option<SlotId>) -> String {
    match master {
        Some(slot) => format!(", {slot} is"),
        None => ", it has none now".into(),
    }
}
fn off(slots: &BTreeSet<SlotId>) -> String {
    let hosts: BTreeSet<&HostName> = slots.iter().map(|s| &s.host).collect();
    let commands: Vec<String> = hosts.iter().map(|h| format!("slotctl off host {h} --how …")).collect();
    commands.join("; ")
}
