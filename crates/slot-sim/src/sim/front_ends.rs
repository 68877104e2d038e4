//! Front ends: the product's core and its rendering, maps as files, and a proxy that reads them when it is told to.
//!
//! What always holds: tables and answers travel as the product's own bytes; every deed of a rendering takes time, and a process
//! that dies in one may have done it or not; clients are sent where the map that the proxy has read says, in the text that the
//! product has rendered; everything here is drawn from a stream of its own.

use super::wire::Asker;
use super::*;
use crate::check::Seen;
use crate::clients::{Door, Line};
use crate::faults::DiskTrouble;
use prost::Message;
use slot_agent::front_end::core::{Effect, Event, FrontEndCore, Kept};
use slot_agent::front_end::core_rendering::{Deed, Next, Renderer};
use slot_agent::front_end::maps;
use slot_machine::state::{PlanStatus, StepState};
use slot_proto::pb;
use slot_types::codec;
use slot_types::front_end::{FrontEndReport, RouteTable};
use slot_types::plan::StepKind;

/// How long a coordinator waits for a front end, as its shell does.
const CALL_MS: u64 = 45_000;
/// The map that clients read.
const CLIENTS_MAP: &str = "json";

/// A front end: its process, if it runs, its files, and its proxy.
#[derive(Default)]
pub(crate) struct FrontEndMachine {
    core: Option<FrontEndCore>,
    renderer: Option<Renderer>,
    life: u32,
    wake_at: Option<u64>,
    job: Option<Job>,
    /// Tables that are durable, as begun and as acknowledged.
    begun: Option<Vec<u8>>,
    acknowledged: Option<Vec<u8>>,
    maps: BTreeMap<MapName, Map>,
    /// What the proxy has read.
    loaded: BTreeMap<MapName, Map>,
    door: Door,
    /// Until when files can't be written, or reloads fail.
    full_until: u64,
    ill_until: u64,
    /// The newest table that came, and the newest that was acknowledged.
    newest: Option<(u32, Revision)>,
    said: Option<(u32, Revision)>,
}

/// A map's file.
#[derive(Clone)]
struct Map {
    text: String,
    age: (u32, Revision),
}

/// A rendering under way.
struct Job {
    number: u64,
    table: RouteTable,
    moving: BTreeSet<StoreName>,
    deed: Deed,
}

fn deed_name(deed: &Deed) -> &'static str {
    match deed {
        Deed::Begin => "begin",
        Deed::Write(_) => "write",
        Deed::Reload(_) => "reload",
        Deed::Acknowledge => "acknowledge",
    }
}

/// What a client reads of the map's text.
fn read(text: &str) -> Option<Door> {
    let map: serde_json::Value = serde_json::from_str(text).ok()?;
    let line = |store: &serde_json::Value| {
        let field = |name: &str| store.get(name)?.as_str();
        let line = Line {
            slot: field("slot")?.parse().ok()?,
            epoch: field("epoch")?.parse().ok()?,
            moving: store.get("moving")?.as_bool()?,
        };
        Some((field("name")?.parse().ok()?, line))
    };
    map.get("stores")?.as_array()?.iter().map(line).collect()
}

fn moving_of(door: &Door) -> BTreeSet<StoreName> {
    door.iter().filter(|(_, line)| line.moving).map(|(store, _)| store.clone()).collect()
}

impl FrontEndMachine {
    /// The life of its process, if it runs.
    pub(super) fn life(&self) -> Option<u32> {
        self.core.as_ref().map(|_| self.life)
    }

    /// Whether its proxy holds new connections of a store.
    pub(super) fn holds(&self) -> bool {
        self.door.values().any(|line| line.moving)
    }
}

