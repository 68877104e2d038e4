//! Lower bounds, counted from the file itself.
//!
//! What always holds: no layout that keeps the cap and breaks no rule moves fewer bytes than each of these: what is over the
//! cap has to leave its host; of two copies in one rack one has to leave; what a drained host holds has to leave it.

use std::collections::BTreeMap;
use std::path::Path;

/// GiB that `shared/placement/README.md` gives as joint bounds, seed 1, at 1.01 of the mean.
pub const JOINT: [(&str, u32, f64); 5] = [
    ("random", 200, 28_015.0),
    ("random", 1000, 117_428.0),
    ("random", 4000, 477_505.0),
    ("skew", 200, 84_363.0),
    ("skew", 1000, 418_898.0),
];

/// Lower bounds of one case.
pub struct Bounds {
    /// Over the cap of each host, summed.
    pub over_cap_gib: f64,
    /// The smaller copy of each store that has both in one rack.
    pub forced_gib: f64,
    /// What the drained host holds.
    pub drain_gib: f64,
    /// Masters above each host's share.
    pub changes: u64,
}

impl Bounds {
    /// Counts them.
    pub fn of(file: &Path, drained: Option<&str>, disk: &str) -> Result<Bounds, String> {
        let text = std::fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
        let mut sections = text.split("\n\n").skip(1);
        let (nodes, instances) = (sections.next().unwrap_or_default(), sections.next().unwrap_or_default());
        let rack: BTreeMap<&str, &str> = nodes.lines().map(|line| (field(line, 0), field(line, 10))).collect();
        let mut disks: BTreeMap<&str, f64> = rack.keys().map(|name| (*name, 0.0)).collect();
        let mut masters: BTreeMap<&str, u64> = rack.keys().map(|name| (*name, 0)).collect();
        let (mut forced, mut stores) = (0.0, 0u64);
        for line in instances.lines() {
            let size: f64 = field(line, 2).parse().map_err(|_| format!("no size in {line}"))?;
            let (primary, secondary) = (field(line, 6), field(line, 7));
            *disks.entry(primary).or_default() += size;
            *disks.entry(secondary).or_default() += size;
            *masters.entry(primary).or_default() += 1;
            stores += 1;
            let racks = (rack.get(primary), rack.get(secondary));
            forced += if racks.0 == racks.1 && racks.0.is_some_and(|rack| !rack.is_empty()) { size } else { 0.0 };
        }
        let alive = rack.keys().filter(|name| Some(**name) != drained).count() as f64;
        let percent: f64 = disk.parse().map_err(|_| format!("{disk} is no number"))?;
        let cap = disks.values().sum::<f64>() / alive * percent / 100.0;
        let share = stores.div_ceil(alive as u64);
        let of = |name: &&str| Some(*name) == drained;
        let over = |(name, has): (&&str, &u64)| if of(name) { *has } else { has.saturating_sub(share) };
        Ok(Bounds {
            over_cap_gib: disks.values().map(|disk| (disk - cap).max(0.0)).sum::<f64>() / 1024.0,
            forced_gib: forced / 1024.0,
            drain_gib: drained.and_then(|host| disks.get(host)).copied().unwrap_or(0.0) / 1024.0,
            changes: masters.iter().map(over).sum(),
        })
    }
    /// The larger of what is over the cap and what violations force out.
    pub fn larger(&self) -> f64 {
        self.over_cap_gib.max(self.forced_gib)
    }
}

fn field(line: &str, nth: usize) -> &str {
    line.split('|').nth(nth).unwrap_or_default()
}
