//! Simulated disks: what was written, what of it is durable, and what goes wrong.
//!
//! What always holds: a crash of the process alone keeps every write (the page cache is the machine's); a power failure keeps
//! everything durable and an arbitrary, seeded subset of the rest, one write of it possibly torn; an operation of a process
//! that is dead does nothing and fails; a disk says that something is durable which is not only to a process that dies at
//! that moment, or when it was told to lie. Copies share their pages, so an image costs what differs.

mod fault;
mod file;
mod folder;
mod layers;
mod pages;

pub use fault::{DiskFailed, DiskFault, FaultKind, Lands};
pub use file::{FileImage, SimFile, SimHandle};
pub use folder::{Folder, FolderImage};
