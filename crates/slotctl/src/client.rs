//! Talking to the coordinators.
//!
//! What always holds: a coordinator is whom its certificate says, pinned by name; a change is sent again only under the
//! same session and sequence, so that it cannot be applied twice (R21); when no answer came in time, the outcome of a
//! change is said to be unknown, never guessed.

use crate::failure::{Exit, Failure};
use slot_net::{Dialer, Identity, IdentityFolder, MESSAGE_BYTES_MAX, Role};
use slot_proto::pb;
use slot_proto::pb::control_client::ControlClient;
use slot_types::codec::{decode, encode};
use slot_types::hold::HoldOn;
use slot_types::ids::*;
use slot_types::plan::{Intent, Said};
use slot_types::position::{Digest, ShortDigest};
use slot_types::view::{PlanView, Query, View};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

/// How long one try of one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// The first pause before all coordinators are asked again; it doubles.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How often a hint is followed before the next pause: hints may point in a circle during an election.
const HINTS_MAX: u32 = 4;
/// A coordinator that has not answered a connection for so long is overtaken by the next: one that is off must not make
/// every command slow on the very night it is off.
const CONNECT_STAGGER: Duration = Duration::from_millis(250);
/// The largest snapshot: of the largest cluster that a cluster file may describe, with what is seen of each copy.
const SNAPSHOT_BYTES_MAX: usize = 128 * 1024 * 1024;
/// How the planner's refusal begins when what is asked for is so already.
const NOTHING_TO_DO: &str = "nothing to do: ";
/// When a watched plan says nothing for this long, it is looked at: the stream may hang on a node that is cut off.
const WATCH_SILENCE_MAX: Duration = Duration::from_secs(3);

/// The generated client on a pinned channel.
pub type Control = ControlClient<Channel>;

/// What is done to what, for messages.
#[derive(Clone, Debug)]
pub struct Task {
    /// What, `drain host`.
    pub operation: String,
    /// To what, `imap3`.
    pub subject: String,
    /// Whether it changes anything, so that an unanswered one may have been applied.
    pub changes: bool,
}

impl Task {
    /// A change.
    pub fn change(operation: impl Into<String>, subject: impl ToString) -> Self {
        Self { operation: operation.into(), subject: subject.to_string(), changes: true }
    }
    /// A look.
    pub fn look(operation: impl Into<String>, subject: impl ToString) -> Self {
        Self { operation: operation.into(), subject: subject.to_string(), changes: false }
    }
    /// A failure of it.
    pub fn failure(&self, cause: impl Into<String>, next: impl Into<String>) -> Failure {
        Failure::new(&self.operation, &self.subject, cause, next)
    }
}

/// What a person says with an intent.
#[derive(Clone, Copy, Debug)]
pub struct Why<'a> {
    /// Their reason.
    pub reason: &'a str,
    /// What they say besides.
    pub said: Said,
}

impl<'a> From<&'a str> for Why<'a> {
    fn from(reason: &'a str) -> Self {
        Self { reason, said: Said::default() }
    }
}

/// A plan as it was received: its number and its exact bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Which.
    pub id: PlanId,
    /// The canonical bytes.
    pub bytes: Vec<u8>,
    /// How many more people must approve it; 0 when it runs.
    pub people_missing: u32,
}

/// A view, and how sure it is.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The document.
    pub view: View,
    /// Who answered.
    pub answered_by: String,
    /// Whether a read-index round confirmed that it is the present state.
    pub confirmed: bool,
}

/// Talks to the coordinators of one cluster as one operator.
pub struct Client {
    dialer: Dialer,
    coordinators: BTreeMap<CoordinatorName, SocketAddr>,
    first: Option<(CoordinatorName, SocketAddr)>,
    channels: BTreeMap<(CoordinatorName, SocketAddr), Channel>,
    timeout: Duration,
    session: Option<u64>,
    sequence: u64,
}

