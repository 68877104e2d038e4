//! Making a cluster's certificate authority and everybody's certificates.
//!
//! What always holds: a CA that exists is never replaced; a cluster is made whole or its CA is not put in place; the
//! CA's key goes into the initiator's `ca` folder and nowhere else; what a coordinator may issue is agents' certificates
//! and no others, by a constraint in its issuing certificate that every verifier checks. Wall time is read here only, for
//! validity.

use crate::folder::{self, CA_FILE, FolderError, IdentityFolder, MEMBERSHIP_FILE, Membership};
use crate::identity::{Identity, IdentityError, Role};
use crate::issuer;
use crate::tls;
use crate::token::{TOKEN_VALIDITY, Token};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SanType,
};
use slot_types::ids::{ClientName, ClusterId, ClusterName, CoordinatorName, FrontEndName, HostName, OperatorName};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How long a CA is valid.
pub const CA_VALIDITY: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// How long an identity's certificate is valid.
pub const LEAF_VALIDITY: Duration = Duration::from_secs(365 * 24 * 3600);
/// The DNS names that a coordinator's issuing certificate is constrained to: those of agents.
const AGENTS_DOMAIN: &str = "agent.slotd";
/// How far the clock of a machine may be behind the one that issued its certificate.
const CLOCK_SKEW: Duration = Duration::from_secs(3600);
/// Two people must be able to approve (S5), so a cluster with fewer cannot be worked.
pub const OPERATORS_MIN: usize = 2;

const CA_FOLDER: &str = "ca";
const CA_KEY_FILE: &str = "ca-key.pem";

/// Why a CA, a certificate or a cluster could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// There is a CA already.
    #[error("{path} holds a certificate authority already and nothing was changed: use another folder")]
    CaExists {
        /// The CA's folder.
        path: PathBuf,
    },
    /// Too few people.
    #[error("a cluster needs {OPERATORS_MIN} operators at least, {given} given: failovers may need a second person")]
    Operators {
        /// How many there were.
        given: usize,
    },
    /// No coordinators.
    #[error("a cluster needs one coordinator at least: name each with the address it serves at")]
    NoCoordinator,
    /// A name that no certificate can carry.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A file or folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A key or certificate could not be made.
    #[error("cannot make the certificate of {subject}: {cause}")]
    Certificate {
        /// Whose.
        subject: String,
        /// Why.
        #[source]
        cause: rcgen::Error,
    },
    /// A CA folder's key or certificate could not be read.
    #[error("cannot use the certificate authority in {path}: {cause}")]
    Authority {
        /// The CA's folder.
        path: PathBuf,
        /// Why.
        #[source]
        cause: rcgen::Error,
    },
    /// The kernel gave no random bytes.
    #[error("cannot draw a cluster id: the system has no random bytes")]
    Random,
}

/// A certificate authority with its key.
pub struct Ca {
    membership: Membership,
    ca_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM.
struct Issued {
    cert_pem: String,
    key_pem: String,
}

impl Ca {
    /// Makes a CA in memory; gives its key as PEM too.
    fn generate(membership: Membership) -> Result<(Self, String), CaError> {
        let subject = format!("slot CA {} {}", membership.cluster, membership.cluster_id);
        let refused = |cause| CaError::Certificate { subject: subject.clone(), cause };
        let key = KeyPair::generate().map_err(refused)?;
        let key_pem = key.serialize_pem();
        let mut params = CertificateParams::new(Vec::new()).map_err(refused)?;
        params.distinguished_name = common_name(&subject);
        // One below it: what coordinators issue from.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut params, CA_VALIDITY);
        let ca_pem = params.self_signed(&key).map_err(refused)?.pem();
        Ok((Self { membership, ca_pem, issuer: Issuer::new(params, key) }, key_pem))
    }

    /// Reads the CA that `init_cluster` left in `dir/ca`.
    pub fn load(dir: &Path) -> Result<Self, CaError> {
        let path = dir.join(CA_FOLDER);
        let key_pem = folder::read_key(&path.join(CA_KEY_FILE))?;
        let ca_pem = folder::read_text(&path.join(CA_FILE))?;
        let membership = Membership::read(&path.join(MEMBERSHIP_FILE))?;
        let refused = |cause| CaError::Authority { path: path.clone(), cause };
        let key = KeyPair::from_pem(&key_pem).map_err(refused)?;
        let issuer = Issuer::from_ca_cert_pem(&ca_pem, key).map_err(refused)?;
        Ok(Self { membership, ca_pem, issuer })
    }

