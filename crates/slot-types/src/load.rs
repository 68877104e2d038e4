//! How busy machines are, what of it each engine takes, and how busy a machine would be with other engines.
//!
//! What always holds: what was not measured is never counted as nothing: it is `None` or [`Seen::Unknown`], and what is computed
//! from it is unknown too; a part of a machine is in millionths of all it can do over one window; nothing here decides anything.

use crate::evidence::{Evidence, Seen};
use crate::ids::*;
use crate::plan::{Task, TaskKind};
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// All of a machine, in millionths.
pub const ALL_PPM: u32 = 1_000_000;

/// Parts of a machine that were busy over a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Busy {
    /// Of the time of all its processors.
    pub cpu_ppm: u32,
    /// Of the time of the disk that its copies lie on; `None` where that can't be measured.
    pub disk_ppm: Option<u32>,
}

impl Busy {
    /// The one number: whichever of the two is scarcer.
    pub fn load_ppm(self) -> u32 {
        self.disk_ppm.unwrap_or(0).max(self.cpu_ppm)
    }
}

/// What the engine of one slot took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct EngineLoad {
    /// The slot's number.
    pub slot: u16,
    /// Of the whole machine.
    pub busy: Busy,
}

/// What an agent measured of its machine.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct HostLoad {
    /// Over how long, in milliseconds.
    pub window_ms: u32,
    /// How many processors it has.
    pub processors: u16,
    /// By everything that runs there.
    pub machine: Busy,
    /// By each engine that ran all through the window.
    pub engines: Vec<EngineLoad>,
}

impl HostLoad {
    fn engine(&self, slot: u16) -> Option<Busy> {
        self.engines.iter().find(|engine| engine.slot == slot).map(|engine| engine.busy)
    }
}

/// How busy a host that a plan touches is now, and would be after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostForecast {
    /// Which.
    pub host: HostName,
    /// Masters, and copies that are moved, that come to it.
    pub comes: u32,
    /// Those that go from it.
    pub goes: u32,
    /// Its load now, as last measured.
    pub now_ppm: Seen<u32>,
    /// Its load with what comes and without what goes. Its age is that of the oldest measure in it.
    pub then_ppm: Seen<u32>,
}

/// Percent, rounded: what a person reads.
pub fn percent(ppm: u32) -> u32 {
    ppm.saturating_add(ALL_PPM / 200) / (ALL_PPM / 100)
}

/// The load of every host that masters or moved copies come to or go from, by name.
///
/// A master takes of its next host what its engine took of the present one, by as many processors as each has; a replica that is
/// built elsewhere takes what the one it stands in for takes. What the new master's replica took is not taken off: this errs upwards.
pub fn forecast<'a>(evidence: &Evidence, tasks: impl IntoIterator<Item = &'a Task>) -> Vec<HostForecast> {
    let moves = Moves::of(tasks);
    let hosts: BTreeSet<&HostName> =
        moves.comes.iter().map(|(_, to)| *to).chain(moves.goes.iter().map(|from| &from.host)).collect();
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let forecasts = hosts.into_iter().map(|host| HostForecast {
        host: host.clone(),
        comes: number(moves.comes.iter().filter(|(_, to)| *to == host).count()),
        goes: number(moves.goes.iter().filter(|from| from.host == *host).count()),
        now_ppm: seen(of_host(evidence, host).map(|(load, age_ms)| (load.machine.load_ppm(), age_ms))),
        then_ppm: seen(moves.afterwards(evidence, host)),
    });
    forecasts.collect()
}

/// What moves with its work.
#[derive(Default)]
struct Moves<'a> {
    /// (the engine that does it now, the host that it comes to).
    comes: Vec<(&'a SlotId, &'a HostName)>,
    /// Engines that do it no longer.
    goes: Vec<&'a SlotId>,
    /// Hosts that get copies of which nobody knows yet what they take.
    new: BTreeSet<&'a HostName>,
}