impl Sim {
    /// Starts a front end's agent from its files.
    pub(crate) fn start_front_end(&mut self, name: &FrontEndName) {
        let cluster = self.cluster;
        let Some(node) = self.front_ends.get_mut(name).filter(|node| node.core.is_none()) else { return };
        let read = |file: &Option<Vec<u8>>| file.as_ref().and_then(|bytes| codec::decode::<RouteTable>(bytes).ok());
        let kept = Kept::of(read(&node.begun), read(&node.acknowledged));
        let begun = kept.begun.as_ref().map(RouteTable::age);
        let maps = [CLIENTS_MAP, "postfix-transport"].into_iter().filter_map(|map| map.parse().ok());
        node.renderer = Some(Renderer::new(maps, begun));
        node.core = Some(FrontEndCore::new(cluster, name.clone(), kept));
        (node.wake_at, node.job, node.newest) = (None, None, begun);
        node.life += 1;
        let (life, holds) = (node.life, !moving_of(&node.door).is_empty());
        if holds {
            self.reach("R12: a front end started again while it held new connections");
        }
        self.note(|| format!("front end {name} starts, life {life}"));
        self.witness.saw(self.queue.now(), Seen::FrontEndRuns { name, starts: true });
        self.front_end_step(name, Event::Tick);
    }

    /// SIGKILL; the deed under way may be done all the same. Its proxy goes on with what it has read.
    pub(crate) fn kill_front_end(&mut self, name: &FrontEndName) {
        let done = self.doors.one_in(2);
        let Some(node) = self.front_ends.get(name).filter(|node| node.core.is_some()) else { return };
        if let Some(deed) = node.job.as_ref().map(|job| job.deed.clone()).filter(|_| done) {
            drop(self.carry_out_deed(name, &deed));
        }
        let Some(node) = self.front_ends.get_mut(name) else { return };
        let acknowledged = node.core.as_ref().and_then(FrontEndCore::acknowledged);
        let is_between = node.loaded.values().any(|map| Some(map.age) > acknowledged);
        (node.core, node.renderer, node.job) = (None, None, None);
        node.life += 1;
        if is_between {
            self.reach("ADR22: a front end died between a reload and its word");
        }
        self.paused.remove(&Node::FrontEnd(name.clone()));
        self.note(|| format!("front end {name} is dead"));
        self.witness.saw(self.queue.now(), Seen::FrontEndRuns { name, starts: false });
    }

    /// Its disk is empty, its maps with it.
    pub(crate) fn wipe_front_end(&mut self, name: &FrontEndName) {
        self.kill_front_end(name);
        if let Some(node) = self.front_ends.get_mut(name) {
            *node = FrontEndMachine { life: node.life, ..FrontEndMachine::default() };
        }
        self.reach("ADR22: a disk of a front end was wiped");
        self.note(|| format!("the disk of front end {name} is empty"));
        self.witness.saw(self.queue.now(), Seen::FrontEndWiped { name });
        self.show_door(name, Door::default());
    }

    /// Its files can't be written for a while, or its reloads fail.
    pub(crate) fn front_end_fails(&mut self, name: &FrontEndName, trouble: DiskTrouble, part: u64) {
        let until = self.now() + 1_000 + part;
        let down = self.doors.within(300, 3_000);
        match trouble {
            DiskTrouble::Eio | DiskTrouble::Enospc => {
                let Some(node) = self.front_ends.get_mut(name) else { return };
                let until_then = if trouble == DiskTrouble::Eio { &mut node.ill_until } else { &mut node.full_until };
                *until_then = until;
                self.witness.front_end_disturbed(name, until);
            }
            _ => {
                self.kill_front_end(name);
                self.queue.after(down, Happening::Start(Node::FrontEnd(name.clone())));
            }
        }
    }

    /// Nothing goes wrong any more.
    pub(super) fn heal_front_ends(&mut self) {
        for (name, node) in &mut self.front_ends {
            (node.full_until, node.ill_until) = (0, 0);
            self.queue.after(0, Happening::Start(Node::FrontEnd(name.clone())));
        }
    }

