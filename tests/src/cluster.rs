//! A real small cluster in a folder: coordinators, agents and the engines they start.
//!
//! What always holds: a coordinator and an agent are killed through the handle of the child that was started, an engine as
//! exactly the process that was found; dropping a cluster ends every process of it, agents before engines, so that nobody
//! is left who starts one.

use crate::block::{Block, Leave};
use crate::ctl::{Ctl, DONE, Said};
use crate::engines::{self, EngineProcess};
use crate::programs::Programs;
use crate::shape::{OPERATORS, Shape, host, host_number};
use crate::wire::Caller;
use crate::{AT_LAST, Outcome, wait_for, wait_until};
use serde_json::Value;
use slot_net::process::ProcessIdentity;
use slot_types::ids::{BootId, SlotId, StoreName};
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A cluster that runs.
#[derive(Debug)]
pub struct Cluster {
    /// How large it is.
    pub shape: Shape,
    /// Runs `slotctl`.
    pub ctl: Ctl,
    folder: PathBuf,
    programs: Programs,
    block: Block,
    coordinators: BTreeMap<u8, Child>,
    agents: BTreeMap<u8, Child>,
    boots: BTreeMap<u8, BootId>,
    failpoints: BTreeMap<String, String>,
    /// What every program is told to log; as ever when it is `None`.
    pub logs: Option<String>,
    /// Whether dropping it ends its processes and removes its folder.
    keep: bool,
    _leave: Option<Leave>,
}

impl Cluster {
    /// For a test: waits for leave, makes a cluster in a new folder and waits until every store is served.
    pub fn for_test(shape: Shape) -> Outcome<Self> {
        Self::for_test_with(shape, Programs::find()?, BTreeMap::new())
    }

    /// Like [`Cluster::for_test`], with these programs and these failpoints, by process: `c1`, `imap2`.
    pub fn for_test_with(shape: Shape, programs: Programs, failpoints: BTreeMap<String, String>) -> Outcome<Self> {
        let leave = Leave::wait()?;
        let folder = tempfile::Builder::new().prefix("slot-").tempdir()?.keep();
        let mut cluster = Self::new(folder, shape, programs)?;
        cluster.failpoints = failpoints;
        cluster._leave = Some(leave);
        cluster.found()?;
        Ok(cluster)
    }

    /// Describes a cluster in `folder`; nothing runs yet.
    pub fn new(folder: PathBuf, shape: Shape, programs: Programs) -> Outcome<Self> {
        fs::create_dir_all(&folder)?;
        let folder = folder.canonicalize()?;
        let ctl = Ctl::new(&programs.slotctl, &folder.join("identities"));
        let boots = (1..=shape.all_hosts()).map(|n| (n, new_boot())).collect();
        Ok(Self {
            shape,
            ctl,
            folder,
            programs,
            block: Block::take()?,
            coordinators: BTreeMap::new(),
            agents: BTreeMap::new(),
            boots,
            failpoints: BTreeMap::new(),
            logs: None,
            keep: false,
            _leave: None,
        })
    }

    /// Makes identities, starts everything, applies the cluster file and waits until every store is served.
    pub fn found(&mut self) -> Outcome<()> {
        self.start_processes()?;
        let file = self.file();
        self.ctl.change("alice", &["apply", "-f", &file, "-m", "first light"])?.expect(DONE)?;
        self.wait_served()
    }

    /// Makes identities and starts every coordinator and agent; no host or store is declared yet.
    pub fn start_processes(&mut self) -> Outcome<()> {
        fs::create_dir_all(self.folder.join("logs"))?;
        let file = self.folder.join("cluster.toml");
        let mut all = self.shape.clone();
        while all.later > 0 {
            all = all.grown();
        }
        // Identities are made for later hosts too.
        fs::write(&file, all.file(&self.block))?;
        self.ctl.init(&file, &OPERATORS, &self.shape.clients())?;
        fs::write(&file, self.shape.file(&self.block))?;
        for n in 1..=self.shape.coordinators {
            self.start_coordinator(n)?;
        }
        for n in 1..=self.shape.hosts {
            self.write_agent_config(n)?;
            self.start_agent(n)?;
        }
        self.leader()?;
        Ok(())
    }

    /// The `agent.toml` of host `n`, written when it is not there yet.
    pub(crate) fn agent_config(&self, n: u8) -> Outcome<PathBuf> {
        self.write_agent_config(n)?;
        Ok(self.folder.join(format!("{}.toml", host(n))))
    }

