//! The Control service: what operators, and whoever follows routes, call.
//!
//! What always holds: who asks is what the certificate says; everything that decides is asked of the core; streams are
//! bounded in number, and end when this node can no longer vouch for what they say.

use super::{Inbox, Members, Message, RoutesTable};
use crate::core::{ControlRequest, Failure, Reply};
use slot_machine::command::RequestId;
use slot_net::identity_of;
use slot_proto::pb::control_server::Control;
use slot_proto::pb::*;
use slot_types::codec;
use slot_types::ids::*;
use slot_types::plan::Intent;
use slot_types::position::ShortDigest;
use slot_types::view::{Query, View};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

/// Names the leader in a refusal: `c2=127.0.0.1:7402`.
const LEADER_HINT: &str = "slot-leader";
/// Plans watched at a time.
const PLAN_WATCHERS_MAX: usize = 256;
/// Followers of routes at a time.
const ROUTE_WATCHERS_MAX: usize = 1_024;
/// A watcher is told of changes at most this often.
const WATCH_EVERY: Duration = Duration::from_millis(100);

/// Who leads, as far as this node knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lead {
    pub(super) leader: Option<CoordinatorName>,
    pub(super) is_leader: bool,
}

/// What a handler needs.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) inbox: Inbox,
    pub(super) members: Arc<Members>,
    pub(super) node: CoordinatorName,
    pub(super) lead: watch::Receiver<Lead>,
    pub(super) applied: watch::Receiver<u64>,
    pub(super) routes: watch::Receiver<Arc<RoutesTable>>,
}

/// The service.
pub(super) struct ControlService {
    desk: Desk,
    plan_watchers: Arc<Semaphore>,
    route_watchers: Arc<Semaphore>,
}

type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Desk {
    async fn ask(&self, who: OperatorName, request: ControlRequest) -> Result<Reply, Status> {
        let (reply, answer) = oneshot::channel();
        let stopping = || Status::unavailable("this coordinator is stopping; ask another");
        self.inbox.ask(Message::Request { who, request, reply }).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?.map_err(|failure| self.status(&failure))
    }

    fn status(&self, failure: &Failure) -> Status {
        let text = failure.to_string();
        match failure {
            Failure::NotLeader { leader } | Failure::Interrupted { leader } => {
                self.hint(Status::unavailable(text), leader.as_ref())
            }
            Failure::NotFound(_) => Status::not_found(text),
            Failure::Invalid(_) => Status::invalid_argument(text),
            Failure::Refused(_) => Status::failed_precondition(text),
        }
    }

    fn hint(&self, mut status: Status, leader: Option<&CoordinatorName>) -> Status {
        let place = self.members.values().find(|(name, _)| Some(name) == leader);
        if let Some(value) = place.and_then(|(name, address)| format!("{name}={address}").parse().ok()) {
            status.metadata_mut().insert(LEADER_HINT, value);
        }
        status
    }

    async fn view(&self, who: OperatorName, query: Query, stale_ok: bool) -> Result<(Vec<u8>, u64, bool), Status> {
        match self.ask(who, ControlRequest::View { query, stale_ok }).await? {
            Reply::View { bytes, revision, confirmed } => Ok((bytes, revision.0, confirmed)),
            other => Err(unexpected(&other)),
        }
    }
}

fn unexpected(reply: &Reply) -> Status {
    Status::internal(format!("the core answered something else: {reply:?}"))
}

fn invalid(error: impl std::fmt::Display) -> Status {
    Status::invalid_argument(error.to_string())
}

fn who<T>(request: &Request<T>) -> Result<OperatorName, Status> {
    OperatorName::new(identity_of(request)?.name()).map_err(invalid)
}

fn name(request: Option<RequestName>) -> Option<RequestId> {
    request.map(|r| RequestId { session: r.session, sequence: r.sequence })
}

impl ControlService {
    pub(super) fn new(desk: Desk) -> Self {
        Self {
            desk,
            plan_watchers: Arc::new(Semaphore::new(PLAN_WATCHERS_MAX)),
            route_watchers: Arc::new(Semaphore::new(ROUTE_WATCHERS_MAX)),
        }
    }

    async fn plan(&self, who: OperatorName, request: ControlRequest) -> Result<Response<PlanReply>, Status> {
        match self.desk.ask(who, request).await? {
            Reply::Plan { id, bytes, people_missing } => {
                Ok(Response::new(PlanReply { plan: id.0, bytes, people_missing: u32::from(people_missing) }))
            }
            other => Err(unexpected(&other)),
        }
    }

