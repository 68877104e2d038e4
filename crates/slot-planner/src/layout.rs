//! The placement engine: where every copy of a fleet lives and which copy is master, in flat arrays.
//!
//! What always holds: the same fleet, layout, goal and wish give the same bytes, and the order of hosts and stores in the
//! input changes nothing but their numbers; no move of an [`Outcome`] adds or worsens a violation of a hard rule, wherever the
//! sequence is cut; [`replay`] says so again, with none of the solver's code or figures.
//!
//! How to use it. A [`Fleet`] holds what does not change while planning: hosts (domains, room, slots, weight, state) and
//! stores (size, load, copies, spread). A [`Layout`] says which host holds each copy; a store's copies lie side by side,
//! the master first, and [`NOWHERE`] stands for a copy that is missing: of a new store, or of a host that burned. Both
//! are numbered by `u32`; whoever calls keeps the names, sorted by name so that ties go to the first.
//!
//! ```
//! use slot_planner::layout::*;
//! let mut fleet = Fleet::default();
//! for rack in 0..3 {
//!     fleet.hosts.push(Host::new(1_000, 16).within(&[rack]));
//! }
//! let store = Store { size: 10, load: 1, copies: 2, level: RACK };
//! let layout = Layout::of(&mut fleet, [(store, [0, 1].as_slice()), (store, [0, 1].as_slice())]);
//! let before = figures(&fleet, &layout);          // masters, N-1, bytes, violations, with the bounds beside them
//! let tally = Tally::of(&fleet, &layout);         // per host: bytes, slots, masters, load; per pair: shared masters
//! assert_eq!((tally.masters[0], before.masters_max, before.violations.total()), (2, 2, 0));
//! let lost = survivors(&fleet, &layout, &[0]);    // what every survivor of a loss would carry
//! assert_eq!((lost.masters, lost.unredundant.len()), (vec![0, 2, 0], 2));
//! let outcome = solve(&fleet, &layout, &Goal::Rebalance, &Wish::default()).unwrap();
//! assert_eq!(outcome.after.masters_max, 1);
//! let checked = check(&fleet, &layout, &Goal::Rebalance, outcome).unwrap();
//! assert_eq!(checked.outcome().bytes, 10);        // one copy moves, so that bytes are even
//! ```
//!
//! What-if is a changed fleet: set a host's state to [`State::Down`] or give it other room, and ask [`figures`] again;
//! [`survivors`] gives what every survivor of a loss would carry. [`may_hold`] is the one place that says why a host
//! may not take a copy, with a type.
//!
//! Questions that plan nothing: [`choice`] for one copy and every host, [`loss`] for every single loss and the worst pair,
//! [`remains`] for the rules that a layout leaves broken and why, [`room`] and [`capacity`] for how many more stores fit, [`groups`] for the
//! hosts that may be down together, [`whatif`] for a fleet that is not there.

pub mod capacity;
pub mod choice;
pub mod cluster;
pub mod course;
mod figures;
mod goal;
pub mod groups;
pub mod loss;
mod model;
mod nowhere;
mod pairs;
pub mod refine;
pub mod remains;
mod replay;
pub mod room;
mod rules;
pub mod scale;
mod shared;
mod solve;
pub mod whatif;
pub mod why;

pub use figures::{Figures, Survivors, Violations, figures, survivors, violations};
pub use goal::{Goal, Move, No, Outcome, Wish};
pub use model::{BYTES_MAX, Fleet, HOST, Host, LEVELS, LOAD_MAX, Layout, NOWHERE, ORDINARY, RACK, State, Store, Tally};
pub use nowhere::{Nowhere, in_states, nowhere};
pub use pairs::Pairs;
pub use replay::{Checked, Fault, Wrong, check, replay};
pub use rules::{Rule, WhyNotHere, may_hold};
pub use shared::Shared;
pub use solve::solve;
