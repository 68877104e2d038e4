//! The ledger on disk: one redb file per agent.
//!
//! What always holds: a commit is one two-phase transaction and returns only when it is durable; opening checks the whole
//! file and refuses unknown versions with both numbers; a file is made under another name and renamed when complete; after
//! one error nothing more is written (P11): the process must end. A ledger that was wiped, or copied to another place, has
//! another incarnation than before (S2), so that orders for the old disk find nobody.

use crate::core::image::{CopyEntry, CopyKey, LedgerImage, LedgerMeta, LedgerWrite, OrderEntry};
use borsh::{BorshDeserialize, BorshSerialize};
use redb::{Builder, Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};
use slot_types::codec::{self, CodecError, Versioned};
use slot_types::ids::*;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const COPIES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("copies");
const ORDERS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("orders");

const LEDGER: &str = "ledger";
const PLACE: &str = "place";

/// What redb may cache: the ledger is read once, at start.
const CACHE_BYTES: usize = 8 * 1024 * 1024;

/// Why the ledger failed.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The disk, or the database on it.
    #[error("{operation} ledger {subject}: {detail}; look at the disk before this agent is started again")]
    Disk {
        /// What was being done, as in "opening".
        operation: &'static str,
        /// The ledger.
        subject: String,
        /// The cause.
        detail: String,
    },
    /// A stored value is of an unknown version or damaged.
    #[error("reading ledger {subject}: {cause}")]
    Value {
        /// The ledger.
        subject: String,
        /// The cause.
        #[source]
        cause: CodecError,
    },
    /// It belongs to another host or cluster.
    #[error("opening ledger {subject}: it belongs to {found}, not to {wanted}; give each agent its own data folder")]
    OtherHost {
        /// The ledger.
        subject: String,
        /// Whose it is.
        found: String,
        /// Who asked.
        wanted: String,
    },
    /// It has no record about itself.
    #[error("opening ledger {subject}: it says nowhere whose it is; restore the host as a new one")]
    Headless {
        /// The ledger.
        subject: String,
    },
}

/// Where a ledger's file lies: a copy of the file lies elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
struct Place {
    inode: u64,
    born: Option<u64>,
}

impl Versioned for Place {
    const NAME: &'static str = "place of the ledger";
    const VERSION: u16 = 1;
}

/// Names an order in a key, versioned like every stored byte.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
struct OrderKey(OrderId);

impl Versioned for OrderKey {
    const NAME: &'static str = "ledger key of an order";
    const VERSION: u16 = 1;
}

/// The open ledger.
#[derive(Debug)]
pub struct Ledger {
    database: Database,
    subject: String,
}

impl Ledger {
    /// Opens the ledger at `path`, making it when it is not there.
    pub fn open(path: &Path, cluster: ClusterId, host: &HostName) -> Result<(Self, LedgerImage), LedgerError> {
        let subject = path.display().to_string();
        if !path.exists() {
            Self::make(path, cluster, host, &subject)?;
        }
        let database = builder().open(path).map_err(|e| disk("opening", &subject, &e))?;
        let ledger = Self { database, subject };
        let mut image = ledger.load()?;
        ledger.check_owner(&image.meta, cluster, host)?;
        let place = place_of(path).map_err(|e| disk("opening", &ledger.subject, &e))?;
        if ledger.place()? != Some(place.clone()) {
            // S2: a copied or restored file may be older than what was acknowledged from it.
            image.meta.incarnation = draw().map_err(|e| disk("drawing an incarnation for", &ledger.subject, &e))?;
            image.meta.copied = true;
            ledger.write_place(&image.meta, &place)?;
            let incarnation = image.meta.incarnation;
            tracing::warn!(%incarnation, "ledger {} is a copy: it has a new incarnation", ledger.subject);
        }
        Ok((ledger, image))
    }

