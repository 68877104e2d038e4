//! A real HAProxy and a real Postfix behind a front end's agent, and what mail is delivered to.
//!
//! What always holds: they listen on addresses of the cluster's block, with configuration, queue and logs in a folder of their own;
//! each process is known by number and start time and is ended as exactly that; a machine without them is told of
//! `tests/install`, and in CI their lack is a failure.

mod haproxy;
mod mail;
mod postfix;

pub use haproxy::Haproxy;
pub use mail::{Sinks, send};
pub use postfix::Postfix;

use crate::Outcome;
use std::env;
use std::path::Path;

/// The programs that `tests/install` installs.
const NEEDED: [&str; 4] = [haproxy::PROGRAM, postfix::PROGRAM, postfix::POSTMAP, "/bin/sh"];

/// Whether they are there; said when they are not, and a failure in CI.
pub fn are_there() -> Outcome<bool> {
    let missing: Vec<&str> = NEEDED.into_iter().filter(|program| !Path::new(program).exists()).collect();
    let text = match (missing.is_empty(), rustix::process::geteuid().is_root()) {
        (true, true) => return Ok(true),
        (false, _) => format!("{} not installed: run tests/install as root", missing.join(" ")),
        (true, false) => "Postfix starts its daemons as several users, so this needs root".to_owned(),
    };
    if env::var_os("CI").is_some() {
        return Err(text.into());
    }
    eprintln!("SKIPPED: {text}");
    Ok(false)
}
