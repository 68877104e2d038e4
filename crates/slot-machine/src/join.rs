//! Hosts that join with a one-time token.
//!
//! What always holds: a token is good for one host, for a day of log time, and for one key from one disk: the entry that
//! uses it burns it, and the same key may ask again, since an answer can be lost. The invitation is a person's word that the
//! host comes with another disk (S2), given before it came; so the same entry admits that disk if nothing that the former
//! one may still hold matters: nobody who is, or may become, a master (R3), no record that is nowhere else (R7), no plan under
//! way. Else a person admits it as ever. Until it is burnt any person takes that word back; a revoked token stays no good, also
//! when it is invited with again.

use crate::apply::{Stamp, audit, cluster};
use crate::command::{Answer, NoJoin, NoRevoke, Refused};
use crate::hosts::{admit_disk, bounded, not_given_up};
use crate::state::State;
use borsh::{BorshDeserialize, BorshSerialize};
use slot_planted::planted;
use slot_types::cluster::{HostState, Store};
use slot_types::hold::HoldOn;
use slot_types::ids::*;
use slot_types::position::Digest;
use std::collections::BTreeMap;

/// How long a token may be used, in log time.
pub const INVITATION_MS: u64 = 24 * 3_600_000;
/// Invitations that may be open at once; a further one is refused.
pub const INVITATIONS_MAX: usize = 256;

/// A person's word that a host may join.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Invitation {
    /// The digest of the token's certificate; the token itself is nowhere but with its holder.
    pub certificate: Digest,
    /// Who gave it.
    pub by: OperatorName,
    /// Why.
    pub reason: String,
    /// When, for display.
    pub wall: WallTime,
    /// When it ends.
    pub expires: LogTime,
    /// What became of it.
    pub fate: Fate,
}

/// What became of an invitation. Only an open one changes.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Fate {
    /// Its token may be used until it expires.
    Open,
    /// Its token was used; for nothing else from then on.
    Used(Used),
    /// Its token is no good.
    Revoked {
        /// Who said so.
        by: OperatorName,
        /// When, for display.
        wall: WallTime,
    },
}

/// The one use of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Used {
    /// The digest of the key that was certified.
    pub key: Digest,
    /// The disk it came with.
    pub incarnation: Incarnation,
    /// When, for display.
    pub wall: WallTime,
}

impl Used {
    /// Whether it is this guest's use: the answer to it may have been lost.
    fn is_by(&self, guest: &Guest) -> bool {
        (self.key, self.incarnation) == (guest.key, guest.incarnation)
    }
}

/// Invitations by host: the last of each.
pub type Invitations = BTreeMap<HostName, Invitation>;

/// Somebody with a token.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Guest {
    /// Which host, as the token's certificate says.
    pub host: HostName,
    /// The digest of that certificate.
    pub certificate: Digest,
    /// The digest of the key that is to be certified.
    pub key: Digest,
    /// The host's disk.
    pub incarnation: Incarnation,
}

pub(crate) fn invite(
    state: &mut State,
    stamp: Stamp,
    host: &HostName,
    certificate: Digest,
    by: &OperatorName,
    reason: &str,
) -> Result<Answer, Refused> {
    not_retired(state, host)?;
    state.invitations.retain(|_, invitation| invitation.expires > stamp.now);
    match state.invitations.get(host) {
        Some(same) if same.certificate == certificate => {
            let why = match same.fate {
                Fate::Open => return Ok(Answer::Done),
                Fate::Used(_) => NoJoin::Used,
                Fate::Revoked { .. } => NoJoin::Revoked,
            };
            return Err(Refused::MayNotJoin { host: host.clone(), why });
        }
        None if state.invitations.len() >= INVITATIONS_MAX => {
            return Err(Refused::Precondition(format!(
                "{INVITATIONS_MAX} hosts are invited already; wait until they joined or a day has passed"
            )));
        }
        _ => {}
    }
    let expires = LogTime(stamp.now.0.saturating_add(INVITATION_MS));
    let reason = bounded(reason);
    let event = format!("invite {host} with token {certificate}");
    let invitation =
        Invitation { certificate, by: by.clone(), reason: reason.clone(), wall: stamp.wall, expires, fate: Fate::Open };
    let before = state.invitations.insert(host.clone(), invitation);
    let instead = match before {
        Some(before) if before.fate == Fate::Open => format!(", instead of token {}", before.certificate),
        _ => String::new(),
    };
    audit(state, stamp, by.as_str(), format!("{event}{instead}: {reason}"));
    Ok(Answer::Done)
}

