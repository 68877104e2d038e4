//! What is written and printed: whole or not at all, never over what was read, and no success that was none.

use super::clusters::world::World;
use super::offline::FLEET;
use super::sink::Sink;
use super::snapshots::{run, saved};
use clap::Parser;
use slotctl::args::{Cli, Command};
use slotctl::console::Console;
use slotctl::failure::{Exit, Failure};
use std::io::{self, Write};
use std::path::Path;

/// How `slotctl LINE` of a file ends, and what it prints first.
pub fn ended(line: &str, json: bool) -> (Result<Exit, Failure>, String) {
    let cli = Cli::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}"));
    let Command::Offline(what) = cli.command else { panic!("{line} is not offline") };
    let out = Sink::default();
    let mut console = Console::elsewhere(Box::new(out.clone()), Box::new(io::sink()), None, json);
    let exit = slotctl::commands::offline::offline(what, &mut console);
    (exit, out.text())
}

/// A file of htools in a folder of its own.
pub fn htools(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fleet.data");
    std::fs::write(&path, text).unwrap();
    let path = path.display().to_string();
    (folder, path)
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_file_that_was_read_is_never_written_to() {
    let (folder, path) = htools(FLEET);
    let linked = folder.path().join("link.data").display().to_string();
    std::os::unix::fs::symlink(&path, &linked).unwrap();
    let hard = folder.path().join("hard.data").display().to_string();
    std::fs::hard_link(&path, &hard).unwrap();
    for more in [
        format!("--out {path}"),
        format!("--out {linked}"),
        format!("--out {hard}"),
        format!("--json {path}"),
        format!("--moves {path}"),
    ] {
        let failure = run(&format!("slotctl offline rebalance --from {path} {more}"), false).unwrap_err();
        assert_eq!((failure.exit, failure.cause.as_str()), (Exit::Usage, "it is the file that is read"), "{more}");
    }
    let failure = run(&format!("slotctl offline risk --from {path} --json {path}"), false).unwrap_err();
    assert_eq!(failure.cause, "it is the file that is read");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), FLEET);
    assert_eq!(files(folder.path()), ["fleet.data", "hard.data", "link.data"]);
}

#[test]
fn where_one_output_cannot_be_written_none_is() {
    let (folder, path) = htools(FLEET);
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (csv, json, nowhere) = (at("a.csv"), at("a.json"), at("no/where"));
    for more in [
        format!("--out {csv} --json {nowhere}"),
        format!("--out {csv} --json {json} --moves {nowhere}"),
        format!("--out {csv} --json {}", folder.path().display()),
        format!("--out {csv} --json /dev/null"),
        format!("--out {csv} --json {csv}"),
    ] {
        let failure = run(&format!("slotctl offline rebalance --from {path} {more}"), false).unwrap_err();
        assert_eq!(failure.operation, "write", "{more}");
        assert_eq!(files(folder.path()), ["fleet.data"], "{more}");
    }
    // What was there before stays as it was.
    std::fs::write(&csv, "before").unwrap();
    run(&format!("slotctl offline rebalance --from {path} --out {csv} --json {nowhere}"), false).unwrap_err();
    assert_eq!(std::fs::read_to_string(&csv).unwrap(), "before");
    run(&format!("slotctl offline rebalance --from {path} --out {csv} --json {json} --moves {}", at("m")), false)
        .unwrap();
    assert_eq!(files(folder.path()), ["a.csv", "a.json", "fleet.data", "m"]);
    assert!(std::fs::read_to_string(&csv).unwrap().starts_with("s1,"));
}

#[test]
fn a_snapshot_replaces_ordinary_files_alone() {
    let folder = tempfile::tempdir().unwrap();
    let view = super::clusters::snapshot(&World::running(4, 8, 4, 2));
    let pipe = folder.path().join("socket");
    let _socket = std::os::unix::net::UnixListener::bind(&pipe).unwrap();
    let refused = slotctl::offline::snapshot::write(&view, &pipe).unwrap_err().to_string();
    assert!(refused.contains("it is no ordinary file"), "{refused}");
    assert!(slotctl::offline::snapshot::write(&view, folder.path()).is_err());
    let (real, link) = (folder.path().join("real.json"), folder.path().join("link.json"));
    std::fs::write(&real, "before").unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    slotctl::offline::snapshot::write(&view, &link).unwrap();
    assert!(std::fs::symlink_metadata(&link).unwrap().file_type().is_symlink(), "the link stays one");
    slotctl::offline::snapshot::read(&real).unwrap();
    assert_eq!(files(folder.path()), ["link.json", "real.json", "socket"]);
}

#[test]
fn nothing_to_do_in_a_snapshot_is_written_too() {
    let (folder, path) = saved(&World::running(4, 8, 12, 2));
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (csv, json) = (at("a.csv"), at("a.json"));
    let line = format!("slotctl offline place --from {path} --format snapshot --out {csv} --json {json}");
    assert!(run(&line, false).unwrap().starts_with("nothing to do"));
    assert_eq!(std::fs::read_to_string(csv).unwrap().lines().count(), 12);
    let said: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    assert!(said["nothing_to_do"].is_string(), "{said}");
}

