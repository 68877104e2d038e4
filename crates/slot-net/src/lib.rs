//! Mutual TLS, certificate identities, the role-by-RPC table, and failpoints at process edges.
//!
//! What always holds: no byte of a request is looked at before the other side proved by a TLS 1.3 certificate of this
//! cluster's CA who it is (S15); a request reaches a service only if the table in [`authz`] names its path and the
//! caller's role; a dialer talks to the one identity it asked for or to nobody; an existing key is never overwritten.

pub mod authz;
pub mod ca;
pub mod clock;
pub mod dial;
pub mod failpoint;
pub mod folder;
pub mod identity;
pub mod issuer;
pub mod logging;
pub mod process;
pub mod server;
mod tls;
pub mod token;

pub use ca::{Ca, CaError, Initialized, init_cluster};
pub use clock::{boot_id, boottime_ms};
pub use dial::{DialError, Dialer};
pub use folder::{FolderError, IdentityFolder, MEMBERSHIP_FORMAT, Membership};
pub use identity::{Identity, IdentityError, Role};
pub use issuer::{AgentIssuer, Asking, IssuerError};
pub use server::{PeerInfo, ServeError, identity_of, peer_of, serve};
pub use token::{Arrival, Token};

/// The largest message a service or a client decodes, in bytes; services and clients set it on both sides.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
