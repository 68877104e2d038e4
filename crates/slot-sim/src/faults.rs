//! What can go wrong: classes, how a seed chooses among them, and numbered injections.
//!
//! What always holds: every fault that happens has a number, drawn in the order of happening, so that a run can be repeated
//! without some of them; a seed leaves out a random half of the classes (swarm testing), and everything is drawn from the
//! seed's fault stream alone.

use crate::queue::Stream;
use slot_types::ids::{FrontEndName, HostName, SlotId};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A class of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultClass {
    /// A message is lost.
    Loss,
    /// A message comes twice, the second time much later perhaps.
    Duplicate,
    /// A message is late, past others that were sent after it.
    Delay,
    /// Bits of a message are flipped; its frame's checksum tells.
    BitFlip,
    /// A message is cut short.
    Truncation,
    /// One direction between two machines is cut.
    OneWayCut,
    /// Two machines do not hear each other.
    PartialCut,
    /// A process is killed.
    Kill,
    /// A process dies inside a disk write or fsync, with or without the machine.
    CrashAtWrite,
    /// The write under way at a crash is torn.
    TornWrite,
    /// The power fails inside an fsync, and nothing it covered is there.
    LostFsync,
    /// A write or fsync answers EIO.
    Eio,
    /// The disk is full.
    Enospc,
    /// A disk is slow for a while.
    SlowDisk,
    /// A coordinator stops for longer than an election.
    PauseCoordinator,
    /// An agent stops.
    PauseAgent,
    /// An engine stops.
    PauseEngine,
    /// Wall clocks jump by an hour.
    ClockJump,
    /// A disk is empty after a reboot.
    WipedDisk,
    /// An older image of a disk is put back.
    OldDisk,
    /// An agent's folder is a copy made elsewhere.
    ClonedFolder,
    /// A machine loses power.
    PowerOff,
    /// Everything loses power.
    SitePowerCut,
    /// Leadership moves.
    LeaderChange,
}

impl FaultClass {
    /// Every class.
    pub const ALL: [FaultClass; 24] = [
        Self::Loss,
        Self::Duplicate,
        Self::Delay,
        Self::BitFlip,
        Self::Truncation,
        Self::OneWayCut,
        Self::PartialCut,
        Self::Kill,
        Self::CrashAtWrite,
        Self::TornWrite,
        Self::LostFsync,
        Self::Eio,
        Self::Enospc,
        Self::SlowDisk,
        Self::PauseCoordinator,
        Self::PauseAgent,
        Self::PauseEngine,
        Self::ClockJump,
        Self::WipedDisk,
        Self::OldDisk,
        Self::ClonedFolder,
        Self::PowerOff,
        Self::SitePowerCut,
        Self::LeaderChange,
    ];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Duplicate => "duplicate",
            Self::Delay => "delay",
            Self::BitFlip => "bit-flip",
            Self::Truncation => "truncation",
            Self::OneWayCut => "one-way-cut",
            Self::PartialCut => "partial-cut",
            Self::Kill => "kill",
            Self::CrashAtWrite => "crash-at-write",
            Self::TornWrite => "torn-write",
            Self::LostFsync => "lost-fsync",
            Self::Eio => "eio",
            Self::Enospc => "enospc",
            Self::SlowDisk => "slow-disk",
            Self::PauseCoordinator => "pause-coordinator",
            Self::PauseAgent => "pause-agent",
            Self::PauseEngine => "pause-engine",
            Self::ClockJump => "clock-jump",
            Self::WipedDisk => "wiped-disk",
            Self::OldDisk => "old-disk",
            Self::ClonedFolder => "cloned-folder",
            Self::PowerOff => "power-off",
            Self::SitePowerCut => "site-power-cut",
            Self::LeaderChange => "leader-change",
        }
    }
}

/// A process of the world.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    /// A coordinator.
    Coordinator(u64),
    /// The agent of a host.
    Agent(HostName),
    /// The engine on a slot.
    Engine(SlotId),
    /// The agent of a front end.
    FrontEnd(FrontEndName),
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Coordinator(id) => write!(f, "c{id}"),
            Self::Agent(host) => write!(f, "agent {host}"),
            Self::Engine(slot) => write!(f, "engine {slot}"),
            Self::FrontEnd(name) => write!(f, "front end {name}"),
        }
    }
}

