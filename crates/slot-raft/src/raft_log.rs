//! raft-rs's own log lines, sent to `tracing`.
//!
//! What always holds: a line carries the node's id and the target `raft`; nothing is formatted that nobody listens to.

use slog::{Drain, Level, Logger, Never, OwnedKVList, Record};

struct ToTracing {
    node: u64,
}

impl Drain for ToTracing {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, _: &OwnedKVList) -> Result<(), Never> {
        let node = self.node;
        let text = record.msg();
        match record.level() {
            Level::Critical | Level::Error => tracing::error!(target: "raft", node, "{text}"),
            Level::Warning => tracing::warn!(target: "raft", node, "{text}"),
            Level::Info => tracing::debug!(target: "raft", node, "{text}"),
            _ => tracing::trace!(target: "raft", node, "{text}"),
        }
        Ok(())
    }
}

/// A logger for raft-rs. What raft-rs calls information is every vote of every election: debugging, to an operator.
pub(crate) fn logger(node: u64) -> Logger {
    Logger::root(ToTracing { node }, slog::o!())
}
