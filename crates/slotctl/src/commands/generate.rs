//! What is made from the command line itself: shell completions and manual pages.
//!
//! What always holds: both come from the very definition that parses the arguments, so neither can name what does not
//! exist; nothing is dialled and no identity is needed.

use crate::args::Cli;
use crate::console::Console;
use crate::failure::{Exit, Failure};
use crate::json;
use clap::CommandFactory;
use clap_complete::Shell;
use std::path::Path;

/// `completions`: the script for a shell, on stdout.
pub fn completions(shell: Shell, console: &mut Console) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "slotctl", &mut script);
    console.bytes(&script);
    Exit::Done
}

/// `man`: a page for each command, into a folder.
pub fn man(folder: &Path, console: &mut Console) -> Result<Exit, Failure> {
    let failure = |cause: std::io::Error| {
        let next = "name a folder you may write to: slotctl man DIR";
        Failure::new("write manual pages to", folder.display().to_string(), cause.to_string(), next)
    };
    std::fs::create_dir_all(folder).map_err(failure)?;
    clap_mangen::generate_to(Cli::command(), folder).map_err(failure)?;
    if console.json {
        console.document(&json::done("write manual pages to", &folder.display().to_string(), Exit::Done));
    } else {
        console.text(&format!("{0}   read one with: man -l {0}/slotctl.1\n", folder.display()));
    }
    Ok(Exit::Done)
}
