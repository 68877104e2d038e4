//! The documents, held to what they say of the tree.
//!
//! What always holds: a link in a document leads somewhere; every crate is on the map; every decision is listed; every
//! figure's file can be read; the acceptance table has one verdict in each row.

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
