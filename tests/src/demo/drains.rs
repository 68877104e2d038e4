//! Acts 2 and 3: a host is emptied of masters, and the leader dies in the middle of it.
//!
//! What always holds: planned work loses nothing, whoever dies meanwhile.

use super::Demo;
use super::told::{quoted, shown, tell, title};
use crate::ctl::{DONE, Said};
use crate::shape::host;
use crate::{Outcome, wait_for, wait_until};
use std::time::{Duration, Instant};

/// The last line that a command printed.
fn last_line(said: &Said) -> &str {
    said.stdout.trim_end().lines().last().unwrap_or_default()
}

impl Demo {
    /// The host with the most masters, except these.
    pub(super) fn busiest_except(&self, not: &[u8]) -> Outcome<u8> {
        let routes = self.cluster.routes()?;
        let masters = |n: u8| routes.values().filter(|slot| slot.host.as_str() == host(n)).count();
        let hosts = (1..=self.cluster.shape.hosts).filter(|n| !not.contains(n));
        hosts.max_by_key(|n| (masters(*n), u8::MAX - n)).ok_or_else(|| "no host is left".into())
    }

    pub(super) fn one_host(&mut self) -> Outcome<()> {
        let n = self.busiest_except(&[])?;
        let name = host(n);
        title(&format!("Act 2: {name} needs a new fan"));
        let masters = self.cluster.masters_on(n)?.len();
        tell(&format!(
            "{name} is master of {masters} stores and holds replicas of others. To take it out of its rack without anybody \
             noticing, its masters go to their replicas, its own replicas are stopped cleanly, and the last line says \
             whether it is safe to switch off. No data is copied: it stays on the host for its return."
        ));
        let plan = self.propose("alice", &["drain", "host", &name, "-m", "new fan"])?;
        let before = self.writers.routes();
        let began = Instant::now();
        let said = self.approve("alice", &plan, false)?;
        if said.code != DONE || !last_line(&said).contains("SAFE TO SWITCH OFF") {
            return Err(said.unexpected("a drain that ends SAFE TO SWITCH OFF"));
        }
        self.numbers.drain_s = began.elapsed().as_secs_f64();
        quoted(last_line(&said));
        let moved = self.note_moves(&before, began)?;
        let left = self.cluster.engines(n).len();
        shown(&format!(
            "{moved} masters moved in {:.1} s; {left} engine processes run on {name}",
            self.numbers.drain_s
        ));
        if left > 0 {
            return Err(format!("{name} was said to be safe to switch off and runs {left} engines").into());
        }
        self.undrain(n, "the fan is in")?;
        self.nothing_lost_so_far()
    }

    fn undrain(&mut self, n: u8, reason: &str) -> Outcome<()> {
        let name = host(n);
        tell(&format!("{name} is back. Its replicas catch up first; then the same masters are handed back to it."));
        let plan = self.propose("alice", &["undrain", "host", &name, "-m", reason])?;
        let before = self.writers.routes();
        let began = Instant::now();
        self.approve("alice", &plan, false)?.expect(DONE)?;
        let moved = self.note_moves(&before, began)?;
        shown(&format!("{moved} masters are on {name} again after {:.1} s", began.elapsed().as_secs_f64()));
        Ok(())
    }

    pub(super) fn leader_dies(&mut self) -> Outcome<()> {
        let n = self.busiest_except(&[])?;
        let name = host(n);
        let leader = self.cluster.leader()?;
        title(&format!("Act 3: the leading coordinator dies in the middle of a drain of {name}"));
        tell(&format!(
            "c{leader} leads and carries the plan out. As soon as the first master has left {name}, c{leader} is killed \
             (kill -9). It remembers nothing that matters: the plan and each step are in the replicated log, agents know \
             what they did already, so whoever leads next goes on where it stopped."
        ));
        let plan = self.propose("alice", &["drain", "host", &name, "-m", "new disks"])?;
        let before = self.writers.routes();
        let began = Instant::now();
        self.approve("alice", &plan, true)?.expect(DONE)?;
        wait_until("the first master leaves", crate::AT_LAST, || self.writers.routes() != before)?;
        let killed = Instant::now();
        self.cluster.kill_coordinator(leader)?;
        let next = self.next_leader(leader)?;
        self.numbers.leader_gap_ms = u64::try_from(killed.elapsed().as_millis()).unwrap_or(u64::MAX);
        shown(&format!("c{leader} was killed; {next} leads {} ms later", self.numbers.leader_gap_ms));
        self.cluster.start_coordinator(leader)?;
        super::command("alice", &format!("plan watch {}", plan.plan));
        let said = self.cluster.ctl.run("alice", &["plan", "watch", &plan.plan])?;
        if said.code != DONE || !last_line(&said).contains("SAFE TO SWITCH OFF") {
            return Err(said.unexpected("a drain that ends SAFE TO SWITCH OFF"));
        }
        quoted(last_line(&said));
        self.wait_no_master_on(n)?;
        let moved = self.note_moves(&before, began)?;
        shown(&format!("{moved} masters moved, across the change of leader"));
        self.undrain(n, "the disks are in")?;
        self.nothing_lost_so_far()
    }

    /// Who leads after the death of a leader.
    fn next_leader(&self, dead: u8) -> Outcome<String> {
        let caller = self.cluster.caller("operator-alice")?;
        let dead = format!("c{dead}");
        wait_for("another coordinator leads", crate::AT_LAST, || {
            // Asked without wait_for's pause, since this is measured.
            let until = Instant::now() + Duration::from_secs(1);
            loop {
                let leader = self.writers.runtime().block_on(caller.leader()).filter(|name| *name != dead);
                if leader.is_some() || Instant::now() > until {
                    return leader;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        })
    }
}
