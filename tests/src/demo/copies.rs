//! Acts 5 to 8: a host joins, another is emptied, all power fails at once, a bare host takes its place again.
//!
//! What always holds: no store passes through fewer copies than it asks for by anybody's plan; what comes back after a power
//! cut comes back by itself, with the same masters at the same epochs.

use super::Demo;
use super::numbers::Together;
use super::told::{at_machine, command, quoted, shown, tell, title};
use crate::ctl::{DONE, FAILED};
use crate::shape::host;
use crate::verify::verify;
use crate::{Outcome, wait_until};
use std::time::Instant;

impl Demo {
    pub(super) fn host_joins(&mut self) -> Outcome<()> {
        title("Act 5: a seventh host joins");
        tell(
            "The 84 copies would not fit on five hosts of sixteen slots, and no store may pass through fewer copies than it \
             asks for: asked to empty one of six hosts, the planner refuses.",
        );
        let name = host(self.busiest_except(&[])?);
        command("alice", &format!("drain host {name} --empty -m 'its lease ends'"));
        let line = ["drain", "host", &name, "--empty", "-m", "its lease ends"];
        let said = self.cluster.ctl.run("alice", &line)?.expect(FAILED)?;
        quoted(&said.stderr);
        let n = self.cluster.shape.hosts + 1;
        tell(
            "So a machine is put into the first rack, bare: nobody would take it for anything. Where the CA is, alice makes a \
             token that is good for this host, for a day and for one use. With it the machine gets its identity; the key \
             is made there and never leaves it, and the log burns the token.",
        );
        self.joins_with_token(n)?;
        self.cluster.bare_host_comes()?;
        tell(&format!(
            "An agent runs on it, and it has nothing else; one line of the cluster file says that {} is there.",
            host(n)
        ));
        let began = Instant::now();
        let file = self.cluster.file();
        let plan = self.propose("alice", &["apply", "-f", &file, "-m", "room"])?;
        self.approve("alice", &plan, false)?.expect(DONE)?;
        shown(&format!(
            "{} is in service {:.1} s later, with sixteen free slots",
            host(n),
            began.elapsed().as_secs_f64()
        ));
        Ok(())
    }

    pub(super) fn host_is_emptied(&mut self) -> Outcome<()> {
        // One of the first rack, where the new one stands: whatever it holds has room there, wherever the other copies are.
        let n = self.busiest_except(&[3, 4, 5, 6, 7])?;
        let name = host(n);
        title(&format!("Act 6: {name} leaves, with its data"));
        tell(&format!(
            "{name}, in the rack of the new one, is to go for good. First its masters leave, as in a drain. Then every copy on it is built on a free slot \
             of another host, counts once it was seen to hold everything, and only then is the old one destroyed."
        ));
        let plan = self.propose("alice", &["drain", "host", &name, "--empty", "-m", "its lease ends"])?;
        let before = self.writers.routes();
        let began = Instant::now();
        let said = self.approve("alice", &plan, false)?.expect(DONE)?;
        self.numbers.drain_empty_s = began.elapsed().as_secs_f64();
        quoted(said.stdout.trim_end().lines().last().unwrap_or_default());
        let moved = self.note_moves(&before, began)?;
        let left = self.cluster.engines(n).len();
        shown(&format!(
            "{moved} masters and all copies left in {:.1} s; {left} engines run",
            self.numbers.drain_empty_s
        ));
        if left > 0 {
            return Err(format!("{name} was emptied and runs {left} engines").into());
        }
        tell(
            "Another machine takes its place under the same name: it is put into service without copies, and gets its share.",
        );
        let back = self.propose("alice", &["undrain", "host", &name, "-m", "the new machine"])?;
        self.approve("alice", &back, false)?.expect(DONE)?;
        let even = self.propose("alice", &["rebalance", "-m", "use it"])?;
        let before = self.writers.routes();
        let began = Instant::now();
        self.approve("alice", &even, false)?.expect(DONE)?;
        self.note_moves(&before, began)?;
        self.nothing_lost_since()
    }

