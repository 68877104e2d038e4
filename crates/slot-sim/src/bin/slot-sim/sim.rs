//! `sim`: a campaign of seeds, or one seed with its trace, or the smallest set of faults that still makes it fail.
//!
//! What always holds: whatever failed is printed with the command that does it again.

use crate::progress::bar;
use crate::{Failure, Jobs, command_line, write};
use slot_sim::campaign::evidence::{Evidence, Source};
use slot_sim::campaign::shrink::{parse_ranges, ranges, shrink};
use slot_sim::campaign::{self, Campaign, Summary, Wanted};
use slot_sim::run::{self, Options, Outcome};
use std::collections::BTreeSet;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Seeds of a campaign that says neither how many nor how long.
const SEEDS: u64 = 300;
/// Failed seeds that are printed; the file has all.
const FAILED_SHOWN: usize = 20;

/// What is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Sim {
    /// How many seeds; 300 if neither this nor --minutes is given.
    #[arg(long, value_name = "N", conflicts_with = "seed")]
    seeds: Option<u64>,
    /// The first seed.
    #[arg(long, value_name = "S", default_value_t = 0, conflicts_with = "seed")]
    start: u64,
    /// Begin no seed after so many minutes.
    #[arg(long, value_name = "M", conflicts_with = "seed", value_parser = minutes)]
    minutes: Option<Duration>,
    /// Write all figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    jobs: Jobs,
    /// Run every seed twice: it must come to the same.
    #[arg(long)]
    check_twice: bool,
    /// Run this one seed.
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Print one line for every event.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Leave out fault events while the seed still fails in the same way.
    #[arg(long, requires = "seed", conflicts_with = "trace")]
    shrink: bool,
    /// Most runs that --shrink makes.
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    shrink_runs: u64,
    /// Leave out these fault events: 1,5,9-20.
    #[arg(long, value_name = "NUMBERS", requires = "seed", value_parser = suppressed)]
    suppress: Option<Numbers>,
    /// Only these classes of faults, with commas between.
    #[arg(long, value_name = "CLASSES", value_delimiter = ',')]
    classes: Option<Vec<String>>,
    /// A directed run instead of a random one.
    #[arg(long, value_name = "NAME")]
    directed: Option<String>,
}

/// Fault events by number.
#[derive(Debug, Clone)]
struct Numbers(BTreeSet<u64>);

fn suppressed(text: &str) -> Result<Numbers, String> {
    parse_ranges(text).map(Numbers)
}

fn minutes(text: &str) -> Result<Duration, String> {
    let minutes: f64 = text.parse().map_err(|e| format!("{e}; write a number of minutes such as 8 or 0.5"))?;
    Duration::try_from_secs_f64(minutes * 60.0).map_err(|e| format!("{e}; write a number of minutes such as 8 or 0.5"))
}

impl Sim {
    /// Does it; whether all is well.
    pub(crate) fn run(self) -> Result<bool, Failure> {
        let options = self.options()?;
        match self.seed {
            None => self.campaign(options),
            Some(seed) if self.shrink => Ok(self.shrink(seed, &options)),
            Some(seed) => self.single(seed, &options),
        }
    }

    fn options(&self) -> Result<Options, Failure> {
        for class in self.classes.iter().flatten() {
            if !run::classes().contains(&class.as_str()) {
                return Err(Failure::Usage(format!(
                    "there are no faults of the class {class:?}; there are: {}",
                    run::classes().join(", ")
                )));
            }
        }
        if let Some(name) = self.directed.as_ref().filter(|name| !run::is_directed(name)) {
            return Err(Failure::Usage(format!(
                "there is no directed run {name:?}; there are the cases of the sweep (single/drain/crash/17), and: {}",
                run::directed().join(", ")
            )));
        }
        Ok(Options {
            trace: self.trace,
            suppressed: self.suppress.clone().map(|numbers| numbers.0).unwrap_or_default(),
            classes: self.classes.clone().map(|classes| classes.into_iter().collect()),
            directed: self.directed.clone(),
            twice: self.check_twice,
        })
    }

    fn campaign(&self, options: Options) -> Result<bool, Failure> {
        let source = Source::of(command_line());
        let endless = if self.minutes.is_some() { u64::MAX } else { SEEDS };
        let seeds = self.seeds.unwrap_or(endless);
        let campaign = Campaign { start: self.start, seeds, at_most: self.minutes, jobs: self.jobs.number(), options };
        let progress = bar((seeds != u64::MAX).then_some(seeds), "seeds");
        let (failed, sim_ms) = (AtomicU64::new(0), AtomicU64::new(0));
        let each = |outcome: &Outcome| {
            let hours = sim_ms.fetch_add(outcome.sim_ms, Ordering::Relaxed) as f64 / 3_600_000.0;
            let failed = failed.fetch_add(u64::from(!outcome.is_clean()), Ordering::Relaxed);
            progress.set_message(format!("{hours:.1} sim hours, {failed} failed"));
            progress.inc(1);
            if let Some(failure) = outcome.failure() {
                progress.suspend(|| eprintln!("seed {}: {failure}", outcome.seed));
            }
        };
        let wanted = Wanted { names: run::names(), classes: run::classes() };
        let summary = campaign::run(&campaign, &wanted, &run::run, &each);
        progress.finish_and_clear();
        self.show(&summary);
        let duration_seconds = summary.wall_seconds;
        write(self.json.as_deref(), &Evidence { source: &source, duration_seconds, figures: &summary })?;
        Ok(summary.is_clean())
    }

