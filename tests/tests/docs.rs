//! The documents, held to what they say of the tree.
//!
//! What always holds: a link in a document leads somewhere; every crate is on the map; every decision is listed; every
//! figure's file can be read, and a figure of a document is the one in its file; the README's first commands are those
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

/// The rows of a document whose last cell names a figure of an evidence file: all cells, the file and the figure's path.
fn measured(text: &str) -> Vec<(Vec<&str>, &str, &str)> {
    let rows = text.lines().filter(|line| line.starts_with("| "));
    let cells = rows.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect::<Vec<&str>>());
    cells.filter_map(|c| c.last()?.split_once(".json:").map(|(file, path)| (c.clone(), file, path))).collect()
}

/// The evidence of that name, if it was written.
fn evidence(file: &str) -> Option<serde_json::Value> {
    let path = root().join(format!("docs/evidence/{file}.json"));
    path.exists().then(|| serde_json::from_str(&read(&path)).expect("evidence is JSON"))
}

#[test]
fn every_measured_figure_is_that_of_its_file() {
    let readme = read(&root().join("README.md"));
    let mut wrong = Vec::new();
    let rows = measured(&readme);
    for (cells, file, path) in &rows {
        let evidence = evidence(file).expect("the README's evidence is there");
        let value = path.split('.').fold(&evidence["figures"], |value, key| &value[key]);
        match figure(cells[1], value) {
            None => wrong.push(format!("{file}.json:{path} is no number in the file: {value}")),
            Some(wanted) if wanted != cells[1] => {
                wrong.push(format!("| {} | {wanted} | {file}.json:{path} |", cells[0]))
            }
            Some(_) => {}
        }
    }
    assert!(rows.len() >= 8, "the README has {} measured rows", rows.len());
    assert!(wrong.is_empty(), "the README differs from its evidence; these are the rows:\n{}", wrong.join("\n"));
}

/// What a row says of a figure whose file does not exist.
const NOT_YET: &str = "not yet run";

/// A figure's cell as it must be; of a list or a table, how many entries it has.
fn cell_of(cell: &str, evidence: Option<&serde_json::Value>, path: &str) -> Option<String> {
    let Some(evidence) = evidence else { return Some(NOT_YET.into()) };
    let value = path.split('.').fold(evidence, |value, key| &value[key]);
    let size = value.as_array().map(Vec::len).or_else(|| value.as_object().map(serde_json::Map::len));
    // Where nothing was written yet, a whole number is a good first cell.
    let cell = if cell == NOT_YET { "0" } else { cell };
    figure(cell, &size.map_or_else(|| value.clone(), |size| serde_json::json!(size)))
}

/// Holds every measured row of a document to its file; each of these files must have one.
fn hold_to_evidence(document: &str, files: &[&str]) {
    let text = read(&root().join(document));
    let mut wrong = Vec::new();
    let rows = measured(&text);
    for (cells, file, path) in &rows {
        match cell_of(cells[1], evidence(file).as_ref(), path) {
            None => wrong.push(format!("{file}.json:{path} is no number in the file")),
            Some(wanted) if wanted != cells[1] => {
                wrong.push(format!("| {} | {wanted} | {file}.json:{path} |", cells[0]))
            }
            Some(_) => {}
        }
    }
    for file in files {
        assert!(rows.iter().any(|(_, name, _)| name == file), "{document} has no figure of {file}.json");
    }
    assert!(wrong.is_empty(), "{document} differs from its evidence; the rows are:\n{}", wrong.join("\n"));
}

#[test]
fn every_figure_of_the_simulator_is_that_of_its_file() {
    hold_to_evidence("docs/reliability.md", &["sim", "planted", "sweep", "pairs"]);
}

#[test]
fn every_figure_of_the_bench_is_that_of_its_file() {
    hold_to_evidence("docs/performance.md", &["handover"]);
}

#[test]
fn every_planted_bug_of_the_evidence_is_in_the_table() {
    let text = read(&root().join("docs/reliability.md"));
    let (_, after) = text.split_once("| bug | breaks | caught by | seeds | seconds |").expect("the table is there");
    let rows = after.lines().skip(2).take_while(|line| line.starts_with("| "));
    let report = evidence("planted").unwrap_or_default();
    let row = |bug: &serde_json::Value| {
        let by = bug["by"].as_str().unwrap_or("not caught");
        let seconds = bug["seconds"].as_f64().expect("a verdict has seconds");
        let word = |key: &str| bug[key].as_str().expect("a verdict has words");
        format!("| {} | {} | {by} | {} | {seconds:.1} |", word("bug"), word("rule"), bug["seeds"])
    };
    let wanted: Vec<String> = report["bugs"].as_array().into_iter().flatten().map(row).collect();
    assert!(rows.eq(wanted.iter()), "docs/reliability.md's table of planted bugs must be:\n{}", wanted.join("\n"));
}

#[test]
fn evidence_of_the_simulator_says_where_it_comes_from() {
    for (name, evidence) in ["sim", "planted", "sweep", "pairs"].map(|name| (name, evidence(name))) {
        let Some(evidence) = evidence else { continue };
        for key in ["commit", "command", "profile", "duration_seconds"] {
            assert!(!evidence[key].is_null(), "{name}.json does not say its {key}");
        }
        for key in ["cores", "model"] {
            assert!(!evidence["machine"][key].is_null(), "{name}.json does not say its machine's {key}");
        }
        assert_eq!(evidence["profile"], "release", "{name}.json is of an unoptimised build");
    }
}

#[test]
fn a_figure_without_its_file_is_not_yet_run() {
    let some = serde_json::json!({ "seeds": 30, "hours": 1.26, "unreached": [], "reached": { "a": 1, "b": 2 } });
    assert_eq!(cell_of("30000", None, "seeds").as_deref(), Some(NOT_YET));
    assert_eq!(cell_of(NOT_YET, Some(&some), "seeds").as_deref(), Some("30"));
    assert_eq!(cell_of("1.2 h", Some(&some), "hours").as_deref(), Some("1.3 h"));
    assert_eq!(cell_of("7", Some(&some), "unreached").as_deref(), Some("0"));
    assert_eq!(cell_of("2", Some(&some), "reached").as_deref(), Some("2"));
    assert_eq!(cell_of("2", Some(&some), "absent"), None);
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
fn evidence_of_a_demo_or_a_bench_names_its_commit_and_machine() {
    for path in ["demo.json", "handover.json"].into_iter().flat_map(|name| files("docs/evidence", name)) {
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
        assert_eq!(cells.len(), 5, "a row has five cells: {row}");
        let is_commit = cells[4].len() >= 7 && cells[4].chars().all(|c| c.is_ascii_hexdigit());
        assert!(is_commit, "the last cell is a commit: {row}");
        let tests: Vec<&str> = cells[3].split('`').filter(|name| name.chars().any(|c| c == '_')).collect();
        assert!(!tests.is_empty(), "no test keeps it away: {row}");
        for test in tests {
            assert!(code.contains(&format!("fn {test}()")), "no test is called {test}");
        }
    }
}
