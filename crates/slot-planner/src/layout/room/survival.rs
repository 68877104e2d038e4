//! Which failure domains could be lost, and what is known of those that could not.
//!
//! What always holds: that a loss can be borne is shown by a place for every copy, apart from its others; that it cannot is said only
//! where a copy has no place on its own, or where counting says so, which no packing can get round. Between the two lies what was
//! not found: sizes that differ make it packing, and whether there is one may take longer to say than anybody waits.

use super::rebuild::{Found, Rebuilding};
use super::*;

/// What is known of the loss of one failure domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Survival {
    /// Every copy has a place.
    Shown,
    /// No place for every copy was found, and nothing says that there is none. Never on fleets that are small enough to try everything.
    NotShown,
    /// There is no room, whatever is tried.
    NoRoom,
    /// It takes the last copy of a store.
    LastCopy,
}

/// What is known of the loss of each failure domain of a level, by number. A domain that is the whole fleet is none of them.
pub fn survivals(fleet: &Fleet, layout: &Layout, level: u8) -> Vec<(u32, Survival)> {
    let ask = Ask { size: 1, copies: 1, level: HOST, survive: Some(level) };
    let question = Question::of(fleet, layout, &ask);
    let roomiest = question.roomiest(&question.free);
    let survival = |gone: &[u32]| {
        let lost = Rebuilding::of(&question, &question.free, gone, question.lost(gone, &New::default()));
        if lost.takes_a_last_copy(0) {
            return Survival::LastCopy;
        }
        match lost.find(&roomiest) {
            Found::At(_) => Survival::Shown,
            Found::Nowhere => Survival::NoRoom,
            Found::Unknown => Survival::NotShown,
        }
    };
    let is_part = |gone: &[u32]| fleet.active().any(|host| !gone.contains(&host));
    let losses = question.losses.iter().filter(|(_, gone)| is_part(gone));
    losses.map(|(domain, gone)| (*domain, survival(gone))).collect()
}

/// The failure domains of a level whose loss, each alone, is not shown to be survivable, by number.
pub fn not_survivable(fleet: &Fleet, layout: &Layout, level: u8) -> Vec<u32> {
    let survivals = survivals(fleet, layout, level).into_iter();
    survivals.filter(|(_, survival)| *survival != Survival::Shown).map(|(domain, _)| domain).collect()
}

/// The layout with every copy that these hosts hold built again elsewhere, as far as that is found: what [`Survival::Shown`] says of them.
pub fn rebuilding(fleet: &Fleet, layout: &Layout, gone: &[u32]) -> Option<Layout> {
    let ask = Ask { size: 1, copies: 1, level: HOST, survive: None };
    let question = Question::of(fleet, layout, &ask);
    let rebuilding = Rebuilding::of(&question, &question.free, gone, question.lost(gone, &New::default()));
    if rebuilding.takes_a_last_copy(0) {
        return None;
    }
    let Found::At(homes) = rebuilding.find(&question.roomiest(&question.free)) else { return None };
    let mut built = layout.clone();
    for (copy, home) in rebuilding.lost.iter().zip(homes) {
        let Name::Known(store) = copy.name else { continue };
        let nth = copy.copies.iter().position(|host| *host == copy.from)?;
        built.at[fleet.range(store)][nth] = home;
    }
    Some(built)
}
