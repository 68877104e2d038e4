//! From counters at two moments to parts of a machine; pure.
//!
//! What always holds: a load is of a whole window or there is none; a counter that went back, a process that was another at the
//! beginning and one that was not there all the time are not measured, which is not the same as idle.

use slot_net::process::ProcessIdentity;
use slot_types::load::{ALL_PPM, Busy, EngineLoad, HostLoad};
use std::collections::{BTreeMap, VecDeque};

/// A load is of so long.
pub(super) const WINDOW_MS: u64 = 30_000;
/// A window that ended longer ago says nothing of now.
const STALE_MS: u64 = 30_000;

/// Processor time since the machine was started, in the kernel's ticks, of all processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cpu {
    /// Neither idle nor waiting for a disk.
    pub busy: u64,
    pub all: u64,
}

/// Of a disk, since the machine was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DiskWork {
    /// So long it had something to do.
    pub busy_ms: u64,
    /// Read and written.
    pub bytes: u64,
}

/// Of an engine and all it started, since it was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EngineWork {
    pub process: ProcessIdentity,
    /// Processor time, in ticks.
    pub ticks: u64,
    /// Read from disks and written to them; `None` where the kernel does not tell.
    pub bytes: Option<u64>,
}

/// All counters at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    /// Milliseconds since the machine was started.
    pub at_ms: u64,
    pub cpu: Cpu,
    pub processors: u16,
    pub disk: Option<DiskWork>,
    /// By slot.
    pub engines: BTreeMap<u16, EngineWork>,
}

/// The samples of one window, and of what is to become the next.
#[derive(Debug, Default)]
pub(super) struct Window(VecDeque<Sample>);

impl Window {
    /// Takes the next sample, and forgets what no window begins with any more.
    pub fn take(&mut self, sample: Sample) {
        let now_ms = sample.at_ms;
        self.0.push_back(sample);
        while self.0.get(1).is_some_and(|second| now_ms.saturating_sub(second.at_ms) >= WINDOW_MS) {
            self.0.pop_front();
        }
    }

    /// The load of the last whole window, if it ended lately.
    pub fn load(&self, now_ms: u64) -> Option<HostLoad> {
        let (first, last) = (self.0.front()?, self.0.back()?);
        let lately = now_ms.saturating_sub(last.at_ms) <= STALE_MS;
        let whole = last.at_ms.saturating_sub(first.at_ms) >= WINDOW_MS;
        (lately && whole).then(|| between(first, last)).flatten()
    }
}

/// What happened between two samples.
fn between(first: &Sample, last: &Sample) -> Option<HostLoad> {
    let elapsed_ms = last.at_ms.checked_sub(first.at_ms)?;
    let ticks = last.cpu.all.checked_sub(first.cpu.all)?;
    let cpu_ppm = part(last.cpu.busy.checked_sub(first.cpu.busy)?, ticks)?;
    let disk = first.disk.zip(last.disk).and_then(|(then, now)| {
        let busy_ms = now.busy_ms.checked_sub(then.busy_ms)?;
        Some((part(busy_ms, elapsed_ms)?, now.bytes.checked_sub(then.bytes)?))
    });
    let engine = |(slot, now): (&u16, &EngineWork)| {
        let then = first.engines.get(slot).filter(|then| then.process == now.process)?;
        let cpu_ppm = part(now.ticks.checked_sub(then.ticks)?, ticks)?;
        let bytes = then.bytes.zip(now.bytes).and_then(|(then, now)| now.checked_sub(then));
        // A disk's time is its users' by the bytes of each.
        let disk_ppm = disk.zip(bytes).map(|((disk_ppm, all), bytes)| match part(bytes, all) {
            Some(share) => scaled(disk_ppm, share),
            None => 0,
        });
        Some(EngineLoad { slot: *slot, busy: Busy { cpu_ppm, disk_ppm } })
    };
    Some(HostLoad {
        window_ms: u32::try_from(elapsed_ms).unwrap_or(u32::MAX),
        processors: last.processors,
        machine: Busy { cpu_ppm, disk_ppm: disk.map(|(busy_ppm, _)| busy_ppm) },
        engines: last.engines.iter().filter_map(engine).collect(),
    })
}

/// In millionths, all of it at most; `None` of nothing.
fn part(of: u64, all: u64) -> Option<u32> {
    let ppm = (u128::from(of) * u128::from(ALL_PPM)).checked_div(u128::from(all))?;
    Some(u32::try_from(ppm).unwrap_or(ALL_PPM).min(ALL_PPM))
}