    pub(super) fn power_is_cut(&mut self) -> Outcome<()> {
        title("Act 7: the whole site loses power");
        tell(
            "Every coordinator, agent and engine is killed at the same moment. Nobody is asked anything when the power is \
             back: the same masters start again at the same epochs, since nothing higher was committed, and their replicas \
             follow.",
        );
        for n in 1..=self.cluster.shape.hosts {
            self.cluster.kill_host(n)?;
        }
        for n in self.cluster.running_coordinators() {
            self.cluster.kill_coordinator(n)?;
        }
        shown("nothing runs");
        let began = Instant::now();
        for n in 1..=self.cluster.shape.coordinators {
            self.cluster.start_coordinator(n)?;
        }
        for n in 1..=self.cluster.shape.hosts {
            self.cluster.restart_host(n)?;
        }
        self.writers.wait_progress()?;
        let s = began.elapsed().as_secs_f64();
        self.cluster.wait_served()?;
        self.numbers.power_cut = Together { stores: u64::from(self.cluster.shape.stores), approvals: 0, s };
        shown(&format!(
            "all {} stores were served again {s:.1} s after the power was back, without any approval",
            self.cluster.shape.stores
        ));
        self.nothing_lost_since()
    }

    pub(super) fn host_is_reinstalled(&mut self) -> Outcome<()> {
        let n = self.busiest_except(&[])?;
        let name = host(n);
        title(&format!("Act 8: {name} comes back with empty disks"));
        tell(&format!(
            "{name} is drained, switched off, and gets new disks: its ledger and all its copies are gone. A disk that nobody \
             has admitted gets no order. Alice invites the machine, and the entry that burns its token admits its disk, as \
             nothing on the former one matters any more; then what it lost is built anew."
        ));
        let drain = self.propose("alice", &["drain", "host", &name, "-m", "new disks"])?;
        let (before, began) = (self.writers.routes(), Instant::now());
        self.approve("alice", &drain, false)?.expect(DONE)?;
        self.note_moves(&before, began)?;
        self.cluster.kill_host(n)?;
        std::fs::remove_dir_all(self.cluster.host_folder(n))?;
        let began = Instant::now();
        self.joins_with_token(n)?;
        self.cluster.restart_host(n)?;
        wait_until("the host is heard with its new disk", crate::AT_LAST, || {
            self.cluster
                .look(&["show", "host", &name])
                .is_ok_and(|view| view["seen"]["Known"]["value"].is_string() && view["quarantined"].is_null())
        })?;
        for line in [["undrain", "host", &name, "-m", "new disks"], ["rebuild", "host", &name, "-m", "new disks"]] {
            let plan = self.propose("alice", &line)?;
            self.approve("alice", &plan, false)?.expect(DONE)?;
        }
        wait_until("every copy is whole", crate::AT_LAST, || {
            self.cluster
                .ctl
                .json("alice", &["rebuild", "host", &name, "-m", "asked again"])
                .is_ok_and(|said| said.code == DONE)
        })?;
        self.numbers.rejoin_s = began.elapsed().as_secs_f64();
        shown(&format!("every copy of {name} is whole again {:.1} s after its invitation", self.numbers.rejoin_s));
        self.nothing_lost_since()
    }

    /// A machine without an identity is invited and joins, as an operator and its own administrator do it.
    fn joins_with_token(&self, n: u8) -> Outcome<()> {
        let name = host(n);
        let identity = self.cluster.forget_identity(n)?;
        let token = self.cluster.folder().join(format!("{name}.token"));
        command("alice", &format!("invite host {name} --ca DIR --out {name}.token -m 'a machine'"));
        self.cluster.invite(n, &token)?.expect(DONE)?;
        at_machine(&name, &format!("slot-agent join --token {name}.token --config agent.toml --folder DIR"));
        self.cluster.join(n, &token, &identity)?.expect(DONE)?;
        std::fs::remove_file(&token)?;
        command("alice", "invite list");
        quoted(&self.cluster.ctl.run("alice", &["invite", "list"])?.expect(DONE)?.stdout);
        Ok(())
    }

    /// As after the other acts; what was put back in act 4 came later than its neighbours.
    fn nothing_lost_since(&self) -> Outcome<()> {
        let verdicts = verify(&self.writers)?;
        verdicts.must_be_whole()?;
        shown(&format!("checked: {} acknowledged records, 0 lost, 0 duplicated", verdicts.acknowledged()));
        Ok(())
    }
}
