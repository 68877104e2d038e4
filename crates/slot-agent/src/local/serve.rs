//! The agent's side of the socket.
//!
//! What always holds: a connection of another user than the agent's own, or root's, is closed unheard; one connection asks
//! one thing, within a deadline; a socket that was left behind is replaced, one that somebody listens on is not.

use super::{LocalReply, LocalRequest, receive, send, socket};
use crate::agent::Handle;
use crate::core::hand::{ByHand, HAND_BUDGET_MS};
use slot_types::ids::WallTime;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

/// How long a person's program may take to say what it wants.
const ASK_PATIENCE: Duration = Duration::from_secs(5);
/// How much longer than a start by hand its answer is waited for.
const ANSWER_SLACK: Duration = Duration::from_secs(5);
/// The most connections at once.
const CONNECTIONS_MAX: usize = 16;

/// Why people at the machine can't be heard.
#[derive(Debug, thiserror::Error)]
#[error(
    "{operation} {path}, where people at this machine are heard: {cause}; is another agent running on this folder?"
)]
pub struct LocalError {
    operation: &'static str,
    path: PathBuf,
    cause: io::Error,
}

/// Listens in the data folder; nobody but the agent's user and root can connect.
pub fn listen(data: &Path) -> Result<UnixListener, LocalError> {
    let path = socket(data);
    let error = |operation| {
        let path = path.clone();
        move |cause| LocalError { operation, path, cause }
    };
    if path.exists() {
        // The ledger is locked by now, so whoever made it has ended.
        fs::remove_file(&path).map_err(error("removing"))?;
    }
    // Made in a folder of our own and moved: at no moment could another user open it.
    let nook = data.join(".local");
    match fs::create_dir(&nook) {
        Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => {
            return Err(error("making the folder for")(cause));
        }
        _ => {
            fs::set_permissions(&nook, fs::Permissions::from_mode(0o700)).map_err(error("protecting the folder for"))?
        }
    }
    let made = nook.join(super::SOCKET);
    if made.exists() {
        fs::remove_file(&made).map_err(error("removing"))?;
    }
    let listener = UnixListener::bind(&made).map_err(error("listening on"))?;
    fs::set_permissions(&made, fs::Permissions::from_mode(0o600)).map_err(error("protecting"))?;
    fs::rename(&made, &path).map_err(error("moving"))?;
    Ok(listener)
}

/// Hears people until the agent ends.
pub async fn run(listener: UnixListener, handle: Handle) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let handle = handle.clone();
                drop(tokio::spawn(async move {
                    if let Err(error) = hear(stream, &handle).await {
                        tracing::warn!("a person at this machine was not heard: {error}");
                    }
                    drop(place);
                }));
            }
            Err(error) => {
                tracing::warn!("people at this machine can't be heard: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn hear(mut stream: UnixStream, handle: &Handle) -> io::Result<()> {
    let uid = stream.peer_cred()?.uid();
    let own = rustix::process::geteuid().as_raw();
    if uid != own && uid != 0 {
        return Err(io::Error::other(format!("user {uid} is neither root nor {own}, which this agent runs as")));
    }
    let request: LocalRequest = within(ASK_PATIENCE, receive(&mut stream)).await?;
    let gone = || io::Error::other("this agent is ending");
    let reply = match request {
        LocalRequest::Status => LocalReply::Status(Box::new(handle.local_status().await.ok_or_else(gone)?)),
        LocalRequest::StartMaster { slot, epoch, by, reason, disk_is_current } => {
            tracing::warn!("{by} (user {uid}) asks for {slot} as master at epoch {epoch} by hand: {reason}");
            if slot.host == *handle.host() {
                let (slot, wall) = (slot.number, wall());
                let by_hand = ByHand { slot, epoch, by, uid, reason, wall, led: handle.is_led(), disk_is_current };
                LocalReply::Started(handle.start_by_hand(by_hand).await.ok_or_else(gone)?)
            } else {
                LocalReply::Started(Err(format!("this machine is {}, not {}", handle.host(), slot.host)))
            }
        }
    };
    within(Duration::from_millis(HAND_BUDGET_MS) + ANSWER_SLACK, send(&mut stream, &reply)).await
}

/// For display only.
fn wall() -> WallTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

async fn within<T>(patience: Duration, what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(patience, what).await {
        Ok(done) => done,
        Err(_) => Err(io::Error::other(format!("not within {patience:?}"))),
    }
}
