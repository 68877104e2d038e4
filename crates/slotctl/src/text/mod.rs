//! What a person reads: every view as text.
//!
//! What always holds: at most 100 columns; the verdict first; pure functions of the view, the clock included, so that the
//! same view is the same text; nothing is left out because it is unknown, it is said to be unknown.

pub mod asks;
pub mod audit;
pub mod evidence;
pub mod explain;
pub mod fleet;
mod front_end;
pub mod hold;
pub mod invite;
pub mod layout;
pub mod loss;
pub mod pause;
pub mod placement;
pub mod plan;
pub mod risk;
pub mod show;
pub mod status;
pub mod verify;
