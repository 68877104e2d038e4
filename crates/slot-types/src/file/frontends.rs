//! `[frontends]`: machines that render maps.
//!
//! What always holds: every front end has an address nobody else has and renders at least one map, each named once.

use super::expand::{self, Entry};
use super::{AGENT_PORT, Addresses, Fault, FileProblem};
use crate::front_end::{FrontEndSpec, MAPS_MAX};
use crate::ids::{FrontEndName, HostName, MapName};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use toml::Spanned;

/// The most front ends in one cluster.
pub const FRONT_ENDS_MAX: usize = 100;

/// One line of the table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawFrontEnd {
    address: Option<Spanned<String>>,
    render: Option<Spanned<Vec<Spanned<String>>>>,
}

/// The table, ranges expanded.
pub(super) fn read(
    table: &expand::Ranges<RawFrontEnd>,
    hosts: impl Fn(&HostName) -> bool,
    taken: &mut Addresses,
) -> Result<BTreeMap<FrontEndName, FrontEndSpec>, Fault> {
    let mut front_ends = BTreeMap::new();
    for entry in &expand::entries(table, "front ends", FRONT_ENDS_MAX)? {
        let named = |detail| (entry.span.clone(), FileProblem::Name { what: "front end", detail });
        let name = FrontEndName::new(entry.name.as_str()).map_err(|e| named(e.to_string()))?;
        if HostName::new(entry.name.as_str()).is_ok_and(|host| hosts(&host)) {
            return Err(named(format!("{name} is a host too; give the front end a name of its own")));
        }
        front_ends.insert(name.clone(), one(entry, &name, taken)?);
    }
    Ok(front_ends)
}

fn one(entry: &Entry<'_, RawFrontEnd>, name: &FrontEndName, taken: &mut Addresses) -> Result<FrontEndSpec, Fault> {
    let missing = |field| (entry.span.clone(), FileProblem::Missing { of: format!("front end {name}"), field });
    let of = || format!("front end {name}");
    let address = entry.field(|f| f.address.as_ref()).ok_or_else(|| missing("address"))?;
    let number = expand::number_in(name.as_str());
    let parsed = expand::address(address.get_ref(), AGENT_PORT, number, None)
        .map_err(|detail| (address.span(), FileProblem::Address { of: of(), detail }))?;
    let parsed = taken.take(parsed, of(), address.span())?;
    let render = entry.field(|f| f.render.as_ref()).ok_or_else(|| missing("render"))?;
    let mut maps = BTreeSet::new();
    for map in render.get_ref() {
        let wrong = |detail| (map.span(), FileProblem::Value { what: "render", detail });
        let map_name = MapName::new(map.get_ref().as_str()).map_err(|e| wrong(e.to_string()))?;
        if !maps.insert(map_name.clone()) {
            return Err(wrong(format!("{map_name} is there twice")));
        }
    }
    if maps.is_empty() || maps.len() > MAPS_MAX {
        let detail = format!("name 1 to {MAPS_MAX} maps, as in [\"nginx-mail\"]");
        return Err((render.span(), FileProblem::Value { what: "render", detail }));
    }
    Ok(FrontEndSpec { address: parsed, render: maps })
}