impl<'a> Moves<'a> {
    fn of(tasks: impl IntoIterator<Item = &'a Task>) -> Self {
        let (mut moves, mut roles, mut copies) = (Self::default(), BTreeMap::new(), BTreeMap::new());
        for task in tasks {
            match &task.kind {
                TaskKind::HandOver { from, to } | TaskKind::FailOver { from, to, .. } => drop(roles.insert(from, to)),
                TaskKind::BuildCopy { slot, replaces: Some(old), .. } => drop(copies.insert(old, slot)),
                TaskKind::BuildCopy { slot, replaces: None, .. } => drop(moves.new.insert(&slot.host)),
                TaskKind::CreateStore { copies, .. } => moves.new.extend(copies.keys().map(|slot| &slot.host)),
                _ => {}
            }
        }
        for (old, new) in copies {
            match roles.get(old) {
                // The master is handed over to the copy that takes its copy's place.
                Some(to) if *to == new => {}
                Some(to) => moves.comes.push((to, &new.host)),
                None => moves.one(old, &new.host),
            }
        }
        roles.into_iter().for_each(|(from, to)| moves.one(from, &to.host));
        moves
    }

    fn one(&mut self, from: &'a SlotId, to: &'a HostName) {
        if from.host != *to {
            self.comes.push((from, to));
            self.goes.push(from);
        }
    }

    fn afterwards(&self, evidence: &Evidence, host: &HostName) -> Aged<u32> {
        let (here, mut age_ms) = of_host(evidence, host)?;
        if self.new.contains(host) {
            return Err("what its new copies will take is not known before they run".into());
        }
        let comes = self.comes.iter().filter(|(_, to)| *to == host).map(|(engine, _)| (*engine, 1));
        let goes = self.goes.iter().filter(|engine| engine.host == *host).map(|engine| (*engine, -1));
        let (mut cpu, mut disk) = (i128::from(here.machine.cpu_ppm), here.machine.disk_ppm.map(i128::from));
        for (engine, sign) in comes.chain(goes) {
            let from = &engine.host;
            let (there, age) = of_host(evidence, from).map_err(|why| format!("{from}: {why}"))?;
            age_ms = age_ms.max(age);
            let unmeasured = || format!("{from}: what each of its engines takes is not measured");
            let takes = there.engine(engine.number).ok_or_else(unmeasured)?;
            let processors = (i128::from(there.processors), i128::from(here.processors.max(1)));
            cpu += sign * i128::from(takes.cpu_ppm) * processors.0 / processors.1;
            if let Some(disk) = &mut disk {
                *disk += sign * i128::from(takes.disk_ppm.ok_or_else(unmeasured)?);
            }
        }
        let load = cpu.max(disk.unwrap_or(0)).max(0);
        Ok((u32::try_from(load).unwrap_or(u32::MAX), age_ms))
    }
}

/// A value with the age of the oldest measure in it, or why it is not known.
type Aged<T> = Result<(T, u64), String>;

fn seen<T>(of: Aged<T>) -> Seen<T> {
    match of {
        Ok((value, age_ms)) => Seen::Known { value, age_ms },
        Err(reason) => Seen::Unknown { reason },
    }
}