    /// The cluster it is for.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Makes an identity folder at `path`, with a new key; refuses one that exists. A coordinator's holds what it issues
    /// agents' certificates from.
    pub fn make_identity_folder(&self, path: &Path, identity: &Identity) -> Result<(), CaError> {
        let issued = self.issue(identity, LEAF_VALIDITY)?;
        IdentityFolder::create(path, &self.membership, &self.ca_pem, &issued.cert_pem, &issued.key_pem)?;
        if identity.role() == Role::Coordinator {
            let issuing = self.issue_issuer(identity)?;
            folder::write_new(&path.join(issuer::ISSUER_FILE), &issuing.cert_pem)?;
            folder::write_new(&path.join(issuer::ISSUER_KEY_FILE), &issuing.key_pem)?;
        }
        Ok(())
    }

    /// Makes the one-time token with which a host may ask for its agent's certificate. It is worth nothing before the
    /// cluster was told of it.
    pub fn make_token(&self, host: &HostName) -> Result<Token, CaError> {
        let issued = self.issue(&Identity::new(Role::Joiner, host.as_str())?, TOKEN_VALIDITY)?;
        Ok(Token::new(self.membership.clone(), self.ca_pem.clone(), issued.cert_pem, issued.key_pem)?)
    }

    fn issue(&self, identity: &Identity, validity: Duration) -> Result<Issued, CaError> {
        let refused = |cause| CaError::Certificate { subject: identity.to_string(), cause };
        let key = KeyPair::generate().map_err(refused)?;
        let params = leaf(identity, validity).map_err(refused)?;
        let cert_pem = params.signed_by(&key, &self.issuer).map_err(refused)?.pem();
        Ok(Issued { cert_pem, key_pem: key.serialize_pem() })
    }

    /// What one coordinator signs agents' certificates with: nobody believes anything else from it.
    fn issue_issuer(&self, coordinator: &Identity) -> Result<Issued, CaError> {
        let subject = format!("slot agents of {} by {coordinator}", self.membership.cluster_id);
        let refused = |cause| CaError::Certificate { subject: subject.clone(), cause };
        let key = KeyPair::generate().map_err(refused)?;
        let mut params = CertificateParams::new(Vec::new()).map_err(refused)?;
        params.distinguished_name = common_name(&subject);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName(AGENTS_DOMAIN.into())],
            excluded_subtrees: Vec::new(),
        });
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, CA_VALIDITY);
        let cert_pem = params.signed_by(&key, &self.issuer).map_err(refused)?.pem();
        Ok(Issued { cert_pem, key_pem: key.serialize_pem() })
    }
}

/// A certificate for an identity, as it is signed by the CA or by an issuer below it.
pub(crate) fn leaf(identity: &Identity, validity: Duration) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(vec![identity.dns_name()])?;
    params.subject_alt_names.push(SanType::URI(identity.uri().try_into()?));
    params.distinguished_name = common_name(&identity.to_string());
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    set_validity(&mut params, validity);
    Ok(params)
}

fn common_name(text: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, text);
    name
}

fn set_validity(params: &mut CertificateParams, validity: Duration) {
    let now = SystemTime::now();
    params.not_before = (now - CLOCK_SKEW).into();
    params.not_after = (now + validity).into();
}

/// What `init_cluster` made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Initialized {
    /// The cluster.
    pub membership: Membership,
    /// The folder with the CA's key, which stays with the initiator.
    pub ca: PathBuf,
    /// One folder for each identity, to be brought to its machine or person.
    pub folders: BTreeMap<PathBuf, Identity>,
}

