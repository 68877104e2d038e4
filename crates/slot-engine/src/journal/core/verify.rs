//! Comparing this copy with its master, record by record, as both their disks have them.
//!
//! What always holds: nothing is changed by it, here or there; what is compared is what the disks give back, piece by piece,
//! each piece by one digest and only one that differs record by record; it takes no more bytes a second than it was told;
//! only records are compared that were durable here when it began; a raised epoch ends it, since the two histories may part.

use super::api::*;
use super::record::Record;
use super::{Effect, JournalCore};
use slot_types::engine::{EngineDone, EngineError, EngineRole, Source};
use slot_types::ids::{Epoch, LogTime, StoreName};
use slot_types::position::Digest;
use slot_types::verify::{Difference, Findings, Held, Verification, VerifyStage};

/// What one piece has at most: a digest costs a round trip, and a piece is read and sent as one.
const PIECE_BYTES: u64 = 1 << 20;
const PIECE_RECORDS: u64 = 2_000;
/// How long one question to the master may take.
const CALL_MS: u64 = 10_000;
/// How often in a row a question is asked again, and how long it waits before.
const TRIES: u32 = 6;
const RETRY_MS: u64 = 500;
/// Pieces read for others at once.
const SERVED_MAX: usize = 8;

/// Records as the disk gave them back; one that it did not is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    from: u64,
    records: Vec<Option<Vec<u8>>>,
}

impl Piece {
    fn bytes(&self) -> u64 {
        self.records.iter().flatten().map(|bytes| bytes.len() as u64).sum()
    }
    /// The digest of all of it, if all of it is there.
    fn whole(&self) -> Option<Digest> {
        let all: Option<Vec<&[u8]>> = self.records.iter().map(Option::as_deref).collect();
        all.map(|records| Digest::of(&records.concat()))
    }
    fn each(&self) -> Vec<Held> {
        let held = |bytes: &Option<Vec<u8>>| match bytes {
            Some(bytes) => match Record::from_bytes(bytes) {
                Ok(record) => Held::Record { epoch: record.epoch, id: record.id().cloned(), digest: Digest::of(bytes) },
                Err(_) => Held::Unreadable,
            },
            None => Held::Unreadable,
        };
        self.records.iter().map(held).collect()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Doing {
    /// The next piece is begun then.
    Pausing { until: u64 },
    /// The disk reads records up to `to`.
    Reading { op: u64, to: u64 },
    /// The master is asked about a piece, or will be asked again.
    Asking { piece: Piece, each: bool, call: Option<u64>, at: u64 },
    /// It is over.
    Over { at: u64, stage: VerifyStage },
}

/// A comparison asked of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verify {
    asked: LogTime,
    epoch: Epoch,
    against: Source,
    rate: u64,
    began: u64,
    upto: u64,
    next: u64,
    bytes: u64,
    failures: u32,
    findings: Findings,
    doing: Doing,
}

impl Verify {
    /// When it wants to be looked at.
    pub(super) fn wakes_at(&self) -> Option<u64> {
        match self.doing {
            Doing::Pausing { until } => Some(until),
            Doing::Asking { call: None, at, .. } => Some(at),
            Doing::Asking { .. } | Doing::Reading { .. } | Doing::Over { .. } => None,
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.doing, Doing::Over { .. })
    }

    fn seen(&self, now: u64) -> Verification {
        let (stage, until) = match &self.doing {
            Doing::Over { at, stage } => (stage.clone(), *at),
            _ => (VerifyStage::UnderWay, now),
        };
        Verification {
            asked: self.asked,
            epoch: self.epoch,
            against: self.against.slot.clone(),
            upto: self.upto,
            records: self.next,
            bytes: self.bytes,
            took_ms: until.saturating_sub(self.began),
            stage,
            findings: self.findings.clone(),
        }
    }

    /// One piece is compared; the next one begins when the rate allows.
    fn compared(&mut self, piece: &Piece, now: u64) {
        self.next = piece.from + piece.records.len() as u64;
        self.bytes += piece.bytes();
        self.failures = 0;
        let paced = self.bytes.saturating_mul(1_000).checked_div(self.rate).unwrap_or(0);
        self.doing = match self.next < self.upto {
            true => Doing::Pausing { until: self.began.saturating_add(paced).max(now) },
            false => Doing::Over { at: now, stage: VerifyStage::Ended },
        };
    }
}

/// A piece that is read for another engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Served {
    op: u64,
    request: RequestId,
    epoch: Epoch,
    from: u64,
    each: bool,
}

