//! The FrontEnd service, and the task that owns the core.
//!
//! What always holds: one task owns the core, one rendering runs beside it; who may call is judged before, by the role table of
//! slot-net (S15); an offer whose caller is gone is rendered all the same.

use super::config::{FrontEndConfig, MapConfig};
use super::core::{Effect, Event, FrontEndCore};
use super::core_rendering::{self, Deed, Next};
use super::{maps, reload, store};
use slot_proto::pb::front_end_server::{FrontEnd, FrontEndServer};
use slot_proto::pb::{ServeReply, ServeRequest};
use slot_types::codec;
use slot_types::front_end::{FrontEndReport, RouteTable};
use slot_types::ids::{ClusterId, MapName, StoreName};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tonic::{Request, Response, Status};

pub use super::store::StoreError;

/// Offers that wait for the task; callers wait when it is full.
const INBOX: usize = 64;
/// The most bytes of a template.
const TEMPLATE_BYTES_MAX: u64 = 1 << 20;
/// How long the task sleeps when nothing is due.
const IDLE: Duration = Duration::from_secs(60);

type Answer = Result<FrontEndReport, String>;

struct Offer {
    table: Box<RouteTable>,
    reply: oneshot::Sender<Answer>,
}

/// Serves one running front end.
pub struct FrontEndService {
    offers: mpsc::Sender<Offer>,
}

impl FrontEndService {
    /// Starts from the newest table that was begun, and renders it once more.
    pub fn start(config: FrontEndConfig, cluster: ClusterId) -> Result<FrontEndServer<Self>, StoreError> {
        let kept = store::load(&config.data)?;
        let begun = kept.begun.as_ref().map(RouteTable::age);
        let core = FrontEndCore::new(cluster, config.front_end.clone(), kept);
        let (offers, inbox) = mpsc::channel(INBOX);
        let (done, ended) = mpsc::channel(1);
        let deeds = core_rendering::Renderer::new(config.maps.keys().cloned(), begun);
        let renderer = Renderer { deeds, config: Arc::new(config) };
        let task = Task { core, waiting: HashMap::new(), last_token: 0, renderer: Some(renderer), done };
        tokio::spawn(task.run(inbox, ended));
        Ok(FrontEndServer::new(Self { offers }).max_decoding_message_size(slot_net::MESSAGE_BYTES_MAX))
    }
}

#[tonic::async_trait]
impl FrontEnd for FrontEndService {
    async fn serve(&self, request: Request<ServeRequest>) -> Result<Response<ServeReply>, Status> {
        let table: RouteTable = codec::decode(&request.into_inner().table)
            .map_err(|e| Status::invalid_argument(format!("reading the route table: {e}")))?;
        let (reply, answer) = oneshot::channel();
        let ending = || Status::unavailable("this front end is ending; ask again");
        self.offers.send(Offer { table: Box::new(table), reply }).await.map_err(|_| ending())?;
        let report = answer.await.map_err(|_| ending())?.map_err(Status::failed_precondition)?;
        Ok(Response::new(ServeReply { report: codec::encode(&report) }))
    }
}

/// The task that owns the core.
struct Task {
    core: FrontEndCore,
    waiting: HashMap<u64, oneshot::Sender<Answer>>,
    last_token: u64,
    /// Away while a rendering runs.
    renderer: Option<Renderer>,
    done: mpsc::Sender<Rendered>,
}

type Rendered = (Renderer, u64, Result<(), String>);

