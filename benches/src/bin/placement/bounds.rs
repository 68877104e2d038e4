//! Lower bounds, counted from the file itself.
//!
//! What always holds: no layout that keeps the cap and breaks no rule moves fewer bytes than each of these: what is over the
//! cap has to leave its host; of two copies in one rack one has to leave; what a drained host holds has to leave it. Their proofs
//! are in docs/placement.md.

use super::{joint, roles, survivor, witness};
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
/// Up to so many hosts the joint bound is computed here, by a linear program.
const JOINT_HOSTS_MAX: usize = 40;

/// What a file says.
pub struct Input {
    /// Each host's rack; the empty one is none.
    pub racks: Vec<String>,
    /// MiB, primary and secondary of each store.
    pub stores: Vec<(f64, usize, usize)>,
    /// The host that is to be emptied.
    pub drained: Option<usize>,
}

impl Input {
    /// Reads it.
    pub fn read(file: &Path, drained: Option<&str>) -> Result<Input, String> {
        let text = std::fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
        let mut sections = text.split("\n\n").skip(1);
        let (nodes, instances) = (sections.next().unwrap_or_default(), sections.next().unwrap_or_default());
        let number: BTreeMap<&str, usize> = nodes.lines().zip(0..).map(|(line, nth)| (field(line, 0), nth)).collect();
        let host = |line, nth| number.get(field(line, nth)).copied().ok_or(format!("no such host in {line}"));
        let store = |line| {
            let size = field(line, 2).parse().map_err(|_| format!("no size in {line}"))?;
            Ok((size, host(line, 6)?, host(line, 7)?))
        };
        Ok(Input {
            racks: nodes.lines().map(|line| field(line, 10).to_owned()).collect(),
            stores: instances.lines().map(store).collect::<Result<_, String>>()?,
            drained: drained.and_then(|name| number.get(name).copied()),
        })
    }
    /// Whether two hosts are in one rack.
    pub fn together(&self, a: usize, b: usize) -> bool {
        self.racks[a] == self.racks[b] && !self.racks[a].is_empty()
    }
    /// Hosts that are left.
    pub fn alive(&self) -> impl Iterator<Item = usize> + Clone + '_ {
        (0..self.racks.len()).filter(|host| Some(*host) != self.drained)
    }
    /// Masters of the host with most, at least.
    pub fn share(&self) -> usize {
        self.stores.len().div_ceil(self.alive().count())
    }
    /// MiB on each host.
    pub fn disks(&self) -> Vec<f64> {
        let mut disks = vec![0.0; self.racks.len()];
        for (size, primary, secondary) in &self.stores {
            disks[*primary] += size;
            disks[*secondary] += size;
        }
        disks
    }
    /// MiB that the fullest host may hold.
    pub fn cap(&self, disk: &str) -> Result<f64, String> {
        let percent: f64 = disk.parse().map_err(|_| format!("{disk} is no number"))?;
        Ok(self.disks().iter().sum::<f64>() / self.alive().count() as f64 * percent / 100.0)
    }
}

/// Lower bounds of one case.
pub struct Bounds {
    /// Over the cap of each host, summed.
    pub over_cap_gib: f64,
    /// The smaller copy of each store that has both in one rack.
    pub forced_gib: f64,
    /// What the drained host holds.
    pub drain_gib: f64,
    /// Masters above each host's share.
    pub changes: usize,
    /// Masters of the worst survivor of one loss, masters being even.
    pub survivor: usize,
    /// Both and what pairs of hosts share too much, at once.
    input: Input,
    cap: f64,
}

impl Bounds {
    /// Counts them.
    pub fn of(file: &Path, drained: Option<&str>, disk: &str) -> Result<Bounds, String> {
        let input = Input::read(file, drained)?;
        let cap = input.cap(disk)?;
        let disks = input.disks();
        let mut masters = vec![0usize; input.racks.len()];
        input.stores.iter().for_each(|(_, primary, _)| masters[*primary] += 1);
        let share = input.share();
        let over =
            |host: usize| if Some(host) == input.drained { masters[host] } else { masters[host].saturating_sub(share) };
        let forced = input.stores.iter().filter(|(_, a, b)| input.together(*a, *b)).map(|store| store.0);
        Ok(Bounds {
            over_cap_gib: input.alive().map(|host| (disks[host] - cap).max(0.0)).sum::<f64>() / 1024.0,
            forced_gib: forced.sum::<f64>() / 1024.0,
            drain_gib: input.drained.map_or(0.0, |host| disks[host]) / 1024.0,
            changes: (0..masters.len()).map(over).sum(),
            survivor: survivor::least(&input),
            cap,
            input,
        })
    }
    /// Master changes with copies as an outcome has them, at least, no survivor leading more than this.
    pub fn changes_with(&self, before: &Path, after: &Path, survivor: usize) -> Option<i64> {
        if self.input.drained.is_some() { None } else { roles::least(&self.input, before, after, survivor) }
    }
    /// The larger of what is over the cap and what violations force out.
    pub fn larger(&self) -> f64 {
        self.over_cap_gib.max(self.forced_gib)
    }
    /// GiB that any layout moves in which nobody leads more than its share and the worst survivor no more than these.
    pub fn joint_gib(&self, survivor: usize) -> Option<f64> {
        let small = self.input.racks.len() <= JOINT_HOSTS_MAX && self.input.drained.is_none();
        small.then(|| joint::least(&self.input, self.cap, survivor) / 1024.0)
    }
    /// The least worst survivor, where a layout from nothing shows that it is possible.
    pub fn reachable(&self) -> Option<usize> {
        let small = self.input.racks.len() <= JOINT_HOSTS_MAX;
        small.then(|| witness::reaches(&self.input, self.cap, self.survivor)).flatten()
    }
    /// Masters of the worst survivor, of the scorer's ratio.
    pub fn masters(&self, ratio: f64) -> usize {
        let survivors = self.input.alive().count() - 1;
        (ratio * self.input.stores.len() as f64 / survivors as f64).round() as usize
    }
}

fn field(line: &str, nth: usize) -> &str {
    line.split('|').nth(nth).unwrap_or_default()
}