impl Client {
    /// Reads the identity folder; dials nothing yet.
    pub fn new(folder: &Path, first: Option<&str>, timeout: Duration) -> Result<Self, Failure> {
        let loaded = IdentityFolder::load(folder).map_err(|e| {
            let next = "name the folder that `slotctl init` made for you: --folder DIR or SLOT_FOLDER=DIR";
            Failure::new("use the identity folder", folder.display().to_string(), e.to_string(), next)
        })?;
        let coordinators = loaded.membership().coordinators.clone();
        let first = first.map(|text| chosen(text, &coordinators)).transpose()?;
        Ok(Self {
            dialer: Dialer::new(loaded),
            coordinators,
            first,
            channels: BTreeMap::new(),
            timeout,
            session: None,
            sequence: 0,
        })
    }

    /// Who asks.
    pub fn who(&self) -> &str {
        self.dialer.identity().name()
    }

    /// From now on goes on trying only this long.
    pub fn try_for(&mut self, timeout: Duration) {
        self.timeout = timeout.min(self.timeout);
    }

    /// The cluster that the identity is of.
    pub fn cluster(&self) -> ClusterId {
        self.dialer.folder().membership().cluster_id
    }

    fn control(&mut self, at: &(CoordinatorName, SocketAddr)) -> Result<Control, Status> {
        let channel = match self.channels.get(at) {
            Some(channel) => channel.clone(),
            None => {
                let expected = Identity::new(Role::Coordinator, at.0.as_str())
                    .map_err(|e| Status::failed_precondition(e.to_string()))?;
                let channel =
                    self.dialer.channel(at.1, &expected).map_err(|e| Status::failed_precondition(e.to_string()))?;
                self.channels.insert(at.clone(), channel.clone());
                channel
            }
        };
        Ok(Control::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX))
    }

    /// Everybody, the one to ask first in front.
    fn candidates(&self) -> Vec<(CoordinatorName, SocketAddr)> {
        let others = self.coordinators.iter().map(|(name, at)| (name.clone(), *at));
        let others = others.filter(|other| self.first.as_ref() != Some(other));
        self.first.iter().cloned().chain(others).collect()
    }

    /// Connects to the first that answers, each one a little after the one before, and puts it in front.
    async fn race(&mut self, queue: &mut Vec<(CoordinatorName, SocketAddr)>) {
        let mut tries = tokio::task::JoinSet::new();
        for (number, at) in (0u32..).zip(queue.iter().cloned()) {
            let dialer = self.dialer.clone();
            tries.spawn(async move {
                tokio::time::sleep(CONNECT_STAGGER * number).await;
                let expected = Identity::new(Role::Coordinator, at.0.as_str()).ok()?;
                let channel = dialer.connect(at.1, &expected).await.ok()?;
                Some((at, channel))
            });
        }
        while let Some(tried) = tries.join_next().await {
            if let Ok(Some((at, channel))) = tried {
                queue.retain(|other| *other != at);
                queue.insert(0, at.clone());
                self.channels.insert(at, channel);
                return;
            }
        }
    }

    /// Asks until somebody answers or the time is over.
    async fn call<T>(
        &mut self,
        task: &Task,
        ask: impl AsyncFn(Control) -> Result<Response<T>, Status>,
    ) -> Result<T, Failure> {
        let end = Instant::now() + self.timeout;
        let mut pause = PAUSE_MIN;
        let mut causes = BTreeMap::new();
        loop {
            let mut queue = self.candidates();
            if self.channels.is_empty() && queue.len() > 1 && causes.is_empty() {
                // Nobody at all in time: each is asked once more below, for the cause.
                let _ = tokio::time::timeout_at(end, self.race(&mut queue)).await;
            }
            let mut hints = 0;
            while !queue.is_empty() {
                let at = queue.remove(0);
                let room = CALL_TIMEOUT.min(end.saturating_duration_since(Instant::now()).max(PAUSE_MIN));
                let outcome = match self.control(&at) {
                    Ok(control) => tokio::time::timeout(room, ask(control))
                        .await
                        .unwrap_or_else(|_| Err(Status::deadline_exceeded(format!("no answer within {room:.0?}")))),
                    Err(status) => Err(status),
                };
                let status = match outcome {
                    Ok(response) => {
                        self.first = Some(at);
                        return Ok(response.into_inner());
                    }
                    Err(status) if is_final(status.code()) => return Err(refused(task, &status)),
                    Err(status) => status,
                };
                if let Some(hint) = leader_hint(&status).filter(|hint| *hint != at && hints < HINTS_MAX) {
                    hints += 1;
                    queue.retain(|other| *other != hint);
                    queue.insert(0, hint.clone());
                    self.first = Some(hint);
                }
                causes.insert(at.0, why(&status));
                if Instant::now() >= end {
                    return Err(unanswered(task, self.timeout, &causes));
                }
            }
            if Instant::now() + pause >= end {
                return Err(unanswered(task, self.timeout, &causes));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn request(&mut self, task: &Task) -> Result<pb::RequestName, Failure> {
        let session = match self.session {
            Some(session) => session,
            None => {
                let open = Task { changes: false, ..task.clone() };
                let reply =
                    self.call(&open, async |mut c: Control| c.open_session(pb::OpenSessionRequest {}).await).await?;
                self.session = Some(reply.session);
                reply.session
            }
        };
        self.sequence += 1;
        Ok(pb::RequestName { session, sequence: self.sequence })
    }

    /// Has an intent planned and the plan recorded.
    pub async fn make_plan(&mut self, task: &Task, intent: &Intent, why: Why<'_>) -> Result<Received, Failure> {
        let request = Some(self.request(task).await?);
        let Said { mass, back_by } = why.said;
        let (reason, back_by_ms) = (why.reason.into(), back_by.map(|at| at.0));
        let ask = pb::MakePlanRequest { request, intent: encode(intent), reason, mass, back_by_ms };
        let reply = self.call(task, async |mut c: Control| c.make_plan(ask.clone()).await).await?;
        Ok(received(reply))
    }

    /// Says yes to a digest.
    pub async fn approve(
        &mut self,
        task: &Task,
        id: PlanId,
        digest: ShortDigest,
        reason: &str,
    ) -> Result<Received, Failure> {
        let request = Some(self.request(task).await?);
        let ask = pb::ApprovePlanRequest { request, plan: id.0, digest: digest.0.to_vec(), reason: reason.to_string() };
        let reply = self.call(task, async |mut c: Control| c.approve_plan(ask.clone()).await).await?;
        Ok(received(reply))
    }

    /// Says no to a plan.
    pub async fn reject(&mut self, task: &Task, id: PlanId, reason: &str) -> Result<Received, Failure> {
        let request = Some(self.request(task).await?);
        let ask = pb::EndPlanRequest { request, plan: id.0, reason: reason.into() };
        let reply = self.call(task, async |mut c: Control| c.reject_plan(ask.clone()).await).await?;
        Ok(received(reply))
    }

    /// Stops a plan.
    pub async fn abort(&mut self, task: &Task, id: PlanId, reason: &str) -> Result<Received, Failure> {
        let request = Some(self.request(task).await?);
        let ask = pb::EndPlanRequest { request, plan: id.0, reason: reason.into() };
        let reply = self.call(task, async |mut c: Control| c.abort_plan(ask.clone()).await).await?;
        Ok(received(reply))
    }

    /// Lets a plan begin nothing more (R18).
    pub async fn pause(&mut self, task: &Task, id: PlanId, reason: &str) -> Result<Received, Failure> {
        let request = Some(self.request(task).await?);
        let ask = pb::EndPlanRequest { request, plan: id.0, reason: reason.into() };
        let reply = self.call(task, async |mut c: Control| c.pause_plan(ask.clone()).await).await?;
        Ok(received(reply))
    }

    /// Lets a paused plan go on.
    pub async fn resume(&mut self, task: &Task, id: PlanId, reason: &str) -> Result<Received, Failure> {
        let request = Some(self.request(task).await?);
        let ask = pb::EndPlanRequest { request, plan: id.0, reason: reason.into() };
        let reply = self.call(task, async |mut c: Control| c.resume_plan(ask.clone()).await).await?;
        Ok(received(reply))
    }

    /// Gives a person's word that a host is off (R8).
    pub async fn attest(&mut self, task: &Task, host: &HostName, how: &str) -> Result<Revision, Failure> {
        let request = Some(self.request(task).await?);
        let ask = pb::AttestRequest { request, host: host.to_string(), how: how.into() };
        let reply = self.call(task, async |mut c: Control| c.attest(ask.clone()).await).await?;
        Ok(Revision(reply.revision))
    }

    /// Admits another disk of a host (S2).
    pub async fn admit(
        &mut self,
        task: &Task,
        host: &HostName,
        incarnation: Incarnation,
        reason: &str,
    ) -> Result<Revision, Failure> {
        let request = Some(self.request(task).await?);
        let ask = pb::AdmitHostRequest {
            request,
            host: host.to_string(),
            incarnation: incarnation.to_string(),
            reason: reason.into(),
        };
        let reply = self.call(task, async |mut c: Control| c.admit_host(ask.clone()).await).await?;
        Ok(Revision(reply.revision))
    }

    /// Tells the cluster of a token's certificate: the host may join with it.
    pub async fn invite(
        &mut self,
        task: &Task,
        host: &HostName,
        certificate: Digest,
        reason: &str,
    ) -> Result<Revision, Failure> {
        let request = Some(self.request(task).await?);
        let certificate = certificate.0.to_vec();
        let ask = pb::InviteHostRequest { request, host: host.to_string(), certificate, reason: reason.into() };
        let reply = self.call(task, async |mut c: Control| c.invite_host(ask.clone()).await).await?;
        Ok(Revision(reply.revision))
    }

    /// Takes back that a host may join.
    pub async fn revoke(&mut self, task: &Task, host: &HostName, reason: &str) -> Result<Revision, Failure> {
        let request = Some(self.request(task).await?);
        let ask = pb::RevokeInvitationRequest { request, host: host.to_string(), reason: reason.into() };
        let reply = self.call(task, async |mut c: Control| c.revoke_invitation(ask.clone()).await).await?;
        Ok(Revision(reply.revision))
    }

    /// Holds something, or releases it: whether that is a change, and which plans go on all the same.
    pub async fn hold(
        &mut self,
        task: &Task,
        on: &HoldOn,
        release: bool,
        reason: &str,
    ) -> Result<(bool, Vec<PlanId>), Failure> {
        let request = Some(self.request(task).await?);
        let ask = pb::HoldRequest { request, on: on.to_string(), reason: reason.into() };
        let reply = if release {
            self.call(task, async |mut c: Control| c.release(ask.clone()).await).await?
        } else {
            self.call(task, async |mut c: Control| c.hold(ask.clone()).await).await?
        };
        Ok((reply.changed, reply.running.into_iter().map(PlanId).collect()))
    }

    /// Reads a document.
    pub async fn view(&mut self, task: &Task, query: &Query, stale_ok: bool) -> Result<Answer, Failure> {
        let ask = pb::ViewRequest { query: encode(query), stale_ok };
        let bytes_max = if *query == Query::Snapshot { SNAPSHOT_BYTES_MAX } else { MESSAGE_BYTES_MAX };
        let ask_one = async |c: Control| c.max_decoding_message_size(bytes_max).view(ask.clone()).await;
        let reply = self.call(task, ask_one).await?;
        let view = decode::<View>(&reply.view).map_err(|e| {
            task.failure(format!("{} answered: {e}", reply.answered_by), "use a slotctl of its version")
        })?;
        match view {
            View::NotFound { subject } => {
                Err(task.failure(format!("{subject} does not exist"), "slotctl status shows what does"))
            }
            view => Ok(Answer { view, answered_by: reply.answered_by, confirmed: reply.confirmed }),
        }
    }

    /// Wants copies verified since then, and reads how far that is.
    pub async fn verify(&mut self, task: &Task, on: &HoldOn, since: Option<LogTime>) -> Result<Answer, Failure> {
        let ask = pb::VerifyRequest { on: on.to_string(), since: since.map(|at| at.0) };
        let reply = self.call(task, async |mut c: Control| c.verify(ask.clone()).await).await?;
        let view = decode::<View>(&reply.view).map_err(|e| {
            task.failure(format!("{} answered: {e}", reply.answered_by), "use a slotctl of its version")
        })?;
        Ok(Answer { view, answered_by: reply.answered_by, confirmed: reply.confirmed })
    }

    /// Reads a plan.
    pub async fn plan(&mut self, task: &Task, id: PlanId) -> Result<PlanView, Failure> {
        match self.view(task, &Query::Plan(id), false).await?.view {
            View::Plan(plan) => Ok(*plan),
            _ => Err(unexpected(task)),
        }
    }

    /// Follows a plan until it ends or is paused with nothing in motion, through changes of leader; `each` sees every change.
    pub async fn watch_plan(
        &mut self,
        task: &Task,
        id: PlanId,
        mut each: impl FnMut(&PlanView),
    ) -> Result<PlanView, Failure> {
        loop {
            let ask = pb::WatchPlanRequest { plan: id.0 };
            let mut stream = self.call(task, async |mut c: Control| c.watch_plan(ask).await).await?;
            loop {
                let plan = match tokio::time::timeout(WATCH_SILENCE_MAX, stream.message()).await {
                    Ok(Ok(Some(reply))) => match decode::<View>(&reply.view) {
                        Ok(View::Plan(plan)) => *plan,
                        Ok(_) => return Err(unexpected(task)),
                        Err(e) => return Err(task.failure(e.to_string(), "use a slotctl of the cluster's version")),
                    },
                    Ok(Err(status)) if is_final(status.code()) => return Err(refused(task, &status)),
                    // The stream ended or broke: look, and open another, with the leader if it said who that is.
                    Ok(end) => {
                        if let Some(hint) = end.err().as_ref().and_then(leader_hint) {
                            self.first = Some(hint);
                        }
                        tokio::time::sleep(PAUSE_MIN).await;
                        break;
                    }
                    Err(_) => self.plan(task, id).await?,
                };
                each(&plan);
                if plan.state.is_still() {
                    return Ok(plan);
                }
            }
        }
    }

    /// Follows the routes for ever.
    pub async fn watch_routes(&mut self, task: &Task, mut each: impl FnMut(&pb::RoutesReply)) -> Result<(), Failure> {
        loop {
            let ask = pb::RoutesRequest { watch: true };
            let mut stream = self.call(task, async |mut c: Control| c.routes(ask).await).await?;
            loop {
                match stream.message().await {
                    Ok(Some(reply)) => each(&reply),
                    Err(status) if is_final(status.code()) => return Err(refused(task, &status)),
                    Ok(None) | Err(_) => break,
                }
            }
            tokio::time::sleep(PAUSE_MIN).await;
        }
    }
}

fn received(reply: pb::PlanReply) -> Received {
    Received { id: PlanId(reply.plan), bytes: reply.bytes, people_missing: reply.people_missing }
}

/// A document of another kind than was asked for.
pub fn unexpected(task: &Task) -> Failure {
    task.failure("the coordinator answered with another document than was asked for", "use a slotctl of its version")
}

/// The coordinator that `--coordinator` means.
fn chosen(
    text: &str,
    members: &BTreeMap<CoordinatorName, SocketAddr>,
) -> Result<(CoordinatorName, SocketAddr), Failure> {
    if let Ok(at) = text.parse::<crate::args::CoordinatorAt>() {
        return Ok((at.name, at.address));
    }
    let address = crate::args::address(text).ok();
    let found = members.iter().find(|(name, at)| name.as_str() == text || Some(**at) == address);
    found.map(|(name, at)| (name.clone(), *at)).ok_or_else(|| {
        let cause = "the identity folder names no such coordinator, and whom to expect there is not said";
        Failure::new("ask coordinator", text, cause, "write its name and address: --coordinator c1=10.1.1.3:7400")
            .usage()
    })
}

/// Whether a status is an answer rather than a failure to get one.
fn is_final(code: Code) -> bool {
    !matches!(
        code,
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Unknown
            | Code::Internal
            | Code::ResourceExhausted
    )
}

/// The leader that a status names in its `slot-leader` metadata, `c2=10.1.2.7:7400`.
fn leader_hint(status: &Status) -> Option<(CoordinatorName, SocketAddr)> {
    let text = status.metadata().get("slot-leader")?.to_str().ok()?;
    let (name, at) = text.split_once('=')?;
    Some((CoordinatorName::new(name).ok()?, at.parse().ok()?))
}

fn why(status: &Status) -> String {
    let mut text = if status.message().is_empty() { status.code().to_string() } else { status.message().to_string() };
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text += &format!(": {more}");
        }
        source = error.source();
    }
    text
}

