//! A cluster in a file: saved, read again, planned for and asked, as its leader would.

use super::clusters::world::{self, World};
use super::clusters::{loaded, snapshot, with_everything};
use super::sink::Sink;
use slot_planner::{Inputs, WhatIf};
use slot_types::cluster::HostState;
use slot_types::ids::OperatorName;
use slot_types::plan::{Intent, Scope};
use slot_types::view::{Lost, SnapshotError};
use slotctl::args::{Cli, Command, Survive};
use slotctl::asks::{self, Capacity, Groups, Risk, Whatif};
use slotctl::commands::offline::Planned;
use slotctl::console::Console;
use slotctl::failure::{Exit, Failure};
use slotctl::offline::snapshot as file;
use slotctl::{args, json, text};

/// What `slotctl LINE` prints of a file, or why it does not.
pub fn run(line: &str, json: bool) -> Result<String, Failure> {
    let cli = <Cli as clap::Parser>::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}"));
    let Command::Offline(what) = cli.command else { panic!("{line} is not offline") };
    let out = Sink::default();
    let mut console = Console::elsewhere(Box::new(out.clone()), Box::new(std::io::sink()), None, json);
    let exit = slotctl::commands::offline::offline(what, &mut console)?;
    assert_eq!(exit, Exit::Done, "{line}");
    Ok(out.text())
}

/// A world in a file of its own folder.
pub fn saved(world: &World) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cluster.json");
    file::write(&snapshot(world), &path).unwrap();
    let path = path.display().to_string();
    (folder, path)
}

