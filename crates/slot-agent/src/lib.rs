//! slot-agent: carries out orders on one storage host, fenced by its ledger.
//!
//! What always holds: all decisions are made in [`core`], which does no I/O; the agent never starts, stops, changes or
//! deletes anything but by an order (S10); whatever it answers as a receipt is durable before it is sent (S6).

pub mod core;
