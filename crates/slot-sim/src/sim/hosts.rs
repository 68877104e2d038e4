//! Machines: the beginning of the world, power, and disks that are wiped, old or copied.
//!
//! What always holds: a machine without power says nothing; what it had not made durable is there in part only; disks are
//! wiped or put back only where the model lets the cluster recover: never the last copy of something acknowledged, never a
//! second coordinator's.

use super::*;
use crate::check::Seen;
use crate::people;
use slot_types::cluster::*;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The cluster file of a swarm's world.
pub fn fleet_of(swarm: &Swarm) -> FleetSpec {
    let mut fleet = crate::setup::fleet(swarm.hosts, swarm.stores);
    if swarm.devices {
        crate::setup::with_devices(&mut fleet, swarm.hosts > swarm.copies);
    }
    crate::setup::with_front_ends(&mut fleet, swarm.front_ends);
    fleet.policy.verify_every_ms = swarm.verify_every_ms;
    for (number, store) in fleet.stores.values_mut().enumerate() {
        store.copies = swarm.copies;
        store.sync_copies = if number == 0 { swarm.sync_copies } else { 0 };
    }
    fleet
}

pub(super) fn members() -> BTreeMap<u64, (CoordinatorName, SocketAddr)> {
    let address = |n: u64| SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 1, 0, n as u8)), 7400);
    let name = |n: u64| CoordinatorName::new(format!("c{n}")).expect("c and a number is a name");
    (1..=3).map(|n| (n, (name(n), address(n)))).collect()
}

impl Sim {
    /// Three coordinators, the agents of the swarm's hosts, people and clients; all begin.
    pub fn new(seed: u64, swarm: Swarm) -> Self {
        let fleet = fleet_of(&swarm);
        let mut habits = Stream::new(seed, 30);
        let mut config = people::Config::new(fleet.clone());
        config.habits = people::Habit::draw(&mut habits);
        config.think_ms = if swarm.rough_ms == 0 { (1_000, 20_000) } else { (200, 6_000) };
        Self::with_people(seed, swarm, config)
    }

    /// The same with people of one's own.
    pub fn with_people(seed: u64, swarm: Swarm, config: people::Config) -> Self {
        let mut tokens = Stream::new(seed, 2);
        let cluster = ClusterId(tokens.token());
        let fleet = config.fleet.clone();
        let mut clients = crate::clients::Config::new(fleet.stores.keys().cloned().collect());
        clients.pause_ms = swarm.client_pause_ms;
        let mut sim = Sim {
            injected: Injected::default(),
            witness: Watched::new(3),
            crowd: people::Crowd::new(Stream::new(seed, 6), config),
            writers: Writers::new(Stream::new(seed, 7), clients),
            reached: BTreeMap::new(),
            trace: None,
            healing: false,
            queue: Queue::new(seed),
            net: Stream::new(seed, 3),
            disk: Stream::new(seed, 4),
            dice: Stream::new(seed, 5),
            devices: Stream::new(seed, 31),
            hands: Stream::new(seed, 32),
            doors: Stream::new(seed, 33),
            arrivals: Stream::new(seed, 34),
            probes: Stream::new(seed, 35),
            studies: Stream::new(seed, 36),
            rounds: BTreeMap::new(),
            joiners: BTreeMap::new(),
            tokens,
            cluster,
            coordinators: BTreeMap::new(),
            agents: BTreeMap::new(),
            front_ends: BTreeMap::new(),
            engines: BTreeMap::new(),
            damaged: BTreeSet::new(),
            folders: BTreeMap::new(),
            calls: BTreeMap::new(),
            last_number: 0,
            cuts: BTreeMap::new(),
            paused: BTreeMap::new(),
            slow: BTreeMap::new(),
            armed: BTreeMap::new(),
            triggers: swarm.triggers.clone(),
            sweep: None,
            fate: None,
            without_disk: BTreeSet::new(),
            map_kept: None,
            asks: BTreeMap::new(),
            sent: BTreeMap::new(),
            posted: BTreeMap::new(),
            found: Vec::new(),
            kept: None,
            leaders: 0,
            steps_seen: 0,
            hash: seed,
            events: 0,
            stood_still: 0,
            people_at: 0,
            clients_at: u64::MAX,
            swarm,
        };
        for id in members().into_keys() {
            let node = Coordinator::new(cluster, id, members(), seed.wrapping_mul(31) + id);
            sim.coordinators.insert(id, node);
        }
        for host in fleet.hosts.keys() {
            let (incarnation, boot) = (Incarnation(sim.tokens.token()), BootId(sim.tokens.token()));
            sim.agents.insert(host.clone(), AgentMachine::new(cluster, host, incarnation, boot));
        }
        for name in fleet.front_ends.keys() {
            sim.front_ends.insert(name.clone(), FrontEndMachine::default());
        }
        sim.queue.after(0, Happening::People);
        if sim.swarm.probes {
            sim.witness.probes();
        }
        sim
    }

