//! Whose disk this is, and the envelope that says so to peers.
//!
//! What always holds: a node id is never reused. The incarnation is drawn at random when a disk is first written,
//! stays on that disk, and goes with every message; a wiped node that comes back under its old id shows another one.

use slot_planted::planted;
use slot_proto::pb::{RaftEnvelope, RaftMessage, RaftNodeMarker};
use slot_proto::raft::{ENVELOPE_FORMAT, RaftWireError, check_envelope_format};

/// Whose disk this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeMarker {
    /// The cluster.
    pub cluster_id: Vec<u8>,
    /// The node; never 0.
    pub node_id: u64,
    /// Drawn at random by whoever first writes the disk.
    pub incarnation: [u8; 16],
}

/// A message taken out of its envelope.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// The sender's disk. The caller compares it with the one it has on record for the sender, and with the
    /// certificate.
    pub from_incarnation: [u8; 16],
    /// The message.
    pub message: RaftMessage,
}

/// Why an envelope was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Of an unknown format.
    #[error("reading a raft envelope: {0}")]
    Format(#[from] RaftWireError),
    /// Of another cluster.
    #[error("reading a raft envelope: it is of another cluster; check the peer's address and certificate")]
    OtherCluster,
    /// Not complete.
    #[error("reading a raft envelope: {0} is missing or of a wrong size; check the peer's version")]
    Incomplete(&'static str),
}

impl NodeMarker {
    /// Puts a message in an envelope of this node.
    pub fn seal(&self, message: RaftMessage) -> RaftEnvelope {
        RaftEnvelope {
            format: ENVELOPE_FORMAT,
            cluster_id: self.cluster_id.clone(),
            from_incarnation: self.shown_incarnation().to_vec(),
            message: Some(message),
        }
    }

    fn shown_incarnation(&self) -> [u8; 16] {
        if planted("raft-node-id-reused") { [self.node_id as u8; 16] } else { self.incarnation }
    }

    /// Takes a message out of its envelope, refusing other clusters (S15).
    pub fn open(&self, envelope: RaftEnvelope) -> Result<Received, EnvelopeError> {
        check_envelope_format(&envelope)?;
        if envelope.cluster_id != self.cluster_id {
            return Err(EnvelopeError::OtherCluster);
        }
        let from_incarnation = <[u8; 16]>::try_from(envelope.from_incarnation.as_slice())
            .map_err(|_| EnvelopeError::Incomplete("the sender's incarnation"))?;
        let message = envelope.message.ok_or(EnvelopeError::Incomplete("the message"))?;
        Ok(Received { from_incarnation, message })
    }

    pub(crate) fn to_stored(&self) -> RaftNodeMarker {
        RaftNodeMarker {
            cluster_id: self.cluster_id.clone(),
            node_id: self.node_id,
            incarnation: self.incarnation.to_vec(),
        }
    }

    pub(crate) fn from_stored(stored: RaftNodeMarker) -> Option<Self> {
        let incarnation = <[u8; 16]>::try_from(stored.incarnation.as_slice()).ok()?;
        (stored.node_id != 0).then_some(Self { cluster_id: stored.cluster_id, node_id: stored.node_id, incarnation })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker(cluster: &[u8], node_id: u64) -> NodeMarker {
        NodeMarker { cluster_id: cluster.to_vec(), node_id, incarnation: [node_id as u8; 16] }
    }

    #[test]
    fn an_envelope_carries_the_incarnation() {
        let received = marker(b"fm1", 1).open(marker(b"fm1", 2).seal(RaftMessage::default())).unwrap();
        assert_eq!(received.from_incarnation, [2; 16]);
    }

    #[test]
    fn other_clusters_and_broken_envelopes_are_refused() {
        let own = marker(b"fm1", 1);
        let good = marker(b"fm1", 2).seal(RaftMessage::default());
        assert_eq!(own.open(marker(b"fm2", 2).seal(RaftMessage::default())), Err(EnvelopeError::OtherCluster));
        let short = RaftEnvelope { from_incarnation: vec![1; 15], ..good.clone() };
        assert!(matches!(own.open(short), Err(EnvelopeError::Incomplete(_))));
        assert!(matches!(own.open(RaftEnvelope { message: None, ..good.clone() }), Err(EnvelopeError::Incomplete(_))));
        assert!(matches!(own.open(RaftEnvelope { format: 7, ..good }), Err(EnvelopeError::Format(_))));
    }
}