    /// A coordinator tells a front end where clients go.
    pub(crate) fn serve_routes(&mut self, id: u64, life: u32, front_end: FrontEndName, table: Vec<u8>) {
        let number = self.call(Asker::FrontEnd { id, life, front_end: front_end.clone() }, CALL_MS);
        let bytes = pb::ServeRequest { table }.encode_to_vec();
        self.send(Place::Coordinator(id), Node::FrontEnd(front_end), Kind::Serve, number, &bytes);
    }

    /// A table comes.
    pub(crate) fn table_in(&mut self, name: &FrontEndName, frame: &Frame, payload: &[u8]) -> Option<Work> {
        let request = pb::ServeRequest::decode(payload).ok()?;
        let table: RouteTable = codec::decode(&request.table).ok()?;
        if self.leader().is_some_and(|leader| frame.from != Place::Coordinator(leader)) {
            self.reach("ADR22: a table of a deposed leader came");
        }
        let node = self.front_ends.get_mut(name)?;
        let is_older = node.newest.is_some_and(|newest| table.age() < newest);
        node.newest = node.newest.max(Some(table.age()));
        if is_older {
            self.reach("ADR22: an older table came after a newer one");
        }
        Some(Work::FrontEnd(Box::new(Event::Offer { token: frame.number, table: Box::new(table) })))
    }

    pub(crate) fn front_end_step(&mut self, name: &FrontEndName, event: Event) {
        let now = self.now();
        let Some(node) = self.front_ends.get_mut(name) else { return };
        let Some(core) = node.core.as_mut() else { return };
        let is_tick = event == Event::Tick;
        if is_tick {
            if node.wake_at.is_some_and(|at| at > now) {
                return;
            }
            node.wake_at = None;
        }
        let effects = core.step(now, event);
        let wake = core.next_deadline(now).map(|at| at.max(now + 1));
        if let Some(wake) = wake.filter(|wake| node.wake_at.is_none_or(|at| *wake < at)) {
            node.wake_at = Some(wake);
            let tick = Work::FrontEnd(Box::new(Event::Tick));
            self.queue.at(wake, Happening::Work(Node::FrontEnd(name.clone()), node.life, tick));
        }
        let ends = |effect: &Effect| matches!(effect, Effect::Render { moving, .. } if *moving < moving_of(&node.door));
        if is_tick && effects.iter().any(ends) {
            self.reach("R12: moving ended by a front end's own clock");
        }
        self.front_end_effects(name, effects.into());
    }

    pub(crate) fn front_end_effects(&mut self, name: &FrontEndName, mut effects: VecDeque<Effect>) {
        let node = Node::FrontEnd(name.clone());
        let Some(life) = self.life(&node) else { return };
        while let Some(effect) = effects.pop_front() {
            let what = if matches!(effect, Effect::Render { .. }) { "rendering" } else { "coordinator" };
            if !self.place(&node, "front-end-to", what) {
                if self.life(&node) == Some(life)
                    && let Some(waiting) = self.paused.get_mut(&node)
                {
                    effects.push_front(effect);
                    waiting.push_front(Work::FrontEndRest(effects));
                }
                return;
            }
            match effect {
                Effect::Render { job, table, moving } => self.begin_rendering(name, job, *table, moving),
                Effect::Answer { token, answer } => self.front_end_answers(name, token, answer),
            }
        }
    }

    fn begin_rendering(&mut self, name: &FrontEndName, number: u64, table: RouteTable, moving: BTreeSet<StoreName>) {
        let Some(node) = self.front_ends.get_mut(name) else { return };
        let Some(deed) = node.renderer.as_mut().map(|renderer| renderer.begin(&table)) else { return };
        node.job = Some(Job { number, table, moving, deed });
        self.deed_takes_time(name);
    }

