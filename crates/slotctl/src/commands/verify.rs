//! `verify`: every replica compared with its master, record by record.
//!
//! What always holds: it says "equal" only of comparisons that were asked for after the person asked and came to their end;
//! the person's wish is repeated until then, so a change of leaders loses nothing but time.

use crate::client::{Client, Task, unexpected};
use crate::console::Console;
use crate::failure::{Exit, Failure};
use crate::{json, text};
use slot_types::hold::HoldOn;
use slot_types::view::View;
use std::time::Duration;

/// How often the leader is asked how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(400);

/// Compares, waits, and says the verdict.
pub async fn verify(client: &mut Client, console: &mut Console, on: &HoldOn) -> Result<Exit, Failure> {
    let task = Task::look("verify", on);
    let mut since = None;
    let mut told = String::new();
    let (view, confirmed) = loop {
        let answer = client.verify(&task, on, since).await?;
        let View::Verify(view) = answer.view else { return Err(unexpected(&task)) };
        since = Some(view.since);
        if view.is_settled() {
            break (view, answer.confirmed);
        }
        let progress = text::verify::progress(&view);
        if !console.json && progress != told {
            console.remark(&progress);
            told = progress;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    let exit = if view.all_equal() { Exit::Done } else { Exit::Failed };
    if console.json {
        console.document(&json::view(&View::Verify(view), confirmed));
    } else {
        console.text(&text::verify::verdict(&view));
    }
    Ok(exit)
}
