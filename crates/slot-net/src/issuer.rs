//! What a coordinator makes agents' certificates with, for hosts that join.
//!
//! What always holds: its certificate is constrained to agents' names, so that whoever steals this key can be a host, and
//! never a person, a coordinator or a client; a request is answered only for the one identity its sender may become, and
//! of what it asks for nothing but the public key is taken over.

use crate::ca::{self, LEAF_VALIDITY};
use crate::folder::{self, FolderError};
use crate::identity::Identity;
use rcgen::{CertificateSigningRequestParams, Issuer, KeyPair, PublicKey, PublicKeyData};
use rustls_pki_types::CertificateSigningRequestDer;
use slot_types::position::Digest;
use std::path::{Path, PathBuf};

/// The issuing certificate in a coordinator's folder.
pub const ISSUER_FILE: &str = "issuer.pem";
/// Its key.
pub(crate) const ISSUER_KEY_FILE: &str = "issuer-key.pem";
/// The largest request that is looked at, in bytes.
const REQUEST_BYTES_MAX: usize = 16 * 1024;

/// Why a certificate was not issued.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// A file of the folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The issuer's key or certificate can't be used.
    #[error("cannot issue with {path}: {cause}; restore the coordinator's folder")]
    Issuer {
        /// The issuing certificate's file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: rcgen::Error,
    },
    /// Bytes that are no request, or one that is not signed with the key it is for.
    #[error("cannot read the request of {by}: {cause}; ask again with slot-agent join")]
    Request {
        /// Who sent it.
        by: Identity,
        /// What is wrong.
        cause: String,
    },
    /// A request for somebody else.
    #[error("{by} may become {allowed} and asks for a certificate of {asked}: use the token that was made for it")]
    OtherName {
        /// Who sent it.
        by: Identity,
        /// Who it may become.
        allowed: Identity,
        /// For whom it asks.
        asked: String,
    },
    /// Signing failed.
    #[error("cannot make the certificate of {subject}: {cause}")]
    Certificate {
        /// Whose.
        subject: Identity,
        /// Why.
        #[source]
        cause: rcgen::Error,
    },
}

/// A request that was checked: the key is its sender's, and the names are those it may have.
#[derive(Clone, Debug)]
pub struct Asking {
    identity: Identity,
    public_key: PublicKey,
    key: Digest,
}

impl Asking {
    /// Checks the bytes of a PKCS #10 request, sent by `by`, for `allowed`.
    pub fn check(request: &[u8], by: &Identity, allowed: &Identity) -> Result<Self, IssuerError> {
        let refused = |cause: String| IssuerError::Request { by: by.clone(), cause };
        if request.len() > REQUEST_BYTES_MAX {
            return Err(refused(format!("it has {} bytes, at most {REQUEST_BYTES_MAX} are looked at", request.len())));
        }
        let asked = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(request))
            .map_err(|cause| refused(cause.to_string()))?;
        let wanted = ca::leaf(allowed, LEAF_VALIDITY).map_err(|cause| refused(cause.to_string()))?;
        if asked.params.subject_alt_names != wanted.subject_alt_names {
            let asked = format!("{:?}", asked.params.subject_alt_names);
            return Err(IssuerError::OtherName { by: by.clone(), allowed: allowed.clone(), asked });
        }
        let key = Digest::of(&asked.public_key.subject_public_key_info());
        Ok(Self { identity: allowed.clone(), public_key: asked.public_key, key })
    }

    /// The digest of its public key: the same request sent again has the same one.
    pub fn key(&self) -> Digest {
        self.key
    }
}

/// A coordinator's issuing key.
pub struct AgentIssuer {
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl AgentIssuer {
    /// Reads it from a coordinator's identity folder; `None` when the folder was made without one.
    pub fn load(folder: &Path) -> Result<Option<Self>, IssuerError> {
        let path = folder.join(ISSUER_FILE);
        let certificate_pem = match folder::read_text(&path) {
            Err(FolderError::Read { cause, .. }) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        let key_pem = folder::read_key(&folder.join(ISSUER_KEY_FILE))?;
        let refused = |cause| IssuerError::Issuer { path: path.clone(), cause };
        let key = KeyPair::from_pem(&key_pem).map_err(refused)?;
        let issuer = Issuer::from_ca_cert_pem(&certificate_pem, key).map_err(refused)?;
        Ok(Some(Self { certificate_pem, issuer }))
    }

    /// The certificate for a request, and this issuer's own after it, as PEM.
    pub fn issue(&self, asking: &Asking) -> Result<String, IssuerError> {
        let refused = |cause| IssuerError::Certificate { subject: asking.identity.clone(), cause };
        let params = ca::leaf(&asking.identity, LEAF_VALIDITY).map_err(refused)?;
        let certificate = params.signed_by(&asking.public_key, &self.issuer).map_err(refused)?;
        Ok(certificate.pem() + &self.certificate_pem)
    }
}
