//! Files that a command writes: all of them whole, or none.
//!
//! What always holds: each is first written beside its place, under a name of nobody's, and durable; the first gets its own name only when
//! all are. Only an ordinary file is replaced, and never the file that is read; where a symbolic link leads to one, that one is.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// So many bytes are written at once.
const OUT_BYTES: usize = 1 << 16;

/// Why a file can't be written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct Unwritable {
    /// Which.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: Why,
}

/// What is wrong with a file that is to be written.
#[derive(Debug, thiserror::Error)]
pub enum Why {
    /// It can't be done at all.
    #[error("{0}")]
    File(#[from] io::Error),
    /// A device, a folder, a socket.
    #[error("it is no ordinary file")]
    NotOrdinary,
    /// What is read stays as it is.
    #[error("it is the file that is read")]
    Read,
    /// One would replace the other.
    #[error("two outputs would be this one file")]
    Twice,
}

/// Who may read a file that was not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Whom the process lets.
    Anybody,
    /// Its owner alone, whoever might before.
    Owner,
}

/// Files on their way.
#[derive(Debug, Default)]
pub struct Writing {
    /// Where each goes, and what it is until then.
    files: Vec<(PathBuf, NamedTempFile)>,
}

impl Writing {
    /// Whether all of these could be written besides what is read: asked before anything is planned.
    pub fn look<'a>(read: &Path, all: impl IntoIterator<Item = &'a Path>) -> Result<(), Unwritable> {
        let same =
            |found: &fs::Metadata| fs::metadata(read).is_ok_and(|r| (r.dev(), r.ino()) == (found.dev(), found.ino()));
        let mut seen: Vec<PathBuf> = Vec::new();
        for path in all {
            let wrong = |why| Unwritable { path: path.to_owned(), why };
            let place = place(path).map_err(wrong)?;
            if fs::metadata(&place).is_ok_and(|found| same(&found)) {
                return Err(wrong(Why::Read));
            }
            if seen.contains(&place) {
                return Err(wrong(Why::Twice));
            }
            seen.push(place);
        }
        Ok(())
    }

    /// One more file; it has its name when all have.
    pub fn put(&mut self, path: &Path, text: &[u8], readers: Readers) -> Result<(), Unwritable> {
        self.put_with(path, readers, |out| out.write_all(text))
    }

    /// The same, of what is written bit by bit.
    pub fn put_with(
        &mut self,
        path: &Path,
        readers: Readers,
        write: impl FnOnce(&mut BufWriter<&mut NamedTempFile>) -> io::Result<()>,
    ) -> Result<(), Unwritable> {
        let put = || {
            let place = place(path)?;
            let mode = match (readers, fs::metadata(&place)) {
                (Readers::Owner, _) => 0o600,
                (Readers::Anybody, Ok(before)) => before.mode() & 0o777,
                (Readers::Anybody, Err(_)) => 0o666,
            };
            let mut builder = tempfile::Builder::new();
            builder.prefix(".slotctl-").suffix(".unfinished").permissions(Permissions::from_mode(mode));
            let mut file = builder.tempfile_in(folder(&place))?;
            let mut out = BufWriter::with_capacity(OUT_BYTES, &mut file);
            write(&mut out)?;
            out.flush()?;
            drop(out);
            file.as_file().sync_all()?;
            Ok((place, file))
        };
        let file = put().map_err(|why| Unwritable { path: path.to_owned(), why })?;
        self.files.push(file);
        Ok(())
    }

    /// Gives each its name.
    pub fn finish(self) -> Result<(), Unwritable> {
        for (path, file) in self.files {
            let kept = file.persist(&path).map_err(|failed| failed.error);
            kept.and_then(|_| File::open(folder(&path))?.sync_all())
                .map_err(|error| Unwritable { path, why: error.into() })?;
        }
        Ok(())
    }
}

/// What would be replaced, or made, by the name of a file.
fn place(path: &Path) -> Result<PathBuf, Why> {
    if fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        let name = path.file_name().ok_or(Why::NotOrdinary)?;
        return Ok(fs::canonicalize(folder(path))?.join(name));
    }
    let place = fs::canonicalize(path)?;
    if !fs::metadata(&place)?.is_file() {
        return Err(Why::NotOrdinary);
    }
    // One that may not be written to is not replaced behind its owner's back.
    OpenOptions::new().write(true).open(&place)?;
    Ok(place)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
