//! The replicated state machine: plans, approvals, claims, step ledger, epochs, loss cases, audit.
//!
//! What always holds: [`apply::apply`] is total, reads no clock, calls nothing back and never panics; the planner is never
//! called here; whatever the proposer checked is checked again here, and only this check counts (S3, S5, S7, S9).

pub mod apply;
pub mod aside;
pub mod audit;
pub mod by_hand;
pub mod command;
mod copies;
mod effects;
mod fence;
pub mod guard;
pub mod holds;
mod hosts;
pub mod join;
pub mod pause;
pub mod plans;
mod ready;
mod rebuild;
pub mod restore;
mod retire;
pub mod runnable;
mod sessions;
mod shape;
pub mod state;
mod steps;
pub mod undo;
pub mod unwind;
pub mod verified;
