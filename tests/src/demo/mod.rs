//! The demo: a small cluster does the main job, is hurt, and is told about while it happens.
//!
//! What always holds: what is printed was just done by real processes; the numbers are the clients' own; a lost or
//! duplicated write, or a loss case that does not list exactly what is missing, ends the demo with an error.

mod copies;
mod drains;
mod numbers;
mod told;
mod unplanned;
mod up;

pub use numbers::{Gaps, Numbers, Unplanned};
pub use up::{down, up};

use crate::cluster::Cluster;
use crate::ctl::{DONE, NEEDS_APPROVAL, Said};
use crate::programs::Programs;
use crate::shape::{Shape, host};
use crate::verify::verify;
use crate::writer::{Routes, Writers};
use crate::{Outcome, wait_until};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use told::{command, shown, tell, title};

/// A writer writes its next record this long after an acknowledgement.
const WRITER_PAUSE: Duration = Duration::from_millis(50);

/// What the acts work with.
struct Demo {
    cluster: Cluster,
    writers: Writers,
    numbers: Numbers,
    gaps: Vec<Duration>,
}

/// A plan that was shown and waits for people.
struct Shown {
    plan: String,
    digest: String,
    text: String,
}

/// Plays all acts; answers the numbers. `began` is told the cluster's folder as soon as there is something to clean up.
pub fn run(json: Option<&Path>, began: impl FnOnce(PathBuf)) -> Outcome<()> {
    let started = Instant::now();
    title("slot: masters and replicas of many small stores, moved by people, without losing a write");
    tell(
        "The scene: three coordinators (slotd) keep the truth by Raft. Six hosts in three racks have sixteen slots each; on \
         every host an agent carries out what was approved. 36 stores have two copies each, a master that takes writes and \
         a replica in another rack; four have three copies, one in each rack. All of them are real processes of this \
         machine; they speak mutual TLS, and the records are on disk.",
    );
    let folder = tempfile::Builder::new().prefix("slot-demo-").tempdir()?.keep();
    began(folder.clone());
    let mut cluster = Cluster::new(folder, Shape::demo(), Programs::find()?)?;
    command("initiator", "init DIR -f cluster.toml --operator alice --operator bob --operator carol --client ...");
    command("alice", "apply -f cluster.toml -m 'first light'");
    cluster.found()?;
    let writers = Writers::start(&cluster, WRITER_PAUSE)?;
    tell(
        "All forty stores are served. From here to the end forty clients write without pause, one to each store; each \
         keeps its own log of what was acknowledged, and asks again under the same record id when it got no answer.",
    );
    let mut demo = Demo { cluster, writers, numbers: Numbers::default(), gaps: Vec::new() };
    demo.one_store()?;
    demo.one_host()?;
    demo.leader_dies()?;
    demo.host_dies()?;
    demo.host_joins()?;
    demo.host_is_emptied()?;
    demo.power_is_cut()?;
    demo.host_is_reinstalled()?;
    demo.last_count(started)?;
    if let Some(path) = json {
        std::fs::write(path, serde_json::to_string_pretty(&demo.numbers)? + "\n")?;
    }
    demo.numbers.verdict()
}

impl Demo {
    /// Has a change shown to somebody; it must wait for approval.
    fn propose(&self, who: &str, line: &[&str]) -> Outcome<Shown> {
        command(who, &typed(line));
        let said = self.cluster.ctl.insist(|| self.cluster.ctl.run(who, line))?.expect(NEEDS_APPROVAL)?;
        Shown::read(said)
    }

    /// Says yes to what was shown.
    fn approve(&self, who: &str, shown: &Shown, no_wait: bool) -> Outcome<Said> {
        let mut line = vec!["plan", "approve", &shown.plan, "--digest", &shown.digest, "-m", "agreed"];
        command(who, &line.join(" "));
        if no_wait {
            line.push("--no-wait");
        }
        self.cluster.ctl.run(who, &line)
    }

