//! A coordinator that answers from a script, behind real mutual TLS.

use slot_net::{IdentityFolder, identity_of, init_cluster};
use slot_proto::pb;
use slot_proto::pb::control_server::{Control, ControlServer};
use slot_types::codec::{decode, encode};
use slot_types::ids::*;
use slot_types::plan::{Intent, Plan};
use slot_types::position::Digest;
use slot_types::view::{AuditLine, AuditView, HostView, PlanState, PlanView, Query, TaskProgress, View};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tonic::codegen::BoxStream;
use tonic::codegen::tokio_stream;
use tonic::{Request, Response, Status};

/// Makes a plan, or refuses.
type Planner = Box<dyn Fn(Intent) -> Result<Plan, String> + Send>;
/// Answers a query that it knows.
type Views = Box<dyn Fn(&Query) -> Option<View> + Send>;

/// What a fake does, and what it was asked.
#[derive(Default)]
pub struct Script {
    /// Answers every call with UNAVAILABLE and this leader.
    pub follower_of: Option<String>,
    /// The plan it makes of any intent.
    pub plan: Option<Plan>,
    /// The plan it has, as it ends.
    pub ends: Option<PlanView>,
    /// The host, after the plan.
    pub host: Option<HostView>,
    /// Refuses to plan.
    pub refuse: Option<Status>,
    /// So many MakePlan calls are recorded and then not answered.
    pub drop_answers: u32,
    /// Sends plans with this byte changed.
    pub tamper: Option<usize>,
    /// People missing after an approval.
    pub missing_after_approval: u32,
    /// `RPC session sequence`, and who asked.
    pub calls: Vec<String>,
    /// Digests approved, and certificates of tokens.
    pub approved: Vec<Vec<u8>>,
    /// The audit it has, and the number and hash of the last entry archived.
    pub audit: Vec<AuditLine>,
    /// See `audit`.
    pub archived: (u64, Digest),
    /// Answers nobody and names no leader.
    pub away: bool,
    /// How far comparisons are, one for each time it is asked, and what it was asked.
    pub verify: std::collections::VecDeque<slot_types::view::VerifyView>,
    pub verify_asked: Vec<(String, Option<u64>)>,
    /// Makes the plan of an intent, or refuses, instead of `plan`.
    pub planner: Option<Planner>,
    /// Answers queries, those it does not know excepted.
    pub views: Option<Views>,
    /// Intents asked for.
    pub intents: Vec<Intent>,
    pub mass: bool,
}

#[derive(Clone)]
pub struct Fake(pub Arc<Mutex<Script>>);

impl Fake {
    fn enter<T>(&self, rpc: &str, request: &Request<T>, name: Option<&pb::RequestName>) -> Result<(), Status> {
        let who = identity_of(request).map(|i| i.to_string()).unwrap_or_else(|_| "nobody".into());
        let mut script = self.0.lock().unwrap();
        let name = name.map(|n| format!(" {} {}", n.session, n.sequence)).unwrap_or_default();
        script.calls.push(format!("{rpc}{name} by {who}"));
        if script.away {
            return Err(Status::unavailable("it is away"));
        }
        match &script.follower_of {
            Some(leader) => {
                let mut status = Status::unavailable("not the leader");
                status.metadata_mut().insert("slot-leader", leader.parse().unwrap());
                Err(status)
            }
            None => Ok(()),
        }
    }
    fn bytes(&self) -> Vec<u8> {
        let script = self.0.lock().unwrap();
        let mut bytes = script.plan.as_ref().unwrap().bytes();
        if let Some(at) = script.tamper {
            bytes[at] ^= 1;
        }
        bytes
    }
    fn plan_reply(&self, people_missing: u32) -> Result<Response<pb::PlanReply>, Status> {
        Ok(Response::new(pb::PlanReply { plan: 17, bytes: self.bytes(), people_missing }))
    }
    fn view_reply(&self, view: View) -> pb::ViewReply {
        pb::ViewReply { view: encode(&view), revision: 7, answered_by: "c1".into(), confirmed: true }
    }
    fn audit(&self, after: u64, limit: u32) -> AuditView {
        let script = self.0.lock().unwrap();
        let mut later = script.audit.iter().filter(|entry| entry.number > after);
        let entries = later.by_ref().take(limit as usize).cloned().collect();
        AuditView {
            trimmed_through: script.archived.0,
            trimmed_hash: script.archived.1,
            entries,
            last: script.audit.last().map_or(script.archived.0, |entry| entry.number),
            chain_ok: true,
            more: later.next().is_some(),
        }
    }
    fn plan_view(&self) -> PlanView {
        let (bytes, script) = (self.bytes(), self.0.lock().unwrap());
        let mut view = script.ends.clone().unwrap();
        view.digest = Digest::of(&script.plan.as_ref().unwrap().bytes());
        view.bytes = bytes;
        view
    }
}

