//! slotctl: the operator's hand.
//!
//! What always holds: it shows what it was sent and approves only a digest it computed itself over the bytes it showed
//! (R15); nothing changes without a reason and, for plans, a person's yes; stdout is data, everything else goes to stderr;
//! the exit code is 0 done, 1 refused or failed, 2 wrong usage, 3 an approval is needed, 4 stopped part way.

pub mod args;
pub mod asks;
pub mod client;
pub mod commands;
pub mod console;
pub mod failure;
pub mod json;
pub mod offline;
pub mod since;
pub mod text;

use crate::args::{Cli, Command, Output};
use crate::console::Console;
use crate::failure::{Exit, Failure};
use clap::Parser;
use std::ffi::OsString;
use std::io::{self, Write};

/// Parses the arguments, runs the command and says how it ended. Never panics on any input. What dials nobody is done without the
/// threads that dialling takes: a plan from a file is over sooner than these have started.
pub fn main(arguments: Vec<OsString>) -> Exit {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are data and go to stdout; both are printed by clap, at its own width.
            let is_printed = error.print().is_ok_and(|()| io::stdout().flush().is_ok());
            return match error.use_stderr() {
                true => Exit::Usage,
                false if is_printed => Exit::Done,
                false => Exit::Failed,
            };
        }
    };
    let mut console = Console::of_process(cli.global.output == Output::Json);
    if let Command::Offline(what) = cli.command {
        return told(commands::offline::offline(what, &mut console), &mut console);
    }
    match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => {
            let exit = runtime.block_on(run(cli, &mut console));
            // A question on the terminal may still be waited for by its thread; nobody needs its answer now.
            runtime.shutdown_background();
            exit
        }
        Err(error) => {
            let next = "try again; this machine is short of threads or memory";
            told(Err(Failure::new("start", "slotctl", error.to_string(), next)), &mut console)
        }
    }
}

/// Runs a parsed command on this console.
pub async fn run(cli: Cli, console: &mut Console) -> Exit {
    told(commands::dispatch(cli, console).await, console)
}

/// How a command ended, with its failure told.
fn told(ended: Result<Exit, Failure>, console: &mut Console) -> Exit {
    let exit = match ended {
        Ok(exit) => exit,
        Err(failure) => {
            console.failure(&failure);
            failure.exit
        }
    };
    let Some(error) = console.unprinted() else { return exit };
    let next = "make room where stdout goes to, or send it elsewhere; what the command did is done";
    console.failure(&Failure::new("print", "the answer", error.to_string(), next));
    if exit == Exit::Done { Exit::Failed } else { exit }
}
