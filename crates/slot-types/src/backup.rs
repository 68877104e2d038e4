//! A backup of the coordinators' state, as a file (R10, S16).
//!
//! What always holds: it is one state at one entry of the log, read from a leader that was confirmed to lead; its bytes are
//! covered by a checksum and a format, both looked at before anything else; plans and sessions are not in it, since a
//! restore voids them.

use crate::codec::{self, CodecError, Versioned};
use crate::ids::*;
use crate::position::Digest;
use crate::view::AuditLine;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// What every backup begins with.
pub const BACKUP_MAGIC: &[u8] = b"slotd backup\n";

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct BackupHead {
    /// The cluster's identity.
    pub cluster: ClusterId,
    /// Its name.
    pub name: ClusterName,
    /// Its generation then.
    pub generation: u32,
    /// The revision.
    pub revision: Revision,
    /// The last entry of the log that is in it.
    pub applied: LogIndex,
    /// When it was taken, by the leader's clock; for display.
    pub wall: WallTime,
    /// The number of the last audit entry.
    pub audit_last: u64,
    /// The hash of that entry: the audit in the file must end in it (S12).
    pub audit_head: Digest,
}

/// What the leader answers to [`crate::view::Query::Backup`].
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct BackupView {
    /// What it is.
    pub head: BackupHead,
    /// The number of the last audit entry that is archived elsewhere (R22); the file's begin after it.
    pub audit_trimmed: u64,
    /// The hash of that one.
    pub audit_trimmed_hash: Digest,
    /// The state's canonical bytes, without plans, sessions and audit entries.
    pub state: Vec<u8>,
}

/// A whole backup.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Backup {
    /// The state, and what it is of.
    pub view: BackupView,
    /// The audit entries, in order.
    pub audit: Vec<AuditLine>,
}

impl Versioned for Backup {
    const NAME: &'static str = "backup";
    const VERSION: u16 = 1;
}

/// Why a file is no backup that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// It begins with something else.
    #[error("it is no backup of slotd; slotctl backup makes one")]
    OtherFile,
    /// Its checksum does not fit.
    #[error("its checksum does not fit its content: it is damaged or cut short; take another backup")]
    Damaged,
    /// Another version.
    #[error(transparent)]
    Version(#[from] CodecError),
    /// The audit chain in it is broken (S12).
    #[error("its audit chain is broken at entry {0}; take another backup")]
    Audit(u64),
}

impl Backup {
    /// The file's bytes.
    pub fn to_file(&self) -> Vec<u8> {
        let body = codec::encode(self);
        [BACKUP_MAGIC, &Digest::of(&body).0, &body].concat()
    }

    /// Reads a file's bytes, and checks everything that can be checked without knowing the state.
    pub fn from_file(bytes: &[u8]) -> Result<Self, BackupError> {
        let rest = bytes.strip_prefix(BACKUP_MAGIC).ok_or(BackupError::OtherFile)?;
        let (sum, body) = rest.split_at_checked(Digest::default().0.len()).ok_or(BackupError::Damaged)?;
        if Digest::of(body).0 != sum {
            return Err(BackupError::Damaged);
        }
        let backup: Self = codec::decode(body)?;
        backup.check()?;
        Ok(backup)
    }

    /// S12: the audit is whole, and ends where the state says.
    pub fn check(&self) -> Result<(), BackupError> {
        let mut number = self.view.audit_trimmed;
        let mut hash = self.view.audit_trimmed_hash;
        for line in &self.audit {
            if line.number != number + 1 || line.hash != line.expected_hash(&hash) {
                return Err(BackupError::Audit(line.number));
            }
            (number, hash) = (line.number, line.hash);
        }
        let head = &self.view.head;
        if (number, hash) != (head.audit_last, head.audit_head) { Err(BackupError::Audit(number + 1)) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backup() -> Backup {
        let (number, index, log_time, wall) = (1, LogIndex(3), LogTime(4), WallTime(5));
        let (actor, event) = ("slotd".to_string(), "founded".to_string());
        let mut line = AuditLine { number, index, log_time, wall, actor, event, hash: Digest::default() };
        line.hash = line.expected_hash(&Digest::default());
        let head = BackupHead {
            cluster: ClusterId([1; 16]),
            name: ClusterName::new("fm1").unwrap(),
            generation: 0,
            revision: Revision(9),
            applied: LogIndex(12),
            wall,
            audit_last: 1,
            audit_head: line.hash,
        };
        let (audit_trimmed, audit_trimmed_hash, state) = (0, Digest::default(), vec![1, 2, 3]);
        Backup { view: BackupView { head, audit_trimmed, audit_trimmed_hash, state }, audit: vec![line] }
    }

    #[test]
    fn a_file_gives_back_what_was_put_in() {
        assert_eq!(Backup::from_file(&backup().to_file()), Ok(backup()));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let good = backup().to_file();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(Backup::from_file(&bad).is_err(), "a flipped bit in byte {at}");
            assert!(Backup::from_file(&good[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn s12_an_audit_that_is_not_whole_is_refused() {
        let mut cut = backup();
        cut.audit.clear();
        assert_eq!(Backup::from_file(&cut.to_file()), Err(BackupError::Audit(1)));
        let mut told = backup();
        told.audit[0].event = "something else".into();
        assert_eq!(Backup::from_file(&told.to_file()), Err(BackupError::Audit(1)));
    }
}
