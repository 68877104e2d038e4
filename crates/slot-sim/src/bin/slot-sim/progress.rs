//! How far a long command is, with its rate and what is left.
//!
//! What always holds: it is drawn on standard error, and only when that is a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, stderr};

/// A bar of so many steps; without an end when there is no number.
pub(crate) fn bar(steps: Option<u64>, what: &str) -> ProgressBar {
    let target = if stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(steps, target);
    let template = match steps {
        Some(_) => format!("{{elapsed_precise}} {{wide_bar}} {{pos}}/{{len}} {what} {{per_sec}} eta {{eta}} {{msg}}"),
        None => format!("{{elapsed_precise}} {{spinner}} {{pos}} {what} {{per_sec}} {{msg}}"),
    };
    match ProgressStyle::with_template(&template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