    /// Notes how long each client of a store that moved between two pictures of the routes waited for an answer: the longest
    /// time between two of them, less its own pause.
    fn note_moves(&mut self, before: &Routes, from: Instant) -> Outcome<usize> {
        // The last gap ends with an acknowledgement at the new master.
        self.writers.wait_progress()?;
        let mut moved = 0;
        for (store, route) in self.writers.routes() {
            if before.get(&store) != Some(&route) {
                let gap = self.writers.log(&store)?.gap(from, Instant::now());
                self.gaps.push(gap.saturating_sub(WRITER_PAUSE));
                moved += 1;
            }
        }
        self.numbers.masters_handed_over += moved as u64;
        Ok(moved)
    }

    /// Nothing that was acknowledged is missing now, nothing is there twice.
    fn nothing_lost_so_far(&self) -> Outcome<()> {
        let verdicts = verify(&self.writers)?;
        verdicts.must_be_in_order()?;
        let count = verdicts.acknowledged();
        shown(&format!("checked: {count} acknowledged records, 0 lost, 0 duplicated, all in order"));
        Ok(())
    }

    fn one_store(&mut self) -> Outcome<()> {
        title("Act 1: one store's master moves");
        let from = self.cluster.master_of("store1")?;
        tell(&format!(
            "store1 is served by the engine on {from}. An operator asks for another master: the coordinators freeze the \
             old one for a blink, bring the replica exactly level, raise the store's epoch so that the old master can \
             never acknowledge again, and only then let the replica serve."
        ));
        let shown_plan = self.propose("alice", &["failover", "slot", &from, "-m", "the disk makes noises"])?;
        let before = self.writers.routes();
        let began = Instant::now();
        self.approve("alice", &shown_plan, false)?.expect(DONE)?;
        let moved = self.note_moves(&before, began)?;
        let gap = self.gaps.last().copied().unwrap_or_default();
        if moved != 1 {
            return Err(format!("one store was to move, {moved} did").into());
        }
        shown(&format!(
            "store1 is served by {} now; its client waited {} ms for one answer",
            self.cluster.master_of("store1")?,
            gap.as_millis()
        ));
        self.nothing_lost_so_far()
    }

    fn last_count(&mut self, started: Instant) -> Outcome<()> {
        title("The count");
        self.cluster.wait_served()?;
        self.writers.wait_progress()?;
        self.writers.stop()?;
        let verdicts = verify(&self.writers)?;
        let numbers = &mut self.numbers;
        numbers.writes_acked = verdicts.acknowledged();
        numbers.writes_lost = verdicts.lost();
        numbers.writes_duplicated = verdicts.duplicated();
        numbers.handover_gap_ms = Gaps::of(&self.gaps);
        numbers.seconds = started.elapsed().as_secs_f64();
        println!();
        numbers.lines().iter().for_each(|line| println!("{line}"));
        Ok(())
    }

    /// Waits until clients know that no master of this host is left.
    fn wait_no_master_on(&self, n: u8) -> Outcome<()> {
        let name = host(n);
        wait_until(&format!("no route leads to {name}"), crate::AT_LAST, || {
            self.writers.routes().values().all(|route| route.to.slot.host.as_str() != name)
        })
    }
}

/// A command's arguments as a person types them.
fn typed(line: &[&str]) -> String {
    let quoted = line.iter().map(|word| if word.contains(' ') { format!("'{word}'") } else { (*word).to_owned() });
    quoted.collect::<Vec<_>>().join(" ")
}

impl Shown {
    /// Finds the approve command in what `slotctl` printed.
    fn read(said: Said) -> Outcome<Self> {
        let words: Vec<&str> = said.stdout.split_whitespace().collect();
        let found = words.windows(5).find(|five| five[0] == "plan" && five[1] == "approve" && five[3] == "--digest");
        match found {
            Some(five) => Ok(Self { plan: five[2].into(), digest: five[4].into(), text: said.stdout.clone() }),
            None => Err(said.unexpected("the command that approves the plan")),
        }
    }
}
