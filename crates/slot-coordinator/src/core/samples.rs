//! What unit tests of the core begin with.
//!
//! What always holds: an admitted host that has booted once and was told nothing yet; a test says what is otherwise.

use slot_types::cluster::{Domain, Host, HostState};
use slot_types::fence::Device;
use slot_types::ids::*;
use std::collections::{BTreeMap, BTreeSet};

/// A host with disk 3, boot 4 and no slots.
pub(super) fn host() -> Host {
    Host {
        at: Domain(Vec::new()),
        address: "127.0.0.1:7420".parse().unwrap(),
        declared: HostState::Active,
        slots: BTreeMap::new(),
        incarnation: Some(Incarnation([3; 16])),
        boot: Some(BootId([4; 16])),
        quarantined: None,
        acknowledged: LogIndex(0),
        drained_masters: BTreeSet::new(),
        back_by: None,
        device: Device::default(),
        reboots: Vec::new(),
        weight: 1,
        version: 1,
    }
}
