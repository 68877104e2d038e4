//! `offline explain`.
//!
//! What always holds: of a snapshot what the leader would have said; of a file of htools, which says nothing of what runs, why copies are where
//! they are, by the rank that places them in both.

use super::super::asks::print;
use super::{also, cluster, fleet, of, read};
use crate::args::{ExplainOf, Input};
use crate::asks::{Placement, explain as placed};
use crate::console::Console;
use crate::failure::{Exit, Failure};
use crate::json::{self, Schema};
use crate::offline::{Loaded, Source};
use crate::text;
use slot_types::view::{ExplainView, SnapshotView, View};

/// Explains a store, a slot or a plan.
pub(super) fn explain(input: &Input, what: &ExplainOf, console: &mut Console) -> Result<Exit, Failure> {
    let loaded = read(&input.from, input.format)?;
    match &loaded.source {
        Source::Snapshot { view, .. } => of_a_snapshot(input, (&loaded, view), what, console),
        Source::Htools(_) => {
            let explained = of_a_file(&loaded, input, what)?;
            also(input, &json::answer(Schema::OfflineExplain, &explained, of(&loaded)))?;
            Ok(print(console, (Schema::OfflineExplain, &explained, of(&loaded)), text::placement::placement))
        }
    }
}

fn of_a_file(loaded: &Loaded, input: &Input, what: &ExplainOf) -> Result<Placement, Failure> {
    match what {
        ExplainOf::Plan { what } => {
            let (operation, budget, asked) = what.offline(input);
            let subject = input.from.display().to_string();
            let goal = fleet::goal(loaded, &asked, operation, &subject)?;
            let checked = fleet::solved(loaded, &goal, &fleet::wish(&budget), (operation, &subject))?;
            Ok(placed::plan(loaded, &fleet::wanted(loaded, &goal), operation, checked.outcome()))
        }
        ExplainOf::Store { store } => placed::store(loaded, store).ok_or_else(|| {
            Failure::new("explain", store, "the file has no store of this name", "name one that it has")
        }),
        ExplainOf::Slot { slot } => {
            let cause = "a file of htools has no slots: a host holds what its disk has room for";
            Err(Failure::new("explain", slot.to_string(), cause, "ask about a store: explain store NAME").usage())
        }
    }
}

fn of_a_snapshot(
    input: &Input,
    (loaded, view): (&Loaded, &SnapshotView),
    what: &ExplainOf,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let explained: ExplainView = match what {
        ExplainOf::Plan { what } => match cluster::explain_plan(loaded, view, &what.offline(input))? {
            Ok(explained) => explained,
            Err(nothing) => {
                let document = json::nothing_to_do("explain plan", &input.from.display().to_string(), &nothing, None);
                also(input, &document)?;
                match console.json {
                    true => console.document(&document),
                    false => console.text(&text::layout::wrap("", &format!("nothing to do: {nothing}"))),
                }
                return Ok(Exit::Done);
            }
        },
        ExplainOf::Store { store } => cluster::explain_store(view, store).ok_or_else(|| no_such(store))?,
        ExplainOf::Slot { slot } => cluster::explain_slot(view, slot).ok_or_else(|| no_such(&slot.to_string()))?,
    };
    let document = json::view(&View::Explain(Box::new(explained.clone())), false);
    also(input, &document)?;
    if console.json {
        console.document(&document);
    } else {
        console.text(&text::explain::explain(&explained));
    }
    Ok(Exit::Done)
}

fn no_such(subject: &str) -> Failure {
    Failure::new("explain", subject, "the snapshot has no such thing", "name a store or a slot that it has")
}
