//! The tour, typed through as a new user would: every command of `docs/tour.md`, in its order, as it stands there.
//!
//! What always holds: what is typed is read from the file and from what the programs print, and nothing else; a plan is
//! approved with the very command that was printed with it; the cluster is the one that `cargo xtask up` leaves running.

use slot_tests::block::Leave;
use slot_tests::ctl::{DONE, FAILED, NEEDS_APPROVAL, Said};
use slot_tests::{Outcome, wait_for};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long a refusal for want of fresh evidence is taken for passing, as `slotctl` says it is.
const PATIENCE: Duration = Duration::from_secs(60);

/// The lines between fences.
fn commands(tour: &str) -> Vec<&str> {
    let inside = tour.split("```").skip(1).step_by(2);
    inside.flat_map(str::lines).map(str::trim).filter(|line| !line.is_empty()).collect()
}

/// Somebody at a terminal, in a folder of his own.
struct User {
    desk: tempfile::TempDir,
    /// What `export` set: the folder of `slotctl` before all others, and alice's identity.
    path: String,
    folder: PathBuf,
}

impl User {
    fn type_in(&self, line: &str) -> Outcome<Said> {
        let mut command = Command::new("bash");
        command.args(["-c", line]).current_dir(self.desk.path()).env("PATH", &self.path);
        command.env_remove("SLOT_FAILPOINTS").env("SLOT_FOLDER", &self.folder).stdin(Stdio::null());
        let output = command.output()?;
        Ok(Said {
            command: format!("$ {line}"),
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// The same, asked again while the answer is that a replica was not heard yet.
    fn insist(&self, line: &str) -> Outcome<Said> {
        let passing =
            |said: &Said| ["ask again", "can't become master"].iter().any(|words| said.stderr.contains(words));
        let mut last = None;
        let settled = wait_for("the evidence is fresh", PATIENCE, || match self.type_in(line) {
            Ok(said) if said.code == FAILED && passing(&said) => {
                last = Some(said);
                None
            }
            said => Some(said),
        });
        settled.unwrap_or_else(|error| last.ok_or(error))
    }

    /// Types a command and says yes where it asks for one.
    fn carry_out(&self, line: &str) -> Outcome<Said> {
        let said = self.insist(line)?;
        if said.code != NEEDS_APPROVAL {
            return Ok(said);
        }
        let printed = said.stdout.lines().map(str::trim).find(|line| line.starts_with("slotctl plan approve "));
        self.type_in(printed.ok_or_else(|| said.unexpected("the command that approves it"))?)
    }
}

/// What `up` prints for a person to type: the whole path of `slotctl`, and the folder of alice.
fn user(printed: &str) -> Outcome<User> {
    let line = printed.lines().find(|line| line.trim_end().ends_with(" status")).ok_or("no first command")?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let [program, "--folder", folder, "status"] = words.as_slice() else { return Err(line.into()) };
    let programs = Path::new(program).parent().ok_or("slotctl lies in a folder")?;
    let path = format!("{}:{}", programs.display(), std::env::var("PATH")?);
    Ok(User { desk: tempfile::tempdir()?, path, folder: folder.into() })
}

/// `cargo xtask up` and `down`, once the programs are built.
fn xtask(act: &str, dir: &Path) -> Outcome<Said> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slot-demo"));
    command.arg(act).arg("--dir").arg(dir);
    Said::of(command, format!("$ cargo xtask {act}"))
}

/// What the tour says of an answer, beyond that the command does what it is for.
fn as_told(line: &str, said: &Said) -> Outcome<()> {
    let words: &[&str] = match line {
        "slotctl status" => &["NOTHING NEEDS YOU", "12 served"],
        "slotctl audit verify" => &["chain whole"],
        "slotctl invite list" => &["imap3"],
        _ if line.starts_with("slotctl drain host") => &["is SAFE TO SWITCH OFF"],
        _ => &[],
    };
    match words.iter().find(|word| !said.stdout.contains(**word)) {
        Some(word) => Err(said.unexpected(word)),
        None => Ok(()),
    }
}

#[test]
fn the_tour_works_as_it_is_written() -> Outcome<()> {
    let _leave = Leave::wait()?;
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/tour.md"))?;
    let all = commands(&text);
    assert!(all.len() > 20, "the tour is read: {all:?}");
    let place = tempfile::tempdir()?;
    let dir = place.path().join("trial");
    let (first, last) = (all.first().copied(), all.last().copied());
    assert_eq!((first, last), (Some("cargo xtask up"), Some("cargo xtask down")), "it begins and ends here");
    let user = user(&xtask("up", &dir)?.expect(DONE)?.stdout)?;
    let typed = type_through(&user, &all[1..all.len() - 1]);
    let down = xtask("down", &dir);
    typed?;
    down?.expect(DONE)?;
    assert!(!dir.exists(), "down takes everything away again");
    Ok(())
}

fn type_through(user: &User, lines: &[&str]) -> Outcome<()> {
    for line in lines {
        if line.contains("will be refused") {
            let said = user.insist(line)?.expect(FAILED)?;
            if !said.stderr.contains("held by alice") {
                return Err(said.unexpected("the hold as the reason"));
            }
        } else if line.starts_with("slotctl failover host") {
            // "Say no": it is planned and not carried out.
            user.insist(line)?.expect(NEEDS_APPROVAL)?;
        } else {
            as_told(line, &user.carry_out(line)?.expect(DONE)?)?;
        }
    }
    Ok(())
}
