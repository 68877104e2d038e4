//! Front ends: what they serve, and which of them a person should look at.

use super::Fleet;
use slot_types::evidence::Seen;
use slot_types::front_end::FrontEndSeen;
use slot_types::ids::*;
use slot_types::view::{FrontEndLine, Trouble};

/// One that was not reached for longer than a few tries take is told of.
const LOST_MS: u64 = 10_000;

impl Fleet<'_> {
    pub(super) fn front_ends(&self) -> Vec<FrontEndLine> {
        let routes = self.cluster.stores.values().filter_map(|store| store.route.as_ref());
        let newest = routes.map(|route| route.revision).max().unwrap_or_default();
        let generation = self.cluster.generation;
        let line = |(name, spec): (&FrontEndName, &slot_types::front_end::FrontEndSpec)| {
            let seen = match self.eyes.evidence.front_ends.get(name) {
                Some(seen) => seen.clone(),
                None if self.eyes.leads => Seen::Unknown { reason: "not heard by this leader yet".into() },
                None => Seen::Unknown { reason: "only the leader hears front ends".into() },
            };
            FrontEndLine {
                front_end: name.clone(),
                address: spec.address,
                render: spec.render.clone(),
                serves_all: seen.value().is_some_and(|seen| seen.serves(generation, newest)),
                seen,
            }
        };
        self.cluster.front_ends.iter().map(line).collect()
    }

    /// Front ends that say that they can't, or that nobody reaches.
    pub(super) fn front_ends_in_trouble(&self, all: &mut Vec<Trouble>) {
        for line in self.front_ends() {
            let (what, hurts) = match &line.seen {
                Seen::Known { value: FrontEndSeen { acknowledged, problem: Some(why) }, age_ms }
                    if *age_ms > LOST_MS || !why.starts_with("not reached") =>
                {
                    let at = acknowledged.map_or("no revision".to_string(), |(_, at)| format!("revision {at}"));
                    let hurts = match line.serves_all {
                        true => "nobody yet: it serves every route as it is now".to_string(),
                        false => "clients that come through it go where routes pointed before".to_string(),
                    };
                    (format!("serves {at} and no newer one: {why}"), hurts)
                }
                Seen::Unknown { reason } if reason.starts_with("not reached") => {
                    (reason.clone(), "clients that come through it go where routes pointed before".to_string())
                }
                _ => continue,
            };
            all.push(Trouble {
                subject: format!("front end {}", line.front_end),
                what,
                hurts: vec![hurts],
                seen: Vec::new(),
                next: format!(
                    "see to its slot-agent at {}; or take its line out of cluster.toml: slotctl apply -f cluster.toml",
                    line.address
                ),
            });
        }
    }
}