impl JournalCore {
    pub(super) fn begin_verify(
        &mut self,
        request: RequestId,
        epoch: Epoch,
        against: Source,
        asked: LogTime,
        rate: u64,
    ) {
        if self.refuses_older(request, epoch) {
            return;
        }
        if !matches!(self.role, EngineRole::Replica | EngineRole::Diverged) {
            return self.answer(request, Err(EngineError::WrongRole(self.role)));
        }
        if epoch != self.meta.epoch || self.epoch_durable != epoch {
            let detail = format!("it holds epoch {}, asked was {epoch}", self.meta.epoch);
            return self.answer(request, Err(EngineError::SourceFailed { slot: self.config.slot.clone(), detail }));
        }
        let agreed = self.pulling.as_ref().is_some_and(|pulling| pulling.follow && pulling.verified.is_some());
        if self.role == EngineRole::Replica && !agreed {
            // R7: what it holds beyond its master's history is put aside first, and is no difference.
            let detail = "it has not heard yet that its records are the beginning of its master's".into();
            return self.answer(request, Err(EngineError::SourceFailed { slot: self.config.slot.clone(), detail }));
        }
        if self.verify.as_ref().is_none_or(|verify| verify.asked < asked) {
            let upto = self.log.durable;
            let doing = match upto {
                0 => Doing::Over { at: self.now, stage: VerifyStage::Ended },
                _ => Doing::Pausing { until: self.now },
            };
            let (began, findings) = (self.now, Findings::default());
            let verify =
                Verify { asked, epoch, against, rate, began, upto, next: 0, bytes: 0, failures: 0, findings, doing };
            self.verify = Some(verify);
        }
        self.answer(request, Ok(EngineDone::Done));
    }

    /// What the status says of it.
    pub(super) fn verification(&self) -> Option<Box<Verification>> {
        self.verify.as_ref().map(|verify| Box::new(verify.seen(self.now)))
    }

    /// The last comparison, once it is over.
    pub fn verification_over(&self) -> Option<Verification> {
        self.verify.as_ref().filter(|verify| verify.is_over()).map(|verify| verify.seen(self.now))
    }

    /// It cannot come to an end any more.
    pub(super) fn break_verify(&mut self, why: &str) {
        let now = self.now;
        if let Some(verify) = self.verify.as_mut().filter(|verify| !verify.is_over()) {
            verify.doing = Doing::Over { at: now, stage: VerifyStage::Broken { why: why.into() } };
        }
    }

    /// Begins what is due.
    pub(super) fn advance_verify(&mut self) {
        let now = self.now;
        let Some(mut verify) = self.verify.take() else { return };
        match &mut verify.doing {
            Doing::Pausing { until } if *until <= now => {
                let to = self.piece_end(verify.next, verify.upto);
                let op = self.read_disk(verify.next, to);
                verify.doing = Doing::Reading { op, to };
            }
            Doing::Asking { piece, each, call: call @ None, at } if *at <= now => {
                let (from, to) = (piece.from, piece.from + piece.records.len() as u64);
                let store = self.config.store.clone();
                let request = PeerCall::Fingerprint { store, epoch: verify.epoch, from, to, each: *each };
                *call = Some(self.next_call);
                self.out.push(Effect::Call {
                    call: self.next_call,
                    to: verify.against.clone(),
                    request,
                    budget_ms: CALL_MS,
                });
                self.next_call += 1;
            }
            _ => {}
        }
        self.verify = Some(verify);
    }

    /// Where the piece that begins at `from` ends.
    fn piece_end(&self, from: u64, upto: u64) -> u64 {
        let (mut to, mut bytes) = (from, 0);
        while to < upto && to - from < PIECE_RECORDS {
            bytes += self.log.entry(to).map_or(0, |entry| entry.bytes.len() as u64);
            if bytes > PIECE_BYTES && to > from {
                break;
            }
            to += 1;
        }
        to
    }

    fn read_disk(&mut self, from: u64, to: u64) -> u64 {
        let op = self.next_op;
        self.next_op += 1;
        self.out.push(Effect::ReadDisk { op, pieces: self.log.pieces(from, to) });
        op
    }

