//! `offline`: what is read from a file, what comes out, and what is refused.

use slot_planner::layout::*;
use slotctl::commands::offline::{AllLeft, Asked, Look, Stats};
use slotctl::json;
use slotctl::offline::{Loaded, htools};
use slotctl::text;

/// Three hosts in two racks; four stores of which one has both copies in one rack.
pub const FLEET: &str = "group|id|preferred||

h2|1000|0|1000|500|450|8|N|id|1|rack:a|N|0|1|1.0
h1|1000|0|1000|500|400|8|N|id|1|rack:a|N|0|1|1.0
h3|1000|0|1000|500|400|8|M|id|1|rack:b,fast|N|0|1|1.0

s2|10|20|1|running|Y|h1|h3|drbd||1|0|N
s1|10|30|1|running|Y|h1|h2|drbd||1|0|N
s3|10|25|1|running|Y|h1|h3|drbd||1|0|N

htools:nlocation:rack

policy
";

pub fn loaded() -> Loaded {
    htools::parse(FLEET.to_owned()).unwrap()
}

pub fn stats() -> Stats {
    let loaded = loaded();
    let outcome = solve(&loaded.fleet, &loaded.layout, &Goal::Rebalance, &Wish::default()).unwrap();
    let checked = check(&loaded.fleet, &loaded.layout, &Goal::Rebalance, outcome).unwrap();
    let asked = (&Goal::Rebalance, &Wish::default());
    Stats::of("rebalance", &loaded, asked, &checked, Look { rate: 100, during: true })
}

/// All hosts are in one rack, and together they are too small for what is there.
fn too_full() -> String {
    FLEET
        .replace("h1|1000|0|1000|500|", "h1|1000|0|1000|60|")
        .replace("h2|1000|0|1000|500|", "h2|1000|0|1000|40|")
        .replace("h3|1000|0|1000|500|400|8|M|id|1|rack:b,fast", "h3|1000|0|1000|45|400|8|M|id|1|rack:a,fast")
}

/// Of a plan that leaves rules broken.
pub fn stats_of_too_full() -> Stats {
    let loaded = htools::parse(too_full()).unwrap();
    let outcome = solve(&loaded.fleet, &loaded.layout, &Goal::Rebalance, &Wish::default()).unwrap();
    let checked = check(&loaded.fleet, &loaded.layout, &Goal::Rebalance, outcome).unwrap();
    let asked = (&Goal::Rebalance, &Wish::default());
    Stats::of("rebalance", &loaded, asked, &checked, Look { rate: 100, during: true })
}

/// What is broken there before anything moves.
pub fn left_of_too_full() -> AllLeft {
    let loaded = htools::parse(too_full()).unwrap();
    let as_it_is = (&loaded.fleet, &loaded.layout, &loaded.layout);
    AllLeft::of(&loaded, as_it_is, (&Goal::Rebalance, &Wish::default()), &Asked::Even)
}

/// What stays broken is named: the store or host, the rule, where, and whether that is proven.
#[test]
fn a_plan_that_leaves_rules_broken_names_each_and_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fleet.data").display().to_string();
    std::fs::write(&path, too_full()).unwrap();
    let shown = |words: &str| super::snapshots::run(&format!("slotctl offline {words} --from {path}"), false).unwrap();
    let text = format!("{}\n{}", shown("rebalance"), shown("drain --host h2"));
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    golden!(text);
    let document: serde_json::Value = json::offline(&stats_of_too_full()).to_string().parse().unwrap();
    let left = document["left"].as_array().unwrap();
    assert_eq!(document["left_count"], left.len());
    assert_eq!(document["figures_after"]["violations"], left.len());
    assert!(left.iter().any(|one| one["because"] == "domains" && one["proven"] == true && one["store"] == "s1"));
    assert!(left.iter().any(|one| one["because"] == "bytes" && one["store"].is_null()), "{document}");
    assert!(left.iter().all(|one| one["asked"] == false));
}