fn value(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

pub fn planned() -> Planned {
    let world = World::running(4, 8, 12, 2);
    let side = asks::Side::of(&slot_planner::layout::figures(&loaded(&world).fleet, &loaded(&world).layout));
    let plan = world.plan(Intent::DrainHost(world::host(2))).unwrap();
    Planned { operation: "drain", plan, before: side.clone(), after: side, left: super::offline::left_of_too_full() }
}

pub fn htools_risk() -> Risk {
    asks::risk(&super::offline::loaded())
}

/// Ten slots for sixteen copies: some of which have no place when a host is gone.
fn tight() -> World {
    World::running(4, 5, 8, 2)
}

pub fn whatifs() -> Vec<Whatif> {
    let loaded = loaded(&tight());
    ["down imap1", "down imap1,imap2", "add-host --like imap1", "remove-host imap1"]
        .map(|change| asks::whatif(&loaded, &asked(change)).unwrap())
        .into()
}

pub fn rooms() -> Vec<Capacity> {
    [Survive::Host, Survive::Nothing].map(|survive| room(&World::running(4, 8, 8, 2), survive)).into()
}

fn room(world: &World, survive: Survive) -> Capacity {
    asks::capacity(&loaded(world), &args::Ask { size: None, copies: None, survive }).unwrap()
}

/// One whose store has one copy, besides.
pub fn groups() -> Groups {
    asks::groups(&loaded(&with_a_lonely_store()))
}

fn with_a_lonely_store() -> World {
    let mut world = World::running(4, 8, 8, 2);
    let lonely = world::slot("imap2/8");
    let spec = slot_types::cluster::StoreSpec { copies: 1, ..world.cluster.stores[&world::store(1)].spec.clone() };
    world.add_store(&world::store(90), &spec, &[lonely]);
    world.see_all();
    world
}

fn asked(change: &str) -> args::Whatif {
    let line = format!("slotctl whatif {change}");
    match <Cli as clap::Parser>::try_parse_from(line.split(' ')).unwrap().command {
        Command::Whatif(change) => change,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_saved_is_read_again_whole() {
    let view = with_everything();
    let text = json::snapshot(&view).to_string();
    let again: slot_types::view::SnapshotView = serde_json::from_str(&text).unwrap();
    assert_eq!(again, view);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cluster.json");
    let world = World::running(4, 8, 12, 2);
    file::write(&snapshot(&world), &path).unwrap();
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing unfinished is left");
    let slotctl::offline::Source::Snapshot { view, .. } = file::read(&path).unwrap().source else { panic!("one") };
    assert_eq!(*view, snapshot(&world));
}

#[test]
fn what_is_no_snapshot_is_refused_and_named() {
    let refused = |text: &str| file::parse(text).unwrap_err().to_string();
    let whole = json::snapshot(&snapshot(&World::running(4, 8, 4, 2))).to_string();
    insta::assert_snapshot!(refused("{}"), @r#"it is no snapshot: it does not say "schema": "snapshot""#);
    insta::assert_snapshot!(refused("group|x"), @"it is no snapshot: expected value at line 1 column 1");
    let newer = whole.replace(r#""schema":"snapshot","version":1"#, r#""schema":"snapshot","version":2"#);
    let newer = if newer == whole { whole.replace(r#""version":1,"wall""#, r#""version":2,"wall""#) } else { newer };
    insta::assert_snapshot!(refused(&newer), @"it is a snapshot of version 2, and this slotctl reads version 1");
    let other = whole.replace("imap1/", "imap9/");
    assert!(refused(&other).contains("no host has that slot"), "{}", refused(&other));
    let name = whole.replace("store2", "STORE");
    assert!(refused(&name).contains("is not a name"), "{}", refused(&name));
    let unseen = file::load(Box::new(with_everything())).unwrap_err().to_string();
    insta::assert_snapshot!(unseen, @"what runs was not known when it was taken: this leader is new");
}

#[test]
fn parts_that_do_not_fit_each_other_are_named() {
    let mut view = snapshot(&World::running(4, 8, 4, 2));
    assert_eq!(view.check(), Ok(()));
    let (one, two) = (world::store(1), world::store(2));
    let slot = view.cluster.stores[&one].master.clone().unwrap();
    let copy = view.cluster.stores[&one].copies[&slot].clone();
    view.cluster.stores.get_mut(&two).unwrap().copies.insert(slot.clone(), copy);
    assert_eq!(
        view.check(),
        Err(SnapshotError::TwoOnOne { store: two.clone(), other: one.clone(), slot: slot.clone() })
    );
    view.cluster.stores.get_mut(&two).unwrap().copies.remove(&slot);
    view.cluster.stores.get_mut(&two).unwrap().master = Some(slot.clone());
    assert_eq!(view.check(), Err(SnapshotError::NoCopy { store: two, slot }));
}

#[test]
fn a_plan_from_a_file_is_the_one_its_leader_would_make() {
    let mut world = World::running(4, 8, 12, 2);
    world.inputs.requested_by = OperatorName::new("offline").ok();
    world.inputs.reason = "planned from a snapshot".into();
    let (_folder, path) = saved(&world);
    for (words, intent) in [
        ("drain --host imap2", Intent::DrainHost(world::host(2))),
        ("drain --host imap2 --empty", Intent::EmptyHost(world::host(2))),
        ("drain --host imap2 --host imap3", Intent::DrainHosts([world::host(2), world::host(3)].into())),
    ] {
        let plan = match world.plan(intent) {
            Ok(plan) => plan,
            Err(refusal) => {
                let failure =
                    run(&format!("slotctl offline {words} --from {path} --format snapshot"), true).unwrap_err();
                assert_eq!((failure.cause, failure.exit), (refusal.to_string(), Exit::Failed), "{words}");
                continue;
            }
        };
        let said = value(&run(&format!("slotctl offline {words} --from {path} --format snapshot"), true).unwrap());
        assert_eq!(said["digest"], plan.digest().to_string(), "{words}");
        assert_eq!(said["document"]["tasks"].as_array().unwrap().len(), plan.plan().tasks.len());
    }
    let place = format!("slotctl offline place --from {path} --format snapshot");
    let refusal = world.plan(Intent::Rebuild(Scope::All)).unwrap_err().to_string();
    assert_eq!(run(&place, false).unwrap().trim(), refusal);
    assert_eq!(
        format!("nothing to do: {}", value(&run(&place, true).unwrap())["nothing_to_do"].as_str().unwrap()),
        refusal
    );
}

#[test]
fn the_figures_after_a_drain_are_those_of_the_fleet_it_leaves() {
    let (folder, path) = saved(&World::running(4, 8, 12, 2));
    let csv = folder.path().join("after.csv").display().to_string();
    let line = format!("slotctl offline drain --host imap2 --empty --from {path} --format snapshot --out {csv}");
    let said = value(&run(&line, true).unwrap());
    assert_eq!((&said["figures_before"]["masters_max"], &said["figures_after"]["masters_max"]), (&3.into(), &4.into()));
    assert_eq!(said["figures_after"]["violations"], 0);
    let rows = std::fs::read_to_string(csv).unwrap();
    assert_eq!(rows.lines().count(), 12);
    assert!(!rows.contains("imap2") && rows.lines().all(|row| !row.ends_with(',')), "{rows}");
}

#[test]
fn what_has_no_meaning_for_a_cluster_is_refused() {
    let (_folder, path) = saved(&World::running(4, 8, 12, 2));
    for more in ["--out x.data", "--moves x.json", "--in-all 5", "--per-host 2"] {
        let line = format!("slotctl offline rebalance --from {path} --format snapshot {more}");
        assert_eq!(run(&line, false).unwrap_err().exit, Exit::Usage, "{more}");
    }
    let line = format!("slotctl offline drain --host imap77 --from {path} --format snapshot");
    assert!(run(&line, false).unwrap_err().cause.contains("imap77"));
    let line = format!("slotctl offline explain --from {path} store store1");
    assert!(run(&line, false).unwrap_err().cause.contains("sections"), "the format is htools unless it is said");
}

#[test]
fn risks_from_a_file_are_those_of_the_leader() {
    let mut world = World::running(4, 8, 12, 2);
    world.said(&world::slot("imap1/1"), |status| status.epoch = status.epoch.next());
    let (_folder, path) = saved(&world);
    let said = value(&run(&format!("slotctl offline risk --from {path} --format snapshot"), true).unwrap());
    let mut losses = WhatIf::new(&world.cluster, &world.evidence, &world.inputs).each();
    for line in &mut losses.hosts {
        let on_imap2 = line.lost == Lost::Host(world::host(2));
        line.coordinators.extend(on_imap2.then(|| "c1".parse().unwrap()));
    }
    assert_eq!(said["losses"]["Known"]["value"], serde_json::to_value(&losses).unwrap());
    assert_eq!(said["pairs"]["looked_at"], 6);
}

#[test]
fn a_store_is_explained_from_a_file_as_by_its_leader() {
    let world = World::running(4, 8, 12, 2);
    let (_folder, path) = saved(&world);
    let said =
        value(&run(&format!("slotctl offline explain --from {path} --format snapshot store store1"), true).unwrap());
    let inputs = Inputs::of(&snapshot(&world), None, "");
    let known = slot_planner::explain_store(&world.cluster, &world.evidence, &inputs, &world::store(1)).unwrap();
    assert_eq!(said["explained"]["Known"]["value"]["Store"], serde_json::to_value(&known).unwrap());
    let slot = format!("slotctl offline explain --from {path} --format snapshot slot imap1/1");
    assert!(
        run(&slot, false).unwrap().starts_with("imap1/01   holds a copy of store"),
        "{}",
        run(&slot, false).unwrap()
    );
    let none = run(&format!("slotctl offline explain --from {path} --format snapshot store none"), false).unwrap_err();
    assert_eq!(none.exit, Exit::Failed);
}

#[test]
fn what_is_not_live_is_not_counted_on() {
    let mut world = World::running(4, 8, 4, 2);
    assert_eq!(asks::pairs(&loaded(&world)).worst.unwrap().stops, 1);
    // The only replica of store1 is behind a silent host: the loss of its master's host stops it, and no pair is worse by it.
    let replica =
        world.cluster.stores[&world::store(1)].copies.keys().find(|s| s.host != world::host(1)).cloned().unwrap();
    world.silent(&replica.host, 60_000);
    let then = asks::whatif(&loaded(&world), &asked("down imap1")).unwrap();
    assert_eq!(then.stops, ["store1"]);
    assert_eq!(then.hosts.iter().find(|host| host.host == replica.host.as_str()).unwrap().state, "down");
    world.host_mut(&world::host(3)).declared = HostState::Maintenance;
    let state = asks::whatif(&loaded(&world), &asked("grow-stores --by 10")).unwrap();
    assert_eq!(state.hosts[2].state, "stopped");
}

#[test]
fn every_answer_fits_a_terminal() {
    let tight = loaded(&tight());
    for (name, change) in [("a_host_is_down", "down imap1"), ("two_hosts_are_down", "down imap1,imap2")] {
        golden(&format!("whatif_{name}"), &text::asks::whatif(&asks::whatif(&tight, &asked(change)).unwrap()));
    }
    for (name, change) in [
        ("a_host_is_removed", "remove-host imap1"),
        ("a_host_is_added", "add-host --like imap1 --count 2"),
        ("a_host_is_smaller", "resize imap1 --to 300B"),
        ("stores_grow", "grow-stores --by 1000"),
    ] {
        golden(&format!("whatif_{name}"), &text::asks::whatif(&asks::whatif(&tight, &asked(change)).unwrap()));
    }
    golden("capacity", &rooms().iter().map(text::asks::capacity).collect::<Vec<_>>().join("\n"));
    golden("capacity_of_a_full_cluster", &text::asks::capacity(&room(&World::running(4, 5, 9, 2), Survive::Host)));
    golden("service_groups", &text::asks::groups(&groups()));
    golden("risk_of_a_file_of_htools", &text::asks::risk(&htools_risk()));
}

/// Compares with the committed transcript; every transcript fits a terminal.
pub fn golden(name: &str, text: &str) {
    for line in text.lines() {
        assert!(line.chars().count() <= text::layout::COLUMNS, "too wide: {line}");
        assert_eq!(line, line.trim_end(), "ends in a blank");
    }
    insta::with_settings!({ prepend_module_to_snapshot => true }, { insta::assert_snapshot!(name, text) });
}

#[test]
fn a_question_about_what_is_not_there_is_put_wrongly() {
    let loaded = loaded(&World::running(4, 8, 4, 2));
    let failure = asks::whatif(&loaded, &asked("down imap9")).unwrap_err();
    assert_eq!(failure.to_string(), "there is no host imap9");
    let all = asks::whatif(&loaded, &asked("down imap1,imap2,imap3,imap4")).unwrap_err();
    assert_eq!(all.to_string(), "no host would be left");
    let empty = super::clusters::loaded(&World::empty());
    let asked = |size, copies| {
        let ask = args::Ask { size, copies, survive: Survive::Host };
        let why = asks::capacity(&empty, &ask).unwrap_err();
        (why.to_string(), why.next())
    };
    let said = |cause: &str, next: &str| (cause.to_owned(), next.to_owned());
    let neither =
        said("there is no store to take the size and the number of copies from", "say it: --size 500GB --copies 2");
    assert_eq!(asked(None, None), neither);
    assert_eq!(asked(None, Some(2)), said("there is no store to take the size from", "say it: --size 500GB"));
    assert_eq!(asked(Some(5), None), said("there is no store to take the number of copies from", "say it: --copies 2"));
    assert!(run("slotctl offline risk --from /nonexistent/file", false).unwrap_err().cause.contains("No such file"));
}

/// A document with the members of every object in some other order.
fn shuffled(value: &serde_json::Value, below: &mut impl FnMut(usize) -> usize) -> String {
    match value {
        serde_json::Value::Object(members) => {
            let mut parts: Vec<String> = members
                .iter()
                .map(|(name, value)| format!("{}:{}", serde_json::Value::from(name.as_str()), shuffled(value, below)))
                .collect();
            (1..parts.len()).rev().for_each(|last| parts.swap(last, below(last + 1)));
            format!("{{{}}}", parts.join(","))
        }
        serde_json::Value::Array(parts) => {
            let parts: Vec<String> = parts.iter().map(|part| shuffled(part, below)).collect();
            format!("[{}]", parts.join(","))
        }
        plain => plain.to_string(),
    }
}

/// Hosts, stores and copies in any order in the file: the same plan to the byte, and the same questions answered alike.
#[test]
fn shuffled_members_change_no_plan() {
    let mut state = 5u64;
    let mut below = |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    let mut planned = 0;
    for _ in 0..12 {
        let world = World::running(4 + below(4), 8, 6 + below(9), 2 + below(2) as u8);
        let (_folder, path) = saved(&world);
        let lines = ["drain --host imap1", "drain --host imap2 --empty", "risk", "capacity"];
        let answers =
            || lines.map(|line| run(&format!("slotctl offline {line} --from {path} --format snapshot"), true));
        // A refusal is an answer too: some of these clusters are too full to empty a host of.
        let said = |answer: Result<String, Failure>| answer.unwrap_or_else(|refused| format!("{refused:?}"));
        let before = answers().map(said);
        planned += before[..2].iter().filter(|answer| answer.starts_with('{')).count();
        let text = std::fs::read_to_string(&path).unwrap();
        let other = shuffled(&value(&text), &mut below);
        assert_ne!(text.trim(), other);
        std::fs::write(&path, other).unwrap();
        assert_eq!(answers().map(said), before);
    }
    assert!(planned >= 16, "only {planned} of 24 drains are planned");
}
