//! What the ledger holds, as values: the durable memory of one agent.
//!
//! What always holds: entries of copies are never removed, only retired (R11), so an epoch and an index never decrease
//! (S2); at most one copy per slot is not retired; at most one order per slot is open, and its index is the highest of
//! that slot (R4); an order that has an outcome keeps it, except a freeze that was thawed (R1).
//!
//! Outcomes are bounded by [`OUTCOMES_KEPT`]. Forgetting one is safe because of the high-water: an order that is not known
//! and whose index is at or below its slot's highest, or at or below [`LedgerMeta::forgotten`], is answered
//! [`slot_types::order::NeverWill::Superseded`] and never performed. Open orders and the latest order of every slot are
//! never forgotten.

use borsh::{BorshDeserialize, BorshSerialize};
use slot_types::hand::HandStart;
use slot_types::ids::*;
use slot_types::order::{Order, Outcome};
use slot_types::position::Digest;
use std::collections::{BTreeMap, BTreeSet};

/// How many outcomes are kept, over all slots: far more than the orders that a leader can have under way on one host.
pub const OUTCOMES_KEPT: usize = 4096;

/// The ledger's one record about itself.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct LedgerMeta {
    /// The cluster whose orders it takes (S15).
    pub cluster: ClusterId,
    /// Its host.
    pub host: HostName,
    /// Drawn when the ledger was made: a wiped or restored disk has another (S2).
    pub incarnation: Incarnation,
    /// The highest term seen (S15).
    pub term: Term,
    /// The highest index of any order that it holds an entry for.
    pub highest: LogIndex,
    /// The highest index among forgotten outcomes.
    pub forgotten: LogIndex,
    /// S2: the file was copied or restored, and no order was accepted since: what it knows may be old.
    pub copied: bool,
}

/// Names a copy for good (R11).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct CopyKey {
    /// The slot's number.
    pub slot: u16,
    /// The store.
    pub store: StoreName,
    /// The copy generation.
    pub generation: CopyGeneration,
}

/// What role orders made of a copy at its epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub enum LedgerRole {
    /// Provisioned, told nothing yet.
    Idle,
    /// Holds the epoch and no role at it.
    Raised,
    /// Ordered to be master.
    Master,
    /// Ordered to follow.
    Replica,
    /// Ordered to stop being master.
    Demoted,
}

impl LedgerRole {
    /// In words, for a refusal.
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "an idle copy",
            Self::Raised => "a raise",
            Self::Master => "a master",
            Self::Replica => "a replica",
            Self::Demoted => "a demote",
        }
    }
}

/// What the ledger holds of one copy.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct CopyEntry {
    /// The highest epoch of any accepted order that raises it.
    pub epoch: Epoch,
    /// The highest order index accepted for it (R4).
    pub index: LogIndex,
    /// Its role at that epoch, written when the order is accepted.
    pub role: LedgerRole,
    /// Whether the order that gave it this role was done.
    pub settled: bool,
    /// Its engine was stopped by an order.
    pub stopped: bool,
    /// A tombstone: another generation took its place (R11).
    pub retired: bool,
    /// The freeze that was done and neither thawed nor ended by a demote, as far as is known.
    pub freeze: Option<FreezeId>,
    /// R24: what the last order that made it master asked for; a start by hand asks for the same.
    pub sync_copies: u8,
    /// R19: its starts by hand, the oldest first, at most [`slot_types::hand::HAND_STARTS_KEPT`].
    pub by_hand: Vec<HandStart>,
}

/// What the ledger holds of one order.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct OrderEntry {
    /// Its StartStep index; for a tombstone that of the order which cancelled it.
    pub index: LogIndex,
    /// The slot it is about; `None` for an order about the host.
    pub slot: Option<u16>,
    /// The boot that accepted it (R27).
    pub boot: BootId,
    /// Of what it says; `None` for a tombstone: cancelled before it came (R4).
    pub fingerprint: Option<Digest>,
    /// `None` is accepted and open.
    pub outcome: Option<Outcome>,
}

slot_types::versioned! {
    LedgerMeta: "ledger", 1;
    CopyKey: "ledger key of a copy", 1;
    CopyEntry: "ledger entry of a copy", 1;
    OrderEntry: "ledger entry of an order", 1;
}

/// One write; those of one step are one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerWrite {
    /// Replaces the record about itself.
    Meta(LedgerMeta),
    /// Replaces a copy's entry.
    Copy(CopyKey, CopyEntry),
    /// Replaces an order's entry.
    Order(OrderId, OrderEntry),
    /// Removes an order's entry; [`LedgerMeta::forgotten`] covers it.
    Forget(OrderId),
}

/// The whole ledger in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerImage {
    /// About itself.
    pub meta: LedgerMeta,
    /// Every copy that ever was on this host.
    pub copies: BTreeMap<CopyKey, CopyEntry>,
    /// Every order that is kept.
    pub orders: BTreeMap<OrderId, OrderEntry>,
}

impl LedgerImage {
    /// The ledger of a host that never had a copy.
    pub fn empty(cluster: ClusterId, host: HostName, incarnation: Incarnation) -> Self {
        let meta = LedgerMeta {
            cluster,
            host,
            incarnation,
            term: Term::default(),
            highest: LogIndex::default(),
            forgotten: LogIndex::default(),
            copied: false,
        };
        Self { meta, copies: BTreeMap::new(), orders: BTreeMap::new() }
    }

    /// Does one write.
    pub fn apply(&mut self, write: &LedgerWrite) {
        match write {
            LedgerWrite::Meta(meta) => self.meta = meta.clone(),
            LedgerWrite::Copy(key, entry) => {
                self.copies.insert(key.clone(), entry.clone());
            }
            LedgerWrite::Order(id, entry) => {
                self.orders.insert(*id, entry.clone());
            }
            LedgerWrite::Forget(id) => {
                self.orders.remove(id);
            }
        }
    }

    /// The copy that a slot holds now.
    pub fn current(&self, slot: u16) -> Option<(&CopyKey, &CopyEntry)> {
        self.copies.iter().find(|(key, entry)| key.slot == slot && !entry.retired)
    }

    /// R4: the highest index accepted for a slot, tombstones included (R11).
    pub fn high_water(&self, slot: u16) -> LogIndex {
        self.copies.iter().filter(|(key, _)| key.slot == slot).map(|(_, entry)| entry.index).max().unwrap_or_default()
    }

    /// Orders accepted and without an outcome.
    pub fn open_orders(&self) -> BTreeSet<OrderId> {
        self.orders.iter().filter(|(_, entry)| entry.outcome.is_none()).map(|(id, _)| *id).collect()
    }
}

/// What makes two deliveries the same order: all but the sender's term, the target's disk and boot, and the budget.
pub fn fingerprint(order: &Order) -> Digest {
    let mut bytes = Vec::new();
    // Writing into a Vec has no error of its own.
    let _ = (&order.id, &order.index, &order.subject, &order.action).serialize(&mut bytes);
    Digest::of(&bytes)
}
