//! A person at the machine (R19): what may be asked of the running agent without any coordinator, over a socket that only
//! the agent's own user and root may open.
//!
//! What always holds: the socket lies in the data folder with mode 0600, and the kernel says who asks; whatever is asked is
//! judged by the core; nothing here starts anything by itself.

pub mod ask;
pub mod command;
pub mod serve;
pub mod text;

pub use crate::core::local::{LocalSlot, LocalStatus};

use crate::core::hand::ByHandAnswer;
use borsh::{BorshDeserialize, BorshSerialize};
use slot_types::codec::{self, Versioned};
use slot_types::ids::*;
use std::io;
use std::path::{Path, PathBuf};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The socket's name in the data folder.
pub const SOCKET: &str = "local.sock";
/// The longest message, in bytes: the status of a host of thousands of slots.
pub const MESSAGE_BYTES_MAX: u32 = 4 * 1024 * 1024;

/// Where the agent of this data folder listens for people at the machine.
pub fn socket(data: &Path) -> PathBuf {
    data.join(SOCKET)
}

/// What a person asks.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum LocalRequest {
    /// What this host holds, and what could be started here.
    Status,
    /// Start a slot's master at the epoch that it was master at.
    StartMaster {
        /// The slot, its host's name included: a person on the wrong machine is told so.
        slot: SlotId,
        /// The epoch.
        epoch: Epoch,
        /// Who.
        by: OperatorName,
        /// Why.
        reason: String,
        /// That person's word that no older state of this disk was put back.
        disk_is_current: bool,
    },
}

/// What a person hears.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum LocalReply {
    /// To [`LocalRequest::Status`].
    Status(Box<LocalStatus>),
    /// To [`LocalRequest::StartMaster`].
    Started(ByHandAnswer),
}

slot_types::versioned! {
    LocalRequest: "request of a person at the machine", 1;
    LocalReply: "answer to a person at the machine", 1;
}

/// Writes one message: its length in four bytes, then its bytes.
async fn send<T: Versioned>(stream: &mut tokio::net::UnixStream, message: &T) -> io::Result<()> {
    let bytes = codec::encode(message);
    let length = u32::try_from(bytes.len()).ok().filter(|length| *length <= MESSAGE_BYTES_MAX);
    let length = length.ok_or_else(|| io::Error::other(format!("{} has {} bytes: too long", T::NAME, bytes.len())))?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(&bytes).await?;
    stream.flush().await
}

/// Reads one message, no longer than allowed.
async fn receive<T: Versioned>(stream: &mut tokio::net::UnixStream) -> io::Result<T> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let length = u32::from_be_bytes(length);
    if length > MESSAGE_BYTES_MAX {
        return Err(io::Error::other(format!("{} of {length} bytes is too long", T::NAME)));
    }
    let mut bytes = vec![0; length as usize];
    stream.read_exact(&mut bytes).await?;
    codec::decode(&bytes).map_err(io::Error::other)
}
