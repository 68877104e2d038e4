//! What is wrong with a cluster file, at which line and column, and what to do.
//!
//! What always holds: every message names the file, the place, the subject, the cause and the next step, and no line
//! of it is wider than a terminal, however wide the file's line is.

use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;

/// The widest part of a source line that is shown.
const SHOWN_COLUMNS: usize = 88;

/// Why a cluster file was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileError {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What is wrong.
    pub problem: FileProblem,
    shown: Box<Shown>,
}

/// The file's name and the part of its line that is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shown {
    file: String,
    text: String,
    indent: usize,
    width: usize,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        writeln!(f, "cannot read the cluster file {}: line {}, column {}", self.shown.file, self.line, self.column)?;
        writeln!(f, "{margin} |")?;
        writeln!(f, "{number} | {}", self.shown.text)?;
        writeln!(f, "{margin} | {}{}", " ".repeat(self.shown.indent), "^".repeat(self.shown.width))?;
        writeln!(f, "{}", self.problem)?;
        write!(f, "next: {}", self.problem.next())
    }
}

impl std::error::Error for FileError {}

/// The kinds of fault in a cluster file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileProblem {
    /// Not TOML, or not the fields and types of a cluster file.
    #[error("{0}")]
    Syntax(String),
    /// More bytes than any fleet needs.
    #[error("the file has {bytes} bytes, at most {max} are read")]
    TooLong {
        /// Found.
        bytes: usize,
        /// Bound.
        max: usize,
    },
    /// No `version`.
    #[error("the file names no version; this program reads version {supported}")]
    NoVersion {
        /// What this build reads.
        supported: i64,
    },
    /// A version this build does not read.
    #[error("the file is version {found}, this program reads version {supported}")]
    OtherVersion {
        /// In the file.
        found: String,
        /// What this build reads.
        supported: i64,
    },
    /// A field of a later version.
    #[error("{field} is not supported by this version yet")]
    NotYet {
        /// Which, with its table.
        field: String,
    },
    /// Not a name.
    #[error("{what}: {detail}")]
    Name {
        /// Of what.
        what: &'static str,
        /// Why.
        detail: String,
    },
    /// A range that can't be read.
    #[error("{key:?} is not a name or a range: {detail}")]
    Range {
        /// The key.
        key: String,
        /// Why.
        detail: String,
    },
    /// Two ranges that share a name.
    #[error("{first:?} and {second:?} overlap: both name {name}")]
    Overlap {
        /// The one found first.
        first: String,
        /// The other.
        second: String,
        /// In both.
        name: String,
    },
    /// More than a cluster may have.
    #[error("more than {max} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// Bound.
        max: usize,
    },
    /// A needed field is not there.
    #[error("{of} has no {field}")]
    Missing {
        /// Whose.
        of: String,
        /// Which.
        field: &'static str,
    },
    /// A host of a kind that no `[kind.X]` describes.
    #[error("host {host} is of kind {kind:?}, which the file does not describe")]
    UnknownKind {
        /// The host.
        host: String,
        /// Its kind.
        kind: String,
    },
    /// Not an address.
    #[error("address of {of}: {detail}")]
    Address {
        /// Whose.
        of: String,
        /// Why.
        detail: String,
    },
    /// The same address twice.
    #[error("{first} and {second} have the same address {address}")]
    AddressTwice {
        /// Which.
        address: SocketAddr,
        /// The first owner.
        first: String,
        /// The second.
        second: String,
    },
    /// Not a failure domain.
    #[error("failure domain of {of}: {detail}")]
    Domain {
        /// Whose.
        of: String,
        /// Why.
        detail: String,
    },
    /// A number outside its bounds.
    #[error("{what} = {found} is outside {min} to {max}")]
    OutOfBounds {
        /// Of what.
        what: &'static str,
        /// Found.
        found: String,
        /// Lowest.
        min: u64,
        /// Highest.
        max: u64,
    },
    /// A size, duration, lag or word that can't be read.
    #[error("{what}: {detail}")]
    Value {
        /// Of what.
        what: &'static str,
        /// Why.
        detail: String,
    },
    /// A `fence` whose options no table describes.
    #[error("[fence_options.{0}] is not in the file")]
    UnknownFenceOptions(String),
    /// Something of a fence that can't be.
    #[error(transparent)]
    Fence(#[from] crate::fence::FenceError),
    /// Not one, three or five.
    #[error("{count} coordinators")]
    CoordinatorCount {
        /// How many.
        count: usize,
    },
}

