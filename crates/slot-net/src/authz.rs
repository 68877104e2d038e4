//! Who may call what: one table, and the layer that enforces it.
//!
//! What always holds: a request whose path is not in [`RULES`], whose caller has no identity or whose caller's role is
//! not in the rule never reaches a service (S15); every RPC of the wire has exactly one rule (a test compares the table
//! with the compiled `.proto` files); an RPC with one answer ends at its rule's deadline at the latest.

use crate::identity::Role;
use crate::identity::Role::{Agent, Client, Coordinator, Joiner, Operator};
use crate::server::PeerInfo;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tonic::Status;
use tonic::codegen::http;

/// How long an RPC may take at the server; the caller's own deadline holds too, and is usually shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deadline {
    /// One answer, within this many seconds.
    Seconds(u64),
    /// A stream in either direction: it lives as long as both sides keep it.
    Stream,
}

/// Who may call one RPC.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Its full path, `/slot.v1.Agent/Deliver`.
    pub path: &'static str,
    /// The roles that may.
    pub roles: &'static [Role],
    /// How long it may take.
    pub deadline: Deadline,
}

const fn answer(path: &'static str, roles: &'static [Role]) -> Rule {
    Rule { path, roles, deadline: Deadline::Seconds(30) }
}

const fn answer_within(seconds: u64, path: &'static str, roles: &'static [Role]) -> Rule {
    Rule { path, roles, deadline: Deadline::Seconds(seconds) }
}

const fn stream(path: &'static str, roles: &'static [Role]) -> Rule {
    Rule { path, roles, deadline: Deadline::Stream }
}

/// Deny by default: what is not here nobody may call.
pub const RULES: &[Rule] = &[
    // Control: people, except for the routes, which everybody who follows a store needs.
    answer("/slot.v1.Control/OpenSession", &[Operator]),
    answer("/slot.v1.Control/MakePlan", &[Operator]),
    answer("/slot.v1.Control/ApprovePlan", &[Operator]),
    answer("/slot.v1.Control/RejectPlan", &[Operator]),
    answer("/slot.v1.Control/AbortPlan", &[Operator]),
    answer("/slot.v1.Control/PausePlan", &[Operator]),
    answer("/slot.v1.Control/ResumePlan", &[Operator]),
    answer("/slot.v1.Control/Attest", &[Operator]),
    answer("/slot.v1.Control/AdmitHost", &[Operator]),
    answer("/slot.v1.Control/InviteHost", &[Operator]),
    answer("/slot.v1.Control/RevokeInvitation", &[Operator]),
    answer("/slot.v1.Control/Hold", &[Operator]),
    answer("/slot.v1.Control/Release", &[Operator]),
    answer("/slot.v1.Control/Verify", &[Operator]),
    answer("/slot.v1.Control/View", &[Operator]),
    stream("/slot.v1.Control/WatchPlan", &[Operator]),
    stream("/slot.v1.Control/Routes", &[Operator, Client, Agent, Coordinator]),
    // Joining: a host with a one-time token exchanges it for its agent's certificate, and can do nothing else with it.
    answer("/slot.v1.Joining/Join", &[Joiner]),
    // Peer: coordinators among themselves. Any other certificate speaking Raft would be a master of the cluster.
    stream("/slot.v1.Peer/Raft", &[Coordinator]),
    // Agent: the leader alone gives orders and reads reports. An order has its own time budget, shorter than this.
    answer_within(300, "/slot.v1.Agent/Deliver", &[Coordinator]),
    stream("/slot.v1.Agent/Watch", &[Coordinator]),
    answer("/slot.v1.Agent/Look", &[Coordinator]),
    // Front end: the leader tells it the routes.
    answer_within(60, "/slot.v1.FrontEnd/Serve", &[Coordinator]),
    // Journal, data: clients write; agents write canaries and reinject; people may read.
    answer_within(60, "/slot.v1.Journal/Append", &[Client, Agent]),
    answer_within(60, "/slot.v1.Journal/Read", &[Client, Agent, Operator]),
    stream("/slot.v1.Journal/Tail", &[Client, Agent, Operator]),
    // Journal, engine to engine: an engine has its host's agent identity.
    answer_within(60, "/slot.v1.Journal/Pull", &[Agent]),
    answer_within(60, "/slot.v1.Journal/Contains", &[Agent]),
    // Journal, control: an agent; the engine also checks that it is its own host's.
    answer_within(300, "/slot.v1.Journal/Control", &[Agent]),
];

/// The rule for a path.
pub fn rule(path: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.path == path)
}

