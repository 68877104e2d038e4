//! Between protobuf and the core's own types.
//!
//! What always holds: a name, an epoch or a format version that is not what it should be is refused before the core sees
//! the request.

use super::core::*;
use slot_proto::pb;
use slot_types::ids::{ClientName, Epoch, RecordId, StoreName};
use tonic::Status;

/// The format of Append, Read and Tail that this build speaks.
pub const FORMAT: u32 = 1;

/// Refuses another format than this build speaks, naming both.
pub fn check_format(found: u32) -> Result<(), Status> {
    if found == FORMAT {
        return Ok(());
    }
    let text = format!("journal request: format version {found} is unknown, this build reads version {FORMAT}");
    Err(Status::failed_precondition(text))
}

fn invalid(e: impl std::fmt::Display) -> Status {
    Status::invalid_argument(e.to_string())
}

/// A client's append, checked, with how long the client waits in milliseconds.
pub fn append_from(request: pb::AppendRequest) -> Result<(Append, u64), Status> {
    check_format(request.format)?;
    let client = ClientName::new(request.client).map_err(invalid)?;
    let append = Append {
        store: StoreName::new(request.store).map_err(invalid)?,
        epoch: Epoch { generation: request.epoch_generation, n: request.epoch_n },
        id: RecordId { client, sequence: request.sequence },
        payload: request.payload,
    };
    Ok((append, request.budget_ms.into()))
}

/// An append as it travels.
pub fn append_to(append: Append, budget_ms: u64) -> pb::AppendRequest {
    pb::AppendRequest {
        format: FORMAT,
        store: append.store.to_string(),
        epoch_generation: append.epoch.generation,
        epoch_n: append.epoch.n,
        client: append.id.client.to_string(),
        sequence: append.id.sequence,
        payload: append.payload,
        budget_ms: u32::try_from(budget_ms).unwrap_or(u32::MAX),
    }
}

fn refusal_to(refused: Refused) -> pb::JournalRefusal {
    use pb::journal_refusal::Reason;
    let reason = match refused.reason {
        RefusedReason::OtherStore => Reason::OtherStore,
        RefusedReason::OlderEpoch => Reason::OlderEpoch,
        RefusedReason::NewerEpoch => Reason::NewerEpoch,
        RefusedReason::NotMaster => Reason::NotMaster,
        RefusedReason::Frozen => Reason::Frozen,
        RefusedReason::TooFewCopies => Reason::TooFewCopies,
        RefusedReason::Busy => Reason::Busy,
        RefusedReason::Full => Reason::Full,
        RefusedReason::Invalid => Reason::Invalid,
    };
    pb::JournalRefusal { reason: reason.into(), epoch_generation: refused.held.generation, epoch_n: refused.held.n }
}

fn refusal_from(refusal: pb::JournalRefusal) -> Option<Refused> {
    use pb::journal_refusal::Reason;
    let reason = match refusal.reason() {
        Reason::OtherStore => RefusedReason::OtherStore,
        Reason::OlderEpoch => RefusedReason::OlderEpoch,
        Reason::NewerEpoch => RefusedReason::NewerEpoch,
        Reason::NotMaster => RefusedReason::NotMaster,
        Reason::Frozen => RefusedReason::Frozen,
        Reason::TooFewCopies => RefusedReason::TooFewCopies,
        Reason::Busy => RefusedReason::Busy,
        Reason::Full => RefusedReason::Full,
        Reason::Invalid => RefusedReason::Invalid,
        Reason::Unspecified => return None,
    };
    Some(Refused { reason, held: Epoch { generation: refusal.epoch_generation, n: refusal.epoch_n } })
}

/// An outcome as it travels.
pub fn outcome_to(outcome: AppendOutcome) -> pb::AppendReply {
    use pb::append_reply::Result as R;
    let result = match outcome {
        AppendOutcome::Done { index, existed } => R::Done(pb::AppendDone { index, existed }),
        AppendOutcome::Refused(refused) => R::Refusal(refusal_to(refused)),
        AppendOutcome::Unknown { why } => R::Unknown(pb::AppendUnknown { why }),
    };
    pb::AppendReply { format: FORMAT, result: Some(result) }
}