fn of_host<'a>(evidence: &'a Evidence, host: &HostName) -> Aged<&'a HostLoad> {
    match evidence.hosts.get(host).map(|seen| &seen.load) {
        Some(Seen::Known { value, age_ms }) => Ok((value, *age_ms)),
        Some(Seen::Unknown { reason }) => Err(reason.clone()),
        None => Err("this leader has not heard its agent yet".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::{AgentSeen, HostEvidence};

    fn host(n: u16) -> HostName {
        HostName::new(format!("imap{n}")).unwrap()
    }
    fn busy(cpu: u32, disk: Option<u32>) -> Busy {
        Busy { cpu_ppm: cpu, disk_ppm: disk }
    }
    fn load(processors: u16, machine: Busy, engines: &[(u16, Busy)]) -> HostLoad {
        let engines = engines.iter().map(|(slot, busy)| EngineLoad { slot: *slot, busy: *busy }).collect();
        HostLoad { window_ms: 30_000, processors, machine, engines }
    }
    fn evidence(hosts: &[(u16, Option<HostLoad>, u64)]) -> Evidence {
        let mut evidence = Evidence::default();
        for (n, load, age_ms) in hosts {
            let value = AgentSeen { incarnation: Incarnation([1; 16]), boot: BootId([1; 16]) };
            let unknown = |reason: &str| reason.to_string();
            let seen = HostEvidence {
                agent: Seen::Known { value, age_ms: *age_ms },
                running: Vec::new(),
                disk: Seen::Unknown { reason: unknown("not asked") },
                load: match load.clone() {
                    Some(value) => Seen::Known { value, age_ms: *age_ms },
                    None => Seen::Unknown { reason: unknown("its agent has not measured it yet") },
                },
            };
            evidence.hosts.insert(host(*n), seen);
        }
        evidence
    }
    fn task(kind: TaskKind) -> Task {
        Task { kind, store: None, epoch: Epoch::ZERO, after: Vec::new(), steps: Vec::new() }
    }
    fn hand_over(from: (u16, u16), to: (u16, u16)) -> Task {
        let slot = |(h, n): (u16, u16)| SlotId::new(host(h), n);
        task(TaskKind::HandOver { from: slot(from), to: slot(to) })
    }
    /// (comes, goes, now, then) of a host.
    fn of(n: u16, evidence: &Evidence, tasks: &[Task]) -> (u32, u32, Seen<u32>, Seen<u32>) {
        let found = forecast(evidence, tasks).into_iter().find(|one| one.host == host(n)).unwrap();
        (found.comes, found.goes, found.now_ppm, found.then_ppm)
    }
    fn known(value: u32, age_ms: u64) -> Seen<u32> {
        Seen::Known { value, age_ms }
    }

    #[test]
    fn what_comes_is_added_what_goes_is_taken_off_and_the_scarcer_of_the_two_counts() {
        let one =
            load(8, busy(600_000, Some(300_000)), &[(1, busy(40_000, Some(10_000))), (2, busy(50_000, Some(250_000)))]);
        let two = load(8, busy(610_000, Some(500_000)), &[(3, busy(20_000, Some(0)))]);
        let evidence = evidence(&[(1, Some(one), 500), (2, Some(two), 900)]);
        let both = [hand_over((1, 1), (2, 1)), hand_over((1, 2), (2, 2))];
        // 610 + 40 + 50 of the processors, 500 + 10 + 250 of the disk: the disk is the scarcer then.
        assert_eq!(of(2, &evidence, &both), (2, 0, known(610_000, 900), known(760_000, 900)));
        assert_eq!(of(1, &evidence, &both), (0, 2, known(600_000, 500), known(510_000, 500)));
        let swapped = [hand_over((1, 1), (2, 1)), hand_over((2, 3), (1, 3))];
        assert_eq!(of(2, &evidence, &swapped).3, known(630_000, 900));
    }

    #[test]
    fn a_share_is_scaled_by_the_processors_of_both_hosts() {
        let large = load(16, busy(100_000, None), &[(1, busy(100_000, None))]);
        let small = load(4, busy(200_000, None), &[]);
        let evidence = evidence(&[(1, Some(large), 0), (2, Some(small), 0)]);
        assert_eq!(
            of(2, &evidence, &[hand_over((1, 1), (2, 1))]).3,
            known(600_000, 0),
            "a tenth of 16 is four tenths of 4"
        );
        let more_than_all = [hand_over((1, 1), (2, 1)), hand_over((1, 1), (2, 1))];
        assert_eq!(of(2, &evidence, &more_than_all).0, 1, "one engine moves once");
    }

    #[test]
    fn what_was_not_measured_is_unknown_and_never_nothing() {
        let measured = || load(8, busy(600_000, Some(1)), &[(1, busy(40_000, None))]);
        let over = [hand_over((1, 1), (2, 1))];
        let then = |hosts: &[(u16, Option<HostLoad>, u64)]| of(2, &evidence(hosts), &over);
        let reason = |seen: Seen<u32>| match seen {
            Seen::Unknown { reason } => reason,
            known => panic!("{known:?}"),
        };
        let (_, _, now, after) = then(&[(1, None, 0), (2, Some(measured()), 0)]);
        assert_eq!((now, reason(after)), (known(600_000, 0), "imap1: its agent has not measured it yet".into()));
        let (_, _, now, after) = then(&[(1, Some(measured()), 0), (2, None, 0)]);
        assert_eq!(reason(now), reason(after));
        let (.., after) = then(&[(1, Some(load(8, busy(0, None), &[])), 0), (2, Some(measured()), 0)]);
        assert_eq!(reason(after), "imap1: what each of its engines takes is not measured");
        let (.., after) = then(&[(1, Some(measured()), 0), (2, Some(measured()), 0)]);
        assert_eq!(reason(after), "imap1: what each of its engines takes is not measured", "of the disk");
        let (.., after) = then(&[(2, Some(measured()), 0)]);
        assert_eq!(reason(after), "imap1: this leader has not heard its agent yet");
        assert_eq!(forecast(&evidence(&[]), &over).len(), 2, "hosts are named though nothing is known of them");
    }

    #[test]
    fn the_last_measure_of_a_dead_host_counts_with_its_age() {
        let one = load(8, busy(600_000, None), &[(1, busy(40_000, None))]);
        let two = load(8, busy(610_000, None), &[]);
        let evidence = evidence(&[(1, Some(one), 241_000), (2, Some(two), 700)]);
        assert_eq!(of(2, &evidence, &[hand_over((1, 1), (2, 1))]).3, known(650_000, 241_000));
    }

    #[test]
    fn a_copy_that_moves_takes_its_work_along_and_a_new_one_makes_it_unknown() {
        let one = load(8, busy(600_000, None), &[(1, busy(40_000, None))]);
        let two = load(8, busy(610_000, None), &[(4, busy(10_000, None))]);
        let three = load(8, busy(100_000, None), &[]);
        let evidence = evidence(&[(1, Some(one), 0), (2, Some(two), 0), (3, Some(three), 0)]);
        let slot = |h, n| SlotId::new(host(h), n);
        let build = |replaces| task(TaskKind::BuildCopy { slot: slot(2, 1), generation: CopyGeneration(2), replaces });
        let moved = build(Some(slot(1, 1)));
        assert_eq!(of(2, &evidence, std::slice::from_ref(&moved)).3, known(650_000, 0));
        // Its master is handed over to the copy that takes its place: one engine, once.
        let with_role = [moved, hand_over((1, 1), (2, 1))];
        assert_eq!(of(2, &evidence, &with_role), (1, 0, known(610_000, 0), known(650_000, 0)));
        // It is handed over to another copy, and that one's work as a replica is done anew elsewhere.
        let replica = SlotId::new(host(3), 9);
        let elsewhere =
            TaskKind::BuildCopy { slot: replica, generation: CopyGeneration(2), replaces: Some(slot(1, 1)) };
        let emptied = [task(elsewhere), hand_over((1, 1), (2, 4))];
        assert_eq!(of(2, &evidence, &emptied), (1, 0, known(610_000, 0), known(650_000, 0)));
        assert_eq!(of(3, &evidence, &emptied), (1, 0, known(100_000, 0), known(110_000, 0)));
        let one_more = [build(None), hand_over((1, 1), (2, 2))];
        assert!(matches!(of(2, &evidence, &one_more).3, Seen::Unknown { .. }));
        assert_eq!(of(1, &evidence, &one_more).3, known(560_000, 0));
    }

    #[test]
    fn percents_are_rounded_and_may_be_more_than_all() {
        assert_eq!([0, 4_999, 5_000, 614_999, 615_000, 1_120_000].map(percent), [0, 0, 1, 61, 62, 112]);
    }
}
