//! Act 4: a host dies, people decide, and what was stranded on it comes back.
//!
//! What always holds: what the loss cases list is compared, record by record, with what clients miss, before anything is
//! put back.

use super::Demo;
use super::numbers::Together;
use super::told::{command, quoted, shown, tell, title};
use crate::Outcome;
use crate::ctl::{DONE, FAILED, NEEDS_APPROVAL};
use crate::loss::{self, LAG, Records};
use crate::shape::host;
use crate::verify::verify;
use slot_types::ids::StoreName;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// When no loss case came up for so long after the others were settled, there is none.
const CASES_SETTLE: Duration = Duration::from_secs(3);

impl Demo {
    pub(super) fn host_dies(&mut self) -> Outcome<()> {
        let n = self.busiest_except(&[])?;
        let name = host(n);
        let masters = self.cluster.masters_on(n)?;
        self.numbers.unplanned.stores = masters.len() as u64;
        title(&format!("Act 4: {name} dies"));
        tell(&format!(
            "{name} is master of {} stores. Replication does not make clients wait, so a host that dies may take records \
             with it that only it has. To have some, the replicas of these stores are made to lag (their processes are \
             stopped) for {} ms; then {name} loses its power: its agent and all its engines are killed (kill -9).",
            masters.len(),
            LAG.as_millis()
        ));
        let killed = loss::kill_with_lag(&mut self.cluster, n)?;
        shown(&format!("{killed} engines and the agent of {name} are dead"));
        loss::wait_silent(&self.cluster, n)?;
        command("alice", "status");
        quoted(&self.cluster.ctl.run("alice", &["status"])?.stdout);
        self.the_sheet(n, &name, &masters)?;
        let missing = loss::missing(&self.writers)?;
        let actual = missing.values().map(BTreeSet::len).sum::<usize>();
        self.numbers.unplanned.loss_actual = actual as u64;
        tell(&format!(
            "Every client of these stores writes again. Now each compares its own log with its store's new master: \
             {actual} acknowledged records are not there. They are on the disk of {name}, and nobody has thrown them away."
        ));
        self.return_of(n, &name, &masters, &missing)
    }

    fn the_sheet(&mut self, n: u8, name: &str, masters: &[StoreName]) -> Outcome<()> {
        tell(
            "Nothing fails over by itself: from here a dead host and a cut cable look the same, and two masters would be \
             worse than none. First somebody must know that the host is off. Without that:",
        );
        command("alice", &format!("failover host {name} -m 'host is dead'"));
        let said = self.cluster.ctl.run("alice", &["failover", "host", name, "-m", "host is dead"])?.expect(FAILED)?;
        quoted(&said.stderr);
        tell(&format!(
            "Alice has walked to the rack (this script says so for her) and gives her word that {name} is off."
        ));
        command("alice", &format!("off host {name} --how 'power cable pulled' -m 'host is dead'"));
        self.cluster
            .ctl
            .run("alice", &["off", "host", name, "--how", "power cable pulled", "-m", "host is dead"])?
            .expect(DONE)?;
        tell("Now there is a sheet: for each store who would take over, what may be lost, and who must agree.");
        let sheet = self.propose("alice", &["failover", "host", name, "-m", "host is dead"])?;
        quoted(&sheet.text);
        tell(
            "A person's word is all that fences the old masters, so two other people must agree. This script says yes for \
             bob and for carol.",
        );
        self.approve("bob", &sheet, false)?.expect(NEEDS_APPROVAL)?;
        let began = Instant::now();
        let said = self.approve("carol", &sheet, false)?.expect(DONE)?;
        quoted(said.stdout.trim_end().lines().last().unwrap_or_default());
        self.numbers.unplanned.approvals = 2;
        self.wait_no_master_on(n)?;
        self.writers.wait_progress()?;
        self.numbers.unplanned.failover_s = began.elapsed().as_secs_f64();
        self.numbers.failover_host = Together {
            stores: masters.len() as u64,
            approvals: self.numbers.unplanned.approvals,
            s: self.numbers.unplanned.failover_s,
        };
        shown(&format!(
            "{} stores have a new master; all their clients were served again {:.1} s after the second yes",
            masters.len(),
            self.numbers.unplanned.failover_s
        ));
        Ok(())
    }

    /// A copy that follows its successor puts its tail aside, and may tell of a record there before it has pulled that very
    /// record from the successor, which got it when its client asked again. That opens a case too, and holds the store back
    /// until somebody settles it.
    fn late_cases(&self, n: u8) -> Outcome<()> {
        let mut quiet_since = Instant::now();
        while quiet_since.elapsed() < CASES_SETTLE {
            std::thread::sleep(Duration::from_millis(200));
            for case in loss::waiting(&self.cluster, n)? {
                tell(&format!(
                    "One more case came up, of a record that a copy had put aside: {case}. It is settled as well."
                ));
                let plan = self.propose("alice", &["loss", "reinject", &case, "-m", "customers want it all"])?;
                self.approve("alice", &plan, false)?.expect(DONE)?;
                quiet_since = Instant::now();
            }
        }
        Ok(())
    }

    fn return_of(&mut self, n: u8, name: &str, masters: &[StoreName], missing: &Records) -> Outcome<()> {
        tell(&format!(
            "{name} gets its power back. Its former masters are not let near a client: each is fenced at the new epoch and \
             lists exactly which of its records its successor lacks. Its replicas just catch up."
        ));
        self.cluster.restart_host(n)?;
        let listed = loss::listed(&self.cluster, n, masters.len())?;
        command("alice", "loss list");
        quoted(&self.cluster.ctl.run("alice", &["loss", "list"])?.stdout);
        let count = listed.records.values().map(BTreeSet::len).sum::<usize>();
        self.numbers.unplanned.loss_listed = count as u64;
        if listed.records != *missing {
            return Err(format!("clients miss {missing:?}, the loss cases list {:?}", listed.records).into());
        }
        shown(&format!("the loss cases list {count} records: exactly those that clients miss, id by id"));
        tell("Alice has them put into the new masters, each under its own id, none twice.");
        for (case, store) in &listed.open {
            let plan = self.propose("alice", &["loss", "reinject", case, "-m", "customers want it all"])?;
            self.approve("alice", &plan, false)?.expect(DONE)?;
            self.numbers.unplanned.reinjected += listed.records.get(store).map_or(0, BTreeSet::len) as u64;
        }
        self.cluster.wait_served()?;
        self.late_cases(n)?;
        let verdicts = verify(&self.writers)?;
        verdicts.must_be_whole()?;
        shown(&format!(
            "checked: {} acknowledged records, 0 lost, 0 duplicated; every store has all its copies again",
            verdicts.acknowledged()
        ));
        Ok(())
    }
}
