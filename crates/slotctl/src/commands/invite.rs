//! `invite`: one-time tokens for bare hosts, seen and taken back.
//!
//! What always holds: the token is written only after the cluster took the digest of its certificate into the log; the
//! cluster never sees the token, and the CA's key stays where it is.

use super::change::tell;
use super::look::look;
use crate::args::{Change, Invite};
use crate::client::{Client, Task};
use crate::console::Console;
use crate::failure::{Exit, Failure};
use crate::{json, text};
use slot_net::Ca;
use slot_types::ids::HostName;
use slot_types::view::Query;
use std::path::Path;

/// `invite`.
pub async fn invite(client: &mut Client, console: &mut Console, what: Invite) -> Result<Exit, Failure> {
    match what {
        Invite::Host { host, ca, out, change } => invite_host(client, console, host, (&ca, &out), change).await,
        Invite::List => look(client, console, &Task::look("list", "invitations"), &Query::Invitations).await,
        Invite::Revoke { host, change } => {
            let task = Task::change("revoke the invitation of", &host);
            client.revoke(&task, &host, &change.message).await?;
            tell(console, &task, &text::invite::revoked(&host));
            Ok(Exit::Done)
        }
    }
}

/// `invite host`: the token goes into `out`, signed by the CA in `ca`.
async fn invite_host(
    client: &mut Client,
    console: &mut Console,
    host: HostName,
    (ca, out): (&Path, &Path),
    change: Change,
) -> Result<Exit, Failure> {
    let task = Task::change("invite host", &host);
    if out.try_exists().unwrap_or(true) {
        let cause = format!("{} is there already and is left as it is", out.display());
        return Err(task.failure(cause, "name a new file with --out").usage());
    }
    let next = "name the folder that `slotctl init` made, on the machine that keeps it: --ca DIR";
    let authority = Ca::load(ca).map_err(|e| task.failure(e.to_string(), next))?;
    let (own, asked) = (authority.membership().cluster_id, client.cluster());
    if own != asked {
        let cause = format!("the CA is that of cluster {own}, and you are asking cluster {asked}");
        return Err(task.failure(cause, "use the CA of the cluster that the host is to join"));
    }
    let token = authority.make_token(&host).map_err(|e| task.failure(e.to_string(), next))?;
    client.invite(&task, &host, token.certificate(), &change.message).await?;
    let next = format!("name a file that can be made, and invite {host} again: the token made now is lost");
    token.write(out).map_err(|e| task.failure(e.to_string(), next))?;
    if console.json {
        console.document(&json::invited(&host, out, &token.certificate()));
    } else {
        console.text(&text::invite::invited(&host, out));
    }
    Ok(Exit::Done)
}
