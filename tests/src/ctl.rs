//! `slotctl`, as a script runs it.
//!
//! What always holds: every command is the real program with the identity folder of one person; what it answered is kept
//! whole, so that a failure can show it.

use crate::{Failure, Outcome};
use serde_json::Value;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Done.
pub const DONE: i32 = 0;
/// Refused or failed.
pub const FAILED: i32 = 1;
/// Wrong usage.
pub const USAGE: i32 = 2;
/// A plan is made and waits for approval.
pub const NEEDS_APPROVAL: i32 = 3;
/// A plan stopped part way.
pub const PART_WAY: i32 = 4;
/// How long a refusal for want of fresh evidence is taken for passing.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a command answered.
#[derive(Debug, Clone)]
pub struct Said {
    /// The command line, for messages.
    pub command: String,
    /// The exit code; -1 when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Said {
    /// Runs a program to its end; `line` is how a person would have typed it.
    pub fn of(mut command: Command, line: String) -> Outcome<Self> {
        let output = command.env_remove("SLOT_FAILPOINTS").env_remove("SLOT_FOLDER").stdin(Stdio::null()).output()?;
        Ok(Self {
            command: line,
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Standard output as a JSON document; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(self.stdout.trim()).unwrap_or(Value::Null)
    }

    /// Fails unless the command ended with this code.
    pub fn expect(self, code: i32) -> Outcome<Self> {
        if self.code == code { Ok(self) } else { Err(self.unexpected(&format!("exit {code}"))) }
    }

    /// A failure that shows the whole answer.
    pub fn unexpected(&self, wanted: &str) -> Failure {
        let Self { command, code, stdout, stderr } = self;
        format!("{command}: wanted {wanted}, got exit {code}\n--- stdout\n{stdout}\n--- stderr\n{stderr}").into()
    }

    /// The plan that a command made or carried out.
    pub fn plan(&self) -> Outcome<String> {
        let json = self.json();
        json["plan"].as_str().map(str::to_owned).ok_or_else(|| self.unexpected("a plan"))
    }
}

/// Runs `slotctl`.
#[derive(Debug, Clone)]
pub struct Ctl {
    program: PathBuf,
    identities: PathBuf,
}

impl Ctl {
    /// Runs this program with the identity folders below `identities`.
    pub fn new(program: &Path, identities: &Path) -> Self {
        Self { program: program.to_path_buf(), identities: identities.to_path_buf() }
    }

    /// The identity folder of an operator.
    pub fn folder(&self, operator: &str) -> PathBuf {
        self.identities.join(format!("operator-{operator}"))
    }

    /// Runs a command as somebody; answers whatever it said.
    pub fn run(&self, operator: &str, arguments: &[&str]) -> Outcome<Said> {
        let mut command = Command::new(&self.program);
        command.arg("--folder").arg(self.folder(operator)).args(arguments);
        Said::of(command, format!("{operator}$ slotctl {}", arguments.join(" ")))
    }

    /// Runs a command as somebody and has it answer in JSON.
    pub fn json(&self, operator: &str, arguments: &[&str]) -> Outcome<Said> {
        let mut all = vec!["--output", "json"];
        all.extend_from_slice(arguments);
        self.run(operator, &all)
    }

    /// How long it takes from starting a command until the first byte of its answer.
    pub fn first_byte(&self, operator: &str, arguments: &[&str]) -> Outcome<Duration> {
        let mut command = Command::new(&self.program);
        command.arg("--folder").arg(self.folder(operator)).args(arguments).stdin(Stdio::null());
        let began = Instant::now();
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut first = [0];
        let read = child.stdout.take().map(|mut out| out.read_exact(&mut first));
        let took = began.elapsed();
        child.wait()?;
        match read {
            Some(Ok(())) => Ok(took),
            _ => Err(format!("slotctl {} printed nothing", arguments.join(" ")).into()),
        }
    }

    /// `slotctl init`, which needs no identity.
    pub fn init(&self, file: &Path, operators: &[&str], clients: &[String]) -> Outcome<Said> {
        let mut command = Command::new(&self.program);
        command.arg("init").arg(&self.identities).arg("-f").arg(file);
        for operator in operators {
            command.args(["--operator", operator]);
        }
        for client in clients {
            command.args(["--client", client]);
        }
        Said::of(command, "slotctl init".into())?.expect(DONE)
    }

    /// Asks again, as a person would, while the answer is that the evidence is not fresh enough yet: right after a start or
    /// a hand-over a replica has not heard its new master.
    pub fn insist(&self, ask: impl Fn() -> Outcome<Said>) -> Outcome<Said> {
        let started = Instant::now();
        loop {
            let said = ask()?;
            let passing = ["ask again", "can't become master"].iter().any(|words| said.stderr.contains(words));
            let too_early = said.code == FAILED && passing;
            if !too_early || started.elapsed() > PATIENCE {
                return Ok(said);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Has a change planned; fails unless it now waits for approval.
    pub fn propose(&self, operator: &str, arguments: &[&str]) -> Outcome<Proposal> {
        let said = self.insist(|| self.json(operator, arguments))?.expect(NEEDS_APPROVAL)?;
        let json = said.json();
        let text = |key: &str| json[key].as_str().map(str::to_owned).ok_or_else(|| said.unexpected(key));
        Ok(Proposal { plan: text("plan")?, digest: text("digest")?, json })
    }

    /// Says yes to a plan and answers at once.
    pub fn approve_and_go(&self, operator: &str, proposal: &Proposal) -> Outcome<Said> {
        let Proposal { plan, digest, .. } = proposal;
        self.json(operator, &["plan", "approve", plan, "--digest", digest, "--no-wait", "-m", "as agreed"])
    }

    /// Says yes to a plan and, when nobody else must, follows it to its end.
    pub fn approve(&self, operator: &str, proposal: &Proposal) -> Outcome<Said> {
        let Proposal { plan, digest, .. } = proposal;
        self.json(operator, &["plan", "approve", plan, "--digest", digest, "-m", "as agreed"])
    }

    /// Has a change planned, says yes as the same person, and follows it to its end.
    pub fn change(&self, operator: &str, arguments: &[&str]) -> Outcome<Said> {
        let proposal = self.propose(operator, arguments)?;
        self.approve(operator, &proposal)
    }

    /// Follows a plan to its end.
    pub fn watch(&self, plan: &str) -> Outcome<Said> {
        self.json("alice", &["plan", "watch", plan])
    }
}

/// A plan that waits for people.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// Which.
    pub plan: String,
    /// Its digest, as shown.
    pub digest: String,
    /// Everything that was said of it.
    pub json: Value,
}