#[tonic::async_trait]
impl Control for Fake {
    async fn open_session(
        &self,
        request: Request<pb::OpenSessionRequest>,
    ) -> Result<Response<pb::OpenSessionReply>, Status> {
        self.enter("OpenSession", &request, None)?;
        Ok(Response::new(pb::OpenSessionReply { session: 42 }))
    }
    async fn make_plan(&self, request: Request<pb::MakePlanRequest>) -> Result<Response<pb::PlanReply>, Status> {
        self.enter("MakePlan", &request, request.get_ref().request.as_ref())?;
        let people = {
            let mut script = self.0.lock().unwrap();
            script.mass = request.get_ref().mass;
            script
                .intents
                .push(decode(&request.get_ref().intent).map_err(|e| Status::invalid_argument(e.to_string()))?);
            if script.drop_answers > 0 {
                script.drop_answers -= 1;
                return Err(Status::unavailable("the answer was lost"));
            }
            if let Some(status) = &script.refuse {
                return Err(status.clone());
            }
            if let (Some(planner), Some(intent)) = (&script.planner, script.intents.last()) {
                script.plan = Some(planner(intent.clone()).map_err(Status::failed_precondition)?);
            }
            script.plan.as_ref().unwrap().people
        };
        self.plan_reply(people.into())
    }
    async fn approve_plan(&self, request: Request<pb::ApprovePlanRequest>) -> Result<Response<pb::PlanReply>, Status> {
        self.enter("ApprovePlan", &request, request.get_ref().request.as_ref())?;
        let missing = {
            let mut script = self.0.lock().unwrap();
            script.approved.push(request.get_ref().digest.clone());
            script.missing_after_approval
        };
        self.plan_reply(missing)
    }
    async fn reject_plan(&self, request: Request<pb::EndPlanRequest>) -> Result<Response<pb::PlanReply>, Status> {
        self.enter("RejectPlan", &request, request.get_ref().request.as_ref())?;
        self.plan_reply(0)
    }
    async fn pause_plan(&self, request: Request<pb::EndPlanRequest>) -> Result<Response<pb::PlanReply>, Status> {
        self.enter("PausePlan", &request, request.get_ref().request.as_ref())?;
        self.plan_reply(0)
    }
    async fn resume_plan(&self, request: Request<pb::EndPlanRequest>) -> Result<Response<pb::PlanReply>, Status> {
        self.enter("ResumePlan", &request, request.get_ref().request.as_ref())?;
        self.plan_reply(0)
    }
    async fn abort_plan(&self, request: Request<pb::EndPlanRequest>) -> Result<Response<pb::PlanReply>, Status> {
        self.enter("AbortPlan", &request, request.get_ref().request.as_ref())?;
        self.plan_reply(0)
    }
    async fn attest(&self, request: Request<pb::AttestRequest>) -> Result<Response<pb::ChangeReply>, Status> {
        self.enter(&format!("Attest {}", request.get_ref().how), &request, None)?;
        Ok(Response::new(pb::ChangeReply { revision: 8 }))
    }
    async fn admit_host(&self, request: Request<pb::AdmitHostRequest>) -> Result<Response<pb::ChangeReply>, Status> {
        self.enter("AdmitHost", &request, None)?;
        Ok(Response::new(pb::ChangeReply { revision: 8 }))
    }
    async fn invite_host(&self, request: Request<pb::InviteHostRequest>) -> Result<Response<pb::ChangeReply>, Status> {
        self.enter(&format!("InviteHost {}", request.get_ref().host), &request, request.get_ref().request.as_ref())?;
        self.0.lock().unwrap().approved.push(request.get_ref().certificate.clone());
        match &self.0.lock().unwrap().refuse {
            Some(status) => Err(status.clone()),
            None => Ok(Response::new(pb::ChangeReply { revision: 8 })),
        }
    }
    async fn revoke_invitation(
        &self,
        request: Request<pb::RevokeInvitationRequest>,
    ) -> Result<Response<pb::ChangeReply>, Status> {
        let pb::RevokeInvitationRequest { request: name, host, .. } = request.get_ref();
        self.enter(&format!("RevokeInvitation {host}"), &request, name.as_ref())?;
        match &self.0.lock().unwrap().refuse {
            Some(status) => Err(status.clone()),
            None => Ok(Response::new(pb::ChangeReply { revision: 9 })),
        }
    }
    async fn hold(&self, request: Request<pb::HoldRequest>) -> Result<Response<pb::HoldReply>, Status> {
        self.enter(&format!("Hold {}", request.get_ref().on), &request, request.get_ref().request.as_ref())?;
        if let Some(status) = &self.0.lock().unwrap().refuse {
            return Err(status.clone());
        }
        Ok(Response::new(pb::HoldReply { revision: 8, changed: true, running: vec![17] }))
    }
    async fn release(&self, request: Request<pb::HoldRequest>) -> Result<Response<pb::HoldReply>, Status> {
        self.enter(&format!("Release {}", request.get_ref().on), &request, request.get_ref().request.as_ref())?;
        Ok(Response::new(pb::HoldReply { revision: 9, changed: false, running: vec![] }))
    }
    async fn verify(&self, request: Request<pb::VerifyRequest>) -> Result<Response<pb::ViewReply>, Status> {
        self.enter("Verify", &request, None)?;
        let pb::VerifyRequest { on, since } = request.into_inner();
        let view = {
            let mut script = self.0.lock().unwrap();
            script.verify_asked.push((on, since));
            script.verify.pop_front()
        };
        let view =
            view.ok_or_else(|| Status::not_found("store store9 does not exist; slotctl status lists those that do"))?;
        Ok(Response::new(self.view_reply(View::Verify(view))))
    }
    async fn view(&self, request: Request<pb::ViewRequest>) -> Result<Response<pb::ViewReply>, Status> {
        let query: Query = decode(&request.get_ref().query).map_err(|e| Status::invalid_argument(e.to_string()))?;
        self.enter("View", &request, None)?;
        let view = self.0.lock().unwrap().views.as_ref().and_then(|views| views(&query));
        if let Some(view) = view {
            return Ok(Response::new(self.view_reply(view)));
        }
        let view = match query {
            Query::Plan(_) => View::Plan(Box::new(self.plan_view())),
            Query::Host(host) => match &self.0.lock().unwrap().host {
                Some(view) => View::Host(Box::new(view.clone())),
                None => View::NotFound { subject: format!("host {host}") },
            },
            Query::Invitations => View::Invitations(crate::fixtures::invitations_view()),
            Query::Audit { after, limit } => View::Audit(self.audit(after, limit)),
            Query::AuditSince { wall, limit } => {
                let script = self.0.lock().unwrap();
                let first = script.audit.iter().find(|entry| entry.wall >= wall).map(|entry| entry.number - 1);
                let last = script.audit.last().unwrap().number;
                drop(script);
                View::Audit(self.audit(first.unwrap_or(last), limit))
            }
            other => View::NotFound { subject: format!("{other:?}") },
        };
        Ok(Response::new(self.view_reply(view)))
    }
    type WatchPlanStream = BoxStream<pb::ViewReply>;
    async fn watch_plan(
        &self,
        request: Request<pb::WatchPlanRequest>,
    ) -> Result<Response<Self::WatchPlanStream>, Status> {
        self.enter("WatchPlan", &request, None)?;
        // The first stream breaks before the end, as it does when a leader dies.
        let first = !self.0.lock().unwrap().calls.iter().any(|c| c == "broken");
        let mut view = self.plan_view();
        if first {
            self.0.lock().unwrap().calls.push("broken".into());
            view.state = PlanState::Running;
            view.tasks.iter_mut().for_each(|t| t.state = TaskProgress::Running);
        }
        let reply = self.view_reply(View::Plan(Box::new(view)));
        Ok(Response::new(Box::pin(tokio_stream::iter(vec![Ok(reply)]))))
    }
    type RoutesStream = BoxStream<pb::RoutesReply>;
    async fn routes(&self, request: Request<pb::RoutesRequest>) -> Result<Response<Self::RoutesStream>, Status> {
        self.enter("Routes", &request, None)?;
        Ok(Response::new(Box::pin(tokio_stream::iter(Vec::new()))))
    }
}

