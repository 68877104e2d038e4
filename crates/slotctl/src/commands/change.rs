//! Commands that change something.
//!
//! What always holds: a plan is shown before anybody is asked; yes approves the digest computed here over the bytes shown
//! (R15); where policy asks for more than one person, nobody is asked here; without a terminal nothing is approved by
//! asking for it.

use super::shown::Shown;
use super::watch;
use crate::args::Hold;
use crate::client::{Client, Received, Task, Why};
use crate::console::Console;
use crate::failure::{Exit, Failure};
use crate::{json, text};
use slot_types::ids::*;
use slot_types::plan::Intent;
use slot_types::position::ShortDigest;
use slot_types::view::HostView;

/// How often a question is asked again when the answer is neither yes nor no.
const ASKED_MAX: u32 = 3;

/// What a person said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Yes,
    No,
    Nothing,
}

/// Has an intent planned, shows the plan, asks where that is possible, and sees it through.
pub async fn plan_and_ask(
    client: &mut Client,
    console: &mut Console,
    task: &Task,
    intent: &Intent,
    why: Why<'_>,
) -> Result<Exit, Failure> {
    let received = match client.make_plan(task, intent, why).await {
        Ok(received) => received,
        Err(failure) => return refused(client, console, task, intent, failure).await,
    };
    let shown = Shown::new(task, client.cluster(), received.id, &received.bytes)?;
    if !console.json {
        console.text(&shown.text());
    }
    if received.people_missing == 0 {
        return watch::to_the_end(client, console, task, shown.id).await;
    }
    let mine = shown.plan.requested_by.as_ref().is_some_and(|who| who.as_str() == client.who());
    if console.interactive && shown.plan.people == 1 && mine {
        match ask(console, client.who(), &shown).await {
            Said::Yes => {
                let approved = client.approve(task, shown.id, shown.digest.short(), why.reason).await?;
                return go_on(client, console, task, &shown, &approved, false).await;
            }
            Said::No => {
                client.reject(task, shown.id, "answered no when asked").await?;
                console.text(&format!("{} rejected; nothing was changed\n", shown.id));
                return Ok(Exit::Failed);
            }
            Said::Nothing => {}
        }
    }
    tell_how(console, &shown, received.people_missing);
    Ok(Exit::NeedsApproval)
}

/// What a refused plan means; for a drain the last line says whether the host may be switched off all the same.
async fn refused(
    client: &mut Client,
    console: &mut Console,
    task: &Task,
    intent: &Intent,
    failure: Failure,
) -> Result<Exit, Failure> {
    let nothing_to_do = failure.exit == Exit::Done;
    let mut hosts = Vec::new();
    for host in intent.drained() {
        let now = if failure.unanswered { None } else { watch::host_now(client, task, host).await };
        hosts.push((host, now));
    }
    let is_safe = |now: &Option<_>| now.as_ref().is_some_and(|h: &HostView| text::plan::is_safe(h.declared));
    let safe = (!hosts.is_empty()).then(|| hosts.iter().all(|(_, now)| is_safe(now)));
    if nothing_to_do || safe == Some(true) {
        if console.json {
            console.document(&json::nothing_to_do(&task.operation, &task.subject, &failure.cause, safe));
        } else {
            console.text(&text::layout::wrap("nothing to do: ", &failure.cause));
        }
    }
    let lines = if console.json { Vec::new() } else { hosts };
    for (name, now) in &lines {
        console.text(&match now {
            Some(now) => text::plan::switch_off_now(now),
            None => text::plan::not_safe(name, "its state could not be learnt"),
        });
    }
    match (nothing_to_do, safe) {
        (_, Some(true)) | (true, None) => Ok(Exit::Done),
        _ => Err(Failure { exit: Exit::Failed, ..failure }),
    }
}

async fn ask(console: &mut Console, who: &str, shown: &Shown) -> Said {
    let question = text::plan::question(shown.id, &shown.plan, who);
    let yes = text::plan::names_to_type(&shown.plan).unwrap_or_else(|| "yes".into());
    for _ in 0..ASKED_MAX {
        match console.ask(&question).await.as_deref() {
            None => return Said::Nothing,
            Some(line) if line == yes => return Said::Yes,
            Some("no" | "n") => return Said::No,
            Some(_) => console.remark(&format!("Type {yes}, or no.\n")),
        }
    }
    Said::Nothing
}

fn tell_how(console: &mut Console, shown: &Shown, missing: u32) {
    let digest = shown.digest.short();
    if console.json {
        let approve = text::plan::approve_command(shown.id, digest);
        let id = shown.id.to_string();
        console.document(&json::proposal(&id, &shown.plan, &shown.digest, missing, &approve));
    } else {
        console.text(&format!("\n{}", text::plan::how_to_approve(shown.id, &shown.plan, digest, missing)));
    }
}

/// After a yes: more people, or the end.
async fn go_on(
    client: &mut Client,
    console: &mut Console,
    task: &Task,
    shown: &Shown,
    approved: &Received,
    no_wait: bool,
) -> Result<Exit, Failure> {
    let (id, who) = (shown.id, client.who().to_string());
    if approved.people_missing > 0 {
        if !console.json {
            console.text(&format!("{id} approved by {who}\n"));
        }
        tell_how(console, shown, approved.people_missing);
        return Ok(Exit::NeedsApproval);
    }
    if no_wait {
        if console.json {
            console.document(&json::approved(&id.to_string(), &who));
        } else {
            console.text(&format!("{id} approved by {who}; it runs: slotctl plan watch {id}\n"));
        }
        return Ok(Exit::Done);
    }
    if !console.json {
        console.remark(&format!("{id} approved by {who}\n"));
    }
    watch::to_the_end(client, console, task, id).await
}