    fn piece(&self, from: u64, pieces: Vec<Option<Vec<u8>>>) -> Piece {
        let frame = |(index, bytes): (u64, Option<Vec<u8>>)| self.log.frame(&self.config, index, &bytes?);
        Piece { from, records: (from..).zip(pieces).map(frame).collect() }
    }

    /// The disk has given back what it could.
    pub(super) fn disk_read(&mut self, op: u64, pieces: Vec<Option<Vec<u8>>>) {
        if let Some(at) = self.served.iter().position(|served| served.op == op) {
            let served = self.served.remove(at);
            let piece = self.piece(served.from, pieces);
            return self.answer_fingerprint(served, &piece);
        }
        let now = self.now;
        let Some(mut verify) = self.verify.take() else { return };
        if let Doing::Reading { op: awaited, to } = verify.doing
            && awaited == op
        {
            let mut piece = self.piece(verify.next, pieces);
            piece.records.resize(usize::try_from(to - verify.next).unwrap_or(0), None);
            // What this disk does not give back can only be named record by record.
            let each = piece.whole().is_none();
            verify.doing = Doing::Asking { piece, each, call: None, at: now };
        }
        self.verify = Some(verify);
    }

    /// Whether that call was a comparison's.
    pub(super) fn verify_answer(&mut self, call: u64, result: &Result<PeerAnswer, String>) -> bool {
        let now = self.now;
        let Some(verify) = self.verify.as_mut() else { return false };
        let Doing::Asking { piece, each, call: awaited, at } = &mut verify.doing else { return false };
        if *awaited != Some(call) {
            return false;
        }
        let why = match result {
            Ok(PeerAnswer::Fingerprint { whole, .. }) if !*each && whole.is_some() && *whole == piece.whole() => {
                let piece = piece.clone();
                verify.compared(&piece, now);
                return true;
            }
            Ok(PeerAnswer::Fingerprint { .. }) if !*each => {
                (*each, *awaited, *at) = (true, None, now);
                return true;
            }
            Ok(PeerAnswer::Fingerprint { each: theirs, .. }) => {
                let (piece, mut theirs) = (piece.clone(), theirs.iter());
                for (index, here) in (piece.from..).zip(piece.each()) {
                    let master = theirs.next().cloned().unwrap_or(Held::Nothing);
                    if here != master || here == Held::Unreadable {
                        verify.findings.add(Difference { index, here, master });
                    }
                }
                verify.compared(&piece, now);
                return true;
            }
            Ok(PeerAnswer::Refused { held, why }) => format!("{why}; it holds epoch {held}"),
            Ok(_) => "it answered something else".to_string(),
            Err(why) => why.clone(),
        };
        (*awaited, *at) = (None, now + RETRY_MS);
        verify.failures += 1;
        if verify.failures >= TRIES {
            let why = format!("{} did not say what it holds: {why}", verify.against.slot);
            self.break_verify(&why);
        }
        true
    }

    pub(super) fn serve_fingerprint(
        &mut self,
        request: RequestId,
        store: &StoreName,
        epoch: Epoch,
        (from, to): (u64, u64),
        each: bool,
    ) {
        let refused = self.refuses_peer(store, epoch, false).or_else(|| {
            let fits = from <= to && to - from <= PIECE_RECORDS;
            (!fits || self.served.len() >= SERVED_MAX).then(|| {
                self.refused_peer(if fits { "too many pieces are being read" } else { "that is no piece of a log" })
            })
        });
        if let Some(refused) = refused {
            return self.reply(request, Reply::Peer(refused));
        }
        // What is beyond the end here is "nothing", and that has no digest.
        let held = to.min(self.log.durable).max(from);
        let served = Served { op: self.next_op, request, epoch, from, each: each || held < to };
        if held == from {
            let piece = Piece { from, records: Vec::new() };
            return self.answer_fingerprint(served, &piece);
        }
        self.read_disk(from, held);
        self.served.push(served);
    }

    fn answer_fingerprint(&mut self, served: Served, piece: &Piece) {
        let store = self.config.store.clone();
        // R16: an answer that was begun at another epoch is of another history.
        let answer = self.refuses_peer(&store, served.epoch, false).unwrap_or_else(|| PeerAnswer::Fingerprint {
            whole: if served.each { None } else { piece.whole() },
            each: if served.each { piece.each() } else { Vec::new() },
        });
        self.reply(served.request, Reply::Peer(answer));
    }
}
