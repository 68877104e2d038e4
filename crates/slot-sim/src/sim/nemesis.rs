//! What goes wrong, with whom and for how long.
//!
//! What always holds: whatever happens here is numbered ([`Injected`]) and drawn from the fault stream; hosts that a person
//! relies on at the moment are left alone; nothing happens any more once the world heals.

use super::agents::Kept;
use super::*;
use crate::check::Seen;
use crate::disk::{DiskFault, FaultKind, Lands};
use crate::faults::DiskTrouble;

/// Classes that befall machines and processes; the others befall messages.
const MACHINE: [FaultClass; 19] = [
    FaultClass::OneWayCut,
    FaultClass::PartialCut,
    FaultClass::Kill,
    FaultClass::CrashAtWrite,
    FaultClass::TornWrite,
    FaultClass::LostFsync,
    FaultClass::Eio,
    FaultClass::Enospc,
    FaultClass::SlowDisk,
    FaultClass::PauseCoordinator,
    FaultClass::PauseAgent,
    FaultClass::PauseEngine,
    FaultClass::ClockJump,
    FaultClass::WipedDisk,
    FaultClass::OldDisk,
    FaultClass::ClonedFolder,
    FaultClass::PowerOff,
    FaultClass::SitePowerCut,
    FaultClass::LeaderChange,
];

impl Sim {
    pub(crate) fn nemesis(&mut self) {
        if self.healing {
            return;
        }
        let next = self.dice.within(self.swarm.every_ms / 2 + 1, self.swarm.every_ms * 3 / 2 + 1);
        self.queue.after(next, Happening::Nemesis);
        self.keep_images();
        let class = MACHINE[self.dice.within(0, MACHINE.len() as u64 - 1) as usize];
        // What takes everything down is rarer.
        let rare = matches!(class, FaultClass::SitePowerCut | FaultClass::WipedDisk | FaultClass::OldDisk);
        let happens = !rare || self.dice.one_in(4);
        if happens && self.swarm.classes.contains(&class) {
            self.inject(Injection::Any(class));
        }
    }

    /// Every now and then a disk's content is kept, to be put back later.
    fn keep_images(&mut self) {
        let host = self.any_host();
        let may = self.agents.get(&host).is_some_and(|n| n.kept.is_none() && !n.dark && !n.replaced);
        if !may || !self.dice.one_in(4) {
            return;
        }
        let here = self.folders.iter().filter(|((slot, _, _), _)| slot.host == host);
        let folders = here.map(|(key, folder)| (key.clone(), folder.snapshot())).collect();
        if let Some(node) = self.agents.get_mut(&host) {
            node.kept = Some(Kept { ledger: node.file.snapshot(), folders });
        }
    }

    fn any_host(&mut self) -> HostName {
        let at = self.dice.within(0, self.agents.len() as u64 - 1) as usize;
        self.agents.keys().nth(at).cloned().unwrap_or_else(|| crate::setup::host(1))
    }

    fn any_place(&mut self) -> Place {
        if self.dice.one_in(2) { Place::Coordinator(self.dice.within(1, 3)) } else { Place::Host(self.any_host()) }
    }

    fn any_engine(&mut self) -> Option<SlotId> {
        let live: Vec<&SlotId> = self.engines.iter().filter(|(_, e)| e.core.is_some()).map(|(slot, _)| slot).collect();
        let at = self.dice.within(0, live.len().max(1) as u64 - 1) as usize;
        live.get(at).map(|slot| (*slot).clone())
    }

    fn any_node(&mut self) -> Option<Node> {
        match self.dice.within(0, 2) {
            0 => Some(Node::Coordinator(self.dice.within(1, 3))),
            1 => Some(Node::Agent(self.any_host())),
            _ => self.any_engine().map(Node::Engine),
        }
    }

    /// The node that leads, as it believes itself.
    pub fn leader(&self) -> Option<u64> {
        let leads = |n: &&Coordinator| n.core.as_ref().is_some_and(|c| c.is_leader());
        let node = self.coordinators.iter().filter(|(id, _)| !self.without_disk.contains(id)).find(|(_, n)| leads(n));
        node.map(|(id, _)| *id)
    }

    /// Whether somebody relies on this host just now.
    fn is_left_alone(&self, host: &HostName) -> bool {
        self.crowd.leaves_alone(host, self.now())
    }

    fn node_is_left_alone(&self, node: &Node) -> bool {
        match node {
            Node::Coordinator(_) | Node::FrontEnd(_) => false,
            Node::Agent(host) => self.is_left_alone(host),
            Node::Engine(slot) => self.is_left_alone(&slot.host),
        }
    }