    fn make(path: &Path, cluster: ClusterId, host: &HostName, subject: &str) -> Result<(), LedgerError> {
        let io = |e: std::io::Error| disk("making", subject, &e);
        let unfinished: PathBuf = path.with_extension("unfinished");
        if unfinished.exists() {
            std::fs::remove_file(&unfinished).map_err(io)?;
        }
        let database = builder().create(&unfinished).map_err(|e| disk("making", subject, &e))?;
        let ledger = Self { database, subject: subject.to_string() };
        let incarnation = draw().map_err(io)?;
        let image = LedgerImage::empty(cluster, host.clone(), incarnation);
        ledger.write_place(&image.meta, &place_of(&unfinished).map_err(io)?)?;
        drop(ledger);
        File::open(&unfinished).and_then(|file| file.sync_all()).map_err(io)?;
        std::fs::rename(&unfinished, path).map_err(io)?;
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)
    }

    /// Makes a ledger on a backend of the caller's, with this incarnation.
    pub fn create_with_backend(backend: impl StorageBackend, image: &LedgerImage) -> Result<Self, LedgerError> {
        let subject = format!("of {}", image.meta.host);
        let database = builder().create_with_backend(backend).map_err(|e| disk("making", &subject, &e))?;
        let mut ledger = Self { database, subject };
        ledger.commit(&[LedgerWrite::Meta(image.meta.clone())])?;
        Ok(ledger)
    }

    /// Opens a ledger on a backend of the caller's.
    pub fn open_with_backend(backend: impl StorageBackend) -> Result<(Self, LedgerImage), LedgerError> {
        let subject = "on a backend".to_string();
        let database = builder().create_with_backend(backend).map_err(|e| disk("opening", &subject, &e))?;
        let ledger = Self { database, subject };
        let image = ledger.load()?;
        Ok((ledger, image))
    }

    /// Writes all of these in one transaction, and returns when they are durable. After an error: end the process.
    pub fn commit(&mut self, writes: &[LedgerWrite]) -> Result<(), LedgerError> {
        self.write(writes).map_err(|e| disk("writing", &self.subject, &e))
    }

    fn write(&self, writes: &[LedgerWrite]) -> Result<(), redb::Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_two_phase_commit(true);
        let is_first = matches!(writes, [LedgerWrite::Meta(_)]);
        if !is_first && slot_planted::planted("s2-ledger-commit-unsynced") {
            transaction.set_durability(redb::Durability::None)?;
        }
        {
            let mut meta = transaction.open_table(META)?;
            let mut copies = transaction.open_table(COPIES)?;
            let mut orders = transaction.open_table(ORDERS)?;
            for write in writes {
                match write {
                    LedgerWrite::Meta(value) => drop(meta.insert(LEDGER, codec::encode(value).as_slice())?),
                    LedgerWrite::Copy(key, entry) => {
                        drop(copies.insert(codec::encode(key).as_slice(), codec::encode(entry).as_slice())?);
                    }
                    LedgerWrite::Order(id, entry) => {
                        let key = codec::encode(&OrderKey(*id));
                        drop(orders.insert(key.as_slice(), codec::encode(entry).as_slice())?);
                    }
                    LedgerWrite::Forget(id) => drop(orders.remove(codec::encode(&OrderKey(*id)).as_slice())?),
                }
            }
        }
        transaction.commit()?;
        Ok(())
    }

    fn write_place(&self, meta: &LedgerMeta, place: &Place) -> Result<(), LedgerError> {
        let write = || -> Result<(), redb::Error> {
            let mut transaction = self.database.begin_write()?;
            transaction.set_two_phase_commit(true);
            {
                let mut table = transaction.open_table(META)?;
                table.insert(LEDGER, codec::encode(meta).as_slice())?;
                table.insert(PLACE, codec::encode(place).as_slice())?;
                transaction.open_table(COPIES)?;
                transaction.open_table(ORDERS)?;
            }
            transaction.commit()?;
            Ok(())
        };
        write().map_err(|e| disk("writing", &self.subject, &e))
    }

    fn check_owner(&self, meta: &LedgerMeta, cluster: ClusterId, host: &HostName) -> Result<(), LedgerError> {
        if meta.cluster == cluster && meta.host == *host {
            return Ok(());
        }
        Err(LedgerError::OtherHost {
            subject: self.subject.clone(),
            found: format!("{} of cluster {}", meta.host, meta.cluster),
            wanted: format!("{host} of cluster {cluster}"),
        })
    }

    fn place(&self) -> Result<Option<Place>, LedgerError> {
        self.meta_value(PLACE)
    }

    fn meta_value<T: Versioned>(&self, key: &str) -> Result<Option<T>, LedgerError> {
        let read = || -> Result<Option<Vec<u8>>, redb::Error> {
            let table = self.database.begin_read()?.open_table(META)?;
            Ok(table.get(key)?.map(|bytes| bytes.value().to_vec()))
        };
        let bytes = read().map_err(|e| disk("reading", &self.subject, &e))?;
        bytes.map(|bytes| self.value(&bytes)).transpose()
    }

    fn load(&self) -> Result<LedgerImage, LedgerError> {
        let meta = self.meta_value(LEDGER)?.ok_or_else(|| LedgerError::Headless { subject: self.subject.clone() })?;
        let copies = self.rows(COPIES)?.into_iter().map(|(key, entry)| -> Result<(CopyKey, CopyEntry), LedgerError> {
            Ok((self.value(&key)?, self.value(&entry)?))
        });
        let copies = copies.collect::<Result<BTreeMap<_, _>, _>>()?;
        let orders = self.rows(ORDERS)?.into_iter().map(|(key, entry)| -> Result<(OrderId, OrderEntry), LedgerError> {
            Ok((self.value::<OrderKey>(&key)?.0, self.value(&entry)?))
        });
        let orders = orders.collect::<Result<BTreeMap<_, _>, _>>()?;
        Ok(LedgerImage { meta, copies, orders })
    }

    fn rows(&self, table: TableDefinition<'_, &'static [u8], &'static [u8]>) -> Result<Vec<Row>, LedgerError> {
        let read = || -> Result<Vec<Row>, redb::Error> {
            let table = self.database.begin_read()?.open_table(table)?;
            let mut rows = Vec::new();
            for row in table.iter()? {
                let (key, value) = row?;
                rows.push((key.value().to_vec(), value.value().to_vec()));
            }
            Ok(rows)
        };
        read().map_err(|e| disk("reading", &self.subject, &e))
    }

    fn value<T: Versioned>(&self, bytes: &[u8]) -> Result<T, LedgerError> {
        codec::decode(bytes).map_err(|cause| LedgerError::Value { subject: self.subject.clone(), cause })
    }
}

type Row = (Vec<u8>, Vec<u8>);

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

fn disk(operation: &'static str, subject: &str, cause: &dyn std::fmt::Display) -> LedgerError {
    LedgerError::Disk { operation, subject: subject.into(), detail: cause.to_string() }
}

fn place_of(path: &Path) -> Result<Place, std::io::Error> {
    let metadata = std::fs::metadata(path)?;
    // Not every file system knows when a file was made; the inode alone then has to do.
    let born = metadata.created().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    let born = born.and_then(|since| u64::try_from(since.as_nanos()).ok());
    Ok(Place { inode: metadata.ino(), born })
}

fn draw() -> Result<Incarnation, std::io::Error> {
    let mut bytes = [0u8; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(Incarnation(bytes))
}
