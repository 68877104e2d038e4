//! A pretended agent with pretended engines: carries out each order once and keeps its word.

use slot_types::codec;
use slot_types::engine::{EngineRole, EngineStatus};
use slot_types::ids::*;
use slot_types::order::*;
use slot_types::position::{Digest, Position, Tip};
use slot_types::verify::Verification;
use std::collections::BTreeMap;

/// A copy, as its engine would have it.
#[derive(Clone, Debug)]
pub struct FakeCopy {
    pub store: StoreName,
    pub generation: CopyGeneration,
    pub epoch: Epoch,
    pub role: EngineRole,
    pub following: Option<(SlotId, Epoch)>,
    pub running: bool,
    pub verification: Option<Verification>,
    /// It holds other records than its master, and stops when it is to catch up.
    pub unequal: bool,
}

/// An agent that forgets nothing.
#[derive(Clone, Debug)]
pub struct FakeAgent {
    pub host: HostName,
    pub cluster: ClusterId,
    pub incarnation: Incarnation,
    pub boot: BootId,
    /// What its disk has free.
    pub disk: Option<slot_types::disk::Disk>,
    /// How busy its machine is.
    pub load: Option<slot_types::load::HostLoad>,
    pub up: bool,
    /// Its engines do not hear those they follow.
    pub deaf: bool,
    pub slots: BTreeMap<u16, FakeCopy>,
    pub receipts: BTreeMap<OrderId, Receipt>,
    /// How often each order took effect.
    pub effects: BTreeMap<OrderId, u32>,
    pub high_water: LogIndex,
    /// A boot and how much it knew: its reports are late ones of that.
    pub late: Option<(BootId, LogIndex)>,
    pub term: Term,
}

/// Every copy of a store always holds the same: one record per epoch.
pub fn tip(epoch: Epoch) -> Tip {
    let position = Position { epoch, length: epoch.n };
    Tip { position, digest: if epoch.n == 0 { Digest::default() } else { Digest::of(&epoch.n.to_le_bytes()) } }
}

impl FakeAgent {
    pub fn new(host: &str, cluster: ClusterId, number: u8) -> Self {
        Self {
            host: HostName::new(host).unwrap(),
            cluster,
            incarnation: Incarnation([number; 16]),
            boot: BootId([number; 16]),
            up: true,
            deaf: false,
            slots: BTreeMap::new(),
            receipts: BTreeMap::new(),
            effects: BTreeMap::new(),
            high_water: LogIndex(0),
            late: None,
            term: Term(0),
            disk: None,
            load: None,
        }
    }

    pub fn report(&self, tips: &BTreeMap<StoreName, Epoch>) -> AgentReport {
        let slots = self.slots.iter().map(|(number, copy)| {
            let status = EngineStatus {
                store: copy.store.clone(),
                slot: SlotId::new(self.host.clone(), *number),
                generation: copy.generation,
                epoch: copy.epoch,
                role: copy.role,
                tip: tip(tips.get(&copy.store).copied().unwrap_or_default()),
                bytes: 0,
                history: Vec::new(),
                frozen: None,
                following: copy.following.clone(),
                behind: Some(0),
                heard_ms: (!self.deaf).then_some(0),
                verified_ms: Some(0),
                sync_copies: 0,
                aside: Vec::new(),
                verification: copy.verification.clone().map(Box::new),
            };
            SlotReport {
                slot: *number,
                store: copy.store.clone(),
                generation: copy.generation,
                ledger_epoch: copy.epoch,
                ledger_master: copy.role == EngineRole::Master || !copy.running,
                ordered: match copy.role {
                    EngineRole::Master => RoleOrdered::Master { done: true },
                    EngineRole::Demoted => RoleOrdered::Demoted { done: true },
                    _ => RoleOrdered::Replica,
                },
                stopped: false,
                sync_copies: 0,
                by_hand: Vec::new(),
                engine: if copy.running { EngineSeen::Running(Box::new(status)) } else { EngineSeen::NotRunning },
            }
        });
        let (boot, high_water) = self.late.unwrap_or((self.boot, self.high_water));
        AgentReport {
            cluster: self.cluster,
            host: self.host.clone(),
            incarnation: self.incarnation,
            boot,
            high_water,
            slots: slots.collect(),
            running: Vec::new(),
            disk: self.disk,
            load: self.load.clone(),
        }
    }

