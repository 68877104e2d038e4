//! The floors of the workspace, proved from `cargo metadata`: who may depend on whom, and on what from outside.
//!
//! What always holds: an edge that is not in the table fails, whatever its kind (normal, development or build); the
//! table itself never points upward; the pure crates have a short list of outside crates; nothing imports the simulator.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

/// A crate, its floor, and the workspace crates it may depend on.
struct Room {
    name: &'static str,
    floor: u8,
    may_use: &'static [&'static str],
}

/// The whole table. Floors: 0 words, 1 pure decisions, 2 wires and disks, 3 programs' cores, 4 hands and harnesses.
const ROOMS: [Room; 15] = [
    Room { name: "slot-planted", floor: 0, may_use: &[] },
    Room { name: "slot-types", floor: 0, may_use: &[] },
    Room { name: "slot-planner", floor: 1, may_use: &["slot-types"] },
    Room { name: "slot-machine", floor: 1, may_use: &["slot-types", "slot-planted"] },
    Room { name: "slot-proto", floor: 2, may_use: &["slot-types"] },
    Room { name: "slot-net", floor: 2, may_use: &["slot-types", "slot-proto"] },
    Room { name: "slot-raft", floor: 2, may_use: &["slot-proto", "slot-planted"] },
    Room { name: "slot-engine", floor: 2, may_use: &["slot-types", "slot-planted", "slot-proto", "slot-net"] },
    Room {
        name: "slot-coordinator",
        floor: 3,
        may_use: &["slot-types", "slot-planted", "slot-proto", "slot-net", "slot-planner", "slot-machine", "slot-raft"],
    },
    Room {
        name: "slot-agent",
        floor: 3,
        may_use: &["slot-types", "slot-planted", "slot-proto", "slot-net", "slot-engine"],
    },
    Room { name: "slotctl", floor: 4, may_use: &["slot-types", "slot-proto", "slot-net", "slot-planner"] },
    Room {
        name: "slot-sim",
        floor: 4,
        may_use: &[
            "slot-types",
            "slot-planted",
            "slot-planner",
            "slot-machine",
            "slot-proto",
            "slot-raft",
            "slot-engine",
            "slot-agent",
            "slot-coordinator",
        ],
    },
    Room { name: "slot-tests", floor: 4, may_use: &["slot-types", "slot-proto", "slot-net", "slot-engine"] },
    Room {
        name: "slot-benches",
        floor: 4,
        may_use: &["slot-types", "slot-planner", "slot-machine", "slot-proto", "slot-raft", "slot-engine"],
    },
    Room { name: "xtask", floor: 4, may_use: &[] },
];

/// Edges that someone will want one day, and why the answer stays no. `*` is any crate.
const WHY_NOT: [(&str, &str, &str); 12] = [
    ("*", "slot-sim", "the simulator imports the product, never the other way round: no shipped byte may come from it"),
    ("slot-planner", "slot-machine", "siblings: the planner knows no log, so a plan is the same wherever it is made"),
    ("slot-machine", "slot-planner", "siblings: a planner inside `apply` lets two binary versions diverge"),
    ("slot-raft", "slot-types", "the raft driver knows no domain word: commands are bytes to it"),
    ("slot-engine", "slot-coordinator", "an engine obeys orders; it knows nobody who gives them"),
    ("slot-engine", "slot-planner", "all choices are made in the plan"),
    ("slot-agent", "slot-planner", "the agent chooses nothing: all choices are made in the plan"),
    ("slot-agent", "slot-machine", "the agent holds a ledger, not the cluster's state"),
    ("slot-agent", "slot-raft", "the agent takes no part in consensus: coordinators may all be away (S10)"),
    ("slotctl", "slot-machine", "slotctl shows what it is sent and hashes it (R15); it does not apply commands"),
    ("slotctl", "slot-raft", "slotctl is a client and follows leader hints"),
    ("slot-types", "*", "the words come first: everything else names them"),
];

/// The crates in which the same inputs must give the same bytes.
const PURE: [&str; 3] = ["slot-types", "slot-planner", "slot-machine"];

/// All that a pure crate may take from outside, outside of its tests.
const PURE_MAY_USE: [&str; 7] = ["borsh", "blake3", "serde", "thiserror", "toml", "bytesize", "humantime"];

/// Outside crates that only some rooms may name, and why.
const OUTSIDE: [(&str, &[&str], &str); 7] = [
    (
        "prost",
        &["slot-proto", "slot-raft", "slot-engine", "slot-sim"],
        "the wire's encoding stays behind slot-proto's conversions",
    ),
    ("raft", &["slot-raft"], "raft-rs's types end at slot-raft's boundary"),
    ("protobuf", &["slot-raft"], "rust-protobuf never sees bytes from a network or a disk (RUSTSEC-2024-0437)"),
    ("redb", &["slot-raft", "slot-agent", "slot-sim"], "durable state is a log's or a ledger's"),
    ("rcgen", &["slot-net"], "certificates are made in one place"),
    ("tokio-rustls", &["slot-net"], "TLS is set up in one place"),
    ("x509-parser", &["slot-net"], "identities are read from certificates in one place"),
];

/// Crates whose core must run in the simulator without a runtime.
const WITHOUT_RUNTIME: [&str; 4] = ["slot-types", "slot-planner", "slot-machine", "slot-raft"];

