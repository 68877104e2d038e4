//! Tidiness of the source, as a test: small files, small functions, module docs, no leftovers, pure cores, named rules.
//!
//! What always holds: every finding names file and line and says what to do instead; nothing outside the repository is
//! read, and no program is run.

mod scanner;

use std::fs;
use std::path::{Path, PathBuf};

use scanner::{functions, mask, without_test_modules};

/// The bound on a file's length; aim at 500.
const FILE_LINES_MAX: usize = 600;
/// The bound on a function's length; aim at 70.
const FUNCTION_LINES_MAX: usize = 80;
/// Crates that have a sans-I/O core: files and folders below `src` whose names start with `core`.
const CRATES_WITH_CORES: [&str; 4] = ["slot-raft", "slot-agent", "slot-engine", "slot-coordinator"];

/// What a sans-I/O core must not name, and what it does instead.
const NOT_IN_CORES: [(&str, &str); 12] = [
    ("Instant", "take `now` in milliseconds from the caller"),
    ("SystemTime", "wall time is for display only (R17): take it from the caller"),
    ("std::env", "the program reads the environment and passes values in"),
    ("std::fs", "return the write as an effect; take what was read as an event"),
    ("std::net", "return what should be sent as an effect"),
    ("std::process", "return what should be run as an effect"),
    ("std::thread", "one caller, one result"),
    ("HashMap", "its order differs between runs: use BTreeMap"),
    ("HashSet", "its order differs between runs: use BTreeSet"),
    ("tokio", "the core runs without a runtime"),
    ("thread_rng", "take a seeded generator from the caller"),
    ("rand::rng(", "take a seeded generator from the caller"),
];

/// The rules (R…) and invariants (S…) that product code must name where it enforces them. It is complete once S1, S4
/// and S10 are named too; it never shrinks.
const NAMED_IDS: [&str; 31] = [
    "S2", "S3", "S5", "S6", "S7", "S9", "S12", "S15", //
    "R1", "R2", "R3", "R4", "R5", "R6", "R7", "R11", "R12", "R13", "R14", "R15", "R16", "R17", "R18", //
    "R20", "R21", "R22", "R24", "R25", "R27", "R28", "R29",
];

/// Folders that are not ours to tidy: built, or left by a running demo.
const SKIPPED_FOLDERS: [&str; 7] =
    [".git", "target", "target-failpoints", "target-planted", ".demo", ".up", "node_modules"];

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("the tests lie below the root").to_path_buf()
}

/// Every text file of the repository: its path from the root, and its text.
fn texts() -> Vec<(String, String)> {
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the repository is readable") {
            let path = entry.expect("a folder's entry is readable").path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if path.is_symlink() || SKIPPED_FOLDERS.contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                let relative = path.strip_prefix(&root).expect("below the root").to_string_lossy().into_owned();
                found.push((relative, text));
            }
        }
    }
    found.sort();
    assert!(found.iter().any(|(path, _)| path == "Cargo.toml"), "the walk must start at the repository's root");
    found
}

/// Every Rust file of the repository.
fn sources() -> Vec<(String, String)> {
    texts().into_iter().filter(|(path, _)| path.ends_with(".rs")).collect()
}

fn none(findings: &[String]) {
    assert!(findings.is_empty(), "{} to tidy:\n  {}", findings.len(), findings.join("\n  "));
}

/// Whether `word` stands in `line` with no word character beside it.
fn has_word(line: &str, word: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let starts = !word.starts_with(is_word) || !before.is_some_and(is_word);
        let ends = !word.ends_with(is_word) || !after.is_some_and(is_word);
        starts && ends
    })
}

#[test]
fn files_are_short() {
    let mut findings = Vec::new();
    for (path, text) in sources() {
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            findings.push(format!("{path}: {lines} lines, at most {FILE_LINES_MAX}; split it, aim at 500"));
        }
    }
    none(&findings);
}

#[test]
fn functions_are_short() {
    let mut findings = Vec::new();
    let mut seen = 0;
    for (path, text) in sources() {
        for function in functions(&mask(&text)) {
            seen += 1;
            if function.lines > FUNCTION_LINES_MAX {
                findings.push(format!(
                    "{path}:{}: fn {} has {} lines, at most {FUNCTION_LINES_MAX}; split it, aim at 70",
                    function.line, function.name, function.lines
                ));
            }
        }
    }
    assert!(seen > 50, "the scanner saw only {seen} functions: it is broken");
    none(&findings);
}

#[test]
fn every_file_opens_with_module_docs() {
    let mut findings = Vec::new();
    for (path, text) in sources() {
        if !text.starts_with("//! ") {
            findings.push(format!("{path}:1: must open with `//!` and say what always holds"));
        }
    }
    none(&findings);
}

#[test]
fn nothing_is_left_over() {
    // Put together here, so that this file does not find itself.
    let in_code = [
        "todo".to_owned() + "!(",
        "unimplemented".to_owned() + "!(",
        "#[".to_owned() + "ignore",
        "dbg".to_owned() + "!(",
    ];
    let in_text = ["FIX".to_owned() + "ME", "XX".to_owned() + "X"];
    let mut findings = Vec::new();
    for (path, text) in sources() {
        for (number, (line, code)) in text.lines().zip(mask(&text).lines()).enumerate() {
            for mark in in_code.iter().filter(|mark| has_word(code, mark)) {
                findings.push(format!("{path}:{}: `{mark}`: finish it, or leave it out", number + 1));
            }
            for mark in in_text.iter().filter(|mark| has_word(line, mark)) {
                findings.push(format!("{path}:{}: `{mark}`: settle it, or write an issue", number + 1));
            }
        }
    }
    none(&findings);
}