/// Makes a cluster's CA and one identity folder for everybody under `dir`. Refuses when `dir` has a CA or any of the
/// folders already, and changes nothing then.
pub fn init_cluster(
    dir: &Path,
    cluster: &ClusterName,
    coordinators: &BTreeMap<CoordinatorName, SocketAddr>,
    agents: &[HostName],
    front_ends: &[FrontEndName],
    operators: &[OperatorName],
    clients: &[ClientName],
) -> Result<Initialized, CaError> {
    if coordinators.is_empty() {
        return Err(CaError::NoCoordinator);
    }
    let given = operators.iter().collect::<BTreeSet<_>>().len();
    if given < OPERATORS_MIN {
        return Err(CaError::Operators { given });
    }
    let mut identities = BTreeSet::new();
    for (role, names) in [
        (Role::Coordinator, coordinators.keys().map(|n| n.as_str()).collect::<Vec<_>>()),
        (Role::Agent, agents.iter().map(|n| n.as_str()).collect()),
        (Role::FrontEnd, front_ends.iter().map(|n| n.as_str()).collect()),
        (Role::Operator, operators.iter().map(|n| n.as_str()).collect()),
        (Role::Client, clients.iter().map(|n| n.as_str()).collect()),
    ] {
        for name in names {
            identities.insert(Identity::new(role, name)?);
        }
    }
    let ca = dir.join(CA_FOLDER);
    if exists(&ca)? {
        return Err(CaError::CaExists { path: ca });
    }
    let folders: BTreeMap<PathBuf, Identity> =
        identities.into_iter().map(|identity| (dir.join(identity.folder_name()), identity)).collect();
    for path in folders.keys() {
        if exists(path)? {
            return Err(FolderError::Exists { path: path.clone() }.into());
        }
    }
    let mut bytes = [0; 16];
    tls::provider().secure_random.fill(&mut bytes).map_err(|_| CaError::Random)?;
    let membership = Membership::new(cluster.clone(), ClusterId(bytes), coordinators.clone());
    let initialized = Initialized { membership, ca, folders };
    fs::create_dir_all(dir).map_err(|cause| FolderError::Write { path: dir.to_path_buf(), cause })?;
    let staging = dir.join(format!(".init-{}", initialized.membership.cluster_id));
    let outcome = build(&staging, &initialized).and_then(|()| put_in_place(&staging, &initialized));
    // Empty after success; after a failure it holds keys that nobody will use. What is left behind harms nothing.
    let _ = fs::remove_dir_all(&staging);
    outcome?;
    folder::sync_folder(dir)?;
    Ok(initialized)
}

fn exists(path: &Path) -> Result<bool, FolderError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(cause) => Err(FolderError::Read { path: path.to_path_buf(), cause }),
    }
}

fn build(staging: &Path, wanted: &Initialized) -> Result<(), CaError> {
    folder::make_folder(staging)?;
    let (ca, ca_key_pem) = Ca::generate(wanted.membership.clone())?;
    let ca_folder = staging.join(CA_FOLDER);
    folder::make_folder(&ca_folder)?;
    folder::write_new(&ca_folder.join(CA_FILE), &ca.ca_pem)?;
    folder::write_new(&ca_folder.join(CA_KEY_FILE), &ca_key_pem)?;
    folder::write_new(&ca_folder.join(MEMBERSHIP_FILE), &wanted.membership.to_json())?;
    for identity in wanted.folders.values() {
        ca.make_identity_folder(&staging.join(identity.folder_name()), identity)?;
    }
    Ok(())
}

/// Moves the finished folders out of the staging folder, the CA's first: of two that run at the same time, the one that
/// comes second fails there, since a folder with something in it is not replaced, and has moved nothing.
fn put_in_place(staging: &Path, wanted: &Initialized) -> Result<(), CaError> {
    let occupied = |cause: &std::io::Error| {
        matches!(cause.kind(), std::io::ErrorKind::DirectoryNotEmpty | std::io::ErrorKind::AlreadyExists)
    };
    match fs::rename(staging.join(CA_FOLDER), &wanted.ca) {
        Ok(()) => {}
        Err(cause) if occupied(&cause) => return Err(CaError::CaExists { path: wanted.ca.clone() }),
        Err(cause) => return Err(FolderError::Write { path: wanted.ca.clone(), cause }.into()),
    }
    for (path, identity) in &wanted.folders {
        fs::rename(staging.join(identity.folder_name()), path)
            .map_err(|cause| FolderError::Write { path: path.clone(), cause })?;
    }
    Ok(())
}
