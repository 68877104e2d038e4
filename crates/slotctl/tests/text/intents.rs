//! What is asked for and what comes of it: new stores placed together, racks drained, and no success while something is left.

use super::clusters::world::World;
use super::offline::FLEET;
use super::outputs::{ended, htools};
use super::snapshots::{run, saved};
use clap::Parser;
use serde_json::Value;
use slotctl::args::{Cli, Command, Drain};
use slotctl::failure::Exit;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Four hosts in two racks with room for all, and these instances.
fn fleet(instances: &str) -> String {
    let node = |n: usize, offline: &str| {
        format!("h{n}|100000|0|100000|1000000|1000000|8|{offline}|id|1|rack:r{}|N|0|1|1.0\n", n % 2)
    };
    let nodes: String = (1..=4).map(|n| node(n, "N")).chain([node(5, "Y"), node(6, "Y")]).collect();
    format!("group|id|preferred||\n\n{nodes}\n{instances}\nhtools:nlocation:rack\n\npolicy\n")
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Hosts by store, as `--out NAME.csv` has them.
fn placed(path: &str) -> BTreeMap<String, Vec<String>> {
    let text = std::fs::read_to_string(path).unwrap();
    let row = |row: &str| row.split(',').map(str::to_owned).collect::<Vec<String>>();
    text.lines().map(row).map(|row| (row[0].clone(), row[1..].to_vec())).collect()
}

#[test]
fn hundreds_of_new_stores_are_placed_together() {
    let mut new = String::from("old|10|20|1|running|Y|h1|h2|drbd||1|0|N\n");
    for n in 0..300 {
        let nodes = if n % 2 == 0 { "|" } else { "-|-" };
        writeln!(new, "new-{n:04}|10|20|1|running|Y|{nodes}|drbd||1|0|N").unwrap();
    }
    new += "one|10|20|1|running|Y||-|plain||1|0|N\n";
    new += "half|10|20|1|running|Y|h1||drbd||1|0|N\n";
    let (folder, path) = htools(&fleet(&new));
    let csv = folder.path().join("after.csv").display().to_string();
    let data = folder.path().join("after.data").display().to_string();
    let said = value(&run(&format!("slotctl offline place --from {path} --out {csv}"), true).unwrap());
    assert_eq!((&said["copies"], &said["left"]), (&602.into(), &Value::Array(Vec::new())));
    assert_eq!((&said["figures_after"]["violations"], &said["master_changes"]), (&0.into(), &0.into()));
    let rows = placed(&csv);
    assert_eq!((rows.len(), &rows["old"], rows["half"][0].as_str()), (303, &vec!["h1".into(), "h2".into()], "h1"));
    assert_eq!(rows["one"][1], "", "a plain instance has one copy");
    let rack = |host: &str| host[1..].parse::<usize>().unwrap() % 2;
    for (store, hosts) in rows.iter().filter(|(store, _)| *store != "one") {
        assert!(hosts.len() == 2 && rack(&hosts[0]) != rack(&hosts[1]), "{store}: {hosts:?}");
    }
    // Every host leads its share: 303 on four.
    assert_eq!(
        (&said["figures_after"]["masters_max"], &said["figures_after"]["masters_min"]),
        (&76.into(), &75.into())
    );
    run(&format!("slotctl offline place --from {path} --out {data}"), true).unwrap();
    let again = value(&run(&format!("slotctl offline place --from {data}"), true).unwrap());
    assert_eq!((&again["copies"], &again["stores"]), (&0.into(), &303.into()));
}

#[test]
fn new_stores_of_a_cluster_file_are_placed_in_a_snapshot() {
    let (folder, path) = saved(&World::running(4, 60, 8, 2));
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (file, csv) = (at("cluster.toml"), at("after.csv"));
    // New stores come to the hosts that the file describes.
    let host = |n| format!("imap{n} = {{ at = \"ny/r{n}\", address = \"10.1.{n}.1\", kind = \"box\" }}\n");
    let hosts: String = (1..=4).map(host).collect();
    let text = format!(
        "version = 1\ncluster = \"fm1\"\ncoordinators = {{ c1 = \"10.1.9.1\" }}\n[hosts]\n{hosts}[kind.box]\nslots = 60\n\
         slot = {{ size = \"1000 B\", address = \"10.20.{{n}}.{{slot}}\" }}\n[stores]\n\
         \"new[1-90]\" = {{ engine = \"journal\", copies = 2, spread = \"rack\", size = \"100 B\" }}\n"
    );
    std::fs::write(&file, text).unwrap();
    let line = format!("slotctl offline place --format snapshot --from {path} -f {file} --out {csv}");
    let said = value(&run(&line, true).unwrap());
    let made =
        said["document"]["tasks"].as_array().unwrap().iter().filter(|task| task["kind"]["CreateStore"].is_object());
    assert_eq!(made.count(), 90, "{said}");
    let rows = placed(&csv);
    assert_eq!(rows.len(), 98);
    assert!(rows.values().all(|hosts| hosts.len() == 2 && hosts[0] != hosts[1] && !hosts[1].is_empty()), "{rows:?}");
    let (_other, htools) = htools(FLEET);
    let failure = ended(&format!("slotctl offline place --from {htools} -f {file}"), false).0.unwrap_err();
    assert_eq!((failure.exit, failure.cause.as_str()), (Exit::Usage, "a cluster file is for snapshots"));
}

#[test]
fn what_is_left_is_named_and_is_no_success() {
    let (folder, path) =
        htools(&fleet("s1|10|20|1|running|Y|h5|h6|drbd||1|0|N\ns2|10|20|1|running|Y|h1|h5|drbd||1|0|N\n"));
    let json = folder.path().join("a.json").display().to_string();
    for (asked, left, shown) in [
        ("drain --host h5 --empty", "s1 is on h5", "not done   s1: a copy is on h5, which is down; nothing"),
        ("drain --host h5", "s1 is led from h5", "not done   s1: its master is on h5, which is not active; nothing"),
        ("place", "s1 lacks a copy, s1 lacks a copy", "not done   s1: a copy is on h5, which is down; nothing"),
    ] {
        let (exit, text) = ended(&format!("slotctl offline {asked} --from {path} --json {json}"), false);
        let failure = exit.unwrap_err();
        assert_eq!(failure.exit, Exit::Failed, "{asked}");
        assert!(failure.cause.contains(left) && !failure.cause.contains("s2"), "{asked}: {}", failure.cause);
        assert!(text.contains("still broken") && text.contains(shown), "{asked}: {text}");
        assert!(!text.contains(left), "said once: {text}");
        let said = value(&std::fs::read_to_string(&json).unwrap());
        let first = &said["left"][0];
        let why = (&first["store"], &first["asked"], &first["proven"], &first["because"]);
        assert_eq!(why, (&"s1".into(), &true.into(), &true.into(), &"lost".into()), "{asked}");
    }
    let (exit, text) = ended(&format!("slotctl offline drain --host h1 --empty --from {path}"), false);
    assert_eq!(exit.unwrap(), Exit::Done, "{text}");
}

/// Of a snapshot too, also where the planner finds nothing that it could do.
#[test]
fn what_is_left_of_a_snapshot_is_no_success() {
    let mut world = World::running(3, 8, 6, 2);
    for host in [1, 2] {
        world.silent(&super::clusters::world::host(host), 60_000);
    }
    let (_folder, path) = saved(&world);
    let (exit, _) = ended(&format!("slotctl offline place --format snapshot --from {path}"), false);
    assert_eq!(exit.unwrap_err().exit, Exit::Failed);
}

/// All hosts are in one rack and each store asks for two: where there is nothing to do they are named, and that no move helps.
#[test]
fn what_is_broken_is_named_where_there_is_nothing_to_do() {
    let mut world = World::running(3, 8, 6, 2);
    let rack = slot_types::cluster::Domain(vec!["dc1".into(), "a".into()]);
    world.cluster.hosts.values_mut().for_each(|host| host.at = rack.clone());
    let (_folder, path) = saved(&world);
    let line = format!("slotctl offline rebalance --format snapshot --from {path}");
    let text = run(&line, false).unwrap();
    assert!(
        text.starts_with("nothing to do") && text.contains("still broken 6 rules, proven: no order of moves"),
        "{text}"
    );
    assert!(text.contains("broken     store1: copies on ") && text.contains("share a failure domain"), "{text}");
    let said = value(&run(&line, true).unwrap());
    let why = (&said["left_count"], &said["left"][0]["because"], &said["left"][0]["proven"], &said["exit"]);
    assert_eq!(why, (&6.into(), &"domains".into(), &true.into(), &0.into()), "{said}");
}

#[test]
fn the_bound_of_master_changes_counts_those_of_drained_hosts() {
    // h1 leads four, each other host one: four must go, and four do.
    let mut rows = String::new();
    for (n, nodes) in ["h1|h2", "h1|h4", "h1|h2", "h1|h4", "h2|h3", "h3|h4", "h4|h1"].into_iter().enumerate() {
        writeln!(rows, "s{n}|10|20|1|running|Y|{nodes}|drbd||1|0|N").unwrap();
    }
    let (_folder, path) = htools(&fleet(&rows));
    for asked in ["drain --host h1", "drain --host h1 --empty"] {
        let said = value(&run(&format!("slotctl offline {asked} --from {path}"), true).unwrap());
        assert_eq!(said["master_changes_floor"], 4, "{asked}: {said}");
        assert!(said["master_changes"].as_u64() >= said["master_changes_floor"].as_u64(), "{asked}: {said}");
    }
}

#[test]
fn racks_and_lists_of_hosts_are_drained_as_one() {
    let rows = "s1|10|20|1|running|Y|h1|h2|drbd||1|0|N\ns2|10|20|1|running|Y|h3|h2|drbd||1|0|N\n";
    let (_folder, path) = htools(&fleet(rows));
    let drained = |how: &str| run(&format!("slotctl offline drain {how} --from {path}"), true).unwrap();
    let by_name = drained("--host h1 --host h3");
    for how in ["--host h1,h3", "--rack rack:r1", "--rack r1", "--host rack:r1", "--host h1 --rack r1"] {
        assert_eq!(drained(how), by_name, "{how}");
    }
    let none = ended(&format!("slotctl offline drain --rack r7 --from {path}"), false).0.unwrap_err();
    assert_eq!((none.exit, none.cause.as_str()), (Exit::Failed, "the file has no rack of this name"));
    let (_other, snapshot) = saved(&World::running(4, 8, 8, 2));
    let drained =
        |how: &str| run(&format!("slotctl offline drain {how} --format snapshot --from {snapshot}"), true).unwrap();
    assert_eq!(drained("--rack ny/r2"), drained("--host imap2"));
    assert_eq!(drained("--host rack:ny/r2"), drained("--host imap2"));
    let all =
        ended(&format!("slotctl offline drain --rack ny --format snapshot --from {snapshot}"), true).0.unwrap_err();
    assert!(all.subject.contains("cluster.json"), "the larger domain is all of it, and that is refused: {all}");
    let live = Cli::try_parse_from("slotctl drain host imap1,imap2 imap3 -m quiet".split(' ')).unwrap().command;
    let Command::Drain(Drain::Host { host, .. }) = live else { panic!("{live:?}") };
    assert_eq!(host.iter().map(|host| host.as_str()).collect::<Vec<_>>(), ["imap1", "imap2", "imap3"]);
}

#[test]
fn overfull_hosts_and_stopped_stores_are_said() {
    let (_folder, path) =
        htools(&fleet("s1|10|20|1|running|Y|h5|h6|drbd||1|0|N\ns2|10|600000|1|running|Y|h1|h2|drbd||1|0|N\n"));
    let asked = |what: &str| run(&format!("slotctl offline whatif {what} --from {path}"), false).unwrap();
    let grown = asked("grow-stores --by 100");
    assert!(grown.contains("2 hosts OVERFULL, by 419.4 GB in all") && !grown.contains("has a place"), "{grown}");
    let down = asked("down h5");
    assert!(down.contains("no other store stops · 1 store STOPPED as it is"), "{down}");
    assert!(down.contains("stopped      1 store with no live copy as it is: s1"), "{down}");
}
