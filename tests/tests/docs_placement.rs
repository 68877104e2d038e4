//! docs/placement.md, held to its evidence: every table of figures is the one that is made of docs/evidence/placement.json.
//!
//! What always holds: nobody types a figure. After a new measurement `UPDATE_DOCS=1 cargo test -p slot-tests --test docs_placement`
//! writes the tables anew, between the lines that name them; without it a difference is a failure.

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie below the root").join(name)
}

fn evidence(name: &str) -> Value {
    let path = file(&format!("docs/evidence/{name}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("could not read {}: {error}", path.display()));
    serde_json::from_str(&text).expect("evidence is JSON")
}

/// A number with so many decimals, or a dash where the evidence has none.
fn number(value: &Value, decimals: usize) -> String {
    value.as_f64().map_or_else(|| "–".to_owned(), |value| format!("{value:.decimals$}"))
}

fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let mut text = line(&head) + &format!("|{}\n", "---|".repeat(head.len()));
    rows.iter().for_each(|row| text.push_str(&line(row)));
    text
}

fn of_kind(evidence: &Value, drains: bool) -> impl Iterator<Item = &Value> {
    let rows = evidence["rows"].as_array().expect("the evidence has rows").iter();
    rows.filter(move |row| row["who"] == "slotctl" && (row["case"] == "drain") == drains)
}

fn row_of(row: &Value) -> Vec<String> {
    let text = |key: &str, decimals| number(&row[key], decimals);
    // Of several runs the median, and the largest beside it; evidence of one run has no other.
    let cpu = match row["runs"].as_u64() {
        Some(runs) if runs > 1 => format!("{} ({})", text("cpu_s", 3), text("cpu_largest_s", 3)),
        _ => text("cpu_s", 3),
    };
    vec![
        format!("{} {}", row["case"].as_str().unwrap_or_default(), row["hosts"]),
        cpu,
        text("peak_mib", 0),
        format!("{} ({})", text("masters_max_over_mean", 4), text("masters_bound", 4)),
        format!("{} ({})", text("worst_survivor", 0), text("worst_survivor_least", 0)),
        text("disk_max_over_mean", 4),
        text("violations", 0),
        text("gib_copied", 1),
        text("gib_over_bound", 4),
        format!("{} ({})", text("master_changes", 0), text("master_changes_floor", 0)),
    ]
}

const HEAD: [&str; 10] = [
    "case",
    "CPU s",
    "MB",
    "masters (bound)",
    "worst survivor (least)",
    "disk",
    "violations",
    "GiB",
    "over bound",
    "master changes (floor)",
];

/// Each table's name in the document, and what it has to be.
fn tables() -> Vec<(&'static str, String)> {
    let (ours, peer) = (evidence("placement"), evidence("placement-hbal"));
    let beside = peer["rows"].as_array().expect("the peer's evidence has rows").iter().map(|row| {
        let mut cells = row_of(row);
        cells.insert(1, row["who"].as_str().unwrap_or_default().to_owned());
        cells
    });
    let mut head = HEAD.to_vec();
    head.insert(1, "who");
    let own = ours["own_generator"].as_array().expect("the evidence has our own cases").iter().map(|row| {
        let text = |key: &str, decimals| number(&row[key], decimals);
        vec![
            row["case"].as_str().unwrap_or_default().to_owned(),
            format!("{} ({})", text("load_max", 2), text("load_bound", 2)),
            format!("{} ({})", text("worst_survivor", 2), text("worst_survivor_bound", 2)),
            text("bytes_max_over_share", 4),
            format!("{} ({})", text("bytes", 0), text("bytes_bound", 0)),
            text("waves", 0),
            text("schedule_over_busiest_link", 2),
            text("schedule_over_wave_bound", 2),
        ]
    });
    let own_head = [
        "case",
        "most masters (bound)",
        "worst survivor (bound)",
        "disk",
        "bytes (bound)",
        "waves",
        "over busiest link",
        "over any waves",
    ];
    let reachable = of_kind(&ours, false).filter(|row| row["hosts"].as_u64().is_some_and(|hosts| hosts <= 40));
    let price = reachable.map(|row| {
        let text = |key: &str, decimals| number(&row[key], decimals);
        vec![
            row_of(row).swap_remove(0),
            text("worst_survivor_reachable", 0),
            text("gib_joint_bound_there", 1),
            text("worst_survivor", 0),
            text("gib_joint_bound", 1),
            text("gib_copied", 1),
        ]
    });
    let price_head = ["case", "possible", "GiB at least, there", "reached", "GiB at least, here", "GiB"];
    vec![
        ("price", table(&price_head, price.collect())),
        ("rebalance", table(&HEAD, of_kind(&ours, false).map(row_of).collect())),
        ("drain", table(&HEAD, of_kind(&ours, true).map(row_of).collect())),
        ("peer", table(&head, beside.collect())),
        ("own", table(&own_head, own.collect())),
    ]
}

/// The document with a table in its place.
fn with(document: &str, name: &str, table: &str) -> String {
    let (begin, end) = (format!("<!-- table: {name} -->\n"), format!("<!-- end: {name} -->"));
    let (head, rest) = document.split_once(&begin).unwrap_or_else(|| panic!("docs/placement.md has no table {name}"));
    let (_, tail) = rest.split_once(&end).unwrap_or_else(|| panic!("the table {name} has no end"));
    format!("{head}{begin}{table}{end}{tail}")
}

#[test]
fn every_figure_of_placement_is_that_of_its_file() {
    let path = file("docs/placement.md");
    let is = fs::read_to_string(&path).expect("docs/placement.md can be read");
    let wanted = tables().into_iter().fold(is.clone(), |text, (name, table)| with(&text, name, &table));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &wanted).expect("docs/placement.md can be written");
    } else {
        assert!(
            is == wanted,
            "docs/placement.md differs from its evidence: run this test with UPDATE_DOCS=1, and look"
        );
    }
}

#[test]
fn a_table_is_put_in_its_place_and_what_is_missing_is_a_dash() {
    let document = "a\n<!-- table: x -->\nold\n<!-- end: x -->\nb\n";
    assert_eq!(with(document, "x", "new\n"), "a\n<!-- table: x -->\nnew\n<!-- end: x -->\nb\n");
    assert_eq!((number(&Value::Null, 2), number(&serde_json::json!(1.005), 1)), ("–".to_owned(), "1.0".to_owned()));
}
