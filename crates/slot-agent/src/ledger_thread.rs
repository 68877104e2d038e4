//! The thread that makes the core's transactions durable, in order, off the async runtime.
//!
//! What always holds: an operation is told as done only when it is durable, and all before it; what queued up while one
//! transaction ran shares the next one, whole; an error ends the process at once, for a disk that failed once may lie the
//! second time (P11), and nothing that depends on the write was answered or performed.

use crate::core::image::LedgerWrite;
use crate::core::{Event, Mark};
use crate::ledger::Ledger;
use slot_net::failpoint::reach;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;
use tokio::sync::mpsc::UnboundedSender;

/// More writes than this are not gathered into one transaction.
const MERGED_WRITES_MAX: usize = 1_024;

/// One transaction to make durable.
#[derive(Debug)]
pub struct Persist {
    /// Its number.
    pub op: u64,
    /// What to write.
    pub writes: Vec<LedgerWrite>,
    /// What it means, for failpoints.
    pub marks: Vec<Mark>,
}

impl Persist {
    /// Takes a later transaction in: its writes come after these, and with its number all before it are durable.
    fn merge(&mut self, later: Persist) {
        self.op = later.op;
        self.writes.extend(later.writes);
        self.marks.extend(later.marks);
    }
}

/// Starts the thread. It ends when the sender is dropped.
pub fn start(ledger: Ledger, events: UnboundedSender<Event>) -> std::io::Result<Sender<Persist>> {
    let (sender, receiver) = channel();
    std::thread::Builder::new().name("ledger".into()).spawn(move || run(ledger, &receiver, &events))?;
    Ok(sender)
}

fn run(mut ledger: Ledger, receiver: &Receiver<Persist>, events: &UnboundedSender<Event>) {
    while let Ok(mut next) = receiver.recv() {
        while next.writes.len() < MERGED_WRITES_MAX
            && let Ok(later) = receiver.try_recv()
        {
            next.merge(later);
        }
        let Persist { op, writes, marks } = next;
        for mark in &marks {
            if let Mark::Records(action) = mark {
                reach(&format!("agent-{action}-performed"));
            }
        }
        let began = Instant::now();
        if let Err(error) = ledger.commit(&writes) {
            tracing::error!("{error}");
            std::process::abort();
        }
        tracing::debug!(op, writes = writes.len(), us = began.elapsed().as_micros(), "ledger durable");
        for mark in &marks {
            match mark {
                Mark::Accepts(action) => reach(&format!("agent-{action}-accepted")),
                Mark::Records(action) => reach(&format!("agent-{action}-recorded")),
            }
        }
        if events.send(Event::LedgerDone { op }).is_err() {
            return;
        }
    }
}
