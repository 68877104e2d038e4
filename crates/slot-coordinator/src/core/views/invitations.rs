//! Who may join, and what became of those that could.
//!
//! What always holds: an invitation is called open exactly while its token would be taken now.

use super::Eyes;
use slot_machine::join::{Fate, Invitation, Used};
use slot_types::ids::HostName;
use slot_types::view::{InvitationFate, InvitationLine, InvitationsView};

/// As what every host joins.
const ROLE: &str = "agent";

impl Eyes<'_> {
    /// The last invitation of each host.
    pub(super) fn invitations(&self) -> InvitationsView {
        let invitations = self.state.invitations.iter().map(|(host, of)| self.invitation(host, of)).collect();
        InvitationsView { revision: self.state.revision, invitations }
    }

    fn invitation(&self, host: &HostName, of: &Invitation) -> InvitationLine {
        let left_ms = of.expires.since(self.log_now);
        let fate = match &of.fate {
            Fate::Open if left_ms == 0 => InvitationFate::Expired,
            Fate::Open => InvitationFate::Open,
            Fate::Used(Used { key, incarnation, wall }) => {
                InvitationFate::Burnt { key: *key, incarnation: *incarnation, wall: *wall }
            }
            Fate::Revoked { by, wall } => InvitationFate::Revoked { by: by.clone(), wall: *wall },
        };
        InvitationLine {
            host: host.clone(),
            role: ROLE.into(),
            certificate: of.certificate,
            by: of.by.clone(),
            reason: of.reason.clone(),
            wall: of.wall,
            left_ms,
            fate,
        }
    }
}
