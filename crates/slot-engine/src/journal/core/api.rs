//! What goes into the core and what comes out of it.
//!
//! What always holds: every event carries all it needs; every effect is a value; what travels between engines is one
//! versioned encoding, the same in a simulation and on the wire.

use super::record::Record;
use borsh::{BorshDeserialize, BorshSerialize};
use slot_types::engine::{EngineAnswer, EngineCall, Source};
use slot_types::ids::{CopyGeneration, Epoch, RecordId, SlotId, StoreName};
use slot_types::position::{Digest, EpochStart, Tip};
use slot_types::verify::Held;

/// Names a request from outside; the shell draws it and keeps whom to answer.
pub type RequestId = u64;

/// Limits and identity of one copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The store it holds.
    pub store: StoreName,
    /// The slot it is on.
    pub slot: SlotId,
    /// Its copy generation.
    pub generation: CopyGeneration,
    /// A segment file is sealed once it is this long.
    pub segment_bytes: u64,
    /// Appends are refused once the log is this long. The whole log is also kept in memory: this engine is for trial,
    /// tests and simulation, and this limit is what bounds its memory.
    pub log_bytes_max: u64,
    /// Appends held back in a freeze or behind the disk; more are refused as busy.
    pub held_max: usize,
    /// The longest a client waits for its append.
    pub append_budget_ms: u64,
    /// The longest a pull waits for records.
    pub poll_ms: u64,
    /// A follower counts as alive this long after its last pull (R24).
    pub follower_ms: u64,
    /// How long after the last append the durable length is written into `meta`.
    pub settle_ms: u64,
}

impl Config {
    /// The limits of a shipped engine.
    pub fn new(store: StoreName, slot: SlotId, generation: CopyGeneration) -> Self {
        Self {
            store,
            slot,
            generation,
            segment_bytes: 8 << 20,
            log_bytes_max: 512 << 20,
            held_max: 4096,
            append_budget_ms: 10_000,
            poll_ms: 2_000,
            follower_ms: 10_000,
            settle_ms: 200,
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The disk finished an operation, or failed in it.
    DiskDone {
        /// Which.
        op: u64,
        /// What the disk said.
        result: Result<(), String>,
    },
    /// A client wants a record appended.
    Append {
        /// Whom to answer.
        request: RequestId,
        /// What.
        append: Append,
        /// How long the client waits.
        budget_ms: u64,
    },
    /// A client wants to read.
    Read {
        /// Whom to answer.
        request: RequestId,
        /// What.
        read: Read,
    },
    /// Another engine asks.
    Peer {
        /// Whom to answer.
        request: RequestId,
        /// What.
        call: PeerCall,
    },
    /// The agent orders.
    Control {
        /// Whom to answer.
        request: RequestId,
        /// What.
        call: EngineCall,
        /// How long the agent waits.
        budget_ms: u64,
    },
    /// Another engine answered an [`Effect::Call`], or did not.
    CallAnswer {
        /// Which call.
        call: u64,
        /// What it said.
        result: Result<PeerAnswer, String>,
    },
    /// The disk was read, each piece by itself, or not.
    DiskRead {
        /// Which.
        op: u64,
        /// The pieces in the order asked for; one that could not be read whole is missing.
        pieces: Vec<Option<Vec<u8>>>,
    },
    /// Whoever asked has gone away; nothing is undone by it.
    Gone {
        /// Who.
        request: RequestId,
    },
    /// The time asked for by [`Effect::Arm`] has come.
    Wake,
}

/// What the shell must do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Carry out `ops` in order and stop at the first failure; answer with [`Event::DiskDone`].
    Disk {
        /// Names it.
        op: u64,
        /// What.
        ops: Vec<DiskOp>,
    },
    /// Read these pieces from the disk itself, past what the machine remembers of them; answer with [`Event::DiskRead`].
    /// It may go on beside an [`Effect::Disk`]: what is read is durable and does not change.
    ReadDisk {
        /// Names it.
        op: u64,
        /// What.
        pieces: Vec<DiskPiece>,
    },
    /// Answer a request.
    Reply {
        /// Which.
        request: RequestId,
        /// With what.
        reply: Reply,
    },
    /// Ask another engine; answer with [`Event::CallAnswer`].
    Call {
        /// Names it.
        call: u64,
        /// Whom.
        to: Source,
        /// What.
        request: PeerCall,
        /// How long to wait.
        budget_ms: u64,
    },
    /// Send [`Event::Wake`] at this time; replaces the time asked for before.
    Arm {
        /// When.
        at_ms: u64,
    },
    /// Nothing to do: a named place between two effects, where tests kill the process.
    Milestone(&'static str),
    /// All is durable: end the process with success.
    Exit,
    /// End the process at once, answer nobody (P11).
    Die {
        /// Why.
        reason: String,
    },
}

/// A piece of a file within the copy's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskPiece {
    /// The file.
    pub file: String,
    /// Where it begins.
    pub offset: u64,
    /// How long it is.
    pub length: u64,
}

/// One step of a disk operation; files are named within the copy's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskOp {
    /// Write bytes at an offset; makes the file when there is none.
    Write {
        /// The file.
        file: String,
        /// Where.
        offset: u64,
        /// What.
        bytes: Vec<u8>,
    },
    /// Make the file's bytes and length durable.
    Fsync {
        /// The file.
        file: String,
    },
    /// Rename, replacing.
    Rename {
        /// Old name.
        from: String,
        /// New name.
        to: String,
    },
    /// Make the folder's entries durable.
    FsyncDir,
    /// Remove; no such file is no failure.
    Remove {
        /// The file.
        file: String,
    },
    /// Cut to a length.
    Truncate {
        /// The file.
        file: String,
        /// The length.
        length: u64,
    },
}

