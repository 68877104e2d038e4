//! The log's files: a header, then one frame per record.
//!
//! What always holds: a header is written under a temporary name, made durable and renamed, so a damaged header is damage
//! and never a torn write. A frame carries its index, its length, what was durable when it was written, and a CRC-32C
//! salted with the copy's identity, so no payload can look like a frame. A bad frame with a good one behind it is a
//! corrupt middle and is refused (P12), unless it shows a hole in a batch that no frame says was ever durable: a power
//! failure may leave the end of such a batch and not its middle.

use super::api::Config;
use super::record::{RECORD_MAX, RECORD_MIN};
use borsh::{BorshDeserialize, BorshSerialize};
use slot_planted::planted;
use slot_types::ids::{CopyGeneration, SlotId, StoreName};
use slot_types::position::Digest;

/// The version this build writes and reads.
pub const SEGMENT_VERSION: u16 = 1;
const MAGIC: [u8; 8] = *b"SLOTJRNL";
/// Magic, version, length and CRC of the header's body.
const HEADER_FIXED: usize = 8 + 2 + 4 + 4;
const HEADER_BODY_MAX: usize = 1024;
/// A disk writes so many bytes whole or not at all; what was never written reads as zeros.
const SECTOR: usize = 512;
/// Length, index, durable length, CRC.
pub const FRAME_HEAD: usize = 4 + 8 + 8 + 4;

/// Why a file was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    /// Written by a build this one does not understand.
    #[error(
        "{file}: format version {found} is unknown, this build reads version {SEGMENT_VERSION}; upgrade this program first"
    )]
    UnknownVersion {
        /// The file.
        file: String,
        /// Its version.
        found: u16,
    },
    /// Damaged where nothing may be damaged (P12).
    #[error("{file}: damaged at byte {offset}: {detail}; rebuild this copy from another one")]
    Damaged {
        /// The file.
        file: String,
        /// Where.
        offset: u64,
        /// How.
        detail: String,
    },
    /// It belongs to another copy.
    #[error("{file}: it belongs to {found}; put the right folder back")]
    OtherCopy {
        /// The file.
        file: String,
        /// Whose it is.
        found: String,
    },
}

/// What a segment says of itself.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Header {
    /// The store.
    pub store: StoreName,
    /// The slot.
    pub slot: SlotId,
    /// The copy generation.
    pub generation: CopyGeneration,
    /// Index of its first record.
    pub base: u64,
    /// The chain digest before it.
    pub digest: Digest,
}

/// One good frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The record's index.
    pub index: u64,
    /// The length that was durable when it was written.
    pub durable: u64,
    /// Canonical record bytes.
    pub body: Vec<u8>,
    /// Where it ends in the file.
    pub end: u64,
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// Its header.
    pub header: Header,
    /// Where the frames begin.
    pub body_start: u64,
    /// Its frames, in order.
    pub frames: Vec<Frame>,
    /// Where the good frames end; the file may go on with a torn tail.
    pub good_end: u64,
    /// What is wrong there, when the file goes on.
    pub torn: Option<String>,
}

/// The name of the segment whose first record has that index.
pub fn segment_name(base: u64) -> String {
    format!("seg-{base:020}.log")
}

/// The index in a segment's name.
pub fn segment_base(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("seg-")?.strip_suffix(".log")?;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}

/// The salt of a copy's frames in one file: the CRC of its identity and the base.
pub fn salt(config: &Config, base: u64) -> u32 {
    let identity = format!("{} {} {} {base}", config.store, config.slot, config.generation);
    crc32c::crc32c(identity.as_bytes())
}

/// Encodes a header.
pub fn header_bytes(config: &Config, base: u64, digest: Digest) -> Vec<u8> {
    let header =
        Header { store: config.store.clone(), slot: config.slot.clone(), generation: config.generation, base, digest };
    let body = borsh::to_vec(&header).unwrap_or_default();
    let mut bytes = MAGIC.to_vec();
    bytes.extend(SEGMENT_VERSION.to_le_bytes());
    bytes.extend((body.len() as u32).to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes), &body);
    bytes.extend(crc.to_le_bytes());
    bytes.extend(body);
    bytes
}

/// Encodes a frame.
pub fn frame_bytes(salt: u32, index: u64, durable: u64, body: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend((body.len() as u32).to_le_bytes());
    out.extend(index.to_le_bytes());
    out.extend(durable.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c_append(salt, &out[start..]), body);
    out.extend(crc.to_le_bytes());
    out.extend(body);
}

fn take<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// The good frame at an offset, if there is one.
pub fn frame_at(salt: u32, bytes: &[u8], at: usize) -> Option<Frame> {
    let length = u32::from_le_bytes(take(bytes, at)?) as usize;
    if !(RECORD_MIN..=RECORD_MAX).contains(&length) {
        return None;
    }
    let index = u64::from_le_bytes(take(bytes, at + 4)?);
    let durable = u64::from_le_bytes(take(bytes, at + 12)?);
    let crc = u32::from_le_bytes(take(bytes, at + 20)?);
    let body = bytes.get(at + FRAME_HEAD..at + FRAME_HEAD + length)?;
    let found = crc32c::crc32c_append(crc32c::crc32c_append(salt, &bytes[at..at + 20]), body);
    (found == crc).then(|| Frame { index, durable, body: body.to_vec(), end: (at + FRAME_HEAD + length) as u64 })
}

