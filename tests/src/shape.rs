//! How large a cluster is, and its cluster file.
//!
//! What always holds: the file is what a person would write: ranges, usual ports, and policy only where it differs.

use crate::block::Block;
use std::fmt::Write as _;

/// The people of every cluster of the rig: alice asks, bob and carol say yes where two people are needed.
pub const OPERATORS: [&str; 3] = ["alice", "bob", "carol"];

/// How large a cluster is.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Coordinators, c1 and so on.
    pub coordinators: u8,
    /// Hosts, imap1 and so on, each in a rack of its own.
    pub hosts: u8,
    /// Hosts that come later, numbered on from there and in the racks of the first ones: they have an identity, and are in
    /// no cluster file before they come.
    pub later: u8,
    /// Slots of each host.
    pub slots: u8,
    /// Stores, store1 and so on; writer `wN` writes to `storeN`.
    pub stores: u16,
    /// Copies of each store.
    pub copies: u8,
    /// The last so many stores have three copies.
    pub triples: u16,
    /// Hosts of a rack, side by side.
    pub hosts_per_rack: u8,
    /// The first host has a rack of its own, all others share one: each store of two copies has one on the first.
    pub lone_first: bool,
    /// Hosts there were at first, when some came later; else 0.
    pub first: u8,
    /// Lines added to the `[policy]` section.
    pub policy: String,
    /// The `fence` of every host, and the table it names; empty for none.
    pub fence: (String, String),
    /// Front ends, fe1 and so on.
    pub front_ends: u8,
    /// The maps that each of them renders.
    pub maps: Vec<&'static str>,
}

impl Shape {
    /// What the demo shows. Its 84 copies do not fit on five hosts of 16 slots: before one is emptied, a seventh joins.
    pub fn demo() -> Self {
        // On one small machine with one disk, one hand-over at a time keeps clients waiting the least.
        let policy = "handover = { at_once = 1, per_host = 1 }\ncopy = { at_once = 8, per_host = 4 }\n".into();
        Self { hosts: 6, later: 1, slots: 16, stores: 40, triples: 4, hosts_per_rack: 2, policy, ..Self::small() }
    }

    /// What `up` leaves running: one host's copies fit on the three others.
    pub fn trial() -> Self {
        Self { hosts: 4, slots: 8, stores: 12, ..Self::small() }
    }

    /// Every host that there will ever be: all of them need an identity.
    pub fn all_hosts(&self) -> u8 {
        self.hosts + self.later
    }

    /// The same, once the next of the later hosts has come.
    pub fn grown(&self) -> Self {
        Self { hosts: self.hosts + 1, later: self.later.saturating_sub(1), first: self.first(), ..self.clone() }
    }

    fn first(&self) -> u8 {
        if self.first == 0 { self.hosts } else { self.first }
    }

    /// Enough for most tests.
    pub fn small() -> Self {
        Self {
            coordinators: 3,
            hosts: 3,
            later: 0,
            slots: 4,
            stores: 3,
            copies: 2,
            triples: 0,
            hosts_per_rack: 1,
            lone_first: false,
            first: 0,
            policy: String::new(),
            fence: Default::default(),
            front_ends: 0,
            maps: Vec::new(),
        }
    }

    /// The cluster file, on this block of addresses.
    pub fn file(&self, block: &Block) -> String {
        let x = block.x();
        let coordinators: Vec<String> = (1..=self.coordinators).map(|n| format!("c{n} = \"127.{x}.0.{n}\"")).collect();
        let mut text = String::from("version = 1\ncluster = \"trial\"\n");
        // Writing into a String has no error.
        let _ = writeln!(text, "coordinators = {{ {} }}\n", coordinators.join(", "));
        let _ = writeln!(text, "[hosts]");
        for (rack, first, last) in self.racks() {
            let hosts = range("imap", first.into(), last.into());
            let address = format!("127.{x}.{{n}}.250");
            let _ = writeln!(text, "\"{hosts}\" = {{ at = \"ny/r{rack}\", address = \"{address}\", kind = \"box\" }}");
        }
        let _ = writeln!(text, "\n[kind.box]\nslots = {}", self.slots);
        let _ = writeln!(text, "slot = {{ size = \"1 GB\", address = \"127.{x}.{{n}}.{{slot}}\" }}\n");
        if !self.fence.0.is_empty() {
            let _ = writeln!(text, "fence = {}\n\n[fence_options.trial]\n{}\n", self.fence.0, self.fence.1);
        }
        let _ = writeln!(text, "[stores]");
        let pairs = self.stores - self.triples;
        for (first, last, copies) in [(1, pairs, self.copies), (pairs + 1, self.stores, 3)] {
            if first <= last {
                let stores = range("store", first, last);
                let _ =
                    writeln!(text, "\"{stores}\" = {{ engine = \"journal\", copies = {copies}, spread = \"rack\" }}");
            }
        }
        text.push('\n');
        if self.front_ends > 0 {
            let (names, maps) = (range("fe", 1, self.front_ends.into()), &self.maps);
            let _ = writeln!(text, "[frontends]");
            let _ = writeln!(text, "\"{names}\" = {{ address = \"127.{x}.200.{{n}}\", render = {maps:?} }}\n");
        }
        if !self.policy.is_empty() {
            let _ = writeln!(text, "[policy]\n{}", self.policy);
        }
        text
    }

    /// Each rack's number with its first and its last host; hosts that came later stand in the first racks.
    fn racks(&self) -> Vec<(u8, u8, u8)> {
        if self.lone_first {
            return vec![(1, 1, 1), (2, 2, self.hosts)];
        }
        let per_rack = self.hosts_per_rack.max(1);
        let firsts = (1..=self.first()).step_by(per_rack.into());
        let racks = (1..).zip(firsts).map(|(rack, first)| (rack, first, (first + per_rack - 1).min(self.first())));
        let later = (1..).zip(self.first() + 1..=self.hosts).map(|(rack, host)| (rack, host, host));
        racks.chain(later).collect()
    }

    /// The names of all clients: one for each store, and one that only reads.
    pub fn clients(&self) -> Vec<String> {
        (1..=self.stores).map(|n| format!("w{n}")).chain(["reader".to_owned()]).collect()
    }
}

fn range(name: &str, first: u16, last: u16) -> String {
    if last == first { format!("{name}{first}") } else { format!("{name}[{first}-{last}]") }
}

/// The name of host `n`.
pub fn host(n: u8) -> String {
    format!("imap{n}")
}

/// The number of a host, from its name or from the name of a slot on it.
pub fn host_number(text: &str) -> Option<u8> {
    text.split('/').next()?.strip_prefix("imap")?.parse().ok()
}