/// So many millionths of so many.
fn scaled(ppm: u32, by_ppm: u32) -> u32 {
    u32::try_from(u64::from(ppm) * u64::from(by_ppm) / u64::from(ALL_PPM)).unwrap_or(ALL_PPM)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROCESS: ProcessIdentity = ProcessIdentity { pid: 7, start_time: 1_000 };

    /// A machine of two processors, a hundred ticks a second each, that was busy for so many ticks.
    fn sample(at_ms: u64, busy: u64, disk: Option<(u64, u64)>, engines: &[(u16, u64, Option<u64>)]) -> Sample {
        let work = |ticks, bytes| EngineWork { process: PROCESS, ticks, bytes };
        Sample {
            at_ms,
            cpu: Cpu { busy, all: at_ms / 5 },
            processors: 2,
            disk: disk.map(|(busy_ms, bytes)| DiskWork { busy_ms, bytes }),
            engines: engines.iter().map(|(slot, ticks, bytes)| (*slot, work(*ticks, *bytes))).collect(),
        }
    }
    fn engine(load: &HostLoad, slot: u16) -> Option<(u32, Option<u32>)> {
        load.engines.iter().find(|e| e.slot == slot).map(|e| (e.busy.cpu_ppm, e.busy.disk_ppm))
    }

    #[test]
    fn a_load_is_the_busy_part_of_the_window_and_each_engine_has_its_share() {
        let first = sample(60_000, 1_000, Some((10_000, 5_000)), &[(1, 500, Some(0)), (2, 0, None)]);
        // 6,000 ticks went by, the disk was busy for a quarter of 30 s and moved 1,000 bytes.
        let last = sample(90_000, 4_660, Some((17_500, 6_000)), &[(1, 800, Some(400)), (2, 60, Some(9))]);
        let load = between(&first, &last).unwrap();
        assert_eq!((load.window_ms, load.processors), (30_000, 2));
        assert_eq!(load.machine, Busy { cpu_ppm: 610_000, disk_ppm: Some(250_000) });
        assert_eq!(load.machine.load_ppm(), 610_000);
        assert_eq!(engine(&load, 1), Some((50_000, Some(100_000))), "40 % of the bytes, 40 % of the disk's time");
        assert_eq!(engine(&load, 2), Some((10_000, None)), "its bytes were not told at the beginning");
    }

    #[test]
    fn what_was_not_there_all_the_time_is_not_measured() {
        let first = sample(60_000, 0, None, &[(1, 500, Some(0)), (2, 100, Some(0))]);
        let mut last = sample(90_000, 600, Some((1, 1)), &[(1, 800, Some(1)), (2, 90, Some(1)), (3, 10, Some(1))]);
        last.engines.get_mut(&1).unwrap().process.start_time = 2_000;
        let load = between(&first, &last).unwrap();
        assert_eq!(load.machine.disk_ppm, None, "the disk was not counted at the beginning");
        assert_eq!(load.engines, [], "another process, a counter that went back, one that began later");
        assert_eq!(between(&last, &last), None, "no time went by");
        assert_eq!(between(&last, &first), None, "time does not go back");
    }

    #[test]
    fn nothing_is_more_than_all_and_an_idle_disk_is_nobodys() {
        let first = sample(0, 0, Some((0, 0)), &[(1, 0, Some(0))]);
        let last = sample(30_000, 6_000, Some((31_000, 0)), &[(1, 7_000, Some(4_096))]);
        let load = between(&first, &last).unwrap();
        assert_eq!(load.machine, Busy { cpu_ppm: ALL_PPM, disk_ppm: Some(ALL_PPM) });
        assert_eq!(engine(&load, 1), Some((ALL_PPM, Some(0))));
        assert_eq!(part(u64::MAX, 1), Some(ALL_PPM));
        assert_eq!(part(0, 0), None);
    }

    #[test]
    fn a_window_is_whole_or_there_is_none_and_an_old_one_says_nothing() {
        let mut window = Window::default();
        assert_eq!(window.load(0), None);
        for at_ms in (0..=25_000).step_by(5_000) {
            window.take(sample(at_ms, at_ms / 10, None, &[]));
            assert_eq!(window.load(at_ms), None, "{at_ms} ms");
        }
        window.take(sample(30_000, 3_000, None, &[]));
        assert_eq!(window.load(30_000).map(|load| load.machine.cpu_ppm), Some(500_000));
        window.take(sample(35_000, 6_000, None, &[]));
        assert_eq!(window.0.len(), 7, "what no window begins with is forgotten");
        // From 500 busy ticks at 5 s to 6,000 at 35 s, of 6,000.
        assert_eq!(window.load(35_000).map(|load| load.machine.cpu_ppm), Some(916_666));
        assert!(window.load(65_000).is_some());
        assert_eq!(window.load(65_001), None);
    }
}