fn header_of(file: &str, bytes: &[u8]) -> Result<(Header, usize), SegmentError> {
    let damaged = |detail: &str| SegmentError::Damaged { file: file.into(), offset: 0, detail: detail.into() };
    if take::<8>(bytes, 0) != Some(MAGIC) {
        return Err(damaged("it does not begin as a journal segment does"));
    }
    let found = u16::from_le_bytes(take(bytes, 8).ok_or_else(|| damaged("its header is cut short"))?);
    if found != SEGMENT_VERSION {
        return Err(SegmentError::UnknownVersion { file: file.into(), found });
    }
    let length = u32::from_le_bytes(take(bytes, 10).ok_or_else(|| damaged("its header is cut short"))?) as usize;
    let crc = u32::from_le_bytes(take(bytes, 14).ok_or_else(|| damaged("its header is cut short"))?);
    if length > HEADER_BODY_MAX {
        return Err(damaged("its header's length is impossible"));
    }
    let body = bytes.get(HEADER_FIXED..HEADER_FIXED + length).ok_or_else(|| damaged("its header is cut short"))?;
    if crc32c::crc32c_append(crc32c::crc32c(&bytes[..14]), body) != crc {
        return Err(damaged("its header does not match its checksum"));
    }
    let header = Header::try_from_slice(body).map_err(|e| damaged(&e.to_string()))?;
    Ok((header, HEADER_FIXED + length))
}

/// A deliberate bug, in no shipped build (P12): whatever can't be read is a torn tail and is cut.
pub(super) fn cuts_the_unreadable() -> bool {
    planted("p12-corrupt-middle-cut")
}

/// P12: what is wrong with a frame that can't be read, if it may be the beginning of a torn tail.
///
/// A good frame behind it makes it a corrupt middle, and refusing is right: rebuilding is safe, guessing is not. There is
/// one exception. A file system may write the end of an unsynced batch before its middle, and power may fail in between.
/// Such a hole can be told from damage: a sector of it was never written, so it reads as zeros, and no frame behind it
/// says that this record was durable. That every frame names what was durable when it was written is what tells a crash
/// from corruption, as in Alagappan et al., "Protocol-Aware Recovery for Consensus-Based Storage" (FAST '18).
fn judge(file: &str, salt: u32, bytes: &[u8], at: usize, index: u64) -> Result<String, SegmentError> {
    let mut behind: Option<(usize, Frame)> = None;
    let mut durable = 0;
    let mut place = at + 1;
    while place < bytes.len() && !cuts_the_unreadable() {
        match frame_at(salt, bytes, place) {
            Some(frame) => {
                durable = durable.max(frame.durable);
                let end = frame.end as usize;
                behind.get_or_insert((place, frame));
                place = end;
            }
            None => place += 1,
        }
    }
    let Some((good, next)) = behind else { return Ok(format!("no frame of index {index}")) };
    let lost = Lost { at, good, begins_batch: durable == index, whole_frame: next.index == index + 1 };
    if durable <= index && lost.has_hole(bytes) {
        return Ok(format!("a hole where frame {index} belongs, in a batch that was never synced"));
    }
    let detail = format!("frame {index} is bad and frame {} behind it, at byte {good}, is good", next.index);
    Err(SegmentError::Damaged { file: file.into(), offset: at as u64, detail })
}

/// What can't be read between two good frames.
struct Lost {
    /// Where it begins.
    at: usize,
    /// Where the next good frame begins.
    good: usize,
    /// The batch begins here: what is before it in the same sector was written by an earlier operation.
    begins_batch: bool,
    /// It is one frame.
    whole_frame: bool,
}

impl Lost {
    /// Whether some sector of it was never written. A sector that holds a part of a good frame of the batch was. Zeros
    /// inside one record's payload may be what a client sent, and prove nothing.
    fn has_hole(&self, bytes: &[u8]) -> bool {
        (self.at / SECTOR..self.good / SECTOR).any(|sector| {
            let (start, end) = ((sector * SECTOR).max(self.at), (sector + 1) * SECTOR);
            let starts_inside = sector * SECTOR >= self.at || self.begins_batch;
            let in_payload = self.whole_frame && start >= self.at + FRAME_HEAD;
            let zeros = || bytes.get(start..end).is_some_and(|part| part.iter().all(|byte| *byte == 0));
            starts_inside && !in_payload && zeros()
        })
    }
}

/// Reads a file. A torn tail is reported, not judged: whether it may be cut is for the opener to say. With `upto`, frames
/// from that index on, and whatever follows them, are not looked at: a truncation to there was decided already.
pub fn scan(config: &Config, file: &str, bytes: &[u8], upto: Option<u64>) -> Result<Scan, SegmentError> {
    let (header, body_start) = header_of(file, bytes)?;
    if (&header.store, &header.slot, header.generation) != (&config.store, &config.slot, config.generation) {
        let found = format!("{} on {} {}", header.store, header.slot, header.generation);
        return Err(SegmentError::OtherCopy { file: file.into(), found });
    }
    let salt = salt(config, header.base);
    let mut scan =
        Scan { body_start: body_start as u64, good_end: body_start as u64, frames: Vec::new(), torn: None, header };
    let mut at = body_start;
    while at < bytes.len() {
        let index = scan.header.base + scan.frames.len() as u64;
        if upto == Some(index) {
            return Ok(scan);
        }
        match frame_at(salt, bytes, at) {
            Some(frame) if frame.index == index => {
                at = frame.end as usize;
                scan.good_end = frame.end;
                scan.frames.push(frame);
            }
            Some(frame) => {
                let detail = format!("a frame of index {} where {index} belongs", frame.index);
                return Err(SegmentError::Damaged { file: file.into(), offset: at as u64, detail });
            }
            None => {
                scan.torn = Some(judge(file, salt, bytes, at, index)?);
                return Ok(scan);
            }
        }
    }
    Ok(scan)
}
