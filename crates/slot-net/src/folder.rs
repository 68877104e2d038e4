//! The folder that says who a process is and which cluster it belongs to.
//!
//! What always holds: a folder is 0700 and its files 0600 when we made them; a key that group or others may read is not
//! used; a file that exists is never overwritten, and a file is there whole or not at all.
//!
//! | file | what it holds |
//! |---|---|
//! | `ca.pem` | the certificates of the cluster's CA |
//! | `cert.pem` | this identity's certificate |
//! | `key.pem` | its private key |
//! | `cluster.json` | the cluster's name and id, and where its coordinators are |
//! | `issuer.pem`, `issuer-key.pem` | a coordinator's only: with these it certifies agents that join ([`crate::issuer`]) |

use crate::identity::{Identity, IdentityError};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use slot_types::ids::{ClusterId, ClusterName, CoordinatorName};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The one version of `cluster.json` that this build writes and reads.
pub const MEMBERSHIP_FORMAT: u16 = 1;
/// No file of an identity folder is larger, in bytes.
const FILE_BYTES_MAX: u64 = 256 * 1024;

pub(crate) const CA_FILE: &str = "ca.pem";
pub(crate) const MEMBERSHIP_FILE: &str = "cluster.json";
pub(crate) const CERT_FILE: &str = "cert.pem";
pub(crate) const KEY_FILE: &str = "key.pem";

/// Why an identity folder could not be read or made.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A file could not be read.
    #[error("cannot read {path}: {cause}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A file or folder could not be made.
    #[error("cannot write {path}: {cause}")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A file or folder is there already.
    #[error("{path} exists and is left as it is: use another folder, or move it away yourself")]
    Exists {
        /// The file or folder.
        path: PathBuf,
    },
    /// A key that others may read.
    #[error("{path} may be read by others (mode {mode:04o}) and is not used: run chmod 600 {path}")]
    KeyIsOpen {
        /// The key.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A file is too large for what it should hold.
    #[error("{path} has more than {FILE_BYTES_MAX} bytes and cannot be what its name says: restore the folder")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A file does not hold PEM of its kind.
    #[error("cannot read {path}: {cause}; restore the folder, or issue the identity anew")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// The certificate states no identity of ours.
    #[error("cannot use {path}: {cause}")]
    Identity {
        /// The certificate's file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        cause: IdentityError,
    },
    /// `cluster.json` of a version this build does not know.
    #[error("{path} has format {found}, this build reads format {MEMBERSHIP_FORMAT} only: use the build that wrote it")]
    Format {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
    },
    /// `cluster.json` is not what its version says.
    #[error("cannot read {path}: {cause}")]
    Membership {
        /// The file.
        path: PathBuf,
        /// What is wrong and where.
        #[source]
        cause: serde_json::Error,
    },
}

/// Which cluster an identity belongs to, and where its coordinators are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Membership {
    /// The version of this file.
    pub format: u16,
    /// The cluster's name.
    pub cluster: ClusterName,
    /// The cluster's identity, which every order carries (S15).
    pub cluster_id: ClusterId,
    /// Where each coordinator serves.
    pub coordinators: BTreeMap<CoordinatorName, SocketAddr>,
}

impl Membership {
    /// Describes a cluster in the version of this build.
    pub fn new(
        cluster: ClusterName,
        cluster_id: ClusterId,
        coordinators: BTreeMap<CoordinatorName, SocketAddr>,
    ) -> Self {
        Self { format: MEMBERSHIP_FORMAT, cluster, cluster_id, coordinators }
    }

    /// Reads a `cluster.json`; one of another version is refused, naming both.
    pub fn read(path: &Path) -> Result<Self, FolderError> {
        #[derive(Deserialize)]
        struct Versioned {
            format: u64,
        }
        let text = read_text(path)?;
        let refused = |cause| FolderError::Membership { path: path.to_path_buf(), cause };
        let found = serde_json::from_str::<Versioned>(&text).map_err(refused)?.format;
        if found != u64::from(MEMBERSHIP_FORMAT) {
            return Err(FolderError::Format { path: path.to_path_buf(), found });
        }
        serde_json::from_str(&text).map_err(refused)
    }