    fn deed_takes_time(&mut self, name: &FrontEndName) {
        let node = Node::FrontEnd(name.clone());
        let job = self.front_ends.get(name).and_then(|node| node.job.as_ref());
        let reloads = job.is_some_and(|job| matches!(job.deed, Deed::Reload(_)));
        let slow = self.slow.get(&node).is_some_and(|until| *until > self.now());
        let most = if self.doors.one_in(8) { 600 } else { 40 };
        let base = if reloads { self.doors.within(5, most) } else { self.doors.within(1, 3) };
        let more = if slow { self.doors.within(50, 900) } else { 0 };
        self.give(base + more, node, Work::FrontEndDeed);
    }

    /// The deed of a rendering is done, or fails.
    pub(crate) fn front_end_deed(&mut self, name: &FrontEndName) {
        let Some(deed) = self.front_ends.get(name).and_then(|node| Some(node.job.as_ref()?.deed.clone())) else {
            return;
        };
        let result = self.carry_out_deed(name, &deed);
        let node = Node::FrontEnd(name.clone());
        if self.place(&node, "front-end-did", deed_name(&deed)) {
            self.front_end_did(name, result);
        } else if let Some(waiting) = self.paused.get_mut(&node) {
            waiting.push_front(Work::FrontEndDid(result));
        }
    }

    /// The front end hears how it went.
    pub(crate) fn front_end_did(&mut self, name: &FrontEndName, result: Result<bool, String>) {
        if result.is_err() {
            self.reach("ADR22: a map could not be written or reloaded");
        }
        let Some(node) = self.front_ends.get_mut(name) else { return };
        let Some(next) = node.renderer.as_mut().map(|renderer| renderer.done(result)) else { return };
        match (next, &mut node.job) {
            (Next::Deed(deed), Some(job)) => {
                job.deed = deed;
                self.deed_takes_time(name);
            }
            (Next::Over(result), Some(job)) => {
                let job = job.number;
                node.job = None;
                self.front_end_step(name, Event::Rendered { job, result });
            }
            (_, None) => {}
        }
    }

    fn carry_out_deed(&mut self, name: &FrontEndName, deed: &Deed) -> Result<bool, String> {
        let now = self.now();
        let lacks = || "there is no such front end".to_string();
        let node = self.front_ends.get_mut(name).ok_or_else(lacks)?;
        let job = node.job.as_ref().ok_or_else(lacks)?;
        let is_file = !matches!(deed, Deed::Reload(_));
        if (is_file && node.full_until > now) || (!is_file && node.ill_until > now) {
            return Err("it does not work just now".into());
        }
        match deed {
            Deed::Begin => node.begun = Some(codec::encode(&job.table)),
            Deed::Acknowledge => node.acknowledged = Some(codec::encode(&job.table)),
            Deed::Write(map) => {
                let text = maps::render(map, None, &job.table, &job.moving)?;
                let same = node.maps.get(map).is_some_and(|there| there.text == text);
                node.maps.insert(map.clone(), Map { text, age: job.table.age() });
                return Ok(!same);
            }
            Deed::Reload(map) => {
                let file = node.maps.get(map).cloned().ok_or("there is no such map")?;
                self.reload(name, map, file)?;
            }
        }
        Ok(true)
    }

    /// The proxy reads a map.
    fn reload(&mut self, name: &FrontEndName, map: &MapName, file: Map) -> Result<(), String> {
        let door = (map.as_str() == CLIENTS_MAP).then(|| read(&file.text).ok_or("a map that nobody can read"));
        let door = door.transpose()?;
        let moving = door.as_ref().map(moving_of);
        let (now, age) = (self.now(), file.age);
        self.note(|| format!("front end {name} serves {map} of revision {}, moving: {moving:?}", age.1));
        self.witness.saw(now, Seen::FrontEndLoads { name, map, age, moving: moving.as_ref() });
        if let Some(node) = self.front_ends.get_mut(name) {
            node.loaded.insert(map.clone(), file);
        }
        if let Some(door) = door {
            self.show_door(name, door);
        }
        Ok(())
    }

