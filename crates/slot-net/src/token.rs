//! One-time tokens: with one, a bare host becomes an agent of its cluster.
//!
//! What always holds: a token names one host, and its certificate is accepted for one call alone, for a day; the file is
//! 0600, refused when others may read it, and printing a token shows no key; the agent's key is made on the host, written
//! down before it is used, and never leaves it; an identity folder is there whole or not at all.
//!
//! A token is worth nothing by itself: the cluster was told the digest of its certificate, and burns it with its first use
//! (see `slot_machine`'s `join`).

use crate::ca::{CaError, leaf};
use crate::folder::{self, FolderError, IdentityFolder, KEY_FILE, Membership};
use crate::identity::{Identity, Role};
use rcgen::{CertificateParams, KeyPair, PublicKeyData};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use slot_types::ids::HostName;
use slot_types::position::Digest;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a token is accepted, by wall time; the log counts the same time on its own.
pub const TOKEN_VALIDITY: Duration = Duration::from_secs(24 * 3600);
/// The one version of a token's file that this build writes and reads.
pub const TOKEN_FORMAT: u16 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenFile {
    format: u16,
    cluster: Membership,
    ca: String,
    certificate: String,
    key: String,
}

/// A one-time token.
#[derive(Clone)]
pub struct Token {
    folder: IdentityFolder,
    host: HostName,
    certificate: Digest,
}

impl Token {
    /// A token that was made now.
    pub(crate) fn new(
        membership: Membership,
        ca_pem: String,
        cert_pem: String,
        key_pem: String,
    ) -> Result<Self, FolderError> {
        Self::of(
            Path::new("token"),
            TokenFile { format: TOKEN_FORMAT, cluster: membership, ca: ca_pem, certificate: cert_pem, key: key_pem },
        )
    }

    /// Reads a token's file; refuses one that group or others may read.
    pub fn read(path: &Path) -> Result<Self, FolderError> {
        let text = folder::read_key(path)?;
        let refused = |cause: String| FolderError::Pem { path: path.to_path_buf(), cause };
        let file: TokenFile = serde_json::from_str(&text).map_err(|e| refused(format!("it is no token: {e}")))?;
        if file.format != TOKEN_FORMAT {
            return Err(refused(format!("format {}, this build reads format {TOKEN_FORMAT} only", file.format)));
        }
        Self::of(path, file)
    }

    fn of(path: &Path, file: TokenFile) -> Result<Self, FolderError> {
        let refused = |cause: String| FolderError::Pem { path: path.to_path_buf(), cause };
        let chain = folder::certificates(path, &file.certificate)?;
        let certificate = Digest::of(chain.first().ok_or_else(|| refused("it holds no certificate".into()))?);
        folder::certificates(path, &file.ca)?;
        let folder = IdentityFolder::of_parts(path, path, file.cluster, file.ca, file.certificate, file.key)?;
        let identity = folder.identity();
        if identity.role() != Role::Joiner {
            return Err(refused(format!("it is the identity of {identity} and no token")));
        }
        let host = HostName::new(identity.name()).map_err(|e| refused(e.to_string()))?;
        Ok(Self { folder, host, certificate })
    }

    /// Writes it into a new file of mode 0600; refuses one that exists.
    pub fn write(&self, path: &Path) -> Result<(), FolderError> {
        let file = TokenFile {
            format: TOKEN_FORMAT,
            cluster: self.folder.membership().clone(),
            ca: self.folder.ca_pem().into(),
            certificate: self.folder.cert_pem().into(),
            key: self.folder.key_pem().into(),
        };
        // Texts and names: none of them can fail to become JSON.
        folder::write_new(path, &(serde_json::to_string(&file).unwrap_or_default() + "\n"))
    }

    /// The host it is for.
    pub fn host(&self) -> &HostName {
        &self.host
    }
    /// The digest of its certificate, by which the cluster knows it.
    pub fn certificate(&self) -> Digest {
        self.certificate
    }
    /// What to dial with.
    pub fn folder(&self) -> &IdentityFolder {
        &self.folder
    }
}
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "token {} of {}", self.certificate, self.host)
    }
}