/// An answer this build can't read proves nothing: the outcome is unknown.
pub fn outcome_from(reply: pb::AppendReply) -> AppendOutcome {
    use pb::append_reply::Result as R;
    let unreadable =
        |format: u32| AppendOutcome::Unknown { why: format!("an answer of format version {format} is not understood") };
    if reply.format != FORMAT {
        return unreadable(reply.format);
    }
    match reply.result {
        Some(R::Done(done)) => AppendOutcome::Done { index: done.index, existed: done.existed },
        Some(R::Refusal(refusal)) => {
            refusal_from(refusal).map_or_else(|| unreadable(reply.format), AppendOutcome::Refused)
        }
        Some(R::Unknown(unknown)) => AppendOutcome::Unknown { why: unknown.why },
        None => unreadable(reply.format),
    }
}

/// A client's read, checked.
pub fn read_from(request: pb::JournalReadRequest) -> Result<Read, Status> {
    check_format(request.format)?;
    Ok(Read {
        store: StoreName::new(request.store).map_err(invalid)?,
        epoch: Epoch { generation: request.epoch_generation, n: request.epoch_n },
        from: request.from,
        records_max: request.records_max,
        wait_ms: request.wait_ms.into(),
        stale: request.stale,
    })
}

/// A read as it travels.
pub fn read_to(read: &Read) -> pb::JournalReadRequest {
    pb::JournalReadRequest {
        format: FORMAT,
        store: read.store.to_string(),
        epoch_generation: read.epoch.generation,
        epoch_n: read.epoch.n,
        from: read.from,
        records_max: read.records_max,
        wait_ms: u32::try_from(read.wait_ms).unwrap_or(u32::MAX),
        stale: read.stale,
    }
}

fn record_to(index: u64, record: Record) -> pb::JournalRecord {
    let (client, sequence, payload) = match record.body {
        Body::EpochStart => (String::new(), 0, Vec::new()),
        Body::Data { id, payload } => (id.client.to_string(), id.sequence, payload),
    };
    let Epoch { generation: epoch_generation, n: epoch_n } = record.epoch;
    pb::JournalRecord { index, epoch_generation, epoch_n, client, sequence, payload }
}

/// What was read, as it travels.
pub fn read_outcome_to(outcome: ReadOutcome) -> pb::JournalReadReply {
    use pb::journal_read_reply::Result as R;
    let result = match outcome {
        ReadOutcome::Records { from, records, head } => {
            let records = (from..).zip(records).map(|(index, record)| record_to(index, record)).collect();
            R::Done(pb::JournalReadDone { records, head })
        }
        ReadOutcome::Refused(refused) => R::Refusal(refusal_to(refused)),
    };
    pb::JournalReadReply { format: FORMAT, result: Some(result) }
}

/// The records with their index, and the head; or what the engine refused; or why the answer can't be read.
pub type ReadAnswer = Result<Result<(Vec<(u64, Record)>, u64), Refused>, String>;

/// What was read, checked.
pub fn read_outcome_from(reply: pb::JournalReadReply) -> ReadAnswer {
    use pb::journal_read_reply::Result as R;
    let unreadable = || format!("an answer of format version {} is not understood", reply.format);
    if reply.format != FORMAT {
        return Err(unreadable());
    }
    match reply.result {
        Some(R::Done(done)) => {
            let records: Result<Vec<_>, String> = done.records.into_iter().map(record_from).collect();
            Ok(Ok((records?, done.head)))
        }
        Some(R::Refusal(refusal)) => refusal_from(refusal).map(Err).ok_or_else(unreadable),
        None => Err(unreadable()),
    }
}

fn record_from(record: pb::JournalRecord) -> Result<(u64, Record), String> {
    let body = if record.client.is_empty() {
        Body::EpochStart
    } else {
        let client = ClientName::new(record.client).map_err(|e| e.to_string())?;
        Body::Data { id: RecordId { client, sequence: record.sequence }, payload: record.payload }
    };
    let epoch = Epoch { generation: record.epoch_generation, n: record.epoch_n };
    Ok((record.index, Record { epoch, body }))
}
