//! `backup`: the coordinators' state in a file, for the day when a majority of their disks is gone (R10).
//!
//! What always holds: the file appears whole, 0600, or not at all, and nothing that exists is replaced; it is one confirmed state,
//! with the audit up to it, both checked before they are written and again when they are read.

use super::audit::page;
use crate::client::{Client, Task, unexpected};
use crate::console::Console;
use crate::failure::{Exit, Failure};
use crate::json;
use crate::text::layout::wrap;
use slot_types::backup::{Backup, BackupHead, BackupView};
use slot_types::render::clock;
use slot_types::view::{AUDIT_LINES_MAX, AuditLine, Query, View};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Takes a backup.
pub async fn backup(client: &mut Client, console: &mut Console, out: &Path) -> Result<Exit, Failure> {
    let task = Task::look("take a backup into", out.display());
    if out.exists() {
        return Err(task.failure("that file exists", "name another one; a backup replaces nothing"));
    }
    let View::Backup(view) = client.view(&task, &Query::Backup, false).await?.view else {
        return Err(unexpected(&task));
    };
    let audit = audit(client, &task, &view).await?;
    let backup = Backup { view: *view, audit };
    backup.check().map_err(|e| task.failure(e.to_string(), "look at it: slotctl audit verify"))?;
    let bytes = backup.to_file();
    write(out, &bytes).map_err(|e| task.failure(e.to_string(), "name a file in a folder that you may write to"))?;
    let head = &backup.view.head;
    if console.json {
        console.document(&json::backup(head, out, bytes.len()));
    } else {
        console.text(&text(head, out, bytes.len()));
    }
    Ok(Exit::Done)
}

/// The audit up to the entry that the state ends in.
async fn audit(client: &mut Client, task: &Task, view: &BackupView) -> Result<Vec<AuditLine>, Failure> {
    let mut lines: Vec<AuditLine> = Vec::new();
    let mut after = view.audit_trimmed;
    while after < view.head.audit_last {
        let query = Query::Audit { after, limit: AUDIT_LINES_MAX };
        let (audit, _) = page(client, task, &query, false).await?;
        let wanted = audit.entries.into_iter().filter(|line| line.number <= view.head.audit_last);
        let before = lines.len();
        lines.extend(wanted);
        match lines.last() {
            Some(last) if lines.len() > before => after = last.number,
            _ => return Err(task.failure("the audit was trimmed meanwhile", "take it again")),
        }
    }
    Ok(lines)
}

/// Under another name first, durable, and then under its own.
fn write(out: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = out.with_extension("unfinished");
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| fs::hard_link(&unfinished, out));
    fs::remove_file(&unfinished)?;
    written?;
    let folder = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// What was taken, and what it is good for.
pub fn text(head: &BackupHead, out: &Path, bytes: usize) -> String {
    let BackupHead { name, generation, revision, applied, wall, audit_last, .. } = head;
    let mut text =
        format!("{name} · generation {generation} · revision {revision}, entry {applied} · {}\n\n", clock(*wall));
    text += &wrap("file  ", &format!("{} ({bytes} bytes, audit to entry {audit_last})", out.display()));
    text += &wrap(
        "next  ",
        "keep it away from the coordinators; what happens after it is not in it: take one after every change that matters",
    );
    text
}
