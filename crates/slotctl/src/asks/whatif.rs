//! `whatif`.

use super::{CannotAnswer, Side};
use crate::args;
use crate::offline::Loaded;
use serde::Serialize;
use slot_planner::layout::whatif::{After, Change, after};
use slot_planner::layout::*;

/// The fleet as it would be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Whatif {
    /// What changes, in words.
    pub change: String,
    /// Each host then.
    pub hosts: Vec<HostThen>,
    /// Stores that then have no copy left, and had one.
    pub stops: Vec<String>,
    /// Stores that have no copy that runs as it is.
    pub stopped_before: Vec<String>,
    /// Stores that had more and have one copy left.
    pub single: Vec<String>,
    /// Copies that are gone or have to go and fit nowhere else.
    pub no_place: Vec<NoPlace>,
    /// Bytes that are copied to come there: hosts emptied, or everything made even on new ones.
    pub bytes_copied: u64,
    /// Masters that change their host.
    pub moves: u32,
    /// Before.
    pub figures_before: Side,
    /// Then.
    pub figures_after: Side,
}

/// A host then.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HostThen {
    /// Which.
    pub host: String,
    /// `active`, `draining`, `stopped`, `leaving`, `down` or `retired`.
    pub state: &'static str,
    /// Masters it has.
    pub masters_before: u32,
    /// Masters it would have.
    pub masters: u32,
    /// Load of its masters.
    pub load_before: u64,
    /// What that would be.
    pub load: u64,
    /// Bytes of its copies.
    pub bytes_before: u64,
    /// What they would be.
    pub bytes: u64,
    /// Bytes it could hold.
    pub bytes_max: u64,
    /// Bytes above that.
    pub bytes_over: u64,
}

/// A copy without a place.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NoPlace {
    /// Of which store.
    pub store: String,
    /// How large it is.
    pub size_bytes: u64,
}

fn numbers(loaded: &Loaded, names: &[String]) -> Result<Vec<u32>, CannotAnswer> {
    let number = |name: &String| loaded.number(name).ok_or_else(|| CannotAnswer::NoHost(name.clone()));
    let mut numbers = names.iter().map(number).collect::<Result<Vec<u32>, _>>()?;
    numbers.sort_unstable();
    numbers.dedup();
    Ok(numbers)
}

/// What a state is called.
pub(super) fn word(state: State) -> &'static str {
    match state {
        State::Active => "active",
        State::Draining => "draining",
        State::Stopped => "stopped",
        State::Leaving => "leaving",
        State::Down => "down",
        State::Retired => "retired",
    }
}

/// The change, with the numbers of its hosts, and in words.
fn change(loaded: &Loaded, asked: &args::Whatif) -> Result<(Change, String), CannotAnswer> {
    let one = |name: &String| loaded.number(name).ok_or_else(|| CannotAnswer::NoHost(name.clone()));
    let (is, are) = ("is", "are");
    let verb = |hosts: &[u32]| if hosts.len() == 1 { is } else { are };
    let words = |hosts: &[u32]| hosts.iter().map(|host| loaded.host(*host)).collect::<Vec<_>>().join(", ");
    Ok(match asked {
        args::Whatif::Down { hosts } => {
            let hosts = numbers(loaded, hosts)?;
            let text = format!("{} {} down", words(&hosts), verb(&hosts));
            (Change::Down(hosts), text)
        }
        args::Whatif::RemoveHost { hosts } => {
            let hosts = numbers(loaded, hosts)?;
            let text = format!("{} {} emptied and removed", words(&hosts), verb(&hosts));
            (Change::Remove(hosts), text)
        }
        args::Whatif::AddHost { like, count } => {
            let text = format!("{count} more like {like} {} added", if *count == 1 { is } else { are });
            (Change::Add { like: one(like)?, count: *count }, text)
        }
        args::Whatif::Resize { host, bytes } => {
            let text = format!("{host} holds {}", crate::text::layout::bytes(*bytes));
            (Change::Resize { host: one(host)?, bytes: *bytes }, text)
        }
        args::Whatif::GrowStores { by } => {
            (Change::Grow { per_mille: by * 10 }, format!("every store is {by} % larger"))
        }
    })
}

