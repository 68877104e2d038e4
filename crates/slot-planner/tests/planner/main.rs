//! The planner as its callers see it: a small fleet, an intent, and the plan or the refusal that comes of it.

mod copies;
mod disks;
mod estimate;
mod explain;
mod fence;
mod fill;
mod front_ends;
mod golden;
mod intents;
mod last_resort;
mod leads;
mod lines;
mod loads;
mod mutations;
mod parts;
mod place;
mod random;
mod reasons;
mod rebalance;
mod refusals;
mod retire;
mod risk;
mod rules;
mod several;
mod world;
