//! Which failure domains could be lost, and what is known of those that could not.
//!
//! What always holds: that a loss can be borne is shown by a place for every copy, apart from its others; that it cannot is said only
//! where a copy has no place on its own, or where counting says so, which no packing can get round. Between the two lies what was
//! not found: sizes that differ make it packing, and whether there is one may take longer to say than anybody waits.

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
    let on = vec![Vec::new(); fleet.hosts.len()];
    let roomiest = question.roomiest(&question.free);
    let survival = |gone: &[u32]| {
        let left = |host: &u32| *host != NOWHERE && !gone.contains(host) && fleet.hosts[*host as usize].is_readable();
        let served = |store: &u32| layout.copies(fleet, *store).iter().any(left);
        if !gone.iter().flat_map(|host| question.index.on(*host)).all(served) {
            return Survival::LastCopy;
        }
        let mut lost = question.lost(gone, &on, &[]);
        match question.rebuilds(&mut lost, gone, &roomiest, &question.free) {
            true => Survival::Shown,
            false if question.has_no_room(&lost, gone, &question.free) => Survival::NoRoom,
            false => Survival::NotShown,
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

impl Question<'_> {
    /// Whether counting says that these copies, the largest first, have no room on what is left: some copy fits on no host that may hold
    /// it; or all together have more bytes than are free there; or of those of some size and above, more than hosts have room for.
    pub(super) fn has_no_room(&self, lost: &[LostCopy<'_>], gone: &[u32], free: &Free) -> bool {
        let left: Vec<u32> = self.fleet.active().filter(|host| !gone.contains(host)).collect();
        let alone =
            |copy: &LostCopy<'_>| left.iter().any(|host| free.fits(*host, copy.size) && self.may(copy, gone, *host));
        let bytes: u128 = left.iter().map(|host| u128::from(free.bytes[*host as usize])).sum();
        if !lost.iter().all(alone) || lost.iter().map(|copy| u128::from(copy.size)).sum::<u128>() > bytes {
            return true;
        }
        let sizes = (1..).zip(lost.iter().map(|copy| copy.size));
        sizes.into_iter().any(|(count, size): (u64, u64)| {
            let is_last = lost.get(count as usize).is_none_or(|next| next.size < size);
            is_last && left.iter().map(|host| free.units(*host, size)).sum::<u64>() < count
        })
    }
}
