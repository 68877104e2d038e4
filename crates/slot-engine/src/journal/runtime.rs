//! Drives the core: one task feeds it events and carries out its effects.
//!
//! What always holds: only this task steps the core; effects are carried out in the core's order; disk operations run on a
//! thread of their own, one at a time; when the core dies nothing more is answered (P11).

use super::core::{Config, Effect, Event, JournalCore, OpenError, Reply, RequestId};
use super::folder::{CopyFolder, CopyReader};
use super::peers::Peers;
use slot_net::{boottime_ms, failpoint};
use std::collections::BTreeMap;
use std::sync::mpsc as blocking;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Requests that wait to be looked at; more make their callers wait.
const REQUESTS_MAX: usize = 4096;
/// The longest sleep: a suspended machine's monotonic clock stands still, boot time does not (R12).
const SLEEP_MAX: Duration = Duration::from_millis(500);

/// Makes an event of a request's id.
type Ask = Box<dyn FnOnce(RequestId) -> Event + Send>;

struct Asked {
    ask: Ask,
    reply: oneshot::Sender<Reply>,
    id: oneshot::Sender<RequestId>,
}

/// Whom services ask. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    requests: mpsc::Sender<Asked>,
    inner: mpsc::UnboundedSender<Event>,
}

/// Tells the core when whoever asked goes away.
struct Gone {
    id: Option<RequestId>,
    inner: mpsc::UnboundedSender<Event>,
}

impl Drop for Gone {
    fn drop(&mut self) {
        if let Some(request) = self.id {
            // The core may have ended; then nobody needs to know.
            let _ = self.inner.send(Event::Gone { request });
        }
    }
}

impl Handle {
    /// Asks the core; `None` when the engine ended without an answer.
    pub async fn ask(&self, ask: impl FnOnce(RequestId) -> Event + Send + 'static) -> Option<Reply> {
        let (reply, answered) = oneshot::channel();
        let (id, named) = oneshot::channel();
        self.requests.send(Asked { ask: Box::new(ask), reply, id }).await.ok()?;
        let mut gone = Gone { id: named.await.ok(), inner: self.inner.clone() };
        let reply = answered.await.ok();
        gone.id = None;
        reply
    }
}

/// How the core ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was stopped, with everything durable.
    Stopped,
    /// It must not go on (P11).
    Died(String),
}

/// The core and what drives it.
pub struct Runtime {
    core: JournalCore,
    requests: mpsc::Receiver<Asked>,
    inner: mpsc::UnboundedReceiver<Event>,
    events: mpsc::UnboundedSender<Event>,
    disk: blocking::Sender<(u64, Vec<super::core::DiskOp>)>,
    reader: CopyReader,
    peers: Peers,
    replies: BTreeMap<RequestId, oneshot::Sender<Reply>>,
    next_request: RequestId,
    wake_at: Option<u64>,
}

impl Runtime {
    /// Opens the copy and starts its disk thread; nothing is served before [`Runtime::run`].
    pub fn open(config: Config, mut folder: CopyFolder, peers: Peers) -> Result<(Self, Handle), OpenFailed> {
        let files = folder.read()?;
        let reader = folder.reader();
        let (core, effects) = JournalCore::open(config, files, boottime_ms())?;
        let (asked, requests) = mpsc::channel(REQUESTS_MAX);
        let (events, inner) = mpsc::unbounded_channel();
        let (disk, ops) = blocking::channel::<(u64, Vec<super::core::DiskOp>)>();
        let done = events.clone();
        let work = move || {
            while let Ok((op, ops)) = ops.recv() {
                let result = folder.run(&ops);
                if done.send(Event::DiskDone { op, result }).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("journal-disk".into()).spawn(work).map_err(OpenFailed::Thread)?;
        let handle = Handle { requests: asked, inner: events.clone() };
        let mut runtime = Self {
            core,
            requests,
            inner,
            events,
            disk,
            reader,
            peers,
            replies: BTreeMap::new(),
            next_request: 1,
            wake_at: None,
        };
        // Opening asks for one disk operation and nothing else.
        let _ = runtime.carry_out(effects);
        Ok((runtime, handle))
    }

    /// Runs until the core ends.
    pub async fn run(mut self) -> Ended {
        loop {
            let event = tokio::select! {
                biased;
                event = self.inner.recv() => event.unwrap_or(Event::Wake),
                () = sleep_until(self.wake_at) => {
                    self.wake_at = self.wake_at.filter(|at| *at > boottime_ms());
                    Event::Wake
                }
                asked = self.requests.recv() => match asked {
                    Some(asked) => self.name(asked),
                    None => return Ended::Stopped,
                },
            };
            if let Event::Gone { request } = &event {
                self.replies.remove(request);
            }
            let effects = self.core.step(boottime_ms(), event);
            if let Some(ended) = self.carry_out(effects) {
                return ended;
            }
        }
    }

    fn name(&mut self, asked: Asked) -> Event {
        let id = self.next_request;
        self.next_request += 1;
        self.replies.insert(id, asked.reply);
        // Whoever asked may be gone already; its answer is dropped then.
        let _ = asked.id.send(id);
        (asked.ask)(id)
    }

    fn carry_out(&mut self, effects: Vec<Effect>) -> Option<Ended> {
        for effect in effects {
            match effect {
                Effect::Disk { op, ops } => {
                    if self.disk.send((op, ops)).is_err() {
                        return Some(Ended::Died("disk: its thread has ended".into()));
                    }
                }
                Effect::ReadDisk { op, pieces } => {
                    let (reader, events) = (self.reader.clone(), self.events.clone());
                    // Beside the disk's own thread: no acknowledgement waits for it.
                    tokio::task::spawn_blocking(move || {
                        let _ = events.send(Event::DiskRead { op, pieces: reader.read(&pieces) });
                    });
                }
                Effect::Reply { request, reply } => {
                    if let Some(waiting) = self.replies.remove(&request) {
                        let _ = waiting.send(reply);
                    }
                }
                Effect::Call { call, to, request, budget_ms } => {
                    let (peers, events) = (self.peers.clone(), self.events.clone());
                    tokio::spawn(async move {
                        let result = peers.call(&to, request, Duration::from_millis(budget_ms)).await;
                        let _ = events.send(Event::CallAnswer { call, result });
                    });
                }
                Effect::Arm { at_ms } => self.wake_at = Some(at_ms),
                Effect::Milestone(name) => failpoint::reach(name),
                Effect::Exit => return Some(Ended::Stopped),
                Effect::Die { reason } => return Some(Ended::Died(reason)),
            }
        }
        None
    }
}

async fn sleep_until(at_ms: Option<u64>) {
    match at_ms {
        Some(at) => tokio::time::sleep(Duration::from_millis(at.saturating_sub(boottime_ms())).min(SLEEP_MAX)).await,
        None => std::future::pending().await,
    }
}

/// Why a copy could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenFailed {
    /// Its folder.
    #[error(transparent)]
    Folder(#[from] super::folder::FolderError),
    /// Its files.
    #[error(transparent)]
    Files(#[from] OpenError),
    /// No thread for its disk.
    #[error("starting the disk thread: {0}")]
    Thread(std::io::Error),
}
