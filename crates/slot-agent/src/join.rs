//! `slot-agent join`: a bare host becomes the agent of its cluster.
//!
//! What always holds: the host's key is made here and stays here; the ledger, and with it the disk's incarnation, is made
//! before anybody is asked, so that the disk that is admitted is the one the agent will present (S2); asking again after an
//! interruption is the same use of the token, with the same key.

use crate::agent::AgentError;
use crate::config::AgentConfig;
use crate::core_join::{Exchange, Next, PAUSE_MS};
use crate::ledger::Ledger;
use crate::places::Places;
use slot_net::{
    Arrival, CaError, Dialer, FolderError, Identity, IdentityError, IdentityFolder, MESSAGE_BYTES_MAX, Role, Token,
};
use slot_proto::pb::JoinRequest;
use slot_proto::pb::joining_client::JoiningClient;
use slot_types::ids::{BootId, ClusterId, CoordinatorName, HostName, Incarnation};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};
use tonic::{Code, Status};

/// How long one coordinator may take to answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a host did not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The token or the new identity folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The key or the request.
    #[error(transparent)]
    Certificate(#[from] CaError),
    /// A coordinator's name is none.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The token is another host's.
    #[error("the token is for {token}, and agent.toml is of {host}: use the token that was made for {host}")]
    OtherHost {
        /// Whose the token is.
        token: HostName,
        /// Whose the configuration is.
        host: HostName,
    },
    /// The ledger or data folder.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The coordinators said no.
    #[error("cannot join as {host}: {cause}")]
    Refused {
        /// The host.
        host: HostName,
        /// What they said.
        cause: String,
    },
    /// Nobody answered.
    #[error(
        "cannot join as {host}: no coordinator answered within {waited:.0?}; the last said: {cause}; whether the token is \
         used is not known, and running the same command again is safe"
    )]
    Unanswered {
        /// The host.
        host: HostName,
        /// How long it was tried.
        waited: Duration,
        /// What the last one said.
        cause: String,
    },
}

/// The incarnation of this host's disk, which is made when its ledger is.
fn disk(config: &AgentConfig, cluster: ClusterId, boot: BootId) -> Result<Incarnation, AgentError> {
    let places = Places::open(&config.data, boot)?;
    let (_, image) = Ledger::open(&places.ledger(), cluster, &config.host)?;
    Ok(image.meta.incarnation)
}

/// Joins: makes the key, has it certified, and leaves an identity folder at `folder`. Tries for as long as `patience`.
pub async fn join(
    token: &Token,
    config: &AgentConfig,
    folder: &Path,
    boot: BootId,
    patience: Duration,
) -> Result<IdentityFolder, JoinError> {
    if *token.host() != config.host {
        return Err(JoinError::OtherHost { token: token.host().clone(), host: config.host.clone() });
    }
    let arrival = Arrival::begin(folder, &config.host)?;
    let incarnation = disk(config, token.folder().membership().cluster_id, boot)?;
    let ask = JoinRequest { request: arrival.request()?, incarnation: incarnation.to_string() };
    let certificates = exchange(token, &ask, patience).await?;
    Ok(arrival.finish(token, &certificates)?)
}

/// Asks one coordinator after the other until the leader is among them and answers.
async fn exchange(token: &Token, ask: &JoinRequest, patience: Duration) -> Result<String, JoinError> {
    let dialer = Dialer::new(token.folder().clone());
    let host = token.host().clone();
    let began = Instant::now();
    let coordinators: Vec<_> = token.folder().membership().coordinators.iter().collect();
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let mut exchange = Exchange::new(coordinators.len(), milliseconds(patience));
    let mut next = exchange.begin();
    loop {
        next = match next {
            Next::Ask(index) => {
                let (name, address) = coordinators[index];
                match ask_one(&dialer, name, *address, ask).await {
                    Ok(certificates) => return Ok(certificates),
                    Err(status) => {
                        let text = match is_final(status.code()) {
                            true => status.message().to_string(),
                            false => format!("{name}: {}", status.message()),
                        };
                        exchange.failed(milliseconds(began.elapsed()), is_final(status.code()), text)
                    }
                }
            }
            Next::Pause => {
                tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await;
                exchange.begin()
            }
            Next::Refused(cause) => return Err(JoinError::Refused { host, cause }),
            Next::Unanswered(cause) => return Err(JoinError::Unanswered { host, waited: patience, cause }),
        };
    }
}

/// Whether asking another coordinator, or asking again, can't help.
fn is_final(code: Code) -> bool {
    matches!(code, Code::InvalidArgument | Code::FailedPrecondition | Code::PermissionDenied | Code::Unimplemented)
}

async fn ask_one(
    dialer: &Dialer,
    name: &CoordinatorName,
    address: SocketAddr,
    ask: &JoinRequest,
) -> Result<String, Status> {
    let unusable = |error: &dyn std::fmt::Display| Status::unavailable(error.to_string());
    let expected = Identity::new(Role::Coordinator, name.as_str()).map_err(|e| unusable(&e))?;
    let channel = dialer.channel(address, &expected).map_err(|e| unusable(&e))?;
    let mut client = JoiningClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let asked = tokio::time::timeout(CALL_TIMEOUT, client.join(ask.clone())).await;
    let answered = asked.map_err(|_| Status::unavailable(format!("no answer within {CALL_TIMEOUT:.0?}")))?;
    Ok(answered?.into_inner().certificates)
}
