//! The Engine trait and the engines; today the journal.