    /// The next of the later hosts comes, bare: its agent runs, and it is in the cluster file, which is not applied yet.
    pub fn bare_host_comes(&mut self) -> Outcome<u8> {
        self.shape = self.shape.grown();
        let n = self.shape.hosts;
        self.write_agent_config(n)?;
        self.start_agent(n)?;
        fs::write(self.folder.join("cluster.toml"), self.shape.file(&self.block))?;
        Ok(n)
    }

    /// Writes the cluster file anew with another policy; it is not applied yet.
    pub fn set_policy(&mut self, policy: &str) -> Outcome<()> {
        self.shape.policy = policy.into();
        Ok(fs::write(self.folder.join("cluster.toml"), self.shape.file(&self.block))?)
    }

    /// The cluster file.
    pub fn file(&self) -> String {
        self.folder.join("cluster.toml").display().to_string()
    }

    /// Everything of this cluster lies below it.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The programs it runs.
    pub(crate) fn programs(&self) -> &Programs {
        &self.programs
    }

    /// Its addresses.
    pub fn block(&self) -> &Block {
        &self.block
    }

    /// The identity folder of somebody, `operator-alice`.
    pub fn identity(&self, name: &str) -> PathBuf {
        self.folder.join("identities").join(name)
    }

    /// Calls as somebody, `client-w1`.
    pub fn caller(&self, name: &str) -> Outcome<Caller> {
        Caller::load(&self.identity(name))
    }

    /// The data of host `n`: its ledger and its copies.
    pub fn host_folder(&self, n: u8) -> PathBuf {
        self.folder.join("hosts").join(host(n))
    }

    fn log_of(&self, name: &str) -> Outcome<Stdio> {
        let path = self.folder.join("logs").join(format!("{name}.log"));
        Ok(OpenOptions::new().create(true).append(true).open(path)?.into())
    }

    pub(crate) fn spawn(&self, name: &str, mut command: Command) -> Outcome<Child> {
        command
            .stdin(Stdio::null())
            .stdout(self.log_of(name)?)
            .stderr(self.log_of(name)?)
            .env_remove("SLOT_FAILPOINTS");
        if let Some(armed) = self.failpoints.get(name) {
            command.env("SLOT_FAILPOINTS", armed);
        }
        if let Some(filter) = &self.logs {
            command.env("SLOT_LOG", filter);
        }
        command.spawn().map_err(|error| format!("could not start {name}: {error}").into())
    }

    /// Starts coordinator `n`.
    pub fn start_coordinator(&mut self, n: u8) -> Outcome<()> {
        let name = format!("c{n}");
        let mut command = Command::new(&self.programs.slotd);
        command.arg("--folder").arg(self.identity(&format!("coordinator-{name}")));
        command.arg("--dir").arg(self.folder.join("coordinators").join(&name));
        command.arg("--listen").arg(self.block.coordinator(n).to_string());
        fs::create_dir_all(self.folder.join("coordinators"))?;
        let child = self.spawn(&name, command)?;
        self.coordinators.insert(n, child);
        Ok(())
    }

    fn write_agent_config(&self, n: u8) -> Outcome<()> {
        let data = self.host_folder(n);
        fs::create_dir_all(&data)?;
        let name = host(n);
        let mut text = format!(
            "format = 1\nhost = \"{name}\"\nlisten = \"{}\"\ndata = \"{}\"\nengine_binary = \"{}\"\n\n[slots]\n",
            self.block.agent(n),
            data.display(),
            self.programs.journal.display()
        );
        for slot in 1..=self.shape.slots {
            text += &format!("{slot} = \"{}\"\n", self.block.slot(n, slot));
        }
        Ok(fs::write(self.folder.join(format!("{name}.toml")), text)?)
    }

    /// Starts the agent of host `n`, in the host's present boot.
    pub fn start_agent(&mut self, n: u8) -> Outcome<()> {
        let name = host(n);
        let mut command = Command::new(&self.programs.agent);
        command.arg("--folder").arg(self.identity(&format!("agent-{name}")));
        command.arg("--config").arg(self.folder.join(format!("{name}.toml")));
        command.arg("--boot-id").arg(self.boots[&n].to_string());
        let child = self.spawn(&name, command)?;
        self.agents.insert(n, child);
        Ok(())
    }

    /// What a person at the machine of host `n` runs: `slot-agent local …`.
    pub fn at_machine(&self, n: u8, arguments: &[&str]) -> Outcome<Said> {
        let mut command = Command::new(&self.programs.agent);
        command.args(["local", "--output", "json", "--config"]);
        command.arg(self.folder.join(format!("{}.toml", host(n)))).args(arguments);
        Said::of(command, format!("{}# slot-agent local {}", host(n), arguments.join(" ")))
    }

