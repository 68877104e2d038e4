//! slotd: one task owning raft core and state, the executor, the observer and the services.
//!
//! What always holds: it decides nothing that the planner or the machine should; it acts on hosts only by orders whose
//! StartStep entry is committed, and only while a quorum confirms that this node leads; it never fails over by itself.
//! Everything that decides is in [`core`], which does no I/O; [`shell`] carries out what it says.

pub mod core;
pub mod shell;
pub mod wire;
