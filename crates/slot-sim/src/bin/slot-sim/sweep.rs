//! `sweep`: every single fault at its place, or sampled pairs of faults.
//!
//! What always holds: a sweep of no case is a failure; what failed is printed with the command that does it again.

use crate::progress::bar;
use crate::{Failure, Jobs, command_line, write};
use slot_sim::campaign::evidence::{Evidence, Source};
use slot_sim::campaign::sweep::{Report, run};
use slot_sim::sweep::{Kind, pairs, singles};
use std::path::PathBuf;

/// Failed cases that are printed; the file has all.
const FAILED_SHOWN: usize = 20;

/// What is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Sweep {
    /// So many sampled pairs of faults instead of all single ones.
    #[arg(long, value_name = "N")]
    pairs: Option<u64>,
    /// What the pairs are drawn from.
    #[arg(long, value_name = "S", default_value_t = 0, requires = "pairs")]
    start: u64,
    /// Only plans of these kinds, with commas between.
    #[arg(long, value_name = "KINDS", value_delimiter = ',', conflicts_with = "pairs", value_parser = kind)]
    only: Option<Vec<Kind>>,
    /// Write all figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    jobs: Jobs,
}

fn kind(text: &str) -> Result<Kind, String> {
    let names = || Kind::ALL.map(Kind::name).join(", ");
    Kind::parse(text).ok_or_else(|| format!("there is no such kind of plan; there are: {}", names()))
}

impl Sweep {
    /// Does it; whether cases ran and none failed.
    pub(crate) fn run(self) -> Result<bool, Failure> {
        let source = Source::of(command_line());
        let kinds = self.only.unwrap_or_else(|| Kind::ALL.to_vec());
        let cases = self.pairs.map_or_else(|| singles(&kinds), |number| pairs(number, self.start));
        let progress = bar(Some(cases.len() as u64), "cases");
        let report = run(&cases, self.jobs.number(), &|_| progress.inc(1));
        progress.finish_and_clear();
        show(&report);
        let duration_seconds = report.wall_seconds;
        write(self.json.as_deref(), &Evidence { source: &source, duration_seconds, figures: &report })?;
        Ok(report.is_clean())
    }
}

fn show(report: &Report) {
    for (group, number) in &report.groups {
        println!("{number:>8}  {group}");
    }
    for failed in report.failed.iter().take(FAILED_SHOWN) {
        println!("FAILED {}: {}: {}", failed.invariant, failed.case, failed.text);
        println!("  again: cargo xtask sim --trace {}", failed.case);
    }
    if report.failed.len() > FAILED_SHOWN {
        println!("and {} more; --json FILE has all", report.failed.len() - FAILED_SHOWN);
    }
    println!(
        "{} cases, {} violations, {} panics, {:.1} simulated hours in {:.1} s, digest {}",
        report.cases, report.violations, report.panics, report.sim_hours, report.wall_seconds, report.digest
    );
    println!("{} cases did not meet their faults", report.not_injected.len());
    if !report.is_injected() {
        println!("FAILED: too many: {}", report.not_injected.join("; "));
    }
    if report.cases == 0 {
        println!("FAILED: there was no case to run");
    }
}