    /// Makes something go wrong now.
    pub(crate) fn inject(&mut self, injection: Injection) {
        match injection {
            Injection::Any(class) => self.inject_any(class),
            Injection::Kill(node, down) => self.inject_kill(&node, down),
            Injection::Pause(node, ms) => self.inject_pause(&node, ms),
            Injection::Disk(node, trouble) => self.inject_disk(&node, trouble),
            Injection::PowerOff(host, down) => self.inject_power_off(&host, down),
            Injection::Silence(host, ms) => self.inject_silence(&host, ms),
            Injection::IsolateLeader(ms) => self.inject_isolation(ms),
            Injection::KillLeader(down) => {
                let now = self.now();
                if let Some(id) = self.leader()
                    && self.injected.happens(now, FaultClass::LeaderChange, || format!("c{id} is killed"))
                {
                    self.kill_coordinator(id);
                    self.queue.after(down, Happening::Start(Node::Coordinator(id)));
                }
            }
            Injection::Again(_) | Injection::Late(_) | Injection::Lose | Injection::Longer => {
                self.fate = Some(injection);
            }
        }
    }

    fn inject_any(&mut self, class: FaultClass) {
        let (now, ms) = (self.now(), self.dice.within(300, 9_000));
        match class {
            FaultClass::OneWayCut | FaultClass::PartialCut => self.inject_cut(class, ms),
            FaultClass::Kill => {
                if let Some(node) = self.any_node() {
                    self.inject_kill(&node, ms);
                }
            }
            FaultClass::CrashAtWrite => self.inject_any_disk(DiskTrouble::Crash),
            FaultClass::TornWrite => self.inject_any_disk(DiskTrouble::Torn),
            FaultClass::LostFsync => self.inject_any_disk(DiskTrouble::LostFsync),
            FaultClass::Eio => self.inject_any_disk(DiskTrouble::Eio),
            FaultClass::Enospc => self.inject_any_disk(DiskTrouble::Enospc),
            FaultClass::SlowDisk => {
                if let Some(node) = self.any_node()
                    && self.injected.happens(now, class, || format!("{node} for {ms} ms"))
                {
                    self.slow.insert(node, now + ms);
                }
            }
            FaultClass::PauseCoordinator => {
                let id = self.leader().filter(|_| self.dice.one_in(2)).unwrap_or_else(|| self.dice.within(1, 3));
                self.inject_pause(&Node::Coordinator(id), ms);
            }
            FaultClass::PauseAgent => {
                let host = self.any_host();
                self.inject_pause(&Node::Agent(host), ms);
            }
            FaultClass::PauseEngine => {
                if let Some(slot) = self.any_engine() {
                    self.inject_pause(&Node::Engine(slot), ms * 2);
                }
            }
            FaultClass::ClockJump => {
                let id = self.dice.within(1, 3);
                let jump = if self.dice.one_in(2) { 3_600_000 } else { -3_600_000 };
                if self.injected.happens(now, class, || format!("c{id} by {jump} ms"))
                    && let Some(node) = self.coordinators.get_mut(&id)
                {
                    node.wall_skew += jump;
                    self.witness.lookout().clock_jumps(id);
                }
            }
            FaultClass::WipedDisk | FaultClass::OldDisk | FaultClass::ClonedFolder => self.inject_lost_disk(class, ms),
            FaultClass::PowerOff => {
                if self.dice.one_in(4) {
                    let id = self.dice.within(1, 3);
                    if self.injected.happens(now, class, || format!("c{id} for {ms} ms")) {
                        self.coordinator_power_fails(id, ms);
                    }
                } else {
                    let host = self.any_host();
                    self.inject_power_off(&host, ms * 2);
                }
            }
            FaultClass::SitePowerCut => self.inject_site_cut(ms),
            FaultClass::LeaderChange => {
                let what = if self.dice.one_in(2) { Injection::KillLeader(ms) } else { Injection::IsolateLeader(ms) };
                self.inject(what);
            }
            FaultClass::Loss | FaultClass::Duplicate | FaultClass::Delay => self.fate = Some(Injection::Late(ms)),
            FaultClass::BitFlip | FaultClass::Truncation => {}
        }
    }

    fn inject_cut(&mut self, class: FaultClass, ms: u64) {
        let (from, to, now) = (self.any_place(), self.any_place(), self.now());
        let alone = |place: &Place| matches!(place, Place::Host(host) if self.is_left_alone(host));
        if from == to || alone(&from) || alone(&to) {
            return;
        }
        if self.injected.happens(now, class, || format!("{from:?} to {to:?} for {ms} ms")) {
            self.cut(from.clone(), to.clone(), ms);
            if class == FaultClass::PartialCut {
                self.cut(to, from, ms);
            }
        }
    }