    fn show_door(&mut self, name: &FrontEndName, door: Door) {
        let number = self.front_ends.keys().position(|other| other == name);
        if let (Some(number), Some(node)) = (number, self.front_ends.get_mut(name)) {
            node.door = door.clone();
            self.writers.door(number, door);
        }
    }

    fn front_end_answers(&mut self, name: &FrontEndName, token: u64, answer: Result<FrontEndReport, String>) {
        let report = match answer {
            Ok(report) => {
                let acknowledged = report.serving.acknowledged;
                self.witness.saw(self.queue.now(), Seen::FrontEndSays { name, acknowledged });
                codec::encode(&report)
            }
            // The status of a call that is refused has no report.
            Err(_) => Vec::new(),
        };
        let bytes = pb::ServeReply { report }.encode_to_vec();
        self.answer(Place::FrontEnd(name.clone()), Kind::ServeReply, token, &bytes);
    }

    /// A front end's answer comes, or none in time.
    pub(crate) fn front_end_said(&mut self, id: u64, life: u32, front_end: FrontEndName, payload: Option<&[u8]>) {
        let result = match payload {
            None => Err("no answer".into()),
            Some(payload) => {
                let reply = pb::ServeReply::decode(payload).map_err(|e| e.to_string());
                reply.and_then(|reply| codec::decode::<FrontEndReport>(&reply.report).map_err(|e| e.to_string()))
            }
        };
        if let Ok(FrontEndReport { serving, .. }) = &result {
            self.saw_word(&front_end, serving.acknowledged);
        }
        let event = coordinator::Event::FrontEndAnswer { front_end, result };
        self.work(Node::Coordinator(id), life, Work::Coordinator(Box::new(event)));
    }

    /// A word that comes when nobody wants the plan any more that waits for it.
    fn saw_word(&mut self, name: &FrontEndName, acknowledged: Option<(u32, Revision)>) {
        let Some(node) = self.front_ends.get_mut(name) else { return };
        let before = node.said;
        node.said = acknowledged.max(before);
        let news = acknowledged.filter(|age| before.is_none_or(|before| before < *age));
        let Some((_, revision)) = news else { return };
        let given_up = |status: &PlanStatus| matches!(status, PlanStatus::Aborting { .. } | PlanStatus::Aborted { .. });
        let waits = self
            .route_waits(given_up)
            .any(|(route, _)| route <= revision && before.is_none_or(|(_, before)| before < route));
        if waits {
            self.reach("ADR22: a front end's word came after its plan was given up");
        }
    }

    /// The routes whose plans, in such a state, wait for front ends alone, with what the step is stuck at.
    fn route_waits(&self, status: impl Fn(&PlanStatus) -> bool) -> impl Iterator<Item = (Revision, Option<&String>)> {
        let state = self.state();
        let plans = state.into_iter().flat_map(|state| state.plans.values()).filter(move |plan| status(&plan.status));
        plans.flat_map(|plan| plan.plan.tasks.iter().zip(&plan.tasks)).filter_map(move |(task, run)| {
            let (last, before) = run.steps.split_last()?;
            let is_it = task.steps.last()?.kind == StepKind::RouteServed;
            let is_done = |state: &StepState| matches!(state, StepState::Done { .. });
            let waits = is_it && !is_done(&last.state) && before.iter().all(|step| is_done(&step.state));
            let route = state?.cluster.as_ref()?.stores.get(task.store.as_ref()?)?.route.as_ref()?;
            waits.then_some((route.revision, last.stuck.as_ref()))
        })
    }

    /// Entries were applied where plans may wait for front ends.
    pub(crate) fn saw_waits_for_front_ends(&mut self) {
        let waits: Vec<bool> = self.route_waits(PlanStatus::is_under_way).map(|(_, stuck)| stuck.is_some()).collect();
        if waits.contains(&true) {
            self.reach("ADR22: the wait for a front end ran out");
        }
        if !waits.is_empty() && self.front_ends.values().any(|node| node.core.is_none()) {
            self.reach("ADR22: a master was made while a front end was dead");
        }
    }

