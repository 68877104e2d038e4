//! The journal's core under seeds: rules by name, crashes, damage, and arbitrary calls.

mod campaign;
mod crash;
mod damage;
mod disk;
mod replication;
mod roles;
mod verify;
mod world;
