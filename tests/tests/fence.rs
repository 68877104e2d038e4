//! A host's agent is silent and its engines serve on: its device switches it off, or does not.
//!
//! What always holds: nothing is promoted before the device's status says off; who approves names the host that is switched
//! off; one that the device does not confirm stays as it is, and its agent's word is the way on; the password is nowhere.

use rustix::process::Signal;
use slot_tests::cluster::Cluster;
use slot_tests::ctl::{DONE, FAILED, PART_WAY, Proposal};
use slot_tests::engines::{self, signal};
use slot_tests::loss;
use slot_tests::shape::{Shape, host, host_number};
use slot_tests::verify::verify;
use slot_tests::writer::Writers;
use slot_tests::{AT_LAST, Outcome, wait_until};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

const SECRET: &str = "trial-secret";

/// What the devices of all hosts know and do.
struct Devices {
    folder: TempDir,
}

impl Devices {
    fn new() -> Outcome<Self> {
        let devices = Self { folder: tempfile::Builder::new().prefix("slot-fence-").tempdir()? };
        let password = devices.path("password");
        fs::write(&password, format!("{SECRET}\n"))?;
        fs::set_permissions(&password, fs::Permissions::from_mode(0o600))?;
        Ok(devices)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn shape(&self) -> Shape {
        let program = env!("CARGO_BIN_EXE_fence_trial");
        let fence =
            format!("{{ agent = {program:?}, options = \"trial\", plug = \"{{n}}\", from = \"another rack\" }}");
        let (state, password) = (self.folder.path(), self.path("password"));
        let options = format!("state = {state:?}\npassword_file = {password:?}\ntimeout = \"4s\"");
        Shape { stores: 6, fence: (fence, options), ..Shape::small() }
    }

    /// Tells the device of host `n` whom to switch off.
    fn know(&self, cluster: &Cluster, n: u8) -> Outcome<()> {
        let agent = cluster.agent_process(n)?;
        let text = format!("{}\n{}\n{}\n", agent.pid, agent.start_time, cluster.host_folder(n).display());
        Ok(fs::write(self.path(&format!("host{n}")), text)?)
    }

    fn mode(&self, mode: &str) -> Outcome<()> {
        Ok(fs::write(self.path("mode"), mode)?)
    }

    fn asked(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

fn silence(cluster: &Cluster, n: u8) -> Outcome<()> {
    signal(&cluster.agent_process(n)?, Signal::STOP)?;
    loss::wait_silent(cluster, n)
}

fn sheet(cluster: &Cluster, n: u8) -> Outcome<Proposal> {
    cluster.ctl.propose("alice", &["failover", "host", &host(n), "-m", "its agent hangs"])
}

fn approve(cluster: &Cluster, sheet: &Proposal, names: &[&str]) -> Outcome<slot_tests::ctl::Said> {
    let mut line = vec!["plan", "approve", &sheet.plan, "--digest", &sheet.digest, "-m", "as agreed"];
    for name in names {
        line.extend(["--switch-off", name]);
    }
    cluster.ctl.json("alice", &line)
}

/// Where anything of the cluster or its devices says the password.
fn says_secret(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)?.flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(says_secret(&path)?);
        } else if let Ok(bytes) = fs::read(&path)
            && bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes())
        {
            found.push(path);
        }
    }
    Ok(found)
}

#[test]
fn r26_a_host_whose_agent_hangs_is_switched_off_by_one_person_and_comes_back_as_no_master() -> Outcome<()> {
    let devices = Devices::new()?;
    let mut cluster = Cluster::for_test(devices.shape())?;
    let mut writers = Writers::start(&cluster, Duration::from_millis(5))?;
    let n = host_number(&cluster.master_of("store1")?).ok_or("a slot names its host")?;
    let (name, masters) = (host(n), cluster.masters_on(n)?.len());
    devices.know(&cluster, n)?;
    silence(&cluster, n)?;
    assert!(!cluster.engines(n).is_empty(), "its engines serve on");
    let sheet = sheet(&cluster, n)?;
    let looked = |asked: &str| asked.lines().all(|line| line == format!("status {n}"));
    assert!(looked(&devices.asked()), "before the yes a device is asked for its status at most: {}", devices.asked());
    for wrong in [vec![], vec!["imap99"]] {
        let said = approve(&cluster, &sheet, &wrong)?;
        assert!(said.code != DONE && said.stderr.contains("SWITCHED OFF"), "{said:?}");
    }
    assert!(!cluster.engines(n).is_empty());
    approve(&cluster, &sheet, &[&name])?.expect(DONE)?;
    let asked = devices.asked();
    let (before, after) = asked.split_once(&format!("off {n}\n")).ok_or("it is switched off")?;
    assert!(
        looked(before) && looked(after) && !after.is_empty(),
        "off once for {masters} stores, then status: {asked}"
    );
    assert!(cluster.engines(n).is_empty() && cluster.masters_on(n)?.is_empty());
    assert_eq!(cluster.look(&["show", "host", &name])?["declared"], "Off");
    writers.wait_progress()?;

    cluster.restart_host(n)?;
    let listed = loss::listed(&cluster, n, masters)?;
    assert_eq!(listed.records, loss::missing(&writers)?, "listed is exactly what is missing");
    for (case, _) in &listed.open {
        cluster.ctl.change("alice", &["loss", "reinject", case, "-m", "all of it"])?.expect(DONE)?;
    }
    cluster.wait_served()?;
    assert_eq!(cluster.look(&["show", "host", &name])?["declared"], "Active");
    writers.wait_progress()?;
    writers.stop()?;
    let cases = cluster.folder().to_path_buf();
    assert_eq!(says_secret(&cases)?, Vec::<PathBuf>::new(), "the password is nowhere");
    verify(&writers)?.must_be_whole()
}

#[test]
fn r26_a_device_that_does_not_confirm_changes_no_master() -> Outcome<()> {
    let devices = Devices::new()?;
    let cluster = Cluster::for_test(devices.shape())?;
    for (n, mode) in [(1, "refuses"), (2, "hangs"), (3, "lies")] {
        devices.know(&cluster, n)?;
        devices.mode(mode)?;
        let before = cluster.routes()?;
        silence(&cluster, n)?;
        let serving = cluster.engines(n).len();
        let sheet = sheet(&cluster, n)?;
        let said = approve(&cluster, &sheet, &[&host(n)])?;
        assert_eq!(said.code, PART_WAY, "{mode}: {said:?}");
        assert_eq!(cluster.routes()?, before, "{mode}: clients go where they went");
        assert_eq!(engines::below(&cluster.host_folder(n)).len(), serving, "{mode}: nothing was killed");
        let ask = ["failover", "host", &host(n), "-m", "again"];
        let again = cluster.ctl.json("alice", &ask)?.expect(FAILED)?;
        assert!(again.stderr.contains("slotctl off host"), "{mode}: the next sheet is without it: {}", again.stderr);
        // Its agent answers again: it demotes, and nobody switches anything off.
        signal(&cluster.agent_process(n)?, Signal::CONT)?;
        wait_until("its agent answers", AT_LAST, || {
            cluster.look(&["show", "host", &host(n)]).is_ok_and(|view| view["silent"] == false)
        })?;
        // Everyday recovery may touch a store between a plan's making and its yes; a person asks again.
        let demoted = || cluster.ctl.change("alice", &ask).is_ok_and(|said| said.code == DONE);
        wait_until("its masters are demoted and have successors", AT_LAST, || {
            demoted() || cluster.masters_on(n).is_ok_and(|masters| masters.is_empty())
        })?;
        cluster.wait_served()?;
    }
    Ok(())
}