    /// Kills every coordinator (`kill -9`).
    pub fn kill_coordinators(&mut self) -> Outcome<()> {
        self.running_coordinators().into_iter().try_for_each(|n| self.kill_coordinator(n))
    }

    /// Starts every coordinator.
    pub fn start_coordinators(&mut self) -> Outcome<()> {
        (1..=self.shape.coordinators).try_for_each(|n| self.start_coordinator(n))
    }

    /// Every coordinator's disk is gone, as after a fire; they must be dead.
    pub fn lose_coordinator_disks(&self) -> Outcome<()> {
        Ok(fs::remove_dir_all(self.folder.join("coordinators"))?)
    }

    /// Restores every coordinator's disk from a backup (`slotd restore`); none is started.
    pub fn restore_coordinators(&self, from: &str, generation: Option<u32>) -> Outcome<()> {
        for n in 1..=self.shape.coordinators {
            let name = format!("c{n}");
            let mut command = Command::new(&self.programs.slotd);
            command.arg("--folder").arg(self.identity(&format!("coordinator-{name}")));
            command.arg("--dir").arg(self.folder.join("coordinators").join(&name));
            command.args(["restore", "--from", from]);
            if let Some(generation) = generation {
                command.arg("--generation").arg(generation.to_string());
            }
            Said::of(command, format!("{name}# slotd restore --from {from}"))?.expect(DONE)?;
        }
        Ok(())
    }

    /// Kills coordinator `n` (`kill -9`).
    pub fn kill_coordinator(&mut self, n: u8) -> Outcome<()> {
        end(self.coordinators.remove(&n))
    }

    /// Kills the agent of host `n` (`kill -9`); its engines go on.
    pub fn kill_agent(&mut self, n: u8) -> Outcome<()> {
        end(self.agents.remove(&n))
    }

    /// Kills the agent of host `n` and every engine on it (`kill -9`), as when its power is cut.
    pub fn kill_host(&mut self, n: u8) -> Outcome<usize> {
        self.kill_agent(n)?;
        engines::kill_below(&self.host_folder(n))
    }

    /// The process of the agent of host `n`.
    pub fn agent_process(&self, n: u8) -> Outcome<ProcessIdentity> {
        let child = self.agents.get(&n).ok_or("its agent does not run")?;
        Ok(ProcessIdentity::of(child.id())?)
    }

    /// Starts host `n` again as a new boot of it: its agent runs, its engines do not.
    pub fn restart_host(&mut self, n: u8) -> Outcome<()> {
        self.boots.insert(n, new_boot());
        // One that its device switched off is dead and was not reaped.
        self.kill_agent(n)?;
        self.start_agent(n)
    }

    /// The engines that run on host `n`.
    pub fn engines(&self, n: u8) -> Vec<EngineProcess> {
        engines::below(&self.host_folder(n))
    }

    /// The engine that runs on a slot.
    pub fn engine_on(&self, slot: &str) -> Outcome<EngineProcess> {
        let n = host_number(slot).ok_or("no such host")?;
        let base = self.host_folder(n).join("slots").join(format!("{:02}", slot.parse::<SlotId>()?.number));
        let found = engines::below(&base).into_iter().next();
        found.ok_or_else(|| format!("no engine runs on {slot}").into())
    }

    /// Starts every coordinator and agent again that has ended by itself, as a supervisor would; answers their names.
    pub fn revive(&mut self) -> Outcome<Vec<String>> {
        let mut revived = Vec::new();
        for n in ended(&mut self.coordinators)? {
            self.start_coordinator(n)?;
            revived.push(format!("c{n}"));
        }
        for n in ended(&mut self.agents)? {
            self.start_agent(n)?;
            revived.push(host(n));
        }
        Ok(revived)
    }

    /// The coordinators that run.
    pub fn running_coordinators(&self) -> Vec<u8> {
        self.coordinators.keys().copied().collect()
    }

    /// The number of the leading coordinator, once there is one that is confirmed by a majority.
    pub fn leader(&self) -> Outcome<u8> {
        let caller = self.caller("operator-alice")?;
        let runtime = crate::wire::runtime()?;
        wait_for("a coordinator leads", AT_LAST, || {
            let name = runtime.block_on(caller.leader())?;
            name.strip_prefix('c')?.parse().ok()
        })
    }