    /// Takes an order's bytes, answers as an agent would.
    pub fn deliver(&mut self, bytes: &[u8], tips: &mut BTreeMap<StoreName, Epoch>) -> Answer {
        let order: Order = codec::decode(bytes).unwrap();
        if order.cluster != self.cluster || order.incarnation != self.incarnation || order.term < self.term {
            return Answer::Refused { why: "not for this agent".into() };
        }
        self.term = order.term;
        if let Some(receipt) = self.receipts.get(&order.id) {
            return Answer::Receipt(receipt.clone());
        }
        // R27: no order of another boot is taken, and S2: refusing it says nothing about this disk.
        if order.boot != self.boot {
            let outcome = Outcome::NeverWill(NeverWill::BootEnded(order.boot));
            let receipt = Receipt { id: order.id, index: order.index, outcome };
            self.receipts.insert(order.id, receipt.clone());
            return Answer::Receipt(receipt);
        }
        let done = self.perform(&order, tips);
        *self.effects.entry(order.id).or_default() += 1;
        self.high_water = self.high_water.max(order.index);
        let receipt = Receipt { id: order.id, index: order.index, outcome: Outcome::Done(done) };
        self.receipts.insert(order.id, receipt.clone());
        Answer::Receipt(receipt)
    }

    fn perform(&mut self, order: &Order, tips: &mut BTreeMap<StoreName, Epoch>) -> Done {
        let Some(subject) = &order.subject else { return Done::Plain };
        let at = tips.get(&subject.store).copied().unwrap_or_default();
        let here = Done::Tip { tip: tip(at), history: Vec::new() };
        if order.action == Action::Provision {
            let copy = FakeCopy {
                store: subject.store.clone(),
                generation: subject.generation,
                epoch: subject.epoch,
                role: EngineRole::Idle,
                following: None,
                running: true,
                verification: None,
                unequal: false,
            };
            self.slots.insert(subject.slot, copy);
            return Done::Plain;
        }
        let copy = self.slots.get_mut(&subject.slot).expect("an order is for a copy that is there");
        match &order.action {
            Action::Demote => {
                (copy.role, copy.following, copy.epoch) = (EngineRole::Demoted, None, subject.epoch);
                here
            }
            Action::Raise => {
                copy.epoch = subject.epoch;
                here
            }
            Action::Promote { expect, .. } => {
                assert_eq!(*expect, tip(at), "promote expects what the copies hold");
                (copy.role, copy.following, copy.epoch) = (EngineRole::Master, None, subject.epoch);
                tips.insert(subject.store.clone(), subject.epoch);
                Done::Tip { tip: tip(subject.epoch), history: Vec::new() }
            }
            Action::StartMaster { .. } => {
                (copy.role, copy.running) = (EngineRole::Master, true);
                Done::Plain
            }
            Action::Follow { source } => {
                copy.role = EngineRole::Replica;
                copy.epoch = subject.epoch;
                copy.running = true;
                copy.following = Some((source.slot.clone(), subject.epoch));
                Done::Plain
            }
            Action::Stop => {
                copy.running = false;
                Done::Plain
            }
            Action::CatchUp { .. } if copy.unequal => {
                (copy.role, copy.following) = (EngineRole::Diverged, None);
                let other = Tip { digest: Digest::of(b"other records"), ..tip(at) };
                Done::Tip { tip: other, history: Vec::new() }
            }
            Action::Freeze { .. } | Action::CatchUp { .. } => here,
            _ => Done::Plain,
        }
    }
}
