//! slot-agent: carries out orders on one storage host, fenced by its ledger.
//!
//! What always holds: all decisions are made in [`core`], which does no I/O; the agent never starts, stops, changes or
//! deletes anything but by an order, or by the word of a person at its machine (S10, R19); whatever it answers as a receipt is durable before it is sent (S6). Engines are
//! processes of their own: they outlive the agent, and the next one adopts them.

pub mod agent;
pub mod config;
pub mod core;
pub mod core_join;
pub mod core_looks;
pub mod fence;
pub mod front_end;
pub mod join;
pub mod ledger;
pub mod ledger_thread;
mod load;
pub mod local;
pub mod looks;
pub mod perform;
pub mod places;
mod room;
pub mod service;