    pub(crate) fn cut(&mut self, from: Place, to: Place, ms: u64) {
        let until = self.now() + ms;
        self.cuts.insert((from.clone(), to.clone()), until);
        self.queue.after(ms, Happening::Mend(from, to));
    }

    fn inject_kill(&mut self, node: &Node, down: u64) {
        let now = self.now();
        if self.life(node).is_none() || self.node_is_left_alone(node) {
            return;
        }
        if self.injected.happens(now, FaultClass::Kill, || format!("{node}, back in {down} ms")) {
            self.kill(node);
            self.queue.after(down, Happening::Start(node.clone()));
        }
    }

    fn inject_pause(&mut self, node: &Node, ms: u64) {
        let class = match node {
            Node::Coordinator(_) => FaultClass::PauseCoordinator,
            Node::Agent(_) | Node::FrontEnd(_) => FaultClass::PauseAgent,
            Node::Engine(_) => FaultClass::PauseEngine,
        };
        let now = self.now();
        if self.life(node).is_none() || self.node_is_left_alone(node) || self.paused.contains_key(node) {
            return;
        }
        if self.injected.happens(now, class, || format!("{node} for {ms} ms")) {
            self.pause(node, ms);
        }
    }

    fn inject_any_disk(&mut self, trouble: DiskTrouble) {
        if let Some(node) = self.any_node() {
            self.inject_disk(&node, trouble);
        }
    }

    fn inject_disk(&mut self, node: &Node, trouble: DiskTrouble) {
        let now = self.now();
        if self.life(node).is_none() || self.node_is_left_alone(node) {
            return;
        }
        let class = match trouble {
            DiskTrouble::Crash => FaultClass::CrashAtWrite,
            DiskTrouble::Torn => FaultClass::TornWrite,
            DiskTrouble::LostFsync => FaultClass::LostFsync,
            DiskTrouble::Eio => FaultClass::Eio,
            DiskTrouble::Enospc => FaultClass::Enospc,
        };
        if !self.injected.happens(now, class, || format!("the disk of {node}")) {
            return;
        }
        self.armed.insert(node.clone(), trouble);
        let at_op = self.dice.within(1, 6);
        let part = self.dice.within(0, 4_096);
        let lands = if self.dice.one_in(2) { Lands::Whole } else { Lands::Nothing };
        let fault = match trouble {
            DiskTrouble::Crash => DiskFault::new(at_op, FaultKind::Crash).landing(lands),
            DiskTrouble::Torn => DiskFault::new(at_op, FaultKind::Crash).landing(Lands::Part(part)).with_power(),
            DiskTrouble::LostFsync => DiskFault::new(1, FaultKind::LostSync).with_power(),
            DiskTrouble::Eio => DiskFault::new(at_op, FaultKind::Eio),
            DiskTrouble::Enospc => DiskFault::new(at_op, FaultKind::NoSpace),
        };
        match node {
            Node::Coordinator(id) => {
                if let Some(node) = self.coordinators.get(id) {
                    node.file.arm(fault);
                }
            }
            Node::Agent(host) => {
                if let Some(node) = self.agents.get(host) {
                    node.file.arm(fault);
                }
            }
            Node::Engine(slot) => {
                if let Some(folder) = self.folder_mut(slot) {
                    folder.arm(fault);
                }
            }
            Node::FrontEnd(name) => self.front_end_fails(name, trouble, part),
        }
    }

    fn inject_power_off(&mut self, host: &HostName, down: u64) {
        let now = self.now();
        if self.is_left_alone(host) || self.is_dark(&Place::Host(host.clone())) {
            return;
        }
        if self.injected.happens(now, FaultClass::PowerOff, || format!("{host} for {down} ms")) {
            self.power_fails(host, down);
        }
    }

    fn inject_silence(&mut self, host: &HostName, ms: u64) {
        let now = self.now();
        if !self.injected.happens(now, FaultClass::PartialCut, || format!("{host} and the coordinators, {ms} ms")) {
            return;
        }
        for id in 1..=3 {
            self.cut(Place::Host(host.clone()), Place::Coordinator(id), ms);
            self.cut(Place::Coordinator(id), Place::Host(host.clone()), ms);
        }
    }

    fn inject_isolation(&mut self, ms: u64) {
        let (now, leader) = (self.now(), self.leader());
        let Some(id) = leader else { return };
        if !self.injected.happens(now, FaultClass::LeaderChange, || format!("c{id} hears no peer for {ms} ms")) {
            return;
        }
        for other in (1..=3).filter(|other| *other != id) {
            self.cut(Place::Coordinator(id), Place::Coordinator(other), ms);
            self.cut(Place::Coordinator(other), Place::Coordinator(id), ms);
        }
    }