/// The first ten are shown and all are counted; a document has all of them.
#[test]
fn of_many_that_stay_broken_ten_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fleet.data").display().to_string();
    let stores: String = (10..37).map(|n| format!("s{n}|10|1|1|running|Y|h1|h2|drbd||1|0|N\n")).collect();
    let one_rack = FLEET.replace("rack:b,fast", "rack:a,fast");
    std::fs::write(&path, one_rack.replace("s2|10|20", &format!("{stores}s2|10|20"))).unwrap();
    let shown = |as_json| super::snapshots::run(&format!("slotctl offline rebalance --from {path}"), as_json).unwrap();
    let text = shown(false);
    assert!(text.contains("still broken 30 rules, proven: no order of moves mends them all"), "{text}");
    assert_eq!(text.matches("share a failure domain").count(), 10, "{text}");
    assert!(text.contains("and 20 more (--json FILE names them)"), "{text}");
    let document: serde_json::Value = shown(true).parse().unwrap();
    assert_eq!((&document["left_count"], document["left"].as_array().unwrap().len()), (&30.into(), 30));
}

fn csv(loaded: &Loaded, layout: &Layout) -> String {
    let mut text = Vec::new();
    htools::write_csv(loaded, &loaded.fleet, layout, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn hosts_and_stores_are_in_the_order_of_their_names_whatever_the_order_of_lines() {
    let one = loaded();
    assert_eq!(one.hosts, ["h1", "h2", "h3"]);
    assert_eq!(csv(&one, &one.layout), "s1,h1,h2\ns2,h1,h3\ns3,h1,h3\n");
    let mut sections: Vec<String> = FLEET.split("\n\n").map(str::to_owned).collect();
    for section in [1, 2] {
        let mut lines: Vec<&str> = sections[section].lines().collect();
        lines.reverse();
        sections[section] = lines.join("\n");
    }
    let other = htools::parse(sections.join("\n\n")).unwrap();
    let plan = |l: &Loaded| csv(l, &solve(&l.fleet, &l.layout, &Goal::Rebalance, &Wish::default()).unwrap().layout);
    assert_eq!(plan(&one), plan(&other));
}

/// Lines in any order, of fleets of any kind: the same plan to the byte.
#[test]
fn shuffled_lines_change_no_plan() {
    let mut state = 11u64;
    let mut below = |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    let mut moved = 0;
    for _ in 0..60 {
        let hosts = 3 + below(8);
        let mut nodes: Vec<String> = (0..hosts)
            .map(|n| format!("h{n}|1000|0|1000|{}|400|8|N|id|1|rack:r{}|N|0|1|1.0", 300 + below(600), n % 3))
            .collect();
        let mut stores: Vec<String> = (0..5 + below(40))
            .map(|n| {
                let (first, step) = (below(hosts), 1 + below(hosts - 1));
                format!("s{n}|10|{}|1|running|Y|h{first}|h{}|drbd||1|0|N", 2 + below(20), (first + step) % hosts)
            })
            .collect();
        let plan = |nodes: &[String], stores: &[String]| {
            let text = format!(
                "group|id|preferred||\n\n{}\n\n{}\n\nhtools:nlocation:rack\n\npolicy\n",
                nodes.join("\n"),
                stores.join("\n")
            );
            let l = htools::parse(text).unwrap();
            [Goal::Rebalance, Goal::Drain { hosts: vec![0], empty: true }]
                .map(|goal| solve(&l.fleet, &l.layout, &goal, &Wish::default()))
                .map(|made| made.map(|made| (made.moves.len(), csv(&l, &made.layout))))
        };
        let planned = plan(&nodes, &stores);
        moved += planned.iter().flatten().map(|(moves, _)| *moves).sum::<usize>();
        for list in [&mut nodes, &mut stores] {
            (1..list.len()).rev().for_each(|last| list.swap(last, below(last + 1)));
        }
        assert_eq!(plan(&nodes, &stores), planned);
    }
    assert!(moved > 500, "only {moved} moves: these fleets ask for too little");
}

#[test]
fn what_is_written_is_read_again_as_it_was_planned() {
    let one = loaded();
    let outcome = solve(&one.fleet, &one.layout, &Goal::Rebalance, &Wish::default()).unwrap();
    assert_eq!(outcome.after.violations.total(), 0, "{:?}", outcome.after);
    let mut text = Vec::new();
    htools::write_data(&one, &outcome.layout, &mut text).unwrap();
    let again = htools::parse(String::from_utf8(text.clone()).unwrap()).unwrap();
    assert_eq!(again.layout, outcome.layout);
    // s1 left h1 or h2 for h3, or one of them for the other rack: free disk follows.
    let text = String::from_utf8(text).unwrap();
    let free: i64 = text
        .lines()
        .filter(|l| l.starts_with('h') && l.contains("|rack:"))
        .map(|l| l.split('|').nth(5).unwrap().parse::<i64>().unwrap())
        .sum();
    assert_eq!(free, 450 + 400 + 400);
}

#[test]
fn what_is_not_understood_is_named_with_its_line() {
    let refused = |from: &str, to: &str| htools::parse(FLEET.replace(from, to)).unwrap_err().to_string();
    insta::assert_snapshot!(refused("s1|10|30", "s1|10|x"), @"in the section of instances, line 2: the third field, disk, is no whole number of MiB");
    insta::assert_snapshot!(refused("h1|h2", "h1|h9"), @"in the section of instances, line 2: its secondary is no node of this file");
    insta::assert_snapshot!(refused("h2|1000", "h1|1000"), @"in the section of nodes, line 2: a node of this name is there already");
    let disk = |mebibytes: &str| refused("h3|1000|0|1000|500", &format!("h3|1000|0|1000|{mebibytes}"));
    for more in ["17000000000000", "18000000000000", "18446744073709551615"] {
        assert_eq!(disk(more), "all disks together are more than 1048576 TiB");
    }
    let instance = refused("s1|10|30", "s1|10|9000000000000");
    assert_eq!(instance, "all instances' disks, twice each, together are more than 1048576 TiB");
    let text = htools::parse("a|b".to_owned()).unwrap_err().to_string();
    insta::assert_snapshot!(text, @"it has 1 sections of the 3 that are needed, parted by empty lines: groups, nodes, instances");
}

#[test]
fn a_drain_that_does_not_fit_names_the_stores_and_their_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fleet.data").display().to_string();
    // s2 and s3 can go from h1 to h2. s1 has its other copy in that rack, and h3 is full.
    let small = FLEET.replace("h3|1000|0|1000|500", "h3|1000|0|1000|45");
    std::fs::write(&path, small).unwrap();
    let failure = super::snapshots::run(&format!("slotctl offline drain --host h1 --empty --from {path}"), false);
    let cause = failure.unwrap_err().cause;
    insta::assert_snapshot!(cause, @"1 copy of 31.4 MB in all fits on no other host: s1 (31.4 MB)");
}

/// What a drain of a fleet in a file is refused for, and what is to be done next.
fn refused_drain(fleet: &str, rest: &str) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fleet.data").display().to_string();
    std::fs::write(&path, fleet).unwrap();
    let failure = super::snapshots::run(&format!("slotctl offline drain {rest} --from {path}"), false).unwrap_err();
    (failure.cause, failure.next)
}

