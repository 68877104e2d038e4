//! Completions and manual pages: made without an identity, and of every command there is.

use super::{Ended, Sink};
use clap::{CommandFactory, Parser};
use slotctl::args::Cli;
use slotctl::console::Console;
use slotctl::failure::Exit;
use std::collections::BTreeSet;

async fn run_as_nobody(arguments: &[&str]) -> Ended {
    let cli = Cli::try_parse_from(["slotctl"].iter().chain(arguments)).unwrap();
    let (out, err) = (Sink::default(), Sink::default());
    let mut console = Console::elsewhere(Box::new(out.clone()), Box::new(err.clone()), None, false);
    let exit = slotctl::run(cli, &mut console).await;
    Ended { exit, out: out.text(), err: err.text() }
}

/// The names of all commands, as pages are named: `slotctl-plan-show`.
fn pages(command: &clap::Command, name: &str) -> BTreeSet<String> {
    let inner = command.get_subcommands().filter(|sub| sub.get_name() != "help");
    let inner: BTreeSet<String> = inner.flat_map(|sub| pages(sub, &format!("{name}-{}", sub.get_name()))).collect();
    inner.into_iter().chain([name.to_string()]).collect()
}

#[tokio::test]
async fn every_shell_completes_every_command() {
    let command = Cli::command();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ended = run_as_nobody(&["completions", shell]).await;
        assert_eq!((ended.exit, ended.err.as_str()), (Exit::Done, ""));
        for sub in command.get_subcommands() {
            assert!(ended.out.contains(sub.get_name()), "{shell} does not know {}", sub.get_name());
        }
        assert!(ended.out.contains("not-served") && !ended.out.contains('\u{fffd}'), "{shell}");
    }
    assert!(Cli::try_parse_from(["slotctl", "completions", "tcsh"]).is_err());
}

#[tokio::test]
async fn every_command_has_a_manual_page() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("man1");
    let ended = run_as_nobody(&["man", folder.to_str().unwrap()]).await;
    assert_eq!(ended.exit, Exit::Done, "{}", ended.err);
    let written: BTreeSet<String> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let expected: BTreeSet<String> =
        pages(&Cli::command(), "slotctl").into_iter().map(|page| format!("{page}.1")).collect();
    assert_eq!(written, expected);
    let page = std::fs::read_to_string(folder.join("slotctl-audit-verify.1")).unwrap();
    assert!(page.contains("names the first entry that does not fit") && page.contains("NUMBER=HASH"), "{page}");

    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let ended = run_as_nobody(&["man", file.to_str().unwrap()]).await;
    assert_eq!(ended.exit, Exit::Failed);
    assert!(
        ended.err.contains("cannot write manual pages to") && ended.err.contains("slotctl man DIR"),
        "{}",
        ended.err
    );
}
