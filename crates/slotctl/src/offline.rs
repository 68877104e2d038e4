//! Fleets in files: read, planned for, and written back, without a coordinator.
//!
//! What always holds: nothing is dialled and no identity is needed; hosts and stores are numbered in the order of their
//! names, so the order of lines in a file changes nothing that comes out.

pub mod htools;
pub mod snapshot;
pub mod writing;

use slot_planner::Inputs;
use slot_planner::layout::cluster::{Named, named};
use slot_planner::layout::{Fleet, Host, Layout, RACK};
use slot_types::view::SnapshotView;

/// A fleet as it was read, with its names.
#[derive(Debug)]
pub struct Loaded {
    /// Hosts and stores.
    pub fleet: Fleet,
    /// Where the copies are.
    pub layout: Layout,
    /// Names of hosts, by number.
    pub hosts: Vec<String>,
    /// Names of racks, by the number of hosts' innermost domain.
    pub racks: Vec<String>,
    /// What it was read from, for what is written back.
    pub source: Source,
}

/// What a fleet was read from.
#[derive(Debug)]
pub enum Source {
    /// A file of htools.
    Htools(htools::Source),
    /// A cluster at one moment, from a file or as it is.
    Snapshot {
        /// Names of stores, by number.
        stores: Vec<String>,
        /// All of it.
        view: Box<SnapshotView>,
    },
}

impl Loaded {
    /// A cluster at one moment.
    pub fn of(view: Box<SnapshotView>) -> Loaded {
        let Named { fleet, layout, hosts, stores, racks } =
            named(&view.cluster, &view.evidence, &Inputs::of(&view, None, ""));
        Loaded {
            fleet,
            layout,
            hosts: hosts.iter().map(ToString::to_string).collect(),
            racks: racks.iter().map(ToString::to_string).collect(),
            source: Source::Snapshot { stores: stores.iter().map(ToString::to_string).collect(), view },
        }
    }
    /// A store's name.
    pub fn store(&self, number: u32) -> &str {
        match &self.source {
            Source::Htools(source) => source.store(number),
            Source::Snapshot { stores, .. } => &stores[number as usize],
        }
    }
    /// A host's name.
    pub fn host(&self, number: u32) -> &str {
        self.hosts.get(number as usize).map_or("", String::as_str)
    }
    /// Names of stores.
    pub fn names(&self, stores: &[u32]) -> Vec<String> {
        stores.iter().map(|store| self.store(*store).to_owned()).collect()
    }
    /// The hosts of a rack, or of all racks within a larger domain, by the name that the file gives it, with or without the `rack:` before it.
    pub fn within(&self, name: &str) -> Vec<u32> {
        let bare = |rack: &str| rack.split_once(':').map_or(rack, |(_, bare)| bare).to_owned();
        let is_in = |rack: &String, name: &str| {
            rack.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let named = |name: &str| self.racks.iter().map(|rack| is_in(rack, name)).collect::<Vec<bool>>();
        let mut meant = named(name);
        if !meant.contains(&true) {
            // `r0` for the tag `rack:r0`, and `rack:ny/r1` for the domain `ny/r1`.
            meant = match name.strip_prefix("rack:") {
                Some(bare) => named(bare),
                None => self.racks.iter().map(|rack| bare(rack) == name).collect(),
            };
        }
        let rack = |host: &Host| host.domain[usize::from(RACK)] as usize;
        let hosts = (0..).zip(&self.fleet.hosts);
        hosts.filter(|(_, host)| meant.get(rack(host)).copied().unwrap_or(false)).map(|(number, _)| number).collect()
    }
    /// The number of a host.
    pub fn number(&self, name: &str) -> Option<u32> {
        self.hosts.binary_search_by(|host| host.as_str().cmp(name)).ok().map(|number| number as u32)
    }
}