    /// A document of the cluster, as `slotctl --output json` prints it.
    pub fn look(&self, arguments: &[&str]) -> Outcome<Value> {
        Ok(self.ctl.json("alice", arguments)?.expect(DONE)?.json())
    }

    /// The slot and epoch that clients of each store go to.
    pub fn routes(&self) -> Outcome<BTreeMap<StoreName, SlotId>> {
        let document = self.look(&["routes"])?;
        let mut routes = BTreeMap::new();
        for line in document["routes"].as_array().into_iter().flatten() {
            let store: StoreName = line["store"].as_str().unwrap_or_default().parse()?;
            if let Some(slot) = line["route"]["slot"].as_str().or(line["slot"].as_str()) {
                routes.insert(store, slot.parse()?);
            }
        }
        Ok(routes)
    }

    /// The slot of a store's master, `imap1/02`.
    pub fn master_of(&self, store: &str) -> Outcome<String> {
        let routes = self.routes()?;
        let slot = routes.get(&StoreName::new(store)?).ok_or_else(|| format!("{store} has no route"))?;
        Ok(slot.to_string())
    }

    /// The slots that have a copy of a store.
    pub fn copies_of(&self, store: &str) -> Outcome<Vec<String>> {
        let view = self.look(&["show", "store", store])?;
        let copies = view["copies"].as_array().ok_or_else(|| format!("{store} has no copies: {view}"))?;
        Ok(copies.iter().filter_map(|copy| copy["slot"].as_str().map(str::to_owned)).collect())
    }

    /// The committed epoch of a store.
    pub fn epoch_of(&self, store: &str) -> Outcome<u64> {
        let view = self.look(&["show", "store", store])?;
        view["epoch"]["n"].as_u64().ok_or_else(|| format!("{store} has no epoch: {view}").into())
    }

    /// The stores whose master is on host `n`.
    pub fn masters_on(&self, n: u8) -> Outcome<Vec<StoreName>> {
        let name = host(n);
        Ok(self.routes()?.into_iter().filter(|(_, slot)| slot.host.as_str() == name).map(|(store, _)| store).collect())
    }

    /// Waits until every store is served and has all its copies live.
    pub fn wait_served(&self) -> Outcome<()> {
        let mut last = Value::Null;
        let waited = wait_until("every store is served by a master and its replicas", AT_LAST, || {
            last = self.look(&["status"]).unwrap_or(Value::Null);
            let counts = &last["counts"];
            let all = counts["all"].as_u64();
            all == Some(u64::from(self.shape.stores))
                && counts["served"].as_u64() == all
                && counts["full"].as_u64() == all
        });
        waited.map_err(|error| format!("{error}; last seen: {}", last["counts"]).into())
    }

    /// Leaves it running when this value is dropped; answers every coordinator's and agent's process number.
    pub fn leave_running(mut self) -> Vec<u32> {
        self.keep = true;
        self.coordinators.values().chain(self.agents.values()).map(Child::id).collect()
    }

    /// Ends every process: agents first, then engines, then coordinators.
    pub fn stop_all(&mut self) -> Outcome<()> {
        let mut trouble = None;
        for (_, child) in std::mem::take(&mut self.agents) {
            trouble = end(Some(child)).err().or(trouble);
        }
        trouble = engines::kill_below(&self.folder.join("hosts")).err().or(trouble);
        for (_, child) in std::mem::take(&mut self.coordinators) {
            trouble = end(Some(child)).err().or(trouble);
        }
        trouble.map_or(Ok(()), Err)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        if let Err(error) = self.stop_all() {
            eprintln!("the cluster in {} was not ended whole: {error}", self.folder.display());
        }
        if std::thread::panicking() {
            eprintln!("logs and data of the cluster are kept in {}", self.folder.display());
        } else if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("could not remove {}: {error}", self.folder.display());
        }
    }
}

/// Kills a child and reaps it.
fn end(child: Option<Child>) -> Outcome<()> {
    if let Some(mut child) = child {
        child.kill()?;
        child.wait()?;
    }
    Ok(())
}

/// Takes out the children that have ended.
fn ended(children: &mut BTreeMap<u8, Child>) -> Outcome<Vec<u8>> {
    let mut gone = Vec::new();
    for (n, child) in children.iter_mut() {
        if child.try_wait()?.is_some() {
            gone.push(*n);
        }
    }
    children.retain(|n, _| !gone.contains(n));
    Ok(gone)
}

fn new_boot() -> BootId {
    BootId(rand::random())
}
