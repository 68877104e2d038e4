//! Starting: from a folder and a disk to everything that is needed to run, or to an error that says what to do.
//!
//! What always holds: nothing is written before identity and membership are checked; a node's disk is written first once
//! only, and belongs to one node of one cluster; a node id is the place of the coordinator's name among all names.

use super::Members;
use super::peers::Acquaintances;
use crate::core::{CoreConfig, StartError};
use slot_net::{AgentIssuer, FolderError, IdentityFolder, IssuerError, Role, ServeError};
use slot_raft::store::{LogStore, RedbStore, StoreError};
use slot_raft::{NodeMarker, RaftConfig, Restored};
use slot_types::ids::{CoordinatorName, IdError};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;

/// The raft log's file below the data folder.
const STORE_FILE: &str = "raft.redb";
/// Where the other coordinators' disks are noted.
const PEERS_FOLDER: &str = "peers";

/// What a person gives `slotd`.
#[derive(Debug, Clone)]
pub struct Options {
    /// The identity folder.
    pub folder: PathBuf,
    /// The data folder.
    pub dir: PathBuf,
    /// Where to listen, if not where the membership says.
    pub listen: Option<SocketAddr>,
}

/// Why `slotd` did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    /// Not said where.
    #[error("starting slotd: --folder and --dir are both needed; slotd --help says what they are")]
    Folders,
    /// The identity folder can't be used.
    #[error("loading the identity folder: {0}")]
    Folder(#[from] FolderError),
    /// What it issues agents' certificates with can't be used.
    #[error("loading the issuer for hosts that join: {0}")]
    Issuer(#[from] IssuerError),
    /// The folder is somebody else's.
    #[error("starting slotd with {folder}: it is the folder of {identity}; give the folder of a coordinator")]
    NotACoordinator {
        /// The folder.
        folder: PathBuf,
        /// Whose it is.
        identity: String,
    },
    /// A name in it is none.
    #[error("reading the identity: {0}")]
    Name(#[from] IdError),
    /// This coordinator is not one of the cluster's.
    #[error("starting coordinator {name}: {folder}/cluster.json does not name it; add it there or use another folder")]
    NotAMember {
        /// This coordinator.
        name: CoordinatorName,
        /// The folder.
        folder: PathBuf,
    },
    /// The data folder can't be used.
    #[error("preparing the data folder {dir}: {cause}; check its owner and permissions, or give another --dir")]
    Dir {
        /// The folder.
        dir: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The raft log can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The state can't be used.
    #[error("starting from the raft log: {0}")]
    Core(#[from] StartError),
    /// A backup can't be restored.
    #[error("restoring {file}: {why}; nothing was written")]
    Backup {
        /// The file.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// The address can't be had.
    #[error("listening on {address}: {cause}; stop what else uses it, or give another --listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A thread could not be started.
    #[error("starting the disk thread: {0}; check the limit on processes")]
    Thread(#[source] io::Error),
    /// Serving ended.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// Everything that is needed to run.
pub struct Prepared {
    pub(super) folder: IdentityFolder,
    pub(super) issuer: Option<AgentIssuer>,
    pub(super) config: CoreConfig,
    pub(super) store: RedbStore,
    pub(super) restored: Restored,
    pub(super) marker: NodeMarker,
    pub(super) acquaintances: Arc<Acquaintances>,
    pub(super) listener: TcpListener,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Prepared {
    /// What was found, for a person.
    pub fn summary(&self) -> String {
        format!(
            "coordinator {} of cluster {} ({} coordinators), raft log to entry {}, listening on {}",
            self.config.node,
            self.config.cluster,
            self.config.members.len(),
            self.restored.last_index(),
            self.address
        )
    }
}

/// Whose folder it is, and its place among the coordinators.
pub(super) struct Identified {
    pub folder: IdentityFolder,
    pub node: CoordinatorName,
    pub node_id: u64,
    pub members: Members,
    advertised: SocketAddr,
}

/// Checks the identity, and makes the data folder.
pub(super) fn identify(options: &Options) -> Result<Identified, StartupError> {
    let folder = IdentityFolder::load(&options.folder)?;
    let identity = folder.identity();
    if identity.role() != Role::Coordinator {
        let identity = identity.to_string();
        return Err(StartupError::NotACoordinator { folder: options.folder.clone(), identity });
    }
    let node = CoordinatorName::new(identity.name())?;
    let membership = folder.membership();
    let members: Members = (1..).zip(membership.coordinators.iter().map(|(n, a)| (n.clone(), *a))).collect();
    let place = members.iter().find(|(_, (name, _))| *name == node).map(|(id, (_, address))| (*id, *address));
    let Some((node_id, advertised)) = place else {
        return Err(StartupError::NotAMember { name: node, folder: options.folder.clone() });
    };
    let dir_error = |cause| StartupError::Dir { dir: options.dir.clone(), cause };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&options.dir).map_err(dir_error)?;
    Ok(Identified { folder, node, node_id, members, advertised })
}

/// Where a coordinator's log lies.
pub(super) fn store_path(options: &Options) -> PathBuf {
    options.dir.join(STORE_FILE)
}

/// Checks and opens everything.
pub async fn prepare(options: &Options) -> Result<Prepared, StartupError> {
    let Identified { folder, node, node_id, members, advertised } = identify(options)?;
    let issuer = AgentIssuer::load(&options.folder)?;
    let membership = folder.membership();
    let dir_error = |cause| StartupError::Dir { dir: options.dir.clone(), cause };
    let voters: Vec<u64> = members.keys().copied().collect();
    let mut store = open_store(options, membership.cluster_id.0.to_vec(), node_id, &voters)?;
    let restored = store.load()?;
    let marker = store.marker().clone();
    let config = CoreConfig {
        cluster: membership.cluster.clone(),
        cluster_id: membership.cluster_id,
        node,
        raft: RaftConfig::new(node_id, marker.incarnation),
        members,
        life: rand::random(),
        seed: rand::random(),
        snapshot_every: crate::core::SNAPSHOT_EVERY,
    };
    let acquaintances = Arc::new(Acquaintances::open(options.dir.join(PEERS_FOLDER)).map_err(dir_error)?);
    let address = options.listen.unwrap_or(advertised);
    let listener = TcpListener::bind(address).await.map_err(|cause| StartupError::Listen { address, cause })?;
    let address = listener.local_addr().map_err(|cause| StartupError::Listen { address, cause })?;
    Ok(Prepared { folder, issuer, config, store, restored, marker, acquaintances, listener, address })
}

fn open_store(options: &Options, cluster: Vec<u8>, node_id: u64, voters: &[u64]) -> Result<RedbStore, StoreError> {
    let path = store_path(options);
    if path.exists() {
        return RedbStore::open(&path, &cluster, node_id);
    }
    let marker = NodeMarker { cluster_id: cluster, node_id, incarnation: rand::random() };
    // Every first voter is given the same empty state; the first leader founds the cluster.
    RedbStore::create(&path, &marker, &Restored::bootstrap(voters, Vec::new()))
}
