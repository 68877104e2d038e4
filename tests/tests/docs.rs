//! The documents, held to what they say of the tree.
//!
//! What always holds: a link in a document leads somewhere; every crate is on the map; every decision is listed; every
//! figure's file can be read, and a figure of the README is the one in its file; the README's first commands are those
//! that `up` prints; a bug names tests that exist; the acceptance table has one verdict in each row.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("the tests lie below the root").to_path_buf()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("could not read {}: {error}", path.display()))
}

/// The files of a folder whose names end so.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(root().join(folder)) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("a folder's entry is readable").path());
    let mut found: Vec<PathBuf> = paths.filter(|path| path.to_string_lossy().ends_with(ending)).collect();
    found.sort();
    found
}

fn documents() -> Vec<PathBuf> {
    let top = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(|name| root().join(name));
    top.into_iter().chain(files("docs", ".md")).chain(files("docs/adr", ".md")).collect()
}

/// The targets of all links of a Markdown text, code blocks left out.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        let mut rest = line;
        while let Some((_, after)) = rest.split_once("](") {
            let (target, tail) = after.split_once(')').unwrap_or((after, ""));
            found.push(target.to_owned());
            rest = tail;
        }
    }
    found
}

#[test]
fn every_link_leads_somewhere() {
    let mut dead = Vec::new();
    for document in documents() {
        let folder = document.parent().expect("a document lies in a folder").to_path_buf();
        for link in links(&read(&document)) {
            let target = link.split('#').next().unwrap_or_default();
            if target.contains("://") || target.is_empty() {
                continue;
            }
            if !folder.join(target).exists() {
                dead.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(dead.is_empty(), "dead links:\n  {}", dead.join("\n  "));
}

#[test]
fn links_are_found_outside_of_code_only() {
    assert_eq!(links("a [b](c.md) [d](e#f)\n```\n[x](y)\n```\n"), ["c.md", "e#f"]);
}

#[test]
fn every_crate_is_on_the_map() {
    let map = read(&root().join("ARCHITECTURE.md"));
    for manifest in files("crates", "").into_iter().filter(|path| path.is_dir()) {
        let name = manifest.file_name().expect("a crate's folder has a name").to_string_lossy().into_owned();
        assert!(map.contains(&format!("`{name}`")), "ARCHITECTURE.md does not say what lives in {name}");
    }
}

#[test]
fn every_decision_is_listed() {
    let list = read(&root().join("docs/adr/README.md"));
    let listed = links(&list);
    let decisions = files("docs/adr", ".md");
    assert!(decisions.len() > 1, "docs/adr holds no decision");
    for path in decisions {
        let name = path.file_name().expect("a decision has a name").to_string_lossy().into_owned();
        assert!(name == "README.md" || listed.contains(&name), "docs/adr/README.md does not list {name}");
    }
}

#[test]
fn every_piece_of_evidence_parses() {
    for path in files("docs/evidence", ".json") {
        let parsed: Result<serde_json::Value, _> = serde_json::from_str(&read(&path));
        assert!(parsed.is_ok(), "{} is not JSON: {parsed:?}", path.display());
    }
}

#[test]
fn every_row_of_the_acceptance_table_has_a_verdict() {
    let text = read(&root().join("docs/acceptance.md"));
    let mut rows = 0;
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 3, "a row has three cells: {line}");
        let header = cells[0] == "what was asked";
        let verdict = cells[2];
        let commit = verdict.trim_matches('`');
        let is_commit = commit.len() >= 7 && commit.chars().all(|c| c.is_ascii_hexdigit());
        let open = verdict == "not yet" || verdict.starts_with("partly: ");
        assert!(header || open || is_commit, "the last cell is a commit, `partly: …` or `not yet`: {line}");
        assert!(!cells[1].is_empty(), "the second cell names the command that shows it: {line}");
        rows += usize::from(!header);
    }
    assert!(rows > 40, "the table has {rows} rows: the issue asks for more");
}

/// A figure's cell as it must be: the value of the evidence with as many decimals as the cell has, and the cell's unit.
fn figure(cell: &str, value: &serde_json::Value) -> Option<String> {
    let (number, unit) = cell.split_once(' ').map_or((cell, ""), |(number, unit)| (number, unit));
    let decimals = number.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let value = value.as_f64()?;
    Some(format!("{value:.decimals$} {unit}").trim_end().to_owned())
}

#[test]
fn every_measured_figure_is_that_of_its_file() {
    let readme = read(&root().join("README.md"));
    let mut wrong = Vec::new();
    let mut rows = 0;
    for line in readme.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [name, cell, source] = cells[..] else { continue };
        let Some((file, path)) = source.split_once(".json:") else { continue };
        rows += 1;
        let evidence = read(&root().join(format!("docs/evidence/{file}.json")));
        let evidence: serde_json::Value = serde_json::from_str(&evidence).expect("evidence is JSON");
        let value = path.split('.').fold(&evidence["figures"], |value, key| &value[key]);
        match figure(cell, value) {
            None => wrong.push(format!("{source} is no number in the file: {value}")),
            Some(wanted) if wanted != cell => wrong.push(format!("| {name} | {wanted} | {source} |")),
            Some(_) => {}
        }
    }
    assert!(rows >= 8, "the README has {rows} measured rows");
    assert!(wrong.is_empty(), "the README differs from its evidence; these are the rows:\n{}", wrong.join("\n"));
}

