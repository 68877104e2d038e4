//! The planner's work, on threads of its own.
//!
//! What always holds: each study is answered once; a planner that panics ends its study, not the coordinator.

use super::Inbox;
use crate::core::{Event, Study};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Of one coordinator, so many at once: heartbeats need a processor too.
const AT_ONCE: usize = 2;

/// Where studies are done.
pub(super) struct Studies {
    inbox: Inbox,
    room: Arc<Semaphore>,
}

impl Studies {
    pub(super) fn new(inbox: Inbox) -> Self {
        Self { inbox, room: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    pub(super) fn begin(&self, number: u64, study: Study) {
        let (inbox, room) = (self.inbox.clone(), Arc::clone(&self.room));
        tokio::spawn(async move {
            let Ok(_room) = room.acquire_owned().await else { return };
            let found = tokio::task::spawn_blocking(move || study.answer()).await;
            let found = found.map_err(|error| format!("asking the planner: it ended before it answered: {error}"));
            // The core may have ended.
            drop(inbox.send(Event::Studied { number, found }).await);
        });
    }
}