/// Two fake coordinators and the folders of their cluster.
pub struct Rig {
    /// Keeps the folders.
    pub dir: tempfile::TempDir,
    /// The cluster's identity.
    pub cluster: ClusterId,
    /// By name: the script, and where it serves.
    pub nodes: BTreeMap<String, (Fake, std::net::SocketAddr)>,
}

impl Rig {
    pub async fn start(names: &[&str]) -> Self {
        // There and nowhere else, so that lines that name it are as long, and broken at the same places, on every machine.
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let mut listeners = BTreeMap::new();
        let mut coordinators = BTreeMap::new();
        for name in names {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            coordinators.insert(CoordinatorName::new(*name).unwrap(), listener.local_addr().unwrap());
            listeners.insert((*name).to_string(), listener);
        }
        let name = |n: &str| OperatorName::new(n).unwrap();
        let root = dir.path().join("cluster");
        let fm1 = ClusterName::new("fm1").unwrap();
        let made = init_cluster(&root, &fm1, &coordinators, &[], &[], &[name("oncall"), name("bob")], &[]).unwrap();
        let mut nodes = BTreeMap::new();
        for (name, listener) in listeners {
            let fake = Fake(Arc::default());
            let address = listener.local_addr().unwrap();
            let folder = IdentityFolder::load(&root.join(format!("coordinator-{name}"))).unwrap();
            let service = ControlServer::new(fake.clone());
            tokio::spawn(async move {
                slot_net::serve(listener, &folder, tonic::service::Routes::new(service), std::future::pending()).await
            });
            nodes.insert(name, (fake, address));
        }
        Self { dir, cluster: made.membership.cluster_id, nodes }
    }

    pub fn folder(&self, operator: &str) -> PathBuf {
        self.dir.path().join("cluster").join(format!("operator-{operator}"))
    }

    pub fn script(&self, node: &str) -> std::sync::MutexGuard<'_, Script> {
        self.nodes[node].0.0.lock().unwrap()
    }
}
