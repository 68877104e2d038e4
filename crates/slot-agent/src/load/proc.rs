//! The kernel's counters, from `/proc` and `/sys`.
//!
//! What always holds: nothing is written and no process is touched; a text that is not understood is an error that names its file; an
//! engine is counted with every process it started, and only while it is the process that its agent knows.

use super::window::{Cpu, DiskWork, EngineWork, Sample};
use slot_net::process::ProcessIdentity;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// The unit of the kernel's counts of what a disk moved, whatever its sectors are.
const SECTOR_BYTES: u64 = 512;

/// A disk that the kernel counts for.
#[derive(Clone, Debug)]
pub(super) struct Device(PathBuf);

impl Device {
    /// The one that a folder is on; `None` for file systems that have no device of their own.
    pub fn of(folder: &Path) -> Option<Self> {
        let dev = rustix::fs::stat(folder).ok()?.st_dev;
        let (major, minor) = (rustix::fs::major(dev), rustix::fs::minor(dev));
        let path = PathBuf::from(format!("/sys/dev/block/{major}:{minor}/stat"));
        path.is_file().then_some(Self(path))
    }
}

/// What one process did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Process {
    parent: u32,
    start_time: u64,
    /// By itself and by those it started that have ended.
    ticks: u64,
}

/// Reads everything once.
pub(super) fn sample(engines: &BTreeMap<u16, ProcessIdentity>, disk: Option<&Device>) -> io::Result<Sample> {
    let at_ms = slot_net::boottime_ms();
    let (cpu, processors) = read(Path::new("/proc/stat"), machine)?;
    let disk = disk.map(|Device(path)| read(path, disk_work)).transpose()?;
    let all = if engines.is_empty() { BTreeMap::new() } else { processes()? };
    let engines = engines.iter().filter_map(|(slot, process)| Some((*slot, engine_work(*process, &all)?)));
    Ok(Sample { at_ms, cpu, processors, disk, engines: engines.collect() })
}

fn read<T>(path: &Path, parse: impl FnOnce(&str) -> Option<T>) -> io::Result<T> {
    let told = |cause: String| io::Error::other(format!("reading {}: {cause}", path.display()));
    // Names of programs need not be UTF-8.
    let bytes =
        std::fs::read(path).map_err(|e| io::Error::new(e.kind(), format!("reading {}: {e}", path.display())))?;
    parse(&String::from_utf8_lossy(&bytes)).ok_or_else(|| told("it has another form than is known".into()))
}

/// `/proc/stat`: user nice system idle iowait irq softirq steal; what follows is in user and nice already.
fn machine(text: &str) -> Option<(Cpu, u16)> {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let times = numbers(line)?;
    let all = times.iter().take(8).try_fold(0u64, |sum, time| sum.checked_add(*time))?;
    let idle = times.get(3)?.checked_add(*times.get(4)?)?;
    let is_one =
        |line: &&str| line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let processors = u16::try_from(text.lines().filter(is_one).count()).ok().filter(|count| *count > 0)?;
    Some((Cpu { busy: all.checked_sub(idle)?, all }, processors))
}

/// `/sys/dev/block/*/stat`: the third and seventh are sectors read and written, the tenth is the time with anything to do.
fn disk_work(text: &str) -> Option<DiskWork> {
    let fields = numbers(text)?;
    let sectors = fields.get(2)?.checked_add(*fields.get(6)?)?;
    Some(DiskWork { busy_ms: *fields.get(9)?, bytes: sectors.checked_mul(SECTOR_BYTES)? })
}

/// `/proc/PID/stat`: fields 4, 14 to 17 and 22, counted from the end of the program's name, which may hold anything.
fn process(text: &str) -> Option<Process> {
    let (_, fields) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let ticks = [14, 15, 16, 17].into_iter().try_fold(0u64, |sum, number| sum.checked_add(field(number)?))?;
    Some(Process { parent: u32::try_from(field(4)?).ok()?, start_time: field(22)?, ticks })
}

/// `/proc/PID/io`: what went to disks and came from them.
fn moved(text: &str) -> Option<u64> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
    field("read_bytes:")?.checked_add(field("write_bytes:")?)
}

fn numbers(text: &str) -> Option<Vec<u64>> {
    text.split_ascii_whitespace().map(|word| word.parse().ok()).collect()
}

/// Every process there is. One that ends meanwhile is left out.
fn processes() -> io::Result<BTreeMap<u32, Process>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if let Ok(found) = read(&PathBuf::from(format!("/proc/{pid}/stat")), process) {
            all.insert(pid, found);
        }
    }
    Ok(all)
}

