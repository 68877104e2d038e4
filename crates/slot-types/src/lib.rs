//! The words, values and canonical bytes every other room shares.
//!
//! What always holds: nothing here does I/O, reads a clock, draws a random number or logs; every collection is ordered;
//! every byte that is replicated, stored or hashed goes through [`codec`].

pub mod backup;
pub mod cluster;
pub mod codec;
pub mod disk;
pub mod engine;
pub mod evidence;
pub mod fence;
pub mod file;
pub mod front_end;
pub mod hand;
pub mod hold;
pub mod ids;
pub mod load;
pub mod order;
pub mod plan;
pub mod position;
pub mod probe;
pub mod render;
pub mod verify;
pub mod view;
