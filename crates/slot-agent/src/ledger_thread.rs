//! The thread that makes the core's transactions durable, one after the other, off the async runtime.
//!
//! What always holds: an operation is told as done only when it is durable; an error ends the process at once, for a disk
//! that failed once may lie the second time (P11), and nothing that depends on the write was answered or performed.

use crate::core::image::LedgerWrite;
use crate::core::{Event, Mark};
use crate::ledger::Ledger;
use slot_net::failpoint::reach;
use std::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::mpsc::UnboundedSender;

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

/// Starts the thread. It ends when the sender is dropped.
pub fn start(ledger: Ledger, events: UnboundedSender<Event>) -> std::io::Result<Sender<Persist>> {
    let (sender, receiver) = channel();
    std::thread::Builder::new().name("ledger".into()).spawn(move || run(ledger, &receiver, &events))?;
    Ok(sender)
}

fn run(mut ledger: Ledger, receiver: &Receiver<Persist>, events: &UnboundedSender<Event>) {
    while let Ok(Persist { op, writes, marks }) = receiver.recv() {
        for mark in &marks {
            if let Mark::Records(action) = mark {
                reach(&format!("agent-{action}-performed"));
            }
        }
        if let Err(error) = ledger.commit(&writes) {
            tracing::error!("{error}");
            std::process::abort();
        }
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