/// An engine with every process below it; `None` when it is not there any more.
fn engine_work(engine: ProcessIdentity, all: &BTreeMap<u32, Process>) -> Option<EngineWork> {
    all.get(&engine.pid).filter(|found| found.start_time == engine.start_time)?;
    let mut tree = BTreeSet::from([engine.pid]);
    let mut parents = vec![engine.pid];
    while let Some(parent) = parents.pop() {
        let children = all.iter().filter(|(_, process)| process.parent == parent).map(|(pid, _)| *pid);
        parents.extend(children.filter(|pid| tree.insert(*pid)));
    }
    let ticks = tree.iter().filter_map(|pid| all.get(pid)).try_fold(0u64, |sum, one| sum.checked_add(one.ticks))?;
    let bytes = tree.iter().try_fold(0u64, |sum, pid| {
        match read(&PathBuf::from(format!("/proc/{pid}/io")), moved) {
            Ok(bytes) => sum.checked_add(bytes),
            // It ended meanwhile, and is counted with who waits for it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(sum),
            Err(_) => None,
        }
    });
    Some(EngineWork { process: engine, ticks, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_its_busy_ticks_and_its_processors() {
        let text = "cpu  100 20 30 800 40 5 5 10 7 7\ncpu0 50 10 15 400 20 2 3 5 0 0\ncpu1 50 10 15 400 20 3 2 5 0 0\nintr 8 1\n";
        assert_eq!(
            machine(text),
            Some((Cpu { busy: 170, all: 1_010 }, 2)),
            "guests are counted once, steal is not idle"
        );
        for broken in ["", "cpu  1 2 3\n", "cpu  a b c d e\n", "cpu  1 2 3 4 5 6 7 8\n"] {
            assert_eq!(machine(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn a_disk_is_its_busy_time_and_its_bytes() {
        let text = "    1000      10     2000      30      400       5      600      70        0      800      900\n";
        assert_eq!(disk_work(text), Some(DiskWork { busy_ms: 800, bytes: 2_600 * 512 }));
        assert_eq!(disk_work("1 2 3"), None);
    }

    #[test]
    fn a_process_is_read_whatever_it_calls_itself() {
        let rest = "S 12 3 3 0 -1 4194304 99 0 0 0 11 22 33 44 20 0 1 0 6044272 3133440 380";
        for name in ["slot-journal", "a) S 1 (b", ") "] {
            let found = process(&format!("4711 ({name}) {rest}"));
            assert_eq!(found, Some(Process { parent: 12, start_time: 6_044_272, ticks: 110 }), "{name}");
        }
        assert_eq!(process("4711 (x) S 12 3"), None);
        assert_eq!(moved("rchar: 9\nread_bytes: 4096\nwrite_bytes: 512\ncancelled_write_bytes: 0\n"), Some(4_608));
        assert_eq!(moved("rchar: 9\n"), None);
    }

    #[test]
    fn an_engine_is_counted_with_what_it_started_and_not_once_its_number_is_anothers() {
        let one = |parent, start_time, ticks| Process { parent, start_time, ticks };
        // Numbers that no process has, so that nothing is read of any.
        let n = |number: u32| u32::MAX - number;
        let all = BTreeMap::from([
            (n(0), one(1, 50, 10)),
            (n(1), one(n(0), 60, 20)),
            (n(2), one(n(1), 70, 30)),
            (n(3), one(1, 80, 40)),
        ]);
        let work = |pid, start_time| engine_work(ProcessIdentity { pid, start_time }, &all).map(|work| work.ticks);
        assert_eq!(work(n(0), 50), Some(60));
        assert_eq!(work(n(3), 80), Some(40));
        assert_eq!((work(n(0), 51), work(n(4), 50)), (None, None));
    }

    #[test]
    fn this_machine_is_measured_and_this_process_as_an_engine_of_it() {
        let own = ProcessIdentity::own().unwrap();
        let engines = BTreeMap::from([(7, own), (8, ProcessIdentity { start_time: own.start_time + 1, ..own })]);
        let before = sample(&engines, None).unwrap();
        // Until the kernel has counted a tick of it, however long that takes.
        let work = || {
            std::hint::black_box((0..1_000_000u64).fold(0, |sum, n| std::hint::black_box(sum ^ n)));
            sample(&engines, None).unwrap()
        };
        let counted = |after: &Sample| after.engines[&7].ticks > before.engines[&7].ticks;
        let after = std::iter::repeat_with(work).take(100_000).find(counted).expect("a tick was counted");
        assert!(after.cpu.busy > before.cpu.busy && after.cpu.all >= after.cpu.busy, "{before:?} {after:?}");
        assert!(after.processors > 0 && after.engines[&7].bytes.is_some(), "{after:?}");
        assert_eq!(after.engines.keys().collect::<Vec<_>>(), [&7], "a number that was another's is nobody");
    }

    #[test]
    fn the_disk_of_a_folder_is_counted_or_it_has_none() {
        let folder = tempfile::tempdir().unwrap();
        if let Some(device) = Device::of(folder.path()) {
            assert!(sample(&BTreeMap::new(), Some(&device)).unwrap().disk.is_some());
        }
        assert!(Device::of(&folder.path().join("gone")).is_none());
        assert!(Device::of(Path::new("/proc")).is_none(), "it is on no disk");
    }
}
