//! A file for redb.
//!
//! What always holds: only the handle opened last reaches the file, and only while its process lives; every other one fails
//! and changes nothing, so that a database dropped after its process died writes nothing.

use super::fault::{DiskFailed, DiskFault, Faults, Lands, OpKind};
use super::layers::Layers;
use super::pages::Pages;
use crate::queue::Stream;
use redb::StorageBackend;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// A file's bytes at some moment; cheap to keep, to clone and to put back.
#[derive(Clone, PartialEq, Eq)]
pub struct FileImage(Pages);

impl std::fmt::Debug for FileImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FileImage of {} bytes", self.0.length())
    }
}

#[derive(Default)]
struct Inner {
    layers: Layers,
    faults: Faults,
    life: u64,
}

/// A file on a simulated disk, as the world holds it; a clone is the same file.
#[derive(Clone, Default)]
pub struct SimFile(Arc<Mutex<Inner>>);

impl std::fmt::Debug for SimFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let inner = self.inner();
        write!(f, "SimFile of {} bytes, life {}", inner.layers.live_pages().length(), inner.life)
    }
}

impl SimFile {
    /// An empty file.
    pub fn new() -> Self {
        Self::default()
    }
    /// A durable file with these bytes.
    pub fn from_image(bytes: Vec<u8>) -> Self {
        Self::from_snapshot(&FileImage(Pages::from_bytes(&bytes)))
    }
    /// A durable file with this content, sharing its pages.
    pub fn from_snapshot(image: &FileImage) -> Self {
        let file = Self::new();
        file.inner().layers = Layers::durable(image.0.clone());
        file
    }
    /// A durable file with an empty database in it, formatted once per program: creating a store in it costs one commit.
    pub fn formatted() -> Self {
        static FORMATTED: OnceLock<Option<FileImage>> = OnceLock::new();
        let image = FORMATTED.get_or_init(|| {
            let file = Self::new();
            drop(redb::Builder::new().create_with_backend(file.open()).ok()?);
            Some(file.snapshot())
        });
        image.as_ref().map_or_else(Self::new, Self::from_snapshot)
    }

    /// Another disk in the same state, with what is not durable and without the fault armed: to try several power failures.
    pub fn fork(&self) -> Self {
        let layers = self.inner().layers.clone();
        Self(Arc::new(Mutex::new(Inner { layers, ..Inner::default() })))
    }

    /// Opens the file for a process; every earlier handle is dead from now on.
    pub fn open(&self) -> SimHandle {
        let life = self.next_life();
        SimHandle { file: self.clone(), life }
    }

    /// The durable bytes.
    pub fn image(&self) -> Vec<u8> {
        self.inner().layers.durable_pages().to_vec()
    }
    /// The bytes as a process sees them.
    pub fn live_image(&self) -> Vec<u8> {
        self.inner().layers.live_pages().to_vec()
    }
    /// The content as a process sees it, to put back later or to clone the file.
    pub fn snapshot(&self) -> FileImage {
        FileImage(self.inner().layers.live_pages().clone())
    }
    /// An old disk is put back: this is the durable content now, and every handle is dead.
    pub fn put_back(&self, image: &FileImage) {
        self.next_life();
        self.inner().layers = Layers::durable(image.0.clone());
    }
    /// The disk is empty now, and every handle is dead.
    pub fn wipe(&self) {
        self.put_back(&FileImage(Pages::default()));
    }

    /// How many writes, changes of length and syncs there were.
    pub fn ops(&self) -> u64 {
        self.inner().faults.ops()
    }
    /// Sets the next fault, instead of any that has not happened.
    pub fn arm(&self, fault: DiskFault) {
        self.inner().faults.arm(fault);
    }
    /// No fault from now on; a crash that happened stays.
    pub fn disarm(&self) {
        self.inner().faults.disarm();
    }
    /// How many operations went wrong by faults.
    pub fn fired(&self) -> u64 {
        self.inner().faults.fired()
    }
    /// Whether the process died in an operation here. The world then drops what the process was about to say or do, whatever
    /// the operation returned, and calls `process_died` or `power_failed`.
    pub fn crashed(&self) -> bool {
        self.inner().faults.crashed()
    }
    /// Whether it was the power that failed in that operation; then `power_failed` is due, for the whole machine.
    pub fn power_lost(&self) -> bool {
        self.inner().faults.power_lost()
    }
    /// Whether pages count as clean and are not durable (P11). A process started now would read bytes that the next power
    /// failure takes away, and no sync of its own would save them.
    pub fn has_lost_pages(&self) -> bool {
        self.inner().layers.has_lost()
    }
    /// Whether a power failure could change the file.
    pub fn is_dirty(&self) -> bool {
        self.inner().layers.is_dirty()
    }

    /// The process died with the machine up: what it wrote is there, and as durable as it was. Its handles are dead.
    pub fn process_died(&self) {
        self.next_life();
    }
    /// The power failed: of what was not durable an arbitrary subset is there. All handles are dead.
    pub fn power_failed(&self, faults: &mut Stream) {
        self.next_life();
        self.inner().layers.power_failed(faults);
    }

    fn next_life(&self) -> u64 {
        let mut inner = self.inner();
        inner.life += 1;
        inner.faults.buried();
        inner.life
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The file as one process has it open.
#[derive(Debug)]
pub struct SimHandle {
    file: SimFile,
    life: u64,
}

impl SimHandle {
    /// Whether its process is dead, or another one opened the file since.
    pub fn dead(&self) -> bool {
        self.alive().is_err()
    }

    fn alive(&self) -> io::Result<MutexGuard<'_, Inner>> {
        let inner = self.file.inner();
        if inner.life != self.life || inner.faults.crashed() {
            return Err(DiskFailed::Crashed.into());
        }
        Ok(inner)
    }
}

impl StorageBackend for SimHandle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.alive()?.layers.live_pages().length() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let inner = self.alive()?;
        let found = usize::try_from(offset).is_ok_and(|offset| inner.layers.live_pages().read(offset, out));
        if found { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut inner = self.alive()?;
        let length = usize::try_from(len).map_err(io::Error::other)?;
        let grows = length > inner.layers.live_pages().length();
        let verdict = inner.faults.next(if grows { OpKind::Grows } else { OpKind::Other });
        if verdict.lands == Lands::Whole {
            inner.layers.set_length(length);
        }
        Ok(verdict.result()?)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut inner = self.alive()?;
        let verdict = inner.faults.next(OpKind::Syncs);
        match (verdict.lands, verdict.fails) {
            (lands, Some(DiskFailed::Io)) => inner.layers.sync_failed(lands),
            (Lands::Whole, _) => inner.layers.sync(),
            _ => {}
        }
        Ok(verdict.result()?)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut inner = self.alive()?;
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let verdict = inner.faults.next(OpKind::Grows);
        let lands = verdict.lands.of(data.len());
        inner.layers.write(offset, &data[..lands]);
        Ok(verdict.result()?)
    }
}
