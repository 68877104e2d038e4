//! Running a reload: an absolute path, arguments, a deadline.
//!
//! What always holds: no shell, an environment of ours, no input; what does not end in time is killed with all it started, and
//! counts as failed, as does any exit code but 0.

use slot_net::process::{ProcessIdentity, kill_group};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::time::timeout;

/// What reloads find their own tools by.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// The most that is kept of what one writes to stderr.
const OUTPUT_BYTES_MAX: usize = 4_096;
/// How long its last words are waited for once it has ended: something it left behind may hold the pipe open.
const OUTPUT_PATIENCE: Duration = Duration::from_millis(200);

/// Runs it to its end; why it failed.
pub async fn run(argv: &[String], within: Duration) -> Result<(), String> {
    let Some((program, arguments)) = argv.split_first() else { return Ok(()) };
    let failed = |cause: std::io::Error| format!("cannot run {program}: {cause}");
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .env("LC_ALL", "C")
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    // Named while it can't have been reaped yet.
    let identity = child.id().and_then(|pid| ProcessIdentity::of(pid).ok());
    let said = child.stderr.take().map(|stderr| tokio::spawn(read(stderr)));
    let ended = timeout(within, child.wait()).await;
    if ended.is_err() {
        if let Some(Err(error)) = identity.map(|identity| kill_group(&identity)) {
            tracing::error!("{program}: {error}");
        }
        let _ = child.start_kill();
        let _ = child.wait().await;
    }
    let last = match said {
        Some(said) => timeout(OUTPUT_PATIENCE, said).await.ok().and_then(Result::ok).unwrap_or_default(),
        None => Vec::new(),
    };
    match ended {
        Err(_) => Err(format!("{program} did not end within {within:?}; it was killed{}", last_line(&last))),
        Ok(Err(cause)) => Err(failed(cause)),
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => {
            let code = status.code().map_or("a signal".to_string(), |code| format!("exit code {code}"));
            Err(format!("{program} ended with {code}{}", last_line(&last)))
        }
    }
}

/// Reads to the end and keeps the first part; the rest is read too, so that a full pipe stops nobody.
async fn read(mut from: tokio::process::ChildStderr) -> Vec<u8> {
    let (mut kept, mut buffer) = (Vec::new(), [0u8; 1_024]);
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let room = OUTPUT_BYTES_MAX.saturating_sub(kept.len()).min(read);
        kept.extend_from_slice(&buffer[..room]);
    }
    kept
}

/// The last line that says something, without what a terminal acts on.
fn last_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty());
    let plain = |line: &str| line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect::<String>();
    line.map_or(String::new(), |line| format!(": {}", plain(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(script: &str) -> Vec<String> {
        ["/bin/sh", "-c", script].map(String::from).to_vec()
    }

    #[tokio::test]
    async fn it_ends_well_or_says_why_not() {
        const LONG: Duration = Duration::from_secs(30);
        assert_eq!(run(&argv("exit 0"), LONG).await, Ok(()));
        assert_eq!(run(&[], LONG).await, Ok(()));
        let why = run(&argv("echo 'bad line 7' >&2; exit 3"), LONG).await.unwrap_err();
        assert!(why.contains("exit code 3: bad line 7"), "{why}");
        assert!(run(&["/nowhere/nginx".into()], LONG).await.unwrap_err().contains("cannot run /nowhere/nginx"));
        // Nothing of this process's environment goes along.
        assert_eq!(run(&argv("[ -z \"$CARGO_MANIFEST_DIR$CARGO\" ]"), LONG).await, Ok(()));
        // More words than are kept stop nobody.
        assert_eq!(run(&argv("head -c 1000000 /dev/zero >&2"), LONG).await, Ok(()));
    }

    #[tokio::test]
    async fn what_hangs_is_killed_with_what_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let note = folder.path().join("child");
        let script = format!("sleep 600 & echo $! > {}; wait", note.display());
        let why = run(&argv(&script), Duration::from_secs(1)).await.unwrap_err();
        assert!(why.contains("was killed"), "{why}");
        let child = std::fs::read_to_string(note).unwrap();
        let gone = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.trim()));
            !matches!(stat, Ok(stat) if !stat.contains(") Z"))
        };
        for _ in 0..100 {
            if gone() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("what it started lives on");
    }
}