/// A person takes back that a host may join. What has joined has a certificate, which nothing here takes back.
pub(crate) fn revoke(
    state: &mut State,
    stamp: Stamp,
    host: &HostName,
    by: &OperatorName,
    reason: &str,
) -> Result<Answer, Refused> {
    let live = state.invitations.get_mut(host).filter(|invitation| invitation.expires > stamp.now);
    let Some(invitation) = live else {
        return Err(Refused::NothingToRevoke { host: host.clone(), why: NoRevoke::NotInvited });
    };
    match &invitation.fate {
        Fate::Revoked { .. } => return Ok(Answer::Done),
        Fate::Used(_) => return Err(Refused::NothingToRevoke { host: host.clone(), why: NoRevoke::Joined }),
        Fate::Open => {}
    }
    invitation.fate = Fate::Revoked { by: by.clone(), wall: stamp.wall };
    let event = format!("revoke token {} of {host}, invited by {}", invitation.certificate, invitation.by);
    audit(state, stamp, by.as_str(), format!("{event}: {}", bounded(reason)));
    Ok(Answer::Done)
}

fn not_retired(state: &State, host: &HostName) -> Result<(), Refused> {
    match cluster(state)?.hosts.get(host).map(|known| known.declared) {
        Some(HostState::Retired) => {
            Err(Refused::Precondition(format!("{host} was retired for good; give the machine another name")))
        }
        _ => Ok(()),
    }
}

/// Whether a guest may come in at this log time. The leader asks it too, before it makes an entry of it.
pub fn may_join(state: &State, now: LogTime, guest: &Guest) -> Result<(), Refused> {
    let refused = |why| Err(Refused::MayNotJoin { host: guest.host.clone(), why });
    let Some(invitation) = state.invitations.get(&guest.host) else { return refused(NoJoin::NotInvited) };
    if invitation.certificate != guest.certificate {
        return refused(NoJoin::OtherToken);
    }
    if invitation.expires <= now && !planted("s15-expired-token-taken") {
        return refused(NoJoin::Expired);
    }
    match &invitation.fate {
        Fate::Revoked { .. } if !planted("s15-revoked-token-taken") => return refused(NoJoin::Revoked),
        Fate::Used(used) if !used.is_by(guest) => return refused(NoJoin::Used),
        Fate::Used(_) => {}
        Fate::Open | Fate::Revoked { .. } => not_given_up(state, &guest.host, guest.incarnation)?,
    }
    // It may have been retired since it was invited.
    not_retired(state, &guest.host)
}

pub(crate) fn join(state: &mut State, stamp: Stamp, guest: &Guest) -> Result<Answer, Refused> {
    may_join(state, stamp.now, guest)?;
    let Guest { host, certificate, key, incarnation } = guest;
    let is_first = |invitation: &&mut Invitation| !matches!(invitation.fate, Fate::Used(_));
    let Some(invitation) = state.invitations.get_mut(host).filter(is_first) else {
        // The same use once more; since then a person may have admitted yet another disk, which stays.
        return Ok(Answer::Done);
    };
    if !planted("s15-token-not-burnt") {
        invitation.fate = Fate::Used(Used { key: *key, incarnation: *incarnation, wall: stamp.wall });
    }
    let by = invitation.by.clone();
    let mut what = format!("{host} joins as {by} invited it, with key {key}; token {certificate} is burnt");
    let admitted = cluster(state)?.hosts.get(host).and_then(|known| known.incarnation);
    if admitted.is_some_and(|admitted| admitted != *incarnation) {
        match needed_of_former_disk(state, host).filter(|_| !planted("s2-disk-that-joined-admitted-unseen")) {
            None => {
                admit_disk(state, host, *incarnation)?;
                what += &format!("; disk {incarnation} is admitted");
            }
            Some(why) => what += &format!("; disk {incarnation} waits to be admitted by a person, for {why}"),
        }
    }
    audit(state, stamp, "slotd", what);
    Ok(Answer::Done)
}

/// Why a host's former disk can't be forgotten without a person who looks.
fn needed_of_former_disk(state: &State, host: &HostName) -> Option<String> {
    let cluster = state.cluster.as_ref()?;
    let here = |at: &SlotId| at.host == *host;
    // R3: an epoch that is allocated to a slot may have made it master by now.
    let may_be_master =
        |store: &Store| store.possible_masters.keys().chain(&store.master).chain(&store.pending).any(here);
    if let Some((store, _)) = cluster.stores.iter().find(|(_, store)| may_be_master(store)) {
        return Some(format!("the former one may hold a master of {store}"));
    }
    // R7: the records of an open loss case are nowhere else.
    if let Some((id, _)) = cluster.loss_cases.iter().find(|(_, case)| case.state.is_open() && here(&case.slot)) {
        return Some(format!("{id} waits for what the former one holds"));
    }
    // L1: where nobody is master, any copy may be the one that is left.
    let masterless = |store: &Store| !store.retired && store.master.is_none() && store.copies.keys().any(here);
    if let Some((store, _)) = cluster.stores.iter().find(|(_, store)| masterless(store)) {
        return Some(format!("the former one holds a copy of {store}, which has no master"));
    }
    let touching = state.running().find(|record| cluster.is_touched(&HoldOn::Host(host.clone()), &record.plan))?;
    Some(format!("plan {} is under way there", touching.id))
}