    fn show(&self, summary: &Summary) {
        println!(
            "{} seeds from {}, {:.1} simulated hours in {:.1} s on {} threads ({:.0} per core hour)",
            summary.seeds,
            summary.start,
            summary.sim_hours,
            summary.wall_seconds,
            summary.jobs,
            summary.sim_hours_per_core_hour
        );
        println!("faults: {}", counts(summary.faults.iter()));
        println!("reached: {}", counts(summary.reached.iter()));
        if !summary.unreached.is_empty() {
            println!("UNREACHED: {}", summary.unreached.join(", "));
        }
        for failed in summary.failed.iter().take(FAILED_SHOWN) {
            println!("FAILED seed {}: {} at {} ms: {}", failed.seed, failed.invariant, failed.at_ms, failed.text);
            println!("  again: {}", self.again(failed.seed, &BTreeSet::new()));
        }
        if summary.failed.len() > FAILED_SHOWN {
            println!("and {} more; --json FILE has all", summary.failed.len() - FAILED_SHOWN);
        }
        println!("{} violations, {} panics, digest {}", summary.violations, summary.panics, summary.digest);
    }

    /// The command that runs one seed as it ran here.
    fn again(&self, seed: u64, suppressed: &BTreeSet<u64>) -> String {
        let mut line = format!("cargo xtask sim --seed {seed} --trace");
        if !suppressed.is_empty() {
            line += &format!(" --suppress {}", ranges(suppressed));
        }
        if let Some(classes) = &self.classes {
            line += &format!(" --classes '{}'", classes.join(","));
        }
        if let Some(directed) = &self.directed {
            line += &format!(" --directed {directed}");
        }
        line
    }

    fn single(&self, seed: u64, options: &Options) -> Result<bool, Failure> {
        let source = Source::of(command_line());
        let began = Instant::now();
        let outcome = run::run(seed, options);
        let seconds = began.elapsed().as_secs_f64();
        // Whoever reads the trace through a pipe may close it: then there is nobody left to tell.
        let _ = show_one(&outcome, options, seconds);
        let wanted = Wanted { names: &[], classes: run::classes() };
        let campaign = Campaign { start: seed, seeds: 1, at_most: None, jobs: 1, options: options.clone() };
        if self.json.is_some() {
            let summary = campaign::run(&campaign, &wanted, &|_, _| outcome.clone(), &|_| ());
            write(self.json.as_deref(), &Evidence { source: &source, duration_seconds: seconds, figures: summary })?;
        }
        Ok(outcome.is_clean())
    }

    fn shrink(&self, seed: u64, options: &Options) -> bool {
        let progress = bar(None, "runs");
        let mut runner = |seed: u64, options: &Options| {
            let outcome = run::run(seed, options);
            progress.set_message(format!("{} fault events", outcome.fault_events.len()));
            progress.inc(1);
            outcome
        };
        let shrunk = shrink(seed, options, self.shrink_runs, &mut runner);
        progress.finish_and_clear();
        let Some(shrunk) = shrunk else {
            println!("seed {seed} does not fail: there is nothing to shrink");
            return true;
        };
        let outcome = &shrunk.outcome;
        println!("seed {seed} fails by {} with these faults only:", outcome.failure().unwrap_or_default());
        for event in &outcome.fault_events {
            println!("  {:>5} {:>9} ms  {}", event.number, event.at_ms, event.what);
        }
        show_failures(outcome, &mut io::stdout()).unwrap_or_default();
        println!("{} runs; again: {}", shrunk.runs, self.again(seed, &shrunk.suppressed));
        false
    }
}

fn counts<'a>(counts: impl Iterator<Item = (&'a &'static str, &'a u64)>) -> String {
    counts.map(|(name, times)| format!("{name} {times}")).collect::<Vec<_>>().join(", ")
}

fn show_failures(outcome: &Outcome, out: &mut dyn Write) -> io::Result<()> {
    for broken in &outcome.violations {
        writeln!(out, "FAILED {} at {} ms: {}", broken.invariant, broken.at_ms, broken.text)?;
    }
    if let Some(text) = &outcome.panicked {
        writeln!(out, "PANIC at {} ms: {text}", outcome.sim_ms)?;
    }
    Ok(())
}

fn show_one(outcome: &Outcome, options: &Options, seconds: f64) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    writeln!(out, "seed {}: {}", outcome.seed, outcome.config)?;
    if options.trace {
        writeln!(out, "{}\n", run::LEGEND)?;
        for line in &outcome.trace {
            writeln!(out, "{line}")?;
        }
        writeln!(out)?;
    }
    let faults: Vec<String> = outcome.fault_events.iter().map(|e| format!("{} {}", e.number, e.what)).collect();
    writeln!(out, "fault events: {}", faults.join(", "))?;
    writeln!(out, "reached: {}", counts(outcome.reached.iter()))?;
    show_failures(outcome, &mut out)?;
    let digest = slot_types::position::Digest(outcome.digest).hex();
    let verdict = if outcome.is_clean() { "clean" } else { "FAILED" };
    writeln!(out, "{verdict}: {:.1} simulated s in {seconds:.2} s, digest {digest}", outcome.sim_ms as f64 / 1e3)?;
    out.flush()
}
