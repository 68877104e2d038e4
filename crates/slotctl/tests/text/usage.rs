//! The command line: what is refused before anything is dialled, with exit code 2.

use clap::Parser;
use clap::error::ErrorKind;
use slotctl::args::Cli;

fn refused(line: &str) -> (ErrorKind, String) {
    let error = Cli::try_parse_from(line.split(' ')).expect_err(line);
    assert_eq!(error.exit_code(), 2, "{line}");
    (error.kind(), error.to_string())
}

#[test]
fn every_change_wants_a_reason() {
    for line in [
        "slotctl apply -f cluster.toml",
        "slotctl drain host imap3",
        "slotctl drain host imap3 imap4 --empty",
        "slotctl drain rack ny/r1 --back-by 12:00",
        "slotctl undrain host imap3",
        "slotctl failover slot imap3/07",
        "slotctl failover store store23 --to imap7/31",
        "slotctl failover host imap3",
        "slotctl failover host imap3 --class lagging,unknown --mass",
        "slotctl off host imap3 --how unplugged",
        "slotctl admit host imap3 --incarnation 000102030405060708090a0b0c0d0e0f",
        "slotctl plan approve p17 --digest 9f3c-41d0-77ab-e215",
        "slotctl plan reject p17",
        "slotctl plan abort p17",
        "slotctl loss reinject L12",
        "slotctl loss discard L12",
        "slotctl hold host imap3",
        "slotctl hold store store23",
        "slotctl hold all",
        "slotctl release host imap3",
        "slotctl release store store23",
        "slotctl release all",
    ] {
        let (kind, text) = refused(line);
        assert_eq!(kind, ErrorKind::MissingRequiredArgument, "{line}");
        assert!(text.contains("--message <REASON>"), "{text}");
        assert!(Cli::try_parse_from(line.split(' ').chain(["-m", "ticket 8812"])).is_ok(), "{line}");
        let empty = Cli::try_parse_from(line.split(' ').chain(["-m", " "])).expect_err(line);
        assert!(empty.to_string().contains("say why"), "{empty}");
    }
}

#[test]
fn names_slots_numbers_and_digests_are_checked() {
    for (line, says) in [
        ("slotctl show host IMAP3", "\"IMAP3\" is not a name"),
        ("slotctl show host ../etc", "is not a name"),
        ("slotctl show slot imap3", "write host/number, as in imap3/07"),
        ("slotctl show slot imap3/0", "write host/number"),
        ("slotctl plan show 17", "write it as in p17"),
        ("slotctl loss show 12", "write it as in L12"),
        ("slotctl plan approve p17 --digest 9f3c -m x", "write it as in 9f3c-41d0-77ab-e215"),
        ("slotctl admit host imap3 --incarnation 00 -m x", "32 hex digits"),
        ("slotctl audit --limit 501", "501 is not in 1..=500"),
        ("slotctl --timeout soon status", "soon"),
        ("slotctl events --since soon", "is no time and no number"),
        ("slotctl audit verify --noted 412", "is not NUMBER=HASH"),
        ("slotctl stores --store Store1", "is no pattern of names"),
        ("slotctl slots --host imap3/07", "is not a name"),
        ("slotctl drain rack ny/r1 --back-by soon -m x", "is no time to be back by"),
        (
            "slotctl failover host imap3 --class lost -m x",
            "there are none-provable, caught-up, lagging, unverified, unknown and all",
        ),
        ("slotctl hold host imap3/07 -m x", "is not a name"),
        ("slotctl release store Store1 -m x", "is not a name"),
    ] {
        let (kind, text) = refused(line);
        assert_eq!(kind, ErrorKind::ValueValidation, "{line}: {text}");
        assert!(text.contains(says), "{line}: {text}");
    }
}

#[test]
fn init_wants_operators_and_a_name() {
    assert!(refused("slotctl init dir --cluster fm1 --coordinator c1=10.0.0.1").1.contains("--operator"));
    assert!(refused("slotctl init dir --coordinator c1=10.0.0.1 --operator a b").1.contains("--cluster"));
    refused("slotctl init dir -f cluster.toml --cluster fm1 --operator a b");
}

#[test]
fn global_options_stand_anywhere() {
    for line in ["slotctl --output json plan list --folder x", "slotctl plan list --output json --folder x"] {
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        assert_eq!(cli.global.output, slotctl::args::Output::Json);
        assert_eq!(cli.global.folder.as_deref(), Some(std::path::Path::new("x")));
    }
}

/// A command line's words, as a shell splits them; the tour quotes with `'` alone.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut quoted) = (vec![String::new()], false);
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().expect("there is one").push(c),
        }
    }
    words
}

#[test]
fn what_the_tour_and_the_readme_tell_people_to_type_can_be_typed() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut typed = 0;
    for file in ["docs/tour.md", "README.md"] {
        let text = std::fs::read_to_string(root.join(file)).expect(file);
        for line in text.lines().filter(|line| line.starts_with("slotctl ")) {
            let line = line.split('#').next().unwrap_or_default().trim();
            if let Err(error) = Cli::try_parse_from(words(line)) {
                panic!("{file}: {line}: {error}");
            }
            typed += 1;
        }
    }
    assert!(typed > 20, "{typed} lines were found");
}