/// A host on its way to an identity: its key is made and waits, beside the folder it will be in, for a certificate.
pub struct Arrival {
    identity: Identity,
    folder: PathBuf,
    waiting: PathBuf,
    key: KeyPair,
}

impl Arrival {
    /// Makes the key, or finds the one that an interrupted try made: then it is the same use of the token, not another.
    pub fn begin(folder: &Path, host: &HostName) -> Result<Self, CaError> {
        let identity = Identity::new(Role::Agent, host.as_str())?;
        if folder.try_exists().map_err(|cause| FolderError::Read { path: folder.to_path_buf(), cause })? {
            return Err(FolderError::Exists { path: folder.to_path_buf() }.into());
        }
        let mut name = folder.file_name().map_or_else(|| OsString::from("identity"), OsString::from);
        name.push(".joining");
        let waiting = folder.with_file_name(name);
        let refused = |cause| CaError::Certificate { subject: identity.to_string(), cause };
        let path = waiting.join(KEY_FILE);
        let key = match folder::read_key(&path) {
            Ok(pem) => KeyPair::from_pem(&pem).map_err(refused)?,
            Err(FolderError::Read { cause, .. }) if cause.kind() == std::io::ErrorKind::NotFound => {
                let key = KeyPair::generate().map_err(refused)?;
                match folder::make_folder(&waiting) {
                    Ok(()) | Err(FolderError::Exists { .. }) => {}
                    Err(other) => return Err(other.into()),
                }
                folder::write_new(&path, &key.serialize_pem())?;
                folder::sync_parent(&waiting)?;
                key
            }
            Err(other) => return Err(other.into()),
        };
        Ok(Self { identity, folder: folder.to_path_buf(), waiting, key })
    }

    /// The request for a certificate, as DER: signed with the key, which is not in it.
    pub fn request(&self) -> Result<Vec<u8>, CaError> {
        let refused = |cause| CaError::Certificate { subject: self.identity.to_string(), cause };
        let names = leaf(&self.identity, TOKEN_VALIDITY).map_err(refused)?.subject_alt_names;
        let mut params = CertificateParams::new(Vec::new()).map_err(refused)?;
        params.subject_alt_names = names;
        Ok(params.serialize_request(&self.key).map_err(refused)?.der().to_vec())
    }

    /// Makes the identity folder with what was answered, if it is a certificate for this key and this host.
    pub fn finish(self, token: &Token, chain_pem: &str) -> Result<IdentityFolder, FolderError> {
        let refused = |cause: String| FolderError::Pem { path: self.folder.clone(), cause };
        let leaf = CertificateDer::from_pem_slice(chain_pem.as_bytes()).map_err(|e| refused(e.to_string()))?;
        let found = Identity::from_der(&leaf).map_err(|e| refused(e.to_string()))?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&leaf).map_err(|e| refused(e.to_string()))?;
        let same_key = parsed.public_key().raw == self.key.subject_public_key_info();
        if found != self.identity || !same_key {
            return Err(refused(format!("the certificate received is not that of {} with its own key", self.identity)));
        }
        let parts = token.folder();
        let draft = self.waiting.join("folder");
        match fs::remove_dir_all(&draft) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
                return Err(FolderError::Write { path: draft, cause });
            }
            _ => {}
        }
        IdentityFolder::create(&draft, parts.membership(), parts.ca_pem(), chain_pem, &self.key.serialize_pem())?;
        fs::rename(&draft, &self.folder).map_err(|cause| FolderError::Write { path: self.folder.clone(), cause })?;
        folder::sync_parent(&self.folder)?;
        // The folder is in place; a key that is left behind in the other is the same, and 0600.
        let _ = fs::remove_dir_all(&self.waiting);
        IdentityFolder::load(&self.folder)
    }
}
