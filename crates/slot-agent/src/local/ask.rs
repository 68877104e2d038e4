//! A person's side of the socket.

use super::{LocalReply, LocalRequest, receive, send, socket};
use crate::core::hand::HAND_BUDGET_MS;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;

/// How much longer than a start by hand its answer is waited for.
const SLACK: Duration = Duration::from_secs(10);

/// Why the agent could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens, or this user may not ask.
    #[error(
        "cannot ask the agent through {path}: {cause}; it must run, and only root and its own user may ask: \
         systemctl start slot-agent"
    )]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// It did not answer.
    #[error("no answer from the agent through {path}: {cause}; what it did is in: slot-agent local status")]
    Answer {
        /// The socket.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
}

/// Asks the agent of this data folder.
pub async fn ask(data: &Path, request: &LocalRequest) -> Result<LocalReply, AskError> {
    let path = socket(data);
    let mut stream =
        UnixStream::connect(&path).await.map_err(|cause| AskError::Connect { path: path.clone(), cause })?;
    let talk = async {
        send(&mut stream, request).await?;
        receive(&mut stream).await
    };
    let patience = Duration::from_millis(HAND_BUDGET_MS) + SLACK;
    let answered = tokio::time::timeout(patience, talk).await;
    let answered = answered.unwrap_or_else(|_| Err(io::Error::other(format!("not within {patience:?}"))));
    answered.map_err(|cause| AskError::Answer { path, cause })
}
