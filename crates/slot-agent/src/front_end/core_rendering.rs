//! One rendering after the other, deed by deed, without I/O.
//!
//! What always holds: a table is durable as begun before the first map is touched by it, so that a front end that dies in
//! between comes back with that table and with no older one; every map is tried, whatever fails; a map is reloaded until its
//! reload ended well; a table is acknowledged only if everything went well.

use slot_planted::planted;
use slot_types::front_end::RouteTable;
use slot_types::ids::{MapName, Revision};
use std::collections::{BTreeSet, VecDeque};

/// What is to be done next for a rendering; answer with [`Renderer::done`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Make the table durable: its maps are about to be written.
    Begin,
    /// Render a map and put it in place where it differs from what is there.
    Write(MapName),
    /// Run what makes a map be read.
    Reload(MapName),
    /// Make the table durable as the one that is served.
    Acknowledge,
}

/// How it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// With this.
    Deed(Deed),
    /// Not at all: the rendering is over.
    Over(Result<(), String>),
}

struct Rendering {
    age: (u32, Revision),
    maps: VecDeque<MapName>,
    deed: Deed,
    faults: Vec<String>,
}

/// See the module's documentation.
pub struct Renderer {
    /// Maps whose reload is not known to have followed what is in the file.
    dirty: BTreeSet<MapName>,
    /// The newest table that is durable as begun.
    begun: Option<(u32, Revision)>,
    under_way: Option<Rendering>,
}

impl Renderer {
    /// A renderer of these maps; `begun` is the newest table that is durable. What was reloaded before is not known.
    pub fn new(maps: impl Iterator<Item = MapName>, begun: Option<(u32, Revision)>) -> Self {
        Self { dirty: maps.collect(), begun, under_way: None }
    }

    /// Begins to render a table. One that was not over is forgotten.
    pub fn begin(&mut self, table: &RouteTable) -> Deed {
        let is_kept = self.begun.is_some_and(|begun| begun >= table.age()) || planted("adr22-begun-not-kept");
        let mut rendering = Rendering {
            age: table.age(),
            maps: table.render.iter().cloned().collect(),
            deed: Deed::Begin,
            faults: Vec::new(),
        };
        if is_kept {
            rendering.deed = rendering.next_map();
        }
        let deed = rendering.deed.clone();
        self.under_way = Some(rendering);
        deed
    }

    /// The deed is done, or why not; of a map that was to be written, whether it changed.
    pub fn done(&mut self, result: Result<bool, String>) -> Next {
        let Some(mut rendering) = self.under_way.take() else { return Next::Over(Err("nothing is rendered".into())) };
        let deed = match (rendering.deed.clone(), result) {
            // Nothing was touched yet, and nothing is: what can't be kept is not begun.
            (Deed::Begin | Deed::Acknowledge, Err(why)) => return Next::Over(Err(why)),
            (Deed::Begin, Ok(_)) => {
                self.begun = Some(rendering.age);
                rendering.next_map()
            }
            (Deed::Write(map), Ok(changed)) => {
                if changed {
                    self.dirty.insert(map.clone());
                }
                if self.dirty.contains(&map) { Deed::Reload(map) } else { rendering.next_map() }
            }
            (Deed::Reload(map), Ok(_)) => {
                self.dirty.remove(&map);
                rendering.next_map()
            }
            (Deed::Reload(_), Err(_)) if planted("adr22-failed-reload-acknowledged") => rendering.next_map(),
            (Deed::Write(map) | Deed::Reload(map), Err(why)) => {
                rendering.faults.push(format!("{map}: {why}"));
                rendering.next_map()
            }
            (Deed::Acknowledge, Ok(_)) => return Next::Over(Ok(())),
        };
        if deed == Deed::Acknowledge && !rendering.faults.is_empty() {
            return Next::Over(Err(rendering.faults.join("; ")));
        }
        rendering.deed = deed.clone();
        self.under_way = Some(rendering);
        Next::Deed(deed)
    }
}

impl Rendering {
    fn next_map(&mut self) -> Deed {
        self.maps.pop_front().map_or(Deed::Acknowledge, Deed::Write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slot_types::ids::ClusterId;
    use std::collections::BTreeMap;

    fn table(revision: u64) -> RouteTable {
        RouteTable {
            cluster: ClusterId([1; 16]),
            generation: 0,
            revision: Revision(revision),
            front_end: "fe1".parse().unwrap(),
            render: ["haproxy", "json"].map(|map| map.parse().unwrap()).into(),
            routes: BTreeMap::new(),
        }
    }

    /// Renders with these results, the deeds in the order in which they are asked for; how it ends.
    fn deeds(renderer: &mut Renderer, table: &RouteTable, results: &[Result<bool, &str>]) -> (Vec<String>, String) {
        let (mut said, mut deed) = (Vec::new(), renderer.begin(table));
        for result in results {
            said.push(match &deed {
                Deed::Write(map) => format!("write {map}"),
                Deed::Reload(map) => format!("reload {map}"),
                other => format!("{other:?}"),
            });
            match renderer.done(result.map_err(String::from)) {
                Next::Deed(next) => deed = next,
                Next::Over(end) => return (said, format!("{end:?}")),
            }
        }
        panic!("no end after {said:?}")
    }

    fn renderer(begun: Option<u64>) -> Renderer {
        Renderer::new(table(1).render.into_iter(), begun.map(|revision| (0, Revision(revision))))
    }

    #[test]
    fn a_table_is_kept_as_begun_before_its_maps_and_acknowledged_after_them() {
        let mut renderer = renderer(None);
        let (said, end) = deeds(&mut renderer, &table(5), &[Ok(true); 6]);
        let all = ["Begin", "write haproxy", "reload haproxy", "write json", "reload json", "Acknowledge"];
        assert_eq!((said, end.as_str()), (all.map(String::from).to_vec(), "Ok(())"));
        // The same table once more, as when a store begins to move: nothing is to be kept, and only what changed is reloaded.
        let (said, end) = deeds(&mut renderer, &table(5), &[Ok(false), Ok(true), Ok(true), Ok(true)]);
        let changed = ["write haproxy", "write json", "reload json", "Acknowledge"];
        assert_eq!((said, end.as_str()), (changed.map(String::from).to_vec(), "Ok(())"));
    }

    #[test]
    fn a_reload_that_failed_is_run_again_though_the_map_is_there() {
        let mut renderer = renderer(Some(5));
        let tried = [Ok(true), Err("exit code 1"), Ok(true), Ok(true)];
        let (said, end) = deeds(&mut renderer, &table(5), &tried);
        assert_eq!(
            said.last().map(String::as_str),
            Some("reload json"),
            "the other map is tried, and nothing acknowledged"
        );
        assert!(end.contains("haproxy: exit code 1"), "{end}");
        let (said, _) = deeds(&mut renderer, &table(5), &[Ok(false), Ok(true), Ok(false), Ok(true)]);
        assert_eq!(said, ["write haproxy", "reload haproxy", "write json", "Acknowledge"]);
    }

    #[test]
    fn what_cannot_be_kept_is_not_begun() {
        let mut renderer = renderer(Some(4));
        assert_eq!(
            deeds(&mut renderer, &table(5), &[Err("no space")]),
            (vec!["Begin".into()], r#"Err("no space")"#.into())
        );
        assert_eq!(deeds(&mut renderer, &table(4), &[Ok(false); 5]).0[0], "write haproxy", "the older one was begun");
    }
}
