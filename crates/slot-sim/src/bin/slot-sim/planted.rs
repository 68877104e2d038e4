//! `planted`: every planted bug alone, until it is caught; then the same runs without any.
//!
//! What always holds: it runs only in a build that has the bugs, which no shipped program can be.

use crate::progress::bar;
use crate::{Failure, Jobs, command_line, write};
use comfy_table::{Table, presets};
use slot_sim::campaign::evidence::{Evidence, Source};
use slot_sim::campaign::planted::{BugRunner, Limits, Report, Subject, Verdict, hunt, spread};
use slot_sim::{planted, run};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Planted {
    /// Write the list of bugs and their verdicts to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the list with control, canary, commit and machine to this file.
    #[arg(long, value_name = "FILE")]
    evidence: Option<PathBuf>,
    /// Only these bugs.
    #[arg(long, value_name = "NAME", num_args = 1.., value_delimiter = ',')]
    only: Vec<String>,
    /// Only so many bugs: up to eight of those that are caught at once, more are spread over the table.
    #[arg(long, value_name = "N", conflicts_with = "only")]
    smoke: Option<usize>,
    /// Seeds of a bug's own directed run.
    #[arg(long, value_name = "N", default_value_t = 20)]
    directed_seeds: u64,
    /// Random seeds after those.
    #[arg(long, value_name = "N", default_value_t = 300)]
    seeds: u64,
    /// The first seed.
    #[arg(long, value_name = "S", default_value_t = 0)]
    start: u64,
    /// Begin no seed of a bug after so many seconds.
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
    #[command(flatten)]
    jobs: Jobs,
    /// Print the table of bugs and end.
    #[arg(long)]
    list: bool,
}

/// Runs a seed with a bug chosen on this thread.
#[cfg(slot_planted)]
fn runner() -> Option<Box<BugRunner<'static>>> {
    Some(Box::new(|bug, seed, options| {
        slot_planted::choose(bug);
        let outcome = run::run(seed, options);
        slot_planted::choose(None);
        outcome
    }))
}

/// There are no bugs in this build.
#[cfg(not(slot_planted))]
fn runner() -> Option<Box<BugRunner<'static>>> {
    None
}

impl Planted {
    /// Does it; whether every bug was caught and the control is clean.
    pub(crate) fn run(self) -> Result<bool, Failure> {
        let bugs = self.wanted()?;
        if self.list {
            list(&bugs);
            return Ok(true);
        }
        let Some(runner) = runner() else {
            let why = "this build has no planted bugs; run `cargo xtask planted`, which builds one that has";
            return Err(Failure::Usage(why.into()));
        };
        let source = Source::of(command_line());
        let began = Instant::now();
        let limits = Limits {
            directed_seeds: self.directed_seeds,
            swarm_seeds: self.seeds,
            start: self.start,
            at_most: self.seconds.map(Duration::from_secs),
            jobs: self.jobs.number(),
        };
        let progress = bar(Some(bugs.len() as u64 + 1), "bugs");
        let each = |verdict: &Verdict| {
            let by = verdict.by.as_deref().unwrap_or("NOT CAUGHT");
            progress.suspend(|| eprintln!("{}: {by} after {} seeds", verdict.bug, verdict.seeds));
            progress.inc(1);
        };
        let report = hunt(&bugs, run::directed(), &limits, &runner, &each);
        progress.finish_and_clear();
        show(&report);
        write(self.json.as_deref(), &report.bugs)?;
        let duration_seconds = began.elapsed().as_secs_f64();
        write(self.evidence.as_deref(), &Evidence { source: &source, duration_seconds, figures: &report })?;
        Ok(report.is_good())
    }

    /// The bugs that are hunted.
    fn wanted(&self) -> Result<Vec<Subject>, Failure> {
        let all: Vec<Subject> =
            planted::all().into_iter().map(|bug| Subject { name: bug.name, rule: bug.rule }).collect();
        for name in &self.only {
            if !all.iter().any(|bug| bug.name == name) {
                return Err(Failure::Usage(format!("there is no planted bug {name:?}; `planted --list` has them")));
            }
        }
        Ok(match self.smoke {
            Some(number) if number <= planted::SMOKE.len() => {
                let quick: Vec<Subject> = all.into_iter().filter(|bug| planted::SMOKE.contains(&bug.name)).collect();
                spread(&quick, number)
            }
            Some(number) => spread(&all, number),
            None if self.only.is_empty() => all,
            None => all.into_iter().filter(|bug| self.only.iter().any(|name| name == bug.name)).collect(),
        })
    }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(header.to_vec());
    table
}

fn list(bugs: &[Subject]) {
    let mut table = table(&["BUG", "RULE", "WHAT", "UPSTREAM"]);
    for bug in planted::all().into_iter().filter(|bug| bugs.iter().any(|b| b.name == bug.name)) {
        table.add_row([bug.name, bug.rule, bug.what, bug.thread.unwrap_or("-")]);
    }
    println!("{table}");
}

fn show(report: &Report) {
    let mut table = table(&["BUG", "RULE", "CAUGHT BY", "SEEDS", "SECONDS", "RUN"]);
    for verdict in std::iter::once(&report.canary).chain(&report.bugs) {
        let run = match verdict.seed {
            Some(seed) if verdict.directed => format!("directed {seed}"),
            Some(seed) => format!("seed {seed}"),
            None => "-".into(),
        };
        table.add_row([
            verdict.bug.to_string(),
            verdict.rule.to_string(),
            verdict.by.clone().unwrap_or_else(|| "NOT CAUGHT".into()),
            verdict.seeds.to_string(),
            format!("{:.1}", verdict.seconds),
            run,
        ]);
    }
    println!("{table}");
    println!("{} of {} planted bugs caught", report.caught, report.planted);
    if !report.canary.caught {
        println!("FAILED: the canary lives: this harness catches nothing, and its other verdicts mean nothing");
    }
    if !report.missed.is_empty() {
        println!("FAILED: not caught: {}", report.missed.join(", "));
    }
    println!("control: {} runs without a bug, {} of them failed", report.control.seeds, report.control.failed.len());
    for failed in report.control.failed.iter().take(20) {
        println!("FAILED control, seed {}: {} at {} ms: {}", failed.seed, failed.invariant, failed.at_ms, failed.text);
    }
}
