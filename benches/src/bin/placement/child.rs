//! The programs that are run and measured.
//!
//! What always holds: nothing goes through a shell; a child's CPU seconds and largest resident size come from the kernel
//! (`wait4`), read by a few lines of Python that the scorer needs anyway; a child that takes too long is stopped. What takes
//! less than a second is run several times, so that what else the machine did meanwhile is not taken for ours: the median is
//! told, and beside it the largest and how many runs there were. Every run has to write the same bytes.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs a command with its output on a terminal of its own (hbal writes nothing to a pipe that is cut off), copies it to a
/// file, stops it after so many seconds, and prints what it used.
const MEASURE: &str = r#"
import json, os, pty, select, signal, subprocess, sys, time
out, limit, command = sys.argv[1], float(sys.argv[2]), sys.argv[3:]
terminal, end = pty.openpty()
# Not forked: what Python itself uses until the program runs would be counted as the program's. Kept: an object that is given up
# asks for the end of a program that is over already, and what it used is then told to nobody.
program = subprocess.Popen(command, stdin=end, stdout=end, stderr=end, start_new_session=True)
child = program.pid
os.close(end)
end, late = time.monotonic() + limit, False
with open(out, 'wb') as log:
    while True:
        ready, _, _ = select.select([terminal], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            os.kill(child, signal.SIGTERM); late = True; end = time.monotonic() + 5; continue
        try:
            data = os.read(terminal, 65536)
        except OSError:
            break
        if not data:
            break
        log.write(data)
_, status, used = os.wait4(child, 0)
print(json.dumps(dict(cpu=used.ru_utime + used.ru_stime, kib=used.ru_maxrss, late=late, status=status)))
"#;

/// Seconds after which ours is stopped: it would be a mistake of ours.
const OURS_SECONDS: u32 = 120;

/// So often a case is run whose first run took less than [`SHORT_SECONDS`]. Odd, so that one of them is the median.
const RUNS: usize = 11;
const SHORT_SECONDS: f64 = 1.0;

/// What the runs of a case used, and what they made.
pub struct Measured {
    /// The median.
    pub cpu_s: f64,
    pub cpu_largest_s: f64,
    pub runs: usize,
    /// Of the run that used most.
    pub peak_kib: u64,
    pub timed_out: bool,
    pub before: PathBuf,
    pub after: PathBuf,
}

/// Where the programs are.
pub struct Programs {
    pub inputs: PathBuf,
    pub slotctl: PathBuf,
    pub folder: PathBuf,
}

impl Programs {
    fn python(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new("python3");
        let ran = command.args(arguments).output().map_err(|error| format!("cannot start python3: {error}"))?;
        if ran.status.success() {
            Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
        } else {
            Err(format!("python3 {} failed: {}", arguments[0], String::from_utf8_lossy(&ran.stderr)))
        }
    }
    /// A file of the generator, seed 1.
    pub fn generate(&self, kind: &str, hosts: u32) -> Result<PathBuf, String> {
        let file = self.folder.join(format!("{kind}-{hosts}.data"));
        let generator = self.inputs.join("gen.py");
        self.python(&[&generator.to_string_lossy(), &hosts.to_string(), kind, &file.to_string_lossy()])?;
        Ok(file)
    }
    fn measure(&self, log: PathBuf, seconds: u32, command: &[&str]) -> Result<(f64, u64, bool, PathBuf), String> {
        let (log_name, seconds) = (log.to_string_lossy().into_owned(), seconds.to_string());
        let mut arguments = vec!["-c", MEASURE, &log_name, &seconds];
        arguments.extend(command);
        let used: Value = serde_json::from_str(&self.python(&arguments)?).map_err(|error| error.to_string())?;
        let late = used["late"].as_bool().unwrap_or(false);
        if used["status"] != 0 && !late {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            return Err(format!("{} failed:\n{said}", command[0]));
        }
        Ok((used["cpu"].as_f64().unwrap_or(f64::NAN), used["kib"].as_u64().unwrap_or(0), late, log))
    }
    /// Ours.
    pub fn ours(&self, kind: &str, file: &Path, disk: &str) -> Result<Measured, String> {
        let (slotctl, from, after) =
            (self.slotctl.to_string_lossy(), file.to_string_lossy(), file.with_extension("csv"));
        let out = after.to_string_lossy().into_owned();
        let mut command = vec![&*slotctl, "offline"];
        match kind {
            "drain" => command.extend(["drain", "--host", super::DRAINED, "--empty"]),
            _ => command.push("rebalance"),
        }
        command.extend(["--from", &*from, "--out", &out, "--disk", disk]);
        let log = file.with_extension("out");
        let run = || -> Result<_, String> {
            let (cpu_s, kib, late, _) = self.measure(log.clone(), OURS_SECONDS, &command)?;
            let made = std::fs::read(&after).map_err(|error| format!("cannot read {out}: {error}"))?;
            Ok((cpu_s, kib, late, made))
        };
        let (cpu_s, mut peak_kib, timed_out, made) = run()?;
        let mut seconds = vec![cpu_s];
        while cpu_s < SHORT_SECONDS && seconds.len() < RUNS {
            let (cpu_s, kib, _, again) = run()?;
            if again != made {
                return Err(format!("{from}: two runs wrote different files"));
            }
            seconds.push(cpu_s);
            peak_kib = peak_kib.max(kib);
        }
        seconds.sort_by(f64::total_cmp);
        let (cpu_s, cpu_largest_s) = (seconds[seconds.len() / 2], seconds[seconds.len() - 1]);
        let before = file.to_path_buf();
        Ok(Measured { cpu_s, cpu_largest_s, runs: seconds.len(), peak_kib, timed_out, before, after })
    }
    /// Ganeti's.
    pub fn hbal(&self, kind: &str, file: &Path, seconds: u32) -> Result<Measured, String> {
        let from = file.to_string_lossy();
        let mut command = vec!["hbal", "-t", &*from];
        if kind == "drain" {
            command.extend(["-O", super::DRAINED, "--evac-mode"]);
        }
        let (cpu_s, peak_kib, timed_out, after) = self.measure(file.with_extension("log"), seconds, &command)?;
        let before = file.to_path_buf();
        Ok(Measured { cpu_s, cpu_largest_s: cpu_s, runs: 1, peak_kib, timed_out, before, after })
    }
    /// The scorer's line.
    pub fn score(&self, measured: &Measured, offline: Option<&str>) -> Result<Value, String> {
        let scorer = self.inputs.join("score.py");
        let parts = [&scorer, &measured.before, &measured.after].map(|path| path.to_string_lossy().into_owned());
        let mut arguments: Vec<&str> = parts.iter().map(String::as_str).collect();
        arguments.extend(offline.into_iter().flat_map(|host| ["--offline", host]));
        serde_json::from_str(&self.python(&arguments)?).map_err(|error| format!("the scorer's line: {error}"))
    }
}
