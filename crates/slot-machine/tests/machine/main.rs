//! The replicated state machine, driven command by command.
//!
//! What always holds: after every command the invariants of [`watch`] are checked, by a bookkeeping of its own.

mod approvals;
mod by_hand;
mod copies;
mod fence;
mod flows;
mod front_ends;
mod holds;
mod holes;
mod join;
mod lines;
mod pause;
mod plans;
mod random;
mod reboots;
mod rebuilt;
mod restore;
mod retire;
mod rules;
mod rules_more;
mod verified;
mod wake;
mod watch;
mod world;
