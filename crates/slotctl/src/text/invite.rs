//! What is said of invitations.
//!
//! What always holds: a token is named by its file or by its host, and never printed.

use super::layout::*;
use slot_types::ids::HostName;
use slot_types::view::{InvitationFate, InvitationLine, InvitationsView};
use std::path::Path;

/// Said when a token was made.
pub fn invited(host: &HostName, token: &Path) -> String {
    let token = token.display();
    format!(
        "{host} may join within 24 h, once, with the token in {token}\n  \
         Whoever has that file can become {host}: bring it there on a way you trust.\n  \
         next  on {host}: slot-agent join --token {token} --config agent.toml --folder DIR\n  \
         else  slotctl invite revoke {host} -m REASON\n"
    )
}

/// `invite list`.
pub fn list(view: &InvitationsView) -> String {
    let all = &view.invitations;
    if all.is_empty() {
        return "nobody was invited within a day\n".into();
    }
    let open = all.iter().filter(|line| line.fate == InvitationFate::Open).count() as u64;
    let mut table = Table::new(&["HOST", "AS", "INVITED", "BY", "TOKEN", "FOR"]);
    for line in all {
        table.row(vec![
            line.host.to_string(),
            line.role.clone(),
            date_and_time(line.wall),
            line.by.to_string(),
            fate(line),
            line.reason.clone(),
        ]);
    }
    let mut text = match open {
        0 => format!("nobody may join   {}\n\n", count(all.len() as u64, "invitation")),
        n => format!("{n} of {} OPEN\n\n", count(all.len() as u64, "invitation")),
    };
    text += &table.text(0);
    if let Some(first) = all.iter().find(|line| line.fate == InvitationFate::Open) {
        text += &format!("\nnext  slotctl invite revoke {} -m REASON   if it is not to come\n", first.host);
    }
    text
}

fn fate(line: &InvitationLine) -> String {
    match &line.fate {
        InvitationFate::Open => format!("OPEN for {}", span(line.left_ms)),
        InvitationFate::Expired => "expired".into(),
        InvitationFate::Burnt { key, wall, .. } => format!("burnt {} by key {}", time(*wall), key.short()),
        InvitationFate::Revoked { by, wall } => format!("revoked {} by {by}", time(*wall)),
    }
}

/// Said when an invitation was taken back.
pub fn revoked(host: &HostName) -> String {
    format!("the token of {host} is no good any more\n  next  slotctl invite list\n")
}