#[test]
fn figures_are_rounded_as_they_are_written() {
    let of = |cell: &str, value: f64| figure(cell, &serde_json::json!(value));
    assert_eq!(of("84 ms", 84.0).as_deref(), Some("84 ms"));
    assert_eq!(of("84 ms", 91.0).as_deref(), Some("91 ms"));
    assert_eq!(of("0.4 s", 0.46).as_deref(), Some("0.5 s"));
    assert_eq!(of("7", 7.0).as_deref(), Some("7"));
    assert_eq!(figure("7", &serde_json::Value::Null), None);
}

#[test]
fn evidence_of_a_demo_names_its_commit_and_machine() {
    for path in files("docs/evidence", "demo.json") {
        let run: serde_json::Value = serde_json::from_str(&read(&path)).expect("evidence is JSON");
        for key in ["commit", "command", "profile", "seconds", "figures"] {
            assert!(!run[key].is_null(), "{} does not say its {key}", path.display());
        }
        for key in ["cores", "memory_gib", "kind"] {
            assert!(!run["machine"][key].is_null(), "{} does not say its machine's {key}", path.display());
        }
    }
}

#[test]
fn the_first_commands_are_those_that_up_prints() {
    let readme = read(&root().join("README.md"));
    let up = read(&root().join("tests/src/demo/up.rs"));
    let printed: Vec<&str> = up.lines().filter_map(|line| line.trim().strip_prefix("println!(\"  {me} ")).collect();
    assert_eq!(printed.len(), 5, "up prints five commands");
    for command in printed {
        let command = command.trim_end_matches("\");");
        // The slot is the store's master of that moment.
        let parts: Vec<&str> = command.split("{slot}").collect();
        let is_it = |line: &str| line.starts_with("slotctl ") && parts.iter().all(|part| line.contains(part.trim()));
        assert!(readme.lines().any(is_it), "the README's quick start does not have: slotctl {command}");
    }
}

/// The text of every Rust file below a folder.
fn sources(folder: &Path, into: &mut String) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            into.push_str(&read(&path));
        }
    }
}

#[test]
fn every_bug_is_kept_away_by_tests_that_exist() {
    let mut code = String::new();
    for folder in ["crates", "tests"] {
        sources(&root().join(folder), &mut code);
    }
    let text = read(&root().join("docs/bugs-found.md"));
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| what")).collect();
    assert!(rows.len() > 20, "the table has {} rows", rows.len());
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 4, "a row has four cells: {row}");
        let tests: Vec<&str> = cells[3].split('`').filter(|name| name.chars().any(|c| c == '_')).collect();
        assert!(!tests.is_empty(), "no test keeps it away: {row}");
        for test in tests {
            assert!(code.contains(&format!("fn {test}()")), "no test is called {test}");
        }
    }
}