/// A full disk.
struct Full(io::ErrorKind);

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_answer_that_did_not_get_out_is_a_failure() {
    let (_folder, path) = htools(FLEET);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for json in [false, true] {
        for (kind, exit, said) in [
            (io::ErrorKind::StorageFull, Exit::Failed, "cannot print the answer"),
            (io::ErrorKind::BrokenPipe, Exit::Done, ""),
        ] {
            let cli = Cli::try_parse_from(["slotctl", "offline", "risk", "--from", &path]).unwrap();
            let err = Sink::default();
            let mut console = Console::elsewhere(Box::new(Full(kind)), Box::new(err.clone()), None, json);
            assert_eq!(runtime.block_on(slotctl::run(cli, &mut console)), exit, "{kind}");
            let text = if json {
                err.text().replace(r#""operation":"print","#, "cannot print the answer")
            } else {
                err.text()
            };
            assert!(text.contains(said) && said.is_empty() == text.is_empty(), "{text}");
        }
    }
}

#[test]
fn endings_that_say_nothing_are_refused() {
    for (out, is_known) in [("a.csv", true), ("a.data", true), ("x.txt", false), ("-", false), ("noext", false)] {
        let line = format!("slotctl offline rebalance --from f --out {out}");
        assert_eq!(Cli::try_parse_from(line.split(' ')).is_ok(), is_known, "{out}");
    }
    for option in ["--json", "--moves"] {
        let line = format!("slotctl offline rebalance --from f {option} -");
        assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{option}");
    }
}

#[test]
fn options_stand_before_and_behind_what_is_asked() {
    let (_folder, path) = saved(&World::running(4, 8, 12, 2));
    let from = format!("--from {path} --format snapshot");
    for asked in ["explain store store1", "whatif down imap1"] {
        let (of, what) = asked.split_once(' ').unwrap();
        let before = run(&format!("slotctl offline {of} {from} {what}"), false).unwrap();
        let behind = run(&format!("slotctl offline {asked} {from}"), false).unwrap();
        assert_eq!(before, behind);
        let failure = ended(&format!("slotctl offline {asked}"), false).0.unwrap_err();
        assert_eq!((failure.exit, failure.next.as_str()), (Exit::Usage, "say which: --from FILE"));
    }
}

#[test]
fn a_host_that_is_not_there_ends_alike_whatever_the_file() {
    let (_folder, path) = saved(&World::running(4, 8, 12, 2));
    let (_other, htools) = htools(FLEET);
    for from in [format!("--from {path} --format snapshot"), format!("--from {htools}")] {
        for asked in ["drain --host imap77", "fill --host imap77", "whatif down imap77"] {
            let (exit, _) = ended(&format!("slotctl offline {asked} {from}"), false);
            assert_eq!(exit.unwrap_err().exit, Exit::Failed, "{asked} {from}");
        }
    }
}

#[test]
fn what_a_snapshot_has_no_use_for_is_refused() {
    let (_folder, path) = saved(&World::running(4, 8, 12, 2));
    for more in ["--rate 1GB", "--rate 100MB", "--during"] {
        let line = format!("slotctl offline rebalance --from {path} --format snapshot {more}");
        let failure = ended(&line, false).0.unwrap_err();
        assert_eq!(
            (failure.exit, failure.cause.contains(&more[..6])),
            (Exit::Usage, true),
            "{more}: {}",
            failure.cause
        );
    }
}

#[test]
fn bytes_of_a_budget_have_units() {
    let (_folder, path) = htools(FLEET);
    for bytes in ["0", "1000", "100GB", "1.5TB"] {
        run(&format!("slotctl offline rebalance --from {path} --max-bytes {bytes}"), false).unwrap();
        let live = format!("slotctl rebalance --max-bytes {bytes} -m even");
        assert!(Cli::try_parse_from(live.split(' ')).is_ok(), "{bytes}");
    }
    let line = "slotctl rebalance --max-bytes lots -m even";
    assert!(Cli::try_parse_from(line.split(' ')).unwrap_err().to_string().contains("write it as in"));
}

#[test]
fn lines_that_are_none_are_refused_and_named() {
    let refused = |text: String| slotctl::offline::htools::parse(text).unwrap_err().to_string();
    insta::assert_snapshot!(refused(FLEET.replace('\n', "\r\n")), @r"its lines end in CR LF; without the CR it is read: tr -d '\r' < FILE");
    insta::assert_snapshot!(refused(FLEET.replace("s1|10|30|1|running|Y|h1|h2", "s1|10|30|1|running|Y|h1|h1")), @"in the section of instances, line 2: its primary and its secondary are one node");
    insta::assert_snapshot!(refused(FLEET.replace("s3|10", "s2|10")), @"in the section of instances, line 3: an instance of this name is there already");
}

#[test]
fn nothing_in_a_file_moves_the_cursor() {
    let (_folder, path) =
        htools(&FLEET.replace("h2|", "h\u{1b}[2J\u{9b}2J\u{202e}|").replace("|h2", "|h\u{1b}[2J\u{9b}2J\u{202e}"));
    for json in [false, true] {
        let text = run(&format!("slotctl offline risk --from {path}"), json).unwrap();
        let acts = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
        assert!(!text.contains(acts), "{text:?}");
        if json {
            let said: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert!(said.to_string().contains("\u{9b}2J\u{202e}"), "the name is still the same: {said}");
        }
    }
}
