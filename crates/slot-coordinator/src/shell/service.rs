//! The Control service: what operators, and whoever follows routes, call.
//!
//! What always holds: who asks is what the certificate says; everything that decides is asked of the core; streams are
//! bounded in number, and end when this node can no longer vouch for what they say.

use super::{Inbox, Members, Message, RoutesTable};
use crate::core::{ControlRequest, Failure};
use crate::wire::{Answered, Asked, Refusal, leader_hint};
use slot_net::identity_of;
use slot_proto::pb::control_server::Control;
use slot_proto::pb::*;
use slot_types::codec;
use slot_types::ids::*;
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
    async fn ask(&self, who: OperatorName, asked: Asked) -> Result<Answered, Status> {
        let request = ControlRequest::try_from(asked).map_err(|failure| self.status(&failure))?;
        let (reply, answer) = oneshot::channel();
        let stopping = || Status::unavailable("this coordinator is stopping; ask another");
        self.inbox.ask(Message::Request { who, request, reply }).await.map_err(|_| stopping())?;
        let reply = answer.await.map_err(|_| stopping())?.map_err(|failure| self.status(&failure))?;
        Ok(Answered::of(reply, &self.node))
    }

    pub(super) fn status(&self, failure: &Failure) -> Status {
        let Refusal { code, text, leader } = Refusal::of(failure, self.members.values());
        hinted(Status::new(code, text), leader)
    }

    async fn view(&self, who: OperatorName, asked: Asked) -> Result<ViewReply, Status> {
        match self.ask(who, asked).await? {
            Answered::View(reply) => Ok(reply),
            other => Err(unexpected(&other)),
        }
    }
}

fn hinted(mut status: Status, leader: Option<String>) -> Status {
    if let Some(value) = leader.and_then(|hint| hint.parse().ok()) {
        status.metadata_mut().insert(LEADER_HINT, value);
    }
    status
}

fn unexpected(reply: &Answered) -> Status {
    Status::internal(format!("the core answered something else: {reply:?}"))
}

fn invalid(error: impl std::fmt::Display) -> Status {
    Status::invalid_argument(error.to_string())
}

fn who<T>(request: &Request<T>) -> Result<OperatorName, Status> {
    OperatorName::new(identity_of(request)?.name()).map_err(invalid)
}

impl ControlService {
    pub(super) fn new(desk: Desk) -> Self {
        Self {
            desk,
            plan_watchers: Arc::new(Semaphore::new(PLAN_WATCHERS_MAX)),
            route_watchers: Arc::new(Semaphore::new(ROUTE_WATCHERS_MAX)),
        }
    }

    async fn plan(&self, who: OperatorName, asked: Asked) -> Result<Response<PlanReply>, Status> {
        match self.desk.ask(who, asked).await? {
            Answered::Plan(reply) => Ok(Response::new(reply)),
            other => Err(unexpected(&other)),
        }
    }

    async fn change(&self, who: OperatorName, asked: Asked) -> Result<Response<ChangeReply>, Status> {
        match self.desk.ask(who, asked).await? {
            Answered::Changed(reply) => Ok(Response::new(reply)),
            other => Err(unexpected(&other)),
        }
    }

    async fn held(&self, who: OperatorName, asked: Asked) -> Result<Response<HoldReply>, Status> {
        match self.desk.ask(who, asked).await? {
            Answered::Hold(reply) => Ok(Response::new(reply)),
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
        let who = who(&request)?;
        match self.desk.ask(who, Asked::OpenSession(request.into_inner())).await? {
            Answered::Session(reply) => Ok(Response::new(reply)),
            other => Err(unexpected(&other)),
        }
    }

    async fn make_plan(&self, request: Request<MakePlanRequest>) -> Result<Response<PlanReply>, Status> {
        let who = who(&request)?;
        self.plan(who, Asked::MakePlan(request.into_inner())).await
    }

    async fn approve_plan(&self, request: Request<ApprovePlanRequest>) -> Result<Response<PlanReply>, Status> {
        let who = who(&request)?;
        self.plan(who, Asked::ApprovePlan(request.into_inner())).await
    }

    async fn reject_plan(&self, request: Request<EndPlanRequest>) -> Result<Response<PlanReply>, Status> {
        let who = who(&request)?;
        self.plan(who, Asked::RejectPlan(request.into_inner())).await
    }

    async fn abort_plan(&self, request: Request<EndPlanRequest>) -> Result<Response<PlanReply>, Status> {
        let who = who(&request)?;
        self.plan(who, Asked::AbortPlan(request.into_inner())).await
    }

    async fn pause_plan(&self, request: Request<EndPlanRequest>) -> Result<Response<PlanReply>, Status> {
        let who = who(&request)?;
        self.plan(who, Asked::PausePlan(request.into_inner())).await
    }

    async fn resume_plan(&self, request: Request<EndPlanRequest>) -> Result<Response<PlanReply>, Status> {
        let who = who(&request)?;
        self.plan(who, Asked::ResumePlan(request.into_inner())).await
    }

    async fn attest(&self, request: Request<AttestRequest>) -> Result<Response<ChangeReply>, Status> {
        let who = who(&request)?;
        self.change(who, Asked::Attest(request.into_inner())).await
    }

    async fn admit_host(&self, request: Request<AdmitHostRequest>) -> Result<Response<ChangeReply>, Status> {
        let who = who(&request)?;
        self.change(who, Asked::AdmitHost(request.into_inner())).await
    }

    async fn invite_host(&self, request: Request<InviteHostRequest>) -> Result<Response<ChangeReply>, Status> {
        let who = who(&request)?;
        self.change(who, Asked::InviteHost(request.into_inner())).await
    }

    async fn revoke_invitation(
        &self,
        request: Request<RevokeInvitationRequest>,
    ) -> Result<Response<ChangeReply>, Status> {
        let who = who(&request)?;
        self.change(who, Asked::RevokeInvitation(request.into_inner())).await
    }

    async fn hold(&self, request: Request<HoldRequest>) -> Result<Response<HoldReply>, Status> {
        let who = who(&request)?;
        self.held(who, Asked::Hold(request.into_inner())).await
    }

    async fn release(&self, request: Request<HoldRequest>) -> Result<Response<HoldReply>, Status> {
        let who = who(&request)?;
        self.held(who, Asked::Release(request.into_inner())).await
    }

    async fn verify(&self, request: Request<VerifyRequest>) -> Result<Response<ViewReply>, Status> {
        let who = who(&request)?;
        self.desk.view(who, Asked::Verify(request.into_inner())).await.map(Response::new)
    }

    async fn view(&self, request: Request<ViewRequest>) -> Result<Response<ViewReply>, Status> {
        let who = who(&request)?;
        self.desk.view(who, Asked::View(request.into_inner())).await.map(Response::new)
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
        let asked = ViewRequest { query: codec::encode(&Query::Plan(self.plan)), stale_ok };
        let reply = self.desk.view(self.who.clone(), Asked::View(asked)).await?;
        let mut view = codec::decode::<View>(&reply.view).map_err(|e| Status::internal(e.to_string()))?;
        let View::Plan(plan) = &mut view else {
            return Err(Status::not_found(format!("plan {} does not exist; slotctl plan list", self.plan)));
        };
        let ended = plan.state.is_still();
        (plan.now, plan.wall) = (LogTime(0), WallTime(0)); // the passing of time is no change
        let changed = self.last.as_ref() != Some(&view);
        self.last = Some(view);
        Ok((reply, ended, changed))
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
        Err(hinted(status, leader_hint(leader.as_ref(), self.desk.members.values())))
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
