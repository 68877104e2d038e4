//! What a binary says about itself while it runs.
//!
//! What always holds: the log goes to stderr, so that stdout is data only; there are no colours unless stderr is a
//! terminal; a filter that does not parse never keeps a program from starting.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// The variable that says what is logged, in the syntax of tracing's `EnvFilter`.
pub const FILTER_VARIABLE: &str = "SLOT_LOG";
/// What is logged without it.
const FILTER_DEFAULT: &str = "info";

/// Sends the program's log to stderr, filtered by `SLOT_LOG`. A second call changes nothing.
pub fn init(program: &str) {
    let wanted = std::env::var(FILTER_VARIABLE).unwrap_or_else(|_| FILTER_DEFAULT.to_string());
    let (filter, refused) = match EnvFilter::try_new(&wanted) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new(FILTER_DEFAULT), Some(error)),
    };
    let installed = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init()
        .is_ok();
    if installed {
        if let Some(error) = refused {
            tracing::warn!("cannot read {FILTER_VARIABLE}={wanted:?}: {error}; logging at {FILTER_DEFAULT}");
        }
        tracing::debug!(program, version = env!("CARGO_PKG_VERSION"), "log opened");
    }
}