    fn inject_site_cut(&mut self, ms: u64) {
        let now = self.now();
        let hosts: Vec<HostName> = self.agents.keys().cloned().collect();
        if hosts.iter().any(|host| self.is_left_alone(host)) {
            return;
        }
        if !self.injected.happens(now, FaultClass::SitePowerCut, || format!("for {ms} ms")) {
            return;
        }
        self.reach("a site power cut");
        for id in 1..=3 {
            let back = ms + self.dice.within(0, 4_000);
            self.coordinator_power_fails(id, back);
        }
        for name in self.front_ends.keys().cloned().collect::<Vec<_>>() {
            self.kill_front_end(&name);
            let back = ms + self.doors.within(0, 4_000);
            self.queue.after(back, Happening::Start(Node::FrontEnd(name)));
        }
        for host in hosts {
            let back = ms + self.dice.within(0, 4_000);
            if !self.is_dark(&Place::Host(host.clone())) {
                self.power_fails(&host, back);
            }
        }
    }

    fn inject_lost_disk(&mut self, class: FaultClass, ms: u64) {
        let now = self.now();
        if class == FaultClass::WipedDisk && self.dice.one_in(3) {
            let id = self.dice.within(1, 3);
            // A peer that never met it would take its new disk for the first (docs/bugs-found.md): beyond the model.
            let is_known = self.coordinators.iter().all(|(other, n)| *other == id || n.has_met(id));
            if is_known && self.without_disk.is_empty() && self.injected.happens(now, class, || format!("c{id}")) {
                self.without_disk.insert(id);
                self.coordinator_power_fails(id, ms);
                self.witness.saw(now, Seen::CoordinatorDiskTouched { node: id });
                if let Some(node) = self.coordinators.get_mut(&id) {
                    node.file = crate::disk::SimFile::formatted();
                    node.has_store = false;
                    self.reach("S15: a coordinator's disk was wiped");
                }
            }
            return;
        }
        let host = self.any_host();
        if self.is_left_alone(&host) || self.is_dark(&Place::Host(host.clone())) || !self.may_lose_its_disk(&host) {
            return;
        }
        let has_old = self.agents.get(&host).is_some_and(|n| n.kept.is_some());
        if class == FaultClass::OldDisk && !has_old {
            return;
        }
        if self.injected.happens(now, class, || format!("{host}")) {
            match class {
                FaultClass::OldDisk => self.put_back(&host, ms),
                FaultClass::ClonedFolder => self.clone_folder(&host, ms),
                _ => self.wipe(&host, ms),
            }
        }
    }

    pub(crate) fn put_back(&mut self, host: &HostName, down: u64) {
        self.power_off(host);
        let Some(node) = self.agents.get_mut(host) else { return };
        node.replaced = true;
        if let Some(kept) = node.kept.take() {
            node.file.put_back(&kept.ledger);
            self.folders.retain(|(slot, _, _), _| slot.host != *host);
            for (key, image) in kept.folders {
                self.folders.insert(key, Folder::from_snapshot(&image));
            }
        }
        self.reach("S2: an old disk was put back");
        self.witness.saw(self.queue.now(), Seen::HostDiskTouched { host });
        self.queue.after(down, Happening::PowerOn(host.clone()));
    }

    /// The agent's folder is moved to another disk by copying: the shipped agent notices and draws a new incarnation.
    fn clone_folder(&mut self, host: &HostName, down: u64) {
        self.power_off(host);
        let incarnation = Incarnation(self.tokens.token());
        if let Some(node) = self.agents.get_mut(host) {
            // A folder that can't be read can't be copied: the host comes back with its own.
            node.file.disarm();
            let opened = slot_agent::ledger::Ledger::open_with_backend(node.file.open());
            if let Ok((mut ledger, mut image)) = opened {
                image.meta.incarnation = incarnation;
                if ledger.commit(&[LedgerWrite::Meta(image.meta.clone())]).is_ok() {
                    // What was kept is of a disk that is gone: nobody puts a retired disk back in (known gap of S2).
                    (node.incarnation, node.replaced, node.kept) = (incarnation, true, None);
                }
            }
            node.file.process_died();
        }
        self.witness.saw(self.queue.now(), Seen::HostDiskTouched { host });
        self.reach("S2: a cloned folder was started");
        self.queue.after(down, Happening::PowerOn(host.clone()));
    }
}
