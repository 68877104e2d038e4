//! Files of a front end.
//!
//! What always holds: a file is seen whole, old or new, by whoever opens it at any moment, and a new one that was reported is
//! there after a power cut: temporary file, fsync, rename, fsync of the folder.

use super::core::Kept;
use slot_types::codec;
use slot_types::front_end::RouteTable;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The table that is acknowledged.
const TABLE_FILE: &str = "table.bin";
/// The table of which maps may have been written; made durable before the first of them is.
const BEGUN_FILE: &str = "begun.bin";

/// Why a file is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It could not be read or written.
    #[error("cannot {what} {path}: {cause}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What happened.
        #[source]
        cause: io::Error,
    },
    /// The acknowledged table can't be read.
    #[error("cannot read {path}: {cause}; move it away to begin anew: the leader hands over the newest table")]
    Table {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: codec::CodecError,
    },
}

/// Puts a file in place of what is there.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), StoreError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".slot-new");
    let new = folder.join(name);
    let failed = |what, path: &Path| {
        let path = path.to_path_buf();
        move |cause| StoreError::Io { what, path, cause }
    };
    // What an earlier life left behind is not written into: it may be open somewhere, or a link.
    match fs::remove_file(&new) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &new)(cause)),
        _ => {}
    }
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(&new).map_err(failed("make", &new))?;
    file.write_all(bytes).map_err(failed("write", &new))?;
    file.sync_all().map_err(failed("sync", &new))?;
    fs::rename(&new, path).map_err(failed("put in place", path))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("sync the folder of", path))
}

/// What is there from before; makes the folder when it is not there.
pub fn load(data: &Path) -> Result<Kept, StoreError> {
    fs::create_dir_all(data).map_err(|cause| StoreError::Io { what: "make", path: data.to_path_buf(), cause })?;
    let (acknowledged, begun) = (read(&data.join(TABLE_FILE))?, read(&data.join(BEGUN_FILE))?);
    Ok(Kept::of(begun, acknowledged))
}

fn read(path: &Path) -> Result<Option<RouteTable>, StoreError> {
    let path = path.to_path_buf();
    match fs::read(&path) {
        Ok(bytes) => codec::decode(&bytes).map(Some).map_err(|cause| StoreError::Table { path, cause }),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(StoreError::Io { what: "read", path, cause }),
    }
}

/// Makes a table durable whose maps are about to be written.
pub fn begin(data: &Path, table: &RouteTable) -> Result<(), StoreError> {
    replace(&data.join(BEGUN_FILE), &codec::encode(table), 0o600)
}

/// Makes a table durable that is served.
pub fn save(data: &Path, table: &RouteTable) -> Result<(), StoreError> {
    replace(&data.join(TABLE_FILE), &codec::encode(table), 0o600)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_what_a_crash_left_is_not_in_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("map");
        std::os::unix::fs::symlink("/nowhere/else", folder.path().join("map.slot-new")).unwrap();
        for text in ["one", "two"] {
            replace(&path, text.as_bytes(), 0o644).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let why = replace(&folder.path().join("no/map"), b"", 0o644).unwrap_err().to_string();
        assert!(why.contains("no/map.slot-new"), "{why}");
    }

    #[test]
    fn a_table_that_cannot_be_read_is_named_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(load(folder.path()).unwrap(), Kept::default());
        fs::write(folder.path().join(TABLE_FILE), b"not a table").unwrap();
        assert!(load(folder.path()).unwrap_err().to_string().contains("move it away"));
    }
}