/// What kind of machine fault befalls whom; the subject is chosen when it happens, among those it may befall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Injection {
    /// Of this class, at whatever its own stream draws.
    Any(FaultClass),
    /// A process is killed; it is started again after so many milliseconds, engines by order only.
    Kill(Node, u64),
    /// A process is stopped for so long.
    Pause(Node, u64),
    /// The disk of a process fails at its next operation or sync.
    Disk(Node, DiskTrouble),
    /// A host loses power for so long.
    PowerOff(HostName, u64),
    /// Nothing reaches or leaves a host's agent for so long.
    Silence(HostName, u64),
    /// The leader, if there is one, hears nobody for so long.
    IsolateLeader(u64),
    /// The leader is killed and started again after so long.
    KillLeader(u64),
    /// The message under way comes again after so long.
    Again(u64),
    /// The message under way comes so much later.
    Late(u64),
    /// The message under way is lost.
    Lose,
    /// Bytes come behind the order in the message under way.
    Longer,
}

/// How a disk fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskTrouble {
    /// The process dies in it.
    Crash,
    /// The process dies in it and the write is torn; the machine's power fails.
    Torn,
    /// The power fails in the sync.
    LostFsync,
    /// EIO.
    Eio,
    /// ENOSPC.
    Enospc,
}

/// A place in the code of a process at which something can be made to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// The place's name, as in a trace: `agent-accepts-demote`.
    pub place: String,
    /// Pass it so many times first.
    pub skip: u32,
    /// What then happens.
    pub what: Injection,
}

/// How rough a seed's world is.
#[derive(Clone, Debug)]
pub struct Swarm {
    /// The classes that happen.
    pub classes: BTreeSet<FaultClass>,
    /// Hosts.
    pub hosts: u8,
    /// Stores.
    pub stores: u8,
    /// Copies of each store.
    pub copies: u8,
    /// R24.
    pub sync_copies: u8,
    /// A message meets each of its classes once in so many; 0 is never.
    pub message_one_in: u64,
    /// Milliseconds between injections, on average; 0 is never.
    pub every_ms: u64,
    /// How long faults last.
    pub rough_ms: u64,
    /// A snapshot after so many entries.
    pub snapshot_every: u64,
    /// Entries kept below a snapshot.
    pub log_tail: u64,
    /// The shortest and longest pause before a client's next record, in milliseconds.
    pub client_pause_ms: (u64, u64),
    /// Set traps at named places.
    pub triggers: Vec<Trigger>,
    /// Every host can be switched off by a device (R26).
    pub devices: bool,
    /// People at the machines start what is dead while no leader watches (R19).
    pub by_hand: bool,
    /// Replicas are compared with their masters this often; 0 is never.
    pub verify_every_ms: u64,
    /// Front ends, through which every second client goes.
    pub front_ends: u8,
    /// Agents look around for the leader (R8, R23).
    pub probes: bool,
}

impl Swarm {
    /// A world in which nothing goes wrong.
    pub fn calm(hosts: u8, stores: u8, copies: u8, sync_copies: u8) -> Self {
        Self {
            classes: BTreeSet::new(),
            hosts,
            stores,
            copies,
            sync_copies,
            message_one_in: 0,
            every_ms: 0,
            rough_ms: 0,
            snapshot_every: 2_000,
            log_tail: 4_096,
            client_pause_ms: (20, 400),
            triggers: Vec::new(),
            devices: false,
            by_hand: false,
            verify_every_ms: 0,
            front_ends: 0,
            probes: false,
        }
    }