    pub(crate) fn to_json(&self) -> String {
        // Names, a hex token and socket addresses: none of them can fail to become JSON.
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        text + "\n"
    }
}

/// An identity with the material that proves it. Printing it never shows the key.
#[derive(Clone)]
pub struct IdentityFolder {
    path: PathBuf,
    identity: Identity,
    membership: Membership,
    ca_pem: String,
    cert_pem: String,
    key_pem: String,
    expires: SystemTime,
}

impl IdentityFolder {
    /// Reads a folder; refuses a key that group or others may read.
    pub fn load(path: &Path) -> Result<Self, FolderError> {
        let key_pem = read_key(&path.join(KEY_FILE))?;
        let ca_pem = read_text(&path.join(CA_FILE))?;
        certificates(&path.join(CA_FILE), &ca_pem)?;
        let cert_path = path.join(CERT_FILE);
        let cert_pem = read_text(&cert_path)?;
        let membership = Membership::read(&path.join(MEMBERSHIP_FILE))?;
        Self::of_parts(path, &cert_path, membership, ca_pem, cert_pem, key_pem)
    }

    /// Puts an identity together from what was read: `cert_path` is where its certificate came from, for messages.
    pub(crate) fn of_parts(
        path: &Path,
        cert_path: &Path,
        membership: Membership,
        ca_pem: String,
        cert_pem: String,
        key_pem: String,
    ) -> Result<Self, FolderError> {
        let chain = certificates(cert_path, &cert_pem)?;
        let pem_error = |cause: String| FolderError::Pem { path: cert_path.to_path_buf(), cause };
        let leaf = chain.first().ok_or_else(|| pem_error("it holds no certificate".into()))?;
        let identity =
            Identity::from_der(leaf).map_err(|cause| FolderError::Identity { path: cert_path.to_path_buf(), cause })?;
        let (_, parsed) = x509_parser::parse_x509_certificate(leaf).map_err(|e| pem_error(e.to_string()))?;
        let seconds = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
        let expires = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        Ok(Self { path: path.to_path_buf(), identity, membership, ca_pem, cert_pem, key_pem, expires })
    }

    /// Makes a new folder; refuses one that exists.
    pub(crate) fn create(
        path: &Path,
        membership: &Membership,
        ca_pem: &str,
        cert_pem: &str,
        key_pem: &str,
    ) -> Result<(), FolderError> {
        make_folder(path)?;
        write_new(&path.join(CA_FILE), ca_pem)?;
        write_new(&path.join(CERT_FILE), cert_pem)?;
        write_new(&path.join(KEY_FILE), key_pem)?;
        write_new(&path.join(MEMBERSHIP_FILE), &membership.to_json())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
    /// Who it is for.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }
    /// Which cluster it is of.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }
    /// When its certificate ends: from then on nobody accepts it.
    pub fn expires(&self) -> SystemTime {
        self.expires
    }
    pub(crate) fn ca_pem(&self) -> &str {
        &self.ca_pem
    }
    pub(crate) fn cert_pem(&self) -> &str {
        &self.cert_pem
    }
    pub(crate) fn key_pem(&self) -> &str {
        &self.key_pem
    }
}
impl fmt::Debug for IdentityFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {}", self.identity, self.path.display())
    }
}

pub(crate) fn certificates(path: &Path, pem: &str) -> Result<Vec<CertificateDer<'static>>, FolderError> {
    let refused = |cause: String| FolderError::Pem { path: path.to_path_buf(), cause };
    let found = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    match found {
        Ok(found) if found.is_empty() => Err(refused("it holds no certificate".into())),
        Ok(found) => Ok(found),
        Err(error) => Err(refused(error.to_string())),
    }
}