    /// L2: a front end that does not send clients where the routes say.
    pub(super) fn front_end_behind(&self) -> Option<String> {
        let cluster = self.fleet()?;
        for (name, node) in self.front_ends.iter().filter(|(name, _)| cluster.front_ends.contains_key(*name)) {
            for (store, line) in slot_types::front_end::lines(cluster) {
                let shown = node.door.get(&store);
                if shown != Some(&Line { slot: line.slot.clone(), epoch: line.epoch, moving: false }) {
                    return Some(format!("{name} shows {shown:?} for {store}, its route is {line:?}"));
                }
            }
        }
        None
    }

    /// What befalls a table or a front end's word on its way.
    pub(crate) fn fate_of_a_table(&mut self) -> Option<Injection> {
        if self.healing || self.swarm.every_ms == 0 || !self.doors.one_in(8) {
            return None;
        }
        let (class, fate) = match self.doors.within(0, 3) {
            0 => (FaultClass::Loss, Injection::Lose),
            1 => (FaultClass::Duplicate, Injection::Again(self.doors.within(20, 12_000))),
            2 => (FaultClass::Delay, Injection::Late(self.doors.within(20, 900))),
            _ => (FaultClass::Delay, Injection::Late(self.doors.within(2_000, 20_000))),
        };
        self.swarm.classes.contains(&class).then_some(fate)
    }

    /// Something may go wrong with a front end.
    pub(crate) fn front_ends_suffer(&mut self) {
        if self.healing {
            return;
        }
        let next = self.doors.within(800, 5_000);
        self.queue.after(next, Happening::FrontEnds);
        let number = self.doors.within(0, self.front_ends.len() as u64 - 1) as usize;
        let Some(name) = self.front_ends.keys().nth(number).cloned() else { return };
        let classes = [
            FaultClass::Kill,
            FaultClass::Kill,
            FaultClass::PauseAgent,
            FaultClass::PartialCut,
            FaultClass::OneWayCut,
            FaultClass::WipedDisk,
            FaultClass::SlowDisk,
            FaultClass::Eio,
            FaultClass::Enospc,
        ];
        let class = classes[self.doors.within(0, classes.len() as u64 - 1) as usize];
        // Longer than a plan waits before it says so.
        let ms = if self.doors.one_in(6) { self.doors.within(31_000, 40_000) } else { self.doors.within(200, 6_000) };
        let now = self.now();
        let node = Node::FrontEnd(name.clone());
        if !self.swarm.classes.contains(&class) || !self.injected.happens(now, class, || format!("{node}, {ms} ms")) {
            return;
        }
        match class {
            FaultClass::Kill => {
                self.kill_front_end(&name);
                self.queue.after(ms, Happening::Start(node));
            }
            FaultClass::PauseAgent => self.pause(&node, ms),
            FaultClass::PartialCut | FaultClass::OneWayCut => self.cut_front_end(&name, ms, class),
            FaultClass::WipedDisk => {
                self.wipe_front_end(&name);
                self.queue.after(ms, Happening::Start(node));
            }
            FaultClass::SlowDisk => {
                self.witness.front_end_disturbed(&name, now + ms);
                self.slow.insert(node, now + ms);
            }
            FaultClass::Eio => self.front_end_fails(&name, DiskTrouble::Eio, ms),
            _ => self.front_end_fails(&name, DiskTrouble::Enospc, ms),
        }
    }

    /// No coordinator reaches it, or it reaches none, for so long.
    pub(crate) fn cut_front_end(&mut self, name: &FrontEndName, ms: u64, class: FaultClass) {
        for id in 1..=3 {
            self.cut(Place::Coordinator(id), Place::FrontEnd(name.clone()), ms);
            if class == FaultClass::PartialCut {
                self.cut(Place::FrontEnd(name.clone()), Place::Coordinator(id), ms);
            }
        }
    }
}