impl Task {
    async fn run(mut self, mut inbox: mpsc::Receiver<Offer>, mut ended: mpsc::Receiver<Rendered>) {
        let mut event = Event::Tick;
        loop {
            for effect in self.core.step(slot_net::boottime_ms(), event) {
                self.carry_out(effect);
            }
            let now = slot_net::boottime_ms();
            let due = self.core.next_deadline(now);
            let due = due.map_or(IDLE, |at| Duration::from_millis(at.saturating_sub(now)).min(IDLE));
            event = tokio::select! {
                Some((renderer, job, result)) = ended.recv() => {
                    self.renderer = Some(renderer);
                    Event::Rendered { job, result }
                }
                offer = inbox.recv() => {
                    // The service is gone, and its server with it.
                    let Some(Offer { table, reply }) = offer else { return };
                    self.last_token += 1;
                    self.waiting.insert(self.last_token, reply);
                    Event::Offer { token: self.last_token, table }
                }
                () = tokio::time::sleep(due) => Event::Tick,
            };
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Render { job, table, moving } => {
                // The core has one rendering at a time under way.
                let Some(mut renderer) = self.renderer.take() else { return };
                let done = self.done.clone();
                tokio::spawn(async move {
                    let result = renderer.render(&table, &moving).await;
                    match &result {
                        Ok(()) => tracing::info!(revision = table.revision.0, moving = moving.len(), "serving"),
                        Err(why) => tracing::warn!(revision = table.revision.0, "not serving: {why}"),
                    }
                    drop(done.send((renderer, job, result)).await);
                });
            }
            Effect::Answer { token, answer } => {
                if let Some(reply) = self.waiting.remove(&token) {
                    drop(reply.send(answer)); // the caller may have hung up
                }
            }
        }
    }
}

/// Writes maps and reloads what reads them.
struct Renderer {
    config: Arc<FrontEndConfig>,
    deeds: core_rendering::Renderer,
}

impl Renderer {
    async fn render(&mut self, table: &RouteTable, moving: &BTreeSet<StoreName>) -> Result<(), String> {
        let mut deed = self.deeds.begin(table);
        loop {
            let result = self.one(deed, table, moving).await;
            match self.deeds.done(result) {
                Next::Deed(next) => deed = next,
                Next::Over(end) => return end,
            }
        }
    }

    /// Does one thing; of a map that is written, whether it changed.
    async fn one(&self, deed: Deed, table: &RouteTable, moving: &BTreeSet<StoreName>) -> Result<bool, String> {
        let (data, table) = (self.config.data.clone(), table.clone());
        match deed {
            Deed::Begin => {
                blocking(move || store::begin(&data, &table).map_err(|e| e.to_string())).await.map(|()| true)
            }
            Deed::Acknowledge => {
                blocking(move || store::save(&data, &table).map_err(|e| e.to_string())).await.map(|()| true)
            }
            Deed::Write(name) => {
                let (at, moving) = (self.map(&name)?.clone(), moving.clone());
                blocking(move || write(&name, &at, &table, &moving)).await
            }
            Deed::Reload(name) => {
                let map = self.map(&name)?;
                reload::run(&map.reload, map.within).await.map(|()| true)
            }
        }
    }

    fn map(&self, name: &MapName) -> Result<&MapConfig, String> {
        let lacks = || format!("front-end.toml of {} has no [map.{name}]", self.config.front_end);
        self.config.maps.get(name).ok_or_else(lacks)
    }
}

/// Writes a map where it differs from what is there; whether it did.
fn write(name: &MapName, map: &MapConfig, table: &RouteTable, moving: &BTreeSet<StoreName>) -> Result<bool, String> {
    let template = map.template.as_ref().map(|path| {
        let failed = |cause| format!("cannot read template {}: {cause}", path.display());
        match std::fs::metadata(path).map_err(failed)?.len() > TEMPLATE_BYTES_MAX {
            true => Err(format!("template {} has more than {TEMPLATE_BYTES_MAX} bytes", path.display())),
            false => std::fs::read_to_string(path).map_err(failed),
        }
    });
    let text = maps::render(name, template.transpose()?.as_deref(), table, moving)?;
    if std::fs::read(&map.path).is_ok_and(|there| there == text.as_bytes()) {
        return Ok(false);
    }
    store::replace(&map.path, text.as_bytes(), 0o644).map_err(|e| e.to_string())?;
    Ok(true)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|e| format!("the rendering broke off: {e}"))?
}
