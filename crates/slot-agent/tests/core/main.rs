//! The agent's core against fake engines and a ledger that is a value: every rule by name, crashes at every transaction,
//! and arbitrary sequences of orders.

mod crash;
mod fence;
mod hand;
mod random;
mod rules;
mod rules_slot;
mod world;