#[test]
fn a_drain_that_the_budget_does_not_reach_says_so_and_not_that_there_is_no_room() {
    let (cause, next) = refused_drain(FLEET, "--host h2 --empty --max-bytes 1");
    assert!(
        cause.starts_with("the budget does not reach what has to leave: that takes ") && cause.contains("31.4 MB"),
        "{cause}"
    );
    assert!(next.starts_with("say --max-bytes 31457280 --max-moves "), "{next}");
}

#[test]
fn a_drain_that_a_rule_forbids_names_the_rule_and_asks_for_no_room() {
    // h1 in rack b, the others in rack a: what is on h1 and h2 has to leave h1 and may not go to h3.
    let swapped = FLEET.replace("h3|1000|0|1000|500|400|8|M|id|1|rack:b", "h3|1000|0|1000|500|400|8|M|id|1|rack:a");
    let one = swapped.replace("h1|1000|0|1000|500|400|8|N|id|1|rack:a", "h1|1000|0|1000|500|400|8|N|id|1|rack:b");
    let (cause, next) = refused_drain(&one, "--host h1 --empty");
    assert!(cause.starts_with("3 copies are allowed on no other host, whatever room there is: "), "{cause}");
    let why = "s1 (h2 has a copy of it; h3 is in one failure domain with its copy on h2)";
    assert!(cause.contains(why) && !cause.contains("fit"), "{cause}");
    assert!(!next.contains("room") && next.starts_with("add a host in another failure domain"), "{next}");
}

#[test]
fn a_plan_says_how_long_it_takes_and_what_could_be_lost_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fleet.data").display().to_string();
    std::fs::write(&path, FLEET).unwrap();
    let line = format!("slotctl offline rebalance --from {path} --during --rate 1MiB");
    let text = super::snapshots::run(&line, false).unwrap();
    golden!(text);
}
