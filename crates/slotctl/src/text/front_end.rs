//! Front ends in `status`.

use slot_types::evidence::Seen;
use slot_types::view::FrontEndLine;
use std::collections::BTreeMap;

/// `fe1, fe2 at revision 48211`, those at the same revision together.
pub(super) fn parts(lines: &[FrontEndLine]) -> Vec<String> {
    let mut at: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for line in lines {
        let where_at = match &line.seen {
            Seen::Known { value, .. } => match value.acknowledged {
                Some((_, revision)) if line.serves_all => format!("at revision {revision}"),
                Some((_, revision)) => format!("BEHIND at revision {revision}"),
                None => "SERVING NOTHING YET".into(),
            },
            Seen::Unknown { .. } => "(not known)".into(),
        };
        at.entry(where_at).or_default().push(line.front_end.as_str());
    }
    at.into_iter().map(|(at, names)| format!("{} {at}", names.join(", "))).collect()
}
