//! `offline`: plans and answers for a fleet in a file.
//!
//! What always holds: the file that was read is never written to; what is written is written whole, all of it or none, before anything
//! is printed; of a snapshot the planner of the cluster is asked, so that a plan is the one its leader would make.

mod cluster;
mod explain;
mod fleet;
mod left;

pub use cluster::Planned;
pub use fleet::{Look, Stats};
pub use left::{AllLeft, Asked};

use super::asks::{print, put_wrongly, unwritable};
use crate::args::{Anywhere, Format, Input, Offline};
use crate::asks;
use crate::client::Task;
use crate::console::Console;
use crate::failure::{Exit, Failure};
use crate::json::{self, Document, Of, Schema};
use crate::offline::writing::{Readers, Writing};
use crate::offline::{Loaded, Source, htools, snapshot};
use crate::text;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Carries `offline` out.
pub fn offline(what: Offline, console: &mut Console) -> Result<Exit, Failure> {
    match &what {
        Offline::Rebalance { files, budget } => plan(&what, ("rebalance", files, budget), console),
        Offline::Fill { files, budget, .. } => plan(&what, ("fill", files, budget), console),
        Offline::Drain { files, budget, .. } => plan(&what, ("drain", files, budget), console),
        Offline::Place { files, budget, .. } => plan(&what, ("place", files, budget), console),
        Offline::Risk { input } => risk(input, console),
        Offline::Explain { input, what } => explain::explain(&named(input)?, what, console),
        Offline::ServiceGroups { input } => {
            let loaded = read(&input.from, input.format)?;
            answer(input, (Schema::ServiceGroups, &asks::groups(&loaded), of(&loaded)), text::asks::groups, console)
        }
        Offline::Capacity { input, ask } => {
            let loaded = read(&input.from, input.format)?;
            let task = Task::look("count the room of", input.from.display());
            let room = asks::capacity(&loaded, ask).map_err(|why| put_wrongly(&task, &why))?;
            answer(input, (Schema::Capacity, &room, of(&loaded)), text::asks::capacity, console)
        }
        Offline::Whatif { input, change } => {
            let input = &named(input)?;
            let loaded = read(&input.from, input.format)?;
            let task = Task::look("say what would be of", input.from.display());
            let then = asks::whatif(&loaded, change).map_err(|why| put_wrongly(&task, &why))?;
            answer(input, (Schema::Whatif, &then, of(&loaded)), text::asks::whatif, console)
        }
    }
}

fn plan(
    what: &Offline,
    how: (&'static str, &crate::args::Files, &crate::args::Budget),
    console: &mut Console,
) -> Result<Exit, Failure> {
    let files = how.1;
    let outputs = [&files.out, &files.json, &files.moves].into_iter().flatten().map(PathBuf::as_path);
    Writing::look(&files.from, outputs).map_err(unwritable)?;
    let loaded = read(&files.from, files.format)?;
    match &loaded.source {
        Source::Htools(_) => fleet::plan(&loaded, what, how, console),
        Source::Snapshot { view, .. } => cluster::plan(&loaded, view, what, how, console),
    }
}

fn read(from: &Path, format: Format) -> Result<Loaded, Failure> {
    let (read, next) = match format {
        Format::Htools => (
            htools::read(from).map_err(|error| error.to_string()),
            "give a file in Ganeti's htools text format, as `gnt-…` or `hscan` write it, or say --format snapshot",
        ),
        Format::Snapshot => (
            snapshot::read(from).map_err(|error| error.to_string()),
            "give a file that this version's slotctl snapshot --out FILE wrote",
        ),
    };
    read.map_err(|cause| Failure::new("read", from.display().to_string(), cause, next))
}

/// A file that must be said.
fn named(input: &Anywhere) -> Result<Input, Failure> {
    input.named().ok_or_else(|| Failure::new("read", "a fleet", "no file is named", "say which: --from FILE").usage())
}

/// Of what an answer from a file is.
fn of(loaded: &Loaded) -> Of {
    let revision = match &loaded.source {
        Source::Htools(_) => None,
        Source::Snapshot { view, .. } => Some(view.revision),
    };
    Of { revision, confirmed: None }
}

fn answer<T: Serialize>(
    input: &Input,
    (schema, answer, of): (Schema, &T, Of),
    say: impl Fn(&T) -> String,
    console: &mut Console,
) -> Result<Exit, Failure> {
    also(input, &json::answer(schema, answer, of))?;
    Ok(print(console, (schema, answer, of), say))
}

/// Writes the document where `--json` says.
fn also(input: &Input, document: &Document) -> Result<(), Failure> {
    let Some(path) = &input.json else { return Ok(()) };
    Writing::look(&input.from, [path.as_path()]).map_err(unwritable)?;
    let mut writing = Writing::default();
    let put = writing.put(path, format!("{document}\n").as_bytes(), Readers::Anybody);
    put.and_then(|()| writing.finish()).map_err(unwritable)
}

fn risk(input: &Input, console: &mut Console) -> Result<Exit, Failure> {
    let loaded = read(&input.from, input.format)?;
    let Source::Snapshot { view, .. } = &loaded.source else {
        return answer(input, (Schema::OfflineRisk, &asks::risk(&loaded), of(&loaded)), text::asks::risk, console);
    };
    let (risks, pairs) = (cluster::risks(view), asks::pairs(&loaded));
    let document = json::risks(&risks, &pairs, None);
    also(input, &document)?;
    if console.json {
        console.document(&document);
    } else {
        console.text(&text::risk::table(&risks, &pairs, None));
    }
    Ok(Exit::Done)
}

/// The names of hosts that are named one by one, or by their racks.
fn hosts(loaded: &Loaded, operation: &str, hosts: &[String], racks: &[String]) -> Result<Vec<String>, Failure> {
    let (mut all, mut in_racks) = (Vec::new(), racks.to_vec());
    for name in hosts {
        match name.starts_with("rack:") && loaded.number(name).is_none() {
            true => in_racks.push(name.clone()),
            false => all.push(name.clone()),
        }
    }
    for rack in &in_racks {
        let within = loaded.within(rack);
        if within.is_empty() {
            let cause = "the file has no rack of this name";
            return Err(Failure::new(operation, rack, cause, "name a rack of the file, or its hosts: --host A,B"));
        }
        all.extend(within.into_iter().map(|host| loaded.host(host).to_owned()));
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// A host that the file has not.
fn wrong(operation: &str, name: &str) -> Failure {
    Failure::new(operation, name, "the file has no host of this name", "name a host of the file")
}