    /// Starts every process.
    pub fn begin(&mut self) {
        for id in members().into_keys() {
            self.start_coordinator(id);
        }
        self.arm_clients();
        let hosts: Vec<HostName> = self.agents.keys().cloned().collect();
        for host in &hosts {
            let boot = self.agents[host].boot;
            self.witness.saw(0, Seen::HostOn { host, boot });
            self.start_agent(host);
        }
        for name in self.front_ends.keys().cloned().collect::<Vec<_>>() {
            self.start_front_end(&name);
        }
    }

    /// Lets the nemesis in.
    pub fn become_rough(&mut self) {
        if self.swarm.every_ms > 0 {
            self.queue.after(self.swarm.every_ms, Happening::Nemesis);
        }
        if self.swarm.by_hand {
            self.queue.after(self.swarm.every_ms, Happening::AtTheMachine);
        }
        if self.swarm.every_ms > 0 && !self.front_ends.is_empty() {
            self.queue.after(self.swarm.every_ms, Happening::FrontEnds);
        }
    }

    /// Ends every fault: machines have power, processes go on, links are whole, disks are well.
    pub fn heal(&mut self) {
        self.healing = true;
        // Clients go on, and leave time for what has to heal.
        self.writers.pace((150, 1_500));
        self.cuts.clear();
        self.slow.clear();
        self.armed.clear();
        self.triggers.clear();
        for node in self.paused.keys().cloned().collect::<Vec<_>>() {
            self.resume(&node);
        }
        for (id, node) in &mut self.coordinators {
            node.file.disarm();
            node.dark = false;
            self.queue.after(0, Happening::Start(Node::Coordinator(*id)));
        }
        let hosts: Vec<HostName> = self.agents.keys().cloned().collect();
        for host in hosts {
            if self.agents[&host].dark {
                self.power_on(&host);
            }
            self.agents[&host].file.disarm();
            self.queue.after(0, Happening::Start(Node::Agent(host)));
        }
        self.folders.values_mut().for_each(Folder::disarm);
        self.heal_front_ends();
    }

    pub(crate) fn is_dark(&self, place: &Place) -> bool {
        match place {
            Place::Coordinator(id) => self.coordinators.get(id).is_some_and(|n| n.dark),
            Place::Host(host) => self.agents.get(host).is_some_and(|n| n.dark),
            Place::FrontEnd(_) | Place::Outside => false,
        }
    }

    /// Cuts a host's power for so long.
    pub(crate) fn power_fails(&mut self, host: &HostName, down_ms: u64) {
        self.power_off(host);
        self.queue.after(down_ms, Happening::PowerOn(host.clone()));
    }

    /// Cuts a host's power: its agent and engines are gone, and of their unsynced writes a random part.
    pub(crate) fn power_off(&mut self, host: &HostName) {
        let Some(node) = self.agents.get_mut(host).filter(|n| !n.dark) else { return };
        node.dark = true;
        self.saw_power_off(host);
        self.joiners_die(host);
        self.kill_agent(host);
        let slots: Vec<SlotId> = self.engines.keys().filter(|slot| slot.host == *host).cloned().collect();
        for slot in slots {
            self.engine_ends(&slot, false);
        }
        for ((slot, _, _), folder) in &mut self.folders {
            if slot.host == *host {
                folder.power_failed(&mut self.disk);
            }
        }
        if let Some(node) = self.agents.get(host) {
            node.file.power_failed(&mut self.disk);
        }
        self.note(|| format!("{host} has no power"));
        self.witness.saw(self.queue.now(), Seen::HostOff { host });
    }

