//! A front end: the leader's tables in, maps and reloads out.
//!
//! What always holds: what is acknowledged is durable (maps written and synced, reloads done, then the table itself), and neither
//! it nor what is served ever goes back, over restarts too; with no coordinator left, what was rendered last goes on being served.

pub mod config;
pub mod core;
pub mod core_rendering;
pub mod maps;
mod reload;
pub mod service;
mod store;