/// `plan approve`: yes to exactly the digest given, if it is that of the bytes received.
pub async fn approve(
    client: &mut Client,
    console: &mut Console,
    (id, digest): (PlanId, ShortDigest),
    typed: &Typed,
    reason: &str,
    no_wait: bool,
) -> Result<Exit, Failure> {
    let task = Task::change("approve plan", id);
    let view = client.plan(&Task::look(&task.operation, id), id).await?;
    let shown = Shown::new(&task, client.cluster(), id, &view.bytes)?;
    shown.must_be_recorded(&task, &view.digest)?;
    shown.must_be(&task, digest)?;
    if !names_what_is_lost(client, console, &task, &shown, typed).await? {
        return Ok(Exit::NeedsApproval);
    }
    let approved = client.approve(&task, id, shown.digest.short(), reason).await?;
    go_on(client, console, &task, &shown, &approved, no_wait).await
}

/// What a person typed on the command line of what a plan can't bring back.
#[derive(Debug, Default)]
pub struct Typed {
    /// The hosts it switches off.
    pub switch_off: Vec<HostName>,
    /// The store it destroys.
    pub destroy: Option<StoreName>,
}

/// R26: whoever says yes to a power cut has typed the name of the host; to the end of a store, the name of the store. `false`
/// when nobody did.
async fn names_what_is_lost(
    client: &Client,
    console: &mut Console,
    task: &Task,
    shown: &Shown,
    typed: &Typed,
) -> Result<bool, Failure> {
    let hosts: std::collections::BTreeSet<&HostName> = typed.switch_off.iter().collect();
    let (off, store) = (shown.plan.powers_off(), shown.plan.destroys());
    if (&hosts, typed.destroy.as_ref()) == (&off, store) {
        return Ok(true);
    }
    let nothing = hosts.is_empty() && typed.destroy.is_none();
    if nothing && console.interactive {
        return Ok(ask(console, client.who(), shown).await == Said::Yes);
    }
    let id = shown.id;
    let (cause, what) = if typed.destroy.as_ref() != store {
        match store {
            None => (format!("{id} destroys no store"), "what it does"),
            Some(_) if typed.destroy.is_none() => {
                (format!("{id} destroys a store for good, and you named none"), "--destroy STORE")
            }
            Some(_) => (format!("{id} does not destroy the store you named"), "--destroy STORE"),
        }
    } else if off.is_empty() {
        (format!("{id} switches no host off"), "what it does")
    } else if hosts.is_empty() {
        (format!("{id} switches a host off, and you named none"), "the host that will be SWITCHED OFF")
    } else {
        (format!("{id} does not switch off exactly what you named"), "the host that will be SWITCHED OFF")
    };
    Err(task.failure(cause, format!("read it again, then name {what}: slotctl plan show {id}")).usage())
}

/// `plan reject`.
pub async fn reject(client: &mut Client, console: &mut Console, id: PlanId, reason: &str) -> Result<Exit, Failure> {
    let task = Task::change("reject plan", id);
    client.reject(&task, id, reason).await?;
    tell(console, &task, &format!("{id} rejected; nothing was changed\n"));
    Ok(Exit::Done)
}

/// `plan abort`.
pub async fn abort(client: &mut Client, console: &mut Console, id: PlanId, reason: &str) -> Result<Exit, Failure> {
    let task = Task::change("abort plan", id);
    client.abort(&task, id, reason).await?;
    let text = format!(
        "{id} is being aborted: what has passed its point of no return goes forward, the rest goes back\n  \
         next  slotctl plan watch {id}\n"
    );
    tell(console, &task, &text);
    Ok(Exit::Done)
}

/// `off host`: a person's word (R8).
pub async fn attest(
    client: &mut Client,
    console: &mut Console,
    host: &HostName,
    how: &str,
    reason: &str,
) -> Result<Exit, Failure> {
    let task = Task::change("attest off host", host);
    client.attest(&task, host, &format!("{how} ({reason})")).await?;
    let text = format!(
        "{host} is off on your word; it expires, and any sign of life of this boot voids it\n  \
         next  slotctl failover host {host} -m REASON\n"
    );
    tell(console, &task, &text);
    Ok(Exit::Done)
}

/// `admit host` (S2).
pub async fn admit(
    client: &mut Client,
    console: &mut Console,
    host: &HostName,
    incarnation: Incarnation,
    reason: &str,
) -> Result<Exit, Failure> {
    let task = Task::change("admit host", host);
    client.admit(&task, host, incarnation, reason).await?;
    tell(console, &task, &format!("{host} admitted with disk {incarnation}\n  next  slotctl show host {host}\n"));
    Ok(Exit::Done)
}

/// `hold`, and `release`.
pub async fn hold(client: &mut Client, console: &mut Console, what: Hold, release: bool) -> Result<Exit, Failure> {
    let (on, change) = what.parts();
    let task = Task::change(if release { "release" } else { "hold" }, &on);
    let (changed, running) = client.hold(&task, &on, release, &change.message).await?;
    if console.json {
        console.document(&json::held(&task.operation, &task.subject, changed, &running));
    } else if release {
        console.text(&text::hold::released(&on, changed));
    } else {
        console.text(&text::hold::held(&on, changed, &running));
    }
    Ok(Exit::Done)
}

/// Says that a change is made, which has nothing more to tell.
pub fn tell(console: &mut Console, task: &Task, text: &str) {
    if console.json {
        console.document(&json::done(&task.operation, &task.subject, Exit::Done));
    } else {
        console.text(text);
    }
}