fn read_open(path: &Path, file: File) -> Result<String, FolderError> {
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|cause| FolderError::Read { path: path.to_path_buf(), cause })?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(FolderError::TooLarge { path: path.to_path_buf() });
    }
    Ok(text)
}

pub(crate) fn read_text(path: &Path) -> Result<String, FolderError> {
    let file = File::open(path).map_err(|cause| FolderError::Read { path: path.to_path_buf(), cause })?;
    read_open(path, file)
}

/// Reads a private key. The permissions are those of the file that is then read, not of one swapped in meanwhile.
pub(crate) fn read_key(path: &Path) -> Result<String, FolderError> {
    let refused = |cause| FolderError::Read { path: path.to_path_buf(), cause };
    let file = File::open(path).map_err(refused)?;
    let mode = file.metadata().map_err(refused)?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(FolderError::KeyIsOpen { path: path.to_path_buf(), mode });
    }
    read_open(path, file)
}

fn write_error(path: &Path, cause: io::Error) -> FolderError {
    if cause.kind() == io::ErrorKind::AlreadyExists {
        FolderError::Exists { path: path.to_path_buf() }
    } else {
        FolderError::Write { path: path.to_path_buf(), cause }
    }
}

/// Makes a folder of mode 0700; refuses one that exists.
pub(crate) fn make_folder(path: &Path) -> Result<(), FolderError> {
    DirBuilder::new().mode(0o700).create(path).map_err(|cause| write_error(path, cause))
}

/// Writes a new file of mode 0600: under another name, synced, then linked to its own name, which fails if that is
/// taken. So the file is there whole or not at all, and an existing one stays as it is.
pub(crate) fn write_new(path: &Path, text: &str) -> Result<(), FolderError> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".new");
    let draft = path.with_file_name(name);
    let written = write_draft(&draft, text).and_then(|()| fs::hard_link(&draft, path));
    let removed = fs::remove_file(&draft);
    written.and(removed).map_err(|cause| write_error(path, cause))?;
    sync_parent(path)
}

fn write_draft(draft: &Path, text: &str) -> io::Result<()> {
    match fs::remove_file(draft) {
        Ok(()) => {} // left behind by a crash: never linked, so nobody's key
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Makes the name of a file or folder durable. A name without a folder is in the one we are in.
pub(crate) fn sync_parent(path: &Path) -> Result<(), FolderError> {
    sync_folder(path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}

pub(crate) fn sync_folder(path: &Path) -> Result<(), FolderError> {
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(|cause| FolderError::Write { path: path.to_path_buf(), cause })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by typing the tour: `--out imap3.token` was written, and then said to have failed.
    #[test]
    fn a_name_without_a_folder_is_in_the_one_we_are_in() {
        for name in ["imap3.token", "./imap3.token"] {
            sync_parent(Path::new(name)).unwrap();
        }
        assert!(sync_parent(Path::new("no such folder/imap3.token")).is_err());
    }

    #[test]
    fn an_existing_file_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        write_new(&path, "first").unwrap();
        assert!(matches!(write_new(&path, "second"), Err(FolderError::Exists { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left behind");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_cluster_file_of_another_version_is_refused_naming_both() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(MEMBERSHIP_FILE);
        let membership = Membership::new(
            ClusterName::new("fm1").unwrap(),
            ClusterId([7; 16]),
            BTreeMap::from([(CoordinatorName::new("c1").unwrap(), "127.0.0.1:7001".parse().unwrap())]),
        );
        fs::write(&path, membership.to_json()).unwrap();
        assert_eq!(Membership::read(&path).unwrap(), membership);
        fs::write(&path, r#"{"format": 70000, "later": true}"#).unwrap();
        let refusal = Membership::read(&path).unwrap_err().to_string();
        assert!(refusal.contains("format 70000") && refusal.contains("format 1"), "{refusal}");
        fs::write(&path, membership.to_json().replace("\"cluster\"", "\"clutser\"")).unwrap();
        assert!(matches!(Membership::read(&path), Err(FolderError::Membership { .. })));
    }
}