/// Answers.
pub fn whatif(loaded: &Loaded, asked: &args::Whatif) -> Result<Whatif, CannotAnswer> {
    let (change, text) = change(loaded, asked)?;
    let (fleet, layout) = (&loaded.fleet, &loaded.layout);
    let mut then = after(fleet, layout, &change);
    if then.fleet.active().next().is_none() {
        return Err(CannotAnswer::NoHostLeft);
    }
    let figures_before = Side::of(&figures(fleet, layout));
    let bytes_copied = settle(fleet, layout, &change, &mut then);
    let moved = |store: &u32| layout.master(fleet, *store) != then.layout.master(&then.fleet, *store);
    let no_place = |store: &u32| NoPlace {
        store: loaded.store(*store).to_owned(),
        size_bytes: then.fleet.stores[*store as usize].size,
    };
    let live = |host: &u32| *host != NOWHERE && fleet.hosts[*host as usize].is_readable();
    let lives = |store: &u32| layout.copies(fleet, *store).iter().any(live);
    let stores = 0..fleet.stores.len() as u32;
    Ok(Whatif {
        change: text,
        hosts: hosts(loaded, &then),
        stops: loaded.names(&then.stopped),
        stopped_before: loaded.names(&stores.filter(|store| !lives(store)).collect::<Vec<u32>>()),
        single: loaded.names(&then.on_one_copy),
        no_place: then.homeless.iter().map(no_place).collect(),
        bytes_copied,
        moves: (0..fleet.stores.len() as u32).filter(moved).count() as u32,
        figures_before,
        figures_after: Side::of(&figures(&then.fleet, &then.layout)),
    })
}

/// Copies go where the planner would send them when hosts are emptied, or when there are new ones. Answers the bytes of that.
fn settle(fleet: &Fleet, layout: &Layout, change: &Change, then: &mut After) -> u64 {
    let outcome = match change {
        Change::Remove(hosts) => {
            let goal = Goal::Drain { hosts: hosts.clone(), empty: true };
            solve(fleet, layout, &goal, &Wish::default())
        }
        Change::Down(_) => {
            // What was on them counts nowhere any more.
            let down = |host: &u32| *host != NOWHERE && then.fleet.hosts[*host as usize].state == State::Down;
            then.layout.at.iter_mut().filter(|host| down(host)).for_each(|host| *host = NOWHERE);
            return 0;
        }
        Change::Add { .. } => solve(&then.fleet, &then.layout, &Goal::Rebalance, &Wish::default()),
        Change::Resize { .. } | Change::Grow { .. } => return 0,
    };
    match outcome {
        Ok(outcome) => {
            then.layout = outcome.layout;
            // What a person holds, or nothing can be read of, stays behind.
            let leaving = |host: &&u32| **host != NOWHERE && then.fleet.hosts[**host as usize].state == State::Leaving;
            let stores = 0..then.fleet.stores.len() as u32;
            let behind = |store: u32| then.layout.copies(&then.fleet, store).iter().filter(leaving).count();
            then.homeless = stores.flat_map(|store| std::iter::repeat_n(store, behind(store))).collect();
            outcome.bytes
        }
        Err(No::DoesNotFit(copies)) => {
            then.homeless = copies.into_iter().map(|(store, _)| store).collect();
            0
        }
        Err(No::NoOtherCopy(_) | No::UnknownHost(_) | No::NoActiveHost | No::TooLarge | No::Budget { .. }) => 0,
    }
}

fn hosts(loaded: &Loaded, then: &After) -> Vec<HostThen> {
    let was = Tally::without_pairs(&loaded.fleet, &loaded.layout);
    let is = Tally::without_pairs(&then.fleet, &then.layout);
    let before = |list: &[u64], host: usize| list.get(host).copied().unwrap_or(0);
    (0..then.fleet.hosts.len())
        .map(|host| {
            let spec = &then.fleet.hosts[host];
            let new = host.checked_sub(loaded.hosts.len()).map(|nth| format!("new {}", nth + 1));
            HostThen {
                host: new.unwrap_or_else(|| loaded.host(host as u32).to_owned()),
                state: word(spec.state),
                masters_before: was.masters.get(host).copied().unwrap_or(0),
                masters: is.masters[host],
                load_before: before(&was.load, host),
                load: is.load[host],
                bytes_before: before(&was.bytes, host),
                bytes: is.bytes[host],
                bytes_max: spec.bytes,
                bytes_over: is.bytes[host].saturating_sub(spec.bytes),
            }
        })
        .collect()
}