/// A record a client wants appended.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Append {
    /// The store of its route.
    pub store: StoreName,
    /// The epoch of its route.
    pub epoch: Epoch,
    /// The client's own name for the record.
    pub id: RecordId,
    /// The data.
    pub payload: Vec<u8>,
}

/// What came of an append.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum AppendOutcome {
    /// Durable, here and on enough copies.
    Done {
        /// Its index.
        index: u64,
        /// Whether it was in the log before this request.
        existed: bool,
    },
    /// It took no effect.
    Refused(Refused),
    /// It may or may not be there: ask again with the same id.
    Unknown {
        /// Why, for a person.
        why: String,
    },
}

/// A certain no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, thiserror::Error)]
#[error("{reason}; the engine holds epoch {held}")]
pub struct Refused {
    /// Why.
    pub reason: RefusedReason,
    /// The epoch it holds; [`Epoch::ZERO`] to who asked for another store.
    pub held: Epoch,
}

/// Why a request took no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, thiserror::Error)]
pub enum RefusedReason {
    /// It holds another store.
    #[error("it holds another store")]
    OtherStore,
    /// The request's epoch is older than the one it holds.
    #[error("the request's epoch is older")]
    OlderEpoch,
    /// The request's epoch is newer than the one it holds.
    #[error("the request's epoch is newer")]
    NewerEpoch,
    /// It is not master.
    #[error("it is not the master")]
    NotMaster,
    /// Still frozen when the client's time was over.
    #[error("it was frozen for longer than the client waits")]
    Frozen,
    /// Fewer followers than `sync_copies` (R24).
    #[error("fewer copies follow than the policy asks for")]
    TooFewCopies,
    /// Too much is waiting.
    #[error("too many requests are waiting")]
    Busy,
    /// The log has reached its limit.
    #[error("the log is full")]
    Full,
    /// Too long, or a reserved name.
    #[error("the request is not valid")]
    Invalid,
}

/// A client's read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The store of its route.
    pub store: StoreName,
    /// The epoch of its route.
    pub epoch: Epoch,
    /// The first index wanted.
    pub from: u64,
    /// At most so many.
    pub records_max: u32,
    /// How long to wait for the first.
    pub wait_ms: u64,
    /// Any role may answer with what is durable there; the epoch is not compared.
    pub stale: bool,
}

