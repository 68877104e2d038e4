//! Front ends as `status` shows them.

use crate::evidence::Seen;
use crate::front_end::FrontEndSeen;
use crate::ids::*;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// One front end.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct FrontEndLine {
    /// Which.
    pub front_end: FrontEndName,
    /// Where its agent listens.
    pub address: SocketAddr,
    /// The maps it renders.
    pub render: BTreeSet<MapName>,
    /// What it serves, as it said last.
    pub seen: Seen<FrontEndSeen>,
    /// Whether it serves every route as it is now; unknown counts as no.
    pub serves_all: bool,
}
