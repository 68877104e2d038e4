//! slotd: one task owning raft core and state, the executor, the observer and the services.
