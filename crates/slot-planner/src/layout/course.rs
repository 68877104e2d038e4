//! What a fleet is like while a sequence of moves is carried out, wave by wave.
//!
//! What always holds: everything is counted from the layout between two waves; a wave takes as long as its busiest link, a host's
//! way out or in, at the rate that is said; a copy that is being built counts for nothing until its wave is over.

use super::figures::figures;
use super::goal::{Move, Outcome};
use super::model::*;

/// One wave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leg {
    /// Moves with a copy.
    pub copies: u32,
    /// Moves without one.
    pub hand_overs: u32,
    /// Bytes copied.
    pub bytes: u64,
    /// Of these, on the busiest link.
    pub link: u64,
    /// When it is over: after the loss of any one host, the load of the survivor with the most, per ordinary host in thousandths.
    /// [`None`] where nobody asked, since this looks at the whole fleet once for each wave.
    pub worst_survivor: Option<u64>,
}

impl Leg {
    /// How long its copies take at so many bytes a second on each link, in milliseconds.
    pub fn ms(&self, rate: u64) -> u64 {
        let ms = u128::from(self.link) * 1000;
        u64::try_from(ms.div_ceil(u128::from(rate.max(1)))).unwrap_or(u64::MAX)
    }
}

/// The waves of an outcome, in order. With `look`, also what the fleet could lose between them.
pub fn legs(fleet: &Fleet, before: &Layout, outcome: &Outcome, look: bool) -> Vec<Leg> {
    let mut at = before.clone();
    let mut legs = Vec::new();
    let mut links = vec![[0u64; 2]; fleet.hosts.len()];
    let numbered: Vec<(Move, u32)> = outcome.moves.iter().copied().zip(outcome.waves.iter().copied()).collect();
    for wave in numbered.chunk_by(|a, b| a.1 == b.1) {
        let mut leg = Leg { copies: 0, hand_overs: 0, bytes: 0, link: 0, worst_survivor: None };
        for (one, _) in wave {
            if one.to == NOWHERE {
                leg.hand_overs += 1;
            } else {
                leg.copies += 1;
                let size = fleet.stores[one.store as usize].size;
                leg.bytes = leg.bytes.saturating_add(size);
                let ends = [(source(fleet, &at, *one), 0), (one.to, 1)];
                for (host, way) in ends.into_iter().filter(|(host, _)| *host != NOWHERE) {
                    let link = &mut links[host as usize][way];
                    *link = link.saturating_add(size);
                    leg.link = leg.link.max(*link);
                }
            }
        }
        links.fill([0; 2]);
        wave.iter().for_each(|(one, _)| carry_out(fleet, &mut at, *one));
        leg.worst_survivor = look.then(|| figures(fleet, &at).worst_survivor);
        legs.push(leg);
    }
    legs
}

/// The host that a copy is read from.
fn source(fleet: &Fleet, at: &Layout, one: Move) -> u32 {
    let readable = |host: &u32| *host != NOWHERE && fleet.hosts[*host as usize].is_readable();
    let others = at.copies(fleet, one.store).iter().copied();
    Some(one.from).into_iter().chain(others).find(readable).unwrap_or(NOWHERE)
}

/// The layout after one move.
pub(super) fn carry_out(fleet: &Fleet, at: &mut Layout, one: Move) {
    let copies = &mut at.at[fleet.range(one.store)];
    let place = |copies: &[u32], host: u32| copies.iter().position(|there| *there == host);
    // What comes takes the place of what goes, or one that was empty; what only goes leaves its place empty.
    if (one.from != NOWHERE || one.to != NOWHERE)
        && let Some(freed) = place(copies, one.from)
    {
        copies[freed] = one.to;
    }
    if one.master != NOWHERE
        && let Some(master) = place(copies, one.master)
    {
        copies.swap(0, master);
    }
}
