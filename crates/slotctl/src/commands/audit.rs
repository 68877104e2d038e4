//! `events` and `audit verify`.
//!
//! What always holds: the chain is computed here from what was received, nobody's word for it is taken (S12); an end is
//! named only up to an entry that fits.

use crate::client::{Client, Task, unexpected};
use crate::console::Console;
use crate::failure::{Exit, Failure};
use crate::since::{Noted, Since};
use crate::{json, text};
use slot_types::ids::WallTime;
use slot_types::view::{AUDIT_LINES_MAX, AuditView, ChainBreak, ChainEnd, Query, View};
use std::time::Duration;

/// How many events are shown when it is not said since when.
const EVENTS_LATEST: u64 = 50;
/// How often new events are asked for.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);

pub(super) async fn page(
    client: &mut Client,
    task: &Task,
    query: &Query,
    stale: bool,
) -> Result<(AuditView, String), Failure> {
    let answer = client.view(task, query, stale).await?;
    match answer.view {
        View::Audit(audit) => Ok((audit, answer.answered_by)),
        _ => Err(unexpected(task)),
    }
}

fn after(number: u64) -> Query {
    Query::Audit { after: number, limit: AUDIT_LINES_MAX }
}

/// `events`: what happened, and, when followed, what happens.
pub async fn events(
    client: &mut Client,
    console: &mut Console,
    since: Option<Since>,
    follow: bool,
) -> Result<Exit, Failure> {
    let task = Task::look("read", "the events");
    let mut query = match since {
        Some(Since::Number(number)) => after(number.saturating_sub(1)),
        Some(since) => Query::AuditSince { wall: since.wall(now()), limit: AUDIT_LINES_MAX },
        None => {
            // No entry has a higher number: the answer only says which the last is.
            let (none, _) = page(client, &task, &after(u64::MAX), false).await?;
            after(none.last.saturating_sub(EVENTS_LATEST).max(none.trimmed_through))
        }
    };
    let mut printer = text::audit::Events::default();
    let mut known_as_broken = false;
    loop {
        let audit = match page(client, &task, &query, false).await {
            Ok((audit, _)) => audit,
            Err(failure) if follow && failure.unanswered => {
                console.failure(&failure);
                tokio::time::sleep(FOLLOW_EVERY).await;
                continue;
            }
            Err(failure) => return Err(failure),
        };
        if !audit.chain_ok && !known_as_broken {
            console.remark("the audit's chain is BROKEN; which entry is bad: slotctl audit verify\n");
            known_as_broken = true;
        }
        for entry in &audit.entries {
            if console.json {
                console.document(&json::event(entry));
            } else {
                console.text(&printer.line(entry));
            }
        }
        // The next page begins behind what was shown; where nothing was, where this one did, or at the end.
        query = match (audit.entries.last(), query) {
            (Some(entry), _) => after(entry.number),
            (None, Query::Audit { after: from, .. }) => after(from),
            (None, _) => after(audit.last),
        };
        if !audit.more {
            if !follow {
                return Ok(Exit::Done);
            }
            tokio::time::sleep(FOLLOW_EVERY).await;
        }
    }
}

pub(super) fn now() -> WallTime {
    WallTime(u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0))
}

/// What was found of a chain.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Entries up to this number are archived and could not be looked at.
    pub archived_through: u64,
    /// As far as it is whole.
    pub end: ChainEnd,
    /// Why it is not whole behind that.
    pub broken: Option<ChainBreak>,
    /// The hash noted before that was found again.
    pub noted: Option<u64>,
    /// Whose copy it was.
    pub answered_by: String,
}

/// `audit verify`: the whole chain, in pages, computed again here.
pub async fn verify(
    client: &mut Client,
    console: &mut Console,
    noted: Option<Noted>,
    stale: bool,
) -> Result<Exit, Failure> {
    let task = Task::look("verify", "the audit");
    let verified = follow_chain(client, &task, noted.as_ref(), stale).await?;
    if let Some(noted) = noted.filter(|_| verified.broken.is_none() && verified.noted.is_none()) {
        let (first, last) = (verified.archived_through, verified.end.number);
        let cause = format!("entry {}, whose hash was noted, is not among those kept: {first} to {last}", noted.number);
        return Err(task.failure(cause, "look in the archive, or ask the coordinators that were there then"));
    }
    if console.json {
        console.document(&json::verified(&verified));
    } else {
        console.text(&text::audit::verified(&verified));
    }
    Ok(if verified.broken.is_some() { Exit::Failed } else { Exit::Done })
}

async fn follow_chain(
    client: &mut Client,
    task: &Task,
    noted: Option<&Noted>,
    stale: bool,
) -> Result<Verified, Failure> {
    let (first, answered_by) = page(client, task, &after(0), stale).await?;
    let archived_through = first.trimmed_through;
    let end = ChainEnd { number: first.trimmed_through, hash: first.trimmed_hash };
    let mut verified = Verified { archived_through, end, broken: None, noted: None, answered_by };
    // The last archived entry is there by its hash alone.
    check_noted(&mut verified, noted);
    let mut audit = first;
    loop {
        if audit.trimmed_through != archived_through {
            let cause = "entries were archived while it was read";
            return Err(task.failure(cause, "ask again: slotctl audit verify"));
        }
        for entry in &audit.entries {
            if verified.broken.is_some() {
                break;
            }
            verified.broken = verified.end.follow(entry).err();
            check_noted(&mut verified, noted);
        }
        if verified.broken.is_some() || !audit.more {
            return Ok(verified);
        }
        if audit.entries.is_empty() {
            return Err(unexpected(task));
        }
        audit = page(client, task, &after(verified.end.number), stale).await?.0;
    }
}

fn check_noted(verified: &mut Verified, noted: Option<&Noted>) {
    let Some(noted) = noted.filter(|n| verified.broken.is_none() && n.number == verified.end.number) else { return };
    if verified.end.hash.short() == noted.hash {
        verified.noted = Some(noted.number);
    } else {
        let (number, noted) = (noted.number, noted.hash.to_string());
        verified.broken = Some(ChainBreak::NotAsNoted { number, noted, found: verified.end.hash });
    }
}
