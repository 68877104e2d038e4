//! How long clients wait when many masters leave one host, and how long it all takes.
//!
//! What always holds: every figure is the clients' own, taken from their logs of acknowledgements while all of them write;
//! a lost or doubled record ends the measurement with an error, since a fast wrong answer is none.

use crate::cluster::Cluster;
use crate::ctl::{DONE, NEEDS_APPROVAL};
use crate::demo::Gaps;
use crate::handover_profile::{self, Profile, Since};
use crate::loss;
use crate::programs::Programs;
use crate::shape::{Shape, host};
use crate::verify::verify;
use crate::writer::{Routes, Writers};
use crate::{AT_LAST, Outcome, wait_until};
use serde::Serialize;
use std::path::Path;
use std::time::{Duration, Instant};

/// Each client writes its next record this long after an acknowledgement, in milliseconds.
const PAUSE_MS: u64 = 100;
/// How often somebody looks.
const STATUS_LOOKS: usize = 40;
/// How long a person's word must stand before it counts (R8), and a little more.
const WORD_COUNTS: Duration = Duration::from_secs(6);
/// The host whose masters leave.
const CROWDED: u8 = 1;

/// What is measured, and how often.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Masters on one host.
    pub masters: u16,
    /// How often the host is drained and undrained.
    pub rounds: u32,
    /// Hand-overs that policy lets be under way at once.
    pub at_once: u16,
}

/// The figures.
#[derive(Debug, Default, Serialize)]
pub struct Figures {
    /// Masters on one host.
    pub masters: u16,
    /// Hosts that took them.
    pub takers: u8,
    /// How often the host was drained.
    pub rounds: u32,
    /// Hand-overs that policy let be under way at once.
    pub at_once: u16,
    /// A client's pause between an acknowledgement and its next record, in milliseconds.
    pub pause_ms: u64,
    /// Records acknowledged in all.
    pub writes_acked: u64,
    /// The longest time between two acknowledgements around a hand-over, less the client's own pause.
    pub gap_ms: Gaps,
    /// The same, of the hand-overs of drains alone.
    pub drain_gap_ms: Gaps,
    /// From starting `slotctl status` until the first byte of its answer, on this fleet, nothing moving.
    pub status_first_byte_ms: Gaps,
    /// From the yes to SAFE TO SWITCH OFF: of all rounds, the slowest.
    pub drain_s: f64,
    /// From the yes until the same masters were back: of all rounds, the slowest.
    pub undrain_s: f64,
    /// From the last yes of a dead host's failover, its fence confirmed before, until the last store's client was served.
    pub failover_s: f64,
    /// Where the time of the last drain went.
    pub drain_profile: Profile,
    /// Where the time of the failover went.
    pub failover_profile: Profile,
}

/// Runs it; prints and, if asked, writes the figures.
pub fn run(plan: Plan, json: Option<&Path>) -> Outcome<()> {
    let folder = tempfile::Builder::new().prefix("slot-handover-").tempdir()?;
    let slots = u8::try_from(plan.masters + 8)?;
    let policy = format!("handover = {{ at_once = {0}, per_host = {0} }}\n", plan.at_once);
    let shape = Shape { hosts: 5, slots, stores: plan.masters, lone_first: true, policy, ..Shape::small() };
    let mut cluster = Cluster::new(folder.path().to_path_buf(), shape, Programs::find()?)?;
    cluster.logs = Some(handover_profile::FILTER.into());
    cluster.found()?;
    let mut bench = Bench { writers: Writers::start(&cluster, Duration::from_millis(PAUSE_MS))?, cluster };
    bench.crowd()?;
    let Plan { masters, rounds, at_once } = plan;
    let mut figures = Figures { masters, takers: 4, rounds, at_once, pause_ms: PAUSE_MS, ..Figures::default() };
    let looks = (0..STATUS_LOOKS).map(|_| bench.cluster.ctl.first_byte("alice", &["status"]));
    figures.status_first_byte_ms = Gaps::of(&looks.collect::<Outcome<Vec<_>>>()?);
    let (mut drains, mut all) = (Vec::new(), Vec::new());
    for round in 1..=plan.rounds {
        let since = Since::now(&bench.cluster)?;
        let (gaps, s) = bench.change(&["drain", "host", &host(CROWDED), "-m", "measured"])?;
        figures.drain_s = figures.drain_s.max(s);
        figures.drain_profile = since.read(&bench.cluster)?;
        eprintln!("round {round}: drained {} masters in {s:.2} s", gaps.len());
        drains.extend(gaps.iter().copied());
        all.extend(gaps);
        let (gaps, s) = bench.change(&["undrain", "host", &host(CROWDED), "-m", "measured"])?;
        figures.undrain_s = figures.undrain_s.max(s);
        all.extend(gaps);
        bench.cluster.wait_served()?;
    }
    (figures.gap_ms, figures.drain_gap_ms) = (Gaps::of(&all), Gaps::of(&drains));
    let verdicts = verify(&bench.writers)?;
    verdicts.must_be_whole()?;
    (figures.failover_s, figures.failover_profile) = bench.fail_over()?;
    bench.writers.stop()?;
    figures.writes_acked = bench.writers.acknowledged() as u64;
    let text = serde_json::to_string_pretty(&figures)? + "\n";
    match json {
        Some(path) => std::fs::write(path, text)?,
        None => print!("{text}"),
    }
    Ok(())
}

