//! The program `slotctl`; everything is in the library, so that tests can call it.

#[cfg(slot_planted)]
compile_error!("a shipped program never has planted bugs: build it without --cfg slot_planted");

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(slotctl::main(std::env::args_os().collect()).code())
}
