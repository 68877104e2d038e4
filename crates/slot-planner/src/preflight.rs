//! Before hosts are drained: whether they could be emptied too, and if not, whose copies would find no room and how large they are.
//!
//! What always holds: it is what the emptying itself would say now, since that is asked.

use crate::copies;
use crate::refusal::{DrainBlock, Refusal};
use crate::sheet;
use crate::view::View;
use slot_types::ids::*;
use slot_types::render::size;
use std::collections::{BTreeMap, BTreeSet};

/// So many stores are named.
const NAMES_MAX: usize = 20;

/// Why these hosts can't be emptied now, for a person; [`None`] when they can.
pub(crate) fn not_emptied(view: &View<'_>, off: &BTreeSet<HostName>) -> Option<String> {
    match copies::empty(view, off) {
        Ok(_) => None,
        Err(Refusal::Drain { because, .. }) => Some(no_room(view, &because)),
        Err(refusal) => Some(refusal.to_string().replace('\n', " ")),
    }
}

/// `2 stores of 300 GB in all find no room elsewhere: store4 (100 GB), store7 (200 GB)`.
fn no_room(view: &View<'_>, because: &BTreeMap<StoreName, DrainBlock>) -> String {
    let bytes = |name: &StoreName| view.cluster.stores.get(name).map_or(0, |store| view.copy_bytes(name, &store.spec));
    let (full, other): (Vec<_>, Vec<_>) =
        because.iter().partition(|(_, block)| matches!(block, DrainBlock::NoRoom { .. }));
    let mut said = Vec::new();
    if !full.is_empty() {
        let all: u64 = full.iter().map(|(name, _)| bytes(name)).sum();
        let named = full.iter().take(NAMES_MAX).map(|(name, _)| format!("{name} ({})", size(bytes(name))));
        let mut named: Vec<String> = named.collect();
        let more = full.len().saturating_sub(NAMES_MAX);
        named.extend((more > 0).then(|| format!("and {more} more")));
        let stores = sheet::count(full.len(), "store", "stores");
        let find = if full.len() == 1 { "finds" } else { "find" };
        said.push(format!("{stores} of {} in all {find} no room elsewhere: {}", size(all), named.join(", ")));
    }
    if let Some((name, block)) = other.first() {
        let more = sheet::count(other.len(), "store", "stores");
        said.push(format!("{more} can't leave for another reason, {name} since {block}").replace('\n', " "));
    }
    said.join("; ")
}