/// What a read answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// These.
    Records {
        /// Index of the first.
        from: u64,
        /// The records.
        records: Vec<Record>,
        /// Where what may be read ends.
        head: u64,
    },
    /// It took no effect.
    Refused(Refused),
}

/// An answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To an append.
    Append(AppendOutcome),
    /// To a read.
    Read(ReadOutcome),
    /// To another engine.
    Peer(PeerAnswer),
    /// To the agent.
    Control(EngineAnswer),
}

/// What one engine asks another.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum PeerCall {
    /// The records after mine.
    Pull(Pull),
    /// Where our histories part.
    Compare {
        /// The store.
        store: StoreName,
        /// The epoch both must hold.
        epoch: Epoch,
        /// The asker's history.
        history: Vec<EpochStart>,
        /// Its durable length.
        length: u64,
    },
    /// Which of these do you hold, durably? Answered by a master only.
    Contains {
        /// The store.
        store: StoreName,
        /// The epoch both must hold.
        epoch: Epoch,
        /// The records asked for.
        ids: Vec<RecordId>,
    },
    /// What do your records `from..to` hash to, as your disk has them? Any role may answer of what is durable there, so
    /// that two copies can be compared piece by piece.
    Fingerprint {
        /// The store.
        store: StoreName,
        /// The epoch both must hold.
        epoch: Epoch,
        /// The first record.
        from: u64,
        /// The one after the last.
        to: u64,
        /// Each record by itself, not the piece alone.
        each: bool,
    },
    /// Append this record of mine under its own id (reinjection).
    Append(Append),
}

/// A request for records.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Pull {
    /// The store.
    pub store: StoreName,
    /// The epoch both must hold.
    pub epoch: Epoch,
    /// Who asks.
    pub from: SlotId,
    /// The asker follows its master: its durable length counts (R24). Only a master answers such a pull (R16).
    pub follow: bool,
    /// The asker's history.
    pub history: Vec<EpochStart>,
    /// The asker's durable tip.
    pub tip: Tip,
    /// Records from this length on are not wanted.
    pub upto: u64,
    /// Bytes of records at most (one record is always sent).
    pub bytes_max: u64,
    /// How long to wait for records.
    pub wait_ms: u64,
}

/// What one engine answers another.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum PeerAnswer {
    /// The asker's records are the beginning of mine; here are the next.
    Records {
        /// Whether the source is master at that epoch.
        master: bool,
        /// Index of the first.
        start: u64,
        /// Canonical record bytes.
        records: Vec<Vec<u8>>,
        /// The source's chain digest after them.
        digest: Digest,
        /// The source's durable length.
        head: u64,
    },
    /// The asker's records are not the beginning of mine.
    Diverged {
        /// Whether the source is master at that epoch.
        master: bool,
        /// The source's history.
        history: Vec<EpochStart>,
        /// The source's durable length.
        head: u64,
        /// How many records are the same, by both histories.
        common: u64,
        /// The source's chain digest there.
        digest: Digest,
    },
    /// To Compare.
    Compared {
        /// How many records are the same, by both histories.
        common: u64,
        /// The chain digest there.
        digest: Digest,
    },
    /// To Contains: those of the ids that are held.
    Contained(Vec<RecordId>),
    /// To Fingerprint.
    Fingerprint {
        /// The BLAKE3 hash of the canonical bytes of those records; `None` when some are not there or can't be read.
        whole: Option<Digest>,
        /// Each of them, if that was asked.
        each: Vec<Held>,
    },
    /// To Append.
    Appended(AppendOutcome),
    /// It can't answer now.
    Refused {
        /// The epoch it holds.
        held: Epoch,
        /// Why, for a person.
        why: String,
    },
}

slot_types::versioned! {
    PeerCall: "journal peer call", 1;
    PeerAnswer: "journal peer answer", 1;
}