/// The runtime, and what drags it in.
const RUNTIME: [&str; 5] = ["tokio", "tokio-stream", "tonic", "futures", "async-stream"];

fn metadata() -> Metadata {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join("Cargo.toml");
    let mut command = MetadataCommand::new();
    command.manifest_path(manifest).no_deps().other_options(["--offline".to_owned()]);
    command.exec().expect("cargo metadata describes this workspace")
}

fn rooms() -> BTreeMap<&'static str, &'static Room> {
    ROOMS.iter().map(|room| (room.name, room)).collect()
}

/// Why an edge that is not in the table is not there.
fn why_not(from: &str, to: &str) -> String {
    let fits = |pattern: &str, name: &str| pattern == "*" || pattern == name;
    let known = WHY_NOT.iter().find(|(a, b, _)| fits(a, from) && fits(b, to));
    match known {
        Some((_, _, why)) => (*why).to_owned(),
        None => {
            "the table ROOMS in tests/tests/floors.rs does not list it; an edge is added there, with an ADR".to_owned()
        }
    }
}

/// Every forbidden edge between workspace crates, as a sentence each.
fn forbidden_edges(edges: &BTreeSet<(String, String)>) -> Vec<String> {
    let rooms = rooms();
    let mut found = Vec::new();
    for (from, to) in edges {
        let allowed = rooms.get(from.as_str()).is_some_and(|room| room.may_use.contains(&to.as_str()));
        if !allowed {
            found.push(format!("{from} must not depend on {to}: {}", why_not(from, to)));
        }
    }
    found
}

/// All edges between workspace crates, of every kind.
fn workspace_edges(metadata: &Metadata) -> BTreeSet<(String, String)> {
    let mut edges = BTreeSet::new();
    for package in &metadata.packages {
        for dependency in package.dependencies.iter().filter(|dependency| dependency.path.is_some()) {
            edges.insert((package.name.to_string(), dependency.name.clone()));
        }
    }
    edges
}

#[test]
fn the_table_names_every_crate_and_never_points_upward() {
    let rooms = rooms();
    let named: BTreeSet<String> = rooms.keys().map(|name| (*name).to_owned()).collect();
    let there: BTreeSet<String> = metadata().packages.iter().map(|package| package.name.to_string()).collect();
    assert_eq!(named, there, "the table ROOMS and the workspace's members differ");
    for room in &ROOMS {
        for below in room.may_use {
            let other = rooms[below];
            assert!(
                other.floor <= room.floor,
                "the table lets {} (floor {}) use {below} above it",
                room.name,
                room.floor
            );
            assert!(!other.may_use.contains(&room.name), "the table lets {} and {below} use each other", room.name);
        }
    }
}

#[test]
fn every_edge_between_our_crates_is_in_the_table() {
    let found = forbidden_edges(&workspace_edges(&metadata()));
    assert!(found.is_empty(), "floors broken:\n  {}", found.join("\n  "));
}

#[test]
fn a_forbidden_edge_is_found_and_named_with_its_rule() {
    let edge = |from: &str, to: &str| BTreeSet::from([(from.to_owned(), to.to_owned())]);
    for (from, to, words) in [
        ("slot-machine", "slot-planner", "two binary versions diverge"),
        ("slotctl", "slot-raft", "follows leader hints"),
        ("slot-agent", "slot-sim", "no shipped byte"),
        ("slot-types", "slot-proto", "the words come first"),
        ("slot-net", "slot-engine", "does not list it"),
    ] {
        let found = forbidden_edges(&edge(from, to));
        assert_eq!(found.len(), 1, "{from} -> {to} must be forbidden");
        assert!(found[0].contains(from) && found[0].contains(to) && found[0].contains(words), "{}", found[0]);
    }
    assert!(forbidden_edges(&edge("slot-machine", "slot-types")).is_empty());
}

#[test]
fn pure_crates_take_little_from_outside() {
    let mut found = Vec::new();
    for package in metadata().packages.iter().filter(|package| PURE.contains(&package.name.as_str())) {
        for dependency in &package.dependencies {
            let ours = dependency.path.is_some() || dependency.kind == DependencyKind::Development;
            if !ours && !PURE_MAY_USE.contains(&dependency.name.as_str()) {
                found.push(format!(
                    "{} is pure and must not depend on {}: only {} are on its list",
                    package.name,
                    dependency.name,
                    PURE_MAY_USE.join(", ")
                ));
            }
        }
    }
    assert!(found.is_empty(), "purity broken:\n  {}", found.join("\n  "));
}

#[test]
fn outside_crates_stay_in_their_rooms() {
    let mut found = Vec::new();
    for package in &metadata().packages {
        let name = package.name.as_str();
        let normal = package.dependencies.iter().filter(|dependency| dependency.kind == DependencyKind::Normal);
        for dependency in normal {
            if let Some((outside, rooms, why)) = OUTSIDE.iter().find(|(outside, _, _)| *outside == dependency.name)
                && !rooms.contains(&name)
            {
                found.push(format!("{name} must not depend on {outside}: {why}; only {} may", rooms.join(", ")));
            }
            if WITHOUT_RUNTIME.contains(&name) && RUNTIME.contains(&dependency.name.as_str()) {
                found.push(format!("{name} must not depend on {}: it runs without a runtime", dependency.name));
            }
        }
    }
    assert!(found.is_empty(), "outside crates where they do not belong:\n  {}", found.join("\n  "));
}
