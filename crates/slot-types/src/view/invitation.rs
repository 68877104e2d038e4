//! Who may join with a one-time token, and what became of those that could.
//!
//! What always holds: a token is told by the digest of its certificate; nothing here is good for joining.

use crate::ids::*;
use crate::position::Digest;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// Every invitation that is remembered, by host.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct InvitationsView {
    /// The revision the answer is of.
    pub revision: Revision,
    /// The last invitation of each host.
    pub invitations: Vec<InvitationLine>,
}

/// A person's word that a host may join.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct InvitationLine {
    /// Which host.
    pub host: HostName,
    /// As what it joins: `agent`, since nobody else does.
    pub role: String,
    /// The digest of the token's certificate.
    pub certificate: Digest,
    /// Who invited it.
    pub by: OperatorName,
    /// Why.
    pub reason: String,
    /// When.
    pub wall: WallTime,
    /// How long its token may still be used, in log time; 0 when it has expired.
    pub left_ms: u64,
    /// What became of it.
    pub fate: InvitationFate,
}

/// What became of an invitation.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub enum InvitationFate {
    /// Its token may be used.
    Open,
    /// A day has passed.
    Expired,
    /// Its token was used.
    Burnt {
        /// The digest of the key that was certified.
        key: Digest,
        /// The disk it came with.
        incarnation: Incarnation,
        /// When.
        wall: WallTime,
    },
    /// Somebody took it back.
    Revoked {
        /// Who.
        by: OperatorName,
        /// When.
        wall: WallTime,
    },
}