fn refused(task: &Task, status: &Status) -> Failure {
    let next = match status.code() {
        Code::PermissionDenied | Code::Unauthenticated => "use the folder of an identity that may: --folder DIR",
        Code::Unimplemented => "use a slotctl of the cluster's version",
        _ if task.changes => "nothing was changed by this; slotctl status shows how things stand",
        _ => "slotctl status shows how things stand",
    };
    let failure = task.failure(why(status), next);
    // What is asked for is so already: no harm, and nothing to do.
    match failure.cause.strip_prefix(NOTHING_TO_DO) {
        Some(why) => Failure { exit: Exit::Done, cause: why.into(), ..failure },
        None if status.code() == Code::AlreadyExists => Failure { exit: Exit::Done, ..failure },
        None => failure,
    }
}

fn unanswered(task: &Task, timeout: Duration, causes: &BTreeMap<CoordinatorName, String>) -> Failure {
    let mut cause = format!("no coordinator that may answer did so within {}", humantime::format_duration(timeout));
    for (name, why) in causes {
        cause += &format!("\n{name}: {why}");
    }
    let next = if task.changes {
        "whether it was done is UNKNOWN; look before you ask again: slotctl plan list, slotctl audit"
    } else {
        "are the coordinators running, and does a majority of them see each other? slotctl status --stale"
    };
    Failure { unanswered: true, ..task.failure(cause, next) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_hint_is_read_and_nonsense_is_not() {
        let with = |text: &'static str| {
            let mut status = Status::unavailable("not the leader");
            status.metadata_mut().insert("slot-leader", text.parse().unwrap());
            leader_hint(&status).map(|(name, at)| format!("{name} {at}"))
        };
        assert_eq!(with("c2=10.1.2.7:7400").as_deref(), Some("c2 10.1.2.7:7400"));
        for text in ["", "c2", "c2=", "C2=10.1.2.7:7400", "c2=host:7400", "=10.1.2.7:7400"] {
            assert_eq!(with(text), None, "{text}");
        }
    }

    #[test]
    fn coordinators_are_chosen_by_name_or_address() {
        let members = BTreeMap::from([(CoordinatorName::new("c1").unwrap(), "10.1.1.3:7400".parse().unwrap())]);
        for text in ["c1", "10.1.1.3", "10.1.1.3:7400", "c1=10.1.1.3"] {
            assert_eq!(chosen(text, &members).unwrap().0.as_str(), "c1", "{text}");
        }
        assert_eq!(chosen("c9=10.9.9.9:1", &members).unwrap().1.port(), 1);
        for text in ["c2", "10.1.1.4", ""] {
            assert_eq!(chosen(text, &members).unwrap_err().exit, Exit::Usage, "{text}");
        }
    }
}
