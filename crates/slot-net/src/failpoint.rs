//! Named places where a test build dies, stops or waits on purpose.
//!
//! What always holds: without `--cfg slot_failpoints` [`reach`] is empty and nothing reads the variable, so a shipped
//! build cannot be made to fail by its environment; with it, an abort is a real SIGKILL of the process: no destructor
//! runs and nothing is flushed.
//!
//! `SLOT_FAILPOINTS` is read once, at the first place reached, and is a `;`-separated list of `name=action`:
//!
//! | action | what the process does when it reaches the place |
//! |---|---|
//! | `abort` | SIGKILLs itself |
//! | `abort-once:PATH` | makes the file PATH and SIGKILLs itself; nothing if PATH exists |
//! | `sleep:MS` | blocks this thread for MS milliseconds |
//! | `stop` | SIGSTOPs itself, until somebody sends SIGCONT |

/// Whether this build has failpoints.
pub const ENABLED: bool = cfg!(slot_failpoints);

/// The variable that says which places do what.
pub const VARIABLE: &str = "SLOT_FAILPOINTS";

/// Marks a place by name; does nothing in this build.
#[cfg(not(slot_failpoints))]
#[inline(always)]
pub fn reach(_name: &str) {}

#[cfg(slot_failpoints)]
pub use armed::reach;

#[cfg(slot_failpoints)]
mod armed {
    use rustix::process::{Signal, getpid, kill_process};
    use std::path::PathBuf;
    use std::sync::OnceLock;
    use std::time::Duration;

    #[derive(Debug, PartialEq)]
    enum Action {
        Abort,
        AbortOnce(PathBuf),
        Sleep(Duration),
        Stop,
    }

    /// Marks a place by name, and does there what `SLOT_FAILPOINTS` says.
    pub fn reach(name: &str) {
        static ARMED: OnceLock<Vec<(String, Action)>> = OnceLock::new();
        let armed = ARMED.get_or_init(|| match std::env::var(super::VARIABLE) {
            // A list that does not parse must not pass for a test without failures.
            Ok(text) => parse(&text).unwrap_or_else(|error| panic!("cannot read {}: {error}", super::VARIABLE)),
            Err(_) => Vec::new(),
        });
        for (_, action) in armed.iter().filter(|(at, _)| at == name) {
            tracing::warn!(name, ?action, "failpoint reached");
            perform(action);
        }
    }

    fn perform(action: &Action) {
        match action {
            Action::Abort => kill(),
            Action::AbortOnce(marker) => match std::fs::File::create_new(marker) {
                Ok(_) => kill(),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => panic!("cannot make the failpoint marker {}: {error}", marker.display()),
            },
            Action::Sleep(time) => std::thread::sleep(*time),
            Action::Stop => signal(Signal::STOP),
        }
    }

    /// SIGKILL, and no instruction of this thread after it.
    fn kill() {
        signal(Signal::KILL);
        loop {
            std::thread::park();
        }
    }

    fn signal(signal: Signal) {
        kill_process(getpid(), signal).expect("a process may signal itself");
    }

    fn parse(text: &str) -> Result<Vec<(String, Action)>, String> {
        text.split(';').map(str::trim).filter(|part| !part.is_empty()).map(parse_one).collect()
    }

    fn parse_one(part: &str) -> Result<(String, Action), String> {
        let refused = || format!("{part:?}: write name=abort, abort-once:PATH, sleep:MS or stop");
        let (name, action) = part.split_once('=').ok_or_else(refused)?;
        let action = match action.split_once(':') {
            None if action == "abort" => Action::Abort,
            None if action == "stop" => Action::Stop,
            Some(("abort-once", path)) if !path.is_empty() => Action::AbortOnce(path.into()),
            Some(("sleep", ms)) => Action::Sleep(Duration::from_millis(ms.parse().map_err(|_| refused())?)),
            _ => return Err(refused()),
        };
        Ok((name.to_string(), action))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn every_action_is_read_and_nonsense_is_refused() {
            let armed = parse("a.b=abort; c=abort-once:/x/y;d=sleep:20;e=stop;").unwrap();
            let wanted = [
                ("a.b", Action::Abort),
                ("c", Action::AbortOnce("/x/y".into())),
                ("d", Action::Sleep(Duration::from_millis(20))),
                ("e", Action::Stop),
            ];
            assert_eq!(armed, wanted.map(|(name, action)| (name.to_string(), action)));
            for text in ["a", "a=", "a=die", "a=sleep", "a=sleep:x", "a=abort-once:"] {
                assert!(parse(text).is_err(), "{text}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, ExitStatus, Stdio};

    const CHILD: &str = "SLOT_FAILPOINT_TEST_CHILD";

    /// Runs only inside the processes that the tests below start.
    #[test]
    fn child_reaches_the_place() {
        if std::env::var_os(CHILD).is_some() {
            reach("test.place");
        }
    }

    fn run(armed: &str) -> ExitStatus {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "failpoint::tests::child_reaches_the_place"])
            .env(CHILD, "1")
            .env(VARIABLE, armed)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap()
    }

    #[test]
    fn the_variable_kills_a_failpoint_build_only() {
        let status = run("test.place=abort");
        assert_eq!(status.signal() == Some(9), ENABLED, "{status}");
        assert_eq!(status.success(), !ENABLED, "{status}");
        assert!(run("test.other=abort").success(), "another name must not fire");
        assert_eq!(run("nonsense").success(), !ENABLED, "a failpoint build refuses a list it cannot read");
    }

    #[test]
    fn abort_once_kills_the_first_time_only() {
        let folder = tempfile::tempdir().unwrap();
        let marker = folder.path().join("marker");
        let armed = format!("test.place=abort-once:{}", marker.display());
        assert_eq!(run(&armed).success(), !ENABLED);
        assert_eq!(marker.exists(), ENABLED);
        assert!(run(&armed).success());
    }
}