/// Whether this role may call this path; the refusal names both.
pub fn check(path: &str, caller: Option<&PeerInfo>) -> Result<&'static Rule, Status> {
    let Some(caller) = caller else {
        return Err(Status::unauthenticated("no client certificate: dial with an identity folder"));
    };
    let who = &caller.identity;
    match rule(path) {
        Some(rule) if rule.roles.contains(&who.role()) => Ok(rule),
        Some(rule) => {
            let allowed = rule.roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(", ");
            let role = who.role();
            Err(Status::permission_denied(format!("{who} may not call {path}: it is for {allowed}, not for {role}")))
        }
        None => Err(Status::permission_denied(format!("{who} may not call {path}: no rule allows it to any role"))),
    }
}

/// Puts the table before every service of a server.
#[derive(Debug, Clone, Copy, Default)]
pub struct AuthzLayer;

impl<S> tower::Layer<S> for AuthzLayer {
    type Service = Authz<S>;
    fn layer(&self, inner: S) -> Authz<S> {
        Authz { inner }
    }
}

/// A service behind the table.
#[derive(Debug, Clone)]
pub struct Authz<S> {
    inner: S,
}

impl<S, In, Out> tower::Service<http::Request<In>> for Authz<S>
where
    S: tower::Service<http::Request<In>, Response = http::Response<Out>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    Out: Default + 'static,
{
    type Response = http::Response<Out>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<In>) -> Self::Future {
        let caller = request.extensions().get::<PeerInfo>().cloned();
        match check(request.uri().path(), caller.as_ref()) {
            Ok(rule) => {
                if let Some(caller) = caller {
                    request.extensions_mut().insert(caller.identity);
                }
                let answer = self.inner.call(request);
                Box::pin(within(rule, answer))
            }
            Err(status) => {
                tracing::warn!(path = request.uri().path(), "refused: {}", status.message());
                Box::pin(async move { Ok(status.into_http()) })
            }
        }
    }
}

async fn within<Out: Default, E>(
    rule: &'static Rule,
    answer: impl Future<Output = Result<http::Response<Out>, E>>,
) -> Result<http::Response<Out>, E> {
    match rule.deadline {
        Deadline::Stream => answer.await,
        Deadline::Seconds(seconds) => {
            tokio::time::timeout(Duration::from_secs(seconds), answer).await.unwrap_or_else(|_| {
                let path = rule.path;
                Ok(Status::deadline_exceeded(format!("{path} took longer than its {seconds} s here")).into_http())
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;
    use tonic::Code;

    fn caller(role: Role) -> PeerInfo {
        PeerInfo {
            identity: Identity::new(role, "x").unwrap(),
            certificate: slot_types::position::Digest::of(b"x"),
            remote_addr: None,
        }
    }

    #[test]
    fn every_role_is_checked_against_every_rule() {
        for rule in RULES {
            assert!(!rule.roles.is_empty(), "{} is for nobody", rule.path);
            for role in Role::ALL {
                let outcome = check(rule.path, Some(&caller(role)));
                if rule.roles.contains(&role) {
                    assert!(outcome.is_ok(), "{role} {}", rule.path);
                } else {
                    let refusal = outcome.unwrap_err();
                    assert_eq!(refusal.code(), Code::PermissionDenied);
                    assert!(refusal.message().contains(rule.path) && refusal.message().contains(role.as_str()));
                }
            }
            assert_eq!(check(rule.path, None).unwrap_err().code(), Code::Unauthenticated);
        }
    }

    #[test]
    fn what_is_not_in_the_table_is_for_nobody() {
        for path in ["", "/", "/slot.v1.Control/Nothing", "/slot.v1.Agent/Deliver/", "/grpc.health.v1.Health/Check"] {
            for role in Role::ALL {
                assert_eq!(check(path, Some(&caller(role))).unwrap_err().code(), Code::PermissionDenied, "{path}");
            }
        }
    }

    #[test]
    fn no_path_has_two_rules() {
        for (i, rule) in RULES.iter().enumerate() {
            assert!(RULES.iter().skip(i + 1).all(|other| other.path != rule.path), "{} twice", rule.path);
        }
    }

    #[test]
    fn every_rpc_has_a_rule_and_every_rule_an_rpc() {
        use prost::Message;
        let files = prost_types::FileDescriptorSet::decode(slot_proto::DESCRIPTOR).unwrap();
        let mut rpcs = std::collections::BTreeMap::new();
        for file in &files.file {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    rpcs.insert(path, method.client_streaming() || method.server_streaming());
                }
            }
        }
        assert!(!rpcs.is_empty());
        let without: Vec<_> = rpcs.keys().filter(|path| rule(path).is_none()).collect();
        assert!(without.is_empty(), "add rules for these RPCs: {without:?}");
        for rule in RULES {
            let streams = rpcs.get(rule.path);
            assert!(streams.is_some(), "{} has a rule and is no RPC", rule.path);
            let unlimited = rule.deadline == Deadline::Stream;
            assert_eq!(streams, Some(&unlimited), "{}: exactly the streams have no deadline", rule.path);
        }
    }
}