    async fn change(&self, who: OperatorName, request: ControlRequest) -> Result<Response<ChangeReply>, Status> {
        match self.desk.ask(who, request).await? {
            Reply::Changed { revision } => Ok(Response::new(ChangeReply { revision: revision.0 })),
            other => Err(unexpected(&other)),
        }
    }
}

fn permit(watchers: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Status> {
    let full = || Status::resource_exhausted("too many are watching already; ask another coordinator or try later");
    watchers.clone().try_acquire_owned().map_err(|_| full())
}

#[tonic::async_trait]
impl Control for ControlService {
    async fn open_session(&self, request: Request<OpenSessionRequest>) -> Result<Response<OpenSessionReply>, Status> {
        match self.desk.ask(who(&request)?, ControlRequest::OpenSession).await? {
            Reply::Session(session) => Ok(Response::new(OpenSessionReply { session })),
            other => Err(unexpected(&other)),
        }
    }

    async fn make_plan(&self, request: Request<MakePlanRequest>) -> Result<Response<PlanReply>, Status> {
        let who = who(&request)?;
        let asked = request.into_inner();
        let intent = Box::new(codec::decode::<Intent>(&asked.intent).map_err(invalid)?);
        let request = ControlRequest::MakePlan { request: name(asked.request), intent, reason: asked.reason };
        self.plan(who, request).await
    }

    async fn approve_plan(&self, request: Request<ApprovePlanRequest>) -> Result<Response<PlanReply>, Status> {
        let who = who(&request)?;
        let asked = request.into_inner();
        // R15: at least 64 bits of what the person saw.
        let digest = asked
            .digest
            .first_chunk::<8>()
            .map(|head| ShortDigest(*head))
            .ok_or_else(|| invalid("a digest has at least 8 bytes; give the one the plan was shown with"))?;
        let (request, plan, reason) = (name(asked.request), PlanId(asked.plan), asked.reason);
        self.plan(who, ControlRequest::ApprovePlan { request, plan, digest, reason }).await
    }

    async fn reject_plan(&self, request: Request<EndPlanRequest>) -> Result<Response<PlanReply>, Status> {
        let who = who(&request)?;
        let asked = request.into_inner();
        let (request, plan, reason) = (name(asked.request), PlanId(asked.plan), asked.reason);
        self.plan(who, ControlRequest::RejectPlan { request, plan, reason }).await
    }

    async fn abort_plan(&self, request: Request<EndPlanRequest>) -> Result<Response<PlanReply>, Status> {
        let who = who(&request)?;
        let asked = request.into_inner();
        let (request, plan, reason) = (name(asked.request), PlanId(asked.plan), asked.reason);
        self.plan(who, ControlRequest::AbortPlan { request, plan, reason }).await
    }

    async fn attest(&self, request: Request<AttestRequest>) -> Result<Response<ChangeReply>, Status> {
        let who = who(&request)?;
        let asked = request.into_inner();
        let host = HostName::new(asked.host).map_err(invalid)?;
        self.change(who, ControlRequest::Attest { request: name(asked.request), host, how: asked.how }).await
    }

    async fn admit_host(&self, request: Request<AdmitHostRequest>) -> Result<Response<ChangeReply>, Status> {
        let who = who(&request)?;
        let asked = request.into_inner();
        let host = HostName::new(asked.host).map_err(invalid)?;
        let incarnation = asked.incarnation.parse().map_err(invalid)?;
        let (request, reason) = (name(asked.request), asked.reason);
        self.change(who, ControlRequest::AdmitHost { request, host, incarnation, reason }).await
    }

    async fn view(&self, request: Request<ViewRequest>) -> Result<Response<ViewReply>, Status> {
        let who = who(&request)?;
        let asked = request.into_inner();
        let query = codec::decode::<Query>(&asked.query).map_err(invalid)?;
        let (view, revision, confirmed) = self.desk.view(who, query, asked.stale_ok).await?;
        let answered_by = self.desk.node.to_string();
        Ok(Response::new(ViewReply { view, revision, answered_by, confirmed }))
    }

    type WatchPlanStream = Replies<ViewReply>;

    async fn watch_plan(&self, request: Request<WatchPlanRequest>) -> Result<Response<Replies<ViewReply>>, Status> {
        let who = who(&request)?;
        let plan = PlanId(request.into_inner().plan);
        let permit = permit(&self.plan_watchers)?;
        let mut watcher = PlanWatcher { desk: self.desk.clone(), who, plan, last: None, _permit: permit };
        // The first look comes before the answer, so that who asks the wrong node is refused and told the leader, and does
        // not take an opened stream for a yes.
        watcher.desk.applied.mark_unchanged();
        let first = watcher.look(false).await?;
        Ok(Response::new(Box::pin(watcher.stream(first))))
    }

    type RoutesStream = Replies<RoutesReply>;

    async fn routes(&self, request: Request<RoutesRequest>) -> Result<Response<Replies<RoutesReply>>, Status> {
        let permit = permit(&self.route_watchers)?;
        let follow = request.into_inner().watch;
        Ok(Response::new(Box::pin(routes(self.desk.routes.clone(), follow, permit))))
    }
}

/// What a watcher saw: the answer, whether the plan has ended, and whether anything is new.
type Look = (ViewReply, bool, bool);

/// A plan, followed to its end.
struct PlanWatcher {
    desk: Desk,
    who: OperatorName,
    plan: PlanId,
    last: Option<View>,
    _permit: OwnedSemaphorePermit,
}

impl PlanWatcher {
    fn stream(mut self, first: Look) -> impl Stream<Item = Result<ViewReply, Status>> + Send {
        async_stream::try_stream! {
            let (mut reply, mut ended, mut changed) = first;
            loop {
                if changed {
                    yield reply;
                }
                if ended {
                    break;
                }
                self.wait().await?;
                self.desk.applied.mark_unchanged();
                (reply, ended, changed) = self.look(true).await?;
            }
        }
    }

    /// The first look is confirmed by a quorum; the later ones are as new as what this leader applied.
    async fn look(&mut self, stale_ok: bool) -> Result<Look, Status> {
        let (bytes, revision, confirmed) = self.desk.view(self.who.clone(), Query::Plan(self.plan), stale_ok).await?;
        let mut view = codec::decode::<View>(&bytes).map_err(|e| Status::internal(e.to_string()))?;
        let View::Plan(plan) = &mut view else {
            return Err(Status::not_found(format!("plan {} does not exist; slotctl plan list", self.plan)));
        };
        let ended = plan.state.is_ended();
        (plan.now, plan.wall) = (LogTime(0), WallTime(0)); // the passing of time is no change
        let changed = self.last.as_ref() != Some(&view);
        self.last = Some(view);
        let answered_by = self.desk.node.to_string();
        Ok((ViewReply { view: bytes, revision, answered_by, confirmed }, ended, changed))
    }

    async fn wait(&mut self) -> Result<(), Status> {
        let mut lead = self.desk.lead.clone();
        let moved = async { lead.wait_for(|lead| !lead.is_leader).await.ok().and_then(|lead| lead.leader.clone()) };
        let leader = tokio::select! {
            changed = self.desk.applied.changed() => {
                changed.map_err(|_| Status::unavailable("this coordinator is stopping; ask another"))?;
                tokio::time::sleep(WATCH_EVERY).await;
                return Ok(());
            }
            leader = moved => leader,
        };
        let status = Status::unavailable("leadership moved; watch the plan at the new leader");
        Err(self.desk.hint(status, leader.as_ref()))
    }
}

/// All routes once; then, if asked, what changes. A store that lost its route is sent with an empty slot.
fn routes(
    mut table: watch::Receiver<Arc<RoutesTable>>,
    follow: bool,
    permit: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<RoutesReply, Status>> + Send {
    async_stream::stream! {
        let _permit = permit;
        let mut last = table.borrow_and_update().clone();
        let all = last.routes.iter().map(|(store, route)| line(store, Some(route))).collect();
        yield Ok(RoutesReply { revision: last.revision.0, routes: all });
        while follow && table.changed().await.is_ok() {
            let next = table.borrow_and_update().clone();
            let changed = next.routes.iter().filter(|(store, route)| last.routes.get(*store) != Some(route));
            let mut lines: Vec<StoreRoute> = changed.map(|(store, route)| line(store, Some(route))).collect();
            lines.extend(last.routes.keys().filter(|s| !next.routes.contains_key(*s)).map(|s| line(s, None)));
            last = next;
            if !lines.is_empty() {
                yield Ok(RoutesReply { revision: last.revision.0, routes: lines });
            }
        }
    }
}

fn line(store: &StoreName, route: Option<&slot_types::cluster::Route>) -> StoreRoute {
    StoreRoute {
        store: store.to_string(),
        slot: route.map(|r| r.slot.to_string()).unwrap_or_default(),
        address: route.map(|r| r.address.to_string()).unwrap_or_default(),
        epoch_generation: route.map_or(0, |r| r.epoch.generation),
        epoch_n: route.map_or(0, |r| r.epoch.n),
    }
}