    /// Switches a host on again: a new boot, and nothing runs but its agent.
    pub(crate) fn power_on(&mut self, host: &HostName) {
        let boot = BootId(self.tokens.token());
        let Some(node) = self.agents.get_mut(host).filter(|n| n.dark) else { return };
        node.dark = false;
        node.boot = boot;
        self.note(|| format!("{host} has power again"));
        self.witness.saw(self.queue.now(), Seen::HostOn { host, boot });
        let delay = self.disk.within(5, 60);
        self.queue.after(delay, Happening::Start(Node::Agent(host.clone())));
    }

    /// A coordinator's machine loses power for so long.
    pub(crate) fn coordinator_power_fails(&mut self, id: u64, down_ms: u64) {
        if let Some(node) = self.coordinators.get_mut(&id) {
            node.dark = true;
        }
        if self.life(&Node::Coordinator(id)).is_some() {
            self.coordinator_gone(id);
        }
        self.coordinator_power_failed(id);
        self.note(|| format!("c{id} has no power"));
        self.queue.after(down_ms, Happening::Mend(Place::Coordinator(id), Place::Coordinator(id)));
    }

    /// A cut is over, or a coordinator's machine has power again.
    pub(crate) fn mend(&mut self, from: &Place, to: &Place) {
        if let (Place::Coordinator(id), true) = (from, from == to) {
            if let Some(node) = self.coordinators.get_mut(id) {
                node.dark = false;
            }
            return self.start_coordinator(*id);
        }
        let key = (from.clone(), to.clone());
        if self.cuts.get(&key).is_some_and(|until| *until <= self.queue.now()) {
            self.cuts.remove(&key);
        }
    }

    /// Whether a host's disk may go back in time or away: nothing acknowledged is only there, no other disk has gone, and
    /// nobody relies on it just now.
    pub(crate) fn may_lose_its_disk(&self, host: &HostName) -> bool {
        if self.agents.iter().any(|(other, n)| n.replaced && other != host) {
            return false;
        }
        let Some(cluster) = self.state().and_then(|s| s.cluster.as_ref()) else { return false };
        cluster.stores.values().all(|store| {
            let here = |slot: &SlotId| slot.host == *host;
            // Who was succeeded elsewhere, and is known to be dead, is gone with its disk (R28).
            let is_over = |slot: &SlotId| here(slot) && store.master.is_some() && self.has_ended(&slot.host);
            let possible = || store.possible_masters.keys().filter(|slot| !is_over(slot));
            let leads = store.master.as_ref().is_some_and(here)
                || store.pending.as_ref().is_some_and(here)
                || possible().any(here);
            let served = store.master.as_ref().is_some_and(|m| self.life(&Node::Engine(m.clone())).is_some());
            let has_copy = store.copies.keys().any(here);
            // Of a store that is retired, nothing is wanted any more.
            let nothing_to_lose = !has_copy || store.retired;
            !leads && (nothing_to_lose || (served && store.pending.is_none() && possible().next().is_none()))
        })
    }

    /// Whether the last boot the coordinators heard of is known to have ended.
    fn has_ended(&self, host: &HostName) -> bool {
        let Some(state) = self.state() else { return false };
        let known = state.cluster.as_ref().and_then(|cluster| cluster.hosts.get(host)).and_then(|known| known.boot);
        known.is_some() && known == state.ended_boots.get(host).copied()
    }

    /// The host comes back with an empty disk.
    pub(crate) fn wipe(&mut self, host: &HostName, down_ms: u64) {
        self.power_off(host);
        let incarnation = Incarnation(self.tokens.token());
        self.folders.retain(|(slot, _, _), _| slot.host != *host);
        if let Some(node) = self.agents.get_mut(host) {
            node.file = crate::disk::SimFile::formatted();
            node.fresh = Some(incarnation);
            // What was kept is of a disk that is gone: nobody puts a retired disk back in (known gap of S2).
            (node.replaced, node.kept) = (true, None);
        }
        self.witness.saw(self.queue.now(), Seen::HostDiskTouched { host });
        self.note(|| format!("the disk of {host} is empty"));
        self.queue.after(down_ms, Happening::PowerOn(host.clone()));
    }
}
