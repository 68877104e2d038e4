//! `service-groups`.

use crate::offline::Loaded;
use serde::Serialize;

/// Which hosts may be down together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Groups {
    /// Hosts by group, in an order in which they may be taken.
    pub groups: Vec<Vec<String>>,
    /// Hosts that may not be down at all.
    pub never: Vec<Never>,
}

/// A host that may not be down.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Never {
    /// Which.
    pub host: String,
    /// A store whose only live copy is there.
    pub store: String,
}

/// Answers.
pub fn groups(loaded: &Loaded) -> Groups {
    let found = slot_planner::layout::groups::groups(&loaded.fleet, &loaded.layout);
    let never = |(host, store): &(u32, u32)| Never {
        host: loaded.host(*host).to_owned(),
        store: loaded.store(*store).to_owned(),
    };
    Groups {
        groups: found.groups.iter().map(|group| group.iter().map(|h| loaded.host(*h).to_owned()).collect()).collect(),
        never: found.never.iter().map(never).collect(),
    }
}
