//! Deliberate bugs, for proving that the simulator would find them.
//!
//! What always holds: without `--cfg slot_planted` no bug exists: [`planted`] is a constant `false` and the compiler drops
//! what it guards. The shipped programs refuse to be compiled with that flag. At most one bug is chosen at a time, by the
//! thread that runs the simulation.

/// Whether the deliberate bug of this name is chosen; never in a build that can ship.
#[cfg(not(slot_planted))]
#[inline(always)]
pub const fn planted(_bug: &str) -> bool {
    false
}

/// Whether the deliberate bug of this name is chosen; never in a build that can ship.
#[cfg(slot_planted)]
pub fn planted(bug: &str) -> bool {
    chosen::is(bug)
}

/// Chooses the bug of this thread, or none.
#[cfg(slot_planted)]
pub fn choose(bug: Option<&'static str>) {
    chosen::set(bug);
}

#[cfg(slot_planted)]
mod chosen {
    use std::cell::Cell;

    thread_local! {
        static BUG: Cell<Option<&'static str>> = const { Cell::new(None) };
    }

    pub(super) fn is(bug: &str) -> bool {
        BUG.with(|chosen| chosen.get() == Some(bug))
    }

    pub(super) fn set(bug: Option<&'static str>) {
        BUG.with(|chosen| chosen.set(bug));
    }
}
