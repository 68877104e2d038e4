//! Running a ClusterLabs fence agent: `key=value` lines on stdin, one action, an exit code.
//!
//! What always holds: a program is an absolute path or a name in a fixed list of folders, is started without a shell, without
//! arguments and with an environment of ours; it is given one action and so much time, at the end of which it and all it
//! started are killed by their process ids; the password goes from its file to stdin and nowhere else. Anything but the exit
//! codes that mean it is an error: a timeout is a failure, not a success.

use slot_net::process::{ProcessIdentity, kill_group};
use slot_types::fence::{FenceAction, FencePath, FenceSaid, FenceSpec, Power};
use slot_types::ids::HostName;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout, timeout_at};

/// Where a fence agent is looked for by name.
const FOLDERS: [&str; 5] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/sbin"];
/// What fence agents find their own tools by.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// The most that is kept of what a fence agent writes.
const OUTPUT_BYTES_MAX: usize = 4_096;
/// The most bytes of a password file.
const PASSWORD_BYTES_MAX: u64 = 4_096;
/// How long its output is waited for once it has ended: something it left behind may hold it open.
const OUTPUT_PATIENCE: Duration = Duration::from_millis(200);

/// Why a fence agent's word is not known.
#[derive(Debug, thiserror::Error)]
enum FenceError {
    #[error("{agent} is in none of {folders}; install it, or set fence_dir in agent.toml")]
    NoProgram { agent: String, folders: String },
    #[error("{0} is no file")]
    NoFile(PathBuf),
    #[error("cannot read password_file {path}: {cause}")]
    Password { path: FencePath, cause: std::io::Error },
    #[error("password_file {path} {what}")]
    PasswordFile { path: FencePath, what: &'static str },
    #[error("cannot run {program}: {cause}")]
    Run { program: PathBuf, cause: std::io::Error },
    #[error("{action} did not end within {time:?}; it was killed{said}")]
    TimedOut { action: &'static str, time: Duration, said: String },
    #[error("{action} ended with {code}{said}")]
    Failed { action: &'static str, code: String, said: String },
}

/// Finds and runs fence agents.
#[derive(Clone, Debug)]
pub struct Fencer {
    folders: Vec<PathBuf>,
}

impl Fencer {
    /// Looks in `fence_dir` first, if there is one.
    pub fn new(fence_dir: Option<PathBuf>) -> Self {
        Self { folders: fence_dir.into_iter().chain(FOLDERS.map(PathBuf::from)).collect() }
    }

    /// Runs one action on a host's device.
    pub async fn ask(
        &self,
        host: &HostName,
        action: FenceAction,
        device: &FenceSpec,
        budget: Duration,
    ) -> Result<FenceSaid, String> {
        let answer = self.run(host, action, device, budget).await.map_err(|e| format!("{device}: {e}"));
        match &answer {
            Ok(said) => tracing::info!("{} of {host} by {device}: {said:?}", action.name()),
            Err(why) => tracing::warn!("{} of {host} by {why}", action.name()),
        }
        answer
    }

    fn program(&self, device: &FenceSpec) -> Result<PathBuf, FenceError> {
        let name = device.agent.as_str();
        if name.starts_with('/') {
            let path = PathBuf::from(name);
            return if path.is_file() { Ok(path) } else { Err(FenceError::NoFile(path)) };
        }
        let found = self.folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
        found.ok_or_else(|| {
            let folders: Vec<String> = self.folders.iter().map(|f| f.display().to_string()).collect();
            FenceError::NoProgram { agent: name.into(), folders: folders.join(" ") }
        })
    }

    async fn run(
        &self,
        host: &HostName,
        action: FenceAction,
        device: &FenceSpec,
        budget: Duration,
    ) -> Result<FenceSaid, FenceError> {
        let deadline = Instant::now() + budget;
        let program = self.program(device)?;
        let password = device.password_file.as_ref().map(password).transpose()?;
        let input = input(host, action, device, password.as_deref());
        let failed = |cause| FenceError::Run { program: program.clone(), cause };
        let mut child = Command::new(&program)
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C")
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        // Named while it can't have been reaped yet.
        let identity = child.id().and_then(|pid| ProcessIdentity::of(pid).ok());
        let heard = Output::default();
        let readers = [heard.read(child.stdout.take()), heard.read(child.stderr.take())];
        let ended = timeout_at(deadline, talk(&mut child, input)).await;
        // Before it is reaped, so that its group's number is still its own: whatever it started must not act later.
        if let (Err(_), Some(identity)) = (&ended, identity)
            && let Err(error) = kill_group(&identity)
        {
            tracing::error!("{}: {error}", program.display());
        }
        if ended.is_err() {
            let _ = child.start_kill();
            let _ = child.wait().await;
        }
        for reader in readers {
            let _ = timeout(OUTPUT_PATIENCE, reader).await;
        }
        let said = heard.last_line(password.as_deref());
        match ended {
            Err(_) => Err(FenceError::TimedOut { action: action.name(), time: budget, said }),
            Ok(Err(cause)) => Err(failed(cause)),
            Ok(Ok(status)) => meaning(action, status, said),
        }
    }
}

/// Hands it its input and waits for its end. One that ends without reading everything is judged by its exit code.
async fn talk(child: &mut Child, input: String) -> std::io::Result<ExitStatus> {
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(input.as_bytes()).await;
        let _ = stdin.shutdown().await;
    }
    child.wait().await
}

/// What an exit code means (FenceAgentAPI): off 0; status 0 is on, 2 is off. Everything else is no answer.
fn meaning(action: FenceAction, status: ExitStatus, said: String) -> Result<FenceSaid, FenceError> {
    match (action, status.code()) {
        (FenceAction::Off, Some(0)) => Ok(FenceSaid::Switched),
        (FenceAction::Status, Some(0)) => Ok(FenceSaid::Power(Power::On)),
        (FenceAction::Status, Some(2)) => Ok(FenceSaid::Power(Power::Off)),
        (_, code) => {
            let code = code.map_or("a signal".to_string(), |code| format!("exit code {code}"));
            Err(FenceError::Failed { action: action.name(), code, said })
        }
    }
}

/// Lines that no option can end early: a value is one line, and the action comes last, which is the one that counts.
fn input(host: &HostName, action: FenceAction, device: &FenceSpec, password: Option<&str>) -> String {
    let mut lines: Vec<String> = device.options.iter().map(|(key, value)| format!("{key}={value}")).collect();
    lines.push(format!("nodename={host}"));
    lines.extend(password.map(|password| format!("password={password}")));
    lines.push(format!("action={}\n", action.name()));
    lines.join("\n")
}

/// The one line of a file that nobody but its owner can read.
fn password(path: &FencePath) -> Result<String, FenceError> {
    let failed = |cause| FenceError::Password { path: path.clone(), cause };
    let wrong = |what| Err(FenceError::PasswordFile { path: path.clone(), what });
    let file = std::fs::File::open(Path::new(path.as_str())).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    if !meta.is_file() || meta.len() > PASSWORD_BYTES_MAX {
        return wrong("is no file of at most 4096 bytes");
    }
    if meta.permissions().mode() & 0o077 != 0 {
        return wrong("can be read by others; chmod 0600 it");
    }
    let text = std::io::read_to_string(file).map_err(failed)?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    if line.is_empty() || line.chars().any(char::is_control) {
        return wrong("does not hold one line");
    }
    Ok(line.to_string())
}

/// What a fence agent wrote, as much as is kept.
#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Output {
    /// Reads to the end, and keeps the first part; the rest is read too, so that a full pipe stops nobody.
    fn read(&self, from: Option<impl AsyncRead + Unpin + Send + 'static>) -> tokio::task::JoinHandle<()> {
        let kept = self.clone();
        tokio::spawn(async move {
            let Some(mut from) = from else { return };
            let mut buffer = [0u8; 1_024];
            while let Ok(read @ 1..) = from.read(&mut buffer).await {
                let mut kept = kept.0.lock().unwrap_or_else(PoisonError::into_inner);
                let room = OUTPUT_BYTES_MAX.saturating_sub(kept.len()).min(read);
                kept.extend_from_slice(&buffer[..room]);
            }
        })
    }

    /// The last line that says something, without the password and without what a terminal acts on.
    fn last_line(&self, password: Option<&str>) -> String {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::from_utf8_lossy(&kept).into_owned();
        if let Some(password) = password {
            text = text.replace(password, "***");
        }
        let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty());
        let plain =
            |line: &str| line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect::<String>();
        line.map_or(String::new(), |line| format!(": {}", plain(line)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slot_types::fence::*;
    use std::collections::BTreeMap;

    const LONG: Duration = Duration::from_secs(30);

    struct Bench {
        dir: tempfile::TempDir,
    }

    impl Bench {
        fn new(script: &str) -> Self {
            let bench = Self { dir: tempfile::tempdir().unwrap() };
            bench.file("fence_test", &format!("#!/bin/sh\n{script}\n"), 0o755);
            bench
        }
        fn file(&self, name: &str, text: &str, mode: u32) -> String {
            let path = self.dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            path.display().to_string()
        }
        fn spec(&self, password_file: Option<String>) -> FenceSpec {
            FenceSpec {
                agent: FenceAgent::new("fence_test").unwrap(),
                options: BTreeMap::from([(FenceKey::new("ip").unwrap(), FenceValue::new("10.9.0.3").unwrap())]),
                password_file: password_file.map(|path| FencePath::new(path).unwrap()),
                timeout_ms: 1_000,
                from: FenceFrom::AnotherRack,
            }
        }
        async fn ask(&self, action: FenceAction, spec: &FenceSpec, budget: Duration) -> Result<FenceSaid, String> {
            let host = HostName::new("imap3").unwrap();
            Fencer::new(Some(self.dir.path().to_path_buf())).ask(&host, action, spec, budget).await
        }
    }

    #[tokio::test]
    async fn r26_exit_codes_mean_what_the_api_says() {
        let bench =
            Bench::new("read a; read b; read c; case $c in action=off) exit 0;; action=status) exit 2;; esac; exit 1");
        let spec = bench.spec(None);
        assert_eq!(bench.ask(FenceAction::Off, &spec, LONG).await, Ok(FenceSaid::Switched));
        assert_eq!(bench.ask(FenceAction::Status, &spec, LONG).await, Ok(FenceSaid::Power(Power::Off)));
        let on = Bench::new("cat > /dev/null; exit 0");
        assert_eq!(on.ask(FenceAction::Status, &on.spec(None), LONG).await, Ok(FenceSaid::Power(Power::On)));
        let bad = Bench::new("cat > /dev/null; echo 'Connection timed out' >&2; exit 1");
        for action in [FenceAction::Off, FenceAction::Status] {
            let why = bad.ask(action, &bad.spec(None), LONG).await.unwrap_err();
            assert!(why.contains("exit code 1: Connection timed out") && why.contains("10.9.0.3"), "{why}");
        }
        let two = Bench::new("cat > /dev/null; exit 2");
        assert!(two.ask(FenceAction::Off, &two.spec(None), LONG).await.is_err(), "2 is no answer to off");
    }

    #[tokio::test]
    async fn the_password_comes_from_its_file_and_is_never_said() {
        let bench =
            Bench::new("while read line; do echo \"got $line\" >&2; last=$line; done; grep -q . /dev/null; exit 1");
        let secret = bench.file("secret", "hunter2-canary\n", 0o600);
        let seen = Bench::new("while read line; do [ \"$line\" = password=hunter2-canary ] && exit 0; done; exit 1");
        let spec = seen.spec(Some(secret.clone()));
        assert_eq!(seen.ask(FenceAction::Off, &spec, LONG).await, Ok(FenceSaid::Switched));
        let echo = Bench::new("cat >&2; echo hunter2-canary >&2; exit 1");
        let why = echo.ask(FenceAction::Off, &echo.spec(Some(secret.clone())), LONG).await.unwrap_err();
        assert!(!why.contains("hunter2") && why.contains("***"), "{why}");
        for (mode, text) in [(0o644, "x"), (0o600, ""), (0o600, "two\nlines")] {
            let path = bench.file("bad", text, mode);
            let why = bench.ask(FenceAction::Off, &bench.spec(Some(path)), LONG).await.unwrap_err();
            assert!(why.contains("password_file"), "{why}");
            assert!(!why.contains("two"), "{why}");
        }
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_killed_with_what_it_started() {
        let bench = Bench::new("sleep 600 & echo $! > \"$0.child\"; wait");
        let spec = bench.spec(None);
        let why = bench.ask(FenceAction::Off, &spec, Duration::from_secs(2)).await.unwrap_err();
        assert!(why.contains("was killed"), "{why}");
        let child: u32 =
            std::fs::read_to_string(bench.dir.path().join("fence_test.child")).unwrap().trim().parse().unwrap();
        let gone = || !matches!(std::fs::read_to_string(format!("/proc/{child}/stat")), Ok(s) if !s.contains(") Z"));
        for _ in 0..100 {
            if gone() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("what it started lives on");
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_named_with_what_to_do() {
        let bench = Bench::new("exit 0");
        let spec = FenceSpec { agent: FenceAgent::new("fence_nobody").unwrap(), ..bench.spec(None) };
        let why = bench.ask(FenceAction::Off, &spec, LONG).await.unwrap_err();
        assert!(why.contains("fence_nobody") && why.contains("fence_dir"), "{why}");
    }
}