    /// What a seed chooses.
    pub fn of(seed: u64) -> Self {
        let mut dice = Stream::new(seed, 20);
        let classes = FaultClass::ALL.into_iter().filter(|_| dice.one_in(2)).collect();
        let copies = 2 + u8::from(dice.one_in(2));
        let hosts = copies + u8::from(dice.one_in(3));
        let short = dice.one_in(2);
        let mut swarm = Self {
            classes,
            hosts,
            stores: 1 + dice.within(0, 2) as u8,
            copies,
            sync_copies: u8::from(dice.one_in(2)),
            message_one_in: [0, 400, 120, 40][dice.within(0, 3) as usize],
            every_ms: [400, 1_000, 2_500][dice.within(0, 2) as usize],
            rough_ms: dice.within(12_000, 30_000),
            snapshot_every: if short { dice.within(15, 60) } else { 2_000 },
            log_tail: if short { dice.within(4, 20) } else { 4_096 },
            client_pause_ms: (20, 400),
            triggers: Vec::new(),
            // A stream of its own: what the others draw stays what it was.
            devices: Stream::new(seed, 21).one_in(3),
            by_hand: Stream::new(seed, 22).one_in(3),
            verify_every_ms: [0, 4_000, 15_000][Stream::new(seed, 23).within(0, 2) as usize],
            front_ends: match seed % 30 {
                4 | 10 => 1 + u8::from(Stream::new(seed, 24).one_in(2)),
                _ => 0,
            },
            probes: matches!(seed % 30, 1 | 28),
        };
        for _ in 0..dice.within(0, 4) {
            let trigger = swarm.trigger(&mut dice);
            swarm.triggers.push(trigger);
        }
        // Busy stores show races of writes, quiet ones leave time for more worlds.
        swarm.client_pause_ms = [(20, 400), (60, 1_200), (200, 3_000)][dice.within(0, 2) as usize];
        swarm
    }

    fn trigger(&self, dice: &mut Stream) -> Trigger {
        const BEFORE: [&str; 5] = ["deliver", "accepts", "records", "calls", "engine"];
        const ACTIONS: [&str; 9] =
            ["freeze", "catch-up", "demote", "promote", "follow", "raise", "start-master", "thaw", "stop"];
        let action = ACTIONS[dice.within(0, 8) as usize];
        let place = match dice.within(0, 6) {
            5 => format!("slotd-started-{action}"),
            6 => format!("slotd-finished-{}", if dice.one_in(2) { "commit-epoch" } else { action }),
            n => format!("{}-{action}", BEFORE[n as usize]),
        };
        let what = match dice.within(0, 5) {
            0 => Injection::KillLeader(dice.within(500, 6_000)),
            1 => Injection::IsolateLeader(dice.within(1_500, 8_000)),
            2 => Injection::Any(FaultClass::PauseEngine),
            3 => Injection::Any(FaultClass::Kill),
            4 => Injection::Late(dice.within(1_000, 12_000)),
            _ => Injection::Again(dice.within(100, 15_000)),
        };
        Trigger { place, skip: dice.within(0, 2) as u32, what }
    }

    /// For a person.
    pub fn describe(&self) -> String {
        let classes: Vec<&str> = self.classes.iter().map(|c| c.name()).collect();
        format!(
            "{} hosts, {} stores of {} copies, sync_copies {}, messages 1/{}, a fault every {} ms for {} ms, snapshot every \
             {}, log tail {}, clients pause {:?} ms, classes [{}], triggers {:?}{}{}{}",
            self.hosts,
            self.stores,
            self.copies,
            self.sync_copies,
            self.message_one_in,
            self.every_ms,
            self.rough_ms,
            self.snapshot_every,
            self.log_tail,
            self.client_pause_ms,
            classes.join(" "),
            self.triggers,
            match (self.devices, self.by_hand) {
                (true, true) => ", devices, people at the machines",
                (true, false) => ", devices",
                (false, true) => ", people at the machines",
                (false, false) => "",
            },
            match self.front_ends {
                0 => String::new(),
                n => format!(", {n} front ends"),
            },
            if self.probes { ", agents probe" } else { "" }
        )
    }
}

/// Counts and numbers what is injected.
#[derive(Default)]
pub struct Injected {
    next: u64,
    /// Numbers that must not happen.
    pub suppressed: BTreeSet<u64>,
    /// How often each class happened.
    pub counts: BTreeMap<&'static str, u64>,
    /// Number, time and description of each, if they are to be kept.
    pub log: Vec<(u64, u64, String)>,
    /// Keep the log.
    pub keep: bool,
}

impl Injected {
    /// How many faults happened.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Whether this fault happens: it is numbered and counted.
    pub fn happens(&mut self, now: u64, class: FaultClass, text: impl FnOnce() -> String) -> bool {
        self.next += 1;
        if self.suppressed.contains(&self.next) {
            return false;
        }
        *self.counts.entry(class.name()).or_default() += 1;
        if self.keep {
            self.log.push((self.next, now, format!("{}: {}", class.name(), text())));
        }
        true
    }
}
