//! The program `slotctl`; everything is in the library, so that tests can call it.

#[cfg(slot_planted)]
compile_error!("a shipped program never has planted bugs: build it without --cfg slot_planted");

use slotctl::failure::Exit;
use std::process::ExitCode;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let exit = match runtime {
        Ok(runtime) => {
            let exit = runtime.block_on(slotctl::main(std::env::args_os().collect()));
            // A question on the terminal may still be waited for by its thread; nobody needs its answer now.
            runtime.shutdown_background();
            exit
        }
        Err(error) => {
            eprintln!("slotctl: cannot start: {error}\n  next  try again; this machine is short of threads or memory");
            Exit::Failed
        }
    };
    ExitCode::from(exit.code())
}