impl FileProblem {
    /// What the person who wrote the file can do.
    pub fn next(&self) -> &'static str {
        match self {
            Self::Syntax(_) => "correct that place; cluster.toml.example shows every field",
            Self::TooLong { .. } => "use ranges, as in \"store[1-240]\"",
            Self::NoVersion { .. } => "begin the file with: version = 1",
            Self::OtherVersion { .. } => "use the slotctl of that version, or write the file for this one",
            Self::NotYet { .. } => "take it out, or use a later version of slotctl",
            Self::Name { .. } => "give it another name",
            Self::Range { .. } => "write name[first-last], as in \"imap[1-4]\"",
            Self::Overlap { .. } => "let each name be in one range only; an exact name may override the range it is in",
            Self::TooMany { .. } => "split the fleet into several clusters",
            Self::Missing { .. } => "add it there, or to the range that name is in",
            Self::UnknownKind { .. } => "add a [kind.…] table of that name, or name another kind",
            Self::Address { .. } => {
                "write an IP address, with :port if it is not the usual one; {n} is the number in the \
                host's name, {slot} the slot's number"
            }
            Self::AddressTwice { .. } => "give each its own address or port",
            Self::Domain { .. } => "write it outermost first, as in \"ny/r1\"",
            Self::OutOfBounds { .. } => "choose a number within the bounds",
            Self::Value { .. } => "correct the value; cluster.toml.example shows every one",
            Self::UnknownFenceOptions(_) => "add that table, or name another",
            Self::Fence(_) => "see `fence` in cluster.toml.example",
            Self::CoordinatorCount { .. } => "name one, three or five",
        }
    }
}

/// The text being read, for turning byte ranges into lines and columns.
pub(crate) struct Text<'a> {
    pub(crate) text: &'a str,
    pub(crate) file: &'a str,
}

impl Text<'_> {
    /// A fault at a byte range of the text.
    pub(crate) fn fault(&self, span: Range<usize>, problem: FileProblem) -> FileError {
        let start = floor_boundary(self.text, span.start);
        let end = floor_boundary(self.text, span.end.max(start));
        let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = self.text[start..].find('\n').map_or(self.text.len(), |at| start + at);
        let full: Vec<char> = self.text[line_start..line_end].chars().map(plain).collect();
        let column = self.text[line_start..start].chars().count();
        let width = self.text[start..end.min(line_end).max(start)].chars().count().max(1);
        // A line wider than a terminal is shown from a little before the place.
        let from = if full.len() > SHOWN_COLUMNS { column.saturating_sub(SHOWN_COLUMNS / 4) } else { 0 };
        let shown: String = full.iter().skip(from).take(SHOWN_COLUMNS).collect();
        FileError {
            line: self.text[..start].matches('\n').count() + 1,
            column: column + 1,
            problem,
            shown: Box::new(Shown {
                file: self.file.to_string(),
                text: shown.trim_end().to_string(),
                indent: column - from,
                width: width.min(SHOWN_COLUMNS.saturating_sub(column - from).max(1)),
            }),
        }
    }

    /// A fault found by the TOML reader.
    pub(crate) fn syntax(&self, error: &toml::de::Error) -> FileError {
        self.fault(error.span().unwrap_or(0..0), FileProblem::Syntax(error.message().trim().to_string()))
    }
}

/// Control characters would move the caret, or worse, the reader's terminal.
fn plain(c: char) -> char {
    if c.is_control() { ' ' } else { c }
}

fn floor_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
