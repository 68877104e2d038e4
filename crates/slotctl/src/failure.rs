//! How a command ended, and what is said when it failed.
//!
//! What always holds: a failure names the operation, its subject, the cause and what to do next.

use crate::text::layout::wrap;
use serde::Serialize;

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// Refused or failed; for `status --check`: something needs a person.
    Failed,
    /// Wrong usage.
    Usage,
    /// A plan is made and waits for approval.
    NeedsApproval,
    /// A plan stopped part way; a person must look.
    PartWay,
}

impl Exit {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::NeedsApproval => 3,
            Exit::PartWay => 4,
        }
    }
}

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("cannot {operation} {subject}: {cause}; next: {next}")]
pub struct Failure {
    /// What was tried, `drain host`.
    pub operation: String,
    /// On what, `imap3`.
    pub subject: String,
    /// Why it failed.
    pub cause: String,
    /// What to do next.
    pub next: String,
    /// How the process ends.
    #[serde(skip)]
    pub exit: Exit,
    /// Whether nobody answered, so that asking for more would only take as long again.
    #[serde(skip)]
    pub unanswered: bool,
}

impl Failure {
    /// A failure of an operation that was tried or refused.
    pub fn new(
        operation: impl Into<String>,
        subject: impl Into<String>,
        cause: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        Self {
            operation: operation.into(),
            subject: subject.into(),
            cause: cause.into(),
            next: next.into(),
            exit: Exit::Failed,
            unanswered: false,
        }
    }

    /// A command that could not be understood as given.
    #[must_use]
    pub fn usage(mut self) -> Self {
        self.exit = Exit::Usage;
        self
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        let mut text = wrap("slotctl: ", &format!("cannot {} {}", self.operation, self.subject));
        for (i, line) in self.cause.lines().enumerate() {
            text += &wrap(if i == 0 { "  cause  " } else { "         " }, line);
        }
        text += &wrap("  next   ", &self.next);
        text
    }
}