struct Bench {
    cluster: Cluster,
    writers: Writers,
}

impl Bench {
    /// Every master goes to the crowded host, which holds a copy of each store.
    fn crowd(&mut self) -> Outcome<()> {
        for (store, slot) in self.cluster.routes()? {
            if slot.host.as_str() == host(CROWDED) {
                continue;
            }
            let line = ["failover", "store", store.as_str(), "-m", "crowd one host"];
            self.cluster.wait_served()?;
            self.cluster.ctl.change("alice", &line)?.expect(DONE)?;
        }
        self.cluster.wait_served()?;
        Ok(())
    }

    /// Carries a change out; how long each client waited whose store moved, and how long it took from the yes.
    fn change(&mut self, line: &[&str]) -> Outcome<(Vec<Duration>, f64)> {
        let proposal = self.cluster.ctl.propose("alice", line)?;
        let before = self.writers.routes();
        let began = Instant::now();
        self.cluster.ctl.approve("alice", &proposal)?.expect(DONE)?;
        let s = began.elapsed().as_secs_f64();
        self.writers.wait_progress()?;
        Ok((self.gaps(&before, began)?, s))
    }

    fn gaps(&self, before: &Routes, from: Instant) -> Outcome<Vec<Duration>> {
        let moved = self.writers.routes().into_iter().filter(|(store, route)| before.get(store) != Some(route));
        let pause = Duration::from_millis(PAUSE_MS);
        moved.map(|(store, _)| Ok(self.writers.log(&store)?.gap(from, Instant::now()).saturating_sub(pause))).collect()
    }

    /// The crowded host dies; its fence is a person's word, given before the clock starts.
    fn fail_over(&mut self) -> Outcome<(f64, Profile)> {
        let name = host(CROWDED);
        self.cluster.kill_host(CROWDED)?;
        loss::wait_silent(&self.cluster, CROWDED)?;
        self.cluster
            .ctl
            .json("alice", &["off", "host", &name, "--how", "unplugged", "-m", "measured"])?
            .expect(DONE)?;
        // R8: a word counts once nothing was heard for so long after it; that is the fence, and not what is measured.
        std::thread::sleep(WORD_COUNTS);
        let sheet = self.cluster.ctl.propose("alice", &["failover", "host", &name, "-m", "measured"])?;
        self.cluster.ctl.approve("bob", &sheet)?.expect(NEEDS_APPROVAL)?;
        let counts: Vec<usize> = self.writers.logs().values().map(|(_, log)| log.count()).collect();
        let since = Since::now(&self.cluster)?;
        let began = Instant::now();
        self.cluster.ctl.approve_and_go("carol", &sheet)?.expect(DONE)?;
        // No writer can have been acknowledged since the host died but by a new master.
        wait_until("every client is served by a new master", AT_LAST, || {
            self.writers.logs().values().zip(&counts).all(|((_, log), before)| log.count() > *before)
        })?;
        let last = self.writers.logs().values().filter_map(|(_, log)| log.first_since(began)).max();
        let s = last.map_or_else(|| began.elapsed(), |last| last - began).as_secs_f64();
        Ok((s, since.read(&self.cluster)?))
    }
}