#[test]
fn lines_end_cleanly() {
    let kept = ["rs", "md", "toml", "proto", "txt", "example", "run", "snap"];
    let mut findings = Vec::new();
    for (path, text) in texts() {
        let name = path.rsplit('/').next().unwrap_or_default();
        if !kept.contains(&name.rsplit('.').next().unwrap_or_default()) {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let golden = path.ends_with(".txt") || path.ends_with(".snap");
            if line.ends_with([' ', '\t', '\r']) && !golden {
                findings.push(format!("{path}:{}: white space at the end of the line", number + 1));
            }
        }
        if !text.is_empty() && !text.ends_with('\n') {
            findings.push(format!("{path}: the last line has no end"));
        }
    }
    none(&findings);
}

#[test]
fn no_path_of_a_build_machine_is_written_down() {
    let places = ["/wo".to_owned() + "rk/", "/ro".to_owned() + "ot/", "/tmp".to_owned() + "/w/"];
    let mut findings = Vec::new();
    for (path, text) in texts() {
        for (number, line) in text.lines().enumerate() {
            for place in places.iter().filter(|place| names_absolute(line, place)) {
                findings.push(format!("{path}:{}: `{place}` is one machine's folder: use a relative path", number + 1));
            }
        }
    }
    none(&findings);
}

/// Whether `place` stands in `line` as the start of an absolute path, not inside a longer one.
fn names_absolute(line: &str, place: &str) -> bool {
    line.match_indices(place).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "_.-}/".contains(c))
    })
}

/// Whether a file belongs to the sans-I/O core of its crate and is not its tests.
fn is_core(path: &str) -> bool {
    let Some(rest) = path.strip_prefix("crates/") else { return false };
    let Some((name, inner)) = rest.split_once("/src/") else { return false };
    let in_core = inner.split('/').any(|part| part.starts_with("core"));
    CRATES_WITH_CORES.contains(&name) && in_core && !is_test_file(path)
}

fn is_test_file(path: &str) -> bool {
    path.split('/').any(|part| part == "tests") || path.ends_with("/tests.rs") || path.ends_with("_tests.rs")
}

/// What a core's source names that it must not, as (line, word, instead).
fn impurities(source: &str) -> Vec<(usize, &'static str, &'static str)> {
    let code = without_test_modules(&mask(source));
    let mut found = Vec::new();
    for (number, line) in code.lines().enumerate() {
        for (word, instead) in NOT_IN_CORES {
            if has_word(line, word) {
                found.push((number + 1, word, instead));
            }
        }
    }
    found
}

#[test]
fn sans_io_cores_are_pure() {
    let mut findings = Vec::new();
    for (path, text) in sources().into_iter().filter(|(path, _)| is_core(path)) {
        for (line, word, instead) in impurities(&text) {
            findings.push(format!("{path}:{line}: a sans-I/O core must not name `{word}`: {instead}"));
        }
    }
    none(&findings);
}

#[test]
fn an_impure_core_is_caught() {
    assert!(is_core("crates/slot-agent/src/core/ledger.rs"));
    assert!(is_core("crates/slot-raft/src/core.rs"));
    assert!(!is_core("crates/slot-agent/src/service.rs"));
    assert!(!is_core("crates/slot-agent/src/core/tests.rs"));
    let bad = "//! Core.\nuse std::time::Instant;\nfn a() { let _ = rand::rng(); }\n";
    assert_eq!(
        impurities(bad).iter().map(|(line, word, _)| (*line, *word)).collect::<Vec<_>>(),
        [(2, "Instant"), (3, "rand::rng(")]
    );
    let good = "//! Never an Instant.\nfn a() -> &'static str { \"tokio\" } // HashMap\n#[cfg(test)]\nmod tests { use std::fs; }\n";
    assert_eq!(impurities(good), []);
}

#[test]
fn rules_are_named_where_they_are_enforced() {
    let product: Vec<String> = sources()
        .into_iter()
        .filter(|(path, _)| path.starts_with("crates/") && path.contains("/src/") && !is_test_file(path))
        .map(|(_, text)| text.split("#[cfg(test)]\nmod ").next().unwrap_or_default().to_owned())
        .collect();
    let missing = NAMED_IDS.iter().filter(|id| !product.iter().any(|text| has_word(text, id)));
    let findings: Vec<String> =
        missing.map(|id| format!("{id}: no product code names it; say where it is enforced")).collect();
    none(&findings);
}

#[test]
fn the_scanner_tells_code_from_text() {
    let source = r##"//! fn no() {
fn one(a: &'static str, b: [u8; 3]) -> char { let _ = ("}", '}', r#"fn x() {"#, b'{', '\''); a.len(); 'x' }
/* fn no() { /* { */ */
trait T { fn none(&self); fn two(&self) -> u8 {
    // }
    2
} }
type F = fn (u8) -> u8;
"##;
    let masked = mask(source);
    assert_eq!(masked.len(), source.len());
    let found: Vec<(String, usize, usize)> =
        functions(&masked).into_iter().map(|f| (f.name, f.line, f.lines)).collect();
    assert_eq!(found, [("one".to_owned(), 2, 1), ("two".to_owned(), 4, 4)]);
}
